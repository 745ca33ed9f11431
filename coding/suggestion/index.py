"""The names a system knows, ready to be compared with a text: vectors, words, flags."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import ahocorasick
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from coding.names import EDITION_BITS, EVERY_EDITION, NameTable
from coding.normalize import Replacer, compact
from coding.suggestion.agreement import NamedConcepts
from coding.suggestion.grams import Float, Grams, Words
from coding.suggestion.split import Splitter
from coding.suggestion.terms import Terms
from coding.suggestion.words import Tokenizer

MORPHOLOGY = "形态学"
EDITIONS = 3
"""How many other editions the crosswalk knows."""
_SQUARE = re.compile(r"\[([^\[\]]*)\]")
_ROUND = re.compile(r"\([^()]*\)")
_RESIDUAL = re.compile(r",(?:其他的|未特指的?)$")
_EXTENSION = re.compile(r"\dx\d{3}$")
_BASE = re.compile(r"(?<!x\d)00$")
# Words that change which disease or procedure is meant: a name that has one the text lacks, or the
# other way round, is probably another code.
QUALIFIERS = (
    "急性", "慢性", "亚急性", "先天", "新生儿", "妊娠", "产后", "术后", "开放性", "闭合", "陈旧", "创伤", "良性", "恶性",
    "继发", "原发", "个人史", "家族史", "史", "左", "右", "双", "单侧", "上", "下", "前", "后", "内", "外", "其他", "未特指",
    "伴", "不伴", "腹腔镜", "胸腔镜", "宫腔镜", "内镜", "关节镜", "经皮", "经尿道", "切开", "部分", "全", "根治", "次全",
    "活组织检查", "病损", "切除", "修补", "缝合", "引流", "造口", "置换", "置入", "取出", "探查", "检查", "融合", "复位",
    "囊肿", "肿瘤", "结石", "骨折", "脱位", "损伤", "炎", "癌", "出血", "穿孔", "梗阻", "狭窄", "坏死", "感染", "中毒", "畸形",
    "缺损", "综合征", "增生", "息肉", "结核", "1型", "2型", "1期", "2期", "3期", "4期", "5期", "1级", "2级", "3级", "4级",
    "1度", "2度", "3度", "4度", "轻度", "中度", "重度", "多发", "复发", "晚期", "早期", "动脉", "静脉", "神经",
)  # fmt: skip


def readings(name: str) -> list[str]:
    """What a name with brackets is also written as: 骨折不连接[假关节] is 骨折不连接 and 假关节.

    ``name`` in the one spelling; 支气管扩张(症) is read without what stands in round brackets.
    """
    name = _RESIDUAL.sub("", name.replace("\\", ""))
    outside = _SQUARE.sub("", name)
    found = [_ROUND.sub("", outside)]
    for bracket in _SQUARE.finditer(name):
        # What follows the brackets belongs to both readings: 西尔维于斯导水管[中脑导水管]畸形.
        rest = _SQUARE.sub("", name[bracket.end() :])
        found += [_ROUND.sub("", part + rest) for part in bracket[1].split("/")]
    whole = compact(name)
    return [one for one in dict.fromkeys(map(compact, found)) if len(one) >= 2 and one != whole]


@dataclass(frozen=True, slots=True)
class Groups:
    """Runs of names that share a category: where each begins in code order, and the run of each name."""

    start: NDArray[np.int64]
    size: Float
    of_name: NDArray[np.int64]

    @classmethod
    def build(cls, keys: Sequence[str], order: NDArray[np.int64]) -> Groups:
        """``keys``: the category of each name, in the order of ``order``."""
        change = np.array([i == 0 or keys[i] != keys[i - 1] for i in range(len(keys))])
        start = np.flatnonzero(change)
        of_name = np.empty(len(keys), dtype=np.int64)
        of_name[order] = np.cumsum(change) - 1
        return cls(start, np.diff(np.append(start, len(keys))).astype(np.float32), of_name)


@dataclass(frozen=True)
class NameIndex:
    """Every distinct name of a system. ``codes[i]``: the codes that bear name i, the usable first.

    Rows of ``grams``, ``words``, ``letters`` and ``qualifiers`` follow ``names``.
    """

    table: NameTable
    names: tuple[str, ...]
    shown: tuple[str, ...]
    codes: tuple[tuple[int, ...], ...]
    code_of: NDArray[np.int32]
    term_of: NDArray[np.int64]
    """The row of the table's own name that each name is a reading of: mostly its own."""
    exact: Mapping[str, int]
    gram_space: Grams
    grams: sparse.csr_matrix
    columns: sparse.csr_matrix
    word_space: Words
    words: sparse.csr_matrix
    word_columns: sparse.csr_matrix
    letters: sparse.csr_matrix
    letter_weight: Float
    letter_keys: NDArray[np.int64]
    qualifiers: Float
    length: Float
    flags: Float
    grey: NDArray[np.bool_]
    by_category: NDArray[np.int64]
    """Rows of ``names`` in code order, and where in it each category and subcategory begins."""
    categories: Groups
    subcategories: Groups
    contained: ahocorasick.Automaton
    splitter: Splitter
    expander: Replacer
    generalizer: Replacer
    alternatives: Mapping[str, tuple[str, ...]]
    concepts: Mapping[str, NamedConcepts]
    """Per kind (site, finding) what the names speak of."""
    terms: Terms
    tokenizer: Tokenizer

    @classmethod
    def build(
        cls, table: NameTable, terms: Terms, tokenizer: Tokenizer, cuts: Mapping[str, str] | None = None
    ) -> NameIndex:
        """Index the names of ``table``, and for diagnoses the morphology names of ``terms``.

        ``cuts``: the words of names that were cut before, joined with blanks.
        """
        table = with_morphology(table, terms) if table.system == "icd10" else table
        place: dict[str, int] = {}
        shown: list[str] = []
        bearers: list[list[int]] = []
        spellings = [compact(name) for name in terms.normalize.names(table.names)]
        for key, name, owner in zip(spellings, table.names, table.owner, strict=True):
            index = place.setdefault(key, len(shown))
            if index == len(shown):
                # One edition's table has its brackets escaped.
                shown.append(name.replace("\\", ""))
                bearers.append([owner])
            else:
                bearers[index].append(owner)
        for owners in bearers:
            owners.sort(
                key=lambda owner: (
                    table.grey[owner],
                    table.kinds[owner] == MORPHOLOGY,
                    table.codes[owner],
                )
            )
        base = list(range(len(shown)))
        for key, row in _other_readings(table, terms, place).items():
            place[key] = len(shown)
            shown.append(shown[row])
            bearers.append(bearers[row])
            base.append(row)
        names = list(place)
        term = np.array(base, dtype=np.int64)
        automaton = _automaton(names, table, bearers)
        gram_space = Grams.fit(names)
        grams = gram_space.vectors(names)
        known = cuts or {}
        tokens = [known[name].split() if name in known else tokenizer.tokenize(name) for name in names]
        word_space = Words.fit(tokens)
        words = word_space.vectors(tokens)
        single = np.flatnonzero(gram_space.keys < 1 << 21)
        binary = grams[:, : len(single)].copy()
        binary.data[:] = 1
        weight = gram_space.idf[: len(single)]
        expansions = terms.expansions[table.system]
        keys = [table.codes[owners[0]] for owners in bearers]
        order = np.array(sorted(range(len(names)), key=keys.__getitem__), dtype=np.int64)
        return cls(
            table,
            tuple(names),
            tuple(shown),
            tuple(tuple(owners) for owners in bearers),
            np.array([owners[0] for owners in bearers], dtype=np.int32),
            term,
            place,
            gram_space,
            grams,
            sparse.csr_matrix(grams.T),
            word_space,
            words,
            sparse.csr_matrix(words.T),
            binary,
            weight,
            gram_space.keys[single],
            qualifier_rows(names),
            np.array([len(name) for name in names], dtype=np.float32),
            _flags(table, spellings, names, bearers, terms=terms, automaton=automaton, term=term),
            np.array([table.grey[owners[0]] for owners in bearers]),
            order,
            Groups.build([keys[i][:3] for i in order], order),
            Groups.build([keys[i][:5] for i in order], order),
            automaton,
            Splitter.build(table.system, names, terms),
            Replacer(
                {key: values[0] for key, values in expansions.items() if not _only_alone(key, values[0])}
            ),
            Replacer(dict(terms.broader)),
            {
                key: values
                for key, values in expansions.items()
                if len(values) > 1 or _only_alone(key, values[0])
            },
            {kind: NamedConcepts.build(concepts, names) for kind, concepts in terms.concepts.items()},
            terms,
            tokenizer,
        )

    def code(self, name: int) -> str:
        """The code shown for a name."""
        return self.table.codes[int(self.code_of[name])]

    def expand(self, text: str) -> str:
        """``text`` with the usual wording of every abbreviation and usage in it."""
        alone = self.alternatives.get(text)
        return alone[0] if alone else self.expander.replace(text)

    def names_in(self, text: str) -> list[int]:
        """Every name that stands in ``text``, the longest first."""
        found = {name for _, name in self.contained.iter(text)}
        return sorted(found, key=lambda name: (-len(self.names[name]), name))

    def generalize(self, text: str) -> str:
        """``text`` with every part of the body named by what the tables group it under."""
        return self.generalizer.replace(text)


