"""Masks stored lists anew where they were stored under a rule that showed more; their content stays as it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, text, tuple_, update
from sqlmodel import col

from api.store import audit
from api.store.database import Database
from api.store.tables import FindingRow, ListVersion, Result
from api.store.vault import Vault, unmasked_payload

PORTION = 500
"""Versions of lists that are looked at, and changed in one transaction."""
SHORTEST_SHOWN = 4
"""Characters of a value that was not masked at all below which finding it in a text says nothing."""
_KEY = col(ListVersion.list_key), col(ListVersion.version)
_TEXTS = ("value", "message", "advice")


@dataclass(frozen=True)
class Remasked:
    """How many versions of lists were looked at, and how many versions and findings were masked anew."""

    looked: int
    lists: int
    findings: int


def remask(
    database: Database,
    vault: Vault,
    *,
    who: str,
    at: datetime,
    advance: Callable[[Remasked], object] = lambda _: None,
) -> Remasked:
    """Mask every stored list, and what findings say of it, by the rule of this program.

    In portions, each in one transaction with its entry in the audit log: when it is interrupted, what was done
    stays done, and doing it again finds the rest. Sealed reports are never changed. Raises StoreError.
    """
    done = Remasked(0, 0, 0)
    after: tuple[str, int] = ("", 0)
    while True:
        with database.read() as connection:
            rows = connection.execute(
                select(*_KEY, col(ListVersion.payload), col(ListVersion.identity))
                .where(tuple_(*_KEY) > after)
                .order_by(*_KEY)
                .limit(PORTION)
            ).all()
        if not rows:
            return done
        changed = []
        for key, version, payload, identity in rows:
            masked = vault.mask(vault.reveal(payload, identity))
            before, now = unmasked_payload(payload), unmasked_payload(masked.payload)
            if before != now:
                masks = dict(_changed(json.loads(before), json.loads(now)))
                changed.append((key, version, masked, masks))
        findings = 0
        if changed:
            with database.begin() as connection, _unguarded(connection):
                for key, version, masked, masks in changed:
                    connection.execute(
                        update(ListVersion)
                        .where(_KEY[0] == key, _KEY[1] == version)
                        .values(payload=masked.payload, identity=masked.identity)
                    )
                    findings += _findings(connection, key, version, masks)
                first, last = changed[0], changed[-1]
                audit.record(
                    connection,
                    who,
                    "remask",
                    f"{len(changed)} 份清单",
                    f"{first[0]} v{first[1]} 至 {last[0]} v{last[1]}，问题 {findings} 处",
                    at,
                )
        after = (rows[-1].list_key, rows[-1].version)
        done = Remasked(done.looked + len(rows), done.lists + len(changed), done.findings + findings)
        advance(done)


def _changed(before: Any, now: Any) -> Iterator[tuple[str, str]]:
    """What was shown and is now masked otherwise."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name, value in before.items():
            yield from _changed(value, now.get(name))
    elif isinstance(before, list) and isinstance(now, list):
        for value, other in zip(before, now, strict=False):
            yield from _changed(value, other)
    elif (
        before != now and isinstance(now, str) and ("*" in str(before) or len(str(before)) >= SHORTEST_SHOWN)
    ):
        yield str(before), now


def _findings(connection: Connection, key: str, version: int, masks: dict[str, str]) -> int:
    """Put the new masks into what the runs say of this version; gives how many findings had an old one."""
    own = select(col(FindingRow.run_id), col(FindingRow.number), col(FindingRow.position)).add_columns(
        *(col(getattr(FindingRow, name)) for name in _TEXTS)
    )
    of_version = (col(FindingRow.run_id) == col(Result.run_id)) & (
        col(FindingRow.number) == col(Result.number)
    )
    rows = connection.execute(
        own.join(Result, of_version).where(col(Result.list_key) == key, col(Result.version) == version)
    ).all()
    found = 0
    # A mask may be part of a longer one.
    ordered = sorted(masks, key=len, reverse=True)
    for row in rows:
        shown = {}
        for name in _TEXTS:
            value = getattr(row, name)
            for old in ordered:
                value = value.replace(old, masks[old])
            if value != getattr(row, name):
                shown[name] = value
        if shown:
            found += 1
            connection.execute(
                update(FindingRow)
                .where(
                    col(FindingRow.run_id) == row.run_id,
                    col(FindingRow.number) == row.number,
                    col(FindingRow.position) == row.position,
                )
                .values(**shown)
            )
    return found


@contextmanager
def _unguarded(connection: Connection) -> Iterator[None]:
    """Take away, in this transaction alone, what keeps versions of lists from being changed."""
    if connection.dialect.name == "sqlite":
        name = "list_version_no_update"
        guard = connection.execute(
            text("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = :name"), {"name": name}
        ).scalar_one()
        connection.exec_driver_sql(f"DROP TRIGGER {name}")
        yield
        connection.exec_driver_sql(guard)
    else:
        alter = "ALTER TABLE list_version {} TRIGGER list_version_no_change"
        connection.exec_driver_sql(alter.format("DISABLE"))
        yield
        connection.exec_driver_sql(alter.format("ENABLE"))
