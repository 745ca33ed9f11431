"""Predicates of family GRP: what the group of the case says about its diagnoses."""

from __future__ import annotations

from collections.abc import Iterable

from qc_rules import usual
from qc_rules.facts import Facts
from qc_rules.predicates import Hit, predicate
from qc_rules.predicates.combinations import describe_code

_LEVELS = {"MCC": 2, "CC": 1, "": 0}


@predicate(diagnoses="preterm")
def newborn_without_weight_group(facts: Facts, *, preterm: tuple[str, ...]) -> Iterable[Hit]:
    """A newborn with a diagnosis of low weight or prematurity that no group takes: the weight does not fit."""
    group = facts.group
    if group is None or group.reason not in ("no_adrg", "no_mdc") or not facts.newborn:
        return ()
    rows = facts.diagnoses_starting(preterm)
    return (Hit("setlinfo", wire="nwb_bir_wt"),) if rows else ()


@predicate(glance=usual.rows)
def complication_excluded(facts: Facts) -> Iterable[Hit]:
    """A listed MCC or CC that the principal diagnosis excludes, with none of its level left that counts."""
    group = facts.group
    if group is None:
        return ()
    excluded = [one for one in group.complications if one.excluded]
    if not excluded:
        return ()
    counting = max((_LEVELS[one.level] for one in group.complications if not one.excluded), default=0)
    lost = [one for one in excluded if _LEVELS[one.level] > counting]
    if not lost:
        return ()
    return [_excluded(facts, one.code, one.level) for one in lost]


def _excluded(facts: Facts, code: str, level: str) -> Hit:
    """At the row that holds the code, else at the node (the grouper may have converted it)."""
    rows = [i for i in facts.others if (one := facts.diagnosis_codes[i]) and one.code == code]
    values = {"code": describe_code(facts.reference.library, code), "level": level}
    if not rows:
        return Hit("diseinfo", values=values)
    return Hit("diseinfo", rows[0], "diag_code", values=values)
