"""``qingdan demo``: make a month of made-up lists, check and group it, say how the checks did."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import Annotated

import msgspec
import typer
from pydantic import SecretStr
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from api.cli.terminal import HomeOption, fail, progress_bar, replacing
from api.demo.case_mix import load_case_mix
from api.demo.evaluation import Evaluation, group_weights
from api.demo.generator import Generator
from api.demo.month import LABELS_FILE, LISTS_FILE, Label, Month
from api.services.check import Checker
from api.settings import Settings, load_settings
from models.system_errors import reason_of
from models.wire import decode

MONTH = "2026-10"
"""Of the lists that the generator makes."""
REGION = "99"
"""The fictional region, whose packs hold every parameter of payment."""
REPORT_FILE = "report.ndjson"
STORE_FOLDER = "store"
MONTH_REPORT_FILES = ("month-report.html", "month-report.xlsx")
SMALL = 5000
"""Lists up to which starting worker processes takes longer than it saves."""
WORK_LIST_FILE = "worklist.xlsx"
MOST_SHOWN = 10
MOST_LISTS = 1_000_000

demo_app = typer.Typer(
    name="demo",
    help="演示数据：虚构医院一个月的结算清单，部分清单埋有已知的差错，用来看质控和分组的效果。",
    no_args_is_help=True,
)
out = Console(soft_wrap=True, highlight=False)

ListsOption = Annotated[int, typer.Option(min=1, max=MOST_LISTS, help="清单份数。")]
SeedOption = Annotated[int, typer.Option(help="随机种子：种子相同，生成的文件逐字节相同。")]
OutOption = Annotated[
    Path | None, typer.Option("--out", file_okay=False, help="写入的文件夹；不写则用本院数据目录下的 demo。")
]


@demo_app.command()
def generate(
    lists: ListsOption = 2000, seed: SeedOption = 1, out_folder: OutOption = None, home: HomeOption = None
) -> None:
    """只生成清单（lists.ndjson）和埋入差错的标签（labels.ndjson）。"""
    settings = load_settings(home=home)
    checker = Checker.open(settings.store(), scheme="chs-drg-2.0")
    _generate(checker, _folder(settings, out_folder), lists, seed)


@demo_app.command()
def run(
    lists: ListsOption = 2000, seed: SeedOption = 1, out_folder: OutOption = None, home: HomeOption = None
) -> None:
    """生成、质控、分组并报告；差错全部查出且无误报错误时退出码为 0。"""
    settings = load_settings(home=home)
    store = settings.store()
    checker = Checker.open(store, scheme="chs-drg-2.0")
    folder = _folder(settings, out_folder)
    _generate(checker, folder, lists, seed)
    evaluation = Evaluation(group_weights(store))
    seconds = _check(checker, folder, lists, evaluation)
    _print(evaluation, seconds, folder)
    _store_month(folder, lists)
    if not evaluation.passed:
        raise typer.Exit(1)


def _folder(settings: Settings, given: Path | None) -> Path:
    folder = given or settings.home / "demo"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(f"{folder}：不能建立文件夹（{reason_of(error)}）")
    return folder


def _generate(checker: Checker, folder: Path, lists: int, seed: int) -> None:
    running = {one.rule.code for one in checker.rules.running}
    month = Month(Generator(load_case_mix(checker.store), seed), lists, running)
    started = perf_counter()
    with (
        replacing(folder / LISTS_FILE) as list_part,
        replacing(folder / LABELS_FILE) as label_part,
        list_part.open("wb") as list_stream,
        label_part.open("wb") as label_stream,
        progress_bar() as progress,
    ):
        for _ in progress.track(month.write(list_stream, label_stream), lists, description="生成"):
            pass
    out.print(
        f"已生成 {lists} 份清单：{escape(str(folder / LISTS_FILE))}（{perf_counter() - started:.1f} 秒）"
    )


def _check(checker: Checker, folder: Path, lists: int, evaluation: Evaluation) -> float:
    """Check every list as a hospital's file is checked; seconds spent in reading and checking."""
    write = msgspec.json.Encoder().encode
    read_label = msgspec.json.Decoder(Label).decode
    seconds = 0.0
    with (
        replacing(folder / REPORT_FILE) as report_part,
        (folder / LISTS_FILE).open("rb") as list_stream,
        (folder / LABELS_FILE).open("rb") as label_stream,
        report_part.open("wb") as report_stream,
        progress_bar() as progress,
    ):
        pairs = progress.track(zip(list_stream, label_stream, strict=True), lists, description="质控分组")
        for content, label_text in pairs:
            label = read_label(label_text)
            started = perf_counter()
            report = checker.check(decode(content))
            seconds += perf_counter() - started
            report_stream.write(write(report) + b"\n")
            evaluation.add(label, report)
    return seconds


