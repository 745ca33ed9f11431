"""The engine: rules compiled once, then run over the facts of one list after another.

Most rules do not fire on most lists, so each list meets a few fused tests first: one tuple of all
fields that must be filled, one look-up per value domain, a memory of rows already judged, and per
code the rules that only concern that code. Only a rule that a fused test points to is evaluated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, cast, get_args

from models.grouping import GroupResult
from models.pack import Pack, PackRef, PackStore
from models.report import Finding, Severity
from models.settlement_list import FIELDS, NODE_LABELS, Interface
from models.wire import Received
from qc_rules.facts import Facts, Setting, as_text, label
from qc_rules.messages import Filling, Template, compile_template
from qc_rules.operators import compile_condition, domain_of, required_codes, row_walk
from qc_rules.predicates import Hit, Predicate, predicates
from qc_rules.reference import MAX_REMEMBERED, CodeReader, Reference
from qc_rules.schema import Override, Rule
from qc_rules.source import RuleError, fault, parse, read_yaml
from qc_rules.terms import NODE_OF_SCOPE, Compilation, CompileError, Condition, Term, dropped_in

RULES_FOLDER = Path(__file__).resolve().parent / "rules"
"""The national rule pack that comes with the program."""
OVERRIDES = "overrides.yaml"
INTERFACES: tuple[Interface, ...] = ("4101", "4101A")

MEMORABLE: Mapping[str, tuple[str, ...]] = {
    "diseinfo": ("diag_type", "diag_code", "diag_name", "adm_cond_type", "maindiag_flag"),
    "oprninfo": ("oprn_oprt_type", "oprn_oprt_name", "oprn_oprt_code", "anst_way"),
}
"""Fields that repeat from list to list: what rules say of them is worth remembering."""


@dataclass(frozen=True, slots=True)
class LoadedRule:
    """A rule as its pack and later overrides make it, with the file it stands in."""

    rule: Rule
    pack: PackRef
    path: Path
    text: str


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """One rule ready to run: ``hits`` yields every place where it fires."""

    rule: Rule
    severity: Severity
    hits: Callable[[Facts], Iterator[Hit]]
    message: Template
    advice: Template
    condition: Condition | None = None
    reads: tuple[Term, ...] = ()
    predicate: Predicate | None = None
    codes: frozenset[tuple[str, str]] | None = None
    allowed: frozenset[str | None] = frozenset()

    @property
    def node(self) -> str:
        """The node whose rows the rule walks."""
        return NODE_OF_SCOPE.get(self.rule.scope, self.rule.scope)


def national_pack() -> Pack:
    """The rule pack that comes with the program."""
    return Pack.load(RULES_FOLDER)


def rule_packs(store: PackStore, region: str = "", on: date | None = None) -> list[Pack]:
    """The national rules and what the region and the hospital put on top of them, in that order."""
    national = national_pack()
    found = {national.id: national}
    for pack in store.active("rules"):
        m = pack.manifest
        if region.startswith(m.region) and (
            on is None or (m.effective_from or on) <= on <= (m.effective_to or on)
        ):
            found[pack.id] = pack
    first = found.pop(national.id)
    return [first, *sorted(found.values(), key=lambda pack: (len(pack.manifest.region), pack.id))]


class RuleSet:
    """The rules of one region and date, compiled. Findings come by rule code, then by row."""

    def __init__(
        self,
        loaded: Iterable[LoadedRule],
        reference: Reference,
        settings: Mapping[str, Setting],
        packs: tuple[PackRef, ...] = (),
    ) -> None:
        self.reference = reference
        self.settings = settings
        self.packs = packs
        self._loaded = {one.rule.code: one for one in sorted(loaded, key=lambda one: one.rule.code)}
        running = [one for one in self._loaded.values() if _runs(one.rule, settings)]
        faults: list[str] = []
        self._compiled: list[CompiledRule] = []
        for one in running:
            try:
                self._compiled.append(compile_rule(one.rule, reference, settings))
            except CompileError as error:
                faults.append(fault(one.path, one.text, error.location, error.reason))
        if faults:
            raise RuleError(*faults)
        self._by_prefix: dict[str, dict[str, list[int]]] = {"icd10": {}, "icd9cm3": {}}
        for number, compiled in enumerate(self._compiled):
            for system, prefix in compiled.codes or ():
                self._by_prefix[system].setdefault(prefix, []).append(number)
        self._lengths = {system: sorted(set(map(len, found))) for system, found in self._by_prefix.items()}
        self.codes = CodeReader(reference.library, self._rules_of)
        self._programs = {interface: _Program(self._compiled, interface) for interface in INTERFACES}

    @classmethod
    def load(cls, packs: Sequence[Pack], reference: Reference) -> RuleSet:
        """The rules of ``packs``, later ones overriding earlier ones. Raises RuleError."""
        loaded: dict[str, LoadedRule] = {}
        settings: dict[str, Setting] = {}
        refs = []
        for number, pack in enumerate(packs):
            if number:
                unknown = sorted(set(pack.manifest.parameters) - set(settings))
                if unknown:
                    raise RuleError(
                        f"{pack.folder / 'pack.toml'} parameters：没有设置 {'、'.join(unknown)}；"
                        f"有的是：{'、'.join(sorted(settings))}"
                    )
            settings |= pack.manifest.parameters
            refs.append(_read_pack(pack, loaded))
        return cls(loaded.values(), reference, settings, tuple(refs))

    def with_settings(self, changed: Mapping[str, Setting]) -> RuleSet:
        """The same rules under other settings. Raises RuleError for an unknown setting."""
        unknown = sorted(set(changed) - set(self.settings))
        if unknown:
            raise RuleError(f"没有设置 {'、'.join(unknown)}；有的是：{'、'.join(sorted(self.settings))}")
        return RuleSet(self._loaded.values(), self.reference, {**self.settings, **changed}, self.packs)

    def facts(self, received: Received, group: GroupResult | None = None) -> Facts:
        """What the rules look at in one list."""
        return Facts(received, self.codes, self.reference, self.settings, group)

    def check(self, facts: Facts) -> list[Finding]:
        """Every finding on one list, by rule code, then in row order."""
        fired = self._programs[facts.interface].fired(facts)
        if not fired:
            return []
        findings = []
        for number in sorted(fired):
            compiled = self._compiled[number]
            if compiled.rule.in_force(facts.discharged_on):
                findings.extend([_finding(compiled, facts, hit) for hit in compiled.hits(facts)])
        return findings

    def rule(self, code: str) -> dict[str, Any] | None:
        """One rule as documented, ready for JSON: the file's content, its pack, and whether it runs."""
        one = self._loaded.get(code)
        if one is None:
            return None
        content = one.rule.model_dump(mode="json")
        return {
            **content,
            "family": one.rule.family,
            "pack": one.pack.id,
            "runs": _runs(one.rule, self.settings),
        }

    def rules(self) -> list[Rule]:
        """Every rule by code, those switched off too."""
        return [one.rule for one in self._loaded.values()]

    @property
    def running(self) -> list[CompiledRule]:
        """The rules that run, by code."""
        return self._compiled

    def severity(self, code: str) -> Severity | None:
        """The severity with which a rule runs: lowered to warn where only unconfirmed values speak for it."""
        return next((one.severity for one in self._compiled if one.rule.code == code), None)

    def deduction(self, code: str) -> int:
        """Points that a fired rule costs, 0 for an unknown one."""
        one = self._loaded.get(code)
        return one.rule.deduction if one else 0

    def _rules_of(self, system: str, code: str) -> tuple[int, ...]:
        prefixes = self._by_prefix[system]
        found = {n for length in self._lengths[system] for n in prefixes.get(code[:length], ())}
        return tuple(sorted(found))


