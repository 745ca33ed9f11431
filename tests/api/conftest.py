"""One server for all tests of the HTTP interface, and files of lists."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from api.app import create_app
from api.example import EXAMPLE_LIST
from api.settings import Settings
from tests.api.serving import running


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"), body_limit=256 * 1024)


@pytest.fixture(scope="session")
def address(settings: Settings) -> Iterator[str]:
    with running(create_app(settings)) as address:
        yield address


@pytest.fixture
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=120) as client:
        yield client


@pytest.fixture
def example() -> dict[str, Any]:
    """The fictional list, to be changed at will."""
    return copy.deepcopy(dict(EXAMPLE_LIST))


@pytest.fixture
def faulty(example: dict[str, Any]) -> dict[str, Any]:
    """The fictional list without 就诊ID: an error."""
    del example["setlinfo"]["mdtrt_id"]
    return example


@pytest.fixture
def list_file(tmp_path: Path, example: dict[str, Any]) -> Path:
    path = tmp_path / "list.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(example), indent=2))
    return path
