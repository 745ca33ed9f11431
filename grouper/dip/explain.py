"""Why a case has its DIP group: every layer, what was tried there, and why it was passed over."""

from __future__ import annotations

from typing import Literal

import msgspec

from coding.library import CodeLibrary
from grouper.dip.catalogue import LAYER_NAMES, PROCEDURE_RULES, DipGroup, Layer
from grouper.dip.engine import (
    CATEGORY_LENGTH,
    Candidate,
    Choice,
    DipEngine,
    DipResult,
    Facts,
    Reason,
    decide,
    fits,
)
from models.grouping import Case

MAX_TRIED = 50
"""Groups of one layer that an explanation lists; the number of the others is given."""
Outcome = Literal["matched", "passed", "refused", "not_reached"]
OUTCOME_NAMES: dict[Outcome, str] = {
    "matched": "入组",
    "passed": "未入组",
    "refused": "不入组",
    "not_reached": "未进行",
}


class TriedGroup(msgspec.Struct, frozen=True):
    """One group of a layer: ``rule`` is what it asks for, ``failed`` what the case lacked (empty: it fits)."""

    code: str
    name: str
    rule: str
    failed: str


class LayerTrace(msgspec.Struct, frozen=True):
    """What happened in one layer. ``omitted``: further groups that were tried and are not listed."""

    layer: str
    name: str
    outcome: Outcome
    text: str
    tried: tuple[TriedGroup, ...] = ()
    omitted: int = 0


class DipExplanation(msgspec.Struct, frozen=True):
    """The group and the way to it; ``text`` is the same as plain Chinese, one line a step."""

    result: DipResult
    layers: tuple[LayerTrace, ...]
    text: str


def explain(engine: DipEngine, case: Case, cost: int | None = None) -> DipExplanation:
    """Walk the catalogue layer by layer, without the compiled tables; ``cost`` in fen.

    The group is the one that ``engine.group`` gives.
    """
    facts, diagnoses, procedures = engine.prepare(case)
    names = _Names(engine.library)
    layers, choice, reason = _walk(engine, facts, cost, names)
    result = engine.result(facts, choice, reason, diagnoses, procedures)
    return DipExplanation(result, tuple(layers), _text(result, layers, facts, names))


class _Names:
    def __init__(self, library: CodeLibrary) -> None:
        self.library = library

    def diagnosis(self, code: str) -> str:
        entry = self.library.diagnosis(code)
        return f"{code} {entry.name}" if entry else code

    def procedure(self, code: str) -> str:
        entry = self.library.procedure(code)
        return f"{code} {entry.name}" if entry else code


def _walk(
    engine: DipEngine, facts: Facts, cost: int | None, names: _Names
) -> tuple[list[LayerTrace], Choice | None, Reason]:
    layers: list[LayerTrace] = []
    reason = _exclusions(engine, facts, names, layers)
    if reason is not None:
        layers += [LayerTrace(layer, LAYER_NAMES[layer], "not_reached", "不再进行") for layer in LAYER_NAMES]
        return layers, None, reason
    choice: Choice | None = None
    for layer in LAYER_NAMES:
        if choice is not None:
            layers.append(LayerTrace(layer, LAYER_NAMES[layer], "not_reached", "前面已经入组，不再进行"))
            continue
        groups = [group for group in engine.catalogue.groups if group.layer == layer]
        if layer == "pre":
            choice, trace = _pre(groups, facts)
        elif layer == "comprehensive":
            choice, trace = _comprehensive(engine, groups, facts)
        else:
            choice, trace = _searched(engine, layer, groups, facts, cost)
        layers.append(trace)
    return layers, choice, "grouped" if choice else "no_group"


def _exclusions(engine: DipEngine, facts: Facts, names: _Names, layers: list[LayerTrace]) -> Reason | None:
    title = "不纳入分组的情形"
    if not facts.principal:
        layers.append(LayerTrace("exclusion", title, "refused", "没有主要诊断"))
        return "no_principal_diagnosis"
    shown = names.diagnosis(facts.principal)
    if any(facts.principal.startswith(entry) for entry in engine.catalogue.excluded_diagnoses):
        layers.append(
            LayerTrace("exclusion", title, "refused", f"主要诊断 {shown} 在不纳入分组的主要诊断之列")
        )
        return "excluded_principal_diagnosis"
    text = f"主要诊断 {shown} 可以分组"
    if facts.excluded_main:
        text += f"；主要手术操作 {names.procedure(facts.excluded_main)} 在不纳入分组的手术操作之列，按保守治疗分组"
    elif not facts.main:
        text += "；没有计入分组的手术操作，按保守治疗分组"
    layers.append(LayerTrace("exclusion", title, "passed", text))
    return None


