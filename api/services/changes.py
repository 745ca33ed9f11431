"""What a change of packs can touch: which lists, and of these lists which rules, the group, the prices.

What cannot be touched is kept from the earlier result. Where a dependency cannot be proved, everything
is computed again, and the reason is said.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path

import msgspec

from api.services.check import MAX_REPEATS, Checker, Examined, case_of, concluded
from api.services.month.cross_list import MULTIPLE
from coding.library import CodeLibrary, System, normalize_code
from models.grouping import GroupResult
from models.pack import PROJECT_ROOT, Pack, PackError, PackRef, PackStore
from models.report import Finding
from models.wire import Received
from qc_rules.acceptance import UNUSED_RULE, Acceptance, Acceptances
from qc_rules.code_index import PLACED, CodeIndex, Combination
from qc_rules.dependencies import RuleMark, marks_of, settings_of_facts
from qc_rules.packs import LoadedRule, scan_pack
from qc_rules.ruleset import RuleSet

PROGRAM = "program"
"""Kind of the entry among the packs of a run that stands for the program itself."""
DECIDING_SOURCES = (
    "models",
    "qc_rules",
    "grouper",
    "coding/library.py",
    "api/batch/work.py",
    "api/services/check.py",
    "api/services/dip.py",
    "api/services/payment.py",
    "api/services/month/cross_list.py",
    "api/services/month/records.py",
    "api/store/vault.py",
)
"""Sources that decide what is said of a list; another program may say something else under the same packs."""
NO_PACK = "无"
SYSTEMS: tuple[System, ...] = ("icd10", "icd9cm3")


@cache
def program_ref() -> PackRef:
    """The program as a pack that a run used: its digest changes with every source that decides a result."""
    digest = hashlib.sha256()
    for name in DECIDING_SOURCES:
        place = PROJECT_ROOT / name
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(path.read_bytes())
    shown = digest.hexdigest()
    return PackRef(PROGRAM, "qingdan", shown[:12], "清单", "", shown)


def content_digest(pack: Pack) -> str:
    """SHA-256 of all that a pack holds: its manifest has the digests of its tables, of rules it has none."""
    return scan_pack(pack, {})[0].sha256 if pack.kind == "rules" else pack.sha256


class PinnedStore(PackStore):
    """The packs of an installation with exactly the given ones in use, whatever is in use now.

    ``pins`` are (id, version, digest of the content). Raises PackError when one is gone or was changed.
    """

    def __init__(
        self, store: PackStore, pins: Iterable[tuple[str, str, str]], given: Sequence[Pack] = ()
    ) -> None:
        super().__init__(store.shipped, store.site)
        own = {pack.id: pack for pack in given}
        found, lacking = {}, []
        for pack_id, version, digest in pins:
            pack = own.get(pack_id) or self._packs.get((pack_id, version))
            if pack is None or pack.manifest.version != version or content_digest(pack) != digest:
                lacking.append(f"{pack_id} {version}")
            else:
                found[pack_id, version] = pack
        if lacking:
            raise PackError(f"原来用的数据包已不在或内容有变：{'、'.join(lacking)}")
        self._packs = found
        self._active = dict(found)


@dataclass(frozen=True)
class Surroundings:
    """All that decides what a run says of a list beside the list: packs and what was asked for.

    ``accepted`` are the accepted findings, as they hold on ``on``.
    """

    checker: Checker
    scheme: str = ""
    payment: str = ""
    catalogue: str = ""
    dip_payment: str = ""
    accepted: tuple[Acceptance, ...] = ()
    on: date | None = None

    def pack(self, kind: str, asked: str, on: date | None) -> PackRef | str:
        """Which pack of a kind holds for a discharge date; why none does (Chinese), otherwise."""
        store = self.checker.store
        try:
            return (store.get(asked) if asked else store.pack_for(kind, self.checker.region, on)).ref
        except PackError as error:
            return str(error)

    def drg(self, on: date | None) -> tuple[PackRef | str, PackRef | str]:
        """The packs of DRG: scheme and payment."""
        return self.pack("drg-scheme", self.scheme, on), self.pack("drg-payment", self.payment, on)

    def dip(self, on: date | None) -> tuple[PackRef | str, ...]:
        """The packs that DIP is grouped and priced by."""
        return (
            self.pack("dip-catalogue", self.catalogue, on),
            self.pack("dip-payment", self.dip_payment, on),
            self.pack("comorbidity-index", "", on),
        )

    def packs(self, on: date | None) -> list[PackRef]:
        """Every pack that can have a say on a list of a discharge date. Raises PackError."""
        rules = self.checker.rules_for(on)
        grouped = [one for one in (*self.drg(on), *self.dip(on)) if isinstance(one, PackRef)]
        return [*rules.packs, *rules.reference.packs, *rules.reference.backing_packs, *grouped]

    def holding(self) -> dict[str, Acceptance]:
        """The acceptances that hold, by id."""
        return {one.id: one for one in self.accepted if self.on is None or one.holds(self.on)}


class Look(msgspec.Struct, frozen=True):
    """What must be known of a list and of its earlier result to tell whether a change touches it.

    ``codes``: its codes by system; ``found``: how many findings of each rule it has; ``certain``: whether
    its codes are known for sure.
    """

    list_id: str
    codes: tuple[tuple[System, str], ...]
    found: Mapping[str, int]
    certain: bool = True


def look_at(received: Received, list_id: str, found: Mapping[str, int]) -> Look:
    """A look at a list, which may be masked."""
    stay = received.list.stay
    codes: list[tuple[System, str]] = [
        ("icd10", row.code) for row in received.list.diagnoses if row.code is not None
    ]
    codes += [("icd9cm3", row.code) for row in received.list.procedures if row.code is not None]
    codes += [("icd10", row.code) for row in received.list.chronic_diagnoses if row.code is not None]
    if stay.outpatient_diagnosis_code is not None:
        codes.append(("icd10", stay.outpatient_diagnosis_code))
    # A code with two stars may hide what looks like a name or a number of the patient.
    certain = not received.defects and not any("**" in code for _, code in codes)
    return Look(list_id, tuple(dict.fromkeys(codes)), found, certain)


class Work(msgspec.Struct, frozen=True):
    """What must be done anew for one list; nothing at all where its earlier result stays.

    ``whole``: everything. ``run``: the rules of the scope; ``group``: its DRG, and what follows;
    ``price``: weight and money by DRG; ``dip``: everything by DIP; ``merge``: only what is kept of its
    findings, their sum and their acceptance.
    """

    whole: bool = False
    group: bool = False
    price: bool = False
    dip: bool = False
    run: bool = False
    merge: bool = False

    @property
    def nothing(self) -> bool:
        return self == NOTHING

    @property
    def only_rules(self) -> bool:
        """Whether group, weight and money stay as they were."""
        return not (self.whole or self.group or self.price or self.dip)


NOTHING = Work()
WHOLE = Work(whole=True)


@dataclass(frozen=True)
class Scope:
    """What a change can touch among the lists of one discharge date.

    ``whole``: why everything is computed again, "" when it is not. ``codes``: changed codes, whose lists
    are computed again. ``run``: rules that are run again on a touched list, ``everywhere`` those that may
    fire on any list; ``by_code`` leads from codes to the others that changed where they fire; ``where_found``:
    rules of which only a list with a finding can be touched. ``gone``: rules that no longer run.
    """

    whole: str = ""
    codes: Mapping[System, frozenset[str]] = field(default_factory=dict)
    group: bool = False
    price: bool = False
    dip: bool = False
    run: frozenset[str] = frozenset()
    everywhere: frozenset[str] = frozenset()
    with_codes: frozenset[str] = frozenset()
    by_code: CodeIndex | None = None
    where_found: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()
    rescored: frozenset[str] = frozenset()
    accepted_rules: frozenset[str] = frozenset()
    accepted_lists: frozenset[str] = frozenset()
    with_group: frozenset[str] = frozenset()
    rules: RuleSet | None = None
    """The rules of the new packs; ``again`` those of ``run`` alone."""
    again: RuleSet | None = None

    @property
    def nothing(self) -> bool:
        """Whether no list can be touched at all."""
        return not (
            self.whole
            or any(self.codes.values())
            or self.group
            or self.price
            or self.dip
            or self.run
            or self.gone
            or self.rescored
            or self.accepted_rules
            or self.accepted_lists
        )

    @property
    def asks_for_codes(self) -> bool:
        """Whether the codes of a list decide if it is touched."""
        return bool(any(self.codes.values()) or self.with_codes)

    def work(self, look: Look) -> Work:
        """What the change asks for one list."""
        if self.whole or (self.asks_for_codes and not look.certain) or self._has_changed_code(look):
            return WHOLE
        run = bool(
            self.everywhere
            or self.where_found.intersection(look.found)
            or (self.by_code is not None and self._leads(look))
        )
        kept = self.gone | self.rescored | self.accepted_rules
        merge = run or look.list_id in self.accepted_lists or not kept.isdisjoint(look.found)
        touched = run or merge or self.group
        if touched and max(look.found.values(), default=0) >= MAX_REPEATS:
            return WHOLE  # only the first findings of a rule are kept: the others are not known
        return Work(group=self.group, price=self.price, dip=self.dip, run=run, merge=merge)

    def _has_changed_code(self, look: Look) -> bool:
        return any(
            code in self.codes[system] or normalize_code(code) in self.codes[system]
            for system, code in (look.codes if any(self.codes.values()) else ())
        )

    def _leads(self, look: Look) -> bool:
        assert self.by_code is not None  # noqa: S101 -- the only caller asks first
        present, rules = 0, list[tuple[int, int]]()
        for system, code in look.codes:
            for place in (system, PLACED[system]):
                leads = self.by_code.leads(place, normalize_code(code))
                present |= leads.sets
                rules += leads.rules
        return any(need & present == need for _, need in rules)


def merged(kept: Iterable[Finding], found: Iterable[Finding], replaced: frozenset[str]) -> list[Finding]:
    """Earlier findings less those of the rules ``replaced``, with ``found`` put in, as a check orders them.

    None is accepted any more: acceptance is laid over all of them again.
    """
    left = [
        one if one.accepted is None else msgspec.structs.replace(one, accepted=None)
        for one in kept
        if one.rule not in replaced and one.rule != UNUSED_RULE
    ]
    return sorted([*left, *found], key=lambda one: one.rule)


class Changes:
    """Compares two surroundings, discharge date by discharge date.

    ``before`` is None where the earlier packs are not to be had; ``unknown`` then says why (Chinese).
    """

    def __init__(self, before: Surroundings | None, after: Surroundings, unknown: str = "") -> None:
        self._before, self._after, self._unknown = before, after, unknown
        self._scopes: dict[tuple[object, ...], Scope] = {}
        self._of_date: dict[date | None, Scope] = {}
        self._marks: dict[int, tuple[RuleSet, dict[str, RuleMark]]] = {}
        self._codes: dict[tuple[PackRef, ...], Mapping[System, frozenset[str]]] = {}

    def scope(self, on: date | None) -> Scope:
        """What can be touched among the lists discharged on ``on``. Raises PackError."""
        found = self._of_date.get(on)
        if found is None:
            found = self._of_date[on] = self._scope(on)
        return found

    def scopes(self) -> list[Scope]:
        """The different scopes met so far."""
        return list(self._scopes.values())

    def _scope(self, on: date | None) -> Scope:
        before, after = self._before, self._after
        new = after.checker.rules_for(on)
        if before is None:
            return self._scopes.setdefault(
                (id(new),), Scope(whole=self._unknown or "原来用的数据包不详", rules=new)
            )
        try:
            old = before.checker.rules_for(on)
        except PackError as error:
            return self._scopes.setdefault((id(new), str(error)), Scope(whole=str(error), rules=new))
        both = (before, after)
        schemes, payments = zip(*(one.drg(on) for one in both), strict=True)
        dips = tuple(one.dip(on) for one in both)
        key = (id(old), id(new), schemes, payments, dips)
        known = self._scopes.get(key)
        if known is None:
            known = self._scopes[key] = self._compared(
                old,
                new,
                group=schemes[0] != schemes[1],
                price=payments[0] != payments[1] or _multiple_of(old) != _multiple_of(new),
                dip=dips[0] != dips[1],
            )
        return known

    def _compared(self, old: RuleSet, new: RuleSet, *, group: bool, price: bool, dip: bool) -> Scope:
        before, after = self._before, self._after
        assert before is not None  # noqa: S101 -- the only caller has looked
        for name in sorted(settings_of_facts({*old.settings, *new.settings})):
            if old.settings.get(name) != new.settings.get(name):
                return Scope(whole=f"设置 {name} 改变了清单事实的计算", rules=new)
        codes = self._changed_codes(
            (old.reference.library, new.reference.library), (before.checker.library, after.checker.library)
        )
        was, now = self._marks_of(old), self._marks_of(new)
        fires = {code for code, mark in now.items() if code not in was or was[code].fires != mark.fires}
        says = {code for code in now.keys() - fires if was[code].says != now[code].says}
        rescored = {code for code in now.keys() - fires if was[code].deduction != now[code].deduction}
        bound = {code for code in fires if now[code].codes and (code not in was or was[code].codes)}
        combinations: dict[int, Sequence[Combination]] = {
            number: (*now[code].codes, *(was[code].codes if code in was else ()))
            for number, code in enumerate(sorted(bound))
        }
        with_group = {code for code, mark in now.items() if mark.group} if group else set()
        run = frozenset(fires | says | with_group)
        past, held = before.holding(), after.holding()
        acceptances = [*_only(past, held), *_only(held, past)]
        return Scope(
            codes=codes,
            group=group,
            price=price or group,
            dip=dip,
            run=run,
            everywhere=frozenset(fires - bound),
            with_codes=frozenset(bound),
            by_code=CodeIndex(combinations) if combinations else None,
            where_found=frozenset(says),
            gone=frozenset(was.keys() - now.keys()),
            rescored=frozenset(rescored),
            accepted_rules=frozenset(one.rule for one in acceptances if not one.list_id),
            accepted_lists=frozenset(one.list_id for one in acceptances if one.list_id),
            with_group=frozenset(with_group),
            rules=new,
            again=only(new, run) if run else None,
        )

    def _marks_of(self, rules: RuleSet) -> dict[str, RuleMark]:
        known = self._marks.get(id(rules))
        if known is None:
            known = self._marks[id(rules)] = rules, marks_of(rules)
        return known[1]

    def _changed_codes(self, *pairs: tuple[CodeLibrary, CodeLibrary]) -> Mapping[System, frozenset[str]]:
        found: dict[System, frozenset[str]] = {system: frozenset() for system in SYSTEMS}
        for old, new in pairs:
            key = (*old.packs, *new.packs)
            if old.packs != new.packs and key not in self._codes:
                self._codes[key] = {system: changed_codes(old, new, system) for system in SYSTEMS}
            for system, codes in self._codes.get(key, {}).items():
                found[system] |= codes
        return found


def only(rules: RuleSet, codes: frozenset[str]) -> RuleSet:
    """Those of the running rules that have these codes, to run alone."""
    national = rules.packs[0]
    loaded = [LoadedRule(one.rule, national, Path(), "") for one in rules.running if one.rule.code in codes]
    return RuleSet(loaded, rules.reference, rules.settings, rules.packs)


class Earlier(msgspec.Struct, frozen=True):
    """What an earlier run said of a list: its findings but those across lists, and its group."""

    findings: tuple[Finding, ...]
    group: GroupResult


def examine_again(
    scope: Scope,
    work: Work,
    after: Surroundings,
    received: Received,
    earlier: Earlier,
    *,
    accepted: Acceptances | None = None,
) -> Examined:
    """The same as ``Checker.examine`` under the new packs, with only ``work`` done. Raises PackError."""
    checker = after.checker
    if work.whole or scope.rules is None:
        return checker.examine(received, scheme=after.scheme, accepted=accepted)
    facts = (scope.again or scope.rules).facts(received, earlier.group)
    case = case_of(facts)
    run = work.run
    if work.group:
        facts.group = checker.group_or_reason(facts, case, facts.discharged_on, "", after.scheme)
        run = run or _without_pack(facts.group) != _without_pack(earlier.group)
    replaced = scope.gone
    found: Sequence[Finding] = ()
    if run and scope.again is not None:
        found, replaced = scope.again.check(facts), scope.gone | scope.run
    findings = merged(earlier.findings, found, replaced)
    return Examined(concluded(scope.rules, facts, findings, accepted), facts, case)


def _without_pack(group: GroupResult) -> GroupResult:
    return msgspec.structs.replace(group, pack=None)


def _multiple_of(rules: RuleSet) -> object:
    """The rule on the cost of a list against its group, which runs beside the others, if it is there."""
    return next((rule for rule in rules.rules() if rule.code == MULTIPLE), None)


def _only(one: Mapping[str, Acceptance], other: Mapping[str, Acceptance]) -> list[Acceptance]:
    return [each for key, each in one.items() if other.get(key) != each]


def changed_codes(old: CodeLibrary, new: CodeLibrary, system: System) -> frozenset[str]:
    """The codes of which the two code books do not say the same: new, gone, renamed, grey or of another kind."""
    was, now = old.table(system).codes, new.table(system).codes
    return frozenset(code for code in was.keys() | now.keys() if was.get(code) != now.get(code))
