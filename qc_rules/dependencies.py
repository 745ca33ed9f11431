"""What a compiled rule stands on, beside the list that it judges: settings, tables, the group, by name.

Found by reading the compiled code of the rule and of everything it can call, so that nobody has to keep
a list of it. Where the code does not show what is read, everything counts as read.
"""

from __future__ import annotations

import dis
import enum
import functools
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import date
from operator import attrgetter
from types import CodeType, FunctionType, MethodType, ModuleType, NoneType

import msgspec

from coding.library import CodeLibrary, CodeTable
from qc_rules.charge_tables import CHARGE_RULES, EVIDENCE, ChargeTables, EvidenceTables
from qc_rules.code_index import Combination
from qc_rules.compiler import CompiledRule
from qc_rules.facts import Facts
from qc_rules.reference import CodeReader, Reference
from qc_rules.ruleset import RuleSet

OWN = ("qc_rules", "models", "coding", "grouper")
"""Packages whose functions are read; what they import from elsewhere knows nothing of a list."""
TABLES: Mapping[str, str] = {
    "library": "library",
    "domains": "domains",
    "domain": "domains",
    "sex_limits": "sex_limits",
    "charges": "charges",
    "evidence": "evidence",
}
"""Attributes of Reference, and the table that each reads."""
ALL_TABLES = frozenset(TABLES.values())
_OF_OBJECT: Mapping[type, frozenset[str]] = {
    Reference: ALL_TABLES,
    CodeLibrary: frozenset({"library"}),
    CodeTable: frozenset({"library"}),
    CodeReader: frozenset({"library"}),
    ChargeTables: frozenset({"charges"}),
    EvidenceTables: frozenset({"evidence"}),
}
"""What counts as read when a rule holds such an object itself."""
_PLAIN = (int, float, bytes, date, re.Pattern, enum.Enum, NoneType)
_BY_NAME = (Facts, *_OF_OBJECT)
"""Classes of which only the members that are named are read, not all of them."""


@dataclass(frozen=True, slots=True)
class Reads:
    """What code reads. ``settings``: names, or every one with ``all_settings``; ``words``: its constants."""

    tables: frozenset[str]
    settings: frozenset[str]
    all_settings: bool
    group: bool
    words: frozenset[str]


@functools.lru_cache(maxsize=8192)
def _of_code(code: CodeType) -> tuple[Reads, frozenset[str]]:
    """What one code object reads by itself, and every name and attribute in it."""
    tables: set[str] = set()
    settings: set[str] = set()
    names: set[str] = set(code.co_names) | set(code.co_freevars)
    words = {one for one in code.co_consts if isinstance(one, str)}
    all_settings = group = False
    for each in code.co_consts:
        if isinstance(each, tuple | frozenset):
            words |= {one for one in each if isinstance(one, str)}
        if isinstance(each, CodeType):
            inner, more = _of_code(each)
            names |= more
            words |= inner.words
            tables |= inner.tables
            settings |= inner.settings
            all_settings |= inner.all_settings
            group |= inner.group
    steps = [
        one for one in dis.get_instructions(code) if one.opname not in ("CACHE", "EXTENDED_ARG", "PRECALL")
    ]
    for position, step in enumerate(steps):
        if not step.opname.startswith("LOAD_"):
            continue
        following = steps[position + 1] if position + 1 < len(steps) else None
        if step.argval == "reference":
            member = following and following.opname in ("LOAD_ATTR", "LOAD_METHOD")
            named = str(following.argval) if following and member else ""
            tables |= {TABLES[named]} if named in TABLES else ALL_TABLES
        elif step.argval == "settings":
            if following and following.opname == "LOAD_CONST" and isinstance(following.argval, str):
                settings.add(following.argval)
            else:
                all_settings = True
        elif step.argval == "group" and step.opname == "LOAD_ATTR":
            group = True
    found = Reads(frozenset(tables), frozenset(settings), all_settings, group, frozenset(words))
    return found, frozenset(names)


