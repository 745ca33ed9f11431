"""Makes lists from the rows of a wide table: the header is looked at once, each row is then a few look-ups."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import msgspec

from api.intake import convert
from api.intake.convert import Convert
from api.intake.mapping import NUMBER, NUMBER_2, ColumnMapping, FieldSource, plain_name
from api.spreadsheet import value_domains
from models.pack import PackStore
from models.settlement_list import FIELDS

Row = Sequence[str]
Get = Callable[[Row], str]
MAX_NUMBER = 9_999
"""The highest number in a column name such as 其他诊断编码40 that is looked for."""

_encode = msgspec.json.Encoder().encode
_PIECES = re.compile(r"[\s|()（）\[\]【】\n]+")
_DOMAIN_OF = {
    "adm_caty": "departments",
    "dscg_caty": "departments",
    "refldept_dept": "departments",
    "ntly": "countries",
}
_SEVERAL = frozenset({"refldept_dept"})
"""Fields that hold several codes, separated by a comma or an arrow."""


class PlanError(ValueError):
    """The columns of a table cannot be told apart; the message (Chinese) says which."""


class Header:
    """The columns of a table by their names, whatever their case, width and brackets."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        plain = Counter(map(plain_name, names))
        self.repeated = frozenset(name for name in plain if name and plain[name] > 1)
        self._places: dict[str, int] = {}
        for number, name in enumerate(names):
            self._places.setdefault(plain_name(name), number)
        for number, name in enumerate(names):
            # 姓名(A11), A11|姓名: each piece is a name of its own where no column has it as the whole.
            for piece in _PIECES.split(name):
                self._places.setdefault(plain_name(piece), number)
        self._places.pop("", None)

    def place(self, names: Sequence[str], number: int = 0) -> int | None:
        """Where the first of ``names`` stands, its placeholder filled with ``number``."""
        for name in names:
            wanted = name.replace(NUMBER_2, f"{number:02d}").replace(NUMBER, str(number))
            found = self._places.get(plain_name(wanted))
            if found is not None:
                return found
        return None

    def numbers(self, names: Sequence[str]) -> set[int]:
        """The numbers for which one of the names with a placeholder is a column."""
        found: set[int] = set()
        for name in names:
            if NUMBER not in name and NUMBER_2 not in name:
                continue
            digits = r"(\d{2,4})" if NUMBER_2 in name else r"([1-9]\d{0,3}|0)"
            marked = plain_name(name.replace(NUMBER_2, "\0").replace(NUMBER, "\0"))
            pattern = re.compile(digits.join(re.escape(part) for part in marked.split("\0")))
            found.update(int(hit[1]) for place in self._places if (hit := pattern.fullmatch(place)))
        return found


class Domains:
    """Code by name of every value domain of the list, read when first asked for."""

    def __init__(self, store: PackStore, region: str) -> None:
        self._load = partial(value_domains, store, region)
        self._found: Mapping[str, list[tuple[str, str]]] | None = None

    def table(self, wire: str) -> Mapping[str, str]:
        """Codes and names of a field's domain, to the code. Names that stand twice are left out."""
        if self._found is None:
            self._found = self._load()
        rows = self._found.get(_DOMAIN_OF.get(wire, wire), [])
        names = [name for _, name in rows]
        table = {name: code for code, name in rows if names.count(name) == 1}
        if _DOMAIN_OF.get(wire) == "departments":
            # The front page writes 03.01 or 0301 for what the list calls A03.01.
            for code, _ in rows:
                if code.startswith("A"):
                    table[code[1:]] = table[code[1:].replace(".", "")] = code
        return table | {code: code for code, _ in rows}


