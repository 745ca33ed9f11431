"""TF-IDF over characters and over words in numpy, quick to build and quick for one short text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Float = NDArray[np.float32]


def gram_keys(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keys of all single characters and adjacent pairs, and the row each belongs to."""
    lengths = np.fromiter((len(text) for text in texts), dtype=np.int64, count=len(texts))
    characters = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(
        np.int64
    )
    rows = np.repeat(np.arange(len(texts), dtype=np.int64), lengths)
    same_row = rows[1:] == rows[:-1]
    pairs = (characters[:-1] << 21 | characters[1:])[same_row]
    return np.concatenate([characters, pairs]), np.concatenate([rows, rows[1:][same_row]])


@dataclass(frozen=True, slots=True)
class Grams:
    """A fitted vocabulary: ascending ``keys``, their ``idf``; the last key set by ``characters``."""

    keys: NDArray[np.int64]
    idf: Float

    @classmethod
    def fit(cls, texts: Sequence[str]) -> Grams:
        """Learn vocabulary and inverse document frequencies from ``texts``."""
        keys, rows = gram_keys(texts)
        pairs = np.sort(keys << 20 | rows)  # several times faster here than np.unique, which hashes
        order = pairs[np.append(True, pairs[1:] != pairs[:-1])] >> 20
        vocabulary, count = np.unique(order, return_counts=True)
        idf = np.log((1 + len(texts)) / (1 + count)) + 1
        return cls(vocabulary, idf.astype(np.float32))

    def vectors(self, texts: Sequence[str], unknown: float = 0.0) -> sparse.csr_matrix:
        """L2-normalised TF-IDF rows (sublinear term frequency), shape (texts, vocabulary).

        ``unknown``: the weight in a row's length of every gram that the vocabulary lacks.
        """
        keys, rows = gram_keys(texts)
        place = np.searchsorted(self.keys, keys)
        place[place == len(self.keys)] = 0
        known = self.keys[place] == keys
        data = np.ones(int(known.sum()), dtype=np.float32)
        counts = sparse.csr_matrix((data, (rows[known], place[known])), shape=(len(texts), len(self.keys)))
        counts.data = (1 + np.log(counts.data)) * self.idf[counts.indices]
        missing = np.bincount(rows[~known], minlength=len(texts))
        return _unit_length(counts, (unknown**2 * missing).astype(np.float32))


@dataclass(frozen=True, slots=True)
class Words:
    """The same over words: each text comes as its tokens."""

    place: dict[str, int]
    idf: Float

    @classmethod
    def fit(cls, texts: Iterable[Sequence[str]]) -> Words:
        place: dict[str, int] = {}
        count: list[int] = []
        size = 0
        for tokens in texts:
            size += 1
            # A set would come in another order each time, and sums of floats with it.
            for token in dict.fromkeys(tokens):
                index = place.setdefault(token, len(place))
                if index == len(count):
                    count.append(0)
                count[index] += 1
        idf = np.log((1 + size) / (1 + np.array(count or [0]))) + 1
        return cls(place, idf.astype(np.float32))

    def vectors(self, texts: Sequence[Sequence[str]]) -> sparse.csr_matrix:
        """L2-normalised TF-IDF rows, shape (texts, vocabulary)."""
        rows, columns = [], []
        for row, tokens in enumerate(texts):
            for token in dict.fromkeys(tokens):
                column = self.place.get(token)
                if column is not None:
                    rows.append(row)
                    columns.append(column)
        data = self.idf[columns] if columns else np.zeros(0, dtype=np.float32)
        shape = (len(texts), len(self.idf))
        return _unit_length(sparse.csr_matrix((data, (rows, columns)), shape=shape))


def _unit_length(matrix: sparse.csr_matrix, beside: Float | float = 0.0) -> sparse.csr_matrix:
    """``beside``: the square of what each row's length has besides its entries."""
    squares = np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel() + beside
    length = np.sqrt(squares)
    length[length == 0] = 1
    matrix.data /= np.repeat(length, np.diff(matrix.indptr)).astype(np.float32)
    return matrix
