"""Suggest codes, remember what coders accept, train on it: the use cases behind API and command line."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec

from api.services.codes import SYSTEM_OF, Kind
from coding.evaluate import Scores, as_gold, predict, scores, split_codings
from coding.library import CodeLibrary, load_library
from coding.names import System
from coding.suggestion.advice import Advice, advise
from coding.suggestion.assembly import Coding, Foundation, ModelStore, open_suggester, past_of
from coding.suggestion.context import Context
from coding.suggestion.history import Memory
from coding.suggestion.model import Model, ModelError
from coding.suggestion.suggest import Mention, Suggester
from coding.suggestion.train import Progress, remember, silent, train_on_history
from models.pack import PackStore

MINIMUM_HISTORY = 200
"""Fewer codings than this say too little about a hospital to train on and to measure with."""
HELD_OUT = 0.15
SEED = 7
ALLOWED_LOSS = 0.0
_MAXIMUM_LINE = 16_384


class AcceptedCodings(Protocol):
    """Where what coders accepted is kept: text, codes, department, when and by whom; no patient identity."""

    def all(self, system: System) -> list[Coding]:
        """Every accepted coding of one system, oldest first. Raises ModelError."""
        ...

    def append(self, system: System, coding: Coding) -> None:
        """Keep one coding on the disk before it counts. Raises ModelError."""
        ...


class SuggestAnswer(msgspec.Struct, frozen=True):
    """The mentions of the text, and what they were made with."""

    mentions: tuple[Mention, ...]
    kind: Kind
    model: str


@dataclass
class SuggestionService:
    """The suggesters of a running service, each opened when first asked for."""

    store: PackStore
    home: Path
    accepted: AcceptedCodings
    region: str = ""
    _open: dict[System, Suggester] = field(default_factory=dict)
    _library: CodeLibrary | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def models(self) -> ModelStore:
        return ModelStore(self.home / "models")

    def suggester(self, system: System) -> Suggester:
        """The suggester of one system. Raises PackError and ModelError."""
        with self._lock:
            found = self._open.get(system)
            if found is None:
                accepted = self.accepted.all(system)
                found = open_suggester(self.store, system, self.models, self.region, accepted)
                self._open[system] = found
            return found

    def library(self) -> CodeLibrary:
        """The code books. Raises PackError."""
        with self._lock:
            if self._library is None:
                self._library = load_library(self.store, self.region)
            return self._library

    def suggest(self, text: str, kind: Kind, context: Context, limit: int = 5) -> list[Mention]:
        """The mentions of ``text`` and their candidates."""
        return self.suggester(SYSTEM_OF[kind]).suggest(text, context, limit)

    def answer(self, text: str, kind: Kind, context: Context, limit: int) -> SuggestAnswer:
        """The same, with the version of the model."""
        mentions = self.suggest(text, kind, context, limit)
        return SuggestAnswer(tuple(mentions), kind, self.models.active(SYSTEM_OF[kind]))

    def advise(self, context: Context, text: str = "") -> Advice:
        """Which of the listed diagnoses may be principal, and what could be coded better."""
        return advise(self.library(), self.suggester("icd10"), context, text)

    def accept(self, kind: Kind, text: str, codes: Sequence[str], department: str = "", by: str = "") -> None:
        """Remember what a coder chose for a text; it counts for the next suggestion.

        Raises ValueError (Chinese) when no code is one of the book.
        """
        system = SYSTEM_OF[kind]
        suggester = self.suggester(system)
        if len(json.dumps(text)) > _MAXIMUM_LINE:
            raise ValueError("原文过长，请只提交一条诊断或手术的文字")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        coding = Coding(text, tuple((code, "") for code in codes), department, now, by)
        past = past_of(suggester.index, [coding])
        if not past:
            raise ValueError(f"编码“{'、'.join(codes)}”不在编码库中，请核对")
        with self._lock:
            self.accepted.append(system, coding)
            suggester.learn(past[0])


@dataclass(frozen=True, slots=True)
class Trained:
    """What one training came to. ``before`` and ``after`` are measured on the same held-out codings."""

    version: str
    activated: bool
    used: int
    held_out: int
    before: tuple[Scores, ...]
    after: tuple[Scores, ...]


def train(
    store: PackStore,
    home: Path,
    system: System,
    codings: Sequence[Coding],
    *,
    region: str = "",
    progress: Progress = silent,
    threads: int = 2,
) -> Trained:
    """Train on past codings, measure on a held-out part, and activate the model only if not worse.

    The model in use and the new one are given the same past codings to look up. Raises ModelError
    when there are too few codings.
    """
    if len(codings) < MINIMUM_HISTORY:
        raise ModelError(
            f"历史编码只有 {len(codings)} 条，至少要 {MINIMUM_HISTORY} 条才能训练；现有的已用于就近参考"
        )
    models = ModelStore(home / "models")
    foundation = Foundation.load(store, system, region)
    used, held = split_codings(codings, HELD_OUT, SEED)
    current, _ = models.load(system)
    index = foundation.index(used)
    past = past_of(index, used)
    candidate = train_on_history(index, past, progress, threads)
    golds = as_gold(held)

    def measure(model: Model) -> tuple[Scores, ...]:
        suggester = Suggester(index, model, foundation.limits, remember(index, past))
        return tuple(scores(system, golds, [predict(suggester, gold.text) for gold in golds]))

    before, after = measure(current), measure(candidate)
    better = after[0].acc1.value >= before[0].acc1.value - ALLOWED_LOSS
    if better:
        # What was held out has served its purpose: the model in use remembers it too.
        full = foundation.index(codings)
        candidate = replace(candidate, memory=Memory.fit(remember(full, past_of(full, codings))))
    version = models.add(candidate, codings)
    if better:
        models.activate(system, version)
    return Trained(version, better, len(used), len(held), before, after)
