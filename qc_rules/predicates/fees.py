"""Predicates of family FEE: amounts that do not add up, and charges that do not fit what was done."""

from __future__ import annotations

from collections.abc import Iterator

from qc_rules.facts import Facts, to_fen
from qc_rules.predicates import Hit, predicate

CATEGORIES = frozenset(f"{number:02d}" for number in range(1, 15))
"""医疗收费项目 01–14, the columns of the 医疗住院收费票据."""
BED, TREATMENT, SURGERY, NURSING = "01", "05", "06", "07"
DECOCTION_PIECES, PATENT_MEDICINE, OTHER = "10", "11", "14"
TOLERANCE_YUAN = 0.005
"""Half a fen: less is the rounding of decimal fractions."""


def _known_charges(facts: Facts) -> bool:
    """Whether every charge has an amount and one of the fourteen categories."""
    charges = facts.list.charges
    return bool(charges) and all(
        row.amount_yuan is not None and row.category in CATEGORIES for row in charges
    )


@predicate(needs=("iteminfo",))
def charge_parts_differ(facts: Facts) -> Iterator[Hit]:
    """A charge is not the sum of class A, class B, own pay and other."""
    for index, row in enumerate(facts.list.charges):
        whole = row.amount_yuan
        parts = (row.class_a_yuan, row.class_b_yuan, row.own_pay_yuan, row.other_yuan)
        if whole is None or None in parts:
            continue
        total = sum(part for part in parts if part is not None)
        if abs(whole - total) > TOLERANCE_YUAN:
            yield Hit("iteminfo", index, "amt", values={"sum": to_fen(total)})


_AMOUNTS = (
    ("amt", "amount_yuan"),
    ("claa_sumfee", "class_a_yuan"),
    ("clab_amt", "class_b_yuan"),
    ("fulamt_ownpay_amt", "own_pay_yuan"),
    ("oth_amt", "other_yuan"),
)


@predicate(needs=("iteminfo",))
def negative_charges(facts: Facts) -> Iterator[Hit]:
    """An amount of a charge is negative: the first such amount of each row."""
    for index, row in enumerate(facts.list.charges):
        if (
            (row.amount_yuan or 0) < 0
            or (row.class_a_yuan or 0) < 0
            or (row.class_b_yuan or 0) < 0
            or (row.own_pay_yuan or 0) < 0
            or (row.other_yuan or 0) < 0
        ):
            for wire, attribute in _AMOUNTS:
                if (getattr(row, attribute) or 0) < 0:
                    yield Hit("iteminfo", index, wire)
                    break


@predicate()
def payments_disagree(facts: Facts, *, account_funds: tuple[str, ...], tolerance_fen: int) -> Iterator[Hit]:
    """Funds and the patient's shares do not make the total, or account and cash not the patient's part.

    ``account_funds``: fund types that are the personal account, already within the patient's part.
    """
    stay = facts.stay
    if stay.self_pay_yuan is None or stay.own_pay_yuan is None:
        return
    patient = to_fen(stay.self_pay_yuan) + to_fen(stay.own_pay_yuan)
    funds = facts.list.fund_payments
    if funds and facts.total_fen is not None and all(row.amount_yuan is not None for row in funds):
        paid = sum(
            to_fen(row.amount_yuan)
            for row in funds
            if row.amount_yuan is not None and row.fund_type not in account_funds
        )
        if abs(facts.total_fen - paid - patient) > tolerance_fen:
            reason = (
                f"基金支付合计 {paid / 100:.2f} 元 + 个人自付 {stay.self_pay_yuan:.2f} 元"
                f" + 个人自费 {stay.own_pay_yuan:.2f} 元 = {(paid + patient) / 100:.2f} 元，"
                f"与医疗费总额 {facts.total_fen / 100:.2f} 元不等"
            )
            yield Hit("setlinfo", wire="psn_selfpay", values={"reason": reason})
    if stay.account_pay_yuan is None or stay.cash_pay_yuan is None:
        return
    settled = to_fen(stay.account_pay_yuan) + to_fen(stay.cash_pay_yuan)
    if abs(settled - patient) > tolerance_fen:
        reason = (
            f"个人账户支出 {stay.account_pay_yuan:.2f} 元 + 个人现金支付 {stay.cash_pay_yuan:.2f} 元"
            f" = {settled / 100:.2f} 元，与个人自付、自费合计 {patient / 100:.2f} 元不等"
        )
        yield Hit("setlinfo", wire="psn_cashpay", values={"reason": reason})


