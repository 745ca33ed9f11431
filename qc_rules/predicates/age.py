"""Predicates of family AGE: diagnoses whose names belong to another age."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from qc_rules.facts import Facts
from qc_rules.predicates import Hit, predicate
from qc_rules.reference import Reference


def _codes(reference: Reference, given: Mapping[str, Any]) -> frozenset[str]:
    """Every diagnosis of the code book whose name contains one of the words."""
    but = given["but"]
    return frozenset(
        code.code
        for code in reference.library.icd10.codes.values()
        if any(word in code.name for word in given["words"])
        and not any(word in code.name for word in given["not_words"])
        and not code.code.startswith(but)
    )


def _named(reference: Reference, given: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [("icd10", code) for code in _codes(reference, given)]


@predicate(codes=_named, derived={"codes": _codes})
def name_of_younger_age(
    facts: Facts,
    *,
    words: tuple[str, ...],
    not_words: tuple[str, ...],
    but: tuple[str, ...],
    from_years: int,
    codes: frozenset[str],
) -> Iterator[Hit]:
    """A patient of ``from_years`` or more has a diagnosis named after newborns, infants or children.

    ``words``: one of them is in the code book's name, and none of ``not_words``. ``but``: prefixes of
    codes that another rule judges or that grown-ups keep. ``codes`` follow from these.
    """
    del words, not_words, but
    years = facts.age_years
    if years is None or years < from_years:
        return
    for index in facts.western:
        code = facts.diagnosis_codes[index]
        if code is not None and code.code in codes:
            yield Hit("diseinfo", index, "diag_code", values={"name": code.name})
