"""Learning which characters of a text stand for which characters of a name, and the other way round."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from coding.suggestion.grams import Float, gram_keys
from coding.suggestion.index import NameIndex

ROUNDS = 6
"""Rounds of expectation and maximisation; the strengths hardly move after them."""
LEAST_EXPECTED = 1.2
"""Expected number of pairs in which one must have stood for the other."""
LEAST_STRENGTH = 0.04
MOST_PAIRED = 600
"""Pairs with more combinations than this are too long to say what stands for what."""
SMOOTHING = 1.5
TO, BACK, FREE_NAME, FREE_TEXT = "to", "back", "name", "text"

Row = tuple[str, str, str, float]
"""Kind (``to``, ``back``, ``name``, ``text``), what stands for it, the character, strength."""


@dataclass(frozen=True, slots=True)
class Translations:
    """How strongly what a text says stands for a character of a name, in the vocabulary of one index.

    ``keys``: ascending keys of the texts' characters and pairs of characters. ``to[i, letter]``: how
    often key i of a text stands for that letter of the name. ``back[i, gram]``: how often that gram of
    a name stands for character i of the text. ``free``, ``free_text``: how often a letter of a name has
    nothing in the text, and a character (by ``keys``) of a text nothing in the name.
    """

    keys: NDArray[np.int64]
    to: sparse.csr_matrix
    back: sparse.csr_matrix
    free: Float
    free_text: Float

    @classmethod
    def of(cls, index: NameIndex, rows: Sequence[Row]) -> Translations:
        """From what ``learn_translations`` found."""
        keys = np.unique(
            np.array(
                [_key(text if kind == TO else letter) for kind, text, letter, _ in rows if kind != FREE_NAME],
                dtype=np.int64,
            )
        )
        letters = {int(key): place for place, key in enumerate(index.letter_keys)}
        grams = {int(key): place for place, key in enumerate(index.gram_space.keys)}
        place = {int(key): i for i, key in enumerate(keys)}
        to: list[tuple[int, int, float]] = []
        back: list[tuple[int, int, float]] = []
        free = np.zeros(len(letters), dtype=np.float32)
        free_text = np.zeros(len(keys), dtype=np.float32)
        for kind, source, letter, strength in rows:
            if kind == TO and _key(letter) in letters:
                to.append((place[_key(source)], letters[_key(letter)], strength))
            elif kind == BACK and _key(source) in grams:
                back.append((place[_key(letter)], grams[_key(source)], strength))
            elif kind == FREE_NAME and _key(letter) in letters:
                free[letters[_key(letter)]] = strength
            elif kind == FREE_TEXT:
                free_text[place[_key(letter)]] = strength
        return cls(
            keys, _matrix(to, len(keys), len(letters)), _matrix(back, len(keys), len(grams)), free, free_text
        )

    def known(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """The places in ``keys`` of everything that ``texts`` hold, ascending."""
        if not len(self.keys):
            return np.zeros(0, dtype=np.int64)
        wanted = np.unique(gram_keys(texts)[0])
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.asarray(place[self.keys[place] == wanted], dtype=np.int64)


def learn_translations(pairs: Iterable[tuple[str, str]]) -> list[Row]:
    """From (text, name) pairs of one meaning: IBM model 1 in both directions, on what only one side has.

    A character that both sides have explains itself and takes no part. The sources are characters and
    pairs of characters, so that a word of two characters can stand for a word.
    """
    listed = [(text, name) for text, name in pairs if text and name]
    return [
        *((TO, source, letter, strength) for source, letter, strength in _expectations(listed)),
        *(
            (BACK, source, letter, strength)
            for source, letter, strength in _expectations([(name, text) for text, name in listed])
        ),
        *((FREE_NAME, "", letter, rate) for letter, rate in _free(listed)),
        *((FREE_TEXT, "", letter, rate) for letter, rate in _free([(name, text) for text, name in listed])),
    ]


def _expectations(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str, float]]:
    sources: dict[str, int] = {}
    letters: dict[str, int] = {}
    seen: dict[int, int] = {}
    left: list[int] = []
    right: list[int] = []
    group: list[int] = []
    groups = 0
    for one, other in pairs:
        there = set(one) - set(other)
        here = sorted(set(other) - set(one))
        # A pair of characters counts when at least one of them is not in the other text.
        parts = {*there, *(a + b for a, b in itertools.pairwise(one) if {a, b} & there)}
        all_parts = {*one, *(a + b for a, b in itertools.pairwise(one))}
        for part in all_parts:
            place = sources.setdefault(part, len(sources))
            seen[place] = seen.get(place, 0) + 1
        if not parts or not here or len(parts) * len(here) > MOST_PAIRED:
            continue
        known = [sources[part] for part in sorted(parts)]
        for letter in here:
            place = letters.setdefault(letter, len(letters))
            left += known
            right += [place] * len(known)
            group += [groups] * len(known)
            groups += 1
    if not left:
        return []
    pair = np.array(left, dtype=np.int64) * len(letters) + np.array(right)
    unique, which = np.unique(pair, return_inverse=True)
    of_group = np.array(group)
    occurrences = np.array([seen[i] for i in range(len(sources))], dtype=np.float64)
    source = unique // len(letters)
    strength = np.full(len(unique), 0.1)
    expected = strength
    for _ in range(ROUNDS):
        weight = strength[which]
        # What nothing explains: a constant keeps rare companions from taking all of a letter.
        share = weight / (np.bincount(of_group, weight, groups) + 0.05)[of_group]
        expected = np.bincount(which, share, len(unique))
        strength = expected / (occurrences[source] + SMOOTHING)
    kept = np.flatnonzero((expected >= LEAST_EXPECTED) & (strength >= LEAST_STRENGTH))
    by_source, by_letter = list(sources), list(letters)
    return sorted(
        (
            by_source[int(unique[i] // len(letters))],
            by_letter[int(unique[i] % len(letters))],
            round(float(strength[i]), 3),
        )
        for i in kept
    )


def _free(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, float]]:
    """How often each character of the second text has no equal in the first."""
    total: dict[str, int] = {}
    lonely: dict[str, int] = {}
    for one, other in pairs:
        for letter in set(other):
            total[letter] = total.get(letter, 0) + 1
            if letter not in one:
                lonely[letter] = lonely.get(letter, 0) + 1
    return sorted(
        (letter, round(times / (total[letter] + 2 * SMOOTHING), 3))
        for letter, times in lonely.items()
        if times >= 2
    )


def _key(gram: str) -> int:
    return ord(gram) if len(gram) == 1 else ord(gram[0]) << 21 | ord(gram[1])


def _matrix(entries: Sequence[tuple[int, int, float]], rows: int, columns: int) -> sparse.csr_matrix:
    table = np.array(entries, dtype=np.float64).reshape(-1, 3)
    places = (table[:, 0].astype(np.int64), table[:, 1].astype(np.int64))
    return sparse.csr_matrix((table[:, 2].astype(np.float32), places), shape=(rows, columns))
