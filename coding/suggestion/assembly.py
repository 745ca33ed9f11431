"""Putting a suggester together from packs, a trained model and a hospital's past codings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from coding.names import NameTable, System
from coding.normalize import compact
from coding.suggestion.context import SexLimits
from coding.suggestion.index import NameIndex, with_local, with_morphology
from coding.suggestion.model import MANIFEST, Model, ModelError
from coding.suggestion.suggest import Suggester
from coding.suggestion.terms import Terms
from coding.suggestion.train import Past, remember
from coding.suggestion.words import Tokenizer
from models.collection import uncollected
from models.pack import PROJECT_ROOT, PackError, PackStore, write_atomically

SHIPPED_MODELS = PROJECT_ROOT / "models" / "trained"
WORDS = "words.txt"
CUTS = "cuts.txt"
PAST = "past.jsonl"
ACTIVE = "active.json"
SHIPPED = "shipped"
_VERSION = re.compile(r"^\d{8}-\d{1,4}$")


@dataclass(frozen=True, slots=True)
class Coding:
    """One accepted coding: the text and the (code, name) pairs chosen for it. No patient identity.

    ``department``, ``when`` (ISO date or time) and ``by`` say where, when and by whom; all may be empty.
    """

    text: str
    chosen: tuple[tuple[str, str], ...]
    department: str = ""
    when: str = ""
    by: str = ""

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Coding:
        """From a JSON object: ``text`` and ``chosen``, or ``codes``/``names``, or ``gold`` as evaluation sets
        have it. Raises ValueError (Chinese)."""
        text = row.get("text")
        if not isinstance(text, str) or not text.strip():
            raise ValueError("缺少 text（医师原文）")
        chosen: list[tuple[str, str]] = []
        if isinstance(row.get("chosen"), list):
            chosen = [
                (str(pair[0]), str(pair[1]))
                for pair in row["chosen"]
                if isinstance(pair, list) and len(pair) == 2
            ]
        elif isinstance(row.get("gold"), list):
            for gold in row["gold"]:
                if isinstance(gold, dict) and isinstance(gold.get("name"), str):
                    codes = [str(c) for value in gold.values() if isinstance(value, list) for c in value]
                    chosen.append(("|".join(codes), gold["name"]))
        else:
            codes, names = (
                row.get("codes") or [row.get("code") or ""],
                row.get("names") or [row.get("name") or ""],
            )
            if isinstance(codes, list) and isinstance(names, list):
                size = max(len(codes), len(names))
                codes, names = codes + [""] * size, names + [""] * size
                chosen = [(str(codes[i]), str(names[i])) for i in range(size)]
        chosen = [(code, name) for code, name in chosen if code or name]
        if not chosen:
            raise ValueError("缺少所选的编码（codes、names 或 gold）")
        extra = [
            value if isinstance(value := row.get(key), str) else "" for key in ("department", "when", "by")
        ]
        return cls(text, tuple(chosen), *extra)


@dataclass(frozen=True, slots=True)
class Foundation:
    """What every suggester of an installation shares: packs read once."""

    table: NameTable
    terms: Terms
    tokenizer: Tokenizer
    limits: SexLimits
    cuts: Path
    """The words of the names, cut beforehand, where such a file is."""

    @classmethod
    def load(
        cls, store: PackStore, system: System, region: str = "", words: Path | None = None
    ) -> Foundation:
        """Read the packs. Raises PackError."""
        terms = Terms.load(store.pack_for("coding-terms", region))
        table = NameTable.read(store.pack_for(system, region), system)
        path = words or SHIPPED_MODELS / WORDS
        tokenizer = (
            Tokenizer.load(path) if path.is_file() else Tokenizer.learn(terms.normalize.names(table.names))
        )
        try:
            limits = SexLimits.load(store.pack_for("sex-restricted", region))
        except PackError:
            limits = SexLimits({})
        return cls(table, terms, tokenizer, limits, path.parent / system / CUTS)

    def index(self, codings: Sequence[Coding] = ()) -> NameIndex:
        """The index, with the names that only the hospital's own codings have."""
        table = self.table
        if codings:
            table = with_local(table, self._local_names(codings))
        return NameIndex.build(table, self.terms, self.tokenizer, self.tokenizer.load_cuts(self.cuts))

    def write_cuts(self, names: Iterable[str]) -> None:
        """Cut ``names`` (as the index has them) once for all later starts."""
        self.cuts.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.cuts, self.tokenizer.dump_cuts(names).encode())

    def _local_names(self, codings: Sequence[Coding]) -> list[tuple[str, str]]:
        normalize = self.terms.normalize
        table = with_morphology(self.table, self.terms) if self.table.system == "icd10" else self.table
        known = {compact(name) for name in normalize.names(table.names)}
        codes = set(self.table.codes)
        found: dict[str, tuple[str, str]] = {}
        for coding in codings:
            for code, name in coding.chosen:
                key = compact(normalize(name))
                if name and key not in known and key not in found:
                    options = code.split("|")
                    found[key] = (next((one for one in options if one in codes), options[0]), name)
        return sorted(found.values())


