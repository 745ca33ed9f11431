"""``qingdan intake``: look at what a hospital exports, turn it into lists, propose a column mapping."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from api.cli.terminal import HomeOption, RegionOption, error_line, fail, plain, progress_bar, replacing
from api.intake.mapping import ColumnMapping, MappingError, read_mapping, shipped_mapping, shipped_names
from api.intake.propose import propose
from api.intake.rejects import Reject, RejectWriter, rejected_text
from api.intake.source import WHOLE_FILE, FileRefusedError, Source, open_source, open_table
from api.reading import shown_name
from api.repeats import decode_unrepeated
from api.settings import MIB, Settings, load_settings
from models.wire import DecodeError

SHOWN_REJECTS = 10
SHOWN_COLUMNS = 30
LONG = 16 * MIB
"""Bytes from which a progress bar is worth showing."""
INCOMPLETE = 1
"""Exit status when something was not taken in."""

intake_app = typer.Typer(
    name="intake", help="读入医院导出的数据：检查、转换成 NDJSON、生成列对照。", no_args_is_help=True
)
InputArgument = Annotated[
    Path,
    typer.Argument(
        metavar="INPUT", help="文件、zip 或文件夹：JSON、NDJSON、模板 .xlsx、CSV、表格 .xlsx、Parquet。"
    ),
]
MappingOption = Annotated[
    str | None,
    typer.Option("--mapping", help="列对照：TOML 或 YAML 文件，或内置对照的名称；不写时自动识别。"),
]
RejectsOption = Annotated[
    Path | None, typer.Option("--rejects", help="不能读入的行写入这个文件（.csv 或 .ndjson）。")
]


@intake_app.command("check")
def check_input(
    source: InputArgument,
    mapping: MappingOption = None,
    rejects: RejectsOption = None,
    region: RegionOption = None,
    home: HomeOption = None,
) -> None:
    """看看能读出多少份清单，哪些行不能读；不做质控。有行不能读时退出码为 1。"""
    settings = load_settings(home=home, region=region)
    chosen = mapping_option(mapping)
    opened = open_or_fail(source, settings, chosen)
    _say_columns(source, settings, chosen)
    raise typer.Exit(_take(source, opened, None, rejects))


@intake_app.command("convert")
def convert_input(  # noqa: PLR0917 -- the command line gives them by name
    source: InputArgument,
    out: Annotated[Path, typer.Option("--out", help="清单写入这个 NDJSON 文件，一行一份。")],
    mapping: MappingOption = None,
    rejects: RejectsOption = None,
    region: RegionOption = None,
    home: HomeOption = None,
) -> None:
    """把任何一种输入转换成 NDJSON（一行一份 4101 清单）。有行不能读时退出码为 1。"""
    settings = load_settings(home=home, region=region)
    opened = open_or_fail(source, settings, mapping_option(mapping))
    raise typer.Exit(_take(source, opened, out, rejects))


@intake_app.command("columns")
def columns(
    table: Annotated[
        Path, typer.Argument(metavar="FILE", help="医院自己导出的表格：CSV、.xlsx 或 Parquet。")
    ],
    out: Annotated[Path | None, typer.Option("--out", help="列对照写入这个 .toml 文件；不写则显示。")] = None,
    region: RegionOption = None,
    home: HomeOption = None,
) -> None:
    """按表头生成一份列对照，核对修改后用 --mapping 指定。"""
    settings = load_settings(home=home, region=region)
    try:
        header, _ = open_table(table, settings)
    except FileRefusedError as error:
        fail(str(error))
    proposal = propose(header, shown_name(table))
    if out is None:
        typer.echo(plain_lines(proposal.text), nl=False)
    else:
        with replacing(out, (table,)) as part:
            part.write_text(proposal.text, encoding="utf-8")
    console = Console(stderr=out is None, soft_wrap=True, highlight=False)
    counts = (
        f"认识 {len(proposal.certain)} 列，推测 {len(proposal.guessed)} 列，没有用到 {len(proposal.left)} 列"
    )
    for one in proposal.missing:
        error_line(one)
    console.print(Text(plain(counts if out is None else f"已写入 {out}：{counts}；使用前请核对标“推测”的行")))


def mapping_option(given: str | None) -> ColumnMapping | None:
    """The mapping that a command names: a shipped one or a file. Leaves with a line for each fault."""
    if given is None:
        return None
    try:
        return shipped_mapping(given) if given in shipped_names() else read_mapping(Path(given))
    except MappingError as error:
        for fault in error.faults[1:]:
            error_line(fault)
        fail(error.faults[0])


def open_or_fail(path: Path, settings: Settings, mapping: ColumnMapping | None) -> Source:
    """The source, or leave with what is wrong with it. Which mapping a file gets instead goes to standard error."""
    try:
        return open_source(path, settings, mapping, error_line)
    except FileRefusedError as error:
        fail(str(error))


def plain_lines(text: str) -> str:
    """Text of several lines without what could move the cursor."""
    return "\n".join(map(plain, text.split("\n")))


def _say_columns(path: Path, settings: Settings, mapping: ColumnMapping | None) -> None:
    """What a table's columns are used for, where it is one."""
    try:
        _, plan = open_table(path, settings, mapping)
    except FileRefusedError:
        return  # no table: a folder, a zip, JSON
    if plan is None:
        return
    console = Console(soft_wrap=True, highlight=False)
    console.print(
        Text(
            plain(f"列对照：{plan.mapping.title}；用到 {len(plan.used)} 列，没有用到 {len(plan.ignored)} 列")
        )
    )
    if plan.ignored:
        more = " ……" if len(plan.ignored) > SHOWN_COLUMNS else ""
        console.print(Text(plain(f"没有用到的列：{'、'.join(plan.ignored[:SHOWN_COLUMNS])}{more}")))


