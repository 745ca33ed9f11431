"""Reads what a run stored, list by list, and makes the month's report of it."""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice

import msgspec
from sqlalchemy import Connection, Row, Table, func, literal_column, select
from sqlmodel import SQLModel

from api.intake.rejects import rejected_text
from api.services.month.records import Record
from api.services.month.report.content import (
    CodingChange,
    GroupTotals,
    Origin,
    ReportContent,
    SourceProblem,
    Standard,
    Totals,
    TrendPoint,
    UsedPack,
)
from api.services.month.report.making import Frame, coding_changes, make_content
from api.services.month.report.summary import Entry, Found
from api.services.month.result import CrossFinding
from api.settings import Settings
from api.spreadsheet import value_domains
from api.store import tables
from api.store.database import Database
from api.store.vault import unmasked_payload
from coding.library import load_library
from models.grouping import Complication
from models.pack import PackError
from models.report import Finding
from models.wire import DecodeError, decode

MONTH = re.compile(r"(19|20)\d{2}-(0[1-9]|1[0-2])")
TREND_MONTHS = 12
"""Sealed months before this one that the trend shows and the standards of the indices come from."""
PAST_MONTHS = 3
"""Of these, how many nearest ones the statistics compare lists with."""
MOST_OTHERS = 5
"""Other runs of a month that are named."""
SHARE_OF_SOURCE = 95
"""Per cent of the lists from which on a finding is one problem of their source."""
LEAST_OF_SOURCE = 20
"""Lists of a run below which a finding on all of them may be chance."""
MOST_KNOWN = 100
"""Finished runs whose problems of the source are kept in memory."""
FETCHED = 2000
CHUNK = 200
ACROSS = 1000
"""Position of the first finding that concerns other lists, see FindingRow."""
MOST_NUMBER = 2**31 - 1


class ReportError(PackError):
    """A report cannot be made, sealed or shown; the reason (Chinese) says what to do."""


class NoRunError(ReportError):
    """There is no such run, or no finished one of that month."""


def table(model: type[SQLModel]) -> Table:
    """The table of a model, for statements of SQLAlchemy Core."""
    found: Table = model.__table__  # type: ignore[attr-defined]
    return found


RUN, RESULT, FINDING = table(tables.Run), table(tables.Result), table(tables.FindingRow)
OPEN = FINDING.c.accepted == literal_column("''")
"""Findings that the hospital has not accepted; written out, because only so their index is used."""
PACK_USE, SEALED, VERSION = table(tables.PackUse), table(tables.SealedReport), table(tables.ListVersion)


def unpacked(content: bytes) -> bytes:
    """The JSON of a stored report. Raises ReportError when it is damaged."""
    try:
        return zlib.decompress(content)
    except zlib.error as error:
        raise ReportError("封存的月报已损坏，不能解开；请从备份恢复数据库") from error


class StoredRun(msgspec.Struct, frozen=True):
    """What a report says of its run."""

    id: int
    kind: str
    month: str
    state: str
    source: str
    input_digest: str
    options: str
    rejected: int
    rejected_files: int
    lists: int
    finished_at: datetime | None

    @property
    def read_options(self) -> _Options:
        return msgspec.json.decode(self.options, type=_Options)

    @property
    def rejected_text(self) -> str:
        """What was not read, files apart from rows (Chinese)."""
        return rejected_text(self.rejected_files, self.rejected - self.rejected_files)

    @property
    def trial(self) -> str:
        """What the run tries out (试算：方案 …); "" for one that can speak for its month."""
        tried = self.read_options.trial
        return f"试算：{'、'.join(tried)}" if tried else ""

    @property
    def text(self) -> str:
        """The run among others of its month (Chinese)."""
        kind = self.trial or ("重新质控" if self.kind == "revalidation" else "")
        return f"批次 {self.id}（{f'{kind}，' if kind else ''}{self.lists} 份）"


class _Options(msgspec.Struct, frozen=True):
    region: str = ""
    trial: tuple[str, ...] = ()


class _Grouping(msgspec.Struct, frozen=True):
    """Of a stored GroupResult only what the report counts."""

    complications: tuple[Complication, ...] = ()


