"""Keeps what coders accepted in the store; only ever added to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, select, text

from api.settings import Settings
from api.store.acceptances import IMPORTED
from api.store.bulk import insert_rows
from api.store.database import LazyDatabase, StoreError
from api.store.tables import CodingHistory
from coding.names import System
from coding.suggestion.assembly import Coding, read_codings
from coding.suggestion.model import ModelError
from models.system_errors import reason_of

_WRITING = 0x51_44_00_05
_TABLE = CodingHistory.__table__  # type: ignore[attr-defined]


class StoredCodings:
    """What coders accepted, of one installation. Rows hold no patient identity.

    The files ``codings/<system>.jsonl`` of an earlier version of the program are taken over at first use.
    """

    def __init__(self, database: LazyDatabase) -> None:
        self._database = database

    @classmethod
    def of(cls, settings: Settings) -> StoredCodings:
        """Those of an installation, for a command."""
        return cls(LazyDatabase(settings))

    @property
    def keeps(self) -> bool:
        """Whether what coders accept can be stored."""
        return self._database.writable()

    def all(self, system: System) -> list[Coding]:
        """Every accepted coding of one system, oldest first. Raises ModelError."""
        if self._old_file(system).is_file():
            with self._writing(system):
                pass
        if not self._database.exists():
            return []
        with _said(), self._database().read() as connection:
            return _read(connection, system)

    def append(self, system: System, coding: Coding) -> None:
        """Keep one coding on the disk before it counts. Raises ModelError."""
        with self._writing(system) as connection:
            insert_rows(connection, CodingHistory, [_row(system, coding)])

    def _old_file(self, system: System) -> Path:
        return self._database.settings.home / "codings" / f"{system}.jsonl"

    @contextmanager
    def _writing(self, system: System) -> Iterator[Connection]:
        old_file = self._old_file(system)
        with _said(), self._database().begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _WRITING})
            taken_over = old_file.is_file()
            if taken_over:
                _take_over(connection, system, old_file)
            yield connection
        if taken_over:
            try:
                old_file.replace(old_file.with_name(old_file.name + IMPORTED))
            except FileNotFoundError:
                pass  # another process did the same
            except OSError as error:
                raise ModelError(f"{old_file}：无法改名（{reason_of(error)}）") from error


@contextmanager
def _said() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise ModelError(str(error)) from error


def _row(system: System, coding: Coding) -> dict[str, str]:
    return {
        "system": system,
        "text": coding.text,
        "chosen": json.dumps(coding.chosen, ensure_ascii=False),
        "department": coding.department,
        "when": coding.when,
        "by": coding.by,
    }


def _read(connection: Connection, system: System) -> list[Coding]:
    rows = connection.execute(
        select(_TABLE).where(_TABLE.c.system == system).order_by(_TABLE.c.id)
    ).mappings()
    return [
        Coding(
            row["text"],
            tuple((code, name) for code, name in json.loads(row["chosen"])),
            row["department"],
            row["accepted_at"],
            row["accepted_by"],
        )
        for row in rows
    ]


def _take_over(connection: Connection, system: System, path: Path) -> None:
    """Bring the codings of the old file into the table; one that is there already is not added again."""
    there = set(_read(connection, system))
    new = [one for one in read_codings(path) if one not in there]
    insert_rows(connection, CodingHistory, [_row(system, one) for one in new])
