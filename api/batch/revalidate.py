"""Judges the lists of an earlier run again under the packs of now: only what a change can touch is computed.

Everything else is copied from the earlier run inside the store. Same result as checking every list anew.
"""

from __future__ import annotations

import hashlib
from calendar import monthrange
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from threading import Lock
from time import monotonic
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, and_, func, insert, literal, select, update
from sqlalchemy.engine.default import DefaultDialect

from api.batch.driver import Driver, Report, Submitted, guarded, pinned
from api.batch.runs import (
    FINDING,
    PACK_USE,
    REJECT,
    RESULT,
    RUN,
    BatchError,
    Claim,
    RunView,
    last_done,
    new_run,
    now,
    read_run,
    run_of,
    table,
)
from api.batch.storing import ACROSS_POSITION, finding_row, store_packs, store_results
from api.batch.work import (
    CheckedList,
    Desk,
    Job,
    Options,
    Part,
    Stored,
    check_part,
    masked_findings,
    trial_packs,
    unpack_group,
    unpack_outcome,
)
from api.intake.source import Incoming
from api.services.changes import (
    PROGRAM,
    WHOLE,
    Changes,
    Earlier,
    Look,
    PinnedStore,
    Scope,
    Surroundings,
    content_digest,
    examine_again,
    look_at,
    program_ref,
)
from api.services.check import Checker
from api.services.month.records import Reading, leads_of
from api.settings import Settings
from api.store import audit
from api.store.acceptances import StoredAcceptances
from api.store.bulk import insert_rows
from api.store.database import Database
from api.store.lists import latest
from api.store.tables import ListVersion, RunPart, StoredText
from api.store.vault import Vault, unmasked_payload
from models.pack import PackError, PackRef, PackStore
from models.report import Accepted, Finding
from models.report import Report as CheckReport
from models.wire import decode
from qc_rules.packs import national_pack

LIST_VERSION = table(ListVersion)
_SAME_VERSION = and_(LIST_VERSION.c.list_key == RESULT.c.list_key, LIST_VERSION.c.version == RESULT.c.version)
_NO_LIST = Incoming("", 0, None)
_NO_DIALECT = DefaultDialect()
LONGEST_ID = 120
"""Characters of a list's id that the store keeps; of a longer one it is not known whose it is."""
_pack = msgspec.msgpack.Encoder().encode


class BasePacks(msgspec.Struct, frozen=True):
    """What the earlier run was made with; ``used``: kind, id, version and digest of each pack it used."""

    options: Options
    used: tuple[tuple[str, str, str, str], ...]


class RecheckJob(msgspec.Struct, frozen=True):
    """All that a worker needs to know of a revalidation."""

    job: Job
    base: BasePacks


class StoredList(msgspec.Struct, frozen=True, array_like=True):
    """A list of the earlier run with what was said of it; ``corrected``: a newer version takes its place.

    ``result``: the row of Result; ``beside``: what the month's report says of the list beside its findings.
    """

    number: int
    source: str
    line: int
    list_id: str
    version: int
    corrected: bool
    payload: bytes
    identity: bytes
    result: dict[str, Any]
    found: dict[str, int]
    findings: tuple[Finding, ...]
    beside: tuple[Finding, ...]


class StoredPart(msgspec.Struct, frozen=True):
    number: int
    lists: tuple[StoredList, ...]


class Rechecked(msgspec.Struct, frozen=True):
    """What came of a part: ``kept`` are the numbers of lists that the change did not touch after all."""

    kept: tuple[int, ...]
    lists: tuple[CheckedList, ...]
    versions: tuple[int, ...]
    packs: tuple[PackRef, ...]
    whole: int


unpack_rechecked = msgspec.msgpack.Decoder(Rechecked).decode


