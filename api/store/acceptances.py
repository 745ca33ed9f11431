"""Keeps what a hospital has accepted in the store; nothing is ever rewritten or lost."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path

import msgspec
from sqlalchemy import Connection, func, select, text, update
from sqlmodel import col

from api.services.acceptance import (
    FILE_NAME,
    MAX_KEPT,
    MAX_TEXT,
    AcceptanceError,
    KeptAcceptance,
    NewAcceptance,
    NotAcceptedError,
    Withdrawal,
    check_new,
    check_text,
    read_acceptance_file,
)
from api.settings import Settings
from api.store import audit
from api.store.bulk import insert_rows
from api.store.database import LazyDatabase, StoreError
from api.store.tables import AcceptedFinding
from models.system_errors import reason_of
from qc_rules.acceptance import Acceptance, Acceptances

IMPORTED = ".imported"
"""What is added to the name of an old file once its content is in the store."""
FRESH_SECONDS = 1.0
"""How long the service takes its last look at the table for the present state."""
_WRITING = 0x51_44_00_04
_State = tuple[int, int]
"""How many there are and how many are withdrawn: as rows are only added and withdrawn once, these two numbers
change with every change."""


class StoredAcceptances:
    """An AcceptanceStore in the database. As long as there is no database, nothing is accepted.

    ``fresh``: seconds for which what another process does may go unseen; what this object does counts at once.
    The file in which an earlier version of the program kept them is taken over at first use.
    """

    def __init__(self, database: LazyDatabase, fresh: float = 0.0) -> None:
        self._database, self._fresh = database, fresh
        self._old_file = database.settings.home / FILE_NAME
        self._looked = float("-inf")
        self._state: _State = (0, 0)
        self._holding: tuple[date, Acceptances] | None = None

    @classmethod
    def of(cls, settings: Settings) -> StoredAcceptances:
        """Those of an installation, for a command."""
        return cls(LazyDatabase(settings))

    def add(self, asked: NewAcceptance, now: datetime) -> Acceptance:
        """See AcceptanceStore."""
        check_new(asked, now.date())
        with self._writing() as connection:
            count = _state(connection)[0]
            if count >= MAX_KEPT:
                raise AcceptanceError(f"已接受的问题超过 {MAX_KEPT} 条；经常接受的规则请在规则包里停用或改轻")
            made = Acceptance(id=f"A{count + 1:04d}", accepted_at=now, **msgspec.structs.asdict(asked))
            insert_rows(connection, AcceptedFinding, [msgspec.structs.asdict(made)])
            audit.record(connection, asked.by, "accept", made.id, f"{asked.rule}：{asked.reason}", now)
        return made

    def withdraw(self, acceptance_id: str, by: str, now: datetime) -> KeptAcceptance:
        """See AcceptanceStore."""
        check_text("by", by, MAX_TEXT)
        with self._writing() as connection:
            (found,) = _read(connection, acceptance_id) or (None,)
            if found is None:
                raise NotAcceptedError(
                    f"没有编号为“{acceptance_id[:40]}”的接受；清单见 qingdan rules accepted"
                )
            if found.withdrawn is None:
                found = msgspec.structs.replace(found, withdrawn=Withdrawal(by, now))
                connection.execute(
                    update(AcceptedFinding)
                    .where(col(AcceptedFinding.id) == acceptance_id)
                    .values(withdrawn_by=by, withdrawn_at=now)
                )
                audit.record(connection, by, "withdraw", acceptance_id, found.acceptance.rule, now)
        return found

    def all(self) -> list[KeptAcceptance]:
        """See AcceptanceStore."""
        if not self._any():
            return []
        with self._said(), self._database().read() as connection:
            return _read(connection)

    def holding(self, on: date) -> Acceptances:
        """See AcceptanceStore."""
        now = time.monotonic()
        if self._holding is not None and self._holding[0] == on and now - self._looked < self._fresh:
            return self._holding[1]
        kept: Sequence[KeptAcceptance] = ()
        state = (0, 0)
        if self._any():
            with self._said(), self._database().read() as connection:
                state = _state(connection)
                if self._holding is None or (self._holding[0], self._state) != (on, state):
                    kept = _read(connection)
        if self._holding is None or (self._holding[0], self._state) != (on, state):
            valid = (one.acceptance for one in kept if one.withdrawn is None)
            self._state, self._holding = state, (on, Acceptances(valid, on))
        self._looked = now
        return self._holding[1]

    def _any(self) -> bool:
        """Whether there may be any. Takes the old file over. Raises AcceptanceError."""
        if self._old_file.exists():
            with self._writing():
                pass
        return self._database.exists()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._said(), self._database().begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _WRITING})
            taken_over = self._old_file.exists() and _take_over(connection, self._old_file)
            yield connection
        if taken_over:
            try:
                self._old_file.replace(self._old_file.with_name(FILE_NAME + IMPORTED))
            except FileNotFoundError:
                pass  # another process did the same
            except OSError as error:
                raise AcceptanceError(f"{self._old_file}：无法改名（{reason_of(error)}）") from error
        self._looked = float("-inf")

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except StoreError as error:
            raise AcceptanceError(*error.faults) from error


def _state(connection: Connection) -> _State:
    row = connection.execute(
        select(func.count(), func.count(AcceptedFinding.withdrawn_at)).select_from(AcceptedFinding)  # type: ignore[arg-type]
    ).one()
    return row[0], row[1]


_TABLE = AcceptedFinding.__table__  # type: ignore[attr-defined]


def _read(connection: Connection, acceptance_id: str | None = None) -> list[KeptAcceptance]:
    asked = select(_TABLE).order_by(func.length(_TABLE.c.id), _TABLE.c.id)
    if acceptance_id is not None:
        asked = asked.where(_TABLE.c.id == acceptance_id)
    found = []
    for row in connection.execute(asked).mappings():
        made = Acceptance(
            id=row["id"],
            rule=row["rule"],
            by=row["accepted_by"],
            reason=row["reason"],
            accepted_at=row["accepted_at"].astimezone(),
            until=row["until"],
            list_id=row["list_id"],
            field=row["field"],
            value=row["value"],
            department=row["department"],
        )
        ended = row["withdrawn_at"]
        withdrawn = None if ended is None else Withdrawal(row["withdrawn_by"], ended.astimezone())
        found.append(KeptAcceptance(made, withdrawn))
    return found


def _take_over(connection: Connection, path: Path) -> bool:
    """Bring the acceptances of the old file into the table; one that is there already stays one."""
    there = {one.acceptance for one in _read(connection)}
    numbers = {one.id for one in there}
    rows = []
    for kept in read_acceptance_file(path):
        made = kept.acceptance
        if made in there:
            continue
        if made.id in numbers:
            made = msgspec.structs.replace(made, id=f"A{len(numbers) + 1:04d}")
        numbers.add(made.id)
        row = msgspec.structs.asdict(made)
        if kept.withdrawn is not None:
            row |= {"withdrawn_by": kept.withdrawn.by, "withdrawn_at": kept.withdrawn.at}
        rows.append(row)
    insert_rows(connection, AcceptedFinding, rows)
    return True
