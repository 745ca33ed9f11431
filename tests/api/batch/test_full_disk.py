"""The disk of the store fills up in the middle of a run: it is said, no part is lost, and the run can go on."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr
from sqlalchemy import make_url

from api.batch.runs import read_run
from api.settings import Settings
from api.store.database import FILE_NAME, Database
from tests.api.batch.conftest import Site
from tests.api.batch.test_faults import LISTS, consistent, finish, input_file  # noqa: F401 -- a fixture
from tests.databases import fresh_postgresql

DISK = 64 << 20
ROOM = 400_000
"""Bytes left for the second run: a good part of it, not all."""


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 64 MB that every account may enter. Skips where none may be mounted."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        mount = ("mount", "-t", "tmpfs", "-o", f"size={DISK},mode=755", "tmpfs", folder)
        if os.getuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
            pytest.skip("不能挂载小磁盘（tmpfs）：要有 root 权限")
        try:
            yield Path(folder)
        finally:
            subprocess.run(("umount", "--lazy", folder), check=True)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """All but ``ROOM`` of a disk taken, until it is left."""
    ballast = disk / "ballast"
    with ballast.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, shutil.disk_usage(disk).free - ROOM)
    yield
    ballast.unlink()


def stopped_and_resumed(site: Site, path: Path, run_id: int, stop: Callable[[], tuple[int, str]]) -> None:
    """``stop`` runs into the full disk; afterwards there is room."""
    status, said = stop()
    assert status == 2, said
    assert "没有写入" in said
    assert "Traceback" not in said
    stopped = read_run(site.database, run_id)
    assert stopped.lists < LISTS
    consistent(site.database, stopped)
    status, said = finish(site.settings, "resume", str(run_id), "--workers", "0")
    assert status == 1, said
    run = read_run(site.database, run_id)
    assert (run.lists, run.rejected) == (LISTS, 1)
    consistent(site.database, run)


def settings_for(home: Path, compiled: Path, address: str = "") -> Settings:
    home.mkdir()
    (home / "cache").symlink_to(compiled)
    return Settings(home=home, database_url=SecretStr(address), identity_key=SecretStr(""))


@contextmanager
def tablespace(server: str, folder: Path) -> Iterator[str]:
    """The name of a tablespace in a folder. Skips where the server is on another machine."""
    name = f"small_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        (data,) = connection.execute("SHOW data_directory").fetchone() or ("",)
        if not Path(data).is_dir():
            pytest.skip("PostgreSQL 服务器不在本机，磁盘不归本机管")
        folder.mkdir()
        owner = Path(data).stat()
        os.chown(folder, owner.st_uid, owner.st_gid)
        make = sql.SQL("CREATE TABLESPACE {} LOCATION {}")
        connection.execute(make.format(sql.Identifier(name), sql.Literal(str(folder))))
    yield name
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP TABLESPACE {}").format(sql.Identifier(name)))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def cramped(
    request: pytest.FixtureRequest, small_disk: Path, tmp_path: Path, compiled: Path, loaded_once: None
) -> Iterator[Site]:
    """A site with its store on the small disk."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            settings = settings_for(small_disk / "home", compiled)
            shutil.copyfile(request.getfixturevalue("sqlite_template"), settings.home / FILE_NAME)
        else:
            server, template = map(request.getfixturevalue, ("postgresql_server", "postgresql_template"))
            space = stack.enter_context(tablespace(server, small_disk / "space"))
            address = stack.enter_context(fresh_postgresql(server, template))
            move = sql.SQL("ALTER DATABASE {} SET TABLESPACE {}")
            with psycopg.connect(server, autocommit=True) as connection:
                name = str(make_url(address).database)
                connection.execute(move.format(sql.Identifier(name), sql.Identifier(space)))
            settings = settings_for(tmp_path / "home", compiled, address)
        database = Database.open(settings)
        yield Site(database, settings)
        database.dispose()


def test_a_full_disk(cramped: Site, small_disk: Path, input_file: Path) -> None:  # noqa: F811
    cramped.run(input_file, part_size=5)
    run_id = cramped.new(input_file, part_size=5)
    cramped.database.dispose()

    def stop() -> tuple[int, str]:
        with filled(small_disk):
            return finish(cramped.settings, "resume", str(run_id), "--workers", "0")

    stopped_and_resumed(cramped, input_file, run_id, stop)


def test_a_file_that_may_not_grow(site: Site, input_file: Path) -> None:  # noqa: F811
    """As a quota has it; needs no file system of its own."""
    file = site.database.file
    if file is None:
        pytest.skip("服务器的文件大小不归本机管：另有小磁盘的测试")
    site.run(input_file, part_size=5)
    run_id = site.new(input_file, part_size=5)
    site.database.dispose()
    most = file.stat().st_size + ROOM

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    stopped_and_resumed(
        site,
        input_file,
        run_id,
        lambda: finish(site.settings, "resume", str(run_id), "--workers", "0", preexec_fn=limited),
    )
