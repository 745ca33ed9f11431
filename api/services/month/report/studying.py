"""The statistics of the report: the lists of the month kept small, then compared, expected and ranked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import overload

import msgspec

from api.services.month.comparisons import HOSPITAL, LEVELS, Tally
from api.services.month.records import Record
from api.services.month.report.content import Study
from api.services.month.result import Comparison, CrossFinding
from api.services.month.study import Counted, examine

MOST_COMPARISONS = 2000
MOST_CANDIDATES = 300
MOST_CROSS = 1000
MOST_REVIEWS = 500
"""Rows of a report; what is left off is counted in it. The work list and the run hold everything."""


class PackedRecords(Sequence[Record]):
    """Records kept as bytes, about a third of the memory; each look decodes anew."""

    def __init__(self) -> None:
        self._rows: list[bytes] = []
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Record).decode

    def append(self, record: Record) -> None:
        self._rows.append(self._encode(record))

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> list[Record]: ...
    def __getitem__(self, at: int | slice) -> Record | list[Record]:
        if isinstance(at, slice):
            return [self._decode(row) for row in self._rows[at]]
        return self._decode(self._rows[at])


@dataclass
class Studied:
    """The lists of a month, or of the months before it, as the statistics need them."""

    records: PackedRecords = field(default_factory=PackedRecords)
    tally: Tally = field(default_factory=Tally)
    cross: list[CrossFinding] = field(default_factory=list)

    def add(self, record: Record, cross: Iterable[CrossFinding] = ()) -> None:
        """Count one list and its findings across lists."""
        self.records.append(record)
        self.tally.add(record)
        self.cross += cross

    @property
    def counted(self) -> Counted:
        return Counted(self.records, self.tally)

    def study(
        self,
        past: Iterable[Record],
        files: Sequence[str],
        departments: Mapping[str, str],
        code_name: Callable[[str], str],
    ) -> tuple[Study, tuple[str, ...]]:
        """Statistics over the month, and what is to be said of them (Chinese)."""
        before = Studied()
        for record in past:
            before.add(record)
        compared = before.counted if before.records else None
        seen = examine(self.counted, compared, files, departments, code_name, cross=self.cross)
        shown = [one for one in seen.comparisons if one.flagged or one.code == ""]
        shown.sort(key=lambda one: (not one.flagged, 2.0 if one.q is None else one.q))
        cells = self.tally.cells[HOSPITAL].get(HOSPITAL, {}).values()
        grouped, lifted = sum(cell.cases for cell in cells), sum(cell.lifted for cell in cells)
        candidates, reviews = seen.residuals.candidates, seen.reviews
        study = Study(
            tested={level: _count(seen.comparisons, level, tested=True) for level in LEVELS},
            flagged={level: _count(seen.comparisons, level, tested=False) for level in LEVELS},
            complicated_share=float(f"{lifted / grouped:.6g}") if grouped else None,
            past_lists=len(before.records),
            comparisons=tuple(shown[:MOST_COMPARISONS]),
            models=seen.residuals.models,
            candidates=candidates[:MOST_CANDIDATES],
            cross_findings=tuple(self.cross[:MOST_CROSS]),
            reviews=reviews[:MOST_REVIEWS],
            left_off={
                "comparisons": max(0, len(shown) - MOST_COMPARISONS),
                "candidates": max(0, len(candidates) - MOST_CANDIDATES),
                "cross_findings": max(0, len(self.cross) - MOST_CROSS),
                "reviews": max(0, len(reviews) - MOST_REVIEWS) + seen.left_off,
            },
        )
        notes = list(seen.residuals.notes)
        if compared is None:
            notes.append("没有往月的清单，科室和医师只在院内比较，没有与本院过去比较")
        unit = "元" if seen.in_yuan else "权重"
        notes.append(f"复核排序的得分 = 预计影响（{unit}）× 证据强度；证据强度是排序用的约定，不是概率")
        return study, tuple(notes)


def _count(comparisons: Iterable[Comparison], level: str, *, tested: bool) -> int:
    return sum(one.level == level and (one.p is not None if tested else one.flagged) for one in comparisons)
