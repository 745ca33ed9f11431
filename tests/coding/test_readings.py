"""Names with brackets are found by each of their readings and shown as the table writes them."""

from __future__ import annotations

import pytest

from coding.suggestion.index import readings
from tests.coding.suggestion_fixtures import shipped


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("骨折不连接[假关节]", ["骨折不连接", "假关节"]),
        ("面神经麻痹[BELL麻痹/面瘫]", ["面神经麻痹", "BELL麻痹", "面瘫"]),
        ("西尔维于斯导水管[中脑导水管]畸形", ["西尔维于斯导水管畸形", "中脑导水管畸形"]),
        ("糖尿病足(WAGNER1级)", ["糖尿病足"]),
        ("发绀\\[紫绀\\]", ["发绀", "紫绀"]),
        ("肺炎", []),
        ("大脑性瘫痪[脑瘫],其他的", ["大脑性瘫痪", "脑瘫"]),
    ],
)
def test_a_name_is_read_without_its_brackets_and_by_what_they_hold(name: str, expected: list[str]) -> None:
    assert readings(name) == expected


def test_a_reading_leads_to_the_name_of_the_table() -> None:
    index = shipped("icd10").index
    row = index.exact["假关节"]
    assert index.term_of[row] == index.exact["骨折不连接假关节"]
    assert index.shown[row] == "骨折不连接[假关节]"
    assert index.codes[row] == index.codes[index.term_of[row]]


def test_a_reading_that_two_names_share_speaks_for_neither() -> None:
    index = shipped("icd10").index
    owners: dict[str, set[int]] = {}
    for row, term in enumerate(index.term_of.tolist()):
        if row != term:
            owners.setdefault(index.names[row], set()).add(term)
    assert owners
    assert all(len(terms) == 1 for terms in owners.values())


def test_a_morphology_never_stands_before_the_disease_of_the_same_name() -> None:
    index = shipped("icd10").index
    assert not index.code(index.exact["葡萄胎"]).startswith("M9")


def test_no_shown_name_has_escaped_brackets() -> None:
    assert not any("\\" in name for name in shipped("icd10").index.shown)


def test_brackets_of_procedures_are_not_read_apart() -> None:
    index = shipped("icd9cm3").index
    assert (index.term_of == range(len(index.names))).all()
