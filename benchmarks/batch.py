"""Measures a batch from a file of lists to stored results, each step beside its floor, and its cost by size.

``python -m benchmarks.batch [LISTS …]``: demo lists of October, 1,000, 10,000 and 100,000 without numbers given.
CPU of all processes of the run; what matters is the ratio to reading the same lists as JSON and to checking
them without storing anything, measured in the same run, because the floor shares the luck of the machine.
Target: 100,000 lists in 40 s on two processors, 800 µs of CPU a list with everything, under 1.5 GB.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from itertools import islice
from pathlib import Path
from threading import Event, Thread

import msgspec
from pydantic import SecretStr

from api.batch.driver import open_job, pinned, run_batch
from api.batch.executors import default_workers, open_executor
from api.batch.runs import new_run
from api.batch.work import Desk, Options, Part
from api.demo.case_mix import load_case_mix
from api.demo.generator import Generator
from api.intake.source import open_source
from api.services.check import Checker
from api.settings import Settings
from api.store.database import Database
from models.pack import PROJECT_ROOT, PackStore
from models.wire import decode

SIZES = (1_000, 10_000, 100_000)
SAMPLE = 1_000
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
LOOK_SECONDS = 2.0


class Family:
    """CPU seconds and greatest memory of this process and all that descend from it, while it is entered."""

    def __init__(self) -> None:
        self.cpu: dict[int, float] = {}
        self.memory = 0
        self._stop = Event()

    def __enter__(self) -> Family:
        self._before = self._look()
        self._thread = Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    @property
    def seconds(self) -> float:
        """CPU seconds since it was entered."""
        return sum(self.cpu.values()) - self._before

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            self._look()

    def _look(self) -> float:
        """Processes that have ended keep what they were last seen with, at most two seconds less."""
        parents, found = {}, {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            pid = int(folder.name)
            parents[pid] = int(fields[1])
            found[pid] = ((int(fields[11]) + int(fields[12])) / TICK, int(fields[21]) * PAGE)
        memory = 0
        for pid, (cpu, resident) in found.items():
            if _descends(pid, parents):
                self.cpu[pid] = cpu
                memory += resident
        self.memory = max(self.memory, memory)
        return sum(self.cpu.values())


def _descends(pid: int, parents: dict[int, int]) -> bool:
    own = os.getpid()
    while pid in parents:
        if pid == own:
            return True
        pid = parents[pid]
    return False


def lines(count: int) -> Iterator[bytes]:
    """Demo lists as lines."""
    generator = Generator(load_case_mix(PackStore()), 1, month=10)
    for index in range(count):
        yield msgspec.json.encode(generator.make(index, only_4101=True).body) + b"\n"


def cost(call: Callable[[bytes], object], contents: Iterable[bytes]) -> float:
    """Microseconds of CPU for each, best of three."""
    held = list(contents)
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        for content in held:
            call(content)
        best = min(best, time.process_time() - started)
    return best / len(held) * 1e6


def floors(settings: Settings, path: Path) -> tuple[float, float]:
    """µs to read a list as JSON, and to check and group it without storing anything."""
    with path.open("rb") as stream:
        contents = list(islice(stream, SAMPLE))
    checker = Checker.open(settings.store(), settings.region)
    plain = cost(json.loads, contents)
    checked = cost(lambda one: checker.check(decode(one)), contents)
    return plain, checked


def measure(settings: Settings, path: Path, count: int, workers: int) -> None:
    """One line: a run of ``count`` lists with so many worker processes."""
    plain, checked = floors(settings, path)
    database = Database.open(settings)
    options = pinned(settings, Options(on=date(2026, 11, 1), region=settings.region))
    source = open_source(path, settings)
    run_id = new_run(
        database, month="2026-10", source=str(path), options=options, by="", total_bytes=source.size
    )
    started = time.perf_counter()
    with Family() as family:
        job = open_job(database, settings, options)
        with open_executor(workers) as (executor, _):
            run = run_batch(database, run_id, source, job, executor, workers=workers)
    elapsed = time.perf_counter() - started
    database.dispose()
    each = family.seconds / count * 1e6
    assert run.lists == count, run  # noqa: S101 -- a benchmark of something else
    print(
        f"{count:8d} lists  {elapsed:7.1f} s of the clock  {family.seconds:7.1f} s of CPU  {each:6.0f} µs a list"
        f"  {each / plain:5.1f} × json.loads ({plain:.0f} µs)  {each / checked:4.2f} × check ({checked:.0f} µs)"
        f"  {family.memory / 1e6:6.0f} MB",
        flush=True,
    )


def one_part(settings: Settings, path: Path) -> None:
    """What the worker's part of a list costs, without processes and store."""
    with tempfile.TemporaryDirectory() as folder:
        own = settings.model_copy(update={"home": Path(folder)})
        database = Database.open(own)
        options = pinned(own, Options(on=date(2026, 11, 1), region=settings.region))
        desk = Desk(open_job(database, own, options))
        items = tuple(islice(open_source(path, own).items(), SAMPLE))
        part = Part(0, 1, items)
        desk.part(part)
        best = float("inf")
        for _ in range(3):
            started = time.process_time()
            desk.part(part)
            best = min(best, time.process_time() - started)
        database.dispose()
    plain, checked = floors(settings, path)
    each = best / len(items) * 1e6
    print(
        f"a worker's part of it: {each:.0f} µs a list, {each / plain:.1f} × json.loads, {each / checked:.2f} × check"
    )


def main() -> None:
    """Print the table."""
    sizes = [int(one) for one in sys.argv[1:]] or list(SIZES)
    workers = default_workers()
    print(f"{workers} workers")
    with tempfile.TemporaryDirectory() as folder:
        cache = PROJECT_ROOT / "var" / "cache"
        for number, count in enumerate(sizes):
            home = Path(folder) / str(count)
            home.mkdir()
            if cache.is_dir():
                (home / "cache").symlink_to(cache)
            settings = Settings(home=home, database_url=SecretStr(""), identity_key=SecretStr(""))
            path = home / "lists.ndjson"
            with path.open("wb") as stream:
                stream.writelines(lines(count))
            if not number:
                one_part(settings, path)
            measure(settings, path, count, workers)


if __name__ == "__main__":
    main()
