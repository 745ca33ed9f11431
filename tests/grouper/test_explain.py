"""An explanation tells the same story as the group: what it says held held, what it says failed failed."""

from __future__ import annotations

import math

import msgspec
import pytest

from grouper.explain import Explanation, explain
from grouper.formula import evaluate, parse
from grouper.prepare import PreparedCase
from grouper.walked import CaseFacts
from models.grouping import Case
from tests.grouper.schemes import SCHEMES, CaseMaker, scheme, with_regional_rules


def as_received(case: PreparedCase) -> Case:
    """The case that is prepared to ``case``."""

    def known(number: float) -> int | None:
        return None if math.isnan(number) else int(number)

    return Case(
        (case.principal, *case.others),
        (case.main, *case.other_procedures) if case.main else (),
        case.sex,
        known(case.age),
        known(case.age_days) if case.age == 0 else None,
        known(case.birth_weight),
        known(case.length_of_stay),
        case.discharge_way,
        known(case.icu_hours),
        case.department,
    )


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("regional", [False, True])
def test_every_finding_is_true_and_the_path_ends_in_the_group(name: str, regional: bool) -> None:
    grouper = with_regional_rules(name) if regional else scheme(name)
    tables = grouper.scheme
    maker = CaseMaker(tables, seed=4)
    order = [adrg.part for adrg in tables.adrgs]
    ended = set()
    for _ in range(300):
        case = as_received(maker.case())
        explanation = explain(grouper, case)
        result = explanation.result
        assert result == grouper.group(case)
        facts = CaseFacts(grouper.prepare(case).case, tables.code_sets)
        for step in explanation.path:
            for finding in step.held:
                assert evaluate(parse(finding.condition), facts, tables.members), (step, finding)
        if result.reason not in ("grouped", "ambiguous"):
            assert explanation.path == ()
            continue
        ended.add(explanation.path[-1].level)
        assert explanation.path[-1].code.partition("_")[0] == result.code
        assert explanation.path[0].code == result.mdc
        adrg = explanation.path[1]
        before = [entry.code for entry in adrg.passed_over]
        assert before == sorted(before, key=order.index)
        assert all(order.index(code) < order.index(adrg.code) for code in before)
        for step in explanation.path:
            for entry in step.passed_over:
                for finding in entry.failed:
                    if "没有条件成立的" not in finding.facts:
                        assert not evaluate(parse(finding.condition), facts, tables.members), finding
    assert ended == {"ADRG", "DRG"}


def test_a_ruled_out_disjunction_names_every_branch() -> None:
    explanation = explain(scheme("chs-drg-2.0"), Case(("K42.900",), ("17.2300x001",), "1", 50))
    newborn = next(entry for entry in explanation.path[0].passed_over if entry.code == "P")
    assert [finding.condition for finding in newborn.failed] == [
        "NL = 0",
        "XSRTL <= 28",
        "ZYZD in DI_MDCP",
        "{ZYZD, QTZD} in DI_P07",
    ]


def test_the_letter_names_rule_facts_complications_and_dropped_codes() -> None:
    case = Case(("i60.301", "A41.900", "Q39.300", "I60.301"), ("15.4x01",), "1", 50)
    text = explain(scheme("chs-drg-2.0"), case).to_text()
    for line in (
        "分组方案：CHS-DRG 2.0（国家医疗保障局，版本 2.0）",
        "分组结果：BQY 歧义组",
        "  主要　I60.301 后交通动脉瘤破裂伴蛛网膜下腔出血（“i60.301”按规范写法读作 I60.301）",
        "  其他　I60.301：未用（与前面的 I60.301 重复，只计一次）",
        "  A41.900 脓毒症：计为 MCC（排除表 4 不含主要诊断 I60.301）",
        "  Q39.300 先天性食管狭窄：不是 MCC 或 CC",
        "    规则：ZYZD in DI_MDCB",
        "    事实：主要诊断 I60.301 在集合 DI_MDCB 中",
        "    事实：主要手术操作 15.4x01 在集合 OP_ALL 中",
    ):
        assert line in text.splitlines()


def test_a_case_without_a_group_lists_what_was_tried() -> None:
    explanation = explain(scheme("chs-drg-2.0"), Case(("O80.000",), (), "1", 30))
    assert explanation.path == ()
    assert {entry.code for entry in explanation.tried if entry.level == "MDC"} == {
        mdc.code for mdc in scheme("chs-drg-2.0").scheme.mdcs
    }
    assert "性别为 男，规则要求是 女" in explanation.to_text()


def test_an_empty_case_is_explained() -> None:
    assert "没有主要诊断" in explain(scheme("chs-drg-2.0"), Case(())).to_text()


def test_an_explanation_survives_json() -> None:
    explanation = explain(scheme("guangxi-2022"), Case(("I60.301", "A41.900"), (), "1", 50))
    assert msgspec.json.decode(msgspec.json.encode(explanation), type=Explanation) == explanation
