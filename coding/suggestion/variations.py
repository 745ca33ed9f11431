"""Training texts that our program makes from the code tables: names as a hurried doctor writes them."""

from __future__ import annotations

import difflib
import random
from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from coding.suggestion.index import MORPHOLOGY, NameIndex

_SIDES = ("左", "右", "双", "左侧", "右侧", "双侧", "两侧")
_BEFORE = {
    "icd10": (
        "急性",
        "慢性",
        "多发性",
        "多发",
        "反复",
        "重度",
        "轻度",
        "中度",
        "老年性",
        "陈旧性",
        "复发性",
        "继发性",
        "早期",
        "晚期",
        "疑似",
        "考虑",
        "原发性",
        "巨大",
        "弥漫性",
        "轻微",
        "术后",
        "外伤性",
        "广泛",
        "不完全性",
    ),
    "icd9cm3": (
        "腹腔镜下",
        "经皮",
        "全麻下",
        "胸腔镜下",
        "内镜下",
        "超声引导下",
        "CT引导下",
        "宫腔镜下",
        "关节镜下",
        "经尿道",
        "显微镜下",
        "单孔",
        "急诊",
        "扩大",
        "复杂",
        "局部",
        "经腹",
        "机器人辅助",
    ),
}
_AFTER = {
    "icd10": (
        "待查",
        "?",
        "可能",
        "术后",
        "伴感染",
        "复发",
        "III期",
        "Ⅱ期",
        "IV级",
        "3级",
        "(重度)",
        "史",
        "化疗后",
        "治疗后",
        "术前",
        "伴疼痛",
        "伴出血",
        "并感染",
        "恢复期",
        "急性期",
        "稳定期",
        "(2度)",
        "多发",
        "待排",
        "改变",
        "外伤后",
        "5年",
        "3天",
        "后遗症期",
    ),
    "icd9cm3": (
        "(左)",
        "(右)",
        "(双侧)",
        "术",
        "(L4/5)",
        "+引流术",
        "(全麻)",
        "手术",
        "(微创)",
        "备中转开放",
        "(II期)",
        "(复杂)",
        "探查术",
        "+活检",
    ),
}
_JOINTS = (
    ("", 45),
    ("、", 8),
    ("，", 8),
    (" ", 8),
    ("；", 6),
    (".", 4),
    ("伴", 6),
    ("并", 5),
    ("合并", 4),
    ("+", 3),
    (";", 3),
)
_WEAK = frozenset("性的症病型部术和与伴有及后道处区腔体内下")
STRENGTHS = {"icd10": (0.6, 1.0, 1.0, 1.5, 2.2), "icd9cm3": (1.0, 1.5, 1.5, 2.5)}
"""How roughly names are treated: every step's chance is multiplied by one of these."""
HARD = {"icd10": (0.8, 1.3, 1.8, 2.4), "icd9cm3": (1.6, 2.4, 3.6)}
"""The same for calibration: real texts are further from the tables than what the ranker learns on, and a
probability must not promise more than they allow."""
SHARE_NOT_IN_EVERY_EDITION = 0.15
SHARE_OF_ALIASES = 0.1
"""Of procedures, which are shown by the code's title."""
SHARE_NOT_BEIJING = 0.5
"""Of diagnoses that the Beijing edition does not write so: later editions added what records seldom say."""
SHARE_OF_EXTENSIONS = {"icd10": 1.0, "icd9cm3": 0.1}
KEPT_EXTENSIONS = {"icd10": 1.0, "icd9cm3": 0.1}
"""Share of the examples wanting an extension code that are used: coders of procedures mostly choose the
national code above it, which every edition has."""
SHARE_OF_GREY = {"icd10": 0.1, "icd9cm3": 0.4}
SHARE_OF_VAGUE = {"icd10": 0.3, "icd9cm3": 0.6}
SPREAD_EXPONENT = 0.4
"""How much oftener a name comes that stands inside many other names."""
COMMON_WEIGHT = {"icd10": 10.0, "icd9cm3": 8.0}
SPECIFIC_SHARE = {"icd10": 0.35, "icd9cm3": 0.3}
"""Share of examples that say more than the code that is wanted."""
TUMOUR_SHARE = 0.07
FINER_STILL = 0.3
"""Share of the words put more finely that are put two steps finer."""
SIBLING_SHARE = 0.6
"""Share of the words put into a name that come from names of the same category: what a doctor adds
mostly specifies the disease."""
CHANCES = {
    "icd10": {
        "usage": 0.45,
        "part": 0.25,
        "finer site": 0.40,
        "finer finding": 0.50,
        "wording": 0.25,
        "turned": 0.12,
        "thinned": 0.12,
        "specified": 0.45,
        "specified again": 0.20,
        "side": 0.35,
        "before": 0.25,
        "after": 0.25,
        "noise": 0.35,
        "misspelt": 0.03,
    },
    "icd9cm3": {
        "usage": 0.45,
        "part": 0.30,
        "wording": 0.40,
        "turned": 0.15,
        "thinned": 0.20,
        "side": 0.35,
        "before": 0.25,
        "after": 0.25,
        "noise": 0.40,
        "misspelt": 0.03,
    },
}
"""How often each change is made to a name. Diagnoses mostly hold all of the name and much besides."""
OTHER_WORDING_SHARE = {"icd10": 0.12, "icd9cm3": 0.25}
"""Share of examples in which one edition's name of a code stands for another's: people wrote both."""
_MOST_NAMES = (1, 1, 1, 1, 1, 1, 2, 2, 2, 3)


