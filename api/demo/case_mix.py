"""What a made-up hospital treats: kinds of stays, with the codes and fees that belong to them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar

from coding.library import Code, CodeLibrary, load_table, normalize_code
from models.pack import Pack, PackError, PackStore
from qc_rules.charge_tables import CHARGE_RULES, EVIDENCE, ChargeTables, EvidenceTables
from qc_rules.indications import INDICATIONS, IndicationTable

CASE_MIX_PACK = "demo-case-mix"
SCHEME_PACK = "chs-drg-2.0"
PAYMENT_PACK = "sichuan-2024"

MALE, FEMALE = "1", "2"
SHORTEST_NAMES = 4
"""Of the codes under one prefix only these many are drawn: a short name is a common disease."""

_SET_NAME = re.compile(r"(?:DI|OP)_\w+")
_ADULT_EXCLUDES = re.compile("儿童|小儿|婴|新生儿|先天|家族|男性|陈旧")
_CHILD_EXCLUDES = re.compile("老年|成人|新生儿|陈旧")
_LEVELS: Mapping[str, str] = {"MCC": "1390235", "CC": "3195027", "": "5930172"}
"""Last characters of a DRG code to look for, in this order, by the severest complication."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Weighted(Generic[T]):
    """Values to draw from, each with its running total of weights."""

    values: tuple[T, ...]
    totals: tuple[float, ...]

    @classmethod
    def of(cls, pairs: Iterable[tuple[T, float]]) -> Weighted[T]:
        values, totals, total = [], [], 0.0
        for value, weight in pairs:
            total += weight
            values.append(value)
            totals.append(total)
        return cls(tuple(values), tuple(totals))

    def draw(self, rng: Random) -> T:
        return rng.choices(self.values, cum_weights=self.totals)[0]


Options = tuple[tuple[Code, ...], ...]
"""What to draw one code from: first one of the outer, then one of the inner alternatives."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of stay: whom it meets, how long it takes, what is diagnosed and done.

    ``age`` is (lowest, most frequent, highest) in years, ``stay`` the median in days. The options by
    sex hold no code of the other sex. ``severity`` 0–3 says how often grave complications, intensive
    care and death come with it.
    """

    adrg: str
    theme: str
    weight: float
    department: str
    sexes: str
    age: tuple[int, int, int]
    stay: float
    principal: Mapping[str, Options]
    procedures: tuple[Options, ...]
    anaesthesia: str
    others: Mapping[str, tuple[Options, ...]]
    pool: str
    severity: int
    flags: frozenset[str]


@dataclass(frozen=True, slots=True)
class Companion:
    """A disease that comes along. ``avoid``: prefixes of the codes it never stands beside."""

    code: Code
    weight: float
    severity: int
    age: tuple[int, int]
    sex: str
    avoid: tuple[str, ...]
    condition: str


@dataclass(frozen=True, slots=True)
class CaseMix:
    """Everything the generator draws from."""

    profiles: Weighted[Profile]
    companions: Mapping[str, Weighted[Companion]]
    values: Mapping[str, Weighted[str]]
    departments: Mapping[str, str]
    level: Mapping[str, tuple[str, str]]
    excluded: frozenset[tuple[str, str]]
    fees: Mapping[str, float]
    grey: Code
    grey_procedure: Code
    charges: ChargeTables
    evidence: EvidenceTables
    indications: IndicationTable

    def complication(self, principal: str, others: Sequence[str]) -> str:
        """The severest level of ``others`` that ``principal`` does not exclude: MCC, CC or ""."""
        found = {
            level
            for code in others
            for level, table in (self.level.get(code, ("", "")),)
            if level and (table, principal) not in self.excluded
        }
        return "MCC" if "MCC" in found else "CC" if found else ""

    def average_fee(self, adrg: str, level: str) -> float:
        """The public average fee in yuan of the ADRG's group for this complication level."""
        for last in _LEVELS[level]:
            fee = self.fees.get(adrg + last)
            if fee:
                return fee
        return next((fee for drg, fee in self.fees.items() if drg.startswith(adrg)), UNKNOWN_FEE)


