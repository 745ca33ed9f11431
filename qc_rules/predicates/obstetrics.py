"""Predicates of family OBS: deliveries, their outcomes and their procedures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from qc_rules.code_pairs import pairs_of, shown_diagnoses, shown_procedures
from qc_rules.facts import Facts
from qc_rules.predicates import Hit, predicate
from qc_rules.reference import Reference

O36_4_SETTING = "o36_4_with_z37"


def _delivered(_reference: Reference, given: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [("icd10", prefix) for prefix in given["deliveries"]] + [
        ("icd9cm3", prefix) for prefix in given["procedures"]
    ]


@predicate(codes=_delivered)
def delivery_without_outcome(
    facts: Facts,
    *,
    deliveries: tuple[str, ...],
    procedures: tuple[str, ...],
    outcomes: tuple[str, ...],
    unless: tuple[str, ...],
) -> Iterator[Hit]:
    """A delivery by diagnosis or procedure, and no outcome of it; ``unless``: a pregnancy that ended otherwise."""
    if facts.diagnoses_starting((*outcomes, *unless)):
        return
    rows = facts.diagnoses_starting(deliveries)
    if rows:
        yield Hit("diseinfo", rows[0], "diag_code", values={"delivery": shown_diagnoses(facts, rows)})
        return
    done = facts.procedures_starting(procedures)
    if done:
        yield Hit("diseinfo", values={"delivery": shown_procedures(facts, done)})


@predicate(diagnoses="outcomes")
def delivery_incomplete(
    facts: Facts, *, outcomes: tuple[str, ...], deliveries: tuple[str, ...], weeks: tuple[str, ...]
) -> Iterator[Hit]:
    """An outcome of delivery without a code of the delivery, or without one of the week of gestation."""
    rows = facts.diagnoses_starting(outcomes)
    missing = [
        text
        for text, prefixes in (("分娩方式（O80–O84）", deliveries), ("孕周（O26.9）", weeks))
        if not facts.diagnoses_starting(prefixes)
    ]
    if rows and missing:
        yield Hit("diseinfo", rows[0], "diag_code", values={"missing": "和".join(missing)})


def _deliveries(_reference: Reference, given: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [("icd10", prefix) for left, _ in pairs_of(given["pairs"]) for prefix in left]


@predicate(codes=_deliveries)
def outcome_of_other_delivery(facts: Facts, *, pairs: tuple[str, ...], outcome: str) -> Iterator[Hit]:
    """The outcome (``outcome``: its category) is none of those that the delivery can have."""
    for left, right in pairs_of(pairs):
        deliveries = facts.diagnoses_starting(left)
        outcomes = facts.diagnoses_starting((outcome,))
        if deliveries and outcomes and not facts.diagnoses_starting(right):
            values = {"delivery": shown_diagnoses(facts, deliveries)}
            yield Hit("diseinfo", outcomes[0], "diag_code", values=values)


@predicate(diagnoses="deaths")
def death_in_utero_with_outcome(
    facts: Facts, *, deaths: tuple[str, ...], outcomes: tuple[str, ...], alive: tuple[str, ...]
) -> Iterator[Hit]:
    """A child dead in the womb beside an outcome that says all children live; by the setting any outcome."""
    contrary = alive if facts.settings[O36_4_SETTING] else outcomes
    others = facts.diagnoses_starting(contrary)
    if others:
        for index in facts.diagnoses_starting(deaths):
            yield Hit("diseinfo", index, "diag_code", values={"others": shown_diagnoses(facts, others)})
