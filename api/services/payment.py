"""Expected DRG payment for all doors: group a case, then price it with the region's payment pack."""

from __future__ import annotations

from datetime import date

import msgspec

from api.services.check import Checker
from grouper.payment import DrgPayment, DrgPlan, load_drg_plan, pay_case
from grouper.worksheet import Billing
from models.grouping import Case, GroupResult
from models.pack import PackError


class PaidGroup(msgspec.Struct, frozen=True):
    """The DRG of a case and what it is expected to be paid."""

    group: GroupResult
    payment: DrgPayment


class PaymentDesk:
    """Prices DRG cases with the packs that hold for a region and a discharge date."""

    def __init__(self, checker: Checker) -> None:
        self.checker = checker
        self._plans: dict[tuple[str, str], DrgPlan] = {}

    def plan(
        self, on: date | None = None, region: str = "", payment: str = "", scheme: str = ""
    ) -> tuple[DrgPlan, str]:
        """The plan that holds, or the one asked for by id, and the DRG scheme it stands on.

        Raises PackError when there is none, or when it stands on another scheme than ``scheme``.
        """
        store = self.checker.store
        pack = (
            store.get(payment)
            if payment
            else store.pack_for("drg-payment", region or self.checker.region, on)
        )
        if pack.kind != "drg-payment":
            raise PackError(f"{pack.id} 的种类是 {pack.kind}，这里应为 drg-payment")
        stands_on = pack.manifest.requires.get("drg-scheme", "")
        if scheme and stands_on and scheme != stands_on:
            raise PackError(
                f"支付数据包 {pack.id} 依据的分组方案是 {stands_on}，不能用于 {scheme} 的分组结果"
            )
        key = (pack.id, pack.manifest.version)
        if key not in self._plans:
            self._plans[key] = load_drg_plan(pack)
        return self._plans[key], stands_on or scheme

    def pay(
        self,
        case: Case,
        billing: Billing,
        *,
        on: date | None = None,
        region: str = "",
        payment: str = "",
        scheme: str = "",
    ) -> PaidGroup:
        """Group a case by the scheme that the payment pack stands on, and price it. Raises PackError."""
        plan, scheme_id = self.plan(on, region, payment, scheme)
        group = self.checker.group(case, region=region, scheme=scheme_id, on=on)
        return PaidGroup(group, pay_case(group, case, billing, plan))
