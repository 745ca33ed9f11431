"""The demo month against the rules: every mistake is found, no clean list is called wrong."""

from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path

import msgspec
import pytest
from python_calamine import CalamineWorkbook

from api.cli import run
from api.demo.case_mix import load_case_mix
from api.demo.defects import DEFECTS, Defect
from api.demo.evaluation import Evaluation, group_weights
from api.demo.generator import Generator
from api.demo.month import Label, Month
from api.demo.rules_report import NOT_IN_A_LIST
from api.services.check import Checker
from models.pack import PackStore
from models.report import Report
from models.wire import decode, decode_payload
from qc_rules.ruleset import RuleSet

SCHEME = "chs-drg-2.0"


@cache
def checker() -> Checker:
    return Checker.open(PackStore(), scheme=SCHEME)


@cache
def running() -> frozenset[str]:
    return frozenset(one.rule.code for one in checker().rules.running)


@cache
def trial_rules() -> RuleSet:
    return checker().rules.with_settings({"preview_rules": True})


@cache
def generator() -> Generator:
    return Generator(load_case_mix(checker().store), seed=11)


@cache
def clean_lists() -> tuple[bytes, ...]:
    """The bodies of 4101 lists without a mistake."""
    return tuple(msgspec.json.encode(generator().make(i, only_4101=True).body) for i in range(1500))


def test_every_rule_that_runs_has_a_mistake_to_find() -> None:
    expected = {rule for one in DEFECTS for rule in one.expects}
    assert sorted(running() - expected - set(NOT_IN_A_LIST)) == []


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda one: f"{'+'.join(one.expects)} {one.name}")
def test_a_planted_mistake_is_found(defect: Defect) -> None:
    # A preview rule runs only where a hospital asks for it; its mistake is found then.
    on_trial = not running().issuperset(defect.expects)
    planted = 0
    for index, content in enumerate(clean_lists()):
        body = msgspec.json.decode(content)
        if not defect.plant(body, generator().random_for(index, defect.name), generator().mix):
            continue
        planted += 1
        received = decode(msgspec.json.encode(body))
        rules = trial_rules()
        findings = rules.check(rules.facts(received)) if on_trial else checker().check(received).findings
        assert set(defect.expects) <= {finding.rule for finding in findings}, f"list {index}"
        if planted == 25:
            break
    assert planted


def test_no_clean_list_has_an_error() -> None:
    wrong = [
        (index, made.theme, finding.rule, finding.message)
        for index in range(800)
        for made in (generator().make(index),)
        for finding in checker().check(decode(msgspec.json.encode(made.payload()))).findings
        if finding.severity == "error"
    ]
    assert wrong == []


def test_every_clean_list_falls_into_the_group_it_was_made_for() -> None:
    adrgs = {profile.theme: profile.adrg for profile in generator().mix.profiles.values}
    for index in range(800):
        made = generator().make(index, only_4101=True)
        group = checker().group_list(decode_payload(made.payload()), scheme=SCHEME)
        assert group.adrg == adrgs[made.theme], (index, made.theme, group.code, group.explanation)


def test_recall_and_false_alarms_are_counted() -> None:
    month = Month(generator(), 40, running())
    lists, labels = io.BytesIO(), io.BytesIO()
    for _ in month.write(lists, labels):
        pass
    evaluation = Evaluation(group_weights(checker().store))
    clean = Report("1", "4101", "可上传", 100, "甲", (), None, ())
    label = Label(1, "1", "成人肺炎", ("姓名缺失",), ("CMP-006",))
    evaluation.add(label, clean)
    assert (evaluation.recall, evaluation.missed, evaluation.passed) == (0.0, [(label, "CMP-006")], False)
    wrong = checker().check(decode(b'{"setlinfo":{"dscg_way":"8"}}'))
    evaluation.add(Label(2, "2", "成人肺炎", (), ()), wrong)
    assert evaluation.clean == 1
    assert "DIC-003" in {rule for _, rule in evaluation.false_errors}


def test_the_command_writes_the_month_and_says_what_was_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    out = tmp_path / "demo"
    # Where the hospital has its database, and one that nobody can reach: the demo asks for neither.
    monkeypatch.setenv("QINGDAN_HOME", str(own))
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:x@127.0.0.1:9/none")
    status = run(["demo", "run", "--lists", "150", "--seed", "5", "--out", str(out)])
    printed = capsys.readouterr().out
    assert status == 0, printed
    assert "差错查出率" in printed
    assert "100.0%" in printed
    assert sorted(path.name for path in out.iterdir()) == [
        "labels.ndjson",
        "lists.ndjson",
        "month-report.html",
        "month-report.xlsx",
        "report.ndjson",
        "store",
        "worklist.xlsx",
    ]
    for name in ("month-report.html", "month-report.xlsx", "worklist.xlsx", "store"):
        assert str(out / name) in printed
    assert not list(own.rglob("*.sqlite"))
    assert (out / "store" / "qingdan.sqlite").is_file()
    page = (out / "month-report.html").read_text(encoding="utf-8")
    assert "统筹地区 99" in page
    assert "没有算出" not in page
    rows = CalamineWorkbook.from_path(out / "worklist.xlsx").get_sheet_by_name("工作清单").to_python()
    assert len({row[1] for row in rows[1:]}) > 20
    reports = [json.loads(line) for line in (out / "report.ndjson").read_text().splitlines()]
    labels = [json.loads(line) for line in (out / "labels.ndjson").read_text().splitlines()]
    assert [report["list_id"] for report in reports] != []
    assert len(reports) == len(labels) == 150


def test_generating_twice_writes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert run(["demo", "generate", "--lists", "30", "--seed", "9", "--out", str(tmp_path / name)]) == 0
    for name in ("lists.ndjson", "labels.ndjson"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("x")
    assert run(["demo", "generate", "--lists", "3", "--out", str(tmp_path / "file" / "x")]) == 2
    assert "不能建立文件夹" in capsys.readouterr().err
