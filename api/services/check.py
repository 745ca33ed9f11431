"""The use case of all doors: one settlement list in, one report out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from datetime import date
from typing import TypeVar

import msgspec

from coding.library import CodeLibrary
from grouper.drg import DrgScheme, compile_scheme
from models.grouping import Case, GroupResult
from models.pack import Pack, PackError, PackRef, PackStore
from models.report import Finding, Report, Verdict
from models.wire import Defect, Received
from qc_rules.acceptance import Acceptances
from qc_rules.facts import Facts
from qc_rules.reference import KINDS, Reference
from qc_rules.ruleset import RuleSet, rule_packs
from qc_rules.schema import Stage

FULL_SCORE = 100
NO_SCHEME = "no_scheme"
"""Reason of the result that stands for a group where no scheme holds."""
UNREADABLE = "unreadable"
"""Reason of the same where something that grouping looks at could not be read."""
MAX_REPEATS = 50
"""Findings of one rule that a report lists."""
GROUPED_NODES = ("setlinfo", "diseinfo", "oprninfo")
"""A list of which one of these, or a row, cannot be read is not grouped: another group might be the right one."""
MOST_PLACES = 3
"""Places that the reason names before it says how many there are."""
GRADES = ((90, "甲"), (75, "乙"), (0, "丙"))
"""Lowest score of each grade, after the grades of medical record quality (甲、乙、丙级病案)."""
MAX_REMEMBERED = 4096
"""Pairs of region and discharge date whose packs one process remembers."""


Key = TypeVar("Key")
Value = TypeVar("Value")


class Examined(msgspec.Struct, frozen=True):
    """The report on one list, the facts that it was made from, with the group, and the case grouped."""

    report: Report
    facts: Facts
    case: Case


class Checker:
    """Checks and groups lists with the packs that hold for each: pure, no database, no clock.

    The packs are read when first needed and kept; a new import needs a new Checker.
    """

    def __init__(self, store: PackStore, region: str = "", scheme: str = "") -> None:
        self.store = store
        self.region = region
        self.scheme = scheme
        self._rules: dict[tuple[PackRef, ...], RuleSet] = {}
        self._schemes: dict[tuple[str, str], DrgScheme] = {}
        self._chosen_rules: dict[tuple[str, date | None], RuleSet] = {}
        self._chosen_schemes: dict[tuple[str, str, date | None], DrgScheme | PackError] = {}

    @classmethod
    def open(cls, store: PackStore, region: str = "", scheme: str = "") -> Checker:
        """A checker whose packs for today's lists are loaded. Raises PackError.

        ``region`` is an administrative division code or its leading digits; ``scheme`` the id of a
        DRG scheme, empty for the one that holds in the region on the discharge date.
        """
        checker = cls(store, region, scheme)
        checker.rules_for(None)
        checker.scheme_for(None)
        return checker

    @property
    def rules(self) -> RuleSet:
        """The rules of this checker's region, whatever the date."""
        return self.rules_for(None)

    @property
    def library(self) -> CodeLibrary:
        """The code books of this checker's region."""
        return self.rules.reference.library

    def rules_for(self, on: date | None, region: str = "") -> RuleSet:
        """The rules for a discharge date, with the tables they look values up in. Raises PackError."""
        where = region or self.region
        found = self._chosen_rules.get((where, on))
        if found is None:
            found = self._open_rules(where, on)
            _remember(self._chosen_rules, (where, on), found)
        return found

    def _open_rules(self, region: str, on: date | None) -> RuleSet:
        packs = [self.store.pack_for(kind, region, on) for kind in KINDS]
        packs += rule_packs(self.store, region, on)
        key = tuple(pack.ref for pack in packs)
        if key not in self._rules:
            self._rules[key] = RuleSet.load(packs[len(KINDS) :], Reference.load(self.store, region, on))
        return self._rules[key]

    def scheme_for(self, on: date | None, region: str = "", scheme: str = "") -> DrgScheme:
        """The DRG scheme for a discharge date, or the one asked for by id. Raises PackError."""
        key = (region or self.region, scheme or self.scheme, on)
        found = self._chosen_schemes.get(key)
        if found is None:
            try:
                found = self._open_scheme(*key)
            except PackError as error:
                found = error
            _remember(self._chosen_schemes, key, found)
        if isinstance(found, PackError):
            raise found
        return found

    def _open_scheme(self, region: str, scheme: str, on: date | None) -> DrgScheme:
        known = [pack.id for pack in self.store.active("drg-scheme")]
        if scheme and scheme not in known:
            raise PackError(f"没有 DRG 分组方案 {scheme}；可用的有：{'、'.join(known)}")
        pack: Pack = self.store.get(scheme) if scheme else self.store.pack_for("drg-scheme", region, on)
        key = (pack.id, pack.manifest.version)
        if key not in self._schemes:
            # Compiled schemes are kept beside the hospital's packs; without such a place nothing is kept.
            cache = self.store.site.with_name("cache") if self.store.site else None
            self._schemes[key] = compile_scheme(pack, self.library, cache)
        return self._schemes[key]

    def check(
        self,
        received: Received,
        *,
        region: str = "",
        scheme: str = "",
        stage: Stage | None = None,
        accepted: Acceptances | None = None,
    ) -> Report:
        """Check and group one list. Raises PackError when the packs asked for do not exist.

        ``stage`` runs only the rules of 事前, 事中 or 事后; ``accepted`` are the findings that were
        accepted, as they hold on the day of the check.
        """
        return self.examine(received, region=region, scheme=scheme, stage=stage, accepted=accepted).report

    def examine(
        self,
        received: Received,
        *,
        region: str = "",
        scheme: str = "",
        stage: Stage | None = None,
        accepted: Acceptances | None = None,
    ) -> Examined:
        """As ``check``, with what was worked out on the way."""
        on = discharge_date(received)
        rules = self.rules_for(on, region)
        if stage is not None:
            rules = rules.at_stage(stage)
        facts = rules.facts(received)
        case = case_of(facts)
        facts.group = self.group_or_reason(facts, case, on, region, scheme)
        ran = None if stage is None else {rule.code for rule in rules.rules()}
        return Examined(concluded(rules, facts, rules.check(facts), accepted, ran), facts, case)

    def group_or_reason(
        self, facts: Facts, case: Case, on: date | None = None, region: str = "", scheme: str = ""
    ) -> GroupResult:
        """The group of a list, whose case is ``case``.

        Where no scheme holds, or what it looks at could not be read, a result that says so: the rules are
        told why. Raises PackError when there is no such scheme as was asked for.
        """
        try:
            chosen = self.scheme_for(on, region, scheme)
            return (facts.received.defects and unreadable(facts.received)) or chosen.group(case)
        except PackError as error:
            if scheme:
                raise
            return GroupResult("", "", "", "", reason=NO_SCHEME, explanation=str(error))

    def group(self, case: Case, *, region: str = "", scheme: str = "", on: date | None = None) -> GroupResult:
        """Group one case. Raises PackError when no scheme holds."""
        return self.scheme_for(on, region, scheme).group(case)

    def group_list(self, received: Received, *, region: str = "", scheme: str = "") -> GroupResult:
        """Group one list without checking it. Raises PackError when no scheme holds."""
        on = discharge_date(received)
        facts = self.rules_for(on, region).facts(received)
        chosen = self.scheme_for(on, region, scheme)
        return unreadable(received) or chosen.group(case_of(facts))


