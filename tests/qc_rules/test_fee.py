"""Family FEE beyond the rules' own examples: unknown amounts, exact cents, rules without their data."""

from qc_rules.examples import run
from qc_rules.ruleset import RuleSet
from qc_rules.schema import Example

Change = dict[str, object]


def fired(rules: RuleSet, change: Change, base: str = "adult") -> set[str]:
    return {one.rule for one in run(rules, Example(base=base, change=change)) if one.rule.startswith("FEE")}


def test_an_amount_that_is_missing_makes_sums_unknown(rules: RuleSet) -> None:
    assert fired(rules, {"iteminfo[0].amt": None}) == set()
    assert (
        fired(rules, {"iteminfo[6]": None, "iteminfo[0].amt": None, "setlinfo.medfee_sumamt": None}) == set()
    )


def test_other_rows_are_judged_beside_a_row_with_a_missing_part(rules: RuleSet) -> None:
    change: Change = {"iteminfo[0].oth_amt": None, "iteminfo[2].clab_amt": 421, "iteminfo[3].oth_amt": -1}
    assert fired(rules, change) == {"FEE-002", "FEE-003"}


def test_many_decimal_fractions_add_up_exactly(rules: RuleSet) -> None:
    rows = [
        {"med_chrgitm": f"{n:02d}", "amt": 0.1 * n, "claa_sumfee": 0.1 * n, "clab_amt": 0,
         "fulamt_ownpay_amt": 0, "oth_amt": 0}
        for n in range(1, 15)
    ]  # fmt: skip
    assert "FEE-001" not in fired(rules, {"iteminfo": rows, "setlinfo.medfee_sumamt": 10.5})
    assert "FEE-001" in fired(rules, {"iteminfo": rows, "setlinfo.medfee_sumamt": 10.51})


def test_a_row_more_than_once_is_added_to_its_category(rules: RuleSet) -> None:
    twice = {
        "med_chrgitm": "06",
        "amt": 0,
        "claa_sumfee": 0,
        "clab_amt": 0,
        "fulamt_ownpay_amt": 0,
        "oth_amt": 0,
    }
    assert fired(rules, {"iteminfo[10]": twice}) == {"FEE-006"}


def test_4101a_has_no_charges_and_no_finding(rules: RuleSet) -> None:
    assert fired(rules, {"setlinfo.trt_type": "20", "oprninfo": []}, base="adult_4101A") == set()


def test_a_rule_without_its_data_is_off_and_says_what_it_needs(rules: RuleSet) -> None:
    rule = next(one for one in rules.rules() if one.code == "FEE-023")
    assert rule.status == "off"
    assert len(rule.needs) > 10


def test_the_message_shows_both_sums(rules: RuleSet) -> None:
    (found,) = [
        one
        for one in run(rules, Example(change={"payinfo[0].fund_payamt": 17038.48}))
        if one.rule == "FEE-004"
    ]
    assert "17038.48 元" in found.message
    assert "25904.85 元，与医疗费总额 26904.85 元不等" in found.message
