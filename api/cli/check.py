"""``qingdan check``: settlement lists from files, reports for people and for programs."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, BinaryIO, Literal, Protocol, TextIO

import msgspec
import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from api.cli.terminal import (
    WRONG_USAGE,
    HomeOption,
    RegionOption,
    SchemeOption,
    error_line,
    fail,
    plain,
    progress_bar,
    replacing,
    table_console,
)
from api.reading import FileRefusedError, SourceFile, shown
from api.services.check import Checker
from api.settings import load_settings
from api.spreadsheet import ReportWorkbook
from models.pack import PackError
from models.report import SEVERITY_LABELS, Report
from models.wire import Received
from qc_rules.schema import Stage

Format = Literal["table", "json", "ndjson", "xlsx"]
LONG_FILE = 4 * 1024 * 1024
"""Bytes from which a progress bar is worth showing."""
COMMON_RULES = 10
"""Rules named in the summary of many lists."""
NOT_UPLOADABLE = 1
"""Exit status when a list may not be uploaded or a line holds none."""

STYLES = {"error": "red", "warn": "yellow", "info": "blue"}
_encode = msgspec.json.Encoder().encode


class Unread(msgspec.Struct, frozen=True):
    """A line that holds no list, as programs get it."""

    file: str
    line: int
    error: str


class Writer(Protocol):
    """One form of output. Called in input order."""

    def report(self, file: str, line: int, report: Report) -> None: ...
    def unread(self, file: str, line: int, error: str) -> None: ...
    def close(self) -> None: ...


@dataclass
class Totals:
    """What a run found. ``refused``: files that could not be read at all."""

    verdicts: Counter[str] = field(default_factory=Counter)
    rules: Counter[tuple[str, str]] = field(default_factory=Counter)
    unread: int = 0
    refused: int = 0

    def add(self, report: Report) -> None:
        self.verdicts[report.verdict] += 1
        counted = {(found.rule, found.title) for found in report.findings if found.accepted is None}
        self.rules.update(counted)

    def sentence(self) -> str:
        """How many lists there were, by verdict."""
        counts = [f"{verdict} {self.verdicts[verdict]}" for verdict in ("可上传", "需复核", "需修改")]
        if self.unread:
            counts.append(f"未读取 {self.unread} 行")
        return f"共 {self.verdicts.total()} 份：{'，'.join(counts)}"

    @property
    def status(self) -> int:
        if self.refused:
            return WRONG_USAGE
        return NOT_UPLOADABLE if self.unread or self.verdicts["需修改"] else 0


class LineWriter:
    """NDJSON: one report a line, with the file and line it came from in front."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def report(self, file: str, line: int, report: Report) -> None:
        self._stream.write(_located(file, line, report) + b"\n")

    def unread(self, file: str, line: int, error: str) -> None:
        self._stream.write(_encode(Unread(file, line, error)) + b"\n")

    def close(self) -> None:
        self._stream.flush()


class JsonWriter:
    """JSON: the report itself for one file with one list, else an array. Holds no list back."""

    def __init__(self, stream: BinaryIO, single: bool) -> None:
        self._stream, self._single, self._first = stream, single, True

    def _write(self, content: bytes) -> None:
        if not self._single:
            self._stream.write(b"[\n" if self._first else b",\n")
        self._first = False
        self._stream.write(content)

    def report(self, file: str, line: int, report: Report) -> None:
        self._write(_located(file, line, report))

    def unread(self, file: str, line: int, error: str) -> None:
        self._write(_encode(Unread(file, line, error)))

    def close(self) -> None:
        if not self._single:
            self._stream.write(b"[\n]" if self._first else b"\n]")
        if not (self._single and self._first):
            self._stream.write(b"\n")
        self._stream.flush()


def _located(file: str, line: int, report: Report) -> bytes:
    return b'{"file":%b,"line":%d,%b' % (_encode(file), line, _encode(report)[1:])


class WorkbookWriter:
    """An xlsx workbook."""

    def __init__(self, path: Path) -> None:
        self._book = ReportWorkbook(path)
        self.report = self._book.add
        self.unread = self._book.add_unread

    def close(self) -> None:
        self._book.close()


class TableWriter:
    """For people: each list with its findings, then what the whole run found."""

    def __init__(self, stream: TextIO, totals: Totals) -> None:
        self._totals = totals
        self._console = table_console(stream)

    def report(self, file: str, line: int, report: Report) -> None:
        console = self._console
        style = "red" if not report.uploadable else "green" if report.verdict == "可上传" else "yellow"
        head = Text(f"清单 {plain(report.list_id) or '（无编号）'}（{plain(file)} 第 {line} 行） ")
        head.append(report.verdict, style=f"bold {style}")
        head.append(f"  {report.score} 分（{report.grade}）")
        console.print(head)
        if report.group:
            group = report.group
            console.print(Text(f"  DRG {group.code} {group.name}：{plain(group.explanation)}"))
        elif report.ungrouped:
            console.print(Text(f"  未分组：{plain(report.ungrouped)}"))
        if not report.findings:
            console.print()
            return
        table = Table(box=None, padding=(0, 1), pad_edge=False)
        for name in ("级别", "规则", "位置", "问题", "建议"):
            table.add_column(name, overflow="fold", no_wrap=name in ("级别", "规则"))
        for found in report.findings:
            note = f" {found.accepted.text}" if found.accepted else ""
            table.add_row(
                Text(SEVERITY_LABELS[found.severity], style="dim" if note else STYLES[found.severity]),
                Text(found.rule),
                Text(plain(f"{found.field} {found.path}")),
                Text(plain(found.message + note)),
                Text(plain(found.advice)),
            )
        console.print(table)
        console.print()

    def unread(self, file: str, line: int, error: str) -> None:
        self._console.print(Text(plain(f"{file} 第 {line} 行：未读取，{error}"), style="red"))
        self._console.print()

    def close(self) -> None:
        totals = self._totals
        if totals.verdicts.total() + totals.unread < 2:
            return
        self._console.print(Text(totals.sentence()))
        if totals.rules:
            table = Table("规则", "清单数", "内容", box=None, padding=(0, 1), pad_edge=False)
            for (code, title), number in sorted(totals.rules.items(), key=lambda kv: (-kv[1], kv[0]))[
                :COMMON_RULES
            ]:
                table.add_row(Text(code), Text(str(number)), Text(plain(title)))
            self._console.print(table)


