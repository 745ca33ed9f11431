"""Words for parts of the body and for findings, each with all that is broader, found in texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import ahocorasick


@dataclass(frozen=True)
class Concepts:
    """A table of words, each with the next broader ones.

    ``above[a]``: the places of a itself and of all that is broader. A word without anything broader that
    nothing is below says nothing: it only keeps the words within it from being found (手术 is no 手).
    """

    words: tuple[str, ...]
    above: tuple[tuple[int, ...], ...]
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

        above = tuple(tuple(sorted(words[other] for other in climb(word, ()))) for word in words)
        finder = ahocorasick.Automaton()
        for word in {*broader, *telling}:
            finder.add_word(word, words.get(word, -1))
        if len(finder):
            finder.make_automaton()
        narrower: dict[str, list[str]] = {}
        for word in sorted(broader):
            for other in broader[word]:
                narrower.setdefault(other, []).append(word)
        return cls(tuple(words), above, finder, narrower)

    def matches(self, text: str) -> list[tuple[int, int]]:
        """(last character, word) of every word in ``text``, the longest that starts first winning."""
        if not self.words:
            return []
        return [(end, word) for end, word in self.finder.iter_long(text) if word >= 0]

    def spans(self, text: str) -> list[tuple[int, int, str]]:
        """The same as (start, end, word)."""
        found = [(end, self.words[place]) for end, place in self.matches(text)]
        return [(end + 1 - len(word), end + 1, word) for end, word in found]

    def words_in(self, texts: Sequence[str]) -> list[int]:
        """The place of every word that one of ``texts`` holds, ascending."""
        return sorted({word for text in texts for _, word in self.matches(text)})
