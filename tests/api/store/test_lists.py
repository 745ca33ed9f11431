"""Versions of lists: nothing overwritten, nothing stored twice, identity seen only with a trace."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import IntegrityError

from api.settings import Settings
from api.store import audit
from api.store.database import Database, StoreError
from api.store.lists import (
    history,
    latest,
    list_key,
    open_masked,
    open_revealed,
    reveal_many,
    save_version,
    store_versions,
    version_row,
)
from api.store.tables import ListVersion
from api.store.vault import Vault
from models.wire import decode

NOW = datetime(2026, 11, 2, 8, 30, tzinfo=UTC)


@pytest.fixture
def vault(store_settings: Settings, database: Database) -> Vault:
    return Vault.open(store_settings, database)


def row_of(document: Any, vault: Vault, origin: str = "run 1") -> dict[str, Any]:
    content = json.dumps(document, ensure_ascii=False).encode(errors="surrogatepass")
    return version_row(decode(content), content, vault, at=NOW, by="病案室", origin=origin)


def stored(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(ListVersion)).scalar_one()


def test_a_list_that_is_there_keeps_its_version_and_another_content_gets_the_next(
    database: Database, vault: Vault, example: dict[str, Any]
) -> None:
    first = row_of(example, vault)
    example["setlinfo"]["adm_way"] = "9"
    second = row_of(example, vault)
    example["setlinfo"]["mdtrt_id"] = "another"
    other = row_of(example, vault)
    with database.begin() as connection:
        assert store_versions(connection, [first, first, second, other]) == [1, 1, 2, 1]
    with database.begin() as connection:
        assert store_versions(connection, [second, first, other]) == [2, 1, 1]
        assert stored(connection) == 3
        assert latest(connection, [first["list_key"], other["list_key"], "none"]) == {
            first["list_key"]: 2,
            other["list_key"]: 1,
        }
        versions = history(connection, first["list_key"])
    assert [one.version for one in versions] == [1, 2]
    assert versions[0].received_at == NOW
    assert versions[0].received_by == "病案室"
    assert versions[0].discharged == decode(json.dumps(example).encode()).list.stay.discharge_time


def test_a_part_that_fails_leaves_nothing(database: Database, vault: Vault, example: dict[str, Any]) -> None:
    def fail() -> None:
        with database.begin() as connection:
            store_versions(connection, [row_of(example, vault)])
            connection.execute(text("DELETE FROM list_version"))

    with pytest.raises(IntegrityError):
        fail()
    with database.read() as connection:
        assert stored(connection) == 0


def test_runs_at_the_same_time_give_a_new_list_one_number(
    database: Database, vault: Vault, example: dict[str, Any]
) -> None:
    rows = []
    for number in range(50):
        example["setlinfo"]["mdtrt_id"] = f"V{number}"
        rows.append(row_of(example, vault))
    start = threading.Barrier(4)

    def store(part: list[dict[str, Any]]) -> list[int]:
        start.wait(120)
        with database.begin() as connection:
            audit.record(connection, "批次", "store", "", "", NOW)
            return store_versions(connection, part)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(store, [rows, rows[::-1], rows, rows[::-1]]))
    assert found == [[1] * 50] * 4
    with database.read() as connection:
        assert stored(connection) == 50
        assert audit.verify_chain(connection).entries == 4


def test_a_stored_list_cannot_be_changed_or_removed(
    database: Database, vault: Vault, example: dict[str, Any]
) -> None:
    row = row_of(example, vault)
    with database.begin() as connection:
        store_versions(connection, [row])
    for statement in ("UPDATE list_version SET origin = 'x'", "DELETE FROM list_version"):
        with pytest.raises(IntegrityError, match="never changed"), database.begin() as connection:
            connection.execute(text(statement))


def test_the_masked_list_shows_no_name_and_the_revealed_one_leaves_a_trace(
    database: Database, vault: Vault, example: dict[str, Any]
) -> None:
    example["setlinfo"]["psn_name"] = "张三丰"
    row = row_of(example, vault)
    with database.begin() as connection:
        store_versions(connection, [row])
        version, masked = open_masked(connection, row["list_key"])
        assert version == 1
        assert json.loads(masked)["setlinfo"]["psn_name"] == "张**"
        assert audit.entries(connection) == []
        _, whole = open_revealed(connection, vault, row["list_key"], who="李医生", why="核对身份", at=NOW)
        (entry,) = audit.entries(connection)
    assert json.loads(whole) == example
    assert (entry.who, entry.action, entry.object, entry.detail) == (
        "李医生", "reveal", f"{row['list_key']} v1", "核对身份",
    )  # fmt: skip


def test_a_correction_of_the_masked_list_is_a_version_with_the_true_identity(
    database: Database, vault: Vault, example: dict[str, Any]
) -> None:
    row = row_of(example, vault)
    key = row["list_key"]
    with database.begin() as connection:
        store_versions(connection, [row])
        document = json.loads(open_masked(connection, key)[1])
        document["setlinfo"]["adm_way"] = "9"
        content = json.dumps(document).encode()
        assert save_version(connection, vault, key, content, base=1, who="甲", at=NOW, why="改入院途径") == 2
    example["setlinfo"]["adm_way"] = "9"
    with database.begin() as connection:
        assert json.loads(reveal_many(connection, vault, [(key, 2)])[key, 2]) == example
        assert [one.origin for one in history(connection, key)] == ["run 1", "correction of v1"]
        with pytest.raises(StoreError, match="已被 甲 存为第 2 版"):
            save_version(connection, vault, key, content, base=1, who="乙", at=NOW)
        document["setlinfo"]["mdtrt_id"] = "another"
        with pytest.raises(StoreError, match="另一份清单"):
            save_version(connection, vault, key, json.dumps(document).encode(), base=2, who="乙", at=NOW)
        assert latest(connection, [key]) == {key: 2}
        assert [one.action for one in audit.entries(connection)] == ["correct"]


def test_a_list_or_version_that_is_not_there_is_said(database: Database, vault: Vault) -> None:
    with database.read() as connection:
        with pytest.raises(StoreError, match="没有清单 H1/1"):
            open_masked(connection, "H1/1")
        with pytest.raises(StoreError, match="没有清单 H1/1 的第 3 版"):
            reveal_many(connection, vault, [("H1/1", 3)])


@pytest.mark.parametrize("bad", ["x" * 100_000, "a\0b", "一\n二", " "])
def test_impossible_text_loses_neither_the_list_nor_its_part(
    bad: str, database: Database, vault: Vault, example: dict[str, Any]
) -> None:
    good = row_of(example, vault)
    for name in ("mdtrt_id", "setl_id", "medcasno", "fixmedins_code", "dscg_caty", "chfpdr_code"):
        example["setlinfo"][name] = bad
    content = json.dumps(example).encode()
    received = decode(content)
    row = version_row(received, content, vault, at=NOW, by="病案室", origin="run 1")
    assert len(row["list_key"]) <= 200
    with database.begin() as connection:
        assert store_versions(connection, [good, row]) == [1, 1]
        assert store_versions(connection, [row]) == [1]
        assert reveal_many(connection, vault, [(row["list_key"], 1)])[row["list_key"], 1] == content


def test_lists_without_any_number_are_told_apart(vault: Vault, example: dict[str, Any]) -> None:
    for name in ("mdtrt_id", "setl_id", "medcasno"):
        example["setlinfo"].pop(name, None)
    received = decode(json.dumps(example).encode())
    assert list_key(received, "a" * 64) == "#" + "a" * 24