class _Walk:
    """Everything reachable from some objects: functions, what they close over, name, hold and call."""

    def __init__(self, *roots: object) -> None:
        self._tables: set[str] = set()
        self._settings: set[str] = set()
        self._all_settings = self._group = False
        self._words: set[str] = set()
        self._seen: dict[int, object] = {}
        todo = list(roots)
        while todo:
            one = todo.pop()
            if isinstance(one, str):
                self._words.add(one)
            elif id(one) not in self._seen and not isinstance(one, _PLAIN):
                self._seen[id(one)] = one  # kept, so that no other object gets its number
                todo.extend(self._visit(one))

    def reads(self) -> Reads:
        return Reads(
            frozenset(self._tables),
            frozenset(self._settings),
            self._all_settings,
            self._group,
            frozenset(self._words),
        )

    def _visit(self, found: object) -> Iterator[object]:
        if isinstance(found, FunctionType):
            yield from self._function(found)
        elif isinstance(found, functools.partial):
            yield from (found.func, *found.args, *found.keywords.values())
        elif isinstance(found, MethodType):
            yield from (found.__func__, found.__self__)
        elif isinstance(found, functools._lru_cache_wrapper):
            yield found.__wrapped__
        elif isinstance(found, attrgetter):
            yield from self._attributes({part for name in found.__reduce__()[1] for part in name.split(".")})
        elif isinstance(found, type):
            if found not in _BY_NAME and found.__module__.partition(".")[0] in OWN:
                yield from _functions_of(found)
        elif type(found) in _OF_OBJECT:
            self._tables |= _OF_OBJECT[type(found)]
        elif isinstance(found, Mapping):
            yield from (*found.keys(), *found.values())
        elif isinstance(found, list | tuple | set | frozenset):
            yield from found
        elif is_dataclass(found):
            yield from (getattr(found, one.name) for one in fields(found))
        elif isinstance(found, msgspec.Struct):
            yield from (getattr(found, name) for name in found.__struct_fields__)

    def _function(self, function: FunctionType) -> Iterator[object]:
        if function.__module__.partition(".")[0] not in OWN:
            return
        reads, names = _of_code(function.__code__)
        known = function.__globals__
        self._tables |= reads.tables
        self._settings |= reads.settings
        self._all_settings |= reads.all_settings
        self._group |= reads.group
        self._words |= reads.words
        yield from function.__defaults__ or ()
        yield from (function.__kwdefaults__ or {}).values()
        for cell in function.__closure__ or ():
            yield cell.cell_contents
        wrapped = getattr(function, "__wrapped__", None)
        if wrapped is not None:
            yield wrapped
        for name in names:
            value = known.get(name)
            if isinstance(value, ModuleType):
                if value.__name__.partition(".")[0] in OWN:
                    yield from (vars(value)[one] for one in names if one in vars(value))
            elif value is not None:
                yield value
        yield from self._attributes(names)

    def _attributes(self, names: Iterable[str]) -> Iterator[object]:
        """The facts among the names, and what stands for a part of the surroundings."""
        for name in names:
            member = vars(Facts).get(name)
            if member is None or name.startswith("__"):
                continue
            yield getattr(member, "compute", member)


def _functions_of(owner: type) -> Iterator[object]:
    for member in vars(owner).values():
        if isinstance(member, property):
            yield from (one for one in (member.fget, member.fset) if one is not None)
        elif isinstance(member, staticmethod | classmethod):
            yield member.__func__
        elif isinstance(member, FunctionType):
            yield member


def reads_of(*roots: object) -> Reads:
    """What can be read when the functions ``roots`` run."""
    return _Walk(*roots).reads()


@dataclass(frozen=True, slots=True)
class RuleMark:
    """What can be compared of a rule that runs.

    ``fires``: digest of all that decides where it fires and what is read for its texts; ``says``: digest
    of its texts and its severity. ``codes``: combinations of which one must be in a list for it to fire,
    empty where any list will do. ``group``: it looks at the group of the case.
    """

    fires: bytes
    says: bytes
    deduction: int
    codes: tuple[Combination, ...]
    group: bool


class _UnprovableError(Exception):
    """A value that nothing comparable can be made of."""


_DECIDING = ("scope", "when", "at", "interfaces", "effective_from", "effective_to", "severity_from")
_WORD = re.compile(r"[\w.-]+")


