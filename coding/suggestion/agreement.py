"""What names speak of, and how they agree with a text: parts of the body and findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from coding.suggestion.concepts import Concepts
from coding.suggestion.grams import Float


@dataclass(frozen=True)
class NamedConcepts:
    """What each of many names speaks of, ready to be compared with a text.

    ``above[a, b]``: word b is a itself or broader than it. ``said`` and ``held`` (with all that is
    broader): shape (names, words). ``weight``: a word that few names hold tells more.
    """

    concepts: Concepts
    above: sparse.csr_matrix
    said: sparse.csr_matrix
    held: sparse.csr_matrix
    weight: Float
    held_weight: Float
    """Of each name, the weight of all it holds."""

    @classmethod
    def build(cls, concepts: Concepts, names: Sequence[str]) -> NamedConcepts:
        """Find the words of ``concepts`` in ``names``."""
        size = len(concepts.words)
        starts = np.repeat(np.arange(size), [len(reached) for reached in concepts.above])
        above = _marks(starts, np.fromiter(chain(*concepts.above), dtype=np.int64), (size, size))
        # One long text is many times quicker than many short ones; no word holds a line end.
        found = np.array(concepts.matches("\n".join(names)), dtype=np.int64).reshape(-1, 2)
        ends = np.cumsum([len(name) + 1 for name in names])
        said = _marks(np.searchsorted(ends, found[:, 0], side="right"), found[:, 1], (len(names), size))
        held = _at_most_one(said @ above)
        weight = np.log((1 + len(names)) / (1 + np.asarray(held.sum(axis=0)).ravel())).astype(np.float32)
        return cls(concepts, above, said, held, weight, held @ weight)

    def alike(self, texts: Sequence[str]) -> Float:
        """How much every name and the forms of one text speak of the same: the weighted share of all
        that either holds."""
        reached = np.zeros(len(self.weight), dtype=np.float32)
        reached[self.above[self.concepts.words_in(texts)].indices] = 1
        return self._alike(self.held, self.held_weight, reached)

    def compare(
        self, names: NDArray[np.int64], unit: NDArray[np.int64], texts: Sequence[Sequence[str]]
    ) -> dict[str, Float]:
        """How ``names`` agree with their units, one number a name and feature.

        ``unit``: the unit each name is compared with; ``texts``: the forms of each unit, the whole first.
        ``alike`` and ``whole_alike``: as ``alike``, of a name and its unit and of a name and the whole.
        ``name_said``: the share of the name's words that the unit says, as they are or more finely;
        ``name_finer``: that it says more broadly; ``text_named``, ``text_finer``: the same of the unit's
        words; all four -1 where there are no words. ``more``: how many words the name has more than the
        unit.
        """
        row = np.arange(len(names))
        said, held, held_weight = self.said[names], self.held[names], self.held_weight[names]
        count = np.asarray(said.sum(axis=1)).ravel()
        of_units = [self.concepts.words_in(forms) for forms in texts]
        words = np.array(sorted({word for found in of_units for word in found}), dtype=np.int64)
        spoken = np.zeros((len(words), len(texts)), dtype=np.float32)
        for place, found in enumerate(of_units):
            spoken[np.searchsorted(words, found), place] = 1
        above = np.asarray(self.above[words].toarray().T, dtype=np.float32)
        reached = np.minimum(above @ spoken, 1)
        own = np.zeros_like(reached)
        own[words] = spoken
        finer = np.minimum(self.above @ own, 1) * (1 - reached)
        alike = self._alike(held, held_weight[:, None], reached)

        def share(of_names: Float, of_all: Float) -> Float:
            found = np.where(of_all > 0, of_names / np.maximum(of_all, 1), -1)
            return np.asarray(found, dtype=np.float32)

        units = spoken.sum(axis=0)
        return {
            "alike": alike[row, unit],
            "whole_alike": alike[:, 0],
            "name_said": share((said @ reached)[row, unit], count),
            "name_finer": share((said @ finer)[row, unit], count),
            "text_named": share((np.minimum(said @ above, 1) @ spoken)[row, unit], units[unit]),
            "text_finer": share((held[:, words] @ spoken)[row, unit], units[unit]),
            "more": count - units[unit],
        }

    def _alike(self, held: sparse.csr_matrix, held_weight: Float, reached: Float) -> Float:
        """The weight of what rows of ``held`` and columns of ``reached`` share, of all that either has."""
        weighted = (self.weight * reached.T).T
        shared = held @ weighted
        return np.asarray(shared / np.maximum(held_weight + weighted.sum(axis=0) - shared, 1e-6))


def _marks(rows: NDArray[np.int64], columns: NDArray[np.int64], shape: tuple[int, int]) -> sparse.csr_matrix:
    """1 at every (row, column)."""
    ones = np.ones(len(rows), dtype=np.float32)
    return _at_most_one(sparse.csr_matrix((ones, (rows, columns)), shape=shape))


def _at_most_one(table: sparse.csr_matrix) -> sparse.csr_matrix:
    table = sparse.csr_matrix(table)
    table.data[:] = 1
    return table
