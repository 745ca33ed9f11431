"""A rule is shown as its first firing example says it, with codes and their names."""

from __future__ import annotations

import re

import pytest

from api.services.rule_view import BASES, rule_view
from models.pack import PackStore
from qc_rules.examples import bases
from qc_rules.reference import Reference
from qc_rules.ruleset import RuleSet, national_pack
from qc_rules.schema import Rule

RULES = RuleSet.load([national_pack()], Reference.load(PackStore()))
BUILT = [rule for rule in RULES.rules() if rule.when is not None]


def test_every_base_list_has_a_name() -> None:
    assert sorted(BASES) == bases()


@pytest.mark.parametrize("family", sorted({rule.family for rule in BUILT}))
def test_a_rule_is_shown_by_what_it_says(family: str) -> None:
    for rule in BUILT:
        if rule.family == family:
            view = rule_view(RULES, rule)
            assert view.message, rule.code
            assert not re.search(r"\{[a-z_.:]+\}", view.message + view.advice), rule.code
            assert len(view.fires) == len(rule.examples.fires)
            assert len(view.passes) == len(rule.examples.passes)


def _rule(code: str) -> Rule:
    return next(rule for rule in RULES.rules() if rule.code == code)


def test_codes_of_an_example_have_their_names() -> None:
    lines = [line for example in rule_view(RULES, _rule("DX-018")).fires for line in example.lines]
    assert any("N80.001 子宫腺肌病" in line for line in lines)


def test_a_rule_without_its_data_has_nothing_to_say() -> None:
    view = rule_view(RULES, _rule("GRP-007"))
    assert (view.message, view.fires) == ("", ())
