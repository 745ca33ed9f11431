"""Charge lines and evidence: the tables name real codes, silence without the nodes, both directions with them."""

import copy
import json
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from api.services.check import Checker
from models.pack import PackStore
from models.wire import decode_payload
from qc_rules.charge_tables import plain_unit
from qc_rules.examples import build
from qc_rules.reference import Reference
from qc_rules.ruleset import RuleSet
from qc_rules.schema import Example

BACKED = "charged"
READS_BACKING = "CHG"


def fired(rules: RuleSet, payload: Any) -> set[str]:
    return {finding.rule for finding in rules.check(rules.facts(decode_payload(payload)))}


def prefixes(reference: Reference) -> Iterator[tuple[str, str]]:
    for condition in reference.evidence.conditions:
        for prefix in (*condition.diagnoses, *condition.explained_by):
            yield "icd10", prefix
    for one in reference.charges.procedures:
        for prefix in one.procedures:
            yield "icd9cm3", prefix


def test_every_prefix_of_the_tables_names_codes(reference: Reference) -> None:
    known = {
        system: [code.code for code in getattr(reference.library, system).codes.values()]
        for system in ("icd10", "icd9cm3")
    }
    empty = [
        prefix
        for system, prefix in prefixes(reference)
        if not any(code.startswith(prefix) for code in known[system])
    ]
    assert empty == []


def test_thirty_conditions_can_lift_a_group(reference: Reference) -> None:
    lifting = {
        condition.id
        for code, level in PackStore().get("chs-drg-2.0").records("complication", "code", "level")
        if level and (condition := reference.evidence.of_code(code)) is not None
    }
    assert len(lifting) >= 30


def test_every_condition_can_be_worked_up_or_treated(reference: Reference) -> None:
    for condition in reference.evidence.conditions:
        assert {signal.role for signal in condition.signals} & {"workup", "treatment"}, condition.id


@pytest.mark.parametrize(
    ("one", "other"), [("μmol/L", "umol/l"), ("10^9/L", "×10⁹/L"), ("ug/L", "ng/mL"), ("ng/L", "pg/mL")]
)
def test_spellings_of_a_unit_are_one(one: str, other: str) -> None:
    assert plain_unit(one) == plain_unit(other)


def test_units_of_another_size_stay_apart() -> None:
    assert len({plain_unit(unit) for unit in ("g/L", "g/dL", "mg/dL", "mmol/L", "μmol/L")}) == 5


def test_the_order_of_lines_and_evidence_changes_no_rule(rules: RuleSet) -> None:
    payload = build(Example(base=BACKED))
    body = payload["input"]
    body["feedetail"] += [
        {**body["feedetail"][0], "feedetl_sn": "P1"},
        {**body["feedetail"][20], "feedetl_sn": "P2", "fee_ocur_time": "2025-10-25 08:00:00"},
    ]
    body["evidence"] += [
        {"kind": "lab", "name": "血钾", "value": 2.5, "unit": "mmol/L"},
        {"kind": "drug", "name": "氯化钾缓释片"},
    ]
    before = fired(rules, payload)
    assert {"CHG-004", "CHG-009", "CHG-018"} <= before
    for seed in range(5):
        shuffled = copy.deepcopy(payload)
        for node in ("feedetail", "evidence"):
            Random(seed).shuffle(shuffled["input"][node])  # noqa: S311 - any order will do
        assert fired(rules, shuffled) == before


def test_lines_without_any_content_say_nothing(rules: RuleSet) -> None:
    payload = build(Example(base="adult"))
    payload["input"] |= {"feedetail": [{}, {"cnt": 1}], "evidence": [{}, {"kind": "lab"}]}
    assert not {rule for rule in fired(rules, payload) if rule.startswith(READS_BACKING)}


def test_an_excerpt_of_the_lines_misses_nothing(rules: RuleSet) -> None:
    payload = build(Example(base=BACKED))
    body = payload["input"]
    body["feedetail"] = [line for line in body["feedetail"] if line["med_chrgitm_type"] == "09"]
    body["diseinfo"].append({"diag_type": "2", "diag_code": "K85.900", "diag_name": "急性胰腺炎"})
    assert not {"PROC-026", "FEE-011", "CHG-015", "DX-014"} & fired(rules, payload)


def test_many_lines_of_one_day_are_judged_in_one_pass(rules: RuleSet) -> None:
    payload = build(Example(base="adult"))
    payload["input"]["feedetail"] = [
        {
            "medins_list_name": f"{number}部位磁共振{'增强' if number % 2 else '平扫'}",
            "med_chrgitm_type": "03",
            "fee_ocur_time": "2025-11-20 09:00:00",
            "cnt": 1,
        }
        for number in range(4_000)
    ]
    assert {"CHG-009", "CHG-004"} & fired(rules, payload) == {"CHG-009"}


def test_a_report_names_the_tables_only_where_they_were_used() -> None:
    checker = Checker.open(PackStore())
    kinds = [
        {
            pack.kind
            for pack in checker.check(decode_payload(json.loads(json.dumps(build(Example(base=base)))))).packs
        }
        for base in ("adult", BACKED)
    ]
    assert kinds[1] - kinds[0] == {"charge-rules", "evidence"}