def _only_alone(usage: str, meaning: str) -> bool:
    """An instrument means an examination only where nothing is done through it: 胃镜, 胃镜下止血."""
    return usage.endswith("镜") and meaning.endswith("镜检查")


def _other_readings(table: NameTable, terms: Terms, place: Mapping[str, int]) -> dict[str, int]:
    """Further readings of names with brackets → the row of the name; what two names share says neither.

    Brackets in a diagnosis hold a synonym; in a procedure they mostly say which of several it is.
    """
    if table.system != "icd10":
        return {}
    found: dict[str, int] = {}
    shared: set[str] = set()
    bracketed = [name for name in table.names if "[" in name or "(" in name or "［" in name or "（" in name]
    for name in terms.normalize.names(bracketed):
        row = place[compact(name)]
        for reading in readings(name):
            if reading not in place and found.setdefault(reading, row) != row:
                shared.add(reading)
    return {reading: row for reading, row in found.items() if reading not in shared}


def _automaton(names: list[str], table: NameTable, bearers: list[list[int]]) -> ahocorasick.Automaton:
    automaton = ahocorasick.Automaton()
    for row, name in enumerate(names):
        if len(name) >= 2 or table.kinds[bearers[row][0]] == MORPHOLOGY:
            automaton.add_word(name, row)
    automaton.make_automaton()
    return automaton