@dataclass(frozen=True, slots=True)
class Example:
    """A text, the names (rows of the index) that it stands for, and names that must not be offered."""

    text: str
    names: tuple[int, ...]
    hidden: tuple[int, ...] = ()


class Variations:
    """Makes examples from one index; the same seed gives the same examples."""

    def __init__(self, index: NameIndex, seed: int, strengths: Sequence[float] = ()) -> None:
        self.index = index
        self.strengths = tuple(strengths) or STRENGTHS[index.table.system]
        self.random = random.Random(seed)  # noqa: S311 - repeatable training texts, no secret
        self.system = index.table.system
        self._cumulative = list(accumulate(self._weights()))
        self._usages = _reversed(index.terms.expansions[self.system].items())
        self._parts = _reversed((key, (value,)) for key, value in index.terms.broader.items())
        self._wordings = _wordings(index)
        self._siblings: dict[str, list[int]] = defaultdict(list)
        for row in range(len(index.names)):
            self._siblings[index.code(row)[:3]].append(row)
        self._morphology = [
            row for row in range(len(index.names)) if index.table.kinds[int(index.code_of[row])] == MORPHOLOGY
        ]
        self._by_behaviour = {
            ending: [row for row in self._morphology if index.code(row).endswith(ending)]
            for ending in ("/3", "/6")
        }
        self._tumours = (
            [
                row
                for row in range(len(index.names))
                if index.names[row].endswith("恶性肿瘤")
                and index.flags[row, 6] >= 3
                and len(index.names[row]) <= 9
            ]
            if self._morphology
            else []
        )
        self._broader = self._general_names()
        self._paired = self._names_of_one_code()

    def make(self, count: int) -> list[Example]:
        """``count`` examples."""
        return [self._kept() for _ in range(count)]

    def _kept(self) -> Example:
        """An example; most of those that want extension codes give way to another where the system says so."""
        share = KEPT_EXTENSIONS[self.system]
        while True:
            example = self._example()
            extension = all(self.index.flags[name, 7] for name in example.names)
            if share == 1 or not extension or self.random.random() < share:
                return example

    def _weights(self) -> list[float]:
        """Short names that every edition knows are what doctors mostly mean."""
        index, weights = self.index, []
        for row, name in enumerate(index.names):
            flags = index.flags[row]
            weight = 2.718 ** (-max(len(name) - 4, 0) / 6)
            weight *= (
                (1.0, SHARE_NOT_IN_EVERY_EDITION)[int(flags[6] < 3)]
                * (1.0, SHARE_OF_GREY[self.system])[int(flags[3])]
                * (1.0, SHARE_OF_VAGUE[self.system])[int(flags[5])]
            )
            if self.system == "icd10":
                weight *= (SHARE_NOT_BEIJING, 1.0)[int(flags[13])]
            else:
                weight *= (SHARE_OF_ALIASES, 1.0)[int(flags[0])]
            weight *= (
                1.0,
                SHARE_OF_EXTENSIONS[self.system],
            )[int(flags[7])]
            weight *= (
                2.718 ** (SPREAD_EXPONENT * flags[9])
                * (1 + flags[10])
                * COMMON_WEIGHT[self.system] ** (flags[11] / 2)
            )
            weights.append(0.0 if flags[4] or len(name) < 2 else weight)
        return weights

    def _kind(self, secondary: bool) -> int:
        """A morphology for a malignant tumour: most records say no more than 癌."""
        if secondary:
            return self._by_behaviour["/6"][0]
        return (
            self.index.exact["癌"]
            if self.random.random() < 0.5
            else self.random.choice(self._by_behaviour["/3"])
        )

    def _name(self) -> int:
        return bisect(self._cumulative, self.random.random() * self._cumulative[-1])

    def _example(self) -> Example:
        if self._paired and self.random.random() < OTHER_WORDING_SHARE[self.system]:
            return self._other_wording()
        if self.random.random() < SPECIFIC_SHARE[self.system]:
            example = self._specific()
            if example is not None:
                return example
        size = (
            self.random.choice(_MOST_NAMES)
            if self.system == "icd10"
            else self.random.choice((1,) * 12 + (2,))
        )
        if self._tumours and self.random.random() < TUMOUR_SHARE:
            names = [self.random.choice(self._tumours) for _ in range(min(size, 2))]
        else:
            names = [self._name() for _ in range(size)]
        strength = self.random.choice(self.strengths)
        pieces = [self._written(self.index.names[name], strength) for name in names]
        for place, name in enumerate(names[:size]):
            if "恶性肿瘤" in self.index.names[name] and self._morphology and self.random.random() < 0.8:
                # A pathologist's word names the site's code and the morphology at once.
                kind = self._kind("继发" in self.index.names[name])
                word = self.random.choice(
                    (self.index.names[kind], *self._usages.get(self.index.names[kind], ()))
                )
                site = self.index.names[name].replace("继发恶性肿瘤", "转移").replace("恶性肿瘤", "")
                pieces[place] = self._written(site + word, 0.5 * strength)
                names.append(kind)
        joints, weights = zip(*_JOINTS, strict=True)
        text = pieces[0]
        for piece in pieces[1:]:
            text += self.random.choices(joints, weights)[0] + piece
        return Example(text, tuple(dict.fromkeys(names)))

    def _specific(self) -> Example | None:
        """A name more specific than the code it belongs to: the general name is what is wanted."""
        narrow = self._name() if self.random.random() < 0.3 else self.random.randrange(len(self.index.names))
        general = self._broader.get(narrow)
        if general is None:
            return None
        return Example(self._written(self.index.names[narrow], 0.5), (general,), (narrow,))

    def _names_of_one_code(self) -> list[tuple[int, tuple[int, ...]]]:
        """Each name whose code has others, with those that may stand for it: the Beijing edition's first."""
        index = self.index
        of_code: dict[int, list[int]] = defaultdict(list)
        for row in range(len(index.names)):
            if not index.flags[row, 4] and not index.flags[row, 3]:
                of_code[int(index.code_of[row])].append(row)
        found = []
        for rows in of_code.values():
            wanted = [row for row in rows if index.flags[row, 13]] if self.system == "icd10" else rows
            for row in rows:
                others = tuple(other for other in wanted if other != row)
                if others:
                    found.append((row, others))
        return found

    def _other_wording(self) -> Example:
        """A name of a code as the text, its other names as what is wanted, the name itself not offered."""
        row, others = self.random.choice(self._paired)
        return Example(self._written(self.index.names[row], 0.4), others, (row,))

    def _written(self, name: str, strength: float = 1.0) -> str:
        text = name
        row = self.index.exact.get(name)
        steps: dict[str, Callable[[str], str]] = {
            "usage": lambda t: self._swap(t, self._usages),
            "part": lambda t: self._swap(t, self._parts),
            "finer site": lambda t: self._finer(t, "site"),
            "finer finding": lambda t: self._finer(t, "finding"),
            "wording": lambda t: self._swap(t, self._wordings),
            "turned": self._turned,
            "thinned": self._thinned,
            "specified": lambda t: self._specified(t, row),
            "specified again": lambda t: self._specified(t, row),
            "side": lambda t: self.random.choice(_SIDES) + t,
            "before": lambda t: self.random.choice(_BEFORE[self.system]) + t,
            "after": lambda t: t + self.random.choice(_AFTER[self.system]),
            "noise": self._with_noise,
            "misspelt": self._misspelt,
        }
        for change, chance in CHANCES[self.system].items():
            if self.random.random() < chance * strength:
                text = steps[change](text)
        return text or name

    def _swap(self, text: str, table: dict[str, list[str]]) -> str:
        found = [
            key
            for size in range(min(len(text), 14), 0, -1)
            for key in _substrings(text, size)
            if key in table
        ]
        if not found:
            return text
        key = found[0] if self.random.random() < 0.7 else self.random.choice(found)
        return text.replace(key, self.random.choice(table[key]), 1)

    def _finer(self, text: str, kind: str) -> str:
        """``text`` with one word put more finely: a doctor names the bone where the code names the limb."""
        concepts = self.index.concepts[kind].concepts
        spans = [span for span in concepts.spans(text) if span[2] in concepts.narrower]
        if not spans:
            return text
        start, end, word = self.random.choice(spans)
        finer = self.random.choice(concepts.narrower[word])
        if finer in concepts.narrower and self.random.random() < FINER_STILL:
            finer = self.random.choice(concepts.narrower[finer])
        return text[:start] + finer + text[end:]

    def _turned(self, text: str) -> str:
        words = self.index.tokenizer.tokenize(text)
        if len(words) < 2:
            return text
        cut = self.random.randrange(1, len(words))
        return "".join(words[cut:] + words[:cut])

    def _specified(self, text: str, row: int | None) -> str:
        """``text`` with a word or two of another name put in, mostly of one of the same category."""
        index, words = self.index, self.index.tokenizer.tokenize(text)
        if row is not None and self.random.random() < SIBLING_SHARE:
            other = self.random.choice(self._siblings[index.code(row)[:3]])
        else:
            other = self._name()
        pieces = [word for word in index.tokenizer.tokenize(index.names[other]) if word not in text]
        if not pieces or not words:
            return text
        cut = self.random.randrange(len(words) + 1)
        size = self.random.choice((1, 1, 2))
        start = self.random.randrange(len(pieces))
        return "".join([*words[:cut], *pieces[start : start + size], *words[cut:]])

    def _thinned(self, text: str) -> str:
        places = [place for place, character in enumerate(text) if character in _WEAK]
        if self.random.random() < 0.3 or not places:
            places = list(range(len(text)))
        if len(text) < 4:
            return text
        place = self.random.choice(places)
        return text[:place] + text[place + 1 :]

    def _with_noise(self, text: str) -> str:
        other = self.index.names[self._name()]
        size = self.random.randint(1, min(4, len(other)))
        start = self.random.randrange(len(other) - size + 1)
        piece = other[start : start + size]
        return piece + text if self.random.random() < 0.5 else text + piece

    def _misspelt(self, text: str) -> str:
        if not text:
            return text
        place = self.random.randrange(len(text))
        other = self.index.names[self._name()]
        return text[:place] + self.random.choice(other) + text[place + 1 :]

    def _general_names(self) -> dict[int, int]:
        """For names whose characters include those of a shorter established name of the subcategory."""
        index = self.index
        groups: dict[str, list[int]] = defaultdict(list)
        for row in range(len(index.names)):
            groups[index.code(row)[:5]].append(row)
        found: dict[int, int] = {}
        for rows in groups.values():
            established = [
                r
                for r in rows
                if index.flags[r, 6] >= 3 and not index.flags[r, 3] and len(index.names[r]) >= 2
            ]
            for row in rows:
                letters = set(index.names[row])
                fits = [
                    other
                    for other in established
                    if other != row
                    and len(index.names[other]) < len(index.names[row])
                    and len(letters & set(index.names[other])) >= 0.75 * len(set(index.names[other]))
                    and index.code_of[other] != index.code_of[row]
                ]
                if fits:
                    found[row] = max(
                        fits, key=lambda r: (len(letters & set(index.names[r])), -len(index.names[r]), -r)
                    )
        return found


