"""The work list of a run: one row a finding, filtered, page by page on the screen or whole as a workbook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    case,
    false,
    func,
    not_,
    select,
    true,
    tuple_,
)

from api.services.month.report.content import CLASSES, Class, SourceProblem
from api.services.month.report.stored import (
    ACROSS,
    FINDING,
    OPEN,
    RESULT,
    ReportError,
    run_named,
    source_problems,
)
from api.services.month.workbook import Cell, Sheet, write_book
from api.settings import Settings
from api.spreadsheet import value_domains
from api.store.database import Database
from models.pack import PackError
from models.report import SEVERITY_LABELS, Accepted, Severity, Verdict

PAGE = 50
MOST_PAGES = 1_000_000
MOST_UNITS = 500
"""Departments that a choice shows."""
FETCHED = 2000
LONGEST_FILTER = 80
COLUMNS = (
    "序号", "清单", "科室", "科室名称", "医师", "判定", "DRG", "级别", "规则", "问题", "字段", "值", "说明", "建议", "依据",
    "已接受", "另一清单", "类", "来源", "行号", "处理人", "处理结果", "完成日期",
)  # fmt: skip
"""The last three are for the hospital to fill in."""


class Filter(msgspec.Struct, frozen=True):
    """Which findings: each field narrows, "" does not. ``rule`` is a code, or the family before its dash.

    ``list_id``: the beginning of a list's id. ``accepted``: those that the hospital has accepted too.
    ``kind``: list, across or source, see ``CLASSES``.
    """

    rule: str = ""
    severity: Severity | str = ""
    department: str = ""
    doctor: str = ""
    verdict: Verdict | str = ""
    list_id: str = ""
    accepted: bool = False
    kind: Class | str = ""

    def checked(self) -> Filter:
        """The filter without spaces around. Raises ReportError for what nothing can match."""
        found = msgspec.structs.replace(
            self,
            **{
                name: str(getattr(self, name)).strip()
                for name in ("rule", "severity", "department", "doctor", "verdict", "list_id", "kind")
            },
        )
        found = msgspec.structs.replace(found, rule=found.rule.upper())
        for value in (found.rule, found.department, found.doctor, found.list_id):
            if len(value) > LONGEST_FILTER or not value.isprintable():
                raise ReportError(f"筛选条件“{value[:20]}”不是能出现的值（最多 {LONGEST_FILTER} 个字）")
        if found.severity and found.severity not in SEVERITY_LABELS:
            raise ReportError(
                f"级别“{found.severity[:20]}”应为 {'、'.join(SEVERITY_LABELS)}"
                f"（{'、'.join(SEVERITY_LABELS.values())}）"
            )
        if found.verdict and found.verdict not in get_args(Verdict):
            raise ReportError(f"判定“{found.verdict[:20]}”应为 {'、'.join(get_args(Verdict))}")
        if found.kind and found.kind not in CLASSES:
            raise ReportError(
                f"类“{found.kind[:20]}”应为 {'、'.join(CLASSES)}（{'、'.join(CLASSES.values())}）"
            )
        return found

    @property
    def chosen(self) -> Mapping[str, str]:
        """What narrows, for an address."""
        found = {name: str(getattr(self, name)) for name in self.__struct_fields__ if name != "accepted"}
        return {name: value for name, value in found.items() if value} | (
            {"accepted": "1"} if self.accepted else {}
        )


class WorkRow(msgspec.Struct, frozen=True):
    """One finding with its list. ``number``: the list's place in the run; ``other``: id of the other list."""

    number: int
    list_key: str
    list_id: str
    version: int
    source: str
    line: int
    department: str
    doctor: str
    verdict: str
    drg: str
    rule: str
    severity: Severity
    title: str
    field: str
    value: str
    message: str
    advice: str
    basis: str
    accepted: str
    other: str
    kind: Class


class WorkPage(msgspec.Struct, frozen=True):
    """Part of a work list. ``page`` counts from 1; ``total`` findings on ``lists`` lists fit the filter.

    ``source_problems``: findings that nearly all lists have; their rows are the last ones.
    """

    run: int
    month: str
    page: int
    pages: int
    total: int
    lists: int
    rows: tuple[WorkRow, ...]
    source_problems: tuple[SourceProblem, ...]


class Choices(msgspec.Struct, frozen=True):
    """What a filter can be set to: codes with the number of lists or findings."""

    departments: tuple[tuple[str, int], ...]
    rules: tuple[tuple[str, str, int], ...]


