"""Begins a batch and goes on with one: what the command line and the background jobs have in common."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path

from api.batch.driver import Report, open_job, pinned, run_batch
from api.batch.executors import open_executor
from api.batch.revalidate import run_revalidation
from api.batch.runs import RunView, cancel, keep_note, new_run, now, read_run, run_of
from api.batch.work import Options
from api.intake.mapping import ColumnMapping
from api.intake.source import Note, open_source
from api.settings import Settings
from api.store import audit
from api.store.acceptances import StoredAcceptances
from api.store.database import Database

logger = logging.getLogger("qingdan.jobs")


def begin(
    database: Database,
    settings: Settings,
    path: Path,
    *,
    month: str,
    by: str,
    payment: str = "",
    catalogue: str = "",
    dip_payment: str = "",
    mapping: ColumnMapping | None = None,
    shown: str = "",
) -> int:
    """Look at the input and write down a new run over it; gives its number.

    Region and scheme are those of ``settings``; the packs in use and the findings accepted today hold for
    the whole run. ``shown`` is the name in the audit log where the file's own says nothing. Raises
    FileRefusedError, PackError.
    """
    source = open_source(path, settings, mapping)
    today = datetime.now().astimezone().date()
    kept = StoredAcceptances.of(settings).all()
    options = Options(
        on=today,
        region=settings.region,
        scheme=settings.scheme,
        payment=payment,
        catalogue=catalogue,
        dip_payment=dip_payment,
        mapping=mapping,
        accepted=tuple(
            one.acceptance for one in kept if one.withdrawn is None and one.acceptance.holds(today)
        ),
    )
    run_id = new_run(
        database,
        month=month,
        source=str(path.absolute()),
        options=pinned(settings, options),
        by=by,
        total_bytes=source.size,
    )
    _note(database, by, "batch", run_id, f"{month}，{shown or path.name}")
    return run_id


def go_on(
    database: Database,
    settings: Settings,
    run_id: int,
    *,
    workers: int,
    cluster: str = "",
    path: Path | None = None,
    report: Report = lambda _: None,
    note: Note = logger.info,
) -> RunView:
    """Work on a run, from its beginning or from where it stopped. ``path``: where its input lies now.
    ``note`` is told which files of it are not read with the mapping that was given; the run keeps it too.

    Raises FileRefusedError, PackError.
    """
    run = read_run(database, run_id)
    if run.kind == "revalidation":
        with open_executor(workers, cluster) as (executor, count):
            return run_revalidation(database, settings, run_id, executor, workers=count, report=report)
    options = run.read_options

    def noted(text: str) -> None:
        note(text)
        keep_note(database, run_id, text)

    source = open_source(path or Path(run.source), settings, options.mapping, noted)
    job = open_job(database, settings, options)
    with open_executor(workers, cluster) as (executor, count):
        return run_batch(database, run_id, source, job, executor, workers=count, report=report)


def stop(database: Database, run_id: int, by: str) -> RunView:
    """Ask that a run stops, and note who did. Raises BatchError."""
    run = cancel(database, run_id)
    _note(database, by, "cancel-batch", run_id, run.month)
    return run


def note_results(database: Database, run_id: int, by: str, how: str) -> None:
    """Note who takes the results of a run. Raises NoRunError."""
    with database.begin() as connection:
        run_of(connection, run_id)
        audit.record(connection, by, "export-results", f"run {run_id}", how, now())


def _note(database: Database, by: str, action: str, run_id: int, detail: str) -> None:
    with database.begin() as connection:
        audit.record(connection, by, action, f"run {run_id}", detail, now())
