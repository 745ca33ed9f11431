"""Seals the report of a closed month, shows sealed ones and checks that none was altered."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from sqlalchemy import Connection, insert, select, text

from api.services.month.report.content import ReportContent, canonical, digest_of, read_content
from api.services.month.report.page import Seal
from api.services.month.report.stored import (
    MONTH,
    MOST_NUMBER,
    MOST_OTHERS,
    PACK_USE,
    SEALED,
    ReportError,
    StoredRun,
    finished_runs,
    run_named,
    unpacked,
)
from api.store import audit
from api.store.database import Database

LEVEL = 6
"""Of the compression: a report is written once and read for years."""
READ, SEAL, WORKLIST = "read-report", "seal", "read-worklist"
"""Actions of the audit log."""
LONGEST_NAME = 80
LONGEST_WHY = 1000
FEW = 0.9
"""Of the lists of another finished run of the month: a run with a smaller share may lack some of them."""
_SEALING = 0x51_44_00_07
"""PostgreSQL advisory lock: of two who seal a month at once the second sees the seal of the first."""


class NotSealedError(ReportError):
    """There is no such sealed report."""


@dataclass(frozen=True)
class SealedLine:
    """A sealed report as the list of them shows it. ``superseded_by``: 0 for one that is in force."""

    number: int
    month: str
    run: int
    digest: str
    sealed_at: datetime
    sealed_by: str
    supersedes: int
    why: str
    superseded_by: int

    @property
    def seal(self) -> Seal:
        return Seal(
            self.number,
            self.digest,
            self.sealed_at,
            self.sealed_by,
            self.supersedes,
            self.why,
            self.superseded_by,
        )


@dataclass(frozen=True)
class SealedReport:
    """A sealed report. ``body``: the bytes that were sealed, whose SHA-256 is that of the seal."""

    line: SealedLine
    content: ReportContent
    body: bytes


@dataclass(frozen=True)
class Verdict:
    """What a check of one sealed report came to: no ``faults`` (Chinese), or what does not fit."""

    line: SealedLine
    faults: tuple[str, ...]


def sealed_reports(database: Database, month: str = "") -> list[SealedLine]:
    """All sealed reports, or those of a month: the latest month first, in it the latest seal. Raises StoreError."""
    with database.read() as connection:
        return _lines(connection, month)


def sealed_line(connection: Connection, name: str) -> SealedLine:
    """The sealed report of that number, or the one of that month that is in force. Raises NotSealedError."""
    wanted = name.strip()
    if MONTH.fullmatch(wanted):
        found = [one for one in _lines(connection, wanted) if not one.superseded_by]
        if not found:
            raise NotSealedError(f"{wanted} 还没有封存的月报；封存用 qingdan report seal {wanted} --by 姓名")
        return found[0]
    if not (wanted.isascii() and wanted.isdigit()):
        raise NotSealedError(f"“{wanted[:20]}”不是月份（如 2026-10）也不是月报编号（如 3）")
    number = int(wanted[:12])
    if 0 < number <= MOST_NUMBER:
        month = connection.execute(select(SEALED.c.month).where(SEALED.c.id == number)).scalar()
        for one in _lines(connection, month) if month else ():
            if one.number == number:
                return one
    raise NotSealedError(f"没有第 {wanted[:12]} 号封存月报；已有的见 qingdan report list")


def _lines(connection: Connection, month: str = "") -> list[SealedLine]:
    asked = select(*(SEALED.c[name] for name in _SHOWN)).order_by(SEALED.c.month.desc(), SEALED.c.id.desc())
    if month:
        asked = asked.where(SEALED.c.month == month)
    rows = connection.execute(asked).all()
    later = {row.supersedes: row.id for row in rows if row.supersedes}
    return [
        SealedLine(
            number=row.id,
            month=row.month,
            run=row.run_id,
            digest=row.digest,
            sealed_at=row.sealed_at,
            sealed_by=row.sealed_by,
            supersedes=row.supersedes or 0,
            why=row.why,
            superseded_by=later.get(row.id, 0),
        )
        for row in rows
    ]


_SHOWN = ("id", "month", "run_id", "digest", "sealed_at", "sealed_by", "supersedes", "why")


def seal(
    database: Database,
    content: ReportContent,
    *,
    by: str,
    supersede: int = 0,
    why: str = "",
    confirmed: bool = False,
    at: datetime | None = None,
) -> SealedLine:
    """Keep a report for good: from now on it can be superseded by another one, never changed.

    A month that has a sealed report needs ``supersede``, the number of the one in force, and ``why``. What
    speaks against this run (lists of other months, far fewer lists than another run) needs ``confirmed`` and
    ``why``. A trial and a run without lists are refused. Raises ReportError; StoreError.
    """
    name, reason = by.strip(), why.strip()
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise ReportError(f"封存要写明是谁（1 到 {LONGEST_NAME} 个字），如 --by 张三")
    if len(reason) > LONGEST_WHY:
        raise ReportError(f"理由最多 {LONGEST_WHY} 个字")
    body = canonical(content)
    digest = digest_of(body)
    instant = at or datetime.now(UTC)
    with database.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _SEALING})
        doubts = _doubts(connection, run_named(connection, str(content.origin.run)), content)
        in_force = [one for one in _lines(connection, content.month) if not one.superseded_by]
        _may_seal(content.month, in_force[0].number if in_force else 0, supersede, reason)
        if doubts and not (confirmed and reason):
            raise ReportError(
                f"没有封存：{'；'.join(doubts)}。核对后仍要封存，请勾选确认并写明理由（命令行为 --confirm --why 理由）"
            )
        key = connection.execute(
            insert(SEALED).values(
                month=content.month,
                run_id=content.origin.run,
                digest=digest,
                packs=_packs(content),
                content=zlib.compress(body, LEVEL),
                sealed_at=instant,
                sealed_by=name,
                supersedes=supersede or None,
                why=reason,
            )
        ).inserted_primary_key
        assert key is not None  # noqa: S101 -- every insert of one row gives it
        detail = f"{content.month} 批次 {content.origin.run} SHA-256 {digest}"
        if supersede:
            detail += f"，取代第 {supersede} 号"
        if doubts:
            detail += f"，已确认：{'；'.join(doubts)}"
        if reason:
            detail += f"，理由：{reason}"
        audit.record(connection, name, SEAL, f"report {key[0]}", detail, instant)
        return sealed_line(connection, str(key[0]))


def _doubts(connection: Connection, run: StoredRun, content: ReportContent) -> list[str]:
    """What speaks against sealing a run (Chinese). Raises ReportError where nothing can speak for it."""
    others = [one for one in finished_runs(connection, run.month) if one.id != run.id and not one.trial]
    if run.trial:
        instead = f"请封存{others[0].text}" if others else "请先用启用的数据包完成一个批次"
        raise ReportError(
            f"批次 {run.id} 是{run.trial}，不能封存：它不是按现在启用的数据包做的；{instead}。"
            "要正式采用，请先启用它，再重新质控"
        )
    lists = content.totals.lists
    if not lists:
        fuller = [one for one in others if one.lists]
        raise ReportError(
            f"批次 {run.id} 没有清单（未读取 {content.origin.rejected_text}），不能封存"
            + (
                f"；{run.month} 有清单的是{'、'.join(one.text for one in fuller[:MOST_OTHERS])}"
                if fuller
                else ""
            )
        )
    doubts = []
    if content.elsewhere * 2 > lists:
        months = "、".join(f"{month} {number} 份" for month, number in content.discharge_months.items())
        doubts.append(f"{lists} 份清单中 {content.elsewhere} 份不是 {run.month} 出院的（出院月份：{months}）")
    largest = max(others, key=lambda one: one.lists, default=None)
    if largest and lists < FEW * largest.lists:
        doubts.append(f"批次 {run.id} 只有 {lists} 份清单，{run.month} 还有{largest.text}")
    return doubts


def _may_seal(month: str, in_force: int, supersede: int, why: str) -> None:
    if in_force and not supersede:
        raise ReportError(
            f"{month} 已有封存的月报（第 {in_force} 号），不能改动；要以新的取代它，请写明"
            f"取代第 {in_force} 号和理由（命令行为 --supersede {in_force} --why 理由）"
        )
    if supersede and supersede != in_force:
        current = f"在用的是第 {in_force} 号" if in_force else "这个月还没有封存的月报，不需要写明取代"
        raise ReportError(f"第 {supersede} 号不是 {month} 在用的封存月报：{current}")
    if supersede and not why:
        raise ReportError("取代已封存的月报要写明理由（命令行为 --why 理由）")


def _packs(content: ReportContent) -> str:
    return msgspec.json.encode(content.packs).decode()


def read_sealed(database: Database, name: str, *, who: str, how: str) -> SealedReport:
    """A sealed report by number, or the one in force of a month; that it was read is in the audit log.

    ``how``: page, API, command or which file was written. Raises ReportError when there is none, or when it
    is no longer what was sealed; StoreError.
    """
    with database.begin() as connection:
        line = sealed_line(connection, name)
        body = unpacked(_content(connection, line.number))
        note_reading(connection, who, f"report {line.number}", how)
    if digest_of(body) != line.digest:
        raise ReportError(
            f"第 {line.number} 号封存月报的内容与封存时的 SHA-256 不符，可能被人改动；请从备份恢复数据库，"
            "并查看审计记录"
        )
    try:
        return SealedReport(line, read_content(body), body)
    except msgspec.MsgspecError as error:
        raise ReportError(
            f"第 {line.number} 号封存月报是另一版本的程序封存的，本程序不能显示；内容没有变，可用当时的程序打开"
        ) from error


def note_reading(connection: Connection, who: str, what: str, how: str) -> None:
    """Write into the audit log that someone read a report; ``what`` is ``report 3`` or ``run 3``."""
    audit.record(connection, who, READ, what, how, datetime.now(UTC))


def note_worklist(database: Database, who: str, run: int, how: str) -> None:
    """Write into the audit log that someone read the work list of a run."""
    with database.begin() as connection:
        audit.record(connection, who, WORKLIST, f"run {run}", how, datetime.now(UTC))


def _content(connection: Connection, number: int) -> bytes:
    found = connection.execute(select(SEALED.c.content).where(SEALED.c.id == number)).scalar_one()
    return bytes(found)


def verify(database: Database, name: str = "") -> list[Verdict]:
    """Check sealed reports: that of ``name`` (a number or a month), or all. Raises ReportError, StoreError.

    The hash of the content is computed anew; month, run and packs of the row are compared with the content,
    the packs with those the run used, and each report that supersedes another with that one.
    """
    with database.read() as connection:
        lines = [sealed_line(connection, name)] if name else _lines(connection)
        return [Verdict(line, tuple(_faults(connection, line))) for line in lines]


def _faults(connection: Connection, line: SealedLine) -> list[str]:
    faults = []
    try:
        body = unpacked(_content(connection, line.number))
    except ReportError as error:
        return [str(error)]
    if digest_of(body) != line.digest:
        faults.append("内容的 SHA-256 与封存时不符")
    try:
        content = msgspec.json.decode(body, type=_Sealed)
    except msgspec.MsgspecError:
        return [*faults, "内容不是月报"]
    if (content.month, content.origin.run) != (line.month, line.run):
        faults.append(
            f"内容是 {content.month} 批次 {content.origin.run} 的，登记为 {line.month} 批次 {line.run}"
        )
    recorded = connection.execute(select(SEALED.c.packs).where(SEALED.c.id == line.number)).scalar_one()
    packs = {(one.id, one.version, one.digest) for one in content.packs}
    try:
        stated = {
            (one.id, one.version, one.digest) for one in msgspec.json.decode(recorded, type=list[_Pack])
        }
    except msgspec.MsgspecError:
        stated = set()
    if stated != packs:
        faults.append("登记的数据包与内容不符")
    used = connection.execute(
        select(PACK_USE.c.pack_id, PACK_USE.c.version, PACK_USE.c.digest).where(PACK_USE.c.run_id == line.run)
    )
    if {tuple(row) for row in used} != packs:
        faults.append(f"批次 {line.run} 登记的数据包与内容不符")
    if line.supersedes:
        month = connection.execute(select(SEALED.c.month).where(SEALED.c.id == line.supersedes)).scalar()
        if month != line.month:
            faults.append(f"所取代的第 {line.supersedes} 号不是 {line.month} 的月报")
    elif any(one.number < line.number for one in _lines(connection, line.month)):
        faults.append(f"{line.month} 在它之前已有封存的月报，但没有写明取代哪一份")
    return faults


class _Pack(msgspec.Struct, frozen=True):
    id: str
    version: str
    digest: str


class _Run(msgspec.Struct, frozen=True):
    run: int


class _Sealed(msgspec.Struct, frozen=True):
    """What every edition of the content has."""

    month: str
    origin: _Run
    packs: tuple[_Pack, ...]
