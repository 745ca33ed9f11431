"""Explain a group: the path through the rules, what each asked, and the entries passed over before it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from grouper.drg import DrgScheme, age_text
from grouper.formula import (
    COMPLICATION_SETS,
    DIAGNOSES,
    VARIABLE_NAMES,
    Always,
    And,
    Comparison,
    Count,
    Membership,
    Node,
    OneOf,
    Or,
    evaluate,
    matching,
)
from grouper.prepare import PreparedCase
from grouper.scheme import AMBIGUOUS
from grouper.walked import CaseFacts
from models.grouping import Case, Complication, GroupResult, PreparedCode

_SIGNS = {"=": "等于", "!=": "不等于", "<": "小于", "<=": "不大于", ">": "大于", ">=": "不小于"}
_SEX = {"1": "男", "2": "女"}


class RuleFact(msgspec.Struct, frozen=True):
    """One condition of a rule, as the rule writes it, and the facts of this case about it (Chinese)."""

    condition: str
    facts: str


class PassedOver(msgspec.Struct, frozen=True):
    """An entry that stood before the one that won, and what of its rule did not hold."""

    level: str
    code: str
    name: str
    rule: str
    failed: tuple[RuleFact, ...]


class PathStep(msgspec.Struct, frozen=True):
    """One level of the path: ``level`` is MDC, ADRG or DRG; ``rule`` is the official text."""

    level: str
    code: str
    name: str
    rule: str
    held: tuple[RuleFact, ...]
    passed_over: tuple[PassedOver, ...]


class Explanation(msgspec.Struct, frozen=True):
    """The result of a case, its path, and, for a case without a group, everything that was tried.

    ``names``: the names of the codes used, as far as the code library knows them.
    """

    result: GroupResult
    path: tuple[PathStep, ...]
    tried: tuple[PassedOver, ...] = ()
    names: dict[str, str] = {}

    def to_text(self) -> str:
        """Plain Chinese text, for an appeal letter."""
        return "\n".join(_lines(self)) + "\n"


def explain(scheme: DrgScheme, case: Case) -> Explanation:
    """Why ``case`` gets its group: every level with its rule, facts and the entries passed over."""
    preparation = scheme.prepare(case)
    result = scheme.group_prepared(preparation)
    walk = _Walk(scheme, preparation.case)
    return Explanation(
        result,
        walk.path if result.reason in ("grouped", "ambiguous") else (),
        () if result.reason in ("grouped", "ambiguous") else tuple(walk.tried),
        walk.names(),
    )


class _Walk:
    """Goes through the entries in grouping order as ``group_by_walking`` does and notes each answer."""

    def __init__(self, scheme: DrgScheme, case: PreparedCase) -> None:
        self.scheme = scheme
        self.case = case
        self.facts = CaseFacts(case, scheme.scheme.code_sets)
        self.tried: list[PassedOver] = []
        self.path: tuple[PathStep, ...] = ()
        if case.principal:
            self._mdcs()

    def _mdcs(self) -> None:
        tables = self.scheme.scheme
        adrgs_before: list[PassedOver] = []
        mdcs_before: list[PassedOver] = []
        for mdc in tables.mdcs:
            failed = self._failed(mdc.condition)
            if failed:
                mdcs_before.append(PassedOver("MDC", mdc.code, mdc.name, mdc.condition, failed))
                continue
            step = PathStep(
                "MDC", mdc.code, mdc.name, mdc.condition, self._held(mdc.condition), tuple(mdcs_before)
            )
            lower = self._adrgs(mdc.code, adrgs_before)
            if lower:
                self.path = (step, *lower)
                return
            found = RuleFact(mdc.condition, "进入该 MDC，但其中没有条件成立的 ADRG")
            mdcs_before.append(PassedOver("MDC", mdc.code, mdc.name, mdc.condition, (found,)))
        self.tried = [*mdcs_before, *adrgs_before]

    def _adrgs(self, mdc: str, before: list[PassedOver]) -> tuple[PathStep, ...]:
        for adrg in self.scheme.scheme.adrgs:
            if adrg.mdc != mdc:
                continue
            name = adrg.name or "歧义组"
            failed = self._failed(adrg.condition)
            if failed:
                before.append(PassedOver("ADRG", adrg.part, name, adrg.condition, failed))
                continue
            held = self._held(adrg.condition)
            step = PathStep("ADRG", adrg.part, name, adrg.condition, held, tuple(before))
            if adrg.kind == AMBIGUOUS:
                return (step,)
            passed: list[PassedOver] = []
            for drg in self.scheme.scheme.drgs.get(adrg.code, ()):
                failed = self._failed(drg.condition)
                if not failed:
                    last = PathStep(
                        "DRG", drg.code, drg.name, drg.condition, self._held(drg.condition), tuple(passed)
                    )
                    return (step, last)
                passed.append(PassedOver("DRG", drg.code, drg.name, drg.condition, failed))
            found = RuleFact(adrg.condition, "规则成立，但其中没有条件成立的 DRG")
            before.append(PassedOver("ADRG", adrg.part, name, adrg.condition, (found,)))
        return ()

    def names(self) -> dict[str, str]:
        library = self.scheme.library
        if library is None:
            return {}
        case = self.case
        entries = [
            *(library.diagnosis(code) for code in (case.principal, *case.others) if code),
            *(library.procedure(code) for code in (case.main, *case.other_procedures) if code),
        ]
        return {entry.code: entry.name for entry in entries if entry is not None}

    def _failed(self, rule: str) -> tuple[RuleFact, ...]:
        node = self.scheme.scheme.formulas[rule]
        return () if self._holds(node) else tuple(dict.fromkeys(self._decisive(node, holds=False)))

    def _held(self, rule: str) -> tuple[RuleFact, ...]:
        node = self.scheme.scheme.formulas[rule]
        return tuple(dict.fromkeys(self._decisive(node, holds=True)))

    def _holds(self, node: Node) -> bool:
        return evaluate(node, self.facts, self.scheme.scheme.members)

    def _decisive(self, node: Node, *, holds: bool) -> Iterable[RuleFact]:
        """The conditions because of which ``node`` holds, or does not hold.

        A conjunction holds by all its parts and fails by those that fail; a disjunction holds by its
        first part that holds and fails by all of them.
        """
        match node:
            case And(parts=parts):
                for part in parts:
                    if holds or not self._holds(part):
                        yield from self._decisive(part, holds=holds)
            case Or(parts=parts) if holds:
                yield from self._decisive(next(part for part in parts if self._holds(part)), holds=True)
            case Or(parts=parts):
                for part in parts:
                    yield from self._decisive(part, holds=False)
            case Always():
                yield RuleFact("1", "没有附加条件")
            case _:
                yield RuleFact(render(node), self._facts_about(node))

    def _facts_about(self, leaf: Node) -> str:
        match leaf:
            case Membership():
                return self._membership(leaf)
            case Count(variables=variables, sets=sets, comparison=sign, number=number):
                found = matching(leaf, self.facts, self.scheme.scheme.members)
                codes = f"（{'、'.join(found)}）" if found else ""
                return (
                    f"{_variables(variables)}中有 {len(found)} 个编码{codes}在集合 {'、'.join(sets)} 中，"
                    f"规则要求{_SIGNS[sign]} {number:g} 个"
                )
            case Comparison(variable=variable, comparison=sign, number=number):
                if variable == "XSRTL":  # days say nothing to a reader when the patient is a year old or more
                    return f"年龄{age_text(self.case)}，规则要求出生{_SIGNS[sign]} {number:g} 天"
                quantity = self.case.number(variable)
                given = "未知" if math.isnan(quantity) else f"为 {quantity:g}"
                return f"{VARIABLE_NAMES[variable]}{given}，规则要求{_SIGNS[sign]} {number:g}"
            case OneOf(variable=variable, values=values, negated=negated):
                value = self.case.text(variable)
                words = _SEX if variable == "XB" else {}
                given = f"为 {words.get(value, value)}" if value else "未填"
                wanted = " 或 ".join(words.get(item, item) for item in values)
                return f"{VARIABLE_NAMES[variable]}{given}，规则要求{'不' if negated else ''}是 {wanted}"
        return ""

    def _membership(self, leaf: Membership) -> str:
        found = matching(leaf, self.facts, self.scheme.scheme.members)
        who = _variables(leaf.variables)
        if set(leaf.sets) <= set(COMPLICATION_SETS):
            levels = " 或 ".join(leaf.sets)
            return f"其他诊断 {'、'.join(found)} 计为 {levels}" if found else f"没有计为 {levels} 的其他诊断"
        sets = "、".join(leaf.sets)
        if found:
            return f"{who} {'、'.join(found)} 在集合 {sets} 中"
        codes = [code for variable in leaf.variables for code in self.case.codes(variable)]
        if not codes:
            return f"没有{who}"
        return f"{who} {'、'.join(codes)} 不在集合 {sets} 中"


def render(node: Node) -> str:
    """One condition in the official formula language."""
    match node:
        case Membership(variables=variables, sets=sets, negated=negated):
            return f"{_braced(variables)} {'not in' if negated else 'in'} {_braced(sets)}"
        case Count(variables=variables, sets=sets, comparison=sign, number=number):
            return f"length({_braced(sets)} ∩ {_braced(variables)}) {sign} {number:g}"
        case Comparison(variable=variable, comparison=sign, number=number):
            return f"{variable} {sign} {number:g}"
        case OneOf(variable=variable, values=values, negated=negated):
            return f"{variable} {'not in' if negated else 'in'} {{{', '.join(values)}}}"
        case And(parts=parts):
            return " and ".join(
                f"({render(part)})" if isinstance(part, Or) else render(part) for part in parts
            )
        case Or(parts=parts):
            return " or ".join(
                f"({render(part)})" if isinstance(part, And) else render(part) for part in parts
            )
    return "1"


def _braced(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else "{" + ", ".join(items) + "}"


def _variables(variables: tuple[str, ...]) -> str:
    if len(variables) == 2 and len({variable in DIAGNOSES for variable in variables}) == 1:
        return "诊断" if variables[0] in DIAGNOSES else "手术操作"
    return "或".join(VARIABLE_NAMES[variable] for variable in variables)


def complication_text(complication: Complication, principal: str) -> str:
    """What one other diagnosis counts for, in Chinese."""
    level, table = complication.level, complication.exclusion_table
    if not level:
        return "不是 MCC 或 CC"
    if complication.excluded:
        return f"属 {level}，但主要诊断 {principal} 在其排除表 {table} 中，不计"
    return f"计为 {level}" + (f"（排除表 {table} 不含主要诊断 {principal}）" if table else "")


def _lines(explanation: Explanation) -> Iterable[str]:
    result, names = explanation.result, explanation.names
    if result.pack is not None:
        yield f"分组方案：{result.pack.name}（{result.pack.publisher}，版本 {result.pack.version}）"
    yield f"分组结果：{result.code} {result.name}"
    yield f"说明：{result.explanation}"
    yield from _code_lines("一、诊断", result.diagnoses, names)
    yield from _code_lines("二、手术操作", result.procedures, names)
    yield "三、其他诊断的并发症与合并症"
    if not result.complications:
        yield "  没有其他诊断"
    principal = result.diagnoses[0].used if result.diagnoses else ""
    for complication in result.complications:
        yield f"  {_named(complication.code, names)}：{complication_text(complication, principal)}"
    yield "四、入组过程"
    for step in explanation.path:
        yield f"  {step.level} {step.code} {step.name}"
        yield f"    规则：{step.rule or '无附加条件'}"
        for finding in step.held if step.rule else ():
            yield f"    事实：{finding.facts}"
        yield from _passed_over_lines(step.passed_over, "    ")
    if not explanation.path:
        yield "  没有入组"
    yield from _passed_over_lines(explanation.tried, "  ")


def _code_lines(title: str, codes: Sequence[PreparedCode], names: dict[str, str]) -> Iterable[str]:
    yield title
    if not codes:
        yield "  无"
    for place, code in enumerate(codes):
        kind = "主要" if place == 0 else "其他"
        shown = _named(code.used, names) if code.used else f"{code.received or '（空）'}：未用"
        yield f"  {kind}　{shown}" + (f"（{code.reason}）" if code.reason else "")


def _named(code: str, names: dict[str, str]) -> str:
    return f"{code} {names[code]}" if code in names else code


def _passed_over_lines(entries: Sequence[PassedOver], indent: str) -> Iterable[str]:
    """Entries that failed for like reasons stand on one line."""
    for level in ("MDC", "ADRG", "DRG"):
        alike: dict[str, list[str]] = {}
        for entry in entries:
            if entry.level == level:
                reasons = "；".join(dict.fromkeys(_without_sets(finding) for finding in entry.failed))
                alike.setdefault(reasons, []).append(entry.code)
        for reasons, codes in alike.items():
            yield f"{indent}此前未入的 {level} {'、'.join(codes)}：{reasons}"


def _without_sets(finding: RuleFact) -> str:
    head, mark, _ = finding.facts.partition(" 不在集合 ")
    return f"{head} 不在其规则的集合中" if mark else finding.facts
