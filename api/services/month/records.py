"""Reads a month of lists into one small record each: what statistics and comparison across lists need."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path

import msgspec

from api.reading import FileRefusedError, SourceFile, shown_name
from api.services.check import Checker, case_of, discharge_date
from api.services.payment import PaymentDesk, billing_of_list
from api.settings import Settings
from api.spreadsheet import value_domains
from api.store.vault import KEY_BYTES, Vault
from grouper.payment import DrgPlan, Outlier, pay_case
from grouper.worksheet import Billing
from models.grouping import Case, GroupResult
from models.pack import PackError, PackRef
from models.report import Finding
from models.wire import Received
from qc_rules.facts import Facts, to_fen

MAX_ERRORS = 1000
"""Unreadable lines that are listed one by one; the others are counted."""
AGE_BANDS = (18, 45, 60, 75)
"""Years at which a stratum of age ends: within one group, children and the old are other patients."""
LEADS = ("FRD", "CHG-016", "CHG-018", "CHG-019", "DX-015")
"""The rules, by family or code, whose findings on a single list count as evidence for a reviewer."""
PLANNED = "2"
"""出院31天内再住院计划标志: 有."""


class Value(msgspec.Struct, frozen=True, gc=False):
    """What a group is worth to the hospital: weight, and the payment standard in fen, where known."""

    weight: float | None = None
    standard: int | None = None


UNKNOWN = Value()


class Lead(msgspec.Struct, frozen=True, gc=False):
    """What a rule or a learned table said of a single list."""

    rule: str
    title: str
    message: str


class Record(msgspec.Struct, frozen=True):
    """One list. Amounts in fen, times in minutes, ages in years; None where the list does not say.

    ``people`` are keyed hashes of the identifiers, useless without the key. ``raising`` are the
    diagnoses that count as MCC or CC and are not excluded; ``without`` is the group of the same case
    without them. ``top`` is the dearest group of the same ADRG. ``multiple`` is cost ÷ standard, else
    ÷ published average fee (``against``). ``expected`` is the expected DRG payment.
    """

    file: int
    line: int
    list_id: str
    people: tuple[bytes, ...]
    institution: str
    department: str
    doctor: str
    born: date | None
    birth_weight: int | None
    sex: str
    age: float | None
    admitted: datetime | None
    discharged: datetime | None
    planned: bool
    admission_way: str
    discharge_way: str
    principal: str
    drg: str
    drg_name: str
    adrg: str
    mdc: str
    raising: tuple[str, ...]
    mcc: int
    cc: int
    diagnoses: int
    procedures: int
    intensive_minutes: int
    ventilation_minutes: int
    stay: int | None
    cost: int | None
    value: Value
    without: Value
    without_drg: str
    top: Value
    top_drg: str
    average_fee: int | None
    multiple: float | None
    against: str
    outlier: Outlier
    leads: tuple[Lead, ...] = ()
    expected: int | None = None

    @property
    def grouped(self) -> bool:
        """Whether it is in a DRG: neither 0000 nor the QY of an MDC, as ``grouping_rate`` has it."""
        return self.adrg[1:] not in ("", "QY")

    @property
    def category(self) -> str:
        """The three-character category of the principal diagnosis."""
        return self.principal[:3]

    @property
    def band(self) -> int:
        """Number of the age stratum; unknown age has its own."""
        return -1 if self.age is None else sum(self.age >= limit for limit in AGE_BANDS)


@dataclass(frozen=True, slots=True)
class _Multiple:
    """Published average fee in fen; cost ÷ ``against``; the kind of case where the plan says."""

    average_fee: int | None = None
    ratio: float | None = None
    against: str = ""
    outlier: Outlier = ""
    expected: int | None = None


@dataclass
class Reading:
    """What was read beside the records: unreadable lines, packs, labels of departments, what was lacking."""

    lists: int = 0
    unread: int = 0
    errors: list[tuple[str, int, str]] = field(default_factory=list)
    packs: dict[PackRef, None] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    departments: dict[str, str] = field(default_factory=dict)

    def error(self, file: str, line: int, reason: str) -> None:
        self.unread += 1
        if len(self.errors) < MAX_ERRORS:
            self.errors.append((file, line, reason))

    def note(self, text: str) -> None:
        self.notes[text] = self.notes.get(text, 0) + 1


People = Callable[[Received], tuple[bytes, ...]]
"""Keyed hashes of the insurance number, certificate and person number; b"" for what names nobody."""


def leads_of(findings: Iterable[Finding]) -> tuple[Lead, ...]:
    """What counts as evidence for a reviewer among the findings on one list."""
    return tuple(
        [
            Lead(one.rule, one.title, one.message)
            for one in findings
            if one.rule.startswith(LEADS) and one.accepted is None
        ]
    )


class Recorder:
    """Checks, groups and prices each list, and keeps of it only a record.

    ``people`` hashes the identifiers; without it they are hashed with a key that nobody keeps.
    """

    def __init__(
        self,
        checker: Checker,
        region: str = "",
        scheme: str = "",
        payment: str = "",
        people: People | None = None,
    ) -> None:
        self.checker, self.region, self.scheme, self.payment = checker, region, scheme, payment
        self._desk = PaymentDesk(checker)
        self._values: dict[tuple[int, str, Billing], Value] = {}
        self._tops: dict[tuple[int, str], str] = {}
        self._plans: dict[tuple[date | None, str], DrgPlan | PackError] = {}
        self._strings: dict[str, str] = {}
        self._people = people or Vault(secrets.token_bytes(KEY_BYTES)).person_keys
        self._departments = dict(value_domains(checker.store, region)["departments"])

    def read(
        self, files: Iterable[Path], settings: Settings, reading: Reading, first: int = 0
    ) -> Iterator[tuple[Record, Facts]]:
        """The records of the files in their order; a line without a list is an error of ``reading``.

        The files are numbered from ``first``. One that cannot be read is an error of line 0.
        """
        for number, path in enumerate(files, first):
            name = shown_name(path)
            try:
                for item in SourceFile.open(path, settings).items():
                    if item.received is None:
                        reading.error(name, item.line, item.error)
                        continue
                    try:
                        found = self.record(item.received, number, item.line, reading)
                    except PackError as error:
                        reading.error(name, item.line, str(error))
                        continue
                    reading.lists += 1
                    yield found
            except FileRefusedError as error:
                reading.error(name, 0, str(error))

    def record(self, received: Received, file: int, line: int, reading: Reading) -> tuple[Record, Facts]:
        """The record of one list, and its facts. Raises PackError when the scheme asked for is missing."""
        on = discharge_date(received)
        rules = self.checker.rules_for(on, self.region)
        facts = rules.facts(received)
        case = case_of(facts)
        facts.group = self._group(case, on, reading)
        return self.record_of(facts, case, rules.check(facts), reading, file=file, line=line), facts

    def record_of(
        self, facts: Facts, case: Case, findings: Iterable[Finding], reading: Reading, *, file: int, line: int
    ) -> Record:
        """The record of a list that has been checked: its facts with the group, its case, what was found."""
        received, on, group = facts.received, facts.discharged_on, facts.group
        assert group is not None  # noqa: S101 -- whoever checks a list sets its group first
        without = self._without(group, case, on, reading)
        stay = facts.stay
        cost = (
            None if stay.total_fee_yuan is None or stay.total_fee_yuan <= 0 else to_fen(stay.total_fee_yuan)
        )
        raising = [one for one in group.complications if one.level and not one.excluded]
        plan = self._plan(on, group, reading)
        billing = billing_of_list(received, None)
        value = self._value(plan, group.code, billing)
        top = self._top(plan, group.adrg) if group.adrg else ""
        multiple = self._multiple(plan, group, case, replace(billing, cost=cost))
        code = facts.principal_code
        department = stay.hospital_discharge_department or stay.discharge_department or ""
        if department and department not in reading.departments:
            name = stay.hospital_discharge_department_name or self._departments.get(department, "")
            reading.departments[department] = name
        return Record(
            file=file,
            line=line,
            list_id=stay.visit_id or stay.settlement_id or stay.record_number or "",
            people=self._people(received),
            institution=self._same(stay.institution_code),
            department=self._same(department),
            doctor=self._same(stay.physician_code or stay.physician_name),
            born=stay.birth_date,
            birth_weight=case.birth_weight,
            sex=self._same(stay.sex),
            age=facts.age_years,
            admitted=stay.admission_time,
            discharged=stay.discharge_time,
            planned=stay.readmission_planned == PLANNED,
            admission_way=self._same(stay.admission_way),
            discharge_way=self._same(stay.discharge_way),
            principal=self._same(code.code if code else ""),
            drg=self._same(group.code),
            drg_name=self._same(group.name),
            adrg=self._same(group.adrg),
            mdc=self._same(group.mdc),
            raising=tuple(sorted({self._same(one.code) for one in raising})),
            mcc=sum(one.level == "MCC" for one in raising),
            cc=sum(one.level == "CC" for one in raising),
            diagnoses=len(case.diagnoses),
            procedures=len(case.procedures),
            intensive_minutes=facts.icu_minutes or 0,
            ventilation_minutes=facts.ventilation_minutes or 0,
            stay=case.length_of_stay,
            cost=cost,
            value=value,
            without=value if without is group else self._value(plan, without.code, billing),
            without_drg=self._same(without.code),
            top=self._value(plan, top, billing),
            top_drg=self._same(top),
            average_fee=multiple.average_fee,
            multiple=multiple.ratio,
            against=multiple.against,
            outlier=multiple.outlier,
            leads=leads_of(findings),
            expected=multiple.expected,
        )

    def _group(self, case: Case, on: date | None, reading: Reading) -> GroupResult:
        """The group of a case; without a scheme one that says so. Raises PackError for one asked for."""
        try:
            return self.checker.scheme_for(on, self.region, self.scheme).group(case)
        except PackError as error:
            if self.scheme:
                raise
            reading.note(str(error))
            return GroupResult("", "", "", "", reason="no_scheme", explanation=str(error))

    def _without(self, group: GroupResult, case: Case, on: date | None, reading: Reading) -> GroupResult:
        """The group of the same case without the diagnoses that count as MCC or CC."""
        if group.pack is not None:
            reading.packs[group.pack] = None
        raising = {one.code for one in group.complications if one.level and not one.excluded}
        if not raising or not group.adrg:
            return group
        used = {one.received: one.used for one in group.diagnoses}
        kept = tuple(code for code in case.diagnoses[1:] if used.get(code, code) not in raising)
        scheme = self.checker.scheme_for(on, self.region, self.scheme)
        return scheme.group(replace(case, diagnoses=(*case.diagnoses[:1], *kept)))

    def _plan(self, on: date | None, group: GroupResult, reading: Reading) -> DrgPlan | None:
        scheme = group.pack.id if group.pack else ""
        if not scheme:
            return None
        key = (on, scheme)
        if key not in self._plans:
            try:
                self._plans[key] = self._desk.plan(on, self.region, self.payment, scheme)[0]
            except PackError as error:
                if self.payment:
                    raise
                self._plans[key] = error
        plan = self._plans[key]
        if isinstance(plan, PackError):
            reading.note(str(plan))
            return None
        if plan.pack is not None:
            reading.packs[plan.pack] = None
        return plan

    def _value(self, plan: DrgPlan | None, drg: str, billing: Billing) -> Value:
        if plan is None or not drg or drg not in plan.tariffs:
            return UNKNOWN
        key = (id(plan), drg, billing)
        if key not in self._values:
            group = GroupResult(drg, "", "", "", reason="grouped", explanation="")
            paid = pay_case(group, Case(()), billing, plan, told=False)
            self._values[key] = Value(
                None if paid.weight is None else float(paid.weight),
                None if paid.standard is None else int(paid.standard * 100),
            )
        return self._values[key]

    def _top(self, plan: DrgPlan | None, adrg: str) -> str:
        """The dearest DRG of an ADRG in the plan, "" without one."""
        if plan is None:
            return ""
        key = (id(plan), adrg)
        if key not in self._tops:
            weights = [
                (tariff.weight, drg)
                for drg, tariff in plan.tariffs.items()
                if drg.startswith(adrg) and tariff.weight is not None
            ]
            self._tops[key] = max(weights)[1] if weights else ""
        return self._tops[key]

    @staticmethod
    def _multiple(plan: DrgPlan | None, group: GroupResult, case: Case, billing: Billing) -> _Multiple:
        """The cost of ``billing`` against the standard of the group, else its published average fee."""
        tariff = plan.tariffs.get(group.code) if plan else None
        if plan is None or tariff is None:
            return _Multiple()
        fee, cost = tariff.average_fee, billing.cost
        if cost is None:
            return _Multiple(fee)
        paid = pay_case(group, case, billing, plan, told=False)
        expected = None if paid.expected is None else int(paid.expected * 100)
        if paid.standard:
            return _Multiple(fee, cost / float(paid.standard * 100), "支付标准", paid.outlier, expected)
        return _Multiple(fee, cost / fee, "公布的均次费用", "", expected) if fee else _Multiple()

    def _same(self, text: str | None) -> str:
        """One object for equal texts: a month has few codes and many lists."""
        return self._strings.setdefault(text or "", text or "")
