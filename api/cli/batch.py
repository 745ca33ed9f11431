"""``qingdan batch``: a month of lists into the store, its runs shown, cancelled, gone on with, exported."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from api.cli.intake import MappingOption, mapping_option
from api.cli.terminal import (
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
from api.reading import NDJSON_SUFFIXES, FileRefusedError
from api.settings import Settings, load_settings
from models.report import SEVERITY_LABELS

if TYPE_CHECKING:
    from api.batch.driver import Progress as Done
    from api.batch.runs import RunView
    from api.batch.totals import RuleTotal
    from api.store.database import Database

batch_app = typer.Typer(
    name="batch",
    help="批次：把一个月的清单质控、分组并存入数据库，可取消、续跑、导出结果。",
    no_args_is_help=True,
)
RESULT_FORMATS = Literal["ndjson", "parquet", "4101", "4101A"]
MOST_RULES = 20
"""Rules that the screen shows."""
NO_REGION = "没有指定地区：CMI 和预计支付不会算出；要算，请用 --region（或设置 QINGDAN_REGION）或 --payment"

RunArgument = Annotated[int, typer.Argument(metavar="RUN", help="批次编号，见 batch list。")]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", min=0, max=256, help="工作进程数，默认每个处理器一个；0 为不另开进程。"),
]
ClusterOption = Annotated[
    str, typer.Option("--cluster", help="dask 调度器的地址，如 tcp://10.0.0.5:8786；用集群而不用本机进程。")
]
ByOption = Annotated[str | None, typer.Option("--by", help="操作人，记入审计；默认为系统用户名。")]
FormatOption = Annotated[
    Literal["table", "json"], typer.Option("--format", help="table 给人看，json 给程序用。")
]


@contextmanager
def open_database(home: Path | None) -> Iterator[tuple[Settings, Database]]:
    """The store of the command line, closed afterwards."""
    from api.store.database import Database  # noqa: PLC0415 -- other commands need no store

    settings = load_settings(home=home)
    database = Database.open(settings)
    try:
        yield settings, database
    finally:
        database.dispose()


def who(by: str | None) -> str:
    """Who does it: as said, else the user of the system."""
    if by:
        return by
    try:
        return getuser()
    except (OSError, KeyError):
        return ""


@batch_app.command("run")
def run_command(  # noqa: PLR0917 -- the command line gives them by name
    source: Annotated[
        Path,
        typer.Argument(metavar="INPUT", help="清单文件：NDJSON、JSON、模板 .xlsx 等，格式见输入格式一页。"),
    ],
    month: Annotated[str, typer.Option("--month", help="结算月份，如 2026-10。")],
    payment: Annotated[
        str, typer.Option("--payment", help="DRG 支付数据包编号；不写时按地区和出院日期选取。")
    ] = "",
    catalogue: Annotated[
        str, typer.Option("--catalogue", help="DIP 目录的数据包编号；不写时按地区和出院日期选取。")
    ] = "",
    dip_payment: Annotated[
        str, typer.Option("--dip-payment", help="DIP 支付数据包编号；不写时按地区和出院日期选取。")
    ] = "",
    mapping: MappingOption = None,
    workers: WorkersOption = None,
    cluster: ClusterOption = "",
    by: ByOption = None,
    region: RegionOption = None,
    scheme: SchemeOption = None,
    home: HomeOption = None,
) -> None:
    """质控、分组一个月的清单，结果存入数据库。被中断后用 batch resume 续跑，做过的部分不重做。

    有行不能读取时退出码为 1，没有完成时为 2。
    """
    from api.batch.start import begin  # noqa: PLC0415 -- heavy, and other commands do without

    with open_database(home) as (_, database):
        settings = load_settings(home=home, region=region, scheme=scheme)
        with _said(), _not_begun():
            run_id = begin(
                database,
                settings,
                source,
                month=month,
                by=who(by),
                payment=payment,
                catalogue=catalogue,
                dip_payment=dip_payment,
                mapping=mapping_option(mapping),
            )
        typer.echo(f"批次 {run_id}：{month}，{source.name}", err=True)
        if not (settings.region or payment):
            typer.echo(NO_REGION, err=True)
        _work(database, settings, run_id, workers, cluster, None)


@batch_app.command("resume")
def resume(
    run_id: RunArgument,
    source: Annotated[
        Path | None, typer.Argument(metavar="INPUT", help="输入换了位置时，写现在的位置。")
    ] = None,
    workers: WorkersOption = None,
    cluster: ClusterOption = "",
    home: HomeOption = None,
) -> None:
    """从停下的地方继续一个批次；输入和数据包必须与开始时相同。"""
    with open_database(home) as (settings, database):
        _work(database, settings, run_id, workers, cluster, source)


def _work(  # noqa: PLR0917 -- what both commands have read
    database: Database,
    settings: Settings,
    run_id: int,
    workers: int | None,
    cluster: str,
    source: Path | None,
) -> None:
    from api.batch.executors import default_workers  # noqa: PLC0415
    from api.batch.notices import notices_of  # noqa: PLC0415
    from api.batch.start import go_on  # noqa: PLC0415

    count = default_workers() if workers is None else workers
    try:
        with _said(), _bar() as report, _between_parts(report) as still:
            run = go_on(
                database,
                settings,
                run_id,
                workers=count,
                cluster=cluster,
                path=source,
                report=still,
                note=error_line,
            )
    except KeyboardInterrupt:
        fail(f"批次 {run_id} 被中断；已存的部分都在，可用 qingdan batch resume {run_id} 继续", 130)
    if run.state != "done":
        fail(f"批次 {run_id} {run.message}；qingdan batch resume {run_id}", 130)
    typer.echo(_sentence(run))
    with database.read() as connection:
        told = notices_of(connection, run).texts
    for one in told:
        typer.echo(one)
    if run.rejected:
        typer.echo(f"未读取的行：qingdan batch rejects {run_id} --out 文件.csv")
        raise typer.Exit(1)


@contextmanager
def _between_parts(report: Callable[[Done], object]) -> Iterator[Callable[[Done], object]]:
    """Ctrl+C stops when the part at hand is stored; a second one stops at once."""
    asked = False
    before = signal.getsignal(signal.SIGINT)

    def ask(_number: int, _frame: object) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, before)
        error_line("正在停止，存完手上的部分；再按一次 Ctrl+C 立即停止")

    def still(done: Done) -> None:
        report(done)
        if asked:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, ask)
    try:
        yield still
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _said() -> Iterator[None]:
    """A file that cannot be read at all is one clear line."""
    try:
        yield
    except FileRefusedError as error:
        fail(str(error))


@contextmanager
def _not_begun() -> Iterator[None]:
    """Ctrl+C before there is a run is one clear line too."""
    try:
        yield
    except KeyboardInterrupt:
        fail("被中断；还没有开始批次", 130)


@contextmanager
def _bar() -> Iterator[Callable[[Done], object]]:
    """Progress on standard error: part of the input, lists, lists a second, time left."""
    columns = (TextColumn("批次"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[said]}"))
    with progress_bar(*columns) as bar:
        task = bar.add_task("", total=None, said="")

        def report(done: Done) -> None:
            bar.update(task, total=done.total_bytes or None, completed=done.done_bytes, said=_said_of(done))

        yield report


def _said_of(done: Done) -> str:
    left = done.seconds_left
    shown = "" if left is None else f"，约剩 {timedelta(seconds=round(left))}"
    return f"{done.lists} 份，{done.rate:.0f} 份/秒{shown}"


def _sentence(run: RunView) -> str:
    return f"批次 {run.id}（{run.month}）完成：清单 {run.lists} 份，未读取 {run.rejected_text}"


@batch_app.command("list")
def list_runs(
    month: Annotated[str, typer.Option("--month", help="只列这个月的。")] = "",
    form: FormatOption = "table",
    home: HomeOption = None,
) -> None:
    """列出批次，新的在前。"""
    from api.batch.runs import STATE_NAMES, runs  # noqa: PLC0415

    with open_database(home) as (_, database):
        found = runs(database, month=month)
    if form == "json":
        typer.echo(msgspec.json.encode([shown(one) for one in found]).decode())
        return
    console = table_console()
    table = Table(
        "编号", "种类", "月份", "状态", "清单", "未读取", "进度", "开始", "操作人", "输入", box=None
    )
    for one in found:
        cells = (
            str(one.id),
            one.kind_text,
            one.month,
            STATE_NAMES[one.state],
            str(one.lists),
            one.rejected_text if one.rejected else "0",
            f"{one.share:.0%}",
            _local(one.started_at or one.created_at),
            one.created_by,
            Path(one.source).name,
        )
        table.add_row(*(Text(plain(cell)) for cell in cells))
    console.print(table)


@batch_app.command("show")
def show(run_id: RunArgument, form: FormatOption = "table", home: HomeOption = None) -> None:
    """一个批次的状态、进度、结论和问题的数目、所用的数据包。"""
    from api.batch.runs import STATE_NAMES, read_run  # noqa: PLC0415
    from api.batch.totals import totals_of  # noqa: PLC0415
    from api.services.changes import PROGRAM  # noqa: PLC0415

    with open_database(home) as (_, database):
        run, totals = read_run(database, run_id), totals_of(database, run_id)
    if form == "json":
        typer.echo(msgspec.json.encode({**shown(run), "totals": totals}).decode())
        return
    console = Console(highlight=False, soft_wrap=True)
    lines = [
        f"批次 {run.id}：{run.month}，{STATE_NAMES[run.state]}（{run.share:.0%}）{run.message}",
        run.trial and f"{run.trial}；不代表这个月，不能封存",
        f"输入 {run.source}，{run.created_by}，{_local(run.created_at)}",
        f"清单 {run.lists} 份，未读取 {run.rejected_text}",
        "、".join(f"{name} {count} 份" for name, count in totals.verdicts.items()),
        totals.grouping.text,
        *totals.notices.texts,
    ]
    lines += map(_rule_line, totals.rules[:MOST_RULES])
    if len(totals.rules) > MOST_RULES:
        lines.append(f"另有 {len(totals.rules) - MOST_RULES} 条规则，见 --format json")
    if totals.across:
        lines.append("跨清单线索（不计入判定和问题数）：")
        lines += map(_rule_line, totals.across)
    lines += [f"{'程序' if one.kind == PROGRAM else '数据包'} {one.id} {one.version}" for one in totals.packs]
    for line in lines:
        if line:
            console.print(Text(plain(line)))


def _rule_line(one: RuleTotal) -> str:
    return f"{one.rule}  {SEVERITY_LABELS[one.severity]}  {one.findings} 处，{one.lists} 份  {one.title}"


def shown(run: RunView) -> dict[str, object]:
    """A run for programs: without its options, the input by its name only."""
    values = msgspec.to_builtins(run)
    del values["options"]
    return {**values, "source": Path(run.source).name, "share": round(run.share, 4), "trial": run.trial}


def _local(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M}"


@batch_app.command("cancel")
def cancel_run(run_id: RunArgument, by: ByOption = None, home: HomeOption = None) -> None:
    """取消一个批次：正在做的部分做完即停，已存的部分保留，可以续跑。"""
    from api.batch.runs import STATE_NAMES  # noqa: PLC0415
    from api.batch.start import stop  # noqa: PLC0415

    with open_database(home) as (_, database):
        run = stop(database, run_id, who(by))
    typer.echo(f"批次 {run_id} {STATE_NAMES[run.state]}")


@batch_app.command("rejects")
def rejects(
    run_id: RunArgument,
    out: Annotated[Path, typer.Option("--out", dir_okay=False, help="写入这个文件（.csv 或 .ndjson）。")],
    home: HomeOption = None,
) -> None:
    """未读取的行写成文件：文件、行号、列、原因。"""
    from api.batch.export import rejected_rows  # noqa: PLC0415
    from api.intake.rejects import RejectWriter  # noqa: PLC0415

    form: Literal["csv", "ndjson"] = "ndjson" if out.suffix.lower() in NDJSON_SUFFIXES else "csv"
    with (
        open_database(home) as (_, database),
        replacing(out) as part,
        RejectWriter(part, form) as writer,
        database.read() as connection,
    ):
        for one in rejected_rows(connection, run_id):
            writer.add(one)
    typer.echo(f"已写入 {out}：{writer.count} 行")


@batch_app.command("export")
def export(  # noqa: PLR0917 -- the command line gives them by name
    run_id: RunArgument,
    out: Annotated[Path, typer.Option("--out", dir_okay=False, help="写入这个文件。")],
    form: Annotated[
        RESULT_FORMATS,
        typer.Option("--format", help="ndjson、parquet：每份清单一行结果；4101、4101A：可上传的报文。"),
    ],
    with_errors: Annotated[
        bool, typer.Option("--with-errors", help="导出报文时，结论为“需修改”的也导出。")
    ] = False,
    by: ByOption = None,
    home: HomeOption = None,
) -> None:
    """导出一个批次的结果；同一批次每次导出的内容相同。

    4101、4101A 把最新版本的清单写成可上传的报文（含患者身份，记入审计），每行一份；没有导出的清单逐份说明
    原因，退出码为 1。
    """
    from api.batch.export import finished, write_ndjson, write_parquet  # noqa: PLC0415

    if form in ("4101", "4101A"):
        _export_payloads(run_id, out, form, with_errors, by, home)
        return
    with open_database(home) as (_, database), replacing(out) as part:
        finished(database, run_id)
        _note(database, who(by), "export-results", run_id, f"{form}，{out.name}")
        if form == "parquet":
            count = write_parquet(database, run_id, part)
        else:
            with part.open("wb") as stream:
                count = write_ndjson(database, run_id, stream)
    typer.echo(f"已写入 {out}：{count} 份")


def _note(database: Database, by: str, action: str, run_id: int, detail: str) -> None:
    """Keep in the audit log that someone took something out."""
    from api.store import audit  # noqa: PLC0415

    with database.begin() as connection:
        audit.record(connection, by, action, f"run {run_id}", detail, datetime.now().astimezone())


def _export_payloads(  # noqa: PLR0917 -- what the command has read
    run_id: int,
    out: Path,
    form: Literal["4101", "4101A"],
    with_errors: bool,
    by: str | None,
    home: Path | None,
) -> None:
    from api.batch.export import finished  # noqa: PLC0415
    from api.batch.payloads import CLEAN, EVERY, export_payloads  # noqa: PLC0415
    from api.store.vault import Vault  # noqa: PLC0415

    with open_database(home) as (settings, database), replacing(out) as part:
        finished(database, run_id)
        part.chmod(0o600)
        with part.open("wb") as stream:
            done = export_payloads(
                database,
                Vault.open(settings, database),
                run_id,
                form,
                stream,
                who=who(by),
                at=datetime.now().astimezone(),
                verdicts=EVERY if with_errors else CLEAN,
            )
    for one in done.refused:
        typer.echo(plain(f"第 {one.number} 份 {one.list_id or one.list_key}：{one.reason}"), err=True)
    typer.echo(f"已写入 {out}：{done.written} 份报文，未导出 {len(done.refused)} 份")
    if done.refused:
        raise typer.Exit(1)
