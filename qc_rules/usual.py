"""Quick tests that the usual list passes, so that the predicates that name one as ``unless`` need not be called.

Each may be True only where none of those predicates can fire; that it is so, a property test shows.
"""

from __future__ import annotations

from qc_rules.facts import Facts

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


def charges_add_up(facts: Facts) -> bool:
    """The charges are sound (``Facts.sound_charges``) and make up the total."""
    total, charges = facts.stay.total_fee_yuan, facts.sound_charges
    return total is not None and charges is not None and abs(sum(charges.values()) - total) < LESS_THAN_A_FEN
