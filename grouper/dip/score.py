"""What a DIP group is worth: score, coefficients, deviation of the cost, amount; never a guessed value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Literal

import msgspec

from coding.library import normalize_code
from grouper.dip.catalogue import Catalogue, GroupScore, read_scores
from grouper.dip.comorbidity import ComorbidityIndex
from grouper.dip.engine import DipResult
from grouper.parameters import DIP_PARAMETERS, NOT_USED, YES, Parameters, point_value, read_parameters
from grouper.worksheet import WHOLE, Billing, Step, Worksheet, decimal, rounded, shown, whole_fen, yuan
from models.grouping import Case
from models.pack import Pack, PackRef

HOURS_A_DAY = 24
DAYS_A_YEAR = 365
NEONATAL_DAYS = 28

Deviation = Literal["", "low", "normal", "high"]
DEVIATION_NAMES: Mapping[Deviation, str] = {
    "": "未判断",
    "low": "低费用偏差",
    "normal": "费用正常",
    "high": "高费用偏差",
}


class DipScore(msgspec.Struct, frozen=True):
    """What one case is worth. Amounts in yuan with two decimals; None where something is missing.

    ``missing`` (Chinese) names each thing without which there is no amount, and what to do.
    """

    group: str
    name: str
    relative_weight: Decimal | None
    hospital_coefficient: Decimal | None
    auxiliary_coefficient: Decimal | None
    deviation: Deviation
    score: Decimal | None
    point_value: Decimal | None
    amount: Decimal | None
    cost: Decimal | None
    balance: Decimal | None
    missing: tuple[str, ...]
    steps: tuple[Step, ...]
    packs: tuple[PackRef, ...] = ()


@dataclass(frozen=True)
class DipPlan:
    """The regional plan: scores, parameters, and the tables behind the auxiliary coefficients.

    ``severity`` gives (leading characters of a diagnosis, level) from the gravest level down.
    """

    scores: Mapping[str, GroupScore]
    parameters: Parameters
    severity: tuple[tuple[str, str], ...] = ()
    comorbidity: ComorbidityIndex | None = None
    packs: tuple[PackRef, ...] = field(default=())


def load_plan(catalogue: Catalogue, payment: Pack | None, comorbidity: ComorbidityIndex | None) -> DipPlan:
    """The plan of a region; scores in the payment pack win over those of the catalogue. Raises PackError."""
    refs = [catalogue.pack] if catalogue.pack else []
    if payment is None:
        return DipPlan(catalogue.scores, Parameters(()), (), comorbidity, tuple(refs))
    refs.append(payment.ref)
    severity: tuple[tuple[str, str], ...] = ()
    if "severity" in payment.manifest.tables:
        rows = payment.records("severity", "order", "level", "diagnosis")
        severity = tuple(
            (diagnosis, level) for _, level, diagnosis in sorted(rows, key=lambda row: int(row[0]))
        )
    if comorbidity is not None and comorbidity.pack is not None:
        refs.append(comorbidity.pack)
    return DipPlan(
        {**catalogue.scores, **read_scores(payment)},
        read_parameters(payment, DIP_PARAMETERS),
        severity,
        comorbidity,
        tuple(refs),
    )


def relative_weight(group_mean: Fraction, mean_of_all: Fraction) -> Fraction:
    """RW in points: mean cost of the group over the mean cost of all cases, times 1000."""
    return group_mean / mean_of_all * 1000


def score_case(
    result: DipResult, case: Case, billing: Billing, plan: DipPlan, *, told: bool = True
) -> DipScore:
    """Work out the score and the amount of a grouped case.

    score = RW × hospital coefficient × auxiliary coefficient, then the deviation: below ``low_ratio``
    of the standard cost × cost/standard, above ``high_ratio`` × (cost/standard − high_ratio + 1).
    Amount = score × point value, rounded half up to the fen at the end (the score before it only where
    the plan gives ``score_decimals``). Without a cost the deviation is not judged. Without ``told`` the
    steps are left out.
    """
    sheet = Worksheet(plan.parameters, DIP_PARAMETERS, billing, "本地 DIP 支付数据包", told=told)
    if not result.code:
        sheet.missing.append(f"没有分组，不能计算：{result.explanation}")
        return _answer(sheet, result, plan, _Worth())
    worth = _Worth()
    published = plan.scores.get(result.code, GroupScore())
    worth.relative_weight = published.score
    if published.score is None:
        sheet.lack(f"缺少病种 {result.code} {result.name} 的分值")
    else:
        source = plan.packs[0].name if plan.packs else ""
        sheet.step("病种分值", published.score, f"病种 {result.code} 的分值（RW）", source)
    worth.hospital = _hospital_coefficient(sheet, result)
    worth.auxiliary = _auxiliary(sheet, case, result, plan)
    worth.point = _point(sheet)
    if worth.relative_weight is not None and worth.hospital is not None and worth.auxiliary is not None:
        plain = worth.relative_weight * worth.hospital * worth.auxiliary
        sheet.step("病例分值（偏差前）", plain, "病种分值 × 医疗机构系数 × 辅助系数")
        worth.deviation, factor = _deviation(sheet, result, published, worth)
        if factor is not None:
            worth.score = plain * factor
            places = sheet.find("score_decimals")
            if places is not None:
                worth.score = rounded(worth.score, int(places.number))
                sheet.step("分值取位", worth.score, f"四舍五入保留 {places.value} 位小数", places.source)
            if factor != 1 or places is not None:
                sheet.step("病例分值", worth.score, DEVIATION_NAMES[worth.deviation])
    return _answer(sheet, result, plan, worth)


@dataclass(slots=True)
class _Worth:
    relative_weight: Fraction | None = None
    hospital: Fraction | None = None
    auxiliary: Fraction | None = None
    point: Fraction | None = None
    deviation: Deviation = ""
    score: Fraction | None = None


def _answer(sheet: Worksheet, result: DipResult, plan: DipPlan, worth: _Worth) -> DipScore:
    cost = sheet.billing.cost
    amount: int | None = None
    if worth.score is not None and worth.point is not None and not sheet.missing:
        amount = whole_fen(worth.score * worth.point * 100)
        sheet.step("预计金额（元）", str(yuan(amount)), "病例分值 × 点值，四舍五入到分")
        if cost is not None:
            sheet.step("盈亏（元）", str(yuan(amount - cost)), f"预计金额 − 实际费用 {yuan(cost)}")
    return DipScore(
        group=result.code,
        name=result.name,
        relative_weight=shown(worth.relative_weight),
        hospital_coefficient=shown(worth.hospital),
        auxiliary_coefficient=shown(worth.auxiliary),
        deviation=worth.deviation,
        score=shown(worth.score),
        point_value=shown(worth.point),
        amount=None if amount is None else yuan(amount),
        cost=None if cost is None else yuan(cost),
        balance=None if amount is None or cost is None else yuan(amount - cost),
        missing=tuple(sheet.missing),
        steps=tuple(sheet.steps),
        packs=plan.packs,
    )


def _hospital_coefficient(sheet: Worksheet, result: DipResult) -> Fraction | None:
    if result.primary_care:
        same = sheet.need("primary_care_same_score")
        if same is None:
            return None
        if same.value == YES:
            sheet.step("医疗机构系数", WHOLE, f"{result.code} 是基层病种，不乘医疗机构系数", same.source)
            return WHOLE
    return sheet.coefficient("hospital_coefficient", "医疗机构系数", sheet.billing.hospital)


def _point(sheet: Worksheet) -> Fraction | None:
    found = sheet.find("point_value")
    if found is not None:
        sheet.step("点值（元/分）", found.number, found.where or "全部险种", found.source)
        return found.number
    fund, total = sheet.find("fund"), sheet.find("total_score")
    if fund is not None and total is not None and total.number > 0:
        value = point_value(whole_fen(fund.number * 100), total.number)
        sheet.step("点值（元/分）", value, f"基金 {fund.value} 元 ÷ 总分值 {total.value}", fund.source)
        return value
    sheet.need("point_value")
    return None


def _deviation(
    sheet: Worksheet, result: DipResult, published: GroupScore, worth: _Worth
) -> tuple[Deviation, Fraction | None]:
    cost = sheet.billing.cost
    if cost is None:
        sheet.step("费用偏差", "", "没有给出实际费用，不判断费用偏差，按正常计算")
        return "", WHOLE
    low, high = sheet.need("low_ratio"), sheet.need("high_ratio")
    standard = _standard(sheet, result, published, worth)
    if low is None or high is None or standard is None:
        return "", None
    ratio = Fraction(cost) / standard
    of = f"实际费用 {yuan(cost)} 元 ÷ 标准 {decimal(standard / 100, 2)} 元 = {decimal(ratio)}"
    if low.value != NOT_USED and ratio < low.number:
        sheet.step("费用偏差", ratio, f"{of}，低于 {low.value}：分值 × 费用/标准", low.source)
        return "low", ratio
    if high.value != NOT_USED and ratio > high.number:
        factor = ratio - high.number + 1
        sheet.step(
            "费用偏差",
            factor,
            f"{of}，高于 {high.value}：分值 ×（费用/标准 − {high.value} + 1）",
            high.source,
        )
        return "high", factor
    sheet.step("费用偏差", WHOLE, f"{of}，在 {low.value} 到 {high.value} 之间，正常", high.source)
    return "normal", WHOLE


def _standard(sheet: Worksheet, result: DipResult, published: GroupScore, worth: _Worth) -> Fraction | None:
    """The standard cost of the group in fen: its mean cost, or its score × point value, as the plan says."""
    basis = sheet.find("standard_basis")
    if basis is not None and basis.value == "分值×点值":
        if worth.relative_weight and worth.point:
            return worth.relative_weight * worth.point * 100
        return None  # what is missing has been said where it was looked for
    if not published.mean_cost:
        sheet.lack(f"缺少病种 {result.code} {result.name} 的均次费用，不能判断费用偏差")
        return None
    return Fraction(published.mean_cost)


def cci_band(index: int) -> str:
    """The band of a Charlson index: 0, 1-2, 3-4, >=5."""
    return "0" if index <= 0 else "1-2" if index <= 2 else "3-4" if index <= 4 else ">=5"


def age_band(years: int | None, days: int | None) -> str:
    """The band of an age: 0-28d, 29d-1y (under one year), 1-6y, 7-17y, >=65y; empty for others."""
    if years is None and days is None:
        return ""
    if not years:
        if days is None:
            return ""
        return "0-28d" if days <= NEONATAL_DAYS else "29d-1y" if days < DAYS_A_YEAR else "1-6y"
    if years <= 6:
        return "1-6y"
    if years <= 17:
        return "7-17y"
    return ">=65y" if years >= 65 else ""


def icu_band(days: int) -> str:
    """The band of days in intensive care: 2-7, 8-14, 15-30, >=31; empty under two days."""
    if days < 2:
        return ""
    return "2-7" if days <= 7 else "8-14" if days <= 14 else "15-30" if days <= 30 else ">=31"


def _auxiliary(sheet: Worksheet, case: Case, result: DipResult, plan: DipPlan) -> Fraction | None:
    """The coefficients that the plan gives for this case, combined as it says."""
    combination = sheet.need("auxiliary_combination")
    if combination is None:
        return None
    if combination.value == NOT_USED:
        sheet.step("辅助系数", WHOLE, "本地区不用辅助系数", combination.source)
        return WHOLE
    others = [one.used for one in result.diagnoses[1:] if one.used] or [
        normalize_code(code) for code in case.diagnoses[1:]
    ]
    factors: list[Fraction] = []
    lacking = len(sheet.missing)
    for name, band, text in _bands(sheet, case, others, plan):
        found = sheet.find(name, band) if band else None
        if found is None or found.key != band:
            sheet.step(DIP_PARAMETERS[name], WHOLE, f"{text}，该档没有系数，按 1")
            continue
        factors.append(found.number)
        sheet.step(DIP_PARAMETERS[name], found.number, f"{text}，属 {band} 档", found.source)
    if len(sheet.missing) > lacking:
        return None
    if combination.value == "取最大":
        value = max(factors, default=WHOLE)
    else:
        value = WHOLE
        for factor in factors:
            value *= factor
    sheet.step("辅助系数", value, f"合并办法：{combination.value}", combination.source)
    return value


def _bands(sheet: Worksheet, case: Case, others: Sequence[str], plan: DipPlan) -> list[tuple[str, str, str]]:
    """Name, band and facts of each auxiliary coefficient that the plan uses."""
    found = []
    parameters = sheet.parameters
    if parameters.has("auxiliary_cci"):
        if plan.comorbidity is None:
            sheet.missing.append("缺少合并症指数表（comorbidity-index 数据包），不能计算 CCI；请导入后重试")
        else:
            index, conditions = plan.comorbidity.of(others)
            named = "、".join(f"{one.name} {one.weight}" for one in conditions)
            found.append(
                ("auxiliary_cci", cci_band(index), f"CCI = {index}" + (f"（{named}）" if named else ""))
            )
    if parameters.has("auxiliary_age"):
        band = age_band(case.age, case.age_days)
        text = f"年龄 {case.age} 岁" if case.age else f"年龄 {case.age_days} 天"
        if case.age is None and case.age_days is None:
            sheet.missing.append("病例没有年龄，不能确定年龄辅助系数；请填写年龄")
        elif not case.age and case.age_days is None:
            sheet.missing.append("不足 1 周岁而没有天数，不能确定年龄辅助系数；请填写年龄（天）")
        found.append(("auxiliary_age", band, text))
    if parameters.has("auxiliary_icu_days"):
        hours = case.icu_hours if case.icu_hours is not None and case.icu_hours == case.icu_hours else 0
        days = sheet.billing.icu_days
        if days is None:
            days = int(min(max(hours, 0), 1e6) // HOURS_A_DAY)
        found.append(("auxiliary_icu_days", icu_band(days), f"ICU {days} 天"))
    if parameters.has("auxiliary_severity"):
        if not plan.severity:
            sheet.missing.append(
                "缺少疾病严重程度表（支付数据包的 severity 表），不能确定严重程度系数；请补充后重试"
            )
        else:
            level, code = next(
                (
                    (level, code)
                    for prefix, level in plan.severity
                    for code in others
                    if code.startswith(prefix)
                ),
                ("", ""),
            )
            text = f"其他诊断 {code} 属{level}" if level else "其他诊断没有列入严重程度表的"
            found.append(("auxiliary_severity", level, text))
    return found
