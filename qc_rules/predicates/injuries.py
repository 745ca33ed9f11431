"""Predicates of family INJ: head injuries, poisonings and fractures with wounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from models.settlement_list import FIELDS
from qc_rules.code_pairs import placed, shown_diagnoses
from qc_rules.facts import Facts
from qc_rules.predicates import Hit, predicate
from qc_rules.reference import Reference

COMA = ("pwcry_bfadm_coma_dura", "pwcry_afadm_coma_dura")
"""颅脑损伤患者 昏迷时长 before and after admission."""


@predicate(diagnoses="injuries")
def coma_not_filled(facts: Facts, *, injuries: tuple[str, ...]) -> Iterator[Hit]:
    """A head injury without the two durations of coma."""
    rows = facts.diagnoses_starting(injuries)
    if not rows:
        return
    for wire in COMA:
        value = getattr(facts.stay, FIELDS["setlinfo"][wire].attribute)
        if facts.is_missing("setlinfo", -1, wire, value):
            yield Hit("setlinfo", wire=wire, values={"injury": shown_diagnoses(facts, rows)})


@predicate(fields=COMA)
def coma_without_injury(facts: Facts, *, causes: tuple[str, ...]) -> Iterator[Hit]:
    """A duration of coma although no diagnosis is an injury of the head or a poisoning."""
    for wire in COMA:
        value = getattr(facts.stay, FIELDS["setlinfo"][wire].attribute)
        if value and not facts.diagnoses_starting(causes):
            yield Hit("setlinfo", wire=wire, values={"minutes": int(value)})


@predicate(diagnoses="poisons")
def poisoning_without_manifestation(
    facts: Facts, *, poisons: tuple[str, ...], silent: tuple[str, ...]
) -> Iterator[Hit]:
    """A poisoning, and every other diagnosis is a poison too or one that no poison makes (``silent``)."""
    rows = facts.diagnoses_starting(poisons)
    codes = facts.diagnosis_codes
    if rows and all((code := codes[i]) is None or code.code.startswith(silent) for i in facts.western):
        yield Hit("diseinfo", rows[0], "diag_code")


def _same_part(_reference: Reference, given: Mapping[str, Any]) -> list[list[list[tuple[str, str]]]]:
    """For each part of the body, its fracture and its wound."""
    pairs = zip(given["fractures"], given["wounds"], strict=True)
    return [[placed("icd10", (fracture,)), placed("icd10", (wound,))] for fracture, wound in pairs]


@predicate(combinations=_same_part)
def fracture_and_wound(facts: Facts, *, fractures: tuple[str, ...], wounds: tuple[str, ...]) -> Iterator[Hit]:
    """A closed fracture and an open wound of the same part of a limb, each with its own code.

    ``fractures`` and ``wounds``: prefixes in the same order, one pair for each part of the body.
    """
    for fracture, wound in zip(fractures, wounds, strict=True):
        broken = [
            i
            for i in facts.diagnoses_starting((fracture,))
            if (code := facts.diagnosis_codes[i]) and "开放" not in code.name
        ]
        open_wounds = facts.diagnoses_starting((wound,))
        if broken and open_wounds:
            values = {"wounds": shown_diagnoses(facts, open_wounds)}
            yield Hit("diseinfo", broken[0], "diag_code", values=values)
