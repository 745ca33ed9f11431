"""Reads files of settlement lists: one JSON list, NDJSON or the xlsx template, whatever they hold."""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

from api.repeats import decode_unrepeated
from api.settings import Settings
from api.spreadsheet import read_workbook, workbook_payloads
from models.system_errors import reason_of
from models.wire import DecodeError, Received, json_fault

CHUNK = 1024 * 1024
SCANNED = 32 * 1024
"""Bytes decoded at a time to tell the encoding: larger texts are given back to the system each time (3 times slower)."""
PROBED_LINES = 20
"""Lines looked at to tell NDJSON with a damaged beginning from one JSON value over many lines."""
NDJSON_SUFFIXES = (".ndjson", ".jsonl")

ZIP_MAGIC = b"PK\x03\x04"
PARQUET_MAGIC = b"PAR1"
OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
GZIP_MAGIC = b"\x1f\x8b"

Encoding = Literal["utf-8", "gb18030", "mixed"]


class FileRefusedError(ValueError):
    """A whole file cannot be read; the message (Chinese) names the file and the remedy."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}：{reason}")
        self.reason = reason


@contextmanager
def reading(path: Path, fault: str = "读取中断") -> Iterator[None]:
    """What hinders the reading of ``path`` as FileRefusedError; ``fault`` (Chinese) is what the system's is called."""
    try:
        yield
    except DecodeError as error:
        raise FileRefusedError(path, str(error)) from error
    except OSError as error:
        raise FileRefusedError(path, f"{fault}（{system_reason(error)}）") from error


@contextmanager
def opening(path: Path) -> Iterator[None]:
    """What hinders the opening of ``path`` as FileRefusedError; a name may be none that a file can have."""
    try:
        with reading(path, "无法读取"):
            yield
    except FileRefusedError:
        raise
    except ValueError as error:
        raise FileRefusedError(path, "文件名无效") from error


def shown(path: Path | str) -> str:
    """A path as people read it: it may hold bytes that are no characters."""
    return os.fsencode(path).decode("utf-8", "replace")


def shown_name(path: Path) -> str:
    """The name of a file as people read it."""
    return shown(path.name or path)


class Item(msgspec.Struct, frozen=True):
    """One list of a file, or why there is none.

    ``line`` is the line of the file (1 for a JSON file, the row of sheet 基本信息 in a workbook, the
    position in a JSON array); ``received`` is None when ``error`` (Chinese) says what is wrong.
    """

    line: int
    received: Received | None
    error: str = ""


class Raw(msgspec.Struct, frozen=True, gc=False):
    """One list of a file as UTF-8 JSON that was not looked into, or (Chinese) why there is none."""

    line: int
    content: bytes | None
    error: str = ""


Advance = Callable[[int], object]
"""Told how many bytes of the file have been read since the last call."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that was looked at: its form, size in bytes, and whether it holds exactly one list."""

    path: Path
    form: Literal["json", "array", "ndjson", "xlsx"]
    size: int
    encoding: Encoding
    settings: Settings

    @classmethod
    def open(cls, path: Path, settings: Settings) -> SourceFile:
        """Look at ``path`` and tell what it is. Raises FileRefusedError."""
        with opening(path):
            status = path.stat()
            if stat.S_ISDIR(status.st_mode):
                raise FileRefusedError(path, "是文件夹，请给出其中的文件")
            if not stat.S_ISREG(status.st_mode):
                raise FileRefusedError(path, "不是普通文件，请先存成文件")
            if status.st_size == 0:
                raise FileRefusedError(path, "文件是空的")
            with path.open("rb") as stream:
                magic = stream.read(8)
                if magic.startswith(ZIP_MAGIC):
                    return cls(path, "xlsx", status.st_size, "utf-8", settings)
                refuse_other_forms(path, magic)
                encoding = encoding_of(stream)
                form = _form(path, stream, encoding, settings.line_limit)
        return cls(path, form, status.st_size, encoding, settings)

    @property
    def single(self) -> bool:
        """Whether the file is one JSON value that holds one list."""
        return self.form == "json"

    def items(self, advance: Advance = lambda _: None) -> Iterator[Item]:
        """Every list in the order of the file. Memory stays flat for NDJSON. Raises FileRefusedError."""
        if self.form == "xlsx":
            with reading(self.path):
                for row, received, error in read_workbook(self.path, self.settings.workbook_limit):
                    yield Item(row, received, error)
                advance(self.size)
                return
        for raw in self.raw(advance):
            item = _item(raw)
            if self.form == "json" and item.received is None:
                raise FileRefusedError(self.path, item.error)
            yield item

    def raw(self, advance: Advance = lambda _: None) -> Iterator[Raw]:
        """Every list as UTF-8 JSON, not decoded, in the order of the file. Raises FileRefusedError."""
        with reading(self.path):
            if self.form == "ndjson":
                yield from self._lines(advance)
                return
            if self.form == "xlsx":
                for row, payload, error in workbook_payloads(self.path, self.settings.workbook_limit):
                    yield Raw(row, None if payload is None else msgspec.json.encode(payload), error)
            else:
                yield from self._whole()
            advance(self.size)

    def _whole(self) -> Iterator[Raw]:
        with self.path.open("rb") as stream:
            content = stream.read(self._whole_limit + 1)
        if len(content) > self._whole_limit:
            raise FileRefusedError(
                self.path, f"JSON 超过上限 {self._whole_limit} 字节；成批清单请存成 NDJSON（一行一份）"
            )
        if self.form == "json":
            # As the same list is as a line: what surrounds it makes it no other version.
            yield _raw(1, content.strip(), self.encoding)
            return
        try:
            parts = msgspec.json.decode(to_utf8(content, self.encoding), type=list[msgspec.Raw])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise DecodeError(f"不是有效的 JSON 数组（{json_fault(error)}）") from error
        for number, part in enumerate(parts, start=1):
            yield Raw(number, bytes(part))

    @property
    def _whole_limit(self) -> int:
        """A JSON array holds many lists; one JSON value holds one, which is a line elsewhere."""
        limit = self.settings.line_limit
        return limit * ARRAY_LISTS if self.form == "array" else limit

    def _lines(self, advance: Advance) -> Iterator[Raw]:
        limit, encoding = self.settings.line_limit, self.encoding
        with self.path.open("rb", buffering=CHUNK) as stream:
            number = 0
            while line := stream.readline(limit + 1):
                number += 1
                taken = len(line)
                if taken > limit and not line.endswith(b"\n"):
                    taken += skip_line(stream)
                    reason = f"这一行有 {taken} 字节，超过上限 {limit} 字节；请核对是否缺少换行"
                    yield Raw(number, None, reason)
                elif content := line.removeprefix(codecs.BOM_UTF8).strip():
                    yield _raw(number, content, encoding)
                advance(taken)