UNKNOWN_FEE = 9000.0
"""Yuan, near the mean of all groups: for an ADRG that the payment table does not list."""


def load_case_mix(store: PackStore) -> CaseMix:
    """Read the demo pack and join it with code books, scheme and payment. Raises PackError."""
    pack = store.get(CASE_MIX_PACK)
    library = CodeLibrary(load_table(store.get("icd10-nhsa-2.0")), load_table(store.get("icd9cm3-nhsa-2.0")))
    scheme = store.get(SCHEME_PACK)
    sexes = _Sexes(store.pack_for("sex-restricted"))
    sets: dict[str, set[str]] = defaultdict(set)
    for name, code in scheme.records("sets", "set", "code"):
        sets[name].add(code)
    conditions: dict[str, list[str]] = defaultdict(list)
    for adrg, condition in scheme.records("adrg", "adrg", "condition"):
        conditions[adrg].append(condition)
    chooser = _Chooser(library, sexes, sets, conditions)
    profiles = [chooser.profile(row) for row in pack.rows("profiles")]
    pools: dict[str, list[tuple[Companion, float]]] = defaultdict(list)
    for row in pack.rows("companions"):
        companion = _companion(row, library)
        for pool in row["pools"].split("|"):
            pools[pool].append((companion, companion.weight))
    lists: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for row in pack.rows("values"):
        lists[row["list"]].append((row["value"], float(row["weight"])))
    grey = next(code for code in library.icd10.codes.values() if code.grey)
    grey_procedure = next(code for code in library.icd9cm3.codes.values() if code.grey)
    return CaseMix(
        profiles=Weighted.of((profile, profile.weight) for profile in profiles),
        companions={pool: Weighted.of(found) for pool, found in pools.items()},
        values={name: Weighted.of(found) for name, found in lists.items()},
        departments={row["code"]: row["name"] for row in store.pack_for("value-domains").rows("departments")},
        level={
            code: (level, table)
            for code, level, table in scheme.records("complication", "code", "level", "exclusion_table")
        },
        excluded=frozenset(
            (table, code)
            for table, code in scheme.records("exclusion", "exclusion_table", "principal_diagnosis")
        ),
        fees={
            drg: float(fee)
            for drg, fee in store.get(PAYMENT_PACK).records("weights", "drg", "average_fee")
            if fee
        },
        grey=grey,
        grey_procedure=grey_procedure,
        charges=ChargeTables.read(store.pack_for(CHARGE_RULES)),
        evidence=EvidenceTables.read(store.pack_for(EVIDENCE)),
        indications=IndicationTable.read(store.pack_for(INDICATIONS)),
    )


def _named(library: CodeLibrary, code: str) -> Code:
    found = library.diagnosis(code)
    if found is None or found.grey:
        raise PackError(f"演示数据用到的诊断 {code} 不在编码库中或是灰码")
    return found


def _companion(row: Mapping[str, str], library: CodeLibrary) -> Companion:
    return Companion(
        code=_named(library, row["code"]),
        weight=float(row["weight"]),
        severity=int(row["severity"]),
        age=(int(row["age_low"]), int(row["age_high"])),
        sex=row["sex"],
        avoid=tuple(filter(None, row["avoid"].split("|"))),
        condition=row["condition"],
    )


class _Sexes:
    """Which codes belong to one sex only."""

    def __init__(self, pack: Pack) -> None:
        self._prefixes = {
            sex: tuple(prefix for prefix, _, of in pack.records("code_prefix", "code_prefix", "system", "sex")
                       if of == sex)
            for sex in (MALE, FEMALE)
        }  # fmt: skip

    def allows(self, code: Code, sex: str) -> bool:
        other = FEMALE if sex == MALE else MALE
        if sex == MALE and code.code.startswith("O"):
            return False
        return not code.code.startswith(self._prefixes[other])


