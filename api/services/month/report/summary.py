"""Counts a month list by list; what it keeps grows with departments, doctors and groups, not with lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from api.services.month.figures import rounded
from api.services.month.grouping_rate import Grouping
from api.services.month.records import Record
from api.services.month.report.content import (
    Band,
    Class,
    ComplicationLine,
    FamilyLine,
    GroupTotals,
    Multiples,
    ReasonLine,
    RuleLine,
    Standard,
    Totals,
    Unit,
)
from grouper.drg import REASONS
from models.grouping import Complication
from models.report import Severity, Verdict
from qc_rules.catalogue import FAMILIES

MULTIPLE_LIMITS = (0.4, 0.7, 1.0, 1.5, 2.0, 3.0)
"""Where a band of cost multiples ends. 0.4 and 3 are the usual limits of low and high cost."""
LEAST_STANDARD = 5
"""Lists of a group from which on its own past mean is a standard for others."""
OWN_MONTH = Standard(
    "本院本月同病组", "没有公布的均次费用，也没有已封存的往月：以本月全院同一病组的均值为 1，全院的指数恒为 1"
)
OWN_MONTH_TIME = Standard(
    "本院本月同病组", "没有已封存的往月：以本月全院同一病组的平均住院日为 1，全院的指数恒为 1"
)
PUBLISHED = Standard("公布的病组均次费用", "支付数据包公布的各病组均次费用；没有公布的病组不参加计算")


class Found(msgspec.Struct, frozen=True, gc=False):
    """What the summary takes from a finding."""

    rule: str
    severity: Severity
    title: str
    accepted: bool = False
    kind: Class = "list"


class Entry(msgspec.Struct, frozen=True):
    """One list of the run. ``expected``: payment in fen; ``reason`` as in GroupResult; money in fen."""

    list_id: str
    verdict: Verdict
    score: int
    reason: str
    weight: float | None
    expected: int | None
    dip: str
    dip_score: float | None
    record: Record
    complications: tuple[Complication, ...] = ()
    findings: tuple[Found, ...] = ()


@dataclass(slots=True)
class _Cell:
    """One group of one unit: sums of what the lists say."""

    lists: int = 0
    cost_lists: int = 0
    cost: int = 0
    stay_lists: int = 0
    days: int = 0


@dataclass(slots=True)
class _Tally:
    """The sums of one unit."""

    lists: int = 0
    passed: int = 0
    clean: int = 0
    passed_besides: int = 0
    across: int = 0
    across_lists: int = 0
    source: int = 0
    score: int = 0
    severities: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("error", "warn", "info"), 0))
    accepted: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    families: Counter[str] = field(default_factory=Counter)
    weighted: int = 0
    weight: float = 0.0
    cost_lists: int = 0
    cost: int = 0
    stay_lists: int = 0
    days: int = 0
    priced: int = 0
    expected: int = 0
    expected_cost: int = 0
    dip_grouped: int = 0
    dip_score: float = 0.0
    cells: dict[str, _Cell] = field(default_factory=dict)

    def add(self, entry: Entry, families: Iterable[str]) -> None:
        record = entry.record
        self.lists += 1
        self.passed += entry.verdict != "需修改"
        self.clean += entry.verdict == "可上传"
        self.score += entry.score
        self._add_findings(entry)
        self.reasons[entry.reason] += 1
        self.families.update(families)
        grouped = entry.reason == "grouped"
        cell = None
        if grouped:
            cell = self.cells.get(record.drg)
            if cell is None:
                cell = self.cells[record.drg] = _Cell()
            cell.lists += 1
            if entry.weight is not None:
                self.weighted += 1
                self.weight += entry.weight
        cost, stay = record.cost, record.stay
        if cost:
            self.cost_lists += 1
            self.cost += cost
            if cell:
                cell.cost_lists += 1
                cell.cost += cost
        if stay is not None and stay >= 0:
            self.stay_lists += 1
            self.days += stay
            if cell:
                cell.stay_lists += 1
                cell.days += stay
        if entry.expected is not None and cost:
            self.priced += 1
            self.expected += entry.expected
            self.expected_cost += cost
        if entry.dip:
            self.dip_grouped += 1
            self.dip_score += entry.dip_score or 0.0

    def _add_findings(self, entry: Entry) -> None:
        across, source, wrong = 0, 0, 0
        for found in entry.findings:
            if found.accepted:
                self.accepted += 1
            elif found.kind == "across":
                across += 1
            else:
                self.severities[found.severity] += 1
                if found.kind == "source":
                    source += 1
                else:
                    wrong += found.severity == "error"
        self.across += across
        self.across_lists += across > 0
        self.source += source
        # What does not come of errors on their own, as a list of which nothing is known, does not pass either.
        self.passed_besides += entry.verdict != "需修改" or (source > 0 and not wrong)


@dataclass(slots=True)
class _Group:
    name: str
    weight: float | None = None
    average_fee: int | None = None
    expected: int = 0
    expected_cost: int = 0


@dataclass(slots=True)
class _Found:
    lists: int = 0
    errors: int = 0
    warnings: int = 0
    hints: int = 0
    accepted: int = 0
    across: int = 0


@dataclass(slots=True)
class _Rule:
    title: str
    severity: Severity
    lists: int = 0
    findings: int = 0
    accepted: int = 0
    kind: Class = "list"


@dataclass(frozen=True, slots=True)
class Standards:
    """Mean cost (fen) and mean stay (days) of groups that others are compared with."""

    cost: Standard
    costs: Mapping[str, float]
    time: Standard
    days: Mapping[str, float]


class Summary:
    """What was counted so far; ``add`` each list once."""

    def __init__(self) -> None:
        self.hospital = _Tally()
        self.departments: dict[str, _Tally] = {}
        self.doctors: dict[str, _Tally] = {}
        self.institutions: set[str] = set()
        self.first = self.last = ""
        self.discharge_months: Counter[str] = Counter()
        self._groups: dict[str, _Group] = {}
        self._families: dict[str, _Found] = {}
        self._rules: dict[str, _Rule] = {}
        self._bands: list[list[int]] = [[0, 0] for _ in range(len(MULTIPLE_LIMITS) + 1)]
        self._against: set[str] = set()
        self._outliers: Counter[str] = Counter()
        self._complications: Counter[tuple[str, str]] = Counter()

    def add(self, entry: Entry) -> None:
        """Count one list."""
        record = entry.record
        families = self._count_findings(entry)
        self.hospital.add(entry, families)
        for units, unit in ((self.departments, record.department), (self.doctors, record.doctor)):
            if unit:
                tally = units.get(unit)
                if tally is None:
                    tally = units[unit] = _Tally()
                tally.add(entry, families)
        if record.institution:
            self.institutions.add(record.institution)
        if record.discharged is not None:
            day = record.discharged.date().isoformat()
            self.first = min(self.first or day, day)
            self.last = max(self.last, day)
            self.discharge_months[day[:7]] += 1
        if entry.reason == "grouped":
            self._count_group(entry)
        if record.multiple is not None and record.cost:
            band = self._bands[sum(record.multiple >= limit for limit in MULTIPLE_LIMITS)]
            band[0] += 1
            band[1] += record.cost
            self._against.add(record.against)
            self._outliers[record.outlier] += 1
        counted = {(one.code, one.level) for one in entry.complications if one.level and not one.excluded}
        self._complications.update(counted)

    def _count_findings(self, entry: Entry) -> set[str]:
        """The families that have a finding which is not accepted."""
        families, rules = set[str](), set[str]()
        for found in entry.findings:
            family = found.rule.partition("-")[0]
            of_family = self._families.setdefault(family, _Found())
            rule = self._rules.get(found.rule)
            if rule is None:
                rule = self._rules[found.rule] = _Rule(found.title, found.severity)
            rule.findings += 1
            if found.kind != "list":
                rule.kind = found.kind
            if found.accepted:
                of_family.accepted += 1
                rule.accepted += 1
                continue
            families.add(family)
            rules.add(found.rule)
            if found.kind == "across":
                of_family.across += 1
            elif found.severity == "error":
                of_family.errors += 1
            elif found.severity == "warn":
                of_family.warnings += 1
            else:
                of_family.hints += 1
        for family in families:
            self._families[family].lists += 1
        for code in rules:
            self._rules[code].lists += 1
        return families

    def _count_group(self, entry: Entry) -> None:
        record = entry.record
        group = self._groups.get(record.drg)
        if group is None:
            group = self._groups[record.drg] = _Group(record.drg_name)
        group.weight = group.weight if entry.weight is None else entry.weight
        group.average_fee = group.average_fee or record.average_fee
        if entry.expected is not None and record.cost:
            group.expected += entry.expected
            group.expected_cost += record.cost

    # ------------------------------------------------------------ what was counted

    def standards(self, past: Sequence[GroupTotals], past_name: str) -> Standards:
        """With whom the indices compare: published fees, else the past, else the month itself.

        ``past``: the groups of sealed months; ``past_name`` says which, "" for none.
        """
        published = {drg: float(one.average_fee) for drg, one in self._groups.items() if one.average_fee}
        costs, days = _means(past)
        text = f"{past_name} 已封存月报中，同一病组至少 {LEAST_STANDARD} 例的均值；其他病组不参加计算"
        before = Standard(f"本院 {past_name} 同病组", text)
        own_costs = {
            drg: cell.cost / cell.cost_lists for drg, cell in self.hospital.cells.items() if cell.cost_lists
        }
        own_days = {
            drg: cell.days / cell.stay_lists
            for drg, cell in self.hospital.cells.items()
            if cell.stay_lists and cell.days
        }
        if published:
            cost, chosen = PUBLISHED, published
        elif costs:
            cost, chosen = before, costs
        else:
            cost, chosen = OWN_MONTH, own_costs
        if days:
            return Standards(cost, chosen, before, days)
        return Standards(cost, chosen, OWN_MONTH_TIME, own_days)

    def totals(self, standards: Standards) -> Totals:
        """The whole hospital."""
        return _totals(self.hospital, standards)

    def units(
        self, tallies: Mapping[str, _Tally], names: Callable[[str], str], standards: Standards
    ) -> tuple[Unit, ...]:
        """Departments or doctors, those with the most lists first."""
        order = sorted(tallies.items(), key=lambda item: (-item[1].lists, item[0]))
        return tuple(
            Unit(unit, names(unit), _totals(tally, standards), dict(sorted(tally.families.items())))
            for unit, tally in order
        )

    def families(self) -> tuple[FamilyLine, ...]:
        """In the order of the catalogue; a hospital's own families follow."""
        order = {family: number for number, family in enumerate(FAMILIES)}
        found = sorted(self._families.items(), key=lambda item: (order.get(item[0], len(order)), item[0]))
        return tuple(
            FamilyLine(
                family,
                FAMILIES.get(family, ""),
                one.lists,
                one.errors,
                one.warnings,
                one.hints,
                one.accepted,
                one.across,
            )
            for family, one in found
        )

    def rules(self) -> tuple[RuleLine, ...]:
        """Every rule that found something, the one on the most lists first."""
        found = sorted(self._rules.items(), key=lambda item: (-item[1].lists, item[0]))
        return tuple(
            RuleLine(code, one.title, one.severity, one.lists, one.findings, one.accepted, one.kind)
            for code, one in found
        )

    def reasons(self) -> tuple[ReasonLine, ...]:
        """Why lists have no group, the most frequent first."""
        words = {**REASONS, "no_scheme": "没有适用的分组方案"}
        found = [item for item in self.hospital.reasons.items() if item[0] != "grouped"]
        found.sort(key=lambda item: (-item[1], item[0]))
        return tuple(ReasonLine(reason, words.get(reason, reason), number) for reason, number in found)

    def groups(self) -> tuple[GroupTotals, ...]:
        """All DRGs, the most frequent first."""
        order = sorted(self._groups, key=lambda drg: (-self.hospital.cells[drg].lists, drg))
        found = []
        for drg in order:
            group, cell = self._groups[drg], self.hospital.cells[drg]
            found.append(
                GroupTotals(
                    drg=drg,
                    name=group.name,
                    lists=cell.lists,
                    weight=group.weight,
                    average_fee=group.average_fee,
                    cost_lists=cell.cost_lists,
                    cost=cell.cost,
                    stay_lists=cell.stay_lists,
                    days=cell.days,
                    expected=group.expected,
                    expected_cost=group.expected_cost,
                )
            )
        return tuple(found)

    def multiples(self) -> Multiples:
        """The bands of cost ÷ standard, from the lowest."""
        lows, highs = (0.0, *MULTIPLE_LIMITS), (*MULTIPLE_LIMITS, None)
        return Multiples(
            against=tuple(sorted(self._against)),
            bands=tuple(
                Band(low, high, *counted) for low, high, counted in zip(lows, highs, self._bands, strict=True)
            ),
            high=self._outliers["high"],
            low=self._outliers["low"],
        )

    def complications(self, names: Callable[[str], str], most: int) -> tuple[ComplicationLine, ...]:
        """The diagnoses that counted most often, of each level at most ``most``."""
        grouped = self.hospital.reasons["grouped"] or 1
        found = []
        for level in ("MCC", "CC"):
            of_level = [(code, number) for (code, one), number in self._complications.items() if one == level]
            of_level.sort(key=lambda item: (-item[1], item[0]))
            found += [
                ComplicationLine(code, names(code), level, number, rounded(number / grouped))
                for code, number in of_level[:most]
            ]
        return tuple(found)


