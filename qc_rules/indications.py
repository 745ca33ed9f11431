"""The table of indications: which diagnoses a procedure is done for, by the prefixes of both codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

from models.pack import Pack, PackError
from qc_rules.charge_tables import MAX_REMEMBERED, split

INDICATIONS = "procedure-indications"
"""The kind of the pack."""
Level = Literal["operation", "organ"]
LEVELS = ("operation", "organ")
CONFIDENCES = ("high", "fair")
CATEGORY = 3
"""Characters of a category of diagnoses."""


@dataclass(frozen=True, slots=True)
class Indication:
    """What procedures with these code prefixes are done for.

    ``level``: ``operation`` for one kind of operation, ``organ`` for any operation on an organ system.
    ``shown`` says the diagnoses in Chinese. No ``diagnoses``: the procedure is never judged. ``support``:
    how many of the procedures CHS-DRG 2.0, or the hospital's own past, has beside such a diagnosis.
    """

    id: str
    name: str
    level: Level
    procedures: tuple[str, ...]
    shown: str
    diagnoses: tuple[str, ...]
    sure: bool
    basis: str
    support: int
    categories: frozenset[str] = frozenset()
    """Those of ``diagnoses`` that are whole categories, to find most indications at once."""


@dataclass(frozen=True)
class IndicationTable:
    """The pack procedure-indications, ready to use.

    ``general``: prefixes of diagnoses for which any procedure may be done.
    """

    rows: tuple[Indication, ...] = ()
    general: tuple[str, ...] = ()
    _longest: Mapping[int, Mapping[str, Indication]] = field(default_factory=dict, repr=False)
    _known: dict[str, Indication | None] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, pack: Pack) -> IndicationTable:
        """Raises PackError for a table that cannot be used."""
        rows, by_length = [], dict[int, dict[str, Indication]]()
        for row in pack.rows("indications"):
            if row["level"] not in LEVELS or row["confidence"] not in CONFIDENCES:
                raise PackError(f"数据包 {pack.id}：indications 表 {row['id']} 的 level 或 confidence 不认识")
            one = Indication(
                row["id"],
                row["name"],
                cast(Level, row["level"]),
                split(row["procedures"]),
                row["indication"],
                split(row["diagnoses"]),
                row["confidence"] == "high",
                row["basis"],
                int(row["support"] or 0),
                frozenset(prefix for prefix in split(row["diagnoses"]) if len(prefix) == CATEGORY),
            )
            rows.append(one)
            for prefix in one.procedures:
                if by_length.setdefault(len(prefix), {}).setdefault(prefix, one) is not one:
                    raise PackError(f"数据包 {pack.id}：indications 表的手术操作 {prefix} 写了两行")
        general = [prefix for row in pack.rows("general") for prefix in split(row["diagnoses"])]
        longest = {length: by_length[length] for length in sorted(by_length, reverse=True)}
        return cls(tuple(rows), tuple(general), longest)

    def of_code(self, code: str) -> Indication | None:
        """The row of a procedure code: that of the longest prefix."""
        if code in self._known:
            return self._known[code]
        found = next(
            (one for length, rows in self._longest.items() if (one := rows.get(code[:length]))), None
        )
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._known[code] = found
        return found

    def prefixes(self, level: Level) -> list[str]:
        """The procedure prefixes of the rows of one level that judge something."""
        return [
            prefix for one in self.rows if one.level == level and one.diagnoses for prefix in one.procedures
        ]
