"""The store opens, makes and upgrades its tables, and says in Chinese what fails, on both databases."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import SecretStr
from sqlalchemy import func, insert, make_url, select, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import SQLModel

from api.batch.runs import read_run
from api.settings import Settings
from api.store import tables
from api.store.bulk import insert_rows
from api.store.database import FILE_NAME, HEAD, MIGRATIONS, Database, StoreError
from api.store.tables import FindingRow, Property, Run, RunPart
from models.pack import PROJECT_ROOT
from tests.databases import fresh_postgresql


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Settings of an installation that has no tables yet."""
    if request.param == "sqlite":
        yield Settings(home=tmp_path / "home", database_url=SecretStr(""))
        return
    with fresh_postgresql(request.getfixturevalue("postgresql_server")) as address:
        yield Settings(home=tmp_path / "home", database_url=SecretStr(address))


def test_the_migrations_make_the_tables_of_the_models(empty: Settings) -> None:
    database = Database.open(empty)
    with database.read() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert tables.ListVersion.__tablename__ in SQLModel.metadata.tables
        assert compare_metadata(context, SQLModel.metadata) == []
    database.dispose()


def test_the_newest_revision_is_the_one_that_is_looked_for(database: Database) -> None:
    assert ScriptDirectory(MIGRATIONS).get_heads() == [HEAD]
    assert database.revision() == HEAD


def test_opening_again_changes_nothing(database: Database, store_settings: Settings) -> None:
    again = Database.open(store_settings)
    assert again.revision() == HEAD
    again.dispose()


def opened_elsewhere(settings: Settings, count: int) -> list[tuple[int, str]]:
    """Open the store in several processes at once; gives what each ended with."""
    script = (
        "import sys; from pathlib import Path; from api.settings import Settings;"
        "from api.store.database import Database;"
        "print(Database.open(Settings(home=Path(sys.argv[1]))).revision())"
    )
    environment = {**os.environ, "QINGDAN_DATABASE_URL": settings.database_url.get_secret_value()}
    command = [sys.executable, "-c", script, str(settings.home)]
    running = [
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=PROJECT_ROOT,
            text=True,
        )
        for _ in range(count)
    ]
    return [(one.wait(120), one.communicate()[0].strip()) for one in running]


def test_of_several_processes_one_makes_the_tables(empty: Settings) -> None:
    assert opened_elsewhere(empty, 3) == [(0, HEAD)] * 3


def test_the_tables_of_a_newer_program_are_not_touched(database: Database, store_settings: Settings) -> None:
    with database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match=r"更新版本的程序建立的（结构版本 9999.*请升级程序"):
        Database.open(store_settings)
    assert database.revision() == "9999"


def test_a_reader_sees_one_state_while_another_writes(database: Database) -> None:
    count = select(func.count()).select_from(Property)
    with database.read() as reading:
        assert reading.execute(count).scalar_one() == 0
        with database.begin() as writing:
            writing.execute(insert(Property).values(name="a", value="b"))
        assert reading.execute(count).scalar_one() == 0
    with database.read() as reading:
        assert reading.execute(count).scalar_one() == 1


def test_a_reading_transaction_of_a_server_cannot_write(database: Database) -> None:
    if database.is_sqlite:
        assert database.file == Path(database.name)
        return
    with pytest.raises(StoreError, match="只读"), database.read() as connection:
        connection.execute(insert(Property).values(name="a", value="b"))


def test_a_broken_constraint_is_the_program_s_mistake_and_stays_what_it_is(database: Database) -> None:
    row = {"run_id": 7, "part": 1, "lists": 1, "rejected": 0, "digest": "", "stored_at": datetime.now(UTC)}
    with pytest.raises(IntegrityError), database.begin() as connection:
        insert_rows(connection, RunPart, [row])


def sqlite_at(home: Path) -> Settings:
    return Settings(home=home, database_url=SecretStr(""))


def test_a_locked_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.store.database.BUSY_SECONDS", 0.1)
    database = Database.open(sqlite_at(tmp_path))
    said = pytest.raises(StoreError, match=r"qingdan\.sqlite：数据库正被另一个程序占用")
    with database.begin(), said, Database.connect(sqlite_at(tmp_path)).begin():
        pass


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"no database at all" * 1000)
    with pytest.raises(StoreError, match="不是 SQLite 数据库，或文件已损坏；请恢复备份"):
        Database.open(sqlite_at(tmp_path))


def test_a_home_that_is_a_file_is_said(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.touch()
    with pytest.raises(StoreError, match="不能建立数据库"):
        Database.open(sqlite_at(home))


def run_limited(home: Path, script: str) -> str:
    """Run a script in a process of its own, with the store opened as ``database``."""
    lines = (
        "import resource, signal, sys",
        "from pathlib import Path",
        "from pydantic import SecretStr",
        "from sqlalchemy import insert, select, func",
        "from api.settings import Settings",
        "from api.store.database import Database, StoreError",
        "from api.store.tables import Property",
        "settings = Settings(home=Path(sys.argv[1]), database_url=SecretStr(''))",
        script,
    )
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines), str(home)],
        check=False, capture_output=True, text=True, timeout=120, cwd=PROJECT_ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_full_disk_is_said_and_nothing_of_the_transaction_is_kept(tmp_path: Path) -> None:
    """The limit on the size of a file stands for the end of the disk: the system refuses the write."""
    said = run_limited(
        tmp_path,
        """
database = Database.open(settings)
with database.begin() as connection:
    connection.execute(insert(Property).values(name="kept", value="x"))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, resource.RLIM_INFINITY))
try:
    with database.begin() as connection:
        for number in range(400):
            connection.execute(insert(Property).values(name=str(number), value="x" * 100_000))
except StoreError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
with database.begin() as connection:
    connection.execute(insert(Property).values(name="later", value="x"))
    print(sorted(row[0] for row in connection.execute(select(Property.name))))
""",
    )
    assert "没有写入；请" in said
    assert "['kept', 'later']" in said