def with_morphology(table: NameTable, terms: Terms) -> NameTable:
    """The table and the ICD-O-3 morphology codes, which a pathological diagnosis is coded with."""
    preferred: dict[str, str] = {code: name for code, name, first in terms.morphology if first}
    place = {code: len(table.codes) + index for index, code in enumerate(preferred)}
    titles = tuple(preferred.values())
    others = [(code, name) for code, name, first in terms.morphology if not first]
    size = len(table.codes)
    return NameTable(
        table.system,
        table.codes + tuple(place),
        table.titles + titles,
        table.grey + (False,) * len(place),
        table.kinds + (MORPHOLOGY,) * len(place),
        table.editions + (EDITIONS,) * len(place),
        table.names[:size] + titles + table.names[size:] + tuple(name for _, name in others),
        table.owner[:size]
        + tuple(place.values())
        + table.owner[size:]
        + tuple(place[code] for code, _ in others),
        table.edition[:size] + ("",) * len(place) + table.edition[size:] + ("ICD-O-3",) * len(others),
        table.within[:size]
        + (EVERY_EDITION,) * len(place)
        + table.within[size:]
        + (EVERY_EDITION,) * len(others),
    )


LOCAL = "本院"


def with_local(table: NameTable, entries: Sequence[tuple[str, str]]) -> NameTable:
    """The table and a hospital's own (code, name) pairs; a code that the table lacks is added."""
    place = {code: index for index, code in enumerate(table.codes)}
    new: dict[str, str] = {}
    for code, name in entries:
        if code not in place:
            new.setdefault(code or name, name)
    size = len(table.codes)
    place |= {code: size + index for index, code in enumerate(new)}
    aliases = [(place[code or name], name) for code, name in entries if new.get(code or name) != name]
    return NameTable(
        table.system,
        table.codes + tuple(new),
        table.titles + tuple(new.values()),
        table.grey + (False,) * len(new),
        table.kinds + (LOCAL,) * len(new),
        table.editions + (0,) * len(new),
        table.names[:size] + tuple(new.values()) + table.names[size:] + tuple(name for _, name in aliases),
        table.owner[:size] + tuple(place[c] for c in new) + table.owner[size:] + tuple(o for o, _ in aliases),
        table.edition[:size] + ("",) * len(new) + table.edition[size:] + (LOCAL,) * len(aliases),
        table.within[:size]
        + (EVERY_EDITION,) * len(new)
        + table.within[size:]
        + (EVERY_EDITION,) * len(aliases),
    )


def qualifier_rows(texts: Sequence[str]) -> Float:
    """Which qualifiers each text has, shape (texts, qualifiers), 0 or 1."""
    return _rows_with(texts, QUALIFIERS)


