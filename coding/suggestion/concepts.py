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
        return self._shared(self.held, self.held_weight, self._reached(self._said_in(texts)))

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
        above = self.concepts.above
        said, held, held_weight = self.said[names], self.held[names], self.held_weight[names]
        count = np.asarray(said.sum(axis=1)).ravel()
        found = {
            key: np.zeros(len(names), dtype=np.float32)
            for key in ("alike", "whole_alike", "name_said", "name_finer", "text_named", "text_finer", "more")
        }
        for each in sorted({0, *unit.tolist()}):
            words = self._said_in(texts[each])
            reached = self._reached(words)
            alike = self._shared(held, held_weight, reached)
            if each == 0:
                found["whole_alike"] = alike
            rows = np.flatnonzero(unit == each)
            if not len(rows):
                continue
            found["alike"][rows] = alike[rows]
            own = np.zeros_like(reached)
            own[words] = 1
            finer = (above @ own > 0) * (1 - reached)
            for key, marks in (("name_said", reached), ("name_finer", finer)):
                share = (said @ marks) / np.maximum(count, 1)
                found[key][rows] = np.where(count > 0, share, -1)[rows]
            for key, table in (("text_named", said @ above[words].T), ("text_finer", held[:, words])):
                share = (table > 0).mean(axis=1) if len(words) else np.full(len(names), -1.0)
                found[key][rows] = np.asarray(share).ravel()[rows]
            found["more"][rows] = count[rows] - len(words)
        return found

    def _said_in(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Every word that one of ``texts`` holds."""
        return np.unique(self.concepts.said(texts).indices).astype(np.int64)

    def _reached(self, words: NDArray[np.int64]) -> Float:
        """1 for ``words`` and all that is broader."""
        found = np.zeros(len(self.weight), dtype=np.float32)
        found[self.concepts.above[words].indices] = 1
        return found

    def _shared(self, held: sparse.csr_matrix, held_weight: Float, reached: Float) -> Float:
        """The weight of what rows of ``held`` and ``reached`` share, of all that either has."""
        shared = held @ (reached * self.weight)
        either = held_weight + float(reached @ self.weight) - shared
        return np.asarray(shared / np.maximum(either, 1e-6), dtype=np.float32)


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
