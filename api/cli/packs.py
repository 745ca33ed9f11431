"""``qingdan packs``: see, import, compare, switch and verify the data packs of this installation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from api.services.packs import (
    KINDS,
    ImportRefusedError,
    compare,
    every_pack,
    in_use,
    install,
    prepare,
    switch_to,
)
from api.settings import SettingsError, load_settings
from models.pack import Pack, PackError, PackStore
from models.pack_diff import TableDiff
from models.system_errors import reason_of

RESTART = "运行中的服务（qingdan serve）启动时已读入数据包，重启后才使用新的版本；命令行的下一次运行即使用。"
"""What is loaded once is not replaced behind someone's back."""
EXAMPLES = 5
"""Rows shown for each kind of change of a table."""

packs_app = typer.Typer(
    name="packs",
    help="数据包：编码库、分组方案、权重表、值域字典的查看、导入、比较、启用与校验。",
    no_args_is_help=True,
)
out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="本院数据目录，数据包存放在其中的 packs 下；不写则用环境变量 QINGDAN_HOME。"),
]
PackId = Annotated[str, typer.Argument(help="数据包编号，如 chs-drg-2.0。")]


def _store(home: Path | None) -> PackStore:
    return load_settings(home=home).store()


@contextmanager
def _faults_to_stderr() -> Iterator[None]:
    """Every fault of a PackError on a line of its own, then exit status 1."""
    try:
        yield
    except SettingsError as error:
        err.print(escape(str(error)))
        raise typer.Exit(1) from error
    except OSError as error:
        err.print(escape(f"{error.filename}：无法读写（{reason_of(error)}）"))
        raise typer.Exit(1) from error
    except PackError as error:
        if isinstance(error, ImportRefusedError):
            _print_notes(error.notes)
            err.print(f"[red]未导入：发现 {len(error.faults)} 处错误，现有数据包没有改动。[/red]")
        for fault in error.faults:
            err.print(escape(fault))
        raise typer.Exit(1) from error


@packs_app.command("list")
def list_packs(home: HomeOption = None) -> None:
    """列出已安装的数据包。"""
    with _faults_to_stderr():
        store = _store(home)
        packs = every_pack(store)
        ids = [pack.id for pack in packs]
        table = Table(box=None)
        # The id is what the other commands take: a narrow screen must not cut it short.
        table.add_column("编号", min_width=max(map(len, ids), default=0))
        for title in ("版本", "种类", "名称", "地区", "适用出院日期"):
            table.add_column(title, overflow="fold")
        table.add_column("状态", no_wrap=True)
        for pack in packs:
            m = pack.manifest
            state = "使用中" if in_use(store, pack) else "未启用"
            table.add_row(m.id, m.version, m.kind, escape(m.name), m.region or "全国", _period(pack), state)
        out.print(table)
        for broken in store.broken:
            for fault in broken.faults:
                err.print(f"[red]损坏，未使用：[/red]{escape(fault)}")


def _period(pack: Pack) -> str:
    starts, ends = pack.manifest.effective_from, pack.manifest.effective_to
    if starts is None and ends is None:
        return "不限"
    return " ".join([f"{starts} 起"] * bool(starts) + [f"{ends} 止"] * bool(ends))


@packs_app.command()
def show(
    pack_id: PackId,
    version: Annotated[str | None, typer.Option(help="版本号；不写则为使用中的版本。")] = None,
    home: HomeOption = None,
) -> None:
    """显示一个数据包的来源、适用范围和数据表。"""
    with _faults_to_stderr():
        store = _store(home)
        pack = _pack_shown(store, pack_id, version)
        m = pack.manifest
        lines = {
            "编号": m.id,
            "名称": m.name,
            "种类": m.kind,
            "版本": m.version + ("（使用中）" if in_use(store, pack) else "（未启用）"),
            "发布机构": m.publisher,
            "文件": m.document,
            "地区": m.region or "全国",
            "适用出院日期": _period(pack),
            "依赖": "、".join(f"{kind}：{required}" for kind, required in m.requires.items()),
            "说明": m.note,
            "位置": str(pack.folder),
            "清单 sha256": pack.sha256,
        }
        for label, value in lines.items():
            if value:
                out.print(f"{label}：{escape(value)}")
        for name, entry in m.tables.items():
            out.print(f"  {name}：{entry.rows} 行，列 {'、'.join(pack.columns(name))}，sha256 {entry.sha256}")


def _pack_shown(store: PackStore, pack_id: str, version: str | None) -> Pack:
    if not store.versions(pack_id):
        for pack in every_pack(store):
            if pack.id == pack_id and version in (None, pack.manifest.version):
                return pack
    return store.get(pack_id, version)


