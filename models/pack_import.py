"""Read the tables of a pack to be imported from a folder of CSV files, and list every fault in them."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from models.pack import PackStore
from models.system_errors import reason_of

MAX_FILE_BYTES = 64 * 1024 * 1024
"""The largest official table is under 4 MB; what is far larger is not a table of ours."""
MAX_ROWS = 1_000_000
"""The largest official table has about 100,000 rows."""
MAX_CELL_CHARACTERS = 20_000
MAX_FAULTS = 10_000
"""After so many faults the rest of a table is not looked at: it is another table than it should be."""
ENCODINGS = ("utf-8-sig", "gb18030")

_SPREADSHEET_REMAINS = re.compile(r"_x000[dD]_|[\x00-\x1f\x7f\ufeff]")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong in an import: where (``row`` is the line of the file, 0 = whole file) and what."""

    file: str
    row: int
    column: str
    message: str
    cell: str = ""
    """The cell of a workbook, such as C12."""

    def __str__(self) -> str:
        row = f" 第 {self.row} 行" if self.row else ""
        column = f" {self.column} 列" if self.column else ""
        cell = f"（{self.cell} 单元格）" if self.cell else ""
        return f"{self.file}{row}{column}{cell}：{self.message}"


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """A column that a table must have: ``pattern`` its values must match, ``meaning`` in Chinese.

    ``normalize`` rewrites a value as our tables write it (half-width, † as +) before it is checked.
    """

    name: str
    pattern: re.Pattern[str] | None = None
    meaning: str = ""
    empty: bool = False
    normalize: Callable[[str], str] | None = None


@dataclass(frozen=True, slots=True)
class TableSpec:
    """A table of a kind of pack; ``files`` are the names it may have in the folder imported from."""

    name: str
    columns: tuple[ColumnSpec, ...]
    key: tuple[str, ...]
    files: tuple[str, ...] = ()
    optional: bool = False

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


@dataclass(frozen=True, slots=True)
class Table:
    """A table as read: ``rows`` in file order with the columns of its spec, ``lines`` their line numbers.

    ``headers``: where a column stands in a workbook, its letter and its header there.
    """

    spec: TableSpec
    file: str
    rows: list[tuple[str, ...]]
    lines: list[int]
    headers: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def column(self, name: str) -> list[str]:
        position = self.spec.column_names.index(name)
        return [row[position] for row in self.rows]

    def located(self, *names: str) -> Iterator[tuple[int, tuple[str, ...]]]:
        """The line number and the values of ``names`` of each row."""
        positions = [self.spec.column_names.index(name) for name in names]
        for line, row in zip(self.lines, self.rows, strict=True):
            yield line, tuple(row[position] for position in positions)


@dataclass(slots=True)
class Draft:
    """What an import has read so far, and all that is wrong with it or worth knowing about it."""

    tables: dict[str, Table] = field(default_factory=dict)
    requires: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def fault(self, table: str, row: int, column: str, message: str) -> None:
        found = self.tables[table]
        letter, header = found.headers.get(column, ("", column))
        cell = f"{letter}{row}" if letter and row else ""
        self.faults.append(Fault(found.file, row, header, message, cell))

    def values(self, table: str, column: str) -> set[str]:
        """The distinct values of a column; empty when the table is not there."""
        found = self.tables.get(table)
        return set(found.column(column)) if found else set()


Check = Callable[[Draft, PackStore], None]


@dataclass(frozen=True, slots=True)
class KindSpec:
    """A kind of pack: its tables, the packs it stands on by kind, and the check across its tables."""

    kind: str
    name: str
    tables: tuple[TableSpec, ...]
    check: Check
    requires: tuple[str, ...] = ()
    convert: Callable[[Path], Mapping[str, str]] | None = None
    """Turns a published file of another form into CSV text by table; empty when it is not there."""
    published: Callable[[Path, Mapping[str, str]], Draft | None] | None = None
    """Reads the publisher's own workbook or table; None for a source in our form. The mapping gives the
    header of a column by its name, where the publisher's headers are not the usual ones."""
    lone_file: bool = False
    """Whether a file alone may be imported as the one table that is not optional."""


def read_draft(source: Path, spec: KindSpec, headers: Mapping[str, str] | None = None) -> Draft:
    """Read every table of ``spec`` from the folder ``source``, or from a file; it must exist.

    A file is the only table that must be there, or a publisher's own workbook or table, whose unusual
    ``headers`` are given by column.
    """
    draft = Draft()
    found = spec.published(source, headers or {}) if spec.published else None
    if found is not None:
        return found
    tables = spec.tables
    if source.is_file() and spec.lone_file:
        tables = tuple(table for table in spec.tables if not table.optional)
    if len(tables) > 1 and source.is_file():
        names = "、".join(table.name + ".csv" for table in spec.tables)
        draft.faults.append(Fault(str(source), 0, "", f"{spec.kind} 需要一个文件夹，内含 {names}"))
        return draft
    converted = spec.convert(source) if spec.convert else {}
    for table in tables:
        if table.name in converted:
            _read_text(converted[table.name], source.name, table, draft)
            continue
        path = source if source.is_file() else _find(source, table)
        if path is None:
            if not table.optional:
                names = " 或 ".join((f"{table.name}.csv", *table.files))
                draft.faults.append(Fault(str(source), 0, "", f"缺少数据表 {table.name}，文件名应为 {names}"))
            continue
        text = _decode(path, draft)
        if text is not None:
            _read_text(text, path.name, table, draft)
    return draft


