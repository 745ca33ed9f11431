"""Looks across the lists of a whole run and of the months before it: one person's stays, found in the store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from hashlib import blake2b

import msgspec
import numpy as np
from sqlalchemy import Connection, select

from api.batch.runs import RESULT, RunView, last_done
from api.batch.storing import ACROSS_POSITION, finding_row, store_findings
from api.batch.work import Across, Job, look_across, unpack_across, unpack_record
from api.services.month.cross_list import MOST_STAYS
from api.store.database import Database

MONTHS_BACK = 12
"""Months before a run's own whose stays are compared: the longest window of readmission is a month, but a
stay that overlaps may have begun long before it."""
FETCHED = 2000
CHUNK = 500
"""Rows asked for by number at once, below the limit of variables of every database."""
CROWD = 10 * MOST_STAYS
"""An identifier in more lists than this names nobody, whatever the lists are."""

Wait = Callable[["Future[bytes]"], bytes | None]
Store = Callable[[Connection], None]


class _People(msgspec.Struct):
    """Of a stored record only who it is about."""

    people: tuple[bytes, ...]


_unpack_people = msgspec.msgpack.Decoder(_People).decode


def store_across(database: Database, run: RunView, job: Job, executor: Executor, wait: Wait) -> Store | None:
    """Find what the lists of a run say together; gives what writes it, or None when the run was stopped.

    Lists of other months come from the last finished run of each of the twelve before. Memory: some 50
    bytes a list, and the records of those who were in hospital more than once.
    """
    with database.read() as connection:
        found = (last_done(connection, month) for month in months_before(run.month, MONTHS_BACK))
        run_ids = [run.id, *(one for one in found if one is not None)]
        looked, places = _candidates(connection, run_ids, _stays_of_some(connection, run_ids))
    if not places:
        return lambda _: None
    content = wait(executor.submit(look_across, job, looked))
    if content is None:
        return None
    rows = []
    seen: dict[int, int] = defaultdict(lambda: ACROSS_POSITION + 1)
    for one in unpack_across(content):
        run_id, number, _ = places[one.record]
        if run_id == run.id:
            other_key = places[one.other][2]
            rows.append(finding_row(run.id, number, seen[number], one.finding, other_key))
            seen[number] += 1
    return lambda connection: store_findings(connection, rows)


def months_before(month: str, count: int) -> list[str]:
    """The months before ``month`` (``2026-10``), the nearest first."""
    year, number = int(month[:4]), int(month[5:])
    found = []
    for back in range(1, count + 1):
        years, index = divmod(year * 12 + number - 1 - back, 12)
        found.append(f"{years}-{index + 1:02d}")
    return found


def _stays_of_some(connection: Connection, run_ids: list[int]) -> dict[int, list[int]]:
    """The lists (numbers by run) of identifiers that stand in several lists."""
    hashes: list[np.ndarray[tuple[int], np.dtype[np.uint64]]] = []
    numbers: list[np.ndarray[tuple[int], np.dtype[np.int64]]] = []
    runs: list[np.ndarray[tuple[int], np.dtype[np.int64]]] = []
    for run_id in run_ids:
        for part in _records(connection, run_id):
            found = [
                (_short(kind, key), number)
                for number, record in part
                for kind, key in enumerate(_unpack_people(record).people)
                if key
            ]
            hashes.append(np.fromiter((one for one, _ in found), np.uint64, len(found)))
            numbers.append(np.fromiter((one for _, one in found), np.int64, len(found)))
            runs.append(np.full(len(found), run_id, np.int64))
    if not hashes:
        return {}
    every = np.concatenate(hashes)
    _, inverse, counts = np.unique(every, return_inverse=True, return_counts=True)
    several = (counts[inverse] > 1) & (counts[inverse] <= CROWD)
    number, run = np.concatenate(numbers)[several], np.concatenate(runs)[several]
    return {one: np.unique(number[run == one]).tolist() for one in run_ids}


def _records(connection: Connection, run_id: int) -> Iterator[list[tuple[int, bytes]]]:
    rows = connection.execute(
        select(RESULT.c.number, RESULT.c.record).where(RESULT.c.run_id == run_id),
        execution_options={"yield_per": FETCHED},
    )
    for part in rows.partitions():
        yield [(number, record) for number, record in part]


def _short(kind: int, key: bytes) -> int:
    """Eight bytes that stand for an identifier; two that share them only make more lists to look at."""
    return int.from_bytes(blake2b(key, digest_size=8, salt=bytes([kind])).digest(), "little")


def _candidates(
    connection: Connection, run_ids: list[int], numbers: dict[int, list[int]]
) -> tuple[Across, list[tuple[int, int, str]]]:
    """The records of these lists with their files, and of each the run, number and key of its list."""
    records, places = [], []
    files: dict[tuple[int, str], int] = {}
    month_files = 0
    for run_id in run_ids:
        wanted = numbers.get(run_id, [])
        for start in range(0, len(wanted), CHUNK):
            rows = connection.execute(
                select(RESULT.c.number, RESULT.c.list_key, RESULT.c.source, RESULT.c.record)
                .where(RESULT.c.run_id == run_id, RESULT.c.number.in_(wanted[start : start + CHUNK]))
                .order_by(RESULT.c.number)
            )
            for number, key, source, record in rows:
                file = files.setdefault((run_id, source), len(files))
                records.append(msgspec.structs.replace(unpack_record(record), file=file))
                places.append((run_id, number, key))
        if run_id == run_ids[0]:
            month_files = len(files)
    names = tuple(
        source if run_id == run_ids[0] else f"批次 {run_id} 的 {source}" for run_id, source in files
    )
    return Across(tuple(records), names, month_files), places
