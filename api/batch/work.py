"""What a worker does: a part of the lists in, everything that is stored of them out, as bytes."""

from __future__ import annotations

import hashlib
import logging
import traceback
from collections.abc import Iterable
from datetime import date, datetime
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Literal

import msgspec

from api.intake.mapping import ColumnMapping
from api.intake.source import Incoming
from api.repeats import decode_unrepeated
from api.services.changes import content_digest, program_ref
from api.services.check import MAX_REMEMBERED, Checker, Examined
from api.services.dip import DipDesk, list_cost
from api.services.month.cross_list import (
    DECOMPOSED,
    MULTIPLE,
    OVERLAP,
    PARAMETERS,
    WITHIN_A_DAY,
    multiples,
    pairs_across,
)
from api.services.month.records import Reading, Record, Recorder
from api.services.payment import billing_of_list
from api.services.rules import TrialStore
from api.settings import Settings
from api.store.lists import list_key
from api.store.vault import IDENTITY, Masked, Vault, digest_of, join_people, mask_text
from grouper.dip.engine import DipEngine
from grouper.dip.score import DipPlan, score_case
from models.grouping import Case, GroupResult
from models.pack import Pack, PackError, PackRef, PackStore
from models.report import Finding
from models.settlement_list import FIELDS
from models.wire import DecodeError, Received
from qc_rules.acceptance import Acceptance, Acceptances
from qc_rules.lint import open_pack
from qc_rules.schema import Rule

logger = logging.getLogger("qingdan.batch")

Kind = Literal["batch", "revalidation"]


class Options(msgspec.Struct, frozen=True, omit_defaults=True):
    """What decides the result of a run beside its input; the run keeps it as JSON.

    ``region`` is an administrative division code or its leading digits; ``scheme``, ``payment``,
    ``catalogue`` and ``dip_payment`` are ids of packs, empty for those that hold in the region on the day
    of discharge. ``accepted`` are the accepted findings, as they hold on ``on``. ``packs`` (id, version,
    digest) are all packs in use when the run began: the whole run is made with these. ``mapping`` says
    how the columns of a table are read, None where the shipped mappings know them. ``rules_packs`` are
    folders of rule packs on trial, which take the place of those with the same id. ``trial`` names (Chinese)
    what a revalidation was asked to try that does not hold for the month; empty for any other run.
    """

    on: date
    region: str = ""
    scheme: str = ""
    payment: str = ""
    catalogue: str = ""
    dip_payment: str = ""
    accepted: tuple[Acceptance, ...] = ()
    packs: tuple[tuple[str, str, str], ...] = ()
    mapping: ColumnMapping | None = None
    rules_packs: tuple[str, ...] = ()
    trial: tuple[str, ...] = ()


class Job(msgspec.Struct, frozen=True):
    """All that a worker needs to know of a run. ``home`` is the site's folder, which every worker sees."""

    home: str
    options: Options
    vault: Vault


class Part(msgspec.Struct, frozen=True):
    """A part of a run: its number from 0, and the place in the run (from 1) of its first item."""

    number: int
    first: int
    items: tuple[Incoming, ...]


