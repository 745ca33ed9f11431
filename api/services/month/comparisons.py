"""Compares departments and doctors with the others of the hospital, its own past and what is published."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from api.services.month.figures import rounded
from api.services.month.records import Record
from api.services.month.result import Baseline, Comparison, Direction, GroupLine, Level, Measure
from api.services.month.statistics import (
    Count,
    Moments,
    Ratio,
    Table,
    benjamini_hochberg,
    log_normal_mean,
    mantel_haenszel,
    ratio_within,
    wilson,
)

LEAST_TESTED = 10
"""A unit with fewer comparable lists is shown, but neither tested nor ranked."""
SMALL = 30
"""Fewer lists than this are marked as small numbers."""
FALSE_DISCOVERY_RATE = 0.05
LEAST_EXCESS = 3.0
"""Lists above or below expectation, and the change of a ratio, that are worth a reviewer's time."""
LEAST_CHANGE = 0.05
LEAST_USES = 5
"""Uses of a code on both sides together; fewer prove nothing whatever they are."""
LOW_STANDARD = "FRD-004"
"""The rule of a single list that says 低标入院."""

_T = TypeVar("_T")
HOSPITAL: Level = "全院"
DEPARTMENT: Level = "科室"
DOCTOR: Level = "医师"
LEVELS: Mapping[Level, Callable[[Record], str]] = {
    HOSPITAL: lambda _: "全院",
    DEPARTMENT: lambda record: record.department,
    DOCTOR: lambda record: record.doctor,
}

NOTHING = Moments()
Stratum = tuple[str, int]
"""A group and an age band."""


@dataclass
class _Cell:
    """One unit in one stratum of ADRG and age."""

    cases: int = 0
    lifted: int = 0
    low_standard: int = 0
    codes: Counter[str] = field(default_factory=Counter)


@dataclass
class _Published:
    """Lists of a unit whose group has a published fee: logarithms of cost ÷ fee, and both sums in fen."""

    logs: Moments = NOTHING
    cost: int = 0
    fee: int = 0


@dataclass(frozen=True, slots=True)
class _About:
    """What a comparison is about."""

    level: Level
    unit: str
    name: str
    measure: Measure
    baseline: Baseline
    code: str = ""
    code_name: str = ""


class Tally:
    """Counts of one file of lists by unit and stratum."""

    def __init__(self) -> None:
        self.cells: dict[Level, dict[str, dict[Stratum, _Cell]]] = {level: {} for level in LEVELS}
        self.cost: dict[Level, dict[str, dict[Stratum, Moments]]] = {level: {} for level in LEVELS}
        self.stay: dict[Level, dict[str, dict[Stratum, Moments]]] = {level: {} for level in LEVELS}
        self.published: dict[Level, dict[str, _Published]] = {level: {} for level in LEVELS}

    def add(self, record: Record) -> None:
        """Count one list; one without group is left out, since nothing is like it."""
        if not record.grouped:
            return
        low_standard = any(lead.rule == LOW_STANDARD for lead in record.leads)
        for level, name_of in LEVELS.items():
            unit = name_of(record)
            if not unit:
                continue
            cell = self.cells[level].setdefault(unit, {}).setdefault((record.adrg, record.band), _Cell())
            cell.cases += 1
            cell.lifted += bool(record.raising)
            cell.low_standard += low_standard
            cell.codes.update(record.raising)
            stratum = (record.drg, record.band)
            for table, amount in ((self.cost, record.cost), (self.stay, record.stay)):
                if amount is not None and amount >= 0:
                    of_unit = table[level].setdefault(unit, {})
                    # A stay within one day counts as one.
                    of_unit[stratum] = of_unit.get(stratum, NOTHING).plus(math.log(max(amount, 1)))
            if record.cost and record.average_fee:
                known = self.published[level].setdefault(unit, _Published())
                known.logs = known.logs.plus(math.log(record.cost / record.average_fee))
                known.cost += record.cost
                known.fee += record.average_fee


def compare(
    month: Tally, past: Tally | None, names: Mapping[str, str], code_names: Callable[[str], str]
) -> list[Comparison]:
    """All comparisons of a month, flagged so that few flags are false (Benjamini–Hochberg per level).

    ``names`` are the labels of departments. The units of the past are those of the month.
    """
    found: list[Comparison] = []
    for level in LEVELS:
        lines = [
            *_rates(level, month, past, names),
            *_codes(level, month, past, names, code_names),
            *_amounts(level, month, past, names),
            *_published(level, month, names),
        ]
        found += _flag(lines)
    return found


def _flag(lines: list[Comparison]) -> list[Comparison]:
    tested = [at for at, line in enumerate(lines) if line.p is not None]
    for at, q in zip(tested, benjamini_hochberg([lines[at].p or 0.0 for at in tested]), strict=True):
        line = lines[at]
        flagged = q <= FALSE_DISCOVERY_RATE and _matters(line)
        lines[at] = msgspec.structs.replace(line, q=q, flagged=flagged)
    return lines