class PastReport(msgspec.Struct, frozen=True):
    """Of the content of an earlier sealed report only what a later one needs."""

    month: str
    origin: Origin
    totals: Totals
    groups: tuple[GroupTotals, ...]
    packs: tuple[UsedPack, ...]
    cost_standard: Standard
    time_standard: Standard


_decode_record = msgspec.msgpack.Decoder(Record).decode
_decode_grouping = msgspec.msgpack.Decoder(_Grouping).decode
_decode_past = msgspec.json.Decoder(PastReport).decode


def run_named(connection: Connection, name: str) -> StoredRun:
    """The run of that number, or the last finished one of that month that is no trial. Raises ReportError."""
    asked = select(*_RUN_COLUMNS)
    text = name.strip()
    if MONTH.fullmatch(text):
        done = finished_runs(connection, text)
        speaking = next((one for one in done if not one.trial), None)
        if speaking is None and done:
            shown = "、".join(one.text for one in done[:MOST_OTHERS])
            raise NoRunError(f"{text} 只有试算，不能代表这个月：{shown}；要看试算请写批次编号")
        if speaking is None:
            raise NoRunError(f"{text} 没有已完成的批次；请先运行 qingdan batch run … --month {text}")
        return speaking
    if text.isascii() and text.isdigit():
        number = int(text[:12])
        row = (
            connection.execute(asked.where(RUN.c.id == number)).one_or_none()
            if 0 < number <= MOST_NUMBER
            else None
        )
        if row is None:
            raise NoRunError(f"没有批次 {text[:12]}；已有的批次见 qingdan batch list")
    else:
        raise NoRunError(f"“{text[:20]}”不是月份（如 2026-10）也不是批次编号（如 3）")
    run = StoredRun(**row._mapping)
    if run.state != "done":
        raise ReportError(f"批次 {run.id} 还没有完成，不能据此出月报；完成或继续后重试")
    return run


def finished_runs(connection: Connection, month: str = "", most: int | None = None) -> list[StoredRun]:
    """The finished runs, of one month or of all, trials too, the last first."""
    asked = select(*_RUN_COLUMNS).where(RUN.c.state == "done").order_by(RUN.c.id.desc()).limit(most)
    if month:
        asked = asked.where(RUN.c.month == month)
    return [StoredRun(**row._mapping) for row in connection.execute(asked)]


def chosen_text(database: Database, run: int) -> str:
    """Which run of its month was taken, and which finished ones there are besides (Chinese). Raises ReportError."""
    with database.read() as connection:
        taken = run_named(connection, str(run))
        others = [one.text for one in finished_runs(connection, taken.month) if one.id != run]
    if not others:
        return f"{taken.month} 取{taken.text}，是这个月唯一完成的批次"
    more = f" 等 {len(others)} 个" if len(others) > MOST_OTHERS else ""
    return f"{taken.month} 取{taken.text}；这个月另有完成的{'、'.join(others[:MOST_OTHERS])}{more}"


_RUN_COLUMNS = [RUN.c[name] for name in StoredRun.__struct_fields__]


def report_of(
    database: Database,
    settings: Settings,
    name: str,
    *,
    with_study: bool = True,
    advance: Callable[[], object] = lambda: None,
) -> ReportContent:
    """The report of a month (``2026-10``) or a run (``3``) as the store has it now.

    The lists are read one after the other; without ``with_study`` memory does not grow with their number.
    Raises ReportError, StoreError.
    """
    with database.read() as connection:
        run = run_named(connection, name)
        region = run.read_options.region
        packs = tuple(
            UsedPack(*row)
            for row in connection.execute(
                select(PACK_USE.c.pack_id, PACK_USE.c.version, PACK_USE.c.kind, PACK_USE.c.digest)
                .where(PACK_USE.c.run_id == run.id)
                .order_by(PACK_USE.c.pack_id, PACK_USE.c.version)
            )
        )
        problems = source_problems(connection, run.id)
        past = _past(connection, run)
        alike = [one for one in past if _schemes(one.report.packs) == _schemes(packs)]
        before = alike[-PAST_MONTHS:] if with_study else []
        files = [f"批次 {run.id}", *(f"批次 {one.report.origin.run}" for one in before)]
        names = _Names(settings, region)
        frame = Frame(
            month=run.month,
            region=region,
            origin=Origin(
                run=run.id,
                kind=run.kind,
                source=run.source.replace("\\", "/").rpartition("/")[2],
                input_digest=run.input_digest,
                finished=run.finished_at.isoformat(timespec="seconds") if run.finished_at else "",
                rejected=run.rejected,
                trial=run.trial,
                rejected_files=run.rejected_files,
            ),
            packs=packs,
            files=tuple(dict.fromkeys(files)),
            department_name=names.department,
            code_name=names.code,
            past=_past_records(connection, [one.report.origin.run for one in before]),
            past_groups=[group for one in alike for group in one.report.groups],
            past_name=_period([one.report.month for one in alike]),
            trend=tuple(one.point for one in past),
            coding=coding_changes(_coding_changes(connection, run.id)),
            notes=tuple(_notes(past, alike, packs)),
            source_problems=problems,
            with_study=with_study,
        )
        return make_content(frame, stored_entries(connection, run.id, problems), advance)