def _pre(groups: list[DipGroup], facts: Facts) -> tuple[Choice | None, LayerTrace]:
    tried = []
    for group in groups:
        failed = why_not(group, facts)
        tried.append(TriedGroup(group.code, group.name, rule_text(group), failed))
        if not failed:
            text = f"符合 {group.code} {group.name}：{held(group, facts)}"
            return Choice(group, ""), _trace("pre", "matched", text, tried)
    return None, _trace("pre", "passed", f"{len(groups)} 条先期规则都不符合", tried)


def _searched(
    engine: DipEngine, layer: Layer, groups: list[DipGroup], facts: Facts, cost: int | None
) -> tuple[Choice | None, LayerTrace]:
    listed = [group for group in groups if facts.principal.startswith(group.diagnoses)]
    if not groups:
        return None, _trace(layer, "passed", "目录没有这一层的病种", [])
    if not listed:
        return None, _trace(layer, "passed", f"这一层没有以 {facts.principal} 为主要诊断的病种", [])
    tried, candidates = [], []
    for group in listed:
        failed = why_not(group, facts)
        tried.append(TriedGroup(group.code, group.name, rule_text(group), failed))
        if not failed:
            shared = fits(group, facts)
            candidates.append(Candidate(group, 0 if shared is None else shared))
    if not candidates:
        return None, _trace(layer, "passed", f"主要诊断相符的 {len(listed)} 个病种都不符合", tried)
    means = {code: score.mean_cost for code, score in engine.catalogue.scores.items()}
    choice = decide(candidates, facts.principal, cost, means)
    text = f"符合 {choice.group.code} {choice.group.name}：{held(choice.group, facts)}"
    if choice.tie:
        text += f"；{choice.tie}"
    tried.sort(key=lambda one: one.failed != "")
    return choice, _trace(layer, "matched", text, tried)


def _comprehensive(
    engine: DipEngine, groups: list[DipGroup], facts: Facts
) -> tuple[Choice | None, LayerTrace]:
    category, treatment = facts.principal[:CATEGORY_LENGTH], engine.treatment(facts.main)
    wanted = f"{category} {treatment}"
    found = next(
        (group for group in groups if category in group.diagnoses and group.treatment == treatment), None
    )
    if found is None:
        text = f"目录没有综合病种 {wanted}" if groups else "目录没有综合病种（由统筹区制定）"
        return None, _trace("comprehensive", "passed", text, [])
    why = f"主要诊断的类目是 {category}，" + (
        f"主要手术操作 {facts.main} 归{treatment}" if facts.main else "没有计入分组的手术操作，归内科组"
    )
    text = f"入综合病种 {found.code} {found.name}：{why}"
    return Choice(found, ""), _trace(
        "comprehensive", "matched", text, [TriedGroup(found.code, found.name, rule_text(found), "")]
    )


def _trace(layer: Layer, outcome: Outcome, text: str, tried: list[TriedGroup]) -> LayerTrace:
    omitted = max(0, len(tried) - MAX_TRIED)
    return LayerTrace(layer, LAYER_NAMES[layer], outcome, text, tuple(tried[:MAX_TRIED]), omitted)


def rule_text(group: DipGroup) -> str:
    """What a group asks for, in Chinese."""
    if group.layer == "comprehensive":
        return f"主要诊断类目 {'、'.join(group.diagnoses)}，{group.treatment}"
    parts = []
    if group.diagnoses:
        where = "任一诊断" if group.any_diagnosis else "主要诊断"
        parts.append(f"{where}为 {'、'.join(group.diagnoses)}")
    if group.other_diagnoses:
        parts.append(f"其他诊断有 {'、'.join(group.other_diagnoses)}")
    if group.resistance:
        parts.append("有耐药诊断" if group.resistance == "resistant" else "没有耐药诊断")
    if group.age_days_below is not None:
        parts.append(f"年龄小于 {group.age_days_below} 天")
    if group.birth_weight_from is not None or group.birth_weight_to is not None:
        parts.append(f"出生体重 {_weights(group)} 克")
    if group.main is not None:
        label = {"main": "主要手术操作为", "any": "手术操作有", "exact": "手术操作恰为"}.get(
            group.procedure_rule
        )
        parts += [f"{label} {group.main.text}"] if label else []
    elif group.procedure_rule == "none":
        parts.append(PROCEDURE_RULES["none"])
    if group.related is not None:
        parts.append(f"相关手术操作有 {group.related.text}")
    return "；".join(parts)


def _weights(group: DipGroup) -> str:
    low, high = group.birth_weight_from, group.birth_weight_to
    return f"{'' if low is None else low}–{'' if high is None else high}"


