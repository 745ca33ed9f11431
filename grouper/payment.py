"""What a DRG case is expected to be paid: weight × rate, coefficients, outliers; never a guessed value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Literal

import msgspec

from grouper.parameters import DRG_PARAMETERS, NOT_USED, YES, Parameters, read_parameters
from grouper.worksheet import WHOLE, Billing, Step, Worksheet, decimal, fen, shown, whole_fen, yuan
from models.grouping import Case, GroupResult
from models.pack import Pack, PackError, PackRef

Outlier = Literal["", "normal", "low", "high", "long_stay"]
OUTLIER_NAMES: Mapping[Outlier, str] = {
    "": "未判断",
    "normal": "正常",
    "low": "低倍率",
    "high": "高倍率",
    "long_stay": "超长住院",
}
BASIC = "基础病组"
STABLE = "稳定病组"
MARKS = (BASIC, STABLE)
WEIGHT_COLUMNS = ("drg", "weight", "average_fee", "standard")
THRESHOLD_COLUMNS = ("drg", "low_ratio", "high_ratio", "low_amount", "high_amount")


@dataclass(frozen=True, slots=True)
class DrgTariff:
    """What a region publishes for one DRG: ``average_fee`` and ``standard`` in fen."""

    weight: Fraction | None = None
    average_fee: int | None = None
    standard: int | None = None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The limits published for one DRG: ratios to the standard, or amounts in fen."""

    low_ratio: Fraction | None = None
    high_ratio: Fraction | None = None
    low_amount: int | None = None
    high_amount: int | None = None


@dataclass(frozen=True)
class DrgPlan:
    """A region's payment pack: tariffs, thresholds and marks by DRG, and the parameters."""

    tariffs: Mapping[str, DrgTariff]
    parameters: Parameters
    thresholds: Mapping[str, Thresholds] = field(default_factory=dict)
    marks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pack: PackRef | None = None


class DrgPayment(msgspec.Struct, frozen=True):
    """What one case is expected to be paid. Amounts in yuan with two decimals, None where unknown.

    ``standard`` is the standard of the group before outliers, ``expected`` the payment. ``missing``
    (Chinese) names each thing without which there is no expected payment, and what to do.
    """

    drg: str
    weight: Decimal | None
    average_fee: Decimal | None
    marks: tuple[str, ...]
    standard: Decimal | None
    outlier: Outlier
    expected: Decimal | None
    cost: Decimal | None
    balance: Decimal | None
    missing: tuple[str, ...]
    steps: tuple[Step, ...]
    pack: PackRef | None = None


def load_drg_plan(pack: Pack) -> DrgPlan:
    """Read a pack of kind ``drg-payment``. Raises PackError."""
    marks: dict[str, tuple[str, ...]] = {}
    thresholds = {}
    try:
        tariffs = {
            drg: DrgTariff(_fraction(weight), _fen(fee), _fen(standard))
            for drg, weight, fee, standard in pack.records("weights", *WEIGHT_COLUMNS)
        }
        if "thresholds" in pack.manifest.tables:
            thresholds = {
                drg: Thresholds(_fraction(low), _fraction(high), _fen(low_amount), _fen(high_amount))
                for drg, low, high, low_amount, high_amount in pack.records("thresholds", *THRESHOLD_COLUMNS)
            }
    except (ValueError, ArithmeticError) as error:
        raise PackError(f"数据包 {pack.id}：权重、费用或界限不是数字（{error}）") from error
    if "marks" in pack.manifest.tables:
        for drg, mark in pack.records("marks", "drg", "mark"):
            marks[drg] = (*marks.get(drg, ()), mark)
    return DrgPlan(tariffs, read_parameters(pack, DRG_PARAMETERS), thresholds, marks, pack.ref)


def _fraction(text: str) -> Fraction | None:
    return Fraction(text) if text else None


def _fen(text: str) -> int | None:
    return fen(text) if text else None


def pay_case(
    group: GroupResult, case: Case, billing: Billing, plan: DrgPlan, *, told: bool = True
) -> DrgPayment:
    """Expected payment of a grouped case against its cost.

    standard = published standard, else weight × base rate; × hospital coefficient (not for 基础病组
    where the plan says so) × insurance coefficient. Then very long stays, low and high outliers.
    Amounts are exact until the end and rounded half up to the fen once. Without ``told`` the steps are
    left out.
    """
    sheet = Worksheet(plan.parameters, DRG_PARAMETERS, billing, "本地 DRG 支付数据包", told=told)
    source = plan.pack.name if plan.pack else ""
    marks = plan.marks.get(group.code, ())
    tariff = plan.tariffs.get(group.code)
    if tariff is None:
        reason = "" if group.reason == "grouped" else f"（{group.explanation}）"
        sheet.lack(f"权重表没有 {group.code or '未入组病例'}{reason}")
    basis = _basis(sheet, group.code, tariff, source) if tariff else None
    hospital = _hospital(sheet, group.code, marks)
    insurance = sheet.coefficient("insurance_coefficient", "险种系数")
    standard: Fraction | None = None
    if basis is not None and hospital is not None and insurance is not None:
        standard = basis * hospital * insurance
        sheet.step("支付标准（元）", _money(standard), "基准 × 医疗机构系数 × 险种系数")
    own = plan.thresholds.get(group.code, Thresholds())
    outlier, expected = _outliers(sheet, case, standard, own, source)
    cost = billing.cost
    paid = None if expected is None or sheet.missing else whole_fen(expected)
    if paid is not None:
        sheet.step("预计支付（元）", str(yuan(paid)), OUTLIER_NAMES[outlier])
        if cost is not None:
            sheet.step("盈亏（元）", str(yuan(paid - cost)), f"预计支付 − 实际费用 {yuan(cost)}")
    fee = tariff.average_fee if tariff else None
    return DrgPayment(
        drg=group.code,
        weight=shown(tariff.weight) if tariff else None,
        average_fee=None if fee is None else yuan(fee),
        marks=marks,
        standard=None if standard is None else yuan(whole_fen(standard)),
        outlier=outlier,
        expected=None if paid is None else yuan(paid),
        cost=None if cost is None else yuan(cost),
        balance=None if paid is None or cost is None else yuan(paid - cost),
        missing=tuple(sheet.missing),
        steps=tuple(sheet.steps),
        pack=plan.pack,
    )


