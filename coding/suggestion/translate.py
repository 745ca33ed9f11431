"""Learning which characters of a text stand for which characters of a name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from scipy import sparse

from coding.suggestion.index import NameIndex
from coding.suggestion.match import Translations

MINIMUM_PAIRS = 1.0
SMOOTHING = 2.0


def learn_translations(index: NameIndex, pairs: Iterable[tuple[str, str]]) -> Translations:
    """From (text, name) pairs of one meaning: what only one side has stands for what only the other has.

    A pair gives each of its unmatched combinations an equal share of one count; a share of the
    character's own occurrences is the strength, between 0 and 1.
    """
    place = {chr(int(key)): column for column, key in enumerate(index.letter_keys)}
    weight: dict[tuple[int, int], float] = defaultdict(float)
    seen: dict[int, float] = defaultdict(float)
    for text, name in pairs:
        there, here = set(text), set(name)
        for character in there:
            if character in place:
                seen[place[character]] += 1
        left = [place[c] for c in there - here if c in place]
        right = [place[c] for c in here - there if c in place]
        if not left or not right or len(left) * len(right) > 36:
            continue
        share = 1 / (len(left) * len(right)) ** 0.5
        for a in left:
            for b in right:
                weight[a, b] += share
    kept = sorted((a, b, w) for (a, b), w in weight.items() if w >= MINIMUM_PAIRS)
    size = len(index.letter_keys)
    if not kept:
        return Translations.none(index)
    rows, columns, _ = zip(*kept, strict=True)
    strength = np.array([w / (seen[a] + SMOOTHING) for a, _, w in kept], dtype=np.float32)
    strong = strength > 0.03
    return Translations(
        sparse.csr_matrix(
            (strength[strong], (np.array(rows)[strong], np.array(columns)[strong])), shape=(size, size)
        )
    )
