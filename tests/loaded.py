"""Packs read once for all tests of a process that want them for what they do, not for how they are read."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from api.demo.case_mix import CaseMix, load_case_mix
from coding.library import CodeTable, load_table
from grouper.cache import load_compiled
from grouper.compiled import CompiledScheme
from models.pack import Pack, PackRef, PackStore
from qc_rules.dependencies import RuleMark, marks_of
from qc_rules.packs import RULES_FOLDER, LoadedRule, scan_pack
from qc_rules.reference import KINDS, Reference
from qc_rules.ruleset import RuleSet

Kept = TypeVar("Kept")
MOST_KEPT = 24
"""Of rule sets, schemes and tables together: a rule set with its tables takes some tens of megabytes."""
_KEPT: OrderedDict[Hashable, tuple[object, Any]] = OrderedDict()
_load_reference = Reference.load
_load_rules = RuleSet.load


@cache
def case_mix() -> CaseMix:
    """The demo's mix of cases, which takes a second to read."""
    return load_case_mix(PackStore())


def _once(key: Hashable, make: Callable[[], Kept], source: object = None) -> Kept:
    """What ``make`` gave the first time; ``source`` lives as long, so that its id in the key stays its own."""
    if key not in _KEPT:
        _KEPT[key] = source, make()
        if len(_KEPT) > MOST_KEPT:
            _KEPT.popitem(last=False)
    _KEPT.move_to_end(key)
    return cast(Kept, _KEPT[key][1])


def _mark(pack: Pack) -> tuple[Path, str]:
    """A pack of tables: its manifest holds the hash of every one."""
    return pack.folder, pack.sha256


def _table(pack: Pack) -> CodeTable:
    return _once(("table", _mark(pack)), lambda: load_table(pack))


def _reference(store: PackStore, region: str = "", on: date | None = None) -> Reference:
    marks = tuple(_mark(store.pack_for(kind, region, on)) for kind in KINDS)
    return _once(("reference", marks), lambda: _load_reference(store, region, on))


def _compiled(pack: Pack, folder: Path | None = None) -> CompiledScheme:
    return _once(("scheme", _mark(pack)), lambda: load_compiled(pack, folder))


def _scan_pack(pack: Pack, loaded: dict[str, LoadedRule]) -> tuple[PackRef, list[str]]:
    if pack.folder != RULES_FOLDER or loaded:
        return scan_pack(pack, loaded)

    def scan() -> tuple[PackRef, list[str], dict[str, LoadedRule]]:
        rules: dict[str, LoadedRule] = {}
        return *scan_pack(pack, rules), rules

    ref, faults, rules = _once("national rules", scan)
    loaded.update(rules)
    return ref, list(faults)


def _rules(packs: Sequence[Pack], reference: Reference) -> RuleSet:
    if [pack.folder for pack in packs] != [RULES_FOLDER]:
        return _load_rules(packs, reference)  # a hospital's rule files change behind their manifest
    return _once(("rules", id(reference)), lambda: _load_rules(packs, reference), reference)


def _marks(rules: RuleSet) -> dict[str, RuleMark]:
    return _once(("marks", id(rules)), lambda: marks_of(rules), rules)


@pytest.fixture
def loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkers share what they read from the same packs."""
    monkeypatch.setattr("coding.library.load_table", _table)
    for module in ("qc_rules.packs", "qc_rules.lint", "api.services.changes"):
        monkeypatch.setattr(f"{module}.scan_pack", _scan_pack)
    monkeypatch.setattr("grouper.drg.load_compiled", _compiled)
    monkeypatch.setattr("api.services.changes.marks_of", _marks)
    monkeypatch.setattr(Reference, "load", _reference)
    monkeypatch.setattr(RuleSet, "load", _rules)
