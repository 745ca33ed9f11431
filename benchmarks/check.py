"""Measures every budget of the program in one run, each step beside its floor.

``python -m benchmarks.check``: the lists of ``benchmarks.rules``, the cases of ``benchmarks.grouping``, the
texts of ``benchmarks.suggestion``, a server as in ``benchmarks.http``. CPU time of one thread, best of several
runs, unless it says otherwise. Budgets are those of docs/architecture.md; what matters is the ratio, because
the floor shares the luck of the machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from api.cli.serve import listen
from api.services.check import Checker, case_of
from benchmarks import grouping, http, suggestion
from benchmarks.rules import clean_payloads, least_microseconds, microseconds, payloads
from coding.names import SYSTEMS
from grouper.cache import load_compiled
from grouper.drg import compile_scheme
from models.pack import PROJECT_ROOT, PackStore
from models.wire import decode
from qc_rules.ruleset import RuleSet

QINGDAN = (sys.executable, "-c", "from api.cli import main; main()")
STARTS = 5


def row(name: str, cost: float, unit: str, budget: float, beside: tuple[str, float] = ("", 0)) -> None:
    """One line: what a step costs, what part of its budget that is, and how many times its floor."""
    floor_name, floor = beside
    share = f"{cost / budget:5.2f} × budget ({budget:g} {unit})" if budget else ""
    ratio = f"{cost / floor:5.1f} × {floor_name} ({floor:.3g} {unit})" if floor else ""
    print(f"{name:40s} {cost:8.3g} {unit:3s} {share:26s} {ratio}", flush=True)


def main() -> None:
    """Print the table."""
    checker = Checker.open(PackStore(site=PROJECT_ROOT / "var" / "packs"))
    contents = payloads(checker.rules.reference)
    size = sum(map(len, contents)) / len(contents)
    scheme = checker.scheme_for(None)
    print(
        f"{len(contents)} lists of {size:.0f} bytes, {len(checker.rules.running)} rules, scheme {scheme.id}"
    )
    one_list(checker, contents)
    print("the same of lists without a mistake:")
    one_list(checker, clean_payloads(checker.rules))
    many_cases(checker)
    start()
    for system in SYSTEMS:
        one = suggestion.measure(system)
        row(f"suggest {system}, p95 of the clock", one.p95, "ms", 15, ("a TF-IDF look-up", one.floor_p95))
    service(contents)


def one_list(checker: Checker, contents: list[bytes]) -> None:
    """The way of one list through the core."""
    lists = [decode(content) for content in contents]
    rules, scheme = checker.rules, checker.scheme_for(None)
    empty = RuleSet([], rules.reference, rules.settings)
    cases = [case_of(rules.facts(one)) for one in lists]
    prepared = [scheme.prepare(case).case for case in cases]
    known = scheme.compiled.bits.other
    reports = [checker.check(one) for one in lists]
    decoded = microseconds(decode, contents)
    bare = microseconds(lambda one: empty.check(empty.facts(one)), lists)
    look_up = microseconds(lambda case: [known.get(code) for code in case.others], prepared)
    row("decode", decoded, "µs", 40, ("json.loads", microseconds(json.loads, contents)))
    every = least_microseconds(lambda one: rules.check(rules.facts(one)), lists)
    row("all rules", every, "µs", 80, ("an empty rule set", bare))
    beside = ("one dictionary look-up per code", look_up)
    row("DRG, prepared case", microseconds(scheme.group_code, prepared), "µs", 10, beside)
    row("DRG with preparation and result", microseconds(scheme.group, cases), "µs", 25, beside)
    whole = least_microseconds(lambda content: msgspec.json.encode(checker.check(decode(content))), contents)
    row("whole check of a batch", whole, "µs", 150, ("decode alone", decoded))
    row("  of which report to JSON", microseconds(msgspec.json.encode, reports), "µs", 0)


def many_cases(checker: Checker) -> None:
    """A compiled scheme from disk, and a file of cases from CSV to CSV."""
    pack = checker.store.get("chs-drg-2.0")
    with tempfile.TemporaryDirectory() as folder:
        load_compiled(pack, Path(folder))
        started = time.perf_counter()
        scheme = compile_scheme(pack, checker.library, Path(folder))
        loaded = time.perf_counter() - started
    given = grouping.cases(scheme.scheme)
    prepared = [scheme.prepare(case).case for case in given]
    row("load a compiled scheme, by the clock", loaded * 1000, "ms", 1000)
    cost = 1e6 / grouping.file_rate(scheme, given)
    floor = microseconds(scheme.group_code, prepared)
    row(f"{pack.id}, a case from CSV to CSV", cost, "µs", 10, ("grouping alone", floor))


def start() -> None:
    """From the start of ``qingdan serve`` to its first answer, and its memory by then; the best of some starts."""
    measured = [one_start() for _ in range(STARTS)]
    interpreter = time.perf_counter()
    subprocess.run([sys.executable, "-c", ""], check=True)
    interpreter = time.perf_counter() - interpreter
    clock, cpu, memory = (min(values) for values in zip(*measured, strict=True))
    row("start of the service, by the clock", clock, "s", 2, ("a bare interpreter", interpreter))
    row("  its CPU", cpu, "s", 0)
    row("memory after the start", memory, "MB", 400)


def one_start() -> tuple[float, float, float]:
    """Seconds by the clock, seconds of CPU, MB."""
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    started = time.perf_counter()
    quiet = {**os.environ, "QINGDAN_LOG_LEVEL": "error"}
    child = subprocess.Popen([*QINGDAN, "serve", "--port", str(port)], env=quiet, stdout=subprocess.DEVNULL)
    try:
        while True:
            try:
                http.client(port)("GET", "/healthz", b"")
                break
            except ConnectionError:
                if child.poll() is not None:
                    raise
                time.sleep(0.005)
        return time.perf_counter() - started, http.cpu_seconds(child.pid), http.memory_mib(child.pid)
    finally:
        child.terminate()
        child.wait(timeout=20)


def service(contents: list[bytes]) -> None:
    """The server's CPU a request, and its latency at a fixed rate."""
    with http.server() as (process, port):
        empty = http.cpu_per_request(process, port, "/empty", contents) * 1e6
        check = http.cpu_per_request(process, port, "/api/v1/check", contents) * 1e6
        row("HTTP check, CPU of the server", check, "µs", 1000, ("an empty endpoint", empty))
        idle, busy = (
            http.latencies(port, path, contents)[int(http.RATE * http.SECONDS * 0.99)] * 1000
            for path in ("/empty", "/api/v1/check")
        )
        row(f"HTTP check, p99 at {http.RATE} requests/s", busy, "ms", 20, ("an empty endpoint", idle))
        row("memory of the server", http.memory_mib(process), "MiB", 400)


if __name__ == "__main__":
    main()
