"""Predicates of diagnoses and procedures that stand together, or lack what belongs to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qc_rules.code_pairs import (
    Prefixes,
    left_of,
    pairs_of,
    placed,
    read_pairs,
    shown_diagnoses,
    shown_procedures,
)
from qc_rules.facts import Facts
from qc_rules.predicates import Hit, predicate
from qc_rules.reference import Reference

AROSE_LATER = "4"
"""入院病情: not present on admission."""


def arose_later(_facts: Facts, _index: int, row: Any, _given: Mapping[str, Any]) -> bool:
    """Whether a row of diseinfo is a diagnosis that was not present on admission."""
    return bool(row.condition_on_admission == AROSE_LATER)


def _rows(facts: Facts, role: str) -> Sequence[int]:
    """The western diagnoses in a role: any, principal or other."""
    if role == "principal":
        return () if facts.principal is None else (facts.principal,)
    return facts.others if role == "other" else facts.western


def _matching(
    facts: Facts, rows: Sequence[int], prefixes: tuple[str, ...], but: tuple[str, ...] = ()
) -> list[int]:
    codes = facts.diagnosis_codes
    return [
        i
        for i in rows
        if (code := codes[i]) and code.code.startswith(prefixes) and not code.code.startswith(but)
    ]


Pairs = tuple[tuple[Prefixes, Prefixes], ...]
"""``pairs`` of a rule, read once."""
Sets = list[list[tuple[str, str]]]


def _both_sides(_reference: Reference, given: Mapping[str, Any]) -> list[Sets]:
    """For each pair, a code of the left side in its role and one of the right side."""
    place = "principal" if given.get("role") == "principal" else "icd10"
    return [[placed(place, left), placed("icd10", right)] for left, right in pairs_of(given["pairs"])]


@predicate(combinations=_both_sides, derived={"read": read_pairs})
def diagnoses_together(
    facts: Facts,
    *,
    pairs: tuple[str, ...],
    read: Pairs,
    role: str = "any",
    with_role: str = "any",
    but: tuple[str, ...] = (),
    present: bool = False,
) -> Iterator[Hit]:
    """A diagnosis of a left side stands in ``role`` while one of the right side stands in ``with_role``.

    ``but``: prefixes that do not count on the right. ``present``: only what was there on admission counts.
    """
    del pairs
    for left, right in read:
        for index in _matching(facts, _rows(facts, role), left):
            others = [i for i in _matching(facts, _rows(facts, with_role), right, but) if i != index]
            if present:
                others = [
                    i
                    for i in others
                    if facts.list.diagnoses[i].condition_on_admission not in (None, AROSE_LATER)
                ]
            if others:
                yield Hit("diseinfo", index, "diag_code", values={"others": shown_diagnoses(facts, others)})


def _in_role(_reference: Reference, given: Mapping[str, Any]) -> list[tuple[str, str]]:
    return placed("principal" if given["role"] == "principal" else "icd10", given["prefixes"])


@predicate(codes=_in_role, derived={"read": read_pairs})
def diagnosis_unexplained(
    facts: Facts, *, prefixes: tuple[str, ...], role: str, pairs: tuple[str, ...], read: Pairs
) -> Iterator[Hit]:
    """A diagnosis in ``role`` that no other diagnosis explains as a pair says."""
    del pairs
    for index in _matching(facts, _rows(facts, role), prefixes):
        code = facts.diagnosis_codes[index]
        right = tuple(
            prefix for left, found in read if code and code.code.startswith(left) for prefix in found
        )
        if not right or not [i for i in _matching(facts, facts.western, right) if i != index]:
            yield Hit("diseinfo", index, "diag_code")


@predicate(diagnoses="prefixes")
def several_diagnoses(
    facts: Facts, *, prefixes: tuple[str, ...], but: tuple[str, ...] = (), most: int = 1
) -> Iterator[Hit]:
    """More than ``most`` diagnoses of one set."""
    rows = _matching(facts, facts.western, prefixes, but)
    if len(rows) > most:
        values = {"count": len(rows), "codes": shown_diagnoses(facts, rows)}
        yield Hit("diseinfo", rows[most], "diag_code", values=values)


@predicate(diagnoses="prefixes")
def diagnosis_with_procedure(
    facts: Facts,
    *,
    prefixes: tuple[str, ...],
    procedures: tuple[str, ...],
    role: str = "any",
    unless: tuple[str, ...] = (),
    kinds: tuple[str, ...] = (),
) -> Iterator[Hit]:
    """A diagnosis beside a procedure that contradicts it, without any diagnosis of ``unless``.

    ``kinds``: 手术操作类型 in the code book that the procedure must have.
    """
    if unless and facts.diagnoses_starting(unless):
        return
    done = [
        i
        for i in facts.procedures_starting(procedures)
        if not kinds or ((code := facts.procedure_codes[i]) and code.kind in kinds)
    ]
    if not done:
        return
    for index in _matching(facts, _rows(facts, role), prefixes):
        yield Hit("diseinfo", index, "diag_code", values={"procedures": shown_procedures(facts, done)})


@predicate(codes=left_of("pairs", "icd9cm3"), derived={"read": read_pairs})
def procedure_without_diagnosis(
    facts: Facts, *, pairs: tuple[str, ...], read: Pairs, unless: tuple[str, ...] = ()
) -> Iterator[Hit]:
    """A procedure of a left side, and no diagnosis of the right side.

    ``unless``: prefixes of diagnoses with which the procedure needs no such diagnosis.
    """
    del pairs
    if unless and facts.diagnoses_starting(unless):
        return
    for left, right in read:
        rows = facts.procedures_starting(left)
        if rows and not facts.diagnoses_starting(right):
            yield Hit("oprninfo", rows[0], "oprn_oprt_code", values={"expected": "、".join(right)})


def _main_and_treated(_reference: Reference, given: Mapping[str, Any]) -> list[Sets]:
    """For each pair, the main procedure and what it treats, beside a principal diagnosis to judge."""
    among = [placed("principal", given["among"])] if "among" in given else []
    return [
        [placed("main", left), placed("icd10", right), *among] for left, right in pairs_of(given["pairs"])
    ]


@predicate(combinations=_main_and_treated, derived={"read": read_pairs})
def main_procedure_treats_other(
    facts: Facts,
    *,
    pairs: tuple[str, ...],
    read: Pairs,
    among: tuple[str, ...] = ("",),
    unless: tuple[str, ...] = (),
    only: bool = False,
) -> Iterator[Hit]:
    """The main procedure treats what stands among the other diagnoses, not the principal diagnosis.

    ``pairs``: procedures, and the diagnoses they treat. ``among`` and ``unless``: prefixes that
    the principal diagnosis must and must not have. ``only``: nothing else may have been done in the stay.
    """
    del pairs
    main, principal = facts.main_code, facts.principal_code
    if main is None or principal is None or not principal.code.startswith(among):
        return
    if principal.code.startswith(unless):
        return
    for left, right in read:
        if not main.code.startswith(left) or principal.code.startswith(right):
            continue
        if only and len(facts.procedures_starting(left)) < len(facts.list.procedures):
            continue
        others = _matching(facts, facts.others, right)
        if others and facts.main is not None and facts.principal is not None:
            values = {
                "procedure": shown_procedures(facts, (facts.main,)),
                "others": shown_diagnoses(facts, others),
            }
            yield Hit("diseinfo", facts.principal, "diag_code", values=values)
            return