class Plan:
    """How the rows of one table become lists. ``used`` and ``ignored``: names of its columns."""

    def __init__(self, header: Header, mapping: ColumnMapping, domains: Domains) -> None:
        self._header, self._domains = header, domains
        self.mapping, self.empty = mapping, mapping.empty
        self._used: set[int] = set()
        self._stay = self._fields("setlinfo", mapping.stay, 0)
        self._blocks = [
            block
            for source in mapping.rows
            for number in self._numbers(source.fields, source.first, source.numbered)
            if (block := self._block(source.node, source.fields, number)) is not None
        ]
        self.used = tuple(header.names[place] for place in sorted(self._used))
        repeated = [name for name in self.used if plain_name(name) in header.repeated]
        if repeated:
            raise PlanError(f"表头有重复的列：{'、'.join(repeated[:10])}；不知道用哪一列，请删除多余的或改名")
        self.ignored = tuple(
            name for place, name in enumerate(header.names) if place not in self._used and name.strip()
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Every column of the table, in order."""
        return self._header.names

    def column_name(self, place: int | None) -> str:
        """The column at ``place`` as a message names it."""
        if place is None:
            return ""
        known = place < len(self._header.names) and self._header.names[place]
        return known or f"第 {place + 1} 列"

    def list_of(self, row: Row) -> bytes | None:
        """The list that a row of cleaned-up cells stands for, as UTF-8 JSON; None for a row without any."""
        stay = {wire: value for wire, get in self._stay if (value := get(row))}
        payload: dict[str, Any] = {"setlinfo": stay}
        for node, cells, blank, fields, splits in self._blocks:
            if cells(row) == blank:
                continue
            values = {wire: value for wire, get in fields if (value := get(row))}
            rows = _split(values, splits) if splits else (values,)
            for made in rows:
                if made:
                    payload.setdefault(node, []).append(made)
        return _encode(payload) if stay or len(payload) > 1 else None

    def _numbers(self, fields: Mapping[str, FieldSource], first: int, numbered: bool) -> Iterator[int]:
        if not numbered:
            yield 0
            return
        found: set[int] = set()
        for source in fields.values():
            found |= self._header.numbers(tuple(source.names()))
        yield from sorted(number for number in found if first <= number <= MAX_NUMBER)

    def _block(self, node: str, fields: Mapping[str, FieldSource], number: int) -> Any:
        before = set(self._used)
        self._used = set()
        made = self._fields(node, fields, number)
        places = sorted(self._used)
        self._used |= before
        if not places:
            return None
        # One look at a block of empty cells decides; itemgetter gives no tuple for a single place.
        both = (*places, places[0])
        splits = {
            wire: (source.split, self._change(node, wire, source))
            for wire, source in fields.items()
            if source.split
        }
        return node, itemgetter(*both), ("",) * len(both), made, splits

    def _fields(self, node: str, fields: Mapping[str, FieldSource], number: int) -> list[tuple[str, Get]]:
        made = []
        for wire, source in fields.items():
            get = self._get(node, wire, source, number)
            if get is not None:
                made.append((wire, get))
        return made

    def _place(self, names: Sequence[str], number: int) -> int | None:
        place = self._header.place(names, number)
        if place is not None:
            self._used.add(place)
        return place

    def _cell(self, names: Sequence[str], number: int) -> Get | None:
        place = self._place(names, number)
        return None if place is None else itemgetter(place)

    def _get(self, node: str, wire: str, source: FieldSource, number: int) -> Get | None:
        get = self._value(node, wire, source, number)
        if get is None:
            return None
        if source.if_filled:
            filled = self._cell(source.if_filled, number)
            get = None if filled is None else partial(_if_filled, filled, get)
        if get is not None and source.unless_filled:
            other = self._cell(source.unless_filled, number)
            get = get if other is None else partial(_unless, other, get)
        return get

    def _value(self, node: str, wire: str, source: FieldSource, number: int) -> Get | None:
        if source.value:
            return partial(_always, source.value)
        if source.join:
            parts = [get for names in source.join if (get := self._cell(names, number)) is not None]
            return partial(_joined, parts, source.separator) if parts else None
        if source.months:
            months = self._cell(source.months, number)
            return None if months is None else partial(_converted, months, convert.age_in_days)
        if source.days or source.hours or source.minutes:
            pieces = [self._cell(names, number) for names in (source.days, source.hours, source.minutes)]
            return partial(_duration, pieces) if any(pieces) else None
        cell = self._cell(source.columns, number)
        if cell is None:
            return None
        hour = self._cell(source.hour, number) if source.hour else None
        if hour is not None:
            return partial(_with_hour, cell, hour)
        change = None if source.split else self._change(node, wire, source)
        return cell if change is None else partial(_converted, cell, change)

    def _change(self, node: str, wire: str, source: FieldSource) -> Convert | None:
        info = FIELDS[node][wire]
        if info.kind != "text":
            return convert.converter(info)
        table = {**self._domains.table(wire), **source.values}
        if not table:
            return None
        look_up = convert.by_table(table)
        return partial(_each, look_up) if wire in _SEVERAL else look_up


def cleaned(cell: str, empty: frozenset[str]) -> str:
    """A cell without padding and without what spreadsheets add to keep leading zeros."""
    text = cell.strip()
    if text.startswith('="') and text.endswith('"'):
        text = text[2:-1].strip()
    elif text.startswith("'"):
        text = text[1:].strip()
    return "" if text in empty else text


def clean_row(row: Sequence[str], empty: frozenset[str]) -> list[str]:
    """Every cell of a row, cleaned."""
    return [cell and cleaned(cell, empty) for cell in row]


def _always(value: str, row: Row) -> str:  # noqa: ARG001 -- takes a row as the others do
    return value


def _if_filled(filled: Get, get: Get, row: Row) -> str:
    return get(row) if filled(row) else ""


def _unless(other: Get, get: Get, row: Row) -> str:
    return "" if other(row).strip("0.") else get(row)


def _joined(parts: Sequence[Get], separator: str, row: Row) -> str:
    return separator.join(filter(None, (get(row) for get in parts)))


def _converted(cell: Get, change: Convert, row: Row) -> str:
    text = cell(row)
    return text and change(text)


def _duration(pieces: Sequence[Get | None], row: Row) -> str:
    days, hours, minutes = ("" if get is None else get(row) for get in pieces)
    return convert.duration(days, hours, minutes) if days or hours or minutes else ""


def _with_hour(cell: Get, hour: Get, row: Row) -> str:
    day = cell(row)
    return day and convert.moment_of(day, hour(row))


_SEPARATORS = re.compile(r"\s*(?:,|，|、|;|；|→|->)\s*")


def _each(look_up: Convert, text: str) -> str:
    return ",".join(look_up(part) for part in _SEPARATORS.split(text) if part)


def _split(
    values: Mapping[str, str], splits: Mapping[str, tuple[str, Convert | None]]
) -> Iterator[Mapping[str, str]]:
    """Several rows from cells that hold several values each."""
    pieces = {wire: _parts(value, *splits[wire]) for wire, value in values.items() if wire in splits}
    shared = {wire: value for wire, value in values.items() if wire not in splits}
    for number in range(max((len(parts) for parts in pieces.values()), default=0)):
        row = {wire: parts[number] for wire, parts in pieces.items() if number < len(parts) and parts[number]}
        if row:
            yield shared | row


def _parts(value: str, separators: str, change: Convert | None) -> list[str]:
    parts = [part.strip() for part in re.split(f"[{re.escape(separators)}]", value)]
    return parts if change is None else [part and change(part) for part in parts]
