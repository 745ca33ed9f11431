"""Families DX, PDX, OBS, TUM and INJ: their code sets are real, their tables agree, their rows are all there."""

import csv
import re
from collections.abc import Iterator

import pytest

from models.pack import PROJECT_ROOT
from qc_rules.code_pairs import pairs_of
from qc_rules.examples import faults, run
from qc_rules.reference import Reference
from qc_rules.ruleset import RuleSet
from qc_rules.schema import Example, Rule

FAMILIES = {"DX": 20, "PDX": 53, "OBS": 12, "TUM": 10, "INJ": 6}
REFERENCE_TABLE = PROJECT_ROOT.parent / "shared" / "data" / "settlement" / "qc_rules.csv"
DIAGNOSIS = re.compile(r"[A-Z](\d[\dx.+*]*)?")
PROCEDURE = re.compile(r"\d\d(\.[\dx]+)?")
EXTERNAL = {"V", "W", "X", "Y"}
"""Chapters that the rules forbid: the code book has no usable code of all of them."""


def own(rules: RuleSet) -> list[Rule]:
    return [rule for rule in rules.rules() if rule.family in FAMILIES]


def texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from texts(one)


def prefixes(rule: Rule) -> set[str]:
    """Every code prefix in the condition and the parameters of a rule."""
    written = [
        *texts(dict(rule.when or {})),
        *(text for one in rule.parameters.values() for text in texts(one.value)),
    ]
    parts = {part.strip() for text in written for side in text.split(":") for part in side.split(",")}
    return {part for part in parts if DIAGNOSIS.fullmatch(part) or PROCEDURE.fullmatch(part)}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_number_of_the_family_is_a_rule(rules: RuleSet, family: str) -> None:
    codes = [rule.code for rule in own(rules) if rule.family == family]
    assert codes == [f"{family}-{n:03d}" for n in range(1, FAMILIES[family] + 1)]


def test_every_row_of_the_reference_table_is_accounted_for(rules: RuleSet) -> None:
    if not REFERENCE_TABLE.is_file():
        pytest.skip("the reference table of rules is not on this machine")
    with REFERENCE_TABLE.open(encoding="utf-8-sig", newline="") as file:
        listed = {row["id"]: row["confidence"] for row in csv.DictReader(file)}
    for rule in own(rules):
        assert rule.basis.confidence == listed[rule.code], rule.code


def test_every_prefix_matches_a_code_of_the_book(rules: RuleSet, reference: Reference) -> None:
    library = reference.library
    unmatched = [
        (rule.code, prefix)
        for rule in own(rules)
        for prefix in sorted(prefixes(rule) - EXTERNAL)
        if next(
            iter(library.starting_with(prefix, "icd9cm3" if prefix[0].isdigit() else "icd10")),
            None,
        )
        is None
    ]
    assert unmatched == []


def test_no_code_set_is_empty(rules: RuleSet) -> None:
    empty = [
        (rule.code, name)
        for rule in own(rules)
        for name, one in rule.parameters.items()
        if isinstance(one.value, tuple) and not one.value
    ]
    assert empty == []
    assert sum(len(prefixes(rule)) for rule in own(rules)) > 500


def test_rules_over_code_sets_are_visited_only_with_such_a_code(rules: RuleSet) -> None:
    every_list = {
        "DX-001", "DX-002", "DX-003", "DX-005", "DX-006", "DX-013", "DX-016", "DX-017",
        "PDX-002", "PDX-008", "PDX-026", "PDX-027", "INJ-002",
    }  # fmt: skip
    undispatched = {one.rule.code for one in rules.running if one.rule.family in FAMILIES and not one.codes}
    # DX-014 only concerns lists that come with charge lines.
    assert undispatched - {"DX-014"} == every_list


def test_invalid_principal_diagnoses_differ_only_in_data(rules: RuleSet) -> None:
    members = [rule for rule in own(rules) if "PDX-029" <= rule.code <= "PDX-053"]
    assert len(members) == 25
    assert {(tuple(rule.when or ()), rule.scope, rule.at) for rule in members} == {
        (("code_in",), "principal_diagnosis", "diag_code")
    }
    assert len({tuple(texts(dict(rule.when or {}))) for rule in members}) == 25


def test_rules_on_symptoms_share_their_table(rules: RuleSet) -> None:
    tables = {
        code: next(rule for rule in own(rules) if rule.code == code).parameters["pairs"].value
        for code in ("DX-012", "PDX-006", "PDX-007")
    }
    assert tables["PDX-006"] == tables["PDX-007"]
    assert set(texts(tables["DX-012"])) < set(texts(tables["PDX-006"]))


def test_a_symptom_as_principal_diagnosis_is_either_explained_or_not(rules: RuleSet) -> None:
    for other in ("I20.000", "E11.900"):
        change = {"diseinfo[0].diag_code": "R07.200", "diseinfo[1].diag_code": other}
        fired = {finding.rule for finding in run(rules, Example(change=change))}
        assert len(fired & {"PDX-006", "PDX-007"}) == 1


def test_selection_rules_name_the_requirement_and_no_price(rules: RuleSet) -> None:
    for rule in own(rules):
        if rule.family == "PDX" and "2020〕20号" in rule.basis.document:
            assert "要求" in rule.basis.clause, rule.code
        assert not re.search("权重|高分值|收入|支付更|更高的", rule.advice + rule.message), rule.code


def test_what_is_only_convention_never_blocks(rules: RuleSet) -> None:
    for rule in own(rules):
        if rule.severity == "error":
            assert rule.basis.confidence == "official" or rule.arithmetic, rule.code


def test_a_local_habit_runs_when_asked_for(rules: RuleSet) -> None:
    habit = next(rule for rule in own(rules) if rule.code == "OBS-004")
    assert habit.status == "preview"
    assert list(faults(rules.with_settings({"preview_rules": True}), habit)) == []


@pytest.mark.parametrize("written", ["K80", "K80:", ":K80", "K80:I10:E11", "K80,:I10"])
def test_a_pair_written_wrong_is_an_error(written: str) -> None:
    with pytest.raises(ValueError, match="应写成"):
        pairs_of((written,))
