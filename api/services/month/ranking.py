"""Ranks lists for a reviewer: expected effect on payment × strength of the evidence, each row explained."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from api.services.month.records import Record, Value
from api.services.month.result import Candidate, Comparison, CrossFinding, Evidence, Review

UP, DOWN, SPLIT, STAY, TWICE = "可能高编", "可能漏编", "可能分解住院", "住院必要性", "重复或时间有误"

MOST_REVIEWS = 2000

# How strong one piece of evidence is taken to be. These are conventions of ours for putting rows in
# order, not probabilities; several pieces add up as if they were independent.
RESIDUAL_STRENGTH = ((5.0, 0.6), (4.0, 0.5), (0.0, 0.4))
"""Deviations from → strength."""
STAY_STRENGTH = 0.2
LEAD_STRENGTH = 0.3
LEAD_STRENGTHS: Mapping[str, float] = {"CHG-016": 0.4, "CHG-018": 0.5, "CHG-019": 0.4}
"""Of rules that say more: an operation or implant charged, a result and a treatment without the diagnosis."""
UNIT_STRENGTH: Mapping[str, float] = {"本院过去": 0.3, "院内同病组": 0.2}
ONLY_ONE_STRENGTH = 0.1
CROSS_STRENGTH: Mapping[str, float] = {"LOG-030": 0.9, "FRD-007": 0.6, "FRD-006": 0.4, "FRD-011": 0.3}

LEAD_DIRECTIONS: Mapping[str, str] = {
    "FRD-001": UP,
    "FRD-002": UP,
    "FRD-003": DOWN,
    "FRD-012": DOWN,
    "CHG-016": DOWN,
    "CHG-018": DOWN,
    "CHG-019": DOWN,
    "DX-015": DOWN,
    "FRD-004": STAY,
    "FRD-005": STAY,
    "FRD-008": STAY,
    "FRD-009": STAY,
    "FRD-010": STAY,
}
"""What a finding on a single list speaks for; others speak for no direction and are left to the check."""
DOUBTFUL_PRINCIPAL = "FRD-001"
"""Doubts the principal diagnosis: what it would become only the record says."""
INDICATION = "适应证"
"""Stands in place of a rule code for a procedure whose indication is not listed."""

CLEARS: Mapping[str, str] = {
    DOWN: "核对病历、手术记录和收费后没有漏编的诊断或手术，即可排除",
    SPLIT: "两次住院各有独立的入院指征，或属于计划内再住院并已在清单上标明，即可排除",
    STAY: "病历中有必须住院的指征和相应诊疗，即可排除",
    TWICE: "确认两份清单是同一人的两次真实住院且时间无误，即可排除；重复的请作废一份",
}

CLEARS_RAISED = "病历中有 {codes} 的诊断依据、检查结果和相应治疗"
CLEARS_PRINCIPAL = "病历证明主要诊断是这次住院消耗医疗资源最多、最主要的诊疗目的"
CLEARS_CHEAP = (
    "病历和费用明细证明这组的主要诊断和手术操作属实，费用低有原因（如提前出院、死亡、转院或费用未记全）"
)
CLEARS_UNIT = "病历中有所列诊断的依据，或本科室（医师）收治的病情确实较重"
"""What clears a list that may be coded too high, by what speaks against it."""

Place = tuple[int, int]
"""Number of the file and line: a list without any number has these."""


@dataclass
class _Row:
    evidence: list[Evidence] = field(default_factory=list)
    ratio: float | None = None
    """Cost ÷ expectation where a residual speaks, else ÷ the group's standard where that is far off."""


