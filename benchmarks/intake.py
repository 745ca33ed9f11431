"""Measures what taking lists in costs: CPU for each list and memory, for each form, on a generated month.

``python -m benchmarks.intake [--lists 20000] [--repeat 1] [--folder FOLDER]``: the month is written in every form
(``--repeat`` times, for large files), read back in a process of its own, and removed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import polars as pl
import xlsxwriter

from api.demo.case_mix import load_case_mix
from api.demo.generator import Generator
from api.intake.source import open_source
from api.settings import Settings
from tests.api.intake.front_page import COLUMNS, row_of, table

MIB = 1024 * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lists", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=1, help="write the month so often, for large files")
    parser.add_argument("--only", nargs="*", default=(), help="names of the files to be measured")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.read:
        read(given.read)
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        for path in forms(Path(name), given.lists, given.repeat):
            if given.only and path.name not in given.only:
                path.unlink()
                continue
            # A process of its own, so that its peak of memory is that of one form.
            command = [sys.executable, "-m", "benchmarks.intake", "--read", str(path)]
            print(
                subprocess.run(command, check=True, capture_output=True, text=True).stdout, end="", flush=True
            )
            path.unlink()


def read(path: Path) -> None:
    """Read one file and say what it cost."""
    before = peak_memory()
    started, cpu = time.perf_counter(), time.process_time()
    lists = rejected = 0
    for item in open_source(path, Settings(home=path.parent)).items():
        lists += item.content is not None
        rejected += item.content is None
    cpu, elapsed = time.process_time() - cpu, time.perf_counter() - started
    print(
        f"{path.name:16} {path.stat().st_size / MIB:8.0f} MB {lists:9} lists {rejected} rejected "
        f"{cpu / max(1, lists) * 1e6:7.1f} us CPU a list {lists / elapsed:9.0f} lists/s "
        f"peak {peak_memory()} MB (at start {before} MB)"
    )


def peak_memory() -> int:
    """The most memory this process has held, in MB (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def forms(folder: Path, lists: int, repeat: int) -> Iterator[Path]:
    """The same month in every form, one file after the other."""
    generator = Generator(load_case_mix(Settings().store()), 1)
    lines = [msgspec.json.encode(generator.make(index).payload()) for index in range(lists)]
    path = folder / "lists.ndjson"
    with path.open("wb") as stream:
        for _ in range(repeat):
            stream.writelines(line + b"\n" for line in lines)
    yield path
    path = folder / "gbk.ndjson"
    with path.open("wb") as stream:
        for _ in range(repeat):
            stream.writelines(line.decode().encode("gb18030") + b"\n" for line in lines)
    yield path
    rows = [row_of(json.loads(line)) for line in lines]
    text = table(rows)
    header, _, body = text.partition("\n")
    for name, encoding in (("front-page.csv", "utf-8"), ("gbk.csv", "gb18030")):
        path = folder / name
        with path.open("wb") as stream:
            stream.write(f"{header}\n".encode(encoding))
            for _ in range(repeat):
                stream.write(body.encode(encoding))
        yield path
    path = folder / "month.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("front-page.csv", text)
    yield path
    frame = pl.DataFrame({name: [row.get(name, "") for row in rows] for name in COLUMNS})
    path = folder / "front-page.parquet"
    pl.concat([frame] * repeat).write_parquet(path)
    yield path
    path = folder / "front-page.xlsx"
    with xlsxwriter.Workbook(str(path), {"constant_memory": True}) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, COLUMNS)
        for number, row in enumerate(rows[:10_000], start=1):
            for place, name in enumerate(COLUMNS):
                if row.get(name):
                    sheet.write_string(number, place, row[name])
    yield path


if __name__ == "__main__":
    main()
