"""Opens a list of a run to be corrected, keeps what was corrected as a new version, and judges it at once."""

from __future__ import annotations

from datetime import datetime

import msgspec
from sqlalchemy import Connection, or_, select

from api.batch.revalidate import finding_of
from api.batch.runs import FINDING, RESULT, BatchError, run_of
from api.batch.work import masked_findings
from api.repeats import refuse_repeats
from api.services.check import Checker
from api.store import audit
from api.store.database import Database
from api.store.lists import StoredVersion, history, open_masked, restored, reveal_many, save_version
from api.store.vault import Vault
from models.report import Finding, Report
from models.wire import decode
from qc_rules.acceptance import Acceptances

MOST_NAMED = 5


class OpenedList(msgspec.Struct, frozen=True):
    """A list of a run as it is now: its newest version, identity masked, and what the run found of it.

    ``judged``: the version that the run judged; ``findings`` speak of that one.
    """

    run: int
    number: int
    list_key: str
    list_id: str
    version: int
    judged: int
    payload: bytes
    findings: tuple[Finding, ...]
    versions: tuple[StoredVersion, ...]


class Corrected(msgspec.Struct, frozen=True):
    """A list that was kept: its version, whether that is a new one, and what a check says of it now."""

    list_key: str
    version: int
    new: bool
    report: Report


def open_list(database: Database, run_id: int, name: str) -> OpenedList:
    """A list of a run by its key, 就诊ID or place in the run (``#3``). Raises BatchError, StoreError."""
    with database.read() as connection:
        run_of(connection, run_id)
        row = _found(connection, run_id, name)
        version, payload = open_masked(connection, row.list_key)
        findings = connection.execute(
            select(FINDING)
            .where(FINDING.c.run_id == run_id, FINDING.c.number == row.number)
            .order_by(FINDING.c.position)
        )
        return OpenedList(
            run_id,
            row.number,
            row.list_key,
            row.list_id,
            version,
            row.version,
            payload,
            tuple([finding_of(one) for one in findings]),
            tuple(history(connection, row.list_key)),
        )


def open_noted(database: Database, run_id: int, name: str, *, who: str, at: datetime) -> OpenedList:
    """The same for someone to look at; who did is in the audit log. Raises BatchError, StoreError."""
    opened = open_list(database, run_id, name)
    what = f"{opened.list_key} v{opened.version}"
    with database.begin() as connection:
        audit.record(connection, who, "open-list", what, f"run {run_id}", at)
    return opened


class _Place(msgspec.Struct, frozen=True):
    number: int
    list_key: str
    list_id: str
    version: int


def _found(connection: Connection, run_id: int, name: str) -> _Place:
    name = name.strip()
    columns = [RESULT.c[column] for column in _Place.__struct_fields__]
    number = name[1:]
    if name[:1] == "#" and number.isascii() and number.isdigit() and len(number) < 10:
        wanted = RESULT.c.number == int(number)
    else:
        wanted = or_(RESULT.c.list_key == name[:200], RESULT.c.list_id == name[:120])
    rows = connection.execute(
        select(*columns).where(RESULT.c.run_id == run_id, wanted).order_by(RESULT.c.number)
    ).all()
    if not rows:
        raise BatchError(
            f"批次 {run_id} 没有清单 {name[:60]}；请写就诊ID、清单编号（机构编号/就诊ID），或 #序号"
        )
    keys = {row.list_key for row in rows}
    if len(keys) > 1:
        shown = "、".join(sorted(keys)[:MOST_NAMED])
        raise BatchError(f"批次 {run_id} 有 {len(keys)} 份清单是 {name[:60]}：{shown}；请写完整的清单编号")
    return _Place(*rows[0])


def check_correction(
    database: Database,
    vault: Vault,
    checker: Checker,
    key: str,
    content: bytes,
    *,
    base: int,
    accepted: Acceptances | None = None,
) -> Report:
    """What a check says of a list while it is corrected, its masked fields taken for their true values.

    Nothing is kept. Raises StoreError, DecodeError, PackError.
    """
    with database.read() as connection:
        whole = restored(connection, vault, key, base, content)
    return _checked(checker, whole, accepted)


def correct(
    database: Database,
    vault: Vault,
    checker: Checker,
    key: str,
    content: bytes,
    *,
    base: int,
    who: str,
    at: datetime,
    why: str = "",
    accepted: Acceptances | None = None,
) -> Corrected:
    """Keep a corrected list (JSON; fields that show their mask get their value back) and check it.

    ``base``: the version that was opened. Raises StoreError, DecodeError, PackError.
    """
    if not who.strip():
        raise BatchError("请写明更正人，更正记入审计")
    refuse_repeats(content)
    with database.begin() as connection:
        version = save_version(connection, vault, key, content, base=base, who=who, at=at, why=why)
        (kept,) = reveal_many(connection, vault, [(key, version)]).values()
    return Corrected(key, version, version != base, _checked(checker, kept, accepted))


def _checked(checker: Checker, content: bytes, accepted: Acceptances | None) -> Report:
    """The report on a list with its true identity; the findings show it masked."""
    received = decode(content)
    report = checker.check(received, accepted=accepted)
    return msgspec.structs.replace(report, findings=masked_findings(received, report.findings))
