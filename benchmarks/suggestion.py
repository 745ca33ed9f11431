"""How fast suggestion is, beside a bare TF-IDF look-up, and how it learns from more and more history.

Run from the repository root: ``python -m benchmarks.suggestion`` prints loading, memory and the time of one
mention; texts are made by the program's own variations, so that nothing of a hospital is needed.
``--history PAST.jsonl --gold GOLD.jsonl --kind diagnosis`` prints the learning curve: trained on the first
750, 1,500, 3,000 and 6,000 codings, measured on other texts, with intervals, the time of a text and both
baselines.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from coding.evaluate import (
    Prediction,
    baseline_fuzzy,
    baseline_tfidf,
    calibration_error,
    predict,
    read_gold,
    scores,
)
from coding.library import System
from coding.names import SYSTEMS
from coding.suggestion.assembly import Foundation, ModelStore, open_suggester, past_of, read_codings
from coding.suggestion.suggest import Suggester
from coding.suggestion.train import remember, train_on_history
from coding.suggestion.variations import Variations
from models.pack import PackStore

TEXTS = 400
WARM_UP = 20
NOWHERE = Path("/nonexistent")


class Measured(NamedTuple):
    """One system: seconds to load, MB so far, ms a text (median and p95), and ms of the floor (both)."""

    load: float
    memory: float
    p50: float
    p95: float
    floor_p50: float
    floor_p95: float


def measure(system: System) -> Measured:
    """Suggest for made-up texts of one system, beside a bare TF-IDF look-up."""
    started = time.perf_counter()
    suggester = open_suggester(PackStore(), system, ModelStore(NOWHERE))
    suggester.suggest("高血压")
    loaded = time.perf_counter() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    texts = [example.text for example in Variations(suggester.index, 99).make(TEXTS + WARM_UP)]
    taken, floor = [], []
    for place, text in enumerate(texts):
        started = time.perf_counter()
        suggester.suggest(text)
        middle = time.perf_counter()
        baseline_tfidf(suggester.index, text)
        ended = time.perf_counter()
        if place >= WARM_UP:
            taken.append(middle - started)
            floor.append(ended - middle)
    p50, p95 = (float(np.percentile(taken, share)) * 1000 for share in (50, 95))
    floor_p50, floor_p95 = (float(np.percentile(floor, share)) * 1000 for share in (50, 95))
    return Measured(loaded, memory, p50, p95, floor_p50, floor_p95)


SIZES = (750, 1500, 3000, 6000)


def curve(system: System, history: Path, gold: Path, sizes: Sequence[int] = SIZES) -> None:
    """Print name acc1 and hit5 with intervals after each size of history, and of both baselines."""
    foundation = Foundation.load(PackStore(), system)
    codings, golds = read_codings(history), read_gold(gold)

    def show(label: str, given: list[Prediction], *, calibrated: bool = True) -> None:
        figures = "; ".join(f"{one.level} {one.acc1} / {one.hit5}" for one in scores(system, golds, given))
        error = f"; calibration error {calibration_error(golds, given):.3f}" if calibrated else ""
        print(f"{label}: {figures}{error}", flush=True)

    plain = foundation.index()
    for name, method in (("TF-IDF", baseline_tfidf), ("rapidfuzz", baseline_fuzzy)):
        show(name, [method(plain, one.text) for one in golds], calibrated=False)
    for size in sorted({min(size, len(codings)) for size in sizes}):
        index = foundation.index(codings[:size])
        past = past_of(index, codings[:size])
        started = time.process_time()
        model = train_on_history(index, past)
        spent = time.process_time() - started
        suggester = Suggester(index, model, foundation.limits, remember(index, past))
        given, taken = [], []
        for one in golds:
            started = time.perf_counter()
            given.append(predict(suggester, one.text))
            taken.append(time.perf_counter() - started)
        p95 = float(np.percentile(taken[WARM_UP:], 95)) * 1000
        show(f"{size} codings ({spent:.0f} s CPU, {p95:.1f} ms p95)", given)


def main() -> None:
    """Print one line a system (load, memory, p50 and p95 a text, ratio to the floor), or the curve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--history", type=Path)
    parser.add_argument("--gold", type=Path)
    parser.add_argument("--kind", choices=("diagnosis", "procedure"), default="diagnosis")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    given = parser.parse_args()
    if given.history and given.gold:
        curve("icd10" if given.kind == "diagnosis" else "icd9cm3", given.history, given.gold, given.sizes)
        return
    for system in SYSTEMS:
        one = measure(system)
        print(
            f"{system}: load {one.load:.2f} s, {one.memory:.0f} MB, {one.p50:.1f} ms median, "
            f"{one.p95:.1f} ms p95, {one.p50 / one.floor_p50:.1f} times a TF-IDF look-up"
        )


if __name__ == "__main__":
    main()
