"""A site with a key and a store, files of lists made up for it, and a run over them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api.batch.driver import open_job, pinned, run_batch
from api.batch.executors import InProcess
from api.batch.runs import RunView, new_run, read_run
from api.batch.work import Job, Options
from api.cli import run
from api.demo.generator import Generator
from api.intake.source import open_source
from api.settings import Settings
from api.store.database import Database
from tests.databases import (  # noqa: F401 -- fixtures are found by their names
    database,
    postgresql_server,
    postgresql_template,
    store_settings,
)
from tests.loaded import case_mix

Body = dict[str, Any]
Command = Callable[..., int]
MONTH = "2026-10"
REGION = "99"
BROKEN = b'{"setlinfo": {"mdtrt_id"'


@cache
def _made(index: int) -> Body:
    return Generator(case_mix(), 7, month=10).make(index, only_4101=True).body


def bodies(count: int) -> list[Body]:
    """Fictional lists of October, to be changed at will."""
    return [copy.deepcopy(_made(index)) for index in range(count)]


def write_lists(path: Path, lists: Iterable[Body | bytes]) -> Path:
    """A file of lines; bytes stand as they are."""
    lines = (one if isinstance(one, bytes) else msgspec.json.encode(one) for one in lists)
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def environment(settings: Settings) -> dict[str, str]:
    """What tells a command line, of this process or another one, which installation it works on."""
    return {
        "QINGDAN_HOME": str(settings.home),
        "QINGDAN_DATABASE_URL": settings.database_url.get_secret_value(),
    }


class Site:
    """A home with packs, a key and a store."""

    def __init__(self, database: Database, settings: Settings) -> None:  # noqa: F811
        self.database, self.settings = database, settings

    def options(self, **given: Any) -> Options:
        chosen: dict[str, Any] = {"on": date(2026, 11, 1), "region": REGION, **given}
        return pinned(self.settings, Options(**chosen))

    def new(self, path: Path, *, month: str = MONTH, part_size: int = 20, **given: Any) -> int:
        return new_run(
            self.database,
            month=month,
            source=str(path),
            options=self.options(**given),
            by="病案科",
            total_bytes=open_source(path, self.settings).size,
            part_size=part_size,
        )

    def job(self, options: Options) -> Job:
        return open_job(self.database, self.settings, options)

    def work(self, run_id: int, path: Path, executor: Any = None, **given: Any) -> RunView:
        job = self.job(read_run(self.database, run_id).read_options)
        source = open_source(path, self.settings)
        return run_batch(self.database, run_id, source, job, executor or InProcess(), **given)

    def run(self, path: Path, executor: Any = None, **given: Any) -> RunView:
        """A whole run over a file."""
        return self.work(self.new(path, **given), path, executor)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled schemes, which take a second each to make, for all sites."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture
def site(database: Database, store_settings: Settings, compiled: Path, loaded_once: None) -> Site:  # noqa: F811
    store_settings.home.mkdir(parents=True, exist_ok=True)
    (store_settings.home / "cache").symlink_to(compiled)
    return Site(database, store_settings)


@pytest.fixture
def command(site: Site, monkeypatch: pytest.MonkeyPatch) -> Command:
    """``command("batch", "list")`` runs one command line on the site and gives its status."""
    for name, value in environment(site.settings).items():
        monkeypatch.setenv(name, value)
    return lambda *arguments: run([str(one) for one in arguments])


@pytest.fixture
def lists_file(tmp_path: Path) -> Callable[..., Path]:
    def make(lists: Iterable[Body | bytes], name: str = "lists.ndjson") -> Path:
        return write_lists(tmp_path / name, lists)

    return make
