"""Measures DRG grouping beside a plain evaluator of the same tables and beside the MS-DRG groupers of PyPI.

``python -m benchmarks.grouping [SCHEME]``: one process, one run, CPU time of one thread, best of five.
Ours and the plain evaluator group the same made-up cases of 10 diagnoses and 4 procedures; msdrg and
drgpy (``pip install qingdan[benchmark]``) group cases of the same size in their own codes, ICD-10-CM and
ICD-10-PCS, by other rules: their figures say what such programs cost, not which is better.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from coding.library import load_library
from grouper.cache import load_compiled
from grouper.cases_csv import group_cases_csv
from grouper.drg import DrgScheme, compile_scheme
from grouper.scheme import Scheme
from grouper.walked import group_by_walking
from models.grouping import Case
from models.pack import PackStore

DIAGNOSES = 10
PROCEDURES = 4
CASES = 4_000
SLOW_CASES = 300
"""Cases for what takes long."""
FILE_CASES = 100_000
RUNS = 5


def cases(scheme: Scheme, seed: int = 1) -> list[Case]:
    """Cases whose principal diagnosis and main procedure belong to rules of the same MDC."""
    choice = random.Random(seed)
    sets = {name: sorted(codes) for name, codes in scheme.code_sets.sets.items()}
    by_mdc = {
        name.removeprefix("DI_MDC"): (codes, [other for other in sets if other.startswith(f"OP_{name[6:]}")])
        for name, codes in sets.items()
        if name.startswith("DI_MDC")
    }
    complications = sorted(scheme.code_sets.complications)
    diagnoses = sorted(set().union(*(codes for codes, _ in by_mdc.values())))
    procedures = sets["OP_ALL"]
    found = []
    for _ in range(CASES):
        principals, operations = by_mdc[choice.choice(sorted(by_mdc))]
        main = choice.choice(sets[choice.choice(operations)]) if operations else choice.choice(procedures)
        half = (DIAGNOSES - 1) // 2
        others = choice.sample(diagnoses, DIAGNOSES - 1 - half) + choice.sample(complications, half)
        age = choice.choice((0, 8, 30, 50, 70))
        found.append(
            Case(
                (choice.choice(principals), *others),
                (main, *choice.sample(procedures, PROCEDURES - 1)),
                choice.choice("12"),
                age,
                choice.choice((5, 100)) if age == 0 else None,
                choice.choice((1400, 3200)) if age == 0 else None,
            )
        )
    return found


def rate(work: Callable[[Any], object], items: Sequence[Any]) -> float:
    """Items per second of CPU time, best of several runs."""
    best = float("inf")
    for _ in range(RUNS):
        start = time.process_time()
        for item in items:
            work(item)
        best = min(best, time.process_time() - start)
    return len(items) / best


def file_rate(scheme: DrgScheme, given: list[Case]) -> float:
    """Cases per second of CPU time from CSV to CSV."""
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "cases.csv", Path(folder) / "groups.csv"
        lines = [
            f"{number},{case.sex},{case.age},{_cell(case.age_days)},{_cell(case.birth_weight)},"
            f"{'|'.join(case.diagnoses)},{'|'.join(case.procedures)},"
            for number, case in enumerate(given)
        ]
        head = "case_id,sex,age,age_days,birth_weight,dx,procedures,group"
        path.write_text("\n".join([head, *lines * (FILE_CASES // len(lines))]) + "\n", encoding="utf-8")
        start = time.process_time()
        report = group_cases_csv(scheme, path, out)
        return report.rows / (time.process_time() - start)


def _cell(value: int | None) -> str:
    return "" if value is None else str(value)


def foreign() -> list[tuple[str, float]]:
    """(name, cases per second) of the MS-DRG groupers that are installed, on cases in their own codes."""
    try:
        import msdrg  # noqa: PLC0415 - optional
        from drgpy.msdrg import DRGEngine  # noqa: PLC0415
    except ImportError:
        return []
    engine = DRGEngine()
    choice = random.Random(1)
    principals, procedures = sorted(engine.dxmap), sorted(engine.prmap)
    complications = sorted(engine.ccmap)
    half = (DIAGNOSES - 1) // 2
    given = [
        (
            choice.sample(principals, DIAGNOSES - half) + choice.sample(complications, half),
            choice.sample(procedures, PROCEDURES),
        )
        for _ in range(SLOW_CASES)
    ]
    with msdrg.MsdrgGrouper() as grouper:
        claims = [
            msdrg.create_claim(
                version=431, age=65, sex=0, discharge_status=1, pdx=dx[0], sdx=dx[1:], procedures=px
            )
            for dx, px in given
        ]
        native = rate(grouper.group, claims)
    return [
        ("msdrg (MS-DRG 43.1, compiled Zig)", native),
        ("drgpy (MS-DRG, Python)", rate(lambda one: engine.get_drg(*one), given)),
    ]


def main() -> None:
    """Print the table."""
    store = PackStore()
    pack = store.get(sys.argv[1] if len(sys.argv) > 1 else "chs-drg-2.0")
    library = load_library(store)
    with tempfile.TemporaryDirectory() as folder:
        load_compiled(pack, Path(folder))
        start = time.perf_counter()
        scheme = compile_scheme(pack, library, Path(folder))
        loaded = time.perf_counter() - start
    tables = scheme.scheme
    given = cases(tables)
    prepared = [scheme.prepare(case).case for case in given]
    slow = prepared[:SLOW_CASES]
    differing = sum(scheme.group_code(case) != group_by_walking(tables, case) for case in slow)
    principals, others = scheme.compiled.bits.principal, scheme.compiled.bits.other

    def look_up(case: Any) -> None:
        principals.get(case.principal)
        for code in case.others:
            others.get(code)
        for code in case.other_procedures:
            others.get(code)

    ours = rate(scheme.group_code, prepared)
    rows = [
        ("group a prepared case, compiled", ours),
        ("  floor: one dictionary look-up per code", rate(look_up, prepared)),
        ("prepare and group, with reason and MCC/CC", rate(scheme.group, given)),
        ("CSV to CSV", file_rate(scheme, given)),
        (
            "plain evaluator: formulas as trees over sets",
            rate(lambda one: group_by_walking(tables, one), slow),
        ),
        *foreign(),
    ]
    groups = len({scheme.group_code(case) for case in prepared})
    print(f"{pack.id}: {CASES} cases of {DIAGNOSES} diagnoses and {PROCEDURES} procedures, {groups} groups")
    print(
        f"compiled scheme loaded from disk in {loaded * 1e3:.0f} ms; compiled and plain differ in {differing}"
    )
    for name, per_second in rows:
        ratio = ours / per_second
        print(f"{name:48s} {1e6 / per_second:9.2f} µs {per_second:10.0f} cases/s  {ratio:7.1f} × ours")


if __name__ == "__main__":
    main()