class _Past(msgspec.Struct, frozen=True):
    number: int
    digest: str
    report: PastReport

    @property
    def point(self) -> TrendPoint:
        one = self.report
        return TrendPoint(
            one.month, self.number, self.digest, one.totals, one.cost_standard.name, one.time_standard.name
        )


def _past(connection: Connection, run: StoredRun) -> list[_Past]:
    """The reports in force of earlier months, the oldest first."""
    newer = SEALED.alias()
    rows = connection.execute(
        select(SEALED.c.id, SEALED.c.digest, SEALED.c.content)
        .where(SEALED.c.month < run.month)
        .where(~select(newer.c.id).where(newer.c.supersedes == SEALED.c.id).exists())
        .order_by(SEALED.c.month.desc(), SEALED.c.id.desc())
        .limit(TREND_MONTHS)
    )
    found = [_Past(number, digest, _decode_past(unpacked(content))) for number, digest, content in rows]
    return found[::-1]


def _schemes(packs: Iterable[UsedPack]) -> set[tuple[str, str]]:
    return {(one.id, one.version) for one in packs if one.kind == "drg-scheme"}


def _period(months: Sequence[str]) -> str:
    if not months:
        return ""
    return months[0] if len(months) == 1 else f"{months[0]} 至 {months[-1]}"


def _notes(past: Sequence[_Past], alike: Sequence[_Past], packs: Iterable[UsedPack]) -> Iterator[str]:
    other = [one.report.month for one in past if one not in alike]
    if other:
        yield f"{'、'.join(other)} 用的是另一分组方案或版本：列在走势里，但没有参与指数的标准和统计比较"
    payment = {(one.id, one.version) for one in packs if one.kind == "drg-payment"}
    changed = [
        one.report.month
        for one in alike
        if {(pack.id, pack.version) for pack in one.report.packs if pack.kind == "drg-payment"} != payment
    ]
    if changed:
        yield f"{'、'.join(changed)} 用的支付数据包不同，CMI、预计支付和结余不能与本月直接相比"


class _Names:
    """Names of departments and diagnoses; a pack that is missing leaves the codes alone."""

    def __init__(self, settings: Settings, region: str) -> None:
        self._departments: dict[str, str] = {}
        self._codes: dict[str, str] = {}
        store = settings.store()
        try:
            self._departments = dict(value_domains(store, region)["departments"])
            self._codes = {code: one.name for code, one in load_library(store, region).icd10.codes.items()}
        except PackError:
            return

    def department(self, code: str) -> str:
        return self._departments.get(code, "")

    def code(self, code: str) -> str:
        return self._codes.get(code, "")


def source_problems(connection: Connection, run_id: int) -> tuple[SourceProblem, ...]:
    """Findings that nearly all lists of a run have, those of the most lists first; none of a small run.

    Of a finished run, whose findings stay as they are, it is kept in memory: each page of a work list asks.
    """
    run = connection.execute(
        select(RUN.c.state, RUN.c.finished_at, RUN.c.input_digest).where(RUN.c.id == run_id)
    ).one_or_none()
    if run is None or run.state != "done":
        return _source_problems(connection, run_id)
    key = (str(connection.engine.url), run_id, run.finished_at, run.input_digest)
    if (known := _KNOWN_PROBLEMS.get(key)) is None:
        if len(_KNOWN_PROBLEMS) >= MOST_KNOWN:
            _KNOWN_PROBLEMS.clear()
        known = _KNOWN_PROBLEMS[key] = _source_problems(connection, run_id)
    return known