class RecheckDesk:
    """What one process keeps for a revalidation: the new packs, the old ones, and how they differ."""

    def __init__(self, recheck: RecheckJob) -> None:
        self.desk = Desk(recheck.job)
        options = recheck.job.options
        self.after = _surroundings(self.desk.checker, options)
        before, unknown = self._before(recheck, options)
        self.changes = Changes(before, self.after, unknown)
        self._values = any(one.value for one in options.accepted)
        # What no list of the earlier run needed, none that stays needs now.
        self._kinds = {kind for kind, *_ in recheck.base.used}
        self._in_force: dict[date | None, tuple[PackRef, ...]] = {}

    def _before(self, recheck: RecheckJob, options: Options) -> tuple[Surroundings | None, str]:
        """The surroundings of the earlier run; None and the reason where they are not to be had."""
        base = recheck.base
        try:
            _same_program(base.used)
            settings = Settings(home=recheck.job.home, region=base.options.region)
            store = PinnedStore(settings.store(), base.options.packs, trial_packs(base.options))
            _same_rules(base.used)
            same = base.options.packs == options.packs and base.options.region == options.region
            checker = (
                self.desk.checker if same else Checker.open(store, base.options.region, base.options.scheme)
            )
        except PackError as error:
            return None, str(error)
        return _surroundings(checker, base.options), ""

    def scope(self, discharged: datetime | None) -> Scope:
        return self.changes.scope(discharged.date() if discharged else None)

    def in_force(self, discharged: datetime | None) -> tuple[PackRef, ...]:
        """The packs that speak for a list that stays as it was, and the program."""
        on = discharged.date() if discharged else None
        found = self._in_force.get(on)
        if found is None:
            packs = [one for one in self.after.packs(on) if one.kind in self._kinds]
            found = self._in_force[on] = (program_ref(), *packs)
        return found

    def part(self, part: StoredPart) -> Rechecked:
        """Do again what the change asks for."""
        reading = Reading()
        self.desk.begin()
        kept, lists, versions = [], [], []
        whole = 0
        for one in part.lists:
            content = self.desk.vault.reveal(one.payload, one.identity)
            received = decode(content)
            scope = self.scope(received.list.stay.discharge_time)
            masked = decode(unmasked_payload(one.payload)) if scope.asks_for_codes else received
            work = scope.work(look_at(masked, one.list_id, one.found))
            if one.corrected or len(one.list_id) >= LONGEST_ID or (self._values and _hidden(one.findings)):
                # What is accepted by its value cannot be told from a masked one.
                work = WHOLE
            if work.nothing:
                kept.append(one.number)
                continue
            whole += work.whole
            earlier = Earlier(one.findings, unpack_group(one.result["grouping"]))
            examined = examine_again(scope, work, self.after, received, earlier, accepted=self.desk.accepted)
            if work.only_rules and not scope.accepted_rules and not scope.accepted_lists:
                findings = masked_findings(received, examined.report.findings)
                if _same(one, examined.report, findings):
                    kept.append(one.number)
                    continue
                lists.append(_with_findings(one, examined.report, findings))
            else:
                row = one.result
                known = None if work.whole or work.dip else (row["dip"], row["dip_score"], row["dip_amount"])
                lists.append(
                    self.desk.summed(
                        received,
                        content,
                        examined,
                        reading,
                        number=one.number,
                        place=(one.source, one.line),
                        stored=Stored(row["list_key"], known),
                    )
                )
            versions.append(one.version)
        packs = self.desk.used(reading)
        return Rechecked(tuple(kept), tuple(lists), tuple(versions), packs, whole)


def _same(one: StoredList, report: CheckReport, findings: tuple[Finding, ...]) -> bool:
    row = one.result
    said = row["verdict"], row["score"], row["grade"]
    return findings == one.findings and said == (report.verdict, report.score, report.grade)


def _with_findings(one: StoredList, report: CheckReport, findings: tuple[Finding, ...]) -> CheckedList:
    """The earlier result with other findings: group, weight and money are as they were."""
    row = one.result
    # Not read as a Record: a whole number would come back as a fraction, and the bytes be others.
    record = {**msgspec.msgpack.decode(row["record"]), "leads": leads_of(findings)}
    kept = {name: row[name] for name in _KEPT}
    return CheckedList(
        **kept,
        interface=report.interface,
        digest="",
        payload=b"",
        identity=b"",
        unread_values=0,
        people=b"",
        institution="",
        admitted=None,
        discharged=None,
        verdict=report.verdict,
        score=report.score,
        grade=report.grade,
        record=_pack(record),
        group=row["grouping"],
        errors=sum(found.severity == "error" and found.accepted is None for found in findings),
        warnings=sum(found.severity == "warn" and found.accepted is None for found in findings),
        findings=findings,
        across=one.beside,
    )


