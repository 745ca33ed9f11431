"""Processes are killed, inputs are hostile: nothing is lost, nothing stored twice, and it is said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text

from api.batch.runs import FINDING, REJECT, RESULT, RUN_PART, RunView, read_run, table
from api.settings import Settings
from api.store.database import Database
from api.store.tables import ListVersion
from tests.api.batch.conftest import BROKEN, Site, bodies, environment
from tests.api.batch.test_driver import MakeFile, exported

COMMAND = (sys.executable, "-c", "from api.cli import main; main()", "batch")
PATIENCE = 300
LISTS = 240


def start(settings: Settings, *arguments: str, **given: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments],
        env={**os.environ, **environment(settings)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **given,
    )


def finish(settings: Settings, *arguments: str, **given: Any) -> tuple[int, str]:
    process = start(settings, *arguments, **given)
    said, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, said


def until(found: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    """Wait for something while the process lives."""
    deadline = time.monotonic() + PATIENCE
    while not (value := found()):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return value


@contextmanager
def unhurried(database: Database) -> Iterator[None]:
    """Storing a part takes more than a tenth of a second meanwhile, in the middle of its transaction.

    A run of many parts would be over in less time than a busy machine may leave this process waiting, and
    what is to hit it in the middle would come too late. SQLite works all that time: on a busy machine it
    takes longer too.
    """
    if database.is_sqlite:
        made = (
            "CREATE VIEW many AS WITH RECURSIVE one(n) AS "
            "(SELECT 1 UNION ALL SELECT n + 1 FROM one LIMIT 1000000) SELECT n FROM one",
            "CREATE TRIGGER slow AFTER INSERT ON run_part BEGIN SELECT count(*) FROM many; END",
        )
        dropped = "DROP TRIGGER slow", "DROP VIEW many"
    else:
        made = (
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN PERFORM pg_sleep(0.15); RETURN NEW; END'",
            "CREATE TRIGGER slow AFTER INSERT ON run_part FOR EACH ROW EXECUTE FUNCTION slow()",
        )
        dropped = "DROP TRIGGER slow ON run_part", "DROP FUNCTION slow"
    with database.begin() as connection:
        for statement in made:
            connection.exec_driver_sql(statement)
    yield
    with database.begin() as connection:
        for statement in dropped:
            connection.exec_driver_sql(statement)


def wait_for_the_server(database: Database) -> None:
    """PostgreSQL ends the statement of a client that was killed before it learns of it."""
    busy = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() AND state <> 'idle'"
    )
    deadline = time.monotonic() + PATIENCE
    while not database.is_sqlite:
        with database.read() as connection:
            if not connection.execute(busy).scalar():
                return
        assert time.monotonic() < deadline
        time.sleep(0.05)


def relatives(settings: Settings) -> set[int]:
    """The living processes that were started for this site, by their environment."""
    mark = f"QINGDAN_HOME={settings.home}\0".encode()
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (
                mark in (folder / "environ").read_bytes()
                and "Z" not in (folder / "stat").read_text().split()[2]
            ):
                found.add(int(folder.name))
        except OSError:
            continue
    return found


def consistent(database: Database, run: RunView) -> None:
    """What is stored of a run are whole parts, each once."""
    with database.read() as connection:

        def count(one: Any) -> int:
            rows = select(func.count()).select_from(one).where(one.c.run_id == run.id)
            return connection.execute(rows).scalar() or 0

        parts = connection.execute(
            select(RUN_PART.c.part, RUN_PART.c.lists, RUN_PART.c.rejected)
            .where(RUN_PART.c.run_id == run.id)
            .order_by(RUN_PART.c.part)
        ).all()
        assert [row.part for row in parts] == list(range(run.parts_done))
        assert sum(row.lists for row in parts) == run.lists == count(RESULT)
        assert sum(row.rejected for row in parts) == run.rejected == count(REJECT)
        orphans = (
            select(func.count())
            .select_from(FINDING)
            .where(
                FINDING.c.run_id == run.id,
                FINDING.c.number.not_in(select(RESULT.c.number).where(RESULT.c.run_id == run.id)),
            )
        )
        assert connection.execute(orphans).scalar() == 0


def versions(database: Database) -> int:
    with database.read() as connection:
        return connection.execute(select(func.count()).select_from(table(ListVersion))).scalar() or 0


@pytest.fixture
def input_file(lists_file: MakeFile) -> Path:
    lists = bodies(LISTS)
    return lists_file([*lists[:100], BROKEN, *lists[100:]])


def test_a_driver_killed_in_the_middle_goes_on_where_it_was(site: Site, input_file: Path) -> None:
    whole = site.run(input_file, part_size=5)
    before = versions(site.database)
    run_id = site.new(input_file, part_size=5)
    done = 0
    for more in (1, 9):
        with unhurried(site.database):
            process = start(site.settings, "resume", str(run_id), "--workers", "2")
            until(lambda least=done + more: read_run(site.database, run_id).parts_done >= least, process)
            own = relatives(site.settings)
            assert process.pid in own
            process.send_signal(signal.SIGKILL)
            process.communicate()
            wait_for_the_server(site.database)
        killed = read_run(site.database, run_id)
        consistent(site.database, killed)
        assert killed.state == "running"
        assert killed.parts_done >= done + more
        done = killed.parts_done
        # Its workers end with it.
        deadline = time.monotonic() + PATIENCE
        while relatives(site.settings) & own:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    status, said = finish(site.settings, "resume", str(run_id), "--workers", "2")
    assert status == 1, said
    run = read_run(site.database, run_id)
    consistent(site.database, run)
    assert (run.state, run.lists, run.rejected) == ("done", LISTS, 1)
    assert exported(site.database, run_id) == exported(site.database, whole.id)
    assert run.input_digest == whole.input_digest
    assert versions(site.database) == before


def test_a_killed_worker_is_said_and_the_run_goes_on(site: Site, input_file: Path) -> None:
    run_id = site.new(input_file, part_size=5)
    with unhurried(site.database):
        process = start(site.settings, "resume", str(run_id), "--workers", "2")
        until(lambda: read_run(site.database, run_id).parts_done >= 2, process)
        workers = [one for one in relatives(site.settings) if is_worker(one)]
        assert workers
        os.kill(workers[0], signal.SIGKILL)
        said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert "工作进程被系统结束" in said
    failed = read_run(site.database, run_id)
    assert failed.state == "failed"
    consistent(site.database, failed)
    assert finish(site.settings, "resume", str(run_id), "--workers", "0")[0] == 1
    assert read_run(site.database, run_id).lists == LISTS


def is_worker(pid: int) -> bool:
    """Whether a process is one that the fork server made: its parent has the same command line."""
    try:
        parent = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1]
        lines = [(Path("/proc") / one / "cmdline").read_bytes() for one in (str(pid), parent)]
    except OSError:
        return False
    return b"forkserver" in lines[0] and lines[0] == lines[1]


def test_an_interrupted_command_says_how_to_go_on(site: Site, input_file: Path) -> None:
    run_id = site.new(input_file, part_size=5)
    with unhurried(site.database):
        process = start(site.settings, "resume", str(run_id), "--workers", "2", start_new_session=True)
        until(lambda: read_run(site.database, run_id).parts_done >= 1, process)
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert f"qingdan batch resume {run_id}" in said
    assert "Traceback" not in said
    stopped = read_run(site.database, run_id)
    assert stopped.state == "cancelled"
    consistent(site.database, stopped)


def test_hostile_inputs_are_rejected_line_by_line_or_refused_as_a_whole(
    site: Site, lists_file: MakeFile, tmp_path: Path
) -> None:
    many = bodies(1)[0]
    many["diseinfo"] *= 5000 // len(many["diseinfo"]) + 1
    many["setlinfo"]["mdtrt_id"] = "多行\0" + "长" * 5000
    long = b'{"setlinfo": {"mdtrt_id": "' + b"x" * (site.settings.line_limit + 1) + b'"}}'
    deep = b"[" * 100_000
    path = lists_file([many, long, deep, b"\xff\xfe\x00", b"{}", *bodies(3)[1:]])
    run = site.run(path)
    assert run.state == "done"
    assert (run.lists, run.rejected) == (3, 4)
    consistent(site.database, run)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(path, "lists.ndjson")
    content = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(content[: len(content) // 2])
    settings = site.settings
    for name, reason in (("cut.zip", "zip"), ("missing.ndjson", "没有这个文件")):
        status, said = finish(settings, "run", str(tmp_path / name), "--month", "2026-10", "--workers", "0")
        assert status == 2, said
        assert reason in said
        assert "Traceback" not in said
