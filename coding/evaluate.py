"""How good suggestions are on texts with known codes: shares with intervals, and the worst misses by cause."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rapidfuzz import fuzz, process

from coding.names import System
from coding.normalize import compact
from coding.suggestion.assembly import Coding
from coding.suggestion.index import NameIndex
from coding.suggestion.suggest import Candidate, Suggester

LEVELS: Mapping[System, tuple[str, ...]] = {
    "icd10": ("name", "code", "sub4", "cat3"),
    "icd9cm3": ("name", "code", "px4"),
}
LEVEL_NAMES = {"name": "名称", "code": "编码", "sub4": "亚目", "cat3": "类目", "px4": "细目"}
BOOTSTRAPS = 500
WORST = 50
_NOISE = re.compile(r"[\s,，、()（）\[\]【】\-\"]")
_MORPHOLOGY = re.compile(r"M\d{4,5}")
_SUB4 = re.compile(r"([A-Z]\d\d)(?:\.?([0-9X]))?")
_PX4 = re.compile(r"(\d\d)\.(\d\d?)")


class EvaluationError(Exception):
    """A gold file cannot be read; the message is Chinese and names the line."""


@dataclass(frozen=True, slots=True)
class Gold:
    """One text and the terms that annotators gave: each a name and every code that counts as right."""

    id: str
    text: str
    terms: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was suggested for one text, best first; names and codes are separate lists."""

    codes: tuple[str, ...]
    names: tuple[str, ...]
    probability: float = 0.0


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured share with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f}（{self.low:.3f}–{self.high:.3f}）"


@dataclass(frozen=True, slots=True)
class Scores:
    """acc1, hit5 and R10 at one level over ``rows`` texts."""

    level: str
    rows: int
    acc1: Figure
    hit5: Figure
    r10: Figure


@dataclass(frozen=True, slots=True)
class Miss:
    """A text whose first five names hold no right one; ``cause`` in Chinese."""

    gold: Gold
    prediction: Prediction
    cause: str


def read_gold(path: Path) -> list[Gold]:
    """Rows ``{"id", "text", "gold": [{"name", <edition>: [codes]}]}``. Raises EvaluationError."""
    found = []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{path}：不能读取（{error}），应为 UTF-8 编码的 JSON Lines 文件") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            text = row["text"]
            terms = tuple(
                (
                    str(gold["name"]),
                    tuple(str(c) for value in gold.values() if isinstance(value, list) for c in value),
                )
                for gold in row.get("gold", ())
            )
            if not isinstance(text, str):
                raise TypeError("text 应为文字")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise EvaluationError(f"{path} 第 {number} 行不能读取（{error}）") from error
        found.append(Gold(str(row.get("id", number)), text, terms))
    return found


def predict(suggester: Suggester, text: str) -> Prediction:
    """The ranking of ``text`` as two lists, at most ten each."""
    ranked = suggester.ranking(text, limit=10)
    names: dict[str, None] = {}
    codes: dict[str, None] = {}
    for candidate in ranked:
        codes[candidate.code] = None
        for name in shown_names(suggester.system, candidate):
            names[name] = None
    first = ranked[0].probability if ranked else 0.0
    return Prediction(tuple(codes)[:10], tuple(names)[:10], first)


def shown_names(system: System, candidate: Candidate) -> tuple[str, ...]:
    """How a candidate is named: a diagnosis by the name that matched, which for a hospital on another
    edition is the term it knows; a procedure by its title, unless this hospital chose the other name."""
    return (candidate.matched,) if system == "icd10" or candidate.past else (candidate.name,)


def baseline_tfidf(index: NameIndex, text: str) -> Prediction:
    """What TF-IDF of characters alone suggests."""
    vector = index.gram_space.vectors([compact(index.terms.normalize(text))])
    cosines = np.asarray((vector @ index.columns).todense()).ravel()
    return _plain(index, np.argsort(-cosines, kind="stable")[:10].tolist())


def baseline_fuzzy(index: NameIndex, text: str) -> Prediction:
    """What rapidfuzz's ratio over all names suggests."""
    found = process.extract(compact(index.terms.normalize(text)), index.names, scorer=fuzz.ratio, limit=10)
    return _plain(index, [place for *_, place in found])


def _plain(index: NameIndex, rows: Sequence[int]) -> Prediction:
    return Prediction(
        tuple(dict.fromkeys(index.code(row) for row in rows)),
        tuple(dict.fromkeys(index.shown[row] for row in rows)),
    )


def scores(
    system: System, golds: Sequence[Gold], predictions: Sequence[Prediction], seed: int = 1
) -> list[Scores]:
    """acc1, hit5, R10 at every level. Terms without a code at a level do not count there."""
    found = []
    for level in LEVELS[system]:
        rows = []
        for gold, prediction in zip(golds, predictions, strict=True):
            wanted = _wanted(level, gold)
            if wanted:
                given = _given(level, prediction)
                union = set().union(*wanted)
                rows.append(
                    (
                        bool(given[:1]) and given[0] in union,
                        any(one in union for one in given[:5]),
                        sum(bool(term & set(given[:10])) for term in wanted) / len(wanted),
                    )
                )
        if rows:
            table = np.array(rows, dtype=np.float64)
            found.append(Scores(level, len(rows), *_figures(table, seed)))
    return found


