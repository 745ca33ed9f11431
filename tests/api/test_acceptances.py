"""Accepted findings: by every door made, shown, withdrawn; they no longer count, and say when idle."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.cli import run
from api.services.check import Checker
from api.settings import Settings
from models.pack import PackStore
from models.report import Report
from models.wire import decode_payload
from qc_rules.acceptance import UNUSED_RULE, Acceptance, Acceptances
from tests.api.problems import assert_problem
from tests.api.serving import running

NOW = datetime(2026, 3, 1, 9, 0).astimezone()
TODAY = date(2026, 3, 1)


@pytest.fixture(scope="module")
def checker() -> Checker:
    return Checker.open(PackStore())


def accepting(on: date = TODAY, **narrower: Any) -> Acceptances:
    given = {"rule": "CMP-001", "until": date(2026, 3, 31), **narrower}
    return Acceptances([Acceptance("A0001", by="王某", reason="核实", accepted_at=NOW, **given)], on)


def rules_counted(report: Report) -> set[str]:
    return {found.rule for found in report.findings if found.accepted is None}


def test_an_accepted_finding_stays_marked_and_counts_no_more(
    checker: Checker, faulty: dict[str, Any]
) -> None:
    received = decode_payload(faulty)
    before = checker.check(received)
    assert (before.verdict, rules_counted(before)) == ("需修改", {"CMP-001"})
    after = checker.check(received, accepted=accepting())
    assert (after.verdict, after.score, rules_counted(after)) == ("可上传", 100, set())
    (found,) = after.findings
    assert found.rule == "CMP-001"
    assert found.accepted is not None
    assert found.accepted.text == "已接受（王某：核实；至 2026-03-31）"


@pytest.mark.parametrize(
    ("narrower", "accepted"),
    [
        ({"list_id": "EX20260110001"}, True),
        ({"list_id": "EX1"}, False),
        ({"field": "就诊ID"}, True),
        ({"field": "setlinfo.mdtrt_id"}, True),
        ({"field": "setlinfo.psn_name"}, False),
        ({"value": "7"}, False),
        ({"department": "A04"}, True),
        ({"department": "A99"}, False),
        ({"rule": "CMP-002"}, False),
        ({"until": None}, True),
        ({"on": date(2026, 3, 31)}, True),
        ({"on": date(2026, 4, 1)}, False),
    ],
)
def test_it_reaches_as_far_as_it_says(
    checker: Checker, faulty: dict[str, Any], narrower: dict[str, Any], accepted: bool
) -> None:
    faulty["setlinfo"]["dscg_caty"] = "A04"
    report = checker.check(decode_payload(faulty), accepted=accepting(**narrower))
    assert [found.accepted is not None for found in report.findings if found.rule == "CMP-001"] == [accepted]


def test_a_row_is_accepted_with_or_without_its_number(checker: Checker, example: dict[str, Any]) -> None:
    example["diseinfo"][0]["adm_cond_type"] = "8"
    for field, accepted in (
        ("diseinfo.adm_cond_type", True),
        ("diseinfo[0].adm_cond_type", True),
        ("diseinfo[1].adm_cond_type", False),
    ):
        report = checker.check(decode_payload(example), accepted=accepting(rule="DIC-005", field=field))
        assert [bool(one.accepted) for one in report.findings if one.rule == "DIC-005"] == [accepted]


def test_an_acceptance_of_a_list_that_no_longer_fires_is_said(
    checker: Checker, example: dict[str, Any]
) -> None:
    received = decode_payload(example)
    list_id = example["setlinfo"]["mdtrt_id"]
    report = checker.check(received, accepted=accepting(list_id=list_id))
    (found,) = report.findings
    assert (found.rule, found.severity, found.value) == (UNUSED_RULE, "info", "A0001")
    assert "不再出现" in found.message
    assert (report.verdict, report.score) == ("可上传", 100)
    assert checker.check(received, accepted=accepting()).findings == ()
    assert checker.check(received, accepted=accepting(list_id=list_id, on=date(2027, 1, 1))).findings == ()


def test_what_a_stage_does_not_run_is_not_called_idle(checker: Checker, example: dict[str, Any]) -> None:
    skipped = next(one.rule.code for one in checker.rules.running if "事前" not in one.rule.stages)
    accepted = accepting(rule=skipped, list_id=example["setlinfo"]["mdtrt_id"])
    received = decode_payload(example)
    assert [one.rule for one in checker.check(received, accepted=accepted).findings] == [UNUSED_RULE]
    assert checker.check(received, accepted=accepted, stage="事前").findings == ()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("accepting")


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[httpx.Client]:
    with (
        running(create_app(Settings(home=home))) as address,
        httpx.Client(base_url=f"{address}/api/v1", timeout=120) as client,
    ):
        yield client


def test_the_interface_accepts_lists_and_withdraws(client: httpx.Client, faulty: dict[str, Any]) -> None:
    asked = {"rule": "CMP-001", "by": "王某", "reason": "核实", "list_id": faulty["setlinfo"]["setl_id"]}
    assert client.post("/check", json=faulty).json()["verdict"] == "需修改"
    made = client.post("/acceptances", json=asked).json()
    report = client.post("/check", json=faulty).json()
    assert report["verdict"] == "可上传"
    assert report["findings"][0]["accepted"] == {"id": made["id"], "by": "王某", "reason": "核实"}
    assert [one["acceptance"] for one in client.get("/acceptances").json()] == [made]
    address = f"/acceptances/{made['id']}"
    assert client.delete(address, params={"by": "李某"}).json()["withdrawn"]["by"] == "李某"
    assert client.post("/check", json=faulty).json()["verdict"] == "需修改"
    assert client.get("/acceptances").json() == []
    assert len(client.get("/acceptances", params={"all": "true"}).json()) == 1


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"{", "invalid-json", "JSON"),
        (b'{"rule": "CMP-001", "by": "a"}', "invalid-request", "reason：必须给出"),
        (b'{"rule": "ZZZ-999", "by": "a", "reason": "b"}', "invalid-request", "没有规则"),
        (b'{"rule": "CMP-001", "by": "a", "reason": "b", "x": 1}', "invalid-request", "x：没有这个字段"),
        (
            b'{"rule": "CMP-001", "by": "a", "reason": "b", "until": "x"}',
            "invalid-request",
            "until：应为日期",
        ),
        (b'{"rule": "CMP-001", "by": "a", "reason": 1}', "invalid-request", "reason：类型"),
        (b'{"rule": "CMP-001", "by": "", "reason": "b"}', "invalid-request", "接受人"),
        (b"[]", "invalid-request", "类型"),
    ],
)
def test_a_wrong_acceptance_is_a_problem(client: httpx.Client, body: bytes, kind: str, said: str) -> None:
    answer = client.post("/acceptances", content=body, headers={"content-type": "application/json"})
    assert_problem(answer, kind, said)


def test_an_unknown_acceptance_is_not_found(client: httpx.Client) -> None:
    assert_problem(client.delete("/acceptances/A9999", params={"by": "甲"}), "not-found", "A9999")
    assert_problem(client.delete("/acceptances/A9999"), "invalid-request", "by")


def test_a_damaged_old_file_is_said_by_the_service(tmp_path: Path, example: dict[str, Any]) -> None:
    (tmp_path / "acceptances.ndjson").write_bytes(b"broken\n")
    with running(create_app(Settings(home=tmp_path))) as address:
        answer = httpx.post(f"{address}/api/v1/check", json=example, timeout=120)
    assert_problem(answer, "not-ready", "acceptances.ndjson 第 1 行", "不是接受记录")


def test_a_stage_runs_its_rules_only(client: httpx.Client, faulty: dict[str, Any]) -> None:
    del faulty["setlinfo"]["bill_no"]
    early = client.post("/check", params={"stage": "事前"}, json=faulty).json()
    late = client.post("/check", params={"stage": "事后"}, json=faulty).json()
    assert {one["rule"] for one in early["findings"]} < {one["rule"] for one in late["findings"]}
    assert_problem(client.post("/check", params={"stage": "x"}, json=faulty), "invalid-request", "stage")


def test_the_command_line_accepts_shows_and_withdraws(
    tmp_path: Path,
    faulty: dict[str, Any],
    capsysbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("QINGDAN_HOME", str(tmp_path / "home"))
    file = tmp_path / "list.json"
    file.write_text(json.dumps(faulty))
    narrowed = ["--list", faulty["setlinfo"]["setl_id"], "--until", "2999-12-31"]
    assert run(["check", str(file)]) == 1
    assert run(["rules", "accept", "cmp-001", "--by", "王某", "--reason", "核实", *narrowed]) == 0
    assert run(["check", str(file)]) == 0
    assert run(["rules", "accepted"]) == 0
    printed = capsysbinary.readouterr().out.decode()
    assert "已接受，编号 A0001" in printed
    assert "已接受（王某：核实；至 2999-12-31）" in printed
    assert run(["rules", "withdraw", "a0001", "--by", "李某"]) == 0
    assert run(["check", str(file)]) == 1
    assert run(["rules", "accepted", "--all", "--format", "json"]) == 0
    assert '"by": "李某"' in capsysbinary.readouterr().out.decode()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["accept", "ZZZ-999", "--by", "a", "--reason", "b"], "没有规则 ZZZ-999"),
        (["accept", "CMP-001", "--by", "a", "--reason", "b", "--until", "明年"], "日期“明年”无效"),
        (["accept", "CMP-001", "--by", "a", "--reason", "b", "--until", "2020-01-01"], "早于今天"),
        (["withdraw", "A7", "--by", "a"], "没有编号为“A7”"),
    ],
)
def test_a_wrong_command_is_one_line(
    tmp_path: Path, command: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["rules", *command, "--home", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
