"""What is said of a list of which a part cannot be read: that part is named, the rest is checked."""

from typing import Any

import pytest

from api.services.check import Checker
from models.pack import PackStore
from models.report import Report
from models.wire import decode_payload
from qc_rules.examples import build
from qc_rules.schema import Example

SCHEME = "chs-drg-2.0"


@pytest.fixture(scope="module")
def checker() -> Checker:
    return Checker.open(PackStore(), scheme=SCHEME)


def _report(checker: Checker, **change: Any) -> Report:
    paths = {path.replace("__", "."): value for path, value in change.items()}
    return checker.check(decode_payload(build(Example(change=paths))))


@pytest.mark.parametrize("place", ["diseinfo[0]", "diseinfo[2]", "oprninfo[0]"])
def test_a_row_that_cannot_be_read_is_one_finding_and_leaves_the_list_without_a_group(
    checker: Checker, place: str
) -> None:
    report = checker.check(decode_payload(build(Example(change={place: 7}))))
    assert [(one.rule, one.path) for one in report.findings] == [("STR-003", f"input.{place}")]
    assert report.group is None
    row = int(place[-2]) + 1
    assert f"第 {row} 行无法读取" in report.ungrouped
    assert report.score == 100 - checker.rules.deduction("STR-003")


def test_the_other_fields_are_checked_beside_a_row_that_cannot_be_read(checker: Checker) -> None:
    change = {"diseinfo[1]": None, "diseinfo[0]": "x", "setlinfo.gend": "3", "diseinfo[2].adm_cond_type": "9"}
    report = checker.check(decode_payload(build(Example(change=change))))
    assert {"STR-003", "DIC-014", "DIC-005"} <= {one.rule for one in report.findings}
    assert 0 < report.score < 100 - checker.rules.deduction("STR-003")


@pytest.mark.parametrize("change", [{"setlinfo": 3}, {"diseinfo": "无"}, {"diseinfo": [1, "x", None]}])
def test_without_the_stay_or_any_diagnosis_there_are_no_points(
    checker: Checker, change: dict[str, Any]
) -> None:
    report = checker.check(decode_payload(build(Example(change=change))))
    assert (report.score, report.verdict, report.group) == (0, "需修改", None)


def test_a_row_of_another_node_does_not_hinder_the_group(checker: Checker) -> None:
    report = _report(checker, icuinfo=["x"])
    assert report.group is not None
    assert report.group.reason == "grouped"


def test_grouping_alone_says_the_same(checker: Checker) -> None:
    received = decode_payload(build(Example(change={"diseinfo[1]": 7})))
    group = checker.group_list(received, scheme=SCHEME)
    assert (group.code, group.reason) == ("0000", "unreadable")
    assert "出院诊断第 2 行无法读取" in group.explanation