def concluded(
    rules: RuleSet,
    facts: Facts,
    findings: Sequence[Finding],
    accepted: Acceptances | None = None,
    ran: Container[str] | None = None,
) -> Report:
    """The report on a list, its facts with the group and what the rules found of it.

    ``ran``: the only rules that were run, None for all.
    """
    received, group = facts.received, facts.group
    packs = (*rules.packs, *rules.reference.packs)
    if received.list.charge_lines or received.list.evidence:
        packs = (*packs, *rules.reference.backing_packs)
    if group is not None and group.pack is not None:
        packs = (*packs, group.pack)
    counted = findings
    if accepted is not None:
        department = facts.stay.discharge_department or ""
        findings = accepted.apply(findings, _list_id(facts), department, ran)
        counted = [finding for finding in findings if finding.accepted is None]
    score = _score(rules, counted) if not received.defects or _says_something(received) else 0
    ungrouped = group.explanation if group is not None and group.reason in (NO_SCHEME, UNREADABLE) else ""
    return Report(
        list_id=_list_id(facts),
        interface=received.interface,
        verdict=_verdict(counted),
        score=score,
        grade=next(grade for lowest, grade in GRADES if score >= lowest),
        findings=tuple(_capped(findings)),
        group=None if ungrouped else group,
        packs=packs,
        ungrouped=ungrouped,
    )


