"""``qingdan report``: the report of a month made, sealed, shown and verified, and its work list."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from api.cli.batch import ByOption, open_database, who
from api.cli.terminal import HomeOption, counting, fail, make_folder, plain, replacing, table_console
from api.services.month.figures import percent
from models.system_errors import reason_of

if TYPE_CHECKING:
    from api.services.month.report.content import ReportContent
    from api.services.month.report.page import Seal
    from api.services.month.report.sealing import SealedLine

report_app = typer.Typer(
    name="report",
    help="月报：由批次生成，封存后不能改动，可取代、可核验；工作清单。",
    no_args_is_help=True,
)

NameArgument = Annotated[
    str,
    typer.Argument(metavar="MONTH|RUN", help="月份（如 2026-10，取最后完成的批次，不含试算）或批次编号。"),
]
SealedArgument = Annotated[
    str, typer.Argument(metavar="MONTH|NUMBER", help="月份（取在用的封存月报）或封存月报的编号。")
]
PlainOption = Annotated[
    bool, typer.Option("--no-statistics", help="不做统计比较、残差和复核排序，只汇总；内存不随清单数增长。")
]


@report_app.command("make")
def make(
    name: NameArgument,
    out: Annotated[Path, typer.Option("--out", file_okay=False, help="HTML、xlsx、JSON 写入这个文件夹。")],
    no_statistics: PlainOption = False,
    by: ByOption = None,
    home: HomeOption = None,
) -> None:
    """由一个月（最后完成的批次，不含试算）或一个批次生成月报草稿，不封存。"""
    from api.services.month.report.sealing import note_reading, sealed_reports  # noqa: PLC0415 -- heavy
    from api.services.month.report.stored import chosen_text, report_of  # noqa: PLC0415

    make_folder(out)
    with open_database(home) as (settings, database):
        with counting("月报") as advance:
            content = report_of(database, settings, name, with_study=not no_statistics, advance=advance)
        taken = chosen_text(database, content.origin.run)
        with database.begin() as connection:
            note_reading(
                connection, who(by), f"run {content.origin.run}", f"命令 report make，写入 {out.name}"
            )
        _write(content, None, out, f"draft-{content.month}")
        sealed = [one.number for one in sealed_reports(database, content.month) if not one.superseded_by]
    typer.echo(plain(taken), err=True)
    _headline(content)
    if sealed:
        typer.echo(f"{content.month} 已有封存的月报第 {sealed[0]} 号；以上是未封存的草稿", err=True)


@report_app.command("seal")
def seal_command(  # noqa: PLR0917 -- the command line gives them by name
    name: NameArgument,
    by: Annotated[str, typer.Option("--by", help="封存人姓名，写在月报上。")],
    supersede: Annotated[
        int | None, typer.Option("--supersede", min=1, help="取代在用的封存月报：它的编号。")
    ] = None,
    why: Annotated[str, typer.Option("--why", help="为什么取代，或为什么情形特殊仍要封存。")] = "",
    confirm: Annotated[
        bool, typer.Option("--confirm", help="出院月份不符、清单比别的批次少时，核对后仍要封存。")
    ] = False,
    no_statistics: PlainOption = False,
    home: HomeOption = None,
) -> None:
    """封存一个月的月报：存下内容、SHA-256 和所用数据包，此后只能以新的取代，不能改动。"""
    from api.services.month.report.sealing import seal  # noqa: PLC0415 -- heavy
    from api.services.month.report.stored import report_of  # noqa: PLC0415

    with open_database(home) as (settings, database):
        with counting("月报") as advance:
            content = report_of(database, settings, name, with_study=not no_statistics, advance=advance)
        line = seal(database, content, by=by, supersede=supersede or 0, why=why, confirmed=confirm)
    _headline(content)
    typer.echo(f"已封存：{line.month} 第 {line.number} 号（批次 {line.run}），SHA-256 {line.digest}")


@report_app.command("show")
def show(
    name: SealedArgument,
    out: Annotated[
        Path | None, typer.Option("--out", file_okay=False, help="HTML、xlsx、JSON 写入这个文件夹。")
    ] = None,
    by: ByOption = None,
    home: HomeOption = None,
) -> None:
    """显示封存的月报，或写出它的 HTML、xlsx、JSON；每次都记入审计。"""
    from api.services.month.report.sealing import read_sealed  # noqa: PLC0415 -- heavy

    if out:
        make_folder(out)
    how = f"命令 report show，写入 {out.name}" if out else "命令 report show"
    with open_database(home) as (_, database):
        found = read_sealed(database, name, who=who(by), how=how)
    line = found.line
    if out:
        _write(found.content, line.seal, out, f"report-{line.month}-{line.number}", found.body)
    typer.echo(_sealed_text(line))
    _headline(found.content)


@report_app.command("list")
def list_command(
    month: Annotated[str, typer.Option("--month", help="只列这个月，如 2026-10。")] = "",
    home: HomeOption = None,
) -> None:
    """列出封存的月报。"""
    from api.services.month.report.sealing import sealed_reports  # noqa: PLC0415 -- heavy

    with open_database(home) as (_, database):
        lines = sealed_reports(database, month)
    console = table_console()
    if not lines:
        console.print(Text("没有封存的月报"))
        return
    table = Table("编号", "月份", "批次", "封存人", "封存时间", "状态", "SHA-256", box=None, pad_edge=False)
    for one in lines:
        state = f"已被第 {one.superseded_by} 号取代" if one.superseded_by else "在用"
        cells = (
            str(one.number),
            one.month,
            str(one.run),
            one.sealed_by,
            f"{one.sealed_at.astimezone():%Y-%m-%d %H:%M}",
            state,
            one.digest[:16],
        )
        table.add_row(*(Text(plain(cell)) for cell in cells))
    console.print(table)


@report_app.command("verify")
def verify_command(
    name: Annotated[
        str, typer.Argument(metavar="[MONTH|NUMBER]", help="月份或封存月报的编号；不写时核验全部。")
    ] = "",
    home: HomeOption = None,
) -> None:
    """重算封存月报的 SHA-256，核对月份、批次、数据包和取代关系。有不符时退出码为 1。"""
    from api.services.month.report.sealing import verify  # noqa: PLC0415 -- heavy

    with open_database(home) as (_, database):
        verdicts = verify(database, name)
    console = table_console()
    if not verdicts:
        console.print(Text("没有封存的月报"))
    for one in verdicts:
        said = "；".join(one.faults) or "相符"
        console.print(
            Text(plain(f"第 {one.line.number} 号 {one.line.month} SHA-256 {one.line.digest}：{said}"))
        )
    raise typer.Exit(1 if any(one.faults for one in verdicts) else 0)


@report_app.command("worklist")
def worklist(  # noqa: PLR0917 -- the command line gives them by name
    name: NameArgument,
    out: Annotated[Path, typer.Option("--out", dir_okay=False, help="工作清单（xlsx）写入这个文件。")],
    rule: Annotated[str, typer.Option("--rule", help="规则编号，或类别如 PDX。")] = "",
    severity: Annotated[str, typer.Option("--severity", help="error、warn 或 info。")] = "",
    department: Annotated[str, typer.Option("--department", help="出院科别代码。")] = "",
    doctor: Annotated[str, typer.Option("--doctor", help="医师代码。")] = "",
    verdict: Annotated[str, typer.Option("--verdict", help="可上传、需复核或需修改。")] = "",
    accepted: Annotated[bool, typer.Option("--accepted", help="已接受的问题也列出。")] = False,
    kind: Annotated[
        str, typer.Option("--class", help="list 清单问题、across 跨清单线索或 source 来源问题。")
    ] = "",
    by: ByOption = None,
    home: HomeOption = None,
) -> None:
    """写出工作清单：每个问题一行，带筛选，可分给科室处理。"""
    from api.services.month.report.sealing import note_worklist  # noqa: PLC0415 -- heavy
    from api.services.month.worklist import Filter, department_names, write_work_list  # noqa: PLC0415

    wanted = Filter(rule, severity, department, doctor, verdict, "", accepted, kind)
    with open_database(home) as (settings, database):
        names = department_names(settings)
        with _file_errors(out), replacing(out) as part:
            run, written = write_work_list(database, name, wanted, part, names)
        note_worklist(database, who(by), run, f"命令 report worklist，{written} 行，写入 {out.name}")
    typer.echo(f"{written} 行写入 {plain(str(out))}")


def _write(content: ReportContent, seal: Seal | None, folder: Path, stem: str, body: bytes = b"") -> None:
    """The three files of a report. ``body``: the bytes that were sealed."""
    from api.services.month.report.content import canonical  # noqa: PLC0415 -- heavy
    from api.services.month.report.page import standalone  # noqa: PLC0415
    from api.services.month.report.workbook import write_report  # noqa: PLC0415

    files = [folder / f"{stem}.{kind}" for kind in ("html", "xlsx", "json")]
    page, book, data = files
    with _file_errors(folder):
        with replacing(page) as part:
            part.write_text(standalone(content, seal), encoding="utf-8")
        with replacing(book) as part:
            write_report(part, content, seal)
        with replacing(data) as part:
            # The SHA-256 of a sealed report's file is that of the seal.
            part.write_bytes(body or canonical(content))
    typer.echo(f"已写入 {plain('、'.join(str(one) for one in files))}")


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    """A full disk and the like as one clear line."""
    from xlsxwriter.exceptions import FileCreateError  # noqa: PLC0415 -- heavy

    try:
        yield
    except FileCreateError as error:
        cause = error.args[0] if error.args and isinstance(error.args[0], OSError) else error
        fail(f"{path}：不能写入（{reason_of(cause)}）")
    except OSError as error:
        fail(f"{path}：不能写入（{reason_of(error)}）")


def _sealed_text(line: SealedLine) -> str:
    when = f"{line.sealed_at.astimezone():%Y-%m-%d %H:%M}"
    found = [f"第 {line.number} 号，{line.sealed_by} 于 {when} 封存，SHA-256 {line.digest}"]
    if line.supersedes:
        found.append(f"取代第 {line.supersedes} 号：{line.why}")
    elif line.why:
        found.append(f"封存理由：{line.why}")
    if line.superseded_by:
        found.append(f"已被第 {line.superseded_by} 号取代")
    return "\n".join(map(plain, found))


def _headline(content: ReportContent) -> None:
    from api.services.month.report.page import missing_payment, number, signed_wan, wan, yuan  # noqa: PLC0415

    it = content.totals
    lines = (
        f"{content.origin.trial}；不代表这个月，不能封存" if content.origin.trial else "",
        f"{content.month}：清单 {it.lists} 份（批次 {content.origin.run}），出院日期 {content.period}",
        f"通过率 {percent(it.pass_rate)}，错误 {it.errors}，警告 {it.warnings}，提示 {it.hints}，平均 {number(it.score, 1)} 分",
        f"跨清单线索 {it.across} 项（{it.across_lists} 份清单），不计入以上数字和判定" if it.across else "",
        (
            f"来源问题：{len(content.source_problems)} 种问题几乎每份清单都有（{it.source} 项）；"
            f"不计这些，通过率 {percent(it.pass_rate_besides)}"
        )
        if it.source
        else "",
        f"入组率 {percent(it.grouping_rate)}，QY率 {percent(it.ambiguous_rate)}，"
        f"0000率 {percent(it.ungrouped_rate)}，CMI {number(it.cmi, 3)}",
        f"费用消耗指数 {number(it.cost_index)}（{content.cost_standard.name}），"
        f"时间消耗指数 {number(it.time_index)}（{content.time_standard.name}）",
        f"均次费用 {yuan(it.mean_cost)} 元，平均住院日 {number(it.mean_stay, 1)}；"
        f""
        + (
            f"预计支付 {wan(it.payment)} 万元，结余 {signed_wan(it.balance)} 万元"
            if it.priced
            else "预计支付 —，结余 —"
        ),
        missing_payment(content),
    )
    console = table_console()
    for line in filter(None, lines):
        console.print(Text(plain(line)))
