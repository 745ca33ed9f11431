"""Family NEO: who is a newborn, weights of several children, names behind the weight bands."""

import re

import pytest

from qc_rules.examples import run
from qc_rules.reference import Reference
from qc_rules.ruleset import RuleSet
from qc_rules.schema import Example


def fired(rules: RuleSet, change: dict[str, object], base: str = "newborn") -> set[str]:
    return {one.rule for one in run(rules, Example(base=base, change=change)) if one.rule.startswith("NEO")}


@pytest.mark.parametrize(("born", "days", "expected"), [("2025-09-13", 28, True), ("2025-09-12", 29, False)])
def test_a_newborn_is_at_most_28_days_old(rules: RuleSet, born: str, days: int, expected: bool) -> None:
    change: dict[str, object] = {
        "setlinfo.brdy": born, "setlinfo.nwb_age": days, "setlinfo.nwb_bir_wt": None,
        "setlinfo.nwb_adm_wt": None, "setlinfo.nwb_adm_type": None,
    }  # fmt: skip
    assert fired(rules, change) == ({"NEO-001", "NEO-002"} if expected else set())


def test_both_missing_weights_are_named(rules: RuleSet) -> None:
    example = Example(base="newborn", change={"setlinfo.nwb_bir_wt": None, "setlinfo.nwb_adm_wt": None})
    found = [one.field for one in run(rules, example) if one.rule == "NEO-001"]
    assert found == ["新生儿出生体重", "新生儿入院体重"]


def test_a_weight_that_cannot_be_read_is_not_missing(rules: RuleSet) -> None:
    assert fired(rules, {"setlinfo.nwb_bir_wt": "2320克"}) == set()


def test_weights_in_the_fields_for_several_newborns_count(rules: RuleSet) -> None:
    change: dict[str, object] = {
        "setlinfo.nwb_bir_wt": None, "setlinfo.nwb_adm_wt": None,
        "setlinfo.mul_nwb_bir_wt": "2320,2100", "setlinfo.mul_nwb_adm_wt": "2250,2050",
    }  # fmt: skip
    assert fired(rules, change) == set()


@pytest.mark.parametrize(
    ("code", "weights", "wrong"),
    [
        ("Z37.501", "1500,1400,1300", False),
        ("Z37.501", "1500,1400,1300,1200", True),
        ("Z37.500x001", "1500,1400,1300,1200", False),
        ("Z37.500x001", "1500,1400", True),
        ("Z37.600x001", "1500", False),
        ("Z37.000x001", "1500,1400", False),
    ],
)
def test_as_many_weights_as_live_born(rules: RuleSet, code: str, weights: str, wrong: bool) -> None:
    change: dict[str, object] = {"diseinfo[1].diag_code": code, "setlinfo.nwb_bir_wt": weights}
    assert ("NEO-004" in fired(rules, change, base="delivery")) is wrong


def test_the_bands_are_what_the_names_of_the_codes_say(rules: RuleSet, reference: Reference) -> None:
    checked = 0
    for number in range(6, 10):
        rule = next(one for one in rules.rules() if one.code == f"NEO-{number:03d}")
        bands = rule.parameters["bands"].value
        assert isinstance(bands, tuple)
        for band in bands:
            code, _, limits = band.partition(":")
            entry = reference.library.icd10.codes.get(code)
            if entry is None:
                continue  # a code of the clinical edition
            numbers = re.findall(r"\d+", entry.name)
            low, high = limits.split("-")
            assert numbers == ([low, high] if len(numbers) == 2 else [high]), code
            checked += 1
    assert checked >= 6
