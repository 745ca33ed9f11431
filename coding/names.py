"""The names of one code system as columns: what search and suggestion look through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from coding.library import CodeTable, System
from models.pack import Pack

__all__ = ["SYSTEMS", "NameTable", "System"]
SYSTEMS: tuple[System, ...] = ("icd10", "icd9cm3")
EDITION_BITS = {"beijing": 1, "clinical": 2, "insurance": 4}
"""The families of editions, by the first part of an edition's name."""
EVERY_EDITION = 7


@dataclass(frozen=True, slots=True)
class NameTable:
    """Every code of one system, in code order, and every name that leads to a code.

    ``codes``, ``titles``, ``grey``, ``kinds``, ``editions`` (how many editions of the crosswalk lead to
    the code) run side by side, one entry a code. ``names`` and
    ``owner`` run side by side, one entry a (name, code) pair: ``owner`` is the index of the code,
    ``edition`` is empty for the code's own title and names the edition an alias comes from.
    ``within`` says which editions write the name so (bits of ``EDITION_BITS``).
    The first ``len(codes)`` names are the titles.
    """

    system: System
    codes: tuple[str, ...]
    titles: tuple[str, ...]
    grey: tuple[bool, ...]
    kinds: tuple[str, ...]
    editions: tuple[int, ...]
    names: tuple[str, ...]
    owner: tuple[int, ...]
    edition: tuple[str, ...]
    within: tuple[int, ...]

    @classmethod
    def of(cls, table: CodeTable) -> NameTable:
        """The columns of one code book of the library. Raises PackError."""
        return cls.read(table.pack, table.system)

    @classmethod
    def read(cls, pack: Pack, system: System) -> NameTable:
        """The columns of one code book, straight from its pack. Raises PackError."""
        aliases = pack.rows("aliases") if "aliases" in pack.manifest.tables else []
        # Far the longest table, of which only two columns are used.
        crosswalk = (
            pack.records("crosswalk", "insurance_code", "edition")
            if "crosswalk" in pack.manifest.tables
            else []
        )
        return cls.build(system, pack.rows("codes"), aliases, crosswalk)

    @classmethod
    def build(
        cls,
        system: System,
        codes: Iterable[Mapping[str, str]],
        aliases: Iterable[Mapping[str, str]],
        crosswalk: Iterable[tuple[str, ...]] = (),
    ) -> NameTable:
        """From rows ``code,name,grey[,kind]``, ``code,name,edition`` and pairs (insurance code, edition)."""
        rows = sorted(codes, key=lambda row: row["code"])
        place = {row["code"]: index for index, row in enumerate(rows)}
        titles = [row["name"] for row in rows]
        known = set(crosswalk)
        editions = Counter([code for code, _ in known])
        names, owner, edition = list(titles), list(range(len(rows))), [""] * len(rows)
        # An edition that has a code and no other name for it has the code's title.
        within = [0] * len(rows)
        for code, of in known:
            if code in place:
                within[place[code]] |= _bit(of)
        seen = {pair: entry for entry, pair in enumerate(zip(names, owner, strict=True))}
        ordered = sorted(aliases, key=lambda row: (row["code"], row["name"], row["edition"]))
        for row in ordered:
            if row["code"] in place:
                within[place[row["code"]]] &= ~_bit(row["edition"])
        for row in ordered:
            index = place.get(row["code"])
            if index is None:
                continue
            entry = seen.setdefault((row["name"], index), len(names))
            if entry < len(names):
                within[entry] |= _bit(row["edition"])
                continue
            names.append(row["name"])
            owner.append(index)
            edition.append(row["edition"])
            within.append(_bit(row["edition"]))
        return cls(
            system,
            tuple(row["code"] for row in rows),
            tuple(titles),
            tuple(row["grey"] == "1" for row in rows),
            tuple(row.get("kind", "") for row in rows),
            tuple(editions[row["code"]] for row in rows),
            tuple(names),
            tuple(owner),
            tuple(edition),
            tuple(within),
        )


@cache
def _bit(edition: str) -> int:
    return EDITION_BITS.get(edition.partition("-")[0], 0)
