"""One spelling for what doctors and code tables write: widths, characters, numerals, variants."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import ahocorasick

_ROMAN = {
    "I": "1", "II": "2", "III": "3", "IV": "4", "V": "5", "VI": "6", "VII": "7", "VIII": "8", "IX": "9", "X": "10",
    "XI": "11", "XII": "12",
}  # fmt: skip
_CHINESE = {character: str(value) for value, character in enumerate("一二三四五六七八九十", start=1)}
_ROMAN_PATTERN = "VIII|VII|III|XII|VI|IV|IX|II|XI|I|V|X"
_PUNCTUATION = re.compile(r"[\s,、;:.\[\]()\"'/\\\-]+")
_NUMERAL = rf"(?:{_ROMAN_PATTERN}|\d{{1,2}}|[一二三四五六七八九十])"
_GRADED = re.compile(
    rf"(?<![A-Z])(?P<roman>{_ROMAN_PATTERN})(?=-?[ABCM]?[期级型度类区])"
    rf"|(?P<chinese>[一二三四五六七八九十])(?=-?[ABC]?[期级型度类])"
    rf"|(?P<degree>{_NUMERAL})(?:°|o|O|º|度)(?![A-Z0-9])"
    rf"|(?<=[期级型度类])(?P<tail>{_ROMAN_PATTERN})(?![A-Z])"
)
_SEPARATORS = str.maketrans({
    "【": "[", "】": "]", "〔": "[", "〕": "]", "{": "[", "}": "]", "「": '"', "」": '"', "“": '"', "”": '"',
    "‘": "'", "’": "'", "—": "-", "–": "-", "－": "-", "―": "-", "~": "-", "～": "-", "，": ",", "；": ";",
    "：": ":", "？": "?", "！": "!", "（": "(", "）": ")", "．": ".", "·": "", "・": "", "•": "",
    "\u200b": "", "\ufeff": "", "\u00ad": "",
})  # fmt: skip


def compact(text: str) -> str:
    """The spelling in which texts and names are compared: no blanks, no punctuation."""
    return _PUNCTUATION.sub("", text)


@dataclass(frozen=True, slots=True)
class Normalized:
    """Text in one spelling; ``offsets[i]`` is the place in the source that character i came from.

    ``offsets`` has one entry more than ``text``: the length of the source.
    """

    text: str
    offsets: tuple[int, ...]

    def source_span(self, start: int, end: int) -> tuple[int, int]:
        """Where ``text[start:end]`` stands in the source, as a half-open range."""
        return self.offsets[start], self.offsets[end - 1] + 1 if end > start else self.offsets[start]


class Replacer:
    """Replaces every listed phrase at once, the longest that starts first winning."""

    def __init__(self, pairs: Mapping[str, str]) -> None:
        self._automaton = ahocorasick.Automaton()
        for phrase, replacement in pairs.items():
            self._automaton.add_word(phrase, (len(phrase), replacement))
        self._empty = not pairs
        if pairs:
            self._automaton.make_automaton()

    def found(self, text: str) -> list[tuple[int, int, str]]:
        """(start, end, replacement) of what would be replaced, left to right, without overlap."""
        if self._empty:
            return []
        return [
            (end - length + 1, end + 1, replacement)
            for end, (length, replacement) in self._automaton.iter_long(text)
            if _stands_alone(text, end - length + 1, end + 1)
            and not _already_there(text, end - length + 1, end + 1, replacement)
        ]

    def replace(self, text: str) -> str:
        result, last = [], 0
        for start, end, replacement in self.found(text):
            result += [text[last:start], replacement]
            last = end
        return "".join([*result, text[last:]])


def _stands_alone(text: str, start: int, end: int) -> bool:
    """A phrase that begins or ends in a Latin letter must not touch another Latin letter."""
    first, last = text[start], text[end - 1]
    if _is_latin(first) and start and _is_latin(text[start - 1]):
        return False
    return not (_is_latin(last) and end < len(text) and _is_latin(text[end]))


def _already_there(text: str, start: int, end: int, replacement: str) -> bool:
    """Whether the phrase is part of its own replacement here: 低血糖 within 低血糖症."""
    place = replacement.find(text[start:end])
    return place >= 0 and text.startswith(replacement, max(start - place, 0)) and bool(replacement)


def _is_latin(character: str) -> bool:
    return "A" <= character <= "Z"


class Normalizer:
    """Spelling by our tables: ``characters`` (traditional → simplified) and ``variants`` (phrases)."""

    def __init__(self, characters: Mapping[str, str], variants: Mapping[str, str]) -> None:
        self._characters = {ord(old): new for old, new in characters.items()}
        self._variants = Replacer(variants)

    def __call__(self, text: str) -> str:
        """The one spelling of ``text``; length may change."""
        return self.aligned(text).text

    def names(self, names: Iterable[str]) -> list[str]:
        """``__call__`` for many names: the same answers, without keeping the places."""
        given = list(names)
        # One long text is many times quicker than many short ones; a line end composes with nothing.
        lines = self._letters("\n".join(given)).split("\n")
        if len(lines) != len(given):
            lines = [self._letters(name) for name in given]
        return [self._numerals(self._variants.replace(line)) for line in lines]

    def _letters(self, text: str) -> str:
        plain = unicodedata.normalize("NFKC", text.translate(_SEPARATORS)).translate(_SEPARATORS)
        return plain.translate(self._characters).upper()

    @staticmethod
    def _numerals(text: str) -> str:
        return _GRADED.sub(_arabic, text)

    def aligned(self, text: str) -> Normalized:
        """The one spelling of ``text`` and where each of its characters came from."""
        letters: list[str] = []
        offsets: list[int] = []
        for place, character in enumerate(text):
            plain = self._letters(character)
            letters.append(plain)
            offsets += [place] * len(plain)
        current = "".join(letters)
        offsets.append(len(text))
        current, offsets = _replaced(current, offsets, self._variants.found(current))
        edits = [(found.start(), found.end(), _arabic(found)) for found in _GRADED.finditer(current)]
        current, offsets = _replaced(current, offsets, edits)
        return Normalized(current, tuple(offsets))


def _arabic(found: re.Match[str]) -> str:
    numeral = found["roman"] or found["tail"]
    if numeral:
        return _ROMAN[numeral]
    if found["chinese"]:
        return _CHINESE[found["chinese"]]
    degree = found["degree"]
    return f"{_ROMAN.get(degree) or _CHINESE.get(degree) or degree}度"


def _replaced(text: str, offsets: list[int], edits: list[tuple[int, int, str]]) -> tuple[str, list[int]]:
    if not edits:
        return text, offsets
    pieces: list[str] = []
    places: list[int] = []
    last = 0
    for start, end, replacement in edits:
        pieces += [text[last:start], replacement]
        places += offsets[last:start]
        # Spread the replacement over what it replaces, so that a span never runs past its source.
        width = max(end - start, 1)
        places += [
            offsets[start + min(i * width // max(len(replacement), 1), width - 1)]
            for i in range(len(replacement))
        ]
        last = end
    pieces.append(text[last:])
    places += offsets[last:]
    return "".join(pieces), places
