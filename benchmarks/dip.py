"""Measures DIP grouping, scoring and explaining beside one dictionary look-up per code, in one run.

``python -m benchmarks.dip``: CPU time of one thread, best of five, over a made-up catalogue of national
size and cases of 10 diagnoses and 4 procedures, half of which belong to a group of the catalogue.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from coding.library import CodeLibrary, load_library
from grouper.dip.catalogue import Catalogue, DipGroup, load_catalogue
from grouper.dip.engine import DipEngine
from grouper.dip.explain import explain
from grouper.dip.expression import parse
from models.grouping import Case
from models.pack import PackStore

GROUPS = 10_000
CASES = 4_000
SLOW_CASES = 100
DIAGNOSES = 10
PROCEDURES = 4
RUNS = 5


def catalogue(library: CodeLibrary, national: Catalogue) -> Catalogue:
    """The national rules and ``GROUPS`` base groups over the whole code books."""
    choice = random.Random(1)
    diagnoses, procedures = sorted(library.icd10.subcategories), sorted(library.icd9cm3.codes)
    groups = []
    for number in range(GROUPS):
        diagnosis = choice.choice(diagnoses)
        main = parse("|".join(choice.sample(procedures, choice.choice((0, 1, 2, 3)))))
        related = parse("|".join(choice.sample(procedures, 2))) if main and choice.random() < 0.2 else None
        rule = "main" if main else "none"
        groups.append(
            DipGroup(
                f"G{number}", "base", "JC", number, diagnosis, (diagnosis,), False, (), rule, main, related
            )
        )
    return Catalogue((*national.groups, *groups))


def cases(library: CodeLibrary, found: Catalogue) -> list[Case]:
    """Cases of which every second one has the diagnosis and a main procedure of one group."""
    choice = random.Random(2)
    base = [group for group in found.groups if group.layer == "base"]
    diagnoses, procedures = list(library.icd10.codes), list(library.icd9cm3.codes)
    made = []
    for number in range(CASES):
        group = choice.choice(base)
        principal, main = choice.choice(diagnoses), choice.choice(procedures)
        if number % 2:
            principal = next(iter(library.starting_with(group.diagnoses[0]))).code
            main = min(group.main.codes) if group.main else main
        others = choice.sample(diagnoses, DIAGNOSES - 1)
        made.append(Case((principal, *others), (main, *choice.sample(procedures, PROCEDURES - 1)), "1", 50))
    return made


def best(work: Callable[[], object], count: int) -> float:
    """Microseconds a case, the best of ``RUNS``."""
    times = []
    for _ in range(RUNS):
        started = time.thread_time()
        work()
        times.append(time.thread_time() - started)
    return min(times) / count * 1e6


def main() -> None:
    """Print the figures and their ratios to the floor."""
    store = PackStore()
    library = load_library(store)
    found = catalogue(library, load_catalogue(store.get("dip-national")))
    started = time.thread_time()
    engine = DipEngine(found, library)
    print(f"catalogue of {len(found.groups)} groups compiled in {time.thread_time() - started:.2f} s")
    made = cases(library, found)
    facts = [engine.prepare(case)[0] for case in made]
    grouped = sum(engine.choose(fact, None)[1] == "grouped" for fact in facts)
    print(f"{CASES} cases of {DIAGNOSES} diagnoses and {PROCEDURES} procedures, {grouped} grouped")
    icd10, icd9 = library.icd10.codes, library.icd9cm3.codes

    def floor() -> None:
        for case in made:
            for code in case.diagnoses:
                icd10.get(code)
            for code in case.procedures:
                icd9.get(code)

    figures = {
        "one look-up per code": best(floor, CASES),
        "group a prepared case": best(lambda: [engine.choose(fact, None) for fact in facts], CASES),
        "prepare": best(lambda: [engine.prepare(case) for case in made], CASES),
        "prepare and group, with the answer": best(lambda: [engine.group(case) for case in made], CASES),
        "explain": best(lambda: [explain(engine, case) for case in made[:SLOW_CASES]], SLOW_CASES),
    }
    base = figures["one look-up per code"]
    for name, figure in figures.items():
        print(f"{name:36} {figure:9.1f} µs  {figure / base:8.1f} ×  {1e6 / figure:12,.0f} cases/s")


if __name__ == "__main__":
    main()
