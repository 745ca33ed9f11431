"""Compiles one rule: its condition or predicate, the place of its findings, its messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any, cast, get_args

from models.report import Severity
from models.settlement_list import NODE_LABELS
from qc_rules.code_index import Combination
from qc_rules.facts import Facts, Setting
from qc_rules.messages import Template, compile_template
from qc_rules.operators import (
    compile_condition,
    domain_of,
    missing_fields,
    prefixes_of_row,
    required_codes,
    row_walk,
)
from qc_rules.predicates import Enough, Hit, Predicate, Suspect, predicates
from qc_rules.reference import Reference
from qc_rules.schema import Rule
from qc_rules.terms import NODE_OF_SCOPE, ROWS_WITH_CODES, Compilation, CompileError, Condition, Term


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """One rule ready to run: ``hits`` yields every place where it fires.

    What may pass it over: ``codes``, combinations of which one must be in the list; ``missing``, fields of
    which one must be empty; ``allowed``, values of its first field with which it cannot fire; ``domains``,
    node, wire name and such values of every field that its predicate looks at; ``only``, something of the
    whole list and the values that it must have. ``call``: its row predicate. ``of_its_code``: the code that
    must be in the list is that of the very row of diseinfo on which the rule fires.
    """

    rule: Rule
    severity: Severity
    hits: Callable[[Facts], Iterable[Hit]]
    message: Template
    advice: Template
    basis: str
    condition: Condition | None = None
    reads: tuple[Term, ...] = ()
    predicate: Predicate | None = None
    codes: tuple[Combination, ...] = ()
    allowed: frozenset[str | None] = frozenset()
    missing: tuple[Term, ...] = ()
    call: Callable[..., Iterable[Hit]] | None = None
    domains: tuple[tuple[str, str, frozenset[str | None]], ...] = ()
    only: tuple[Term, frozenset[Any]] | None = None
    of_its_code: bool = False

    @property
    def node(self) -> str:
        """The node whose rows the rule walks."""
        return NODE_OF_SCOPE.get(self.rule.scope, self.rule.scope)

    @property
    def given(self) -> Mapping[str, Any]:
        """The arguments of its predicate."""
        return self.call.keywords if isinstance(self.call, partial) else {}

    def judge(self, node: str) -> Callable[[Facts, Any, int], bool]:
        """Whether its row predicate fires on a row of ``node``."""
        call = self.call

        def judge(facts: Facts, row: Any, index: int) -> bool:
            return call is not None and next(iter(call(facts, node, index, row)), None) is not None

        return judge

    def suspects(self, suspect: Suspect) -> Callable[[Facts, Any, int], bool]:
        """Whether a row is one without which its predicate cannot fire."""
        given = self.given
        return lambda facts, row, index: suspect(facts, index, row, given)

    def enough(self, suspects: Enough) -> Callable[[Facts, list[int]], bool]:
        """Whether its predicate may fire where these rows are all that are suspect."""
        given = self.given
        return lambda facts, rows: suspects(facts, rows, given)


def compile_rule(rule: Rule, reference: Reference, settings: Mapping[str, Setting]) -> CompiledRule:
    """One rule ready to run. Raises CompileError."""
    compilation = Compilation(rule, reference, settings)
    when: Any = rule.when
    checks = isinstance(when, Mapping) and "check" in when
    condition = None
    predicate = None
    call = None
    of_its_code = False
    codes: tuple[Combination, ...]
    if checks:
        call, predicate, codes = _compile_check(compilation, when)
        hits = _walk_nodes(predicate.rows, call) if predicate.rows else call
    else:
        first = _of_the_list(compilation, when)
        compilation.reads.clear()  # they count in the order in which the file names them
        condition = compile_condition(compilation, when, ["when"])
        required = required_codes(compilation, when)
        codes = (required,) if required else ()
        prefixes = prefixes_of_row(compilation, when)
        of_its_code = bool(prefixes) and required == (frozenset(("icd10", prefix) for prefix in prefixes),)
        hits = _walk(rule, first, prefixes, condition, _target(compilation))
    reads = tuple(compilation.reads)
    severity = _severity(rule, settings)
    if compilation.unconfirmed and severity == "error":
        severity = "warn"
    message = compile_template(compilation, rule.message, ["message"])
    advice = compile_template(compilation, rule.advice, ["advice"])
    return CompiledRule(
        rule, severity, hits, message, advice, rule.basis.text, condition, reads, predicate, codes,
        allowed=_allowed(compilation, when),
        missing=() if checks else missing_fields(compilation, when),
        call=call,
        domains=() if predicate is None or predicate.domains is None else tuple(
            (node, wire, frozenset({None, *values}))
            for node, wire, values in predicate.domains(reference, _given(compilation, when))
        ),
        only=_only_of_check(compilation, predicate, when) if predicate else _only(compilation, when),
        of_its_code=of_its_code,
    )  # fmt: skip


def _only(compilation: Compilation, when: Any) -> tuple[Term, frozenset[Any]] | None:
    """Something of the whole list and the values of which it must have one for ``when`` to be true."""
    first = when["all"][0] if "all" in when else when
    ((name, arguments),) = first.items()
    if name == "any":
        return _only_of_any(compilation, arguments)
    if name not in ("equals", "is_one_of"):
        return None
    term = compilation.term(arguments["field"], ["when"])
    if term.node != "setlinfo" and term.source != "group":
        return None
    values = arguments["values"] if name == "is_one_of" else [arguments["value"]]
    constant = compilation.constant(values[0] if name == "equals" else values, ["when"])
    return term, frozenset([constant] if name == "equals" else constant)


def _only_of_any(compilation: Compilation, alternatives: Any) -> tuple[Term, frozenset[Any]] | None:
    """The same of several conditions, where it is the same thing in all of them."""
    found = [_only(compilation, one) for one in alternatives]
    term, values = found[0] or (None, frozenset())
    for one in found:
        if one is None or term is None or one[0].name != term.name:
            return None
        values |= one[1]
    return None if term is None else (term, values)


def _only_of_check(
    compilation: Compilation, predicate: Predicate, when: Any
) -> tuple[Term, frozenset[Any]] | None:
    """A field of setlinfo and the values of which it must have one for a predicate to fire."""
    if predicate.when is None:
        return None
    wire, named = predicate.when
    values = _given(compilation, when)[named] if isinstance(named, str) else named
    term = compilation.inside("setlinfo").term(wire, ["when"])
    return term, frozenset([values] if isinstance(values, str) else values)


def _allowed(compilation: Compilation, when: Any) -> frozenset[str | None]:
    """Values of the first field with which a rule cannot fire: the domain that it must be outside of."""
    first = when["all"][0] if "all" in when else when
    if "outside_domain" not in first:
        return frozenset()
    return frozenset({None, *domain_of(compilation, first["outside_domain"]["domain"], ["when"]).values})


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


def _named(when: Mapping[str, Any]) -> tuple[object, dict[str, Any]]:
    """The predicate that a check names, and the parameters written beside it."""
    written = when["check"]
    inline = dict(written) if isinstance(written, Mapping) else {"name": written}
    return inline.pop("name", None), inline


def _given(compilation: Compilation, when: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a check: those of the rule, then those written beside its name."""
    inline = _named(when)[1]
    given: dict[str, Any] = {key: one.value for key, one in compilation.rule.parameters.items()}
    return given | {key: compilation.constant(value, ["when", "check", key]) for key, value in inline.items()}


