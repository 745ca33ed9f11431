"""Predicates of family PDX: which diagnosis stands as the principal one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from qc_rules.code_pairs import placed, shown_diagnoses, shown_procedures
from qc_rules.facts import Facts
from qc_rules.predicates import Hit, predicate
from qc_rules.predicates.together import AROSE_LATER
from qc_rules.reference import Reference


@predicate(principal="complications")
def complication_after_operation(
    facts: Facts, *, complications: tuple[str, ...], kinds: tuple[str, ...]
) -> Iterator[Hit]:
    """The principal diagnosis is a complication that arose in this stay, with an operation in the stay."""
    code, principal = facts.principal_code, facts.principal
    if code is None or principal is None or not code.code.startswith(complications):
        return
    if facts.list.diagnoses[principal].condition_on_admission != AROSE_LATER:
        return
    done = [i for i, one in enumerate(facts.procedure_codes) if one and one.kind in kinds]
    if done:
        yield Hit("diseinfo", principal, "diag_code", values={"procedures": shown_procedures(facts, done)})


def _ranked(_reference: Reference, given: Mapping[str, Any]) -> list[list[list[tuple[str, str]]]]:
    """For each rank, a principal diagnosis of it and another diagnosis so many ranks above."""
    ranks = [rank.split(",") for rank in given["ranks"]]
    return [
        [placed("principal", rank), placed("icd10", chain.from_iterable(ranks[level + given["distance"] :]))]
        for level, rank in enumerate(ranks)
        if ranks[level + given["distance"] :]
    ]


Levels = Mapping[str, int]
"""The rank of each prefix."""


def _levels(_reference: Reference, given: Mapping[str, Any]) -> Levels:
    return {prefix: level for level, rank in enumerate(given["ranks"]) for prefix in rank.split(",")}


@predicate(combinations=_ranked, derived={"levels": _levels})
def severer_injury_listed(
    facts: Facts, *, ranks: tuple[str, ...], distance: int, levels: Levels
) -> Iterator[Hit]:
    """The principal diagnosis ranks below another one that was there on admission.

    ``ranks``: prefixes parted by commas, mildest rank first; a later rank wins where two fit.
    ``distance``: how many ranks lower the principal diagnosis must be. ``levels``: the ranks, read.
    """
    del ranks
    code, principal = facts.principal_code, facts.principal
    if code is None or principal is None:
        return
    own = _rank(code.code, levels)
    if own < 0:
        return
    severer = [
        i
        for i in facts.others
        if (other := facts.diagnosis_codes[i])
        and _rank(other.code, levels) >= own + distance
        and facts.list.diagnoses[i].condition_on_admission not in (None, AROSE_LATER)
    ]
    if severer:
        yield Hit("diseinfo", principal, "diag_code", values={"others": shown_diagnoses(facts, severer)})


def _rank(code: str, levels: Levels) -> int:
    """The highest rank of a prefix of the code; -1 without any."""
    return max([levels.get(code[:length], -1) for length in range(len(code) + 1)])


@predicate(principal="tumours")
def only_tumour_therapy(
    facts: Facts, *, tumours: tuple[str, ...], therapies: tuple[str, ...]
) -> Iterator[Hit]:
    """A malignant tumour as principal diagnosis, and nothing but drugs or rays against it in the stay."""
    code, principal = facts.principal_code, facts.principal
    if code is None or principal is None or not code.code.startswith(tumours):
        return
    done = facts.procedures_starting(therapies)
    if not done:
        return
    for index, one in enumerate(facts.procedure_codes):
        # Surgery, and biopsies that make or extend the diagnosis, are reasons for the tumour's own code.
        if index not in done and (one is None or one.kind != "治疗性操作"):
            return
    yield Hit("diseinfo", principal, "diag_code", values={"procedures": shown_procedures(facts, done)})


@predicate(principal="treatments")
def planned_treatment_not_done(
    facts: Facts, *, cancelled: tuple[str, ...], treatments: tuple[str, ...]
) -> Iterator[Hit]:
    """Z53 says that the treatment was not done, while the principal diagnosis is that treatment."""
    code, principal = facts.principal_code, facts.principal
    rows = [i for i in facts.diagnoses_starting(cancelled) if i != principal]
    if not rows or code is None or principal is None or not code.code.startswith(treatments):
        return
    if facts.list.procedures:
        return
    yield Hit("diseinfo", principal, "diag_code", values={"others": shown_diagnoses(facts, rows)})
