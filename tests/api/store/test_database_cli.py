"""``qingdan db``: what it says of a store, sound, outdated, altered or missing."""

from __future__ import annotations

import json
import sqlite3
import zipfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from api.cli import run
from api.settings import Settings
from api.store import audit
from api.store.database import FILE_NAME, HEAD, MIGRATIONS, Database
from api.store.vault import KEY_FILE, Vault
from models.pack import PROJECT_ROOT

NOW = datetime(2026, 11, 2, 8, 30, tzinfo=UTC)


@pytest.fixture
def home(database: Database, store_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> str:
    """The home of an open store, which the command line finds by its own means."""
    monkeypatch.setenv("QINGDAN_DATABASE_URL", store_settings.database_url.get_secret_value())
    monkeypatch.setenv("QINGDAN_IDENTITY_KEY", "")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with database.begin() as connection:
        audit.record(connection, "李医生", "reveal", "H1/1 v1", "核对\x1b[31m身份", NOW)
        audit.record(connection, "王主任", "seal", "2026-10", "", NOW)
    return str(store_settings.home)


def test_no_store_is_said_and_none_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    assert run(["db", "status", "--home", str(tmp_path)]) == 0
    assert "还没有数据库" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    assert run(["db", "upgrade", "--home", str(tmp_path)]) == 0
    assert f"结构版本 {HEAD}" in capsys.readouterr().out
    assert (tmp_path / FILE_NAME).exists()


def test_a_sound_store_is_shown(
    home: str, database: Database, store_settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    vault = Vault.open(store_settings, database)
    assert run(["db", "status", "--home", home]) == 0
    shown = capsys.readouterr().out
    assert f"结构版本：{HEAD}" in shown
    assert f"编号 {vault.fingerprint}" in shown
    assert "审计记录：2 条，没有被改动" in shown
    (store_settings.home / KEY_FILE).write_text("ab" * 32)
    assert run(["db", "status", "--home", home]) == 1
    assert "不是加密这个数据库" in capsys.readouterr().err


def test_an_altered_log_and_another_structure_end_with_one(
    home: str, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    with database.begin() as connection:
        for name in ("update", "delete", "replace") if database.is_sqlite else ("change",):
            on = "" if database.is_sqlite else " ON audit"
            connection.execute(text(f"DROP TRIGGER audit_no_{name}{on}"))
        connection.execute(text("UPDATE audit SET who = '别人' WHERE id = 2"))
    for command in (["db", "audit", "--verify"], ["db", "status"]):
        assert run([*command, "--home", home]) == 1
        assert "第 2 条与它的校验值不符" in capsys.readouterr().err
    with database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert run(["db", "status", "--home", home]) == 1
    assert "请升级程序" in capsys.readouterr().err


def test_the_log_is_listed_and_narrowed(home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["db", "audit", "--home", home]) == 0
    shown = capsys.readouterr().out
    assert shown.index("王主任") < shown.index("李医生")
    assert "\x1b" not in shown
    assert run(["db", "audit", "--action", "reveal", "--format", "json", "--home", home]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert (entry["number"], entry["who"], entry["object"]) == (1, "李医生", "H1/1 v1")
    assert run(["db", "audit", "--since", "2026-11-03", "--home", home]) == 0
    assert "共 0 条" in capsys.readouterr().out
    assert run(["db", "audit", "--verify", "--home", home]) == 0
    assert "2 条，没有被改动" in capsys.readouterr().out
    assert run(["db", "audit", "--since", "gestern", "--home", home]) == 2
    assert "应如 2026-10-01" in capsys.readouterr().err


def test_a_backup_is_a_whole_store(
    home: str, database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "copy" / FILE_NAME
    out.parent.mkdir()
    done = run(["db", "backup", str(out), "--by", "信息科", "--home", home])
    if not database.is_sqlite:
        assert done == 2
        assert "pg_dump" in capsys.readouterr().err
        assert list(out.parent.iterdir()) == []
        return
    assert done == 0
    assert [one.name for one in out.parent.iterdir()] == [FILE_NAME]
    with closing(sqlite3.connect(out)) as copied:
        assert copied.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    restored = Database.open(Settings(home=out.parent, database_url=SecretStr("")))
    with restored.read() as connection:
        assert audit.verify_chain(connection).entries == 2
    restored.dispose()
    with database.read() as connection:
        assert [(one.who, one.action) for one in audit.entries(connection, limit=1)] == [("信息科", "backup")]
    assert run(["db", "backup", str(Path(home) / FILE_NAME), "--home", home]) == 2
    assert "输出文件不能是输入文件" in capsys.readouterr().err


def test_a_server_is_never_shown_with_its_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QINGDAN_DATABASE_URL", "postgresql://user:geheim@127.0.0.1:1/db")
    for command in (["status"], ["upgrade"], ["audit"], ["backup", str(tmp_path / "x")]):
        assert run(["db", *command, "--home", str(tmp_path)]) == 2
        shown = capsys.readouterr()
        assert "postgresql://user:***@127.0.0.1:1/db：连接不上数据库" in shown.err
        assert "geheim" not in shown.err + shown.out


def test_the_migrations_are_shipped_with_the_program(tmp_path: Path) -> None:
    """The wheel is what a hospital installs; its file list is made by the build's own rules."""
    builder = pytest.importorskip("hatchling.builders.wheel")
    wheel = next(
        iter(builder.WheelBuilder(str(PROJECT_ROOT)).build(directory=str(tmp_path), versions=["standard"]))
    )
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
    here = {str(one.relative_to(PROJECT_ROOT)) for one in MIGRATIONS.rglob("*.py")}
    assert here
    assert here <= names
