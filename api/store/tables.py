"""The tables of the store. Nothing that was written of a list, a run or a sealed report is overwritten."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    String,
    Text,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator
from sqlmodel import AutoString, Field, SQLModel

OPEN_ONLY: dict[str, Any] = {
    f"{dialect}_where": text("accepted = ''") for dialect in ("sqlite", "postgresql")
}
"""Of an index: only findings that are not accepted. A query must write the empty text out to have it used."""
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class StoredText(TypeDecorator[str]):
    """Text of at most ``limit`` characters; what is longer ends in an ellipsis.

    Lists bring any text: a NUL, which PostgreSQL refuses, and half a character, which no database takes,
    become a replacement character, so that one bad value never loses the part it came in.
    """

    impl = Text
    cache_ok = True

    def __init__(self, limit: int | None = None) -> None:
        super().__init__()
        self.limit = limit

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else storable(value, self.limit)


def storable(value: str, limit: int | None = None) -> str:
    """``value`` as StoredText keeps it."""
    if limit is not None and len(value) > limit:
        value = value[: limit - 1] + "…"
    return value if value.isascii() and "\0" not in value else _UNSTORABLE.sub("\ufffd", value)


class UtcDateTime(TypeDecorator[datetime]):
    """An instant, kept in UTC without a zone (SQLite knows none); read back with its zone."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("an instant needs a time zone")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else value.replace(tzinfo=UTC)


class ListVersion(SQLModel, table=True):
    """One version of one list, as received; a changed list is a further version.

    ``list_key``: institution code and 就诊ID, else 结算ID, else 病案号, joined by ``/``; a list without any
    has ``#`` and the beginning of its digest. ``payload``: the list in wire form as JSON, its identity
    fields masked, compressed (zlib). ``identity``: the masked fields' true values, encrypted. ``digest``:
    SHA-256 of the list as received (canonical wire form), hexadecimal. ``people``: keyed hashes of the
    identifiers, to find the other stays of one person. ``origin``: where it came from,
    ``run 3`` (read from a file) or ``correction of v1`` (a person). ``unread_values``: how many of its
    values cannot be read; None for what an earlier edition stored, which did not count.
    """

    __tablename__ = "list_version"

    list_key: str = Field(primary_key=True, max_length=200)
    version: int = Field(primary_key=True)
    list_id: str = Field(index=True, max_length=120)
    interface: str = Field(max_length=8)
    digest: str = Field(max_length=64)
    payload: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    identity: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    people: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    institution: str = Field(default="", max_length=40)
    department: str = Field(default="", max_length=40)
    doctor: str = Field(default="", max_length=80)
    admitted: datetime | None = Field(default=None, sa_column=Column(DateTime))
    discharged: datetime | None = Field(default=None, sa_column=Column(DateTime, index=True))
    received_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    received_by: str = Field(default="", max_length=80)
    origin: str = Field(default="", max_length=80)
    unread_values: int | None = None


class Run(SQLModel, table=True):
    """One batch over a month. ``kind``: ``batch`` or ``revalidation``.

    ``state``: queued, running, cancelling, cancelled, failed, done. ``options``: JSON of what decides the
    result (region, scheme, payment, DIP …); ``input_digest``: SHA-256 of the input as a whole, so that a
    resumed run meets the input it began with. ``base_run``: the run that a revalidation compares with.
    ``rejected``: what held no list, rows and the ``rejected_files`` that could not be read at all.
    ``notes``: what is to be known of how the input was read (Chinese), one line each.
    """

    __tablename__ = "run"

    id: int | None = Field(default=None, primary_key=True)
    kind: str = Field(max_length=16)
    month: str = Field(index=True, max_length=7)
    state: str = Field(index=True, max_length=12)
    source: str = Field(default="", sa_column=Column(Text, nullable=False))
    input_digest: str = Field(default="", max_length=64)
    options: str = Field(default="{}", sa_column=Column(Text, nullable=False))
    part_size: int = 500
    parts_done: int = 0
    lists: int = 0
    rejected: int = 0
    # Stores of an earlier edition get the column with its value.
    rejected_files: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    total_bytes: int = Field(default=0, sa_type=BigInteger)
    done_bytes: int = Field(default=0, sa_type=BigInteger)
    base_run: int | None = Field(default=None, foreign_key="run.id")
    created_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    created_by: str = Field(default="", max_length=80)
    started_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    finished_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    heartbeat_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    worker: str = Field(default="", max_length=120)
    message: str = Field(default="", sa_column=Column(Text, nullable=False))
    notes: str = Field(default="", sa_column=Column(Text, nullable=False, server_default=text("''")))


