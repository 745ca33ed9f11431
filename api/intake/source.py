"""Opens whatever a hospital hands in and gives the lists in it one by one, undecoded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from api.reading import Advance, FileRefusedError, SourceFile
from api.settings import Settings

__all__ = ["FileRefusedError", "Incoming", "Source", "open_source"]


class Incoming(msgspec.Struct, frozen=True, gc=False):
    """One list as it came in, or why there is none.

    ``source`` is the file as a person knows it (``a.zip/b.csv`` within an archive or folder), ``line``
    the line, row or position in it from 1. ``content`` is the list as UTF-8 JSON, not looked into; it is
    None when ``error`` (Chinese) says what is wrong and ``column``, where known, in which column.
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


def open_source(path: Path, settings: Settings) -> Source:
    """Look at ``path`` and tell how to read it. Raises FileRefusedError."""
    return _Lists(shown_name(path), SourceFile.open(path, settings))


def shown_name(path: Path) -> str:
    """The name of a file as it is shown: it may hold bytes that are no characters."""
    return os.fsencode(path.name).decode("utf-8", "replace")


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
