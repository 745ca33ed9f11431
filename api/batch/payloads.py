"""Writes the newest versions of a run's lists as payloads of 4101 or 4101A, ready to be uploaded."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import BinaryIO

import msgspec

from api.batch.export import result_rows
from api.batch.runs import run_of
from api.store import audit
from api.store.database import Database
from api.store.lists import forms, latest, reveal_many
from api.store.vault import Vault
from models.report import Verdict
from models.settlement_list import Interface
from models.wire import DecodeError, decode, encode

CHUNK = 500
"""Lists that are in memory at once."""
CLEAN: tuple[Verdict, ...] = ("可上传", "需复核")
"""Verdicts of lists without an error."""
DECIDING = ("number", "list_key", "version", "list_id", "verdict", "errors")
"""What decides whether a list is exported, and names one that is not."""
EVERY: tuple[Verdict, ...] = (*CLEAN, "需修改")
LESS_THAN_4101 = "清单按 4101A 采集，缺少 4101 的字段，不能转换；请按 4101A 导出（--format 4101A）"
_encode = msgspec.json.Encoder().encode


class Refused(msgspec.Struct, frozen=True):
    """A list that was not written, and why (Chinese)."""

    number: int
    list_key: str
    list_id: str
    reason: str


class Exported(msgspec.Struct, frozen=True):
    """How many payloads were written, and which lists were not."""

    written: int
    refused: tuple[Refused, ...]


def export_payloads(
    database: Database,
    vault: Vault,
    run_id: int,
    interface: Interface,
    stream: BinaryIO,
    *,
    who: str,
    at: datetime,
    verdicts: tuple[Verdict, ...] = CLEAN,
) -> Exported:
    """One payload a line, ``{"infno": …, "input": …}``, in the order of the run, with the true identity.

    Left out and named: a list with another verdict than ``verdicts``, one corrected after the run judged
    it, one that stands there twice, and one of which this interface needs more than its own has. What is
    no part of the interface (charge lines, evidence) is not written. The export is in the audit log.
    Raises StoreError.
    """
    with database.begin() as connection:
        run_of(connection, run_id)
        audit.record(connection, who, "export-payloads", f"run {run_id}", interface, at)
    return _written(database, vault, run_id, interface, lambda line: stream.write(line + b"\n"), verdicts)


def preview_payloads(
    database: Database,
    vault: Vault,
    run_id: int,
    interface: Interface,
    *,
    verdicts: tuple[Verdict, ...] = CLEAN,
) -> Exported:
    """What ``export_payloads`` would write and leave out; nobody sees the identity. Raises StoreError.

    Only lists with a value that could not be read when they were stored are read themselves: what the run
    found does not tell, for a hospital may have switched off the rules that say so.
    """
    return _written(database, vault, run_id, interface, None, verdicts)


def _written(  # noqa: PLR0917 -- what both give
    database: Database,
    vault: Vault,
    run_id: int,
    interface: Interface,
    write: Callable[[bytes], object] | None,
    verdicts: tuple[Verdict, ...],
) -> Exported:
    written = 0
    refused: list[Refused] = []
    with database.read() as connection:
        run_of(connection, run_id)
        seen: set[str] = set()
        for rows in result_rows(connection, run_id, DECIDING, CHUNK):
            newest = latest(connection, [row.list_key for row in rows])
            taken = []
            for row in rows:
                reason = ""
                if row.list_key in seen:
                    reason = "这份清单在批次中重复出现，只导出一次"
                elif newest[row.list_key] != row.version:
                    reason = (
                        f"这里质控的是第 {row.version} 版，这份清单现在是第 {newest[row.list_key]} 版："
                        "后来更正过的请先重新质控，在批次中重复的只导出最新的一份"
                    )
                elif row.verdict not in verdicts:
                    reason = f"结论是“{row.verdict}”（错误 {row.errors} 处）；请更正后重新质控"
                if reason:
                    refused.append(Refused(row.number, row.list_key, row.list_id, reason))
                else:
                    taken.append(row)
                if newest[row.list_key] == row.version:
                    seen.add(row.list_key)
            if write is None:
                known = forms(connection, [(row.list_key, row.version) for row in taken])
                doubtful = []
                for row in taken:
                    kind, unread = known[row.list_key, row.version]
                    if interface == "4101" and kind == "4101A":
                        refused.append(Refused(row.number, row.list_key, row.list_id, LESS_THAN_4101))
                    elif unread == 0:
                        written += 1
                    else:
                        doubtful.append(row)
                taken = doubtful
            contents = reveal_many(connection, vault, [(row.list_key, row.version) for row in taken])
            for row in taken:
                line = payload_of(contents[row.list_key, row.version], interface)
                if isinstance(line, str):
                    refused.append(Refused(row.number, row.list_key, row.list_id, line))
                else:
                    if write is not None:
                        write(line)
                    written += 1
    return Exported(written, tuple(sorted(refused, key=lambda one: one.number)))


def payload_of(content: bytes, interface: Interface) -> bytes | str:
    """The payload of one list, or why there is none (Chinese)."""
    try:
        received = decode(content)
    except DecodeError as error:
        return str(error)
    if interface == "4101" and received.interface == "4101A":
        return LESS_THAN_4101
    if defect := next((defect for defect in received.defects if defect.lost), None):
        what = defect.reason if defect.left_out else "的值不能读取，请更正"
        return f"“{defect.label}”{what}；不能上传"
    return _encode({"infno": interface, "input": encode(received, interface)})