def _matters(line: Comparison) -> bool:
    if line.observed is not None and line.expected is not None:
        return abs(line.observed - line.expected) >= LEAST_EXCESS
    return line.value is not None and abs(line.value - 1) >= LEAST_CHANGE


def _sides(
    level: Level,
    month: Tally,
    past: Tally | None,
    table: Callable[[Tally], dict[Level, dict[str, dict[Stratum, _T]]]],
) -> Iterator[tuple[str, dict[Stratum, _T], Baseline, dict[Stratum, _T] | None]]:
    """Every unit with its strata and whom it is compared with; None stands for the others of the hospital."""
    for unit, own in sorted(table(month)[level].items()):
        if level != HOSPITAL:
            yield unit, own, "院内同病组", None
        if past is not None:
            yield unit, own, "本院过去", table(past)[level].get(unit, {})


def _rates(level: Level, month: Tally, past: Tally | None, names: Mapping[str, str]) -> Iterator[Comparison]:
    measures: tuple[tuple[Measure, Callable[[_Cell], int]], ...] = (
        ("MCC/CC 率", lambda cell: cell.lifted),
        ("低标准入院率", lambda cell: cell.low_standard),
    )
    whole = _whole(month)
    for unit, own, baseline, other in _sides(level, month, past, lambda tally: tally.cells):
        for measure, hits_of in measures:
            tables = []
            for stratum, cell in own.items():
                if other is None:
                    all_of_it = whole[stratum]
                    base = (hits_of(all_of_it) - hits_of(cell), all_of_it.cases - cell.cases)
                else:
                    past_cell = other.get(stratum)
                    base = (hits_of(past_cell), past_cell.cases) if past_cell else (0, 0)
                tables.append((hits_of(cell), cell.cases, *base))
            about = _About(level, unit, names.get(unit, ""), measure, baseline)
            yield _rate_line(about, mantel_haenszel(tables), tables)


def _codes(
    level: Level,
    month: Tally,
    past: Tally | None,
    names: Mapping[str, str],
    code_names: Callable[[str], str],
) -> Iterator[Comparison]:
    """The use of each diagnosis that counts as MCC or CC, where both sides together use it often enough."""
    whole = _whole(month)
    for unit, own, baseline, other in _sides(level, month, past, lambda tally: tally.cells):
        if sum(cell.cases for cell in own.values()) < LEAST_TESTED:
            continue
        uses: Counter[str] = Counter()
        for stratum, cell in own.items():
            uses.update(whole[stratum].codes if other is None else cell.codes)
            if other is not None and stratum in other:
                uses.update(other[stratum].codes)
        for code in sorted(code for code, number in uses.items() if number >= LEAST_USES):
            tables = []
            for stratum, cell in own.items():
                hits = cell.codes[code]
                if other is None:
                    all_of_it = whole[stratum]
                    base = (all_of_it.codes[code] - hits, all_of_it.cases - cell.cases)
                else:
                    past_cell = other.get(stratum)
                    base = (past_cell.codes[code], past_cell.cases) if past_cell else (0, 0)
                tables.append((hits, cell.cases, *base))
            count = mantel_haenszel(tables)
            # What is tested follows from the sums of both sides alone, never from who has the hits.
            if count.hits_in_all >= LEAST_USES and count.cases >= LEAST_TESTED:
                name = names.get(unit, "")
                about = _About(level, unit, name, "编码使用", baseline, code, code_names(code))
                yield _rate_line(about, count, tables)


def _whole(tally: Tally) -> Mapping[Stratum, _Cell]:
    """The whole hospital by stratum."""
    return tally.cells[HOSPITAL].get("全院", {})


def _rate_line(about: _About, count: Count, rows: Sequence[Table]) -> Comparison:
    comparable = count.cases > 0
    # Without anybody to compare with the share of all lists is still shown.
    cases = count.cases if comparable else sum(row[1] for row in rows)
    hits = count.hits if comparable else sum(row[0] for row in rows)
    low, high = wilson(hits, cases)
    tested = count.cases >= LEAST_TESTED
    return Comparison(
        level=about.level,
        unit=about.unit,
        name=about.name,
        measure=about.measure,
        code=about.code,
        code_name=about.code_name,
        baseline=about.baseline,
        cases=cases,
        compared_with=count.others,
        observed=hits,
        expected=rounded(count.expected) if comparable else None,
        value=rounded(hits / cases) if cases else None,
        low=rounded(low),
        high=rounded(high),
        reference=rounded(count.expected / count.cases) if comparable else None,
        p=count.p if tested else None,
        q=None,
        flagged=False,
        direction=_direction(hits, count.expected) if comparable else "",
        small=cases < SMALL,
        note=_note(count.cases, about.baseline),
    )