def _figures(
    table: np.ndarray[tuple[int, int], np.dtype[np.float64]], seed: int
) -> tuple[Figure, Figure, Figure]:
    picker = np.random.default_rng(seed)
    draws = picker.integers(0, len(table), size=(BOOTSTRAPS, len(table)))
    means = table[draws].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5), axis=0)
    value = table.mean(axis=0)
    first, second, third = (Figure(float(value[i]), float(low[i]), float(high[i])) for i in range(3))
    return first, second, third


def calibration_error(golds: Sequence[Gold], predictions: Sequence[Prediction], bins: int = 10) -> float:
    """Expected calibration error of the first suggestion's probability, right meaning any right code or name."""
    told, right = [], []
    for gold, prediction in zip(golds, predictions, strict=True):
        if not prediction.names:
            continue
        name_hit = _given("name", prediction)[0] in set().union(*_wanted("name", gold))
        codes = set().union(set(), *_wanted("code", gold))
        told.append(prediction.probability)
        right.append(name_hit or _given("code", prediction)[0] in codes)
    if not told:
        return 0.0
    values, hits = np.array(told), np.array(right, dtype=np.float64)
    place = np.minimum((values * bins).astype(int), bins - 1)
    gaps = [
        abs(values[place == i].mean() - hits[place == i].mean()) * (place == i).sum()
        for i in range(bins)
        if (place == i).any()
    ]
    return float(sum(gaps) / len(values))


def worst_misses(index: NameIndex, golds: Sequence[Gold], predictions: Sequence[Prediction]) -> list[Miss]:
    """The texts with no right name among the first five, the most confident first, at most 50."""
    known = {_name_key(name) for name in index.shown}
    found = []
    for gold, prediction in zip(golds, predictions, strict=True):
        wanted = _wanted("name", gold)
        if not wanted or set().union(*wanted) & set(_given("name", prediction)[:5]):
            continue
        found.append(Miss(gold, prediction, _cause(index, known, gold, prediction)))
    found.sort(key=lambda miss: (-miss.prediction.probability, miss.gold.id))
    return found[:WORST]


def _cause(index: NameIndex, known: set[str], gold: Gold, prediction: Prediction) -> str:
    names = [_name_key(name) for name, _ in gold.terms]
    if not any(name in known for name in names):
        return "标准名称不在编码库和别名中"
    if any(name in _given("name", prediction) for name in names):
        return "排在第六至第十"
    near = {category for level in ("cat3", "px4") for term in _wanted(level, gold) for category in term}
    if near & {one for level in ("cat3", "px4") for one in _given(level, prediction)[:5]}:
        return "类目对而细分不对"
    text = _name_key(index.expand(index.terms.normalize(gold.text)))
    if re.search(r"[A-Z]{2,}", index.terms.normalize(gold.text)):
        return "外文缩写"
    if all(len(set(name) & set(text)) <= 0.34 * len(set(name)) for name in names):
        return "用字与标准名称很少相同"
    if len(gold.terms) > 1:
        return "一段文字含多个诊断"
    return "相近名称之间选错"


def _wanted(level: str, gold: Gold) -> list[set[str]]:
    if level == "name":
        return [{_name_key(name)} for name, _ in gold.terms]
    key = _LEVEL_KEYS[level]
    wanted = [{found for code in codes if (found := key(code))} for _, codes in gold.terms]
    return [one for one in wanted if one]


def _given(level: str, prediction: Prediction) -> list[str]:
    if level == "name":
        return list(dict.fromkeys(_name_key(name) for name in prediction.names))
    key = _LEVEL_KEYS[level]
    return list(dict.fromkeys(found for code in prediction.codes if (found := key(code))))


def _name_key(name: str) -> str:
    return _NOISE.sub("", name).lower()


def _code_key(code: str) -> str | None:
    return code.upper().replace("†", "+").strip() or None


def _sub4(code: str) -> str | None:
    plain = code.upper()
    found = None if _MORPHOLOGY.match(plain) else _SUB4.match(plain)
    return None if found is None else found[1] + (f".{found[2]}" if found[2] else "")


def _cat3(code: str) -> str | None:
    found = _sub4(code)
    return found and found[:3]


def _px4(code: str) -> str | None:
    found = _PX4.match(code)
    return found and found[0]


_LEVEL_KEYS: Mapping[str, Callable[[str], str | None]] = {
    "code": _code_key,
    "sub4": _sub4,
    "cat3": _cat3,
    "px4": _px4,
}


def split_codings(codings: Sequence[Coding], share: float, seed: int) -> tuple[list[Coding], list[Coding]]:
    """(to train on, held out): the same split for the same codings and seed."""
    order = list(range(len(codings)))
    random.Random(seed).shuffle(order)  # noqa: S311 - a repeatable split, no secret
    cut = max(1, int(len(codings) * share))
    return [codings[i] for i in sorted(order[cut:])], [codings[i] for i in sorted(order[:cut])]


def as_gold(codings: Iterable[Coding]) -> list[Gold]:
    """Codings as rows to measure with."""
    return [
        Gold(
            str(place),
            one.text,
            tuple((name or code, tuple(code.split("|")) if code else ()) for code, name in one.chosen),
        )
        for place, one in enumerate(codings)
    ]
