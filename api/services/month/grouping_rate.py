"""What 入组 means wherever lists are counted: 入组率 = grouped ÷ lists judged; QY and 0000 are no group."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from api.services.check import NO_SCHEME

GROUPED, AMBIGUOUS = "grouped", "ambiguous"
"""Reasons of a GroupResult: in a DRG, and in the QY of an MDC. All other reasons mean 0000."""


class Grouping(msgspec.Struct, frozen=True):
    """Lists by what grouping made of them: in a DRG, QY, 0000, and those for which no scheme holds."""

    grouped: int
    ambiguous: int
    ungrouped: int
    unjudged: int

    @classmethod
    def of(cls, reasons: Mapping[str, int]) -> Grouping:
        """From the number of lists by the reason of their GroupResult."""
        grouped, ambiguous = reasons.get(GROUPED, 0), reasons.get(AMBIGUOUS, 0)
        unjudged = reasons.get(NO_SCHEME, 0)
        return cls(grouped, ambiguous, sum(reasons.values()) - grouped - ambiguous - unjudged, unjudged)

    @property
    def judged(self) -> int:
        """Lists that a scheme grouped or could not: what the rates are shares of."""
        return self.grouped + self.ambiguous + self.ungrouped

    @property
    def text(self) -> str:
        """入组 95 份（入组率 95.0%，歧义组 QY 1 份，未入组 0000 4 份）."""
        rate = f"{self.grouped / self.judged:.1%}" if self.judged else "—"
        more = f"，没有适用的分组方案 {self.unjudged} 份" if self.unjudged else ""
        return (
            f"入组 {self.grouped} 份（入组率 {rate}，歧义组 QY {self.ambiguous} 份，"
            f"未入组 0000 {self.ungrouped} 份{more}）"
        )
