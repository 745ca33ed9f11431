"""The row of a run: made, claimed by one driver at a time, cancelled, and what people are told of it."""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, Table, insert, select, update
from sqlmodel import SQLModel

from api.batch.work import Kind, Options
from api.intake.rejects import rejected_text
from api.store import tables
from api.store.database import Database
from models.pack import PackError

State = Literal["queued", "running", "cancelling", "cancelled", "failed", "done"]
STATE_NAMES: Mapping[State, str] = {
    "queued": "排队中",
    "running": "进行中",
    "cancelling": "正在取消",
    "cancelled": "已取消",
    "failed": "失败",
    "done": "完成",
}
KIND_NAMES: Mapping[Kind, str] = {"batch": "批次", "revalidation": "重新质控"}
ACTIVE: tuple[State, ...] = ("running", "cancelling")
ENDED: tuple[State, ...] = ("cancelled", "failed")
"""States from which a run can go on."""
PART_SIZE = 500
"""Lists in a part: half a second of work, so that little is lost and the store is written seldom."""
STALE = timedelta(minutes=2)
"""A run whose driver has not been heard of for so long is taken over. It is heard of every ten seconds."""
MONTH = re.compile(r"(19|20)\d{2}-(0[1-9]|1[0-2])")
MAX_MESSAGE = 2000
MOST_NOTES = 20
LONGEST_NOTE = 300
MORE_NOTES = "另有文件也用内置对照读取，没有逐个列出"


def table(model: type[SQLModel]) -> Table:
    """The table of a model, for statements of SQLAlchemy Core."""
    found: Table = model.__table__  # type: ignore[attr-defined]
    return found


RUN, RUN_PART = table(tables.Run), table(tables.RunPart)
RESULT, FINDING, REJECT = table(tables.Result), table(tables.FindingRow), table(tables.Reject)
PACK_USE = table(tables.PackUse)


class BatchError(PackError):
    """A batch cannot be begun, gone on with or finished; the reason (Chinese) says what to do."""


class NoRunError(BatchError):
    """There is no run of that number."""

    def __init__(self, run_id: int) -> None:
        super().__init__(f"没有批次 {run_id}；已有的批次见 qingdan batch list")


class RunView(msgspec.Struct, frozen=True):
    """A run as people see it. ``message`` (Chinese) says why it failed, or what to know of it.

    ``rejected_files`` of the ``rejected`` are whole files that could not be read, the others rows.

    ``finished_at`` − ``started_at`` counts the pauses between starts too.
    """

    id: int
    kind: Kind
    month: str
    state: State
    source: str
    lists: int
    rejected: int
    rejected_files: int
    parts_done: int
    part_size: int
    total_bytes: int
    done_bytes: int
    base_run: int | None
    created_at: datetime
    created_by: str
    started_at: datetime | None
    heartbeat_at: datetime | None
    finished_at: datetime | None
    message: str
    input_digest: str
    options: str
    notes: str

    @property
    def rejected_text(self) -> str:
        """What was not read, files apart from rows (Chinese)."""
        return rejected_text(self.rejected_files, self.rejected - self.rejected_files)

    @property
    def share(self) -> float:
        """Part of the input that is stored, 0 to 1."""
        if self.state == "done":
            return 1.0
        return min(1.0, self.done_bytes / self.total_bytes) if self.total_bytes else 0.0

    @property
    def read_options(self) -> Options:
        return msgspec.json.decode(self.options, type=Options)

    @property
    def trial(self) -> str:
        """What the run tries out, as people read it (试算：方案 …); "" for one that can speak for its month."""
        return trial_text(self.read_options.trial)

    @property
    def kind_text(self) -> str:
        """Batch, revalidation or trial, in Chinese."""
        return self.trial or KIND_NAMES[self.kind]


def trial_text(tried: Sequence[str]) -> str:
    """How a trial is marked wherever a run is shown; "" when nothing is tried."""
    return f"试算：{'、'.join(tried)}" if tried else ""


_VIEWED = [RUN.c[name] for name in RunView.__struct_fields__]


def now() -> datetime:
    return datetime.now(UTC)


def new_run(
    database: Database,
    *,
    month: str,
    source: str,
    options: Options,
    by: str,
    kind: Kind = "batch",
    total_bytes: int = 0,
    part_size: int = PART_SIZE,
    base_run: int | None = None,
) -> int:
    """Write down a run that nothing has been done of yet, and give its number. Raises BatchError."""
    if not MONTH.fullmatch(month):
        raise BatchError(f"月份“{month[:20]}”应为 年-月，如 2026-10")
    row = {
        "kind": kind,
        "month": month,
        "state": "queued",
        "source": source,
        "input_digest": "",
        "options": msgspec.json.encode(options).decode(),
        "part_size": part_size,
        "parts_done": 0,
        "lists": 0,
        "rejected": 0,
        "rejected_files": 0,
        "total_bytes": total_bytes,
        "done_bytes": 0,
        "base_run": base_run,
        "created_at": now(),
        "created_by": by[:80],
        "worker": "",
        "message": "",
        "notes": "",
    }
    with database.begin() as connection:
        key = connection.execute(insert(RUN).values(row)).inserted_primary_key
        assert key is not None  # noqa: S101 -- every insert of one row gives it
        return int(key[0])


