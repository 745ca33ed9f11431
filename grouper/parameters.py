"""Regional payment parameters: found by name, key, hospital level and insurance, each with its source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from fractions import Fraction

import msgspec

from models.pack import Pack, PackError, PackRef

COLUMNS = ("parameter", "key", "hospital_level", "insurance", "value", "unit", "source")
NOT_USED = "无"
"""The value of a parameter that a region states it does not use."""
YES = "是"

DRG_PARAMETERS: Mapping[str, str] = {
    "base_rate": "费率（每权重金额，元）",
    "hospital_coefficient": "医疗机构系数",
    "insurance_coefficient": "险种系数",
    "basic_same_rate": "基础病组不乘医疗机构系数（是、无）",
    "low_ratio": "低倍率界限（费用 ÷ 支付标准）",
    "low_payment": "低倍率病例的支付办法（按费用、按标准）",
    "high_ratio": "高倍率界限（费用 ÷ 支付标准）",
    "high_share": "高倍率病例超出部分的支付比例",
    "long_stay_days": "超长住院界限（天）",
    "long_stay_payment": "超长住院病例的支付办法（按费用、按标准）",
}
DIP_PARAMETERS: Mapping[str, str] = {
    "point_value": "分值点值（元/分）",
    "fund": "用于分值付费的基金总额（元）",
    "total_score": "参与分配的总分值",
    "hospital_coefficient": "医疗机构系数",
    "primary_care_same_score": "基层病种不乘医疗机构系数（是、无）",
    "low_ratio": "低费用偏差界限（费用 ÷ 病种标准费用）",
    "high_ratio": "高费用偏差界限（费用 ÷ 病种标准费用）",
    "standard_basis": "病种标准费用的取法（均次费用、分值×点值）",
    "auxiliary_combination": "多个辅助系数的合并办法（相乘、取最大、无）",
    "auxiliary_cci": "CCI 辅助系数",
    "auxiliary_age": "年龄辅助系数",
    "auxiliary_icu_days": "ICU 天数辅助系数",
    "auxiliary_severity": "疾病严重程度辅助系数",
    "score_decimals": "病例分值保留的小数位数",
}
"""What each name means; an unknown name is refused at import."""

CHOICES: Mapping[str, tuple[str, ...]] = {
    "basic_same_rate": (YES, NOT_USED),
    "low_payment": ("按费用", "按标准"),
    "long_stay_payment": ("按费用", "按标准"),
    "primary_care_same_score": (YES, NOT_USED),
    "standard_basis": ("均次费用", "分值×点值"),
    "auxiliary_combination": ("相乘", "取最大", NOT_USED),
}
"""The parameters whose value is a word."""
MAY_BE_UNUSED = frozenset({"low_ratio", "high_ratio", "long_stay_days"})
"""The numbers that a region may state not to use, with the value 无."""


class Parameter(msgspec.Struct, frozen=True):
    """One value of the regional plan and where it stands; ``label`` is its Chinese name."""

    name: str
    label: str
    key: str
    hospital_level: str
    insurance: str
    value: str
    unit: str
    source: str

    @property
    def number(self) -> Fraction:
        """The value as an exact number. Only for a parameter that is one (checked when loaded)."""
        return Fraction(self.value)

    @property
    def where(self) -> str:
        """For which key, hospital level and insurance it holds; empty for all."""
        return "、".join(part for part in (self.key, self.hospital_level, self.insurance) if part)


class Parameters:
    """The parameters of one pack. An empty key, hospital level or insurance in a row means any."""

    def __init__(self, rows: Iterable[Parameter], pack: PackRef | None = None) -> None:
        self._rows: dict[str, list[Parameter]] = {}
        for row in rows:
            self._rows.setdefault(row.name, []).append(row)
        self.pack = pack

    def find(
        self, name: str, *, key: str = "", hospital_level: str = "", insurance: str = ""
    ) -> Parameter | None:
        """The most specific value that holds: a row with the key before the level before the insurance."""
        fitting = [
            row
            for row in self._rows.get(name, ())
            if row.key in ("", key)
            and row.hospital_level in ("", hospital_level)
            and row.insurance in ("", insurance)
        ]
        return max(
            fitting,
            key=lambda row: (row.key != "", row.hospital_level != "", row.insurance != ""),
            default=None,
        )

    def has(self, name: str) -> bool:
        """Whether any row gives ``name``."""
        return name in self._rows

    def all(self) -> tuple[Parameter, ...]:
        return tuple(row for rows in self._rows.values() for row in rows)


def read_parameters(pack: Pack, labels: Mapping[str, str]) -> Parameters:
    """The table ``parameters`` of a payment pack; empty where it has none. Raises PackError."""
    if "parameters" not in pack.manifest.tables:
        return Parameters((), pack.ref)
    rows = []
    for name, key, level, insurance, value, unit, source in pack.records("parameters", *COLUMNS):
        fault = fault_of(name, value, labels)
        if fault:
            raise PackError(f"{pack.table_path('parameters')}：{fault}")
        rows.append(Parameter(name, labels[name], key, level, insurance, value, unit, source))
    return Parameters(rows, pack.ref)


def fault_of(name: str, value: str, labels: Mapping[str, str]) -> str:
    """What is wrong with a parameter, in Chinese; empty when nothing is."""
    if name not in labels:
        return f"不认识的参数“{name}”，可用：{'、'.join(labels)}"
    if name in CHOICES:
        return (
            "" if value in CHOICES[name] else f"参数 {name} 的值“{value}”应为 {'、'.join(CHOICES[name])} 之一"
        )
    if name in MAY_BE_UNUSED and value == NOT_USED:
        return ""
    try:
        number = Decimal(value)
    except InvalidOperation:
        return f"参数 {name} 的值“{value}”应为数字"
    if not number.is_finite() or number < 0 or len(value) > 40 or abs(number.adjusted()) > 15:
        return f"参数 {name} 的值“{value}”应为合理的非负数字"
    if name == "score_decimals" and (number != int(number) or number > 10):
        return f"参数 {name} 的值“{value}”应为 0 到 10 的整数"
    return ""


def point_value(fund: int, total_score: Fraction) -> Fraction:
    """Yuan a point: the fund (fen) over all points. Raises ZeroDivisionError for no points."""
    return Fraction(fund, 100) / total_score
