"""What a text and a name speak of: parts of the body and findings, each with all that is broader."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import ahocorasick
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from coding.suggestion.grams import Float


@dataclass(frozen=True)
class Concepts:
    """A table of words, each with the next broader ones.

    ``above[a, b]``: b is a itself or broader than it. A word without anything broader that nothing is
    below says nothing: it only keeps the words within it from being found (手术 is no 手).
    """

    words: tuple[str, ...]
    above: sparse.csr_matrix
    finder: ahocorasick.Automaton
    narrower: Mapping[str, Sequence[str]]
    """What stands right below each word."""

    @classmethod
    def build(cls, pairs: Iterable[tuple[str, str]]) -> Concepts:
        """From (word, next broader word or nothing). Raises ValueError where words are above themselves."""
        broader: dict[str, list[str]] = {}
        for word, next_broader in pairs:
            broader.setdefault(word, []).extend([next_broader] if next_broader not in ("", word) else [])
        telling = {word for word, others in broader.items() if others}
        telling.update(other for others in broader.values() for other in others)
        words = {word: place for place, word in enumerate(sorted(telling))}
        reached: dict[str, frozenset[str]] = {}

        def climb(word: str, below: tuple[str, ...]) -> frozenset[str]:
            if word in below:
                raise ValueError(word)
            if word not in reached:
                steps = [climb(other, (*below, word)) for other in broader.get(word, ())]
                reached[word] = frozenset({word}).union(*steps)
            return reached[word]

        entries = [(words[word], words[other]) for word in words for other in sorted(climb(word, ()))]
        finder = ahocorasick.Automaton()
        for word in {*broader, *telling}:
            finder.add_word(word, words.get(word, -1))
        if len(finder):
            finder.make_automaton()
        narrower: dict[str, list[str]] = {}
        for word in sorted(broader):
            for other in broader[word]:
                narrower.setdefault(other, []).append(word)
        return cls(tuple(words), _marks(entries, len(words), len(words)), finder, narrower)

    def spans(self, text: str) -> list[tuple[int, int, str]]:
        """(start, end, word) of every word in ``text``, the longest that starts first winning."""
        if not self.words:
            return []
        return [
            (end + 1 - len(word), end + 1, word)
            for end, place in self.finder.iter_long(text)
            if place >= 0 and (word := self.words[place])
        ]

    def words_in(self, texts: Sequence[str]) -> list[int]:
        """The place of every word that one of ``texts`` holds, ascending."""
        if not self.words:
            return []
        found = {word for text in texts for _, word in self.finder.iter_long(text)}
        return sorted(found - {-1})

    def said(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """1 where a text holds a word, the longest that starts first winning; shape (texts, words)."""
        if not self.words:
            return _marks([], len(texts), 0)
        # One long text is many times quicker than many short ones; no word holds a line end.
        found = [(end, word) for end, word in self.finder.iter_long("\n".join(texts)) if word >= 0]
        if not found:
            return _marks([], len(texts), len(self.words))
        ends = np.cumsum([len(text) + 1 for text in texts])
        place = np.array(found, dtype=np.int64)
        rows = np.searchsorted(ends, place[:, 0], side="right")
        return _marks(np.column_stack([rows, place[:, 1]]), len(texts), len(self.words))


@dataclass(frozen=True)
class NamedConcepts:
    """What each of many names speaks of, ready to be compared with a text.

    ``said`` and ``held`` (with all that is broader): shape (names, words). ``weight``: a word that few
    names hold tells more.
    """

    concepts: Concepts
    said: sparse.csr_matrix
    held: sparse.csr_matrix
    weight: Float
    held_weight: Float
    """Of each name, the weight of all it holds."""

    @classmethod
    def build(cls, concepts: Concepts, names: Sequence[str]) -> NamedConcepts:
        """Find the words of ``concepts`` in ``names``."""
        said = concepts.said(names)
        held = _at_most_one(said @ concepts.above)
        weight = np.log((1 + len(names)) / (1 + np.asarray(held.sum(axis=0)).ravel())).astype(np.float32)
        return cls(concepts, said, held, weight, held @ weight)

    def alike(self, texts: Sequence[str]) -> Float:
        """How much every name and the forms of one text speak of the same: the weighted share of all
        that either holds."""
        reached = np.zeros(len(self.weight), dtype=np.float32)
        reached[self.concepts.above[self.concepts.words_in(texts)].indices] = 1
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
        above = np.asarray(self.concepts.above[words].toarray().T, dtype=np.float32)
        reached = np.minimum(above @ spoken, 1)
        own = np.zeros_like(reached)
        own[words] = spoken
        finer = np.minimum(self.concepts.above @ own, 1) * (1 - reached)
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


def _marks(
    entries: NDArray[np.int64] | Sequence[tuple[int, int]], rows: int, columns: int
) -> sparse.csr_matrix:
    """1 at every (row, column) of ``entries``."""
    place = np.asarray(entries, dtype=np.int64).reshape(-1, 2)
    ones = np.ones(len(place), dtype=np.float32)
    return _at_most_one(sparse.csr_matrix((ones, (place[:, 0], place[:, 1])), shape=(rows, columns)))


def _at_most_one(table: sparse.csr_matrix) -> sparse.csr_matrix:
    table = sparse.csr_matrix(table)
    table.data[:] = 1
    return table
