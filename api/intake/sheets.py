"""Reads a hospital's own table from an xlsx workbook as rows of text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from python_calamine import CalamineError, CalamineWorkbook

from api.spreadsheet import MAX_SHEET_ROWS, MAX_TEXT_BYTES, cell_value
from models.wire import DecodeError
from models.workbook import UnsafeWorkbookError, WorkbookLimits, check_workbook

MAX_COLUMNS = 4_096
"""Columns of a sheet; a wider one has stray cells or is not a table."""
MAX_CELLS = 20_000_000


def sheet_rows(path: Path, limit: int) -> Iterator[tuple[str, int, list[str]]]:
    """Sheet, row from 1 and cells of every row, sheet after sheet. ``limit``: unpacked bytes.

    Raises DecodeError, OSError. Formulas give the value that was saved with them; they are never computed.
    """
    try:
        check_workbook(path, WorkbookLimits(limit, MAX_TEXT_BYTES, MAX_SHEET_ROWS, MAX_COLUMNS, MAX_CELLS))
        with path.open("rb") as stream:
            book = CalamineWorkbook.from_filelike(stream)
            for name in book.sheet_names:
                sheet = book.get_sheet_by_name(name)
                first = sheet.start[0] + 1 if sheet.start else 1
                for number, row in enumerate(sheet.to_python(skip_empty_area=True), start=first):
                    yield name, number, [_text(cell) for cell in row]
    except UnsafeWorkbookError as error:
        raise DecodeError(f"{error}，或改用 CSV") from error
    except (CalamineError, ValueError) as error:
        if isinstance(error, DecodeError):
            raise
        raise DecodeError(f"不是能读取的 xlsx 工作簿（{error}）") from error


def sheet_names(path: Path, limit: int) -> list[str]:
    """The names of the sheets. Raises DecodeError, OSError."""
    try:
        check_workbook(path, WorkbookLimits(limit, MAX_TEXT_BYTES, MAX_SHEET_ROWS, MAX_COLUMNS, MAX_CELLS))
        with path.open("rb") as stream:
            return list(CalamineWorkbook.from_filelike(stream).sheet_names)
    except UnsafeWorkbookError as error:
        raise DecodeError(f"{error}，或改用 CSV") from error
    except (CalamineError, ValueError) as error:
        raise DecodeError(f"不是能读取的 xlsx 工作簿（{error}）") from error


def _text(cell: Any) -> str:
    value = cell_value(cell)
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or value is None:
        return "" if value is None else str(int(value))
    return f"{value:.15g}" if isinstance(value, float) else str(value)