def _runs(rule: Rule, settings: Mapping[str, Setting]) -> bool:
    if rule.severity_from and settings.get(rule.severity_from) == "off":
        return False
    return rule.status == "stable" or (rule.status == "preview" and bool(settings.get("preview_rules")))


def _finding(compiled: CompiledRule, facts: Facts, hit: Hit) -> Finding:
    rows = facts.rows(hit.node)
    at = max(hit.index, 0)
    row = rows[at] if at < len(rows) and compiled.node == hit.node else None
    if compiled.node == "setlinfo":
        row = facts.stay
    value = hit.value or (as_text(facts.value_at(hit.node, hit.index, hit.wire)) if hit.wire else "")
    filling = Filling(facts, row, hit.index, hit, value)
    rule = compiled.rule
    return Finding(
        rule=rule.code,
        title=rule.title,
        severity=_milder(compiled.severity, hit.severity),
        path=hit.path or facts.received.path(hit.official),
        field=hit.label or label(hit.node, hit.wire),
        value=value,
        message=compiled.message(filling),
        advice=compiled.advice(filling),
        basis=rule.basis.text,
    )


_STRENGTH: Mapping[str, int] = {"error": 3, "warn": 2, "info": 1}


def _milder(rule: Severity, hit: Severity | Literal[""]) -> Severity:
    return hit if hit and _STRENGTH[hit] < _STRENGTH[rule] else rule