ARRAY_LISTS = 16
"""A JSON array may be this many times as long as the longest single list."""


def refuse_other_forms(path: Path, magic: bytes) -> None:
    if magic.startswith(OLE_MAGIC):
        raise FileRefusedError(path, "是旧版 Excel（.xls）或加密的工作簿，请另存为不加密的 .xlsx")
    if magic.startswith(GZIP_MAGIC):
        raise FileRefusedError(path, "是压缩文件，请先解压")
    if magic.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise FileRefusedError(path, "是 UTF-16 编码，请另存为 UTF-8")


def encoding_of(stream: BinaryIO) -> Encoding:
    """UTF-8 when every byte agrees, else GB18030 when every byte agrees, else told line by line."""
    for encoding in ("utf-8", "gb18030"):
        decoder = codecs.getincrementaldecoder(encoding)()
        stream.seek(0)
        try:
            while chunk := stream.read(SCANNED):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            continue
        return "utf-8" if encoding == "utf-8" else "gb18030"
    return "mixed"


def _form(path: Path, stream: BinaryIO, encoding: Encoding, limit: int) -> Literal["json", "array", "ndjson"]:
    if path.suffix.lower() in NDJSON_SUFFIXES:
        return "ndjson"
    stream.seek(0)
    head = stream.read(limit + 1).removeprefix(codecs.BOM_UTF8).lstrip()
    if head.startswith(b"["):
        return "array"
    lines = [line for line in islice(head.split(b"\n", PROBED_LINES * 4), PROBED_LINES * 4) if line.strip()]
    if lines and len(lines) > 1 and _is_object(lines[0], encoding):
        return "ndjson"
    if len(head) <= limit and _is_object(head, encoding):
        return "json"
    if any(_is_object(line, encoding) for line in lines[1:PROBED_LINES]):
        return "ndjson"
    return "json"


def _is_object(content: bytes, encoding: Encoding) -> bool:
    try:
        return isinstance(msgspec.json.decode(to_utf8(content, encoding)), dict)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


def to_utf8(content: bytes, encoding: Encoding) -> bytes:
    """``content`` in UTF-8 without a byte order mark. Raises UnicodeDecodeError."""
    content = content.removeprefix(codecs.BOM_UTF8)
    if encoding == "utf-8":
        return content
    if encoding == "mixed":
        try:
            content.decode("utf-8")
        except UnicodeDecodeError:
            pass
        else:
            return content
    return content.decode("gb18030").encode()


def _raw(line: int, content: bytes, encoding: Encoding) -> Raw:
    try:
        return Raw(line, to_utf8(content, encoding))
    except UnicodeDecodeError as error:
        reason = f"既不是 UTF-8 也不是 GB18030 编码（第 {error.start + 1} 字节），请另存为 UTF-8"
        return Raw(line, None, reason)


def _item(raw: Raw) -> Item:
    if raw.content is None:
        return Item(raw.line, None, raw.error)
    try:
        return Item(raw.line, decode_unrepeated(raw.content))
    except DecodeError as error:
        return Item(raw.line, None, str(error))


def skip_line(stream: BinaryIO) -> int:
    """Read to the end of the line in bounded steps; gives how many bytes that were."""
    skipped = 0
    while part := stream.readline(CHUNK):
        skipped += len(part)
        if part.endswith(b"\n"):
            break
    return skipped


_OS_REASONS = {
    "FileNotFoundError": "没有这个文件",
    "PermissionError": "没有读取权限",
    "NotADirectoryError": "路径中有一段不是文件夹",
}


def system_reason(error: OSError) -> str:
    return _OS_REASONS.get(type(error).__name__, reason_of(error))
