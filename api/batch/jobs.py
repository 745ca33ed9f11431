"""Runs in the background: uploads kept for them, a queue that outlives the program, a worker that empties it."""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from api.batch.driver import failure
from api.batch.executors import default_workers
from api.batch.runs import ACTIVE, BatchError, Claim, RunView, read_run, requeue, runs, silent
from api.batch.start import go_on
from api.settings import Settings
from api.store.database import Database
from models.pack import PackError
from models.system_errors import reason_of

if TYPE_CHECKING:
    from huey.api import Task

logger = logging.getLogger("qingdan.jobs")

QUEUE_FILE = "jobs.sqlite"
UPLOADS = "uploads"
LOOK_SECONDS = 0.5
KEPT_DAYS = 14
"""An upload whose run was cancelled or has failed waits so long for someone to go on with it."""
OWNER_ONLY_FOLDER, OWNER_ONLY_FILE = 0o700, 0o600
"""What is uploaded has patients' identities, and what is queued names it."""
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
DAY = 86400
LONGEST_NAME = 100
_UNFIT = re.compile(r"[^\w.()（）\[\]【】 -]+")


class Upload:
    """A file that is being received, in a folder of its own whose name nobody can guess."""

    def __init__(self, settings: Settings, name: str) -> None:
        """``name`` as the sender has it: shown, never followed. Raises BatchError when nothing can be written."""
        self.folder = settings.home / UPLOADS / secrets.token_hex(16)
        self.path = self.folder / fit_name(name)
        try:
            uploads = self.folder.parent
            uploads.mkdir(parents=True, exist_ok=True)
            uploads.chmod(OWNER_ONLY_FOLDER)
            self.folder.mkdir(mode=OWNER_ONLY_FOLDER)
            self.stream: BinaryIO = os.fdopen(os.open(self.path, NEW, OWNER_ONLY_FILE), "wb")
        except OSError as error:
            raise BatchError(f"上传的文件不能保存（{reason_of(error)}）") from error

    def write(self, content: bytes) -> None:
        """Add to the file. Raises BatchError for a full disk."""
        try:
            self.stream.write(content)
        except OSError as error:
            raise BatchError(f"上传的文件没有保存（{reason_of(error)}）；请联系管理员腾出空间") from error

    def close(self) -> None:
        """Everything was received. Raises BatchError for a full disk."""
        try:
            self.stream.close()
        except OSError as error:
            raise BatchError(f"上传的文件没有保存（{reason_of(error)}）；请联系管理员腾出空间") from error

    def discard(self) -> None:
        """Nothing of it is kept."""
        self.stream.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def fit_name(name: str) -> str:
    """A file name as sent, made one that leads nowhere: no folders, no control characters, not too long."""
    last = re.split(r"[/\\]", name)[-1]
    plain = _UNFIT.sub("_", last).strip(" .")
    stem, dot, suffix = plain.rpartition(".")
    if dot:
        plain = f"{stem[: LONGEST_NAME - 10]}.{suffix[:9]}"
    return plain[:LONGEST_NAME] or "上传"


def upload_of(settings: Settings, source: str) -> Path | None:
    """The folder of an upload that a run reads; None for a file of the hospital's own."""
    path, uploads = Path(source), settings.home / UPLOADS
    return path.parent if path.parent.parent == uploads else None


class Queue:
    """Numbers of runs that wait, in a file beside the store. Raises BatchError when it cannot be written."""

    def __init__(self, settings: Settings) -> None:
        # It loads the driver of PostgreSQL too; a service without background runs needs neither.
        from huey import SqliteHuey  # noqa: PLC0415 -- heavy

        self.settings = settings
        settings.home.mkdir(parents=True, exist_ok=True)
        path = settings.home / QUEUE_FILE
        try:
            path.touch(mode=OWNER_ONLY_FILE)
            path.chmod(OWNER_ONLY_FILE)
        except OSError as error:
            raise BatchError(f"{path}：不能写入（{reason_of(error)}）") from error
        self._huey = SqliteHuey("qingdan", filename=str(path), results=False, fsync=True)
        self._task = self._huey.task(name="run")(self._nothing)
        self.work: Callable[[int], object] = self._nothing

    def _nothing(self, run_id: int) -> None:
        self.work(run_id)

    def put(self, run_id: int) -> None:
        """Have a run worked on when those before it are done."""
        self._task(run_id)

    def next(self) -> Task | None:
        """The longest waiting one, taken out."""
        found: Task | None = self._huey.dequeue()
        return found

    def do(self, task: Task) -> None:
        """Work on one."""
        self._huey.execute(task)

    def __len__(self) -> int:
        return int(self._huey.pending_count())


