"""Makes the content of a month's report from the lists of a run, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import overload

import msgspec

from api.services.month.comparisons import LEVELS, Tally
from api.services.month.records import Record
from api.services.month.report.content import (
    FORMAT,
    CodingChange,
    CodingChanges,
    GroupTotals,
    Origin,
    ReportContent,
    Study,
    TrendPoint,
    UsedPack,
)
from api.services.month.report.summary import Entry, Summary
from api.services.month.result import Comparison, CrossFinding
from api.services.month.study import Counted, examine
from api.version import program_version

MOST_COMPLICATIONS = 20
MOST_COMPARISONS = 2000
MOST_CANDIDATES = 300
MOST_CROSS = 1000
MOST_REVIEWS = 500
MOST_CHANGES = 300
"""Rows of a report; what is left off is counted in it. The work list and the run hold everything."""

NO_CHANGES = CodingChanges(0, 0, 0, 0, 0, 0, 0, 0, ())


class PackedRecords(Sequence[Record]):
    """Records kept as bytes, about a third of the memory; each look decodes anew."""

    def __init__(self) -> None:
        self._rows: list[bytes] = []
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Record).decode

    def append(self, record: Record) -> None:
        self._rows.append(self._encode(record))

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> list[Record]: ...
    def __getitem__(self, at: int | slice) -> Record | list[Record]:
        if isinstance(at, slice):
            return [self._decode(row) for row in self._rows[at]]
        return self._decode(self._rows[at])


@dataclass(frozen=True)
class Frame:
    """What a report knows besides the lists of the month.

    ``past``: records of earlier months, for statistics. ``past_groups``: the groups of sealed months, for
    the standards of the indices, ``past_name`` which months these are. ``trend``: earlier months, oldest
    first. ``files``: the name under which the lists of the run, then those of the past, are shown.
    """

    month: str
    region: str
    origin: Origin
    packs: tuple[UsedPack, ...]
    files: Sequence[str]
    department_name: Callable[[str], str]
    code_name: Callable[[str], str]
    past: Iterable[Record] = ()
    past_groups: Sequence[GroupTotals] = ()
    past_name: str = ""
    trend: tuple[TrendPoint, ...] = ()
    coding: CodingChanges = NO_CHANGES
    notes: tuple[str, ...] = ()
    with_study: bool = True


@dataclass
class _StudyInput:
    """What statistics over the month need of its lists."""

    records: PackedRecords = field(default_factory=PackedRecords)
    tally: Tally = field(default_factory=Tally)

    def add(self, record: Record) -> None:
        self.records.append(record)
        self.tally.add(record)


def make_content(
    frame: Frame,
    entries: Iterable[tuple[Entry, Sequence[CrossFinding]]],
    advance: Callable[[], object] = lambda: None,
) -> ReportContent:
    """The report of the ``entries``: every list of the run in its order, with its findings across lists.

    The same input gives the same content. ``advance`` is called after each list.
    """
    summary, month = Summary(), _StudyInput()
    cross: list[CrossFinding] = []
    for entry, found in entries:
        summary.add(entry)
        cross += found
        if frame.with_study:
            month.add(entry.record)
        advance()
    standards = summary.standards(frame.past_groups, frame.past_name)
    totals = summary.totals(standards)
    here = TrendPoint(frame.month, 0, "", totals, standards.cost.name, standards.time.name)
    study, notes = _study(frame, summary, month, cross) if frame.with_study else (None, ())
    return ReportContent(
        format=FORMAT,
        program=program_version(),
        month=frame.month,
        region=frame.region,
        institutions=tuple(sorted(summary.institutions)),
        discharged_from=summary.first,
        discharged_to=summary.last,
        origin=frame.origin,
        cost_standard=standards.cost,
        time_standard=standards.time,
        totals=totals,
        families=summary.families(),
        rules=summary.rules(),
        reasons=summary.reasons(),
        departments=summary.units(summary.departments, frame.department_name, standards),
        doctors=summary.units(summary.doctors, lambda _: "", standards),
        groups=summary.groups(),
        multiples=summary.multiples(),
        complications=summary.complications(frame.code_name, MOST_COMPLICATIONS),
        coding=frame.coding,
        trend=(*frame.trend, here),
        study=study,
        packs=frame.packs,
        notes=(*frame.notes, *notes),
    )


def _study(
    frame: Frame, summary: Summary, month: _StudyInput, cross: Sequence[CrossFinding]
) -> tuple[Study, tuple[str, ...]]:
    """Statistics over the month, and what is to be said of them."""
    before = _StudyInput()
    for record in frame.past:
        before.add(record)
    past = Counted(before.records, before.tally) if before.records else None
    names = {unit: frame.department_name(unit) for unit in summary.departments}
    seen = examine(
        Counted(month.records, month.tally), past, frame.files, names, frame.code_name, cross=cross
    )
    shown = [one for one in seen.comparisons if one.flagged or one.code == ""]
    shown.sort(key=lambda one: (not one.flagged, 2.0 if one.q is None else one.q))
    grouped = sum(cell.cases for cell in month.tally.cells["全院"].get("全院", {}).values())
    lifted = sum(cell.lifted for cell in month.tally.cells["全院"].get("全院", {}).values())
    candidates, reviews = seen.residuals.candidates, seen.reviews
    study = Study(
        tested={level: _count(seen.comparisons, level, tested=True) for level in LEVELS},
        flagged={level: _count(seen.comparisons, level, tested=False) for level in LEVELS},
        complicated_share=float(f"{lifted / grouped:.6g}") if grouped else None,
        past_lists=len(before.records),
        comparisons=tuple(shown[:MOST_COMPARISONS]),
        models=seen.residuals.models,
        candidates=candidates[:MOST_CANDIDATES],
        cross_findings=tuple(cross[:MOST_CROSS]),
        reviews=reviews[:MOST_REVIEWS],
        left_off={
            "comparisons": max(0, len(shown) - MOST_COMPARISONS),
            "candidates": max(0, len(candidates) - MOST_CANDIDATES),
            "cross_findings": max(0, len(cross) - MOST_CROSS),
            "reviews": max(0, len(reviews) - MOST_REVIEWS) + seen.left_off,
        },
    )
    notes = list(seen.residuals.notes)
    if past is None:
        notes.append("没有往月的清单，科室和医师只在院内比较，没有与本院过去比较")
    unit = "元" if seen.in_yuan else "权重"
    notes.append(f"复核排序的得分 = 预计影响（{unit}）× 证据强度；证据强度是排序用的约定，不是概率")
    return study, tuple(notes)


def _count(comparisons: Iterable[Comparison], level: str, *, tested: bool) -> int:
    return sum(one.level == level and (one.p is not None if tested else one.flagged) for one in comparisons)


def coding_changes(changed: int, changes: Iterable[CodingChange]) -> CodingChanges:
    """Counts of what changed; ``changed`` lists have several versions, ``changes`` those with other codes."""
    found = [one for one in changes if not one.empty]
    return CodingChanges(
        changed=changed,
        recoded=len(found),
        principal=sum(one.principal[0] != one.principal[1] for one in found),
        main_procedure=sum(one.main_procedure[0] != one.main_procedure[1] for one in found),
        diagnoses_added=sum(len(one.diagnoses_added) for one in found),
        diagnoses_removed=sum(len(one.diagnoses_removed) for one in found),
        procedures_added=sum(len(one.procedures_added) for one in found),
        procedures_removed=sum(len(one.procedures_removed) for one in found),
        lines=tuple(found[:MOST_CHANGES]),
    )
