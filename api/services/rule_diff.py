"""What would change on a file of lists if another rule pack were in use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from api.services.check import Checker
from api.services.rules import TrialStore
from models.pack import Pack, PackStore
from models.report import Finding, Report, Verdict
from models.wire import Received
from qc_rules.acceptance import Acceptances
from qc_rules.lint import open_pack
from qc_rules.ruleset import national_pack

MAX_MOVED = 10_000
"""Lists named one by one; beyond these they are only counted."""


class RuleChange(msgspec.Struct, frozen=True):
    """What changes for one rule: findings that come, go or weigh otherwise, and the lists concerned."""

    rule: str
    title: str
    appeared: int
    vanished: int
    reweighed: int
    lists: int


class MovedList(msgspec.Struct, frozen=True):
    """A list that gets another verdict; ``line`` from 1."""

    line: int
    list_id: str
    before: Verdict
    after: Verdict
    score_before: int
    score_after: int


class RuleDiff(msgspec.Struct, frozen=True):
    """Every difference between two rule packs on one file. ``unread``: lines that hold no list."""

    before: str
    after: str
    lists: int
    unread: int
    rules: tuple[RuleChange, ...]
    moves: dict[str, int]
    moved: tuple[MovedList, ...]


@dataclass
class _Counts:
    title: str
    appeared: int = 0
    vanished: int = 0
    reweighed: int = 0
    lists: set[int] = field(default_factory=set)


def named_pack(store: PackStore, name: str) -> Pack:
    """A rule pack by its folder, or by its id, with ``@version`` for one that is not in use.

    Raises PackError.
    """
    folder = Path(name)
    if folder.is_dir():
        return open_pack(folder)
    pack_id, _, version = name.partition("@")
    national = national_pack()
    if pack_id == national.id and version in ("", national.manifest.version):
        return national
    return store.get(pack_id, version or None)


class RuleComparison:
    """Two checkers side by side: what is in use, with the one or the other rule pack in it."""

    def __init__(self, store: PackStore, before: Pack, after: Pack, region: str = "") -> None:
        """Raises PackError when a pack cannot be loaded."""
        ids = (before.id, after.id)
        self._names = [
            f"{pack.id} {pack.manifest.version}（{pack.manifest.name}）" for pack in (before, after)
        ]
        self._before, self._after = (
            Checker.open(TrialStore(store, [pack], ids), region) for pack in (before, after)
        )
        self._counts: dict[str, _Counts] = {}
        self._moves: Counter[str] = Counter()
        self._moved: list[MovedList] = []
        self._lists = self._unread = 0

    def add(self, line: int, received: Received, accepted: Acceptances | None = None) -> None:
        """Compare one list. Raises PackError when no pack holds for its discharge date."""
        before = self._before.check(received, accepted=accepted)
        after = self._after.check(received, accepted=accepted)
        self._lists += 1
        if before.findings != after.findings:
            self._compare(line, before.findings, after.findings)
        if before.verdict != after.verdict:
            self._move(line, before, after)

    def add_unread(self) -> None:
        """Count a line that holds no list."""
        self._unread += 1

    def _compare(self, line: int, before: Iterable[Finding], after: Iterable[Finding]) -> None:
        old, new = by_place(before), by_place(after)
        for place, found in new.items():
            if place not in old:
                self._count(line, found).appeared += 1
            elif old[place].severity != found.severity:
                self._count(line, found).reweighed += 1
        for place, found in old.items():
            if place not in new:
                self._count(line, found).vanished += 1

    def _count(self, line: int, found: Finding) -> _Counts:
        counts = self._counts.setdefault(found.rule, _Counts(found.title))
        counts.lists.add(line)
        return counts

    def _move(self, line: int, before: Report, after: Report) -> None:
        self._moves[f"{before.verdict} → {after.verdict}"] += 1
        if len(self._moved) < MAX_MOVED:
            self._moved.append(
                MovedList(line, after.list_id, before.verdict, after.verdict, before.score, after.score)
            )

    def result(self) -> RuleDiff:
        """What was found so far, rules with the most lists first."""
        rules = [
            RuleChange(rule, one.title, one.appeared, one.vanished, one.reweighed, len(one.lists))
            for rule, one in self._counts.items()
        ]
        rules.sort(key=lambda one: (-one.lists, one.rule))
        before, after = self._names
        return RuleDiff(
            before, after, self._lists, self._unread, tuple(rules), dict(self._moves), tuple(self._moved)
        )


def by_place(findings: Iterable[Finding]) -> dict[tuple[str, str, str, int], Finding]:
    """Findings, or their rows in the store, by rule, place and value; the last number tells twins apart."""
    seen: Counter[tuple[str, str, str]] = Counter()
    found = {}
    for one in findings:
        place = one.rule, one.path, one.value
        found[*place, seen[place]] = one
        seen[place] += 1
    return found
