"""The coder's search box: codes by prefix, by name in any word order, by alias, by usage, by pinyin initials."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from coding.browse import Node, browse
from coding.names import NameTable, System

Reason = Literal["exact", "code", "name", "alias", "synonym", "words", "pinyin", "similar"]
REASONS: Mapping[Reason, str] = {
    "exact": "名称一致",
    "code": "编码开头一致",
    "name": "名称含所输文字",
    "alias": "别名",
    "synonym": "别称",
    "words": "含所输各词",
    "pinyin": "拼音首字母",
    "similar": "多数字相同",
}
MINIMUM_LENGTH = 2
MAXIMUM_LENGTH = 100
"""Characters of a query that are looked at; what a box holds is shorter."""

_NOISE = re.compile(r"[\s,，、;；:：.。()（）\[\]【】“”\"'‘’/\-—_]+")
_CODE = re.compile(r"[A-Z]\d[\dA-Z.X+*]*|\d{2}[\d.X]*", re.IGNORECASE)
_INITIALS = re.compile(r"[a-z]{2,}")
_RANK: Mapping[Reason, int] = {
    "exact": 0, "code": 1, "name": 2, "alias": 3, "synonym": 4, "words": 5, "pinyin": 6, "similar": 7,
}  # fmt: skip
_GREY_LAST = 10


class Hit(msgspec.Struct, frozen=True):
    """One code that a query finds.

    ``matched`` is the name that matched (the title, or an alias of the edition ``edition``);
    ``reason`` a fixed key and ``explanation`` its Chinese text. For a 别称 ``matched`` is the usage that
    stands in the query and ``edition`` says 别称. ``grey``: 灰码, not for settlement lists.
    """

    code: str
    name: str
    reason: Reason
    explanation: str
    matched: str
    edition: str = ""
    grey: bool = False
    kind: str = ""


Offer = Callable[[int, Reason, int], None]
Found = dict[int, tuple[tuple[int, int, str], Reason, int]]
"""Index of a code → its place in the order, why it was found, and the row of names by which."""


def fold(text: str) -> str:
    """Width, case, spaces and punctuation put aside; what remains keeps its order."""
    return _NOISE.sub("", unicodedata.normalize("NFKC", text)).lower()


@dataclass(frozen=True, slots=True)
class Initials:
    """Pinyin initials: one letter a character, and phrases in which a character is read otherwise."""

    letters: Mapping[str, str]
    phrases: Mapping[str, str]

    @classmethod
    def build(cls, rows: Sequence[Mapping[str, str]]) -> Initials:
        """From rows ``text,initials``: single characters and phrases."""
        return cls(
            {row["text"]: row["initials"] for row in rows if len(row["text"]) == 1},
            {row["text"]: row["initials"] for row in rows if len(row["text"]) > 1},
        )

    def of(self, text: str) -> str:
        """The initials of ``text``, one character for each of its characters."""
        unknown = {c for c in set(text) if c >= "\u3400" and c not in self.letters}
        letters: dict[str, str | int | None] = dict(self.letters)
        if unknown:
            # Only a code table of another publisher has characters that ours does not list.
            from pypinyin import Style, lazy_pinyin  # noqa: PLC0415

            letters = {
                **letters,
                **{c: lazy_pinyin(c, style=Style.FIRST_LETTER)[0][:1] or "?" for c in unknown},
            }
        for phrase, initials in self.phrases.items():
            text = text.replace(phrase, initials)
        return text.translate(str.maketrans(letters))


@dataclass(frozen=True, slots=True)
class Usages:
    """What is said for a name without being one: 冠心病, AMI. Folded usage → (usage, folded expansions)."""

    expansions: Mapping[str, tuple[str, tuple[str, ...]]]

    @classmethod
    def build(cls, system: System, rows: Iterable[Mapping[str, str]]) -> Usages:
        """From rows ``text,expansion[,system]``; a row without a system holds for both."""
        found: dict[str, tuple[str, dict[str, None]]] = {}
        for row in rows:
            key, expansion = fold(row["text"]), fold(row["expansion"])
            if row.get("system", system) == system and len(key) >= MINIMUM_LENGTH and key != expansion:
                found.setdefault(key, (row["text"], {}))[1][expansion] = None
        return cls({key: (text, tuple(names)) for key, (text, names) in found.items()})

    def of(self, folded: str) -> tuple[str, tuple[str, ...]] | None:
        """The usage that ``folded`` is, and what it may stand for."""
        return self.expansions.get(folded)

    def within(self, folded: str) -> tuple[str, tuple[str, ...]] | None:
        """The longest usage in Chinese that stands in ``folded``, and the query with it written out."""
        inside = [key for key in self.expansions if key in folded and not key.isascii()]
        if not inside:
            return None
        longest = max(inside, key=lambda key: (len(key), key))
        text, names = self.expansions[longest]
        return text, tuple(folded.replace(longest, name) for name in names if name not in folded)


class SystemSearch:
    """The index of one code system; ``initials`` turns a name into pinyin initials."""

    def __init__(self, table: NameTable, initials: Initials, usages: Usages | None = None) -> None:
        self.table = table
        self.usages = usages or Usages({})
        keys = sorted((_code_key(code), index) for index, code in enumerate(table.codes))
        self._code_keys = [key for key, _ in keys]
        self._code_index = [index for _, index in keys]
        self._folded = [fold(name) for name in table.names]
        self._length = np.array([len(name) for name in self._folded], dtype=np.int32)
        self._exact: dict[str, list[int]] = {}
        for entry, name in enumerate(self._folded):
            self._exact.setdefault(name, []).append(entry)
        self._postings = _postings(self._folded)
        # One string, one line a name: str.find over half a megabyte beats any index we could build.
        self._initials = "\n" + initials.of("\n".join(self._folded)) + "\n"
        breaks = np.flatnonzero(
            np.frombuffer(self._initials.encode("utf-32-le"), dtype=np.uint32) == ord("\n")
        )
        self._line_start = breaks[:-1] + 1

    def search(self, query: str, limit: int) -> list[Hit]:
        text = unicodedata.normalize("NFKC", query[:MAXIMUM_LENGTH]).strip()
        folded = fold(text)
        if len(folded) < MINIMUM_LENGTH or limit < 1:
            return []
        found: Found = {}

        def offer(entry: int, reason: Reason, nearness: int) -> None:
            index = self.table.owner[entry]
            rank = _RANK[reason] + _grey(self.table, index)
            key = (rank, nearness, self.table.codes[index])
            if index not in found or key < found[index][0]:
                found[index] = (key, reason, entry)

        if _CODE.fullmatch(text):
            self._by_code(text, offer, limit)
        for entry in self._exact.get(folded, ()):
            offer(entry, "exact", 0 if not self.table.edition[entry] else 1)
        self._by_name(text, folded, offer)
        if len(found) < limit and _INITIALS.fullmatch(folded):
            self._by_initials(folded, offer)
        usage = self.usages.of(folded) or (self.usages.within(folded) if not found else None)
        said = self._by_usage(usage[1], found, limit) if usage else frozenset()
        if not found:
            self._by_similarity(folded, offer, limit)
        best = sorted(found.items(), key=lambda item: item[1][0])[:limit]
        return [
            self._hit(index, reason, entry, usage[0] if usage and index in said else "")
            for index, (_, reason, entry) in best
        ]

    def _by_usage(self, names: Sequence[str], found: Found, limit: int) -> frozenset[int]:
        """Add what the written-out ``names`` find to ``found``; gives the codes found so.

        A code whose name is the written-out one goes before those that merely hold the usage itself.
        """
        said = set()
        for order, name in enumerate(names):
            for place, (index, exact) in enumerate(self._written_out(name, limit)):
                rank = (_RANK["exact"] if exact else _RANK["synonym"]) + _grey(self.table, index)
                key = (rank, 2 + order * limit + place, self.table.codes[index])
                if index not in found or key < found[index][0]:
                    found[index] = (key, "synonym", index)
                    said.add(index)
        return frozenset(said)

    def _written_out(self, folded: str, limit: int) -> list[tuple[int, bool]]:
        """The codes that ``folded`` finds by name, best first, and whether the name is just that."""
        best: dict[int, tuple[int, int, str]] = {}

        def offer(entry: int, reason: Reason, nearness: int) -> None:
            index = self.table.owner[entry]
            key = (_RANK[reason] + _grey(self.table, index), nearness, self.table.codes[index])
            if index not in best or key < best[index]:
                best[index] = key

        for entry in self._exact.get(folded, ()):
            offer(entry, "exact", 0 if not self.table.edition[entry] else 1)
        self._by_name(folded, folded, offer)
        chosen = sorted(best, key=lambda index: best[index])[:limit]
        return [(index, best[index][0] % _GREY_LAST == _RANK["exact"]) for index in chosen]

    def _by_code(self, text: str, offer: Offer, limit: int) -> None:
        key = _code_key(text)
        place, taken = bisect_left(self._code_keys, key), 0
        while place < len(self._code_keys) and self._code_keys[place].startswith(key):
            index = self._code_index[place]
            offer(index, "code", 0 if self._code_keys[place] == key else 1)
            place, taken = place + 1, taken + (not self.table.grey[index])
            if taken > limit:
                break

    def _by_name(self, text: str, folded: str, offer: Offer) -> None:
        words = [word for word in (fold(part) for part in re.split(r"[\s,，、;；/+]+", text)) if word]
        candidates = self._containing(folded)
        if candidates is None:
            return
        # A two-character query can hit thousands of names: the shortest are the ones to show.
        order = np.argsort(self._length[candidates], kind="stable")
        kept = 0
        for entry in candidates[order].tolist():
            name = self._folded[entry]
            place = name.find(folded)
            nearness = len(name) * 2
            if place >= 0:
                alias = bool(self.table.edition[entry])
                offer(entry, "alias" if alias else "name", nearness + (0 if place == 0 else 1))
            elif len(words) > 1 and all(word in name for word in words):
                offer(entry, "words", nearness)
            elif len(words) == 1 and _halves(folded, name):
                offer(entry, "words", nearness + 40)
            else:
                continue
            kept += 1
            if kept >= 200:
                return

    def _containing(self, folded: str) -> NDArray[np.int32] | None:
        """The names that hold every character of ``folded``; None when a character is in no name."""
        lists = []
        for character in set(folded):
            posting = self._postings.get(character)
            if posting is None:
                return None
            lists.append(posting)
        lists.sort(key=len)
        result = lists[0]
        for posting in lists[1:]:
            place = np.searchsorted(posting, result)
            place[place == len(posting)] = 0
            result = result[posting[place] == result]
        return result

    def _by_initials(self, query: str, offer: Offer) -> None:
        place, kept = self._initials.find(query), 0
        while place >= 0 and kept < 2000:
            entry = int(np.searchsorted(self._line_start, place, side="right")) - 1
            start = int(self._line_start[entry])
            offer(entry, "pinyin", int(self._length[entry]) * 2 + (0 if place == start else 60))
            kept += 1
            place = self._initials.find(query, place + 1)

    def _by_similarity(self, folded: str, offer: Offer, limit: int) -> None:
        """Nothing holds all of the query: the names that share most of its distinct characters."""
        postings = [self._postings[c] for c in set(folded) if c in self._postings]
        if len(postings) < MINIMUM_LENGTH:
            return
        size = len(self._folded)
        weight = np.zeros(size)
        for posting in postings:
            weight[posting] += np.log(size / len(posting))
        weight /= np.sqrt(self._length + 4.0)
        if not weight.any():
            return
        best = np.argsort(-weight, kind="stable")[: limit * 3]
        for order, entry in enumerate(best.tolist()):
            if weight[entry] > 0:
                offer(entry, "similar", order)

    def _hit(self, index: int, reason: Reason, entry: int, usage: str = "") -> Hit:
        table = self.table
        if usage:
            return Hit(
                table.codes[index],
                table.titles[index],
                reason,
                f"{REASONS[reason]}：{usage}",
                usage,
                REASONS[reason],
                table.grey[index],
                table.kinds[index],
            )
        edition = table.edition[entry]
        explanation = REASONS[reason] if not edition else f"{REASONS[reason]}（别名：{table.names[entry]}）"
        if reason == "alias":
            explanation = f"别名：{table.names[entry]}"
        return Hit(
            table.codes[index],
            table.titles[index],
            reason,
            explanation,
            table.names[entry],
            edition,
            table.grey[index],
            table.kinds[index],
        )


def _grey(table: NameTable, index: int) -> int:
    return _GREY_LAST if table.grey[index] else 0


def _code_key(code: str) -> str:
    return code.upper().replace(".", "")


def _halves(query: str, name: str) -> bool:
    """Whether the query is two words without a space, in either order: 骨折股骨颈 for 股骨颈骨折."""
    return any(query[cut:] in name and query[:cut] in name for cut in range(2, len(query) - 1))


def _postings(names: Sequence[str]) -> dict[str, NDArray[np.int32]]:
    """For every character the ascending indices of the names that hold it."""
    lengths = np.array([len(name) for name in names])
    characters = np.frombuffer("".join(names).encode("utf-32-le"), dtype=np.uint32).astype(np.int64)
    entries = np.repeat(np.arange(len(names), dtype=np.int64), lengths)
    pairs = np.unique(characters << 32 | entries)
    characters, entries = pairs >> 32, (pairs & 0xFFFFFFFF).astype(np.int32)
    distinct, start = np.unique(characters, return_index=True)
    parts = np.split(entries, start[1:])
    return {chr(int(one)): part.astype(np.int32) for one, part in zip(distinct, parts, strict=True)}


class CodeSearch:
    """The search box over both code systems; each index is built when first asked for."""

    def __init__(
        self,
        tables: Mapping[System, NameTable],
        initials: Initials,
        usages: Mapping[System, Usages] | None = None,
    ) -> None:
        self.tables = tables
        self._usages = usages or {}
        self._initials = initials
        self._built: dict[System, SystemSearch] = {}

    def search(self, query: str, system: System = "icd10", limit: int = 10) -> list[Hit]:
        """The codes that ``query`` finds, best first: exact, prefix, name, alias, usage, words, initials.

        Grey codes come last. Shorter than two characters finds nothing. The same query always gives
        the same answer.
        """
        index = self._built.get(system)
        if index is None:
            index = self._built[system] = SystemSearch(
                self.tables[system], self._initials, self._usages.get(system)
            )
        return index.search(query, limit)

    def browse(self, system: System = "icd10", parent: str = "") -> tuple[Node, ...]:
        """The lines below ``parent`` (chapter → category → subcategory → code)."""
        return browse(self.tables[system], parent)