def _amounts(
    level: Level, month: Tally, past: Tally | None, names: Mapping[str, str]
) -> Iterator[Comparison]:
    tables: tuple[tuple[Measure, Callable[[Tally], dict[Level, dict[str, dict[Stratum, Moments]]]]], ...] = (
        ("病组内费用", lambda tally: tally.cost),
        ("病组内住院日", lambda tally: tally.stay),
    )
    for measure, table in tables:
        whole = table(month)[HOSPITAL].get("全院", {})
        for unit, own, baseline, other in _sides(level, month, past, table):
            pairs = (
                (value, whole[stratum] - value if other is None else other.get(stratum, NOTHING))
                for stratum, value in own.items()
            )
            ratio = ratio_within(pairs)
            cases = sum(value.number for value in own.values())
            about = _About(level, unit, names.get(unit, ""), measure, baseline)
            yield _ratio_line(about, ratio, cases)


def _ratio_line(about: _About, ratio: Ratio | None, cases: int) -> Comparison:
    comparable = ratio.cases if ratio else 0
    tested = ratio is not None and comparable >= LEAST_TESTED
    return Comparison(
        level=about.level,
        unit=about.unit,
        name=about.name,
        measure=about.measure,
        code=about.code,
        code_name=about.code_name,
        baseline=about.baseline,
        cases=comparable or cases,
        compared_with=ratio.others if ratio else 0,
        observed=None,
        expected=None,
        value=rounded(ratio.ratio) if ratio else None,
        low=rounded(ratio.low) if ratio else None,
        high=rounded(ratio.high) if ratio else None,
        reference=1.0 if ratio else None,
        p=ratio.p if ratio and tested else None,
        q=None,
        flagged=False,
        direction=_direction(ratio.ratio, 1.0) if ratio else "",
        small=(comparable or cases) < SMALL,
        note=_note(comparable, about.baseline),
    )


def _published(level: Level, month: Tally, names: Mapping[str, str]) -> Iterator[Comparison]:
    """Cost against the published average fee of each group. Shown with its interval, never flagged.

    A region's fees are another hospital's, year and mix: a difference is information, not a lead.
    """
    for unit, known in sorted(month.published[level].items()):
        interval = log_normal_mean(known.logs)
        number = known.logs.number
        yield Comparison(
            level=level,
            unit=unit,
            name=names.get(unit, ""),
            measure="病组内费用",
            code="",
            code_name="",
            baseline="公布的均次费用",
            cases=number,
            compared_with=0,
            observed=None,
            expected=None,
            value=rounded(known.cost / known.fee),
            low=rounded(interval[0]) if interval and number >= LEAST_TESTED else None,
            high=rounded(interval[1]) if interval and number >= LEAST_TESTED else None,
            reference=1.0,
            p=None,
            q=None,
            flagged=False,
            direction=_direction(known.cost, known.fee),
            small=number < SMALL,
            note="只作参考，不作提示" if number >= LEAST_TESTED else _note(number, "公布的均次费用"),
        )


def _direction(value: float, reference: float) -> Direction:
    return "偏高" if value > reference else "偏低" if value < reference else ""


def _note(comparable: int, baseline: Baseline) -> str:
    if comparable == 0:
        if baseline == "院内同病组":
            return "院内没有其他科室或医师收治同病组、同年龄段的病例，无法在院内比较"
        return "过去的清单里没有同病组、同年龄段的病例，无法比较"
    if comparable < LEAST_TESTED:
        return f"可比病例只有 {comparable} 例（少于 {LEAST_TESTED} 例），不作检验，不排序"
    return f"可比病例 {comparable} 例，少于 {SMALL} 例，结果不稳定" if comparable < SMALL else ""


class GroupTally:
    """Cost and stay of every DRG of a month."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}

    def add(self, record: Record) -> None:
        if not record.grouped:
            return
        group = self._groups.setdefault(record.drg, _Group(record.drg_name))
        group.cases += 1
        if record.stay is not None:
            group.stays += 1
            group.days += record.stay
        if record.cost:
            group.logs = group.logs.plus(math.log(record.cost / 100))
            group.cost += record.cost
        group.average_fee = record.average_fee or group.average_fee
        group.weight = group.weight if record.value.weight is None else record.value.weight

    def lines(self) -> tuple[GroupLine, ...]:
        """All groups, the most frequent first."""
        order = sorted(self._groups.items(), key=lambda item: (-item[1].cases, item[0]))
        return tuple(group.line(drg) for drg, group in order)


@dataclass
class _Group:
    name: str
    cases: int = 0
    stays: int = 0
    days: int = 0
    cost: int = 0
    logs: Moments = NOTHING
    average_fee: int | None = None
    weight: float | None = None

    def line(self, drg: str) -> GroupLine:
        paid = self.logs.number
        mean = self.cost / paid / 100 if paid else None
        interval = log_normal_mean(self.logs) if paid >= LEAST_TESTED else None
        fee = None if self.average_fee is None else self.average_fee / 100
        return GroupLine(
            drg=drg,
            name=self.name,
            cases=self.cases,
            mean_fee=None if mean is None else round(mean, 2),
            low=round(interval[0], 2) if interval else None,
            high=round(interval[1], 2) if interval else None,
            mean_stay=round(self.days / self.stays, 2) if self.stays else None,
            average_fee=fee,
            ratio=rounded(mean / fee) if mean is not None and fee else None,
            weight=self.weight,
            small=self.cases < SMALL,
        )