def rank(
    records: Sequence[Record],
    files: Sequence[str],
    comparisons: Sequence[Comparison],
    candidates: Iterable[Candidate],
    cross: Iterable[CrossFinding],
) -> tuple[tuple[Review, ...], int, bool]:
    """The rows for a reviewer, how many were left off, and whether the score is in yuan (else weight)."""
    numbers = {name: number for number, name in enumerate(files)}
    rows: dict[Place, dict[str, _Row]] = defaultdict(lambda: defaultdict(_Row))
    for candidate in candidates:
        direction = UP if candidate.ratio < 1 else DOWN
        row = rows[numbers[candidate.file], candidate.line][direction]
        far = abs(candidate.deviations)
        cost = candidate.target == "费用"
        strength = (
            next(value for limit, value in RESIDUAL_STRENGTH if far >= limit) if cost else STAY_STRENGTH
        )
        row.evidence.append(Evidence("残差", candidate.text, strength))
        if cost:
            row.ratio = candidate.ratio
    multiples = {(record.file, record.line): record.multiple for record in records}
    for one in cross:
        code = one.finding.rule
        place = (numbers[one.file], one.line)
        if code == "FRD-011":
            direction = UP if "低于" in one.finding.message else DOWN
        else:
            direction = TWICE if code == "LOG-030" else SPLIT
        row = rows[place][direction]
        row.evidence.append(Evidence(code, one.finding.message, CROSS_STRENGTH[code]))
        if code == "FRD-011" and row.ratio is None:
            row.ratio = multiples.get(place)
    units = _flagged_units(comparisons)
    for record in records:
        place = (record.file, record.line)
        for lead in record.leads:
            if lead.rule in LEAD_DIRECTIONS:
                direction = LEAD_DIRECTIONS[lead.rule]
                strength = LEAD_STRENGTHS.get(lead.rule, LEAD_STRENGTH)
                rows[place][direction].evidence.append(Evidence(lead.rule, lead.message, strength))
            elif lead.rule == INDICATION:
                rows[place][DOWN].evidence.append(Evidence(lead.rule, lead.message, LEAD_STRENGTH))
        for line in _units_of(record, units):
            rows[place][UP].evidence.append(_unit_evidence(line))
    return _in_order(records, files, rows)


def _flagged_units(comparisons: Iterable[Comparison]) -> dict[tuple[str, str, str], list[Comparison]]:
    """Comparisons that say a unit codes more complications than expected, by level, unit and code."""
    found: dict[tuple[str, str, str], list[Comparison]] = defaultdict(list)
    for line in comparisons:
        if line.flagged and line.direction == "偏高" and line.measure in ("MCC/CC 率", "编码使用"):
            found[line.level, line.unit, line.code].append(line)
    return found


def _units_of(record: Record, units: Mapping[tuple[str, str, str], list[Comparison]]) -> Iterable[Comparison]:
    """The flag of the list's units that says most about it: one of a code before that of the whole rate."""
    if not record.raising:
        return
    for level, unit in (("科室", record.department), ("医师", record.doctor)):
        for code in (*record.raising, ""):
            lines = units.get((level, unit, code))
            if lines:
                yield min(lines, key=lambda line: (line.q or 0.0, line.baseline))
                break


def _unit_evidence(line: Comparison) -> Evidence:
    unit = f"{line.level} {line.unit} {line.name}".rstrip()
    what = f" {line.code} {line.code_name} 的使用" if line.code else line.measure
    text = (
        f"{unit}的{what}高于{line.baseline}：{line.observed:g} 例，"
        f"按同病组同年龄段应有 {line.expected:.1f} 例（q={line.q:.2g}）"
    )
    return Evidence("统计", text, UNIT_STRENGTH[line.baseline])


def _in_order(
    records: Sequence[Record], files: Sequence[str], rows: Mapping[Place, Mapping[str, _Row]]
) -> tuple[tuple[Review, ...], int, bool]:
    in_yuan = any(record.value.standard is not None for record in records)
    found = []
    for record in records:
        for direction, row in rows.get((record.file, record.line), {}).items():
            evidence = list(row.evidence)
            if direction == UP and len(record.raising) == 1 and _gain(record.without, record.value)[0]:
                text = f"只凭 {record.raising[0]} 一项由 {record.without_drg} 进入 {record.drg}"
                evidence.append(Evidence("分组", text, ONLY_ONE_STRENGTH))
            evidence.sort(key=lambda one: (-one.strength, one.kind, one.text))
            strength = together(one.strength for one in evidence)
            weight, yuan, text = _effect(record, direction, row.ratio)
            effect = yuan if in_yuan else weight
            found.append(
                Review(
                    rank=0,
                    list_id=record.list_id,
                    file=files[record.file],
                    line=record.line,
                    department=record.department,
                    doctor=record.doctor,
                    drg=record.drg,
                    direction=direction,
                    effect_weight=None if weight is None else round(weight, 4),
                    effect_yuan=None if yuan is None else round(yuan, 2),
                    effect_text=text,
                    strength=round(strength, 3),
                    score=None if effect is None else round(effect * strength, 4),
                    evidence=tuple(evidence),
                    clears=_clears(record, direction, evidence),
                )
            )
    found.sort(key=lambda one: (one.score is None, -(one.score or 0.0), -one.strength))
    kept = found[:MOST_REVIEWS]
    ranked = tuple(msgspec.structs.replace(one, rank=number) for number, one in enumerate(kept, 1))
    return ranked, len(found) - len(kept), in_yuan