def _store_month(folder: Path, lists: int) -> None:
    """Store the month in a database of its own inside ``folder``; write its report and work list from there."""
    from api.batch.executors import default_workers  # noqa: PLC0415 -- heavy
    from api.batch.start import begin, go_on  # noqa: PLC0415
    from api.services.month.report.page import standalone  # noqa: PLC0415
    from api.services.month.report.stored import report_of  # noqa: PLC0415
    from api.services.month.report.workbook import write_report  # noqa: PLC0415
    from api.services.month.worklist import Filter, department_names, write_work_list  # noqa: PLC0415
    from api.store.database import Database  # noqa: PLC0415

    started = perf_counter()
    home = folder / STORE_FOLDER
    # Nothing of the hospital's: neither its database nor its key.
    settings = Settings(home=home, region=REGION, database_url=SecretStr(""), identity_key=SecretStr(""))
    database = Database.open(settings)
    try:
        run_id = begin(database, settings, folder / LISTS_FILE, month=MONTH, by="演示")
        go_on(database, settings, run_id, workers=0 if lists <= SMALL else default_workers())
        # The statistics would take longer than all the rest.
        content = report_of(database, settings, str(run_id), with_study=False)
        page, book = (folder / name for name in MONTH_REPORT_FILES)
        with replacing(page) as part:
            part.write_text(standalone(content), encoding="utf-8")
        with replacing(book) as part:
            write_report(part, content)
        with replacing(folder / WORK_LIST_FILE) as part:
            write_work_list(database, str(run_id), Filter(), part, department_names(settings))
    finally:
        database.dispose()
    shown = [escape(str(path)) for path in (page, book, folder / WORK_LIST_FILE, home)]
    out.print(f"月报（演示地区 {REGION}）：{shown[0]}、{shown[1]}；工作清单：{shown[2]}")
    out.print(
        f"这个月存入演示自己的数据库（批次 {run_id}，{perf_counter() - started:.1f} 秒），"
        f"在页面上看：qingdan serve --home {shown[3]}"
    )


def _print(evaluation: Evaluation, seconds: float, folder: Path) -> None:
    e = evaluation
    out.print()
    out.rule("[bold]演示月报告：2026 年 10 月[/bold]")
    out.print(_summary(e, seconds))
    out.print(_common("最常见的问题", "清单", e.findings))
    out.print(_groups(e))
    out.print(_families(e))
    for why, count in e.ungrouped.most_common(MOST_SHOWN):
        out.print(f"未入组 {count} 份（{why[1]} 报文），如：{escape(e.examples[why])}")
    if e.clean_warnings:
        out.print(_common("无差错清单上的警告（供核对，不计为误报）", "清单", e.clean_warnings))
    for title, cases in (("未查出的差错", e.missed), ("无差错清单上的错误（误报）", e.false_errors)):
        if cases:
            out.print(f"[red]{title}：{len(cases)} 处[/red]")
        for label, rule in cases[:MOST_SHOWN]:
            out.print(
                f"  第 {label.line} 份（{escape(label.theme)}）{rule} {escape('、'.join(label.defects))}"
            )
    out.print(f"逐份报告：{escape(str(folder / REPORT_FILE))}")
    if e.passed:
        out.print("[green]埋入的差错全部查出，无差错清单没有误报错误。[/green]")
    else:
        out.print("[red]有差错未查出或有误报，见上。[/red]")


def _table(title: str, *columns: tuple[str, bool]) -> Table:
    table = Table(title=title, title_justify="left")
    for name, number in columns:
        table.add_column(name, justify="right" if number else "left")
    return table


def _summary(e: Evaluation, seconds: float) -> Table:
    table = _table("概况", ("项目", False), ("结果", False))
    index, weighted = e.case_mix_index
    rows = (
        ("清单", f"{e.lists} 份：无差错 {e.clean}，埋入差错 {e.lists - e.clean}"),
        ("结论", _shares(e.verdicts, e.lists)),
        ("等级", _shares(e.grades, e.lists)),
        (
            "DRG 入组率",
            f"{_percent(e.grouped, e.lists)}（歧义组 {e.ambiguous}，未入组 {e.ungrouped.total()}）",
        ),
        ("DRG 组数", f"{len(e.groups)}"),
        ("CMI", f"{index:.3f}（权重表列出的 {weighted} 份）"),
        (
            "差错查出率",
            f"{_percent(e.found.total(), e.planted.total())}（{e.found.total()}/{e.planted.total()}）",
        ),
        ("误报错误", f"{len(e.false_errors)}"),
        ("用时", f"{seconds:.2f} 秒，每份 {seconds / max(e.lists, 1) * 1e6:.0f} 微秒"),
    )
    for row in rows:
        table.add_row(*row)
    return table


def _common(title: str, unit: str, counts: Counter[tuple[str, str]]) -> Table:
    table = _table(title, ("规则", False), ("问题", False), (unit, True))
    for (rule, name), count in counts.most_common(MOST_SHOWN):
        table.add_row(rule, escape(name), str(count))
    return table


def _groups(e: Evaluation) -> Table:
    table = _table("最多的病组", ("DRG", False), ("名称", False), ("清单", True), ("权重", True))
    for drg, group in sorted(e.groups.items(), key=lambda pair: (-pair[1].lists, pair[0]))[:MOST_SHOWN]:
        weight = e.weights.get(drg)
        table.add_row(drg, escape(group.name), str(group.lists), f"{weight:.2f}" if weight else "")
    return table


def _families(e: Evaluation) -> Table:
    table = _table("埋入的差错", ("规则类", False), ("应查出", True), ("查出", True), ("查出率", True))
    for name, planted, found in e.families:
        table.add_row(name, str(planted), str(found), _percent(found, planted))
    return table


def _shares(counts: Counter[str], total: int) -> str:
    return "，".join(f"{name} {count}（{_percent(count, total)}）" for name, count in counts.most_common())


def _percent(part: int, whole: int) -> str:
    """Rounded down, so that 100.0% means all of them."""
    return f"{1000 * part // whole / 10:.1f}%" if whole else "—"
