"""The examples of rules: changes to a clean, fictional list, and whether the rule fires on the result."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from models.grouping import Complication, GroupResult
from models.pack import PackError
from models.report import Finding
from models.wire import decode_payload
from qc_rules.ruleset import WRONG_VALUES, RuleSet
from qc_rules.schema import Example, Rule

BASES_FOLDER = Path(__file__).resolve().parent / "examples"
_STEP = re.compile(r"(\w+)(?:\[(\d+)\])?(?:\.(\w+))?")


class ExampleError(ValueError):
    """An example cannot be built: its base or a path does not exist."""


@cache
def _base(name: str) -> Any:
    path = BASES_FOLDER / f"{name}.json"
    if not re.fullmatch(r"\w+", name) or not path.is_file():
        raise ExampleError(f"没有示例清单 {name}；有的是：{'、'.join(bases())}")
    return json.loads(path.read_text(encoding="utf-8"))


def bases() -> list[str]:
    """The names of the base lists."""
    return sorted(path.stem for path in BASES_FOLDER.glob("*.json"))


def build(example: Example) -> Any:
    """The payload of an example, ``{"infno": …, "input": {…}}``. Raises ExampleError."""
    payload = copy.deepcopy(_base(example.base))
    for path, value in example.change.items():
        _change(payload["input"], path, value)
    return payload


def _change(nodes: dict[str, Any], path: str, value: Any) -> None:
    found = _STEP.fullmatch(path)
    if not found:
        raise ExampleError(f"路径 {path} 应写成 node.field、node[0].field、node[0] 或 node")
    node, number, field = found.groups()
    if number is None and field is None:
        _set(nodes, node, value)
        return
    if number is None:
        _set(nodes.setdefault(node, {}), field, value)
        return
    rows = nodes.setdefault(node, [])
    index = int(number)
    if field is None and value is None:
        del rows[index]
        return
    if index == len(rows):
        rows.append({})
    if index >= len(rows):
        raise ExampleError(f"{path}：只有 {len(rows)} 行")
    if field is None:
        rows[index] = value
    else:
        _set(rows[index], field, value)


def _set(record: dict[str, Any], field: str, value: Any) -> None:
    if value is None:
        record.pop(field, None)
    else:
        record[field] = value


def run(rules: RuleSet, example: Example) -> list[Finding]:
    """Every finding on the list of an example. Raises ExampleError."""
    if example.settings:
        rules = rules.with_settings(example.settings)
    group = None if example.group is None else _group(example.group)
    return rules.check(rules.facts(decode_payload(build(example)), group))


def _group(given: Mapping[str, Any]) -> GroupResult:
    empty = dict.fromkeys(("code", "name", "mdc", "adrg", "reason", "explanation"), "")
    try:
        complications = msgspec.convert(given.get("complications", ()), tuple[Complication, ...])
    except msgspec.ValidationError as error:
        raise ExampleError(f"group.complications：{error}") from error
    return GroupResult(**{**empty, **given, "complications": complications})


def misses(rules: RuleSet, rule: Rule) -> Iterator[tuple[list[str | int], str]]:
    """Where in the file of a rule its examples are wrong, and how: none given, or not as they say."""
    for kind, examples in (("fires", rule.examples.fires), ("passes", rule.examples.passes)):
        if not examples:
            yield ["examples", kind], "至少要有一个例子"
        for number, example in enumerate(examples):
            place: list[str | int] = ["examples", kind, number]
            try:
                found = run(rules, example)
            except (PackError, *WRONG_VALUES) as error:
                yield place, f"例子不能运行（{error}）"
                continue
            fired = any(finding.rule == rule.code for finding in found)
            if fired is not (kind == "fires"):
                yield place, "没有触发" if kind == "fires" else "不应触发"


def faults(rules: RuleSet, rule: Rule) -> Iterator[str]:
    """What is wrong with the examples of a rule that runs."""
    for (_, kind, *number), reason in misses(rules, rule):
        yield f"{rule.code} examples.{kind}{''.join(f'[{n}]' for n in number)}：{reason}"
