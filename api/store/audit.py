"""The audit log: who did what when, each entry chained to the one before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, insert, select, text
from sqlmodel import col

from api.store.tables import AuditEntry, storable

_WRITING_AUDIT = 0x51_44_00_03
"""PostgreSQL advisory lock: the log is one chain, so entries are added one after the other."""
_BATCH = 1000
ACTION_LABELS = {
    "accept": "接受问题",
    "backup": "备份数据库",
    "batch": "开始批次",
    "cancel-batch": "取消批次",
    "correct": "更正清单",
    "export-payloads": "导出报文（含身份）",
    "export-results": "导出结果",
    "open-list": "打开清单（打码）",
    "remask": "重新打码",
    "read-report": "查看月报",
    "read-worklist": "查看工作清单",
    "reveal": "查看患者身份",
    "revalidate": "重新质控",
    "seal": "封存月报",
    "withdraw": "撤销接受",
}
"""What people read for an action; one that is not here is shown as it is."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. ``number`` counts from 1 without gaps; ``digest`` covers it and every one before."""

    number: int
    at: datetime
    who: str
    action: str
    object: str
    detail: str
    digest: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What a check of the chain came to. ``fault`` (Chinese) says where it breaks, "" when it holds."""

    entries: int
    digest: str
    fault: str = ""


def record(  # noqa: PLR0917 -- they are what a sentence says: who did what to what, when
    connection: Connection, who: str, action: str, object: str, detail: str, at: datetime
) -> Entry:
    """Add an entry in the transaction of what it tells, so that neither stands without the other.

    ``action`` is one English word (``reveal``, ``correct``, ``seal``, ``read-report``); ``at`` has a zone.
    Over-long text is cut before it is chained.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _WRITING_AUDIT})
    last = connection.execute(
        select(col(AuditEntry.id), col(AuditEntry.digest)).order_by(col(AuditEntry.id).desc()).limit(1)
    ).first()
    number, before = (1, "") if last is None else ((last.id or 0) + 1, last.digest)
    entry = Entry(
        number,
        at.astimezone(UTC),
        storable(who, 80),
        storable(action, 40),
        storable(object, 200),
        storable(detail, 10_000),
        "",
    )
    entry = replace(entry, digest=_chained(before, entry))
    values = {**asdict(entry), "id": number}
    del values["number"]
    connection.execute(insert(AuditEntry).values(values))
    return entry


def entries(
    connection: Connection,
    *,
    action: str = "",
    who: str = "",
    object: str = "",
    since: datetime | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[Entry]:
    """The newest entries that fit, the newest first. ``before``: only those with a smaller number."""
    asked = select(*_ALL).order_by(col(AuditEntry.id).desc()).limit(limit)
    if action:
        asked = asked.where(col(AuditEntry.action) == action)
    if who:
        asked = asked.where(col(AuditEntry.who) == who)
    if object:
        asked = asked.where(col(AuditEntry.object) == object)
    if since is not None:
        asked = asked.where(col(AuditEntry.at) >= since)
    if before is not None:
        asked = asked.where(col(AuditEntry.id) < before)
    return [Entry(*row) for row in connection.execute(asked)]


def verify_chain(connection: Connection) -> Verified:
    """Compute every digest anew: an entry that was changed, taken out or put in shows.

    That the newest entries were cut off shows only against a digest that was noted down elsewhere.
    """
    digest, count = "", 0
    for entry in _oldest_first(connection):
        count += 1
        if entry.number != count:
            return Verified(count - 1, digest, f"第 {count} 条不见了（下一条是第 {entry.number} 条）")
        digest = _chained(digest, entry)
        if digest != entry.digest:
            return Verified(count - 1, digest, f"第 {count} 条与它的校验值不符：这条或它前面的被改动过")
    return Verified(count, digest)


_ALL: tuple[Any, ...] = (
    col(AuditEntry.id),
    col(AuditEntry.at),
    col(AuditEntry.who),
    col(AuditEntry.action),
    col(AuditEntry.object),
    col(AuditEntry.detail),
    col(AuditEntry.digest),
)


def _oldest_first(connection: Connection) -> Iterator[Entry]:
    after = 0
    while True:
        rows = connection.execute(
            select(*_ALL).where(col(AuditEntry.id) > after).order_by(col(AuditEntry.id)).limit(_BATCH)
        ).all()
        yield from (Entry(*row) for row in rows)
        if len(rows) < _BATCH:
            return
        after = rows[-1][0]


def _chained(before: str, entry: Entry) -> str:
    """The digest of an entry that follows one whose digest is ``before``."""
    at = entry.at.isoformat(timespec="microseconds")
    row = [before, entry.number, at, entry.who, entry.action, entry.object, entry.detail]
    return hashlib.sha256(json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()
