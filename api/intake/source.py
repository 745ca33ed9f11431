"""Opens whatever a hospital hands in and gives the lists in it one by one, undecoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Protocol

import msgspec

from api.intake.archive import Member, is_junk, is_workbook, members, unpacked
from api.intake.delimited import MAX_COLUMNS, Record, TextTable, delimiter_of
from api.intake.mapping import ColumnMapping, shipped_mappings
from api.intake.sheets import sheet_names, sheet_rows
from api.intake.table import Domains, Header, Plan, PlanError, clean_row
from api.reading import (
    NDJSON_SUFFIXES,
    PARQUET_MAGIC,
    ZIP_MAGIC,
    Advance,
    FileRefusedError,
    SourceFile,
    encoding_of,
    opening,
    reading,
    refuse_other_forms,
    shown,
    shown_name,
    to_utf8,
)
from api.settings import Settings
from api.spreadsheet import is_template
from models.pack import PackError
from models.wire import DecodeError

__all__ = ["FileRefusedError", "Incoming", "Note", "Source", "open_source", "open_table"]

PROBED_RECORDS = 20
"""Records among which the header is looked for: titles and notes may stand above it."""
TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".tab")
OTHER_ARCHIVES = (b"Rar!", b"7z\xbc\xaf", b"BZh", b"\xfd7zXZ")
WHOLE_FILE = 0
"""Line of what concerns a whole file."""
Note = Callable[[str], object]
"""Is told, in Chinese, what a person should know of how a file is read."""


class Incoming(msgspec.Struct, frozen=True, gc=False):
    """One list as it came in, or why there is none.

    ``source`` is the file as a person knows it (``a.zip/b.csv`` within an archive or folder), ``line``
    the line, row or position in it from 1, 0 for a whole file. ``content`` is the list as UTF-8 JSON, not
    looked into; it is None when ``error`` (Chinese) says what is wrong and ``column``, where known, in
    which column.
    """

    source: str
    line: int
    content: bytes | None
    error: str = ""
    column: str = ""


class Source(Protocol):
    """What was opened: ``size`` is what ``items`` tells ``advance`` in sum, in bytes."""

    @property
    def size(self) -> int: ...

    def items(self, advance: Advance = lambda _: None) -> Iterator[Incoming]:
        """Every list, in an order that is the same each time. Raises FileRefusedError."""
        ...


def open_source(
    path: Path, settings: Settings, mapping: ColumnMapping | None = None, note: Note = lambda _: None
) -> Source:
    """Look at ``path`` (file, zip or folder) and tell how to read it.

    Tables are read with ``mapping``, else with the shipped one that knows their columns. In a zip or folder
    the shipped ones also serve for the tables that ``mapping`` does not fit; ``note`` is told which, while
    they are read. Raises FileRefusedError.
    """
    context = _Context(settings, mapping, _domains(settings), note)
    with opening(path):
        if path.is_dir():
            return _Folder(path, shown_name(path.absolute()), replace(context, among_others=True))
        return _open(path, shown_name(path), context)


def open_table(
    path: Path, settings: Settings, mapping: ColumnMapping | None = None
) -> tuple[Header, Plan | None]:
    """The columns of a table and how they would be read, None when no mapping knows them.

    Raises FileRefusedError.
    """
    context = _Context(settings, mapping, _domains(settings), lambda _: None)
    rows: Sequence[Sequence[str]]
    with opening(path):
        with path.open("rb") as stream:
            magic = stream.read(len(PARQUET_MAGIC))
        if magic == PARQUET_MAGIC:
            from api.intake import parquet  # noqa: PLC0415 -- loads slowly, and few files are of the kind

            rows = [parquet.column_names(path)]
        elif magic == ZIP_MAGIC:
            found = sheet_rows(path, settings.workbook_limit)
            rows = [cells for _, _, cells in islice(found, PROBED_RECORDS)]
        else:
            table = _text_table(path, settings)
            rows = [one.cells for one in islice(table.records(), PROBED_RECORDS) if one.cells is not None]
    found_plan = context.plan_among(path, rows)
    if found_plan is not None:
        return Header(rows[found_plan[0]]), found_plan[1]
    widest = max(rows, key=lambda row: sum(1 for cell in row if cell.strip()), default=())
    return Header(widest), None


def _domains(settings: Settings) -> Callable[[], Domains]:
    """The value domains, read once for all tables of a source and only where there is one."""
    return cache(lambda: Domains(settings.store(), settings.region))


@dataclass(frozen=True, slots=True)
class _Context:
    """What every file of one source is read with."""

    settings: Settings
    mapping: ColumnMapping | None
    domains: Callable[[], Domains]
    note: Note
    within_archive: bool = False
    among_others: bool = False

    def plan_among(self, path: Path, rows: Sequence[Sequence[str]]) -> tuple[int, Plan] | None:
        """The row that is the header, and how the table is read; None when no row is one."""
        headers = [Header(_trimmed(row)) for row in rows]
        mapping = self.mapping
        try:
            if mapping is None:
                return self._best(headers, shipped_mappings(), _recognised)
            if not self.among_others:
                return self._best(headers, (mapping,))
            # A package holds tables of several systems, and the mapping was written for one of them.
            return (
                self._best(headers, (mapping,), _fits)
                or self._best(headers, shipped_mappings(), _recognised)
                or self._best(headers, (mapping,))
            )
        except PlanError as error:
            raise FileRefusedError(path, str(error)) from error
        except PackError as error:
            raise FileRefusedError(path, f"读不到值域字典，不能转换代码（{error}）") from error

    def _best(
        self,
        headers: Sequence[Header],
        mappings: Sequence[ColumnMapping],
        suits: Callable[[Header, ColumnMapping], bool] = lambda _, __: True,
    ) -> tuple[int, Plan] | None:
        """The header and mapping that suit each other and use the most columns."""
        best: tuple[int, Plan] | None = None
        domains = self.domains()
        for number, header in enumerate(headers):
            for mapping in mappings:
                if not suits(header, mapping):
                    continue
                plan = Plan(header, mapping, domains)
                if plan.used and (best is None or len(plan.used) > len(best[1].used)):
                    best = number, plan
        return best

    def tell(self, name: str, plan: Plan) -> None:
        """Say when a table is not read with the mapping that was given."""
        if self.mapping and plan.mapping is not self.mapping:
            self.note(
                f"{name}：列对照“{self.mapping.title}”对不上这个文件的列，改用内置对照“{plan.mapping.title}”"
            )

    def refusal(self, path: Path) -> FileRefusedError:
        """No row of a table is a header that is known."""
        if self.mapping and self.among_others:
            return FileRefusedError(
                path,
                f"没有列对照“{self.mapping.name}”中的任何一列，也不是内置对照认识的列名；"
                "请核对表头，或用 qingdan intake columns 为它另写一份列对照，单独读入",
            )
        if self.mapping:
            return FileRefusedError(path, f"没有列对照“{self.mapping.name}”中的任何一列；请核对表头")
        return FileRefusedError(
            path,
            "既不是清单（JSON、NDJSON、模板 .xlsx），也不是认识的病案首页列名；"
            "医院自己的表格要另有列对照：用 qingdan intake columns 生成，核对后与这个文件一起指定",
        )


def _recognised(header: Header, mapping: ColumnMapping) -> bool:
    return all(header.place(names) is not None for names in mapping.recognised_by)


def _fits(header: Header, mapping: ColumnMapping) -> bool:
    """Whether the table has a column of diagnosis codes that the mapping names, if it names any.

    Common names such as 性别 stand in every hospital table and tell nothing.
    """
    codes = [row.fields["diag_code"].columns for row in mapping.rows if "diag_code" in row.fields]
    return not codes or any(header.place(names) is not None or header.numbers(names) for names in codes)


def _trimmed(row: Sequence[str]) -> list[str]:
    """A header without the empty cells at its end."""
    cells = [cell.strip() for cell in row]
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _open(path: Path, name: str, context: _Context) -> Source:
    """A single file. Raises FileRefusedError, OSError."""
    settings = context.settings
    magic = b""
    if path.is_file():
        with path.open("rb") as stream:
            magic = stream.read(8)
    if magic.startswith(OTHER_ARCHIVES):
        raise FileRefusedError(path, "是 RAR、7z 等压缩文件，请解压，或改压成 zip")
    try:
        if magic.startswith(PARQUET_MAGIC):
            return _parquet(path, name, context)
        if magic.startswith(ZIP_MAGIC):
            if not is_workbook(path):
                if context.within_archive:
                    raise FileRefusedError(path, "压缩包里还有压缩包，不再往里读；请解压后重新压缩")
                within = replace(context, within_archive=True, among_others=True)
                return _Archive(path, name, within, members(path))
            names = sheet_names(path, settings.workbook_limit)
            if not is_template(names) or (context.mapping and not context.among_others):
                return _Workbook(path, name, context, path.stat().st_size)
        elif magic and _is_table(path, magic, settings):
            return _delimited(path, name, context)
    except DecodeError as error:
        raise FileRefusedError(path, str(error)) from error
    return _Lists(name, SourceFile.open(path, settings))


def _is_table(path: Path, magic: bytes, settings: Settings) -> bool:
    """Whether a file of text is a table rather than JSON: by its first character, then by its name."""
    refuse_other_forms(path, magic)
    suffix = path.suffix.lower()
    if suffix in NDJSON_SUFFIXES:
        return False
    with path.open("rb") as stream:
        head = stream.read(min(settings.line_limit, 65_536)).removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith((b"{", b"[")):
        return False
    line = head.split(b"\n", 1)[0]
    return suffix in TABLE_SUFFIXES or b"," in line or b"\t" in line


@dataclass(frozen=True, slots=True)
class _Lists:
    """A file whose records are lists in wire form already."""

    name: str
    file: SourceFile

    @property
    def size(self) -> int:
        return self.file.size

    def items(self, advance: Advance = lambda _: None) -> Iterator[Incoming]:
        name = self.name
        for raw in self.file.raw(advance):
            yield Incoming(name, raw.line, raw.content, raw.error)


# ---------------------------------------------------------------- tables


def _text_table(path: Path, settings: Settings) -> TextTable:
    with path.open("rb") as stream:
        magic = stream.read(8)
        refuse_other_forms(path, magic)
        if magic[1:2] == b"\0" or magic[:1] == b"\0":
            raise FileRefusedError(path, "是 UTF-16 编码或已损坏，请另存为 UTF-8")
        encoding = encoding_of(stream)
        stream.seek(0)
        first = stream.readline(settings.line_limit)
    try:
        line = to_utf8(first, encoding).decode()
    except UnicodeDecodeError:
        line = first.decode("latin-1")
    return TextTable(path, encoding, delimiter_of(line), settings.line_limit)


def _delimited(path: Path, name: str, context: _Context) -> Source:
    size = path.stat().st_size
    table = _text_table(path, context.settings)
    first = list(islice(table.records(), PROBED_RECORDS))
    rows = [one for one in first if one.cells is not None]
    # Titles above the header may use no separator: the widest record knows it.
    found = context.plan_among(path, [one.cells or () for one in rows])
    if found is None:
        raise context.refusal(path)
    context.tell(name, found[1])
    header = rows[found[0]]
    width = len(_trimmed(header.cells or ()))
    if width > MAX_COLUMNS:
        raise FileRefusedError(path, f"有 {width} 列，超过上限 {MAX_COLUMNS} 列；请只导出需要的列")
    return _Delimited(name, table, found[1], header.line, width, size)


@dataclass(frozen=True, slots=True)
class _Delimited:
    """A table of text."""

    name: str
    table: TextTable
    plan: Plan
    header: int
    width: int
    size: int

    def items(self, advance: Advance = lambda _: None) -> Iterator[Incoming]:
        name, plan = self.name, self.plan
        with reading(self.table.path):
            for record in self.table.records(advance, self.width):
                if record.line > self.header:
                    yield _incoming(name, record, plan)


def _incoming(name: str, record: Record, plan: Plan) -> Incoming:
    if record.cells is None:
        return Incoming(name, record.line, None, record.error, plan.column_name(record.column))
    content = plan.list_of(clean_row(record.cells, plan.empty))
    if content is None:
        return Incoming(name, record.line, None, "这一行没有任何能用的内容")
    return Incoming(name, record.line, content)


@dataclass(frozen=True, slots=True)
class _Workbook:
    """The sheets of a workbook that are tables with known columns."""

    path: Path
    name: str
    context: _Context
    size: int

    def items(self, advance: Advance = lambda _: None) -> Iterator[Incoming]:
        with reading(self.path):
            yield from self._items()
        advance(self.size)

    def _items(self) -> Iterator[Incoming]:
        any_table = False
        for sheet, rows in _by_sheet(sheet_rows(self.path, self.context.settings.workbook_limit)):
            first = list(islice(rows, PROBED_RECORDS))
            found = self.context.plan_among(self.path, [cells for _, cells in first])
            if found is None:
                continue
            any_table = True
            start, plan = found
            name = f"{self.name}/{sheet}"
            self.context.tell(name, plan)
            for number, cells in _chain(first[start + 1 :], rows):
                if any(cells):
                    yield _incoming(name, Record(number, tuple(cells)), plan)
        if not any_table:
            raise self.context.refusal(self.path)


_SheetRows = Iterator[tuple[int, list[str]]]


def _by_sheet(rows: Iterator[tuple[str, int, list[str]]]) -> Iterator[tuple[str, _SheetRows]]:
    """The rows of one sheet after the other; what was not taken of a sheet is passed over."""
    following = next(rows, None)

    def of(sheet: str) -> _SheetRows:
        nonlocal following
        while following is not None and following[0] == sheet:
            current, following = following, next(rows, None)
            yield current[1], current[2]

    while following is not None:
        sheet = following[0]
        mine = of(sheet)
        yield sheet, mine
        for _ in mine:
            pass


def _chain(first: Iterable[tuple[int, list[str]]], rest: _SheetRows) -> _SheetRows:
    yield from first
    yield from rest


def _parquet(path: Path, name: str, context: _Context) -> Source:
    from api.intake import parquet  # noqa: PLC0415 -- loads slowly, and few files are of the kind

    size = path.stat().st_size
    names = parquet.column_names(path)
    strict = context.mapping is not None and not context.among_others
    if not strict and parquet.has_nodes(names):
        return _Parquet(path, name, size, None)
    column = "" if strict else parquet.json_column(names)
    if column and not context.plan_among(path, [names]):
        return _Parquet(path, name, size, None, column)
    found = context.plan_among(path, [names])
    # Only the columns that are used are read.
    narrow = found and context.plan_among(path, [found[1].used])
    if not narrow:
        raise context.refusal(path)
    context.tell(name, narrow[1])
    return _Parquet(path, name, size, narrow[1])


@dataclass(frozen=True, slots=True)
class _Parquet:
    """A Parquet file: a table (``plan``), a column of JSON, or columns that are nodes."""

    path: Path
    name: str
    size: int
    plan: Plan | None
    column: str = ""

    def items(self, advance: Advance = lambda _: None) -> Iterator[Incoming]:
        from api.intake import parquet  # noqa: PLC0415 -- loads slowly, and few files are of the kind

        name, plan = self.name, self.plan
        with reading(self.path):
            if plan is not None:
                for number, cells in enumerate(parquet.text_rows(self.path, plan.names), start=1):
                    yield _incoming(name, Record(number, cells), plan)
            else:
                rows = (
                    parquet.json_rows(self.path, self.column) if self.column else parquet.node_rows(self.path)
                )
                for number, content in enumerate(rows, start=1):
                    error = "" if content else f"列 {self.column} 是空的"
                    yield Incoming(name, number, content or None, error, self.column if error else "")
        advance(self.size)


# ---------------------------------------------------------------- several files


def _each(path: Path, name: str, context: _Context, advance: Advance, size: int) -> Iterator[Incoming]:
    """The lists of one file among others: a file that cannot be read is one item that says so.

    A fault of the disk ends everything, so that no list is missing without a word.
    """
    told = 0

    def count(taken: int) -> None:
        nonlocal told
        told += taken
        advance(taken)

    try:
        yield from _open(path, name, context).items(count)
    except FileRefusedError as refusal:
        if isinstance(refusal.__cause__, OSError):
            raise
        yield Incoming(name, WHOLE_FILE, None, refusal.reason)
    advance(max(0, size - told))


class _Folder:
    """The files of a folder and of the folders in it, by name."""

    def __init__(self, path: Path, name: str, context: _Context) -> None:
        self._name, self._context = name, context
        self._files = [
            (f"{name}/{place.relative_to(path).as_posix()}", place)
            for place in sorted(path.rglob("*"), key=lambda place: place.relative_to(path).as_posix())
            if not is_junk(place.relative_to(path).as_posix()) and (place.is_symlink() or not place.is_dir())
        ]
        if not self._files:
            raise FileRefusedError(path, "文件夹里没有文件")
        self._sizes = [0 if file.is_symlink() else file.stat().st_size for _, file in self._files]
        self.size = sum(self._sizes)

    def items(self, advance: Advance = lambda _: None) -> Iterator[Incoming]:
        for (place, file), size in zip(self._files, self._sizes, strict=True):
            name = shown(place)
            if file.is_symlink():
                yield Incoming(name, WHOLE_FILE, None, "是链接，不读取链接指向的内容")
            else:
                yield from _each(file, name, self._context, advance, size)


@dataclass(frozen=True, slots=True)
class _Archive:
    """The files of a zip, by name, unpacked one after the other."""

    path: Path
    name: str
    context: _Context
    members: tuple[Member, ...]

    @property
    def size(self) -> int:
        return sum(member.size for member in self.members)

    def items(self, advance: Advance = lambda _: None) -> Iterator[Incoming]:
        context = self.context
        if not self.members:
            raise FileRefusedError(self.path, "压缩包里没有文件")
        for member in self.members:
            name = f"{self.name}/{member.name}"
            if member.fault:
                yield Incoming(name, WHOLE_FILE, None, member.fault)
                advance(member.size)
                continue
            try:
                with unpacked(self.path, member, context.settings.home) as file:
                    yield from _each(file, name, context, advance, member.size)
            except FileRefusedError as refusal:
                if isinstance(refusal.__cause__, OSError):
                    raise
                yield Incoming(name, WHOLE_FILE, None, refusal.reason)
                advance(member.size)
