"""A payment calculation as it is written down: exact numbers, each step with its source, what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import msgspec

from grouper.parameters import Parameter, Parameters

SHOWN_DECIMALS = 4
"""Decimals of scores, weights and coefficients in answers; the calculation itself is exact."""
WHOLE = Fraction(1)


class Step(msgspec.Struct, frozen=True):
    """One step of a calculation: what, its value, how it came about (Chinese), and its source."""

    item: str
    value: str
    text: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Billing:
    """What payment needs beside the case: ``cost`` in fen, the hospital, its level, the insurance.

    ``icu_days`` overrides the days counted from the ICU hours of the case.
    """

    cost: int | None = None
    hospital: str = ""
    hospital_level: str = ""
    insurance: str = ""
    icu_days: int | None = None


class Worksheet:
    """Collects steps and missing things while an amount is worked out.

    Without ``told`` no steps are written down: a month asks for amounts only.
    """

    def __init__(
        self,
        parameters: Parameters,
        labels: Mapping[str, str],
        billing: Billing,
        pack_name: str,
        *,
        told: bool = True,
    ) -> None:
        self.told = told
        self.parameters = parameters
        self.labels = labels
        self.billing = billing
        self.pack_name = pack_name
        self.steps: list[Step] = []
        self.missing: list[str] = []

    def find(self, name: str, key: str = "") -> Parameter | None:
        """The parameter that holds for this hospital and insurance."""
        billing = self.billing
        return self.parameters.find(
            name, key=key, hospital_level=billing.hospital_level, insurance=billing.insurance
        )

    def need(self, name: str, key: str = "") -> Parameter | None:
        """The parameter; without it a sentence in ``missing``."""
        found = self.find(name, key)
        if found is None:
            where = "、".join(
                part for part in (key, self.billing.hospital_level, self.billing.insurance) if part
            )
            self.lack(f"缺少参数 {name}（{self.labels[name]}）" + (f"，适用于 {where}" if where else ""))
        return found

    def lack(self, text: str) -> None:
        """Say what the regional pack lacks."""
        self.missing.append(f"{text}；请在{self.pack_name}中补充")

    def step(self, item: str, value: Fraction | str, text: str, source: str = "") -> None:
        if self.told:
            shown = value if isinstance(value, str) else str(decimal(value))
            self.steps.append(Step(item, shown, text, source))

    def coefficient(self, name: str, item: str, key: str = "") -> Fraction | None:
        """A coefficient that is needed, written down as a step."""
        found = self.need(name, key)
        if found is None:
            return None
        self.step(item, found.number, found.where or "全部", found.source)
        return found.number


def _units(value: Fraction, decimals: int) -> int:
    """``value`` in units of its last decimal, half away from zero (四舍五入)."""
    # In whole numbers: fractions reduce themselves at every step, which takes twenty times as long.
    divisor = value.denominator
    whole, rest = divmod(abs(value.numerator) * int(10**decimals), divisor)
    if 2 * rest >= divisor:
        whole += 1
    return whole if value.numerator >= 0 else -whole


def rounded(value: Fraction, decimals: int) -> Fraction:
    """``value`` to so many decimals, half away from zero (四舍五入)."""
    return Fraction(_units(value, decimals), 10**decimals)


def decimal(value: Fraction, decimals: int = SHOWN_DECIMALS) -> Decimal:
    """``value`` half up with so many decimals, for showing."""
    return Decimal(_units(value, decimals)).scaleb(-decimals)


def shown(value: Fraction | None) -> Decimal | None:
    """``value`` for an answer; None stays None."""
    return None if value is None else decimal(value)


def fen(yuan_text: str) -> int:
    """An amount in yuan as whole fen, half up (``"12.345"`` → 1235). Raises ValueError."""
    return _units(Fraction(Decimal(yuan_text)), 2)


def whole_fen(value: Fraction) -> int:
    """An exact amount in fen, half up."""
    return _units(value, 0)


def yuan(amount: int) -> Decimal:
    """Whole fen as yuan with two decimals."""
    return Decimal(amount).scaleb(-2)
