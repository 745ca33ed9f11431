"""Turns a cell of a table into what the list carries: units, dates, codes. What it does not understand it leaves as is,
so that the check names the field and the value."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime

from models.settlement_list import MINUTES_PER_DAY, Info, Minutes

Convert = Callable[[str], str]
"""A cleaned, non-empty cell to the value of a field; empty when the cell stands for none."""

_NUMBER = re.compile(r"[+-]?\d{1,15}(?:\.\d{1,10})?", re.ASCII)
_GROUPED = re.compile(
    r"[¥￥]?\s*([+-]?\d{1,3}(?:,\d{3})+(?:\.\d{1,10})?|[+-]?\d{1,15}(?:\.\d{1,10})?)\s*(\D{0,4})", re.ASCII
)
_UNITS: Mapping[str, tuple[str, ...]] = {
    "amount": ("元",),
    "count": ("天", "日", "次", "个"),
    "number": ("岁", "ml", "mL", "毫升", "单位", "u", "U"),
    "weights": ("克", "g", "G"),
}
"""Units that may stand behind a number because they are those of the field; any other is left to the check."""
_DATE = re.compile(
    r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?"
    r"(?:[T\s]+(\d{1,2})[::时](\d{1,2})分?(?:[::]?(\d{1,2})秒?(?:\.\d{1,9})?)?)?",
    re.ASCII,
)
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})(?:\s?(\d{2}):?(\d{2})(?::?(\d{2}))?)?", re.ASCII)
_TIME = re.compile(
    r"(\d{1,2})(?:(?:[:：.时点]|小时)(?:(\d{1,2})分?)?(?:[:：]?(\d{1,2})(?:\.\d{1,9})?秒?)?)?", re.ASCII
)
_COMPACT_TIME = re.compile(r"(\d{2})(\d{2})(\d{2})?", re.ASCII)
_MIDNIGHT = " 00:00:00"
_MONTHS = re.compile(r"(?:(\d{1,2})(?:\s+|\s*月\s*|$))?(?:(\d{1,2})\s*(?:/\s*30|天|日))?", re.ASCII)
DAYS_PER_MONTH = 30
"""卫医政发〔2011〕84号: the age of an infant is written in months and thirtieths of a month."""


def converter(info: Info) -> Convert | None:
    """What the kind of a field asks for; None where the cell is taken as it is."""
    if info.kind == "date":
        return _day
    if info.kind == "datetime":
        return _moment
    if info.kind in _UNITS:
        units = _UNITS[info.kind]
        return lambda text: _plain_number(text, units)
    return None


def by_table(values: Mapping[str, str]) -> Convert:
    """The code for a value, with or without leading zeros; a value that the table does not know stays."""

    def look_up(text: str) -> str:
        found = values.get(text)
        if found is None:
            found = values.get(text.lstrip("0") or "0", text)
        return found

    return look_up


def _plain_number(text: str, units: tuple[str, ...]) -> str:
    if text.isdigit():
        return text
    found = _GROUPED.fullmatch(text)
    if found is None or found[2] not in ("", *units):
        return text
    return found[1].replace(",", "")


def _match(text: str) -> datetime | None:
    found = _DATE.fullmatch(text) or _COMPACT.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups())
    try:
        return datetime(year, month, day, hour, minute, second)
    except ValueError:
        return None


def _has_time(text: str) -> bool:
    return len(text) > len("2026-01-05") and (":" in text or "：" in text or "时" in text or len(text) >= 12)


def _day(text: str) -> str:
    if len(text) == 10 and text[4] == text[7] == "-":
        return text
    found = _match(text)
    return text if found is None else f"{found:%Y-%m-%d}" if found.year >= 1000 else text


def _moment(text: str) -> str:
    if len(text) == 19 and text[4] == text[7] == "-" and text[10] == " ":
        return text
    found = _match(text)
    if found is None or found.year < 1000:
        return text
    return f"{found:%Y-%m-%d %H:%M:%S}" if _has_time(text) else f"{found:%Y-%m-%d}"


def moment_of(day: str, hour: str) -> str:
    """A moment from a day and the hour or time of that day (``2026-01-05`` and ``14``, ``14:20`` or ``1420``).

    A whole moment in either of the two counts as it is; a day with midnight is a day, as spreadsheets write
    it. What is no time of day is not used.
    """
    made, other = _moment(day), _moment(hour)
    if _is_moment(other):
        return made if _is_moment(made) and not made.endswith(_MIDNIGHT) else other
    time = _TIME.fullmatch(hour.strip()) or _COMPACT_TIME.fullmatch(hour.strip())
    if time is None or _match(made) is None or (_is_moment(made) and not made.endswith(_MIDNIGHT)):
        return made
    clock = tuple(int(part or 0) for part in time.groups())
    if clock[0] > 23 or max(clock) > 59:
        return made
    return f"{made[:10]} {clock[0]:02d}:{clock[1]:02d}:{clock[2]:02d}"


def _is_moment(text: str) -> bool:
    return len(text) == 19 and _match(text) is not None


def duration(days: str, hours: str, minutes: str) -> str:
    """天/时/分 from parts, each empty or a number; 0 in all of them is no duration. Else the parts as they are."""
    total = 0.0
    for text, size in ((days, MINUTES_PER_DAY), (hours, 60), (minutes, 1)):
        if not text:
            continue
        if not hours_text(text):
            return text if "/" in text else f"{days}/{hours}/{minutes}"
        total += float(text) * size
    whole = round(total)
    return Minutes(whole).wire() if whole > 0 else ""


def hours_text(text: str) -> bool:
    """Whether a part of a duration is a number that is not negative."""
    return bool(_NUMBER.fullmatch(text)) and not text.startswith("-")


def age_in_days(text: str) -> str:
    """Days from an age in months such as ``15/30``, ``2 15/30``, ``2`` or ``2月15天``. Else the text as it is."""
    found = _MONTHS.fullmatch(text)
    if found is None or found[1] is found[2] is None:
        return text
    return str(int(found[1] or 0) * DAYS_PER_MONTH + int(found[2] or 0))