@predicate()
def share_above_total(facts: Facts) -> Iterator[Hit]:
    """What the patient pays of one kind is more than the whole fee."""
    stay = facts.stay
    self_pay, own_pay = stay.self_pay_yuan, stay.own_pay_yuan
    if self_pay is None and own_pay is None:
        return
    total = facts.total_fen
    if total is None:
        return
    for wire, yuan in (("psn_selfpay", self_pay), ("psn_ownpay", own_pay)):
        if yuan is not None and to_fen(yuan) > total:
            yield Hit("setlinfo", wire=wire)


@predicate(needs=("iteminfo",))
def repeated_charges(facts: Facts) -> Iterator[Hit]:
    """A category of charges stands in a second row."""
    categories = [row.category for row in facts.list.charges]
    if len(set(categories)) == len(categories):
        return
    first: dict[str, int] = {}
    for index, category in enumerate(categories):
        if category is None:
            continue
        if category in first:
            yield Hit("iteminfo", index, "med_chrgitm", values={"first": first[category] + 1})
        else:
            first[category] = index


@predicate(needs=("iteminfo",))
def no_bed_or_nursing_charge(facts: Facts, *, more_than_days: int) -> Iterator[Hit]:
    """A stay of several days without a charge for the bed or for nursing."""
    charges = facts.charge_fen
    missing = [
        f"{category}（{name}）"
        for category, name in ((BED, "床位费"), (NURSING, "护理费"))
        if not charges.get(category)
    ]
    if missing and (facts.stay_days or 0) > more_than_days and _known_charges(facts):
        yield Hit("iteminfo", values={"missing": "、".join(missing)})


@predicate(needs=("iteminfo",))
def surgical_charge_without_procedure(facts: Facts) -> Iterator[Hit]:
    """A charge for surgery, and no procedure at all."""
    if facts.list.procedures:
        return
    amount = facts.charge_fen.get(SURGERY, 0)
    if amount > 0 and not any(path.startswith("oprninfo") for path in facts.malformed):
        yield Hit("oprninfo", values={"amount": amount})


@predicate(needs=("oprninfo",))
def surgery_without_charge(facts: Facts, *, kinds: tuple[str, ...]) -> Iterator[Hit]:
    """A procedure of one of ``kinds``, and no charge for surgery: the first such procedure."""
    if not facts.list.charges or facts.charge_fen.get(SURGERY):
        return
    for index, code in enumerate(facts.procedure_codes):
        if code is not None and code.kind in kinds:
            if _known_charges(facts):
                yield Hit("oprninfo", index, "oprn_oprt_code", values={"kind": code.kind})
            return


@predicate(needs=("iteminfo",))
def tcm_without_charges(
    facts: Facts, *, treatment_types: tuple[str, ...], more_than_days: int
) -> Iterator[Hit]:
    """Traditional treatment over several days, with no charge that could hold it."""
    if facts.stay.treatment_type not in treatment_types or (facts.stay_days or 0) <= more_than_days:
        return
    charges = facts.charge_fen
    if _known_charges(facts) and not any(
        charges.get(category) for category in (TREATMENT, DECOCTION_PIECES, PATENT_MEDICINE)
    ):
        yield Hit("setlinfo", wire="trt_type")


@predicate(needs=("iteminfo",))
def other_charges_too_large(facts: Facts, *, percent: float) -> Iterator[Hit]:
    """其他费 makes up more than ``percent`` of the fee, or is not below it."""
    other = facts.charge_fen.get(OTHER)
    total = facts.total_fen
    if not other or other <= 0 or not total or total <= 0:
        return
    share = other * 100 / total
    if share > percent or other >= total:
        index = next(i for i, row in enumerate(facts.list.charges) if row.category == OTHER)
        yield Hit("iteminfo", index, "amt", values={"share": round(share, 1), "other": other})