def case_of(facts: Facts) -> Case:
    """What grouping looks at in a list: western diagnoses with the principal one first."""
    rows, procedures, stay = facts.list.diagnoses, facts.list.procedures, facts.stay
    principal, main = facts.principal, facts.main
    western = facts.western
    listed = rows if len(western) == len(rows) else [rows[index] for index in western]
    diagnoses = [row.code or "" for row in listed]
    if principal:
        diagnoses.insert(0, diagnoses.pop(western.index(principal)))
    operations = [row.code or "" for row in procedures]
    if main:
        operations.insert(0, operations.pop(main))
    years = facts.age_years
    infant = years is not None and years < 1
    return Case(
        diagnoses=tuple(diagnoses),
        procedures=tuple(operations),
        sex=stay.sex or "",
        age=None if years is None else int(years),
        age_days=facts.age_days if infant else None,
        # A mother's list carries the weights of her newborns; grouping asks for the patient's own.
        birth_weight=int(stay.birth_weight[0]) if infant and stay.birth_weight else None,
        length_of_stay=facts.stay_days if stay.length_of_stay is None else stay.length_of_stay,
        discharge_way=stay.discharge_way or "",
        icu_hours=None if facts.icu_minutes is None else facts.icu_minutes / 60,
        department=stay.discharge_department or "",
    )


def discharge_date(received: Received) -> date | None:
    """The day that decides which packs hold for a list."""
    moment = received.list.stay.discharge_time
    return moment.date() if moment else None


def _list_id(facts: Facts) -> str:
    stay = facts.stay
    return stay.visit_id or stay.settlement_id or stay.record_number or ""


def _unread_places(received: Received) -> list[Defect]:
    """The nodes that grouping looks at, and their rows, that could not be read."""
    return [
        defect
        for defect in received.defects
        if defect.kind == "node" and not defect.usable and defect.official.partition("[")[0] in GROUPED_NODES
    ]


def unreadable(received: Received) -> GroupResult | None:
    """Why a list is not grouped, where something that grouping looks at could not be read; else None."""
    found = _unread_places(received)
    if not found:
        return None
    places = []
    for defect in found[:MOST_PLACES]:
        row = defect.official.partition("[")[2].rstrip("]")
        places.append(f"{defect.label}第 {int(row) + 1} 行" if row else defect.label)
    more = f"等 {len(found)} 处" if len(found) > MOST_PLACES else ""
    explanation = f"{'、'.join(places)}{more}无法读取，不能分组；请改正后重新检查"
    return GroupResult("0000", "未入组", "", "", reason=UNREADABLE, explanation=explanation)


def _says_something(received: Received) -> bool:
    """Whether the stay and at least one diagnosis could be read: without them a list gets no points."""
    unread = {defect.official for defect in _unread_places(received)}
    rows = range(len(received.list.diagnoses))
    if unread.intersection(("setlinfo", "diseinfo")):
        return False
    return not rows or any(f"diseinfo[{row}]" not in unread for row in rows)


def _capped(findings: Sequence[Finding]) -> list[Finding]:
    """At most MAX_REPEATS findings of each rule; the last one says how many more there are."""
    if len(findings) <= MAX_REPEATS:
        return list(findings)
    counts = Counter(finding.rule for finding in findings)
    if max(counts.values(), default=0) <= MAX_REPEATS:
        return list(findings)
    seen: Counter[str] = Counter()
    kept = []
    for finding in findings:
        seen[finding.rule] += 1
        more = counts[finding.rule] - MAX_REPEATS
        if seen[finding.rule] == MAX_REPEATS and more > 0:
            message = f"{finding.message}（这条规则另有 {more} 处，未列出）"
            kept.append(msgspec.structs.replace(finding, message=message))
        elif seen[finding.rule] <= MAX_REPEATS:
            kept.append(finding)
    return kept


def _score(rules: RuleSet, findings: Sequence[Finding]) -> int:
    if not findings:
        return FULL_SCORE
    return max(0, FULL_SCORE - sum(rules.deduction(code) for code in {finding.rule for finding in findings}))


def _verdict(findings: Sequence[Finding]) -> Verdict:
    if not findings:
        return "可上传"
    severities = {finding.severity for finding in findings}
    if "error" in severities:
        return "需修改"
    return "需复核" if "warn" in severities else "可上传"


def _remember(memory: dict[Key, Value], key: Key, value: Value) -> None:
    if len(memory) >= MAX_REMEMBERED:
        memory.clear()
    memory[key] = value