def _basis(sheet: Worksheet, drg: str, tariff: DrgTariff, source: str) -> Fraction | None:
    """The standard of the group in fen before any coefficient."""
    if tariff.standard is not None:
        sheet.step("基准（元）", str(yuan(tariff.standard)), f"{drg} 公布的支付标准", source)
        return Fraction(tariff.standard)
    if tariff.weight is None:
        sheet.lack(f"权重表中 {drg} 没有权重，也没有支付标准")
        return None
    sheet.step("权重", tariff.weight, f"{drg} 的权重", source)
    rate = sheet.coefficient("base_rate", "费率（元）")
    if rate is None:
        return None
    value = tariff.weight * rate * 100
    sheet.step("基准（元）", _money(value), "权重 × 费率")
    return value


def _hospital(sheet: Worksheet, drg: str, marks: tuple[str, ...]) -> Fraction | None:
    if BASIC in marks:
        same = sheet.need("basic_same_rate")
        if same is None:
            return None
        if same.value == YES:
            sheet.step("医疗机构系数", WHOLE, f"{drg} 是{BASIC}，不乘医疗机构系数", same.source)
            return WHOLE
    return sheet.coefficient("hospital_coefficient", "医疗机构系数", sheet.billing.hospital)


def _outliers(
    sheet: Worksheet, case: Case, standard: Fraction | None, own: Thresholds, source: str
) -> tuple[Outlier, Fraction | None]:
    """The kind of case and its payment in fen; ``own`` are the limits of its DRG, from ``source``."""
    cost = sheet.billing.cost
    if cost is None:
        sheet.step("病例类型", OUTLIER_NAMES[""], "没有给出实际费用，不判断倍率，按支付标准计算")
        return "", standard
    limit = sheet.need("long_stay_days")
    if limit is not None and limit.value != NOT_USED:
        if case.length_of_stay is None:
            sheet.missing.append("病例没有住院天数，不能判断是否超长住院；请填写住院天数")
            return "", None
        if case.length_of_stay > limit.number:
            text = f"住院 {case.length_of_stay} 天，超过 {limit.value} 天"
            return "long_stay", _paid_as(sheet, "long_stay", text, limit.source, standard)
    low = _limit(sheet, "low_ratio", standard, (own.low_amount, own.low_ratio), source)
    high = _limit(sheet, "high_ratio", standard, (own.high_amount, own.high_ratio), source)
    if standard is None or low is None or high is None:
        return "", None
    if low.amount is not None and cost < low.amount:
        return "low", _paid_as(sheet, "low", f"费用 {yuan(cost)} 元，低于{low.text}", low.source, standard)
    if high.amount is not None and cost > high.amount:
        share = sheet.need("high_share")
        if share is None:
            return "high", None
        value = standard + (cost - high.amount) * share.number
        sheet.step("病例类型", OUTLIER_NAMES["high"], f"费用 {yuan(cost)} 元，高于{high.text}", high.source)
        sheet.step("高倍率支付（元）", _money(value), f"支付标准 + 超出部分 × {share.value}", share.source)
        return "high", value
    sheet.step("病例类型", OUTLIER_NAMES["normal"], "费用在低倍率、高倍率界限之内", low.source)
    return "normal", standard


def _paid_as(
    sheet: Worksheet, outlier: Outlier, text: str, source: str, standard: Fraction | None
) -> Fraction | None:
    sheet.step("病例类型", OUTLIER_NAMES[outlier], text, source)
    way = sheet.need(f"{outlier}_payment")
    if way is None or sheet.billing.cost is None:
        return None
    sheet.step("支付办法", way.value, f"{OUTLIER_NAMES[outlier]}病例{way.value}支付", way.source)
    return Fraction(sheet.billing.cost) if way.value == "按费用" else standard


@dataclass(frozen=True, slots=True)
class _Limit:
    """A limit in fen, None where the region states that it uses none."""

    amount: Fraction | None
    text: str
    source: str


def _limit(
    sheet: Worksheet,
    name: str,
    standard: Fraction | None,
    own: tuple[int | None, Fraction | None],
    source: str,
) -> _Limit | None:
    """The limit of the DRG itself (amount, ratio), else the ratio ``name`` of the region."""
    amount, ratio = own
    if amount is not None:
        return _Limit(Fraction(amount), f"该病组公布的界限 {yuan(amount)} 元", source)
    if ratio is None:
        found = sheet.need(name)
        if found is None:
            return None
        if found.value == NOT_USED:
            return _Limit(None, "", found.source)
        ratio, source = found.number, found.source
    if standard is None:
        return None
    return _Limit(standard * ratio, f"支付标准的 {decimal(ratio)} 倍", source)


def _money(value: Fraction) -> str:
    return str(yuan(whole_fen(value)))
