"""Predicates of family FEE: amounts that do not add up, and charges that do not fit what was done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import sub

from qc_rules import usual
from qc_rules.facts import Facts, to_fen
from qc_rules.predicates import Hit, predicate
from qc_rules.usual import LESS_THAN_A_FEN

CATEGORIES = frozenset(f"{number:02d}" for number in range(1, 15))
"""医疗收费项目 01–14, the columns of the 医疗住院收费票据."""
BED, TREATMENT, SURGERY, NURSING = "01", "05", "06", "07"
DECOCTION_PIECES, PATENT_MEDICINE, OTHER = "10", "11", "14"


def _total_yuan(facts: Facts) -> float | None:
    """医疗费总额, yuan: as sent, else the sum of the charges; None when one is not known."""
    sent = facts.stay.total_fee_yuan
    if sent is not None:
        return sent
    amounts = facts.charge_columns[1]
    return None if not amounts or None in amounts else sum(amounts)


def _known_charges(facts: Facts) -> bool:
    """Whether every charge has an amount and one of the fourteen categories."""
    categories, amounts = facts.charge_columns[:2]
    return bool(amounts) and None not in amounts and CATEGORIES.issuperset(categories)


@predicate(needs=("iteminfo",), glance=usual.charges)
def charges_differ_from_total(facts: Facts) -> Iterable[Hit]:
    """The charges do not add up to the total fee, where both are known."""
    total, amounts = facts.stay.total_fee_yuan, facts.charge_columns[1]
    if total is None or None in amounts or abs(sum(amounts) - total) < LESS_THAN_A_FEN:
        return ()
    if facts.charges_fen == to_fen(total):
        return ()
    return (Hit("setlinfo", wire="medfee_sumamt"),)


@predicate(needs=("iteminfo",), glance=usual.charges)
def charge_parts_differ(facts: Facts) -> Iterable[Hit]:
    """A charge is not the sum of class A, class B, own pay and other."""
    _, rest, *parts = facts.charge_columns
    try:
        for part in parts:
            rest = tuple(map(sub, rest, part))
        if not rest or (min(rest) > -LESS_THAN_A_FEN and max(rest) < LESS_THAN_A_FEN):
            return ()
    except TypeError:
        pass  # an amount is missing somewhere: look row by row
    return _wrong_parts(facts)


def _wrong_parts(facts: Facts) -> Iterator[Hit]:
    for index, row in enumerate(facts.list.charges):
        whole = row.amount_yuan
        parts = (row.class_a_yuan, row.class_b_yuan, row.own_pay_yuan, row.other_yuan)
        if whole is None or None in parts:
            continue
        total = sum(to_fen(part) for part in parts if part is not None)
        if to_fen(whole) != total:
            yield Hit("iteminfo", index, "amt", values={"sum": total})


_AMOUNTS = (
    ("amt", "amount_yuan"),
    ("claa_sumfee", "class_a_yuan"),
    ("clab_amt", "class_b_yuan"),
    ("fulamt_ownpay_amt", "own_pay_yuan"),
    ("oth_amt", "other_yuan"),
)


@predicate(needs=("iteminfo",), glance=usual.charges)
def negative_charges(facts: Facts) -> Iterable[Hit]:
    """An amount of a charge is negative: the first such amount of each row."""
    return _negative(facts) if facts.least_charge < 0 else ()


def _negative(facts: Facts) -> Iterator[Hit]:
    for index, row in enumerate(facts.list.charges):
        for wire, attribute in _AMOUNTS:
            if (getattr(row, attribute) or 0) < 0:
                yield Hit("iteminfo", index, wire)
                break


@predicate()
def payments_disagree(facts: Facts, *, account_funds: tuple[str, ...], tolerance_fen: int) -> Iterable[Hit]:
    """Funds and the patient's shares do not make the total, or account and cash not the patient's part.

    ``account_funds``: fund types that are the personal account, already within the patient's part.
    """
    stay = facts.stay
    if stay.self_pay_yuan is None or stay.own_pay_yuan is None:
        return ()
    return _unbalanced(facts, stay.self_pay_yuan, stay.own_pay_yuan, account_funds, tolerance_fen)


def _unbalanced(
    facts: Facts, self_pay: float, own_pay: float, account_funds: tuple[str, ...], tolerance_fen: int
) -> Iterator[Hit]:
    stay, funds, total = facts.stay, facts.list.fund_payments, facts.stay.total_fee_yuan
    patient, tolerance = self_pay + own_pay, tolerance_fen / 100 + LESS_THAN_A_FEN
    paid: float | None = 0.0 if funds else None
    for row in funds:
        if row.amount_yuan is None:
            paid = None
            break
        if row.fund_type not in account_funds:
            paid = (paid or 0.0) + row.amount_yuan
    if paid is not None and total is not None and abs(total - paid - patient) > tolerance:
        parts = f"基金支付合计 {paid:.2f} 元 + 个人自付 {self_pay:.2f} 元 + 个人自费 {own_pay:.2f} 元"
        values = {"parts": parts, "sum": f"{paid + patient:.2f}", "whole": f"医疗费总额 {total:.2f} 元"}
        yield Hit("setlinfo", wire="psn_selfpay", values=values)
    if stay.account_pay_yuan is None or stay.cash_pay_yuan is None:
        return
    settled = stay.account_pay_yuan + stay.cash_pay_yuan
    if abs(settled - patient) > tolerance:
        parts = f"个人账户支出 {stay.account_pay_yuan:.2f} 元 + 个人现金支付 {stay.cash_pay_yuan:.2f} 元"
        values = {"parts": parts, "sum": f"{settled:.2f}", "whole": f"个人自付、自费合计 {patient:.2f} 元"}
        yield Hit("setlinfo", wire="psn_cashpay", values=values)


@predicate(glance=usual.charges)
def share_above_total(facts: Facts) -> Iterable[Hit]:
    """What the patient pays of one kind is more than the whole fee."""
    stay = facts.stay
    shares = (("psn_selfpay", stay.self_pay_yuan), ("psn_ownpay", stay.own_pay_yuan))
    largest = max(stay.self_pay_yuan or 0, stay.own_pay_yuan or 0)
    if largest <= 0:
        return ()
    total = facts.stay.total_fee_yuan
    if total is None or largest < total + LESS_THAN_A_FEN:
        return ()
    return [Hit("setlinfo", wire=wire) for wire, yuan in shares if yuan and yuan > total + LESS_THAN_A_FEN]


@predicate(needs=("iteminfo",), glance=usual.charges)
def repeated_charges(facts: Facts) -> Iterable[Hit]:
    """A category of charges stands in a second row."""
    categories = facts.charge_columns[0]
    if len(set(categories)) == len(categories):
        return ()
    return _repeated(categories)


def _repeated(categories: Iterable[str | None]) -> Iterator[Hit]:
    first: dict[str, int] = {}
    for index, category in enumerate(categories):
        if category is None:
            continue
        if category in first:
            yield Hit("iteminfo", index, "med_chrgitm", values={"first": first[category] + 1})
        else:
            first[category] = index


@predicate(needs=("iteminfo",), glance=usual.charges)
def no_bed_or_nursing_charge(facts: Facts, *, more_than_days: int) -> Iterable[Hit]:
    """A stay of several days without a charge for the bed or for nursing."""
    charges = facts.charge_yuan
    if charges.get(BED) and charges.get(NURSING):
        return ()
    if (facts.stay_days or 0) <= more_than_days or not _known_charges(facts):
        return ()
    names = ((BED, "床位费"), (NURSING, "护理费"))
    missing = [f"{category}（{name}）" for category, name in names if not charges.get(category)]
    return (Hit("iteminfo", values={"missing": "、".join(missing)}),)


@predicate(needs=("iteminfo",), glance=usual.charges)
def surgical_charge_without_procedure(facts: Facts) -> Iterable[Hit]:
    """A charge for surgery, and no procedure at all."""
    if facts.list.procedures:
        return ()
    amount = facts.charge_yuan.get(SURGERY, 0)
    if amount <= 0 or any(path.startswith("oprninfo") for path in facts.malformed):
        return ()
    return (Hit("oprninfo", values={"amount": to_fen(amount)}),)


@predicate(needs=("oprninfo",), glance=usual.charges)
def surgery_without_charge(facts: Facts, *, kinds: tuple[str, ...]) -> Iterable[Hit]:
    """A procedure of one of ``kinds``, and no charge for surgery: the first such procedure."""
    if not facts.list.charges or facts.charge_yuan.get(SURGERY):
        return ()
    for index, code in enumerate(facts.procedure_codes):
        if code is not None and code.kind in kinds:
            hit = Hit("oprninfo", index, "oprn_oprt_code", values={"kind": code.kind})
            return (hit,) if _known_charges(facts) else ()
    return ()


@predicate(when=("trt_type", "treatment_types"))
def tcm_without_charges(
    facts: Facts, *, treatment_types: tuple[str, ...], more_than_days: int
) -> Iterable[Hit]:
    """Traditional treatment over several days, with no charge that could hold it."""
    if facts.stay.treatment_type not in treatment_types or (facts.stay_days or 0) <= more_than_days:
        return ()
    charges = facts.charge_yuan
    if any(charges.get(category) for category in (TREATMENT, DECOCTION_PIECES, PATENT_MEDICINE)):
        return ()
    return (Hit("setlinfo", wire="trt_type"),) if _known_charges(facts) else ()


@predicate(needs=("iteminfo",), glance=usual.charges)
def other_charges_too_large(facts: Facts, *, percent: float) -> Iterable[Hit]:
    """其他费 makes up more than ``percent`` of the fee, or is not below it."""
    other = facts.charge_yuan.get(OTHER)
    total = _total_yuan(facts) if other and other > 0 else None
    if not other or not total or total <= 0 or (other * 100 <= percent * total and other < total):
        return ()
    index = facts.charge_columns[0].index(OTHER)
    values = {"share": round(other * 100 / total, 1), "other": to_fen(other)}
    return (Hit("iteminfo", index, "amt", values=values),)
