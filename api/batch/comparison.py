"""What changed between two runs over the same lists: findings, verdicts, groups, weight and money."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from api.batch.runs import FINDING, PACK_USE, RESULT, RunView, run_of
from api.services.month.figures import in_yuan
from api.services.month.workbook import Cell, Sheet, write_book
from api.services.rule_diff import by_place
from api.store.database import Database
from api.store.lists import corrections

CHUNK = 500
"""Lists that are in memory at once."""
MAX_CHANGED = 10_000
"""Changed lists that are named one by one; beyond these they are only counted."""
MAX_FOUND = 20
"""Findings that came or went, named for one list."""
RESULT_NAMES = (
    "list_key", "list_id", "version", "department", "verdict", "score", "drg", "weight", "expected", "cost",
    "dip", "dip_score", "dip_amount",
)  # fmt: skip


class RuleMove(msgspec.Struct, frozen=True):
    """What changed for one rule: findings that came, went, or count otherwise (severity, acceptance)."""

    rule: str
    title: str
    appeared: int
    vanished: int
    reweighed: int
    lists: int


class DepartmentMove(msgspec.Struct, frozen=True):
    """What changed for the lists of one department (code).

    ``expected_change_yuan``: over the ``priced`` lists that have a payment on both sides; None without any.
    """

    department: str
    appeared: int
    vanished: int
    lists: int
    regrouped: int
    priced: int
    expected_change_yuan: float | None


class GroupMove(msgspec.Struct, frozen=True):
    """Lists that moved from one DRG to another; ``""`` where there was no scheme.

    Changes are over the lists that have a value on both sides, ``weighed`` and ``priced`` many; None without.
    """

    before: str
    after: str
    lists: int
    weighed: int
    weight_change: float | None
    priced: int
    expected_change_yuan: float | None

    @property
    def text(self) -> str:
        """What the move changed, in words (Chinese); — where it is not known."""
        weight = "—" if self.weight_change is None else f"{self.weight_change:+.4f}"
        money = "—" if self.expected_change_yuan is None else f"{self.expected_change_yuan:+.2f} 元"
        less = min(self.weighed, self.priced)
        known = f"（两边都有值的 {less} 份）" if 0 < less < self.lists else ""
        return f"权重 {weight}，预计支付 {money}{known}"


class PackChange(msgspec.Struct, frozen=True):
    """A pack of which the two runs used different versions or contents; "" where one did without."""

    kind: str
    id: str
    before: str
    after: str


class RunTotals(msgspec.Struct, frozen=True):
    """The lists that both runs have, under one of them.

    A sum is over the lists that have the value on both sides; where none has, over those of this side; None
    without any here. ``weighed``, ``priced``, ``scored`` and ``dip_priced`` say over how many. ``cmi``: mean
    weight of the ``weighed`` lists. ``grouped``: lists with a weight on this side.
    """

    findings: int
    verdicts: dict[str, int]
    grouped: int
    weighed: int
    weight: float | None
    cmi: float | None
    priced: int
    expected_yuan: float | None
    scored: int
    dip_score: float | None
    dip_priced: int
    dip_amount_yuan: float | None


class ChangedList(msgspec.Struct, frozen=True):
    """One list that is judged otherwise. ``corrected``: a person made one of the versions between
    those that the two runs judged; one that only came again from a file does not count.

    ``appeared`` and ``vanished``: rule and message of the findings. Payment in yuan.
    """

    list_key: str
    list_id: str
    department: str
    corrected: bool
    verdict_before: str
    verdict_after: str
    score_before: int
    score_after: int
    drg_before: str
    drg_after: str
    weight_before: float | None
    weight_after: float | None
    expected_before_yuan: float | None
    expected_after_yuan: float | None
    dip_before: str
    dip_after: str
    appeared: tuple[str, ...]
    vanished: tuple[str, ...]


class RunComparison(msgspec.Struct, frozen=True):
    """Every difference from one run to another. ``only_before``, ``only_after``: lists one of them lacks.

    ``trial_before``, ``trial_after``: what a run that is a trial tries out. ``notes`` (Chinese) say which
    values cannot be compared, and why.
    """

    before: int
    after: int
    trial_before: str
    trial_after: str
    month: str
    notes: tuple[str, ...]
    lists: int
    only_before: int
    only_after: int
    corrected: int
    changed: int
    packs: tuple[PackChange, ...]
    totals_before: RunTotals
    totals_after: RunTotals
    rules: tuple[RuleMove, ...]
    departments: tuple[DepartmentMove, ...]
    verdicts: dict[str, int]
    groups: tuple[GroupMove, ...]
    changed_lists: tuple[ChangedList, ...]


VALUES: Mapping[str, str] = {
    "weight": "权重",
    "expected": "DRG 预计支付",
    "dip_score": "DIP 分值",
    "dip_amount": "DIP 预计支付",
}
"""Values of a list that a run may not have: what is unknown is never counted as nothing."""


@dataclass
class _Known:
    """Sum and number of the known values of some lists."""

    total: float = 0
    lists: int = 0

    def add(self, value: float | None) -> None:
        if value is not None:
            self.total += value
            self.lists += 1

    def change(self, was: float | None, now: float | None) -> None:
        if was is not None and now is not None:
            self.add(now - was)

    @property
    def yuan(self) -> float | None:
        """Of a sum in fen."""
        return round(self.total) / 100 if self.lists else None

    @property
    def rounded(self) -> float | None:
        return round(self.total, 4) if self.lists else None


@dataclass
class _Sum:
    findings: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    grouped: int = 0
    own: dict[str, _Known] = field(default_factory=lambda: {name: _Known() for name in VALUES})
    shared: dict[str, _Known] = field(default_factory=lambda: {name: _Known() for name in VALUES})

    def add(self, row: Mapping[str, Any], other: Mapping[str, Any], findings: int) -> None:
        self.findings += findings
        self.verdicts[row["verdict"]] += 1
        self.grouped += bool(row["drg"]) and row["weight"] is not None
        for name in VALUES:
            self.own[name].add(row[name])
            if other[name] is not None:
                self.shared[name].add(row[name])

    def totals(self) -> RunTotals:
        weight, expected, score, amount = (
            self.shared[name] if self.shared[name].lists else self.own[name] for name in VALUES
        )
        return RunTotals(
            self.findings,
            dict(sorted(self.verdicts.items())),
            self.grouped,
            weight.lists,
            weight.rounded,
            round(weight.total / weight.lists, 4) if weight.lists else None,
            expected.lists,
            expected.yuan,
            score.lists,
            score.rounded,
            amount.lists,
            amount.yuan,
        )


@dataclass
class _Rule:
    title: str
    appeared: int = 0
    vanished: int = 0
    reweighed: int = 0
    lists: int = 0


@dataclass
class _Department:
    appeared: int = 0
    vanished: int = 0
    lists: int = 0
    regrouped: int = 0
    expected: _Known = field(default_factory=_Known)


@dataclass
class _Group:
    lists: int = 0
    weight: _Known = field(default_factory=_Known)
    expected: _Known = field(default_factory=_Known)


class _Comparison:
    def __init__(self) -> None:
        self.before, self.after = _Sum(), _Sum()
        self.lists = self.corrected = self.changed = 0
        self.rules: dict[str, _Rule] = {}
        self.departments: dict[str, _Department] = defaultdict(_Department)
        self.groups: dict[tuple[str, str], _Group] = defaultdict(_Group)
        self.verdicts: Counter[str] = Counter()
        self.changed_lists: list[ChangedList] = []

    def add(
        self,
        was: Mapping[str, Any],
        now: Mapping[str, Any],
        old: Sequence[Any],
        new: Sequence[Any],
        *,
        corrected: bool,
    ) -> None:
        self.lists += 1
        self.before.add(was, now, len(old))
        self.after.add(now, was, len(new))
        self.corrected += corrected
        past, present = by_place(old), by_place(new)
        appeared = [one for place, one in present.items() if place not in past]
        vanished = [one for place, one in past.items() if place not in present]
        reweighed = [
            one for place, one in present.items() if place in past and _weight(one) != _weight(past[place])
        ]
        same = all(was[name] == now[name] for name in RESULT_NAMES if name not in ("version", "list_id"))
        if same and not (appeared or vanished or reweighed or corrected):
            return
        self.changed += 1
        for found, what in ((appeared, "appeared"), (vanished, "vanished"), (reweighed, "reweighed")):
            for one in found:
                rule = self.rules.setdefault(one.rule, _Rule(one.title))
                setattr(rule, what, getattr(rule, what) + 1)
        for code in {one.rule for one in (*appeared, *vanished, *reweighed)}:
            self.rules[code].lists += 1
        department = self.departments[now["department"]]
        department.appeared += len(appeared)
        department.vanished += len(vanished)
        department.lists += 1
        department.regrouped += was["drg"] != now["drg"]
        department.expected.change(was["expected"], now["expected"])
        if was["drg"] != now["drg"]:
            group = self.groups[was["drg"], now["drg"]]
            group.lists += 1
            group.weight.change(was["weight"], now["weight"])
            group.expected.change(was["expected"], now["expected"])
        if was["verdict"] != now["verdict"]:
            self.verdicts[f"{was['verdict']} → {now['verdict']}"] += 1
        if len(self.changed_lists) < MAX_CHANGED:
            self.changed_lists.append(_changed(was, now, corrected, appeared, vanished))


def _changed(
    was: Mapping[str, Any],
    now: Mapping[str, Any],
    corrected: bool,
    appeared: Iterable[Any],
    vanished: Iterable[Any],
) -> ChangedList:
    return ChangedList(
        now["list_key"],
        now["list_id"],
        now["department"],
        corrected,
        was["verdict"],
        now["verdict"],
        was["score"],
        now["score"],
        was["drg"],
        now["drg"],
        was["weight"],
        now["weight"],
        in_yuan(was["expected"]),
        in_yuan(now["expected"]),
        was["dip"],
        now["dip"],
        _texts(appeared),
        _texts(vanished),
    )


def _texts(findings: Iterable[Any]) -> tuple[str, ...]:
    return tuple([f"{one.rule} {one.message}" for one in findings][:MAX_FOUND])


def _weight(found: Any) -> tuple[str, bool]:
    return found.severity, bool(found.accepted)


def compare_runs(database: Database, before: int, after: int) -> RunComparison:
    """What is otherwise in run ``after`` than in run ``before``, matched by the key of each list.

    Either may be the earlier one. Memory: some 200 bytes a list. Raises NoRunError.
    """
    found = _Comparison()
    with database.read() as connection:
        second, first = run_of(connection, after), run_of(connection, before)
        waiting: dict[str, deque[int]] = defaultdict(deque)
        for number, key in _keys(connection, before):
            waiting[key].append(number)
        pairs: list[tuple[int, int]] = []
        only_after = 0
        for number, key in _keys(connection, after):
            others = waiting.get(key)
            if others:
                pairs.append((others.popleft(), number))
            else:
                only_after += 1
        for start in range(0, len(pairs), CHUNK):
            chunk = pairs[start : start + CHUNK]
            old = _rows(connection, before, [one for one, _ in chunk])
            new = _rows(connection, after, [one for _, one in chunk])
            fixed = _corrected([(old[was][0], new[now][0]) for was, now in chunk], connection)
            for was, now in chunk:
                found.add(
                    old[was][0],
                    new[now][0],
                    old[was][1],
                    new[now][1],
                    corrected=new[now][0]["list_key"] in fixed,
                )
        packs = _packs(connection, before, after)
        notes = _notes(connection, found, first, second)
    rules = [
        RuleMove(code, one.title, one.appeared, one.vanished, one.reweighed, one.lists)
        for code, one in found.rules.items()
    ]
    return RunComparison(
        before=before,
        after=after,
        trial_before=first.trial,
        trial_after=second.trial,
        month=second.month,
        notes=notes,
        lists=found.lists,
        only_before=sum(map(len, waiting.values())),
        only_after=only_after,
        corrected=found.corrected,
        changed=found.changed,
        packs=packs,
        totals_before=found.before.totals(),
        totals_after=found.after.totals(),
        rules=tuple(sorted(rules, key=lambda one: (-one.lists, one.rule))),
        departments=tuple(
            DepartmentMove(
                code,
                one.appeared,
                one.vanished,
                one.lists,
                one.regrouped,
                one.expected.lists,
                one.expected.yuan,
            )
            for code, one in sorted(found.departments.items(), key=lambda pair: (-pair[1].lists, pair[0]))
        ),
        verdicts=dict(found.verdicts.most_common()),
        groups=tuple(
            GroupMove(
                was,
                now,
                one.lists,
                one.weight.lists,
                one.weight.rounded,
                one.expected.lists,
                one.expected.yuan,
            )
            for (was, now), one in sorted(found.groups.items(), key=lambda pair: (-pair[1].lists, pair[0]))
        ),
        changed_lists=tuple(found.changed_lists),
    )


def _notes(connection: Connection, found: _Comparison, first: RunView, second: RunView) -> tuple[str, ...]:
    """Which values cannot be compared, and why (Chinese)."""
    notes: dict[str, list[str]] = defaultdict(list)
    for value, name in VALUES.items():
        sides = [side.own[value].lists for side in (found.before, found.after)]
        shared = found.before.shared[value].lists
        if shared and max(sides) > shared:
            notes[f"只比较两边都有的 {shared} 份（原来 {sides[0]} 份、现在 {sides[1]} 份有值）"].append(name)
        if shared:
            continue
        for word, run, lists in (("原来", first, sides[0]), ("现在", second, sides[1])):
            if not lists and found.lists:
                notes[f"不能比较：{word}（批次 {run.id}）{_lacking(connection, run.id, value)}"].append(name)
    return tuple(f"{'、'.join(names)}{reason}" for reason, names in notes.items())


def _lacking(connection: Connection, run_id: int, value: str) -> str:
    """Why no list of a run has a value (Chinese)."""
    dip = value.startswith("dip")
    kinds = ("dip-catalogue", "DIP 病种目录") if dip else ("drg-scheme", "分组方案")
    grounds = [
        row.pack_id
        for row in connection.execute(
            select(PACK_USE.c.pack_id)
            .where(PACK_USE.c.run_id == run_id, PACK_USE.c.kind == kinds[0])
            .distinct()
        )
    ]
    if not grounds:
        return f"没有适用的{kinds[1]}"
    payment = "DIP 支付数据包" if dip else "权重/支付数据包"
    return f"没有适用于{'目录' if dip else '方案'} {'、'.join(sorted(grounds))} 的{payment}"


def _keys(connection: Connection, run_id: int) -> Iterator[tuple[int, str]]:
    rows = connection.execute(
        select(RESULT.c.number, RESULT.c.list_key).where(RESULT.c.run_id == run_id).order_by(RESULT.c.number),
        execution_options={"yield_per": 5000},
    )
    with rows:
        for row in rows:
            yield row.number, row.list_key


def _corrected(
    pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], connection: Connection
) -> set[str]:
    """Keys of the lists of which a person made a version between those of the two runs."""
    between = {
        now["list_key"]: sorted((was["version"], now["version"]))
        for was, now in pairs
        if was["version"] != now["version"]
    }
    if not between:
        return set()
    made = corrections(connection, between)
    return {key for key, version in made if between[key][0] < version <= between[key][1]}


def _rows(
    connection: Connection, run_id: int, numbers: Sequence[int]
) -> dict[int, tuple[Mapping[str, Any], list[Any]]]:
    columns = [RESULT.c.number, *(RESULT.c[name] for name in RESULT_NAMES)]
    results = connection.execute(
        select(*columns).where(RESULT.c.run_id == run_id, RESULT.c.number.in_(numbers))
    )
    found: dict[int, tuple[Mapping[str, Any], list[Any]]] = {
        row.number: (dict(row._mapping), []) for row in results
    }
    names = ("number", "rule", "title", "severity", "path", "value", "message", "accepted")
    for row in connection.execute(
        select(*(FINDING.c[name] for name in names))
        .where(FINDING.c.run_id == run_id, FINDING.c.number.in_(numbers))
        .order_by(FINDING.c.number, FINDING.c.position)
    ):
        found[row.number][1].append(row)
    return found


def _packs(connection: Connection, before: int, after: int) -> tuple[PackChange, ...]:
    used: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(lambda: [{}, {}])
    for place, run_id in enumerate((before, after)):
        for row in connection.execute(
            select(PACK_USE.c.kind, PACK_USE.c.pack_id, PACK_USE.c.version, PACK_USE.c.digest).where(
                PACK_USE.c.run_id == run_id
            )
        ):
            used[row.kind, row.pack_id][place][row.version] = row.digest
    return tuple(
        PackChange(kind, pack_id, _versions(was, now), _versions(now, was))
        for (kind, pack_id), (was, now) in sorted(used.items())
        if was != now
    )


def _versions(own: Mapping[str, str], other: Mapping[str, str]) -> str:
    """The versions of a pack; with the beginning of their content's digest where only that differs."""
    return "、".join(
        f"{version}（{digest[:8]}）" if version in other and other[version] != digest else version
        for version, digest in sorted(own.items())
    )