def _clears(record: Record, direction: str, evidence: Sequence[Evidence]) -> str:
    """What would show that there is nothing to correct: it answers just the evidence there is (Chinese)."""
    if direction != UP:
        return CLEARS[direction]
    kinds = {one.kind for one in evidence}
    raised = bool(record.raising) and any(_gain(record.without, record.value))
    asked = []
    if raised:
        asked.append(CLEARS_RAISED.format(codes="、".join(record.raising)))
    elif kinds & {"统计"}:
        asked.append(CLEARS_UNIT)
    if DOUBTFUL_PRINCIPAL in kinds:
        asked.append(CLEARS_PRINCIPAL)
    if kinds & {"残差", "FRD-011"}:
        asked.append(CLEARS_CHEAP)
    if not asked:
        asked.append("病历中有主要诊断和所填诊断的依据")
    return f"{'；'.join(asked)}，即可排除"


def together(strengths: Iterable[float]) -> float:
    """Several pieces of evidence as if independent: 1 − Π(1 − strength)."""
    left = 1.0
    for one in strengths:
        left *= 1 - one
    return 1 - left


def _gain(lower: Value, higher: Value) -> tuple[float | None, float | None]:
    """Weight and yuan by which one value is higher; None where unknown or where it is not higher."""
    weight = yuan = None
    if lower.weight is not None and higher.weight is not None and higher.weight > lower.weight:
        weight = higher.weight - lower.weight
    if lower.standard is not None and higher.standard is not None and higher.standard > lower.standard:
        yuan = (higher.standard - lower.standard) / 100
    return weight, yuan


def _effect(record: Record, direction: str, ratio: float | None) -> tuple[float | None, float | None, str]:
    """Weight, yuan and in words what is at stake."""
    value = record.value
    if value.weight is None and value.standard is None:
        return None, None, "没有这个病组的权重或支付标准，影响未知，只按证据强度排在后面"
    weight: float | None
    yuan: float | None
    whole = (value.weight, None if value.standard is None else value.standard / 100)
    if direction == DOWN:
        weight, yuan = _gain(value, record.top)
        if weight is None and yuan is None:
            return (
                0.0,
                0.0 if whole[1] is not None else None,
                f"{record.drg} 已是 {record.adrg} 中权重最高的组",
            )
        return weight, yuan, _words(f"若进入 {record.top_drg}，最多增加", weight, yuan)
    if direction == UP:
        weight, yuan = _gain(record.without, value)
        if weight is not None or yuan is not None:
            codes = "、".join(record.raising)
            return (
                weight,
                yuan,
                _words(f"若 {codes} 不成立，由 {record.drg} 到 {record.without_drg}，减少", weight, yuan),
            )
        share = 1 - ratio if ratio is not None and ratio < 1 else 0.0
        if not share and any(lead.rule == DOUBTFUL_PRINCIPAL for lead in record.leads):
            return None, None, "主要诊断改选后入哪个组要看病历，影响未知，只按证据强度排在后面"
        weight = None if whole[0] is None else whole[0] * share
        yuan = None if whole[1] is None else whole[1] * share
        if not share:
            return weight, yuan, "去掉合并症后病组不变，对支付没有影响"
        return weight, yuan, _words("没有合并症抬高病组；按费用低于期望或标准的部分估计，约", weight, yuan)
    return *whole, _words("这次住院的全部支付，", *whole)


def _words(before: str, weight: float | None, yuan: float | None) -> str:
    parts = []
    if weight is not None:
        parts.append(f"权重 {weight:.4f}")
    parts.append(f"{yuan:.2f} 元" if yuan is not None else "费率未知，没有折成金额")
    return f"{before} {'，'.join(parts)}"
