"""``qingdan month`` and ``qingdan month-learn``: what a month or a year of lists says together."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from api.cli.terminal import (
    HomeOption,
    RegionOption,
    SchemeOption,
    counting,
    error_line,
    fail,
    make_folder,
    plain,
    replacing,
    say,
    table_console,
)  # fmt: skip
from api.reading import FileRefusedError, SourceFile
from api.services.check import Checker
from api.settings import Settings, load_settings

if TYPE_CHECKING:
    from api.services.month.result import Comparison, MonthReport

JSON_FILE = "month.json"
WORKBOOK_FILE = "month.xlsx"
MOST_SHOWN = 15
LONGEST_WINDOW = 366
SHORT = 36
"""Characters of the evidence that fit a line of the screen; the files hold all of it."""

FilesArgument = Annotated[
    list[Path], typer.Argument(metavar="FILE…", help="一个月或一年的清单，NDJSON（一行一份），可写多个。")
]


def month(  # noqa: PLR0917 -- the command line gives them by name
    files: FilesArgument,
    out: Annotated[Path, typer.Option("--out", file_okay=False, help="结果写入这个文件夹。")],
    reference: Annotated[
        list[Path] | None, typer.Option("--reference", help="本院过去的清单，用来比较；可写多次。")
    ] = None,
    pairs: Annotated[Path | None, typer.Option("--pairs", help="month-learn 生成的适应证支持表。")] = None,
    payment: Annotated[
        str | None, typer.Option("--payment", help="DRG 支付数据包编号；不写时按地区和出院日期选取。")
    ] = None,
    windows: Annotated[str, typer.Option("--windows", help="再住院窗口（天），用逗号分隔。")] = "7,10,15,31",
    high_multiple: Annotated[
        float, typer.Option("--high-multiple", min=1, help="费用超过标准多少倍提示（当地没有公布界限时）。")
    ] = 3.0,
    low_multiple: Annotated[
        float,
        typer.Option("--low-multiple", min=0, max=1, help="费用低于标准多少倍提示（当地没有公布界限时）。"),
    ] = 0.4,
    region: RegionOption = None,
    scheme: SchemeOption = None,
    home: HomeOption = None,
) -> None:
    """一个月或一年的统计：科室和医师的异常、费用与编码不符的病例、跨清单问题、复核排序。

    有行不能读取时，退出码为 1；命令有误或文件不能读取时为 2。提示是复核线索，不是结论。
    """
    # Statistics and models are heavy to import, and no other command needs them.
    from api.services.month.cross_list import CrossParameters  # noqa: PLC0415
    from api.services.month.indications import Indications, TableError  # noqa: PLC0415
    from api.services.month.study import Request, study  # noqa: PLC0415
    from api.services.month.workbook import write_workbook  # noqa: PLC0415

    past = reference or []
    settings = load_settings(home=home, region=region, scheme=scheme)
    _readable([*files, *past], settings)
    try:
        table = Indications.read(pairs) if pairs else None
    except TableError as error:
        fail(str(error))
    parameters = CrossParameters(_windows(windows), high_multiple, low_multiple)
    request = Request(files, past, settings.region, settings.scheme, payment or "", table, parameters)
    make_folder(out)
    checker = Checker.open(settings.store(), settings.region, settings.scheme)
    with ExitStack() as stack:
        inputs = (*files, *past, *([pairs] if pairs else []))
        json_part = stack.enter_context(replacing(out / JSON_FILE, inputs))
        book_part = stack.enter_context(replacing(out / WORKBOOK_FILE, inputs))
        with counting("统计") as advance:
            report = study(request, checker, settings, advance)
        json_part.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
        write_workbook(book_part, report)
    _print(report, out)
    raise typer.Exit(1 if report.summary.unread or report.summary.past_unread else 0)


def month_learn(
    files: FilesArgument,
    out: Annotated[Path, typer.Option("--out", dir_okay=False, help="支持表（CSV）写入这个文件。")],
    region: RegionOption = None,
    home: HomeOption = None,
) -> None:
    """从本院过去的清单学习手术操作与诊断的适应证支持表，供 month --pairs 使用。"""
    from api.services.month.indications import Indications  # noqa: PLC0415 -- heavy, as above

    settings = load_settings(home=home, region=region)
    _readable(files, settings)
    checker = Checker.open(settings.store(), settings.region)
    table = Indications()
    unread = 0
    with replacing(out, tuple(files)) as part:
        with counting("学习") as advance:
            for path in files:
                for item in SourceFile.open(path, settings).items():
                    if item.received is None:
                        unread += 1
                        error_line(f"{path} 第 {item.line} 行：未读取，{item.error}")
                        continue
                    table.add(checker.rules.facts(item.received))
                    advance()
        part.write_text(table.text(), encoding="utf-8")
    say(
        f"学自 {table.lists} 份清单：{len(table.procedures)} 种手术操作亚目、{len(table.pairs)} 对，写入 {out}"
    )
    raise typer.Exit(1 if unread else 0)


def _readable(files: list[Path], settings: Settings) -> None:
    """Leave with a clear line for each file that cannot be read at all."""
    refused = False
    for path in files:
        try:
            SourceFile.open(path, settings)
        except FileRefusedError as error:
            error_line(str(error))
            refused = True
    if refused:
        raise typer.Exit(2)


def _windows(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.replace("，", ",").split(",")]
    if not all(part.isascii() and part.isdigit() and 0 < int(part[:4]) <= LONGEST_WINDOW for part in parts):
        fail(f"--windows 应为用逗号分隔的天数（1–{LONGEST_WINDOW}），例如 7,10,15,31；现在是 {text}")
    return tuple(sorted({int(part) for part in parts}))


def _print(report: MonthReport, folder: Path) -> None:
    console = table_console()
    summary = report.summary
    share = summary.complicated_share
    console.print(
        Text(
            f"清单 {summary.lists} 份（未读取 {summary.unread} 行），入组 {summary.grouped} 份，"
            f"出院日期 {summary.period}，MCC/CC 率 "
            f"{'—' if share is None else f'{share:.1%}'}；过去 {summary.past_lists} 份"
        )
    )
    for level, number in summary.tested.items():
        console.print(Text(f"{level}：比较 {number} 次，提示 {summary.flagged[level]} 项（错误发现率 5%）"))
    flagged = sorted((one for one in report.comparisons if one.flagged), key=lambda one: one.q or 0.0)
    if flagged:
        table = Table(
            "层级", "单位", "指标", "比较对象", "值", "95% 区间", "期望", "q", box=None, pad_edge=False
        )
        for one in flagged[:MOST_SHOWN]:
            table.add_row(*(Text(plain(cell)) for cell in _flag_row(one)))
        console.print(table)
    if report.reviews:
        table = Table(box=None, pad_edge=False)
        for title in ("名次", "清单", "方向", "DRG", "元", "权重", "强度", "证据"):
            table.add_column(title, no_wrap=True, overflow="ellipsis")
        for row in report.reviews[:MOST_SHOWN]:
            effects = (row.effect_yuan, row.effect_weight)
            shown = ("—" if one is None else f"{one:,.2f}" for one in effects)
            cells = (str(row.rank), row.list_id, row.direction, row.drg, *shown, f"{row.strength:.2f}")
            table.add_row(*(Text(plain(cell)) for cell in (*cells, _short(row.evidence[0].text))))
        console.print(table)
    for note in report.notes:
        console.print(Text(plain(f"· {note}")))
    console.print(Text(plain(f"已写入 {folder / JSON_FILE}、{folder / WORKBOOK_FILE}")))


def _short(text: str) -> str:
    return text if len(text) <= SHORT else f"{text[:SHORT]}…"


def _flag_row(one: Comparison) -> tuple[str, ...]:
    ratio = one.measure.startswith("病组内")
    shown = (one.value or 0.0, one.low or 0.0, one.high or 0.0, one.reference or 0.0)
    value, low, high, reference = (f"{number:.2f}" if ratio else f"{number:.1%}" for number in shown)
    measure = f"{one.measure} {one.code} {one.code_name}".strip()
    return (
        one.level,
        f"{one.unit} {one.name}",
        measure,
        one.baseline,
        value,
        f"{low}–{high}",
        reference,
        f"{one.q or 0:.2g}",
    )