_HEADINGS: Mapping[str, Sequence[tuple[str, str]]] = {
    "规则": (
        ("rule", "规则"), ("title", "名称"), ("appeared", "新出现"), ("vanished", "消失"),
        ("reweighed", "轻重或接受改变"), ("lists", "清单数"),
    ),
    "科室": (
        ("department", "科室代码"), ("appeared", "新出现"), ("vanished", "消失"), ("lists", "有变化的清单"),
        ("regrouped", "换组"), ("priced", "两边都有预计支付"), ("expected_change_yuan", "预计支付变化（元）"),
    ),
    "换组": (
        ("before", "原 DRG"), ("after", "现 DRG"), ("lists", "清单数"), ("weighed", "两边都有权重"),
        ("weight_change", "权重变化"), ("priced", "两边都有预计支付"), ("expected_change_yuan", "预计支付变化（元）"),
    ),
    "清单": (
        ("list_key", "清单"), ("list_id", "就诊ID"), ("department", "科室代码"), ("corrected", "已更正"),
        ("verdict_before", "原结论"), ("verdict_after", "现结论"), ("score_before", "原得分"),
        ("score_after", "现得分"), ("drg_before", "原 DRG"), ("drg_after", "现 DRG"),
        ("weight_before", "原权重"), ("weight_after", "现权重"), ("expected_before_yuan", "原预计支付（元）"),
        ("expected_after_yuan", "现预计支付（元）"), ("dip_before", "原 DIP"), ("dip_after", "现 DIP"),
        ("appeared", "新出现的问题"), ("vanished", "消失的问题"),
    ),
    "数据包": (("kind", "种类"), ("id", "编号"), ("before", "原版本"), ("after", "现版本")),
}  # fmt: skip
_TOTALS = (
    ("findings", "问题数"), ("grouped", "有权重的清单"), ("weight", "总权重"), ("cmi", "CMI"),
    ("expected_yuan", "DRG 预计支付（元）"), ("dip_score", "DIP 总分值"), ("dip_amount_yuan", "DIP 预计支付（元）"),
)  # fmt: skip
MAX_CELL = 32_000
"""Characters that a cell of a workbook holds."""


