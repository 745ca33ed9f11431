"""The month: planted habits are found, a month like the past stays quiet, few lists say that they are few."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from python_calamine import CalamineWorkbook

from api.cli import run
from api.demo.case_mix import load_case_mix
from api.demo.generator import Generator
from api.services.check import Checker
from api.services.month.comparisons import LEAST_TESTED, SMALL
from api.services.month.indications import Indications, TableError
from api.services.month.ranking import together
from api.services.month.result import MonthReport, Review
from api.services.month.study import Request, study
from api.settings import Settings
from models.pack import PROJECT_ROOT, PackStore

REGION = "99"
NEUROLOGY = "A03.03"
DEAREST = "J96.000", "急性呼吸衰竭"
"""An MCC that the neurologists of the planted month write on a third of their lists."""
PAST, MONTH = 31, 32
"""Seeds. At a false discovery rate of 5 % a quiet month now and then raises a flag; this one does not."""
Body = dict[str, Any]


@cache
def store() -> PackStore:
    return PackStore()


@cache
def checker() -> Checker:
    return Checker.open(store(), region=REGION)


@cache
def made(seed: int, month: int, count: int) -> tuple[Body, ...]:
    generator = Generator(load_case_mix(store()), seed, month=month)
    return tuple(generator.make(index, only_4101=True).body for index in range(count))


def write(path: Path, lists: Iterable[Body]) -> Path:
    path.write_bytes(b"".join(msgspec.json.encode(body) + b"\n" for body in lists))
    return path


def upcoded(lists: Iterable[Body]) -> list[Body]:
    """The same lists, with the MCC added on a third of those of neurology, whose cost stays what it was."""
    rng = Random(5)  # noqa: S311 - made-up data must be repeatable
    found = copy.deepcopy(list(lists))
    for body in found:
        if body["setlinfo"]["dscg_caty"] == NEUROLOGY and rng.random() < 1 / 3:
            row = {"diag_type": "2", "diag_code": DEAREST[0], "diag_name": DEAREST[1], "adm_cond_type": "1"}
            body["diseinfo"].insert(1, {**row, "maindiag_flag": "0"})
            body["setlinfo"]["diag_code_cnt"] = len(body["diseinfo"])
    return found


@cache
def report_of(kind: str) -> MonthReport:
    """The report of a month: null (like the past), planted, alone (no past)."""
    import tempfile  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lists: Iterable[Body] = made(MONTH, 10, 1200)
        if kind == "planted":
            lists = upcoded(lists)
        past = [] if kind == "alone" else [write(folder / "past.ndjson", made(PAST, 9, 1800))]
        request = Request([write(folder / "month.ndjson", lists)], past, region=REGION)
        return study(request, checker(), Settings(home=folder))


def one_study(folder: Path, lists: Iterable[Body], past: Iterable[Body] = ()) -> MonthReport:
    settings = Settings(home=folder)
    request = Request([write(folder / "m.ndjson", lists)], region=REGION)
    before = list(past)
    if before:
        request = Request(request.files, [write(folder / "p.ndjson", before)], region=REGION)
    return study(request, checker(), settings)


# --- statistics over the month


def test_a_month_like_the_past_raises_no_flag_against_the_past() -> None:
    report = report_of("null")
    assert sum(report.summary.tested.values()) > 200
    assert [line for line in report.comparisons if line.flagged and line.baseline == "本院过去"] == []
    assert [line for line in report.comparisons if line.flagged and line.measure == "MCC/CC 率"] == []


def test_a_department_that_upcodes_is_found_by_its_rate_and_by_the_code_it_uses() -> None:
    report = report_of("planted")
    flagged = [line for line in report.comparisons if line.flagged and line.level == "科室"]
    assert {line.unit for line in flagged if line.measure in ("MCC/CC 率", "编码使用")} == {NEUROLOGY}
    by_measure = {(line.measure, line.code): line for line in flagged if line.baseline == "本院过去"}
    assert by_measure["MCC/CC 率", ""].direction == "偏高"
    code = by_measure["编码使用", DEAREST[0]]
    assert code.code_name == DEAREST[1]
    assert code.observed is not None
    assert code.expected is not None
    assert code.observed > 5 * code.expected
    assert code.q is not None
    assert code.q < 1e-6


def test_the_upcoded_lists_lead_the_ranking_with_effect_and_reasons() -> None:
    planted = {
        (body["setlinfo"]["mdtrt_id"])
        for body, clean in zip(upcoded(made(MONTH, 10, 1200)), made(MONTH, 10, 1200), strict=True)
        if body != clean
    }
    rows = [row for row in report_of("planted").reviews if row.direction == "可能高编"]
    assert len(planted) > 30
    top = rows[: len(planted)]
    assert sum(row.list_id in planted for row in top) > len(planted) / 2
    assert len(planted & {row.list_id for row in rows}) >= 0.9 * len(planted)
    for row in top:
        assert row.evidence
        assert row.clears
        if "没有合并症" in row.effect_text:
            assert "合并症" not in row.clears
        assert row.effect_text
        assert row.effect_yuan is not None


def test_rates_of_few_lists_are_marked_and_those_below_ten_are_not_tested() -> None:
    lines = report_of("planted").comparisons
    few = [line for line in lines if line.level == "医师" and line.cases < LEAST_TESTED]
    assert len(few) > 20
    for line in few:
        assert line.small
        assert line.p is None
        assert line.q is None
        assert not line.flagged
        assert line.note
    assert all(line.small == (line.cases < SMALL) for line in lines)


def test_a_month_of_few_lists_has_no_model_and_says_so(tmp_path: Path) -> None:
    report = one_study(tmp_path, made(MONTH, 10, 60))
    assert report.models == ()
    assert report.candidates == ()
    assert any("不足 500 份" in note and "费用" in note for note in report.notes)
    assert any("--reference" in note for note in report.notes)


# --- residuals


def test_a_list_whose_cost_is_far_from_its_codes_is_a_candidate_in_either_direction(tmp_path: Path) -> None:
    lists = copy.deepcopy(list(made(MONTH, 10, 700)))
    strokes = [body for body in lists if body["diseinfo"][0]["diag_code"].startswith("I63")][:2]
    for body, factor in zip(strokes, (0.08, 12.0), strict=True):
        body["setlinfo"]["medfee_sumamt"] = round(body["setlinfo"]["medfee_sumamt"] * factor, 2)
    found = {
        one.list_id: one
        for one in one_study(tmp_path, lists, made(PAST, 9, 1800)).candidates
        if one.target == "费用"
    }
    low, high = (found[body["setlinfo"]["mdtrt_id"]] for body in strokes)
    assert low.ratio < 0.3
    assert "编码重于实际" in low.text
    assert high.ratio > 4
    assert "漏编" in high.text
    assert all(driver.factor > 1 for driver in low.drivers)
    assert all(driver.factor < 1 for driver in high.drivers)


def test_the_model_is_judged_on_lists_it_has_not_seen() -> None:
    for kind in ("null", "alone"):
        cost = next(model for model in report_of(kind).models if model.target == "费用")
        assert 0.5 < cost.explained < 1
    assert report_of("alone").models[0].learned_from <= 1200


# --- across lists


def stays(first: Body, **changes: str) -> tuple[Body, Body]:
    """A stay from the 1st to the 8th of October, and a second one of the same person."""
    one = copy.deepcopy(first)
    one["setlinfo"] |= {"adm_time": "2026-10-01 09:00:00", "dscg_time": "2026-10-08 10:00:00"}
    one["setlinfo"] |= {"act_ipt_days": 7, "days_rinp_flag_31": "1", "dscg_way": "1"}
    two = copy.deepcopy(one)
    two["setlinfo"] |= {"mdtrt_id": "SECOND", "setl_id": "SECOND", **changes}
    return one, two


def adult() -> Body:
    return next(
        body
        for body in made(MONTH, 10, 60)
        if body["setlinfo"]["dscg_caty"] == NEUROLOGY and body["setlinfo"]["age"] > 30
    )


def rules_of(report: MonthReport) -> list[str]:
    return [one.finding.rule for one in report.cross_findings if one.other_line]


@pytest.mark.parametrize(
    ("admitted", "discharged", "expected"),
    [
        ("2026-10-07 09:00:00", "2026-10-12 10:00:00", ["LOG-030"]),
        ("2026-10-01 09:00:00", "2026-10-08 10:00:00", ["LOG-030"]),
        ("2026-10-08 10:00:00", "2026-10-12 10:00:00", ["FRD-006", "FRD-007"]),
        ("2026-10-09 09:59:00", "2026-10-12 10:00:00", ["FRD-006", "FRD-007"]),
        ("2026-10-09 10:00:00", "2026-10-12 10:00:00", ["FRD-006"]),
        ("2026-11-08 10:00:00", "2026-11-12 10:00:00", ["FRD-006"]),
        ("2026-11-09 10:00:00", "2026-11-12 10:00:00", []),
    ],
)
def test_two_stays_of_one_person(tmp_path: Path, admitted: str, discharged: str, expected: list[str]) -> None:
    report = one_study(tmp_path, stays(adult(), adm_time=admitted, dscg_time=discharged))
    assert rules_of(report) == expected
    for one in report.cross_findings:
        assert one.finding.message
        assert one.finding.basis


AGAIN = {"adm_time": "2026-10-12 09:00:00", "dscg_time": "2026-10-16 10:00:00"}


def test_a_stay_of_the_past_counts_as_the_first_one(tmp_path: Path) -> None:
    first, second = stays(adult(), **AGAIN)
    report = one_study(tmp_path, [second], [first])
    assert rules_of(report) == ["FRD-006"]
    assert report.cross_findings[0].other_file == "p.ndjson"


def test_the_same_list_in_month_and_past_is_no_second_stay(tmp_path: Path) -> None:
    first, _ = stays(adult())
    report = one_study(tmp_path, [first], [first])
    assert rules_of(report) == []
    assert any("同时在本期和过去" in note for note in report.notes)


def planned(first: Body, second: Body) -> None:
    first["setlinfo"]["days_rinp_flag_31"] = "2"


def chemotherapy(first: Body, second: Body) -> None:
    for body in (first, second):
        body["diseinfo"][0] |= {"diag_code": "Z51.102", "diag_name": "恶性肿瘤化学治疗"}


def another_disease(first: Body, second: Body) -> None:
    second["diseinfo"][0] |= {"diag_code": "K35.900", "diag_name": "急性阑尾炎"}


def another_person(first: Body, second: Body) -> None:
    second["setlinfo"] |= {"hi_no": "990100999999999999", "certno": "99010019500101002X"}


def a_child_under_the_same_number(first: Body, second: Body) -> None:
    second["setlinfo"] |= {"brdy": "2026-10-05", "age": 0, "nwb_age": 7}


def another_hospital(first: Body, second: Body) -> None:
    second["setlinfo"]["fixmedins_code"] = "H99010000002"


@pytest.mark.parametrize(
    "change",
    [planned, chemotherapy, another_disease, another_person, a_child_under_the_same_number, another_hospital],
    ids=lambda change: change.__name__,
)
def test_a_return_with_a_reason_is_no_finding(tmp_path: Path, change: Callable[[Body, Body], None]) -> None:
    first, second = stays(adult(), **AGAIN)
    change(first, second)
    assert rules_of(one_study(tmp_path, [first, second])) == []


def test_a_placeholder_names_nobody(tmp_path: Path) -> None:
    first, second = stays(adult(), **AGAIN)
    for body in (first, second):
        body["setlinfo"] |= {"hi_no": "000000000000", "certno": "无"}
    report = one_study(tmp_path, [first, second])
    assert rules_of(report) == []
    assert any("没有可用的医保编号" in note for note in report.notes)


def test_a_stay_that_ends_before_it_begins_is_left_out_and_counted(tmp_path: Path) -> None:
    first, second = stays(adult(), adm_time="2026-10-09 09:00:00", dscg_time="2026-10-02 10:00:00")
    report = one_study(tmp_path, [first, second])
    assert rules_of(report) == []
    assert any("出院早于入院" in note for note in report.notes)


def test_the_report_holds_no_identity() -> None:
    text = msgspec.json.encode(report_of("planted")).decode()
    for body in made(MONTH, 10, 1200)[:300]:
        info = body["setlinfo"]
        for name in ("psn_name", "certno", "hi_no"):
            assert f'"{info[name]}"' not in text
            if name != "psn_name":
                assert info[name] not in text


def test_a_cost_far_from_the_standard_of_the_group_is_a_finding(tmp_path: Path) -> None:
    cheap, dear = copy.deepcopy(made(MONTH, 10, 2)[0]), copy.deepcopy(made(MONTH, 10, 2)[1])
    cheap["setlinfo"]["medfee_sumamt"], dear["setlinfo"]["medfee_sumamt"] = 300.0, 900_000.0
    found = one_study(tmp_path, [cheap, dear]).cross_findings
    assert [one.finding.rule for one in found] == ["FRD-011", "FRD-011"]
    assert "低于" in found[0].finding.message
    assert "高于" in found[1].finding.message


# --- ranking


def test_without_weights_rows_stay_and_say_that_the_effect_is_unknown(tmp_path: Path) -> None:
    request = Request([write(tmp_path / "m.ndjson", stays(adult(), **AGAIN))])
    report = study(request, Checker.open(store(), scheme="chs-drg-2.0"), Settings(home=tmp_path))
    assert report.reviews
    for row in report.reviews:
        assert row.score is None
        assert "影响未知" in row.effect_text


def test_scores_fall_and_are_effect_times_strength() -> None:
    rows = [row for row in report_of("planted").reviews if row.score is not None]
    assert [row.rank for row in rows] == list(range(1, len(rows) + 1))
    assert [row.score for row in rows] == sorted((row.score or 0.0 for row in rows), reverse=True)

    def close(row: Review) -> bool:
        score = (row.effect_yuan or 0.0) * together(one.strength for one in row.evidence)
        return math.isclose(score, row.score or 0.0, abs_tol=0.05)

    assert all(close(row) for row in rows)


# --- indications


def test_a_procedure_without_its_indication_is_found_from_the_past(tmp_path: Path) -> None:
    table = Indications()
    for body in made(PAST, 9, 1800):
        table.add(checker().rules.facts(_received(body)))
    path = tmp_path / "pairs.csv"
    path.write_text(table.text(), encoding="utf-8")
    again = Indications.read(path)
    assert again == table
    usual = next(
        body
        for body in made(MONTH, 10, 1200)
        if any(row["oprn_oprt_code"].startswith("99.25") for row in body.get("oprninfo", ()))
    )
    facts = checker().rules.facts(_received(usual))
    assert list(again.leads(facts)) == []
    odd = copy.deepcopy(usual)
    odd["diseinfo"] = [{**usual["diseinfo"][0], "diag_code": "H25.900", "diag_name": "老年性白内障"}]
    (lead,) = again.leads(checker().rules.facts(_received(odd)))
    assert "99.25" in lead.message
    assert "Z51" in lead.message


def _received(body: Body) -> Any:
    from models.wire import decode  # noqa: PLC0415

    return decode(msgspec.json.encode(body))


@pytest.mark.parametrize(
    "text", ["", "a,b,c\n", "procedure,diagnosis,lists\n51.23,K80\n", "procedure,diagnosis,lists\n,,-1\n"]
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TableError, match=r"pairs\.csv"):
        Indications.read(path)


# --- the command


@pytest.fixture
def month_file(tmp_path: Path) -> Path:
    path = write(tmp_path / "month.ndjson", made(MONTH, 10, 80))
    with path.open("ab") as stream:
        stream.write(b'{"setlinfo": \n')
    return path


def test_the_command_writes_the_same_bytes_again_and_tells_of_unreadable_lines(
    tmp_path: Path, month_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ["--home", str(tmp_path / "home"), "--region", REGION]
    outs = [tmp_path / "one", tmp_path / "two"]
    for out in outs:
        assert run(["month", str(month_file), "--out", str(out), *home]) == 1
    assert "未读取 1 行" in capsys.readouterr().out
    for name in ("month.json", "month.xlsx"):
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes()
    report = json.loads((outs[0] / "month.json").read_bytes())
    assert report["unread"][0]["line"] == 81
    assert msgspec.json.decode((outs[0] / "month.json").read_bytes(), type=MonthReport).summary.lists == 80


def test_the_workbook_has_a_sheet_for_each_question_and_no_formula(tmp_path: Path) -> None:
    body = copy.deepcopy(made(MONTH, 10, 1)[0])
    body["setlinfo"] |= {"chfpdr_code": "=1+1", "mdtrt_id": "=HYPERLINK(1)", "medfee_sumamt": 300.0}
    path = write(tmp_path / "month.ndjson", [body])
    command = ["month", str(path), "--out", str(tmp_path), "--region", REGION, "--home", str(tmp_path / "h")]
    assert run(command) == 0
    book = CalamineWorkbook.from_path(tmp_path / "month.xlsx")
    wanted = ["概况", "科室", "医师", "高权重编码", "病组", "残差候选", "跨清单", "复核排序", "未读取"]
    assert book.sheet_names == wanted
    doctors = book.get_sheet_by_name("医师").to_python()
    assert any(row[0] == "=1+1" for row in doctors)
    reviews = book.get_sheet_by_name("复核排序").to_python()
    assert reviews[1][1] == "=HYPERLINK(1)"


def test_learning_and_using_a_table_through_the_command(tmp_path: Path) -> None:
    past = write(tmp_path / "past.ndjson", made(PAST, 9, 120))
    table = tmp_path / "pairs.csv"
    home = ["--home", str(tmp_path / "home")]
    assert run(["month-learn", str(past), "--out", str(table), *home]) == 0
    assert Indications.read(table).lists == 120
    command = ["month", str(past), "--out", str(tmp_path / "out"), "--pairs", str(table), *home]
    assert run(command) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["absent.ndjson", "--out", "out"], "没有这个文件"),
        (["month.ndjson", "--out", "out", "--windows", "7,x"], "--windows"),
        (["month.ndjson", "--out", "out", "--windows", "0"], "--windows"),
        (["month.ndjson", "--out", "out", "--pairs", "absent.csv"], "absent.csv"),
        (["month.ndjson", "--out", "month.ndjson"], "--out"),
        (["month.ndjson", "--out", "out", "--scheme", "no-such"], "no-such"),
    ],
)
def test_a_wrong_command_is_one_clear_line(  # noqa: PLR0917 -- fixtures
    tmp_path: Path,
    month_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["month", *arguments, "--home", str(tmp_path / "home")]) == 2
    assert said in capsys.readouterr().err


def test_findings_of_both_directions_are_ranked_by_effect_times_strength(tmp_path: Path) -> None:
    examples = PROJECT_ROOT / "docs" / "examples"
    lists = [
        json.loads((examples / name).read_text(encoding="utf-8"))
        for name in ("01-呼吸衰竭.json", "03-低钾血症.json", "04-贫血输血.json", "10-植入物.json")
    ]
    report = study(
        Request([write(tmp_path / "m.ndjson", lists)], payment="liaocheng-2025"),
        checker(),
        Settings(home=tmp_path),
    )
    rows = {(row.line, row.direction): row for row in report.reviews}
    up, down = rows[1, "可能高编"], rows[2, "可能漏编"]
    assert "FRD-002" in {one.kind for one in up.evidence}
    assert "CHG-018" in {one.kind for one in down.evidence}
    assert {"CHG-016", "CHG-019"} <= {one.kind for one in rows[4, "可能漏编"].evidence}
    for row in report.reviews:
        assert row.evidence
        assert row.clears
        if row.effect_weight is not None and row.score is not None:
            assert row.score == pytest.approx(row.effect_weight * row.strength, abs=1e-3)
    scores = [row.score for row in report.reviews if row.score is not None]
    assert scores == sorted(scores, reverse=True)
    # J96.000 alone lifts ES35 to ES31 of the public weights.
    assert up.effect_weight == pytest.approx(0.8145 - 0.4497, abs=1e-4)
