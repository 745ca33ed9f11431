"""Column mappings: which column of a hospital's own table fills which field of the list, as data in TOML or YAML."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path, PurePath
from typing import Any

import msgspec
import yaml

from models.pack import PROJECT_ROOT
from models.settlement_list import BACKING_NODES, FIELDS, NODE_LABELS
from models.system_errors import reason_of

SHIPPED = PROJECT_ROOT / "data" / "settlement" / "intake-mappings"
MAX_MAPPING_BYTES = 1024 * 1024
NUMBER = "{n}"
NUMBER_2 = "{nn}"
"""Stand in a column name for 1, 2, 3 … and for 01, 02, 03 …."""
ABOUT = ("title", "document", "extends", "recognised_by", "empty", "values")
PARTS = ("days", "hours", "minutes")


class MappingError(ValueError):
    """A mapping cannot be used; every message (Chinese) names the file, the line and the key."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("；".join(faults))
        self.faults = tuple(faults)


class FieldSource(msgspec.Struct, frozen=True):
    """Where the value of one field comes from.

    ``columns``: names of the column, the first that the table has counts. ``value``: the same for every
    row. ``if_filled``: only for rows where that column is not empty. ``join``: several columns put
    together with ``separator``. ``days``, ``hours``, ``minutes``: parts of a duration. ``months``: an age in
    months (``2 15/30``), turned into days. ``hour``: the column that holds the hour, or the time
    of day, to a day in ``columns``. ``values``: code of the list by value of the table. ``split``: characters that separate
    several values in one cell. ``unless_filled``: the value is left out when that column holds a number
    other than 0.
    """

    columns: tuple[str, ...] = ()
    value: str = ""
    if_filled: tuple[str, ...] = ()
    unless_filled: tuple[str, ...] = ()
    join: tuple[tuple[str, ...], ...] = ()
    separator: str = ""
    days: tuple[str, ...] = ()
    hours: tuple[str, ...] = ()
    minutes: tuple[str, ...] = ()
    months: tuple[str, ...] = ()
    hour: tuple[str, ...] = ()
    values: Mapping[str, str] = {}
    split: str = ""

    def names(self) -> Iterator[str]:
        """Every column name that is looked for."""
        yield from self.columns
        for names in (*self.join, self.days, self.hours, self.minutes, self.months, self.hour):
            yield from names
        yield from self.if_filled
        yield from self.unless_filled


class RowSource(msgspec.Struct, frozen=True):
    """Where the rows of one node come from: once, or once for each number that the column names have."""

    node: str
    fields: Mapping[str, FieldSource]
    first: int = 1

    @property
    def numbered(self) -> bool:
        return any(NUMBER in name or NUMBER_2 in name for one in self.fields.values() for name in one.names())


class ColumnMapping(msgspec.Struct, frozen=True):
    """A mapping that was read and checked. ``empty``: cells that mean "no value"."""

    name: str
    title: str
    document: str
    recognised_by: tuple[tuple[str, ...], ...]
    empty: frozenset[str]
    stay: Mapping[str, FieldSource]
    rows: tuple[RowSource, ...]


EMPTY = ("-", "—", "–", "--", "/", "\\", "NULL", "null", "\\N", "None", "NaN", "nan")
"""卫医政发〔2011〕84号: an item without content is filled with “-”; the rest is what exports write for none."""

_IGNORED = re.compile(r"[\s()\[\]{}<>\"'`:：、,，;；]+")


def plain_name(header: str) -> str:
    """A column name as it is compared: width, case, spaces, brackets and 其它 for 其他 make no difference."""
    return _IGNORED.sub("", unicodedata.normalize("NFKC", header)).casefold().replace("其它", "其他")


def read_mapping(path: Path) -> ColumnMapping:
    """A mapping from a file (.toml, .yaml or .yml). Raises MappingError."""
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_MAPPING_BYTES + 1)
    except (OSError, ValueError) as error:
        raise MappingError([f"{path}：无法读取（{reason_of(error, '文件名无效')}）"]) from error
    return mapping_of(content, str(path))


