"""What rules are said to read covers what they do read, and a change of it changes their mark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from models.grouping import GroupResult
from models.wire import decode_payload
from qc_rules.dependencies import ALL_TABLES, TABLES, marks_of, reads_of, settings_of_facts
from qc_rules.examples import _group, build
from qc_rules.facts import Facts, Setting
from qc_rules.reference import Domain, Reference
from qc_rules.ruleset import RuleSet, _finding


class _Reference:
    """A reference that notes which tables are read."""

    def __init__(self, reference: Reference, read: set[str]) -> None:
        self._reference, self._read = reference, read

    def __getattr__(self, name: str) -> Any:
        if name in TABLES:
            self._read.add(TABLES[name])
        return getattr(self._reference, name)


class _Settings(Mapping[str, Setting]):
    """Settings that note which ones are read."""

    def __init__(self, settings: Mapping[str, Setting], read: set[str]) -> None:
        self._settings, self._read = settings, read

    def __getitem__(self, name: str) -> Setting:
        self._read.add(name)
        return self._settings[name]

    def __iter__(self) -> Iterator[str]:
        self._read.update(self._settings)
        return iter(self._settings)

    def __len__(self) -> int:
        return len(self._settings)


class _Facts(Facts):
    """Facts that note whether the group is looked at."""

    looked = False
    kept: GroupResult | None = None

    @property
    def group(self) -> GroupResult | None:
        self.looked = True
        return self.kept

    @group.setter
    def group(self, value: GroupResult | None) -> None:
        self.kept = value


def test_no_rule_reads_more_than_its_code_says(rules: RuleSet) -> None:
    """Every example of every rule, with watched tables, settings and group."""
    watched = 0
    for one in rules.running:
        said = reads_of(one.hits, one.message, one.advice)
        for example in (*one.rule.examples.fires, *one.rule.examples.passes):
            if example.settings:
                continue  # they are baked into the rule anew
            tables: set[str] = set()
            settings: set[str] = set()
            group = None if example.group is None else _group(example.group)
            facts = _Facts(
                decode_payload(build(example)),
                rules.codes,
                _Reference(rules.reference, tables),  # type: ignore[arg-type]
                _Settings(rules.settings, settings),
                group,
            )
            found = [_finding(one, facts, hit) for hit in one.hits(facts)]
            watched += bool(found)
            code = one.rule.code
            assert tables <= said.tables, code
            assert said.all_settings or settings <= said.settings, code
            assert said.group or not facts.looked, code
    assert watched > len(rules.running) / 2


def test_most_rules_stand_on_little(rules: RuleSet) -> None:
    said = {one.rule.code: reads_of(one.hits, one.message, one.advice) for one in rules.running}
    assert said["GRP-001"].group
    assert not said["CMP-001"].group
    assert said["CMP-001"].tables == frozenset()
    assert sum(one.group for one in said.values()) < 40
    assert sum(one.tables == ALL_TABLES for one in said.values()) < 20


def test_the_same_rules_have_the_same_marks(rules: RuleSet) -> None:
    again = rules.with_settings({})
    assert marks_of(again) == marks_of(rules)


def test_a_changed_domain_changes_only_the_marks_of_its_rules(rules: RuleSet) -> None:
    domains = {**rules.reference.domains, "gend": Domain({"1": "男"})}
    changed = RuleSet(rules._loaded.values(), replace(rules.reference, domains=domains), rules.settings)
    before, after = marks_of(rules), marks_of(changed)
    moved = {code for code in before if before[code].fires != after[code].fires}
    assert moved
    assert len(moved) < 40
    assert "CMP-001" not in moved


@pytest.mark.parametrize(("name", "value"), [("newborn_weight_min", 300), ("same_day_stay", 0)])
def test_a_changed_setting_changes_the_marks_of_the_rules_that_read_it(
    rules: RuleSet, name: str, value: int
) -> None:
    before, after = marks_of(rules), marks_of(rules.with_settings({name: value}))
    moved = {code for code in before if before[code].fires != after[code].fires}
    assert 0 < len(moved) < 40


def test_the_facts_follow_from_one_setting(rules: RuleSet) -> None:
    assert settings_of_facts(rules.settings) == {"same_day_stay"}


def test_code_that_hides_what_it_reads_counts_as_reading_everything() -> None:
    def passes_on(facts: Facts) -> object:
        return _helper(facts.reference)

    def any_setting(facts: Facts, name: str) -> object:
        return facts.settings[name]

    found = reads_of(passes_on)
    assert found.tables == frozenset()  # code of the tests is no part of the program
    for function in (passes_on, any_setting):
        function.__module__ = "qc_rules.somewhere"
    assert reads_of(passes_on).tables == ALL_TABLES
    assert reads_of(any_setting).all_settings


def _helper(reference: Reference) -> object:
    return reference
