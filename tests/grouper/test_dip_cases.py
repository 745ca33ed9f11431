"""DIP: every hand-worked case, and what an explanation says."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from grouper.dip.explain import explain
from grouper.dip.score import DipScore, score_case
from grouper.worksheet import Billing, fen
from models.grouping import Case
from tests.grouper.dip import case_of, catalogue, content, engine, plan

CASES: list[dict[str, Any]] = content()["cases"]
OF_THE_GROUP = ("code", "layer", "reason", "conservative", "tie")


def cost_of(given: dict[str, Any]) -> int | None:
    return fen(given["cost"]) if "cost" in given else None


def score_of(given: dict[str, Any]) -> DipScore:
    cost = cost_of(given)
    billing = Billing(
        cost, given.get("hospital", ""), given.get("hospital_level", "三级"), given.get("insurance", "职工")
    )
    case = case_of(given)
    return score_case(
        engine().group(case, cost), case, billing, plan(given.get("set"), tuple(given.get("without", ())))
    )


@pytest.mark.parametrize("given", CASES, ids=lambda given: given["name"])
def test_hand_worked_case(given: dict[str, Any]) -> None:
    expected = dict(given["expect"])
    result = engine().group(case_of(given), cost_of(given))
    for name in OF_THE_GROUP:
        if name in expected:
            wanted = expected.pop(name)
            found = getattr(result, name)
            assert (wanted in found) if name == "tie" and wanted else found == wanted, (name, result)
    if not expected:
        return
    score = score_of(given)
    names = {"auxiliary": "auxiliary_coefficient"}
    for text in expected.pop("missing", ()):
        assert text in "".join(score.missing)
    for name, wanted in expected.items():
        found = getattr(score, names.get(name, name))
        if isinstance(found, Decimal):
            found = str(found)
        assert found == wanted, (name, score)


def test_the_table_has_sixty_cases_and_every_working() -> None:
    assert len(CASES) >= 60
    assert all(given["working"] and given["expect"] for given in CASES)
    assert len({given["name"] for given in CASES}) == len(CASES)


def test_every_layer_and_every_group_rule_is_reached() -> None:
    reached = {given["expect"].get("code") for given in CASES}
    assert {group.code for group in catalogue().groups} - reached <= {"JC9"}


@pytest.mark.parametrize("given", CASES, ids=lambda given: given["name"])
def test_the_explanation_gives_the_same_group(given: dict[str, Any]) -> None:
    case, cost = case_of(given), cost_of(given)
    explained = explain(engine(), case, cost)
    assert explained.result == engine().group(case, cost)
    assert explained.result.explanation in explained.text


def test_an_explanation_names_the_facts_and_what_was_passed_over() -> None:
    explained = explain(engine(), Case(("D34.x00", "I10.x00x002"), ("06.2x01", "40.4100"), age=50), 1500000)
    layers = {layer.layer: layer for layer in explained.layers}
    assert [layer.outcome for layer in explained.layers][-2:] == ["matched", "not_reached"]
    base = layers["base"]
    assert base.tried[0].failed == ""
    assert "JC4" in base.text
    assert "相关手术操作 40.4100" in base.text
    failures = {one.code: one.failed for one in base.tried}
    assert failures["JC3"] == "有计入分组的手术操作 06.2x01"
    assert failures["JC2"] == "主要手术操作 06.2x01 不在所列之中"
    assert layers["pre"].tried[0].failed == "主要手术操作 06.2x01 不在所列之中"
    assert layers["merged"].text == "这一层没有以 D34.x00 为主要诊断的病种"
    assert "06.2x01 腔镜下单侧甲状腺切除术" in explained.text


def test_a_missing_value_is_named_in_the_explanation() -> None:
    explained = explain(engine(), Case(("P07.100",), age=0, age_days=3))
    failures = {one.code: one.failed for one in explained.layers[1].tried}
    assert failures["XQ17"] == "新生儿出生体重没有填写"
    assert "请核对编码，或导入本地病种目录" in explained.result.explanation


def test_every_step_of_an_amount_has_its_source() -> None:
    score = score_of({"diagnoses": ["D34.x00"], "procedures": ["06.2x01"], "cost": "25000", "age": 70})
    steps = {step.item: step for step in score.steps}
    assert steps["点值（元/分）"].source == "虚构示例"
    assert steps["费用偏差"].text == (
        "实际费用 25000.00 元 ÷ 标准 10000.00 元 = 2.5000，高于 2：分值 ×（费用/标准 − 2 + 1）"
    )
    assert [step.item for step in score.steps][-1] == "盈亏（元）"
