"""``qingdan dip`` and ``qingdan payment``: group, explain and price by DIP, build a catalogue, price by DRG."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from api.cli.terminal import HomeOption, RegionOption, error_line, fail, plain, replacing
from api.reading import FileRefusedError, SourceFile
from api.services.check import Checker
from api.services.dip import (
    DipDesk,
    build,
    group_file,
    history_of_lists,
    history_of_rows,
    read_case_rows,
    read_cost,
    write_catalogue,
)
from api.services.payment import PaymentDesk, pay_file
from api.settings import Settings, load_settings
from grouper.dip.build import CITY_THRESHOLD, HistoryCase
from grouper.dip.engine import DipResult
from grouper.dip.score import DEVIATION_NAMES, DipScore
from grouper.payment import OUTLIER_NAMES, DrgPayment
from grouper.worksheet import Billing, Step, yuan
from models.grouping import Case

SHOWN_ERRORS = 20

dip_app = typer.Typer(
    name="dip", help="DIP：分组、说明理由、算分值，用历史病例生成病种目录。", no_args_is_help=True
)
out = Console(soft_wrap=True, highlight=False)

DxOption = Annotated[str, typer.Option("--dx", help="诊断编码，以 | 分隔，主要诊断在前。")]
ProceduresOption = Annotated[str, typer.Option(help="手术操作编码，以 | 分隔，主要手术操作在前。")]
AgeOption = Annotated[int | None, typer.Option(min=0, max=150, help="年龄（周岁），不足一岁写 0。")]
AgeDaysOption = Annotated[int | None, typer.Option(min=0, max=365, help="不足一岁者的天数。")]
WeightOption = Annotated[int | None, typer.Option(min=0, max=100000, help="新生儿出生体重（克）。")]
StayOption = Annotated[int | None, typer.Option(min=0, max=36500, help="住院天数。")]
IcuOption = Annotated[float | None, typer.Option(min=0, max=1e6, help="重症监护小时数。")]
SexOption = Annotated[str, typer.Option(help="1 男，2 女。")]
CostOption = Annotated[str, typer.Option(help="医疗总费用（元）。")]
LevelOption = Annotated[str, typer.Option("--level", help="医疗机构等级，写法与支付数据包一致，如 三级。")]
HospitalOption = Annotated[str, typer.Option(help="医疗机构编号，支付数据包中有单独系数时使用。")]
InsuranceOption = Annotated[str, typer.Option(help="险种，写法与支付数据包一致，如 职工。")]
CatalogueOption = Annotated[str, typer.Option(help="病种目录的数据包编号；不写时按地区选取。")]
DipPaymentOption = Annotated[str, typer.Option("--payment", help="DIP 支付数据包编号；不写时按地区选取。")]
JsonOption = Annotated[bool, typer.Option("--json", help="输出 JSON。")]


def _desk(home: Path | None, region: str | None) -> tuple[DipDesk, Settings]:
    settings = load_settings(home=home, region=region)
    return DipDesk(Checker(settings.store(), settings.region)), settings


def _codes(text: str) -> tuple[str, ...]:
    return tuple(text.split("|")) if text else ()


def _cost(text: str) -> int | None:
    if not text:
        return None
    try:
        return read_cost(text)
    except ValueError as error:
        fail(str(error))


@dip_app.command("group")
def group_case(
    dx: DxOption,
    *,
    procedures: ProceduresOption = "",
    sex: SexOption = "",
    age: AgeOption = None,
    age_days: AgeDaysOption = None,
    birth_weight: WeightOption = None,
    cost: CostOption = "",
    catalogue: CatalogueOption = "",
    explained: Annotated[bool, typer.Option("--explain", help="逐层说明理由。")] = False,
    as_json: JsonOption = False,
    region: RegionOption = None,
    home: HomeOption = None,
) -> None:
    """给一个病例做 DIP 分组。"""
    desk, _ = _desk(home, region)
    case = Case(_codes(dx), _codes(procedures), sex, age, age_days, birth_weight)
    fen = _cost(cost)
    if explained:
        found = desk.explain(case, fen, catalogue=catalogue)
        _say(msgspec.json.encode(found).decode() if as_json else found.text)
        return
    result = desk.group(case, fen, catalogue=catalogue)
    _say(msgspec.json.encode(result).decode() if as_json else _group_line(result))


def _say(text: str) -> None:
    for line in text.split("\n"):
        out.print(escape(plain(line)))


def _group_line(result: DipResult) -> str:
    return f"{result.code or '未入组'}  {result.explanation}" + (f"（{result.tie}）" if result.tie else "")


@dip_app.command()
def score(
    dx: DxOption,
    *,
    procedures: ProceduresOption = "",
    sex: SexOption = "",
    age: AgeOption = None,
    age_days: AgeDaysOption = None,
    birth_weight: WeightOption = None,
    icu_hours: IcuOption = None,
    cost: CostOption = "",
    level: LevelOption = "",
    hospital: HospitalOption = "",
    insurance: InsuranceOption = "",
    catalogue: CatalogueOption = "",
    payment: DipPaymentOption = "",
    as_json: JsonOption = False,
    region: RegionOption = None,
    home: HomeOption = None,
) -> None:
    """算一个病例的分值和预计金额，列出每一步和参数的出处。参数不全时说明缺什么，不给金额。"""
    desk, _ = _desk(home, region)
    case = Case(_codes(dx), _codes(procedures), sex, age, age_days, birth_weight, icu_hours=icu_hours)
    billing = Billing(_cost(cost), hospital, level, insurance)
    found = desk.score(case, billing, catalogue=catalogue, payment=payment)
    if as_json:
        _say(msgspec.json.encode(found).decode())
        return
    _say(_score_text(found))


def _steps(steps: tuple[Step, ...], missing: tuple[str, ...]) -> list[str]:
    lines = [
        f"  {step.item}：{step.value + '，' if step.value else ''}{step.text}"
        + (f"［{step.source}］" if step.source else "")
        for step in steps
    ]
    return [*lines, *(f"  不能给出金额：{text}" for text in missing)]


def _score_text(found: DipScore) -> str:
    head = f"{found.group or '未入组'}  {found.name}  {DEVIATION_NAMES[found.deviation]}"
    amount = "" if found.amount is None else f"预计金额 {found.amount} 元"
    return "\n".join([head, *_steps(found.steps, found.missing), *([amount] if amount else [])])


@dip_app.command("cases")
def group_cases(
    cases: Annotated[
        Path, typer.Argument(metavar="FILE.csv", help="病例：dx、procedures（以 | 分隔）、age、cost 等列。")
    ],
    out_path: Annotated[
        Path, typer.Option("--out", metavar="FILE.csv", help="结果：原有各列加上分组和分值。")
    ],
    *,
    level: LevelOption = "",
    hospital: HospitalOption = "",
    insurance: InsuranceOption = "",
    catalogue: CatalogueOption = "",
    payment: DipPaymentOption = "",
    region: RegionOption = None,
    home: HomeOption = None,
) -> None:
    """给一个 CSV 文件中的病例做 DIP 分组，算分值。

    有行不能读取时仍写出全部行，列出行号和原因，退出码为 1。
    """
    desk, _ = _desk(home, region)
    with replacing(out_path, (cases,)) as part:
        done = group_file(
            desk,
            cases,
            part,
            Billing(None, hospital, level, insurance),
            catalogue=catalogue,
            payment=payment,
        )
    _list_errors(done.errors)
    out.print(
        f"{done.cases} 例：入组 {done.grouped}，有金额 {done.priced}，不能读取 {len(done.errors)}；"
        f"已写入 {escape(str(out_path))}"
    )
    if done.errors:
        raise typer.Exit(1)


def _list_errors(errors: tuple[tuple[int, str], ...] | list[tuple[int, str]]) -> None:
    for line, reason in errors[:SHOWN_ERRORS]:
        error_line(f"第 {line} 行：{plain(reason)}，未使用")
    if len(errors) > SHOWN_ERRORS:
        error_line(f"另有 {len(errors) - SHOWN_ERRORS} 行不能使用")


@dip_app.command("build-catalogue")
def build_catalogue(
    history: Annotated[
        list[Path],
        typer.Argument(
            help="历史病例：4101 清单（JSON、NDJSON、xlsx），或 CSV（case_id、year、dx、procedures、cost）。可写多个。"
        ),
    ],
    *,
    threshold: Annotated[
        int, typer.Option(min=1, help="成为核心病种的最少例数；统筹区用 15，单家医院可以小一些。")
    ] = CITY_THRESHOLD,
    base: Annotated[
        str, typer.Option(help="先期分组、并项等规则取自这个目录；不写为国家目录（dip-national）。")
    ] = "",
    pack_id: Annotated[str, typer.Option("--id", help="目录的数据包编号。")] = "dip-local",
    name: Annotated[str, typer.Option(help="目录名称。")] = "本地 DIP 病种目录",
    publisher: Annotated[str, typer.Option(help="编制单位。")] = "本院",
    document: Annotated[str, typer.Option(help="依据的文件或说明。")] = "由历史病例生成",
    version: Annotated[str, typer.Option(help="版本号；不写为最后一年的年份。")] = "",
    effective_from: Annotated[str, typer.Option("--from", help="适用的最早出院日期，如 2026-01-01。")] = "",
    to_folder: Annotated[
        Path | None, typer.Option("--out", help="写成这个新文件夹中的数据包；不写则装入本院数据目录并启用。")
    ] = None,
    region: RegionOption = None,
    home: HomeOption = None,
) -> None:
    """用历史病例生成病种目录：核心病种、综合病种、均次费用和分值。同样的病例生成同样的目录。"""
    desk, settings = _desk(home, region)
    found, errors = [], []
    for path in history:
        try:
            cases, wrong = _read_history(desk, path, settings)
        except FileRefusedError as error:
            fail(str(error))
        found += cases
        errors += [(line, f"{path.name}：{reason}") for line, reason in wrong]
    _list_errors(errors)
    built = build(desk, found, threshold, base)
    report = built.report
    starts = None
    if effective_from:
        try:
            starts = date.fromisoformat(effective_from)
        except ValueError:
            fail(f"日期“{effective_from}”无效，应写成 2026-01-01 这样")
    fields = {
        "id": pack_id,
        "name": name,
        "publisher": publisher,
        "document": document,
        "version": version or str(max(report.years)),
        "region": settings.region,
        "effective_from": starts,
    }
    pack = write_catalogue(desk.checker.store, built, fields, to_folder, base=base)
    out.print(
        f"{report.cases} 例（{'、'.join(map(str, report.years))} 年）："
        f"国家规则 {report.by_base}，核心病种 {report.core}，综合病种 {report.comprehensive}，"
        f"不纳入分组 {report.not_for_grouping}，没有费用 {report.without_cost}，三年以前 {report.too_old}"
    )
    out.print(
        f"核心病种 {report.core_groups} 个，综合病种 {report.comprehensive_groups} 个，"
        f"全部病例均次费用 {yuan(report.mean_cost)} 元；已写入 {escape(str(pack.folder))}"
    )
    if errors:
        raise typer.Exit(1)


def _read_history(
    desk: DipDesk, path: Path, settings: Settings
) -> tuple[list[HistoryCase], list[tuple[int, str]]]:
    if path.suffix.lower() == ".csv":
        return history_of_rows(read_case_rows(path, history=True))
    source = SourceFile.open(path, settings)
    return history_of_lists(desk, ((item.line, item.received, item.error) for item in source.items()))


def payment(  # noqa: PLR0917 -- the command line gives them by name
    dx: DxOption,
    payment_pack: Annotated[
        str, typer.Option("--payment", help="DRG 支付数据包编号，如 linyi-2022；不写时按地区选取。")
    ] = "",
    procedures: ProceduresOption = "",
    sex: SexOption = "",
    age: AgeOption = None,
    age_days: AgeDaysOption = None,
    birth_weight: WeightOption = None,
    los: StayOption = None,
    cost: CostOption = "",
    level: LevelOption = "",
    hospital: HospitalOption = "",
    insurance: InsuranceOption = "",
    scheme: Annotated[str, typer.Option(help="分组方案；不写时用支付数据包所依据的方案。")] = "",
    as_json: JsonOption = False,
    region: RegionOption = None,
    home: HomeOption = None,
) -> None:
    """按 DRG 计算预计支付和盈亏，列出每一步和参数的出处。参数不全时说明缺什么，不给金额。"""
    settings = load_settings(home=home, region=region)
    desk = PaymentDesk(Checker(settings.store(), settings.region))
    case = Case(_codes(dx), _codes(procedures), sex, age, age_days, birth_weight, los)
    found = desk.pay(
        case, Billing(_cost(cost), hospital, level, insurance), payment=payment_pack, scheme=scheme
    )
    if as_json:
        _say(msgspec.json.encode(found).decode())
        return
    _say(f"{found.group.code}  {found.group.name or found.group.explanation}\n{_payment_text(found.payment)}")


def _payment_text(found: DrgPayment) -> str:
    marks = f"（{'、'.join(found.marks)}）" if found.marks else ""
    head = f"权重 {found.weight if found.weight is not None else '无'}{marks}  {OUTLIER_NAMES[found.outlier]}"
    amount = "" if found.expected is None else f"预计支付 {found.expected} 元"
    return "\n".join([head, *_steps(found.steps, found.missing), *([amount] if amount else [])])


def payment_cases(
    cases: Annotated[
        Path,
        typer.Argument(metavar="FILE.csv", help="病例：dx、procedures（以 | 分隔）、age、los、cost 等列。"),
    ],
    out_path: Annotated[Path, typer.Option("--out", metavar="FILE.csv", help="结果：原有各列加上支付。")],
    *,
    payment_pack: Annotated[
        str, typer.Option("--payment", help="DRG 支付数据包编号；不写时按地区选取。")
    ] = "",
    level: LevelOption = "",
    hospital: HospitalOption = "",
    insurance: InsuranceOption = "",
    scheme: Annotated[str, typer.Option(help="分组方案；不写时用支付数据包所依据的方案。")] = "",
    region: RegionOption = None,
    home: HomeOption = None,
) -> None:
    """给一个 CSV 文件中的病例算 DRG 预计支付和盈亏。

    有行不能读取时仍写出全部行，列出行号和原因，退出码为 1。
    """
    settings = load_settings(home=home, region=region)
    desk = PaymentDesk(Checker(settings.store(), settings.region))
    billing = Billing(None, hospital, level, insurance)
    with replacing(out_path, (cases,)) as part:
        done = pay_file(desk, cases, part, billing, payment=payment_pack, scheme=scheme)
    _list_errors(done.errors)
    out.print(
        f"{done.cases} 例：有金额 {done.priced}，不能读取 {len(done.errors)}；"
        f"有金额的病例费用 {yuan(done.cost)} 元，预计支付 {yuan(done.paid)} 元，"
        f"盈亏 {yuan(done.paid - done.cost)} 元；已写入 {escape(str(out_path))}"
    )
    if done.errors:
        raise typer.Exit(1)