def _rows_with(texts: Sequence[str], words: Sequence[str]) -> Float:
    """Which of ``words`` each text has, shape (texts, words), 0 or 1."""
    rows = np.zeros((len(texts), len(words)), dtype=np.float32)
    joined = "\n".join(texts)
    starts = _line_starts(texts)
    for column, word in enumerate(words):
        place = joined.find(word)
        hits = []
        while place >= 0:
            hits.append(place)
            place = joined.find(word, place + 1)
        if hits:
            rows[np.searchsorted(starts, hits, side="right") - 1, column] = 1
    return rows


def _flags(
    table: NameTable,
    spelled: list[str],
    names: list[str],
    bearers: list[list[int]],
    *,
    terms: Terms,
    automaton: ahocorasick.Automaton,
    term: NDArray[np.int64],
) -> Float:
    """Per name: is a title, number of its codes, names of its code, grey, morphology, vague
    wording, editions that have it, whether an extension code, whether an unspecified
    one, in how many names it stands, how many usages lead to it, whether it is coded daily (2) or often (1), how many
    editions write it so, whether the Beijing edition does (the oldest, whose terms most doctors learned),
    whether its code is the subcategory's own."""
    size = len(table.codes)
    first = np.array([owners[0] for owners in bearers], dtype=np.int64)
    aliases = np.bincount(np.array(table.owner), minlength=size)
    starts = np.cumsum([0, *(len(owners) for owners in bearers)])[:-1]
    every = np.array([owner for owners in bearers for owner in owners], dtype=np.int64)
    place = {name: row for row, name in enumerate(names)}
    usages = Counter(compact(value) for values in terms.expansions[table.system].values() for value in values)
    common = {compact(name): grade for name, grade in terms.common[table.system].items()}
    rows = np.zeros((len(names), 15), dtype=np.float32)
    rows[[place[name] for name in spelled[:size]], 0] = 1
    rows[:, 1] = np.minimum(np.diff(np.append(starts, len(every))), 4)
    rows[:, 2] = np.minimum(aliases[first], 6)
    rows[:, 3] = np.array(table.grey)[first]
    rows[:, 4] = np.array([kind == MORPHOLOGY for kind in table.kinds])[first]
    rows[:, 5] = _having(names, ("其他", "未特指", "未提及", "不可归类"))
    rows[:, 6] = np.maximum.reduceat(np.array(table.editions)[every], starts)
    rows[:, 7] = np.array([bool(_EXTENSION.search(code.partition("+")[0])) for code in table.codes])[first]
    rows[:, 8] = np.array([code[4:5] == "9" for code in table.codes])[first]
    rows[:, 9] = np.log(np.maximum(_spread(names, automaton), 1))
    for value, times in usages.items():
        if value in place:
            rows[place[value], 10] = min(times, 6)
    for name, grade in common.items():
        if name in place:
            rows[place[name], 11] = grade
    within = np.zeros(len(names), dtype=np.int64)
    np.bitwise_or.at(within, [place[name] for name in spelled], np.array(table.within))
    for bit in EDITION_BITS.values():
        rows[:, 12] += (within & bit) > 0
    rows[:, 13] = (within & EDITION_BITS["beijing"]) > 0
    rows[:, 14] = np.array([bool(_BASE.search(code.partition("+")[0])) for code in table.codes])[first]
    # Another reading of a name is in the editions that the name is in.
    for column in (0, 12, 13):
        rows[:, column] = rows[term, column]
    return rows


def _line_starts(names: Sequence[str]) -> NDArray[np.int64]:
    """Where each name begins when all are joined with line ends."""
    return np.cumsum([0, *(len(name) + 1 for name in names[:-1])])


def _having(names: Sequence[str], words: Sequence[str]) -> NDArray[np.bool_]:
    """Which names have one of ``words``."""
    return np.asarray(_rows_with(names, words).any(axis=1))


def _spread(names: Sequence[str], automaton: ahocorasick.Automaton) -> NDArray[np.int64]:
    """In how many names each name stands, itself included."""
    if not names:
        return np.zeros(0, dtype=np.int64)
    found = chain.from_iterable(automaton.iter("\n".join(names)))
    hits = np.fromiter(found, dtype=np.int64).reshape(-1, 2)
    inside = np.searchsorted(_line_starts(names), hits[:, 0], side="right") - 1
    pairs = np.unique(inside * len(names) + hits[:, 1])
    return np.bincount(pairs % len(names), minlength=len(names))