class RunPart(SQLModel, table=True):
    """One part of a run that is completely stored; it stands here in the same transaction as its results."""

    __tablename__ = "run_part"

    run_id: int = Field(primary_key=True, foreign_key="run.id")
    part: int = Field(primary_key=True)
    lists: int
    rejected: int
    digest: str = Field(max_length=64)
    stored_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))


class PackUse(SQLModel, table=True):
    """A pack that a run used: the same id and version with another digest is another pack."""

    __tablename__ = "pack_use"

    run_id: int = Field(primary_key=True, foreign_key="run.id")
    pack_id: str = Field(primary_key=True, max_length=80)
    version: str = Field(primary_key=True, max_length=40)
    kind: str = Field(max_length=40)
    digest: str = Field(max_length=64)


class Result(SQLModel, table=True):
    """What one run says of one list. ``number``: place in the run, from 1, the same whatever the executor.

    ``verdict``, ``score``, ``grade`` as in Report. Money in fen, weight as the payment pack gives it;
    ``expected`` by the DRG payment pack, ``dip_amount`` by the DIP payment pack.
    ``record``: msgpack of the month's Record of the list, from which statistics and comparison across
    lists are made without reading the list again. ``group``: msgpack of the GroupResult.
    """

    __tablename__ = "result"
    __table_args__ = (
        ForeignKeyConstraint(["list_key", "version"], ["list_version.list_key", "list_version.version"]),
        Index("ix_result_list", "list_key", "version"),
        # What pages count and filter by, so that they do not read through the records beside it.
        Index(
            "ix_result_shown",
            *("run_id", "number", "department", "doctor", "verdict", "list_id", "reason", "cost", "expected"),
        ),
    )

    run_id: int = Field(primary_key=True, foreign_key="run.id")
    number: int = Field(primary_key=True)
    list_key: str = Field(max_length=200)
    version: int
    list_id: str = Field(max_length=120)
    source: str = Field(max_length=300)
    line: int
    department: str = Field(default="", max_length=40)
    doctor: str = Field(default="", max_length=80)
    verdict: str = Field(max_length=8)
    score: int
    grade: str = Field(max_length=4)
    errors: int
    warnings: int
    drg: str = Field(max_length=12)
    adrg: str = Field(default="", max_length=8)
    mdc: str = Field(default="", max_length=8)
    reason: str = Field(max_length=40)
    dip: str = Field(default="", max_length=120)
    dip_score: float | None = None
    cost: int | None = Field(default=None, sa_type=BigInteger)
    weight: float | None = None
    expected: int | None = Field(default=None, sa_type=BigInteger)
    dip_amount: int | None = Field(default=None, sa_type=BigInteger)
    record: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    group: bytes = Field(sa_column=Column("grouping", LargeBinary, nullable=False))


class FindingRow(SQLModel, table=True):
    """One finding of one list in one run, as in Finding.

    ``number``: the list's place in the run; ``position``: place among the list's findings, from 0; those
    that come from comparison across lists begin at 1000. ``accepted``: JSON of Accepted, "" when it is not.
    ``other_key``: the other list of the same person where the finding concerns two.
    """

    __tablename__ = "finding"
    __table_args__ = (
        # Findings that are not accepted, in the order of the lists and by rule, with all that a page of the
        # work list is chosen by. ``accepted`` is always empty there; SQLite wants it to leave the table alone.
        Index(
            "ix_finding_open",
            *("run_id", "number", "position", "rule", "field", "severity", "accepted"),
            **OPEN_ONLY,
        ),
        Index(
            "ix_finding_rule",
            *("run_id", "rule", "number", "field", "position", "severity", "accepted"),
            **OPEN_ONLY,
        ),
    )

    run_id: int = Field(primary_key=True, foreign_key="run.id")
    number: int = Field(primary_key=True)
    position: int = Field(primary_key=True)
    rule: str = Field(max_length=20)
    severity: str = Field(max_length=8)
    title: str = Field(sa_column=Column(Text, nullable=False))
    path: str = Field(sa_column=Column(Text, nullable=False))
    field: str = Field(max_length=200)
    value: str = Field(sa_column=Column(Text, nullable=False))
    message: str = Field(sa_column=Column(Text, nullable=False))
    advice: str = Field(sa_column=Column(Text, nullable=False))
    basis: str = Field(sa_column=Column(Text, nullable=False))
    accepted: str = Field(default="", sa_column=Column(Text, nullable=False))
    other_key: str = Field(default="", max_length=200)


