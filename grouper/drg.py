"""Group stays by a DRG scheme: the group, why this group or none, and what each diagnosis counts for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import msgspec

from coding.library import CodeLibrary
from grouper.cache import load_compiled
from grouper.compiled import CC_BIT, MCC_BIT, Bits, CompiledScheme, Decision
from grouper.formula import DIAGNOSES, Node, evaluate, set_names, variables
from grouper.prepare import MAX_REMEMBERED, Preparation, PreparedCase, Preparer
from grouper.scheme import NOT_GROUPED, Mdc, Scheme, Table
from grouper.walked import CaseFacts
from models.grouping import Case, Complication, GroupResult
from models.pack import Pack

REASONS: Mapping[str, str] = {
    "grouped": "入组",
    "ambiguous": "歧义组：主要手术操作与主要诊断不在同一 MDC",
    "no_principal_diagnosis": "没有主要诊断",
    "principal_diagnosis_not_converted": "主要诊断编码不能换算为医保版 2.0",
    "unknown_principal_diagnosis": "主要诊断编码不在编码库中",
    "grey_principal_diagnosis": "主要诊断是灰码",
    "sex_conflict": "性别与主要诊断不符",
    "age_conflict": "年龄与主要诊断不符",
    "not_for_grouping": "主要诊断不属于任何 MDC，不能作为分组的主要诊断",
    "no_mdc": "不符合任何 MDC 的规则",
    "no_adrg": "进入 MDC，但不符合其中任何 ADRG",
}
"""The keys of ``GroupResult.reason`` and what they say."""

_OTHER_AGES = (
    (0.0, 7.0, "新生儿（出生 28 天以内）"),
    (0.0, 100.0, "出生超过 28 天的"),
    (30.0, 30.0 * 365, "年满 1 岁的"),
)
"""A newborn, an infant and an adult (years, days, in words): would the principal diagnosis be grouped for one?"""


def compile_scheme(
    source: Pack | Mapping[Table, Iterable[Mapping[str, str]]],
    library: CodeLibrary | None = None,
    cache: Path | None = None,
) -> DrgScheme:
    """A scheme ready to group, from a ``drg-scheme`` pack or from rows by table name.

    ``library`` converts codes of other editions and knows grey codes; ``cache`` is a folder that keeps
    compiled packs. Raises PackError for tables or rules that cannot be read.
    """
    if isinstance(source, Pack):
        return DrgScheme(load_compiled(source, cache), library)
    return DrgScheme(CompiledScheme(Scheme.from_rows(source)), library)


@dataclass(frozen=True)
class DrgScheme:
    """A compiled scheme and the code library that prepares cases for it."""

    compiled: CompiledScheme
    library: CodeLibrary | None = None

    @property
    def scheme(self) -> Scheme:
        return self.compiled.scheme

    @property
    def id(self) -> str:
        return self.scheme.pack.id if self.scheme.pack else ""

    def prepare(self, case: Case) -> Preparation:
        """The case as the formulas see it, and what became of each code."""
        return self._preparer.prepare(case)

    @cached_property
    def _preparer(self) -> Preparer:
        return Preparer(self.library)

    def group_code(self, case: PreparedCase) -> str:
        """The DRG, the 歧义组 or ``0000`` of a prepared case."""
        return self.compiled.group_code(case)

    def group(self, case: Case) -> GroupResult:
        """The group of a case with its reason; every code received is accounted for."""
        return self.group_prepared(self.prepare(case))

    def group_prepared(self, preparation: Preparation) -> GroupResult:
        """The group of a case that was prepared before."""
        case = preparation.case
        decision = self.compiled.decide(case)
        if decision is None:
            mdc = ""
            reason, explanation = self._why_not_grouped(preparation)
        else:
            mdc = decision.adrg.mdc
            reason = "ambiguous" if decision.drg is None else "grouped"
            explanation = self._path(decision, case)
        return GroupResult(
            code=decision.code if decision else NOT_GROUPED,
            name=_name(decision),
            mdc=mdc,
            adrg=decision.adrg.code if decision else "",
            reason=reason,
            explanation=explanation,
            complications=self.complications(case),
            diagnoses=preparation.diagnoses,
            procedures=preparation.procedures,
            pack=self.scheme.ref,
        )

    def complications(self, case: PreparedCase) -> tuple[Complication, ...]:
        """What each other diagnosis counts for, in the case's order."""
        principal = self.compiled.bits.principal.get(case.principal)
        tables = principal[2] if principal else frozenset()
        return tuple(
            [
                one.excluded if one.table in tables else one.counting
                for one in map(self._by_code.__getitem__, case.others)
            ]
        )

    @cached_property
    def _by_code(self) -> _Complications:
        return _Complications(self.compiled.bits)

    @cached_property
    def _paths(self) -> dict[str, str]:
        """DRG → the way to it, worked out when first reached."""
        return {}

    def mdc(self, code: str) -> Mdc:
        """The MDC with this code."""
        return next(mdc for mdc in self.scheme.mdcs if mdc.code == code)

    def _path(self, decision: Decision, case: PreparedCase) -> str:
        known = self._paths.get(decision.code)
        if known is not None:
            return known
        mdc, adrg, drg = self.mdc(decision.adrg.mdc), decision.adrg, decision.drg
        entered = f"MDC {mdc.code} {mdc.name}"
        if drg is not None:
            path = f"{entered} → ADRG {adrg.code} {adrg.name} → DRG {drg.code} {drg.name}"
            self._paths[decision.code] = path
            return path
        asks_for = variables(self.scheme.formulas[adrg.condition])
        if case.main and asks_for & {"ZYSS", "QTSS"}:
            return (
                f"主要诊断 {case.principal} 进入 {entered}，主要手术操作 {case.main} "
                f"不符合该 MDC 任何 ADRG 的规则，归入歧义组 {adrg.code}；请核对主要诊断与主要手术操作是否对应"
            )
        return f"进入 {entered}，符合歧义组 {adrg.code} 的规则；请核对主要诊断与年龄"

    def _why_not_grouped(self, preparation: Preparation) -> tuple[str, str]:
        case = preparation.case
        code = case.principal
        if not code:
            first = preparation.diagnoses[0] if preparation.diagnoses else None
            if first is None or not first.received.strip():
                return "no_principal_diagnosis", "没有主要诊断，不能分组；请填写主要诊断编码"
            return (
                "principal_diagnosis_not_converted",
                f"主要诊断 {first.received}：{first.reason}；请改用医保版 2.0 编码",
            )
        entry = self.library.diagnosis(code) if self.library else None
        if entry is not None and entry.grey:
            return "grey_principal_diagnosis", f"主要诊断 {code} {entry.name} 是灰码；请改用细分的医保版编码"
        name = f"主要诊断 {code}{' ' + entry.name if entry else ''}"
        entered = list(self._mdcs_entered(case))
        if entered:
            mdc = entered[0]
            main = f"、主要手术操作 {case.main}" if case.main else "、没有主要手术操作"
            return "no_adrg", f"{name}{main}：进入 MDC {mdc.code} {mdc.name}，但不符合其中任何 ADRG 的规则"
        conflict = self._conflict(case, name)
        if conflict is not None:
            return conflict
        if self.library is not None and entry is None:
            return "unknown_principal_diagnosis", f"{name} 不在医保版 2.0 编码库中；请核对编码"
        if not any(self._named_by(mdc, code) for mdc in self.scheme.mdcs):
            return "not_for_grouping", f"{name} 不属于任何 MDC，不能作为分组的主要诊断；请核对主要诊断的选择"
        return "no_mdc", f"{name}：这一病例不符合任何 MDC 的规则"

    def _conflict(self, case: PreparedCase, name: str) -> tuple[str, str] | None:
        """Whether another sex or another age alone would lead to an MDC that names the diagnosis."""
        for sex, word in (("1", "男"), ("2", "女")):
            for mdc in self._mdcs_entered(msgspec.structs.replace(case, sex=sex)):
                given = {"1": "男", "2": "女"}.get(case.sex, f"“{case.sex}”" if case.sex else "未填")
                return (
                    "sex_conflict",
                    f"{name} 属于 MDC {mdc.code} {mdc.name}，只用于{word}性，而清单性别为{given}；请核对性别与主要诊断",
                )
        for age, days, whom in _OTHER_AGES:
            for mdc in self._mdcs_entered(msgspec.structs.replace(case, age=age, age_days=days)):
                if self._named_by(mdc, case.principal):
                    return (
                        "age_conflict",
                        f"{name} 属于 MDC {mdc.code} {mdc.name}，规则只收{whom}病例，与年龄"
                        f"{age_text(case)}不符；请核对年龄与主要诊断",
                    )
        return None

    def _mdcs_entered(self, case: PreparedCase) -> Iterator[Mdc]:
        """The MDCs that ask about diagnoses and take the case."""
        facts = CaseFacts(case, self.scheme.code_sets)
        for mdc, formula in self._mdcs_by_diagnosis:
            if evaluate(formula, facts, self.scheme.members):
                yield mdc

    @cached_property
    def _mdcs_by_diagnosis(self) -> tuple[tuple[Mdc, Node], ...]:
        """The MDCs whose rule asks about diagnoses, which 先期分组 does not in every scheme."""
        formulas = ((mdc, self.scheme.formulas[mdc.condition]) for mdc in self.scheme.mdcs)
        return tuple((mdc, formula) for mdc, formula in formulas if variables(formula) & set(DIAGNOSES))

    def _named_by(self, mdc: Mdc, code: str) -> bool:
        """Whether a set in the rule of an MDC holds a diagnosis."""
        return any(
            code in self.scheme.members(name) for name in set_names(self.scheme.formulas[mdc.condition])
        )


