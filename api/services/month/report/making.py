"""Makes the content of a month's report from the lists of a run, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from api.services.month.records import Record
from api.services.month.report.content import (
    FORMAT,
    CodingChange,
    CodingChanges,
    GroupTotals,
    Origin,
    ReportContent,
    SourceProblem,
    TrendPoint,
    UsedPack,
)
from api.services.month.report.summary import Entry, Summary
from api.services.month.result import CrossFinding
from api.version import program_version

MOST_COMPLICATIONS = 20
MOST_CHANGES = 300
"""Rows of a report; what is left off is counted in it. The work list and the run hold everything."""

NO_CHANGES = CodingChanges(0, 0, 0, 0, 0, 0, 0, 0, ())


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
    source_problems: tuple[SourceProblem, ...] = ()
    with_study: bool = True


def make_content(
    frame: Frame,
    entries: Iterable[tuple[Entry, Sequence[CrossFinding]]],
    advance: Callable[[], object] = lambda: None,
) -> ReportContent:
    """The report of the ``entries``: every list of the run in its order, with its findings across lists.

    The same input gives the same content. ``advance`` is called after each list.
    """
    summary = Summary()
    month = None
    if frame.with_study:
        # Statistics and models are heavy to import, and the pages do without.
        from api.services.month.report.studying import Studied  # noqa: PLC0415

        month = Studied()
    for entry, found in entries:
        summary.add(entry)
        if month is not None:
            month.add(entry.record, found)
        advance()
    standards = summary.standards(frame.past_groups, frame.past_name)
    totals = summary.totals(standards)
    here = TrendPoint(frame.month, 0, "", totals, standards.cost.name, standards.time.name)
    study, notes = None, tuple[str, ...]()
    if month is not None:
        names = {unit: frame.department_name(unit) for unit in summary.departments}
        study, notes = month.study(frame.past, frame.files, names, frame.code_name)
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
        discharge_months=dict(sorted(summary.discharge_months.items())),
        source_problems=frame.source_problems,
    )


def coding_changes(compared: Iterable[CodingChange]) -> CodingChanges:
    """Counts of what changed in lists that have several versions, and the first of those with other codes."""
    changed = recoded = principal = procedure = 0
    sums = [0, 0, 0, 0]
    lines: list[CodingChange] = []
    for one in compared:
        changed += 1
        if one.empty:
            continue
        recoded += 1
        principal += one.principal[0] != one.principal[1]
        procedure += one.main_procedure[0] != one.main_procedure[1]
        for at, codes in enumerate(
            (one.diagnoses_added, one.diagnoses_removed, one.procedures_added, one.procedures_removed)
        ):
            sums[at] += len(codes)
        if len(lines) < MOST_CHANGES:
            lines.append(one)
    return CodingChanges(
        changed, recoded, principal, procedure, sums[0], sums[1], sums[2], sums[3], tuple(lines)
    )
