"""Family LOG beyond the rules' own examples: dates without times, unreadable rows, settings."""

import pytest

from models.wire import decode_payload
from qc_rules.compiler import compile_rule
from qc_rules.examples import build, run
from qc_rules.ruleset import RuleSet
from qc_rules.schema import Example

Change = dict[str, object]


def fired(rules: RuleSet, change: Change, base: str = "adult", **settings: str | int) -> set[str]:
    found = run(rules, Example(base=base, change=change, settings=settings))
    return {one.rule for one in found if one.rule.startswith("LOG")}


def test_a_date_without_time_is_compared_by_day(rules: RuleSet) -> None:
    days: Change = {
        "setlinfo.adm_time": "2025-10-10",
        "setlinfo.dscg_time": "2025-10-18",
        "oprninfo[0].oprn_oprt_begntime": "2025-10-10",
        "oprninfo[0].oprn_oprt_endtime": "2025-10-10",
        "oprninfo[0].anst_begntime": "2025-10-10",
        "oprninfo[0].anst_endtime": "2025-10-10",
        "icuinfo[0].scs_cutd_exit_time": "2025-10-18",
        "setlinfo.dcla_time": "2025-10-18",
    }
    assert fired(rules, days) == {"LOG-012"}


@pytest.mark.parametrize(("hours", "expected"), [(0, 1), (1, 0)])
def test_operations_shortly_before_admission_can_be_allowed(
    rules: RuleSet, hours: int, expected: int
) -> None:
    rule = next(one for one in rules.rules() if one.code == "LOG-007")
    allowed = rule.parameters["hours_before_admission"].model_copy(update={"value": hours})
    changed = rule.model_copy(update={"parameters": {"hours_before_admission": allowed}})
    compiled = compile_rule(changed, rules.reference, rules.settings)
    early = Example(change={"oprninfo[1].oprn_oprt_begntime": "2025-10-10 07:45:00"})
    assert len(list(compiled.hits(rules.facts(decode_payload(build(early)))))) == expected


def test_a_row_that_cannot_be_read_still_counts(rules: RuleSet) -> None:
    assert "LOG-018" not in fired(rules, {"diseinfo[4]": "E78.500"})
    assert "LOG-018" in fired(rules, {"diseinfo[4]": None})


def test_the_kind_marks_the_principal_diagnosis_where_the_flag_stands_in_setlinfo(rules: RuleSet) -> None:
    no_flags: Change = {f"diseinfo[{row}].maindiag_flag": None for row in range(5)}
    assert "LOG-020" not in fired(rules, no_flags)
    assert "LOG-020" in fired(rules, {**no_flags, "diseinfo[1].diag_type": "1"})


def test_an_unlikely_period_is_reported_once(rules: RuleSet) -> None:
    assert fired(rules, {"setlinfo.setl_begn_date": "2025-10-21"}) == {"LOG-014"}


def test_discharge_before_admission_does_not_flood(rules: RuleSet) -> None:
    found = fired(rules, {"setlinfo.dscg_time": "2025-10-09 10:00:00"}, base="delivery")
    assert "LOG-001" in found
    assert not found & {"LOG-005", "LOG-006", "LOG-017", "LOG-021"}


def test_4101a_without_age_and_days_is_silent(rules: RuleSet) -> None:
    change: Change = {"setlinfo.prfs": "80", "setlinfo.patn_rlts": "20"}
    assert fired(rules, change, base="adult_4101A") == set()


def test_a_procedure_after_discharge_names_field_value_and_stay(rules: RuleSet) -> None:
    example = Example(base="adult_4101A", change={"oprninfo[1].oprn_oprt_endtime": "2025-10-19 10:00:00"})
    (found,) = [one for one in run(rules, example) if one.rule == "LOG-007"]
    assert found.path == "input.oprninfo[1].oprn_oprt_endtime"
    assert "手术操作结束时间" in found.message
    assert "2025-10-19 10:00:00晚于出院时间" in found.message
