"""Predicates of family LOG: dates, times, durations and counts that contradict each other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, time, timedelta

from models.settlement_list import FIELDS
from qc_rules import usual
from qc_rules.facts import Facts
from qc_rules.predicates import Hit, predicate
from qc_rules.predicates.together import arose_later
from qc_rules.usual import times_in_order

_MIDNIGHT = time.min
MINUTES_PER_DAY = 24 * 60
DIED = "5"
"""离院方式 死亡."""


def _earlier(one: datetime, other: datetime) -> bool:
    """Whether ``one`` lies before ``other``; by day when one of them was sent without a time of day."""
    if one >= other:
        return False
    if one.time() == _MIDNIGHT or other.time() == _MIDNIGHT:
        return one.date() < other.date()
    return True


def _ends_too_soon(start: datetime, end: datetime) -> bool:
    """Whether an interval has no length or a negative one; two days without times may be the same day."""
    return start >= end and (start > end or start.time() != _MIDNIGHT)


def _longest_stay(facts: Facts) -> int | None:
    """Minutes that the stay can have lasted at most; whole days where a time of day is missing."""
    admitted, discharged = facts.stay.admission_time, facts.stay.discharge_time
    if admitted is None or discharged is None or discharged.date() < admitted.date():
        return None
    if admitted.time() == _MIDNIGHT or discharged.time() == _MIDNIGHT:
        return ((discharged.date() - admitted.date()).days + 1) * MINUTES_PER_DAY
    return max(0, -((admitted - discharged) // timedelta(minutes=1)))


# --- birth, admission, discharge


@predicate(unless=times_in_order)
def discharge_before_admission(facts: Facts) -> Iterable[Hit]:
    """The patient left before coming."""
    admitted, discharged = facts.stay.admission_time, facts.stay.discharge_time
    if not admitted or not discharged or discharged >= admitted or not _earlier(discharged, admitted):
        return ()
    return (Hit("setlinfo", wire="dscg_time"),)


@predicate(glance=usual.dates_and_counts)
def years_of_age_differ(facts: Facts) -> Iterable[Hit]:
    """The age is not the full years from birth to admission; a decimal is passed over."""
    age, years = facts.stay.age, facts.years_since_birth
    if age is None or years is None or years < 0 or int(age) == years:
        return ()
    return (Hit("setlinfo", wire="age", values={"years": years}),)


@predicate(fields=("nwb_age",))
def days_of_age_differ(facts: Facts) -> Iterator[Hit]:
    """nwb_age is not the days from birth to admission, or not within the first year."""
    sent = facts.stay.newborn_age_days
    if sent is None:
        return
    age, days = facts.stay.age, facts.days_since_birth
    # Systems send 0 days beside the age of a patient of a year or more.
    if sent == 0 and ((age is not None and age >= 1) or (age is None and days is not None and days > 365)):
        return
    if days is not None and days >= 0 and sent != days:
        yield Hit("setlinfo", wire="nwb_age", values={"reason": f"按出生日期与入院日期计算为 {days} 天"})
    elif not 0 <= sent <= 365:
        yield Hit("setlinfo", wire="nwb_age", values={"reason": "应在 0–365 天之间"})


# --- procedures


@predicate(needs=("oprninfo",), unless=times_in_order)
def procedure_outside_stay(facts: Facts, *, hours_before_admission: int) -> Iterator[Hit]:
    """A procedure was done, began or ended before admission or after discharge."""
    admitted, discharged = facts.stay.admission_time, facts.stay.discharge_time
    if admitted and hours_before_admission > 0:
        admitted -= timedelta(hours=hours_before_admission)
    for index, row in enumerate(facts.list.procedures):
        begun, ended, day = row.started_at, row.ended_at, row.performed_on
        if admitted:
            if day and day < admitted.date():
                yield _outside(index, "oprn_oprt_date", before=True)
                continue
            if begun and begun < admitted and _earlier(begun, admitted):
                yield _outside(index, "oprn_oprt_begntime", before=True)
                continue
        if discharged:
            if day and day > discharged.date():
                yield _outside(index, "oprn_oprt_date", before=False)
            elif begun and discharged < begun and _earlier(discharged, begun):
                yield _outside(index, "oprn_oprt_begntime", before=False)
            elif ended and discharged < ended and _earlier(discharged, ended):
                yield _outside(index, "oprn_oprt_endtime", before=False)


def _outside(index: int, wire: str, *, before: bool) -> Hit:
    bound = "adm_time" if before else "dscg_time"
    reason = f"{'早于' if before else '晚于'}{FIELDS['setlinfo'][bound].label}"
    return Hit("oprninfo", index, wire, values={"reason": reason})


@predicate(needs=("oprninfo",), unless=times_in_order)
def procedure_times_reversed(facts: Facts) -> Iterator[Hit]:
    """A procedure does not begin before it ends."""
    for index, row in enumerate(facts.list.procedures):
        begun, ended = row.started_at, row.ended_at
        if begun and ended and begun >= ended and _ends_too_soon(begun, ended):
            yield Hit("oprninfo", index, "oprn_oprt_endtime")


@predicate(needs=("oprninfo",), unless=times_in_order)
def anaesthesia_outside_stay(facts: Facts, *, hours_before_admission: int) -> Iterator[Hit]:
    """An anaesthesia does not begin before it ends, or lies outside the stay."""
    admitted, discharged = facts.stay.admission_time, facts.stay.discharge_time
    if admitted and hours_before_admission > 0:
        admitted -= timedelta(hours=hours_before_admission)
    for index, row in enumerate(facts.list.procedures):
        begun, ended = row.anaesthesia_started_at, row.anaesthesia_ended_at
        if begun is None and ended is None:
            continue
        if begun and ended and begun >= ended and _ends_too_soon(begun, ended):
            yield Hit("oprninfo", index, "anst_endtime", values={"reason": "不晚于麻醉开始时间"})
        elif begun and admitted and _earlier(begun, admitted):
            yield Hit("oprninfo", index, "anst_begntime", values={"reason": "早于入院时间"})
        elif begun and discharged and _earlier(discharged, begun):
            yield Hit("oprninfo", index, "anst_begntime", values={"reason": "晚于出院时间"})
        elif ended and discharged and _earlier(discharged, ended):
            yield Hit("oprninfo", index, "anst_endtime", values={"reason": "晚于出院时间"})


@predicate(needs=("oprninfo",), unless=times_in_order)
def procedure_outside_anaesthesia(facts: Facts) -> Iterator[Hit]:
    """A procedure begins before its anaesthesia or ends after it."""
    for index, row in enumerate(facts.list.procedures):
        sleeping, awake = row.anaesthesia_started_at, row.anaesthesia_ended_at
        begun, ended = row.started_at, row.ended_at
        if sleeping and begun and _earlier(begun, sleeping):
            yield Hit("oprninfo", index, "anst_begntime", values={"reason": "晚于手术操作开始时间"})
        elif awake and ended and _earlier(awake, ended):
            yield Hit("oprninfo", index, "anst_endtime", values={"reason": "早于手术操作结束时间"})


# --- intensive care


@predicate(needs=("icuinfo",), unless=times_in_order)
def intensive_care_outside_stay(facts: Facts) -> Iterator[Hit]:
    """An ICU stay does not end after it begins, or lies outside the hospital stay."""
    admitted, discharged = facts.stay.admission_time, facts.stay.discharge_time
    for index, row in enumerate(facts.list.intensive_care):
        entered, left = row.entered_at, row.left_at
        if entered and left and _ends_too_soon(entered, left):
            yield Hit("icuinfo", index, "scs_cutd_exit_time", values={"reason": "不晚于进入时间"})
        elif entered and admitted and _earlier(entered, admitted):
            yield Hit("icuinfo", index, "scs_cutd_inpool_time", values={"reason": "早于入院时间"})
        elif entered and discharged and _earlier(discharged, entered):
            yield Hit("icuinfo", index, "scs_cutd_inpool_time", values={"reason": "晚于出院时间"})
        elif left and discharged and _earlier(discharged, left):
            yield Hit("icuinfo", index, "scs_cutd_exit_time", values={"reason": "晚于出院时间"})


@predicate(needs=("icuinfo",), unless=times_in_order)
def intensive_care_duration_differs(facts: Facts) -> Iterator[Hit]:
    """The duration of an ICU stay is neither that of its own times nor that of all ICU stays together."""
    rows = facts.list.intensive_care
    for index, row in enumerate(rows):
        if row.duration is None or row.entered_at is None or row.left_at is None:
            continue
        own = (row.left_at - row.entered_at).total_seconds() / 60
        # Seconds may have been cut off or rounded up; a row may carry the total of all rows.
        if own < 0 or abs(own - row.duration) < 1:
            continue
        together = facts.icu_minutes
        if len(rows) > 1 and together is not None and abs(together - row.duration) < len(rows):
            continue
        yield Hit("icuinfo", index, "scs_cutd_sum_dura", values={"minutes": int(own)})


@predicate(needs=("icuinfo",), unless=times_in_order)
def intensive_care_overlaps(facts: Facts) -> Iterator[Hit]:
    """An ICU stay begins before an earlier one has ended."""
    rows = facts.list.intensive_care
    if len(rows) < 2:
        return
    spans = sorted(
        (row.entered_at, row.left_at, index)
        for index, row in enumerate(rows)
        if row.entered_at and row.left_at and row.entered_at < row.left_at
    )
    last_end, last_index = datetime.min, -1
    for entered, left, index in spans:
        if last_index >= 0 and entered < last_end:
            yield Hit("icuinfo", index, "scs_cutd_inpool_time", values={"other": last_index + 1})
        if left > last_end:
            last_end, last_index = left, index


@predicate(needs=("icuinfo",), unless=times_in_order)
def intensive_care_longer_than_stay(facts: Facts) -> Iterator[Hit]:
    """Time in intensive care is longer than the hospital stay."""
    longest = _longest_stay(facts)
    if longest is None:
        return
    rows = facts.list.intensive_care
    for index, row in enumerate(rows):
        if row.duration is not None and row.duration > longest:
            yield _longer("icuinfo", index, "scs_cutd_sum_dura", row.duration, longest)
            return
    if facts.icu_minutes is not None and facts.icu_minutes > longest:
        yield _longer("icuinfo", 0, "scs_cutd_sum_dura", facts.icu_minutes, longest)


def _longer(node: str, index: int, wire: str, minutes: int, longest: int) -> Hit:
    return Hit(node, index, wire, values={"minutes": int(minutes), "longest": longest})


_DURATIONS = {wire: info.attribute for wire, info in FIELDS["setlinfo"].items() if info.kind == "duration"}


@predicate(fields=("vent_used_dura", "pwcry_afadm_coma_dura"))
def longer_than_stay(facts: Facts, *, field: str) -> Iterator[Hit]:
    """A duration of setlinfo is longer than the stay."""
    minutes = getattr(facts.stay, _DURATIONS[field])
    if not minutes:
        return
    longest = _longest_stay(facts)
    if longest is not None and minutes > longest:
        yield _longer("setlinfo", -1, field, minutes, longest)


# --- settlement and counts


@predicate(glance=usual.dates_and_counts)
def settlement_period_inconsistent(facts: Facts) -> Iterable[Hit]:
    """The settlement period ends before it begins, or has no day in common with the stay."""
    begun, ended = facts.stay.settlement_start, facts.stay.settlement_end
    if begun and ended and begun > ended:
        return (Hit("setlinfo", wire="setl_begn_date", values={"reason": "晚于结算结束日期"}),)
    found = []
    if begun and facts.discharged_on and begun > facts.discharged_on:
        found.append(Hit("setlinfo", wire="setl_begn_date", values={"reason": "晚于出院日期"}))
    if ended and facts.admitted_on and ended < facts.admitted_on:
        found.append(Hit("setlinfo", wire="setl_end_date", values={"reason": "早于入院日期"}))
    return found


@predicate(glance=usual.dates_and_counts)
def declared_too_early(facts: Facts) -> Iterable[Hit]:
    """The list was handed in before discharge or before the settlement period ended."""
    declared, discharged = facts.stay.declared_at, facts.stay.discharge_time
    if declared is None:
        return ()
    if discharged and declared < discharged and _earlier(declared, discharged):
        return (Hit("setlinfo", wire="dcla_time", values={"reason": "早于出院时间"}),)
    if facts.stay.settlement_end and declared.date() < facts.stay.settlement_end:
        return (Hit("setlinfo", wire="dcla_time", values={"reason": "早于结算结束日期"}),)
    return ()


@predicate(glance=usual.dates_and_counts)
def nursing_days_disagree(facts: Facts, *, counting: str) -> Iterable[Hit]:
    """Days of nursing are more than the days of the stay, or not ``exactly`` as many."""
    nursing = facts.nursing_days
    days = facts.stay.length_of_stay
    if not nursing or days is None or days < 0:
        return ()
    days = max(days, 1)  # on the day of admission and discharge the patient is nursed too
    if nursing == days or (nursing < days and counting != "exactly"):
        return ()
    values = {"days": days, "nursing": nursing, "expected": "等于" if counting == "exactly" else "不超过"}
    return (Hit("setlinfo", wire=_first_nursing(facts), values=values),)


_NURSING = tuple(
    (wire, FIELDS["setlinfo"][wire].attribute)
    for wire in ("spga_nurscare_days", "lv1_nurscare_days", "scd_nurscare_days", "lv3_nurscare_days")
)


def _first_nursing(facts: Facts) -> str:
    return max(_NURSING, key=lambda pair: getattr(facts.stay, pair[1]) or 0)[0]


@predicate()
def count_differs(facts: Facts, *, field: str, node: str) -> Iterable[Hit]:
    """A count in setlinfo is not the number of rows of its node."""
    stay = facts.stay
    sent = stay.diagnosis_count if field == "diag_code_cnt" else stay.procedure_count
    rows = facts.rows(node)
    if sent is None or sent == len(rows):
        return ()
    if any(path.startswith(node) and "." not in path for path in facts.malformed):
        return ()  # a row that could not be read was sent all the same
    return (Hit("setlinfo", wire=field, values={"rows": len(rows)}),)


@predicate(glance=usual.rows)
def main_rows_wrong(facts: Facts) -> Iterable[Hit]:
    """Not exactly one principal diagnosis, or not exactly one main procedure beside procedures."""
    procedures, diagnoses, western = facts.list.procedures, facts.list.diagnoses, facts.western
    # The usual list at once: one row of each kind is marked.
    if [1 for row in procedures if row.kind == "1"] == [1] * bool(procedures) and [
        1 for index in western if diagnoses[index].principal_flag == "1"
    ] == [1]:
        return ()
    return _wrongly_marked(facts)


def _wrongly_marked(facts: Facts) -> Iterator[Hit]:
    yield from _diagnosis_flags(facts)
    kinds = [row.kind for row in facts.list.procedures]
    marked = kinds.count("1")
    if kinds and marked != 1 and None not in kinds:
        values = {"what": "手术操作类别为 1（主要手术操作）", "count": marked}
        yield _too_many_or_none("oprninfo", "oprn_oprt_type", kinds, values)


def _diagnosis_flags(facts: Facts) -> Iterator[Hit]:
    rows, western = facts.list.diagnoses, facts.western
    flags = [rows[index].principal_flag for index in western]
    wire = "maindiag_flag"
    if flags and flags.count(None) == len(flags) and facts.interface == "4101":
        # In the edition of 4101 without the flag in these rows, the kind says which one is principal.
        flags, wire = [rows[index].kind for index in western], "diag_type"
    marked = flags.count("1")
    if not flags or marked == 1 or (marked == 0 and None in flags):
        return
    kinds = {rows[index].kind for index in western}
    if marked and None in kinds and len(kinds) > 1:
        return  # a row without 诊断类别 may be one of Chinese medicine
    what = "主诊断标志为 1" if wire == "maindiag_flag" else "诊断类别为 1（西医主要诊断）"
    values = {"what": what, "count": marked}
    seen: list[str | None] = [None] * len(rows)
    for index, flag in zip(western, flags, strict=True):
        seen[index] = flag
    yield _too_many_or_none("diseinfo", wire, seen, values)


def _too_many_or_none(
    node: str, wire: str, values_of_rows: list[str | None], values: dict[str, object]
) -> Hit:
    """At the second marked row; at the node when none is marked."""
    marked = [index for index, value in enumerate(values_of_rows) if value == "1"]
    return Hit(node, marked[1], wire, values=values) if len(marked) > 1 else Hit(node, values=values)


# --- how the patient came and left


@predicate(when=("dscg_way", (DIED,)))
def death_without_severe_disease(facts: Facts, *, mild: tuple[str, ...]) -> Iterable[Hit]:
    """A patient died, and every diagnosis is a ``mild`` one, by code prefix."""
    if facts.stay.discharge_way != DIED:
        return ()
    codes = [facts.diagnosis_codes[index] for index in facts.western]
    if not codes or not all(code is not None and code.code.startswith(mild) for code in codes):
        return ()
    return (Hit("setlinfo", wire="dscg_way", values={"codes": [code.received for code in codes if code]}),)


_ARROWS = re.compile(r"\s*(?:→|->|＞|>|，|,|、|;|；|\|)\s*")
_DEPARTMENT = re.compile(r"[A-Z]\d{2}(?:\.\d{2}){0,3}", re.ASCII)


@predicate(fields=("refldept_dept",))
def transfer_ends_elsewhere(facts: Facts) -> Iterator[Hit]:
    """The last transfer led to another department than the one the patient was discharged from."""
    transfers, last = facts.stay.transfer_departments, facts.stay.discharge_department
    if not transfers or last is None:
        return
    reached = _ARROWS.split(transfers.strip())[-1].strip()
    # Only national codes can be compared: hospitals also send names of wards. A03 may stand for A03.04.
    if not _DEPARTMENT.fullmatch(reached) or not _DEPARTMENT.fullmatch(last):
        return
    if not reached.startswith(last) and not last.startswith(reached):
        yield Hit("setlinfo", wire="refldept_dept", values={"reached": reached})


@predicate(suspect=arose_later)
def nothing_on_admission(facts: Facts) -> Iterable[Hit]:
    """Every diagnosis is said to have arisen during the stay (入院病情 4)."""
    rows, western = facts.list.diagnoses, facts.western
    for index in western:
        if rows[index].condition_on_admission != "4":
            return ()
    return (Hit("diseinfo", western[0], "adm_cond_type", values={"rows": len(western)}),) if western else ()
