"""Other choices of one record and two schemes, through the interface and the command line."""

from __future__ import annotations

import copy
import csv
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.cli import run
from api.services.check import Checker
from api.services.comparison import REGION_PLAN, ROW_COLUMNS, ComparisonDesk, JudgedWhatIf
from api.services.dip import DipDesk
from api.services.payment import PaymentDesk, billing_of_list
from api.services.selection import SelectionRules
from grouper.worksheet import Billing
from models.grouping import Case
from models.pack import PackStore
from models.wire import decode_payload
from tests.api.problems import assert_problem

pytestmark = pytest.mark.usefixtures("loaded_once")

WHAT_IF = "/api/v1/group/what-if"
COMPARE = "/api/v1/group/compare"
BOTH = "schemes=chs-drg-1.1,chs-drg-2.0"
PLANS = "payments=linyi-2022,liaocheng-2025"


@pytest.fixture
def checker() -> Checker:
    return Checker(PackStore())


@pytest.fixture
def desk(checker: Checker) -> ComparisonDesk:
    return ComparisonDesk(checker, PaymentDesk(checker))


@pytest.fixture
def several(example: dict[str, Any]) -> dict[str, Any]:
    """The fictional list with a CC, a second procedure and another diagnosis."""
    changed = copy.deepcopy(example)
    row = {"diag_type": "1", "adm_cond_type": "1", "maindiag_flag": "0"}
    changed["diseinfo"] += [
        {**row, "diag_code": "J96.000", "diag_name": "急性呼吸衰竭"},
        {**row, "diag_code": "K65.000x001", "diag_name": "急性腹膜炎"},
    ]
    changed["setlinfo"]["diag_code_cnt"] = 4
    changed["oprninfo"].append(
        {
            **changed["oprninfo"][0],
            "oprn_oprt_type": "2",
            "oprn_oprt_code": "54.1100",
            "oprn_oprt_name": "剖腹探查术",
        }
    )
    return changed


def judged(desk: ComparisonDesk, payload: dict[str, Any], region: str = "") -> JudgedWhatIf:
    received = decode_payload(payload)
    case, cost, on = DipDesk(desk.checker).case_of_list(received)
    return desk.what_if(
        case, billing_of_list(received, cost), on=on, region=region, payment=REGION_PLAN, received=received
    )


def test_alternatives_stand_in_the_order_of_the_list(desk: ComparisonDesk, several: dict[str, Any]) -> None:
    found = judged(desk, several, "99")
    principal = [one.code for one in found.alternatives if one.kind == "principal"]
    assert principal == [row["diag_code"] for row in several["diseinfo"][1:]]
    assert [one.code for one in found.alternatives if one.kind == "main"] == ["54.1100"]
    kinds = [one.kind for one in found.alternatives]
    assert kinds == sorted(kinds, key=("principal", "main", "without").index)


def test_each_alternative_is_what_the_list_would_be_with_it(
    checker: Checker, desk: ComparisonDesk, several: dict[str, Any]
) -> None:
    """The group of an alternative is that of a list written that way; so are the rules it would break."""
    listed = checker.check(decode_payload(several)).findings
    for one in judged(desk, several).alternatives:
        changed = copy.deepcopy(several)
        node, wire = ("oprninfo", "oprn_oprt_code") if one.kind == "main" else ("diseinfo", "diag_code")
        rows = changed[node]
        row = next(row for row in rows if row[wire] == one.code)
        rows.remove(row)
        if one.kind == "without":
            changed["setlinfo"]["diag_code_cnt"] -= 1
        else:
            mark, no, yes = (
                ("oprn_oprt_type", "2", "1") if one.kind == "main" else ("maindiag_flag", "0", "1")
            )
            for other in rows:
                other[mark] = no
            row[mark] = yes
            rows.insert(0, row)
        report = checker.check(decode_payload(changed))
        assert report.group is not None
        assert report.group.code == one.outcome.code
        rules = {finding.rule for finding in report.findings}
        assert {mention.rule for mention in one.broken} >= rules - {finding.rule for finding in listed}
        assert {mention.rule for mention in one.broken} <= rules
        assert {mention.rule for mention in one.mended} >= {finding.rule for finding in listed} - rules


