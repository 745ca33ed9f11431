"""``qingdan template``: the workbook in which settlement lists can be typed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.cli.terminal import HomeOption, RegionOption, fail, replacing
from api.settings import load_settings
from api.spreadsheet import value_domains, write_template


def template(
    target: Annotated[Path, typer.Argument(metavar="OUT.xlsx", help="要生成的文件，以 .xlsx 结尾。")],
    force: Annotated[bool, typer.Option("--force", help="文件已存在时覆盖。")] = False,
    region: RegionOption = None,
    home: HomeOption = None,
) -> None:
    """生成填写结算清单的 Excel 模板，含值域下拉和一份虚构的示例清单。"""
    if target.suffix.lower() != ".xlsx":
        fail(f"{target}：文件名应以 .xlsx 结尾")
    if target.exists() and not force:
        fail(f"{target}：文件已存在，可能已经填写；请换一个文件名，确要覆盖时加 --force")
    settings = load_settings(home=home, region=region)
    domains = value_domains(settings.store(), settings.region)
    with replacing(target) as part:
        write_template(part, domains)
    typer.echo(f"已生成 {target}；填好后运行 qingdan check {target}")
