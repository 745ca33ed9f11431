"""What the report of a month says, as one typed value with one canonical JSON form and its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal

import msgspec

from api.intake.rejects import rejected_text
from api.services.month.result import Candidate, Comparison, CrossFinding, Model, Review
from models.report import Severity

Class = Literal["list", "across", "source"]
CLASSES: Mapping[Class, str] = {"list": "清单问题", "across": "跨清单线索", "source": "来源问题"}
"""Of a finding: of one list; of a list beside others, its group's standard or the month, which no check of one
list gives and no verdict counts; or on (nearly) all lists, so that not the list but its source is to be mended."""
FORMAT = 1
"""Edition of this content. A sealed report of an earlier edition is still read as it was sealed."""


class Totals(msgspec.Struct, frozen=True):
    """Some lists in numbers. Money in fen; rates are shares from 0 to 1, None without lists.

    ``passed``: lists without a finding that is an error; ``clean``: those that are 可上传. ``grouped`` +
    ``ambiguous`` (QY) + ``ungrouped`` (0000) + ``unjudged`` (no scheme) = ``lists``. ``cmi``: mean weight
    of the ``weighted`` lists, those grouped whose weight is known. ``cost_index`` and ``time_index``
    compare with the standards of the report, over the lists counted beside them. ``expected``,
    ``expected_cost``: payment expected for the ``priced`` lists, and what these cost. ``across``: findings
    across lists, on ``across_lists`` lists; they are in none of ``errors``, ``warnings``, ``hints``.
    ``source``: of those, the ones that nearly all lists of the source have; ``pass_rate_besides`` is the
    pass rate without them.
    """

    lists: int
    passed: int
    clean: int
    errors: int
    warnings: int
    hints: int
    accepted: int
    pass_rate: float | None
    clean_rate: float | None
    score: float | None
    grouped: int
    ambiguous: int
    ungrouped: int
    unjudged: int
    grouping_rate: float | None
    ambiguous_rate: float | None
    ungrouped_rate: float | None
    groups: int
    weighted: int
    weight: float
    cmi: float | None
    cost_lists: int
    cost: int
    mean_cost: int | None
    stay_lists: int
    days: int
    mean_stay: float | None
    cost_index: float | None
    cost_index_lists: int
    time_index: float | None
    time_index_lists: int
    priced: int
    expected: int
    expected_cost: int
    dip_grouped: int
    dip_score: float
    across: int = 0
    across_lists: int = 0
    source: int = 0
    pass_rate_besides: float | None = None

    @property
    def balance(self) -> int | None:
        """Expected payment less cost, fen; None without a priced list."""
        return self.expected - self.expected_cost if self.priced else None

    @property
    def payment(self) -> int | None:
        """Expected payment, fen; None without a priced list."""
        return self.expected if self.priced else None


class Unit(msgspec.Struct, frozen=True):
    """One department or doctor. ``families``: lists with a finding, by family of rules."""

    unit: str
    name: str
    totals: Totals
    families: dict[str, int]


class FamilyLine(msgspec.Struct, frozen=True):
    """The findings of one family of rules; ``lists`` have at least one that is not accepted."""

    family: str
    name: str
    lists: int
    errors: int
    warnings: int
    hints: int
    accepted: int
    across: int = 0


class RuleLine(msgspec.Struct, frozen=True):
    """The findings of one rule."""

    rule: str
    title: str
    severity: Severity
    lists: int
    findings: int
    accepted: int
    kind: Class = "list"


class SourceProblem(msgspec.Struct, frozen=True):
    """A finding on nearly all lists of a run: on ``lists`` of them, ``findings`` in all."""

    rule: str
    field: str
    title: str
    severity: Severity
    lists: int
    findings: int


class ReasonLine(msgspec.Struct, frozen=True):
    """Why lists have no group: the fixed key of GroupResult, in words, how many."""

    reason: str
    text: str
    lists: int


class GroupTotals(msgspec.Struct, frozen=True):
    """One DRG. Money in fen; sums, so that months can be added up to a standard."""

    drg: str
    name: str
    lists: int
    weight: float | None
    average_fee: int | None
    cost_lists: int
    cost: int
    stay_lists: int
    days: int
    expected: int
    expected_cost: int

    @property
    def mean_cost(self) -> float | None:
        """Fen."""
        return self.cost / self.cost_lists if self.cost_lists else None

    @property
    def mean_stay(self) -> float | None:
        """Days."""
        return self.days / self.stay_lists if self.stay_lists else None


class Band(msgspec.Struct, frozen=True):
    """Lists whose cost is from ``low`` up to below ``high`` times the standard of their group."""

    low: float
    high: float | None
    lists: int
    cost: int

    @property
    def label(self) -> str:
        """As people read it."""
        if self.high is None:
            return f"{self.low:g} 倍以上"
        return f"{self.low:g}–{self.high:g} 倍" if self.low else f"{self.high:g} 倍以下"


class Multiples(msgspec.Struct, frozen=True):
    """Cost ÷ standard of the group. ``high`` and ``low``: outside the limits that the region publishes."""

    against: tuple[str, ...]
    bands: tuple[Band, ...]
    high: int
    low: int


class ComplicationLine(msgspec.Struct, frozen=True):
    """A diagnosis that counted as MCC or CC, and the share of the grouped lists that have it."""

    code: str
    name: str
    level: str
    lists: int
    share: float


class CodingChange(msgspec.Struct, frozen=True):
    """What changed in the codes of one list from its first version to the one of this run."""

    list_id: str
    department: str
    first_version: int
    version: int
    principal: tuple[str, str]
    main_procedure: tuple[str, str]
    diagnoses_added: tuple[str, ...]
    diagnoses_removed: tuple[str, ...]
    procedures_added: tuple[str, ...]
    procedures_removed: tuple[str, ...]

    @property
    def empty(self) -> bool:
        """Whether no code changed."""
        lists = (
            self.diagnoses_added + self.diagnoses_removed + self.procedures_added + self.procedures_removed
        )
        pairs = (self.principal, self.main_procedure)
        return not lists and all(before == after for before, after in pairs)


class CodingChanges(msgspec.Struct, frozen=True):
    """Lists that were received again with other content. ``lines`` holds the first of ``recoded``."""

    changed: int
    recoded: int
    principal: int
    main_procedure: int
    diagnoses_added: int
    diagnoses_removed: int
    procedures_added: int
    procedures_removed: int
    lines: tuple[CodingChange, ...]


class TrendPoint(msgspec.Struct, frozen=True):
    """One month of the trend; ``report`` and ``digest`` name the sealed report that it comes from, 0 and
    "" for the month of this report."""

    month: str
    report: int
    digest: str
    totals: Totals
    cost_standard: str
    time_standard: str


class Standard(msgspec.Struct, frozen=True):
    """Against whom an index compares: a name, and how it came about (Chinese)."""

    name: str
    text: str


class UsedPack(msgspec.Struct, frozen=True):
    """A pack that the run used, with the hash of its content."""

    id: str
    version: str
    kind: str
    digest: str


class Origin(msgspec.Struct, frozen=True):
    """The run that a report stands on. ``finished``: instant in ISO 8601, "" when unknown; ``rejected``: rows
    and files that were not read, of which ``rejected_files`` are whole files; ``trial``: what it tries out, ""
    for one that can speak for its month."""

    run: int
    kind: str
    source: str
    input_digest: str
    finished: str
    rejected: int
    trial: str = ""
    rejected_files: int = 0

    @property
    def rejected_text(self) -> str:
        """What was not read, files apart from rows (Chinese)."""
        return rejected_text(self.rejected_files, self.rejected - self.rejected_files)


class Study(msgspec.Struct, frozen=True):
    """Statistics over the month, as in MonthReport; long lists are cut, ``left_off`` says by how much."""

    tested: dict[str, int]
    flagged: dict[str, int]
    complicated_share: float | None
    past_lists: int
    comparisons: tuple[Comparison, ...]
    models: tuple[Model, ...]
    candidates: tuple[Candidate, ...]
    cross_findings: tuple[CrossFinding, ...]
    reviews: tuple[Review, ...]
    left_off: dict[str, int]


class ReportContent(msgspec.Struct, frozen=True):
    """The whole report of a month: everything that page and workbook show is written from this.

    ``discharge_months``: lists by the month of their discharge, where it is known.
    """

    format: int
    program: str
    month: str
    region: str
    institutions: tuple[str, ...]
    discharged_from: str
    discharged_to: str
    origin: Origin
    cost_standard: Standard
    time_standard: Standard
    totals: Totals
    families: tuple[FamilyLine, ...]
    rules: tuple[RuleLine, ...]
    reasons: tuple[ReasonLine, ...]
    departments: tuple[Unit, ...]
    doctors: tuple[Unit, ...]
    groups: tuple[GroupTotals, ...]
    multiples: Multiples
    complications: tuple[ComplicationLine, ...]
    coding: CodingChanges
    trend: tuple[TrendPoint, ...]
    study: Study | None
    packs: tuple[UsedPack, ...]
    notes: tuple[str, ...]
    discharge_months: dict[str, int] = {}
    source_problems: tuple[SourceProblem, ...] = ()

    @property
    def elsewhere(self) -> int:
        """Lists whose discharge was in another month than that of the report."""
        return sum(number for month, number in self.discharge_months.items() if month != self.month)

    @property
    def period(self) -> str:
        """First and last day of discharge as people read them."""
        return f"{self.discharged_from} 至 {self.discharged_to}" if self.discharged_from else "未知"


def canonical(content: ReportContent) -> bytes:
    """The one JSON of a content: UTF-8, keys sorted, no spaces. The same content gives the same bytes."""
    # Once around, so that a whole number in a field of fractions is written as it will be read.
    return msgspec.json.encode(read_content(msgspec.json.encode(content)), order="sorted")


def digest_of(content: bytes) -> str:
    """SHA-256 of the canonical JSON, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def read_content(content: bytes) -> ReportContent:
    """The content in its JSON. Raises msgspec.ValidationError or DecodeError where it is another's."""
    return msgspec.json.decode(content, type=ReportContent)
