"""The whole month in one call: read, count, expect, compare across lists, rank."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from api.reading import shown_name
from api.services.check import Checker
from api.services.month.comparisons import FALSE_DISCOVERY_RATE, LEVELS, GroupTally, Tally, compare
from api.services.month.cross_list import PARAMETERS, CrossParameters, across, multiples
from api.services.month.indications import Indications
from api.services.month.ranking import rank
from api.services.month.records import Reading, Record, Recorder
from api.services.month.residuals import Residuals, review_candidates
from api.services.month.result import Comparison, CrossFinding, MonthReport, Review, Summary, Unread
from api.settings import Settings


@dataclass(frozen=True)
class Request:
    """What to look at: the files of the month, those of the past, where, and with which parameters."""

    files: Sequence[Path]
    reference: Sequence[Path] = ()
    region: str = ""
    scheme: str = ""
    payment: str = ""
    indications: Indications | None = None
    parameters: CrossParameters = PARAMETERS


@dataclass(frozen=True)
class Counted:
    """Some records, and what was counted of them."""

    records: Sequence[Record]
    tally: Tally


@dataclass(frozen=True)
class Examination:
    """What records say together: units compared, lists far from expectation, rows for a reviewer."""

    comparisons: tuple[Comparison, ...]
    residuals: Residuals
    reviews: tuple[Review, ...]
    left_off: int
    in_yuan: bool

    @property
    def notes(self) -> tuple[str, ...]:
        """How the rows for a reviewer are scored, and how many are not shown."""
        unit = "元" if self.in_yuan else "权重"
        found = [f"复核排序的得分 = 预计影响（{unit}）× 证据强度；证据强度是排序用的约定，不是概率"]
        if self.left_off:
            found.append(f"复核排序只列前 {len(self.reviews)} 行，另有 {self.left_off} 行未列")
        return tuple(found)


def examine(
    month: Counted,
    past: Counted | None,
    files: Sequence[str],
    departments: Mapping[str, str],
    code_name: Callable[[str], str],
    *,
    cross: Iterable[CrossFinding],
) -> Examination:
    """Compare, expect and rank the lists of a month.

    ``files`` are the names that the records number; ``departments`` and ``code_name`` give names;
    ``cross`` are the findings across lists.
    """
    comparisons = tuple(compare(month.tally, past.tally if past else None, departments, code_name))
    residuals = review_candidates(month.records, past.records if past else (), files)
    reviews, left_off, in_yuan = rank(month.records, files, comparisons, residuals.candidates, cross)
    return Examination(comparisons, residuals, reviews, left_off, in_yuan)


def study(
    request: Request, checker: Checker, settings: Settings, advance: Callable[[], object] = lambda: None
) -> MonthReport:
    """All statistics and findings of a month; pure but for reading the files. Raises PackError.

    ``advance`` is called after each list. Of a list only a small record stays in memory.
    """
    recorder = Recorder(checker, request.region, request.scheme, request.payment)
    reading, past_reading = Reading(), Reading()
    tally, groups = Tally(), GroupTally()
    past_tally = Tally() if request.reference else None
    past: list[Record] = []
    for record, _ in recorder.read(request.reference, settings, past_reading, len(request.files)):
        assert past_tally is not None  # noqa: S101 -- there is something to read only then
        past_tally.add(record)
        past.append(record)
        advance()
    month: list[Record] = []
    for found, facts in recorder.read(request.files, settings, reading):
        record = found
        if request.indications is not None:
            leads = tuple(request.indications.leads(facts))
            record = msgspec.structs.replace(record, leads=(*record.leads, *leads)) if leads else record
        tally.add(record)
        groups.add(record)
        month.append(record)
        advance()
    files = _names([*request.files, *request.reference])
    rules = {rule.code: rule for rule in checker.rules_for(None, request.region).rules()}
    library = checker.rules_for(None, request.region).reference.library

    def code_name(code: str) -> str:
        known = library.diagnosis(code)
        return known.name if known else ""

    cross, skipped = across([*month, *past], len(request.files), files, rules, request.parameters)
    cross += multiples(month, files, rules, request.parameters)
    before = Counted(past, past_tally) if past_tally else None
    seen = examine(Counted(month, tally), before, files, reading.departments, code_name, cross=cross)
    comparisons, residuals, reviews = seen.comparisons, seen.residuals, seen.reviews
    notes = [*residuals.notes, *skipped.notes]
    notes += [f"{text}（{number} 份清单）" for text, number in sorted(reading.notes.items())]
    if past_tally is None:
        notes.append("没有给出 --reference，只在院内比较，没有与本院过去比较")
    elif not past:
        notes.append("--reference 的文件里没有可用的清单，没有与本院过去比较")
    notes += seen.notes
    discharged = sorted(one.discharged for one in month if one.discharged)
    grouped = [one for one in month if one.grouped]
    summary = Summary(
        lists=reading.lists,
        unread=reading.unread,
        past_lists=past_reading.lists,
        past_unread=past_reading.unread,
        grouped=len(grouped),
        discharged_from=f"{discharged[0]:%Y-%m-%d}" if discharged else "",
        discharged_to=f"{discharged[-1]:%Y-%m-%d}" if discharged else "",
        total_fee=sum(one.cost or 0 for one in month) / 100,
        complicated_share=round(sum(bool(one.raising) for one in grouped) / len(grouped), 4)
        if grouped
        else None,
        tested={
            level: sum(one.level == level and one.p is not None for one in comparisons) for level in LEVELS
        },
        flagged={level: sum(one.level == level and one.flagged for one in comparisons) for level in LEVELS},
        false_discovery_rate=FALSE_DISCOVERY_RATE,
        candidates=len(residuals.candidates),
        cross_findings=len(cross),
        reviews=len(reviews),
    )
    return MonthReport(
        summary=summary,
        notes=tuple(notes),
        packs=tuple(sorted(reading.packs, key=lambda one: one.id)),
        comparisons=comparisons,
        groups=groups.lines(),
        models=residuals.models,
        candidates=residuals.candidates,
        cross_findings=tuple(cross),
        reviews=reviews,
        unread=tuple(Unread(*one) for one in [*reading.errors, *past_reading.errors]),
    )


def _names(files: Sequence[Path]) -> list[str]:
    """The names of the files as the report shows them; the same name twice gets its number."""
    found: list[str] = []
    for path in files:
        name = shown_name(path)
        found.append(name if name not in found else f"{name}（第 {len(found) + 1} 个文件）")
    return found