class CheckedList(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One list with all that the tables ListVersion, Result and FindingRow say of it.

    ``record`` and ``group`` are msgpack of Record and GroupResult; money in fen. ``across``: findings that
    the month's report makes of the list beside its own, see ``multiples``.
    """

    number: int
    source: str
    line: int
    list_key: str
    list_id: str
    interface: str
    digest: str
    payload: bytes
    identity: bytes
    unread_values: int
    people: bytes
    institution: str
    department: str
    doctor: str
    admitted: datetime | None
    discharged: datetime | None
    verdict: str
    score: int
    grade: str
    drg: str
    adrg: str
    mdc: str
    reason: str
    dip: str
    dip_score: float | None
    dip_amount: int | None
    cost: int | None
    weight: float | None
    expected: int | None
    record: bytes
    group: bytes
    errors: int
    warnings: int
    findings: tuple[Finding, ...]
    across: tuple[Finding, ...]


class Rejected(msgspec.Struct, frozen=True, array_like=True):
    """An item of the input that holds no list that could be checked, and why (Chinese)."""

    number: int
    source: str
    line: int
    column: str
    reason: str


class PartOutcome(msgspec.Struct, frozen=True):
    """All that is stored of one part. ``digest``: SHA-256 of the part's input, hexadecimal."""

    number: int
    digest: str
    lists: tuple[CheckedList, ...]
    rejects: tuple[Rejected, ...]
    packs: tuple[PackRef, ...]


class Across(msgspec.Struct, frozen=True):
    """Records of one person each with others; those of the first ``month_files`` files are of the month."""

    records: tuple[Record, ...]
    files: tuple[str, ...]
    month_files: int


class FoundAcross(msgspec.Struct, frozen=True, array_like=True):
    """A finding on one record because of another, by their places in Across."""

    record: int
    other: int
    finding: Finding


SHOWN_MASKED = "（打码显示，以病历原值为准）"
"""Follows a mask in a finding: the star is not what is wrong with the value."""
SHORTEST_MASKED = 2
"""A single character is found in any text, and says of nobody who it is."""
ACROSS_RULES = frozenset({OVERLAP, DECOMPOSED, WITHIN_A_DAY, MULTIPLE})
_pack = msgspec.msgpack.Encoder().encode
unpack_outcome = msgspec.msgpack.Decoder(PartOutcome).decode
unpack_record = msgspec.msgpack.Decoder(Record).decode
unpack_across = msgspec.msgpack.Decoder(tuple[FoundAcross, ...]).decode
unpack_group = msgspec.msgpack.Decoder(GroupResult).decode


class Stored(msgspec.Struct, frozen=True):
    """The key of a list in the store, and what is known by DIP: code, score and amount, None to work it out."""

    list_key: str
    dip: tuple[str, float | None, int | None] | None = None


class Desk:
    """What one process keeps for the parts of one run: packs, code books, compiled rules."""

    def __init__(self, job: Job) -> None:
        options = self.options = job.options
        settings = Settings(home=job.home, region=options.region, scheme=options.scheme)
        store = store_of(settings, options)
        _same_packs(options.packs, packs_in_use(store))
        self.checker = Checker.open(store, options.region, options.scheme)
        self.vault = job.vault
        self.recorder = Recorder(
            self.checker, options.region, options.scheme, options.payment, self.vault.person_keys
        )
        self.dip = DipDesk(self.checker)
        self.accepted = Acceptances(options.accepted, options.on) if options.accepted else None
        self._dip_plans: dict[date | None, tuple[DipEngine, DipPlan] | PackError] = {}
        self._across_rules: dict[int, dict[str, Rule]] = {}
        self._packs: dict[PackRef, None] = {}

    def part(self, part: Part) -> PartOutcome:
        """Check every list of a part."""
        self.begin()
        reading = Reading()
        lists: list[CheckedList] = []
        rejects: list[Rejected] = []
        for number, item in enumerate(part.items, part.first):
            reject = partial(Rejected, number, item.source, item.line)
            if item.content is None:
                rejects.append(reject(item.column, item.error))
                continue
            try:
                lists.append(self._checked(item, item.content, number, reading))
            except (DecodeError, PackError) as error:
                rejects.append(reject("", str(error)))
            except MemoryError:
                raise  # not the fault of this list: the part is done again when there is room
            except Exception as error:
                # A fault of the program on one list must not cost the hospital the others. The log
                # says where it happened and nothing of what the error repeats of the list.
                place = traceback.extract_tb(error.__traceback__)[-1]
                logger.error(
                    "第 %d 份清单：%s，%s:%s", number, type(error).__name__, place.name, place.lineno
                )
                reason = f"程序在检查这份清单时出错（{type(error).__name__}），请把这一行交给维护人员"
                rejects.append(reject("", reason))
        digest = input_digest(part.items)
        return PartOutcome(part.number, digest, tuple(lists), tuple(rejects), self.used(reading))

    def begin(self) -> None:
        """Forget the packs of the part before: what a part used follows from its lists alone."""
        self._packs = {program_ref(): None}

    def used(self, reading: Reading) -> tuple[PackRef, ...]:
        """The packs that the lists since ``begin`` were judged by, and the program, by id."""
        return tuple(sorted({*self._packs, *reading.packs}, key=lambda one: (one.id, one.version)))

    def _checked(self, item: Incoming, content: bytes, number: int, reading: Reading) -> CheckedList:
        received = decode_unrepeated(content)
        examined = self.checker.examine(received, accepted=self.accepted)
        return self.summed(
            received, content, examined, reading, number=number, place=(item.source, item.line)
        )

    def summed(
        self,
        received: Received,
        content: bytes,
        examined: Examined,
        reading: Reading,
        *,
        number: int,
        place: tuple[str, int],
        stored: Stored | None = None,
    ) -> CheckedList:
        """All that is stored of a list that was examined; ``place``: its file and line.

        ``stored``: what is known of a list whose version is in the store already, and is not made again.
        """
        facts, report = examined.facts, examined.report
        source, line = place
        stay, group = facts.stay, facts.group
        assert group is not None  # noqa: S101 -- what was examined has its group, if only one that says why not
        findings = masked_findings(received, report.findings)
        record = self.recorder.record_of(facts, examined.case, findings, reading, file=0, line=line)
        known = stored.dip if stored else None
        dip, score, amount = known or self._dip(received, examined.case, facts.discharged_on)
        self._packs.update(dict.fromkeys(report.packs))
        masked = Masked(b"", b"") if stored else self.vault.mask(content)
        digest = "" if stored else digest_of(content)
        return CheckedList(
            number=number,
            source=source,
            line=line,
            list_key=stored.list_key if stored else list_key(received, digest),
            list_id=report.list_id,
            interface=report.interface,
            digest=digest,
            payload=masked.payload,
            identity=masked.identity,
            unread_values=received.unread_values,
            people=join_people(record.people),
            institution=record.institution,
            department=record.department,
            doctor=record.doctor,
            admitted=stay.admission_time,
            discharged=stay.discharge_time,
            verdict=report.verdict,
            score=report.score,
            grade=report.grade,
            drg=group.code,
            adrg=group.adrg,
            mdc=group.mdc,
            reason=group.reason,
            dip=dip,
            dip_score=score,
            dip_amount=amount,
            cost=record.cost,
            weight=record.value.weight,
            expected=record.expected,
            record=_pack(record),
            group=_pack(group),
            errors=sum([one.severity == "error" and one.accepted is None for one in findings]),
            warnings=sum([one.severity == "warn" and one.accepted is None for one in findings]),
            findings=findings,
            across=self._multiple(record, facts.discharged_on),
        )

    def _multiple(self, record: Record, on: date | None) -> tuple[Finding, ...]:
        """What the month's report says of the cost against the standard of the group."""
        if record.multiple is None:
            return ()
        found = [one.finding for one in multiples([record], ("",), self._documented(on), PARAMETERS)]
        return tuple(self._marked(found, record))

    def _documented(self, on: date | None) -> dict[str, Rule]:
        """The rules that look across lists, by code; those that a hospital has withdrawn are missing."""
        rules = self.checker.rules_for(on)
        found = self._across_rules.get(id(rules))
        if found is None:
            found = {rule.code: rule for rule in rules.rules() if rule.code in ACROSS_RULES}
            self._across_rules[id(rules)] = found
        return found

    def _marked(self, findings: list[Finding], record: Record) -> list[Finding]:
        """Those that the hospital has accepted, marked."""
        if self.accepted is None or not findings:
            return findings
        return self.accepted.apply(findings, record.list_id, record.department, ())[: len(findings)]

    def across(self, looked: Across) -> tuple[FoundAcross, ...]:
        """Findings that need the other lists of the same person."""
        found, _ = pairs_across(
            looked.records, looked.month_files, looked.files, self._documented(None), PARAMETERS
        )
        places = {id(record): place for place, record in enumerate(looked.records)}
        rows = [
            FoundAcross(places[id(later)], places[id(earlier)], self._marked([one.finding], later)[0])
            for earlier, later, one in found
        ]
        return tuple(sorted(rows, key=lambda one: (one.record, one.finding.rule, one.other)))

    def _dip(self, received: Received, case: Case, on: date | None) -> tuple[str, float | None, int | None]:
        """Code, score and amount (fen) by DIP; nothing where no catalogue holds or the case has no group."""
        cost = list_cost(received)
        try:
            engine, plan = self._dip_packs(on)
        except PackError:
            if self.options.catalogue or self.options.dip_payment:
                raise
            return "", None, None
        self._packs.update(dict.fromkeys(plan.packs))
        result = engine.group(case, cost)
        if not result.code:
            return "", None, None
        found = score_case(result, case, billing_of_list(received, cost), plan, told=False)
        amount = None if found.amount is None else int(found.amount * 100)
        return result.code, None if found.score is None else float(found.score), amount

    def _dip_packs(self, on: date | None) -> tuple[DipEngine, DipPlan]:
        known = self._dip_plans.get(on)
        if known is None:
            options = self.options
            try:
                engine = self.dip.engine(on, options.region, options.catalogue)
                known = engine, self.dip.plan(engine.catalogue, on, options.region, options.dip_payment)
            except PackError as error:
                known = error
            if len(self._dip_plans) >= MAX_REMEMBERED:
                self._dip_plans.clear()
            self._dip_plans[on] = known
        if isinstance(known, PackError):
            raise known
        return known


_lock = Lock()
_desk: tuple[Job, Desk] | None = None


def check_part(job: Job, part: Part) -> bytes:
    """The outcome of a part as msgpack of PartOutcome; the same part and job give the same bytes anywhere.

    The packs are read when a process meets a job for the first time. Raises PackError when they are not
    those that the run began with.
    """
    with _lock:
        return _pack(_desk_of(job).part(part))


def look_across(job: Job, looked: Across) -> bytes:
    """The findings across lists as msgpack of a list of FoundAcross. Raises PackError as ``check_part``."""
    with _lock:
        return _pack(_desk_of(job).across(looked))


def _desk_of(job: Job) -> Desk:
    """Under the lock: workers of a cluster may have several threads, and one desk is for one at a time."""
    global _desk  # noqa: PLW0603 -- a process works on one run at a time, and its packs take long to read
    if _desk is None or _desk[0] != job:
        _desk = None
        _desk = job, Desk(job)
    return _desk[1]


def store_of(settings: Settings, options: Options) -> PackStore:
    """The packs of the installation, with the rule packs on trial. Raises PackError."""
    store = settings.store()
    return TrialStore(store, trial_packs(options)) if options.rules_packs else store


def trial_packs(options: Options) -> list[Pack]:
    """The rule packs on trial. Raises PackError."""
    return [open_pack(Path(folder)) for folder in options.rules_packs]


def packs_in_use(store: PackStore) -> tuple[tuple[str, str, str], ...]:
    """Id, version and digest of every pack that is in use, by id. Raises PackError."""
    # Rule packs on trial stand beside what is installed.
    kinds = sorted({"rules", *(pack.kind for pack in store.all())})
    found = [pack for kind in kinds for pack in store.active(kind)]
    return tuple(sorted((pack.id, pack.manifest.version, content_digest(pack)) for pack in found))


def _same_packs(then: tuple[tuple[str, str, str], ...], now: tuple[tuple[str, str, str], ...]) -> None:
    changed = sorted({one[0] for one in set(then) ^ set(now)})
    if changed:
        raise PackError(
            f"批次开始后数据包有变动：{'、'.join(changed)}；一个批次只用同一套数据包，请重新开始一个批次，"
            "或恢复原来的版本后继续"
        )


def input_digest(items: Iterable[Incoming]) -> str:
    """SHA-256 of a part of the input: every item with its place."""
    digest = hashlib.sha256()
    for item in items:
        content = item.error.encode() if item.content is None else item.content
        digest.update(f"{item.source}\0{item.line}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


_IDENTITY = tuple(
    (FIELDS["setlinfo"][wire].attribute, *kept)
    for wire, kept in IDENTITY.items()
    if wire in FIELDS["setlinfo"]
)


def masked_findings(received: Received, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """The findings without who the list is about: a rule on a name or a number repeats what it found."""
    if not findings:
        return findings
    stay = received.list.stay
    masks = {
        text: mask_text(text, ahead, behind)
        for name, ahead, behind in _IDENTITY
        if (text := getattr(stay, name)) is not None and len(text) >= SHORTEST_MASKED
    }
    for defect in received.defects:
        wire = defect.official.rpartition(".")[2]
        if wire in IDENTITY and defect.shown:
            masks[defect.shown] = mask_text(defect.shown, *IDENTITY[wire])
    texts = sorted(masks, key=len, reverse=True)
    return tuple([_masked(one, texts, masks) for one in findings])


def _masked(finding: Finding, texts: list[str], masks: dict[str, str]) -> Finding:
    fields = (finding.value, finding.message, finding.advice)
    if not any(text in field for field in fields for text in texts):
        return finding
    value, message, advice = (_shown_masked(field, texts, masks) for field in fields)
    return msgspec.structs.replace(finding, value=value, message=message, advice=advice)


def _shown_masked(field: str, texts: list[str], masks: dict[str, str]) -> str:
    """``field`` with masks for true values, behind the first that this is not how the record has it."""
    ends = []
    for text in texts:
        mask = masks[text]
        if mask != text and text in field:
            field = field.replace(text, mask)
            ends.append(field.index(mask) + len(mask))
    end = min(ends, default=0)
    return f"{field[:end]}{SHOWN_MASKED}{field[end:]}" if end else field