_KNOWN_PROBLEMS: dict[tuple[object, ...], tuple[SourceProblem, ...]] = {}


def _source_problems(connection: Connection, run_id: int) -> tuple[SourceProblem, ...]:
    lists: int = connection.execute(
        select(func.count()).select_from(RESULT).where(RESULT.c.run_id == run_id)
    ).scalar_one()
    if lists < LEAST_OF_SOURCE:
        return ()
    own = FINDING.c.run_id == run_id, FINDING.c.position < ACROSS, OPEN
    often = connection.execute(
        select(FINDING.c.rule, FINDING.c.field, func.min(FINDING.c.severity), func.count())
        .where(*own)
        .group_by(FINDING.c.rule, FINDING.c.field)
        .having(func.count() * 100 >= lists * SHARE_OF_SOURCE)
    ).all()
    found = []
    for rule, field, severity, findings in often:
        these = *own, FINDING.c.rule == rule, FINDING.c.field == field
        numbers = select(FINDING.c.number).where(*these).distinct().subquery()
        having: int = connection.execute(select(func.count()).select_from(numbers)).scalar_one()
        if having * 100 >= lists * SHARE_OF_SOURCE:
            title = connection.execute(select(FINDING.c.title).where(*these).limit(1)).scalar_one()
            found.append(SourceProblem(rule, field, title, severity, having, findings))
    return tuple(sorted(found, key=lambda one: (-one.lists, one.rule, one.field)))


def stored_entries(
    connection: Connection, run_id: int, problems: Sequence[SourceProblem] = ()
) -> Iterator[tuple[Entry, list[CrossFinding]]]:
    """Every list of a run in its order, with its findings; those across lists apart, too."""
    of_source = {(one.rule, one.field) for one in problems}
    streamed = {"yield_per": FETCHED}
    results = connection.execute(
        select(*_RESULT_COLUMNS).where(RESULT.c.run_id == run_id).order_by(RESULT.c.number),
        execution_options=streamed,
    )
    findings = _by_number(
        connection.execute(
            select(*_FINDING_COLUMNS)
            .where(FINDING.c.run_id == run_id)
            .order_by(FINDING.c.number, FINDING.c.position),
            execution_options=streamed,
        )
    )
    across = _by_number(
        connection.execute(
            select(*_ACROSS_COLUMNS)
            .where(FINDING.c.run_id == run_id, FINDING.c.position >= ACROSS)
            .order_by(FINDING.c.number, FINDING.c.position),
            execution_options=streamed,
        )
    )
    found_at, across_at = next(findings, None), next(across, None)
    file = f"批次 {run_id}"
    for row in results:
        number = row.number
        found: list[Found] = []
        while found_at is not None and found_at[0] <= number:
            if found_at[0] == number:
                found = [
                    Found(
                        sys.intern(one.rule),
                        one.severity,
                        one.title,
                        bool(one.accepted),
                        "across"
                        if one.position >= ACROSS
                        else "source"
                        if (one.rule, one.field) in of_source
                        else "list",
                    )
                    for one in found_at[1]
                ]
            found_at = next(findings, None)
        cross: list[CrossFinding] = []
        while across_at is not None and across_at[0] <= number:
            if across_at[0] == number:
                cross = [_cross_finding(row, one, file) for one in across_at[1] if not one.accepted]
            across_at = next(across, None)
        record = msgspec.structs.replace(_decode_record(row.record), file=0, line=number)
        grouping = _decode_grouping(row.grouping)
        yield (
            Entry(
                list_id=row.list_id,
                verdict=row.verdict,
                score=row.score,
                reason=row.reason,
                weight=row.weight,
                expected=row.expected,
                dip=row.dip,
                dip_score=row.dip_score,
                record=record,
                complications=grouping.complications,
                findings=tuple(found),
            ),
            cross,
        )