def past_of(index: NameIndex, codings: Iterable[Coding]) -> list[Past]:
    """The codings as rows of ``index``; what the index does not know is left out."""
    by_code: dict[str, int] = {}
    for place in range(len(index.names)):
        by_code.setdefault(index.code(place), place)
    found = []
    for coding in codings:
        rows: dict[int, None] = {}
        for code, name in coding.chosen:
            row: int | None = index.exact.get(compact(index.terms.normalize(name))) if name else None
            if row is None:
                row = next((by_code[one] for one in code.split("|") if one in by_code), None)
            if row is not None:
                rows[row] = None
        if rows:
            found.append(Past(coding.text, tuple(rows), coding.department))
    return found


@dataclass(frozen=True, slots=True)
class ModelStore:
    """The shipped models and those a hospital trained; the last of each system's history is in use.

    ``site`` holds ``<system>/<version>/`` and ``active.json`` (system → versions, newest last).
    """

    site: Path
    shipped: Path = SHIPPED_MODELS

    def versions(self, system: System) -> list[str]:
        """The versions that were activated and not rolled back, oldest first."""
        return [SHIPPED, *self._history().get(system, [])]

    def active(self, system: System) -> str:
        return self.versions(system)[-1]

    def folder(self, system: System, version: str) -> Path:
        """Where a version lies. Raises ModelError for a version that cannot be."""
        if version == SHIPPED:
            return self.shipped / system
        if not _VERSION.match(version):
            raise ModelError(f"模型版本 {version} 的写法不对，应如 20250131-1")
        return self.site / system / version

    def load(self, system: System) -> tuple[Model, list[Coding]]:
        """The active model and the codings it was trained on. Raises ModelError."""
        folder = self.folder(system, self.active(system))
        return Model.load(folder), read_codings(folder / PAST) if (folder / PAST).is_file() else []

    def add(self, model: Model, codings: Sequence[Coding], today: date | None = None) -> str:
        """Write a trained model as a new version; it is not in use yet."""
        stem = (today or date.today()).strftime("%Y%m%d")
        number = 1
        while (self.site / model.system / f"{stem}-{number}").exists():
            number += 1
        version = f"{stem}-{number}"
        folder = self.site / model.system / version
        model.save(folder)
        lines = "".join(
            json.dumps(
                {
                    "text": one.text,
                    "chosen": [list(pair) for pair in one.chosen],
                    "department": one.department,
                },
                ensure_ascii=False,
            )
            + "\n"
            for one in codings
        )
        write_atomically(folder / PAST, lines.encode())
        return version

    def activate(self, system: System, version: str) -> None:
        """Use ``version`` from now on, atomically. Raises ModelError when it cannot be read."""
        Model.load(self.folder(system, version))
        history = self._history()
        history[system] = [*history.get(system, []), version]
        self._write(history)

    def rollback(self, system: System) -> str:
        """Go back to the version before; gives its name. Raises ModelError when there is none."""
        history = self._history()
        if not history.get(system):
            raise ModelError("正在使用随程序发布的模型，没有更早的版本可以回退")
        history[system].pop()
        self._write(history)
        return self.active(system)

    def _history(self) -> dict[str, list[str]]:
        path = self.site / ACTIVE
        if not path.is_file():
            return {}
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return {
                str(system): [str(version) for version in versions] for system, versions in content.items()
            }
        except (ValueError, AttributeError, TypeError) as error:
            raise ModelError(
                f"{path}：不是有效的 JSON（{error}）；删去此文件即回到随程序发布的模型"
            ) from error

    def _write(self, history: Mapping[str, Sequence[str]]) -> None:
        self.site.mkdir(parents=True, exist_ok=True)
        write_atomically(self.site / ACTIVE, json.dumps(history, indent=1, sort_keys=True).encode() + b"\n")


def read_codings(path: Path) -> list[Coding]:
    """Past codings from JSON lines. Raises ModelError naming the line that is wrong."""
    found = []
    try:
        with path.open(encoding="utf-8-sig") as handle:
            for number, line in enumerate(handle, start=1):
                if line.strip():
                    try:
                        row = json.loads(line)
                        if not isinstance(row, dict):
                            raise ValueError("应为 JSON 对象")
                        found.append(Coding.read(row))
                    except (ValueError, RecursionError) as error:
                        raise ModelError(f"{path} 第 {number} 行：{error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}：不能读取（{error}），应为 UTF-8 编码的 JSON Lines 文件") from error
    return found


def open_suggester(
    store: PackStore, system: System, models: ModelStore, region: str = "", accepted: Sequence[Coding] = ()
) -> Suggester:
    """A suggester with the active model, its past codings, and those accepted since.

    Raises PackError and ModelError.
    """
    with uncollected():
        foundation = Foundation.load(store, system, region)
        model, trained_on = models.load(system)
        codings = [*trained_on, *accepted]
        index = foundation.index(codings)
        return Suggester(index, model, foundation.limits, remember(index, past_of(index, codings)))


def manifest_of(folder: Path) -> dict[str, Any]:
    """The manifest of a trained model, empty when there is none."""
    path = folder / MANIFEST
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
