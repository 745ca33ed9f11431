"""Read an official workbook safely: sheets by name, columns by header text, every value a cleaned string."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path

from python_calamine import CalamineError, CalamineWorkbook

from models.pack_import import ENCODINGS, MAX_FILE_BYTES, Fault, shown
from models.system_errors import reason_of
from models.workbook import MIB, UnsafeWorkbookError, WorkbookLimits, check_workbook

LIMITS = WorkbookLimits(unpacked=400 * MIB, texts=400 * MIB, rows=400_000, columns=200, cells=12_000_000)
"""The official workbooks unpack to under 60 MB."""
HEADER_ROWS = 10
"""The header is looked for in so many rows: one or two title rows may stand above it."""
WORKBOOK_SUFFIXES = (".xlsx", ".xlsm")

_REMAINS = re.compile(r"_x000[dDaA9]_|[\x00-\x1f\x7f\u200b\ufeff\u3000\u00a0]")
_SPACES = re.compile(r" {2,}")
_ERROR_VALUES = ("#REF!", "#N/A", "#VALUE!", "#NAME?", "#DIV/0!", "#NULL!", "#NUM!")

Cell = str | int | float | bool | date | time | datetime | timedelta | None


class WorkbookError(ValueError):
    """A workbook cannot be read at all; the message (Chinese) says why and what to do."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a sheet: its number in the sheet and the cleaned values by column name."""

    number: int
    values: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.values.get(column, "")


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet whose header was found: ``letters`` is the column letter and header of each column name."""

    file: str
    name: str
    rows: tuple[Row, ...]
    letters: Mapping[str, tuple[str, str]]
    cleaned: int = 0
    """Rows in which stray characters of the spreadsheet were removed."""

    @property
    def place(self) -> str:
        return f"{self.file} 工作表“{self.name}”" if self.name else self.file

    def fault(self, row: Row | None, column: str, message: str) -> Fault:
        """A fault at a cell of this sheet; ``column`` is a column name or empty."""
        letter, header = self.letters.get(column, ("", column))
        number = row.number if row else 0
        return Fault(self.place, number, header, message, f"{letter}{number}" if letter and number else "")


@dataclass(frozen=True, slots=True)
class Column:
    """A column that is wanted: its name here, and the headers under which it is published.

    ``after``: it stands directly right of that column (``名称`` occurs several times in a sheet).
    """

    name: str
    headers: tuple[str, ...]
    optional: bool = False
    after: str = ""


def open_workbook(path: Path) -> CalamineWorkbook:
    """Open an xlsx after looking at what it would unpack to. Raises WorkbookError."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise WorkbookError(f"{path.name}：文件超过 {MAX_FILE_BYTES // MIB} MB 的上限")
        check_workbook(path, LIMITS)
        return CalamineWorkbook.from_path(str(path))
    except WorkbookError:
        raise
    except UnsafeWorkbookError as error:
        raise WorkbookError(f"{path.name}：{error}") from error
    except (CalamineError, ValueError) as error:
        raise WorkbookError(
            f"{path.name}：不是完好的 Excel 工作簿（{error}）；请用表格软件另存为 .xlsx 后重试"
        ) from error
    except OSError as error:
        raise WorkbookError(f"{path.name}：无法读取（{reason_of(error)}）") from error


def is_workbook(path: Path) -> bool:
    """Whether the name or the first bytes of a file say that it is an xlsx."""
    if not path.is_file():
        return False
    if path.suffix.lower() in WORKBOOK_SUFFIXES:
        return True
    try:
        with path.open("rb") as stream:
            return stream.read(4) == b"PK\x03\x04"
    except OSError:
        return False


def column_letter(number: int) -> str:
    """1 → A, 27 → AA."""
    letters = ""
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def plain(text: str) -> str:
    """A sheet name or header for comparing: no blanks, no brackets' width, dashes alike, capitals."""
    narrow = text.translate({code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)})
    return re.sub(r"[\s_\-—–－·、.]|_x000[dD]_", "", narrow).upper()