def work_page(database: Database, run: str, wanted: Filter, page: int = 1, size: int = PAGE) -> WorkPage:
    """One page of the findings of a run (its number, or a month). Raises ReportError, StoreError."""
    chosen = wanted.checked()
    with database.read() as connection:
        found = run_named(connection, run)
        problems = source_problems(connection, found.id)
        kinds = _Kinds(problems)
        own = _chosen(found.id, chosen, kinds)
        total: int = connection.execute(select(func.count()).select_from(FINDING).where(*own)).scalar_one()
        numbers = select(FINDING.c.number).where(*own).distinct().subquery()
        lists: int = connection.execute(select(func.count()).select_from(numbers)).scalar_one()
        pages = max(1, -(-total // size))
        at = min(max(1, min(page, MOST_PAGES)), pages)
        places = _places(connection, own, kinds, (at - 1) * size, size)
        asked = _joined(found.id, kinds).where(tuple_(FINDING.c.number, FINDING.c.position).in_(places))
        by_place = {(row.number, row.position): row for row in connection.execute(asked)}
        rows = tuple(_work_row(by_place[place]) for place in places)
        return WorkPage(found.id, found.month, at, pages, total, lists, rows, problems)


def _places(
    connection: Connection, own: Sequence[ColumnElement[bool]], kinds: _Kinds, offset: int, size: int
) -> list[tuple[int, int]]:
    """Number and position of the findings of one page, in its order.

    Each part is in the order of an index, so that nothing is sorted, and only the rows of the page are read.
    """
    found: list[tuple[int, int]] = []
    for part in kinds.parts:
        these = *own, part
        rows = connection.execute(
            select(FINDING.c.number, FINDING.c.position)
            .where(*these)
            .order_by(*_ORDER)
            .limit(size - len(found))
            .offset(offset)
        )
        found += [(row.number, row.position) for row in rows]
        if len(found) == size:
            break
        if not found:
            offset -= connection.execute(select(func.count()).select_from(FINDING).where(*these)).scalar_one()
        else:
            offset = 0
    return found


def choices(database: Database, run: str, accepted: bool = False) -> Choices:
    """What a run's findings can be filtered by, those that were ``accepted`` too. Raises ReportError, StoreError."""
    with database.read() as connection:
        found = run_named(connection, run)
        departments = connection.execute(
            select(RESULT.c.department, func.count())
            .where(RESULT.c.run_id == found.id, RESULT.c.department != "")
            .group_by(RESULT.c.department)
            .order_by(RESULT.c.department)
            .limit(MOST_UNITS)
        )
        own = [FINDING.c.run_id == found.id, *(() if accepted else (OPEN,))]
        counted = (
            select(FINDING.c.rule, func.count().label("findings"))
            .where(*own)
            .group_by(FINDING.c.rule)
            .subquery()
        )
        # The title is not in the index: it is looked up once for each rule.
        title = select(FINDING.c.title).where(*own, FINDING.c.rule == counted.c.rule).limit(1)
        rules = connection.execute(
            select(counted.c.rule, title.scalar_subquery(), counted.c.findings).order_by(counted.c.rule)
        )
        return Choices(tuple(map(tuple, departments)), tuple(map(tuple, rules)))


def write_work_list(
    database: Database, run: str, wanted: Filter, path: Path, departments: Mapping[str, str]
) -> tuple[int, int]:
    """Write all findings that fit as xlsx with filters; gives the run and their number.

    Rows are not kept in memory.

    ``departments``: their names. Raises ReportError, StoreError, OSError.
    """
    chosen = wanted.checked()
    written = 0
    with database.read() as connection:
        found = run_named(connection, run)
        problems = source_problems(connection, found.id)

        def rows() -> Iterator[Sequence[Cell]]:
            nonlocal written
            for row in _stream(connection, found.id, chosen, _Kinds(problems)):
                written += 1
                yield _cells(row, departments)

        sources: Sheet = (
            "来源问题",
            ("规则", "问题", "字段", "级别", "涉及清单", "项数"),
            [
                (one.rule, one.title, one.field, SEVERITY_LABELS[one.severity], one.lists, one.findings)
                for one in problems
            ],
        )
        write_book(path, [("工作清单", COLUMNS, rows()), *([sources] if problems else [])], filters=True)
    return found.id, written


def department_names(settings: Settings) -> Mapping[str, str]:
    """Names of departments by code; none when the pack is missing."""
    try:
        return dict(value_domains(settings.store(), settings.region)["departments"])
    except PackError:
        return {}


def _stream(connection: Connection, run_id: int, chosen: Filter, kinds: _Kinds) -> Iterator[WorkRow]:
    # One after the other as on the pages: sorting all of them would take their size in memory.
    for part in kinds.parts:
        rows = connection.execute(
            _joined(run_id, kinds).where(*_chosen(run_id, chosen, kinds), part).order_by(*_ORDER),
            execution_options={"yield_per": FETCHED},
        )
        yield from map(_work_row, rows)


def _cells(row: WorkRow, departments: Mapping[str, str]) -> Sequence[Cell]:
    return (
        row.number, row.list_id, row.department, departments.get(row.department, ""), row.doctor, row.verdict,
        row.drg, SEVERITY_LABELS[row.severity], row.rule, row.title, row.field, row.value, row.message, row.advice,
        row.basis, row.accepted, row.other, CLASSES[row.kind], row.source, row.line, None, None, None,
    )  # fmt: skip


_SHOWN = [
    RESULT.c.number, RESULT.c.list_key, RESULT.c.list_id, RESULT.c.version, RESULT.c.source, RESULT.c.line,
    RESULT.c.department, RESULT.c.doctor, RESULT.c.verdict, RESULT.c.drg, FINDING.c.rule, FINDING.c.severity,
    FINDING.c.title, FINDING.c.field, FINDING.c.value, FINDING.c.message, FINDING.c.advice, FINDING.c.basis,
    FINDING.c.accepted, FINDING.c.other_key, FINDING.c.position,
]  # fmt: skip


_ORDER = (FINDING.c.number, FINDING.c.position)


class _Kinds:
    """The classes of findings, see ``CLASSES``, as a query asks for them; accepted ones are never of the source."""

    def __init__(self, problems: Sequence[SourceProblem]) -> None:
        across = FINDING.c.position >= ACROSS
        # One look into a small table, not a comparison with each of them for every finding.
        pairs = tuple_(FINDING.c.rule, FINDING.c.field).in_([(one.rule, one.field) for one in problems])
        of_source = and_(not_(across), OPEN, pairs) if problems else false()
        self.of: Mapping[Class, ColumnElement[bool]] = {
            "list": and_(not_(across), not_(of_source)),
            "across": across,
            "source": of_source,
        }
        # What all lists have would bury what only some have, and stands behind it.
        self.parts = (not_(of_source), of_source) if problems else (true(),)
        self.shown = case((across, "across"), (of_source, "source"), else_="list").label("kind")


def _joined(run_id: int, kinds: _Kinds) -> Select[Any]:
    """The findings of a run with their lists."""
    both = and_(RESULT.c.run_id == FINDING.c.run_id, RESULT.c.number == FINDING.c.number)
    asked = select(*_SHOWN, kinds.shown).select_from(FINDING.join(RESULT, both))
    return asked.where(FINDING.c.run_id == run_id)


def _chosen(run_id: int, chosen: Filter, kinds: _Kinds) -> list[ColumnElement[bool]]:
    """What the filter asks of a finding, in terms of what stands in the indices."""
    asked = [FINDING.c.run_id == run_id]
    if chosen.rule:
        exact = "-" in chosen.rule
        asked.append(
            FINDING.c.rule == chosen.rule
            if exact
            else FINDING.c.rule.startswith(f"{chosen.rule}-", autoescape=True)
        )
    if chosen.severity:
        asked.append(FINDING.c.severity == chosen.severity)
    of_list = [
        column == value
        for column, value in (
            (RESULT.c.department, chosen.department),
            (RESULT.c.doctor, chosen.doctor),
            (RESULT.c.verdict, chosen.verdict),
        )
        if value
    ]
    if chosen.list_id:
        of_list.append(RESULT.c.list_id.startswith(chosen.list_id, autoescape=True))
    if of_list:
        lists = select(RESULT.c.number).where(RESULT.c.run_id == run_id, *of_list)
        asked.append(FINDING.c.number.in_(lists))
    if chosen.kind:
        asked.append(kinds.of[cast(Class, chosen.kind)])
    if not chosen.accepted:
        asked.append(OPEN)
    return asked


_accepted = msgspec.json.Decoder(Accepted).decode


def _work_row(row: Row[Any]) -> WorkRow:
    values = row._asdict()
    accepted, other, _ = (values.pop(name) for name in ("accepted", "other_key", "position"))
    shown = _accepted(accepted).text if accepted else ""
    return WorkRow(**values, accepted=shown, other=other.rpartition("/")[2])
