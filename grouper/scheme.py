"""The tables of a DRG scheme, read and put into grouping order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import msgspec

from grouper.formula import FormulaError, Node, parse
from models.pack import Pack, PackError, PackRef

NOT_GROUPED = "0000"
AMBIGUOUS = "ambiguous"
"""``kind`` of the xQY rows (歧义组): a case ends there without a DRG."""

Table = Literal["mdc", "adrg", "drg", "sets", "complication", "exclusion"]
COLUMNS: Mapping[Table, tuple[str, ...]] = {
    "mdc": ("order", "mdc", "name", "condition"),
    "adrg": ("order", "mdc", "adrg", "part", "name", "kind", "condition"),
    "drg": ("adrg", "order", "drg", "name", "condition"),
    "sets": ("set", "code"),
    "complication": ("code", "level", "exclusion_table"),
    "exclusion": ("exclusion_table", "principal_diagnosis"),
}


class Mdc(msgspec.Struct, frozen=True):
    """One MDC (主要诊断大类) with its rule as published."""

    code: str
    name: str
    condition: str


class Adrg(msgspec.Struct, frozen=True):
    """One ADRG, or one of its alternative parts (``NA1_1``), with its rule as published."""

    mdc: str
    code: str
    part: str
    name: str
    kind: str
    condition: str


class Drg(msgspec.Struct, frozen=True):
    """One DRG with its rule as published."""

    adrg: str
    code: str
    name: str
    condition: str


class CodeSets(msgspec.Struct, frozen=True):
    """The large tables: codes of every set, level and exclusion table of MCC/CC, excluded principals."""

    sets: dict[str, frozenset[str]]
    complications: dict[str, tuple[str, str]]
    """Diagnosis → (MCC or CC, exclusion table)."""
    exclusions: dict[str, frozenset[str]]
    """Principal diagnosis → the exclusion tables that name it."""


@dataclass(frozen=True)
class Scheme:
    """The small tables of a scheme in grouping order, and the large ones when first asked for."""

    mdcs: tuple[Mdc, ...]
    adrgs: tuple[Adrg, ...]
    drgs: Mapping[str, tuple[Drg, ...]]
    """ADRG → its DRGs in order."""
    pack: Pack | None = None
    given_code_sets: CodeSets | None = field(default=None, repr=False)

    @classmethod
    def from_pack(cls, pack: Pack, code_sets: CodeSets | None = None) -> Scheme:
        """The scheme in a ``drg-scheme`` pack; its large tables are read unless they are given.

        Raises PackError for tables that cannot be read.
        """
        small = {name: pack.records(name, *COLUMNS[name]) for name in ("mdc", "adrg", "drg")}
        return _in_order(small["mdc"], small["adrg"], small["drg"], pack, code_sets)

    @classmethod
    def from_rows(cls, tables: Mapping[Table, Iterable[Mapping[str, str]]]) -> Scheme:
        """A scheme from rows by table name, columns as in COLUMNS. Raises PackError.

        Tables that are missing count as empty.
        """
        rows = {
            name: [tuple([row[column] for column in columns]) for row in tables.get(name, ())]
            for name, columns in COLUMNS.items()
        }
        large = _code_sets(rows["sets"], rows["complication"], rows["exclusion"])
        return _in_order(rows["mdc"], rows["adrg"], rows["drg"], None, large)

    @property
    def ref(self) -> PackRef | None:
        return self.pack.ref if self.pack else None

    @cached_property
    def code_sets(self) -> CodeSets:
        """The codes of every set and the complication tables. Raises PackError."""
        if self.given_code_sets is not None:
            return self.given_code_sets
        if self.pack is None:
            return CodeSets({}, {}, {})
        return _code_sets(
            *(self.pack.records(name, *COLUMNS[name]) for name in ("sets", "complication", "exclusion"))
        )

    def members(self, name: str) -> frozenset[str]:
        """The codes of a set; a set that the tables lack has none."""
        return self.code_sets.sets.get(name, frozenset())

    @cached_property
    def formulas(self) -> Mapping[str, Node]:
        """The tree of every rule text. Raises PackError with every rule that cannot be read."""
        found: dict[str, Node] = {}
        faults = []
        for owner, text in self._conditions():
            if text not in found:
                try:
                    found[text] = parse(text)
                except FormulaError as error:
                    faults.append(f"{owner} 的规则：{error}")
        if faults:
            raise PackError(*faults)
        return found

    def _conditions(self) -> Iterable[tuple[str, str]]:
        yield from ((f"MDC {mdc.code}", mdc.condition) for mdc in self.mdcs)
        yield from ((f"ADRG {adrg.part}", adrg.condition) for adrg in self.adrgs)
        yield from ((f"DRG {drg.code}", drg.condition) for drgs in self.drgs.values() for drg in drgs)


def _in_order(
    mdc_rows: list[tuple[str, ...]],
    adrg_rows: list[tuple[str, ...]],
    drg_rows: list[tuple[str, ...]],
    pack: Pack | None,
    large: CodeSets | None,
) -> Scheme:
    try:
        mdcs = [Mdc(*rest) for _, *rest in sorted(mdc_rows, key=lambda row: int(row[0]))]
        place = {mdc.code: number for number, mdc in enumerate(mdcs)}
        adrgs = sorted(adrg_rows, key=lambda row: (place[row[1]], int(row[0])))
        drgs: dict[str, list[Drg]] = {}
        for adrg, _, code, name, condition in sorted(drg_rows, key=lambda row: int(row[1])):
            drgs.setdefault(adrg, []).append(Drg(adrg, code, name, condition))
    except ValueError as error:
        raise PackError(f"分组方案的序号（order）应为整数：{error}") from error
    except KeyError as error:
        raise PackError(f"adrg 表中的 MDC {error.args[0]} 不在 mdc 表中") from error
    return Scheme(
        tuple(mdcs),
        tuple(Adrg(mdc, *rest) for _, mdc, *rest in adrgs),
        {adrg: tuple(rows) for adrg, rows in drgs.items()},
        pack,
        large,
    )


def _code_sets(
    sets: list[tuple[str, ...]], complications: list[tuple[str, ...]], exclusions: list[tuple[str, ...]]
) -> CodeSets:
    members: dict[str, set[str]] = {}
    for name, code in sets:
        members.setdefault(name, set()).add(code)
    tables: dict[str, set[str]] = {}
    for table, principal in exclusions:
        tables.setdefault(principal, set()).add(table)
    return CodeSets(
        {name: frozenset(codes) for name, codes in members.items()},
        {code: (level, table) for code, level, table in complications},
        {principal: frozenset(found) for principal, found in tables.items()},
    )