def _means(past: Iterable[GroupTotals]) -> tuple[dict[str, float], dict[str, float]]:
    """Mean cost (fen) and stay (days) of the groups that several months together have often enough."""
    sums: dict[str, _Cell] = {}
    for one in past:
        cell = sums.setdefault(one.drg, _Cell())
        cell.cost_lists += one.cost_lists
        cell.cost += one.cost
        cell.stay_lists += one.stay_lists
        cell.days += one.days
    costs = {
        drg: cell.cost / cell.cost_lists for drg, cell in sums.items() if cell.cost_lists >= LEAST_STANDARD
    }
    days = {
        drg: cell.days / cell.stay_lists
        for drg, cell in sums.items()
        if cell.stay_lists >= LEAST_STANDARD and cell.days
    }
    return costs, days


def _totals(tally: _Tally, standards: Standards) -> Totals:
    found = Grouping.of(tally.reasons)
    cells = tally.cells.items()
    cost_index, cost_index_lists = _index(
        ((cell.cost_lists, cell.cost, standards.costs.get(drg)) for drg, cell in cells)
    )
    time_index, time_index_lists = _index(
        ((cell.stay_lists, cell.days, standards.days.get(drg)) for drg, cell in cells)
    )
    return Totals(
        lists=tally.lists,
        passed=tally.passed,
        clean=tally.clean,
        errors=tally.severities["error"],
        warnings=tally.severities["warn"],
        hints=tally.severities["info"],
        accepted=tally.accepted,
        pass_rate=_share(tally.passed, tally.lists),
        clean_rate=_share(tally.clean, tally.lists),
        score=_share(tally.score, tally.lists),
        grouped=found.grouped,
        ambiguous=found.ambiguous,
        ungrouped=found.ungrouped,
        unjudged=found.unjudged,
        grouping_rate=_share(found.grouped, found.judged),
        ambiguous_rate=_share(found.ambiguous, found.judged),
        ungrouped_rate=_share(found.ungrouped, found.judged),
        groups=len(tally.cells),
        weighted=tally.weighted,
        weight=rounded(tally.weight),
        cmi=_share(tally.weight, tally.weighted),
        cost_lists=tally.cost_lists,
        cost=tally.cost,
        mean_cost=round(tally.cost / tally.cost_lists) if tally.cost_lists else None,
        stay_lists=tally.stay_lists,
        days=tally.days,
        mean_stay=_share(tally.days, tally.stay_lists),
        cost_index=cost_index,
        cost_index_lists=cost_index_lists,
        time_index=time_index,
        time_index_lists=time_index_lists,
        priced=tally.priced,
        expected=tally.expected,
        expected_cost=tally.expected_cost,
        dip_grouped=tally.dip_grouped,
        dip_score=rounded(tally.dip_score),
        across=tally.across,
        across_lists=tally.across_lists,
        source=tally.source,
        pass_rate_besides=_share(tally.passed_besides, tally.lists),
    )


def _index(cells: Iterable[tuple[int, int, float | None]]) -> tuple[float | None, int]:
    """Σ nₖ·(own mean ÷ standard) ÷ Σ nₖ over the groups k that have a standard, and Σ nₖ.

    Since nₖ · own mean is the sum of group k, each group adds its sum ÷ standard.
    """
    total, lists = 0.0, 0
    for number, amount, standard in cells:
        if number and standard:
            total += amount / standard
            lists += number
    return _share(total, lists), lists


def _share(part: float, whole: int) -> float | None:
    return rounded(part / whole) if whole else None
