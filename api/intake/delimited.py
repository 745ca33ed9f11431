"""Reads tables of text (CSV and its kin) record by record, so that one bad line costs only itself."""

from __future__ import annotations

import codecs
import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from api.reading import CHUNK, Advance, Encoding, skip_line, to_utf8

DELIMITERS = ",\t;|"
MAX_COLUMNS = 16_384
"""Columns of a table: the most that a spreadsheet has; the widest front page in use has some 850."""
MAX_JOINED = 32
"""Lines that one record may run over because a quoted cell holds line breaks."""
_UNCLOSED = "unexpected end of data"


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record of a table, or what is wrong with it (Chinese) and in which column, counted from 0."""

    line: int
    cells: tuple[str, ...] | None
    error: str = ""
    column: int | None = None


class _Line(msgspec.Struct, frozen=True, gc=False):
    number: int
    taken: int
    text: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class TextTable:
    """A file of records. ``limit``: bytes of one line; ``width``: cells that a record must have (0: any)."""

    path: Path
    encoding: Encoding
    delimiter: str
    limit: int

    def records(self, advance: Advance = lambda _: None, width: int = 0) -> Iterator[Record]:
        """Every record that is not blank, in order. Raises OSError."""
        with self.path.open("rb", buffering=CHUNK) as stream:
            lines = self._lines(stream)
            waiting: deque[_Line] = deque()
            while (line := waiting.popleft() if waiting else next(lines, None)) is not None:
                if line.error:
                    yield Record(line.number, None, line.error)
                elif "\0" in line.text:
                    place = line.text[: line.text.index("\0")].count(self.delimiter)
                    yield Record(line.number, None, "有空字节（NUL），文件可能损坏；请重新导出", place)
                elif '"' not in line.text:
                    if line.text.strip():
                        yield _checked(line.number, tuple(line.text.split(self.delimiter)), width)
                else:
                    yield self._quoted(line, lines, waiting, width)
                advance(line.taken)

    def _lines(self, stream: BinaryIO) -> Iterator[_Line]:
        number, limit, encoding = 0, self.limit, self.encoding
        while line := stream.readline(limit + 1):
            number += 1
            taken = len(line)
            if taken > limit and not line.endswith(b"\n"):
                taken += skip_line(stream)
                error = f"这一行有 {taken} 字节，超过上限 {limit} 字节；请核对是否缺少换行"
                yield _Line(number, taken, "", error)
                continue
            content = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            try:
                text = to_utf8(content, encoding).decode() if encoding != "utf-8" else content.decode()
            except UnicodeDecodeError as error:
                reason = f"既不是 UTF-8 也不是 GB18030 编码（第 {error.start + 1} 字节）；请另存为 UTF-8"
                yield _Line(number, taken, "", reason)
            else:
                yield _Line(number, taken, text.rstrip("\r\n"))

    def _quoted(self, line: _Line, lines: Iterator[_Line], waiting: deque[_Line], width: int) -> Record:
        """The record that begins with ``line``; lines that turn out not to be part of it wait."""
        cells, error = self._parse(line.text)
        if error != _UNCLOSED:
            return Record(line.number, None, error) if cells is None else _checked(line.number, cells, width)
        held: list[_Line] = []
        text, size = line.text, len(line.text)
        while len(held) < MAX_JOINED - 1:
            following = waiting.popleft() if waiting else next(lines, None)
            if following is None:
                break
            held.append(following)
            size += len(following.text)
            if following.error or "\0" in following.text or size > self.limit:
                break
            text = f"{text}\n{following.text}"
            if '"' not in following.text:
                continue
            cells, error = self._parse(text)
            if error == _UNCLOSED:
                continue
            if cells is None or (width and len(cells) != width):
                break
            # The bytes of the further lines are told with their record.
            waiting.extendleft([_Line(following.number, sum(one.taken for one in held), "")])
            return Record(line.number, cells)
        waiting.extendleft(reversed(held))
        return Record(line.number, None, "有一个引号没有闭合；请核对这一行的双引号是否成对，或重新导出")

    def _parse(self, text: str) -> tuple[tuple[str, ...] | None, str]:
        try:
            cells = next(csv.reader([text], delimiter=self.delimiter, strict=True))
        except csv.Error as error:
            if _UNCLOSED in str(error):
                return None, _UNCLOSED
            if "field limit" in str(error):
                return None, f"有一个单元格超过 {csv.field_size_limit()} 个字符"
            return None, "双引号的用法有误：成对的引号后面应为分隔符"
        return tuple(cells), ""


def _checked(number: int, cells: tuple[str, ...], width: int) -> Record:
    found = len(cells)
    if not width or found == width:
        return Record(number, cells)
    if found > width:
        if not any(cell.strip() for cell in cells[width:]):
            return Record(number, cells[:width])
        reason = f"有 {found} 个单元格，表头只有 {width} 列；请核对单元格里的分隔符是否加了引号"
        return Record(number, None, reason, width)
    reason = f"只有 {found} 个单元格，表头有 {width} 列；这一行可能不完整"
    return Record(number, None, reason, found)


def delimiter_of(line: str) -> str:
    """The separator that a header uses most outside quotes; a comma when it has none."""
    outside = "".join(line.split('"')[::2])
    return max(DELIMITERS, key=outside.count)