def test_a_better_principal_diagnosis_mends_what_the_list_breaks(
    desk: ComparisonDesk, example: dict[str, Any]
) -> None:
    first, second = example["diseinfo"]
    first["maindiag_flag"], second["maindiag_flag"] = "0", "1"
    example["diseinfo"] = [second, first]
    (one,) = [one for one in judged(desk, example).alternatives if one.kind == "principal"]
    assert (one.code, one.outcome.code) == ("K35.800x001", "GE29")
    assert one.broken == ()
    assert any(mention.rule.startswith("PDX") for mention in one.mended)


def test_a_case_is_not_judged_by_the_rules_of_lists(desk: ComparisonDesk) -> None:
    found = desk.what_if(Case(("K35.800x001", "I10.x00x002"), ("47.0100",), "1", 35), Billing())
    assert not found.judged
    assert [one.broken for one in found.alternatives] == [()]
    assert found.weights_source == ""
    assert found.missing == ()


def test_payments_are_those_of_the_payment_desk(
    checker: Checker, desk: ComparisonDesk, several: dict[str, Any]
) -> None:
    found = judged(desk, several, "99")
    received = decode_payload(several)
    case, cost, on = DipDesk(checker).case_of_list(received)
    paid = desk.payments.pay(case, billing_of_list(received, cost), on=on, region="99").payment
    assert found.listed.payment == paid.expected
    assert found.listed.weight == paid.weight
    for one in found.alternatives:
        if one.outcome.payment is not None and found.listed.payment is not None:
            assert one.payment_difference == one.outcome.payment - found.listed.payment


def test_a_missing_parameter_is_named_once_and_gives_no_amount(
    desk: ComparisonDesk, several: dict[str, Any]
) -> None:
    found = judged(desk, several, "3715")  # publishes weights only
    assert found.listed.weight is not None
    assert {one.outcome.payment for one in found.alternatives} == {None}
    assert len(found.missing) == len(set(found.missing))
    assert any("base_rate" in text for text in found.missing)


def test_a_plan_that_stands_on_another_scheme_gives_no_weights(desk: ComparisonDesk) -> None:
    case = Case(("K35.800x001",), ("47.0100",))
    found = desk.what_if(case, Billing(), region="99", payment=REGION_PLAN, scheme="chs-drg-1.1")
    assert (found.weights_source, found.listed.weight) == ("", None)


def test_codes_that_carry_the_group_are_those_whose_loss_changes_it(client: httpx.Client) -> None:
    body = {"diagnoses": ["K35.800x001", "I10.x00x002"], "procedures": ["47.0100"], "sex": "1", "age": 35}
    found = client.post(WHAT_IF, json=body).json()
    assert [(one["code"], one["role"]) for one in found["carriers"]] == [
        ("K35.800x001", "principal"),
        ("47.0100", "main"),
    ]
    without = client.post("/api/v1/group", json={**body, "procedures": []}).json()
    assert found["carriers"][1]["without"]["code"] == without["code"]


def test_an_answer_recommends_nothing(client: httpx.Client, several: dict[str, Any]) -> None:
    text = client.post(f"{WHAT_IF}?region=99", json=several).text
    assert "病历" in text
    for word in ("建议选择", "推荐", "更高", "收益", "优选"):
        assert word not in text


def test_unread_and_unknown_values_do_not_hinder_the_rules(checker: Checker, example: dict[str, Any]) -> None:
    example["diseinfo"][1]["memo"] = {"a": 1}
    example["diseinfo"].append("无")
    example["icuinfo"] = "无"
    rules = SelectionRules(checker, decode_payload(example))
    broken, _ = rules.of("principal", "I10.x00x002")
    assert broken
    assert rules.of("principal", "Z99.999") == ((), ())


