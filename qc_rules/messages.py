"""Message templates: Chinese text with names in braces, compiled once and filled from the facts.

``{value}`` and ``{field}`` are the value and the label of the place, ``{row}`` its row number from 1,
``{hit.NAME}`` a value that a predicate gives; else any name a rule may use. After a colon: ``yuan``
(fen as yuan), ``duration`` (minutes), or a value domain, which puts the meaning beside the code.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any

import msgspec

from qc_rules.facts import Facts, as_text, label
from qc_rules.operators import domain_of
from qc_rules.predicates import Hit
from qc_rules.source import Location
from qc_rules.terms import Compilation, CompileError

NOTHING = "（空）"
Part = Callable[["Filling"], str]


class Filling(msgspec.Struct, frozen=True):
    """What a template is filled from: the facts, the row, the place and its value."""

    facts: Facts
    row: Any
    index: int
    hit: Hit
    value: str


Template = Callable[[Filling], str]


def compile_template(rule: Compilation, text: str, at: Location) -> Template:
    """A template as a function. Raises CompileError for a brace that does not close or a name unknown."""
    try:
        pieces = list(string.Formatter().parse(text))
    except ValueError as error:
        raise CompileError(at, f"花括号不成对（{error}）") from error
    form, parts = "", list[Part]()
    for literal, name, style, conversion in pieces:
        form += literal.replace("%", "%%")
        if name is not None:
            if conversion:
                raise CompileError(at, "花括号里不用 !")
            form += "%s"
            parts.append(_part(rule, name, style or "", at))
    if not parts:
        fixed = form % ()
        return lambda _filling: fixed
    return lambda filling: form % tuple([part(filling) for part in parts])


def _part(rule: Compilation, name: str, style: str, at: Location) -> Part:
    show = _style(rule, style, at)
    if name == "value":
        return lambda filling: show(filling.value) if filling.value else NOTHING
    if name == "field":
        return lambda filling: filling.hit.label or label(filling.hit.node, filling.hit.wire)
    if name == "row":
        return lambda filling: str(filling.hit.index + 1)
    kind, _, rest = name.partition(".")
    if kind == "hit" and rest:
        return lambda filling: show(filling.hit.values.get(rest))
    term = rule.term(name, at)
    get = term.get
    if term.source == "group" and not style:
        # The grouper's own words: not shortened as a received value is.
        return lambda filling: str(get(filling.facts, filling.row, filling.index) or NOTHING)

    def fill(filling: Filling) -> str:
        if filling.row is None and term.node not in ("", "setlinfo"):
            return NOTHING  # the finding points to another node: no row of the rule's own is at hand
        value = get(filling.facts, filling.row, filling.index)
        if value is None and term.source == "field":
            index = -1 if term.node == "setlinfo" else filling.index
            value = filling.facts.value_at(term.node, index, term.wire)
        return show(value)

    return fill


def _style(rule: Compilation, style: str, at: Location) -> Callable[[object], str]:
    if not style:
        return lambda value: as_text(value) or NOTHING
    if style == "yuan":
        return lambda value: f"{value / 100:.2f}" if isinstance(value, int) else as_text(value) or NOTHING
    if style == "duration":
        return lambda value: duration(value) if isinstance(value, int) else NOTHING
    values = domain_of(rule, style, at).values

    def named(value: object) -> str:
        text = as_text(value)
        meaning = values.get(text)
        return f"{text}（{meaning}）" if meaning else text or NOTHING

    return named


def duration(minutes: int) -> str:
    """Minutes as 天, 小时 and 分, without what is zero."""
    days, rest = divmod(abs(minutes), 24 * 60)
    parts = [(days, "天"), (rest // 60, "小时"), (rest % 60, "分")]
    return ("-" if minutes < 0 else "") + ("".join(f"{n}{unit}" for n, unit in parts if n) or "0分")
