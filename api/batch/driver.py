"""Drives a run: cuts the input into parts, has them worked on, and stores each part once, in order."""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import monotonic

import msgspec
from sqlalchemy import select

from api.batch.across import store_across
from api.batch.export import rejected_rows
from api.batch.runs import RUN, RUN_PART, BatchError, Claim, RunView, now, read_run
from api.batch.storing import store_part
from api.batch.work import (
    Job,
    Options,
    Part,
    check_part,
    input_digest,
    packs_in_use,
    store_of,
    unpack_outcome,
)
from api.intake.source import Incoming, Source
from api.settings import Settings
from api.store.database import Database, StoreError
from api.store.vault import Vault
from models.pack import PackError

logger = logging.getLogger("qingdan.batch")

MAX_PART_BYTES = 8 << 20
"""A part of long lists ends here, so that the parts under way stay small."""
BEAT_SECONDS = 10.0
"""How long a run is silent at most."""
FIRST_REJECTS = 3
LONGEST_SAID = 200
CANCELLED = "已按要求取消；已存的部分都在，可以继续"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: what is stored, of how many bytes of input, and what this start has added."""

    lists: int
    rejected: int
    done_bytes: int
    total_bytes: int
    new_lists: int
    new_bytes: int
    seconds: float

    @property
    def rate(self) -> float:
        """Lists a second since this start."""
        return self.new_lists / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """By the bytes that are still to come; None while nothing can be said."""
        if not self.new_bytes or not self.total_bytes:
            return None
        return max(0, self.total_bytes - self.done_bytes) / self.new_bytes * self.seconds


Report = Callable[[Progress], object]
Submitted = tuple[Future[bytes], int]
"""A part that is worked on, and what is said of it when it is stored: bytes read, or its number."""


def open_job(database: Database, settings: Settings, options: Options) -> Job:
    """What the workers of a run need to know. Raises StoreError for a wrong key."""
    return Job(str(settings.home), options, Vault.open(settings, database))


def pinned(settings: Settings, options: Options) -> Options:
    """The same options with the packs that are in use now. Raises PackError."""
    return msgspec.structs.replace(options, packs=packs_in_use(store_of(settings, options)))


def run_batch(
    database: Database,
    run_id: int,
    source: Source,
    job: Job,
    executor: Executor,
    *,
    workers: int = 1,
    report: Report = lambda _: None,
) -> RunView:
    """Work on a run until it is done, cancelled, or cannot go on; parts that are stored stay so.

    Each part is stored in one transaction, in the order of the input, so that a run that was killed holds
    whole parts only and goes on behind the last one. Whatever the executor, the same input and options
    store the same. Raises PackError (BatchError, StoreError) with the reason, which the run keeps too;
    what goes wrong can be put right, and the run be gone on with.
    """
    claim = Claim(database, run_id)
    run = claim.take()
    with guarded(claim, run_id):
        Driver(database, claim, run, job, executor, workers, report).drive(source)
    return read_run(database, run_id)


@contextmanager
def guarded(claim: Claim, run_id: int) -> Iterator[None]:
    """Write down why a run did not go on. Raises PackError, or BatchError with the reason for what is none."""
    try:
        yield
    except BaseException as error:
        reason = failure(error)
        # Where the store is what failed, the silent run can be gone on with all the same.
        with suppress(StoreError):
            claim.end("cancelled" if isinstance(error, KeyboardInterrupt) else "failed", reason)
        if isinstance(error, PackError) or not isinstance(error, Exception):
            raise
        raise BatchError(f"批次 {run_id} 没有完成：{reason}") from error


def failure(error: BaseException) -> str:
    """Why a run did not go on, in Chinese, with what to do."""
    if isinstance(error, KeyboardInterrupt):
        return "被中断；已存的部分都在，可以继续"
    if isinstance(error, BrokenProcessPool):
        return "一个工作进程被系统结束（可能是内存不足）；已存的部分都在，可以减少 --workers 后继续"
    if isinstance(error, CancelledError) or type(error).__module__.partition(".")[0] == "distributed":
        return f"计算集群没有完成任务（{type(error).__name__}）；请检查调度器和工作进程，已存的部分都在，可以继续"
    if isinstance(error, PackError | ValueError | OSError):
        return str(error)
    if isinstance(error, MemoryError):
        return "内存不足；已存的部分都在，可以减少 --workers 后继续"
    logger.error("A run failed for a reason that is none of the input's", exc_info=error)
    return f"程序出错（{type(error).__name__}）；已存的部分都在，请把日志交给维护人员"


@dataclass(slots=True)
class _Cut:
    """A part as it was cut from the input, and how many bytes had been read then."""

    part: Part
    read: int


class Driver:
    """One start of a run."""

    def __init__(  # noqa: PLR0917 -- they are what run_batch was given
        self,
        database: Database,
        claim: Claim,
        run: RunView,
        job: Job,
        executor: Executor,
        workers: int,
        report: Report,
    ) -> None:
        self.database, self.claim, self.run, self.job, self.executor = database, claim, run, job, executor
        self.report = report
        # Two parts for each worker: one under way, and the next one there when it is done.
        self.window = 2 * max(1, workers)
        self.waiting: deque[Submitted] = deque()
        self.lists, self.rejected, self.done_bytes = run.lists, run.rejected, run.done_bytes
        self.started = self.beaten = monotonic()
        self.stopped = False
        with database.read() as connection:
            rows = connection.execute(
                select(RUN_PART.c.part, RUN_PART.c.digest).where(RUN_PART.c.run_id == run.id)
            )
            self.stored: dict[int, str] = {row.part: row.digest for row in rows}

    def drive(self, source: Source) -> None:
        """Do what is left of the run."""
        self.complete(self._submitted(source))

    def _submitted(self, source: Source) -> Iterator[Submitted | None]:
        before = len(self.stored)
        number = -1
        for cut in cut_parts(source, self.run.part_size):
            number = cut.part.number
            known = self.stored.get(number)
            if known is None:
                yield self.executor.submit(check_part, self.job, cut.part), cut.read
            elif known == input_digest(cut.part.items):
                yield None
            else:
                raise BatchError(
                    f"输入与批次 {self.run.id} 开始时不同（第 {number + 1} 部分，"
                    f"从 {cut.part.items[0].source} 第 {cut.part.items[0].line} 行起）；"
                    "请用原来的文件继续，或新建批次"
                )
        if before > number + 1:
            raise BatchError(f"输入比批次 {self.run.id} 开始时短；请用原来的文件继续，或新建批次")

    def complete(self, submitted: Iterable[Submitted | None]) -> bool:
        """Store the parts in order, a window of them under way, and close the run; False when it was stopped.

        None stands for a part that is stored already.
        """
        try:
            for one in submitted:
                if one is None:
                    self._beat()
                else:
                    self.waiting.append(one)
                while len(self.waiting) >= self.window and not self.stopped:
                    self._store_next()
                if self.stopped:
                    break
            while self.waiting and not self.stopped:
                self._store_next()
        finally:
            # What no worker has begun is not worked on in vain.
            for future, _ in self.waiting:
                future.cancel()
        if not self.stopped:
            self._finish()
        if self.stopped:
            self.claim.end("cancelled", CANCELLED)
        return not self.stopped

    def _store_next(self) -> None:
        """Wait for the oldest part and store it."""
        future, read = self.waiting[0]
        content = self._wait(future)
        if content is None:
            return
        self.waiting.popleft()
        outcome = unpack_outcome(content)
        lists, rejected = self.lists + len(outcome.lists), self.rejected + len(outcome.rejects)
        files = sum(not one.line for one in outcome.rejects)
        with self.database.begin() as connection:
            if not self.claim.write(
                connection,
                lists=lists,
                rejected=rejected,
                rejected_files=RUN.c.rejected_files + files,
                parts_done=outcome.number + 1,
                done_bytes=read,
            ):
                self.stopped = True
                return
            store_part(connection, self.run, outcome)
        self.lists, self.rejected, self.done_bytes = lists, rejected, read
        self.stored[outcome.number] = outcome.digest
        self.beaten = monotonic()
        self.report(self.progress)

    def _wait(self, future: Future[bytes]) -> bytes | None:
        """The result of a part; None when the run was stopped meanwhile."""
        while True:
            try:
                return future.result(timeout=BEAT_SECONDS)
            except TimeoutError:
                if future.done():
                    raise
                self._beat()
                if self.stopped:
                    return None

    def _beat(self) -> None:
        if monotonic() - self.beaten >= BEAT_SECONDS:
            self.stopped = not self.claim.beat()
            self.beaten = monotonic()

    @property
    def progress(self) -> Progress:
        return Progress(
            self.lists,
            self.rejected,
            self.done_bytes,
            self.run.total_bytes,
            self.lists - self.run.lists,
            self.done_bytes - self.run.done_bytes,
            monotonic() - self.started,
        )

    def _finish(self) -> None:
        """Compare across the lists, and close the run, in one transaction."""
        if not self.lists:
            raise BatchError(f"没有读到任何清单：{self._first_rejects()}")
        found = store_across(self.database, self.run, self.job, self.executor, self._wait)
        if found is None:
            return
        whole = hashlib.sha256("".join(self.stored[part] for part in sorted(self.stored)).encode())
        with self.database.begin() as connection:
            finished = {"state": "done", "finished_at": now(), "worker": ""}
            whole_read = {"input_digest": whole.hexdigest(), "done_bytes": self.run.total_bytes}
            self.stopped = not self.claim.write(connection, **finished, **whole_read)
            if not self.stopped:
                found(connection)

    def _first_rejects(self) -> str:
        """Why there is nothing: the reasons of the first rows, and what to do."""
        if not self.rejected:
            return "输入里没有内容；请核对文件"
        with self.database.read() as connection:
            found = list(islice(rejected_rows(connection, self.run.id), FIRST_REJECTS))
        # A line of junk may be of any length.
        said = "；".join(
            f"{Path(one.source).name} {f'第 {one.line} 行 ' if one.line else ''}"
            f"{one.column[:20]} {one.reason}"[:LONGEST_SAID]
            for one in found
        )
        more = f"等 {self.rejected} 处" if self.rejected > len(found) else ""
        return f"{said}{more}；请核对文件和它的格式"


def cut_parts(source: Source, part_size: int) -> Iterator[_Cut]:
    """The input in parts of ``part_size`` items, fewer where they are long; the same each time."""
    read = 0

    def advance(count: int) -> None:
        nonlocal read
        read += count

    items: list[Incoming] = []
    size = number = 0
    first = 1
    for item in source.items(advance):
        items.append(item)
        size += len(item.content or b"")
        if len(items) >= part_size or size >= MAX_PART_BYTES:
            yield _Cut(Part(number, first, tuple(items)), read)
            number, first, items, size = number + 1, first + len(items), [], 0
    if items:
        yield _Cut(Part(number, first, tuple(items)), read)
