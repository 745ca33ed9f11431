"""``qingdan explain``, ``what-if`` and ``compare``: why a list has its DRG, other choices, two schemes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer

from api.cli.dip import HospitalOption, InsuranceOption, LevelOption
from api.cli.terminal import HomeOption, RegionOption, SchemeOption, error_line, fail, plain, replacing
from api.reading import FileRefusedError, SourceFile
from api.services.check import Checker
from api.services.comparison import ComparisonDesk, JudgedAlternative, JudgedWhatIf
from api.services.dip import DipDesk
from api.services.explanation import explain_case
from api.services.payment import PaymentDesk, billing_of_list
from api.settings import Settings, load_settings
from grouper.cases_csv import CaseFileError
from grouper.compare import FileComparison, Outcome, SchemeComparison, TooManyCodesError
from grouper.worksheet import Billing
from models.pack import PackError
from models.wire import Received

Format = Literal["text", "json"]
FormatOption = Annotated[Format, typer.Option("--format", help="text 给人看；json 给程序用，一份清单一行。")]
ListArgument = Annotated[
    Path, typer.Argument(metavar="LIST.json", help="结算清单：JSON、NDJSON（一行一份）或模板 .xlsx。")
]
DrgPaymentOption = Annotated[
    str, typer.Option("--payment", help="DRG 支付数据包编号，如 liaocheng-2025；不写时按地区选取。")
]

SHOWN_FAULTS = 20
SHOWN_MOVES = 10
NOT_DONE = 1
"""Exit status when a list or a row could not be read or grouped."""
KIND_TITLES = {
    "principal": "以另一诊断作主要诊断",
    "main": "以另一手术操作作主要手术操作",
    "without": "不计一个 MCC/CC",
}
ROLES = {"principal": "主要诊断", "other": "其他诊断", "main": "主要手术操作", "procedure": "其他手术操作"}
NEUTRAL = "主要诊断和主要手术操作由病历决定。以下按清单中的先后列出，只说明分组规则，不作推荐。"


def explain(
    path: ListArgument,
    form: FormatOption = "text",
    region: RegionOption = None,
    scheme: SchemeOption = None,
    home: HomeOption = None,
) -> None:
    """说明清单为什么入这个 DRG：各级规则、事实、此前未入的组。文本可用于申诉材料。"""
    settings = load_settings(home=home, region=region, scheme=scheme)
    desk = DipDesk(Checker(settings.store(), settings.region, settings.scheme))

    def answer(received: Received) -> tuple[object, str]:
        case, _, on = desk.case_of_list(received)
        found = explain_case(desk.checker, case, on=on)
        return found, found.to_text()

    _each_list(path, settings, form, answer)


def what_if(  # noqa: PLR0917 -- the command line gives them by name
    path: ListArgument,
    form: FormatOption = "text",
    payment: Annotated[
        str,
        typer.Option(
            "--payment",
            help="也列出权重、金额和差额：true 用地区的 DRG 支付数据包，或写数据包编号，如 liaocheng-2025。不写不列。",
        ),
    ] = "",
    level: LevelOption = "",
    hospital: HospitalOption = "",
    insurance: InsuranceOption = "",
    region: RegionOption = None,
    scheme: SchemeOption = None,
    home: HomeOption = None,
) -> None:
    """换一种主要诊断、主要手术操作，或不计一个 MCC/CC 时的分组；支撑入组的编码。不作推荐。"""
    settings = load_settings(home=home, region=region, scheme=scheme)
    checker = Checker(settings.store(), settings.region, settings.scheme)
    dip, desk = DipDesk(checker), ComparisonDesk(checker, PaymentDesk(checker))
    given = Billing(None, hospital, level, insurance)

    def answer(received: Received) -> tuple[object, str]:
        case, cost, on = dip.case_of_list(received)
        billing = billing_of_list(received, cost, given)
        found = desk.what_if(case, billing, on=on, payment=payment, received=received)
        return found, "\n".join(_what_if_lines(found, paid=bool(payment))) + "\n"

    _each_list(path, settings, form, answer)


def compare(  # noqa: PLR0917 -- the command line gives them by name
    schemes: Annotated[
        str, typer.Option(help="两个分组方案的数据包编号，半角逗号分隔，如 chs-drg-1.1,chs-drg-2.0。")
    ],
    path: Annotated[
        Path | None, typer.Argument(metavar="[LIST.json]", help="结算清单；或用 --cases 给出病例文件。")
    ] = None,
    cases: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="病例：与 qingdan group 相同的 CSV。")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="结果：每一行在两个方案下的分组和权重。")
    ] = None,
    payments: Annotated[
        str, typer.Option(help="与两个方案对应的支付数据包编号，半角逗号分隔；不写时用地区的。")
    ] = "",
    form: FormatOption = "text",
    region: RegionOption = None,
    home: HomeOption = None,
) -> None:
    """同一份清单或一个文件的病例在两个分组方案下的分组：例数、换组的病例、权重变化。"""
    first, second = _pair("--schemes", schemes)
    plans = _pair("--payments", payments) if payments else ("", "")
    if (path is None) == (cases is None):
        fail("请写一份清单（LIST.json），或用 --cases 给出病例文件，二者只写一个")
    settings = load_settings(home=home, region=region)
    checker = Checker(settings.store(), settings.region)
    desk = ComparisonDesk(checker, PaymentDesk(checker))
    if path is not None:
        dip = DipDesk(checker)

        def answer(received: Received) -> tuple[object, str]:
            case, _, on = dip.case_of_list(received)
            found = desk.compare(first, second, case, on=on, payments=plans)
            return found, _scheme_lines(found)

        _each_list(path, settings, form, answer)
        return
    assert cases is not None  # noqa: S101 -- one of both is given
    if out is None:
        fail("比较病例文件时要用 --out 写明结果文件")
    if cases.exists() and not cases.is_file():
        fail(f"{cases}：不是普通文件，请给出 CSV 文件")
    with replacing(out, (cases,)) as part:
        try:
            result = desk.compare_file(first, second, cases, part, payments=plans)
        except CaseFileError as error:
            fail(str(error))
    _say_file(result, (first, second), form)
    typer.echo(f"已写入 {out}", err=form == "json")
    if result.faults:
        raise typer.Exit(NOT_DONE)


Answer = Callable[[Received], tuple[object, str]]
"""What a command says of one list: the same for programs and for people."""


def _each_list(path: Path, settings: Settings, form: Format, answer: Answer) -> None:
    """Print the answer for every list of a file; leaves with NOT_DONE when one has none."""
    failed = False
    try:
        source = SourceFile.open(path, settings)
        for item in source.items():
            error = item.error
            if item.received is not None:
                try:
                    found, text = answer(item.received)
                except (PackError, TooManyCodesError) as fault:
                    error = str(fault)
                else:
                    head = "" if source.single or form == "json" else f"── 第 {item.line} 行 ──\n"
                    _print(head + text if form == "text" else msgspec.json.encode(found).decode())
            if error:
                failed = True
                error_line(f"{path} 第 {item.line} 行：{error}")
    except FileRefusedError as refusal:
        fail(str(refusal))
    if failed:
        raise typer.Exit(NOT_DONE)


def _print(text: str) -> None:
    sys.stdout.write("\n".join(plain(line) for line in text.rstrip("\n").split("\n")) + "\n")


def _pair(option: str, text: str) -> tuple[str, str]:
    first, comma, second = (part.strip() for part in text.partition(","))
    if not comma or not first or not second or "," in second:
        fail(f"{option} 要写两个编号，用半角逗号分隔，收到的是“{text[:80]}”")
    return first, second


def _what_if_lines(found: JudgedWhatIf, *, paid: bool) -> Iterable[str]:
    yield f"清单所列：{_outcome(found.listed)}"
    yield NEUTRAL
    for kind, title in KIND_TITLES.items():
        alternatives = [one for one in found.alternatives if one.kind == kind]
        if alternatives:
            yield f"{title}（{alternatives[0].rule}）"
        for one in alternatives:
            yield from _alternative_lines(one, judged=found.judged)
    yield "支撑入组的编码（去掉就会改变分组，病历中须有依据）"
    for carrier in found.carriers:
        named = f"{carrier.code} {carrier.name}".strip()
        yield f"  {ROLES[carrier.role]} {named}：去掉后为 {_outcome(carrier.without)}"
    if found.ungrouped:
        yield f"  清单没有入组：{found.ungrouped}"
    elif not found.carriers:
        yield "  没有：去掉任何一个编码，分组都不变"
    if paid:
        yield f"权重和支付：{found.weights_source or '没有适用的 DRG 支付数据包，不列权重和金额'}"
    for text in found.missing:
        yield f"  不能给出金额：{text}"


def _alternative_lines(one: JudgedAlternative, *, judged: bool) -> Iterable[str]:
    differences = [
        f"{label}{difference:+}"
        for label, difference in (("权重 ", one.weight_difference), ("支付 ", one.payment_difference))
        if difference is not None
    ]
    change = "分组不变" if one.same_group else "、".join(differences)
    yield f"  {one.code} {one.name}：{_outcome(one.outcome)}" + (f"（{change}）" if change else "")
    for text in one.obstacles:
        yield f"    分组：{text}"
    for mention in one.broken:
        yield f"    将触发 {mention.rule} {mention.title}：{mention.message}"
    for mention in one.mended:
        yield f"    不再触发 {mention.rule} {mention.title}"
    if judged and not (one.obstacles or one.broken or one.mended):
        yield "    没有规则可以判断，不表示可以改选"


def _outcome(outcome: Outcome) -> str:
    figures = [
        f"{label} {value}{unit}"
        for label, value, unit in (
            ("权重", outcome.weight, ""),
            ("公布的支付标准", outcome.standard, " 元"),
            ("预计支付", outcome.payment, " 元"),
        )
        if value is not None
    ]
    return f"{outcome.code} {outcome.name}" + (f"，{'，'.join(figures)}" if figures else "")


def _scheme_lines(found: SchemeComparison) -> str:
    results = ((found.first, found.first_outcome), (found.second, found.second_outcome))
    lines = [
        f"{result.pack.name if result.pack else ''}：{_outcome(outcome)}\n  {result.explanation}"
        for result, outcome in results
    ]
    if found.weight_difference is not None:
        lines.append(f"权重变化 {found.weight_difference:+}")
    return "\n".join(lines) + "\n"


def _say_file(found: FileComparison, schemes: tuple[str, str], form: Format) -> None:
    for fault in found.faults[:SHOWN_FAULTS]:
        error_line(f"第 {fault.line} 行：{plain(fault.reason)}，未比较")
    if len(found.faults) > SHOWN_FAULTS:
        error_line(f"另有 {len(found.faults) - SHOWN_FAULTS} 行不能读取")
    if form == "json":
        _print(msgspec.json.encode(found).decode())
        return
    moved = found.cases - found.same
    lines = [
        f"{found.cases} 例：分组编码相同 {found.same}，不同 {moved}，不能读取 {len(found.faults)}",
        f"未入组（0000）：{schemes[0]} {found.first_not_grouped}，{schemes[1]} {found.second_not_grouped}",
    ]
    lines += [
        _move_line(move.first, move.second, move.cases, move.weight_difference)
        for move in found.moves[:SHOWN_MOVES]
    ]
    if len(found.moves) > SHOWN_MOVES:
        lines.append(f"  另有 {len(found.moves) - SHOWN_MOVES} 种变化，见结果文件")
    if found.weighed:
        change = found.second_weight - found.first_weight
        lines.append(
            f"两个方案都有权重的 {found.weighed} 例：总权重 {found.first_weight} → {found.second_weight}（{change:+}）"
        )
    else:
        lines.append("没有权重：用 --payments 写明与两个方案对应的 DRG 支付数据包")
    _print("\n".join(lines))


def _move_line(first: str, second: str, cases: int, difference: Decimal | None) -> str:
    return f"  {first} → {second}：{cases} 例" + (
        f"，每例权重 {difference:+}" if difference is not None else ""
    )
