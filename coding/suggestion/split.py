"""What the doctor wrote, cut into statements and units that a code may stand for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from coding.names import System
from coding.normalize import Normalized, Replacer
from coding.suggestion.terms import Terms

Certainty = Literal["", "query", "possible", "excluded", "history", "postoperative"]
CERTAINTIES: dict[Certainty, str] = {
    "": "",
    "query": "待查",
    "possible": "可能、疑似",
    "excluded": "已除外",
    "history": "既往史",
    "postoperative": "术后",
}

_STRONG = re.compile(
    r"[;。\n\r\t!]+|(?<=\?)(?=[^,;。\s?])"
    r"|(?:(?<=^)|(?<=[\s;。,、)]))\(?\d{1,2}\)?[.、)](?:(?!\d)|(?=[12]型))\s*"
    r"|(?<=[^\d\s.])\d{1,2}[、)](?=\D)"
)
_MEDIUM = re.compile(
    r"[,、+&|\s:?]+|(?<![A-Z\d])/|/(?![A-Z\d])|(?<=[^\d])\.(?=\D)|(?<=[^A-Z0-9])-{1,}(?=[^A-Z0-9])|[\[\]\"']+"
)
_WEAK = re.compile(r"(?:并发|合并|伴有|伴发|伴|并|以及|及|和|与|[()])")
_CERTAINTY: tuple[tuple[Certainty, re.Pattern[str]], ...] = (
    ("excluded", re.compile(r"除外|排除|已排|^无(?=.{2})|未见|否认")),
    ("query", re.compile(r"待查|待排|待诊|查因|原因待|\?")),
    ("possible", re.compile(r"可能|疑似|疑诊|拟诊|考虑|倾向|^疑|不除外|不排除|不能除外|不能排除|未除外")),
    ("history", re.compile(r"病史|史$|史[,)]|既往")),
    ("postoperative", re.compile(r"术后|切除后|置换后")),
)
_NOT_EXCLUDED = re.compile(r"(?:不能?|未能?)(?:除外|排除)")
# What says something about the diagnosis and is no part of its name. Digits are taken whole (++): a long row of
# them would else be cut in every way.
_REMARKS: dict[System, re.Pattern[str]] = {
    "icd10": re.compile(
        r"待查|待排|待诊|查因|原因待查|可能性?大?|疑似|疑诊|拟诊|不[能]?除外|不[能]?排除|考虑|倾向|\?|"
        r"(?:左|右|双|两)(?:侧|边)|(?:左|右|双)(?=[^心室房主])|多发性?|"
        r"\d++(?:\.\d++)?(?:[X*×]\d*+)?(?:\.\d++)?(?:CM|MM)|术后\d*(?:年|月|天|周)?|术前|"
        r"\d++(?:年|月|天|周|岁|余年|个月)|第?\d++(?:次|周期)|CT\d+N\d+M\d+|[CP]?T\d[A-C]?N\d[A-C]?M[\dX]|G\d+P\d+|重度|中度|轻度|较?大量|少量"
    ),
    "icd9cm3": re.compile(
        r"(?:左|右|双|两)(?:侧|边|叶)?|\d++(?:\.\d++)?(?:CM|MM)|备|拟行?|急诊|在?(?:全麻|局麻|腰麻|硬膜外麻醉|静脉麻醉)下?|"
        r"(?:C|T|L|S)\d{1,2}(?:[/\-](?:C|T|L|S)?\d{1,2})*|第?\d+[-,、]?\d*"
    ),
}
MAXIMUM_TEXT = 4000
"""Characters of one text that are looked at: a discharge diagnosis is far shorter."""
MAXIMUM_STATEMENTS = 60
MAXIMUM_UNITS = 8


@dataclass(frozen=True, slots=True)
class Unit:
    """A stretch of a statement that one code may stand for; places are those of the normalized text."""

    text: str
    start: int
    end: int
    level: int
    """0 the whole statement, 1 cut at punctuation, 2 cut at 伴/并 or where known names meet."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One entry of the doctor's list: its text, where it stands, and the units in it, whole first."""

    text: str
    start: int
    end: int
    units: tuple[Unit, ...]
    certainty: Certainty = ""


