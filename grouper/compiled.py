"""A DRG scheme compiled to bits: one bit for each ADRG entry in grouping order.

For each code the bits of the entries it can lead to as principal diagnosis, other diagnosis, main
procedure or other procedure are worked out once. A case is then a few look-ups and bit operations;
its group is the lowest surviving bit whose remaining conditions hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import attrgetter
from typing import NamedTuple

import msgspec

from grouper.formula import (
    COMPARISONS,
    COMPLICATION_SETS,
    DIAGNOSES,
    PROCEDURES,
    Always,
    And,
    Comparison,
    Count,
    Membership,
    Node,
    OneOf,
    Or,
    leaves,
    plain,
    text_matches,
)
from grouper.prepare import NUMBER_FIELDS, TEXT_FIELDS, PreparedCase
from grouper.scheme import AMBIGUOUS, NOT_GROUPED, Adrg, CodeSets, Drg, Scheme

Check = Callable[[int, int, int, int, PreparedCase], bool]
"""Whether a condition holds for the words of the principal diagnosis, the other diagnoses (OR-ed), the
main procedure, the other procedures (OR-ed), and the case."""

MCC_BIT, CC_BIT = 1, 2
"""The lowest bits of the word of the other diagnoses: one of them counts as MCC, as CC."""

Role = tuple[str, ...]
"""The variables of a membership that can be answered code by code."""
_PRINCIPAL: Role = ("ZYZD",)
_MAIN: Role = ("ZYSS",)
_PLACES = dict.fromkeys((_PRINCIPAL, _MAIN), "") | {
    ("QTZD",): "diagnoses",
    DIAGNOSES: "diagnoses",
    ("QTSS",): "procedures",
    PROCEDURES: "procedures",
}
"""Role → which "any of the codes" bits of an entry answer it; empty for places that hold one code."""
Sets = tuple[str, ...]
Requirement = tuple[Role, Sets]


class Bits(msgspec.Struct, frozen=True):
    """The compiled part of a scheme that is large: what each code can lead to.

    A word holds atoms (numbered set memberships that remaining conditions ask about) in its low
    ``diagnosis_atoms`` or ``procedure_atoms`` bits and entry bits above them.
    """

    principal: dict[str, tuple[int, int, frozenset[str]]]
    """Diagnosis → (entries it can lead to, its word, exclusion tables that name it)."""
    other: dict[str, tuple[int, int, str]]
    """Diagnosis → (its word, MCC_BIT or CC_BIT or 0, exclusion table)."""
    main: dict[str, tuple[int, int]]
    """Procedure → (entries it can lead to, its word)."""
    other_procedure: dict[str, int]
    """Procedure → its word."""


@dataclass(frozen=True)
class _Plan:
    """How the conditions of a scheme are split between bits and closures."""

    required: dict[Role, dict[Sets, int]]
    """Role → sets → the entries that require a code of the role in one of the sets (first asked only)."""
    by_age: dict[Comparison, int]
    """Condition on the age in years → the entries that require it."""
    by_sex: dict[OneOf, int]
    """Condition on the sex → the entries that require it."""
    mdc_rest: tuple[Node, ...]
    adrg_rest: tuple[Node, ...]
    diagnosis_atoms: dict[Sets, int]
    procedure_atoms: dict[Sets, int]


def _conjuncts(node: Node) -> tuple[Node, ...]:
    if isinstance(node, And):
        return tuple(leaf for part in node.parts for leaf in _conjuncts(part))
    return () if isinstance(node, Always) else (node,)


def _role(variables: tuple[str, ...]) -> Role | None:
    ordered = tuple(sorted(variables, key=(*DIAGNOSES, *PROCEDURES).index))
    return ordered if ordered in _PLACES else None


def _necessary(node: Node) -> list[Requirement]:
    """Memberships without which ``node`` cannot hold."""
    match node:
        case Membership(variables=variables, sets=sets, negated=False):
            role = _role(variables)
            return [] if role is None or set(sets) & set(COMPLICATION_SETS) else [(role, sets)]
        case And(parts=parts):
            return [requirement for part in parts for requirement in _necessary(part)]
        case Or(parts=parts):
            return _necessary_to_all([_necessary(part) for part in parts])
    return []


def _necessary_to_all(alternatives: list[list[Requirement]]) -> list[Requirement]:
    """One requirement per role that every alternative has: a code in the sets of any of them."""
    first = [dict(reversed(requirements)) for requirements in alternatives]
    return [
        (role, tuple(dict.fromkeys(name for found in first for name in found[role])))
        for role in first[0]
        if all(role in found for found in first)
    ]


def _plan(scheme: Scheme) -> _Plan:
    formulas = scheme.formulas
    required: dict[Role, dict[Sets, int]] = {}
    by_age: dict[Comparison, int] = {}
    by_sex: dict[OneOf, int] = {}

    def take(node: Node, entry: int, taken: set[str]) -> bool:
        match node:
            case Comparison(variable="NL"):
                by_age[node] = by_age.get(node, 0) | 1 << entry
            case OneOf(variable="XB"):
                by_sex[node] = by_sex.get(node, 0) | 1 << entry
            case _:
                return _take(node, entry, taken, required)
        return True

    mdc_rest: dict[str, dict[Node, None]] = {}
    adrg_rest: list[Node] = []
    conditions = {mdc.code: formulas[mdc.condition] for mdc in scheme.mdcs}
    for number, adrg in enumerate(scheme.adrgs):
        taken: set[str] = set()
        rest: list[Node] = []
        for node in _conjuncts(formulas[adrg.condition]):
            if not take(node, number, taken):
                rest.append(node)
        for node in _conjuncts(conditions[adrg.mdc]):
            if not take(node, number, taken):
                mdc_rest.setdefault(adrg.mdc, {})[node] = None
        adrg_rest.append(_all_of(rest))
    # A conjunct of an MDC that one entry could not take is asked once for the whole MDC.
    mdcs = tuple(_all_of(list(mdc_rest.get(mdc.code, {}))) for mdc in scheme.mdcs)
    diagnosis_atoms: dict[Sets, int] = {("MCC",): 0, ("CC",): 1}
    procedure_atoms: dict[Sets, int] = {}
    drg_nodes = (formulas[drg.condition] for drgs in scheme.drgs.values() for drg in drgs)
    for node in (*mdcs, *adrg_rest, *drg_nodes):
        for leaf in leaves(node):
            if isinstance(leaf, Membership | Count):
                sets = tuple(name for name in leaf.sets if name not in COMPLICATION_SETS)
                if sets and set(leaf.variables) & set(DIAGNOSES):
                    diagnosis_atoms.setdefault(sets, len(diagnosis_atoms))
                if sets and set(leaf.variables) & set(PROCEDURES):
                    procedure_atoms.setdefault(sets, len(procedure_atoms))
    return _Plan(required, by_age, by_sex, mdcs, tuple(adrg_rest), diagnosis_atoms, procedure_atoms)


def _take(node: Node, entry: int, taken: set[str], required: dict[Role, dict[Sets, int]]) -> bool:
    """Put what the bits can answer of one conjunct under ``required``; True when that is all of it.

    ``taken`` are the places of the entry's bits in use: a case has one principal diagnosis and one
    main procedure, so these take any number of sets; "any of the codes" takes one.
    """
    requirements = _necessary(node)
    complete = isinstance(node, Membership) and bool(requirements)
    for role, sets in requirements:
        place = _PLACES[role]
        if place and place in taken:
            complete = False
            continue
        if place:
            taken.add(place)
        wanted = required.setdefault(role, {})
        wanted[sets] = wanted.get(sets, 0) | 1 << entry
    return complete


def _all_of(nodes: list[Node]) -> Node:
    return Always() if not nodes else nodes[0] if len(nodes) == 1 else And(tuple(nodes))


def _bits(scheme: Scheme, plan: _Plan, code_sets: CodeSets) -> Bits:
    every = (1 << len(scheme.adrgs)) - 1

    def codes_of(sets: Sets) -> frozenset[str]:
        return frozenset().union(*(code_sets.sets.get(name, ()) for name in sets))

    def words_of(atoms: Mapping[Sets, int]) -> dict[str, int]:
        words: dict[str, int] = {}
        for sets, atom in atoms.items():
            for code in codes_of(sets):
                words[code] = words.get(code, 0) | 1 << atom
        return words

    def led_to(roles: Iterable[Role]) -> dict[str, int]:
        """Code → the entries for which it is the code that one of ``roles`` requires."""
        entries: dict[str, int] = {}
        for role in roles:
            for sets, requiring in plan.required.get(role, {}).items():
                for code in codes_of(sets):
                    entries[code] = entries.get(code, 0) | requiring
        return entries

    def possible(role: Role) -> dict[str, int]:
        """Code → the entries it does not rule out, for a place that holds a single code."""
        masks = list(plan.required.get(role, {}).values())
        met: dict[str, set[int]] = {}
        for number, sets in enumerate(plan.required.get(role, {})):
            for code in codes_of(sets):
                met.setdefault(code, set()).add(number)
        left: dict[frozenset[int], int] = {
            numbers: every & ~_union(mask for number, mask in enumerate(masks) if number not in numbers)
            for numbers in set(map(frozenset, met.values()))
        }
        return {code: left[frozenset(numbers)] for code, numbers in met.items()}

    diagnosis_words = words_of(plan.diagnosis_atoms)
    procedure_words = words_of(plan.procedure_atoms)
    shift, procedure_shift = len(plan.diagnosis_atoms), len(plan.procedure_atoms)

    possible_principal, possible_main = possible(_PRINCIPAL), possible(_MAIN)
    free_principal = every & ~_union(plan.required.get(_PRINCIPAL, {}).values())
    free_main = every & ~_union(plan.required.get(_MAIN, {}).values())
    by_principal, by_other = led_to([DIAGNOSES]), led_to([DIAGNOSES, ("QTZD",)])
    by_main, by_procedure = led_to([PROCEDURES]), led_to([PROCEDURES, ("QTSS",)])
    levels = {"MCC": MCC_BIT, "CC": CC_BIT}
    principals = {
        code: (
            possible_principal.get(code, free_principal),
            by_principal.get(code, 0) << shift | diagnosis_words.get(code, 0),
            code_sets.exclusions.get(code, frozenset()),
        )
        for code in {*possible_principal, *by_principal, *diagnosis_words, *code_sets.exclusions}
    }
    others = {}
    for code in {*by_other, *diagnosis_words, *code_sets.complications}:
        level, table = code_sets.complications.get(code, ("", ""))
        word = by_other.get(code, 0) << shift | diagnosis_words.get(code, 0)
        others[code] = (word, levels.get(level, 0), table)
    mains = {
        code: (
            possible_main.get(code, free_main),
            by_main.get(code, 0) << procedure_shift | procedure_words.get(code, 0),
        )
        for code in {*possible_main, *by_main, *procedure_words}
    }
    procedures = {
        code: by_procedure.get(code, 0) << procedure_shift | procedure_words.get(code, 0)
        for code in {*by_procedure, *procedure_words}
    }
    return Bits(principals, others, mains, procedures)


def _union(masks: Iterable[int]) -> int:
    return reduce(int.__or__, masks, 0)


class _Closures:
    """Turns the conditions that bits do not answer into closures over words and case."""

    def __init__(self, plan: _Plan, bits: Bits) -> None:
        self.diagnosis_atoms = plan.diagnosis_atoms
        self.procedure_atoms = plan.procedure_atoms
        self.bits = bits

    def check(self, node: Node) -> Check | None:
        """None for a condition that always holds."""
        return None if isinstance(node, Always) else self._check(node)

    def _check(self, node: Node) -> Check:
        match node:
            case Membership():
                return self._membership(node)
            case Count():
                return self._count(node)
            case Comparison(variable=variable, comparison=sign, number=number):
                quantity, compare = attrgetter(NUMBER_FIELDS[variable]), COMPARISONS[sign]
                return lambda _p, _o, _m, _q, case: compare(quantity(case), number)
            case OneOf(variable=variable, values=values, negated=negated):
                text, wanted = attrgetter(TEXT_FIELDS[variable]), frozenset(map(plain, values))
                return lambda _p, _o, _m, _q, case: text_matches(text(case), wanted, negated)
            case And(parts=parts):
                return _both([self._check(part) for part in parts])
            case Or(parts=parts):
                return _either([self._check(part) for part in parts])
        return lambda _p, _o, _m, _q, _case: True

    def _masks(self, leaf: Membership | Count) -> tuple[int, int, int, int]:
        """The bits to look at in the words of ZYZD, QTZD, ZYSS and QTSS."""
        sets = tuple(name for name in leaf.sets if name not in COMPLICATION_SETS)
        diagnosis = 1 << self.diagnosis_atoms[sets] if sets in self.diagnosis_atoms else 0
        procedure = 1 << self.procedure_atoms[sets] if sets in self.procedure_atoms else 0
        levels = _union(1 << self.diagnosis_atoms[name,] for name in leaf.sets if name in COMPLICATION_SETS)
        masks = {"ZYZD": diagnosis, "QTZD": diagnosis | levels, "ZYSS": procedure, "QTSS": procedure}
        principal, other, main, rest = (
            masks[variable] if variable in leaf.variables else 0 for variable in (*DIAGNOSES, *PROCEDURES)
        )
        return principal, other, main, rest

    def _membership(self, leaf: Membership) -> Check:
        zyzd, qtzd, zyss, qtss = self._masks(leaf)
        if leaf.negated:
            return lambda p, o, m, q, _: not (p & zyzd or o & qtzd or m & zyss or q & qtss)
        if not (zyss or qtss):
            return lambda p, o, _m, _q, _: bool(p & zyzd or o & qtzd)
        return lambda p, o, m, q, _: bool(p & zyzd or o & qtzd or m & zyss or q & qtss)

    def _count(self, leaf: Count) -> Check:
        zyzd, qtzd, zyss, qtss = self._masks(leaf)
        compare, number, bits = COMPARISONS[leaf.comparison], leaf.number, self.bits

        def count(principal: int, _o: int, main: int, _q: int, case: PreparedCase) -> bool:
            found = bool(principal & zyzd) + bool(main & zyss)
            if qtzd:
                found += sum(bool(bits.other.get(code, _NO_OTHER)[0] & qtzd) for code in case.others)
            if qtss:
                found += sum(bool(bits.other_procedure.get(code, 0) & qtss) for code in case.other_procedures)
            return compare(found, number)

        return count


def _both(checks: list[Check]) -> Check:
    if len(checks) == 2:
        left, right = checks
        return lambda p, o, m, q, case: left(p, o, m, q, case) and right(p, o, m, q, case)
    return lambda p, o, m, q, case: all(check(p, o, m, q, case) for check in checks)


def _either(checks: list[Check]) -> Check:
    return lambda p, o, m, q, case: any(check(p, o, m, q, case) for check in checks)


_NO_OTHER = (0, 0, "")
_REMEMBERED = 1_000
"""Different ages and sexes whose entries are remembered."""


class Decision(NamedTuple):
    """Where a case ends: in a DRG of an ADRG entry, or in a 歧义组, which has no DRG."""

    code: str
    entry: int
    adrg: Adrg
    drg: Drg | None


class _Entry(NamedTuple):
    """What remains to be asked of a case whose bit of an ADRG entry survived."""

    mdc: int
    mdc_check: Check | None
    other_mdcs: int
    """Every entry outside this MDC."""
    check: Check | None
    by_complication: tuple[Decision | None, ...]
    """The decision by MCC_BIT | CC_BIT of the case; empty when the DRGs ask for something else."""
    in_order: tuple[tuple[Check | None, Decision], ...]


class CompiledScheme:
    """A scheme ready to group prepared cases; answers never change, safe to share by threads."""

    def __init__(self, scheme: Scheme, bits: Bits | None = None) -> None:
        """Compile ``scheme``; ``bits`` are those of an earlier run over the same tables.

        Raises PackError when a table or a rule cannot be read.
        """
        plan = _plan(scheme)
        self.scheme = scheme
        self.bits = bits if bits is not None else _bits(scheme, plan, scheme.code_sets)
        self.plan = plan
        every = (1 << len(scheme.adrgs)) - 1

        def free(*roles: Role) -> int:
            return every & ~_union(mask for role in roles for mask in plan.required.get(role, {}).values())

        self.free_principal, self.free_main = free(_PRINCIPAL), free(_MAIN)
        self.free_diagnoses = free(DIAGNOSES, ("QTZD",))
        self.free_procedures = free(PROCEDURES, ("QTSS",))
        self.entries = self._compiled_entries()
        self._tables = (self.bits.principal, self.bits.other, self.bits.main, self.bits.other_procedure)
        self._diagnosis_shift, self._procedure_shift = len(plan.diagnosis_atoms), len(plan.procedure_atoms)
        self._by_age: dict[float, int] = {}
        self._by_sex: dict[str, int] = {}

    def _left_by_age(self, age: float) -> int:
        """The entries that an age in years does not rule out."""
        every = (1 << len(self.scheme.adrgs)) - 1
        left = every & ~_union(
            entries
            for condition, entries in self.plan.by_age.items()
            if not COMPARISONS[condition.comparison](age, condition.number)
        )
        if len(self._by_age) < _REMEMBERED:
            self._by_age[age] = left
        return left

    def _left_by_sex(self, sex: str) -> int:
        """The entries that a sex does not rule out."""
        every = (1 << len(self.scheme.adrgs)) - 1
        left = every & ~_union(
            entries
            for condition, entries in self.plan.by_sex.items()
            if not text_matches(sex, frozenset(map(plain, condition.values)), condition.negated)
        )
        if len(self._by_sex) < _REMEMBERED:
            self._by_sex[sex] = left
        return left

    def _compiled_entries(self) -> tuple[_Entry, ...]:
        closures = _Closures(self.plan, self.bits)
        adrgs = self.scheme.adrgs
        place = {mdc.code: number for number, mdc in enumerate(self.scheme.mdcs)}
        checks = [closures.check(node) for node in self.plan.mdc_rest]
        every = (1 << len(adrgs)) - 1
        inside = [0] * len(checks)
        for number, adrg in enumerate(adrgs):
            inside[place[adrg.mdc]] |= 1 << number
        entries = []
        for number, (adrg, rest) in enumerate(zip(adrgs, self.plan.adrg_rest, strict=True)):
            mdc = place[adrg.mdc]
            decisions = self._decisions(number, adrg)
            table = _by_complication(decisions)
            in_order = (
                () if table else tuple((closures.check(node), decision) for node, decision in decisions)
            )
            entries.append(
                _Entry(mdc, checks[mdc], every & ~inside[mdc], closures.check(rest), table, in_order)
            )
        return tuple(entries)

    def _decisions(self, number: int, adrg: Adrg) -> list[tuple[Node, Decision]]:
        if adrg.kind == AMBIGUOUS:
            return [(Always(), Decision(adrg.code, number, adrg, None))]
        return [
            (self.scheme.formulas[drg.condition], Decision(drg.code, number, adrg, drg))
            for drg in self.scheme.drgs.get(adrg.code, ())
        ]

    def group_code(self, case: PreparedCase) -> str:
        """The DRG, the 歧义组 or ``0000`` of a prepared case."""
        decision = self.decide(case)
        return NOT_GROUPED if decision is None else decision.code

    def decide(self, case: PreparedCase) -> Decision | None:
        """Where a prepared case ends; None when no entry takes it or it has no principal diagnosis."""
        if not case.principal:
            return None
        principals, others_by_code, mains, procedures = self._tables
        possible, principal, tables = principals.get(case.principal) or (self.free_principal, 0, ())
        others = 0
        for code in case.others:
            found = others_by_code.get(code)
            if found is not None:
                word, level, table = found
                others |= word if not level or table in tables else word | level
        possible_by_main, main = mains.get(case.main) or (self.free_main, 0)
        rest = 0
        for code in case.other_procedures:
            rest |= procedures.get(code, 0)
        possible &= possible_by_main & self.left_by_patient(case)
        return self.decide_words(possible, (principal, others, main, rest), case)

    def left_by_patient(self, case: PreparedCase) -> int:
        """The entries that age and sex do not rule out."""
        by_age, by_sex = self._by_age.get(case.age), self._by_sex.get(case.sex)
        return (self._left_by_age(case.age) if by_age is None else by_age) & (
            self._left_by_sex(case.sex) if by_sex is None else by_sex
        )

    def decide_words(
        self, possible: int, words: tuple[int, int, int, int], case: PreparedCase
    ) -> Decision | None:
        """The decision among the ``possible`` entries; ``words`` as for ``first``."""
        principal, others, main, rest = words
        surviving = (
            possible
            & ((principal | others) >> self._diagnosis_shift | self.free_diagnoses)
            & ((main | rest) >> self._procedure_shift | self.free_procedures)
        )
        return self.first(surviving, words, case) if surviving else None

    @cached_property
    def counts_codes(self) -> bool:
        """Whether a rule asks how many codes of a set there are, which the words do not tell."""
        return any(isinstance(leaf, Count) for node in self.scheme.formulas.values() for leaf in leaves(node))

    def first(self, surviving: int, words: tuple[int, int, int, int], case: PreparedCase) -> Decision | None:
        """The decision of the lowest bit of ``surviving`` whose remaining conditions hold.

        ``words``: of the principal diagnosis, the other diagnoses, the main procedure, the others.
        """
        principal, others, main, rest = words
        entries = self.entries
        entered = -1
        while surviving:
            lowest = surviving & -surviving
            mdc, mdc_check, other_mdcs, check, table, in_order = entries[lowest.bit_length() - 1]
            if mdc != entered:
                if mdc_check is not None and not mdc_check(principal, others, main, rest, case):
                    surviving &= other_mdcs
                    continue
                entered = mdc
            if check is None or check(principal, others, main, rest, case):
                if table:
                    decision = table[others & (MCC_BIT | CC_BIT)]
                    if decision is not None:
                        return decision
                for condition, candidate in in_order:
                    if condition is None or condition(principal, others, main, rest, case):
                        return candidate
            surviving ^= lowest
        return None


def _by_complication(decisions: list[tuple[Node, Decision]]) -> tuple[Decision | None, ...]:
    """The first decision that holds for each value of the complication bits; empty for other questions."""
    for node, _ in decisions:
        for leaf in leaves(node):
            if isinstance(leaf, Always):
                continue
            if not isinstance(leaf, Membership) or not set(leaf.sets) <= set(COMPLICATION_SETS):
                return ()

    def holds(node: Node, bits: int) -> bool:
        match node:
            case And(parts=parts):
                return all(holds(part, bits) for part in parts)
            case Or(parts=parts):
                return any(holds(part, bits) for part in parts)
            case Membership(variables=variables, sets=sets, negated=negated):
                asked = (MCC_BIT if "MCC" in sets else 0) | (CC_BIT if "CC" in sets else 0)
                return bool(bits & asked and "QTZD" in variables) is not negated
        return True

    return tuple(
        next((decision for node, decision in decisions if holds(node, bits)), None)
        for bits in range((MCC_BIT | CC_BIT) + 1)
    )
