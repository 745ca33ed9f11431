"""How well the checks did on a month whose mistakes are known: recall, false alarms, groups, time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from api.demo.month import Label
from models.pack import PackStore
from models.report import Report

WEIGHTS_PACK = "liaocheng-2025"
"""Public weights by the groups of CHS-DRG 2.0 themselves, without regional subdivision."""
NOT_GROUPED = "0000"


def group_weights(store: PackStore) -> dict[str, float]:
    """The weight of each DRG that the public table lists. Raises PackError."""
    rows = store.get(WEIGHTS_PACK).records("weights", "drg", "weight")
    return {drg: float(weight) for drg, weight in rows if weight}


@dataclass
class GroupCount:
    """The lists of one DRG."""

    name: str
    lists: int = 0


@dataclass
class Evaluation:
    """Counts over the lists seen so far."""

    weights: dict[str, float] = field(default_factory=dict)
    lists: int = 0
    clean: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    grades: Counter[str] = field(default_factory=Counter)
    findings: Counter[tuple[str, str]] = field(default_factory=Counter)
    severities: Counter[str] = field(default_factory=Counter)
    planted: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    missed: list[tuple[Label, str]] = field(default_factory=list)
    false_errors: list[tuple[Label, str]] = field(default_factory=list)
    clean_warnings: Counter[tuple[str, str]] = field(default_factory=Counter)
    groups: dict[str, GroupCount] = field(default_factory=dict)
    ungrouped: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str], str] = field(default_factory=dict)
    ambiguous: int = 0

    def add(self, label: Label, report: Report) -> None:
        """Take one list into account."""
        self.lists += 1
        self.verdicts[report.verdict] += 1
        self.grades[report.grade] += 1
        fired = {finding.rule for finding in report.findings}
        self.findings.update({(finding.rule, finding.title) for finding in report.findings})
        self.severities.update(finding.severity for finding in report.findings)
        for rule in label.expected:
            self.planted[rule] += 1
            if rule in fired:
                self.found[rule] += 1
            else:
                self.missed.append((label, rule))
        if not label.defects:
            self._add_clean(label, report)
        self._add_group(report)

    def _add_clean(self, label: Label, report: Report) -> None:
        self.clean += 1
        self.clean_warnings.update({(f.rule, f.title) for f in report.findings if f.severity == "warn"})
        self.false_errors.extend((label, f.rule) for f in report.findings if f.severity == "error")

    def _add_group(self, report: Report) -> None:
        group = report.group
        if group is None or group.code == NOT_GROUPED:
            why = ("" if group is None else group.reason, report.interface)
            self.ungrouped[why] += 1
            self.examples.setdefault(why, report.ungrouped if group is None else group.explanation)
        elif group.reason == "ambiguous":
            self.ambiguous += 1
        else:
            self.groups.setdefault(group.code, GroupCount(group.name)).lists += 1

    @property
    def grouped(self) -> int:
        return sum(group.lists for group in self.groups.values())

    @property
    def recall(self) -> float:
        """Share of the expected findings that came, 0–1; 1 when nothing was planted."""
        total = self.planted.total()
        return self.found.total() / total if total else 1.0

    @property
    def case_mix_index(self) -> tuple[float, int]:
        """CMI (mean weight) over the grouped lists whose DRG has a weight, and how many they are."""
        weighted = [
            (self.weights[drg], group.lists) for drg, group in self.groups.items() if drg in self.weights
        ]
        lists = sum(count for _, count in weighted)
        return (sum(weight * count for weight, count in weighted) / lists if lists else 0.0), lists

    @property
    def families(self) -> list[tuple[str, int, int]]:
        """Rule family, findings expected, findings that came."""
        names = dict.fromkeys(rule.partition("-")[0] for rule in sorted(self.planted))
        return [
            (
                name,
                sum(n for rule, n in self.planted.items() if rule.startswith(f"{name}-")),
                sum(n for rule, n in self.found.items() if rule.startswith(f"{name}-")),
            )
            for name in names
        ]

    @property
    def passed(self) -> bool:
        """Every planted mistake found, and no clean list called wrong."""
        return not self.missed and not self.false_errors