# --- reading packs


def _read_pack(pack: Pack, loaded: dict[str, LoadedRule]) -> PackRef:
    """Add the rules of a pack, apply its overrides; the reference's hash covers every file."""
    digest = hashlib.sha256(pack.sha256.encode())
    own: list[LoadedRule] = []
    faults: list[str] = []
    for path in sorted(pack.folder.rglob("*.yaml")):
        try:
            content, text = read_yaml(path)
            digest.update(text.encode())
            if path.name == OVERRIDES:
                _override(content, path, text, pack.ref, loaded)
                continue
            rule = parse(Rule, content, path, text)
            if path.stem != rule.code or path.parent.name != rule.family.lower():
                place = f"{rule.family.lower()}/{rule.code}.yaml"
                raise RuleError(fault(path, text, ["code"], f"规则 {rule.code} 应放在 {place}"))
            if rule.code in loaded:
                raise RuleError(
                    fault(
                        path,
                        text,
                        ["code"],
                        f"{rule.code} 已在 {loaded[rule.code].path}；修改请写 {OVERRIDES}",
                    )
                )
            own.append(LoadedRule(rule, pack.ref, path, text))
        except RuleError as error:
            faults.extend(error.faults)
    if faults:
        raise RuleError(*faults)
    loaded.update({one.rule.code: one for one in own})
    m = pack.manifest
    return PackRef(m.kind, m.id, m.version, m.name, m.publisher, digest.hexdigest())


def _override(
    content: Mapping[str, Any], path: Path, text: str, pack: PackRef, loaded: dict[str, LoadedRule]
) -> None:
    for code, change in content.items():
        known = loaded.get(code)
        if known is None:
            raise RuleError(fault(path, text, [code], "没有这条规则，不能修改；新规则请单独写一个文件"))
        override = parse(Override, change, path, text, [code])
        fields: dict[str, Any] = {
            name: value
            for name in ("severity", "status", "deduction", "effective_from", "effective_to")
            if (value := getattr(override, name)) is not None
        }
        if override.status and override.status != "off" and known.rule.when is None:
            raise RuleError(
                fault(path, text, [code, "status"], f"这条规则缺少数据，不能启用：{known.rule.needs}")
            )
        parameters = dict(known.rule.parameters)
        for name, value in override.parameters.items():
            if name not in parameters:
                raise RuleError(fault(path, text, [code, "parameters", name], "这条规则没有这个参数"))
            before = parameters[name].value
            if not _same_type(before, value):
                reason = f"应与原值 {before!r} 同一类型，写的是 {value!r}"
                raise RuleError(fault(path, text, [code, "parameters", name], reason))
            parameters[name] = parameters[name].model_copy(update={"value": value})
        if override.severity:
            fields["severity_from"] = ""
        # A hospital may raise a rule to an error without an official basis: it decides for itself.
        changed = known.rule.model_copy(update={**fields, "parameters": parameters})
        loaded[code] = LoadedRule(changed, pack, known.path, known.text)


def _same_type(before: object, after: object) -> bool:
    numbers = (int, float)
    if isinstance(before, numbers) and isinstance(after, numbers):
        return isinstance(before, bool) is isinstance(after, bool)
    return type(before) is type(after)


