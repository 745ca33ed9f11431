"""Predicates over evidence: diagnoses that nothing speaks for, and diseases found and treated but not coded."""

from __future__ import annotations

from collections.abc import Iterator

from qc_rules.charge_tables import Condition
from qc_rules.facts import Facts
from qc_rules.ledger import ledger, signs
from qc_rules.predicates import Hit, predicate

COUNTING_LEVELS = frozenset({"MCC", "CC"})


def _unsupported(facts: Facts) -> Iterator[tuple[int, Condition]]:
    """The western diagnoses of the table of evidence that nothing speaks for."""
    if not ledger(facts).whole:
        return
    tables = facts.reference.evidence
    for index in facts.western:
        code = facts.diagnosis_codes[index]
        condition = tables.of_code(code.code) if code else None
        if condition is not None and condition.id not in signs(facts).support:
            yield index, condition


def _levels(facts: Facts) -> dict[str, str]:
    """The level of each other diagnosis that counts in its group, by code."""
    if facts.group is None:
        return {}
    return {one.code: one.level for one in facts.group.complications if one.level and not one.excluded}


def _values(condition: Condition, level: str) -> dict[str, str]:
    return {
        "condition": condition.name,
        "level": level,
        "workup": condition.shown("workup") or condition.shown("finding"),
        "treatment": condition.shown("treatment"),
    }


@predicate(needs=("feedetail",))
def complication_without_evidence(facts: Facts) -> Iterator[Hit]:
    """An MCC or CC that counts in the group, with no examination, result or treatment that speaks for it."""
    levels = _levels(facts)
    for index, condition in _unsupported(facts):
        code = facts.diagnosis_codes[index]
        level = levels.get(code.code, "") if code else ""
        if index != facts.principal and level in COUNTING_LEVELS:
            yield Hit("diseinfo", index, "diag_code", values=_values(condition, level))


@predicate(needs=("feedetail",))
def diagnosis_without_evidence(facts: Facts) -> Iterator[Hit]:
    """A principal diagnosis, or another one that does not lift the group, that nothing speaks for."""
    levels = _levels(facts)
    for index, condition in _unsupported(facts):
        code = facts.diagnosis_codes[index]
        level = levels.get(code.code, "") if code else ""
        if index == facts.principal or level not in COUNTING_LEVELS:
            yield Hit("diseinfo", index, "diag_code", values=_values(condition, level))


@predicate(needs=("evidence",))
def evidence_without_diagnosis(facts: Facts) -> Iterator[Hit]:
    """An abnormal result and a treatment for it, while no diagnosis accounts for them."""
    codes = [code.code for code in facts.diagnosis_codes if code]
    for condition, findings, treatments in signs(facts).unlisted(codes):
        values = {
            "condition": condition.name,
            "findings": findings,
            "treatments": treatments,
            "codes": "、".join(condition.diagnoses[:4]),
        }
        yield Hit("diseinfo", values=values)
