"""``qingdan coding`` and ``qingdan suggest``: train, measure, roll back and use code suggestion."""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from api.cli.terminal import HomeOption, RegionOption, fail, plain, progress_bar, replacing, table_console
from api.services.codes import SYSTEM_OF, Kind
from api.services.suggestion import AcceptedCodings, SuggestionService
from api.services.suggestion import train as train_on
from api.settings import Settings, load_settings
from coding import evaluate as measuring
from coding.names import SYSTEMS
from coding.suggestion.assembly import (
    SHIPPED,
    SHIPPED_MODELS,
    WORDS,
    Coding,
    Foundation,
    ModelStore,
    manifest_of,
    read_codings,
)
from coding.suggestion.context import Context
from coding.suggestion.model import ModelError
from coding.suggestion.train import Progress as Watch
from coding.suggestion.train import train_shipped
from coding.suggestion.words import Tokenizer
from models.pack import write_atomically

coding_app = typer.Typer(name="coding", help="编码推荐：训练、评测、回退。", no_args_is_help=True)

KindOption = Annotated[Kind, typer.Option("--kind", help="diagnosis 诊断，procedure 手术操作。")]
KIND_NAMES: dict[Kind, str] = {"diagnosis": "诊断", "procedure": "手术操作"}
Form = Literal["table", "json"]


