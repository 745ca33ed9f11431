"""Build a DIP catalogue from history: core groups, 综合病种, mean costs and scores."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import cast

from coding.library import CodeLibrary, subcategory
from grouper.dip.catalogue import Catalogue, DipGroup, GroupScore, TreatmentGroup
from grouper.dip.engine import CATEGORY_LENGTH, DipEngine
from grouper.dip.expression import parse
from grouper.dip.score import relative_weight
from grouper.worksheet import rounded, whole_fen
from models.grouping import Case

CITY_THRESHOLD = 15
"""Cases that make a combination a core group in a city's catalogue."""
YEAR_WEIGHTS = (7, 2, 1)
"""Weights of the last year, the one before it, and the one before that."""
TAIL = Fraction(25, 1000)
"""Share of the cases cut off at each end of the costs of a group and year."""
SCORE_DECIMALS = 4
MAX_CODE_LENGTH = 60
CONSERVATIVE = "保守治疗"


@dataclass(frozen=True, slots=True)
class HistoryCase:
    """One stay of the history: discharge ``year`` and ``cost`` in fen."""

    case: Case
    year: int
    cost: int


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What became of the history: cases used, left out and why, groups made."""

    cases: int
    years: tuple[int, ...]
    too_old: int
    without_cost: int
    not_for_grouping: int
    by_base: int
    core: int
    comprehensive: int
    core_groups: int
    comprehensive_groups: int
    mean_cost: int
    """Mean cost of all cases in fen, weighted by year, tails cut."""


@dataclass(frozen=True, slots=True)
class Built:
    catalogue: Catalogue
    report: BuildReport


@dataclass(slots=True)
class _Costs:
    """The costs of one group by year."""

    years: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))

    @property
    def cases(self) -> int:
        return sum(map(len, self.years.values()))


def build_catalogue(
    history: Iterable[HistoryCase],
    library: CodeLibrary,
    base: Catalogue | None,
    threshold: int = CITY_THRESHOLD,
) -> Built:
    """A catalogue with scores from up to three years of cases.

    Cases that a group of ``base`` takes (先期, 并项, 辅助细分, 基础) count there. The others are put
    together by the first four characters of the principal diagnosis and the set of counted procedures;
    a combination with at least ``threshold`` cases is a core group, the rest fold into 综合病种 by the
    first three characters and the kind of the main procedure. Means are weighted 1:2:7 by year, after
    2.5 % of the cases at each end have been cut off per group and year; RW = mean / mean of all × 1000.
    The same cases in any order give the same catalogue. Raises ValueError for a history without a cost.
    """
    kept = base or Catalogue(())
    kept = replace(
        kept, groups=tuple(group for group in kept.groups if group.layer != "comprehensive"), scores={}
    )
    engine = DipEngine(kept, library)
    rows = list(history)
    if not rows:
        raise ValueError("没有可用的病例")
    last = max(row.year for row in rows)
    weights = {last - back: weight for back, weight in enumerate(YEAR_WEIGHTS)}
    counts: Counter[str] = Counter()
    costs: dict[str, _Costs] = defaultdict(_Costs)
    loose: dict[tuple[str, frozenset[str]], list[tuple[str, HistoryCase]]] = defaultdict(list)
    for row in rows:
        if row.year not in weights:
            counts["too_old"] += 1
            continue
        if row.cost <= 0:
            counts["without_cost"] += 1
            continue
        facts, _, _ = engine.prepare(row.case)
        choice, reason = engine.choose(facts, None)
        if reason in ("no_principal_diagnosis", "excluded_principal_diagnosis"):
            counts["not_for_grouping"] += 1
        elif choice is not None:
            counts["by_base"] += 1
            costs[choice.group.code].years[row.year].append(row.cost)
        else:
            key = (subcategory(facts.principal), facts.treating)
            loose[key].append((f"{facts.principal[:CATEGORY_LENGTH]}:{engine.treatment(facts.main)}", row))
    taken = {group.code for group in kept.groups}
    made: list[DipGroup] = []
    for (diagnosis, procedures), found in sorted(
        loose.items(), key=lambda item: (item[0][0], sorted(item[0][1]))
    ):
        core = len(found) >= threshold
        counts["core" if core else "comprehensive"] += len(found)
        if core:
            group = _core(diagnosis, procedures, library, taken)
            taken.add(group.code)
            made.append(group)
        for folded, row in found:
            costs[group.code if core else folded].years[row.year].append(row.cost)
    comprehensive = [
        _comprehensive(code, library)
        for code in sorted(
            {folded for found in loose.values() for folded, _ in found if len(found) < threshold}
        )
    ]
    groups = [replace(group, order=order) for order, group in enumerate([*made, *comprehensive], start=1)]
    scores, mean = _scores(costs, weights)
    report = BuildReport(
        cases=len(rows),
        years=tuple(sorted({row.year for row in rows} & set(weights))),
        too_old=counts["too_old"],
        without_cost=counts["without_cost"],
        not_for_grouping=counts["not_for_grouping"],
        by_base=counts["by_base"],
        core=counts["core"],
        comprehensive=counts["comprehensive"],
        core_groups=len(made),
        comprehensive_groups=len(comprehensive),
        mean_cost=whole_fen(mean),
    )
    return Built(replace(kept, groups=(*kept.groups, *groups), scores=scores, pack=None), report)


def _scores(
    costs: Mapping[str, _Costs], weights: Mapping[int, int]
) -> tuple[dict[str, GroupScore], Fraction]:
    trimmed = {
        code: {year: without_tails(values) for year, values in group.years.items()}
        for code, group in costs.items()
    }
    everything: dict[int, list[int]] = defaultdict(list)
    for years in trimmed.values():
        for year, values in years.items():
            everything[year] += values
    if not everything:
        raise ValueError("没有一例有费用、可以分组的病例，不能计算分值")
    mean = weighted_mean(everything, weights)
    scores = {}
    for code in sorted(trimmed):
        own = weighted_mean(trimmed[code], weights)
        scores[code] = GroupScore(
            rounded(relative_weight(own, mean), SCORE_DECIMALS), whole_fen(own), costs[code].cases
        )
    return scores, mean


def without_tails(costs: Sequence[int]) -> list[int]:
    """The costs in order without the lowest and the highest 2.5 % of the cases (whole cases, rounded down)."""
    cut = int(len(costs) * TAIL)
    ordered = sorted(costs)
    return ordered[cut : len(ordered) - cut]


def weighted_mean(costs: Mapping[int, Sequence[int]], weights: Mapping[int, int]) -> Fraction:
    """The mean of the yearly means, by the weights of the years that have a case."""
    means = {year: Fraction(sum(values), len(values)) for year, values in costs.items() if values}
    return sum((weights[year] * mean for year, mean in means.items()), Fraction(0)) / sum(
        weights[year] for year in means
    )


def _core(diagnosis: str, procedures: frozenset[str], library: CodeLibrary, taken: set[str]) -> DipGroup:
    ordered = sorted(procedures)
    text = "+".join(ordered)
    code = f"{diagnosis}:{text or CONSERVATIVE}"
    if len(code) > MAX_CODE_LENGTH:
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        code = f"{diagnosis}:{ordered[0]}等{len(ordered)}项-{digest}"
    if code in taken:
        code = f"本地-{code}"
    names = [_procedure_name(one, library) for one in ordered]
    return DipGroup(
        code=code,
        layer="base",
        category="JC",
        order=0,
        name=" + ".join([_diagnosis_name(diagnosis, library), *(names or [CONSERVATIVE])]),
        diagnoses=(diagnosis,),
        procedure_rule="exact" if ordered else "none",
        main=parse(text),
    )


def _comprehensive(code: str, library: CodeLibrary) -> DipGroup:
    category, _, text = code.partition(":")
    treatment = cast(TreatmentGroup, text)  # the code was put together from one
    return DipGroup(
        code=code,
        layer="comprehensive",
        category="ZH",
        order=0,
        name=f"{_diagnosis_name(category, library)}（{category}） 综合病种 {treatment}",
        diagnoses=(category,),
        treatment=treatment,
    )


def _diagnosis_name(prefix: str, library: CodeLibrary) -> str:
    """The name of the code that is nearest to a prefix: the shortest one that begins with it."""
    found = min(library.starting_with(prefix), key=lambda entry: (len(entry.code), entry.code), default=None)
    return found.name if found else prefix


def _procedure_name(code: str, library: CodeLibrary) -> str:
    entry = library.procedure(code)
    return entry.name if entry else code
