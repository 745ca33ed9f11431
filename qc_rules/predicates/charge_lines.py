"""Predicates over charge lines: family CHG, and what FEE, VENT and PROC can say once lines are there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, timedelta
from functools import lru_cache
from itertools import pairwise

from qc_rules.charge_tables import ChargedProcedure, Exclusion, Frequency, Words, plain
from qc_rules.code_pairs import pairs_of, shown_procedures
from qc_rules.facts import Facts, minutes_between, to_fen
from qc_rules.ledger import Line, ledger
from qc_rules.predicates import Hit, predicate

MINUTES_PER_HOUR = 60
OPERATIVE = frozenset({"手术", "介入治疗"})
LINES = ("feedetail",)
GOODS = frozenset({"08", "09", "10", "11"})
"""收费类别 of materials and medicines: a stent is not its operation."""
UNNAMED_OPERATIONS = frozenset({"手术费", "手术治疗费"})
"""Charges that do not say of which operation."""
NAME, TIME, AMOUNT, QUANTITY = "medins_list_name", "fee_ocur_time", "det_item_fee_sumamt", "cnt"


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


# --- lines against the sums of the list


@predicate(needs=LINES)
def lines_differ_from_items(facts: Facts) -> Iterator[Hit]:
    """The lines of a category do not add up to its row in iteminfo; silent where an amount is not known."""
    rows = facts.list.charges
    sums: dict[str, int] = defaultdict(int)
    for line in ledger(facts).lines:
        if line.fen is None or not line.row.category:
            return
        sums[line.row.category] += line.fen
    if not rows or None in facts.charge_columns[1]:
        return
    sent: dict[str, int] = defaultdict(int)
    for row in rows:
        if row.category is None or row.amount_yuan is None:
            return
        sent[row.category] += to_fen(row.amount_yuan)
    for index, row in enumerate(rows):
        category = row.category or ""
        if category in sent and sums.get(category, 0) != sent[category]:
            values = {"category": category, "lines": sums.get(category, 0), "items": sent.pop(category)}
            yield Hit("iteminfo", index, "amt", values=values)
    for category in sorted(sums.keys() - {row.category for row in rows}):
        if sums[category]:
            values = {"category": category, "lines": sums[category], "items": 0}
            yield Hit("iteminfo", values=values)


@predicate(needs=LINES)
def anaesthesia_charge_disagrees(facts: Facts, *, local_ways: tuple[str, ...]) -> Iterator[Hit]:
    """Anaesthesia on the list without its charge, or the charge without any anaesthesia on the list."""
    line = ledger(facts).charged("anaesthesia")
    ways = [(index, row.anaesthesia) for index, row in enumerate(facts.list.procedures) if row.anaesthesia]
    if line is not None and not ways:
        what = f"收了“{line.name}”，手术操作却都没有填麻醉方式"
        yield Hit("feedetail", line.index, NAME, values={"what": what})
    if line is not None or not ledger(facts).whole:
        return
    for index, way in ways:
        if way and not way.startswith(local_ways):
            name = facts.list.procedures[index].name or ""
            yield Hit(
                "oprninfo", index, "anst_way", values={"what": f"“{name}”填了麻醉方式，收费明细中没有麻醉费"}
            )
            return


@predicate(needs=LINES)
def surgery_sum_below_lines(facts: Facts, *, category: str) -> Iterator[Hit]:
    """The surgery fee in iteminfo is less than the lines of operations and anaesthesia under it."""
    amount = facts.charge_yuan.get(category)
    book = ledger(facts)
    if amount is None or not book.clear:
        return
    lines = {line.index: line for name in ("anaesthesia", "operation") for line in book.of(name)}
    parts = sum(line.fen or 0 for line in lines.values() if line.row.category == category)
    if to_fen(amount) < parts:
        index = next(i for i, row in enumerate(facts.list.charges) if row.category == category)
        yield Hit("iteminfo", index, "amt", values={"parts": parts})


@predicate(needs=LINES)
def blood_charge_disagrees(facts: Facts) -> Iterator[Hit]:
    """Blood charged but not on the list, or on the list but not charged."""
    line = ledger(facts).charged("blood")
    stay = facts.stay
    listed = bool(facts.list.transfusions or stay.blood_kind or stay.blood_amount)
    if line is not None and not listed:
        yield Hit(
            "feedetail", line.index, NAME, values={"what": f"收了“{line.name}”，清单没有输血品种和输血量"}
        )
    elif line is None and listed and ledger(facts).whole:
        node = "setlinfo" if stay.blood_kind or stay.blood_amount else "bldinfo"
        place = Hit(node, -1 if node == "setlinfo" else 0, "bld_cat" if stay.blood_kind else "bld_amt")
        values = {"what": "清单填了输血信息，收费明细中没有血费"}
        yield Hit(place.node, place.index, place.wire, values=values)


@predicate(needs=LINES)
def ventilator_charge_without_hours(facts: Facts) -> Iterator[Hit]:
    """The ventilator is charged, but the list gives no ventilation time."""
    line = ledger(facts).charged("ventilator")
    if line is not None and not facts.ventilation_minutes and not _malformed(facts, "vent_used_dura"):
        yield Hit("feedetail", line.index, NAME)


def _malformed(facts: Facts, wire: str) -> bool:
    return f"setlinfo.{wire}" in facts.malformed


@predicate(needs=LINES)
def charge_without_procedure(facts: Facts, *, pairs: tuple[str, ...]) -> Iterator[Hit]:
    """An item is charged, but no procedure of its kind is coded. ``pairs``: concept:prefix,prefix."""
    for concepts, prefixes in pairs_of(pairs):
        if facts.procedures_starting(prefixes):
            continue
        for concept in concepts:
            line = ledger(facts).charged(concept)
            if line is not None:
                yield Hit("feedetail", line.index, NAME, values={"expected": "、".join(prefixes)})


@predicate(needs=LINES)
def ventilator_hours_against_codes(
    facts: Facts, *, limit_hours: int, short: tuple[str, ...], long: tuple[str, ...]
) -> Iterator[Hit]:
    """The ventilator hours charged ask for the code of the other side of ``limit_hours``."""
    hours = ledger(facts).quantity("ventilator")
    line = ledger(facts).charged("ventilator")
    if line is None or hours < 1 or not ledger(facts).counted("ventilator"):
        return
    expected = long if hours >= limit_hours else short
    if not facts.procedures_starting(expected):
        values = {"hours": _number(hours), "expected": "、".join(expected)}
        yield Hit("feedetail", line.index, QUANTITY, values=values)


@predicate(needs=LINES)
def ventilator_hours_differ(facts: Facts, *, tolerance_hours: int) -> Iterator[Hit]:
    """The ventilator hours charged are not those of the list."""
    line, minutes = ledger(facts).charged("ventilator"), facts.ventilation_minutes
    if line is None or not minutes or not ledger(facts).counted("ventilator"):
        return
    hours = ledger(facts).quantity("ventilator")
    if abs(hours - minutes / MINUTES_PER_HOUR) > tolerance_hours:
        yield Hit("setlinfo", wire="vent_used_dura", values={"hours": _number(hours)})


# --- procedures


@lru_cache(maxsize=4096)
def _fits(words: Words, name: str) -> bool:
    return words.fit(plain(name))


def _belongs(facts: Facts, index: int) -> ChargedProcedure | None:
    """The row of the table for a coded procedure."""
    code = facts.procedure_codes[index]
    if code is None:
        return None
    return next(
        (one for one in facts.reference.charges.procedures if code.code.startswith(one.procedures)), None
    )


@predicate(needs=LINES)
def procedure_without_charge(facts: Facts) -> Iterator[Hit]:
    """A procedure is coded, and the charge lines hold neither its own item nor, for an operation, any fee."""
    if not ledger(facts).whole:
        return
    book = ledger(facts)
    lines = [line for line in _charged(book.lines) if line.row.category not in GOODS]
    operations = book.charged("operation") is not None
    unnamed = any(line.name in UNNAMED_OPERATIONS for line in lines)
    for index, code in enumerate(facts.procedure_codes):
        known = _belongs(facts, index)
        if known is not None:
            charged = unnamed or any(_fits(known.words, line.name) for line in lines)
            what = f"没有“{known.name}”的收费"
        else:
            charged = operations or code is None or code.kind not in OPERATIVE
            what = "没有任何手术费"
        if not charged:
            yield Hit("oprninfo", index, "oprn_oprt_code", values={"what": what})


@predicate(needs=LINES)
def operation_charge_without_code(facts: Facts, *, categories: tuple[str, ...]) -> Iterator[Hit]:
    """The charge of a named operation, of which no coded procedure is."""
    seen: set[str] = set()
    for line in _charged(ledger(facts).lines):
        if line.row.category not in categories or "anaesthesia" in line.concepts:
            continue
        for one in facts.reference.charges.procedures:
            if one.id in seen or not _fits(one.words, line.name):
                continue
            if not facts.procedures_starting(one.procedures):
                seen.add(one.id)
                values = {"operation": one.name, "expected": "、".join(one.procedures)}
                values["coded"] = shown_procedures(facts, range(len(facts.list.procedures))) or "没有手术操作"
                yield Hit("feedetail", line.index, NAME, values=values)


@predicate(needs=LINES)
def implant_without_identifier(facts: Facts, *, least_yuan: float) -> Iterator[Hit]:
    """An implant is charged without its UDI."""
    for line in ledger(facts).of("implant"):
        cheap = line.fen is not None and line.fen < least_yuan * 100
        missing = facts.is_missing("feedetail", line.index, "udi", line.row.device_identifier)
        if line.quantity > 0 and not cheap and missing:
            yield Hit("feedetail", line.index, "udi", values={"name": line.name})


@predicate(needs=LINES)
def implant_without_operation(facts: Facts, *, least_yuan: float) -> Iterator[Hit]:
    """An implant is charged, but no operation is coded at all."""
    if any(code and code.kind in (*OPERATIVE, "治疗性操作") for code in facts.procedure_codes):
        return
    line = ledger(facts).charged("implant")
    if line is not None and (line.fen is None or line.fen >= least_yuan * 100):
        yield Hit("feedetail", line.index, NAME)


# --- the lines themselves


@predicate(needs=LINES)
def line_amount_differs(facts: Facts, *, tolerance_fen: int) -> Iterator[Hit]:
    """The amount of a line is not quantity times unit price."""
    for line in ledger(facts).lines:
        row = line.row
        if row.quantity is None or row.price_yuan is None or line.fen is None:
            continue
        product = row.quantity * row.price_yuan * 100
        if abs(product - line.fen) > tolerance_fen + 0.5:
            values = {"name": line.name, "product": round(product)}
            yield Hit("feedetail", line.index, AMOUNT, values=values)


@predicate(needs=LINES)
def repeated_serial_numbers(facts: Facts) -> Iterator[Hit]:
    """A line has the serial number of an earlier one."""
    first: dict[str, int] = {}
    for line in ledger(facts).lines:
        number = line.row.serial_number
        if number and first.setdefault(number, line.index) != line.index:
            yield Hit("feedetail", line.index, "feedetl_sn", values={"first": first[number] + 1})


@predicate(needs=LINES)
def repeated_lines(facts: Facts) -> Iterator[Hit]:
    """The same item, time, quantity, price and order twice, and not refunded."""
    groups: dict[tuple[object, ...], list[Line]] = defaultdict(list)
    refunds: dict[tuple[str, float, float | None], int] = defaultdict(int)
    book = ledger(facts)
    if not book.clear:
        return
    ordered = {line.name for line in book.lines if line.row.order_number}
    for line in book.lines:
        row = line.row
        if line.quantity > 0 and (row.price_yuan is None or (line.name in ordered and not row.order_number)):
            continue  # what may tell it from the other is not known
        if line.quantity < 0:
            refunds[line.name, -line.quantity, row.price_yuan] += 1
        elif line.quantity > 0 and row.charged_at is not None and line.name:
            key = (line.name, row.charged_at, line.quantity, row.price_yuan, row.order_number)
            groups[key].append(line)
    for lines in groups.values():
        if len(lines) < 2:
            continue
        refund = (lines[0].name, lines[0].quantity, lines[0].row.price_yuan)
        for line in lines[1:]:
            if refunds[refund]:
                refunds[refund] -= 1
            else:
                values = {"name": line.name, "first": lines[0].index + 1}
                yield Hit("feedetail", line.index, NAME, values=values)


@predicate(needs=LINES)
def refund_above_charge(facts: Facts) -> Iterator[Hit]:
    """More of an item was refunded than charged; silent where a line does not say what and how much."""
    if not all(line.row.item_name and line.row.quantity is not None for line in ledger(facts).lines):
        return
    sums: dict[str, float] = defaultdict(float)
    last: dict[str, Line] = {}
    for line in ledger(facts).lines:
        sums[line.name] += line.quantity
        if line.quantity < 0:
            last[line.name] = line
    for name, line in last.items():
        if name and sums[name] < 0:
            values = {"name": name, "net": _number(-sums[name])}
            yield Hit("feedetail", line.index, QUANTITY, values=values)


# --- how often


def _frequencies(facts: Facts, per: str) -> Iterator[Frequency]:
    return (one for one in facts.reference.charges.frequencies if one.per == per)


@predicate(needs=LINES)
def charged_above_daily_limit(facts: Facts) -> Iterator[Hit]:
    """More of an item on one day than the frequency table allows; the first such day of each limit."""
    for limit in _frequencies(facts, "day"):
        for day, lines in sorted(ledger(facts).by_day(limit.concept).items()):
            quantity = sum(line.quantity for line in lines)
            if quantity > limit.most + limit.spare:
                yield _limited(limit, lines, quantity, {"day": day.isoformat()})
                break


@predicate(needs=LINES)
def charged_above_stay(facts: Facts) -> Iterator[Hit]:
    """More days of an item than days of stay."""
    days = facts.stay_days
    if days is None or days < 0:
        return
    for limit in _frequencies(facts, "stay_day"):
        allowed = limit.most * max(days, 1) + limit.spare
        quantity = ledger(facts).quantity(limit.concept)
        if quantity > allowed:
            yield _limited(limit, ledger(facts).of(limit.concept), quantity, {"allowed": _number(allowed)})


@predicate(needs=LINES)
def charged_above_stay_limit(facts: Facts) -> Iterator[Hit]:
    """More of an item in one stay than the frequency table allows."""
    for limit in _frequencies(facts, "stay"):
        quantity = ledger(facts).quantity(limit.concept)
        if quantity > limit.most + limit.spare:
            yield _limited(limit, ledger(facts).of(limit.concept), quantity, {})


def _limited(limit: Frequency, lines: Sequence[Line], quantity: float, values: dict[str, str]) -> Hit:
    last = next(line for line in reversed(lines) if line.quantity > 0)
    found = {"limit": limit.name, "note": limit.note, "name": last.name, "quantity": _number(quantity)}
    return Hit("feedetail", last.index, QUANTITY, values=found | {"most": _number(limit.most)} | values)


@predicate(needs=LINES)
def repeated_within_window(facts: Facts) -> Iterator[Hit]:
    """The same item again within the hours of the frequency table."""
    for limit in _frequencies(facts, "window"):
        of_name: dict[str, list[Line]] = defaultdict(list)
        for line in ledger(facts).of(limit.concept):
            if line.row.charged_at is not None:
                of_name[line.name].append(line)
        for name, lines in of_name.items():
            kept = [line for line in lines if line.quantity > 0]
            # A refund takes one of them back; which one is not said.
            if sum(line.quantity for line in lines) <= limit.most:
                continue
            kept.sort(key=lambda line: str(line.row.charged_at))
            for before, line in pairwise(kept):
                minutes = minutes_between(before.row.charged_at, line.row.charged_at)
                if minutes is not None and minutes < limit.hours * MINUTES_PER_HOUR:
                    values = {
                        "limit": limit.name,
                        "note": limit.note,
                        "name": name,
                        "first": before.index + 1,
                    }
                    yield Hit("feedetail", line.index, TIME, values=values)
                    break


@predicate(needs=LINES)
def excluded_on_one_day(facts: Facts) -> Iterator[Hit]:
    """Two items on one day that exclude each other; the first such day of each pair."""
    tables, book = facts.reference.charges, ledger(facts)
    for pair in tables.exclusions:
        first, second = book.by_day(pair.first), book.by_day(pair.second)
        for day in sorted(first.keys() & second.keys()):
            found = _excluding(facts, first[day], second[day], pair)
            if found is not None:
                one, other = found
                values = {"one": one.name, "other": other.name, "day": day.isoformat(), "note": pair.note}
                yield Hit("feedetail", other.index, NAME, values=values)
                break


def _excluding(
    facts: Facts, first: Sequence[Line], second: Sequence[Line], pair: Exclusion
) -> tuple[Line, Line] | None:
    """A line of each side that exclude each other, refunded ones left out."""
    part = facts.reference.charges.part
    ones = {part(pair.first, line.name) if pair.same_part else "": line for line in _charged(first)}
    for line in _charged(second):
        found = ones.get(part(pair.second, line.name) if pair.same_part else "")
        if found is not None:
            return found, line
    return None


def _charged(lines: Iterable[Line]) -> list[Line]:
    """The first charged line of each item that was not refunded altogether."""
    sums: dict[str, float] = defaultdict(float)
    first: dict[str, Line] = {}
    for line in lines:
        sums[line.name] += line.quantity
        if line.quantity > 0:
            first.setdefault(line.name, line)
    return [line for name, line in first.items() if sums[name] > 0]


# --- when, and by whose order


@predicate(needs=LINES)
def charged_after_discharge(facts: Facts, *, grace_days: int) -> Iterator[Hit]:
    """Charged more than ``grace_days`` after the day of discharge; one finding an item."""
    last = facts.discharged_on
    if last is not None:
        yield from _outside(facts, lambda day: (day - last) > timedelta(days=grace_days))


@predicate(needs=LINES)
def charged_before_admission(facts: Facts, *, grace_days: int) -> Iterator[Hit]:
    """Charged more than ``grace_days`` before the day of admission; one finding an item."""
    first = facts.admitted_on
    if first is not None:
        yield from _outside(facts, lambda day: (first - day) > timedelta(days=grace_days))


def _outside(facts: Facts, outside: Callable[[date], bool]) -> Iterator[Hit]:
    lines = [line for line in ledger(facts).lines if line.day is not None and outside(line.day)]
    for line in _charged(lines):
        yield Hit("feedetail", line.index, TIME, values={"name": line.name})


@predicate(needs=LINES)
def charge_without_order(facts: Facts, *, categories: tuple[str, ...]) -> Iterator[Hit]:
    """A line of an ordered category whose order is not among the orders sent; one finding an item."""
    orders = {row.order_number for row in facts.list.evidence if row.kind == "order" and row.order_number}
    if not orders:
        return
    seen: set[str] = set()
    for line in ledger(facts).lines:
        if line.quantity <= 0 or line.row.category not in categories or line.name in seen:
            continue
        if line.row.order_number not in orders:
            seen.add(line.name)
            number = line.row.order_number
            what = f"医嘱号 {number} 不在医嘱中" if number else "没有医嘱号"
            yield Hit("feedetail", line.index, "rx_drord_no", values={"name": line.name, "what": what})


@lru_cache(maxsize=64)
def _words(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(plain, texts))


@predicate(needs=LINES)
def order_without_charge(facts: Facts, *, free: tuple[str, ...]) -> Iterator[Hit]:
    """An order of which no line was charged; names with one of the words ``free`` are not charged for."""
    numbers = {line.row.order_number for line in ledger(facts).lines if line.row.order_number}
    if not numbers:
        return
    words = _words(free)
    for index, row in enumerate(facts.list.evidence):
        if row.kind != "order" or not row.order_number or row.order_number in numbers:
            continue
        name = plain(row.name or "")
        if name and not any(word in name for word in words):
            yield Hit("evidence", index, "order_no", values={"name": row.name or ""})


@predicate(needs=LINES)
def intensive_care_charge_disagrees(facts: Facts, *, tolerance_hours: int) -> Iterator[Hit]:
    """Intensive care charged but not on the list, on the list but not charged, or for more hours."""
    line, rows = ledger(facts).charged("icu_care"), facts.list.intensive_care
    if line is not None and not rows:
        yield Hit("feedetail", line.index, NAME, values={"what": f"收了“{line.name}”，清单没有重症监护信息"})
    elif line is None and rows and ledger(facts).whole:
        yield Hit("icuinfo", 0, "", values={"what": "清单有重症监护信息，收费明细中没有重症监护费"})
    elif line is not None and facts.icu_minutes is not None:
        hours = ledger(facts).quantity("icu_care")
        listed = facts.icu_minutes / MINUTES_PER_HOUR
        if hours > listed + tolerance_hours:
            what = f"重症监护收费 {_number(hours)} 小时，清单的进出时间只有 {_number(listed)} 小时"
            yield Hit("feedetail", line.index, QUANTITY, values={"what": what})