class _Levels(NamedTuple):
    """What an other diagnosis counts for where it counts, and where its exclusion table excludes it."""

    counting: Complication
    excluded: Complication
    table: str


class _Complications(dict[str, _Levels]):
    """The levels of each other diagnosis, looked up when first met."""

    def __init__(self, bits: Bits) -> None:
        super().__init__()
        self._bits = bits

    def __missing__(self, code: str) -> _Levels:
        _, level, table = self._bits.other.get(code, (0, 0, ""))
        named = {MCC_BIT: "MCC", CC_BIT: "CC"}.get(level, "")
        table = table if named else ""
        levels = _Levels(
            Complication(code, named, table), Complication(code, named, table, bool(named)), table
        )
        if len(self) >= MAX_REMEMBERED:
            self.clear()
        self[code] = levels
        return levels


def _name(decision: Decision | None) -> str:
    if decision is None:
        return "未入组"
    return decision.drg.name if decision.drg else decision.adrg.name or "歧义组"


def age_text(case: PreparedCase) -> str:
    """The age of a prepared case for people: days under one year, else years."""
    if case.age >= 1:
        return f" {case.age:g} 岁"
    if case.age_days == case.age_days:
        return f" {case.age_days:g} 天"
    return " 0 岁（天数未填）" if case.age == 0 else "（未填）"
