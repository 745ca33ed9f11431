"""Lists, settings with a home of their own, and one way to read a file."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.example import EXAMPLE_LIST
from api.intake.mapping import ColumnMapping
from api.intake.source import Incoming, open_source
from api.settings import MIB, Settings

Take = Callable[..., list[Incoming]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", line_limit=64 * 1024, workbook_limit=32 * MIB)


@pytest.fixture
def example() -> dict[str, Any]:
    return copy.deepcopy(dict(EXAMPLE_LIST))


@pytest.fixture
def take(tmp_path: Path, settings: Settings) -> Take:
    """Write ``content`` under ``name`` and read it to the end."""

    def read(name: str, content: bytes | str, mapping: ColumnMapping | None = None) -> list[Incoming]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return list(open_source(path, settings, mapping).items())

    return read
