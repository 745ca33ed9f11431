"""Other choices of one record, and two schemes beside each other, for all doors.

What belongs first is decided by the record. Every alternative therefore stands beside what the
quality-control rules would say of a list that chose it, and nothing is ordered by money.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path

import msgspec

from api.services.check import Checker
from api.services.explanation import refuse_too_many
from api.services.payment import PaymentDesk
from api.services.selection import RuleMention, SelectionRules
from grouper.cases_csv import RowFault, rows_with_cases
from grouper.compare import (
    Alternative,
    Carrier,
    FileComparison,
    Outcome,
    SchemeComparison,
    Weights,
    compare_file,
    compare_schemes,
    what_if,
)
from grouper.drg import DrgScheme
from grouper.payment import DrgPlan, pay_case
from grouper.scheme import NOT_GROUPED
from grouper.worksheet import Billing
from models.grouping import Case, GroupResult
from models.pack import PackError
from models.wire import Received

REGION_PLAN = "true"
"""Given for a payment plan: the one of the region."""
ROW_COLUMNS = ("line", "first", "second", "moved", "first_weight", "second_weight", "weight_difference")
"""Columns of the file that a comparison writes, before those of the cases themselves."""


class JudgedAlternative(Alternative, frozen=True):
    """A choice beside the rules: ``broken`` would fire only with it, ``mended`` only without it.

    Both are empty for a case that did not come as a list.
    """

    broken: tuple[RuleMention, ...] = ()
    mended: tuple[RuleMention, ...] = ()


class JudgedWhatIf(msgspec.Struct, frozen=True):
    """The group as listed, the alternatives in the order of the record, the codes that carry the group.

    ``weights_source``: the plan that weights and payments come from, empty without one. ``missing``
    (Chinese): why there is no expected payment. ``judged``: the rules were asked as well.
    """

    listed: Outcome
    alternatives: tuple[JudgedAlternative, ...]
    carriers: tuple[Carrier, ...]
    weights_source: str = ""
    missing: tuple[str, ...] = ()
    judged: bool = False
    ungrouped: str = ""
    """Why the list as it stands has no group (Chinese); empty when it has one."""


class ComparisonDesk:
    """Compares groups with the packs that hold for a region and a discharge date."""

    def __init__(self, checker: Checker, payments: PaymentDesk) -> None:
        self.checker = checker
        self.payments = payments
        self._weights: dict[tuple[str, str], Weights] = {}

    def what_if(
        self,
        case: Case,
        billing: Billing,
        *,
        on: date | None = None,
        region: str = "",
        scheme: str = "",
        payment: str = "",
        received: Received | None = None,
    ) -> JudgedWhatIf:
        """Every other choice of a case; ``received`` is the list it comes from, for the rules.

        ``payment``: the plan for weights and money, REGION_PLAN for that of the region; without one
        neither is given, so that the choices do not read as an offer.
        Raises PackError, and TooManyCodesError above MAX_CODES codes.
        """
        chosen = self.checker.scheme_for(on, region, scheme)
        missing: list[str] = []
        plan_id = "" if payment == REGION_PLAN else payment
        weights = None
        if payment:
            weights = self._weights_of(
                chosen, on, region, plan_id, lambda plan: _payer(plan, case, billing, missing)
            )
        found = what_if(chosen, case, weights)
        listed = chosen.group(case)
        ungrouped = listed.explanation if listed.code == NOT_GROUPED else ""
        rules = SelectionRules(self.checker, received, region, scheme) if received else None
        return JudgedWhatIf(
            found.listed,
            tuple(_judged(one, rules) for one in found.alternatives),
            found.carriers,
            found.weights_source,
            tuple(dict.fromkeys(missing)),
            rules is not None,
            ungrouped,
        )

    def compare(
        self,
        first: str,
        second: str,
        case: Case,
        *,
        on: date | None = None,
        region: str = "",
        payments: tuple[str, str] = ("", ""),
    ) -> SchemeComparison:
        """One case under two schemes, by their ids. Raises PackError, TooManyCodesError."""
        refuse_too_many(case)
        schemes = [self.checker.scheme_for(on, region, scheme) for scheme in (first, second)]
        weights = [
            self._weights_of(scheme, on, region, payment)
            for scheme, payment in zip(schemes, payments, strict=True)
        ]
        return compare_schemes(schemes[0], schemes[1], case, *weights)

    def compare_file(
        self,
        first: str,
        second: str,
        cases: Path,
        out: Path,
        *,
        payments: tuple[str, str] = ("", ""),
    ) -> FileComparison:
        """A CSV of cases under two schemes; ``out`` gets every row with both groups and weights.

        Raises PackError, CaseFileError, OSError.
        """
        schemes = [self.checker.scheme_for(None, scheme=scheme) for scheme in (first, second)]
        weights = [
            self._weights_of(scheme, None, "", payment)
            for scheme, payment in zip(schemes, payments, strict=True)
        ]
        found = compare_file(schemes[0], schemes[1], cases, *weights)
        _write_rows(schemes, weights, cases, out)
        return found

    def _weights_of(
        self,
        scheme: DrgScheme,
        on: date | None,
        region: str,
        payment: str,
        payer: Callable[[DrgPlan], Callable[[GroupResult], Decimal | None]] | None = None,
    ) -> Weights | None:
        """The weights asked for, else those of the region where they stand on ``scheme``."""
        try:
            plan, stands_on = self.payments.plan(on, region, payment, scheme.id)
        except PackError:
            if payment:
                raise
            return None
        if plan.pack is None or stands_on != scheme.id:
            return None
        key = (plan.pack.id, plan.pack.version)
        if key not in self._weights:
            self._weights[key] = Weights.from_pack(self.checker.store.get(plan.pack.id))
        found = self._weights[key]
        return msgspec.structs.replace(found, pay=payer(plan)) if payer else found


def _judged(found: Alternative, rules: SelectionRules | None) -> JudgedAlternative:
    fields = {name: getattr(found, name) for name in Alternative.__struct_fields__}
    broken, mended = rules.of(found.kind, found.code) if rules else ((), ())
    return JudgedAlternative(**fields, broken=broken, mended=mended)


def _payer(
    plan: DrgPlan, case: Case, billing: Billing, missing: list[str]
) -> Callable[[GroupResult], Decimal | None]:
    """The expected payment of the case in a group; what the plan lacks is added to ``missing``."""

    def pay(group: GroupResult) -> Decimal | None:
        paid = pay_case(group, case, billing, plan)
        if group.reason == "grouped":
            missing.extend(paid.missing)
        return paid.expected

    return pay


def _write_rows(
    schemes: Sequence[DrgScheme], weights: Sequence[Weights | None], cases: Path, out: Path
) -> None:
    """Every row of ``cases``, in front of it the groups and weights under both schemes. Raises OSError."""
    first, second = schemes
    header, rows = rows_with_cases(first, cases)
    with out.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow((*ROW_COLUMNS, *header))
        for line, row, case in rows:
            if isinstance(case, RowFault):
                writer.writerow((line, "", "", "", "", "", "", *row))
                continue
            groups = first.group_code(case), second.group_code(case)
            found = [
                plan.weights.get(group) if plan else None for plan, group in zip(weights, groups, strict=True)
            ]
            before, after = found
            difference = None if before is None or after is None else after - before
            moved = "是" if groups[0] != groups[1] else "否"
            shown = ("" if value is None else str(value) for value in (before, after, difference))
            writer.writerow((line, *groups, moved, *shown, *row))
