"""``qingdan db``: the state of the store, its tables brought up to date, a copy of it, the audit log."""

from __future__ import annotations

import sys
from datetime import date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer
from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from api.cli.batch import ByOption, open_database, who
from api.cli.terminal import HomeOption, fail, plain, replacing, say, table_console
from api.settings import load_settings

if TYPE_CHECKING:
    from api.store.audit import Verified

db_app = typer.Typer(name="db", help="数据库：状态、升级、备份、审计记录。", no_args_is_help=True)


@db_app.command("status")
def status(home: HomeOption = None) -> None:
    """显示数据库在哪里、结构版本、各表条数、身份密钥的编号，并核对审计记录。

    结构版本不是本程序的、密钥不对或审计记录被改动过时退出码为 1。
    """
    from api.store.database import HEAD, Database, StoreError  # noqa: PLC0415 -- other commands need no store
    from api.store.state import state_of  # noqa: PLC0415

    settings = load_settings(home=home)
    if not Database.exists(settings):
        typer.echo("还没有数据库；第一次需要保存时建立")
        return
    database = Database.connect(settings)
    try:
        revision = database.revision()
        say(f"数据库：{database.name}")
        say(f"结构版本：{revision or '无'}（本程序 {HEAD}）")
        if revision != HEAD:
            fail("结构版本不是本程序的：旧的用 qingdan db upgrade 升级，新的请升级程序", 1)
        found = state_of(database)
        table = Table("内容", "条数", box=None)
        for label, count in found.counts.items():
            table.add_row(Text(label), str(count))
        Console(highlight=False).print(table)
        if found.size is not None:
            say(f"占用磁盘：{found.size / 1024 / 1024:.1f} MiB")
        try:
            say(f"身份密钥：{found.key_state(settings)}")
        except StoreError as error:
            fail(str(error), 1)
        _verified(found.audit)
    finally:
        database.dispose()


@db_app.command("upgrade")
def upgrade(home: HomeOption = None) -> None:
    """建立数据库，或把它的结构升级到本程序的版本；升级前请先备份。"""
    with open_database(home) as (_, database):
        say(f"{database.name}：结构版本 {database.revision()}，已是最新")


@db_app.command("backup")
def backup(
    out: Annotated[Path, typer.Argument(metavar="FILE", help="备份写到哪个文件。")],
    by: ByOption = None,
    home: HomeOption = None,
) -> None:
    """把 SQLite 数据库备份成一个文件，不必停止服务。身份密钥 identity.key 要另外保管。"""
    from api.store import audit  # noqa: PLC0415 -- other commands need no store

    with open_database(home) as (_, database):
        inputs = () if database.file is None else (database.file,)
        with replacing(out, inputs) as part:
            part.chmod(0o600)
            database.backup(part)
        with database.begin() as connection:
            audit.record(connection, who(by), "backup", str(out), "", datetime.now().astimezone())
    say(f"已备份到 {out}；恢复时停止服务，把它放回原处，并放回同一把身份密钥")


@db_app.command("remask")
def remask_lists(by: ByOption = None, home: HomeOption = None) -> None:
    """把早先存的清单和问题按现在的规则重新打码；内容不变，记入审计。可以中断，再次运行时接着做完。"""
    from api.store.remask import Remasked, remask  # noqa: PLC0415 -- other commands need no store
    from api.store.vault import Vault  # noqa: PLC0415

    def said(done: Remasked) -> str:
        return f"看过 {done.looked} 份清单版本，重新打码 {done.lists} 份、问题 {done.findings} 处"

    with (
        open_database(home) as (settings, database),
        Status("正在打码", console=Console(stderr=True)) as status,
    ):
        try:
            done = remask(
                database,
                Vault.open(settings, database),
                who=who(by),
                at=datetime.now().astimezone(),
                advance=lambda done: status.update(said(done)),
            )
        except KeyboardInterrupt:
            fail("被中断；已打码的都在，再次运行 qingdan db remask 接着做完", 130)
    say(said(done))


@db_app.command("audit")
def audit_log(
    *,
    action: Annotated[str, typer.Option("--action", help="只列一种操作，如 reveal、seal。")] = "",
    person: Annotated[str, typer.Option("--who", help="只列一个人的操作。")] = "",
    since: Annotated[str, typer.Option("--since", help="只列这一天以来的，如 2026-10-01。")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="最多列出多少条。")] = 50,
    verify: Annotated[bool, typer.Option("--verify", help="核对全部记录有没有被改动过。")] = False,
    form: Annotated[
        Literal["table", "json"], typer.Option("--format", help="table 给人看，json 给程序用。")
    ] = "table",
    home: HomeOption = None,
) -> None:
    """列出审计记录，新的在前：谁、何时、做了什么。"""
    from api.store import audit  # noqa: PLC0415 -- other commands need no store

    beginning = _day(since)
    with open_database(home) as (_, database), database.read() as connection:
        if verify:
            _verified(audit.verify_chain(connection))
            return
        found = audit.entries(connection, action=action, who=person, since=beginning, limit=limit)
    if form == "json":
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
        return
    table = Table("编号", "时间", "人", "操作", "对象", "说明", box=None)
    for one in found:
        at = f"{one.at.astimezone():%Y-%m-%d %H:%M:%S}"
        table.add_row(
            *map(
                Text,
                map(
                    plain,
                    (
                        str(one.number),
                        at,
                        one.who,
                        audit.ACTION_LABELS.get(one.action, one.action),
                        one.object,
                        one.detail,
                    ),
                ),
            )
        )
    console = table_console()
    if found:
        console.print(table)
    console.print(f"共 {len(found)} 条")


def _verified(found: Verified) -> None:
    if found.fault:
        fail(f"审计记录被改动过：{found.fault}；它前面的 {found.entries} 条完好", 1)
    say(
        f"审计记录：{found.entries} 条，没有被改动"
        + (f"（末条校验值 {found.digest}）" if found.digest else "")
    )


def _day(text: str) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.combine(date.fromisoformat(text), time()).astimezone()
    except ValueError:
        fail(f"--since 的日期“{text}”无效，应如 2026-10-01")
