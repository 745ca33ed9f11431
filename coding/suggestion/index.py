"""The names a system knows, ready to be compared with a text: vectors, words, flags."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ahocorasick
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from coding.names import NameTable
from coding.normalize import Replacer
from coding.suggestion.grams import Float, Grams, Words
from coding.suggestion.split import Splitter
from coding.suggestion.terms import Terms
from coding.suggestion.words import Tokenizer

MORPHOLOGY = "形态学"
EDITIONS = 3
"""How many other editions the crosswalk knows."""
_PUNCTUATION = re.compile(r"[\s,、;:.\[\]()\"'/\-]+")
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


def compact(text: str) -> str:
    """The spelling in which texts and names are compared: no blanks, no punctuation."""
    return _PUNCTUATION.sub("", text)


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
    terms: Terms
    tokenizer: Tokenizer

    @classmethod
    def build(cls, table: NameTable, terms: Terms, tokenizer: Tokenizer) -> NameIndex:
        """Index the names of ``table``, and for diagnoses the morphology names of ``terms``."""
        table = with_morphology(table, terms) if table.system == "icd10" else table
        place: dict[str, int] = {}
        shown: list[str] = []
        bearers: list[list[int]] = []
        spellings = [compact(name) for name in terms.normalize.names(table.names)]
        for key, name, owner in zip(spellings, table.names, table.owner, strict=True):
            index = place.setdefault(key, len(shown))
            if index == len(shown):
                shown.append(name)
                bearers.append([owner])
            else:
                bearers[index].append(owner)
        names = list(place)
        for owners in bearers:
            owners.sort(key=lambda owner: (table.grey[owner], table.codes[owner]))
        automaton = _automaton(names, table, bearers)
        gram_space = Grams.fit(names)
        grams = gram_space.vectors(names)
        tokens = [tokenizer.tokenize(name) for name in names]
        word_space = Words.fit(tokens)
        words = word_space.vectors(tokens)
        single = np.flatnonzero(gram_space.keys < 1 << 21)
        binary = gram_space.counts(names)[:, : len(single)].copy()
        binary.data[:] = 1
        weight = gram_space.idf[: len(single)]
        expansions = terms.expansions[table.system]
        order = np.array(sorted(range(len(names)), key=lambda i: table.codes[bearers[i][0]]), dtype=np.int64)
        return cls(
            table,
            tuple(names),
            tuple(shown),
            tuple(tuple(owners) for owners in bearers),
            np.array([owners[0] for owners in bearers], dtype=np.int32),
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
            _flags(table, spellings, names, bearers, terms=terms, automaton=automaton),
            np.array([table.grey[owners[0]] for owners in bearers]),
            order,
            Groups.build([table.codes[bearers[i][0]][:3] for i in order], order),
            Groups.build([table.codes[bearers[i][0]][:5] for i in order], order),
            automaton,
            Splitter.build(table.system, names, terms),
            Replacer({key: values[0] for key, values in expansions.items()}),
            Replacer(dict(terms.broader)),
            {key: values for key, values in expansions.items() if len(values) > 1},
            terms,
            tokenizer,
        )

    def code(self, name: int) -> str:
        """The code shown for a name."""
        return self.table.codes[int(self.code_of[name])]

    def expand(self, text: str) -> str:
        """``text`` with the usual wording of every abbreviation and usage in it."""
        return self.expander.replace(text)

    def names_in(self, text: str) -> list[int]:
        """Every name that stands in ``text``, the longest first."""
        found = {name for _, name in self.contained.iter(text)}
        return sorted(found, key=lambda name: (-len(self.names[name]), name))

    def generalize(self, text: str) -> str:
        """``text`` with every part of the body named by what the tables group it under."""
        return self.generalizer.replace(text)


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
    )


def qualifier_rows(texts: Sequence[str]) -> Float:
    """Which qualifiers each text has, shape (texts, qualifiers), 0 or 1."""
    rows = np.zeros((len(texts), len(QUALIFIERS)), dtype=np.float32)
    joined = "\n".join(texts)
    starts = np.cumsum([0] + [len(text) + 1 for text in texts[:-1]])
    for column, word in enumerate(QUALIFIERS):
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
) -> Float:
    """Per name: is a title, number of its codes, names of its code, grey, morphology, vague
    wording, editions that have it, whether an extension code, whether an unspecified
    one, in how many names it stands, how many usages lead to it, whether it is coded daily."""
    aliases = np.bincount(np.array(table.owner), minlength=len(table.codes))
    rows = np.zeros((len(names), 12), dtype=np.float32)
    spread = np.zeros(len(names), dtype=np.float32)
    for name in names:
        spread[list({other for _, other in automaton.iter(name)})] += 1
    rows[:, 9] = np.log(np.maximum(spread, 1))
    usages = Counter(compact(value) for values in terms.expansions[table.system].values() for value in values)
    common = {compact(name) for name in terms.common[table.system]}
    for index, owners in enumerate(bearers):
        rows[index, 10] = min(usages[names[index]], 6)
        rows[index, 11] = names[index] in common
        first = owners[0]
        rows[index, 0] = any(spelled[owner] == names[index] for owner in owners)
        rows[index, 1] = min(len(owners), 4)
        rows[index, 2] = min(int(aliases[first]), 6)
        rows[index, 3] = table.grey[first]
        rows[index, 4] = table.kinds[first] == MORPHOLOGY
        code = table.codes[first]
        rows[index, 6] = max(table.editions[owner] for owner in owners)
        rows[index, 7] = "x" in code[4:].partition("+")[0]
        rows[index, 8] = code[4:5] == "9"
        rows[index, 5] = any(word in names[index] for word in ("其他", "未特指", "未提及", "不可归类"))
    return rows
