"""A rule as a reader sees it: the message of its first firing example, and its examples in words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from models.pack import PackError
from models.report import Finding
from models.settlement_list import FIELDS, NODE_LABELS
from qc_rules.examples import run
from qc_rules.reference import Reference
from qc_rules.ruleset import WRONG_VALUES, RuleSet
from qc_rules.schema import Example, Rule

BASES: Mapping[str, str] = {
    "adult": "成人（心肌梗死支架，4101）",
    "adult_4101A": "成人（心肌梗死支架，4101A）",
    "delivery": "顺产产妇",
    "newborn": "早产新生儿",
    "charged": "成人，带收费明细和诊疗证据",
}
"""What the base lists of the examples are."""
_PLACE = re.compile(r"(\w+)(?:\[(\d+)\])?(?:\.(\w+))?")
_CODED: Mapping[str, tuple[str, str]] = {
    "diseinfo": ("diag_code", "diag_name"),
    "oprninfo": ("oprn_oprt_code", "oprn_oprt_name"),
}
"""Code and name of a row that a reader knows it by."""
_CODE_FIELDS = frozenset({"diag_code", "oprn_oprt_code", "wm_dise_code"})
MOST_FIELDS = 6
"""Fields of a row without a code that an example names."""


class ShownExample(msgspec.Struct, frozen=True):
    """One example: the base list, what is changed in it (Chinese, a line each), and a remark."""

    base: str
    lines: tuple[str, ...]
    note: str = ""


class RuleView(msgspec.Struct, frozen=True):
    """``message`` and ``advice`` as the first firing example gives them; empty for a rule without one."""

    message: str
    advice: str
    fires: tuple[ShownExample, ...]
    passes: tuple[ShownExample, ...]


def rule_view(rules: RuleSet, rule: Rule) -> RuleView:
    """A rule in words."""
    found = example_finding(rules, rule)
    return RuleView(
        found.message if found else "",
        found.advice if found else "",
        tuple(_shown(one, rules.reference) for one in rule.examples.fires),
        tuple(_shown(one, rules.reference) for one in rule.examples.passes),
    )


def example_finding(rules: RuleSet, rule: Rule) -> Finding | None:
    """What a rule says of its first firing example; None when it has none, or is switched off."""
    if rule.status == "preview":
        rules = rules.with_settings({"preview_rules": True})
    for example in rule.examples.fires:
        try:
            found = next((one for one in run(rules, example) if one.rule == rule.code), None)
        except (PackError, *WRONG_VALUES):
            found = None
        if found is not None:
            return found
    return None


def _shown(example: Example, reference: Reference) -> ShownExample:
    lines = [line for path, value in example.change.items() for line in _change(path, value, reference)]
    lines += [f"设置 {name} 为 {_text(value)}" for name, value in example.settings.items()]
    if example.group is not None:
        lines.append(_group(example.group, reference))
    return ShownExample(BASES.get(example.base, example.base), tuple(lines), example.note)


def _change(path: str, value: Any, reference: Reference) -> Iterator[str]:
    found = _PLACE.fullmatch(path)
    node, number, wire = found.groups() if found else (path, None, None)
    place = NODE_LABELS.get(node, node)
    if number is not None:
        place += f"第 {int(number) + 1} 条"
    if wire is not None:
        field = FIELDS.get(node, {}).get(wire)
        label = f"{'' if number is None else place + '的'}{field.label if field else wire}"
        yield f"{label}：{'（空）' if value is None else _named(wire, value, reference)}"
    elif value is None:
        yield f"{place}：去掉"
    elif isinstance(value, list):
        for position, row in enumerate(value, 1):
            yield f"{place}第 {position} 条：{_row(node, row)}"
    else:
        yield f"{place}：{_row(node, value)}"


def _row(node: str, row: Any) -> str:
    """A row by code and name, or by its first fields."""
    if not isinstance(row, Mapping):
        return _text(row)
    code, name = _CODED.get(node, ("", ""))
    if row.get(code):
        return f"{row[code]} {row.get(name) or ''}".rstrip()
    labels = FIELDS.get(node, {})
    parts = [f"{labels[key].label if key in labels else key} {_text(value)}" for key, value in row.items()]
    return "，".join(parts[:MOST_FIELDS]) + ("…" if len(parts) > MOST_FIELDS else "")


def _named(wire: str, value: Any, reference: Reference) -> str:
    """A value; a code with its name."""
    text = _text(value)
    if wire not in _CODE_FIELDS:
        return text
    entry = reference.library.diagnosis(text) or reference.library.procedure(text)
    return f"{text} {entry.name}" if entry else text


def _group(group: Mapping[str, Any], reference: Reference) -> str:
    parts = [f"{group.get('code') or '没有'} {group.get('name', '')}".rstrip()]
    if group.get("explanation"):
        parts.append(str(group["explanation"]))
    for one in group.get("complications", ()):
        excluded = "，被主要诊断排除" if one.get("excluded") else ""
        parts.append(
            f"{_named('diag_code', one.get('code', ''), reference)} 为 {one.get('level', '')}{excluded}"
        )
    return f"分组结果：{'；'.join(parts)}"


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "、".join(map(_text, value))
    if isinstance(value, Mapping):
        return "，".join(f"{key} {_text(one)}" for key, one in value.items())
    return str(value)
