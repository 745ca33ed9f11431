"""Pairs of code sets as a rule file writes them, and codes as a message shows them.

A pair is one text, ``"R05,R09.3:J18,J44"``: prefixes on the left, prefixes on the right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from qc_rules.facts import Facts
from qc_rules.reference import CodeFacts, Reference

MOST_SHOWN = 4
"""Codes that a message names before it says how many there are."""

Prefixes = tuple[str, ...]


@lru_cache(maxsize=512)
def pairs_of(written: tuple[str, ...]) -> tuple[tuple[Prefixes, Prefixes], ...]:
    """The pairs of a rule: prefixes on the left, prefixes on the right. Raises ValueError."""
    found = []
    for pair in written:
        sides = [tuple(part.strip() for part in side.split(",")) for side in pair.split(":")]
        if len(sides) != 2 or "" in sides[0] + sides[1]:
            raise ValueError(f"“{pair}”应写成 编码前缀,编码前缀:编码前缀,编码前缀")
        found.append((sides[0], sides[1]))
    return tuple(found)


def read_pairs(_reference: Reference, given: Mapping[str, Any]) -> tuple[tuple[Prefixes, Prefixes], ...]:
    """The parameter ``pairs``, read."""
    return pairs_of(given["pairs"])


def left_of(parameter: str, place: str) -> Callable[[Reference, Mapping[str, Any]], list[tuple[str, str]]]:
    """The left sides of the pairs in a parameter, to look at a rule only when such a code is there."""

    def codes(_reference: Reference, given: Mapping[str, Any]) -> list[tuple[str, str]]:
        return placed(place, (prefix for left, _ in pairs_of(given[parameter]) for prefix in left))

    return codes


def placed(place: str, prefixes: Iterable[str]) -> list[tuple[str, str]]:
    """Prefixes with the place where a code must have one: icd10, icd9cm3, principal or main."""
    return [(place, prefix) for prefix in prefixes]


def shown_diagnoses(facts: Facts, rows: Sequence[int]) -> str:
    """The diagnoses of these rows, code and name."""
    return _shown((facts.diagnosis_codes[i], facts.list.diagnoses[i].name) for i in rows)


def shown_procedures(facts: Facts, rows: Sequence[int]) -> str:
    """The procedures of these rows, code and name."""
    return _shown((facts.procedure_codes[i], facts.list.procedures[i].name) for i in rows)


def _shown(codes: Iterable[tuple[CodeFacts | None, str | None]]) -> str:
    texts = [f"{code.code} {code.name or name or ''}".rstrip() for code, name in codes if code]
    more = f" 等 {len(texts)} 条" if len(texts) > MOST_SHOWN else ""
    return "、".join(texts[:MOST_SHOWN]) + more
