"""Looks into an xlsx before it is opened, so that no file made to be hostile fills the memory."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MIB = 1024 * 1024

# Any part may be a sheet or the table of shared texts: the workbook says which, whatever its name.
_TEXT = re.compile(rb"<(?:\w+:)?si[\s/>]")
_CELL = re.compile(rb"<(?:\w+:)?c[\s/>]")
_ROW = re.compile(rb"<(?:\w+:)?row[\s/>]")
_PLACE = re.compile(rb"""<(?:\w+:)?(?:c|row)\s[^<>]*?\br\s*=\s*["']([A-Za-z]{0,8})(\d{1,10})""")
_TEXT_NUMBER = re.compile(rb"<(?:\w+:)?v>\s*(\d{1,9})\s*<")


class UnsafeWorkbookError(ValueError):
    """A workbook is damaged, or too large to be read; the message (Chinese) says what to do."""


@dataclass(frozen=True, slots=True)
class WorkbookLimits:
    """What a workbook may be at most.

    ``unpacked``: bytes of all parts together. ``cells``: of the rectangle that a sheet spans, since the
    reader allocates all of them. ``texts``: bytes of the shared texts, one copy for every cell that
    names them.
    """

    unpacked: int
    texts: int
    rows: int
    columns: int
    cells: int
    members: int = 2_000


def check_workbook(source: Path | BinaryIO, limits: WorkbookLimits) -> None:
    """Unpack every part once: a size in the directory that lies is found by its checksum.

    Raises UnsafeWorkbookError for a damaged, encrypted or oversized workbook, or one whose cells lie so
    far apart, or repeat so much text, that reading it would fill the memory; OSError when it cannot be
    read.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            members = archive.infolist()
            if len(members) > limits.members:
                raise UnsafeWorkbookError(f"压缩包内有 {len(members)} 个文件，不像是工作簿")
            unpacked = sum(member.file_size for member in members)
            if unpacked > limits.unpacked:
                raise UnsafeWorkbookError(
                    f"工作簿解压后有 {unpacked / MIB:.1f} MB，超过上限 {limits.unpacked / MIB:.1f} MB；"
                    "请拆成几个文件"
                )
            texts = [len(text) for member in members for text in _TEXT.split(archive.read(member))[1:]]
            for member in members:
                _check_part(member.filename, archive.read(member), texts, limits)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
        if isinstance(error, UnsafeWorkbookError):
            raise
        raise UnsafeWorkbookError(
            f"不是完好的 Excel 工作簿（内容损坏或加密：{error}）；请用表格软件另存为 .xlsx 后重试"
        ) from error


def _check_part(name: str, part: bytes, texts: Sequence[int], limits: WorkbookLimits) -> None:
    """``texts``: the lengths of the shared texts. A number may be mistaken for the place of a text, so
    the sum over them is an upper bound."""
    if part.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UnsafeWorkbookError(f"{name} 不是常见的 UTF-8 内容，请用表格软件另存为 .xlsx 后重试")
    cells = sum(1 for _ in _CELL.finditer(part))
    if not cells:
        return
    rows, columns = sum(1 for _ in _ROW.finditer(part)), 0
    for letters, number in _PLACE.findall(part):
        rows = max(rows, int(number))
        columns = max(columns, column_number(letters.decode().upper()))
    columns = max(columns, 1 if columns else min(cells, limits.columns + 1))
    if rows > limits.rows or columns > limits.columns or rows * columns > limits.cells:
        raise UnsafeWorkbookError(
            f"{name} 的单元格伸展到 {rows} 行 {columns} 列，超过上限；请删除表格右侧和下方的空白行列后重试"
        )
    if texts and max(texts) * cells > limits.texts:
        numbers = (int(found) for found in _TEXT_NUMBER.findall(part))
        if sum(texts[number] for number in numbers if number < len(texts)) > limits.texts:
            raise UnsafeWorkbookError(f"{name} 重复的文字过长，展开后超过 {limits.texts // MIB} MB 的上限")


def column_number(letters: str) -> int:
    """A → 1, Z → 26, AA → 27; 0 for none."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number