def _compile_check(
    compilation: Compilation, when: Mapping[str, Any]
) -> tuple[Callable[..., Iterable[Hit]], Predicate, tuple[Combination, ...]]:
    at = ["when", "check"]
    if len(when) != 1:
        raise CompileError(["when"], "check 只能单独使用")
    name = _named(when)[0]
    found = predicates().get(name) if isinstance(name, str) else None
    if found is None:
        raise CompileError(at, f"没有谓词“{name}”；有的是：{'、'.join(sorted(predicates()))}")
    given = _given(compilation, when)
    accepted = found.arguments()
    for key in given:
        if key not in accepted:
            raise CompileError(at, f"谓词 {name} 没有参数 {key}；可用：{'、'.join(accepted) or '（无）'}")
    for key, needed in accepted.items():
        if needed and key not in given:
            raise CompileError(at, f"谓词 {name} 缺少参数 {key}")
    if isinstance(given.get("domain"), str) and given["domain"]:
        domain_of(compilation, given["domain"], [*at, "domain"])
    derived = {key: derive(compilation.reference, given) for key, derive in found.derived.items()}
    return partial(found.function, **given, **derived), found, _codes_of(compilation, found, given)


def _codes_of(
    compilation: Compilation, found: Predicate, given: Mapping[str, Any]
) -> tuple[Combination, ...]:
    """The combinations of codes without which a predicate cannot fire."""
    codes: set[tuple[str, str]] = set()
    for key, place in (
        (found.diagnoses, "icd10"),
        (found.procedures, "icd9cm3"),
        (found.principal, "principal"),
    ):
        prefixes = given.get(key, ())
        if not isinstance(prefixes, tuple):
            raise CompileError(["when", "check"], f"{key} 应为一列编码前缀")
        codes |= {(place, prefix) for prefix in prefixes}
    if found.codes:
        codes |= set(found.codes(compilation.reference, given))
    combinations: list[Combination] = [(frozenset(codes),)] if codes else []
    if found.combinations:
        written = found.combinations(compilation.reference, given)
        combinations += [tuple(frozenset(codes) for codes in one) for one in written]
    return tuple(combinations)