def check(  # noqa: PLR0917 -- the command line gives them by name
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="JSON、NDJSON（一行一份）或模板 .xlsx，可写多个。")
    ],
    form: Annotated[
        Format, typer.Option("--format", help="table 给人看；json、ndjson、xlsx 给程序和报表用。")
    ] = "table",
    out: Annotated[Path | None, typer.Option("--out", help="结果写入这个文件；xlsx 必须写。")] = None,
    stage: Annotated[
        Stage | None, typer.Option(help="只运行一个阶段的规则：事前、事中、事后；不写则全部运行。")
    ] = None,
    region: RegionOption = None,
    scheme: SchemeOption = None,
    home: HomeOption = None,
) -> None:
    """检查结算清单：问题、得分、DRG 分组和能否上传。

    有清单不能上传或有行不能读取时，退出码为 1；命令有误或文件不能读取时为 2。
    """
    if form == "xlsx" and out is None:
        fail("--format xlsx 要用 --out 写明结果文件")
    settings = load_settings(home=home, region=region, scheme=scheme)
    totals = Totals()
    sources: list[SourceFile] = []
    for path in files:
        try:
            sources.append(SourceFile.open(path, settings))
        except FileRefusedError as error:
            error_line(str(error))
            totals.refused += 1
    if not sources:
        raise typer.Exit(totals.status)
    checker = Checker.open(settings.store(), settings.region, settings.scheme)
    from api.store.acceptances import StoredAcceptances  # noqa: PLC0415 -- takes time, and other commands need no store

    accepted = StoredAcceptances.of(settings).holding(datetime.now().astimezone().date())
    check_list = partial(checker.check, stage=stage, accepted=accepted)
    with _writer(form, out, sources, len(files), totals) as writer, _progress(sources, out) as progress:
        for source in sources:
            _check_file(source, check_list, writer, totals, progress)
    if out is not None:
        typer.echo(f"已写入 {out}；{totals.sentence()}")
    raise typer.Exit(totals.status)


def _check_file(
    source: SourceFile,
    check_list: Callable[[Received], Report],
    writer: Writer,
    totals: Totals,
    progress: Progress | None,
) -> None:
    # A file name may hold bytes that are no characters; no form of output could repeat them.
    file = shown(source.path)
    try:
        for item in source.items(
            (lambda n: progress.advance(progress.task_ids[0], n)) if progress else lambda _: None
        ):
            error = item.error
            if item.received is not None:
                try:
                    report = check_list(item.received)
                except PackError as fault:
                    # No pack holds for this list's discharge date; the other lists have theirs.
                    error = str(fault)
                else:
                    totals.add(report)
                    writer.report(file, item.line, report)
            if error:
                totals.unread += 1
                writer.unread(file, item.line, error)
    except FileRefusedError as refusal:
        error_line(str(refusal))
        totals.refused += 1


@contextmanager
def _writer(
    form: Format, out: Path | None, sources: Sequence[SourceFile], files: int, totals: Totals
) -> Iterator[Writer]:
    with ExitStack() as stack:
        path = stack.enter_context(replacing(out, tuple(one.path for one in sources))) if out else None
        writer: Writer
        if form == "xlsx":
            assert path is not None  # noqa: S101 -- checked when the command was read
            writer = WorkbookWriter(path)
        elif form == "table":
            text = stack.enter_context(path.open("w", encoding="utf-8")) if path else sys.stdout
            writer = TableWriter(text, totals)
        else:
            stream = stack.enter_context(path.open("wb")) if path else sys.stdout.buffer
            single = files == 1 and sources[0].single
            writer = LineWriter(stream) if form == "ndjson" else JsonWriter(stream, single)
        yield writer
        writer.close()


@contextmanager
def _progress(sources: Sequence[SourceFile], out: Path | None) -> Iterator[Progress | None]:
    """A bar on standard error, only where a person waits for long and nothing else fills the screen."""
    size = sum(source.size for source in sources)
    long = size > LONG_FILE and sys.stderr.isatty() and (out is not None or not sys.stdout.isatty())
    if not long:
        yield None
        return
    columns = (TextColumn("检查"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with progress_bar(*columns) as progress:
        progress.add_task("检查", total=size)
        yield progress