def marks_of(rules: RuleSet) -> dict[str, RuleMark]:
    """The mark of every rule that runs, by code. Same marks, same findings on the same list and group."""
    tables = _Tables(rules.reference)
    return {one.rule.code: _mark(one, rules, tables) for one in rules.running}


def settings_of_facts(names: Iterable[str]) -> frozenset[str]:
    """Of the settings ``names`` those that the facts of a list follow from, whatever the rules."""
    reads = reads_of(*(getattr(member, "compute", None) for member in vars(Facts).values()))
    return frozenset(names) if reads.all_settings else reads.settings


def _mark(one: CompiledRule, rules: RuleSet, tables: _Tables) -> RuleMark:
    rule = one.rule
    reads = reads_of(one.hits, one.message, one.advice)
    written = {key: parameter.value for key, parameter in rule.parameters.items()}
    definition = [rule.model_dump(mode="json", include=set(_DECIDING)), written]
    words = set(_WORD.findall(f"{definition} {rule.message} {rule.advice}"))
    named = {word.removeprefix("setting.") for word in words} | reads.settings
    settings = (
        rules.settings if reads.all_settings else {k: v for k, v in rules.settings.items() if k in named}
    )
    try:
        compiled = _plain(
            (
                definition,
                settings,
                getattr(one.call, "keywords", None),
                one.codes,
                one.domains,
                one.allowed,
                [term.name for term in one.missing],
                None if one.only is None else (one.only[0].name, one.only[1]),
            )
        )
    except _UnprovableError:
        compiled = object()  # printed with its address: equal to nothing else
    # While it runs a rule may look a domain up by any word; otherwise by those of its file alone.
    runtime = reads.words if "domains" in reads.tables else frozenset()
    fires = _digest(compiled, tables.content(reads.tables, words | runtime))
    says = _digest(rule.title, one.severity, rule.message, rule.advice, rule.basis.text)
    return RuleMark(fires, says, rule.deduction, one.codes, reads.group)


class _Tables:
    """Digests of the tables of one reference, each made once."""

    def __init__(self, reference: Reference) -> None:
        backing = {pack.kind: pack.sha256 for pack in reference.backing_packs}
        self._domains = {
            name: _digest(domain.confirmed, sorted(domain.values.items()))
            for name, domain in reference.domains.items()
        }
        self._whole: Mapping[str, object] = {
            "library": [pack.sha256 for pack in reference.library.packs],
            "sex_limits": [repr(limit) for limit in reference.sex_limits],
            # Which pack they were read from is not kept with a reference that was made without packs.
            "charges": backing.get(CHARGE_RULES) or object(),
            "evidence": backing.get(EVIDENCE) or object(),
            "domains": sorted(self._domains.items()),
        }

    def content(self, tables: frozenset[str], words: Iterable[str]) -> object:
        """What stands in ``tables``; of the value domains only those that ``words`` name, if any."""
        domains = [(name, self._domains[name]) for name in sorted(self._domains.keys() & set(words))]
        wanted = sorted(tables - ({"domains"} if domains else set()))
        return domains, [(name, self._whole[name]) for name in wanted]


def _digest(*parts: object) -> bytes:
    return hashlib.blake2b(repr(parts).encode(errors="backslashreplace"), digest_size=16).digest()


def _plain(value: object) -> object:
    """A value as lists, texts and numbers, whatever the order in sets. Raises _UnprovableError."""
    if value is None or isinstance(value, str | int | float | bytes):
        return value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, re.Pattern):
        return ["pattern", value.pattern, value.flags]
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, set | frozenset):
        return ["set", *sorted(repr(_plain(one)) for one in value)]
    if isinstance(value, Mapping):
        return ["map", *sorted((repr(_plain(key)), repr(_plain(one))) for key, one in value.items())]
    if is_dataclass(value) and not isinstance(value, type):
        return [type(value).__name__, *(_plain(getattr(value, one.name)) for one in fields(value))]
    if isinstance(value, msgspec.Struct):
        return [type(value).__name__, *(_plain(getattr(value, one)) for one in value.__struct_fields__)]
    raise _UnprovableError