def summary_rows(found: RunComparison) -> list[tuple[str, Cell, Cell]]:
    """Name, before, after of what the comparison comes to; None where it is not known."""
    rows: list[tuple[str, Cell, Cell]] = [
        ("批次", _run(found.before, found.trial_before), _run(found.after, found.trial_after)),
        ("两批都有的清单", found.lists, found.lists),
        ("只在这一批的清单", found.only_before, found.only_after),
    ]
    was, now = found.totals_before, found.totals_after
    rows += [(label, getattr(was, name), getattr(now, name)) for name, label in _TOTALS]
    for verdict in sorted({*was.verdicts, *now.verdicts}):
        rows.append((f"结论 {verdict}", was.verdicts.get(verdict, 0), now.verdicts.get(verdict, 0)))
    return rows


def _run(number: int, trial: str) -> Cell:
    return f"{number}（{trial}）" if trial else number


def write_workbook(found: RunComparison, path: Path) -> None:
    """The comparison as an xlsx with filters; a text is never a formula."""
    write_book(path, _sheets(found), filters=True)


def _sheets(found: RunComparison) -> Iterator[Sheet]:
    counts = [("有变化的清单", None, found.changed), ("其中已更正的清单", None, found.corrected)]
    moves = [(f"结论 {name}", None, count) for name, count in found.verdicts.items()]
    yield (
        "汇总",
        ("项目", "原来", "现在"),
        [
            *((label, _unknown(was), _unknown(now)) for label, was, now in summary_rows(found)),
            *counts,
            *moves,
            *(("说明", note, None) for note in found.notes),
        ],
    )
    several = (found.rules, found.departments, found.groups, found.changed_lists, found.packs)
    for (title, columns), rows in zip(_HEADINGS.items(), several, strict=True):
        headings = tuple(heading for _, heading in columns)
        yield (
            title,
            headings,
            [
                tuple(
                    _unknown(getattr(row, name)) if name.endswith(CHANGES) else _cell(getattr(row, name))
                    for name, _ in columns
                )
                for row in rows
            ],
        )


CHANGES = ("_change", "_change_yuan")
UNKNOWN = "—"


def _unknown(value: Cell) -> Cell:
    return UNKNOWN if value is None else value


def _cell(value: object) -> Cell:
    if isinstance(value, bool):
        return "是" if value else ""
    if value is None or isinstance(value, int | float | str):
        return value
    assert isinstance(value, tuple)  # noqa: S101 -- the texts of findings
    return "\n".join(value)[:MAX_CELL]
