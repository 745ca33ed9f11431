"""What holds of every rule: a removed field only ever makes something missing, the order of other diagnoses
says nothing, and the rules arranged for speed find what each of them finds alone."""

import copy
import random
import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from models.report import Finding
from models.wire import decode_payload
from qc_rules.examples import bases, build
from qc_rules.facts import Facts
from qc_rules.ruleset import RuleSet
from qc_rules.schema import Example

SOME_RULES_NEED = HealthCheck.function_scoped_fixture

ABSENT = re.compile("没有|缺|只有|未填|可用合并编码|主诊断标志却不是")
"""What a finding of presence says: that a field, or what belongs to something listed, is not there (没有、缺少、
只有其一), or that the combined code or the flag of the principal diagnosis is not. With family CMP this is the
family of presence: a rule that asks for a partner (a delivery for its outcome, a charge for its order) is silent
as long as the partner is known, so that taking the partner's field away makes it speak."""

SECOND_SOURCES = {
    "setlinfo": {
        "age": "the age by the dates",
        "nwb_age": "age_days, else the age by the dates",
        "age_days": "the age by the dates",
        "medfee_sumamt": "the sum of the charges",
        "act_ipt_days": "the days by the dates",
    },
    "diseinfo": {
        "maindiag_flag": "the kind, else the first row, says which diagnosis is the principal one",
        "diag_type": "the row counts as western",
    },
    "oprninfo": {"oprn_oprt_type": "the first row is the main procedure"},
    "feedetail": {"medins_list_name": "the item's code"},
}
"""Fields without which something else says the same. Where a list contradicts itself the second source may say
something else, and rules find that: only from a list without findings does their removal add nothing."""

ORDER_RULES = {"DX-016"}
"""Rules about the order of the other diagnoses."""


@pytest.fixture(scope="module")
def payloads(rules: RuleSet) -> list[Any]:
    """The base lists and those of every example of every rule."""
    examples = [one for rule in rules.rules() for one in (*rule.examples.fires, *rule.examples.passes)]
    return [build(Example(base=base)) for base in bases()] + [
        build(one) for one in examples if not one.settings
    ]


def _facts(rules: RuleSet, payload: Any) -> Facts:
    return rules.facts(decode_payload(payload))


def _found(rules: RuleSet, payload: Any) -> list[Finding]:
    return rules.check(_facts(rules, payload))


def _is_of_presence(finding: Finding) -> bool:
    return finding.rule.startswith("CMP-") or bool(ABSENT.search(finding.title + finding.message))


def _fields(payload: Any) -> list[tuple[str, dict[str, Any], str]]:
    """Node, row and wire name of every field that was sent."""
    nodes = payload["input"].items()
    rows = [(node, row) for node, there in nodes for row in (there if isinstance(there, list) else [there])]
    return [(node, row, wire) for node, row in rows if isinstance(row, dict) for wire in row]


def _new_without(rules: RuleSet, payload: Any, before: set[str]) -> list[str]:
    return [
        f"{one.rule} {one.message}"
        for one in _found(rules, payload)
        if one.rule not in before and not _is_of_presence(one)
    ]


@pytest.mark.parametrize("base", bases())
def test_removing_any_field_of_a_clean_list_creates_findings_of_presence_only(
    rules: RuleSet, base: str
) -> None:
    payload = build(Example(base=base))
    fields = _fields(payload)
    assert len(fields) > 60
    created: dict[str, list[str]] = {}
    for node, row, wire in fields:
        kept = dict(row)
        del row[wire]
        if new := _new_without(rules, payload, set()):
            created[f"{node}.{wire}"] = new
        row.clear()
        row.update(kept)
    assert created == {}


@settings(max_examples=400, deadline=None, suppress_health_check=[SOME_RULES_NEED])
@given(data=st.data())
def test_removing_fields_of_any_list_creates_findings_of_presence_only(
    rules: RuleSet, payloads: list[Any], data: st.DataObject
) -> None:
    payload = copy.deepcopy(data.draw(st.sampled_from(payloads)))
    before = {one.rule for one in _found(rules, payload)}
    for _ in range(data.draw(st.integers(1, 3))):
        fields = _fields(payload)
        node, row, wire = fields[data.draw(st.integers(0, len(fields) - 1))]
        assume(not before or wire not in SECOND_SOURCES.get(node, {}))
        del row[wire]
    assert _new_without(rules, payload, before) == []


def _per_rule(findings: list[Finding]) -> Counter[tuple[str, str]]:
    return Counter((one.rule, one.severity) for one in findings if one.rule not in ORDER_RULES)


