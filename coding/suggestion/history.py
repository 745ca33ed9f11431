"""Past codings of this hospital: the nearest ones to a text, used the moment they are accepted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from coding.suggestion.grams import Float
from coding.suggestion.index import NameIndex

NEAREST = 30


@dataclass(frozen=True, slots=True)
class Recall:
    """What past codings say about one statement: ``names`` by falling weight, and each feature."""

    names: NDArray[np.int64]
    best: Mapping[int, float]
    total: Mapping[int, float]
    exact: Mapping[int, float]
    by_code: Mapping[int, float]
    by_category: Mapping[str, float]
    count: NDArray[np.float32]
    index: NameIndex = field(repr=False)

    def features(self, candidates: NDArray[np.int64]) -> dict[str, Float]:
        """One column a feature, rows following ``candidates``."""
        owners = self.index.code_of[candidates]
        codes = self.index.table.codes
        listed = candidates.tolist()
        best = np.array([self.best.get(c, 0.0) for c in listed], dtype=np.float32)
        return {
            "past_best": best,
            "past_sum": np.array([self.total.get(c, 0.0) for c in listed], dtype=np.float32),
            "past_code": np.array([self.by_code.get(int(o), 0.0) for o in owners], dtype=np.float32),
            "past_category": np.array(
                [self.by_category.get(codes[o][:3], 0.0) for o in owners], dtype=np.float32
            ),
            "past_count": np.log1p(self.count[candidates]),
            "past_share": best / max(max(self.best.values(), default=0.0), 1e-6),
            "past_exact": np.array([self.exact.get(c, 0.0) for c in listed], dtype=np.float32),
        }


class PastCodings:
    """Texts that were coded here and the names chosen for them."""

    def __init__(
        self,
        index: NameIndex,
        texts: Sequence[str],
        names: Sequence[Sequence[int]],
        origins: Sequence[int] | None = None,
    ) -> None:
        """``texts`` in compared form (expanded), ``names``: rows of the index chosen for each.

        ``origins``: the coding that each text is, or is a part of; by default every text is its own.
        """
        self.index = index
        self._texts = list(texts)
        self._names = [list(chosen) for chosen in names]
        self._origins = np.array(range(len(self._texts)) if origins is None else origins, dtype=np.int64)
        self._columns = sparse.csr_matrix(index.gram_space.vectors(self._texts).T) if texts else None
        self._count = np.zeros(len(index.names), dtype=np.float32)
        for place, chosen in enumerate(self._names):
            if place == 0 or self._origins[place] != self._origins[place - 1]:
                for name in chosen:
                    self._count[name] += 1

    def __len__(self) -> int:
        return len(self._texts)

    def count(self, name: int) -> int:
        """How often a name was chosen."""
        return int(self._count[name])

    def add(self, text: str, names: Sequence[int]) -> None:
        """Remember one more coding at once."""
        column = sparse.csr_matrix(self.index.gram_space.vectors([text]).T)
        self._columns = (
            column if self._columns is None else sparse.csr_matrix(sparse.hstack([self._columns, column]))
        )
        self._texts.append(text)
        self._names.append(list(names))
        self._origins = np.append(self._origins, self._origins.max(initial=-1) + 1)
        for name in names:
            self._count[name] += 1

    def recall(self, units: Sequence[str], left_out: int = -1) -> Recall:
        """What was coded for the texts nearest to ``units`` (whole first); ``left_out`` is not seen."""
        best: dict[int, float] = {}
        total: dict[int, float] = {}
        exact: dict[int, float] = {}
        by_code: dict[int, float] = {}
        by_category: dict[str, float] = {}
        codes = self.index.table.codes
        count = self._count
        if self._columns is not None:
            near = np.asarray(
                (self.index.gram_space.vectors(list(units)) @ self._columns).todense(), dtype=np.float32
            )
            if left_out >= 0:
                mine = np.flatnonzero(self._origins == left_out)
                near[:, mine] = 0
                count = count.copy()
                if len(mine):
                    count[self._names[int(mine[0])]] -= 1
            nearest = near.max(axis=0)
            size = min(NEAREST, len(nearest))
            chosen = np.argpartition(-nearest, size - 1)[:size]
            for past in chosen[np.lexsort((chosen, -nearest[chosen]))].tolist():
                weight = float(nearest[past])
                if weight < 0.15:
                    continue
                same = self._texts[past] in units
                # The n-th diagnosis of a long text is weaker evidence than a text of its own.
                for name in self._names[past]:
                    if weight > best.get(name, 0.0):
                        best[name] = weight
                    total[name] = total.get(name, 0.0) + weight**3
                    if same:
                        exact[name] = exact.get(name, 0.0) + 1
                    owner = int(self.index.code_of[name])
                    if weight > by_code.get(owner, 0.0):
                        by_code[owner] = weight
                    category = codes[owner][:3]
                    if weight > by_category.get(category, 0.0):
                        by_category[category] = weight
        ordered = sorted(total, key=lambda name: (-total[name], name))
        return Recall(
            np.array(ordered, dtype=np.int64), best, total, exact, by_code, by_category, count, self.index
        )