_KEPT = (
    "number", "source", "line", "list_key", "list_id", "department", "doctor", "drg", "adrg", "mdc", "reason",
    "dip", "dip_score", "dip_amount", "cost", "weight", "expected",
)  # fmt: skip


def _surroundings(checker: Checker, options: Options) -> Surroundings:
    return Surroundings(
        checker,
        options.scheme,
        options.payment,
        options.catalogue,
        options.dip_payment,
        options.accepted,
        options.on,
    )


def _hidden(findings: Sequence[Finding]) -> bool:
    return any("*" in one.value for one in findings)


def _same_program(used: Sequence[tuple[str, str, str, str]]) -> None:
    digests = {digest for kind, _, _, digest in used if kind == PROGRAM}
    if not digests:
        raise PackError("原批次没有记下程序版本")
    if digests != {program_ref().sha256}:
        raise PackError("程序更新过，同样的数据包可能有不同的结果")


def _same_rules(used: Sequence[tuple[str, str, str, str]]) -> None:
    """Refuse other national rules than the earlier run had: they come with the program."""
    national = national_pack()
    for kind, pack_id, _, digest in used:
        if (kind, pack_id) == ("rules", national.id) and content_digest(national) != digest:
            raise PackError("全国规则与原批次所用的不同")


_lock = Lock()
_known: tuple[RecheckJob, RecheckDesk] | None = None


def recheck_desk(recheck: RecheckJob) -> RecheckDesk:
    """The desk of a revalidation in this process. Raises PackError when its packs have changed since."""
    global _known  # noqa: PLW0603 -- a process works on one run at a time, and its packs take long to read
    with _lock:
        if _known is None or _known[0] != recheck:
            _known = None
            _known = recheck, RecheckDesk(recheck)
        return _known[1]


def recheck_part(recheck: RecheckJob, part: StoredPart) -> bytes:
    """What comes of a part, as msgpack of Rechecked."""
    desk = recheck_desk(recheck)
    with _lock:
        return _pack(desk.part(part))


def base_run(database: Database, run_or_month: str) -> RunView:
    """A finished run by its number, or the one that speaks for a month. Raises BatchError."""
    with database.read() as connection:
        if run_or_month.isdigit():
            run = run_of(connection, int(run_or_month))
        else:
            found = last_done(connection, run_or_month)
            if found is None:
                raise BatchError(
                    f"{run_or_month[:20]} 没有已完成的批次；请写批次编号或月份，见 qingdan batch list"
                )
            run = run_of(connection, found)
    if run.state != "done":
        raise BatchError(f"批次 {run.id} 没有完成，不能重新质控；请先用 qingdan batch resume {run.id} 完成")
    return run


def begin_revalidation(
    database: Database,
    settings: Settings,
    base: RunView,
    *,
    by: str,
    scheme: str | None = None,
    payment: str | None = None,
    rules_packs: Sequence[str] = (),
) -> int:
    """Write down a run that judges the lists of ``base`` under the packs in use now; gives its number.

    ``scheme`` and ``payment`` as in ``begin``; None keeps what the earlier run asked for. ``rules_packs``:
    folders of rule packs to try. Raises PackError.
    """
    then = base.read_options
    today = datetime.now().astimezone().date()
    kept = StoredAcceptances.of(settings).all()
    options = msgspec.structs.replace(
        then,
        on=today,
        scheme=then.scheme if scheme is None else scheme,
        payment=then.payment if payment is None else payment,
        rules_packs=tuple(rules_packs),
        accepted=tuple(
            one.acceptance for one in kept if one.withdrawn is None and one.acceptance.holds(today)
        ),
        packs=(),
    )
    with database.read() as connection:
        first = _first_run(connection, base).read_options
    options = msgspec.structs.replace(options, trial=_trial(settings, base.month, first, options))
    run_id = new_run(
        database,
        month=base.month,
        source=base.source,
        options=pinned(settings, options),
        by=by,
        kind="revalidation",
        total_bytes=base.lists,
        part_size=base.part_size,
        base_run=base.id,
    )
    with database.begin() as connection:
        audit.record(connection, by, "revalidate", f"run {run_id}", f"批次 {base.id}", now())
    return run_id