def _walk_nodes(
    nodes: tuple[str, ...], call: Callable[..., Iterable[Hit]]
) -> Callable[[Facts], Iterable[Hit]]:
    """Every hit of a row predicate."""

    def hits(facts: Facts) -> Iterator[Hit]:
        for node in nodes:
            for index, row in enumerate(facts.rows(node), -1 if node == "setlinfo" else 0):
                yield from call(facts, node, index, row)

    return hits


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


def _of_the_list(compilation: Compilation, when: Any) -> tuple[Condition, ...]:
    """Of a rule about rows, the conditions that must hold and have nothing to do with the row."""
    if compilation.node == "setlinfo" or "all" not in when or not isinstance(when["all"], list):
        return ()
    found = []
    for number, one in enumerate(when["all"]):
        compilation.reads.clear()
        condition = compile_condition(compilation, one, ["when", "all", number])
        if compilation.reads and all(term.node in ("", "setlinfo") for term in compilation.reads):
            found.append(condition)
    return tuple(found)


MANY = 16
"""Prefixes from which on a look-up by length is quicker than trying one after another."""


def _begins_with(prefixes: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether a code begins with one of ``prefixes``."""
    if len(prefixes) < MANY:
        return lambda code: code.startswith(prefixes)
    known = frozenset(prefixes)
    lengths = sorted({len(prefix) for prefix in prefixes})

    def begins(code: str) -> bool:
        for length in lengths:  # noqa: SIM110 — a generator costs more than the loop
            if code[:length] in known:
                return True
        return False

    return begins


def _walk(
    rule: Rule,
    first: tuple[Condition, ...],
    prefixes: tuple[str, ...],
    condition: Condition,
    target: tuple[str, str],
) -> Callable[[Facts], Iterable[Hit]]:
    """Every hit of a condition: of rows only those whose code begins with one of ``prefixes``, where given."""
    node, wire = target
    walked = NODE_OF_SCOPE.get(rule.scope, rule.scope)
    if walked == "setlinfo":
        found = (Hit(node, -1, wire),)
        return lambda facts: found if condition(facts, facts.stay, -1) else ()
    walk = row_walk(rule.scope)
    read_codes = attrgetter(ROWS_WITH_CODES[walked]) if prefixes else None
    fits = _begins_with(prefixes)
    of_row = node == walked

    def hits(facts: Facts) -> Iterator[Hit]:
        for one in first:
            if not one(facts, facts.stay, -1):
                return
        rows = walk(facts)
        if read_codes is not None:
            codes = read_codes(facts)
            rows = [one for one in rows if (code := codes[one[0]]) and fits(code.code)]
        for index, row in rows:
            if condition(facts, row, index):
                yield Hit(node, index if of_row else -1, wire)

    return hits
