"""A month judged again from the page: begun, compared, a list corrected and kept as a new version."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import msgspec
import pytest
from fastapi import FastAPI

from api.batch.driver import open_job, pinned, run_batch
from api.batch.executors import InProcess
from api.batch.runs import new_run, read_run
from api.batch.work import SHOWN_MASKED, Options
from api.demo.generator import Generator
from api.intake.source import open_source
from api.settings import Settings
from api.store.audit import entries
from tests.loaded import case_mix
from tests.web.conftest import Send, ask
from tests.web.reading import read
from web.app import create_app

LISTS = 6


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    """A site with one finished batch of made-up lists, the first without a name of the patient."""
    home = tmp_path_factory.mktemp("home")
    settings = Settings(home=home, region="99")
    app = create_app(settings)
    app.state.service.open()
    database = app.state.service.database()
    generator = Generator(case_mix(), 7)
    bodies = [generator.make(index, only_4101=True).body for index in range(LISTS)]
    bodies[0]["setlinfo"]["psn_name"] = ""
    path = home / "lists.ndjson"
    path.write_bytes(b"".join(msgspec.json.encode(body) + b"\n" for body in bodies))
    options = pinned(settings, Options(on=date(2026, 11, 1), region="99"))
    run_id = new_run(database, month="2026-10", source=str(path), options=options, by="病案科")
    job = open_job(database, settings, options)
    run_batch(database, run_id, open_source(path, settings), job, InProcess())
    yield app
    app.state.service.close()


@pytest.fixture
def send(app: FastAPI) -> Send:
    return partial(ask, app)


def finish(app: FastAPI, run_id: int) -> None:
    """Wait until the worker of the service, which asking for the run has started, is done with it."""
    deadline = monotonic() + 300
    while (run := read_run(app.state.service.database(), run_id)).state != "done":
        assert run.state in ("queued", "running"), run.message
        assert monotonic() < deadline, run.state
        sleep(0.05)


def ended(answer: httpx.Response) -> int:
    """The run that the page leads to."""
    assert answer.status_code == 303, answer.text
    return int(answer.headers["location"].rpartition("/")[2])


def test_a_batch_is_judged_again_and_its_changes_are_shown(send: Send, app: FastAPI, tmp_path: Path) -> None:
    page = send("GET", "/batches/1").text
    assert "用现在的数据包重新质控" in page
    run_id = ended(send("POST", "/batches/1/revalidate", data={"scheme": "chs-drg-1.1", "by": "质控科"}))
    finish(app, run_id)
    assert read_run(app.state.service.database(), run_id).created_by == "质控科"
    page = send("GET", f"/batches/{run_id}/changes").text
    assert "换组" in page
    assert "chs-drg" in page
    assert f'href="/batches/1/changes?before={run_id}"' in page
    assert "换组" in send("GET", f"/batches/1/changes?before={run_id}").text
    assert f"/batches/{run_id}/changes" in send("GET", f"/batches/{run_id}").text
    found = send("GET", f"/api/v1/batches/{run_id}/changes").json()
    assert (found["before"], found["after"], found["lists"]) == (1, run_id, LISTS)
    book = send("GET", f"/api/v1/batches/{run_id}/changes?format=xlsx")
    assert book.content[:2] == b"PK"
    assert send("GET", "/api/v1/batches/1/changes").status_code == 422
    assert send("GET", "/batches/99/changes").status_code == 404
    elsewhere = send("POST", "/batches/1/revalidate", data={}, headers={"sec-fetch-site": "cross-site"})
    assert elsewhere.status_code == 400
    assert send("POST", "/batches/1/revalidate", data={"scheme": "nowhere!"}).status_code in (303, 422)


def test_a_list_is_corrected_in_the_form_and_kept(send: Send, app: FastAPI) -> None:
    page = send("GET", "/lists", params={"run": 1, "list": "#1"})
    assert page.status_code == 200
    assert "存为新版本" in page.text
    fields = read(page.text).values
    true = Generator(case_mix(), 7).make(0, only_4101=True).body["setlinfo"]
    assert true["certno"] not in page.text
    assert fields["_base"] == "1"
    kept = send(
        "POST",
        "/lists/save",
        data={**fields, "setlinfo.psn_name": "王小明", "_by": "编码员", "_why": "补姓名"},
    )
    assert kept.status_code == 303, kept.text
    said = parse_qs(urlsplit(kept.headers["location"]).query)
    assert said["saved"][0].startswith("已存为第 2 版")
    shown = send("GET", kept.headers["location"])
    assert "已存为第 2 版" in shown.text
    assert "王小明" not in shown.text
    late = send("POST", "/lists/save", data={**fields, "setlinfo.psn_name": "李四"})
    assert late.status_code == 422
    assert "第 2 版" in late.text
    assert "李四" in late.text
    assert send("POST", "/lists/save", data={"setlinfo.psn_name": "李四"}).status_code == 400
    assert send("POST", "/", data=fields).text.count("存为新版本") == 1
    run_id = ended(send("POST", "/batches/1/revalidate", data={}))
    finish(app, run_id)
    found = send("GET", f"/api/v1/batches/{run_id}/changes").json()
    assert found["corrected"] == 1
    assert any(one["vanished"] for one in found["rules"])


def test_a_list_is_corrected_through_the_interface(send: Send, app: FastAPI) -> None:
    opened = send("GET", "/api/v1/batches/1/list", params={"list": "#2"}).json()
    assert opened["version"] == opened["judged"] == 1
    body = opened["list"]
    body["setlinfo"]["psn_name"] = "赵六"
    address = "/api/v1/batches/1/list"
    asked = {"list": "#2", "base": 1, "by": "编码员", "why": "改姓名"}
    kept = send("POST", address, params=asked, json=body)
    assert kept.status_code == 200, kept.text
    assert (kept.json()["version"], kept.json()["new"]) == (2, True)
    again = send("POST", address, params=asked, json=body)
    assert again.status_code == 422
    assert "第 2 版" in again.json()["detail"]
    assert send("GET", address, params={"list": "nobody"}).status_code == 422
    wrong = send(
        "POST",
        address,
        params={**asked, "base": 2},
        content=b"{",
        headers={"content-type": "application/json"},
    )
    assert wrong.status_code in (400, 422)
    run = send(
        "POST", "/api/v1/batches/1/revalidate", params={"scheme": "chs-drg-2.0", "by": "质控科"}, json={}
    )
    assert run.json()["kind"] == "revalidation"
    waiting = send("POST", f"/api/v1/batches/{run.json()['id']}/revalidate", json={})
    assert waiting.status_code == 422
    assert send("POST", "/api/v1/batches/99/revalidate", json={}).status_code == 404


def test_a_list_in_the_form_is_judged_by_what_its_masks_stand_for(send: Send) -> None:
    opened = send("GET", "/api/v1/batches/1/list", params={"list": "#5"}).json()
    asked = {"list": opened["list_key"], "base": opened["version"]}
    masked = send("POST", "/api/v1/check", json=opened["list"]).json()
    assert any("*" in one["value"] for one in masked["findings"])
    body = opened["list"]
    found = send("POST", "/lists/check", params=asked, json=body)
    assert found.json()["verdict"] == "可上传", found.text
    body["setlinfo"]["certno"] = "990100190001010010"
    wrong = send("POST", "/lists/check", params=asked, json=body).json()
    assert [one["value"] for one in wrong["findings"] if one["field"] == "证件号码"] == [
        f"{'*' * 18}{SHOWN_MASKED}"
    ]
    assert send("POST", "/lists/check", params={**asked, "base": 9}, json=body).status_code == 422
    assert send("POST", "/lists/check", params={**asked, "list": "x"}, content=b"{").status_code == 415


def test_payloads_are_looked_at_first_and_taken_with_a_name(send: Send, app: FastAPI) -> None:
    true = Generator(case_mix(), 7).make(3, only_4101=True).body["setlinfo"]["certno"]
    asked = {"format": "4101", "with_errors": "true"}
    found = send("GET", "/api/v1/batches/1/payloads", params=asked).json()
    assert found["written"] + len(found["refused"]) == LISTS
    assert found["written"] >= 3
    page = send("GET", "/batches/1/payloads", params={"with_errors": "1"}).text
    assert f"能导出 {found['written']} 份，不能导出 {len(found['refused'])} 份" in page
    assert true not in page
    for answer in (
        send("POST", "/api/v1/batches/1/payloads", params={**asked, "by": "上传员"}, json={}),
        send("POST", "/batches/1/payloads", data={"format": "4101", "with_errors": "1", "by": "上传员"}),
    ):
        assert answer.headers["content-disposition"] == 'attachment; filename="batch-1-4101.ndjson"'
        lines = [msgspec.json.decode(line) for line in answer.content.splitlines()]
        assert len(lines) == found["written"]
        assert {line["infno"] for line in lines} == {"4101"}
        assert true in {line["input"]["setlinfo"]["certno"] for line in lines}
    with app.state.service.database().read() as connection:
        taken = [one for one in entries(connection) if one.action == "export-payloads"]
    assert [(one.who, one.object, one.detail) for one in taken] == [("上传员", "run 1", "4101")] * 2
    assert send("POST", "/batches/1/payloads", headers={"sec-fetch-site": "cross-site"}).status_code == 400
    assert send("POST", "/api/v1/batches/1/payloads").status_code == 415
    assert send("GET", "/api/v1/batches/99/payloads").status_code == 404
    assert send("GET", "/batches/1/payloads", params={"format": "x"}).status_code == 422


def test_whoever_opens_a_masked_list_or_takes_the_results_is_in_the_audit_log_once(
    send: Send, app: FastAPI
) -> None:
    def taken() -> list[tuple[str, str, str, str]]:
        with app.state.service.database().read() as connection:
            found = entries(connection, who="审计员", limit=10_000)
        return [(one.who, one.action, one.object, one.detail) for one in found][::-1]

    named = {"x-remote-user": quote("审计员")}
    opened = send("GET", "/api/v1/batches/1/list", params={"list": "#6"}, headers=named).json()
    what = f"{opened['list_key']} v{opened['version']}"
    reading = ("审计员", "open-list", what, "run 1")
    assert taken() == [reading]
    assert send("GET", "/lists", params={"run": 1, "list": "#6"}, headers=named).status_code == 200
    assert taken() == [reading] * 2
    lines = send("GET", "/api/v1/batches/1/results", headers=named).text.splitlines()
    assert len(lines) == LISTS
    assert taken() == [*[reading] * 2, ("审计员", "export-results", "run 1", "接口 ndjson")]
    # What is refused shows nothing, and is no reading.
    assert send("GET", "/lists", params={"run": 1, "list": "nobody"}, headers=named).status_code == 422
    assert send("GET", "/api/v1/batches/99/results", headers=named).status_code == 404
    assert len(taken()) == 3
