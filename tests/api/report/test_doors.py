"""The report by command, over the interface and as pages: one month driven through all three."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI
from python_calamine import CalamineWorkbook

from api.store import audit
from tests.api.batch.conftest import Command, Site
from tests.api.report.conftest import FORMULA, LISTS, NAME, Run
from web.app import create_app

Ask = Callable[..., httpx.Response]
READER = {"x-remote-user": "%E6%9D%8E%E5%9B%9B"}


@pytest.fixture
def app(site: Site) -> Iterator[FastAPI]:
    app = create_app(site.settings)
    app.state.service.open()
    yield app
    app.state.service.database().dispose()


@pytest.fixture
def ask(app: FastAPI) -> Ask:
    """``ask("GET", "/reports")`` gives the answer."""

    def send(method: str, path: str, **named: Any) -> httpx.Response:
        async def request() -> httpx.Response:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
                return await client.request(method, path, **named)

        return anyio.run(request)

    return send


def readings(site: Site) -> list[tuple[str, str, str]]:
    with site.database.read() as connection:
        found = [one for one in audit.entries(connection) if one.action.startswith("read-")]
        return [(one.who, one.action, one.object) for one in found]


def test_a_month_made_sealed_shown_and_verified_by_command(
    site: Site, run_of: Run, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = run_of()
    assert command("report", "make", "2026-10", "--out", tmp_path / "draft", "--by", "甲") == 0
    assert f"清单 {LISTS} 份（批次 {run_id}）" in capsys.readouterr().out
    assert command("report", "seal", "2026-10", "--by", "张三") == 0
    digest = capsys.readouterr().out.strip().rpartition(" ")[2]
    assert command("report", "seal", "2026-10", "--by", "张三") == 2
    assert "--supersede 1 --why" in capsys.readouterr().err
    assert command("report", "show", "2026-10", "--out", tmp_path / "sealed", "--by", "乙") == 0
    files = {path.name: path for path in (tmp_path / "sealed").iterdir()}
    assert set(files) == {f"report-2026-10-1.{kind}" for kind in ("html", "xlsx", "json")}
    assert hashlib.sha256(files["report-2026-10-1.json"].read_bytes()).hexdigest() == digest
    draft = tmp_path / "draft" / "draft-2026-10.json"
    assert draft.read_bytes() == files["report-2026-10-1.json"].read_bytes()
    overview = (
        CalamineWorkbook.from_path(files["report-2026-10-1.xlsx"]).get_sheet_by_name("概况").to_python()
    )
    assert ["SHA-256", digest] in overview
    assert command("report", "seal", run_id, "--by", "张三", "--supersede", 1, "--why", "更正") == 0
    capsys.readouterr()
    assert command("report", "list") == 0
    assert "已被第 2 号取代" in capsys.readouterr().out
    assert command("report", "verify") == 0
    assert capsys.readouterr().out.count("相符") == 2
    assert command("report", "worklist", "2026-10", "--out", tmp_path / "w.xlsx", "--severity", "error") == 0
    assert capsys.readouterr().out.strip().endswith("w.xlsx")
    assert ("甲", "read-report", f"run {run_id}") in readings(site)
    assert ("乙", "read-report", "report 1") in readings(site)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("report", "make", "2026-11", "--out", "out"), "2026-11 没有已完成的批次"),
        (("report", "seal", "9", "--by", "张三"), "没有批次 9"),
        (("report", "show", "3"), "没有第 3 号封存月报"),
        (("report", "verify", "十月"), "不是月份"),
        (("report", "worklist", "2026-11", "--out", "w.xlsx"), "没有已完成的批次"),
    ],
)
def test_what_is_not_there_is_one_clear_line(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command(*arguments) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "w.xlsx").exists()


def test_a_month_sealed_and_read_on_the_pages(site: Site, run_of: Run, ask: Ask) -> None:
    assert "还没有完成的批次" in ask("GET", "/worklist").text
    assert "还没有封存的月报" in ask("GET", "/reports").text
    run_id = run_of()
    assert f'href="/reports/run/{run_id}"' in ask("GET", "/reports").text
    draft = ask("GET", f"/reports/run/{run_id}").text
    assert "未封存" in draft
    assert f"/worklist?run={run_id}&amp;rule=" in draft
    sealed = ask("POST", "/reports", data={"run": "2026-10", "by": "张三"})
    assert (sealed.status_code, sealed.headers["location"]) == (303, "/reports/1")
    page = ask("GET", "/reports/1", headers=READER)
    assert "已封存：第 1 号，张三" in page.text
    assert "<script" not in page.text
    assert NAME not in page.text
    again = ask("POST", "/reports", data={"run": "2026-10", "by": "张三", "supersede": "x"})
    assert again.status_code == 422
    assert "应为封存月报的编号" in again.text
    refused = ask("POST", "/reports", data={"run": "2026-10", "by": "<b>张三"})
    assert refused.status_code == 422
    assert "--supersede 1" in refused.text
    assert "<b>张三" not in refused.text
    other = ask("POST", "/reports", data={"run": "2026-10"}, headers={"sec-fetch-site": "cross-site"})
    assert other.status_code == 400
    named = {"run": str(run_id), "supersede": "1", "why": "更正", "by": "冒名"}
    assert ask("POST", "/reports", data=named, headers=READER).status_code == 303
    assert "李四" in ask("GET", "/reports/2").text
    assert ask("GET", "/reports/99").status_code == ask("GET", "/reports/run/99").status_code == 404
    assert readings(site)[-1] == (f"未登录 {'127.0.0.1'}", "read-report", f"run {run_id}")
    assert ("李四", "read-report", "report 1") in readings(site)


def test_the_work_list_page_filters_turns_and_escapes(site: Site, run_of: Run, ask: Ask) -> None:
    run_id = run_of()
    page = ask("GET", "/worklist", params={"severity": "error"})
    assert page.status_code == 200
    assert 'data-severity="error"' in page.text
    assert '<td><span class="tone" data-severity="warn">' not in page.text
    assert "<script>alert" not in ask("GET", "/worklist").text
    assert "没有符合筛选的问题" in ask("GET", "/worklist", params={"doctor": "<b>"}).text
    assert FORMULA.replace('"', "&#34;") in ask("GET", "/worklist", params={"doctor": FORMULA}).text
    for wrong in ({"severity": "bad"}, {"run": "99"}, {"run": "十月"}):
        assert ask("GET", "/worklist", params=wrong).status_code == 404
    assert ask("GET", "/worklist", params={"page": "x"}).status_code == 200
    assert {action for _, action, _ in readings(site)} == {"read-worklist"}
    assert {what for _, _, what in readings(site)} == {f"run {run_id}"}


def test_programs_read_reports_and_work_lists_and_are_written_down(site: Site, run_of: Run, ask: Ask) -> None:
    run_id = run_of()
    draft = ask("GET", "/api/v1/batches/2026-10/report", headers=READER)
    assert draft.json()["totals"]["lists"] == LISTS
    assert ask("GET", "/api/v1/reports/1").status_code == 404
    ask("POST", "/reports", data={"run": "2026-10", "by": "张三"})
    (line,) = ask("GET", "/api/v1/reports", params={"month": "2026-10"}).json()
    sealed = ask("GET", "/api/v1/reports/2026-10", headers=READER)
    assert hashlib.sha256(sealed.content).hexdigest() == line["digest"]
    assert ask("GET", "/api/v1/reports/1/verification").json() == {"line": line, "faults": []}
    page = ask("GET", "/api/v1/reports/1", params={"format": "html"})
    assert page.text.startswith("<!doctype html>")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    book = ask("GET", "/api/v1/reports/1", params={"format": "xlsx"})
    assert "走势" in CalamineWorkbook.from_filelike(io.BytesIO(book.content)).sheet_names
    work = ask("GET", f"/api/v1/batches/{run_id}/worklist", params={"size": 3, "page": 2}).json()
    assert (work["page"], len(work["rows"]), work["run"]) == (2, 3, run_id)
    file = ask("GET", f"/api/v1/batches/{run_id}/worklist", params={"format": "xlsx"})
    rows = CalamineWorkbook.from_filelike(io.BytesIO(file.content)).get_sheet_by_name("工作清单").to_python()
    assert len(rows) == work["total"] + 1
    problem = ask("GET", "/api/v1/batches/99/worklist")
    assert problem.headers["content-type"] == "application/problem+json"
    assert "没有批次 99" in json.loads(problem.content)["detail"]
    found = readings(site)
    assert found.count(("李四", "read-report", f"run {run_id}")) == 1
    assert found.count(("李四", "read-report", "report 1")) == 1
    assert len([one for one in found if one[1] == "read-worklist"]) == 2


def test_a_month_that_is_none_is_told_how_to_write_one(ask: Ask) -> None:
    for path in ("/api/v1/reports?month=2026-13", "/api/v1/batches?month=october"):
        refused = ask("GET", path)
        assert refused.status_code == 422
        assert "应为年-月，如 2026-10" in refused.text
