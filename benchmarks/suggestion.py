"""How fast suggestion is: loading, memory, and the time of one mention beside a bare TF-IDF look-up.

Run from the repository root: ``python -m benchmarks.suggestion``. Texts are made by the program's own
variations, so that nothing of a hospital is needed.
"""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from coding.evaluate import baseline_tfidf
from coding.library import System
from coding.names import SYSTEMS
from coding.suggestion.assembly import ModelStore, open_suggester
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


def main() -> None:
    """Print one line a system: load time, memory so far, p50 and p95 a text, ratio to the floor."""
    for system in SYSTEMS:
        one = measure(system)
        print(
            f"{system}: load {one.load:.2f} s, {one.memory:.0f} MB, {one.p50:.1f} ms median, "
            f"{one.p95:.1f} ms p95, {one.p50 / one.floor_p50:.1f} times a TF-IDF look-up"
        )


if __name__ == "__main__":
    main()
