"""The work list of a run: one row a finding, filtered, page by page on the screen or whole as a workbook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec
from sqlalchemy import Case, ColumnElement, Connection, Row, Select, and_, case, func, select

from api.services.month.report.content import CLASSES, Class, SourceProblem
from api.services.month.report.stored import (
    ACROSS,
    FINDING,
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
        kind = _kind(problems)
        asked = select(func.count(), func.count(func.distinct(FINDING.c.number)))
        total, lists = connection.execute(_joined(asked, found.id, chosen, kind)).one()
        pages = max(1, -(-total // size))
        at = min(max(1, min(page, MOST_PAGES)), pages)
        rows = connection.execute(_rows(found.id, chosen, kind).limit(size).offset((at - 1) * size))
        return WorkPage(found.id, found.month, at, pages, total, lists, tuple(map(_work_row, rows)), problems)


def choices(database: Database, run: str) -> Choices:
    """What a run's findings can be filtered by. Raises ReportError, StoreError."""
    with database.read() as connection:
        found = run_named(connection, run)
        departments = connection.execute(
            select(RESULT.c.department, func.count())
            .where(RESULT.c.run_id == found.id, RESULT.c.department != "")
            .group_by(RESULT.c.department)
            .order_by(RESULT.c.department)
            .limit(MOST_UNITS)
        )
        rules = connection.execute(
            select(FINDING.c.rule, func.max(FINDING.c.title), func.count())
            .where(FINDING.c.run_id == found.id)
            .group_by(FINDING.c.rule)
            .order_by(FINDING.c.rule)
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
            for row in _stream(connection, found.id, chosen, _kind(problems)):
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


def _stream(connection: Connection, run_id: int, chosen: Filter, kind: Case[str]) -> Iterator[WorkRow]:
    rows = connection.execute(_rows(run_id, chosen, kind), execution_options={"yield_per": FETCHED})
    return map(_work_row, rows)


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
    FINDING.c.accepted, FINDING.c.other_key,
]  # fmt: skip


def _kind(problems: Sequence[SourceProblem]) -> Case[str]:
    """The class of a finding, see ``CLASSES``."""
    whens: list[tuple[ColumnElement[bool], str]] = [(FINDING.c.position >= ACROSS, "across")]
    by_rule: dict[str, list[str]] = {}
    for one in problems:
        by_rule.setdefault(one.rule, []).append(one.field)
    for rule, fields in by_rule.items():
        unaccepted = FINDING.c.accepted == ""
        whens.append((and_(FINDING.c.rule == rule, FINDING.c.field.in_(fields), unaccepted), "source"))
    return case(*whens, else_="list")


def _rows(run_id: int, chosen: Filter, kind: Case[str]) -> Select[Any]:
    # What all lists have would bury what only some have.
    order = (case((kind == "source", 1), else_=0), FINDING.c.number, FINDING.c.position)
    found: Select[Any] = _joined(select(*_SHOWN, kind.label("kind")), run_id, chosen, kind).order_by(*order)
    return found


def _joined(asked: Any, run_id: int, chosen: Filter, kind: Case[str]) -> Any:
    """Findings with their lists, narrowed. Nothing is counted twice: a finding has one list."""
    both = and_(RESULT.c.run_id == FINDING.c.run_id, RESULT.c.number == FINDING.c.number)
    asked = asked.select_from(FINDING.join(RESULT, both)).where(FINDING.c.run_id == run_id)
    if chosen.rule:
        exact = "-" in chosen.rule
        asked = asked.where(
            FINDING.c.rule == chosen.rule
            if exact
            else FINDING.c.rule.startswith(f"{chosen.rule}-", autoescape=True)
        )
    for column, value in (
        (FINDING.c.severity, chosen.severity),
        (RESULT.c.department, chosen.department),
        (RESULT.c.doctor, chosen.doctor),
        (RESULT.c.verdict, chosen.verdict),
    ):
        if value:
            asked = asked.where(column == value)
    if chosen.kind:
        asked = asked.where(kind == chosen.kind)
    if chosen.list_id:
        asked = asked.where(RESULT.c.list_id.startswith(chosen.list_id, autoescape=True))
    return asked if chosen.accepted else asked.where(FINDING.c.accepted == "")


_accepted = msgspec.json.Decoder(Accepted).decode


def _work_row(row: Row[Any]) -> WorkRow:
    values = row._asdict()
    accepted, other = values.pop("accepted"), values.pop("other_key")
    shown = _accepted(accepted).text if accepted else ""
    return WorkRow(**values, accepted=shown, other=other.rpartition("/")[2])
