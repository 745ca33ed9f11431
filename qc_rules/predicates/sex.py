"""Predicates of family SEX: codes that only the other sex can have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from qc_rules.facts import Facts
from qc_rules.predicates import Hit, predicate
from qc_rules.reference import Reference


def _of_other_sex(reference: Reference, given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Prefixes of one system that the table of sex-restricted codes reserves for the other sex."""
    sex, system = given["sex"], given["system"]
    only, but = given.get("only", ("",)), given.get("but", ())
    return [
        (limit.system, limit.prefix)
        for limit in reference.sex_limits
        if limit.system == system
        and limit.sex != sex
        and limit.prefix.startswith(only)
        and not limit.prefix.startswith(but)
    ]


def _prefixes(reference: Reference, given: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(prefix for _, prefix in _of_other_sex(reference, given))


@predicate(codes=_of_other_sex, derived={"prefixes": _prefixes})
def code_of_other_sex(
    facts: Facts,
    *,
    sex: str,
    system: str,
    prefixes: tuple[str, ...],
    only: tuple[str, ...] = ("",),
    but: tuple[str, ...] = (),
) -> Iterator[Hit]:
    """A patient of ``sex`` has a diagnosis (icd10) or procedure (icd9cm3) of the other sex.

    ``only`` and ``but``: prefixes that the code must and must not begin with; ``prefixes`` follow from them.
    """
    del only, but
    if facts.stay.sex != sex:
        return
    if system == "icd10":
        for index in facts.diagnoses_starting(prefixes):
            yield Hit("diseinfo", index, "diag_code")
    else:
        for index in facts.procedures_starting(prefixes):
            yield Hit("oprninfo", index, "oprn_oprt_code")