_RESULT_COLUMNS = [
    RESULT.c[name]
    for name in (
        "number",
        "list_id",
        "verdict",
        "score",
        "reason",
        "weight",
        "expected",
        "dip",
        "dip_score",
        "record",
        "grouping",
    )
]
_FINDING_COLUMNS = [
    FINDING.c[name] for name in ("number", "position", "rule", "field", "severity", "title", "accepted")
]
_ACROSS_COLUMNS = [
    FINDING.c[name]
    for name in (
        "number", "rule", "severity", "title", "path", "field", "value", "message", "advice", "basis", "accepted",
        "other_key",
    )
]  # fmt: skip


def _by_number(
    rows: Iterable[Row[tuple[object, ...]]],
) -> Iterator[tuple[int, list[Row[tuple[object, ...]]]]]:
    """Rows of the same list together."""
    number, found = 0, list[Row[tuple[object, ...]]]()
    for row in rows:
        if row.number != number and found:
            yield number, found
            found = []
        number = row.number
        found.append(row)
    if found:
        yield number, found


def _cross_finding(row: Row[tuple[object, ...]], one: Row[tuple[object, ...]], file: str) -> CrossFinding:
    return CrossFinding(
        list_id=row.list_id,
        file=file,
        line=row.number,
        other_id=one.other_key.rpartition("/")[2],
        other_file="",
        other_line=0,
        finding=Finding(
            rule=one.rule,
            title=one.title,
            severity=one.severity,
            path=one.path,
            field=one.field,
            value=one.value,
            message=one.message,
            advice=one.advice,
            basis=one.basis,
        ),
    )


def _past_records(connection: Connection, run_ids: Sequence[int]) -> Iterator[Record]:
    """The records of earlier runs, each run as a file of its own, numbered from 1."""
    for file, run_id in enumerate(dict.fromkeys(run_ids), 1):
        rows = connection.execute(
            select(RESULT.c.number, RESULT.c.record)
            .where(RESULT.c.run_id == run_id)
            .order_by(RESULT.c.number),
            execution_options={"yield_per": FETCHED},
        )
        for number, record in rows:
            yield msgspec.structs.replace(_decode_record(record), file=file, line=number)


def _coding_changes(connection: Connection, run_id: int) -> Iterator[CodingChange]:
    """Each list of a run that is stored in several versions: the codes of the first and of the run's own."""
    rows = connection.execute(
        select(RESULT.c.list_key, RESULT.c.version, RESULT.c.list_id, RESULT.c.department)
        .where(RESULT.c.run_id == run_id, RESULT.c.version > 1)
        .order_by(RESULT.c.number),
        execution_options={"yield_per": FETCHED},
    )
    while part := list(islice(rows, CHUNK)):
        versions = connection.execute(
            select(VERSION.c.list_key, VERSION.c.version, VERSION.c.payload).where(
                VERSION.c.list_key.in_([row.list_key for row in part])
            )
        )
        payloads = {(row.list_key, row.version): row.payload for row in versions}
        firsts: dict[str, int] = {}
        for key, number in payloads:
            firsts[key] = min(number, firsts.get(key, number))
        for key, version, list_id, department in part:
            first = firsts[key]
            try:
                before, after = _codes(payloads[key, first]), _codes(payloads[key, version])
            except DecodeError:
                continue  # stored by a later edition of the program: what it says is not known here
            yield CodingChange(
                list_id=list_id,
                department=department,
                first_version=first,
                version=version,
                principal=(_first(before[0]), _first(after[0])),
                main_procedure=(_first(before[1]), _first(after[1])),
                diagnoses_added=_less(after[0], before[0]),
                diagnoses_removed=_less(before[0], after[0]),
                procedures_added=_less(after[1], before[1]),
                procedures_removed=_less(before[1], after[1]),
            )


def _codes(payload: bytes) -> tuple[list[str], list[str]]:
    """Diagnoses and procedures of a stored list, the principal ones first."""
    received = decode(unmasked_payload(payload)).list
    return (
        # The principal one is the one that is marked so, which most lists write first.
        [
            row.code
            for row in sorted(received.diagnoses, key=lambda row: row.principal_flag != "1")
            if row.code
        ],
        [row.code for row in received.procedures if row.code],
    )


def _first(codes: Sequence[str]) -> str:
    return codes[0] if codes else ""


def _less(codes: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    known = set(others)
    return tuple(dict.fromkeys(code for code in codes if code not in known))
