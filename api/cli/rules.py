"""``qingdan rules``: the catalogue of quality-control rules."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from api.cli.terminal import WIDE, HomeOption, RegionOption, fail
from api.services.rules import rule_entries
from api.settings import load_settings
from models.report import SEVERITY_LABELS, Severity
from qc_rules.reference import Reference
from qc_rules.ruleset import RuleSet, rule_packs

rules_app = typer.Typer(name="rules", help="质控规则目录。", no_args_is_help=True)

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
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDE
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
    "message": "提示",
    "advice": "建议",
    "needs": "所缺数据",
    "deduction": "扣分",
    "stages": "环节",
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
    basis = next(rule.basis.text for rule in rules.rules() if rule.code == found["code"])
    running = "在用" if found["runs"] else "未启用"
    shown = {**found, "basis": basis, "severity": SEVERITY_LABELS[found["severity"]], "status": running}
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