@pytest.mark.parametrize(
    ("path", "body", "mention"),
    [
        (WHAT_IF, {"diagnoses": ["A00.000"] * 201}, "超过 200 个"),
        (f"{WHAT_IF}?payment=dip-demo", {"diagnoses": ["A00.000"]}, "这里应为 drg-payment"),
        (f"{WHAT_IF}?payment=linyi-2022", {"diagnoses": ["A00.000"]}, "依据的分组方案是 chs-drg-1.1"),
        (COMPARE, {"diagnoses": ["A00.000"]}, "schemes"),
        (f"{COMPARE}?schemes=chs-drg-2.0", {"diagnoses": ["A00.000"]}, "schemes"),
        (f"{COMPARE}?schemes=chs-drg-2.0,nothing", {"diagnoses": ["A00.000"]}, "nothing；"),
        (f"{COMPARE}?schemes=chs-drg-2.0,linyi-2022", {"diagnoses": ["A00.000"]}, "linyi-2022"),
        (f"{COMPARE}?{BOTH}&payments=x", {"diagnoses": ["A00.000"]}, "payments"),
        (f"{COMPARE}?{BOTH}", {"diagnoses": ["A00.000"] * 201}, "超过 200 个"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    client: httpx.Client, path: str, body: dict[str, Any], mention: str
) -> None:
    assert_problem(client.post(path, json=body), "invalid-request", mention)


def test_two_schemes_group_as_each_alone(client: httpx.Client, example: dict[str, Any]) -> None:
    found = client.post(f"{COMPARE}?{BOTH}&{PLANS}", json=example).json()
    for side, scheme in (("first", "chs-drg-1.1"), ("second", "chs-drg-2.0")):
        assert found[side] == client.post(f"/api/v1/group?scheme={scheme}", json=example).json()
    one, other = (Decimal(found[f"{side}_outcome"]["weight"]) for side in ("first", "second"))
    assert Decimal(found["weight_difference"]) == other - one


BOTH_SCHEMES = ["--schemes", "chs-drg-1.1,chs-drg-2.0"]
CASES_TO_OUT = ["--cases", "cases.csv", "--out", "o.csv"]
CASES = [
    "case_id,sex,age,dx,procedures,group",
    "1,1,35,K35.800x001|I10.x00x002,47.0100,旧",
    "2,1,三十,I10.x00x002,,",
    "3,1,60,I10.x00x002,,",
    "4,2,60,Z99.900,,",
    "5,1",
]


def test_a_file_under_two_schemes_keeps_every_row_and_counts_the_moves(
    tmp_path: Path, checker: Checker, capsys: pytest.CaptureFixture[str]
) -> None:
    cases, out = tmp_path / "cases.csv", tmp_path / "out.csv"
    cases.write_bytes("\n".join(CASES).encode("gb18030"))
    command = ["compare", "--schemes", "chs-drg-1.1,chs-drg-2.0", "--cases", str(cases), "--out", str(out)]
    assert run([*command, "--payments", "linyi-2022,liaocheng-2025"]) == 1
    shown = capsys.readouterr()
    assert "3 例：分组编码相同 2，不同 1，不能读取 2" in shown.out
    assert "第 3 行：age 应为" in shown.err
    assert "第 6 行：有 2 个值" in shown.err
    with out.open(encoding="utf-8", newline="") as stream:
        header = stream.readline().strip().split(",")
        stream.seek(0)
        rows = list(csv.DictReader(stream))
    assert header[: len(ROW_COLUMNS)] == list(ROW_COLUMNS)
    assert [row["case_id"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert rows[0]["group"] == "旧"
    assert (rows[0]["first"], rows[0]["second"], rows[0]["moved"]) == ("GD25", "GE29", "是")
    assert Decimal(rows[0]["second_weight"]) - Decimal(rows[0]["first_weight"]) == Decimal(
        rows[0]["weight_difference"]
    )
    assert (rows[1]["first"], rows[1]["moved"]) == ("", "")
    schemes = [checker.scheme_for(None, scheme=name) for name in ("chs-drg-1.1", "chs-drg-2.0")]
    case = Case(("I10.x00x002",), (), "1", 60)
    assert [rows[2]["first"], rows[2]["second"]] == [scheme.group(case).code for scheme in schemes]


def test_a_file_as_json_is_the_whole_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases, out = tmp_path / "cases.csv", tmp_path / "out.csv"
    cases.write_text("\n".join(CASES[:2]), encoding="utf-8")
    command = ["compare", "--schemes", "chs-drg-1.1,chs-drg-2.0", "--cases", str(cases), "--out", str(out)]
    assert run([*command, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["cases"], found["same"], found["weighed"]) == (1, 0, 0)
    assert found["moves"][0]["lines"] == [2]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--schemes", "chs-drg-2.0", "list.json"], "要写两个编号"),
        (["--schemes", "a,b,c", "list.json"], "要写两个编号"),
        (BOTH_SCHEMES, "二者只写一个"),
        ([*BOTH_SCHEMES, "list.json", "--cases", "cases.csv"], "二者只写一个"),
        ([*BOTH_SCHEMES, "--cases", "cases.csv"], "--out"),
        ([*BOTH_SCHEMES, "--cases", ".", "--out", "o.csv"], "不是普通文件"),
        ([*BOTH_SCHEMES, "--cases", "none.csv", "--out", "o.csv"], "无法读取"),
        ([*BOTH_SCHEMES, "--cases", "wrong.csv", "--out", "o.csv"], "缺少列 dx"),
        (
            [*BOTH_SCHEMES, "--cases", "cases.csv", "--out", "cases.csv"],
            "不能是输入文件",
        ),
        (
            ["--schemes", "chs-drg-1.1,nothing", "--cases", "cases.csv", "--out", "o.csv"],
            "nothing；",
        ),
        (
            [*BOTH_SCHEMES, *CASES_TO_OUT, "--payments", "linyi-2022,linyi-2022"],
            "依据的分组方案是 chs-drg-1.1",
        ),
    ],
)
def test_a_wrong_comparison_leaves_with_one_clear_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cases.csv").write_text("\n".join(CASES), encoding="utf-8")
    (tmp_path / "wrong.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    assert run(["compare", *arguments]) == 2
    shown = capsys.readouterr()
    assert reason in shown.err
    assert shown.out == ""
    assert not (tmp_path / "o.csv").exists()


def test_the_list_says_how_it_is_billed_and_the_caller_may_differ(example: dict[str, Any]) -> None:
    received = decode_payload(example)
    billing = billing_of_list(received, 1_200_000)
    assert (billing.hospital, billing.hospital_level, billing.insurance) == ("H11010100001", "三级", "职工")
    given = billing_of_list(received, None, Billing(None, "", "二级", "居民"))
    assert (given.cost, given.hospital_level, given.insurance) == (None, "二级", "居民")
    example["setlinfo"]["hi_type"] = "9"
    assert billing_of_list(decode_payload(example), 1).insurance == ""


def test_no_figure_is_given_unless_asked_for(desk: ComparisonDesk) -> None:
    case = Case(("K35.800x001", "I10.x00x002"), ("47.0100",), "1", 35)
    found = desk.what_if(case, Billing(), region="99", scheme="chs-drg-1.1")
    outcomes = [found.listed, *(one.outcome for one in found.alternatives)]
    assert all((one.weight, one.standard, one.payment) == (None, None, None) for one in outcomes)
    assert found.weights_source == ""


def test_a_list_without_a_group_says_why(desk: ComparisonDesk) -> None:
    found = desk.what_if(Case(("", "I10.x00x002"), (), "1", 35), Billing())
    assert "没有主要诊断" in found.ungrouped