class Reject(SQLModel, table=True):
    """A row of the input that held no list: where, which column, why (Chinese)."""

    __tablename__ = "reject"

    run_id: int = Field(primary_key=True, foreign_key="run.id")
    part: int = Field(primary_key=True)
    position: int = Field(primary_key=True)
    source: str = Field(max_length=300)
    line: int
    column: str = Field(default="", max_length=120)
    reason: str = Field(sa_column=Column("reason", Text, nullable=False))


class AcceptedFinding(SQLModel, table=True):
    """A finding that the hospital has accepted, see Acceptance; its withdrawal is added, nothing removed."""

    __tablename__ = "acceptance"

    id: str = Field(primary_key=True, max_length=20)
    rule: str = Field(index=True, max_length=20)
    by: str = Field(sa_column=Column("accepted_by", Text, nullable=False))
    reason: str = Field(sa_column=Column(Text, nullable=False))
    accepted_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    until: date | None = None
    list_id: str = Field(default="", max_length=200)
    field: str = Field(default="", sa_column=Column(Text, nullable=False))
    value: str = Field(default="", sa_column=Column(Text, nullable=False))
    department: str = Field(default="", sa_column=Column(Text, nullable=False))
    withdrawn_by: str = Field(default="", sa_column=Column(Text, nullable=False))
    withdrawn_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))


class CodingHistory(SQLModel, table=True):
    """What coders accepted for a text. ``chosen``: JSON of the (code, name) pairs. No patient identity."""

    __tablename__ = "coding_history"

    id: int | None = Field(default=None, primary_key=True)
    system: str = Field(index=True, max_length=12)
    text: str = Field(sa_column=Column(Text, nullable=False))
    chosen: str = Field(sa_column=Column(Text, nullable=False))
    department: str = Field(default="", max_length=80)
    when: str = Field(default="", sa_column=Column("accepted_at", Text, nullable=False))
    by: str = Field(default="", sa_column=Column("accepted_by", Text, nullable=False))


class SealedReport(SQLModel, table=True):
    """The report of a closed month. ``digest``: SHA-256 of ``content``; never changed, only superseded.

    ``content``: the report as canonical JSON, compressed (zlib); page and workbook are written from it.
    ``supersedes``: the number of the earlier report of the same month that this one replaces, with why.
    """

    __tablename__ = "sealed_report"

    id: int | None = Field(default=None, primary_key=True)
    month: str = Field(index=True, max_length=7)
    run_id: int = Field(foreign_key="run.id")
    digest: str = Field(max_length=64)
    packs: str = Field(sa_column=Column(Text, nullable=False))
    content: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    sealed_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    sealed_by: str = Field(max_length=80)
    supersedes: int | None = Field(default=None, foreign_key="sealed_report.id")
    why: str = Field(default="", sa_column=Column(Text, nullable=False))


class AuditEntry(SQLModel, table=True):
    """Who did what when; ``digest`` chains each entry to the one before, so that a gap shows."""

    __tablename__ = "audit"

    id: int | None = Field(default=None, primary_key=True)
    at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False, index=True))
    who: str = Field(max_length=80)
    action: str = Field(index=True, max_length=40)
    object: str = Field(default="", max_length=200)
    detail: str = Field(default="", sa_column=Column(Text, nullable=False))
    digest: str = Field(max_length=64)


class Property(SQLModel, table=True):
    """A fact about the store itself, such as which key its identities are encrypted with."""

    __tablename__ = "property"

    name: str = Field(primary_key=True, max_length=40)
    value: str = Field(sa_column=Column(Text, nullable=False))


for _table in SQLModel.metadata.tables.values():
    for _column in _table.columns:
        if isinstance(_column.type, String | AutoString):
            _column.type = StoredText(getattr(_column.type, "length", None))
