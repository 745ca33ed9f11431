"""What differs between two versions of a pack, table by table and row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.pack import Pack

Rows = tuple[Sequence[str], Sequence[str], Sequence[Sequence[str]]]
"""A table: its columns, its key columns, its rows."""


@dataclass(frozen=True, slots=True)
class Change:
    """One row that is in both versions with other values: its key, and (column, before, after)."""

    key: tuple[str, ...]
    values: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class TableDiff:
    """The rows of one table that came, went or changed, by key, in file order."""

    table: str
    before: int
    after: int
    added: tuple[tuple[str, ...], ...]
    removed: tuple[tuple[str, ...], ...]
    changed: tuple[Change, ...]

    @property
    def same(self) -> bool:
        return not (self.added or self.removed or self.changed)


def pack_tables(pack: Pack) -> dict[str, Rows]:
    """All tables of an installed pack."""
    tables: dict[str, Rows] = {}
    for name, entry in pack.manifest.tables.items():
        columns, rows = pack.table(name)
        tables[name] = columns, entry.key, rows
    return tables


def diff_tables(before: Mapping[str, Rows], after: Mapping[str, Rows]) -> tuple[TableDiff, ...]:
    """Compare two versions; rows are matched by the key of the later version, else by all columns."""
    empty: Rows = ((), (), ())
    return tuple(
        _diff_table(name, before.get(name, empty), after.get(name, empty))
        for name in dict.fromkeys((*after, *before))
    )


def _diff_table(name: str, before: Rows, after: Rows) -> TableDiff:
    columns = tuple(dict.fromkeys((*after[0], *before[0])))
    key = tuple(after[1] or before[1]) or columns
    old, new = _by_key(before, key), _by_key(after, key)
    changed = []
    for found, row in new.items():
        earlier = old.get(found)
        if earlier is None or earlier == row:
            continue
        values = tuple(
            (column, earlier.get(column, ""), row.get(column, ""))
            for column in columns
            if earlier.get(column, "") != row.get(column, "")
        )
        if values:
            changed.append(Change(found, values))
    return TableDiff(
        name,
        len(before[2]),
        len(after[2]),
        tuple(found for found in new if found not in old),
        tuple(found for found in old if found not in new),
        tuple(changed),
    )


def _by_key(table: Rows, key: Sequence[str]) -> dict[tuple[str, ...], dict[str, str]]:
    columns, _, rows = table
    found = {}
    for row in rows:
        values = dict(zip(columns, row, strict=True))
        found[tuple(values.get(column, "") for column in key)] = values
    return found