def _first_run(connection: Connection, run: RunView) -> RunView:
    """The batch that a run, judged again once or often, goes back to."""
    while run.base_run is not None:
        run = run_of(connection, run.base_run)
    return run


def _trial(settings: Settings, month: str, first: Options, options: Options) -> tuple[str, ...]:
    """What is asked for that neither the batch of the month had nor holds for the month. Raises PackError."""
    store = settings.store()
    tried = []
    for kind, name, asked, had in (
        ("drg-scheme", "方案", options.scheme, first.scheme),
        ("drg-payment", "支付数据包", options.payment, first.payment),
    ):
        if asked and asked != had and asked not in _holding(store, kind, options.region, month):
            tried.append(f"{name} {asked}")
    installed = {(pack.id, content_digest(pack)) for pack in store.active("rules")}
    for pack in trial_packs(options):
        if (pack.id, content_digest(pack)) not in installed:
            tried.append(f"规则包 {pack.id}")
    return tuple(tried)


def _holding(store: PackStore, kind: str, region: str, month: str) -> set[str]:
    """The packs of a kind that hold for a region on some day of a month."""
    first = date.fromisoformat(f"{month}-01")
    found = set[str]()
    for day in range(monthrange(first.year, first.month)[1]):
        with suppress(PackError):
            found.add(store.pack_for(kind, region, first.replace(day=day + 1)).id)
    return found


def run_revalidation(
    database: Database,
    settings: Settings,
    run_id: int,
    executor: Executor,
    *,
    workers: int = 1,
    report: Report = lambda _: None,
) -> RunView:
    """Work on a revalidation until it is done or cannot go on; parts that are stored stay so.

    Raises PackError (BatchError, StoreError) with the reason, which the run keeps too.
    """
    if read_run(database, run_id).kind != "revalidation":
        raise BatchError(f"批次 {run_id} 不是重新质控，请用 qingdan batch resume 继续")
    claim = Claim(database, run_id)
    run = claim.take()
    with guarded(claim, run_id):
        _Revalidation(database, settings, claim, run, executor, workers, report).recheck()
    return read_run(database, run_id)


def recheck_job(database: Database, settings: Settings, run: RunView) -> RecheckJob:
    """What the workers of a revalidation need to know. Raises PackError."""
    assert run.base_run is not None  # noqa: S101 -- a revalidation is begun with one
    with database.read() as connection:
        base = run_of(connection, run.base_run)
        used = connection.execute(
            select(PACK_USE.c.kind, PACK_USE.c.pack_id, PACK_USE.c.version, PACK_USE.c.digest)
            .where(PACK_USE.c.run_id == base.id)
            .order_by(PACK_USE.c.kind, PACK_USE.c.pack_id, PACK_USE.c.version)
        )
        packs = BasePacks(base.read_options, tuple(tuple(row) for row in used))
    return RecheckJob(Job(str(settings.home), run.read_options, Vault.open(settings, database)), packs)


@dataclass(slots=True)
class _Counts:
    """What a start has done: lists computed again, of which altogether, and lists copied."""

    again: int = 0
    whole: int = 0
    kept: int = 0


