"""The tables over charge lines and evidence: what an item is by its name, how often it may be charged,
what excludes what, which charge belongs to which procedure, and what speaks for a diagnosis."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

from models.pack import Pack, PackError

CHARGE_RULES = "charge-rules"
EVIDENCE = "evidence"
"""The kinds of the two packs."""

Per = Literal["day", "stay_day", "stay", "window"]
Role = Literal["workup", "finding", "treatment"]
Operator = Literal["", "<", ">", ">=", "contains", "rise", "present"]
PERS = ("day", "stay_day", "stay", "window")
ROLES = ("workup", "finding", "treatment")
OPERATORS = ("", "<", ">", ">=", "contains", "rise", "present")

SOURCES: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "lab": (frozenset({"lab"}), frozenset({"04"})),
    "exam": (frozenset({"exam"}), frozenset({"03"})),
    "drug": (frozenset({"drug", "order"}), frozenset({"09", "10", "11"})),
    "nursing": (frozenset({"nursing"}), frozenset({"07"})),
    "care": (frozenset({"order", "nursing"}), frozenset({"05", "06", "07"})),
    "blood": (frozenset({"order", "drug", "nursing"}), frozenset({"05", "09", "14"})),
}
"""Where a signal shows: kinds of evidence, and charge categories that prove it was given."""

MAX_REMEMBERED = 100_000
"""Item names that one process remembers: the price list of a large hospital has some 30,000."""


def plain(text: str) -> str:
    """A name as it is compared: half-width, upper case, without blanks."""
    return unicodedata.normalize("NFKC", text).upper().replace(" ", "")


@dataclass(frozen=True, slots=True)
class Words:
    """A name fits when it holds all parts of one alternative and none of the excluded words."""

    alternatives: tuple[tuple[str, ...], ...]
    excluded: tuple[str, ...] = ()

    @classmethod
    def read(cls, include: str, exclude: str = "") -> Words:
        """``磁共振+平扫|MRI+平扫``: alternatives by ``|``, parts by ``+``."""
        found = tuple(tuple(plain(part) for part in one.split("+")) for one in include.split("|") if one)
        return cls(found, tuple(plain(one) for one in exclude.split("|") if one))

    def fit(self, name: str) -> bool:
        """Whether ``name``, already plain, fits."""
        for parts in self.alternatives:
            if all(part in name for part in parts):
                return not any(word in name for word in self.excluded)
        return False

    @property
    def first(self) -> str:
        """The first alternative, as one text."""
        return "".join(self.alternatives[0])


@dataclass(frozen=True, slots=True)
class Item:
    """A concept of charge items: by the start of its code, else by name and 收费项目类别."""

    concept: str
    name: str
    words: Words
    categories: frozenset[str]
    codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Frequency:
    """At most ``most`` (units of the item) per day, day of stay, stay, or within ``hours`` hours."""

    id: str
    name: str
    concept: str
    per: Per
    most: float
    spare: float
    hours: int
    note: str


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Two concepts not charged on one day; ``same_part``: only when both name the same part of the body."""

    id: str
    name: str
    first: str
    second: str
    same_part: bool
    note: str


@dataclass(frozen=True, slots=True)
class ChargedProcedure:
    """Procedures, by code prefix, and the charge that belongs to them, by name."""

    id: str
    name: str
    procedures: tuple[str, ...]
    words: Words


@dataclass(frozen=True)
class ChargeTables:
    """The pack charge-rules, ready to use."""

    items: Mapping[str, Item] = field(default_factory=dict)
    frequencies: tuple[Frequency, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    procedures: tuple[ChargedProcedure, ...] = ()
    _known: dict[tuple[str, str, str], frozenset[str]] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, pack: Pack) -> ChargeTables:
        """Raises PackError for a table that cannot be used."""
        items = {
            row["concept"]: Item(
                row["concept"],
                row["name"],
                Words.read(row["include"], row["exclude"]),
                frozenset(split(row["categories"])),
                split(row["codes"]),
            )
            for row in pack.rows("items")
        }
        tables = cls(
            items,
            tuple(
                Frequency(
                    row["id"],
                    row["name"],
                    row["concept"],
                    cast(Per, row["per"]),
                    float(row["most"]),
                    float(row["spare"]),
                    int(row["hours"]),
                    row["note"],
                )
                for row in pack.rows("frequency")
            ),
            tuple(
                Exclusion(
                    row["id"], row["name"], row["first"], row["second"], row["same_part"] == "1", row["note"]
                )
                for row in pack.rows("exclusion")
            ),
            tuple(
                ChargedProcedure(
                    row["id"],
                    row["name"],
                    split(row["procedures"]),
                    Words.read(row["include"], row["exclude"]),
                )
                for row in pack.rows("procedures")
            ),
        )
        used = {one.concept for one in tables.frequencies}
        used |= {concept for one in tables.exclusions for concept in (one.first, one.second)}
        if used - items.keys():
            raise PackError(f"数据包 {pack.id}：items 表没有 {'、'.join(sorted(used - items.keys()))}")
        return tables

    def concepts(self, code: str, name: str, category: str) -> frozenset[str]:
        """The concepts of an item with this code, name (as received) and 收费项目类别."""
        key = (code, name, category)
        found = self._known.get(key)
        if found is None:
            text = plain(name)
            found = frozenset(
                [
                    item.concept
                    for item in self.items.values()
                    if (item.codes and code.startswith(item.codes))
                    or ((not item.categories or category in item.categories) and item.words.fit(text))
                ]
            )
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[key] = found
        return found

    def part(self, concept: str, name: str) -> str:
        """The part of the body in the name of an item: what is left without the words of the concept."""
        text = plain(name)
        for parts in self.items[concept].words.alternatives:
            for part in parts:
                text = text.replace(part, "")
        return _NO_PART.sub("", text)