@packs_app.command("import")
def import_pack(
    source: Annotated[
        Path, typer.Argument(help="含 CSV 表或规则的文件夹，或官方、医保局的 xlsx、CSV 文件。")
    ],
    *,
    kind: Annotated[str, typer.Option(help="种类：" + "、".join(KINDS))] = "",
    pack_id: Annotated[str, typer.Option("--id", help="数据包编号，如 mycity-drg-2025。")] = "",
    name: Annotated[str, typer.Option(help="名称。")] = "",
    publisher: Annotated[str, typer.Option(help="发布机构。")] = "",
    document: Annotated[str, typer.Option(help="文件名或文号。")] = "",
    version: Annotated[str, typer.Option(help="版本号，如 2025.1。")] = "",
    region: Annotated[str, typer.Option(help="行政区划代码前几位，如 45（广西）；全国不写。")] = "",
    effective_from: Annotated[str, typer.Option("--from", help="适用的最早出院日期，如 2025-01-01。")] = "",
    effective_to: Annotated[str, typer.Option("--to", help="适用的最晚出院日期。")] = "",
    note: Annotated[str, typer.Option(help="说明。")] = "",
    requires: Annotated[
        list[str] | None, typer.Option(help="依赖的数据包，种类=编号，可写多次，如 drg-scheme=chs-drg-2.0。")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="医保局表格的列名特殊时，指明 列=表头，可写多次，如 diagnosis=主诊代码。"),
    ] = None,
    activate: Annotated[bool, typer.Option("--activate/--no-activate", help="导入后立即启用。")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="只检查和比较，不写入。")] = False,
    to_folder: Annotated[
        Path | None, typer.Option("--out", help="写成这个新文件夹中的数据包，不装入本院数据目录。")
    ] = None,
    home: HomeOption = None,
) -> None:
    """检查一组 CSV 表，与现用版本比较，写成数据包并启用。有错误时列出全部错误，不改动现有数据。"""
    with _faults_to_stderr():
        fields: dict[str, object] = {
            "kind": kind,
            "id": pack_id,
            "name": name,
            "publisher": publisher,
            "document": document,
            "version": version,
            "region": region,
            "effective_from": _day(effective_from),
            "effective_to": _day(effective_to),
            "note": note,
            "requires": _pairs(requires or [], "依赖", "种类=编号，如 drg-scheme=chs-drg-2.0") or None,
        }
        store = _store(home)
        candidate = prepare(
            source, fields, store, _pairs(column or [], "列", "列=表头，如 diagnosis=主诊代码")
        )
        _print_notes(candidate.notes)
        if candidate.previous is not None:
            out.print(f"与现用版本 {candidate.previous.id} {candidate.previous.manifest.version} 比较：")
        _print_diff(candidate.diff)
        if dry_run:
            out.print("检查通过，未写入。")
            return
        if to_folder is not None:
            if to_folder.exists():
                raise PackError(f"{to_folder}：已经存在，请换一个新文件夹")
            to_folder.parent.mkdir(parents=True, exist_ok=True)
            out.print(f"已写入 {candidate.write(to_folder).folder}")
            return
        pack = install(store, candidate, activate=activate)
        state = "并启用" if activate else "，尚未启用；用 qingdan packs activate 启用"
        out.print(f"已导入 {pack.id} {pack.manifest.version}{state}")
        if activate:
            out.print(RESTART)


def _day(text: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise PackError(f"日期“{text}”无效，应写成 2025-01-01 这样") from None


def _pairs(texts: Sequence[str], what: str, form: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise PackError(f"{what}“{text}”无效，应写成 {form}")
        pairs[key] = value
    return pairs


def _print_notes(notes: Sequence[str]) -> None:
    for note in notes:
        err.print(f"[yellow]注意：[/yellow]{escape(note)}")


def _print_diff(tables: Sequence[TableDiff]) -> None:
    for table in tables:
        if table.same:
            out.print(f"  {table.table}：{table.after} 行，没有变化")
            continue
        counts = f"新增 {len(table.added)}，删除 {len(table.removed)}，修改 {len(table.changed)}"
        out.print(f"  {table.table}：{table.before} → {table.after} 行，{counts}")
        if table.before == 0:
            continue
        for sign, keys in (("+", table.added), ("-", table.removed)):
            for key in keys[:EXAMPLES]:
                out.print(f"    {sign} {escape(' '.join(key))}")
        for change in table.changed[:EXAMPLES]:
            values = "；".join(f"{column} {before} → {after}" for column, before, after in change.values)
            out.print(f"    ~ {escape(' '.join(change.key))}：{escape(values)}")


@packs_app.command()
def diff(
    pack_id: PackId,
    before: Annotated[str | None, typer.Argument(help="旧版本号；不写则为使用中的版本。")] = None,
    after: Annotated[str | None, typer.Argument(help="新版本号；不写则为其余版本中最新的。")] = None,
    home: HomeOption = None,
) -> None:
    """比较一个数据包的两个版本。"""
    with _faults_to_stderr():
        _print_diff(compare(_store(home), pack_id, before, after))


@packs_app.command()
def activate(
    pack_id: PackId,
    version: Annotated[str, typer.Argument(help="要启用的版本号。")],
    home: HomeOption = None,
) -> None:
    """启用一个已安装的版本。"""
    with _faults_to_stderr():
        pack = switch_to(_store(home), pack_id, version)
        out.print(f"已启用 {pack.id} {pack.manifest.version}")
        out.print(RESTART)


@packs_app.command()
def verify(
    pack_id: Annotated[str | None, typer.Argument(help="数据包编号；不写则校验全部。")] = None,
    home: HomeOption = None,
) -> None:
    """核对数据表与清单中的 sha256、行数是否一致。"""
    with _faults_to_stderr():
        store = _store(home)
        packs = store.all() if pack_id is None else store.versions(pack_id)
        if not packs and pack_id is not None:
            store.get(pack_id)
        faults = [fault for pack in packs for fault in pack.verify()]
        faults += [fault for broken in store.broken for fault in broken.faults] if pack_id is None else []
        if faults:
            raise PackError(*faults)
        out.print(f"{len(packs)} 个数据包完好")