def read_run(database: Database, run_id: int) -> RunView:
    """Raises NoRunError."""
    with database.read() as connection:
        return run_of(connection, run_id)


def run_of(connection: Connection, run_id: int) -> RunView:
    """Raises NoRunError."""
    # A number that no column can hold is no run either.
    row = (
        connection.execute(select(*_VIEWED).where(RUN.c.id == run_id)).one_or_none()
        if _fits(run_id)
        else None
    )
    if row is None:
        raise NoRunError(run_id)
    return RunView(**row._mapping)


def _fits(number: int) -> bool:
    return 0 < number < 1 << 31


def runs(
    database: Database,
    *,
    month: str = "",
    kind: Kind | None = None,
    state: State | None = None,
    most: int = 100,
) -> list[RunView]:
    """The last runs first."""
    chosen = select(*_VIEWED).order_by(RUN.c.id.desc()).limit(most)
    for column, value in ((RUN.c.month, month), (RUN.c.kind, kind), (RUN.c.state, state)):
        if value:
            chosen = chosen.where(column == value)
    with database.read() as connection:
        return [RunView(**row._mapping) for row in connection.execute(chosen)]


def last_done(connection: Connection, month: str) -> int | None:
    """The run that speaks for a month: the last one that was finished and is no trial."""
    rows = connection.execute(
        select(RUN.c.id, RUN.c.options)
        .where(RUN.c.month == month, RUN.c.state == "done")
        .order_by(RUN.c.id.desc())
    ).all()
    return next((row.id for row in rows if not tried(row.options)), None)


class _Tried(msgspec.Struct, frozen=True):
    trial: tuple[str, ...] = ()


_tried = msgspec.json.Decoder(_Tried).decode


def tried(options: str) -> str:
    """What a run with these options tries out, see ``RunView.trial``."""
    return trial_text(_tried(options).trial)


class Claim:
    """The right of one driver to work on one run. Every write of the driver asks whether it still has it."""

    def __init__(self, database: Database, run_id: int) -> None:
        self.database, self.run_id = database, run_id
        self.worker = f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}:{secrets.token_hex(4)}"[
            -120:
        ]

    def take(self) -> RunView:
        """Begin or go on with the run. Raises BatchError when it is done or another driver works on it."""
        with self.database.begin() as connection:
            run = run_of(connection, self.run_id)
            if run.state == "done":
                raise BatchError(f"批次 {self.run_id} 已经完成；要重新质控请新建批次")
            worker = connection.execute(select(RUN.c.worker).where(RUN.c.id == self.run_id)).scalar() or ""
            if run.state in ACTIVE and not _gone(worker, run.heartbeat_at):
                raise BatchError(f"批次 {self.run_id} 正在由另一个程序处理；同一批次不能同时处理两次")
            at = now()
            taken = connection.execute(
                update(RUN)
                # Of two that come at once the second finds another worker here.
                .where(RUN.c.id == self.run_id, RUN.c.worker == worker, RUN.c.state == run.state)
                .values(
                    state="running",
                    worker=self.worker,
                    heartbeat_at=at,
                    started_at=run.started_at or at,
                    finished_at=None,
                    message="",
                )
            )
            if taken.rowcount != 1:
                raise BatchError(f"批次 {self.run_id} 正在由另一个程序处理；同一批次不能同时处理两次")
            return run_of(connection, self.run_id)

    def write(self, connection: Connection, **values: Any) -> bool:
        """Change the run and say that this driver lives; False when it is to stop, and nothing was changed."""
        changed = connection.execute(
            update(RUN)
            .where(RUN.c.id == self.run_id, RUN.c.worker == self.worker, RUN.c.state == "running")
            .values(heartbeat_at=now(), **values)
        )
        return changed.rowcount == 1

    def beat(self) -> bool:
        """Say that this driver lives; False when it is to stop."""
        with self.database.begin() as connection:
            return self.write(connection)

    def end(self, state: State, message: str = "") -> None:
        """The last word of this driver on the run."""
        with self.database.begin() as connection:
            connection.execute(
                update(RUN)
                .where(RUN.c.id == self.run_id, RUN.c.worker == self.worker, RUN.c.state.in_(ACTIVE))
                .values(state=state, message=message[:MAX_MESSAGE], finished_at=now(), worker="")
            )


def silent(database: Database, run_id: int) -> bool:
    """Whether the driver that worked on a run is no more."""
    with database.read() as connection:
        row = connection.execute(select(RUN.c.worker, RUN.c.heartbeat_at).where(RUN.c.id == run_id)).one()
    return _gone(row.worker, row.heartbeat_at)