class _Chooser:
    """Turns the prefixes of a profile into codes of the book that the scheme's sets hold."""

    def __init__(
        self,
        library: CodeLibrary,
        sexes: _Sexes,
        sets: Mapping[str, set[str]],
        conditions: Mapping[str, Sequence[str]],
    ) -> None:
        self._library, self._sexes, self._sets, self._conditions = library, sexes, sets, conditions

    def profile(self, row: Mapping[str, str]) -> Profile:
        adrg = row["adrg"]
        if adrg not in self._conditions:
            raise PackError(f"演示数据：分组方案 {SCHEME_PACK} 没有 ADRG {adrg}（{row['theme']}）")
        text = " ".join(self._conditions[adrg])
        named = _SET_NAME.findall(text)
        of_principal = "ZYZD" in text and "{ZYZD" not in text
        diagnoses = self._union(name for name in named if name.startswith("DI_")) if of_principal else None
        main = self._union(name for name in named if name.startswith("OP_")) or None
        age = (int(row["age_low"]), int(row["age_mode"]), int(row["age_high"]))
        unsuitable = _CHILD_EXCLUDES if row["pool"] == "child" else _ADULT_EXCLUDES
        if "newborn" in row["flags"]:
            unsuitable = _NOTHING
        place = f"{adrg} {row['theme']}"
        wanted = row["sex"] or MALE + FEMALE
        principal: dict[str, Options] = {}
        others: dict[str, tuple[Options, ...]] = {}
        for sex in wanted:
            found = self._diagnoses(row["principal"], sex, diagnoses, unsuitable)
            groups = [self._diagnoses(group, sex, None, unsuitable) for group in _split(row["others"], ";")]
            if found and all(groups):
                principal[sex], others[sex] = found, tuple(groups)
        if not principal:
            raise PackError(f"演示数据：{place} 没有可用的主要诊断，请核对 profiles.csv")
        procedures = tuple(
            self._procedures(group, main if position == 0 and row["anaesthesia"] else None, place)
            for position, group in enumerate(_split(row["procedures"], ";"))
        )
        return Profile(
            adrg=adrg,
            theme=row["theme"],
            weight=float(row["weight"]),
            department=row["department"],
            sexes="".join(principal),
            age=age,
            stay=float(row["stay"]),
            principal=principal,
            procedures=procedures,
            anaesthesia=row["anaesthesia"],
            others=others,
            pool=row["pool"],
            severity=int(row["severity"]),
            flags=frozenset(row["flags"].split()),
        )

    def _union(self, names: Iterable[str]) -> set[str]:
        return set().union(*(self._sets.get(name, set()) for name in names))

    def _diagnoses(
        self, text: str, sex: str, within: set[str] | None, unsuitable: re.Pattern[str]
    ) -> Options:
        options = []
        for prefix in _split(text, "|"):
            exact = self._library.diagnosis(normalize_code(prefix))
            found = [exact] if exact else list(self._library.starting_with(prefix))
            usable = [
                code
                for code in found
                if not code.grey
                and (within is None or code.code in within)
                and self._sexes.allows(code, sex)
                and (exact or not (code.asterisk or unsuitable.search(code.name)))
            ]
            if usable:
                options.append(_shortest(usable))
        return tuple(options)

    def _procedures(self, text: str, within: set[str] | None, place: str) -> Options:
        options = []
        for prefix in _split(text, "|"):
            exact = self._library.procedure(prefix)
            found = [exact] if exact else list(self._library.starting_with(prefix, "icd9cm3"))
            usable = [code for code in found if not code.grey and (within is None or code.code in within)]
            if not usable:
                raise PackError(f"演示数据：{place} 的手术操作 {prefix} 不在编码库或 ADRG 的集合中")
            options.append(_shortest(usable))
        return tuple(options)


_NOTHING = re.compile(r"(?!)")


def _shortest(codes: Sequence[Code]) -> tuple[Code, ...]:
    return tuple(sorted(codes, key=lambda code: (len(code.name), code.code))[:SHORTEST_NAMES])


def _split(text: str, separator: str) -> list[str]:
    return [part for part in text.split(separator) if part]