@dataclass(frozen=True)
class Splitter:
    """Cuts texts of one system; ``known`` finds names and phrases that our tables hold."""

    system: System
    known: Replacer
    remarks: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "remarks", _REMARKS[self.system])

    @classmethod
    def build(cls, system: System, names: list[str], terms: Terms) -> Splitter:
        """``names`` in the one spelling."""
        phrases = {name: "" for name in names if 2 <= len(name) <= 16}
        phrases |= {key: "" for key in terms.expansions[system] if len(key) >= 2}
        return cls(system, Replacer(phrases))

    def statements(self, source: Normalized) -> list[Statement]:
        """The entries of the list that ``source`` is, in order."""
        text = source.text[:MAXIMUM_TEXT]
        found: list[Statement] = []
        for start, end in _pieces(text, _STRONG):
            statement = self._statement(text, start, end)
            chunks = _pieces(statement.text, _MEDIUM)
            if statement.certainty == "excluded" and len(chunks) > 1:
                # What one part excludes must not silence its neighbours.
                found += [self._statement(text, start + left, start + right) for left, right in chunks]
            else:
                found.append(statement)
            if len(found) >= MAXIMUM_STATEMENTS:
                break
        return found

    def bare(self, text: str) -> str:
        """``text`` without remarks (待查, sides, sizes, dates); itself when nothing else is left."""
        left = self.remarks.sub("", text)
        return left if len(left) >= 2 else text

    def _statement(self, text: str, start: int, end: int) -> Statement:
        whole = text[start:end]
        units: dict[tuple[int, int], Unit] = {(start, end): Unit(whole, start, end, 0)}

        def add(left: int, right: int, level: int) -> None:
            if right - left >= 2 and (left, right) not in units and len(units) < MAXIMUM_UNITS:
                units[left, right] = Unit(text[left:right], left, right, level)

        chunks = [(start + a, start + b) for a, b in _pieces(whole, _MEDIUM)]
        if len(chunks) > 1:
            for left, right in chunks:
                add(left, right, 1)
        for left, right in chunks:
            chunk = text[left:right]
            weak = [(left + a, left + b) for a, b in _pieces(chunk, _WEAK)]
            if len(weak) > 1:
                for a, b in weak:
                    add(a, b, 2)
            for a, b in weak:
                for c, d in self._joints(text[a:b]):
                    add(a + c, a + d, 2)
        return Statement(whole, start, end, tuple(units.values()), certainty_of(whole))

    def _joints(self, chunk: str) -> list[tuple[int, int]]:
        """Stretches of a chunk in which several known names stand without a separator."""
        hits = [(start, end) for start, end, _ in self.known.found(chunk)]
        if len(hits) < 2:
            return []
        cuts = [0, *(end for _, end in hits[:-1]), len(chunk)]
        return [(a, b) for a, b in pairwise(cuts) if b > a]


def certainty_of(text: str) -> Certainty:
    """Whether the doctor only asks, supposes, excludes or looks back."""
    settled = _NOT_EXCLUDED.sub("可能", text)
    for certainty, pattern in _CERTAINTY:
        if pattern.search(settled):
            return certainty
    return ""


def _pieces(text: str, separator: re.Pattern[str]) -> list[tuple[int, int]]:
    """The stretches between separators, blanks trimmed, empty ones left out."""
    pieces, last = [], 0
    for found in separator.finditer(text):
        pieces.append((last, found.start()))
        last = found.end()
    pieces.append((last, len(text)))
    trimmed = []
    for start, end in pieces:
        part = text[start:end]
        left = start + len(part) - len(part.lstrip(" ,;:、."))
        right = end - (len(part) - len(part.rstrip(" ,;:、.")))
        if right > left:
            trimmed.append((left, right))
    return trimmed
