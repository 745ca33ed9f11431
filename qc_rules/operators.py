"""The operators of ``when``: each compiles its arguments once to a condition over the facts of a list.

A condition is True (the rule fires), False, or None when the list does not allow to know; ``all``,
``any`` and ``not`` follow Kleene's three-valued logic.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from operator import attrgetter
from typing import Any

from models.pack import PackError
from models.settlement_list import FIELDS, NODE_LABELS
from qc_rules.code_index import PLACED, Combination
from qc_rules.facts import Facts, whole_fen
from qc_rules.source import Location
from qc_rules.terms import NODE_OF_SCOPE, ROWS_WITH_CODES, Compilation, CompileError, Condition, Getter, Term

Operator = Callable[[Compilation, Any, Location], Condition]

OPERATORS: dict[str, Operator] = {}


def _operator(function: Operator) -> Operator:
    OPERATORS[function.__name__.strip("_")] = function
    return function


def compile_condition(rule: Compilation, when: object, at: Location) -> Condition:
    """One operator with its arguments: ``{operator: arguments}``. Raises CompileError."""
    if not isinstance(when, Mapping) or len(when) != 1:
        raise CompileError(at, "应为一个运算，写成“运算: 参数”；几个条件请用 all 或 any")
    ((name, arguments),) = when.items()
    operator = OPERATORS.get(name)
    if operator is None:
        raise CompileError([*at, name], f"没有运算“{name}”；有的是：{'、'.join(sorted(OPERATORS))}、check")
    return operator(rule, arguments, [*at, name])


# --- logic


def _several(rule: Compilation, arguments: Any, at: Location) -> list[Condition]:
    if not isinstance(arguments, list) or not arguments:
        raise CompileError(at, "应为一列条件")
    return [compile_condition(rule, one, [*at, number]) for number, one in enumerate(arguments)]


@_operator
def all_(rule: Compilation, arguments: Any, at: Location) -> Condition:
    """All conditions are true."""
    conditions = _several(rule, arguments, at)

    def decide(facts: Facts, row: Any, index: int) -> bool | None:
        answer: bool | None = True
        for condition in conditions:
            found = condition(facts, row, index)
            if not found:
                if found is False:
                    return False
                answer = None
        return answer

    return decide


@_operator
def any_(rule: Compilation, arguments: Any, at: Location) -> Condition:
    """At least one condition is true."""
    conditions = _several(rule, arguments, at)

    def decide(facts: Facts, row: Any, index: int) -> bool | None:
        answer: bool | None = False
        for condition in conditions:
            found = condition(facts, row, index)
            if found:
                return True
            if found is None:
                answer = None
        return answer

    return decide


@_operator
def not_(rule: Compilation, arguments: Any, at: Location) -> Condition:
    """The condition is not true."""
    condition = compile_condition(rule, arguments, at)

    def decide(facts: Facts, row: Any, index: int) -> bool | None:
        found = condition(facts, row, index)
        return None if found is None else not found

    return decide


# --- presence


@_operator
def missing(rule: Compilation, arguments: Any, at: Location) -> Condition:
    """Nothing was sent for a field, or only blanks; unknown where the interface does not have it."""
    term = rule.term(arguments, at)
    if not term.wire:
        raise CompileError(at, "missing 只用于字段")
    get, node, wire = term.get, term.node, term.wire
    whole = node == "setlinfo"
    only_4101 = FIELDS[node][wire].only_4101

    def decide(facts: Facts, row: Any, index: int) -> bool | None:
        value = get(facts, row, index)
        if value is not None and not (isinstance(value, str) and (not value or value.isspace())):
            return False
        if only_4101 and facts.interface == "4101A":
            return None
        return facts.is_missing(node, -1 if whole else index, wire, value)

    return decide


@_operator
def present(rule: Compilation, arguments: Any, at: Location) -> Condition:
    """Something was sent for a field, readable or not."""
    decide_missing = missing(rule, arguments, at)
    return lambda facts, row, index: decide_missing(facts, row, index) is False


# --- one value


@_operator
def equals(rule: Compilation, arguments: Any, at: Location) -> Condition:
    """``{field, value}``: the value is exactly this."""
    get, wanted = _field_and(rule, arguments, at, "value")
    return _known_value(get, lambda value: value == wanted)


@_operator
def is_one_of(rule: Compilation, arguments: Any, at: Location) -> Condition:
    """``{field, values}``: the value is one of these."""
    get, values = _field_and(rule, arguments, at, "values")
    allowed = frozenset(_sequence(values, [*at, "values"]))
    return _known_value(get, lambda value: value in allowed)


@_operator
def outside_domain(rule: Compilation, arguments: Any, at: Location) -> Condition:
    """``{field, domain, unjudged, separator}``: a value is not in the value domain (one name or several).

    ``unjudged``: a pattern of values that the domain's table cannot judge. ``separator``: a pattern
    that separates several values in one field.
    """
    _keys(arguments, at, ("field", "domain"), ("unjudged", "separator"))
    get = rule.term(arguments["field"], [*at, "field"]).get
    allowed = frozenset(domain_of(rule, arguments["domain"], [*at, "domain"]).values)
    unjudged, separator = (
        _pattern(arguments[key], [*at, key]) if key in arguments else None
        for key in ("unjudged", "separator")
    )

    def outside(value: str) -> bool | None:
        if value in allowed:
            return False
        if separator:
            return any(part.strip() not in allowed for part in separator.split(value))
        return None if unjudged and unjudged.fullmatch(value) else True

    return _known_value(get, lambda value: None if value.isspace() else outside(value))


def domain_of(rule: Compilation, names: Any, at: Location) -> Any:
    """The named value domain, or the union of several; notes when one has no official copy."""
    try:
        names = [names] if isinstance(names, str) else names
        domain = rule.reference.domain(names)
    except (PackError, TypeError) as error:
        raise CompileError(at, str(error)) from error
    if not domain.confirmed:
        rule.unconfirmed.extend(names)
    return domain


@_operator
def matches(rule: Compilation, arguments: Any, at: Location) -> Condition:
    """``{field, pattern}``: the whole text has this form (regular expression)."""
    get, pattern = _field_and(rule, arguments, at, "pattern")
    compiled = _pattern(pattern, [*at, "pattern"])
    return _known_value(get, lambda value: compiled.fullmatch(value) is not None)


@_operator
def contains(rule: Compilation, arguments: Any, at: Location) -> Condition:
    """``{field, texts}``: the text contains one of these."""
    get, texts = _field_and(rule, arguments, at, "texts")
    found = re.compile("|".join(map(re.escape, _texts(texts, [*at, "texts"]))))
    return _known_value(get, lambda value: found.search(value) is not None)


@_operator
def starts_with(rule: Compilation, arguments: Any, at: Location) -> Condition:
    """``{field, prefixes}``: the text begins with one of these."""
    get, prefixes = _field_and(rule, arguments, at, "prefixes")
    wanted = _texts(prefixes, [*at, "prefixes"])
    return _known_value(get, lambda value: value.startswith(wanted))


@_operator
def length_outside(rule: Compilation, arguments: Any, at: Location) -> Condition:
    """``{field, min, max}``: the text has fewer or more characters than allowed."""
    get, low, high = _limits(rule, arguments, at)
    return _known_value(get, lambda value: not low <= len(value.strip()) <= high)


@_operator
def between(rule: Compilation, arguments: Any, at: Location) -> Condition:
    """``{field, min, max}``: the number is within the limits, both included."""
    get, low, high = _limits(rule, arguments, at)
    return _known_value(get, lambda value: low <= value <= high)


@_operator
def outside(rule: Compilation, arguments: Any, at: Location) -> Condition:
    """``{field, min, max}``: the number is below or above the limits."""
    get, low, high = _limits(rule, arguments, at)
    return _known_value(get, lambda value: not low <= value <= high)


@_operator
def too_precise(rule: Compilation, arguments: Any, at: Location) -> Condition:
    """An amount has more than two decimals."""
    return _known_value(rule.term(arguments, at).get, lambda value: not whole_fen(value))


# --- two values

_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


@_operator
def compare(rule: Compilation, arguments: Any, at: Location) -> Condition:
    """``[left, "<", right]``: names, or a number on the right; a day and a moment compare as days."""
    if not isinstance(arguments, list) or len(arguments) != 3 or arguments[1] not in _COMPARE:
        raise CompileError(at, '应为 [左, "比较", 右]，比较为 < <= > >= == != 之一（加引号）')
    left = rule.term(arguments[0], [*at, 0])
    right = _operand(rule, arguments[2], [*at, 2])
    decide = _COMPARE[arguments[1]]

    def compared(one: Any, other: Any) -> bool | None:
        if one is None or other is None:
            return None
        if type(one) is not type(other) and isinstance(one, date):
            one, other = _same_kind(one, other)
        try:
            return decide(one, other)
        except TypeError:
            return None

    if isinstance(right, Term) and left.path and right.path:
        read_both = attrgetter(left.path, right.path)

        def compare_both(facts: Facts, _row: Any, _index: int) -> bool | None:
            one, other = read_both(facts)
            # Most are numbers or days on both sides: those compare without further ado.
            if type(one) is type(other) and one is not None:
                try:
                    return decide(one, other)
                except TypeError:  # a moment with a time zone beside one without
                    return None
            return compared(one, other)

        return compare_both
    read, number = left.get, right
    if left.path and type(number) in (int, float):
        read_fact = attrgetter(left.path)

        def compare_fact(facts: Facts, _row: Any, _index: int) -> bool | None:
            value = read_fact(facts)
            return decide(value, number) if type(value) in (int, float) else compared(value, number)

        return compare_fact
    if isinstance(number, Term):
        read_other = number.get
        return lambda facts, row, index: compared(read(facts, row, index), read_other(facts, row, index))
    return lambda facts, row, index: compared(read(facts, row, index), number)


def _same_kind(one: date, other: object) -> tuple[object, object]:
    """Two moments, or two days when one of them is only a day."""
    if isinstance(one, datetime) is not isinstance(other, datetime):
        return _day(one), _day(other)
    return one, other


def _day(value: object) -> object:
    return value.date() if isinstance(value, datetime) else value


@_operator
def days_between(rule: Compilation, arguments: Any, at: Location) -> Condition:
    """``{from, to, is: ["<", 31]}``: calendar days from one date to the other."""
    _keys(arguments, at, ("from", "to", "is"))
    start = rule.term(arguments["from"], [*at, "from"]).get
    end = rule.term(arguments["to"], [*at, "to"]).get
    test = _test(rule, arguments["is"], [*at, "is"])

    def condition(facts: Facts, row: Any, index: int) -> bool | None:
        one, other = _day(start(facts, row, index)), _day(end(facts, row, index))
        if not isinstance(one, date) or not isinstance(other, date):
            return None
        return test((other - one).days)

    return condition


@_operator
def sum_differs(rule: Compilation, arguments: Any, at: Location) -> Condition:
    """``{total, terms, tolerance}``: amounts in yuan do not add up to the total.

    ``tolerance`` in fen (default 0). Unknown when the total or a term is missing.
    """
    _keys(arguments, at, ("total", "terms"), ("tolerance",))
    total = rule.term(arguments["total"], [*at, "total"]).get
    names = _sequence(arguments["terms"], [*at, "terms"])
    terms = [rule.term(name, [*at, "terms", n]).get for n, name in enumerate(names)]
    tolerance = int(rule.constant(arguments.get("tolerance", 0), [*at, "tolerance"]))

    def condition(facts: Facts, row: Any, index: int) -> bool | None:
        whole = total(facts, row, index)
        if whole is None:
            return None
        left: int = round(whole * 100)
        for term in terms:
            part = term(facts, row, index)
            if part is None:
                return None
            left -= round(part * 100)
        return abs(left) > tolerance

    return condition


# --- codes


@_operator
def code_in(rule: Compilation, arguments: Any, at: Location) -> Condition:
    """Prefixes, or ``{prefixes, except}``: the code of the row (of the scope) begins with one of them."""
    if rule.node not in ROWS_WITH_CODES:
        raise CompileError(at, "code_in 只用于 diseinfo、oprninfo 的行")
    prefixes, but = _code_sets(rule, arguments, at)
    rule.term("code.code", at)
    read_codes = attrgetter(ROWS_WITH_CODES[rule.node])

    def condition(facts: Facts, _row: Any, index: int) -> bool | None:
        codes = read_codes(facts)
        code = codes[index] if 0 <= index < len(codes) else None
        if code is None:
            return None
        return code.code.startswith(prefixes) and not code.code.startswith(but)

    return condition


_ROLES = {
    "diagnosis": {"any": "western", "principal": "principal", "other": "others"},
    "procedure": {"any": "", "main": "main"},
}


@_operator
def has_diagnosis(rule: Compilation, arguments: Any, at: Location) -> Condition:
    """Prefixes, or ``{prefixes, except, role: any | principal | other}``: a western diagnosis has such a code."""
    prefixes, but = _code_sets(rule, arguments, at, "role")
    role = _role(arguments, at, "diagnosis")

    def condition(facts: Facts, row: Any, index: int) -> bool:
        del row, index
        codes = facts.diagnosis_codes
        rows = _indices(getattr(facts, _ROLES["diagnosis"][role]))
        return any(
            code.code.startswith(prefixes) and not code.code.startswith(but)
            for i in rows
            if (code := codes[i])
        )

    return condition


@_operator
def has_procedure(rule: Compilation, arguments: Any, at: Location) -> Condition:
    """Prefixes, or ``{prefixes, except, role: any | main}``: a procedure has such a code."""
    prefixes, but = _code_sets(rule, arguments, at, "role")
    role = _role(arguments, at, "procedure")

    def condition(facts: Facts, row: Any, index: int) -> bool:
        del row, index
        codes = facts.procedure_codes
        rows = range(len(codes)) if role == "any" else _indices(facts.main)
        return any(
            code.code.startswith(prefixes) and not code.code.startswith(but)
            for i in rows
            if (code := codes[i])
        )

    return condition


def _indices(found: int | Sequence[int] | None) -> Sequence[int]:
    if found is None:
        return ()
    return (found,) if isinstance(found, int) else found


def _role(arguments: Any, at: Location, kind: str) -> str:
    role = arguments.get("role", "any") if isinstance(arguments, Mapping) else "any"
    if role not in _ROLES[kind]:
        raise CompileError([*at, "role"], f"应为 {'、'.join(_ROLES[kind])} 之一")
    return str(role)


def _code_sets(
    rule: Compilation, arguments: Any, at: Location, *more: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if not isinstance(arguments, Mapping):
        return _texts(rule.constant(arguments, at), at), ()
    _keys(arguments, at, ("prefixes",), ("except", *more))
    prefixes = rule.constant(arguments["prefixes"], [*at, "prefixes"])
    but = rule.constant(arguments.get("except", ()), [*at, "except"])
    return _texts(prefixes, [*at, "prefixes"]), _texts(but, [*at, "except"])


def required_codes(rule: Compilation, when: object) -> Combination:
    """Sets of codes of which each must have one in the list for ``when`` to be true; empty without any."""
    if not isinstance(when, Mapping) or len(when) != 1:
        return ()
    ((name, arguments),) = when.items()
    if name == "all":
        return tuple(dict.fromkeys(codes for one in arguments for codes in required_codes(rule, one)))
    if name == "any":
        parts = [required_codes(rule, one) for one in arguments]
        return (frozenset().union(*(part[0] for part in parts)),) if all(parts) else ()
    systems = {"has_diagnosis": "icd10", "has_procedure": "icd9cm3"}
    if name == "code_in":
        system = "icd10" if rule.node == "diseinfo" else "icd9cm3"
        placed = rule.rule.scope in ("principal_diagnosis", "main_procedure")
    elif name in systems:
        system = systems[name]
        placed = _role(arguments, (), name.removeprefix("has_")) in ("principal", "main")
    else:
        return ()
    place = PLACED[system] if placed else system
    return (frozenset((place, prefix) for prefix in _code_sets(rule, arguments, (), "role")[0]),)


def missing_fields(rule: Compilation, when: object) -> tuple[Term, ...]:
    """Fields of which one must be missing for ``when`` to be true; empty when there is no such set."""
    if not isinstance(when, Mapping) or len(when) != 1:
        return ()
    ((name, arguments),) = when.items()
    if name == "missing":
        return (rule.term(arguments, ()),)
    if name == "all":
        # Only the first: a later one is about a field that is mostly empty, as in "way 2 without receiver".
        return missing_fields(rule, arguments[0])
    if name == "any":
        parts = [missing_fields(rule, one) for one in arguments]
        return tuple(term for part in parts for term in part) if all(parts) else ()
    return ()


def prefixes_of_row(rule: Compilation, when: object) -> tuple[str, ...]:
    """Prefixes of which the code of the row itself must have one for ``when`` to be true; empty without any."""
    if not isinstance(when, Mapping) or len(when) != 1:
        return ()
    ((name, arguments),) = when.items()
    if name == "code_in":
        return _code_sets(rule, arguments, ())[0]
    if name not in ("all", "any"):
        return ()
    parts = [prefixes_of_row(rule, one) for one in arguments]
    if name == "all":
        return next(filter(None, parts), ())
    return tuple(dict.fromkeys(prefix for part in parts for prefix in part)) if all(parts) else ()


# --- rows


def _rows_of(name: Any, at: Location) -> tuple[str, Callable[[Facts], Iterable[tuple[int, Any]]]]:
    """A node, or a scope over some rows of one: the node, and how to walk the rows."""
    if name not in NODE_LABELS and name not in NODE_OF_SCOPE:
        raise CompileError(at, f"没有节点“{name}”")
    node = NODE_OF_SCOPE.get(name, name)
    return node, row_walk(name)


def row_walk(scope: str) -> Callable[[Facts], Iterable[tuple[int, Any]]]:
    """How to walk the rows of a scope as (index, row); setlinfo has the index -1."""
    if scope in ("list", "setlinfo"):
        return lambda facts: ((-1, facts.stay),)
    chosen = {
        "discharge_diagnoses": "discharge_diagnoses",
        "western_diagnoses": "western",
        "principal_diagnosis": "principal",
        "other_diagnoses": "others",
        "main_procedure": "main",
    }.get(scope)
    if chosen is None:
        return lambda facts: enumerate(facts.rows(scope))
    node = NODE_OF_SCOPE[scope]
    read_chosen = attrgetter(chosen)

    def walk(facts: Facts) -> Iterable[tuple[int, Any]]:
        rows = facts.rows(node)
        return [(index, rows[index]) for index in _indices(read_chosen(facts))]

    return walk


@_operator
def any_row(rule: Compilation, arguments: Any, at: Location) -> Condition:
    """``{of, where}``: a row of the node satisfies the condition; False without rows."""
    walk, condition = _walk(rule, arguments, at)

    def decide(facts: Facts, row: Any, index: int) -> bool | None:
        del row, index
        answer: bool | None = False
        for number, one in walk(facts):
            found = condition(facts, one, number)
            if found:
                return True
            if found is None:
                answer = None
        return answer

    return decide


@_operator
def every_row(rule: Compilation, arguments: Any, at: Location) -> Condition:
    """``{of, where}``: there are rows, and all satisfy the condition."""
    walk, condition = _walk(rule, arguments, at)

    def decide(facts: Facts, row: Any, index: int) -> bool | None:
        del row, index
        answer: bool | None = True
        rows = 0
        for number, one in walk(facts):
            rows += 1
            found = condition(facts, one, number)
            if found is False:
                return False
            if found is None:
                answer = None
        return answer if rows else False

    return decide


@_operator
def count(rule: Compilation, arguments: Any, at: Location) -> Condition:
    """``{of, where, is: [">", 1]}``: how many rows satisfy the condition; unknown rows make it unknown."""
    _keys(arguments, at, ("of", "is"), ("where",))
    node, walk = _rows_of(arguments["of"], [*at, "of"])
    where: Condition = lambda _facts, _row, _index: True  # noqa: E731
    if "where" in arguments:
        where = compile_condition(rule.inside(node), arguments["where"], [*at, "where"])
    test = _test(rule, arguments["is"], [*at, "is"])

    def decide(facts: Facts, row: Any, index: int) -> bool | None:
        del row, index
        found = [where(facts, one, number) for number, one in walk(facts)]
        return None if None in found else test(found.count(True))

    return decide


def _walk(
    rule: Compilation, arguments: Any, at: Location
) -> tuple[Callable[[Facts], Iterable[tuple[int, Any]]], Condition]:
    _keys(arguments, at, ("of", "where"))
    node, walk = _rows_of(arguments["of"], [*at, "of"])
    return walk, compile_condition(rule.inside(node), arguments["where"], [*at, "where"])


# --- arguments


def _keys(arguments: Any, at: Location, needed: Sequence[str], optional: Sequence[str] = ()) -> None:
    if not isinstance(arguments, Mapping):
        raise CompileError(at, f"应写明 {'、'.join(needed)}")
    for key in needed:
        if key not in arguments:
            raise CompileError(at, f"缺少 {key}")
    for key in arguments:
        if key not in needed and key not in optional:
            raise CompileError([*at, str(key)], f"没有这个键；可用：{'、'.join((*needed, *optional))}")


def _field_and(rule: Compilation, arguments: Any, at: Location, key: str) -> tuple[Getter, Any]:
    _keys(arguments, at, ("field", key))
    return rule.term(arguments["field"], [*at, "field"]).get, rule.constant(arguments[key], [*at, key])


def _limits(rule: Compilation, arguments: Any, at: Location) -> tuple[Getter, float, float]:
    _keys(arguments, at, ("field",), ("min", "max"))
    if "min" not in arguments and "max" not in arguments:
        raise CompileError(at, "缺少 min 或 max")
    limits = []
    for key, default in (("min", float("-inf")), ("max", float("inf"))):
        value = rule.constant(arguments.get(key, default), [*at, key])
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise CompileError([*at, key], f"应为数字，写的是 {value!r}")
        limits.append(value)
    return rule.term(arguments["field"], [*at, "field"]).get, limits[0], limits[1]


def _operand(rule: Compilation, value: Any, at: Location) -> Term | float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return rule.term(value, at)


def _test(rule: Compilation, value: Any, at: Location) -> Callable[[int], bool]:
    if not isinstance(value, list) or len(value) != 2 or value[0] not in _COMPARE:
        raise CompileError(at, '应为 ["比较", 数字]，例如 [">", 1]')
    limit = rule.constant(value[1], [*at, 1])
    if isinstance(limit, bool) or not isinstance(limit, int | float):
        raise CompileError([*at, 1], f"应为数字，写的是 {limit!r}")
    decide = _COMPARE[value[0]]
    return lambda number: decide(number, limit)


def _known_value(get: Getter, decide: Callable[[Any], bool | None]) -> Condition:
    """A condition on one value: unknown when it is missing or of another kind than the operator needs."""

    def condition(facts: Facts, row: Any, index: int) -> bool | None:
        value = get(facts, row, index)
        if value is None:
            return None
        try:
            return decide(value)
        except (TypeError, AttributeError):
            return None

    return condition


def _pattern(pattern: Any, at: Location) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except (re.error, TypeError) as error:
        raise CompileError(at, f"不是有效的正则表达式（{error}）") from error


def _sequence(values: Any, at: Location) -> Sequence[Any]:
    if not isinstance(values, list | tuple) or not values:
        raise CompileError(at, "应为一列值")
    return values


def _texts(values: Any, at: Location) -> tuple[str, ...]:
    if not isinstance(values, list | tuple) or not all(isinstance(value, str) for value in values):
        raise CompileError(at, "应为一列文本，每个代码加引号")
    return tuple(values)
