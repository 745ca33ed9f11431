"""Family SEX: the table of sex-restricted codes and the setting for pregnancy codes of men."""

import pytest

from qc_rules.examples import run
from qc_rules.reference import Reference
from qc_rules.ruleset import RuleSet
from qc_rules.schema import Example
from qc_rules.source import RuleError

DELIVERY = {
    "diag_type": "2", "diag_code": "O80.000", "diag_name": "头位顺产", "adm_cond_type": "1", "maindiag_flag": "0"
}  # fmt: skip


@pytest.mark.parametrize("level", ["error", "warn", "info"])
def test_the_setting_gives_the_severity_of_a_pregnancy_code_of_a_man(rules: RuleSet, level: str) -> None:
    example = Example(change={"diseinfo[5]": DELIVERY}, settings={"male_o_code": level})
    found = [one.severity for one in run(rules, example) if one.rule == "SEX-003"]
    assert found == [level]


def test_switched_off_no_rule_reports_a_pregnancy_code_of_a_man(rules: RuleSet) -> None:
    example = Example(change={"diseinfo[5]": DELIVERY}, settings={"male_o_code": "off"})
    assert not [one for one in run(rules, example) if one.rule.startswith("SEX")]


def test_an_unknown_severity_is_refused(rules: RuleSet) -> None:
    with pytest.raises(RuleError, match="male_o_code"):
        rules.with_settings({"male_o_code": "fatal"})


def test_every_restricted_prefix_is_reported_for_the_other_sex(rules: RuleSet, reference: Reference) -> None:
    missed = []
    for limit in reference.sex_limits:
        if limit.system == "icd10":
            row = {**DELIVERY, "diag_code": f"{limit.prefix}x", "diag_name": "x"}
            change: dict[str, object] = {"diseinfo[5]": row}
        else:
            change = {"oprninfo[1].oprn_oprt_code": f"{limit.prefix}x"}
        for sex in ("1", "2"):
            example = Example(change={**change, "setlinfo.gend": sex})
            found = {one.rule for one in run(rules, example) if one.rule.startswith("SEX")}
            if bool(found) is (sex == limit.sex):
                missed.append((limit.prefix, sex, found))
    assert missed == []


@pytest.mark.parametrize("sex", [None, "0", "9"])
def test_an_unknown_sex_is_no_conflict(rules: RuleSet, sex: str | None) -> None:
    example = Example(change={"diseinfo[5]": DELIVERY, "setlinfo.gend": sex})
    assert not [one for one in run(rules, example) if one.rule.startswith("SEX")]
