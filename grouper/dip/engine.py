"""The DIP engine: a catalogue compiled to dictionary look-ups, and the group of one case."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import msgspec

from coding.library import CodeLibrary
from grouper.dip.catalogue import (
    LAYER_NAMES,
    TREATMENT_OF_KIND,
    Catalogue,
    DipGroup,
    Layer,
    TreatmentGroup,
)
from grouper.prepare import Preparer
from models.grouping import Case, PreparedCode
from models.pack import PackRef

Reason = Literal["grouped", "no_principal_diagnosis", "excluded_principal_diagnosis", "no_group"]
CATEGORY_LENGTH = 3
SEARCHED_LAYERS: tuple[Layer, ...] = ("merged", "burn", "tumour", "tuberculosis", "base")
"""The layers that are looked up by principal diagnosis, in the order in which they are tried."""


class DipResult(msgspec.Struct, frozen=True):
    """The DIP group of one case; ``code`` is empty when it is not grouped, ``explanation`` says why.

    ``conservative``: no procedure counts for grouping. ``tie`` (Chinese) says how one of several
    fitting groups was chosen; empty when only one fitted.
    """

    code: str
    name: str
    layer: str
    category: str
    reason: Reason
    explanation: str
    conservative: bool
    primary_care: bool = False
    tie: str = ""
    diagnoses: tuple[PreparedCode, ...] = ()
    procedures: tuple[PreparedCode, ...] = ()
    pack: PackRef | None = None


class Facts(NamedTuple):
    """A prepared case. ``main`` is empty for a conservative case, ``procedures`` are those that count.

    ``treating`` is what the layers after 先期 look at: ``procedures``, or nothing when the main
    procedure is excluded. ``age_days`` is None when unknown, and 365 a year from one year on.
    """

    principal: str
    others: tuple[str, ...]
    main: str
    procedures: frozenset[str]
    treating: frozenset[str]
    excluded_main: str
    age_days: int | None
    birth_weight: int | None
    resistant: bool

    @property
    def related(self) -> frozenset[str]:
        return self.treating - {self.main}


class Candidate(NamedTuple):
    """A group that fits, and how many related procedures it shares with the case."""

    group: DipGroup
    shared: int


class Choice(NamedTuple):
    group: DipGroup
    tie: str


class Prefixes:
    """Codes and leading characters; a code is found by itself and by each of them."""

    def __init__(self, entries: Iterable[str]) -> None:
        self.entries = frozenset(entries)
        self.lengths = tuple(sorted({len(entry) for entry in self.entries}))

    def __contains__(self, code: str) -> bool:
        entries = self.entries
        for length in self.lengths:  # noqa: SIM110 — a generator costs more than the loop
            if code[:length] in entries:
                return True
        return False


@dataclass(slots=True)
class _Bucket:
    """The groups of one layer under one diagnosis prefix, by what they ask of the procedures."""

    by_main: dict[str, list[DipGroup]] = field(default_factory=dict)
    exact: dict[frozenset[str], list[DipGroup]] = field(default_factory=dict)
    conservative: list[DipGroup] = field(default_factory=list)
    scan: list[DipGroup] = field(default_factory=list)


class DipEngine:
    """Groups cases by one catalogue. Made once, then used from any thread."""

    def __init__(self, catalogue: Catalogue, library: CodeLibrary) -> None:
        self.catalogue = catalogue
        self.library = library
        self._preparer = Preparer(library)
        self._procedures = library.icd9cm3.codes
        self.excluded_diagnoses = Prefixes(catalogue.excluded_diagnoses)
        self.excluded_procedures = Prefixes(catalogue.excluded_procedures)
        self.resistance = Prefixes(catalogue.resistance_diagnoses)
        self._excluded_now: dict[str, bool] = {
            code: code in self.excluded_procedures for code in self._procedures
        }
        self.pre = tuple(group for group in catalogue.groups if group.layer == "pre")
        self._pre_by_procedure: dict[str, list[int]] = {}
        self._pre_by_diagnosis: dict[str, list[int]] = {}
        self._pre_always: list[int] = []
        self._index_pre()
        self._pre_lengths = tuple(sorted({len(prefix) for prefix in self._pre_by_diagnosis}))
        self._nodes: dict[str, list[_Bucket | None]] = {}
        self._comprehensive: dict[tuple[str, str], DipGroup] = {}
        self._index()
        self._lengths = tuple(sorted({len(prefix) for prefix in self._nodes}, reverse=True))
        self._means: Mapping[str, int | None] = {
            code: score.mean_cost for code, score in catalogue.scores.items()
        }

    def _index_pre(self) -> None:
        for position, group in enumerate(self.pre):
            if group.main is not None and group.procedure_rule != "free":
                for code in group.main.codes:
                    self._pre_by_procedure.setdefault(code, []).append(position)
            elif group.diagnoses:
                for prefix in group.diagnoses:
                    self._pre_by_diagnosis.setdefault(prefix, []).append(position)
            else:
                self._pre_always.append(position)

    def _index(self) -> None:
        for group in self.catalogue.groups:
            if group.layer == "comprehensive":
                for prefix in group.diagnoses:
                    self._comprehensive.setdefault((prefix, group.treatment), group)
            elif group.layer != "pre":
                layer = SEARCHED_LAYERS.index(group.layer)
                for prefix in group.diagnoses:
                    buckets = self._nodes.setdefault(prefix, [None] * len(SEARCHED_LAYERS))
                    bucket = buckets[layer]
                    if bucket is None:
                        bucket = buckets[layer] = _Bucket()
                    _file(group, bucket)

    def prepare(self, case: Case) -> tuple[Facts, tuple[PreparedCode, ...], tuple[PreparedCode, ...]]:
        """The codes that count, each once, and what became of every code received."""
        ready = self._preparer.prepare(case)
        known = ready.case
        main = known.main
        excluded_main = main if main and self._is_excluded(main) else ""
        if excluded_main:
            main = ""
        counted = frozenset(code for code in known.other_procedures if not self._is_excluded(code))
        if main:
            counted |= {main}
        others = known.others
        facts = Facts(
            known.principal,
            others,
            main,
            counted,
            counted if main else frozenset(),
            excluded_main,
            None if math.isnan(known.age_days) else int(known.age_days),
            None if math.isnan(known.birth_weight) else int(known.birth_weight),
            bool(self.resistance.lengths)
            and any(code in self.resistance for code in (known.principal, *others)),
        )
        return facts, ready.diagnoses, ready.procedures

    def _is_excluded(self, procedure: str) -> bool:
        known = self._excluded_now.get(procedure)
        return procedure in self.excluded_procedures if known is None else known

    def group(self, case: Case, cost: int | None = None) -> DipResult:
        """The group of ``case``; ``cost`` (fen) decides between groups that fit equally well."""
        facts, diagnoses, procedures = self.prepare(case)
        choice, reason = self.choose(facts, cost)
        return self.result(facts, choice, reason, diagnoses, procedures)

    def result(
        self,
        facts: Facts,
        choice: Choice | None,
        reason: Reason,
        diagnoses: tuple[PreparedCode, ...],
        procedures: tuple[PreparedCode, ...],
    ) -> DipResult:
        """The answer for prepared facts and the group chosen for them."""
        conservative = not facts.main
        if choice is None:
            return DipResult(
                "",
                "",
                "",
                "",
                reason,
                self.refusal(facts, reason),
                conservative,
                False,
                "",
                diagnoses,
                procedures,
                self.catalogue.pack,
            )
        group = choice.group
        text = f"按{LAYER_NAMES[group.layer]}入组 {group.code} {group.name}"
        return DipResult(
            group.code,
            group.name,
            group.layer,
            group.category,
            reason,
            text,
            conservative,
            group.primary_care,
            choice.tie,
            diagnoses,
            procedures,
            self.catalogue.pack,
        )

    def refusal(self, facts: Facts, reason: Reason) -> str:
        """Why a case is not grouped, in Chinese, with what to do."""
        if reason == "no_principal_diagnosis":
            return "没有主要诊断，不能分组；请填写主要诊断编码"
        if reason == "excluded_principal_diagnosis":
            return f"主要诊断 {facts.principal} 属于不纳入分组的主要诊断，不入组；请核对主要诊断选择"
        treatment = self.treatment(facts.main)
        return (
            f"目录中没有适合的病种：主要诊断 {facts.principal}，"
            f"{'主要手术操作 ' + facts.main if facts.main else '没有计入分组的手术操作'}；"
            f"也没有综合病种 {facts.principal[:CATEGORY_LENGTH]} {treatment}。请核对编码，或导入本地病种目录"
        )

    def treatment(self, main: str) -> TreatmentGroup:
        """The 综合病种 kind of a main procedure; 内科组 without one."""
        entry = self._procedures.get(main)
        return TREATMENT_OF_KIND.get(entry.kind, "内科组") if entry else "内科组"

    def choose(self, facts: Facts, cost: int | None) -> tuple[Choice | None, Reason]:
        """The group of prepared facts by the compiled tables."""
        principal = facts.principal
        if not principal:
            return None, "no_principal_diagnosis"
        if principal in self.excluded_diagnoses:
            return None, "excluded_principal_diagnosis"
        position = self._first_pre(facts)
        if position is not None:
            return Choice(self.pre[position], ""), "grouped"
        size = len(principal)
        nodes = [
            node
            for length in self._lengths
            if length <= size and (node := self._nodes.get(principal[:length])) is not None
        ]
        if nodes:
            for layer in range(len(SEARCHED_LAYERS)):
                candidates: list[Candidate] = []
                for node in nodes:
                    bucket = node[layer]
                    if bucket is not None:
                        _look(bucket, facts, candidates)
                if candidates:
                    return decide(candidates, principal, cost, self._means), "grouped"
        found = self._comprehensive.get((principal[:CATEGORY_LENGTH], self.treatment(facts.main)))
        return (Choice(found, ""), "grouped") if found else (None, "no_group")

    def _first_pre(self, facts: Facts) -> int | None:
        positions = list(self._pre_always)
        by_procedure, by_diagnosis = self._pre_by_procedure, self._pre_by_diagnosis
        for code in facts.procedures:
            if code in by_procedure:
                positions += by_procedure[code]
        for length in self._pre_lengths:
            for code in (facts.principal, *facts.others):
                if code[:length] in by_diagnosis:
                    positions += by_diagnosis[code[:length]]
        if positions:
            for position in sorted(positions):
                if fits(self.pre[position], facts) is not None:
                    return position
        return None


def _file(group: DipGroup, bucket: _Bucket) -> None:
    if group.procedure_rule == "none":
        bucket.conservative.append(group)
    elif group.procedure_rule == "exact" and group.main is not None:
        bucket.exact.setdefault(group.main.codes, []).append(group)
    elif group.procedure_rule == "main" and group.main is not None:
        for code in group.main.codes:
            bucket.by_main.setdefault(code, []).append(group)
    else:
        bucket.scan.append(group)


def _look(bucket: _Bucket, facts: Facts, candidates: list[Candidate]) -> None:
    if facts.main:
        groups = bucket.by_main.get(facts.main, ())
        if bucket.exact:
            groups = (*groups, *bucket.exact.get(facts.treating, ()))
    else:
        groups = bucket.conservative
    if bucket.scan:
        groups = (*groups, *bucket.scan)
    for group in groups:
        shared = fits(group, facts)
        if shared is not None:
            candidates.append(Candidate(group, shared))


def fits(group: DipGroup, facts: Facts) -> int | None:
    """How many procedures beside the main one the case shares with a group that it fits, else None.

    The excluded diagnoses and the order of the layers are not looked at here.
    """
    if group.diagnoses:
        codes = (facts.principal, *facts.others) if group.any_diagnosis else (facts.principal,)
        if not any(code.startswith(group.diagnoses) for code in codes):
            return None
    if group.age_days_below is not None and (
        facts.age_days is None or facts.age_days >= group.age_days_below
    ):
        return None
    if group.birth_weight_from is not None and (
        facts.birth_weight is None or facts.birth_weight < group.birth_weight_from
    ):
        return None
    if group.birth_weight_to is not None and (
        facts.birth_weight is None or facts.birth_weight > group.birth_weight_to
    ):
        return None
    if group.other_diagnoses and not any(code.startswith(group.other_diagnoses) for code in facts.others):
        return None
    if group.resistance and (group.resistance == "resistant") is not facts.resistant:
        return None
    return _shared(group, facts)


def _shared(group: DipGroup, facts: Facts) -> int | None:
    rule = group.procedure_rule
    if rule == "free":
        return 0
    if rule == "none":
        return None if facts.main else 0
    if group.main is None:
        return None
    procedures: Set[str] = facts.procedures if group.layer == "pre" else facts.treating
    shared = 0
    if rule == "any":
        matched = group.main.matched(procedures)
        if not matched:
            return None
        shared = len(matched) - 1
    elif rule == "exact":
        return len(procedures) - 1 if procedures and procedures == group.main.codes else None
    elif not facts.main or facts.main not in group.main.codes:
        return None
    if group.related is None:
        return shared
    related = len(group.related.matched(facts.related))
    return shared + related if related else None


def decide(
    candidates: Sequence[Candidate], principal: str, cost: int | None, means: Mapping[str, int | None]
) -> Choice:
    """One of the groups that fit: most related procedures shared, then the nearest mean cost.

    Where these do not decide: the longest leading characters of the diagnosis, then the place in the
    catalogue. A group without a published mean cost takes no part in the second step.
    """
    distinct = {candidate.group.code: candidate for candidate in candidates}
    if len(distinct) == 1:
        return Choice(candidates[0].group, "")
    most = max(candidate.shared for candidate in distinct.values())
    left = [candidate.group for candidate in distinct.values() if candidate.shared == most]
    count = f"有 {len(distinct)} 个病种符合"
    if len(left) == 1:
        return Choice(left[0], f"{count}，{left[0].code} 符合的相关手术操作最多（{most} 项）")
    if cost is not None:
        distances = [
            (abs(mean - cost), group) for group in left if (mean := means.get(group.code)) is not None
        ]
        if distances:
            nearest = min(distance for distance, _ in distances)
            near = [group for distance, group in distances if distance == nearest]
            if len(near) == 1:
                return Choice(near[0], f"{count}，{near[0].code} 的均次费用与本例费用最接近")
            left = near
    longest = max(_prefix_length(group, principal) for group in left)
    exact = [group for group in left if _prefix_length(group, principal) == longest]
    if len(exact) == 1:
        return Choice(exact[0], f"{count}，{exact[0].code} 的主要诊断最具体")
    first = min(exact, key=lambda group: (group.order, group.code))
    return Choice(first, f"{count}，费用资料不能区分，取目录中靠前的 {first.code}")


def _prefix_length(group: DipGroup, principal: str) -> int:
    return max((len(prefix) for prefix in group.diagnoses if principal.startswith(prefix)), default=0)
