"""The audit log: one chain in which a change, a gap and an insertion show, and no statement alters it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from api.store.audit import entries, record, verify_chain
from api.store.database import Database

NOW = datetime(2026, 11, 2, 8, 30, 0, 123456, tzinfo=UTC)


@pytest.fixture
def logged(database: Database) -> Database:
    with database.begin() as connection:
        for number in range(5):
            at = NOW + timedelta(minutes=number)
            record(
                connection,
                f"用户{number % 2}",
                "reveal",
                f"H1/{number} v1",
                "核对\0身份\ud800" + "长" * 20_000,
                at,
            )
    return database


def unguard(connection: Connection, database: Database) -> None:
    """What only somebody can do who rules the database."""
    if database.is_sqlite:
        for name in ("update", "delete", "replace"):
            connection.execute(text(f"DROP TRIGGER audit_no_{name}"))
    else:
        connection.execute(text("DROP TRIGGER audit_no_change ON audit"))


def test_entries_come_newest_first_and_as_asked(logged: Database) -> None:
    with logged.read() as connection:
        assert [one.number for one in entries(connection)] == [5, 4, 3, 2, 1]
        assert [one.number for one in entries(connection, who="用户1")] == [4, 2]
        assert [one.number for one in entries(connection, before=3, limit=1)] == [2]
        assert [one.number for one in entries(connection, since=NOW + timedelta(minutes=3))] == [5, 4]
        assert entries(connection, action="seal") == []
        (entry,) = entries(connection, object="H1/0 v1")
    assert entry.at == NOW
    assert entry.detail.startswith("核对�身份�长")


def test_an_unharmed_log_is_found_unharmed(logged: Database) -> None:
    with logged.read() as connection:
        found = verify_chain(connection)
        assert (found.entries, found.fault) == (5, "")
        assert found.digest == entries(connection, limit=1)[0].digest


@pytest.mark.parametrize("table", ["audit", "sealed_report", "list_version"])
@pytest.mark.parametrize("statement", ["UPDATE {0} SET {1} = {1}", "DELETE FROM {0}"])
def test_no_statement_changes_what_is_kept_for_ever(table: str, statement: str, logged: Database) -> None:
    with logged.begin() as connection:
        add_sealed_report(connection)
        add_list(connection)
    with pytest.raises(IntegrityError, match="never changed"), logged.begin() as connection:
        connection.execute(text(statement.format(table, "digest")))
    with logged.read() as connection:
        assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() > 0  # noqa: S608


def add_list(connection: Connection) -> None:
    columns = "list_key list_id interface digest payload identity people institution department doctor"
    names = [*columns.split(), "received_by", "origin"]
    connection.execute(
        text(
            f"INSERT INTO list_version (version, received_at, {', '.join(names)}) VALUES "  # noqa: S608
            f"(1, '2026-11-02 08:00:00', {', '.join(repr('x') for _ in names)})"
        )
    )


def add_sealed_report(connection: Connection) -> None:
    connection.execute(
        text(
            "INSERT INTO run (id, kind, month, state, source, input_digest, options, part_size, parts_done, lists, "
            "rejected, total_bytes, done_bytes, created_at, created_by, worker, message) VALUES "
            "(1, 'batch', '2026-10', 'done', '', '', '{}', 500, 1, 1, 0, 5000000000, 0, '2026-11-02', '', '', '')"
        )
    )
    connection.execute(
        text(
            "INSERT INTO sealed_report (id, month, run_id, digest, packs, content, sealed_at, sealed_by, why) "
            "VALUES (1, '2026-10', 1, 'd', '[]', 'x', '2026-11-02', '主任', '')"
        )
    )


def test_replacing_a_row_is_refused_too(logged: Database) -> None:
    if not logged.is_sqlite:
        with pytest.raises(IntegrityError, match="never changed"), logged.begin() as connection:
            connection.execute(text("TRUNCATE audit"))
        return
    with pytest.raises(IntegrityError, match="never changed"), logged.begin() as connection:
        connection.execute(
            text(
                "REPLACE INTO audit (id, at, who, action, object, detail, digest) "
                "SELECT id, at, 'x', action, object, detail, digest FROM audit"
            )
        )


@pytest.mark.parametrize(
    ("harm", "fault"),
    [
        ("UPDATE audit SET who = '别人' WHERE id = 3", "第 3 条与它的校验值不符"),
        ("UPDATE audit SET at = '2026-11-02 09:00:00' WHERE id = 2", "第 2 条与它的校验值不符"),
        ("DELETE FROM audit WHERE id = 2", "第 2 条不见了"),
        ("DELETE FROM audit WHERE id = 1", "第 1 条不见了"),
    ],
)
def test_a_change_around_the_guard_shows(harm: str, fault: str, logged: Database) -> None:
    with logged.begin() as connection:
        unguard(connection, logged)
        connection.execute(text(harm))
    with logged.read() as connection:
        assert fault in verify_chain(connection).fault


def test_what_is_rolled_back_leaves_no_gap(logged: Database) -> None:
    def fail() -> None:
        with logged.begin() as connection:
            assert record(connection, "甲", "seal", "2026-10", "", NOW).number == 6
            connection.execute(text("DELETE FROM audit"))

    with pytest.raises(IntegrityError):
        fail()
    with logged.begin() as connection:
        assert record(connection, "甲", "seal", "2026-10", "", NOW).number == 6
    with logged.read() as connection:
        assert verify_chain(connection).fault == ""
