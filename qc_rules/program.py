"""Runs the rules of one interface over the facts of a list, so that a clean list costs little.

Most rules do not fire on most lists, so each list meets a few fused tests first: all fields that must
be filled read at once, one look-up per value domain, a memory of rows already judged, and per code
the rules that only concern that code. Only a rule that one of them points to is evaluated in full.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import reduce
from itertools import chain
from operator import attrgetter, contains, or_
from sys import intern
from typing import Any, NamedTuple

from models.settlement_list import FIELDS, NODE_ATTRIBUTES, Interface
from qc_rules.code_index import NOWHERE
from qc_rules.compiler import CompiledRule
from qc_rules.facts import Facts, rows_of
from qc_rules.operators import row_walk
from qc_rules.predicates import MEMORABLE, Glance, Hit, Predicate, Test
from qc_rules.reference import MAX_REMEMBERED, CodeFacts
from qc_rules.terms import Condition, Term, dropped_in

Judge = Callable[[Facts, Any, int], bool | None]
"""Whether a rule fires on one row (its index is -1 in setlinfo)."""
Enough = Callable[[Facts, list[int]], bool]
"""Whether a rule may fire that these rows of diseinfo point to."""
Hits = Callable[[Facts], Iterable[Hit]]
Numbered = tuple[int, Hits]
"""A rule and every place where it fires."""
Visit = Callable[[Facts, Sequence[Any], set[int]], None]
"""Adds the rules that the rows of a node point to."""


class Program:
    """The rules of one interface, arranged by how they can be passed over."""

    def __init__(self, compiled: Sequence[CompiledRule], interface: Interface) -> None:
        self._whole: list[tuple[int, Condition]] = []
        self._predicates: list[Numbered] = []
        self._of_newborns: list[Numbered] = []
        self._unless: dict[Test, list[Numbered]] = {}
        self._glances: dict[Glance, dict[str, list[Numbered]]] = {}
        self._with_rows: dict[str, list[Numbered]] = {}
        self._with_fields: dict[tuple[str, ...], list[Numbered]] = {}
        self._with_value: dict[str, tuple[Term, dict[object, list[Numbered]]]] = {}
        self._rows: dict[str, list[tuple[int, Condition]]] = {}
        self._judges: dict[str, list[tuple[int, Judge]]] = {}
        self._defects: list[int] = []
        self._several: list[tuple[int, Enough]] = []
        self._on_code: set[int] = set()
        self._on_row: dict[int, Condition] = {}
        self._required: dict[str, list[tuple[int, tuple[Term, ...]]]] = {}
        self._domains: dict[str, list[tuple[int, str, frozenset[str | None]]]] = {}
        self._remembered: dict[tuple[str, tuple[str, ...]], list[tuple[int, Judge]]] = {}
        for number, one in enumerate(compiled):
            if interface in one.rule.interfaces:
                self._place(number, one, interface)
        diagnoses = ("diseinfo", MEMORABLE["diseinfo"][0])
        self._diagnoses = _Diagnoses(
            self._remembered.pop(diagnoses, ()), self._on_code, self._on_row, self._several
        )
        visits: dict[str, list[Visit]] = {}
        for node, required in self._required.items():
            visits.setdefault(node, []).append(_Required(node, required).visit)
        for node, coded in self._domains.items():
            visits.setdefault(node, []).append(_Domains(node, coded).visit)
        for (node, wires), rules in self._remembered.items():
            visits.setdefault(node, []).append(_Memory(node, wires, rules).visit)
        for node, judged in self._judges.items():
            visits.setdefault(node, []).append(_Judges(node, judged).visit)
        self._of_stay = visits.pop("setlinfo", [])
        nodes = [node for node in NODE_ATTRIBUTES if node in visits or node in self._with_rows]
        self._read_nodes = _reader([NODE_ATTRIBUTES[node] for node in nodes])
        self._by_node = [(visits.get(node, []), self._with_rows.get(node, [])) for node in nodes]
        fields = {
            term.wire: by_value for term, by_value in self._with_value.values() if term.source == "field"
        }
        self._read_values = _reader_of(fields)
        self._by_field = list(fields.values())
        self._by_other = [
            (term.get, by_value) for term, by_value in self._with_value.values() if term.source != "field"
        ]
        behind: dict[str, list[Numbered]] = {}
        for wires, numbered in self._with_fields.items():
            for wire in wires:
                behind.setdefault(wire, []).extend(numbered)
        self._read_gates = _reader_of(behind)
        self._behind = list(behind.values())

    def _place(self, number: int, one: CompiledRule, interface: Interface) -> None:
        """Put a rule where it costs least."""
        if one.condition is not None and (fields := _memorable(one)):
            judge = _of_kind(one.rule.scope, one.condition)
            self._remembered.setdefault((one.node, fields), []).append((number, judge))
        elif one.condition is not None and one.of_its_code:
            self._on_row[number] = one.condition
        elif one.codes:
            self._on_code.add(number)
            if one.predicate is not None and one.predicate.fields:
                self._with_fields.setdefault(one.predicate.fields, []).append((number, one.hits))
        elif one.predicate is not None:
            self._place_predicate(number, one, one.predicate)
        elif one.condition is None:
            return
        elif one.missing and _walks_node(one):
            there = tuple(term for term in one.missing if not dropped_in(term, interface))
            if there:
                self._required.setdefault(one.node, []).append((number, there))
        elif one.allowed and _walks_node(one):
            self._domains.setdefault(one.node, []).append((number, one.reads[0].wire, one.allowed))
        elif one.only is not None:
            self._place_by_value(number, one, *one.only)
        elif one.rule.scope == "list":
            self._whole.append((number, one.condition))
        else:
            self._rows.setdefault(one.rule.scope, []).append((number, one.condition))

    def _place_by_value(self, number: int, one: CompiledRule, term: Term, values: frozenset[Any]) -> None:
        rules = self._with_value.setdefault(term.name, (term, {}))[1]
        for value in values:
            rules.setdefault(value, []).append((number, one.hits))

    def _place_predicate(self, number: int, one: CompiledRule, predicate: Predicate) -> None:
        if predicate.defects:
            self._defects.append(number)
            if not predicate.fields:
                return
        if one.only is not None:
            self._place_by_value(number, one, *one.only)
        elif predicate.suspect is not None:
            judge = one.suspects(predicate.suspect)
            self._remembered.setdefault(("diseinfo", MEMORABLE["diseinfo"][0]), []).append((number, judge))
            if predicate.suspects is not None:
                self._several.append((number, one.enough(predicate.suspects)))
        elif predicate.newborn:
            self._of_newborns.append((number, one.hits))
        elif predicate.unless is not None:
            hits = _where_rows(predicate.needs[0], one.hits) if predicate.needs else one.hits
            self._unless.setdefault(predicate.unless, []).append((number, hits))
        elif predicate.glance is not None:
            hits = _where_rows(predicate.needs[0], one.hits) if predicate.needs else one.hits
            by_name = self._glances.setdefault(predicate.glance, {})
            by_name.setdefault(predicate.function.__name__, []).append((number, hits))
        elif one.domains:
            for node, wire, allowed in one.domains:
                self._domains.setdefault(node, []).append((number, wire, allowed))
        elif predicate.rows:
            for node in predicate.rows:
                fields = (
                    group_of(node, predicate.sees) if node == "setlinfo" else MEMORABLE.get(node, ((),))[0]
                )
                if fields:
                    self._remembered.setdefault((node, fields), []).append((number, one.judge(node)))
                else:
                    self._judges.setdefault(node, []).append((number, one.judge(node)))
        elif predicate.needs:
            self._with_rows.setdefault(predicate.needs[0], []).append((number, one.hits))
        elif predicate.fields:
            self._with_fields.setdefault(predicate.fields, []).append((number, one.hits))
        else:
            self._predicates.append((number, one.hits))

    def read(self, facts: Facts) -> None:
        """Tell the facts what is known of the rows of diseinfo from lists before."""
        self._diagnoses.read(facts)

    def fired(self, facts: Facts) -> set[int]:
        """Numbers of the rules that may have fired; each is evaluated in full afterwards."""
        fired: set[int] = set()
        present, pairs = self._diagnoses.visit(facts, fired)
        self._by_codes(facts, present, pairs, fired)
        stay = facts.stay
        for visit in self._of_stay:
            visit(facts, (stay,), fired)
        for rows, (visits, behind) in zip(self._read_nodes(facts.list), self._by_node, strict=True):
            if rows:
                for visit in visits:
                    visit(facts, rows, fired)
                _call(behind, facts, fired)
        for number, condition in self._whole:
            if condition(facts, stay, -1):
                fired.add(number)
        for value, by_value in zip(self._read_values(stay), self._by_field, strict=True):
            if value in by_value:
                _call(by_value[value], facts, fired)
        for get, by_value in self._by_other:
            value = get(facts, stay, -1)
            if value in by_value:
                _call(by_value[value], facts, fired)
        _call(self._predicates, facts, fired)
        for usual, rules in self._unless.items():
            if not usual(facts):
                _call(rules, facts, fired)
        for glance, by_name in self._glances.items():
            for name in glance(facts):
                if name in by_name:
                    _call(by_name[name], facts, fired)
        if facts.newborn:
            _call(self._of_newborns, facts, fired)
        gates = self._read_gates(stay)
        if gates.count(None) < len(gates):
            filled = [rules for value, rules in zip(gates, self._behind, strict=True) if value is not None]
            _call(dict(chain.from_iterable(filled)).items(), facts, fired)
        for scope, conditions in self._rows.items():
            for index, row in row_walk(scope)(facts):
                fired.update([number for number, decide in conditions if decide(facts, row, index)])
        if facts.received.defects or facts.received.unknown:
            fired.update(self._defects)
        return fired

    def _by_codes(self, facts: Facts, present: int, pairs: list[tuple[int, int]], fired: set[int]) -> None:
        """The rules of which all codes are there; ``present`` and ``pairs`` begin with those of the diagnoses."""
        for code in (*facts.procedure_codes, facts.outpatient_code):
            if code is not None and code.leads is not NOWHERE:
                present |= code.leads.sets
                pairs += code.leads.rules
        for code in (facts.principal_code, facts.main_code):
            if code is not None:
                present |= code.placed.sets
                pairs += code.placed.rules
        on_code = self._on_code
        fired.update([number for number, need in pairs if need & present == need and number in on_code])


def _where_rows(node: str, hits: Hits) -> Hits:
    rows = rows_of(node)
    return lambda facts: hits(facts) if rows(facts) else ()


def _call(rules: Iterable[Numbered], facts: Facts, fired: set[int]) -> None:
    for number, hits in rules:
        found = hits(facts)
        if found and next(iter(found), None) is not None:
            fired.add(number)


def _walks_node(one: CompiledRule) -> bool:
    """Whether the rule looks at one field after another of the rows that it walks."""
    fields = one.missing or one.reads[:1]
    return all(field.node == one.node for field in fields) and one.rule.scope in (
        one.node,
        "list" if one.node == "setlinfo" else "",
        *_BY_KIND,
    )


_BY_KIND: Mapping[str, Callable[[Facts], Sequence[int]]] = {
    "western_diagnoses": attrgetter("western"),
    "discharge_diagnoses": attrgetter("discharge_diagnoses"),
}
"""Scopes over the rows of some kinds: whether a row belongs follows from the row and the interface."""
_ONE_OF_THEM = ("principal_diagnosis", "other_diagnoses", "main_procedure")
"""Scopes to which a row may belong: whether it does, the full evaluation finds out."""


def _of_kind(scope: str, condition: Condition) -> Judge:
    """The condition on the rows of a scope that belong to it."""
    belongs = _BY_KIND.get(scope)
    if belongs is None:
        return condition
    return lambda facts, row, index: index in belongs(facts) and condition(facts, row, index)


def group_of(node: str, wires: Collection[str]) -> tuple[str, ...]:
    """The remembered fields of a row that hold all of ``wires``; empty when none do."""
    groups = MEMORABLE.get(node, ()) if wires else ()
    return next((fields for fields in groups if set(wires) <= set(fields)), ())


def _memorable(one: CompiledRule) -> tuple[str, ...]:
    """The remembered fields from which the answer follows, or that a row could be the one; else empty."""
    if one.rule.scope not in (one.node, "list", *_BY_KIND, *_ONE_OF_THEM) or _walks_rows(one.rule.when):
        return ()
    if one.codes and one.rule.scope in ("principal_diagnosis", "main_procedure"):
        return ()  # few lists have such a code in that one place
    if one.node == "setlinfo" and (one.missing or one.allowed):
        return ()  # one of many fields that are read at once
    wires = []
    for term in one.reads:
        if term.source == "field" and term.node == one.node:
            wires.append(term.wire)
        elif term.source == "code":
            wires.append("diag_code" if one.node == "diseinfo" else "oprn_oprt_code")
        elif term.source != "constant":
            return ()
    return group_of(one.node, wires)


def _walks_rows(when: object) -> bool:
    if isinstance(when, Mapping):
        rows = {"any_row", "every_row", "count", "has_diagnosis", "has_procedure"}
        return any(key in rows or _walks_rows(value) for key, value in when.items())
    return isinstance(when, list) and any(map(_walks_rows, when))


class _Required:
    """All fields of one node that must be filled, read at once."""

    def __init__(self, node: str, rules: Sequence[tuple[int, tuple[Term, ...]]]) -> None:
        infos = {term.wire: FIELDS[node][term.wire] for _, terms in rules for term in terms}
        self._texts = _reader([info.attribute for info in infos.values() if info.kind == "text"])
        self._others = _reader([info.attribute for info in infos.values() if info.kind != "text"])
        self._rules = [
            (number, _reader([infos[term.wire].attribute for term in terms])) for number, terms in rules
        ]

    def visit(self, _facts: Facts, rows: Sequence[Any], fired: set[int]) -> None:
        texts, others = self._texts, self._others
        for row in rows:
            values = texts(row)
            if not all(values) or True in map(str.isspace, values) or None in others(row):
                for number, read in self._rules:
                    for value in read(row):
                        if value is None or (isinstance(value, str) and (not value or value.isspace())):
                            fired.add(number)


def _reader(attributes: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """The values of some attributes as one tuple."""
    if not attributes:
        return lambda _row: ()
    read = attrgetter(*attributes)
    return read if len(attributes) > 1 else lambda row: (read(row),)


def _reader_of(wires: Iterable[str]) -> Callable[[Any], tuple[Any, ...]]:
    """The values of some fields of setlinfo as one tuple."""
    return _reader([FIELDS["setlinfo"][wire].attribute for wire in wires])


class _Domains:
    """The coded fields of one node: a value outside its domain points to its rule."""

    def __init__(self, node: str, fields: Sequence[tuple[int, str, frozenset[str | None]]]) -> None:
        self._numbers = [number for number, _, _ in fields]
        self._allowed = [allowed for _, _, allowed in fields]
        attributes = [FIELDS[node][wire].attribute for _, wire, _ in fields]
        self._read = _reader(attributes)
        self._single = (fields[0][0], attrgetter(*attributes), fields[0][2]) if len(fields) == 1 else None

    def visit(self, _facts: Facts, rows: Sequence[Any], fired: set[int]) -> None:
        if self._single is not None:
            number, read, allowed = self._single
            if not allowed.issuperset(map(read, rows)):
                fired.add(number)
            return
        for row in rows:
            values = self._read(row)
            if False in map(contains, self._allowed, values):
                for number, value, allowed in zip(self._numbers, values, self._allowed, strict=True):
                    if value not in allowed:
                        fired.add(number)


class _Unusual(NamedTuple):
    """What few rows have.

    ``rules`` to look at; ``pairs``: rules that need other sets of codes beside; ``conditions``: rules of such
    a code, of which the rest depends on the list.
    """

    rules: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]
    conditions: tuple[tuple[int, Condition], ...]
    western: bool


_Seen = tuple[CodeFacts | None, str, str, int, _Unusual | None]
"""What a row of diseinfo says by itself: its code, also as text, its category, the sets it is in, what else."""


class _Diagnoses:
    """The rows of diseinfo, each read and judged once: what is known of them goes to the facts."""

    def __init__(
        self,
        rules: Sequence[tuple[int, Judge]],
        on_code: Collection[int],
        on_row: Mapping[int, Condition],
        several: Sequence[tuple[int, Enough]],
    ) -> None:
        self._rules = rules
        self._on_code = on_code
        self._on_row = on_row
        self._several = several
        # A row is its own key: the remembered fields are all that it has.
        self._known: dict[Any, _Seen] = {}
        self._sets: dict[int, int] = {}

    def read(self, facts: Facts) -> None:
        """Look every row up, and tell the facts what is known of them."""
        rows = facts.list.diagnoses
        facts.read_by, facts.rows_seen = self, ()
        if not rows:
            return
        if facts.malformed:
            # Whether a field is missing then depends on what could not be read, not on the row alone.
            seen = [self._see(facts, row, index) for index, row in enumerate(rows)]
        else:
            try:
                seen = list(map(self._known.__getitem__, rows))
            except KeyError:
                known = self._known.get
                seen = [known(row) or self._learn(facts, row, index) for index, row in enumerate(rows)]
        codes, texts, categories, _, rest = facts.rows_seen = tuple(zip(*seen, strict=True))
        western: Sequence[int] = range(len(rows))
        if False in [one.western for one in rest if one is not None]:
            western = [i for i, one in enumerate(rest) if one is None or one.western]
        facts.know_diagnoses(codes, western, categories, len(set(texts)) < len(texts))

    def visit(self, facts: Facts, fired: set[int]) -> tuple[int, list[tuple[int, int]]]:
        """The sets of the codes, and the rules with the sets they need; adds those that need none to ``fired``."""
        if facts.read_by is not self:
            self.read(facts)
        if not facts.rows_seen:
            return 0, []
        *_, sets, rest = facts.rows_seen
        pointing: list[tuple[int, _Unusual]] = [(i, one) for i, one in enumerate(rest) if one is not None]
        fired.update(*[one.rules for _, one in pointing])
        pairs = list(chain.from_iterable([one.pairs for _, one in pointing]))
        rows = facts.list.diagnoses
        for index, one in pointing:
            for number, condition in one.conditions:
                if condition(facts, rows[index], index):
                    fired.add(number)
        for number, enough in self._several:
            if number in fired and not enough(facts, [i for i, one in pointing if number in one.rules]):
                fired.remove(number)
        return reduce(or_, sets), pairs

    def _learn(self, facts: Facts, row: Any, index: int) -> _Seen:
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        seen = self._known[row] = self._see(facts, row, index)
        return seen

    def _see(self, facts: Facts, row: Any, index: int) -> _Seen:
        code = facts.diagnosis_codes[index]
        sets, led = NOWHERE if code is None else code.leads
        rules = [number for number, judge in self._rules if judge(facts, row, index)]
        rules += [number for number, need in led if not need and number in self._on_code]
        pairs = tuple((number, need) for number, need in led if need and number in self._on_code)
        on_row = self._on_row
        conditions = tuple((number, on_row[number]) for number, _ in led if number in on_row)
        unusual = _Unusual(tuple(rules), pairs, conditions, index in facts.western)
        usual = unusual.western and not rules and not pairs and not conditions
        text, category = (code.code, intern(code.category)) if code else ("", "")
        # Rows share what they have in common: there is less to fetch from memory.
        sets = self._sets.setdefault(sets, sets)
        return code, text, category, sets, None if usual else unusual


class _Memory:
    """Rules that look only at fields which repeat from list to list: a row is judged once."""

    def __init__(self, node: str, fields: Sequence[str], rules: Sequence[tuple[int, Judge]]) -> None:
        self._first = -1 if node == "setlinfo" else 0
        self._rules = rules
        attributes = [FIELDS[node][wire].attribute for wire in fields]
        self._key: Callable[[Any], Any] = attrgetter(*attributes)
        self._judged: dict[Any, tuple[int, ...]] = {}

    def visit(self, facts: Facts, rows: Sequence[Any], fired: set[int]) -> None:
        judged, key = self._judged, self._key
        # Whether a field is missing then depends on what could not be read, not on the row alone.
        readable = not facts.malformed
        for index, row in enumerate(rows, self._first):
            found = judged.get(key(row)) if readable else None
            if found is None:
                found = self._judge(facts, row, index)
                if readable:
                    if len(judged) >= MAX_REMEMBERED:
                        judged.clear()
                    judged[key(row)] = found
            if found:
                fired.update(found)

    def _judge(self, facts: Facts, row: Any, index: int) -> tuple[int, ...]:
        return tuple(number for number, judge in self._rules if judge(facts, row, index))


class _Judges:
    """Rules that look at one row after another, and at more than what repeats from list to list."""

    def __init__(self, node: str, rules: Sequence[tuple[int, Judge]]) -> None:
        self._first = -1 if node == "setlinfo" else 0
        self._rules = rules

    def visit(self, facts: Facts, rows: Sequence[Any], fired: set[int]) -> None:
        for index, row in enumerate(rows, self._first):
            fired.update([number for number, judge in self._rules if judge(facts, row, index)])
