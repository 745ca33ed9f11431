"""Which rules are worth a look because of the codes that stand in a list.

A rule that can only fire on some codes names them as combinations: sets of which each must have a code
in the list. Every set that a rule needs beside its first one is a bit, so that a list with one half of
a pair costs a look-up for each code and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

Codes = frozenset[tuple[str, str]]
"""Codes as (place, prefix). Places: ``icd10`` and ``icd9cm3`` anywhere in the list, ``principal`` and
``main`` for the principal diagnosis and the main procedure."""
Combination = tuple[Codes, ...]
"""Sets of codes of which each must have one in the list."""
PLACED: Mapping[str, str] = {"icd10": "principal", "icd9cm3": "main"}
"""The place of the one code that stands first, by its system."""


class Leads(NamedTuple):
    """What a code says in one place: the bits of the sets it is in, and rules with the bits they need."""

    sets: int = 0
    rules: tuple[tuple[int, int], ...] = ()


NOWHERE = Leads()


class CodeIndex:
    """The combinations of all rules, by the codes that lead to them."""

    def __init__(self, rules: Mapping[int, Iterable[Combination]]) -> None:
        self._rules: dict[tuple[str, str], set[tuple[int, int]]] = {}
        self._sets: dict[tuple[str, str], int] = {}
        bits: dict[Codes, int] = {}
        for number, combinations in rules.items():
            for combination in combinations:
                # A place that holds one code leads to fewer rules than any row of the list.
                first, *rest = sorted(combination, key=_anywhere)
                need = 0
                for codes in rest:
                    need |= bits.setdefault(codes, 1 << len(bits))
                for code in first:
                    self._rules.setdefault(code, set()).add((number, need))
        for codes, bit in bits.items():
            for code in codes:
                self._sets[code] = self._sets.get(code, 0) | bit
        self._lengths = sorted({len(prefix) for _, prefix in (*self._rules, *self._sets)})

    def leads(self, place: str, code: str) -> Leads:
        """What a code leads to in a place."""
        sets, rules = 0, set[tuple[int, int]]()
        for length in self._lengths:
            key = (place, code[:length])
            sets |= self._sets.get(key, 0)
            rules |= self._rules.get(key, set())
        return Leads(sets, tuple(sorted(rules))) if sets or rules else NOWHERE


def _anywhere(codes: Codes) -> bool:
    return any(place not in PLACED.values() for place, _ in codes)