# --- compiling


def compile_rule(rule: Rule, reference: Reference, settings: Mapping[str, Setting]) -> CompiledRule:
    """One rule ready to run. Raises CompileError."""
    compilation = Compilation(rule, reference, settings)
    when: Any = rule.when
    checks = isinstance(when, Mapping) and "check" in when
    condition = None
    predicate = None
    codes: frozenset[tuple[str, str]] | None
    if checks:
        hits, predicate, codes = _compile_check(compilation, when)
    else:
        condition = compile_condition(compilation, when, ["when"])
        codes = required_codes(compilation, when)
        hits = _walk(rule, condition, _target(compilation))
    reads = tuple(compilation.reads)
    severity = _severity(rule, settings)
    if compilation.unconfirmed and severity == "error":
        severity = "warn"
    message = compile_template(compilation, rule.message, ["message"])
    advice = compile_template(compilation, rule.advice, ["advice"])
    allowed: frozenset[str | None] = frozenset()
    if isinstance(when, Mapping) and "all" in when:
        when = when["all"][0]
    if isinstance(when, Mapping) and "outside_domain" in when:
        domain = domain_of(compilation, when["outside_domain"]["domain"], ["when"])
        allowed = frozenset({None, *domain.values})
    return CompiledRule(rule, severity, hits, message, advice, condition, reads, predicate, codes, allowed)


def _severity(rule: Rule, settings: Mapping[str, Setting]) -> Severity:
    """The severity of a rule, or the one that its setting gives. Raises CompileError."""
    if not rule.severity_from:
        return rule.severity
    chosen = settings.get(rule.severity_from)
    for severity in get_args(Severity):
        if chosen == severity:
            return cast(Severity, severity)
    reason = f"设置 {rule.severity_from} 应为 error、warn、info 或 off，现为 {chosen!r}"
    raise CompileError(["severity_from"], reason)


def _compile_check(
    compilation: Compilation, when: Mapping[str, Any]
) -> tuple[Callable[[Facts], Iterator[Hit]], Predicate, frozenset[tuple[str, str]] | None]:
    rule, at = compilation.rule, ["when", "check"]
    if len(when) != 1:
        raise CompileError(["when"], "check 只能单独使用")
    written = when["check"]
    inline = dict(written) if isinstance(written, Mapping) else {"name": written}
    name = inline.pop("name", None)
    found = predicates().get(name) if isinstance(name, str) else None
    if found is None:
        raise CompileError(at, f"没有谓词“{name}”；有的是：{'、'.join(sorted(predicates()))}")
    given = {key: parameter.value for key, parameter in rule.parameters.items()}
    given |= {key: compilation.constant(value, [*at, key]) for key, value in inline.items()}
    accepted = found.arguments()
    for key in given:
        if key not in accepted:
            raise CompileError(at, f"谓词 {name} 没有参数 {key}；可用：{'、'.join(accepted) or '（无）'}")
    for key, needed in accepted.items():
        if needed and key not in given:
            raise CompileError(at, f"谓词 {name} 缺少参数 {key}")
    codes: set[tuple[str, str]] = set()
    for key, system in ((found.diagnoses, "icd10"), (found.procedures, "icd9cm3")):
        prefixes = given.get(key, ())
        if not isinstance(prefixes, tuple):
            raise CompileError(at, f"{key} 应为一列编码前缀")
        codes |= {(system, prefix) for prefix in prefixes}
    if found.codes:
        codes |= set(found.codes(compilation.reference, given))
    return partial(found.function, **given), found, frozenset(codes) or None


def _target(compilation: Compilation) -> tuple[str, str]:
    """Node and wire name of the place that the findings of a rule point to."""
    rule = compilation.rule
    if not rule.at:
        first = next((term for term in compilation.reads if term.wire), None)
        if first is None:
            raise CompileError(["at"], "when 没有用到字段，请写 at 指明问题所在的字段")
        if first.node not in ("setlinfo", compilation.node):
            return first.node, ""
        return first.node, first.wire
    if rule.at in NODE_LABELS:
        return rule.at, ""
    reads = list(compilation.reads)
    term = compilation.term(rule.at, ["at"])
    compilation.reads[:] = reads
    if not term.wire:
        raise CompileError(["at"], "应为字段或节点")
    return term.node, term.wire