def cell_text(value: Cell) -> str:
    """A cell as text: whole numbers without a decimal point, no stray characters at either end."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value)


def cleaned(text: str) -> str:
    """Without ``_x000D_``, line breaks, other control characters and repeated blanks."""
    return _SPACES.sub(" ", _REMAINS.sub(" ", text)).strip()


def read_rows(path: Path, book: CalamineWorkbook, sheet_name: str) -> list[list[Cell]]:
    """All rows of a sheet from its first row on. Raises WorkbookError."""
    try:
        return [list(row) for row in book.get_sheet_by_name(sheet_name).to_python(skip_empty_area=False)]
    except (CalamineError, ValueError) as error:
        raise WorkbookError(f"{path.name} 工作表“{sheet_name}”：无法读取（{error}）") from error


def read_csv_rows(path: Path) -> list[list[Cell]]:
    """The rows of a CSV in UTF-8 or GB18030. Raises WorkbookError."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise WorkbookError(f"{path.name}：文件超过 {MAX_FILE_BYTES // MIB} MB 的上限")
        content = path.read_bytes()
    except OSError as error:
        raise WorkbookError(f"{path.name}：无法读取（{reason_of(error)}）") from error
    for encoding in ENCODINGS:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        try:
            return [list(row) for row in csv.reader(io.StringIO(text, newline=""), strict=True)]
        except csv.Error as error:
            raise WorkbookError(f"{path.name}：不是有效的 CSV（{error}）") from error
    raise WorkbookError(
        f"{path.name}：编码既不是 UTF-8 也不是 GB18030，请另存为“CSV UTF-8（逗号分隔）”后再导入"
    )


def find_header(rows: Sequence[Sequence[Cell]], columns: Sequence[Column]) -> tuple[int, dict[str, int]]:
    """The index of the header row and the position of each column found in the best one.

    A header is compared without blanks and signs; it may also merely begin with a published header
    (``主要诊断编码（ICD-10）``), which the exact one outranks.
    """
    best: tuple[int, dict[str, int]] = (0, {})
    for index, row in enumerate(rows[:HEADER_ROWS]):
        found = match_columns([plain(cell_text(cell)) for cell in row], columns)
        if len(found) > len(best[1]):
            best = (index, found)
    return best


def match_columns(header: Sequence[str], columns: Sequence[Column]) -> dict[str, int]:
    """The position of each column in a header of ``plain`` texts."""
    found: dict[str, int] = {}
    for exact in (True, False):
        for column in columns:
            if column.name in found or column.after:
                continue
            position = _position(header, column, set(found.values()), exact)
            if position is not None:
                found[column.name] = position
        if exact:
            for column in columns:
                right = found.get(column.after, -2) + 1
                if 0 < right < len(header) and header[right] in map(plain, column.headers):
                    found = {name: at for name, at in found.items() if at != right} | {column.name: right}
    return found


def _position(header: Sequence[str], column: Column, taken: Set[int], exact: bool) -> int | None:
    for wanted in map(plain, column.headers):
        for at, text in enumerate(header):
            if at not in taken and text and (text == wanted if exact else text.startswith(wanted)):
                return at
    return None


def make_sheet(
    file: str, name: str, rows: Sequence[Sequence[Cell]], columns: Sequence[Column]
) -> tuple[Sheet, list[Fault]]:
    """The rows below the header as cleaned values by column name, and what is missing or unreadable."""
    place = f"{file} 工作表“{name}”" if name else file
    if not rows:
        return Sheet(file, name, (), {}), [Fault(place, 0, "", "没有内容")]
    index, positions = find_header(rows, columns)
    missing = [column for column in columns if not column.optional and column.name not in positions]
    header = [cleaned(cell_text(cell)) for cell in rows[index]]
    faults = [
        Fault(
            place,
            index + 1,
            column.headers[0],
            f"找不到这一列（前 {HEADER_ROWS} 行中最像表头的一行是：{shown('、'.join(filter(None, header))) or '空的'}）",
        )
        for column in missing
    ]
    letters = {key: (column_letter(at + 1), header[at]) for key, at in positions.items()}
    if missing:
        return Sheet(file, name, (), letters), faults
    found = []
    dirty = 0
    for offset, raw in enumerate(rows[index + 1 :], start=index + 2):
        values, changed = {}, False
        for key, at in positions.items():
            text = cell_text(raw[at]) if at < len(raw) else ""
            values[key] = cleaned(text)
            changed = changed or values[key] != text
        if any(values.values()):
            dirty += changed
            found.append(Row(offset, values))
    sheet = Sheet(file, name, tuple(found), letters, dirty)
    faults += list(_error_cells(sheet))
    if not found:
        faults.append(Fault(place, 0, "", "表头下没有数据行"))
    return sheet, faults


def _error_cells(sheet: Sheet) -> Iterator[Fault]:
    for row in sheet.rows:
        for column, value in row.values.items():
            if value.startswith(_ERROR_VALUES):
                yield sheet.fault(row, column, f"单元格的值是公式错误 {value}，请改成数值后再导入")