def mapping_of(content: bytes, shown: str) -> ColumnMapping:
    """A mapping from the content of the file that ``shown`` names. Raises MappingError."""
    if len(content) > MAX_MAPPING_BYTES:
        raise MappingError([f"{shown}：超过 {MAX_MAPPING_BYTES} 字节，不像是列对照文件"])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MappingError([f"{shown}：不是 UTF-8 编码，请另存为 UTF-8"]) from error
    name = PurePath(shown)
    return parse_mapping(text, name.stem, shown, is_yaml=name.suffix.lower() in (".yaml", ".yml"))


def parse_mapping(text: str, name: str, shown: str, *, is_yaml: bool = False) -> ColumnMapping:
    """A mapping from its text; ``shown`` is how messages call it. Raises MappingError."""
    return _Parser(text, name, shown).parse(_load(text, shown, is_yaml))


def shipped_names() -> tuple[str, ...]:
    """The names of the mappings that come with the program."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.toml")))


@cache
def shipped_mapping(name: str) -> ColumnMapping:
    """The shipped mapping of that name. Raises MappingError."""
    return read_mapping(SHIPPED / f"{name}.toml")


def shipped_mappings() -> tuple[ColumnMapping, ...]:
    """The mappings that come with the program, by name."""
    return tuple(shipped_mapping(name) for name in shipped_names())


def _load(text: str, shown: str, is_yaml: bool) -> dict[str, Any]:
    try:
        found = yaml.safe_load(text) if is_yaml else tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"line (\d+), column (\d+)", str(error))
        where = f"第 {place[1]} 行第 {place[2]} 列附近" if place else "末尾"
        raise MappingError([f"{shown}：{where}不是有效的 TOML（核对引号、等号和方括号）"]) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"第 {mark.line + 1} 行附近" if mark else "内容"
        raise MappingError([f"{shown}：{where}不是有效的 YAML（核对缩进、冒号和引号）"]) from error
    if not isinstance(found, dict):
        raise MappingError([f"{shown}：应为“键 = 值”的列对照，见“输入格式”文档"])
    return found


class _Parser:
    """Checks one mapping and collects every fault instead of stopping at the first."""

    def __init__(self, text: str, name: str, shown: str) -> None:
        self.lines = text.splitlines()
        self.name, self.shown = name, shown
        self.faults: list[str] = []
        self.tables: dict[str, Mapping[str, str]] = {}

    def parse(self, found: dict[str, Any]) -> ColumnMapping:
        base = self._base(found.get("extends"))
        self.tables = {
            str(key): self._values(("values", str(key)), value)
            for key, value in self._dict(("values",), found.get("values", {})).items()
        }
        stay: dict[str, FieldSource] = dict(base.stay) if base else {}
        rows: list[RowSource] = []
        given: set[str] = set()
        for node, value in found.items():
            if node in ABOUT:
                continue
            if node == "setlinfo":
                stay.update(self._fields(node, self._dict((node,), value)))
            elif node in FIELDS and node not in BACKING_NODES:
                given.add(node)
                rows.extend(self._rows(node, value))
            else:
                nodes = "、".join(
                    f"{one}（{NODE_LABELS[one]}）" for one in FIELDS if one not in BACKING_NODES
                )
                self._fault((str(node),), f"没有这个节点；可以写 {nodes}，以及 {'、'.join(ABOUT)}")
        if base:
            rows = [one for one in base.rows if one.node not in given] + rows
        if not stay and not rows and not self.faults:
            self._fault((), "没有写任何字段")
        empty = frozenset(self._texts(("empty",), found.get("empty", list(base.empty if base else EMPTY))))
        marks = found.get("recognised_by", [])
        mapping = ColumnMapping(
            name=self.name,
            title=self._text(("title",), found.get("title", self.name)),
            document=self._text(("document",), found.get("document", "")),
            recognised_by=tuple(
                self._texts(("recognised_by",), one)
                for one in (marks if isinstance(marks, list) else [marks])
            ),
            empty=empty,
            stay=stay,
            rows=tuple(rows),
        )
        if self.faults:
            raise MappingError(self.faults)
        return mapping

    def _base(self, name: object) -> ColumnMapping | None:
        if name is None:
            return None
        known = [one for one in shipped_names() if one != self.name]
        if name not in known:
            self._fault(("extends",), f"没有名为“{name}”的内置对照；可以写 {'、'.join(known)}")
            return None
        return shipped_mapping(str(name))

    def _rows(self, node: str, value: object) -> Iterator[RowSource]:
        for entry in value if isinstance(value, list) else [value]:
            given = dict(self._dict((node,), entry))
            first = given.pop("first", 1)
            if isinstance(first, bool) or not isinstance(first, int) or not 0 <= first <= 999:
                self._fault((node, "first"), f"应为 0–999 的整数，现在是 {first}")
                first = 1
            yield RowSource(node, self._fields(node, given), first)

    def _fields(self, node: str, given: Mapping[str, Any]) -> dict[str, FieldSource]:
        fields = {}
        for wire, value in given.items():
            if wire not in FIELDS[node]:
                self._fault((node, str(wire)), f"{NODE_LABELS[node]}没有这个字段；字段名见接口 4101")
                continue
            fields[wire] = self._source((node, wire), value)
        return fields

    def _source(self, key: tuple[str, ...], value: object) -> FieldSource:
        if isinstance(value, str | list):
            return FieldSource(columns=self._texts(key, value))
        if not isinstance(value, dict):
            self._fault(key, f"应为加引号的列名文本，现在是 {value!r}")
            return FieldSource()
        given = self._dict(key, value)
        parts: dict[str, Any] = {}
        for name, part in given.items():
            place = (*key, str(name))
            if name in ("column", "columns"):
                parts["columns"] = self._texts(place, part)
            elif name == "join":
                items = part if isinstance(part, list) else [part]
                parts["join"] = tuple(self._texts(place, item) for item in items)
            elif name in ("days", "hours", "minutes", "months", "hour", "if_filled", "unless_filled"):
                parts[name] = self._texts(place, part)
            elif name in ("value", "separator", "split"):
                parts[name] = self._text(place, part)
            elif name == "values":
                if isinstance(part, str) and part not in self.tables:
                    self._fault(place, f"没有名为“{part}”的对照表，请在 [values.{part}] 中写出")
                parts["values"] = (
                    self.tables.get(part, {}) if isinstance(part, str) else self._values(place, part)
                )
            else:
                known = "column、value、join、days、hours、minutes、months、hour、values、split、if_filled、unless_filled"
                self._fault(place, f"没有这个写法；可以写 {known}")
        made = FieldSource(**parts)
        kinds = [bool(made.columns), bool(made.value), bool(made.join), bool(made.months)]
        kinds.append(bool(made.days or made.hours or made.minutes))
        if sum(kinds) != 1 and not self.faults:
            self._fault(key, "要写 column、value、join、months 或时长（days、hours、minutes）中的一种")
        return made

    def _values(self, key: tuple[str, ...], value: object) -> dict[str, str]:
        return {str(name): self._text((*key, str(name)), to) for name, to in self._dict(key, value).items()}

    def _dict(self, key: tuple[str, ...], value: object) -> Mapping[str, Any]:
        if isinstance(value, dict):
            return value
        self._fault(key, "应为一组“键 = 值”")
        return {}

    def _texts(self, key: tuple[str, ...], value: object) -> tuple[str, ...]:
        items = value if isinstance(value, list | tuple | frozenset) else [value]
        return tuple(self._text(key, item) for item in items)

    def _text(self, key: tuple[str, ...], value: object) -> str:
        if isinstance(value, str):
            return value
        self._fault(key, f"应为加引号的文本，现在是 {value!r}")
        return ""

    def _fault(self, key: tuple[str, ...], reason: str) -> None:
        line = self._line(key)
        where = f"第 {line} 行 " if line else ""
        self.faults.append(
            f"{self.shown}：{where}{'.'.join(key)}：{reason}" if key else f"{self.shown}：{reason}"
        )

    def _line(self, key: tuple[str, ...]) -> int:
        """The line that names the last part of ``key``, after the lines that name the parts before it."""
        start = 0
        for part in key:
            word = re.compile(rf"(?<![\w.])[\"']?{re.escape(part)}[\"']?\s*[=:\]]|\.{re.escape(part)}\]")
            found = next((n for n in range(start, len(self.lines)) if word.search(self.lines[n])), None)
            if found is None:
                break
            start = found
        else:
            return start + 1 if key else 0
        return start + 1 if start else 0
