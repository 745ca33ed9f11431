"""Lists that were stored under a rule which showed more are masked anew, and nothing else of them changes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from api.batch.correction import open_list
from api.batch.runs import FINDING, RunView
from api.store import audit
from api.store.database import StoreError
from api.store.lists import history, open_masked, reveal_many, save_version
from api.store.remask import Remasked, remask
from api.store.vault import IDENTITY, Vault
from tests.api.batch.conftest import (  # noqa: F401 -- fixtures are found by their names
    Command,
    Site,
    bodies,
    command,
    compiled,
    lists_file,
    site,
)

LISTS = 5
CERTIFICATE = "510100199001010011"
SHOWN = "5101**********0011"
AT = datetime(2026, 11, 2, tzinfo=UTC)


@pytest.fixture
def before(site: Site, lists_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> RunView:  # noqa: F811
    """A run of an edition that showed four digits at each end of a number; the last list has no such number."""
    lists = bodies(LISTS)
    for body in lists[:-1]:
        body["setlinfo"]["certno"] = CERTIFICATE
        body["setlinfo"]["psn_cert_type"] = "01"
        for name in ("psn_no", "hi_no", "coner_tel", "emp_tel"):
            body["setlinfo"].pop(name, None)
    for name in ("certno", "psn_no", "hi_no"):
        lists[-1]["setlinfo"].pop(name, None)
    with monkeypatch.context() as then:
        then.setitem(IDENTITY, "certno", (4, 4))
        then.setattr(
            "api.batch.work._IDENTITY",
            [("certificate_number", 4, 4)],
        )
        return site.run(lists_file(lists))


def shown_in_findings(site: Site) -> list[str]:  # noqa: F811
    with site.database.read() as connection:
        rows = connection.execute(select(FINDING.c.value, FINDING.c.message)).all()
    return [f"{row.value} {row.message}" for row in rows]


def masked(site: Site, run: RunView, number: int) -> str:  # noqa: F811
    return open_list(site.database, run.id, f"#{number}").payload.decode()


def test_what_showed_too_much_is_masked_and_the_content_stays(site: Site, before: RunView) -> None:  # noqa: F811
    vault = Vault.open(site.settings, site.database)
    opened = [open_list(site.database, before.id, f"#{number}") for number in range(1, LISTS + 1)]
    assert [SHOWN in one.payload.decode() for one in opened] == [True] * (LISTS - 1) + [False]
    assert any(SHOWN in one for one in shown_in_findings(site))
    pairs = [(one.list_key, one.version) for one in opened]
    with site.database.read() as connection:
        true = reveal_many(connection, vault, pairs)
        versions = [history(connection, key) for key, _ in pairs]

    done = remask(site.database, vault, who="信息科", at=AT)
    assert (done.looked, done.lists) == (LISTS, LISTS - 1)
    assert done.findings > 0
    for number in range(1, LISTS):
        assert SHOWN not in masked(site, before, number)
        assert "*" * len(CERTIFICATE) in masked(site, before, number)
    assert not any(SHOWN in one for one in shown_in_findings(site))
    assert any("*" * len(CERTIFICATE) in one for one in shown_in_findings(site))
    with site.database.read() as connection:
        assert reveal_many(connection, vault, pairs) == true
        assert [history(connection, key) for key, _ in pairs] == versions
        (entry,) = audit.entries(connection, action="remask")
    assert (entry.who, entry.object) == ("信息科", f"{LISTS - 1} 份清单")

    assert remask(site.database, vault, who="信息科", at=AT) == Remasked(LISTS, 0, 0)
    with site.database.read() as connection:
        assert len(audit.entries(connection, action="remask")) == 1


def test_it_goes_on_after_an_interruption_and_the_versions_stay_guarded(
    site: Site,  # noqa: F811
    before: RunView,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vault = Vault.open(site.settings, site.database)
    monkeypatch.setattr("api.store.remask.PORTION", 2)

    def interrupt(done: Remasked) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        remask(site.database, vault, who="x", at=AT, advance=interrupt)
    left = [number for number in range(1, LISTS) if SHOWN in masked(site, before, number)]
    assert 0 < len(left) < LISTS - 1

    def broken(*_: object) -> int:
        raise StoreError("磁盘已满")

    with monkeypatch.context() as full:
        full.setattr("api.store.remask._findings", broken)
        with pytest.raises(StoreError, match="磁盘已满"):
            remask(site.database, vault, who="x", at=AT)
    assert [number for number in range(1, LISTS) if SHOWN in masked(site, before, number)] == left
    for _ in range(2):
        with pytest.raises(DBAPIError, match="never changed"), site.database.begin() as connection:
            connection.execute(text("UPDATE list_version SET payload = payload"))
        done = remask(site.database, vault, who="x", at=AT)
    assert done == Remasked(LISTS, 0, 0)
    assert not [number for number in range(1, LISTS) if SHOWN in masked(site, before, number)]


def test_a_list_opened_before_cannot_be_saved_with_stars_for_a_number(site: Site, before: RunView) -> None:  # noqa: F811
    vault = Vault.open(site.settings, site.database)
    old = open_list(site.database, before.id, "#1")
    remask(site.database, vault, who="x", at=AT)
    with site.database.begin() as connection:
        with pytest.raises(StoreError, match=r"5101\*+0011.*请重新打开清单"):
            save_version(connection, vault, old.list_key, old.payload, base=1, who="甲", at=AT)
        now = msgspec.json.decode(open_masked(connection, old.list_key)[1])
        now["setlinfo"]["medcasno"] = "B1"
        content = msgspec.json.encode(now)
        assert save_version(connection, vault, old.list_key, content, base=1, who="甲", at=AT) == 2
        (true,) = reveal_many(connection, vault, [(old.list_key, 2)]).values()
    assert msgspec.json.decode(true)["setlinfo"]["certno"] == CERTIFICATE


def test_the_command_says_what_it_did(
    command: Command,  # noqa: F811
    before: RunView,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command("db", "remask", "--by", "信息科") == 0
    assert f"看过 {LISTS} 份清单版本，重新打码 {LISTS - 1} 份" in capsys.readouterr().out
    assert command("db", "audit", "--action", "remask") == 0
    assert "重新打码" in capsys.readouterr().out