def _walk(rule: Rule, condition: Condition, target: tuple[str, str]) -> Callable[[Facts], Iterator[Hit]]:
    node, wire = target
    walk = row_walk(rule.scope)
    of_row = node == NODE_OF_SCOPE.get(rule.scope, rule.scope) and node != "setlinfo"

    def hits(facts: Facts) -> Iterator[Hit]:
        for index, row in walk(facts):
            if condition(facts, row, index):
                yield Hit(node, index if of_row else -1, wire)

    return hits


# --- running


class _Program:
    """The rules of one interface, arranged so that a clean list costs little."""

    def __init__(self, compiled: Sequence[CompiledRule], interface: Interface) -> None:
        self._rules = compiled
        self._interface = interface
        self._whole: list[tuple[int, Condition]] = []
        self._predicates: list[tuple[int, CompiledRule]] = []
        self._guarded: dict[str, list[tuple[int, CompiledRule]]] = {}
        self._rows: dict[str, list[tuple[int, CompiledRule]]] = {}
        self._defects: list[tuple[int, CompiledRule]] = []
        self._on_code: set[int] = set()
        required: dict[str, list[tuple[int, Term]]] = {}
        domains: dict[str, list[tuple[int, Term, frozenset[str | None]]]] = {}
        remembered: dict[str, list[tuple[int, CompiledRule]]] = {}
        for number, one in enumerate(compiled):
            if interface not in one.rule.interfaces:
                continue
            if _fusible(one, "missing") and dropped_in(one.reads[0], interface):
                continue
            if one.codes:
                self._on_code.add(number)
            elif one.predicate is not None:
                self._add_predicate(number, one)
            elif _fusible(one, "missing"):
                required.setdefault(one.reads[0].node, []).append((number, one.reads[0]))
            elif one.rule.scope != "list" and _memorable(one):
                remembered.setdefault(one.node, []).append((number, one))
            elif _fusible(one, "outside_domain"):
                domains.setdefault(one.node, []).append((number, one.reads[0], one.allowed))
            elif one.rule.scope == "list" and one.condition is not None:
                self._whole.append((number, one.condition))
            else:
                self._rows.setdefault(one.rule.scope, []).append((number, one))
        self._fused: list[_Required | _Domains | _Memory] = [
            *(_Required(node, found) for node, found in required.items()),
            *(_Domains(node, fields) for node, fields in domains.items()),
            *(_Memory(node, rules) for node, rules in remembered.items()),
        ]

    def _add_predicate(self, number: int, one: CompiledRule) -> None:
        predicate = one.predicate
        if predicate and predicate.defects:
            self._defects.append((number, one))
        elif predicate and predicate.needs:
            self._guarded.setdefault(predicate.needs[0], []).append((number, one))
        else:
            self._predicates.append((number, one))

    def fired(self, facts: Facts) -> set[int]:
        """Numbers of the rules that may have fired; each is evaluated in full afterwards."""
        fired: set[int] = set()
        for fused in self._fused:
            fused.visit(facts, fired)
        stay = facts.stay
        for number, condition in self._whole:
            if condition(facts, stay, -1):
                fired.add(number)
        for number, one in self._predicates:
            for _ in one.hits(facts):
                fired.add(number)
                break
        for node, guarded in self._guarded.items():
            if facts.rows(node):
                for number, one in guarded:
                    for _ in one.hits(facts):
                        fired.add(number)
                        break
        for scope, rules in self._rows.items():
            rows = list(row_walk(scope)(facts))
            for index, row in rows:
                for number, one in rules:
                    if one.condition is not None and one.condition(facts, row, index):
                        fired.add(number)
        on_code = self._on_code
        for codes in (facts.diagnosis_codes, facts.procedure_codes):
            for code in codes:
                if code is not None and code.rules:
                    fired.update([number for number in code.rules if number in on_code])
        if facts.received.defects or facts.received.unknown:
            fired.update([number for number, _ in self._defects])
        return fired