@contextmanager
def _watching() -> Iterator[Watch]:
    """A progress bar on standard error for long work."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
    )
    with progress_bar(*columns) as bar:
        tasks = {}

        def watch(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done + 1)

        yield watch


@coding_app.command("train")
def train(
    *,
    kind: Annotated[Kind | None, typer.Option("--kind", help="只训练一种；不写则诊断、手术都训练。")] = None,
    history: Annotated[
        str,
        typer.Option(
            help="本院历史编码：JSON Lines 文件，或 db 表示已采纳的编码；不写则只用编码库训练随程序发布的模型。"
        ),
    ] = "",
    out: Annotated[Path | None, typer.Option(help="发布模型写到哪个文件夹（仅在不用历史编码时）。")] = None,
    threads: Annotated[int, typer.Option(min=1, max=64, help="训练用几个线程。")] = 2,
    region: RegionOption = None,
    home: HomeOption = None,
) -> None:
    """训练编码推荐模型；用历史编码时在留出部分上评测，不比现用的差才启用。"""
    settings = load_settings(home=home, region=region)
    if history and out:
        fail("--out 只用于训练随程序发布的模型；用历史编码训练的模型存入本院数据目录")
    if not history:
        _train_shipped(kind, out or SHIPPED_MODELS, threads, settings.region, home)
        return
    system = SYSTEM_OF[kind or "diagnosis"]
    try:
        if history == "db":
            codings: list[Coding] = _codings(settings).all(system)
        else:
            codings = read_codings(Path(history))
        with _watching() as watch:
            result = train_on(
                settings.store(),
                settings.home,
                system,
                codings,
                region=settings.region,
                progress=watch,
                threads=threads,
            )
    except ModelError as error:
        fail(str(error))
    typer.echo(f"用 {result.used} 条训练，留出 {result.held_out} 条评测：")
    _print_scores([("现用模型", result.before), ("新模型", result.after)])
    if result.activated:
        typer.echo(f"新模型 {result.version} 不比现用的差，已启用；回退用 qingdan coding rollback")
    else:
        typer.echo(f"新模型 {result.version} 比现用的差，没有启用")


def _codings(settings: Settings) -> AcceptedCodings:
    from api.store.codings import StoredCodings  # noqa: PLC0415 -- takes time, and other commands need no store

    return StoredCodings.of(settings)


def _train_shipped(kind: Kind | None, out: Path, threads: int, region: str, home: Path | None) -> None:
    store = load_settings(home=home).store()
    foundations = {system: Foundation.load(store, system, region) for system in SYSTEMS}
    names = [
        name
        for foundation in foundations.values()
        for name in foundation.terms.normalize.names(foundation.table.names)
    ]
    tokenizer = Tokenizer.learn(names)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / WORDS, tokenizer.dump().encode())
    for system in [SYSTEM_OF[kind]] if kind else SYSTEMS:
        foundation = Foundation.load(store, system, region, out / WORDS)
        started = time.perf_counter()
        with _watching() as watch:
            index = foundation.index()
            model = train_shipped(index, watch, threads)
        model.save(out / system)
        foundation.write_cuts(index.names)
        first = model.manifest["held_out_first_right"]
        typer.echo(
            f"{system}：{time.perf_counter() - started:.0f} 秒，自编留出用语首选正确 {first:.3f}，已写入 {out / system}"
        )


@coding_app.command("rollback")
def rollback(kind: KindOption = "diagnosis", home: HomeOption = None) -> None:
    """回到上一个编码推荐模型。"""
    models = ModelStore(load_settings(home=home).home / "models")
    try:
        version = models.rollback(SYSTEM_OF[kind])
    except ModelError as error:
        fail(str(error))
    typer.echo(
        f"{KIND_NAMES[kind]}编码推荐已回到{'随程序发布的模型' if version == SHIPPED else f'模型 {version}'}"
    )


@coding_app.command("status")
def status(home: HomeOption = None) -> None:
    """列出在用的模型和已采纳的编码条数。"""
    settings = load_settings(home=home)
    models, accepted = ModelStore(settings.home / "models"), _codings(settings)
    table = Table("种类", "在用模型", "训练日期", "训练例数", "已采纳编码", box=None)
    try:
        for kind, system in SYSTEM_OF.items():
            version = models.active(system)
            manifest = manifest_of(models.folder(system, version))
            table.add_row(
                KIND_NAMES[kind],
                "随程序发布" if version == SHIPPED else version,
                str(manifest.get("trained_at", "")),
                str(manifest.get("examples", "")),
                str(len(accepted.all(system))),
            )
    except ModelError as error:
        fail(str(error))
    Console(highlight=False).print(table)


@coding_app.command("evaluate")
def evaluate(
    gold: Annotated[Path, typer.Argument(help="带标准答案的 JSON Lines 文件。")],
    *,
    kind: KindOption = "diagnosis",
    misses: Annotated[int, typer.Option(min=0, max=50, help="列出多少条最差的失误。")] = 50,
    baselines: Annotated[bool, typer.Option(help="同时测 TF-IDF 和 rapidfuzz 作对照。")] = True,
    region: RegionOption = None,
    home: HomeOption = None,
) -> None:
    """在有标准答案的文字上评测：首选、前五、前十，附置信区间、校准误差和失误归类。"""
    settings = load_settings(home=home, region=region)
    system = SYSTEM_OF[kind]
    try:
        golds = measuring.read_gold(gold)
        accepted = _codings(settings)
        service = SuggestionService(settings.store(), settings.home, accepted, settings.region)
        suggester = service.suggester(system)
    except (measuring.EvaluationError, ModelError) as error:
        fail(str(error))
    if not any(one.terms for one in golds):
        fail(f"{gold}：没有带标准答案（gold）的行")
    elapsed, predictions = [], []
    with _watching() as watch:
        for done, one in enumerate(golds):
            started = time.perf_counter()
            predictions.append(measuring.predict(suggester, one.text))
            elapsed.append(time.perf_counter() - started)
            watch("评测", done, len(golds))
    compared = [("编码推荐", tuple(measuring.scores(system, golds, predictions)))]
    if baselines:
        index = suggester.index
        for name, method in (("TF-IDF", measuring.baseline_tfidf), ("rapidfuzz", measuring.baseline_fuzzy)):
            given = [method(index, one.text) for one in golds]
            compared.append((name, tuple(measuring.scores(system, golds, given))))
    _print_scores(compared)
    ordered = sorted(elapsed)
    typer.echo(
        f"{len(golds)} 条；校准误差 {measuring.calibration_error(golds, predictions):.3f}；"
        f"每条耗时中位 {ordered[len(ordered) // 2] * 1000:.1f} 毫秒，95% 在 {ordered[int(len(ordered) * 0.95)] * 1000:.1f} 毫秒内"
    )
    if misses:
        _print_misses(measuring.worst_misses(suggester.index, golds, predictions)[:misses])


def _print_scores(compared: list[tuple[str, tuple[measuring.Scores, ...]]]) -> None:
    table = Table("方法", "级别", "条数", "首选正确", "前五含正确", "前十召回", box=None)
    for method, levels in compared:
        for one in levels:
            table.add_row(
                method,
                measuring.LEVEL_NAMES[one.level],
                str(one.rows),
                str(one.acc1),
                str(one.hit5),
                str(one.r10),
            )
    console = table_console()
    console.print(table)


def _print_misses(misses: list[measuring.Miss]) -> None:
    by_cause: dict[str, list[measuring.Miss]] = defaultdict(list)
    for miss in misses:
        by_cause[miss.cause].append(miss)
    for cause, members in sorted(by_cause.items(), key=lambda item: (-len(item[1]), item[0])):
        typer.echo(f"\n{cause}（{len(members)}）")
        for miss in members:
            wanted = "、".join(name for name, _ in miss.gold.terms)
            given = "、".join(miss.prediction.names[:3])
            typer.echo(
                plain(
                    f"  {miss.gold.text} → 应为 {wanted}；推荐 {given}（{miss.prediction.probability:.2f}）"
                )
            )


def suggest(
    text: Annotated[str, typer.Argument(help="医师所写的诊断或手术；也可用 --in 成批处理。")] = "",
    *,
    source: Annotated[Path | None, typer.Option("--in", help="JSON Lines 文件，每行有 id 和 text。")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="结果文件，每行 {id, codes, names}。")] = None,
    kind: KindOption = "diagnosis",
    sex: Annotated[str, typer.Option(help="1 男，2 女。")] = "",
    age: Annotated[int | None, typer.Option(min=0, max=150, help="周岁。")] = None,
    form: Annotated[Form, typer.Option("--format", help="table 给人看，json 给程序用。")] = "table",
    region: RegionOption = None,
    home: HomeOption = None,
) -> None:
    """从医师所写的文字推荐编码。"""
    settings = load_settings(home=home, region=region)
    if bool(text) == bool(source):
        fail("请给出要编码的文字，或用 --in 指定文件（二者取一）")
    if source is not None and out is None:
        fail("用 --in 时请同时用 --out 指定结果文件")
    service = SuggestionService(settings.store(), settings.home, _codings(settings), settings.region)
    try:
        suggester = service.suggester(SYSTEM_OF[kind])
        if source is None:
            mentions = suggester.suggest(text, Context(sex=sex, age=age))
        else:
            golds = measuring.read_gold(source)
    except (measuring.EvaluationError, ModelError) as error:
        fail(str(error))
    if source is not None and out is not None:
        with (
            replacing(out, (source,)) as path,
            path.open("w", encoding="utf-8") as handle,
            _watching() as watch,
        ):
            for done, one in enumerate(golds):
                found = measuring.predict(suggester, one.text)
                row = {"id": one.id, "codes": found.codes, "names": found.names}
                handle.write(json.dumps(row, ensure_ascii=False) + "\n")
                watch("推荐编码", done, len(golds))
        typer.echo(f"{len(golds)} 条已写入 {out}")
        return
    if form == "json":
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(mentions), indent=2) + b"\n")
        return
    table = Table("原文", "编码", "名称", "把握", "理由", box=None)
    for mention in mentions:
        label = f"{mention.text}（{mention.status_text}）" if mention.status != "coded" else mention.text
        if not mention.candidates:
            table.add_row(plain(label), "", "", "", "")
        for place, candidate in enumerate(mention.candidates):
            notes = "；".join((*candidate.reasons, *candidate.flags, *candidate.warnings))
            first = plain(label) if place == 0 else ""
            table.add_row(first, candidate.code, candidate.name, f"{candidate.probability:.2f}", notes)
    console = table_console()
    console.print(table)
