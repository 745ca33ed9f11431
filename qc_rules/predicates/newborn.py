"""Predicates of family NEO: newborns, their weights, and mothers with the weights of their children."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from models.settlement_list import FIELDS, Weights
from qc_rules.facts import NEWBORN_DAYS, Facts
from qc_rules.predicates import Hit, predicate
from qc_rules.reference import CodeFacts, Reference

_TWIN_FIELD = {"nwb_bir_wt": "mul_nwb_bir_wt", "nwb_adm_wt": "mul_nwb_adm_wt"}
"""4101A has fields of their own for the weights of several newborns."""


def _is_newborn(facts: Facts) -> bool:
    """Whether the patient is known to be at most 28 days old."""
    if not facts.newborn:
        return False
    by_dates = facts.days_since_birth
    if by_dates is not None:
        return 0 <= by_dates <= NEWBORN_DAYS
    # Where only an age of 0 days was sent, it may stand beside an adult: some diagnosis must fit.
    return bool(facts.age_days) or bool(facts.diagnoses_starting(("P", "Z38")))


def _missing(facts: Facts, wire: str) -> bool:
    return facts.is_missing("setlinfo", -1, wire, getattr(facts.stay, FIELDS["setlinfo"][wire].attribute))


def _birth_weights(facts: Facts) -> Weights | tuple[float, ...]:
    """The birth weights sent, g; 0 counts as not sent."""
    stay = facts.stay
    return tuple(weight for weight in stay.multiple_birth_weights or stay.birth_weight or () if weight > 0)


@predicate(newborn=True)
def newborn_field_missing(facts: Facts, *, fields: tuple[str, ...]) -> Iterator[Hit]:
    """A list of a newborn without one of ``fields``."""
    if not facts.newborn or not _is_newborn(facts):
        return
    for wire in fields:
        other = _TWIN_FIELD.get(wire)
        if _missing(facts, wire) and (other is None or _missing(facts, other)):
            yield Hit("setlinfo", wire=wire)


@predicate(diagnoses="outcomes")
def delivery_without_weight(facts: Facts, *, outcomes: tuple[str, ...]) -> Iterator[Hit]:
    """A mother with a live-born child, and no birth weight."""
    if facts.newborn or not (_missing(facts, "nwb_bir_wt") and _missing(facts, "mul_nwb_bir_wt")):
        return
    rows = facts.diagnoses_starting(outcomes)
    if rows:
        row = facts.list.diagnoses[rows[0]]
        yield Hit("setlinfo", wire="nwb_bir_wt", values={"code": row.code, "name": row.name})


_LIVE_BORN: Mapping[str, tuple[int, int | None]] = {
    "Z37.2": (2, 2),
    "Z37.3": (1, 1),
    "Z37.5": (3, None),
    "Z37.501": (3, 3),
    "Z37.502": (3, 3),
    "Z37.6": (1, None),
}
"""Live-born children, least and most, by the names of the codes: 双胎 2, 一活一死 1, 三胎 3, 多胎 3 or more."""


@predicate(diagnoses="outcomes")
def birth_weights_miscounted(facts: Facts, *, outcomes: tuple[str, ...]) -> Iterator[Hit]:
    """The number of birth weights is not the number of live-born children of the outcome code."""
    weights = _birth_weights(facts)
    if facts.newborn or not weights:
        return
    rows = facts.diagnoses_starting(outcomes)
    code = facts.diagnosis_codes[rows[0]] if len(rows) == 1 else None
    if code is None:
        return
    known = [prefix for prefix in _LIVE_BORN if code.code.startswith(prefix)]
    if not known:
        return
    least, most = _LIVE_BORN[max(known, key=len)]
    if len(weights) < least or (most is not None and len(weights) > most):
        row = facts.list.diagnoses[rows[0]]
        wire = "mul_nwb_bir_wt" if facts.stay.multiple_birth_weights else "nwb_bir_wt"
        expected = str(least) if most == least else f"至少 {least}"
        values = {"count": len(weights), "expected": expected, "code": row.code, "name": row.name}
        yield Hit("setlinfo", wire=wire, values=values)


def _bands(bands: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """``code:low-high`` → limits in g, both included."""
    found = {}
    for band in bands:
        code, _, limits = band.partition(":")
        low, _, high = limits.partition("-")
        found[code] = (int(low), int(high))
    return found


def _banded(_reference: Reference, given: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [("icd10", code) for code in _bands(given["bands"])]


@predicate(codes=_banded)
def weight_outside_band(facts: Facts, *, bands: tuple[str, ...]) -> Iterator[Hit]:
    """A newborn's diagnosis names a range of weight, and no birth weight sent lies within it.

    ``bands``: ``code:low-high``, limits in whole g, both included.
    """
    weights = _birth_weights(facts)
    if not weights:
        return
    limits = _bands(bands)
    for index in facts.western:
        code = facts.diagnosis_codes[index]
        if code is None or code.code not in limits:
            continue
        low, high = limits[code.code]
        if not any(low <= weight < high + 1 for weight in weights):
            yield Hit("diseinfo", index, "diag_code", values={"weight": list(weights)})


@predicate(fields=("nwb_adm_type",))
def admission_type_against_preterm(facts: Facts, *, preterm: tuple[str, ...]) -> Iterator[Hit]:
    """早产儿 without a diagnosis of prematurity, or 正常新生儿 with one."""
    kind = facts.stay.newborn_admission_type
    if kind not in ("1", "2"):
        return
    rows = facts.diagnoses_starting(preterm)
    if kind == "2" and not rows:
        yield Hit("setlinfo", wire="nwb_adm_type", values={"reason": "出院诊断中没有 P07.2、P07.3 早产诊断"})
    elif kind == "1" and rows:
        row = facts.list.diagnoses[rows[0]]
        reason = f"出院诊断中有 {row.code} {row.name or ''}".rstrip()
        yield Hit("setlinfo", wire="nwb_adm_type", values={"reason": reason})


@predicate(fields=("nwb_bir_wt", "nwb_adm_wt", "mul_nwb_bir_wt", "mul_nwb_adm_wt"))
def weight_without_birth(
    facts: Facts, *, mothers: tuple[str, ...], deliveries: tuple[str, ...]
) -> Iterator[Hit]:
    """A newborn's weight for a patient who is neither a newborn nor gave birth in this stay.

    ``mothers`` and ``deliveries``: prefixes of the diagnoses and procedures of a delivery.
    """
    stay = facts.stay
    if not (
        stay.birth_weight or stay.admission_weight or stay.multiple_birth_weights
        or stay.multiple_admission_weights
    ):  # fmt: skip
        return
    if facts.newborn is not False:
        return
    if facts.diagnoses_starting(mothers) or facts.procedures_starting(deliveries):
        return
    for wire in ("nwb_bir_wt", "nwb_adm_wt", "mul_nwb_bir_wt", "mul_nwb_adm_wt"):
        weights = getattr(stay, FIELDS["setlinfo"][wire].attribute)
        if weights and any(weight > 0 for weight in weights):
            yield Hit("setlinfo", wire=wire)


_PRINCIPAL_LIMITS: Mapping[str, tuple[float, float]] = {
    "P07.0": (0, 1000),
    "P07.1": (1000, 2500),
    "P08.0": (4500, float("inf")),
}
"""Birth weight, g, from (included) to (not included), by the names of the subcategories in ICD-10."""


@predicate(diagnoses="prefixes")
def principal_against_weight(facts: Facts, *, prefixes: tuple[str, ...]) -> Iterator[Hit]:
    """The principal diagnosis is about length of gestation and growth, and the weight is missing or contrary."""
    code: CodeFacts | None = facts.principal_code
    if code is None or facts.principal is None or not code.code.startswith(prefixes):
        return
    weights = _birth_weights(facts)
    if not weights:
        if not facts.malformed.intersection(("setlinfo.nwb_bir_wt", "setlinfo.mul_nwb_bir_wt")):
            yield Hit("setlinfo", wire="nwb_bir_wt", values={"reason": "没有填写新生儿出生体重"})
        return
    limits = _PRINCIPAL_LIMITS.get(code.subcategory)
    if limits and not any(limits[0] <= weight < limits[1] for weight in weights):
        shown = "、".join(f"{weight:g}" for weight in weights)
        reason = f"新生儿出生体重为 {shown} 克，两者矛盾"
        yield Hit("setlinfo", wire="nwb_bir_wt", values={"reason": reason})