def why_not(group: DipGroup, facts: Facts) -> str:
    """The first condition of ``group`` that the case does not meet, in Chinese; empty when it fits."""
    codes = (facts.principal, *facts.others)
    if group.diagnoses:
        where = codes if group.any_diagnosis else codes[:1]
        if not _starting(where, group.diagnoses):
            kind = "诊断中" if group.any_diagnosis else "主要诊断"
            return f"{kind}没有 {'、'.join(group.diagnoses)}"
    if group.age_days_below is not None:
        if facts.age_days is None:
            return "年龄（天）没有填写"
        if facts.age_days >= group.age_days_below:
            return f"年龄不小于 {group.age_days_below} 天"
    if group.birth_weight_from is not None or group.birth_weight_to is not None:
        weight = facts.birth_weight
        if weight is None:
            return "新生儿出生体重没有填写"
        if weight < (group.birth_weight_from or 0) or (
            group.birth_weight_to is not None and weight > group.birth_weight_to
        ):
            return f"出生体重 {weight} 克不在 {_weights(group)} 克之间"
    if group.other_diagnoses and not _starting(facts.others, group.other_diagnoses):
        return f"其他诊断没有 {'、'.join(group.other_diagnoses)}"
    if group.resistance == "resistant" and not facts.resistant:
        return "没有耐药诊断"
    if group.resistance == "sensitive" and facts.resistant:
        return "有耐药诊断"
    return _procedures_lacking(group, facts)


def _procedures_lacking(group: DipGroup, facts: Facts) -> str:
    procedures = facts.procedures if group.layer == "pre" else facts.treating
    match group.procedure_rule:
        case "free":
            return ""
        case "none":
            return f"有计入分组的手术操作 {facts.main}" if facts.main else ""
        case "any":
            lacking = group.main is None or not group.main.matched(procedures)
            return "手术操作不符合所列组合" if lacking else _related_lacking(group, facts)
        case "exact":
            same = group.main is not None and procedures and procedures == group.main.codes
            return "" if same else "手术操作与所列不完全相同"
        case "main":
            if not facts.main:
                return "没有计入分组的主要手术操作"
            if group.main is None or facts.main not in group.main.codes:
                return f"主要手术操作 {facts.main} 不在所列之中"
            return _related_lacking(group, facts)


def _related_lacking(group: DipGroup, facts: Facts) -> str:
    if group.related is None or group.related.matched(facts.related):
        return ""
    return f"没有相关手术操作 {group.related.text}"


def held(group: DipGroup, facts: Facts) -> str:
    """The facts of the case that meet the conditions of ``group``, in Chinese."""
    parts = []
    codes = (facts.principal, *facts.others) if group.any_diagnosis else (facts.principal,)
    if group.diagnoses:
        label = "诊断" if group.any_diagnosis else "主要诊断"
        parts.append(f"{label} {'、'.join(_starting(codes, group.diagnoses))}")
    if group.other_diagnoses:
        parts.append(f"其他诊断 {'、'.join(_starting(facts.others, group.other_diagnoses))}")
    if group.resistance:
        parts.append("有耐药诊断" if facts.resistant else "没有耐药诊断")
    if group.age_days_below is not None:
        parts.append(f"年龄 {facts.age_days} 天")
    if group.birth_weight_from is not None or group.birth_weight_to is not None:
        parts.append(f"出生体重 {facts.birth_weight} 克")
    if group.procedure_rule == "main":
        parts.append(f"主要手术操作 {facts.main}")
    elif group.procedure_rule in ("any", "exact") and group.main is not None:
        procedures = facts.procedures if group.layer == "pre" else facts.treating
        parts.append(f"手术操作 {'、'.join(sorted(group.main.matched(procedures) or procedures))}")
    elif group.procedure_rule == "none":
        parts.append("没有计入分组的手术操作")
    if group.related is not None:
        parts.append(f"相关手术操作 {'、'.join(sorted(group.related.matched(facts.related)))}")
    return "，".join(parts)


def _starting(codes: tuple[str, ...], prefixes: tuple[str, ...]) -> list[str]:
    return [code for code in codes if code.startswith(prefixes)]


def _text(result: DipResult, layers: list[LayerTrace], facts: Facts, names: _Names) -> str:
    lines = [f"DIP 分组结果：{result.explanation}"]
    if facts.principal:
        lines.append(f"主要诊断：{names.diagnosis(facts.principal)}")
    lines.append(f"主要手术操作：{names.procedure(facts.main) if facts.main else '无（保守治疗）'}")
    if facts.related:
        lines.append(f"其他手术操作：{'、'.join(names.procedure(code) for code in sorted(facts.related))}")
    for number, layer in enumerate(layers, start=1):
        outcome = (
            "没有"
            if (layer.layer, layer.outcome) == ("exclusion", "passed")
            else OUTCOME_NAMES[layer.outcome]
        )
        lines.append(f"{number}. {layer.name}（{outcome}）：{layer.text}")
        lines += [f"   - {one.code} {one.name}：{one.failed}" for one in layer.tried if one.failed]
        if layer.omitted:
            lines.append(f"   - 另有 {layer.omitted} 个病种不符合，未列出")
    changed = [one for one in (*result.diagnoses, *result.procedures) if one.reason]
    if changed:
        lines.append("编码整理：" + "；".join(f"“{one.received[:64]}”{one.reason}" for one in changed))
    if result.pack is not None:
        lines.append(f"依据：{result.pack.name}（{result.pack.publisher}，版本 {result.pack.version}）")
    return "\n".join(lines)
