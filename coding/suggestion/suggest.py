"""From what the doctor wrote to codes: mentions, their places, and the candidates for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from coding.names import System
from coding.normalize import Normalized, compact
from coding.suggestion.context import (
    CONFIDENT,
    CONFLICT_WEIGHT,
    Context,
    SexLimits,
    conflicts,
    usage_flags,
)
from coding.suggestion.history import PastCodings
from coding.suggestion.index import LOCAL, MORPHOLOGY, NameIndex
from coding.suggestion.match import COLUMN, Comparison, Matcher
from coding.suggestion.model import Model
from coding.suggestion.split import CERTAINTIES, MAXIMUM_TEXT, Certainty, Statement, Unit, certainty_of
from coding.suggestion.train import Past

Status = Literal["coded", "unsure", "excluded"]
STATUSES: dict[Status, str] = {
    "coded": "有把握的推荐",
    "unsure": "没有把握，请人工核对",
    "excluded": "已除外，不编码",
}
OFFERED = 0.02
LEAST_SAID = 0.5
"""Share of the text's characters (by idf) without which no candidate is called sure."""
SAYS_ALL = 0.8
"""Share of the characters (by idf) that a combination code's name and the statement must share."""
SAYS_ONE = 0.95
"""Cosine from which a name is the name of that one unit."""
DEPARTMENT_WEIGHT = 0.3
"""How much it counts that a department codes a category oftener than the hospital (a logarithm)."""
SUBCATEGORY_VOTE: dict[System, float] = {"icd10": 0.0, "icd9cm3": 0.8}
"""How much the share of a subcategory in all scores (a logarithm) counts from the second place on: the
operation is mostly clear and how finely it was coded is not, so that its other codes go before other
operations. The categories of diagnoses are too like each other for that."""
WHOLE_PREFERENCE = 0.3
"""How much covering more of a statement counts when units compete (exponent of the covered share)."""


class Candidate(msgspec.Struct, frozen=True):
    """One code offered for a mention.

    ``name`` is the code's title; ``matched`` the name that the text is like (the title or an alias).
    ``probability``: that a coder would choose it, calibrated. ``past``: how often it was chosen here.
    """

    code: str
    name: str
    matched: str
    probability: float
    reasons: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    grey: bool = False
    kind: str = ""
    edition: str = "医保版2.0"
    past: int = 0


class Mention(msgspec.Struct, frozen=True):
    """One stretch of the text, half-open [start, end) in characters of the source, and its candidates."""

    text: str
    start: int
    end: int
    status: Status
    status_text: str
    certainty: Certainty
    certainty_text: str
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Ranked:
    """The candidates of one statement, best first: rows of the index, probabilities, best units."""

    statement: Statement
    names: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    units: NDArray[np.int64]
    comparison: Comparison
    order: NDArray[np.int64]


