"""Expected DRG payment for all doors: group a case, then price it with the region's payment pack."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import msgspec

from api.services.check import Checker
from api.services.dip import read_case_rows
from grouper.payment import OUTLIER_NAMES, DrgPayment, DrgPlan, load_drg_plan, pay_case
from grouper.worksheet import Billing, fen
from models.grouping import Case, GroupResult
from models.pack import PackError
from models.wire import Received

LEVELS: Mapping[str, str] = {"1": "一级", "2": "二级", "3": "三级"}
INSURANCES: Mapping[str, str] = {"1": "职工", "2": "居民"}
"""How payment packs write the values of 医保结算等级 (hi_setl_lv) and 医保类型 (hi_type) of interface 4101."""
NOTHING_GIVEN = Billing()


RESULT_COLUMNS = ("drg", "drg_name", "weight", "standard", "outlier", "expected", "balance", "missing")


class PaidGroup(msgspec.Struct, frozen=True):
    """The DRG of a case and what it is expected to be paid."""

    group: GroupResult
    payment: DrgPayment


def billing_of_list(received: Received, cost: int | None, given: Billing = NOTHING_GIVEN) -> Billing:
    """How a list is billed: ``cost`` in fen, the hospital, its level and the insurance.

    What is ``given`` wins over what stands in the list.
    """
    stay = received.list.stay
    return replace(
        given,
        cost=cost,
        hospital=given.hospital or stay.institution_code or "",
        hospital_level=given.hospital_level or LEVELS.get(stay.settlement_level or "", ""),
        insurance=given.insurance or INSURANCES.get(stay.insurance_type or "", ""),
    )


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


@dataclass(frozen=True, slots=True)
class PaidFile:
    """What a file of cases comes to: counts, and the cost and payment (fen) of the priced cases."""

    cases: int
    priced: int
    cost: int
    paid: int
    errors: tuple[tuple[int, str], ...]


def pay_file(
    desk: PaymentDesk, source: Path, target: Path, billing: Billing, *, payment: str = "", scheme: str = ""
) -> PaidFile:
    """Group and price every case of a CSV; all columns are kept, the results stand behind them.

    ``billing`` gives hospital, level and insurance where a row has none of its own. A row that cannot be
    read stays, with the reason. Raises PackError.
    """
    plan, scheme_id = desk.plan(payment=payment, scheme=scheme)
    rows = list(read_case_rows(source))
    header = list(dict.fromkeys(name for row in rows for name in row.values if name not in RESULT_COLUMNS))
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow((*header, *RESULT_COLUMNS))
    priced = cost = paid = 0
    errors = []
    for row in rows:
        kept = [row.values.get(name, "") for name in header]
        if row.case is None:
            errors.append((row.line, row.error))
            writer.writerow((*kept, *[""] * (len(RESULT_COLUMNS) - 1), f"不能读取：{row.error}"))
            continue
        group = desk.checker.group(row.case, scheme=scheme_id)
        own = replace(
            billing,
            cost=row.cost,
            hospital=row.values.get("hospital") or billing.hospital,
            hospital_level=row.values.get("hospital_level") or billing.hospital_level,
            insurance=row.values.get("insurance") or billing.insurance,
        )
        found = pay_case(group, row.case, own, plan)
        if found.expected is not None and row.cost is not None:
            priced, cost, paid = priced + 1, cost + row.cost, paid + fen(str(found.expected))
        values = (found.weight, found.standard, OUTLIER_NAMES[found.outlier], found.expected, found.balance)
        texts = ("" if value is None else str(value) for value in values)
        writer.writerow((*kept, group.code, group.name, *texts, "；".join(found.missing)))
    target.write_text(out.getvalue(), encoding="utf-8")
    return PaidFile(len(rows), priced, cost, paid, tuple(errors))