def test_a_read_only_file_is_said(tmp_path: Path) -> None:
    database = Database.open(sqlite_at(tmp_path))
    database.dispose()

    def write() -> None:
        with database.begin() as connection:
            connection.exec_driver_sql("PRAGMA query_only = ON")
            connection.execute(insert(Property).values(name="a", value="b"))

    with pytest.raises(StoreError, match="数据库是只读的；请检查文件和文件夹的权限"):
        write()


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("postgresql://user:geheim@127.0.0.1:1/db?password=geheim", "服务器没有运行，或端口不对"),
        ("postgresql://user:geheim@/db?host=/nowhere/at/all", "服务器没有运行"),
        ("postgresql://user:ge@heim:x@host/db", "密码中的 @ : / 等字符要写成"),
        ("postgresql://user:geheim@nowhere.invalid/db", "连接不上数据库"),
    ],
)
def test_a_server_that_cannot_be_reached_is_said_without_the_password(
    address: str, fault: str, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match=fault) as caught:
        Database.open(Settings(home=tmp_path, database_url=SecretStr(address)))
    assert "geheim" not in str(caught.value)
    shown = "".join(traceback.format_exception(caught.value))
    assert "geheim" not in shown
    assert "geheim" not in repr(caught.value)


@pytest.mark.postgresql
def test_a_database_that_is_not_there_is_said(postgresql_server: str, tmp_path: Path) -> None:
    address = make_url(postgresql_server).set(database="nowhere").render_as_string(hide_password=False)
    with pytest.raises(StoreError, match="服务器上没有这个数据库或用户"):
        Database.open(Settings(home=tmp_path, database_url=SecretStr(address)))


@pytest.mark.postgresql
def test_a_server_that_ends_the_connection_is_said_and_the_next_transaction_works(
    postgresql_server: str, tmp_path: Path
) -> None:
    with fresh_postgresql(postgresql_server) as address:
        database = Database.open(Settings(home=tmp_path, database_url=SecretStr(address)))
        other = Database.connect(Settings(home=tmp_path, database_url=SecretStr(address)))

        def cut() -> None:
            with database.begin() as connection:
                number = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
                with other.begin() as killer:
                    killer.execute(text("SELECT pg_terminate_backend(:number)"), {"number": number})
                connection.execute(insert(Property).values(name="lost", value="x"))

        with pytest.raises(StoreError, match=r"连接|关闭"):
            cut()
        with database.begin() as connection:
            connection.execute(insert(Property).values(name="kept", value="x"))
        with database.read() as connection:
            assert list(connection.execute(select(Property.name)).scalars()) == ["kept"]
        database.dispose()
        other.dispose()


def test_many_rows_are_written_with_their_defaults(database: Database) -> None:
    now = datetime(2026, 11, 2, 8, 30, tzinfo=UTC)
    row = {"month": "2026-10", "kind": "batch", "state": "done", "created_at": now}
    findings = [
        {
            "run_id": 1, "number": number, "position": 0, "rule": "CMP-001", "severity": "warn", "title": "题",
            "path": "p\t\n\\N", "field": "", "value": "\0", "message": "值", "advice": "", "basis": "",
        }
        for number in range(1200)
    ]  # fmt: skip
    with database.begin() as connection:
        assert insert_rows(connection, Run, [row]) == 1
        assert insert_rows(connection, Run, []) == 0
        assert insert_rows(connection, FindingRow, findings) == 1200
        with pytest.raises(KeyError, match="nonsense"):
            insert_rows(connection, Run, [{**row, "nonsense": 1}])
        (run,) = connection.execute(select(Run)).mappings()
        assert (run["id"], run["created_at"], run["part_size"], run["base_run"]) == (1, now, 500, None)
        found = connection.execute(select(FindingRow.path, FindingRow.value).distinct()).all()
        assert found == [("p\t\n\\N", "\ufffd")]


def test_a_store_of_the_first_edition_is_brought_up_to_date(empty: Settings) -> None:
    database = Database.connect(empty)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(
            text(
                "INSERT INTO run (id, state, kind, month, source, input_digest, options, part_size, parts_done, "
                "lists, rejected, total_bytes, done_bytes, created_at, created_by, worker, message) "
                "VALUES (1, 'done', 'batch', '2026-10', '', '', '{}', 1, 1, 1, 3, 0, 0, :at, '', '', '')"
            ),
            {"at": datetime(2026, 11, 1)},
        )
        for position, line in enumerate((0, 7, 0)):
            connection.execute(
                text("INSERT INTO reject VALUES (1, 0, :position, 'x', :line, '', '')"),
                {"position": position, "line": line},
            )
    database.upgrade()
    run = read_run(database, 1)
    assert (run.rejected, run.rejected_files, run.notes) == (3, 2, "")
    assert database.revision() == HEAD
    database.dispose()