def _fusible(one: CompiledRule, operator: str) -> bool:
    """Whether the rule can only fire when one operator is true of one field of the rows it walks.

    That is its only operator, or the first in an ``all``.
    """
    when: Any = one.rule.when
    if isinstance(when, Mapping) and "all" in when:
        when = when["all"][0]
    return (
        when is not None
        and list(when) == [operator]
        and len(one.reads) > 0
        and one.reads[0].node == one.node
        and one.rule.scope in (one.node, "list" if one.node == "setlinfo" else "", *_BY_KIND)
    )


_BY_KIND: Mapping[str, Callable[[Facts], Sequence[int]]] = {
    "western_diagnoses": attrgetter("western"),
    "discharge_diagnoses": attrgetter("discharge_diagnoses"),
}
"""Scopes over the rows of some kinds: whether a row belongs follows from the row and the interface."""


def _memorable(one: CompiledRule) -> bool:
    """Whether the answer follows from the fields that a memory is kept by."""
    fields = MEMORABLE.get(one.node)
    if fields is None or one.rule.scope not in (one.node, *_BY_KIND):
        return False
    return all(
        (term.source == "field" and term.node == one.node and term.wire in fields)
        or term.source in ("code", "constant")
        for term in one.reads
    ) and not _walks_rows(one.rule.when)


def _walks_rows(when: object) -> bool:
    if isinstance(when, Mapping):
        rows = {"any_row", "every_row", "count", "has_diagnosis", "has_procedure"}
        return any(key in rows or _walks_rows(value) for key, value in when.items())
    return isinstance(when, list) and any(map(_walks_rows, when))


class _Required:
    """All fields of one node that must be filled, read at once."""

    def __init__(self, node: str, fields: Sequence[tuple[int, Term]]) -> None:
        self._node = node
        self._numbers = [number for number, _ in fields]
        infos = [FIELDS[node][term.wire] for _, term in fields]
        self._texts = _reader([info.attribute for info in infos if info.kind == "text"])
        self._others = _reader([info.attribute for info in infos if info.kind != "text"])

    def visit(self, facts: Facts, fired: set[int]) -> None:
        texts, others = self._texts, self._others
        for row in facts.rows(self._node):
            values = texts(row)
            if None in values or True in map(str.isspace, values) or "" in values or None in others(row):
                fired.update(self._numbers)
                return


def _reader(attributes: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """The values of some attributes as one tuple."""
    if not attributes:
        return lambda _row: ()
    read = attrgetter(*attributes)
    return read if len(attributes) > 1 else lambda row: (read(row),)


class _Domains:
    """The coded fields of one node: a value outside its domain points to its rule."""

    def __init__(self, node: str, fields: Sequence[tuple[int, Term, frozenset[str | None]]]) -> None:
        self._node = node
        self._numbers = [number for number, _, _ in fields]
        self._allowed = [allowed for _, _, allowed in fields]
        self._read = _reader([FIELDS[node][term.wire].attribute for _, term, _ in fields])

    def visit(self, facts: Facts, fired: set[int]) -> None:
        for row in facts.rows(self._node):
            for number, value, allowed in zip(self._numbers, self._read(row), self._allowed, strict=True):
                if value not in allowed:
                    fired.add(number)


class _Memory:
    """Rules that look only at fields which repeat from list to list: a row is judged once."""

    def __init__(self, node: str, rules: Sequence[tuple[int, CompiledRule]]) -> None:
        self._node = node
        self._rules = rules
        attributes = [FIELDS[node][wire].attribute for wire in MEMORABLE[node]]
        self._key: Callable[[Any], Any] = attrgetter(*attributes)
        self._judged: dict[Any, tuple[int, ...]] = {}

    def visit(self, facts: Facts, fired: set[int]) -> None:
        judged, key = self._judged, self._key
        # Whether a field is missing then depends on what could not be read, not on the row alone.
        readable = not facts.malformed
        for index, row in enumerate(facts.rows(self._node)):
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
        return tuple(
            number
            for number, one in self._rules
            if (one.rule.scope == self._node or index in _BY_KIND[one.rule.scope](facts))
            and one.condition is not None
            and one.condition(facts, row, index)
        )
