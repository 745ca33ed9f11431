"""Family AGE: what is known of the age by each interface, and names of codes in the code book."""

from qc_rules.examples import run
from qc_rules.reference import Reference
from qc_rules.ruleset import RuleSet
from qc_rules.schema import Example

INFECTION = {
    "diag_type": "2", "diag_code": "P39.900", "diag_name": "特发于围生期的感染", "adm_cond_type": "1",
    "maindiag_flag": "0",
}  # fmt: skip


def fired(rules: RuleSet, change: dict[str, object], base: str = "adult") -> set[str]:
    return {one.rule for one in run(rules, Example(base=base, change=change)) if one.rule.startswith("AGE")}


def test_4101a_knows_days_only(rules: RuleSet) -> None:
    row: dict[str, object] = {"diseinfo[5]": {**INFECTION, "diag_type": "1"}}
    assert fired(rules, row, base="adult_4101A") == set()
    assert fired(rules, {**row, "setlinfo.age_days": 29}, base="adult_4101A") == {"AGE-006"}
    assert fired(rules, {**row, "setlinfo.age_days": 28}, base="adult_4101A") == set()


def test_a_perinatal_code_of_a_grown_up_is_one_finding(rules: RuleSet) -> None:
    assert fired(rules, {"diseinfo[5]": INFECTION}) == {"AGE-004"}


def test_without_any_age_nothing_is_said(rules: RuleSet) -> None:
    change: dict[str, object] = {"diseinfo[5]": INFECTION, "setlinfo.age": None, "setlinfo.brdy": None}
    assert fired(rules, change) == set()


def test_codes_named_after_infants_are_the_code_books(rules: RuleSet, reference: Reference) -> None:
    rule = next(one for one in rules.running if one.rule.code == "AGE-010")
    ((codes,),) = rule.codes
    names = {code: reference.library.icd10.codes[code].name for _, code in codes}
    assert names["L20.804"] == "婴儿湿疹"
    assert all("新生儿" in name or "婴儿" in name or "婴幼儿" in name for name in names.values())
    assert not {"R17.900x001", "Z37.002", "G40.400x001"} & set(names)