def _find(folder: Path, table: TableSpec) -> Path | None:
    for name in (f"{table.name}.csv", *table.files):
        path = folder / name
        if path.is_file():
            return path
    return None


def _decode(path: Path, draft: Draft) -> str | None:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            limit = MAX_FILE_BYTES // 1024 // 1024
            draft.faults.append(Fault(path.name, 0, "", f"文件有 {size} 字节，超过 {limit} MB 的上限"))
            return None
        content = path.read_bytes()
    except OSError as error:
        draft.faults.append(Fault(path.name, 0, "", f"无法读取（{reason_of(error)}）"))
        return None
    for encoding in ENCODINGS:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    draft.faults.append(
        Fault(path.name, 0, "", "编码既不是 UTF-8 也不是 GB18030，请另存为“CSV UTF-8（逗号分隔）”后再导入")
    )
    return None


def _read_text(text: str, file: str, spec: TableSpec, draft: Draft) -> None:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [_clean(cell) for cell in next(reader, [])]
        missing = [name for name in spec.column_names if name not in header]
        for name in missing:
            found = shown("、".join(header)) or "空的"
            draft.faults.append(Fault(file, 1, name, f"缺少这一列；表头是 {found}"))
        repeated = [
            name for name, times in Counter(header).items() if times > 1 and name in spec.column_names
        ]
        for name in repeated:
            draft.faults.append(Fault(file, 1, name, "表头中这一列出现了不止一次"))
        if missing or repeated:
            return
        ignored = [name or "（无列名）" for name in header if name not in spec.column_names]
        if ignored:
            draft.notes.append(f"{file}：不使用的列 {shown('、'.join(ignored))}，未导入")
        table = _read_rows(reader, header, file, spec, draft)
    except csv.Error as error:
        draft.faults.append(Fault(file, reader.line_num, "", f"不是有效的 CSV（{error}），后面的行未检查"))
        return
    if not table.rows and not spec.optional:
        draft.faults.append(Fault(file, 0, "", "没有数据行"))
    draft.tables[spec.name] = table
    check_key(table, draft)


def _read_rows(
    reader: Iterator[Sequence[str]], header: Sequence[str], file: str, spec: TableSpec, draft: Draft
) -> Table:
    positions = [header.index(name) for name in spec.column_names]
    normalized = [(position, column) for position, column in enumerate(spec.columns) if column.normalize]
    rows: list[tuple[str, ...]] = []
    lines: list[int] = []
    trimmed = 0
    rewritten: list[str] = []
    line = 2
    for raw in reader:
        start, line = line, reader.line_num + 1  # type: ignore[attr-defined]
        if not any(raw):
            continue
        if len(rows) >= MAX_ROWS or len(draft.faults) >= MAX_FAULTS:
            draft.faults.append(
                Fault(file, start, "", f"超过 {MAX_ROWS} 行或 {MAX_FAULTS} 处错误，从这一行起未检查")
            )
            break
        if len(raw) != len(header):
            draft.faults.append(Fault(file, start, "", f"有 {len(raw)} 个值，表头有 {len(header)} 列"))
            continue
        values = [_clean(raw[position]) for position in positions]
        trimmed += any(raw[p] != value for p, value in zip(positions, values, strict=True))
        for position, column in normalized:
            value = column.normalize(values[position][:MAX_CELL_CHARACTERS]) if column.normalize else ""
            if value != values[position]:
                rewritten.append(f"{shown(values[position])} → {shown(value)}")
                values[position] = value
        for column, value in zip(spec.columns, values, strict=True):
            problem = _problem(column, value)
            if problem:
                draft.faults.append(Fault(file, start, column.name, problem))
        rows.append(tuple(values))
        lines.append(start)
    if trimmed:
        draft.notes.append(f"{file}：{trimmed} 行的值去掉了首尾空白或表格软件留下的控制字符")
    if rewritten:
        draft.notes.append(f"{file}：{len(rewritten)} 个编码改成规范写法：{'、'.join(rewritten[:10])}")
    return Table(spec, file, rows, lines)


def _clean(cell: str) -> str:
    return _SPREADSHEET_REMAINS.sub(" ", cell).strip()


def _problem(column: ColumnSpec, value: str) -> str:
    if not value:
        return "" if column.empty else "不能为空"
    if len(value) > MAX_CELL_CHARACTERS:
        return f"有 {len(value)} 个字符，超过 {MAX_CELL_CHARACTERS} 的上限"
    if column.pattern is not None and not column.pattern.fullmatch(value):
        return f"“{shown(value)}”不符合要求，应为{column.meaning}"
    return ""


def shown(value: str) -> str:
    """``value`` short enough for a message."""
    return value if len(value) <= 60 else value[:60] + "…"


def check_key(table: Table, draft: Draft) -> None:
    """A fault for every row whose key another row has already."""
    seen: dict[tuple[str, ...], int] = {}
    columns = "、".join(table.spec.key)
    for line, values in table.located(*table.spec.key):
        first = seen.setdefault(values, line)
        if first != line:
            text = shown(" ".join(values))
            draft.faults.append(Fault(table.file, line, columns, f"“{text}”与第 {first} 行重复"))
            if len(draft.faults) >= MAX_FAULTS:
                return