class Worker:
    """Empties the queue, one run after the other, until it is told to stop.

    A run that a worker before it left in the middle is taken up first: the queue no longer has it.
    """

    def __init__(self, database: Callable[[], Database], settings: Settings, queue: Queue) -> None:
        self._database, self._settings, self._queue = database, settings, queue
        self._queue.work = self.work
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Work in a thread of its own."""
        self._thread = threading.Thread(target=self.run, name="batches", daemon=True)
        self._thread.start()

    def stop(self, seconds: float = 30) -> None:
        """Stop after the part at hand; the run goes on when a worker starts again."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(seconds)

    def run(self) -> None:
        """Work until ``stop``."""
        try:
            self.take_up()
            while not self._stop.is_set():
                task = self._queue.next()
                if task is None:
                    self._stop.wait(LOOK_SECONDS)
                else:
                    self._queue.do(task)
        except Exception:
            logger.exception("后台批次停止工作；请重启服务")

    def take_up(self) -> None:
        """Queue what an earlier worker left, and remove uploads that nobody needs any more."""
        left = [run for run in runs(self._database(), most=1000) if upload_of(self._settings, run.source)]
        for run in reversed(left):
            waiting = run.state == "queued" or (run.state in ACTIVE and silent(self._database(), run.id))
            if waiting:
                self._queue.put(run.id)
        remove_old_uploads(self._settings, left)

    def work(self, run_id: int) -> None:
        """One run from the queue; every failure is on its row."""
        database, settings = self._database(), self._settings
        try:
            run = read_run(database, run_id)
            if run.state in ("done", "cancelled"):
                return  # it was in the queue twice, or cancelled while it waited
            logger.info("批次 %d 开始", run_id)
            count = settings.job_workers or max(1, default_workers() - 1)
            run = go_on(database, settings, run_id, workers=count, report=self._still)
            logger.info("批次 %d %s，%d 份", run_id, run.state, run.lists)
        except KeyboardInterrupt:
            requeue(database, run_id)
        except Exception as error:
            # Nobody may find a run that waits for ever: what no one foresaw is on its row too.
            reason = failure(error)
            logger.error("批次 %d：%s", run_id, reason)
            fail(database, run_id, reason)
        else:
            discard_upload(settings, run)

    def _still(self, _: object) -> None:
        """Asked after each part: a service that ends leaves the rest to the next one."""
        if self._stop.is_set():
            raise KeyboardInterrupt


def fail(database: Database, run_id: int, reason: str) -> None:
    """Note why a run could not even begin, unless another worker has it."""
    claim = Claim(database, run_id)
    try:
        claim.take()
    except PackError:
        return
    claim.end("failed", reason)


def discard_upload(settings: Settings, run: RunView) -> None:
    """Remove the uploaded file of a finished run: its lists are in the store."""
    folder = upload_of(settings, run.source)
    if run.state == "done" and folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def remove_old_uploads(settings: Settings, known: list[RunView]) -> None:
    """Remove uploads of finished runs, of none, and those that have waited too long."""
    needed = {upload_of(settings, run.source) for run in known if run.state != "done"}
    now = time.time()
    uploads = settings.home / UPLOADS
    for folder in uploads.iterdir() if uploads.is_dir() else ():
        age = folder.stat().st_mtime
        if age < now - KEPT_DAYS * DAY or (folder not in needed and age < now - DAY):
            shutil.rmtree(folder, ignore_errors=True)
