"""What the commands share: the two consoles, the common options, one clear line for an error."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn, TextIO

import typer
from rich.console import Console
from rich.progress import Progress, ProgressColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from models.system_errors import reason_of

WRONG_USAGE = 2
"""Exit status for a wrong command line, a file that cannot be read and an installation that cannot work."""
WIDE = 160
"""Columns of a table that goes to a file or a program."""

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="本院数据目录（也可用环境变量 QINGDAN_HOME）。")
]
RegionOption = Annotated[str | None, typer.Option(help="统筹地区：行政区划代码的前几位，如 45。")]
SchemeOption = Annotated[
    str | None, typer.Option(help="DRG 分组方案的数据包编号，如 chs-drg-2.0；不写时按地区和出院日期选取。")
]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """``text`` without what could move the cursor, colour the screen or turn the writing direction."""
    return _CONTROL.sub("�", text)


def error_line(message: str) -> None:
    """One line on standard error."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(Text(plain(message), style="red"))


def fail(message: str, status: int = WRONG_USAGE) -> NoReturn:
    """Say what is wrong in one line and leave."""
    error_line(message)
    raise typer.Exit(status)


def say(text: str) -> None:
    """A sentence for people, in one line however long."""
    Console(highlight=False, soft_wrap=True).print(Text(plain(text)))


def table_console(stream: TextIO | None = None) -> Console:
    """Where tables are printed; ``stream`` instead of standard output."""
    console = Console(file=stream, highlight=False)
    if not console.is_terminal:
        console.width = WIDE
    return console


def progress_bar(*columns: ProgressColumn) -> Progress:
    """How far a long task is, on standard error, gone when it is done."""
    return Progress(*columns, console=Console(stderr=True), transient=True)


@contextmanager
def counting(text: str) -> Iterator[Callable[[], object]]:
    """A count of lists on standard error while they are read."""
    columns = (TextColumn("{task.description}"), TextColumn("{task.completed} 份"), TimeElapsedColumn())
    with progress_bar(*columns) as bar:
        task = bar.add_task(text, total=None)
        yield lambda: bar.advance(task)


def make_folder(path: Path) -> None:
    """Leaves with a clear line when the folder of the results cannot be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        fail(f"{path}：不能建立文件夹（{reason_of(error, '文件夹名无效')}）")


@contextmanager
def replacing(path: Path, inputs: tuple[Path, ...] = ()) -> Iterator[Path]:
    """A new file beside ``path`` that takes its place when everything went well, and is gone otherwise.

    Leaves with a clear line when ``path`` cannot be written or is one of ``inputs``.
    """
    try:
        if path.exists():
            if not stat.S_ISREG(path.stat().st_mode):
                fail(f"{path}：不是普通文件，不能写入结果")
            if any(path.samefile(one) for one in inputs if one.exists()):
                fail(f"{path}：输出文件不能是输入文件")
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        part.touch(exist_ok=False)
    except (OSError, ValueError) as error:
        reason = "没有这个文件夹" if isinstance(error, FileNotFoundError) else reason_of(error, "文件名无效")
        fail(f"{path}：不能写入（{reason}）")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
