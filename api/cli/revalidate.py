"""``qingdan batch revalidate`` and what follows: what changed, lists corrected, in the commands of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.progress import TextColumn
from rich.table import Table
from rich.text import Text

from api.cli.batch import (
    ByOption,
    ClusterOption,
    FormatOption,
    RunArgument,
    WorkersOption,
    batch_app,
    open_database,
    who,
)
from api.cli.terminal import HomeOption, fail, plain, progress_bar, replacing, table_console
from models.report import SEVERITY_LABELS
from models.wire import DecodeError

if TYPE_CHECKING:
    from api.batch.comparison import RunComparison
    from api.batch.driver import Progress as Done

MOST_ROWS = 15
"""Rules and groups that the screen shows."""
ListArgument = Annotated[
    str, typer.Argument(metavar="LIST", help="就诊ID、清单编号（机构编号/就诊ID），或 #序号。")
]


@batch_app.command("revalidate")
def revalidate(  # noqa: PLR0917 -- the command line gives them by name
    name: Annotated[
        str, typer.Argument(metavar="RUN|MONTH", help="批次编号，或月份（取最后完成的批次，不含试算）。")
    ],
    scheme: Annotated[
        str | None, typer.Option("--scheme", help="改用这个 DRG 分组方案；写空值则按地区和日期选取。")
    ] = None,
    payment: Annotated[
        str | None, typer.Option("--payment", help="改用这个 DRG 支付数据包；写空值则按地区和日期选取。")
    ] = None,
    rules_pack: Annotated[
        list[Path] | None,
        typer.Option(
            "--rules-pack", file_okay=False, exists=True, help="试用这个文件夹中的规则包，可写多次。"
        ),
    ] = None,
    resume: Annotated[
        int | None, typer.Option("--resume", min=1, help="继续这个没有做完的重新质控。")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="做完后全部清单重做一遍并逐项比较，不同则退出码为 1。")
    ] = False,
    workers: WorkersOption = None,
    cluster: ClusterOption = "",
    by: ByOption = None,
    home: HomeOption = None,
) -> None:
    """用现在的数据包（或试用的规则包、方案）重新质控一个批次，只重算改动涉及的，并列出变化。"""
    from api.batch.comparison import compare_runs  # noqa: PLC0415 -- heavy, and other commands do without
    from api.batch.executors import default_workers, open_executor  # noqa: PLC0415
    from api.batch.revalidate import (  # noqa: PLC0415
        base_run,
        begin_revalidation,
        differences,
        run_revalidation,
    )
    from api.batch.runs import read_run  # noqa: PLC0415

    with open_database(home) as (settings, database):
        if resume is None:
            base = base_run(database, name)
            folders = [str(folder.absolute()) for folder in rules_pack or ()]
            run_id = begin_revalidation(
                database, settings, base, by=who(by), scheme=scheme, payment=payment, rules_packs=folders
            )
        else:
            run_id = resume
            base = read_run(database, read_run(database, run_id).base_run or 0)
        trial = read_run(database, run_id).trial
        said = f"；{trial}，不代表这个月，不能封存" if trial else ""
        typer.echo(f"批次 {run_id}：重新质控批次 {base.id}（{base.month}）{said}", err=True)
        count = default_workers() if workers is None else workers
        try:
            with open_executor(count, cluster) as (executor, many), _counting() as report:
                run = run_revalidation(database, settings, run_id, executor, workers=many, report=report)
                wrong = (
                    differences(database, settings, run_id, executor, workers=many)
                    if verify and run.state == "done"
                    else None
                )
        except KeyboardInterrupt:
            fail(f"批次 {run_id} 被中断；可用 qingdan batch revalidate {name} --resume {run_id} 继续", 130)
        if run.state != "done":
            fail(f"批次 {run_id} {run.message}；qingdan batch revalidate {name} --resume {run_id}", 130)
        found = compare_runs(database, base.id, run_id)
    typer.echo(f"批次 {run_id}（{run.month}）完成：{run.message}")
    _print(found)
    if wrong:
        shown = "、".join(map(str, wrong[:MOST_ROWS]))
        fail(f"与全部重做不同的清单 {len(wrong)} 份（序号 {shown}）；请联系维护人员", 1)
    if wrong == []:
        typer.echo(f"核对：{run.lists} 份全部重做，结果逐项相同")


@contextmanager
def _counting() -> Iterator[Callable[[Done], object]]:
    """Progress on standard error: lists, lists a second."""
    columns = (TextColumn("重新质控"), TextColumn("{task.fields[said]}"))
    with progress_bar(*columns) as bar:
        task = bar.add_task("", total=None, said="")
        yield lambda done: bar.update(task, said=f"{done.lists} 份，{done.rate:.0f} 份/秒")


@batch_app.command("compare")
def compare_command(
    before: Annotated[int, typer.Argument(metavar="BEFORE", help="原来的批次。")],
    after: Annotated[int, typer.Argument(metavar="AFTER", help="现在的批次。")],
    out: Annotated[
        Path | None, typer.Option("--out", dir_okay=False, help="另写成 .xlsx 或 .json 文件。")
    ] = None,
    form: FormatOption = "table",
    home: HomeOption = None,
) -> None:
    """两个批次之间的变化：新出现和消失的问题、换组、权重和金额；前后可以互换。"""
    from api.batch.comparison import compare_runs, write_workbook  # noqa: PLC0415 -- heavy

    if out is not None and out.suffix.lower() not in (".xlsx", ".json"):
        fail(f"{out}：文件名应以 .xlsx 或 .json 结尾")
    with open_database(home) as (_, database):
        found = compare_runs(database, before, after)
    if out is not None:
        with replacing(out) as part:
            if out.suffix.lower() == ".json":
                part.write_bytes(msgspec.json.encode(found))
            else:
                write_workbook(found, part)
        typer.echo(f"已写入 {out}", err=True)
    if form == "json":
        typer.echo(msgspec.json.encode(found).decode())
    else:
        _print(found)


def _print(found: RunComparison) -> None:
    from api.batch.comparison import summary_rows  # noqa: PLC0415

    console = table_console()
    table = Table("项目", "原来", "现在", box=None)
    for label, was, now in summary_rows(found):
        table.add_row(*(Text(plain("—" if one is None else str(one))) for one in (label, was, now)))
    console.print(table)
    for note in found.notes:
        console.print(Text(plain(note)))
    console.print(f"有变化的清单 {found.changed} 份，其中更正过 {found.corrected} 份")
    for move, count in found.verdicts.items():
        console.print(f"{move}  {count} 份")
    for rule in found.rules[:MOST_ROWS]:
        text = (
            f"{rule.rule}  新出现 {rule.appeared}，消失 {rule.vanished}，轻重改变 {rule.reweighed}，"
            f"{rule.lists} 份  {rule.title}"
        )
        console.print(Text(plain(text)))
    for group in found.groups[:MOST_ROWS]:
        moved = f"{group.before or '无'} → {group.after or '无'}"
        console.print(Text(plain(f"{moved}  {group.lists} 份，{group.text}")))
    hidden = max(0, len(found.rules) - MOST_ROWS) + max(0, len(found.groups) - MOST_ROWS)
    if hidden:
        console.print(
            f"另有 {hidden} 行，见 qingdan batch compare {found.before} {found.after} --out 文件.xlsx"
        )


@batch_app.command("open")
def open_command(
    run_id: RunArgument,
    name: ListArgument,
    out: Annotated[Path, typer.Option("--out", dir_okay=False, help="清单写入这个 .json 文件。")],
    by: ByOption = None,
    home: HomeOption = None,
) -> None:
    """打开批次中的一份清单以便更正：取最新一版，患者身份打码，打码的字段不要改。"""
    from api.batch.correction import open_noted  # noqa: PLC0415

    with open_database(home) as (_, database), replacing(out) as part:
        opened = open_noted(database, run_id, name, who=who(by), at=datetime.now().astimezone())
        part.write_bytes(opened.payload)
    for one in opened.findings:
        typer.echo(plain(f"{one.rule} {SEVERITY_LABELS[one.severity]} {one.field} {one.message}"))
    later = "" if opened.version == opened.judged else f"（批次质控的是第 {opened.judged} 版）"
    typer.echo(
        f"已写入 {out}：清单 {opened.list_id or opened.list_key} 第 {opened.version} 版{later}", err=True
    )


@batch_app.command("save")
def save_command(  # noqa: PLR0917 -- the command line gives them by name
    run_id: RunArgument,
    name: ListArgument,
    source: Annotated[
        Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="更正后的清单。")
    ],
    base: Annotated[int, typer.Option("--base", min=1, help="更正的是第几版，见 batch open。")],
    why: Annotated[str, typer.Option("--why", help="为什么更正，记入审计。")] = "",
    by: ByOption = None,
    home: HomeOption = None,
) -> None:
    """把更正后的清单存为新版本并立即质控；批次的结果在重新质控后更新。有错误时退出码为 1。"""
    from api.batch.correction import correct, open_list  # noqa: PLC0415
    from api.services.check import Checker  # noqa: PLC0415
    from api.store.vault import Vault  # noqa: PLC0415

    with open_database(home) as (settings, database):
        opened = open_list(database, run_id, name)
        if source.stat().st_size > settings.line_limit:
            fail(f"{source}：超过一份清单的上限 {settings.line_limit} 字节")
        try:
            saved = correct(
                database,
                Vault.open(settings, database),
                Checker.open(settings.store(), settings.region, settings.scheme),
                opened.list_key,
                source.read_bytes(),
                base=base,
                who=who(by),
                at=datetime.now().astimezone(),
                why=why,
            )
        except (DecodeError, ValueError) as error:
            fail(f"{source}：{error}")
    for one in saved.report.findings:
        typer.echo(plain(f"{one.rule} {SEVERITY_LABELS[one.severity]} {one.field} {one.message}"))
    kept = f"存为第 {saved.version} 版" if saved.new else f"没有变化，仍是第 {saved.version} 版"
    typer.echo(f"清单 {saved.list_key} {kept}：{saved.report.verdict}，{saved.report.score} 分", err=True)
    raise typer.Exit(1 if saved.report.verdict == "需修改" else 0)