def _take(path: Path, source: Source, out: Path | None, rejects: Path | None) -> int:
    """Read everything; gives the exit status. Leaves when a file cannot be read to its end."""
    lists = 0
    found: list[Reject] = []
    with ExitStack() as stack:
        sink: BinaryIO | None = None
        if out is not None:
            sink = stack.enter_context(stack.enter_context(replacing(out, (path,))).open("wb"))
        writer: RejectWriter | None = None
        if rejects is not None:
            part = stack.enter_context(replacing(rejects, (path,)))
            form = "ndjson" if rejects.suffix.lower() in (".ndjson", ".jsonl") else "csv"
            writer = stack.enter_context(RejectWriter(part, "ndjson" if form == "ndjson" else "csv"))
        files = rows = 0
        advance = stack.enter_context(_progress(source.size))
        try:
            for item in source.items(advance):
                error = item.error
                if item.content is not None:
                    try:
                        decode_unrepeated(item.content)
                    except DecodeError as fault:
                        error = str(fault)
                    else:
                        lists += 1
                        if sink is not None:
                            sink.write(_one_line(item.content) + b"\n")
                        continue
                if item.line == WHOLE_FILE:
                    files += 1
                else:
                    rows += 1
                reject = Reject(item.source, item.line, item.column, error)
                if len(found) < SHOWN_REJECTS:
                    found.append(reject)
                if writer is not None:
                    writer.add(reject)
        except FileRefusedError as refusal:
            fail(str(refusal))
    for reject in found:
        where = f" 第 {reject.line} 行" if reject.line else ""
        column = f"（{reject.column}）" if reject.column else ""
        error_line(f"{reject.source}{where}{column}：{reject.reason}")
    if files + rows > len(found):
        error_line(
            f"还有 {files + rows - len(found)} 处不能读入"
            + ("" if rejects else "，用 --rejects 写入文件查看")
        )
    written = f"，已写入 {out}" if out is not None else ""
    typer.echo(
        f"读出 {lists} 份清单{written}；不能读入 {rejected_text(files, rows)}"
        + (f"，见 {rejects}" if rejects else "")
    )
    return INCOMPLETE if files + rows else 0


def _one_line(content: bytes) -> bytes:
    """JSON without line breaks: one that was written over several lines becomes one."""
    return msgspec.json.format(content, indent=-1) if b"\n" in content or b"\r" in content else content


@contextmanager
def _progress(size: int) -> Iterator[Callable[[int], object]]:
    """A bar on standard error for what takes a while."""
    if size < LONG:
        yield lambda _: None
        return
    columns = (TextColumn("读取"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with progress_bar(*columns) as bar:
        task = bar.add_task("读取", total=size)
        yield lambda taken: bar.advance(task, taken)
