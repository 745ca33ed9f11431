"""Measures one list on its whole way, each step beside its floor in the same run.

``python -m benchmarks.check``: the lists of ``benchmarks.rules``. CPU time of one thread, best of
several runs; budgets are those of docs/architecture.md.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import NamedTuple

import msgspec

from api.services.check import Checker, case_of
from benchmarks.rules import microseconds, payloads
from models.pack import PROJECT_ROOT, PackStore
from models.wire import decode
from qc_rules.ruleset import RuleSet

START = """
import resource, time
started = time.perf_counter()
from api.services.check import Checker
from models.pack import PackStore
from pathlib import Path
import web.app
Checker.open(PackStore(site=Path("var/packs")))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(time.perf_counter() - started, peak)
"""


class Step(NamedTuple):
    """One step: what it costs, what its floor costs (µs), and its budget (µs)."""

    name: str
    cost: float
    floor_name: str
    floor: float
    budget: float


def main() -> None:
    """Print the table."""
    checker = Checker.open(PackStore(site=PROJECT_ROOT / "var" / "packs"))
    contents = payloads(checker.rules.reference)
    lists = [decode(content) for content in contents]
    rules, scheme = checker.rules, checker.scheme_for(None)
    empty = RuleSet([], rules.reference, rules.settings)
    prepared = [scheme.prepare(case_of(rules.facts(one))).case for one in lists]
    known = scheme.compiled.bits.other
    reports = [checker.check(one) for one in lists]
    steps = [
        Step("decode", microseconds(decode, contents), "json.loads", microseconds(json.loads, contents), 40),
        Step(
            "all rules",
            microseconds(lambda one: rules.check(rules.facts(one)), lists),
            "an empty rule set",
            microseconds(lambda one: empty.check(empty.facts(one)), lists),
            80,
        ),
        Step(
            "DRG, prepared case",
            microseconds(scheme.group_code, prepared),
            "one dictionary look-up per code",
            microseconds(lambda case: [known.get(code) for code in case.others], prepared),
            10,
        ),
        Step(
            "DRG with preparation and reason",
            microseconds(lambda one: scheme.group(case_of(rules.facts(one))), lists),
            "preparation alone",
            microseconds(lambda one: scheme.prepare(case_of(rules.facts(one))), lists),
            0,
        ),
        Step(
            "whole check of a batch",
            microseconds(lambda content: msgspec.json.encode(checker.check(decode(content))), contents),
            "decode alone",
            microseconds(decode, contents),
            150,
        ),
        Step("report to JSON", microseconds(msgspec.json.encode, reports), "", 0, 0),
    ]
    size = sum(map(len, contents)) / len(contents)
    print(f"{len(contents)} lists of {size:.0f} bytes, {len(rules.running)} rules, scheme {scheme.id}")
    for step in steps:
        budget = f"budget {step.budget:.0f}" if step.budget else ""
        ratio = f"{step.cost / step.floor:5.1f} × {step.floor_name} ({step.floor:.1f})" if step.floor else ""
        print(f"{step.name:34s} {step.cost:7.1f} µs  {budget:12s} {ratio}")
    started = time.perf_counter()
    answer = subprocess.run(
        [sys.executable, "-c", START], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    whole = time.perf_counter() - started
    print(
        f"start of the service: {float(answer[0]):.2f} s after the interpreter ({whole:.2f} s with it), "
        f"{float(answer[1]):.0f} MB; budget 2 s, 400 MB"
    )


if __name__ == "__main__":
    main()
