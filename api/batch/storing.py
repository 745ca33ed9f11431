"""Writes the outcome of a part: versions of lists, results, findings, rejects, in the transaction given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from api.batch.runs import PACK_USE, RunView, now
from api.batch.work import CheckedList, PartOutcome
from api.store.bulk import insert_rows
from api.store.lists import import_origin, store_versions
from api.store.tables import FindingRow, PackUse, Reject, Result, RunPart
from models.pack import PackRef
from models.report import Finding

ACROSS_POSITION = 1000
"""Position of the first finding that looks beyond the list; a report holds fewer of its own by far."""


def store_part(connection: Connection, run: RunView, outcome: PartOutcome) -> None:
    """Store a whole part; it is there or not, as the transaction is."""
    at = now()
    origin, by = import_origin(run.id), run.created_by
    versions = store_versions(
        connection,
        [
            {
                "list_key": one.list_key,
                "list_id": one.list_id,
                "interface": one.interface,
                "digest": one.digest,
                "payload": one.payload,
                "identity": one.identity,
                "people": one.people,
                "institution": one.institution,
                "department": one.department,
                "doctor": one.doctor,
                "admitted": one.admitted,
                "discharged": one.discharged,
                "received_at": at,
                "received_by": by,
                "origin": origin,
                "unread_values": one.unread_values,
            }
            for one in outcome.lists
        ],
    )
    store_results(connection, run.id, outcome.lists, versions)
    insert_rows(
        connection,
        Reject,
        [
            {
                "run_id": run.id,
                "part": outcome.number,
                "position": one.number,
                "source": one.source,
                "line": one.line,
                "column": one.column,
                "reason": one.reason,
            }
            for one in outcome.rejects
        ],
    )
    store_packs(connection, run.id, outcome.packs)
    insert_rows(
        connection,
        RunPart,
        [
            {
                "run_id": run.id,
                "part": outcome.number,
                "lists": len(outcome.lists),
                "rejected": len(outcome.rejects),
                "digest": outcome.digest,
                "stored_at": at,
            }
        ],
    )


def store_results(
    connection: Connection, run_id: int, lists: Sequence[CheckedList], versions: Sequence[int]
) -> None:
    """Store what a run says of lists whose versions are stored."""
    insert_rows(
        connection,
        Result,
        [
            {
                "run_id": run_id,
                "number": one.number,
                "list_key": one.list_key,
                "version": version,
                "list_id": one.list_id,
                "source": one.source,
                "line": one.line,
                "department": one.department,
                "doctor": one.doctor,
                "verdict": one.verdict,
                "score": one.score,
                "grade": one.grade,
                "errors": one.errors,
                "warnings": one.warnings,
                "drg": one.drg,
                "adrg": one.adrg,
                "mdc": one.mdc,
                "reason": one.reason,
                "dip": one.dip,
                "dip_score": one.dip_score,
                "dip_amount": one.dip_amount,
                "cost": one.cost,
                "weight": one.weight,
                "expected": one.expected,
                "record": one.record,
                "group": one.group,
            }
            for one, version in zip(lists, versions, strict=True)
        ],
    )
    store_findings(
        connection,
        [
            finding_row(run_id, one.number, position, finding)
            for one in lists
            for findings, first in ((one.findings, 0), (one.across, ACROSS_POSITION))
            for position, finding in enumerate(findings, first)
        ],
    )


def store_findings(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Store findings, see ``finding_row``."""
    insert_rows(connection, FindingRow, rows)


def finding_row(
    run_id: int, number: int, position: int, finding: Finding, other_key: str = ""
) -> dict[str, Any]:
    """A finding as the table FindingRow keeps it."""
    return {
        "run_id": run_id,
        "number": number,
        "position": position,
        "rule": finding.rule,
        "severity": finding.severity,
        "title": finding.title,
        "path": finding.path,
        "field": finding.field,
        "value": finding.value,
        "message": finding.message,
        "advice": finding.advice,
        "basis": finding.basis,
        "accepted": "" if finding.accepted is None else msgspec.json.encode(finding.accepted).decode(),
        "other_key": other_key,
    }


def store_packs(connection: Connection, run_id: int, packs: Iterable[PackRef]) -> None:
    """Note the packs that a run used; those noted already stay."""
    known = {
        (row.pack_id, row.version)
        for row in connection.execute(
            select(PACK_USE.c.pack_id, PACK_USE.c.version).where(PACK_USE.c.run_id == run_id)
        )
    }
    new = {(one.id, one.version): one for one in packs if (one.id, one.version) not in known}
    insert_rows(
        connection,
        PackUse,
        [
            {
                "run_id": run_id,
                "pack_id": one.id,
                "version": one.version,
                "kind": one.kind,
                "digest": one.sha256,
            }
            for one in new.values()
        ],
    )