class _Revalidation(Driver):
    """One start of a revalidation: as a batch, with the lists of the earlier run as its input."""

    def __init__(  # noqa: PLR0917 -- they are what run_revalidation was given
        self,
        database: Database,
        settings: Settings,
        claim: Claim,
        run: RunView,
        executor: Executor,
        workers: int,
        report: Report,
    ) -> None:
        self.recheck_job = recheck_job(database, settings, run)
        super().__init__(database, claim, run, self.recheck_job.job, executor, workers, report)
        assert run.base_run is not None  # noqa: S101 -- recheck_job has looked
        self.base_run = run.base_run
        self.counts = _Counts()
        self.parts: dict[int, _Triage] = {}

    def recheck(self) -> None:
        """Do what is left of the run."""
        desk = recheck_desk(self.recheck_job)
        if self.complete(self._asked(desk)):
            self._say(desk)

    def _asked(self, desk: RecheckDesk) -> Iterator[Submitted]:
        with self.database.read() as connection:
            last = _last_number(connection, self.base_run)
        size = self.run.part_size
        for number in range(-(-last // size)):
            if number in self.stored:
                continue
            with self.database.read() as connection:
                triage = _triaged(connection, desk, self.base_run, number * size + 1, (number + 1) * size)
                lists = _stored_lists(connection, self.base_run, triage)
            self.parts[number] = triage
            part = StoredPart(number, lists)
            yield self.executor.submit(recheck_part, self.recheck_job, part), number

    def _store_next(self) -> None:
        future, number = self.waiting[0]
        content = self._wait(future)
        if content is None:
            return
        self.waiting.popleft()
        outcome, triage = unpack_rechecked(content), self.parts.pop(number)
        kept = [*triage.kept, *outcome.kept]
        lists = self.lists + len(kept) + len(outcome.lists)
        with self.database.begin() as connection:
            unread, files = _copy_rejects(connection, self.base_run, self.run.id, triage)
            rejected = self.rejected + unread
            if not self.claim.write(
                connection,
                lists=lists,
                rejected=rejected,
                rejected_files=RUN.c.rejected_files + files,
                parts_done=number + 1,
                done_bytes=lists,
            ):
                self.stopped = True
                return
            again = [one.number for one in outcome.lists]
            _copy_kept(connection, self.base_run, self.run.id, triage, again)
            store_results(connection, self.run.id, outcome.lists, outcome.versions)
            store_packs(connection, self.run.id, (*outcome.packs, *triage.packs))
            digest = triage.digest(self.base_run)
            part = {"part": number, "lists": len(kept) + len(again), "rejected": 0, "digest": digest}
            insert_rows(connection, RunPart, [{"run_id": self.run.id, **part, "stored_at": now()}])
        self.counts.again += len(again)
        self.counts.whole += outcome.whole
        self.counts.kept += len(kept)
        self.lists, self.rejected, self.done_bytes = lists, rejected, lists
        self.stored[number] = digest
        self.beaten = monotonic()
        self.report(self.progress)

    def _say(self, desk: RecheckDesk) -> None:
        """Write down how much was computed again, and why everything was, if so."""
        counts = self.counts
        total = counts.again + counts.kept
        text = f"重新计算 {counts.again} 份（其中整份 {counts.whole} 份），沿用 {counts.kept} 份"
        reasons = dict.fromkeys(scope.whole for scope in desk.changes.scopes() if scope.whole)
        if reasons and total:
            text += f"；全部重新计算，因为{'；'.join(reasons)}"
        rules = {code for scope in desk.changes.scopes() for code in (*scope.run, *scope.gone)}
        if rules:
            text += f"；涉及规则 {len(rules)} 条"
        with self.database.begin() as connection:
            connection.execute(update(RUN).where(RUN.c.id == self.run.id).values(message=text))


def _last_number(connection: Connection, run_id: int) -> int:
    """The place of the last item of a run, list or not."""
    lists = connection.execute(select(func.max(RESULT.c.number)).where(RESULT.c.run_id == run_id)).scalar()
    others = connection.execute(select(func.max(REJECT.c.position)).where(REJECT.c.run_id == run_id)).scalar()
    return max(lists or 0, others or 0)


@dataclass(frozen=True, slots=True)
class _Triage:
    """The lists of one part, before any is opened: which stay for sure, which must be looked at."""

    first: int
    last: int
    kept: tuple[int, ...]
    asked: Mapping[int, tuple[int, Mapping[str, int]]]
    """Number → version to judge, and how many findings of each rule it had."""
    versions: tuple[tuple[int, str, int], ...]
    packs: tuple[PackRef, ...]

    def digest(self, base: int) -> str:
        return hashlib.sha256(repr((base, self.versions)).encode()).hexdigest()


def _triaged(connection: Connection, desk: RecheckDesk, base: int, first: int, last: int) -> _Triage:
    rows = connection.execute(
        select(
            RESULT.c.number, RESULT.c.list_key, RESULT.c.version, RESULT.c.list_id, LIST_VERSION.c.discharged
        )
        .join_from(
            RESULT,
            LIST_VERSION,
            _SAME_VERSION,
        )
        .where(RESULT.c.run_id == base, RESULT.c.number.between(first, last))
        .order_by(RESULT.c.number)
    ).all()
    newest = latest(connection, [row.list_key for row in rows])
    found: dict[int, Counter[str]] = defaultdict(Counter)
    for number, rule, count in connection.execute(
        select(FINDING.c.number, FINDING.c.rule, func.count())
        .where(FINDING.c.run_id == base, FINDING.c.number.between(first, last))
        .group_by(FINDING.c.number, FINDING.c.rule)
    ):
        found[number][rule] = count
    kept: list[int] = []
    asked: dict[int, tuple[int, Mapping[str, int]]] = {}
    packs: dict[PackRef, None] = {}
    for row in rows:
        version = newest[row.list_key]
        scope = desk.scope(row.discharged)
        has = found.get(row.number, Counter())
        sure = not (scope.asks_for_codes or version != row.version or len(row.list_id) >= LONGEST_ID)
        if sure and scope.work(Look(row.list_id, (), has)).nothing:
            kept.append(row.number)
        else:
            asked[row.number] = version, has
        packs.update(dict.fromkeys(desk.in_force(row.discharged)))
    versions = tuple((row.number, row.list_key, newest[row.list_key]) for row in rows)
    return _Triage(first, last, tuple(kept), asked, versions, tuple(packs))


def _stored_lists(connection: Connection, base: int, triage: _Triage) -> tuple[StoredList, ...]:
    """The lists that must be looked at, with what the earlier run said of them."""
    if not triage.asked:
        return ()
    keys = {key: version for number, key, version in triage.versions if number in triage.asked}
    texts: dict[str, Any] = {}
    for row in connection.execute(
        select(
            LIST_VERSION.c.list_key, LIST_VERSION.c.version, LIST_VERSION.c.payload, LIST_VERSION.c.identity
        ).where(LIST_VERSION.c.list_key.in_(sorted(keys)))
    ):
        if keys[row.list_key] == row.version:
            texts[row.list_key] = row
    findings: dict[int, list[Finding]] = defaultdict(list)
    beside: dict[int, list[Finding]] = defaultdict(list)
    for row in connection.execute(
        select(FINDING)
        .where(FINDING.c.run_id == base, FINDING.c.number.in_(sorted(triage.asked)))
        .where(FINDING.c.position <= ACROSS_POSITION)
        .order_by(FINDING.c.number, FINDING.c.position)
    ):
        place = beside if row.position == ACROSS_POSITION else findings
        place[row.number].append(finding_of(row))
    rows = connection.execute(
        select(RESULT)
        .where(RESULT.c.run_id == base, RESULT.c.number.in_(sorted(triage.asked)))
        .order_by(RESULT.c.number)
    )
    lists = []
    for row in rows:
        version, has = triage.asked[row.number]
        text = texts[row.list_key]
        lists.append(
            StoredList(
                row.number,
                row.source,
                row.line,
                row.list_id,
                version,
                version != row.version,
                text.payload,
                text.identity,
                dict(row._mapping),
                dict(has),
                tuple(findings.get(row.number, ())),
                tuple(beside.get(row.number, ())),
            )
        )
    return tuple(lists)


def finding_of(row: Any) -> Finding:
    """A finding as it was before ``finding_row``."""
    return Finding(
        rule=row.rule,
        title=row.title,
        severity=row.severity,
        path=row.path,
        field=row.field,
        value=row.value,
        message=row.message,
        advice=row.advice,
        basis=row.basis,
        accepted=msgspec.json.decode(row.accepted, type=Accepted) if row.accepted else None,
    )


def _copy_kept(connection: Connection, base: int, run_id: int, triage: _Triage, again: Sequence[int]) -> None:
    """Results and findings of the lists that stay, those across lists apart, from the earlier run."""
    for kept_table in (RESULT, FINDING):
        columns = [column for column in kept_table.c if column.name != "run_id"]
        chosen = select(literal(run_id), *columns).where(
            kept_table.c.run_id == base,
            kept_table.c.number.between(triage.first, triage.last),
            kept_table.c.number.not_in(again),
        )
        if kept_table is FINDING:
            chosen = chosen.where(FINDING.c.position <= ACROSS_POSITION)
        names = ["run_id", *(column.name for column in columns)]
        connection.execute(insert(kept_table).from_select(names, chosen, include_defaults=False))


def _copy_rejects(connection: Connection, base: int, run_id: int, triage: _Triage) -> tuple[int, int]:
    """What the earlier run could not read stays unread; gives how many rows and files, and how many files."""
    own = REJECT.c.run_id == base, REJECT.c.position.between(triage.first, triage.last)
    lines = connection.execute(select(REJECT.c.line).where(*own)).scalars().all()
    count, files = len(lines), sum(not line for line in lines)
    if count:
        columns = [column for column in REJECT.c if column.name != "run_id"]
        names = ["run_id", *(column.name for column in columns)]
        chosen = select(literal(run_id), *columns).where(*own)
        connection.execute(insert(REJECT).from_select(names, chosen, include_defaults=False))
    return count, files


def differences(
    database: Database, settings: Settings, run_id: int, executor: Executor, *, workers: int = 1
) -> list[int]:
    """The places of lists of which a finished run does not say what a check of the whole list says.

    Every list is checked anew with all rules; empty when what was kept and what was computed again is
    right. Raises PackError.
    """
    run = read_run(database, run_id)
    job = Job(str(settings.home), run.read_options, Vault.open(settings, database))
    with database.read() as connection:
        last = _last_number(connection, run_id)
    found: list[int] = []
    waiting: deque[tuple[Future[bytes], int]] = deque()
    for first in range(1, last + 1, run.part_size):
        with database.read() as connection:
            items = _incoming(connection, job.vault, run_id, first, first + run.part_size - 1)
        waiting.append((executor.submit(check_part, job, Part(0, first, items)), first))
        if len(waiting) > workers:
            found += _compared(database, run_id, *waiting.popleft(), run.part_size)
    for future, first in waiting:
        found += _compared(database, run_id, future, first, run.part_size)
    return found


def _incoming(
    connection: Connection, vault: Vault, run_id: int, first: int, last: int
) -> tuple[Incoming, ...]:
    """The lists of a run from place ``first`` to ``last`` as they came in; a place without a list stays empty."""
    rows = connection.execute(
        select(
            RESULT.c.number,
            RESULT.c.source,
            RESULT.c.line,
            LIST_VERSION.c.payload,
            LIST_VERSION.c.identity,
        )
        .join_from(RESULT, LIST_VERSION, _SAME_VERSION)
        .where(RESULT.c.run_id == run_id, RESULT.c.number.between(first, last))
    )
    lists = {
        row.number: Incoming(row.source, row.line, vault.reveal(row.payload, row.identity)) for row in rows
    }
    return tuple(lists.get(number, _NO_LIST) for number in range(first, last + 1))


def _compared(database: Database, run_id: int, future: Future[bytes], first: int, size: int) -> list[int]:
    outcome = unpack_outcome(future.result())
    with database.read() as connection:
        own = RESULT.c.run_id == run_id, RESULT.c.number.between(first, first + size - 1)
        results = {row.number: dict(row._mapping) for row in connection.execute(select(RESULT).where(*own))}
        findings: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for row in connection.execute(
            select(FINDING)
            .where(FINDING.c.run_id == run_id, FINDING.c.number.between(first, first + size - 1))
            .where(FINDING.c.position <= ACROSS_POSITION)
            .order_by(FINDING.c.number, FINDING.c.position)
        ):
            findings[row.number].append(dict(row._mapping))
    wanted = {one.number: one for one in outcome.lists}
    return [
        number
        for number in sorted(results.keys() | wanted.keys())
        if number not in results
        or number not in wanted
        or not _says(run_id, wanted[number], results[number], findings.get(number, []))
    ]


def _says(
    run_id: int, checked: CheckedList, result: Mapping[str, Any], findings: Sequence[Mapping[str, Any]]
) -> bool:
    """Whether the store has what the check says."""
    version = {"run_id": run_id, "version": result["version"]}
    row = {**msgspec.structs.asdict(checked), **version, "grouping": checked.group}
    rows = [
        finding_row(run_id, checked.number, position, finding)
        for several, first in ((checked.findings, 0), (checked.across, ACROSS_POSITION))
        for position, finding in enumerate(several, first)
    ]
    return _as_stored(RESULT, row) == result and [_as_stored(FINDING, one) for one in rows] == [
        dict(one) for one in findings
    ]


def _as_stored(kind: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as it comes back from the store: texts cut and cleaned."""
    return {
        column.name: column.type.process_bind_param(value, _NO_DIALECT)
        if isinstance(column.type, StoredText)
        else value
        for column in kind.c
        for value in (row[column.name],)
    }