class Suggester:
    """Suggests codes of one system."""

    def __init__(
        self, index: NameIndex, model: Model, limits: SexLimits | None = None, past: PastCodings | None = None
    ) -> None:
        self.index = index
        self.model = model
        self.limits = limits or SexLimits({})
        self.past = past or PastCodings(index, [], [])
        if model.memory is not None:
            self.past.attach(model.memory)
        self.matcher = Matcher(index, model.learned(index), self.past)

    @property
    def system(self) -> System:
        return self.index.table.system

    def learn(self, past: Past) -> None:
        """Remember one more accepted coding for the next suggestion."""
        text = compact(self.index.expand(self.index.terms.normalize(past.text)))
        self.past.add(text, past.names, past.department)

    def suggest(self, text: str, context: Context | None = None, limit: int = 5) -> list[Mention]:
        """The mentions of ``text`` in order, each with at most ``limit`` candidates.

        Looks at the first 4,000 characters. A text without letters has no mentions.
        """
        source = self.index.terms.normalize.aligned(text[:MAXIMUM_TEXT])
        mentions = []
        for statement in self.index.splitter.statements(source):
            mentions += self._mentions(source, text, self.rank(statement, context), context, limit)
        return mentions

    def ranking(self, text: str, context: Context | None = None, limit: int = 10) -> list[Candidate]:
        """One list for the whole text, best first, each code and name once: for measuring."""
        source = self.index.terms.normalize.aligned(text[:MAXIMUM_TEXT])
        merged: list[tuple[float, int, Candidate]] = []
        for place, statement in enumerate(self.index.splitter.statements(source)):
            ranked = self.rank(statement, context)
            merged += [
                (-candidate.probability, place, candidate)
                for candidate in self._candidates(ranked, range(min(len(ranked.names), limit * 2)), context)
            ]
        merged.sort(key=lambda entry: entry[:2])
        return [candidate for *_, candidate in merged][: limit * 2]

    def rank(self, statement: Statement, context: Context | None = None) -> Ranked:
        """Every candidate of one statement by the ranker, with probabilities that never rise."""
        comparison = self.matcher.compare(statement)
        scores = self.model.scores(comparison)
        probabilities = self.model.probabilities(comparison, scores)
        exact = self._exact(statement, comparison)
        if len(exact):
            scores[exact] = scores.max() + 1
            probabilities[exact] = probabilities.max()
        if context is not None and context.department and len(scores):
            leaning = DEPARTMENT_WEIGHT * self.past.leaning(context.department, comparison.names)
            scores = scores + leaning
            probabilities = 1 / (1 + (1 / np.clip(probabilities, 1e-6, 1 - 1e-6) - 1) * np.exp(-leaning))
        if context is not None and len(scores):
            against = np.array([bool(self._conflicts(int(name), context)) for name in comparison.names])
            scores = np.where(against, scores - 3.0, scores)
            probabilities = np.where(against, probabilities * CONFLICT_WEIGHT, probabilities)
        order = self._order(comparison.names, scores)
        falling = np.minimum.accumulate(probabilities[order]) if len(order) else probabilities
        return Ranked(statement, comparison.names[order], falling, comparison.units[order], comparison, order)

    def _exact(self, statement: Statement, comparison: Comparison) -> NDArray[np.int64]:
        """Where the candidate is whose name is just what was written, unless this hospital coded it otherwise."""
        if self.model.memory is not None or (comparison.features[:, COLUMN["past_exact"]] > 0).any():
            return np.zeros(0, dtype=np.int64)
        name = self.index.exact.get(compact(statement.text), -1)
        wanted = -1 if name < 0 or self.index.grey[name] else name
        return np.flatnonzero(comparison.names == wanted)

    def _order(self, names: NDArray[np.int64], scores: NDArray[np.float64]) -> NDArray[np.int64]:
        """The best candidate, then the others by score and by what their subcategory has of all scores."""
        order = np.lexsort((names, -scores))
        # A hospital's own codings teach how finely it codes; then its ranker needs no vote.
        weight = SUBCATEGORY_VOTE[self.system] if self.model.memory is None else 0.0
        if not weight or len(order) < 2:
            return order
        _, group = np.unique(self.index.subcategories.of_name[names], return_inverse=True)
        share = np.exp(scores - scores.max())
        voted = scores + weight * np.log(np.bincount(group, share)[group] / share.sum() + 1e-9)
        rest = order[1:]
        return np.append(order[:1], rest[np.lexsort((names[rest], -voted[rest]))])

    def _mentions(
        self, source: Normalized, text: str, ranked: Ranked, context: Context | None, limit: int
    ) -> list[Mention]:
        statement = ranked.statement
        if not any(character.isalnum() for character in statement.text):
            return []
        if statement.certainty == "excluded":
            return [
                self._mention(
                    source,
                    text,
                    statement.units[0],
                    certainty=statement.certainty,
                    status="excluded",
                    candidates=(),
                )
            ]
        mentions = []
        for unit in self._chosen_units(ranked):
            rows = [
                row
                for row in range(len(ranked.names))
                if _within(statement.units[int(ranked.units[row])], unit)
                and ranked.probabilities[row] >= OFFERED
            ]
            combined = self._says_all(ranked)
            if combined in rows:
                # One code that holds everything goes before the codes of the parts.
                rows = [combined, *(row for row in rows if row != combined)]
            candidates = _falling(_distinct(self._candidates(ranked, rows[: limit * 3], context)))[:limit]
            sure = (
                bool(candidates)
                and candidates[0].probability >= CONFIDENT
                and self._grounded(ranked, rows[0])
            )
            mentions.append(
                self._mention(
                    source,
                    text,
                    unit,
                    certainty=_certainty(statement, unit),
                    status="coded" if sure else "unsure",
                    candidates=candidates,
                )
            )
        return mentions

    def _grounded(self, ranked: Ranked, row: int) -> bool:
        """Whether the candidate has enough of the text's own characters, or was chosen for the like before."""
        column = ranked.comparison.features[int(ranked.order[row])]
        if column[COLUMN["past_best"]] > 0 or column[COLUMN["same"]]:
            return True
        name = self.index.names[int(ranked.names[row])]
        unit = ranked.statement.units[int(ranked.units[row])]
        # A Latin letter that a word happens to hold says nothing of a disease named by it: Q热.
        if not any(
            letter in name for form in self.matcher.forms(unit.text) for letter in form if letter > "~"
        ):
            return False
        said = max(column[COLUMN["text_covered"]], column[COLUMN["text_learned"]])
        return bool(said >= LEAST_SAID or column[COLUMN["contained"]])

    def _chosen_units(self, ranked: Ranked) -> list[Unit]:
        """The units that together explain the statement best, without overlap, in order."""
        statement = ranked.statement
        if self._says_all(ranked) is not None:
            return [statement.units[0]]
        best: dict[int, float] = {}
        for row in range(len(ranked.names)):
            unit = int(ranked.units[row])
            best.setdefault(unit, float(ranked.probabilities[row]))
        length = max(len(statement.text), 1)
        by_worth = sorted(
            best,
            key=lambda unit: (
                -best[unit] * (len(statement.units[unit].text) / length) ** WHOLE_PREFERENCE,
                statement.units[unit].level,
                unit,
            ),
        )
        chosen: list[Unit] = []
        for unit in by_worth:
            candidate = statement.units[unit]
            if best[unit] >= CONFIDENT and not any(_overlap(candidate, other) for other in chosen):
                chosen.append(candidate)
        if not chosen:
            return [statement.units[0]]
        # What no chosen unit covers is shown as well, so that nothing the doctor wrote gets lost.
        for place, rest in enumerate(statement.units[1:], start=1):
            worth_showing = rest.level == 1 or best.get(place, 0.0) >= OFFERED
            if worth_showing and not any(_overlap(rest, other) for other in chosen):
                chosen.append(rest)
        return sorted(chosen, key=lambda unit: unit.start)

    def _says_all(self, ranked: Ranked) -> int | None:
        """The row of a candidate whose one name says all that a statement of several units says."""
        if len(ranked.statement.units) < 2:
            return None
        features = ranked.comparison.features
        for row in range(min(len(ranked.names), 10)):
            column = features[int(ranked.order[row])]
            said = min(column[COLUMN["whole_name_covered"]], column[COLUMN["whole_text_covered"]])
            # What a part alone calls for says nothing of the other parts.
            only_a_part = ranked.units[row] != 0 and column[COLUMN["best"]] >= SAYS_ONE
            if said >= SAYS_ALL and not only_a_part and ranked.probabilities[row] >= OFFERED:
                return row
        return None

    def _candidates(self, ranked: Ranked, rows: Sequence[int], context: Context | None) -> list[Candidate]:
        index, features = self.index, ranked.comparison.features
        table = index.table
        found = []
        for row in rows:
            name = int(ranked.names[row])
            owner = int(index.code_of[name])
            column = features[int(ranked.order[row])]
            unit = ranked.statement.units[int(ranked.units[row])]
            past = self.past.count(name)
            flags = usage_flags(self.system, table.codes[owner], table.grey[owner])
            if table.kinds[owner] == MORPHOLOGY:
                flags = ["肿瘤形态学编码，填病理诊断，不作疾病诊断"]
            found.append(
                Candidate(
                    table.codes[owner],
                    table.titles[owner],
                    index.shown[name],
                    round(float(ranked.probabilities[row]), 4),
                    tuple(self._reasons(name, owner, unit, column, past)),
                    tuple(flags),
                    tuple(self._conflicts(name, context)) if context else (),
                    table.grey[owner],
                    table.kinds[owner],
                    "ICD-O-3"
                    if table.kinds[owner] == MORPHOLOGY
                    else LOCAL
                    if table.kinds[owner] == LOCAL
                    else "医保版2.0",
                    past,
                )
            )
        return found

    def _reasons(
        self, name: int, owner: int, unit: Unit, column: NDArray[np.float32], past: int
    ) -> list[str]:
        index = self.index
        own, title = index.names[name], index.table.titles[owner]
        raw, expanded, bare, _ = self.matcher.forms(unit.text)
        reasons = []
        if own == raw:
            reasons.append("名称一致")
        elif own == expanded and raw != expanded:
            reasons.append(f"“{unit.text}”即{index.shown[name]}")
        elif own == bare:
            reasons.append("去掉部位、程度等说明后名称一致")
        elif own in raw or own in expanded:
            reasons.append(f"所写文字含“{index.shown[name]}”")
        else:
            shared = "".join(dict.fromkeys(c for c in own if c in raw or c in expanded))
            if shared:
                reasons.append(f"相同的字：{shared}")
        if compact(index.terms.normalize(title)) != own:
            reasons.append(f"别名：{index.shown[name]}")
        if past:
            reasons.append(f"本院曾这样编码 {past} 次")
        if column[COLUMN["past_exact"]] >= 1:
            reasons.append("同样的写法曾编为此码")
        return reasons

    def _conflicts(self, name: int, context: Context) -> list[str]:
        code = self.index.table.codes[int(self.index.code_of[name])]
        return conflicts(self.system, code, context, self.limits)

    @staticmethod
    def _mention(
        source: Normalized,
        text: str,
        unit: Unit,
        *,
        certainty: Certainty,
        status: Status,
        candidates: Sequence[Candidate],
    ) -> Mention:
        start, end = source.source_span(unit.start, unit.end)
        return Mention(
            text[start:end],
            start,
            end,
            status,
            STATUSES[status],
            certainty,
            CERTAINTIES[certainty],
            tuple(candidates),
        )


def _certainty(statement: Statement, unit: Unit) -> Certainty:
    return certainty_of(unit.text) or (statement.certainty if unit.level == 0 else "")


def _within(inner: Unit, outer: Unit) -> bool:
    return outer.start <= inner.start and inner.end <= outer.end


def _overlap(one: Unit, other: Unit) -> bool:
    return one.start < other.end and other.start < one.end


def _falling(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates in their order, with the probabilities in falling order: a place has its own."""
    values = sorted((candidate.probability for candidate in candidates), reverse=True)
    return [
        msgspec.structs.replace(candidate, probability=value)
        for candidate, value in zip(candidates, values, strict=True)
    ]


def _distinct(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Each code once, by its best name."""
    seen: dict[str, Candidate] = {}
    for candidate in candidates:
        seen.setdefault(candidate.code, candidate)
    return list(seen.values())
