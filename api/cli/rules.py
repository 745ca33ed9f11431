"""``qingdan rules``: the catalogue, and the rule base as a hospital keeps it: check, try, extend."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from api.cli.terminal import HomeOption, RegionOption, error_line, fail, plain, say, table_console
from api.reading import FileRefusedError, SourceFile
from api.services.acceptance import AcceptanceError, AcceptanceStore, NewAcceptance
from api.services.rule_diff import RuleComparison, RuleDiff, named_pack
from api.services.rule_view import rule_view
from api.services.rules import installed_rule_packs, lint_pack, new_rule, rule_entries, run_pack_examples
from api.settings import load_settings
from models.pack import Pack, PackError, PackStore
from models.report import SEVERITY_LABELS, Severity
from qc_rules.lint import blanks, open_pack
from qc_rules.reference import Reference
from qc_rules.ruleset import RuleSet, rule_packs

rules_app = typer.Typer(
    name="rules", help="质控规则：目录、检查、例子、新规则、比较、已接受的问题。", no_args_is_help=True
)

Format = Literal["table", "json"]
FormatOption = Annotated[Format, typer.Option("--format", help="table 给人看，json 给程序用。")]


def _rules(region: str | None, home: Any) -> RuleSet:
    settings = load_settings(home=home, region=region)
    store = settings.store()
    return RuleSet.load(rule_packs(store, settings.region), Reference.load(store, settings.region))


@rules_app.command("list")
def list_rules(
    family: Annotated[str, typer.Option(help="只列一类，如 CMP。")] = "",
    severity: Annotated[Severity | None, typer.Option(help="只列一级：error、warn、info。")] = None,
    form: FormatOption = "table",
    region: RegionOption = None,
    home: HomeOption = None,
) -> None:
    """列出规则：编号、级别、状态、名称、依据。"""
    entries = rule_entries(_rules(region, home), family, severity or "")
    if not entries:
        fail(f"没有符合条件的规则（类别 {family or '不限'}、级别 {severity or '不限'}）", 1)
    if form == "json":
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(entries), indent=2) + b"\n")
        return
    table = Table("编号", "级别", "状态", "规则", "依据", box=None)
    for entry in entries:
        state = "在用" if entry.runs else "未启用"
        table.add_row(
            *map(Text, (entry.code, SEVERITY_LABELS[entry.severity], state, entry.title, entry.basis))
        )
    console = table_console()
    console.print(table)
    console.print(f"共 {len(entries)} 条，在用 {sum(entry.runs for entry in entries)} 条")


_LABELS = {
    "code": "编号",
    "name": "名称",
    "title": "规则",
    "severity": "级别",
    "status": "状态",
    "basis": "依据",
    "why": "理由",
    "message": "提示（例）",
    "advice": "建议",
    "needs": "所缺数据",
    "deduction": "扣分",
    "stages": "阶段",
    "interfaces": "接口",
    "effective_from": "生效日期",
    "effective_to": "失效日期",
    "pack": "规则包",
}


@rules_app.command()
def show(
    code: Annotated[str, typer.Argument(metavar="CODE", help="规则编号，如 CMP-001。")],
    form: FormatOption = "table",
    region: RegionOption = None,
    home: HomeOption = None,
) -> None:
    """显示一条规则的依据、理由、提示和建议。"""
    rules = _rules(region, home)
    found = rules.rule(code.upper())
    if found is None:
        fail(f"没有规则 {code}；规则目录见 qingdan rules list", 1)
    if form == "json":
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
        return
    rule = next(rule for rule in rules.rules() if rule.code == found["code"])
    view = rule_view(rules, rule)
    running = "在用" if found["runs"] else "未启用"
    said = {"message": view.message, "advice": view.advice or rule.advice}
    shown = {
        **found,
        **said,
        "basis": rule.basis.text,
        "severity": SEVERITY_LABELS[found["severity"]],
        "status": running,
    }
    console = Console(highlight=False, soft_wrap=True)
    for key, label in _LABELS.items():
        value = shown.get(key)
        if value not in (None, "", []):
            console.print(
                Text(f"{label}：{'、'.join(map(str, value)) if isinstance(value, list) else value}")
            )
    for name, parameter in found["parameters"].items():
        text = f"参数 {name} = {parameter['value']}{parameter['unit']}：{parameter['description']}"
        console.print(Text(text))
    for title, examples in (("会触发", view.fires), ("不触发", view.passes)):
        for example in examples:
            note = f"（{example.note}）" if example.note else ""
            console.print(Text(f"{title}：{example.base}{note}：{'；'.join(example.lines) or '不改动'}"))


FoldersArgument = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[FOLDER…]", help="规则包的文件夹；不写则为全国规则和本院在用的规则包。"),
]


def _packs(folders: list[Path] | None, store: PackStore) -> Iterator[Pack]:
    """The packs asked for; one that cannot be opened is said and gives none."""
    if not folders:
        for broken in store.broken:
            for fault in broken.faults:
                error_line(fault)
        yield from installed_rule_packs(store)
        return
    for folder in folders:
        try:
            yield open_pack(folder)
        except PackError as error:
            for fault in error.faults:
                error_line(fault)


@rules_app.command("lint")
def lint_rules(folders: FoldersArgument = None, region: RegionOption = None, home: HomeOption = None) -> None:
    """检查规则包：每处错误写明文件、行号和键；有错误时退出码为 1。"""
    settings = load_settings(home=home, region=region)
    store = settings.store()
    sound = 0
    packs = list(_packs(folders, store))
    for pack in packs:
        faults = lint_pack(store, pack, settings.region)
        for fault in faults:
            error_line(fault)
        if not faults:
            sound += 1
            say(f"{pack.id} {pack.manifest.version}（{pack.folder}）：没有错误")
            for blank in blanks(pack):
                say(f"  {blank}")
    if sound < (len(folders) if folders else len(packs) + len(store.broken)):
        raise typer.Exit(1)


@rules_app.command("test")
def try_examples(
    folders: FoldersArgument = None,
    rule: Annotated[list[str] | None, typer.Option(help="只试这条规则，可写多次，如 CMP-001。")] = None,
    region: RegionOption = None,
    home: HomeOption = None,
) -> None:
    """运行规则的例子：应触发的触发，不应触发的不触发；有不符时退出码为 1。"""
    settings = load_settings(home=home, region=region)
    store = settings.store()
    codes = [code.upper() for code in rule or ()]
    packs = list(_packs(folders, store))
    failed = len(packs) < len(folders or ())
    ran: set[str] = set()
    for pack in packs:
        try:
            result = run_pack_examples(store, pack, codes, settings.region)
        except PackError as error:
            faults = error.faults
        else:
            faults = result.faults
            ran.update(result.rules)
            if result.rules or not codes:
                say(f"{pack.id}：{len(result.rules)} 条规则，{result.examples} 个例子，{len(faults)} 处不符")
        failed = failed or bool(faults)
        for fault in faults:
            error_line(fault)
    for code in codes:
        if code not in ran and not failed:
            error_line(f"没有可试的规则 {code}：规则包里没有它，或它没有写 when")
    if failed or set(codes) - ran:
        raise typer.Exit(1)


@rules_app.command("new")
def new(
    code: Annotated[str, typer.Argument(metavar="CODE", help="新规则的编号，如 BYGZ-001。")],
    name: Annotated[str, typer.Option(help="短名，如 病案号位数不对。")],
    folder: Annotated[
        Path, typer.Option(file_okay=False, help="规则包的文件夹；没有 pack.toml 时一并写好。")
    ] = Path("hospital-rules"),
) -> None:
    """写一条新规则的骨架：能通过检查，待填的地方标有【待填】。"""
    try:
        made = new_rule(folder, code, name)
    except PackError as error:
        fail("；".join(error.faults), 1)
    for path in made:
        say(f"已写入 {path}")
    say(
        f"填好后运行 qingdan rules lint {folder}、qingdan rules test {folder}，再用 qingdan packs import {folder} 装入"
    )


MOVED_SHOWN = 20


@rules_app.command("diff")
def diff_rules(  # noqa: PLR0917 -- the command line gives them by name
    before: Annotated[str, typer.Argument(metavar="PACK_A", help="现在的规则包：文件夹、编号或 编号@版本。")],
    after: Annotated[str, typer.Argument(metavar="PACK_B", help="要换成的规则包，写法相同。")],
    on: Annotated[Path, typer.Option(metavar="FILE", help="清单文件：JSON、NDJSON 或模板 .xlsx。")],
    form: FormatOption = "table",
    region: RegionOption = None,
    home: HomeOption = None,
) -> None:
    """两个规则包用在同一批清单上有什么不同：出现、消失、轻重改变的问题，结论改变的清单。"""
    settings = load_settings(home=home, region=region)
    store = settings.store()
    try:
        source = SourceFile.open(on, settings)
        comparison = RuleComparison(
            store, named_pack(store, before), named_pack(store, after), settings.region
        )
        for item in source.items(lambda _: None):
            if item.received is None:
                comparison.add_unread()
                continue
            try:
                comparison.add(item.line, item.received)
            except PackError:
                # No pack holds for this list's discharge date; the other lists have theirs.
                comparison.add_unread()
    except FileRefusedError as error:
        fail(str(error))
    found = comparison.result()
    if form == "json":
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
        return
    _print_diff(found)


def _print_diff(found: RuleDiff) -> None:
    console = table_console()
    unread = f"，不能检查 {found.unread} 份" if found.unread else ""
    say(f"{found.before} → {found.after}：{found.lists} 份清单{unread}")
    if not found.rules:
        say("没有不同")
        return
    table = Table("规则", "出现", "消失", "轻重改变", "清单", "内容", box=None)
    for one in found.rules:
        numbers = (one.appeared, one.vanished, one.reweighed, one.lists)
        table.add_row(Text(one.rule), *(Text(str(number)) for number in numbers), Text(plain(one.title)))
    console.print(table)
    moves = "，".join(f"{move} {count} 份" for move, count in found.moves.items())
    say(f"结论改变：{moves or '没有'}")
    for moved in found.moved[:MOVED_SHOWN]:
        scores = f"{moved.score_before} → {moved.score_after} 分"
        say(f"  第 {moved.line} 行 {moved.list_id or '（无编号）'}：{moved.before} → {moved.after}，{scores}")
    if len(found.moved) > MOVED_SHOWN:
        say("  ……其余见 --format json")


@rules_app.command("accept")
def accept(  # noqa: PLR0917 -- the command line gives them by name
    rule: Annotated[str, typer.Argument(metavar="CODE", help="规则编号，如 CMP-063。")],
    by: Annotated[str, typer.Option(help="接受人。")],
    reason: Annotated[str, typer.Option(help="理由。")],
    list_id: Annotated[
        str, typer.Option("--list", help="清单编号（就诊ID）；不写则对所有清单的这类问题。")
    ] = "",
    field: Annotated[str, typer.Option(help="只接受这个字段上的，如 性别、diseinfo.diag_code。")] = "",
    value: Annotated[str, typer.Option(help="只接受这个值。")] = "",
    department: Annotated[str, typer.Option(help="只接受这个出院科室（代码）。")] = "",
    until: Annotated[str, typer.Option(help="有效的最后一天，如 2026-12-31；不写则长期。")] = "",
    region: RegionOption = None,
    home: HomeOption = None,
) -> None:
    """接受一份清单或一类清单上的问题：仍列在报告中，不再计入结论和得分。"""
    try:
        last = date.fromisoformat(until) if until else None
    except ValueError:
        fail(f"日期“{until}”无效，应写成 2026-12-31 这样", 1)
    code = rule.upper()
    if _rules(region, home).rule(code) is None:
        fail(f"没有规则 {rule}；规则目录见 qingdan rules list", 1)
    asked = NewAcceptance(code, by, reason, last, list_id, field, value, department)
    with _refusals():
        made = _acceptances(home).add(asked, datetime.now().astimezone())
        say(f"已接受，编号 {made.id}")


@rules_app.command("accepted")
def accepted(
    every: Annotated[bool, typer.Option("--all", help="也列出已撤销和已过期的。")] = False,
    form: FormatOption = "table",
    home: HomeOption = None,
) -> None:
    """列出已接受的问题。"""
    today = datetime.now().astimezone().date()
    with _refusals():
        kept = _acceptances(home).all()
    shown = [one for one in kept if every or (one.withdrawn is None and one.acceptance.holds(today))]
    if form == "json":
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(shown), indent=2) + b"\n")
        return
    table = Table("编号", "规则", "范围", "接受人", "理由", "有效期", "状态", box=None)
    for one in shown:
        a = one.acceptance
        scope = [f"清单 {a.list_id}" if a.list_id else "所有清单", a.field, a.value, a.department]
        state = "有效" if a.holds(today) else "已过期"
        if one.withdrawn is not None:
            state = f"{one.withdrawn.by}撤销"
        last = f"至 {a.until}" if a.until else "长期"
        cells = (a.id, a.rule, " ".join(filter(None, scope)), a.by, a.reason, last, state)
        table.add_row(*(Text(plain(cell)) for cell in cells))
    console = table_console()
    if shown:
        console.print(table)
    console.print(f"共 {len(shown)} 条")


@rules_app.command("withdraw")
def withdraw(
    acceptance_id: Annotated[str, typer.Argument(metavar="ID", help="接受的编号，如 A0001。")],
    by: Annotated[str, typer.Option(help="撤销人。")],
    home: HomeOption = None,
) -> None:
    """撤销一次接受：问题重新计入结论和得分；记录保留。"""
    with _refusals():
        found = _acceptances(home).withdraw(acceptance_id.upper(), by, datetime.now().astimezone())
        say(f"{found.acceptance.id} 已撤销（规则 {found.acceptance.rule}）")


def _acceptances(home: Path | None) -> AcceptanceStore:
    from api.store.acceptances import StoredAcceptances  # noqa: PLC0415 -- takes time, and other commands need no store

    return StoredAcceptances.of(load_settings(home=home))


@contextmanager
def _refusals() -> Iterator[None]:
    """Every fault on a line of its own, then exit status 1."""
    try:
        yield
    except AcceptanceError as error:
        for fault in error.faults:
            error_line(fault)
        raise typer.Exit(1) from error
