"""Quick looks at a list that the usual list passes, so that most predicates need not be called.

A test that predicates name as ``unless`` may be True only where none of them can fire. A look that they
name as ``glance`` names every one of them that may fire, for the usual list none. That it is so, a
property test shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from models.settlement_list import FIELDS
from qc_rules.facts import MOST_FEN, TO_WHOLE, Facts

LESS_THAN_A_FEN = 0.004
"""Yuan: what decimal fractions may be off in binary; amounts closer than this are the same."""


def times_in_order(facts: Facts) -> bool:
    """All times of procedures, anaesthesia and intensive care are known and follow each other within the stay."""
    admitted, discharged = facts.stay.admission_time, facts.stay.discharge_time
    if admitted is None or discharged is None or admitted > discharged:
        return False
    first, last = admitted.date(), discharged.date()
    for row in facts.list.procedures:
        begun, ended, day = row.started_at, row.ended_at, row.performed_on
        asleep, awake = row.anaesthesia_started_at, row.anaesthesia_ended_at
        if begun is None or ended is None or not begun < ended:
            return False
        if asleep is None and awake is None:
            asleep, awake = begun, ended
        if (
            asleep is None
            or awake is None
            or not admitted <= asleep <= begun
            or not ended <= awake <= discharged
        ):
            return False
        if day is not None and not first <= day <= last:
            return False
    left_before = admitted
    for care in facts.list.intensive_care:
        entered, left, minutes = care.entered_at, care.left_at, care.duration
        if (
            entered is None
            or left is None
            or minutes is None
            or not left_before <= entered < left <= discharged
        ):
            return False
        if not 0 <= (left - entered).total_seconds() / 60 - minutes < 1:
            return False
        left_before = left
    return True


_ADDS_UP = (
    "charges_differ_from_total",
    "charge_parts_differ",
    "negative_charges",
    "repeated_charges",
)
_read_amounts: Callable[[Any], tuple[float | None, ...]] = attrgetter(
    *(info.attribute for info in FIELDS["setlinfo"].values() if info.kind == "amount")
)


def charges(facts: Facts) -> Sequence[str]:
    """The predicates over charges and amounts that may fire."""
    named: list[str] = []
    sound = facts.sound_charges
    stay, total = facts.stay, facts.stay.total_fee_yuan
    if sound is None or facts.received.defects or not _in_fen(facts):
        named.append("amount_malformed")
    if (stay.self_pay_yuan or 0) > (total or 0) or (stay.own_pay_yuan or 0) > (total or 0):
        named.append("share_above_total")
    if not facts.list.charges:
        return named
    if sound is None or total is None or not abs(sum(sound.values()) - total) < LESS_THAN_A_FEN:
        named += _ADDS_UP
    amount = (facts.charge_yuan if sound is None else sound).get
    if not (amount("01") and amount("07")):
        named.append("no_bed_or_nursing_charge")
    if amount("06"):
        if not facts.list.procedures:
            named.append("surgical_charge_without_procedure")
        if facts.group is not None:
            named.append("operated_but_medical_group")
    else:
        if not _treated(facts):
            named.append("checkup_stay")
        if facts.list.procedures:
            named.append("surgery_without_charge")
        if not (amount("03") or amount("04") or amount("05") or amount("12")):
            named.append("only_drugs_charged")
    if amount("08") is not None and not _treated(facts):
        named.append("materials_without_operation")
    if amount("14"):
        named.append("other_charges_too_large")
    return named


TREATED = frozenset(("手术", "介入治疗", "治疗性操作"))
"""Kinds of procedures that treat."""


def _treated(facts: Facts) -> bool:
    for code in facts.procedure_codes:  # noqa: SIM110 — a generator costs more than the loop
        if code is not None and code.kind in TREATED:
            return True
    return False


def _in_fen(facts: Facts) -> bool:
    """Whether the amounts of setlinfo and of the funds are whole fen and not below 0."""
    amounts = [row.amount_yuan for row in facts.list.fund_payments if row.amount_yuan]
    amounts += filter(None, _read_amounts(facts.stay))
    for amount in amounts:
        fen = amount * 100 + TO_WHOLE - TO_WHOLE
        if amount < 0 or fen / 100 != amount or fen > MOST_FEN:
            return False
    return True


def dates_and_counts(facts: Facts) -> Sequence[str]:
    """The predicates over ages, days and what is given only sometimes that may fire."""
    named: list[str] = []
    stay, found = facts.stay, facts.list
    admitted, discharged = facts.admitted_on, facts.discharged_on
    age, years = stay.age, facts.years_since_birth
    if age is None or years is None or age < 1 or int(age) != years:
        named += ("years_of_age_differ", "age_missing")
    begun, ended, declared = stay.settlement_start, stay.settlement_end, stay.declared_at
    if (
        begun is None
        or ended is None
        or admitted is None
        or discharged is None
        or not (admitted <= ended >= begun <= discharged)
    ):
        named.append("settlement_period_inconsistent")
    if declared is not None and not (
        ended is not None
        and stay.discharge_time is not None
        and declared >= stay.discharge_time
        and declared.date() >= ended
    ):
        named.append("declared_too_early")
    nursed = facts.nursing_days
    if nursed:
        if nursed != stay.length_of_stay:
            named.append("nursing_days_disagree")
        if nursed < (facts.stay_days or 0):
            named.append("bed_left_empty")
    if stay.special_nursing_days and not found.intensive_care:
        named.append("special_nursing_without_care")
    if not found.procedures and stay.discharge_way is not None:
        named.append("short_stay_without_procedure")
    if found.transfusions or stay.blood_kind or stay.blood_amount or stay.blood_unit:
        named.append("blood_incomplete")
    if (
        found.chronic_diagnoses
        or stay.chronic_department
        or stay.chronic_visit_date
        or stay.chronic_department is not None
    ):
        named.append("chronic_visit_incomplete")
    return named


def rows(facts: Facts) -> Sequence[str]:
    """The predicates over which rows there are, and which are the first among them, that may fire."""
    named: list[str] = []
    diagnoses, procedures = facts.list.diagnoses, facts.list.procedures
    flagged = 0
    for row in diagnoses:
        if row.principal_flag == "1":
            flagged += 1
    if flagged != 1 or len(facts.western) != len(diagnoses):
        named += ("no_principal_diagnosis", "main_rows_wrong")
    elif procedures and [row.kind for row in procedures].count("1") != 1:
        named.append("main_rows_wrong")
    if facts.repeats_a_diagnosis:
        named.append("diagnosis_repeated")
    principal, outpatient = facts.principal_code, facts.outpatient_code
    if principal is not None and outpatient is not None and principal.code[:1] != outpatient.code[:1]:
        named.append("outpatient_in_other_chapter")
    group = facts.group
    if group is not None:
        for one in group.complications:
            if one.excluded:
                named.append("complication_excluded")
                break
        if group.reason == "ambiguous":
            named.append("main_procedure_outside_mdc")
    if procedures:
        if facts.main:
            named.append("main_procedure_not_first")
        if len(procedures) > 1:
            named += ("repeated_procedures", "operation_not_main", "diagnostic_before_therapeutic")
    return named
