"""Acceptances in the store: only added to, seen by others, and taken over once from the file of before."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import insert, select

from api.services.acceptance import AcceptanceError, NewAcceptance, NotAcceptedError
from api.settings import Settings
from api.store import audit
from api.store.acceptances import StoredAcceptances
from api.store.database import FILE_NAME, Database, LazyDatabase
from api.store.tables import AcceptedFinding
from models.report import Finding

NOW = datetime(2026, 3, 1, 9, 0).astimezone()
TODAY = date(2026, 3, 1)
ASKED = NewAcceptance("CMP-001", "王某", "已电话核实")
OLD = (
    '{"event":"accept","acceptance":{"id":"A0001","rule":"CMP-001","by":"王某","reason":"核实",'
    '"accepted_at":"2026-02-01T09:00:00.5+08:00","list_id":"L1"}}\n'
    '{"event":"accept","acceptance":{"id":"A0002","rule":"CMP-002","by":"王某","reason":"核实",'
    '"accepted_at":"2026-02-01T09:01:00+08:00","until":"2026-05-01"}}\n'
    '{"event":"withdraw","id":"A0001","by":"李某","at":"2026-02-02T09:00:00+08:00"}\n'
)


def counted(kept: StoredAcceptances, rule: str = "CMP-001") -> str:
    """The id of the acceptance that covers a finding of ``rule`` today, "" when none does."""
    (found,) = kept.holding(TODAY).apply([Finding(rule, "", "error", "", "", "", "", "", "")], "", "")
    return found.accepted.id if found.accepted else ""


@pytest.fixture
def kept(database: Database, store_settings: Settings) -> StoredAcceptances:
    return StoredAcceptances.of(store_settings)


def test_rows_are_only_ever_added_and_withdrawn_once(
    kept: StoredAcceptances, store_settings: Settings, database: Database
) -> None:
    first = kept.add(ASKED, NOW)
    second = kept.add(msgspec.structs.replace(ASKED, list_id="L1", until=date(2026, 3, 2)), NOW)
    withdrawn = kept.withdraw(first.id, "李某", NOW)
    assert (first.id, second.id) == ("A0001", "A0002")
    found = StoredAcceptances.of(store_settings).all()
    assert [one.acceptance for one in found] == [first, second]
    assert [one.withdrawn is not None for one in found] == [True, False]
    assert kept.withdraw(first.id, "赵某", NOW + timedelta(days=1)) == withdrawn == found[0]
    with database.read() as connection:
        assert [one.action for one in audit.entries(connection)] == ["withdraw", "accept", "accept"]


def test_another_process_sees_what_was_accepted_and_withdrawn(
    kept: StoredAcceptances, store_settings: Settings
) -> None:
    writer = StoredAcceptances.of(store_settings)
    assert kept.all() == []
    assert counted(kept) == ""
    made = writer.add(ASKED, NOW)
    assert [one.acceptance for one in kept.all()] == [made]
    assert counted(kept) == made.id
    writer.withdraw(made.id, "李某", NOW)
    assert counted(kept) == ""
    assert kept.add(ASKED, NOW).id == "A0002"


def test_the_service_looks_again_after_a_second_and_sees_its_own_at_once(
    database: Database, store_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("api.store.acceptances.time.monotonic", lambda: clock[0])
    service = StoredAcceptances(LazyDatabase(store_settings), fresh=1.0)
    assert counted(service) == ""
    other = StoredAcceptances.of(store_settings).add(ASKED, NOW)
    assert counted(service) == ""
    clock[0] += 1.1
    assert counted(service) == other.id
    own = service.add(msgspec.structs.replace(ASKED, rule="CMP-002"), NOW)
    assert counted(service, "CMP-002") == own.id


def test_one_that_is_not_there_is_said(kept: StoredAcceptances) -> None:
    with pytest.raises(NotAcceptedError, match="没有编号为“A0009”的接受"):
        kept.withdraw("A0009", "李某", NOW)


def test_they_come_in_the_order_made_beyond_four_digits(kept: StoredAcceptances, database: Database) -> None:
    values = {
        "rule": "CMP-001", "accepted_by": "王某", "reason": "核实", "accepted_at": NOW, "list_id": "",
        "field": "", "value": "", "department": "", "withdrawn_by": "",
    }  # fmt: skip
    with database.begin() as connection:
        rows = [{**values, "id": one} for one in ("A10000", "A9999", "A0002")]
        connection.execute(insert(AcceptedFinding.__table__), rows)  # type: ignore[attr-defined]
    assert [one.acceptance.id for one in kept.all()] == ["A0002", "A9999", "A10000"]


def test_the_old_file_is_taken_over_once(
    kept: StoredAcceptances, store_settings: Settings, database: Database
) -> None:
    path = store_settings.home / "acceptances.ndjson"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(OLD)
    assert counted(kept, "CMP-002") == "A0002"
    found = kept.all()
    assert [(one.acceptance.id, one.withdrawn is not None) for one in found] == [
        ("A0001", True),
        ("A0002", False),
    ]
    assert found[0].acceptance.accepted_at.microsecond == 500_000
    assert found[1].acceptance.until == date(2026, 5, 1)
    assert not path.exists()
    assert path.with_name("acceptances.ndjson.imported").read_text() == OLD
    path.write_text(OLD.replace("CMP-002", "CMP-003"))
    assert [one.acceptance.id for one in kept.all()] == ["A0001", "A0002", "A0003"]
    with database.read() as connection:
        assert len(connection.execute(select(AcceptedFinding.id)).all()) == 3


def test_an_old_file_that_was_damaged_by_hand_is_refused_and_kept(
    kept: StoredAcceptances, store_settings: Settings
) -> None:
    path = store_settings.home / "acceptances.ndjson"
    path.parent.mkdir(parents=True, exist_ok=True)
    damaged = OLD + '{"event": "accept", "x\n'
    path.write_text(damaged)
    for use in (kept.all, lambda: kept.holding(TODAY), lambda: kept.add(ASKED, NOW)):
        with pytest.raises(AcceptanceError, match=r"acceptances\.ndjson 第 4 行"):
            use()
    assert path.read_text() == damaged
    path.unlink()
    assert kept.all() == []


def test_looking_makes_no_store(tmp_path: Path) -> None:
    kept = StoredAcceptances.of(Settings(home=tmp_path / "home", database_url=""))  # type: ignore[arg-type]
    assert kept.all() == []
    assert counted(kept) == ""
    assert not (tmp_path / "home").exists()


def test_a_store_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"no database" * 1000)
    kept = StoredAcceptances.of(Settings(home=tmp_path, database_url=""))  # type: ignore[arg-type]
    with pytest.raises(AcceptanceError, match="不是 SQLite 数据库"):
        kept.holding(TODAY)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"rule": "../x"}, "规则编号"),
        ({"by": " "}, "接受人不能为空"),
        ({"reason": ""}, "理由不能为空"),
        ({"reason": "长" * 1001}, "理由不能超过"),
        ({"list_id": "1\n2"}, "清单编号里有不能显示的字符"),
        ({"until": date(2026, 2, 28)}, "早于今天"),
    ],
)
def test_what_cannot_be_accepted_is_said(kept: StoredAcceptances, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(AcceptanceError, match=said):
        kept.add(msgspec.structs.replace(ASKED, **changed), NOW)
    assert kept.all() == []