def _reversed(pairs: object) -> dict[str, list[str]]:
    table: dict[str, list[str]] = defaultdict(list)
    for key, values in pairs:  # type: ignore[attr-defined]
        for value in values:
            if len(value) >= 1:
                table[value].append(key)
    return dict(table)


def _wordings(index: NameIndex) -> dict[str, list[str]]:
    """Phrases that the names of one code exchange for each other in at least two codes."""
    table = index.table
    spelled = index.terms.normalize.names(table.names)
    count: Counter[tuple[str, str]] = Counter()
    for entry in range(len(table.codes), len(table.names)):
        title, alias = spelled[table.owner[entry]], spelled[entry]
        if max(len(title), len(alias)) > 24:
            continue
        matcher = difflib.SequenceMatcher(None, title, alias, autojunk=False)
        changes = [op for op in matcher.get_opcodes() if op[0] != "equal"]
        if len(changes) > 2:
            continue
        for _, a, b, c, d in changes:
            if b > a:
                count[title[a:b], alias[c:d]] += 1
            if d > c:
                count[alias[c:d], title[a:b]] += 1
    found: dict[str, list[str]] = defaultdict(list)
    for (old, new), times in sorted(count.items()):
        if times >= 2 and old:
            found[old] += [new] * min(times, 5)
    return dict(found)


def _substrings(text: str, size: int) -> Sequence[str]:
    return [text[start : start + size] for start in range(len(text) - size + 1)]
