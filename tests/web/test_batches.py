"""The pages of the batches: what they show of a run, what they let do, and what they refuse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from api.batch.driver import open_job, pinned, run_batch
from api.batch.executors import InProcess
from api.batch.runs import Claim, new_run
from api.batch.work import Options
from api.intake.source import open_source
from api.settings import Settings
from api.store.database import Database
from models.pack import PackStore
from tests.api.batch.conftest import BROKEN, bodies, write_lists
from tests.api.serving import running
from web.app import create_app
from web.batch import _holds


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(
        home=tmp_path_factory.mktemp("home"), database_url=SecretStr(""), identity_key=SecretStr("")
    )


@pytest.fixture(scope="module")
def client(settings: Settings) -> Iterator[httpx.Client]:
    with running(create_app(settings)) as address, httpx.Client(base_url=address, timeout=120) as client:
        client.headers["accept"] = "text/html"
        yield client


@pytest.fixture(scope="module")
def run_id(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> int:
    """A finished run with one rejected line."""
    lists = bodies(12)
    del lists[3]["setlinfo"]["medcasno"]
    path = write_lists(tmp_path_factory.mktemp("input") / "<十月>.ndjson", [*lists, BROKEN])
    return finished(settings, path)


def finished(settings: Settings, path: Path) -> int:
    database = Database.open(settings)
    options = pinned(settings, Options(on=date(2026, 11, 1)))
    found = new_run(database, month="2026-10", source=str(path), options=options, by="病案科")
    run_batch(
        database, found, open_source(path, settings), open_job(database, settings, options), InProcess()
    )
    database.dispose()
    return found


def test_the_page_lists_runs_by_the_name_of_their_input(client: httpx.Client, run_id: int) -> None:
    page = client.get("/batches").raise_for_status().text
    assert "&lt;十月&gt;.ndjson" in page
    assert "<十月>" not in page
    assert f'href="/batches/{run_id}"' in page
    assert 'href="/batches" aria-current="page"' in page
    assert "/input" not in page


def test_the_page_of_a_run_has_verdicts_rules_packs_and_ways_on(client: httpx.Client, run_id: int) -> None:
    page = client.get(f"/batches/{run_id}").raise_for_status().text
    for text in ("完成", "需修改", "CMP-005", "病案号未填写", "chs-drg-2.0", f"/worklist?run={run_id}"):
        assert text in page
    assert f"/api/v1/batches/{run_id}/rejects" in page
    assert "data-act-run" not in page


@pytest.mark.parametrize("place", ["999", "0", "x", "99999999999999999999"])
def test_a_run_that_is_not_there_is_a_page_that_says_so(client: httpx.Client, place: str) -> None:
    answer = client.get(f"/batches/{place}")
    assert answer.status_code in (404, 422)
    assert answer.headers["content-type"].startswith("text/html")
    assert "<h1>" in answer.text


def test_a_run_at_work_can_be_cancelled_and_a_cancelled_one_resumed(
    client: httpx.Client, settings: Settings, tmp_path: Path
) -> None:
    database = Database.open(settings)
    options = pinned(settings, Options(on=date(2026, 11, 1)))
    at_work = new_run(
        database, month="2026-10", source=str(tmp_path / "a.ndjson"), options=options, by="x", total_bytes=100
    )
    Claim(database, at_work).take()
    database.dispose()
    page = client.get(f"/batches/{at_work}").text
    assert 'data-act-run="cancel"' in page
    assert "<progress" in page
    answer = client.post(f"/api/v1/batches/{at_work}/cancel", json={}, headers={"accept": "*/*"})
    assert answer.json()["state"] == "cancelling"
    assert "正在取消" in client.get("/batches").text


def test_the_form_offers_the_packs_and_says_when_none_prices(client: httpx.Client) -> None:
    page = client.get("/batches").raise_for_status().text
    for name in ("region", "scheme", "payment", "mapping"):
        assert f'id="upload-{name}" name="{name}"' in page
    assert '<option value="chs-drg-2.0">' in page
    assert '<option value="sichuan-2024" data-region="51" data-from="2024-01-01" data-to="">' in page
    assert 'role="status"><span data-show="why">没有填写统筹地区' in page
    assert "--" not in re.sub(r"<!--.*?-->", "", page)


@pytest.mark.parametrize(
    ("region", "month", "priced"),
    [("5101", "2026-10", True), ("5101", "2023-12", False), ("31", "2026-10", False)],
)
def test_a_region_is_priced_where_and_when_a_pack_holds(region: str, month: str, priced: bool) -> None:
    packs = [pack.manifest for pack in PackStore().active("drg-payment")]
    assert any(_holds(one, region, month) for one in packs) is priced