_NO_PART = re.compile(r"平扫|增强|扫描|检查|成像|[^\w]|_")


@dataclass(frozen=True, slots=True)
class Signal:
    """What speaks for a condition: worked up, found abnormal, or treated."""

    role: Role
    source: str
    words: Words
    operator: Operator
    value: str
    unit: str
    kinds: frozenset[str]
    categories: frozenset[str]


@dataclass(frozen=True, slots=True)
class Condition:
    """A disease with the prefixes of its codes, of codes that account for the same evidence, and its signals."""

    id: str
    name: str
    diagnoses: tuple[str, ...]
    explained_by: tuple[str, ...]
    signals: tuple[Signal, ...]

    def shown(self, role: Role) -> str:
        """What to look for, as a message says it."""
        texts = [one for signal in self.signals if signal.role == role for one in _shown(signal)]
        return "、".join(dict.fromkeys(texts[:5]))


def _shown(signal: Signal) -> Iterable[str]:
    limit = (
        f" {signal.operator} {signal.value} {signal.unit}".rstrip()
        if signal.operator in ("<", ">", ">=")
        else ""
    )
    for parts in signal.words.alternatives[:2]:
        yield "".join(parts) + limit


@dataclass(frozen=True)
class EvidenceTables:
    """The pack evidence, ready to use."""

    conditions: tuple[Condition, ...] = ()
    _known: dict[str, tuple[tuple[Condition, Signal], ...]] = field(default_factory=dict, repr=False)
    _coded: dict[str, Condition | None] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, pack: Pack) -> EvidenceTables:
        """Raises PackError for a table that cannot be used."""
        signals: dict[str, list[Signal]] = {}
        for row in pack.rows("signals"):
            if row["source"] not in SOURCES or row["operator"] not in OPERATORS or row["role"] not in ROLES:
                raise PackError(
                    f"数据包 {pack.id}：signals 表 {row['condition']} 的 role、source 或 operator 不认识"
                )
            signals.setdefault(row["condition"], []).append(
                Signal(
                    cast(Role, row["role"]),
                    row["source"],
                    Words.read(row["include"], row["exclude"]),
                    cast(Operator, row["operator"]),
                    row["value"],
                    plain_unit(row["unit"]),
                    *SOURCES[row["source"]],
                )
            )
        return cls(
            tuple(
                Condition(
                    row["condition"],
                    row["name"],
                    split(row["diagnoses"]),
                    split(row["explained_by"]),
                    tuple(signals.get(row["condition"], ())),
                )
                for row in pack.rows("conditions")
            )
        )

    def of_code(self, code: str) -> Condition | None:
        """The condition that a diagnosis code belongs to: that of the longest prefix."""
        if code in self._coded:
            return self._coded[code]
        best: Condition | None = None
        length = 0
        for condition in self.conditions:
            for prefix in condition.diagnoses:
                if len(prefix) > length and code.startswith(prefix):
                    best, length = condition, len(prefix)
        if len(self._coded) >= MAX_REMEMBERED:
            self._coded.clear()
        self._coded[code] = best
        return best

    def signals(self, name: str) -> tuple[tuple[Condition, Signal], ...]:
        """The signals whose words fit a name as received."""
        found = self._known.get(name)
        if found is None:
            text = plain(name)
            found = tuple(
                [(one, signal) for one in self.conditions for signal in one.signals if signal.words.fit(text)]
            )
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[name] = found
        return found


_SAME_UNIT = {"UG/L": "NG/ML", "NG/L": "PG/ML"}


def plain_unit(unit: str) -> str:
    """A unit as it is compared: μmol/L, umol/l and µmol/L are one, so are 10^9/L and ×10⁹/L."""
    text = re.sub(r"[\^*×X\s]", "", plain(unit).replace("\u039c", "U"))
    return _SAME_UNIT.get(text, text)


def split(text: str) -> tuple[str, ...]:
    """The parts of a cell between ``|``."""
    return tuple(part for part in text.split("|") if part)
