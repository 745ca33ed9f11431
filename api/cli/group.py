"""``qingdan group``: a CSV file of cases, with their groups filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.cli.terminal import HomeOption, RegionOption, error_line, fail, plain
from api.services.check import Checker
from api.settings import load_settings
from coding.library import System
from grouper.cases_csv import CaseFileError, group_cases_csv
from grouper.prepare import OWN_EDITIONS

SHOWN_FAULTS = 20
"""Faulty rows named on the screen; the rest are counted."""

EDITION_HELP = "编码版本，如 clinical-2.0；不写即医保版 2.0。"


def group(  # noqa: PLR0917 -- the command line gives them by name
    scheme: Annotated[str, typer.Option(help="分组方案的数据包编号，如 chs-drg-2.0。")],
    cases: Annotated[
        Path,
        typer.Option(
            metavar="FILE.csv",
            help="病例：dx 列（编码以 | 分隔，主要诊断在前），以及 procedures、sex、age 等列。",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE.csv", help="结果：同样的行和列，group 列填上分组。")],
    diagnosis_edition: Annotated[str, typer.Option(help=f"诊断的{EDITION_HELP}")] = "",
    procedure_edition: Annotated[str, typer.Option(help=f"手术操作的{EDITION_HELP}")] = "",
    explained: Annotated[
        bool, typer.Option("--explain", help="再添两列：name（组的名称）和 reason（入组或未入组的理由）。")
    ] = False,
    region: RegionOption = None,
    home: HomeOption = None,
) -> None:
    """给一个 CSV 文件中的病例分组。

    有行不能读取时仍写出全部行（该行 group 为空），列出行号和原因，退出码为 1。
    """
    if cases.exists() and not cases.is_file():
        fail(f"{cases}：不是普通文件，请给出 CSV 文件")
    if not out.parent.is_dir() or (out.exists() and not out.is_file()):
        fail(f"{out}：不能写入（没有这个文件夹，或不是普通文件）")
    settings = load_settings(home=home, region=region)
    checker = Checker(settings.store(), settings.region)
    chosen = checker.scheme_for(None, scheme=scheme)
    editions: tuple[tuple[System, str], ...] = (("icd10", diagnosis_edition), ("icd9cm3", procedure_edition))
    for system, edition in editions:
        if edition not in OWN_EDITIONS:
            checker.library.to_insurance(
                system, edition, ""
            )  # an edition without crosswalk is refused at once
    try:
        report = group_cases_csv(
            chosen, cases, out, diagnosis_edition, procedure_edition, explained=explained
        )
    except CaseFileError as error:
        fail(str(error))
    for fault in report.faults[:SHOWN_FAULTS]:
        error_line(f"第 {fault.line} 行：{plain(fault.reason)}，未分组")
    if len(report.faults) > SHOWN_FAULTS:
        error_line(f"另有 {len(report.faults) - SHOWN_FAULTS} 行不能读取")
    typer.echo(
        f"{report.rows} 例：入组 {report.grouped}，歧义组 {report.ambiguous}，"
        f"未入组（0000）{report.not_grouped}，不能读取 {len(report.faults)}；已写入 {out}"
    )
    if report.faults:
        raise typer.Exit(1)
