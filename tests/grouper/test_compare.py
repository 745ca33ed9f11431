"""Comparisons tell what would change and stay neutral about it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from grouper.cases_csv import CaseFileError
from grouper.compare import MAX_CODES, TooManyCodesError, Weights, compare_file, compare_schemes, what_if
from models.grouping import Case
from models.pack import PackStore
from tests.grouper.schemes import cases_file, reference_cases, scheme
from tests.shared import needs_shared

CASE = Case(("K42.900", "Q39.300", "A41.900"), ("17.2300x001", "15.4x01"), "1", 50)


def weights(name: str = "liaocheng-2025") -> Weights:
    return Weights.from_pack(PackStore().get(name))


def test_alternatives_stand_in_the_order_of_the_record() -> None:
    result = what_if(scheme("chs-drg-2.0"), CASE, weights())
    assert [(one.kind, one.code, one.outcome.code) for one in result.alternatives] == [
        ("principal", "Q39.300", "GF39"),
        ("principal", "A41.900", "SB13"),
        ("main", "15.4x01", "GQY"),
        ("without", "A41.900", "GF39"),
    ]
    assert result.listed.code == "GF39"
    assert [one.same_group for one in result.alternatives] == [True, False, False, True]


def test_differences_are_those_of_the_weight_table() -> None:
    table = weights()
    result = what_if(scheme("chs-drg-2.0"), CASE, table)
    sepsis = result.alternatives[1]
    assert sepsis.weight_difference == table.weights["SB13"] - table.weights["GF39"]
    assert result.alternatives[2].weight_difference is None  # a 歧义组 has no weight
    assert what_if(scheme("chs-drg-2.0"), CASE).alternatives[1].weight_difference is None
    assert "聊城" in result.weights_source


def test_every_alternative_stands_beside_a_rule_and_none_is_recommended() -> None:
    result = what_if(scheme("chs-drg-2.0"), CASE, weights())
    assert all("填写规范" in one.rule for one in result.alternatives)
    assert "歧义组 GQY" in result.alternatives[2].obstacles[0]
    assert not any(
        word in one.rule for one in result.alternatives for word in ("建议", "更高", "收益", "推荐")
    )


def test_an_asterisk_code_is_named_as_no_principal_diagnosis() -> None:
    result = what_if(scheme("chs-drg-2.0"), replace(CASE, diagnoses=("K42.900", "N08.5*")))
    assert any("星号编码" in text for text in result.alternatives[0].obstacles)


@needs_shared
@pytest.mark.parametrize("name", ["chs-drg-2.0", "guangxi-2022"])
def test_alternatives_and_carriers_are_what_the_changed_case_groups_to(name: str) -> None:
    grouper = scheme(name)
    for _, case, expected in reference_cases(name)[:300]:
        result = what_if(grouper, case)
        assert result.listed.code == expected
        for one in result.alternatives:
            if one.kind == "principal":
                order = (one.code, *(code for code in case.diagnoses if code != one.code))
                assert grouper.group(replace(case, diagnoses=order)).code == one.outcome.code
        carrying = {(carrier.role, carrier.code) for carrier in result.carriers}
        for code in dict.fromkeys(case.diagnoses[1:]):
            left = tuple(other for other in case.diagnoses if other != code)
            if code != case.diagnoses[0]:
                changed = grouper.group(replace(case, diagnoses=left)).code != expected
                assert (("other", code) in carrying) == changed
        assert (("principal", case.diagnoses[0]) in carrying) == (expected != "0000")


def test_a_complication_that_alone_decides_is_a_carrier() -> None:
    case = Case(("I63.900", "J96.000"), (), "1", 70)
    result = what_if(scheme("chs-drg-2.0"), case)
    assert result.listed.code.endswith("1")
    assert ("J96.000", "other") in {(carrier.code, carrier.role) for carrier in result.carriers}


def test_repeated_and_missing_codes_do_not_confuse() -> None:
    result = what_if(
        scheme("chs-drg-2.0"), replace(CASE, diagnoses=("", "A41.900", "A41.900"), procedures=())
    )
    assert result.listed.code == "0000"
    assert [(one.kind, one.code) for one in result.alternatives] == [
        ("principal", "A41.900"),
        ("without", "A41.900"),
    ]
    assert what_if(scheme("chs-drg-2.0"), Case(())).alternatives == ()


def test_a_record_of_absurd_length_is_refused() -> None:
    with pytest.raises(TooManyCodesError, match="201 个"):
        what_if(scheme("chs-drg-2.0"), Case(("A41.900",) * (MAX_CODES + 1)))


def test_one_case_under_two_schemes() -> None:
    found = compare_schemes(
        scheme("chs-drg-2.0"), scheme("chs-drg-1.1"), CASE, weights(), weights("linyi-2022")
    )
    assert found.first == scheme("chs-drg-2.0").group(CASE)
    assert found.second == scheme("chs-drg-1.1").group(CASE)


@needs_shared
def test_a_file_under_two_schemes() -> None:
    first, second = scheme("chs-drg-2.0"), scheme("chs-drg-1.1")
    one, other = weights(), weights("linyi-2022")
    found = compare_file(first, second, cases_file("chs-drg-2.0"), one, other)
    pairs = Counter(
        (expected, second.group(case).code) for _, case, expected in reference_cases("chs-drg-2.0")
    )
    assert found.cases == 5000
    assert found.same == sum(number for (a, b), number in pairs.items() if a == b)
    assert {(move.first, move.second): move.cases for move in found.moves} == {
        pair: number for pair, number in pairs.items() if pair[0] != pair[1]
    }
    assert all(len(move.lines) == move.cases for move in found.moves)
    weighed = {pair: n for pair, n in pairs.items() if pair[0] in one.weights and pair[1] in other.weights}
    assert found.weighed == sum(weighed.values())
    assert found.first_weight == sum((one.weights[a] * n for (a, _), n in weighed.items()), Decimal(0))
    assert found.second_weight == sum((other.weights[b] * n for (_, b), n in weighed.items()), Decimal(0))


def test_faulty_rows_of_a_file_are_named(tmp_path: Path) -> None:
    path = tmp_path / "cases.csv"
    path.write_text("dx,age\nB17.204,x\nB17.204,30\n", encoding="utf-8")
    found = compare_file(scheme("chs-drg-2.0"), scheme("chs-drg-2.0"), path)
    assert (found.cases, found.same, [fault.line for fault in found.faults]) == (1, 1, [2])
    with pytest.raises(CaseFileError, match="无法读取"):
        compare_file(scheme("chs-drg-2.0"), scheme("chs-drg-2.0"), tmp_path / "missing.csv")
