"""The command line: ``qingdan`` and its commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Annotated

import typer
from typer._click.exceptions import ClickException, NoArgsIsHelpError

from api.cli.batch import batch_app
from api.cli.check import check
from api.cli.coding import coding_app, suggest
from api.cli.compare import compare, explain, what_if
from api.cli.database import db_app
from api.cli.demo import demo_app
from api.cli.dip import dip_app, payment, payment_cases
from api.cli.group import group
from api.cli.intake import intake_app
from api.cli.month import month, month_learn
from api.cli.packs import packs_app
from api.cli.report import report_app
from api.cli.revalidate import compare_command, open_command, revalidate, save_command
from api.cli.rules import rules_app
from api.cli.serve import serve
from api.cli.template import template
from api.cli.terminal import WRONG_USAGE, error_line
from api.cli.usage import in_chinese, speak_chinese
from api.settings import SettingsError
from api.version import program_version
from models.pack import PackError

app = typer.Typer(
    name="qingdan",
    help="医疗保障基金结算清单：质控、DRG/DIP 分组、编码辅助。",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(check)
app.command()(group)
app.command()(explain)
app.command("what-if")(what_if)
app.command()(compare)
app.command()(payment)
app.command("payment-cases")(payment_cases)
app.command()(month)
app.command("month-learn")(month_learn)
app.command()(template)
app.command()(serve)
app.command()(suggest)
app.add_typer(intake_app)
batch_app.command("revalidate")(revalidate)
batch_app.command("compare")(compare_command)
batch_app.command("open")(open_command)
batch_app.command("save")(save_command)
app.add_typer(batch_app)
app.add_typer(dip_app)
app.add_typer(report_app)
app.add_typer(rules_app)
app.add_typer(packs_app)
app.add_typer(db_app)
app.add_typer(demo_app)
app.add_typer(coding_app)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"qingdan {program_version()}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="显示版本号。")
    ] = False,
) -> None:
    """医疗保障基金结算清单：质控、DRG/DIP 分组、编码辅助。"""


def run(arguments: Sequence[str]) -> int:
    """Run one command line and give its exit status. Every foreseen error is a line in Chinese."""
    command = speak_chinese(typer.main.get_command(app))
    try:
        result = command.main(list(arguments), prog_name="qingdan", standalone_mode=False)
    except NoArgsIsHelpError as error:
        typer.echo(error.format_message(), err=True)
        return WRONG_USAGE
    except ClickException as error:
        error_line(f"{in_chinese(error.format_message())}（用法见 qingdan --help）")
        return WRONG_USAGE
    except (SettingsError, PackError) as error:
        for fault in getattr(error, "faults", (str(error),)):
            error_line(fault)
        return WRONG_USAGE
    except typer.Abort:
        return 130
    return result if isinstance(result, int) else 0


def main() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A terminal of another encoding shows a question mark where it lacks a character.
            stream.reconfigure(errors="replace")
    try:
        status = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has left: nothing more to say, at shutdown neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    sys.exit(status)
