"""Every rule that runs fires on its firing examples and keeps silent on its near-misses."""

import pytest

from models.pack import PackStore
from qc_rules.examples import bases, faults, run
from qc_rules.reference import Reference
from qc_rules.ruleset import RuleSet, national_pack
from qc_rules.schema import Example, Rule

_RULES = RuleSet.load([national_pack()], Reference.load(PackStore()))


@pytest.mark.parametrize("rule", [one.rule for one in _RULES.running], ids=lambda rule: rule.code)
def test_examples_fire_and_near_misses_do_not(rule: Rule) -> None:
    assert list(faults(_RULES, rule)) == []


@pytest.mark.parametrize("base", bases())
def test_base_lists_pass_every_rule(base: str) -> None:
    assert run(_RULES, Example(base=base)) == []
