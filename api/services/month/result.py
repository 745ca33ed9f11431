"""What a month says: the typed report that month.json holds."""

from __future__ import annotations

from typing import Literal

import msgspec

from models.pack import PackRef
from models.report import Finding

Level = Literal["全院", "科室", "医师"]
Measure = Literal["MCC/CC 率", "编码使用", "低标准入院率", "病组内费用", "病组内住院日"]
Baseline = Literal["院内同病组", "本院过去", "公布的均次费用"]
Direction = Literal["偏高", "偏低", ""]
LEAST_LISTS = 500
"""Fewer lists than this teach nothing of cost and stay that could be held against a single one."""


class Comparison(msgspec.Struct, frozen=True):
    """A unit against whom it is compared with, within the same groups and ages.

    For rates ``observed`` and ``expected`` are numbers of lists, ``value`` the share with its 95 %
    interval and ``reference`` the share expected; for cost and stay ``value`` is the ratio (1 = as the
    others) with its interval and ``reference`` 1. ``q`` is None where nothing was tested, ``note`` says
    why (Chinese). ``small`` marks fewer than 30 cases.
    """

    level: Level
    unit: str
    name: str
    measure: Measure
    code: str
    code_name: str
    baseline: Baseline
    cases: int
    compared_with: int
    observed: float | None
    expected: float | None
    value: float | None
    low: float | None
    high: float | None
    reference: float | None
    p: float | None
    q: float | None
    flagged: bool
    direction: Direction
    small: bool
    note: str = ""


class GroupLine(msgspec.Struct, frozen=True):
    """One DRG in the month. Fees in yuan; ``low`` and ``high`` are the 95 % interval of the mean fee."""

    drg: str
    name: str
    cases: int
    mean_fee: float | None
    low: float | None
    high: float | None
    mean_stay: float | None
    average_fee: float | None
    ratio: float | None
    weight: float | None
    small: bool


class Driver(msgspec.Struct, frozen=True):
    """A feature that moved the expectation of one list: by which factor (1.3 = expected 30 % more)."""

    feature: str
    value: str
    factor: float


class Candidate(msgspec.Struct, frozen=True):
    """A list whose cost or stay lies far from what its codes let expect. Yuan or days."""

    list_id: str
    file: str
    line: int
    target: Literal["费用", "住院日"]
    department: str
    doctor: str
    drg: str
    actual: float
    expected: float
    ratio: float
    deviations: float
    drivers: tuple[Driver, ...]
    text: str


class Model(msgspec.Struct, frozen=True):
    """How the expectation was learned and how well it does: ``explained`` is the share of the variance
    of the logarithm that it explains on lists it had not seen."""

    target: Literal["费用", "住院日"]
    learned_from: int
    explained: float
    typical_error: float
    candidates: int


class CrossFinding(msgspec.Struct, frozen=True):
    """A finding about a list and, where there are two, the other list of the same person."""

    list_id: str
    file: str
    line: int
    other_id: str
    other_file: str
    other_line: int
    finding: Finding
    gap_hours: float | None = None


class Evidence(msgspec.Struct, frozen=True):
    """One reason to look at a list: what, in words, and how strong it is taken to be (0–1)."""

    kind: str
    text: str
    strength: float


class Review(msgspec.Struct, frozen=True):
    """One list for a reviewer: expected effect on payment × strength of evidence.

    ``effect_weight`` in weight points, ``effect_yuan`` in yuan, None where the payment pack does not say;
    ``effect_text`` says how the effect came about. Rows without an effect come last, by strength.
    """

    rank: int
    list_id: str
    file: str
    line: int
    department: str
    doctor: str
    drg: str
    direction: str
    effect_weight: float | None
    effect_yuan: float | None
    effect_text: str
    strength: float
    score: float | None
    evidence: tuple[Evidence, ...]
    clears: str


class Unread(msgspec.Struct, frozen=True):
    """A line that held no list."""

    file: str
    line: int
    error: str


class Summary(msgspec.Struct, frozen=True):
    """The month in numbers. ``tested`` comparisons share one correction for their number per level."""

    lists: int
    unread: int
    past_lists: int
    past_unread: int
    grouped: int
    discharged_from: str
    discharged_to: str
    total_fee: float
    complicated_share: float | None
    tested: dict[str, int]
    flagged: dict[str, int]
    false_discovery_rate: float
    candidates: int
    cross_findings: int
    reviews: int

    @property
    def period(self) -> str:
        """First and last day of discharge as people read them."""
        return f"{self.discharged_from} 至 {self.discharged_to}" if self.discharged_from else "未知"


class MonthReport(msgspec.Struct, frozen=True):
    """Everything that a month says; the same input gives the same bytes."""

    summary: Summary
    notes: tuple[str, ...]
    packs: tuple[PackRef, ...]
    comparisons: tuple[Comparison, ...]
    groups: tuple[GroupLine, ...]
    models: tuple[Model, ...]
    candidates: tuple[Candidate, ...]
    cross_findings: tuple[CrossFinding, ...]
    reviews: tuple[Review, ...]
    unread: tuple[Unread, ...]
