"""The command line: ``qingdan`` and its commands."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Annotated

import typer
from typer._click.exceptions import ClickException, NoArgsIsHelpError

from api.cli.terminal import WRONG_USAGE, error_line
from api.cli.usage import in_chinese, speak_chinese
from api.settings import SettingsError
from api.version import program_version
from models.collection import uncollected
from models.pack import PackError

COMMANDS = {
    "check": "api.cli.check:check",
    "group": "api.cli.group:group",
    "explain": "api.cli.compare:explain",
    "what-if": "api.cli.compare:what_if",
    "compare": "api.cli.compare:compare",
    "payment": "api.cli.dip:payment",
    "payment-cases": "api.cli.dip:payment_cases",
    "month": "api.cli.month:month",
    "month-learn": "api.cli.month:month_learn",
    "template": "api.cli.template:template",
    "serve": "api.cli.serve:serve",
    "suggest": "api.cli.coding:suggest",
    "intake": "api.cli.intake:intake_app",
    "batch": "api.cli.revalidate:batch_app",
    "dip": "api.cli.dip:dip_app",
    "report": "api.cli.report:report_app",
    "rules": "api.cli.rules:rules_app",
    "packs": "api.cli.packs:packs_app",
    "db": "api.cli.database:db_app",
    "demo": "api.cli.demo:demo_app",
    "coding": "api.cli.coding:coding_app",
}
"""Where each command, or group of commands, is: only the module of the one that is asked for is loaded."""


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"qingdan {program_version()}")
        raise typer.Exit


def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="显示版本号。")
    ] = False,
) -> None:
    """医疗保障基金结算清单：质控、DRG/DIP 分组、编码辅助。"""


def application(*names: str) -> typer.Typer:
    """The command line with the commands ``names``, keys of COMMANDS; without any with all of them."""
    app = typer.Typer(
        name="qingdan",
        help="医疗保障基金结算清单：质控、DRG/DIP 分组、编码辅助。",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for name in names or COMMANDS:
        module, _, attribute = COMMANDS[name].partition(":")
        found = getattr(importlib.import_module(module), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found)
        else:
            app.command(name)(found)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run one command line and give its exit status. Every foreseen error is a line in Chinese."""
    # Anything else than a command, such as --help or a misspelt one, is about all of them.
    asked = [name for name in arguments[:1] if name in COMMANDS]
    with uncollected():
        command = speak_chinese(typer.main.get_command(application(*asked)))
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