@settings(max_examples=300, deadline=None, suppress_health_check=[SOME_RULES_NEED])
@given(data=st.data())
def test_the_order_of_the_other_diagnoses_changes_no_finding(
    rules: RuleSet, payloads: list[Any], data: st.DataObject
) -> None:
    payload = copy.deepcopy(data.draw(st.sampled_from(payloads)))
    rows = payload["input"].get("diseinfo")
    assume(isinstance(rows, list) and len(rows) > 2)
    facts = _facts(rules, payload)
    assume(facts.principal is not None)
    others = [index for index in range(len(rows)) if index != facts.principal]
    moved = data.draw(st.permutations(others))
    before = _per_rule(rules.check(facts))
    shuffled = list(rows)
    for place, index in zip(others, moved, strict=True):
        shuffled[place] = rows[index]
    payload["input"]["diseinfo"] = shuffled
    assert _per_rule(_found(rules, payload)) == before


def test_rules_about_the_order_do_depend_on_it(rules: RuleSet, payloads: list[Any]) -> None:
    """So that none is called one without reason."""
    depending = set()
    for payload in payloads:
        rows = payload["input"].get("diseinfo")
        if isinstance(rows, list) and len(rows) > 2 and (_facts(rules, payload).principal == 0):
            turned = copy.deepcopy(payload)
            turned["input"]["diseinfo"] = [rows[0], *reversed(rows[1:])]
            one, other = _found(rules, payload), _found(rules, turned)
            depending |= {found.rule for found in one} ^ {found.rule for found in other}
    assert depending == ORDER_RULES


def _alone(rules: RuleSet, facts: Facts) -> list[str]:
    """The code of each finding when every rule is evaluated by itself, none passed over."""
    return [
        one.rule.code
        for one in rules.running
        if facts.interface in one.rule.interfaces and one.rule.in_force(facts.discharged_on)
        if one.predicate is None or all(facts.rows(node) for node in one.predicate.needs)
        for _ in one.hits(facts)
    ]


WRONG: tuple[Any, ...] = (
    None, "", " ", "0", "1", "2", "3", "4", "-1", 0, -1, 0.005, -3.25, 10**20, 1e308, True, [], {}, ["x"],
    "9" * 40, "I10.x00x002", "Ｉ10", "C34.900", "Z95.501", "A03", "2025-10-10", "2035-01-01 00:00:00",
    "0001-01-01", "9999-12-31 23:59:59", "1/2/3", "99999/24/60", "3200,2100", "N1", "D1", "\x00", "￿" * 300,
)  # fmt: skip


def _mangle(payload: Any, choice: random.Random) -> None:
    """Change some fields, rows and nodes of a list to whatever a system may send by mistake."""
    nodes = payload["input"]
    for _ in range(choice.randrange(1, 8)):
        node = choice.choice(list(nodes))
        rows = nodes[node]
        if isinstance(rows, list) and rows and choice.random() < 0.4:
            kind = choice.randrange(4)
            if kind == 0:
                rows.append(copy.deepcopy(choice.choice(rows)))
            elif kind == 1:
                choice.shuffle(rows)
            elif kind == 2:
                del rows[choice.randrange(len(rows))]
            else:
                rows[choice.randrange(len(rows))] = choice.choice(WRONG)
            continue
        row = choice.choice(rows) if isinstance(rows, list) and rows else rows
        if isinstance(row, dict) and row:
            wire = choice.choice(list(row))
            other = choice.choice(WRONG)
            row[wire] = choice.choice(list(row.values())) if choice.random() < 0.2 else other
        elif choice.random() < 0.2:
            nodes[node] = choice.choice(WRONG)


@settings(max_examples=400, deadline=None, suppress_health_check=[SOME_RULES_NEED])
@given(
    which=st.integers(0, 10**6),
    infno=st.sampled_from(["4101", "4101", "4101A"]),
    seed=st.one_of(st.none(), st.integers(0, 10**6)),
)
def test_the_program_finds_what_each_rule_finds_alone(
    rules: RuleSet, payloads: list[Any], which: int, infno: str, seed: int | None
) -> None:
    payload = copy.deepcopy(payloads[which % len(payloads)])
    payload["infno"] = infno
    if seed is not None:
        _mangle(payload, random.Random(seed))  # noqa: S311 - no secret
    facts = _facts(rules, payload)
    assert [one.rule for one in rules.check(facts)] == _alone(rules, _facts(rules, payload))