def requeue(database: Database, run_id: int) -> RunView:
    """Let a run that was cancelled or has failed wait for a worker again. Raises BatchError."""
    with database.begin() as connection:
        run = run_of(connection, run_id)
        if run.state == "done":
            raise BatchError(f"批次 {run_id} 已经完成")
        changed = connection.execute(
            update(RUN)
            .where(RUN.c.id == run_id, RUN.c.state.in_(ENDED))
            .values(state="queued", message="", finished_at=None)
        )
        if changed.rowcount != 1:
            raise BatchError(f"批次 {run_id} {STATE_NAMES[run.state]}，不需要继续")
        return run_of(connection, run_id)


def keep_note(database: Database, run_id: int, text: str) -> None:
    """Add a line to what is to be known of how the input was read; one that is there stays alone."""
    line = " ".join(text.split())[:LONGEST_NOTE]
    with database.begin() as connection:
        known = run_of(connection, run_id).notes.splitlines()
        if line in known or len(known) > MOST_NOTES:
            return
        if len(known) == MOST_NOTES:
            line = MORE_NOTES
        connection.execute(update(RUN).where(RUN.c.id == run_id).values(notes="\n".join([*known, line])))


class RunSummary(msgspec.Struct, frozen=True):
    """A run for programs and pages. ``source`` is the name of the input, without its place on the server.

    ``share``: part of the input that is stored, 0 to 1; ``rate``: lists a second since it began, None while
    it does not run; ``seconds_left`` by that rate. ``rejected_files`` of the ``rejected`` are whole files,
    the others rows. ``trial`` says what a trial tries out, "" for other runs.
    """

    id: int
    kind: Kind
    trial: str
    month: str
    state: State
    source: str
    lists: int
    rejected: int
    rejected_files: int
    share: float
    rate: float | None
    seconds_left: int | None
    base_run: int | None
    created_at: datetime
    created_by: str
    started_at: datetime | None
    finished_at: datetime | None
    message: str
    input_digest: str

    @property
    def rejected_text(self) -> str:
        """What was not read, files apart from rows (Chinese)."""
        return rejected_text(self.rejected_files, self.rejected - self.rejected_files)


def summary(run: RunView) -> RunSummary:
    """A run as programs and pages see it."""
    rate = left = None
    if run.state == "running" and run.started_at and run.heartbeat_at and run.lists:
        seconds = (run.heartbeat_at - run.started_at).total_seconds()
        if seconds > 0:
            rate = round(run.lists / seconds, 1)
            left = round(seconds * (1 - run.share) / run.share) if run.share else None
    return RunSummary(
        id=run.id,
        kind=run.kind,
        trial=run.trial,
        month=run.month,
        state=run.state,
        source=Path(run.source).name,
        lists=run.lists,
        rejected=run.rejected,
        rejected_files=run.rejected_files,
        share=round(run.share, 4),
        rate=rate,
        seconds_left=left,
        base_run=run.base_run,
        created_at=run.created_at,
        created_by=run.created_by,
        started_at=run.started_at,
        finished_at=run.finished_at,
        message=run.message,
        input_digest=run.input_digest,
    )


def cancel(database: Database, run_id: int) -> RunView:
    """Ask that a run stops after the part it is at. Raises BatchError when it has ended already."""
    with database.begin() as connection:
        run = run_of(connection, run_id)
        if run.state == "done":
            raise BatchError(f"批次 {run_id} 已经完成，不能取消")
        worker = connection.execute(select(RUN.c.worker).where(RUN.c.id == run_id)).scalar() or ""
        alive = run.state in ACTIVE and not _gone(worker, run.heartbeat_at)
        state: State = "cancelling" if alive else "cancelled"
        if run.state not in ENDED:
            connection.execute(
                update(RUN)
                .where(RUN.c.id == run_id, RUN.c.state.in_(("queued", *ACTIVE)))
                .values(state=state, **({} if alive else {"finished_at": now(), "worker": ""}))
            )
        return run_of(connection, run_id)


def _gone(worker: str, heard: datetime | None) -> bool:
    """Whether the driver of a run is no more: its process on this machine has ended, or it is silent."""
    host, _, rest = worker.partition(":")
    if host and host == socket.gethostname():
        pid, _, rest = rest.partition(":")
        if pid.isdigit() and _started(int(pid)) != rest.partition(":")[0]:
            return True
    return heard is None or now() - heard > STALE


def _started(pid: int) -> str:
    """When a process of this machine began, in ticks since the start of the machine; "" when there is none."""
    try:
        # The name of the program, in brackets, may hold spaces.
        return (
            Path(f"/proc/{pid}/stat")
            .read_text(encoding="utf-8", errors="replace")
            .rpartition(")")[2]
            .split()[19]
        )
    except (OSError, IndexError):
        return ""
