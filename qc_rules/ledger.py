"""The charge lines of one list read once: what each line is, on which day, and the sums by item."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from models.settlement_list import ChargeLine, Evidence
from qc_rules.charge_tables import Condition, Role, Signal, plain, plain_unit
from qc_rules.facts import Facts, to_fen


@dataclass(frozen=True, slots=True)
class Line:
    """One charge line: its row, its concepts, day, quantity (negative in a refund) and amount in fen.

    ``fen`` and ``day`` are None where the list does not say; a missing quantity counts as one.
    """

    index: int
    row: ChargeLine
    name: str
    concepts: frozenset[str]
    day: date | None
    quantity: float
    fen: int | None


class Ledger:
    """Every charge line of a list, and where each concept is charged."""

    def __init__(self, facts: Facts) -> None:
        tables = facts.reference.charges
        self.lines: list[Line] = []
        self._of: dict[str, list[Line]] = defaultdict(list)
        for index, row in enumerate(facts.list.charge_lines):
            name = row.item_name or row.item_code or row.national_code or ""
            concepts = tables.concepts(row.national_code or row.item_code or "", name, row.category or "")
            fen = None if row.amount_yuan is None else to_fen(row.amount_yuan)
            quantity = row.quantity
            if quantity is None:
                quantity = -1.0 if fen is not None and fen < 0 else 1.0
            line = Line(
                index, row, name, concepts, row.charged_at.date() if row.charged_at else None, quantity, fen
            )
            self.lines.append(line)
            for concept in concepts:
                self._of[concept].append(line)

        self.clear = all(
            (line.quantity >= 0 and (line.fen or 0) >= 0) or _identified(line) for line in self.lines
        )
        """Whether it is known of every refund what was given back, so that charged less refunded is known."""
        self.whole = self.clear and _whole(facts, self.lines)
        """Whether what is not among the lines was not charged: all have names, and they make up most of the fee."""

    def of(self, concept: str) -> Sequence[Line]:
        """The lines of a concept, refunds too."""
        return self._of.get(concept, ())

    def quantity(self, concept: str) -> float:
        """How much of a concept was charged, less what was refunded; 0 where that is not clear."""
        return sum([line.quantity for line in self.of(concept)]) if self.clear else 0.0

    def counted(self, concept: str) -> bool:
        """Whether every line of a concept says how much was charged."""
        return all(line.row.quantity is not None for line in self.of(concept))

    def charged(self, concept: str) -> Line | None:
        """The first line of a concept that was charged and not refunded altogether."""
        if self.quantity(concept) <= 0:
            return None
        return next(line for line in self.of(concept) if line.quantity > 0)

    def by_day(self, concept: str) -> Mapping[date, list[Line]]:
        """The lines of a concept by day; those without one are left out."""
        found: dict[date, list[Line]] = defaultdict(list)
        for line in self.of(concept):
            if line.day is not None:
                found[line.day].append(line)
        return found


def _identified(line: Line) -> bool:
    row = line.row
    known = (row.category, row.quantity, row.amount_yuan, row.price_yuan)
    return bool(row.item_name) and None not in known


LEAST_SHARE = 0.5
"""Of the total fee: lines that make up less are an excerpt, from which nothing is missing."""


def _whole(facts: Facts, lines: Sequence[Line]) -> bool:
    if not lines or not all(line.name for line in lines):
        return False
    total = facts.total_fen
    return total is None or sum(line.fen or 0 for line in lines) >= LEAST_SHARE * total


def ledger(facts: Facts) -> Ledger:
    """The ledger of a list, kept with its facts."""
    found: Ledger | None = vars(facts).get("ledger")
    if found is None:
        found = vars(facts)["ledger"] = Ledger(facts)
    return found


@dataclass(frozen=True, slots=True)
class Sign:
    """One thing that speaks for a condition, as a message shows it: ``血钾 2.9 mmol/L``."""

    role: Role
    shown: str


class Signs:
    """What the charge lines, the evidence and the procedures of a list say for each condition."""

    def __init__(self, facts: Facts) -> None:
        self._tables = facts.reference.evidence
        self.support: set[str] = set()
        """Conditions that were worked up, found or treated, as far as the names tell."""
        self.proven: dict[str, list[Sign]] = defaultdict(list)
        """Abnormal results and treatments, by condition: only what leaves no doubt about what it was."""
        seen: set[tuple[str, str]] = set()
        for line in facts.list.charge_lines:
            key = (line.item_name or "", line.category or "")
            if line.item_name and key not in seen and (line.quantity is None or line.quantity > 0):
                seen.add(key)
                self._charge(*key)
        for row in facts.list.procedures:
            if row.name:
                self._charge(row.name, "06")
        self._rows = facts.list.evidence
        for entry in self._rows:
            if entry.name:
                self._evidence(entry)
        self._rises()

    def _charge(self, name: str, category: str) -> None:
        for condition, signal in self._tables.signals(name):
            if signal.operator and signal.role == "finding" and signal.source == "nursing":
                continue
            self.support.add(condition.id)
            if signal.role == "treatment" and category in signal.categories:
                self.proven[condition.id].append(Sign("treatment", name))

    def _evidence(self, entry: Evidence) -> None:
        name = entry.name or ""
        for condition, signal in self._tables.signals(name):
            if entry.kind is not None and entry.kind not in signal.kinds and signal.role == "finding":
                continue
            self.support.add(condition.id)
            if entry.kind not in signal.kinds:
                continue
            if signal.role == "treatment":
                self.proven[condition.id].append(Sign("treatment", name))
            elif signal.role == "finding" and _abnormal(signal, entry):
                self.proven[condition.id].append(Sign("finding", _result(entry)))

    def _rises(self) -> None:
        """A value that rose or fell by the factor of the table within the stay (急性肾损伤)."""
        values: dict[str, list[tuple[float, Evidence]]] = defaultdict(list)
        factors: dict[str, float] = {}
        for entry in self._rows:
            for condition, signal in self._tables.signals(entry.name or ""):
                if signal.operator == "rise" and entry.kind in signal.kinds:
                    number = _number(entry.value, signal.operator)
                    if number is not None and plain_unit(entry.unit or "") == signal.unit:
                        values[condition.id].append((number, entry))
                        factors[condition.id] = float(signal.value)
        for condition_id, found in values.items():
            lowest, highest = min(found, key=lambda one: one[0]), max(found, key=lambda one: one[0])
            if lowest[0] > 0 and highest[0] >= factors[condition_id] * lowest[0]:
                shown = f"{_result(lowest[1])}、{_result(highest[1])}"
                self.proven[condition_id].append(Sign("finding", shown))

    def unlisted(self, codes: Sequence[str]) -> Iterator[tuple[Condition, str, str]]:
        """Conditions both found and treated of which no code speaks: condition, findings, treatments."""
        for condition in self._tables.conditions:
            signs = self.proven.get(condition.id)
            if not signs:
                continue
            findings = _joined(signs, "finding")
            treatments = _joined(signs, "treatment")
            known = (*condition.diagnoses, *condition.explained_by)
            if findings and treatments and not any(code.startswith(known) for code in codes):
                yield condition, findings, treatments


def signs(facts: Facts) -> Signs:
    """The signs of a list, kept with its facts."""
    found: Signs | None = vars(facts).get("signs")
    if found is None:
        found = vars(facts)["signs"] = Signs(facts)
    return found


MOST_SHOWN = 3


def _joined(found: Sequence[Sign], role: Role) -> str:
    texts = list(dict.fromkeys(sign.shown for sign in found if sign.role == role))
    return "、".join(texts[:MOST_SHOWN])


def _result(entry: Evidence) -> str:
    value = entry.value or ""
    value = value if len(value) <= 30 else value[:30] + "…"
    return f"{entry.name} {value} {entry.unit or ''}".strip()


def _abnormal(signal: Signal, entry: Evidence) -> bool:
    operator = signal.operator
    if operator == "present":
        return True
    if operator == "contains":
        return any(_says(plain(entry.value or ""), plain(word)) for word in signal.value.split("|"))
    if operator not in ("<", ">", ">=") or plain_unit(entry.unit or "") != signal.unit:
        return False
    number = _number(entry.value, operator)
    if number is None:
        return False
    limit = float(signal.value)
    return number < limit if operator == "<" else number > limit or (operator == ">=" and number == limit)


_CLAUSES = re.compile(r"[,.;:。\n]")
_NEGATIONS = re.compile("未|无|非|排除|不考虑|否认|陈旧|既往|阴性")


def _says(text: str, word: str) -> bool:
    """Whether a report says ``word`` in a clause that does not deny it before."""
    for clause in _CLAUSES.split(text):
        before, found, _ = clause.partition(word)
        if found and not _NEGATIONS.search(before):
            return True
    return False


def _number(value: str | None, operator: str) -> float | None:
    """A result as a number; ``<0.5`` only where a small value is what is looked for, ``>100`` a large one."""
    text = plain(value or "").rstrip("↓↑HL")
    if text[:1] == "<":
        text = text[1:] if operator == "<" else ""
    elif text[:1] == ">":
        text = text[1:] if operator in (">", ">=") else ""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
