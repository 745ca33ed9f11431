"""DIP: what holds for every case."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grouper.dip.explain import explain
from grouper.dip.expression import ExpressionError, parse
from grouper.dip.score import score_case
from grouper.worksheet import Billing
from models.grouping import Case
from tests.grouper.dip import catalogue, engine, plan

DIAGNOSES = [
    "A41.000", "A41.900", "D34.x00", "D34.x00x003", "T20.300", "T21.300", "T31.100", "T31.300", "Z51.103",
    "Z51.800", "C34.900x001", "A15.000x001", "A15.000x014", "U84.300", "I10.x00x002", "E11.900", "P07.101",
    "R69.x00", "I50.900", "N18.300",
]  # fmt: skip
PROCEDURES = [
    "37.5100", "39.6500", "96.7201", "39.9500x007", "39.9500", "39.9501", "93.9000", "96.7101", "33.2403",
    "86.6901", "99.2503", "92.2400", "06.2x01", "06.4x00", "40.4100", "06.3100", "06.3901", "06.3903",
]  # fmt: skip
EXCLUDED = ["38.9300", "89.5200", "38.9301"]
COSTS = st.none() | st.integers(0, 10**9)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    return Case(
        tuple(draw(st.lists(st.sampled_from(DIAGNOSES), min_size=1, max_size=6))),
        tuple(draw(st.lists(st.sampled_from([*PROCEDURES, *EXCLUDED]), max_size=5))),
        sex="1",
        age=draw(st.sampled_from([None, 0, 1, 30, 80])),
        age_days=draw(st.sampled_from([None, 0, 28, 29, 364])),
        birth_weight=draw(st.sampled_from([None, 900, 1200, 1800, 2400, 3000])),
        icu_hours=draw(st.sampled_from([None, 0.0, 50.0, 800.0])),
    )


@settings(max_examples=600, deadline=None)
@given(cases(), COSTS)
def test_the_compiled_tables_and_the_walk_agree(case: Case, cost: int | None) -> None:
    assert explain(engine(), case, cost).result == engine().group(case, cost)


@settings(max_examples=300, deadline=None)
@given(cases())
def test_a_case_without_procedures_is_conservative(case: Case) -> None:
    found = engine().group(Case(case.diagnoses, (), case.sex, case.age, case.age_days, case.birth_weight))
    assert found.conservative
    rules = {group.code: group.procedure_rule for group in catalogue().groups}
    assert rules.get(found.code, "none") in ("none", "free")


@settings(max_examples=300, deadline=None)
@given(cases(), st.sampled_from(EXCLUDED), st.data(), COSTS)
def test_an_excluded_procedure_more_changes_nothing(
    case: Case, excluded: str, data: st.DataObject, cost: int | None
) -> None:
    at = data.draw(st.integers(min(1, len(case.procedures)), len(case.procedures)))
    more = (*case.procedures[:at], excluded, *case.procedures[at:])
    assert same(case, Case(case.diagnoses, more, **rest(case)), cost)


@settings(max_examples=300, deadline=None)
@given(cases(), st.randoms(use_true_random=False), COSTS)
def test_the_order_of_the_other_codes_changes_nothing(case: Case, random: Any, cost: int | None) -> None:
    diagnoses, procedures = list(case.diagnoses[1:]), list(case.procedures[1:])
    random.shuffle(diagnoses)
    random.shuffle(procedures)
    moved = Case((*case.diagnoses[:1], *diagnoses), (*case.procedures[:1], *procedures), **rest(case))
    assert same(case, moved, cost)


def rest(case: Case) -> dict[str, Any]:
    return {
        "sex": case.sex,
        "age": case.age,
        "age_days": case.age_days,
        "birth_weight": case.birth_weight,
        "icu_hours": case.icu_hours,
    }


def same(one: Case, other: Case, cost: int | None) -> bool:
    first, second = engine().group(one, cost), engine().group(other, cost)
    billing = Billing(cost, hospital_level="三级", insurance="职工")
    return (first.code, first.reason, first.conservative, first.tie) == (
        second.code,
        second.reason,
        second.conservative,
        second.tie,
    ) and score_case(first, one, billing, plan()).amount == score_case(second, other, billing, plan()).amount


@settings(max_examples=300, deadline=None)
@given(
    st.builds(
        Case,
        st.lists(st.text(max_size=40) | st.sampled_from(DIAGNOSES), max_size=8).map(tuple),
        st.lists(st.text(max_size=40) | st.sampled_from(PROCEDURES), max_size=8).map(tuple),
        st.text(max_size=3),
        st.none() | st.integers(),
        st.none() | st.integers(),
        st.none() | st.integers(),
        st.none() | st.integers(),
        st.text(max_size=3),
        st.none() | st.floats(),
        st.text(max_size=3),
    ),
    st.none() | st.integers(0, 10**15),
)
def test_no_input_breaks_grouping_explaining_or_scoring(case: Case, cost: int | None) -> None:
    result = engine().group(case, cost)
    assert explain(engine(), case, cost).result == result
    assert (result.code == "") is (result.reason != "grouped")
    score = score_case(result, case, Billing(cost, hospital_level="三级", insurance="职工"), plan())
    assert (score.amount is None) is bool(score.missing)


@pytest.mark.parametrize(
    ("text", "having", "matched"),
    [
        ("06.2x01", {"06.2x01", "1"}, {"06.2x01"}),
        ("06.2x01|06.4x00", {"06.4x00"}, {"06.4x00"}),
        ("06.2X01｜06.4x00", {"06.2x01"}, {"06.2x01"}),
        ("96.7201+39.9500x007", {"96.7201"}, set()),
        ("96.7201＋39.9500x007", {"96.7201", "39.9500x007"}, {"96.7201", "39.9500x007"}),
        ("(99.25|99.28)+92.24", {"99.28", "92.24"}, {"99.28", "92.24"}),
        ("(99.25|99.28)+92.24", {"92.24"}, set()),
        ("99.25|99.28+92.24", {"99.25"}, {"99.25"}),
        ("99.25_x000D_\n99.28", {"99.28"}, {"99.28"}),
        ("99.25、99.28，|", {"99.28"}, {"99.28"}),
    ],
)
def test_procedure_expressions(text: str, having: set[str], matched: set[str]) -> None:
    expression = parse(text)
    assert expression is not None
    assert expression.matched(having) == matched
    again = parse(expression.text)
    assert again == expression


@pytest.mark.parametrize("text", ["", " ", "|", "_x000D_"])
def test_an_empty_cell_asks_for_nothing(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "a+",
        "+06.20",
        "(06.20",
        "06.20)",
        "06.20++06.21",
        "甲状腺",
        "06.20+|06.21",
        "(" * 30 + "06.20" + ")" * 30,
    ],
)
def test_a_broken_expression_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse(text)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="0123456789x.|+()甲 ", max_size=60))
def test_an_expression_is_read_or_refused(text: str) -> None:
    try:
        expression = parse(text)
    except ExpressionError:
        return
    if expression is not None:
        assert parse(expression.text) == expression
        assert expression.matched(expression.codes)
