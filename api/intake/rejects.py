"""Writes what could not be taken in, one line each, for the hospital to correct and hand in again."""

from __future__ import annotations

import csv
from pathlib import Path
from types import TracebackType
from typing import Literal

import msgspec

HEADER = ("文件", "行号", "列", "原因")
_LEADS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""Beginnings that a spreadsheet takes for a formula, also in full width."""

_encode = msgspec.json.Encoder().encode


class Reject(msgspec.Struct, frozen=True):
    """One line that is no list: ``source`` and ``line`` as Incoming, ``line`` 0 for a whole file."""

    source: str
    line: int
    column: str
    reason: str


def rejected_text(files: int, rows: int) -> str:
    """How much was not taken in, whole files apart from rows: ``1 个文件、2 行``."""
    return f"{files} 个文件、{rows} 行" if files else f"{rows} 行"


def plain_cell(text: str) -> str:
    """``text`` as a cell that no spreadsheet takes for a formula, on one line."""
    shown = text.replace("\0", "�").replace("\r", " ").replace("\n", " ")
    return f"'{shown}" if text.startswith(_LEADS) else shown


class RejectWriter:
    """A reject file: NDJSON for a name that ends so, else CSV that spreadsheets open as Chinese text."""

    def __init__(self, path: Path, form: Literal["csv", "ndjson"] | None = None) -> None:
        chosen = form or ("ndjson" if path.suffix.lower() in (".ndjson", ".jsonl") else "csv")
        self.count = 0
        # With the mark in front spreadsheets read it as UTF-8.
        encoding = "utf-8" if chosen == "ndjson" else "utf-8-sig"
        self._stream = path.open("w", encoding=encoding, errors="replace", newline="")
        self._rows = None if chosen == "ndjson" else csv.writer(self._stream)
        if self._rows is not None:
            self._rows.writerow(HEADER)

    def add(self, reject: Reject) -> None:
        """Write one line. Raises OSError."""
        self.count += 1
        if self._rows is None:
            self._stream.write(_encode(reject).decode() + "\n")
            return
        source, column, reason = map(plain_cell, (reject.source, reject.column, reject.reason))
        self._rows.writerow((source, reject.line or "", column, reason))

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> RejectWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
