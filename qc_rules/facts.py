"""What rules know of one list, derived once from what was received; each fact when first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from itertools import chain
from operator import attrgetter
from typing import Any, Generic, TypeVar, overload

from msgspec.structs import astuple

from models.grouping import GroupResult
from models.settlement_list import FIELDS, NODE_ATTRIBUTES, NODE_LABELS
from models.wire import Received
from qc_rules.reference import CodeFacts, CodeReader, Reference

DAYS_PER_YEAR = 365
NEWBORN_DAYS = 28
"""新生儿: up to 28 days after birth (卫医政发〔2011〕84号 附件2)."""

_TCM_KINDS = {"4101": frozenset("34"), "4101A": frozenset("23")}
_NOT_WESTERN = {"4101": frozenset("34"), "4101A": frozenset("2345")}
"""诊断类别 of rows that are no western diagnosis; a missing or wrong value counts as western."""

_NO_DIAGNOSIS_4101A = frozenset("45")
"""诊断类别 of 4101A for 手术操作 and 按病种付费病种."""

TO_WHOLE, MOST_FEN = 3 * 2.0**51, 2.0**50
"""What, added to a number and taken away again, leaves the nearest whole one, and up to which number it does."""

_kind = attrgetter("kind")

Setting = str | int | float | bool
T = TypeVar("T")


class _Lazy(Generic[T]):
    """A fact computed at first use and kept; unlike functools.cached_property without a lock."""

    def __init__(self, compute: Callable[[Facts], T]) -> None:
        self.compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, facts: None, owner: type) -> _Lazy[T]: ...
    @overload
    def __get__(self, facts: Facts, owner: type) -> T: ...
    def __get__(self, facts: Facts | None, owner: type) -> _Lazy[T] | T:
        if facts is None:
            return self
        value = self.compute(facts)
        facts.__dict__[self.name] = value
        return value


def to_fen(yuan: float) -> int:
    """An amount in fen, rounded to the nearest."""
    return round(yuan * 100)


def whole_fen(yuan: float) -> bool:
    """Whether an amount has at most two decimals (a float stands for the nearest such number)."""
    return abs(yuan * 100 - round(yuan * 100)) < max(1e-6, abs(yuan) * 1e-13)


class Facts:
    """One list and what follows from it. A fact that the list does not allow to know is None.

    Diagnosis and procedure facts are parallel to the rows: ``diagnosis_codes[i]`` belongs to
    ``list.diagnoses[i]`` (None without a code). Indices: ``western`` rows, ``principal``, ``others``,
    ``main`` procedure. Amounts in fen, durations in minutes, ages in years or days.
    """

    def __init__(
        self,
        received: Received,
        codes: CodeReader,
        reference: Reference,
        settings: Mapping[str, Setting],
        group: GroupResult | None = None,
    ) -> None:
        self.received = received
        self.list = received.list
        self.stay = received.list.stay
        self.interface = received.interface
        self.codes = codes
        self.reference = reference
        self.settings = settings
        self.group = group
        self.malformed: frozenset[str] = (
            frozenset([defect.official for defect in received.defects if not defect.usable])
            if received.defects
            else frozenset()
        )
        """Official paths of values that are there but could not be read: present, but unknown."""
        self.read_by: object = None
        self.rows_seen: tuple[tuple[Any, ...], ...] = ()
        """What ``read_by``, a part of the rules' program, knows of the rows of diseinfo from lists before."""
        self.western_categories: Sequence[str] | None = None
        """The category of each row, empty without a code, where all rows are known to be western."""

    def is_missing(self, node: str, index: int, wire: str, value: object) -> bool:
        """Whether nothing at all was sent for a field (a value that cannot be read was sent)."""
        if value is not None and not (isinstance(value, str) and (not value or value.isspace())):
            return False
        if not self.malformed:
            return True
        place = node if index < 0 else f"{node}[{index}]"
        return not self.malformed.intersection((f"{place}.{wire}", place, node))

    # --- diagnoses and procedures

    def know_diagnoses(
        self,
        codes: Sequence[CodeFacts | None],
        western: Sequence[int],
        categories: Sequence[str],
        may_repeat: bool,
    ) -> None:
        """Keep ``diagnosis_codes``, ``western`` and the category of each row as known from rows met before.

        Without ``may_repeat`` no two rows have the same code.
        """
        known = self.__dict__
        known["diagnosis_codes"], known["western"] = codes, western
        if len(western) == len(codes):
            self.western_categories = categories
        if not may_repeat:
            known["repeats_a_diagnosis"] = False

    @_Lazy
    def diagnosis_codes(self) -> Sequence[CodeFacts | None]:
        """The code of each row of diseinfo."""
        return self.codes.diagnoses([row.code for row in self.list.diagnoses])

    @_Lazy
    def procedure_codes(self) -> Sequence[CodeFacts | None]:
        """The code of each row of oprninfo."""
        read = self.codes.procedure
        return [read(row.code) for row in self.list.procedures]

    @_Lazy
    def outpatient_code(self) -> CodeFacts | None:
        """The code of the 门（急）诊 western diagnosis."""
        return self.codes.diagnosis(self.stay.outpatient_diagnosis_code)

    @_Lazy
    def repeats_a_diagnosis(self) -> bool:
        """Whether two rows of diseinfo have the same code."""
        codes = [code.code for code in self.diagnosis_codes if code]
        return len(set(codes)) < len(codes)

    @_Lazy
    def western(self) -> Sequence[int]:
        """The rows of diseinfo that are western diagnoses (西医诊断)."""
        rows, others = self.list.diagnoses, _NOT_WESTERN[self.interface]
        if others.isdisjoint(map(_kind, rows)):
            return range(len(rows))
        return [index for index, row in enumerate(rows) if row.kind not in others]

    @_Lazy
    def tcm(self) -> Sequence[int]:
        """The rows of diseinfo that are 中医 diagnoses (主病 and 主证)."""
        kinds = _TCM_KINDS[self.interface]
        return [index for index, row in enumerate(self.list.diagnoses) if row.kind in kinds]

    @_Lazy
    def principal(self) -> int | None:
        """The row of the principal diagnosis: flagged, else the only one of its kind, else the first."""
        rows = self.list.diagnoses
        for index in self.western:
            if rows[index].principal_flag == "1":
                return index
        if self.interface == "4101":
            named = [index for index in self.western if rows[index].kind == "1"]
            if len(named) == 1:
                return named[0]
        return self.western[0] if self.western else None

    @_Lazy
    def others(self) -> Sequence[int]:
        """The western diagnoses that are not the principal one."""
        principal = self.principal
        return [index for index in self.western if index != principal]

    @_Lazy
    def principal_code(self) -> CodeFacts | None:
        """The code of the principal diagnosis."""
        return None if self.principal is None else self.diagnosis_codes[self.principal]

    @_Lazy
    def main(self) -> int | None:
        """The row of the main procedure: 手术操作类别 1, else the first."""
        for index, row in enumerate(self.list.procedures):
            if row.kind == "1":
                return index
        return 0 if self.list.procedures else None

    @_Lazy
    def main_code(self) -> CodeFacts | None:
        """The code of the main procedure."""
        return None if self.main is None else self.procedure_codes[self.main]

    @_Lazy
    def categories(self) -> frozenset[str]:
        """The three-character categories of the western diagnoses."""
        if self.western_categories is not None:
            return frozenset(filter(None, self.western_categories))
        codes = self.diagnosis_codes
        return frozenset([code.category for index in self.western if (code := codes[index])])

    def diagnoses_starting(self, prefixes: tuple[str, ...]) -> list[int]:
        """The western rows whose code begins with one of ``prefixes``, in row order."""
        codes = self.diagnosis_codes
        return [i for i in self.western if (code := codes[i]) and code.code.startswith(prefixes)]

    def procedures_starting(self, prefixes: tuple[str, ...]) -> list[int]:
        """The rows of oprninfo whose code begins with one of ``prefixes``, in row order."""
        return [i for i, code in enumerate(self.procedure_codes) if code and code.code.startswith(prefixes)]

    # --- patient and stay

    @_Lazy
    def is_4101a(self) -> bool:
        """Whether the list came by interface 4101A."""
        return self.interface == "4101A"

    @_Lazy
    def inpatient(self) -> bool:
        """Whether this is a list of a hospital stay, not one of 门诊慢特病 alone."""
        found, stay = self.list, self.stay
        if not (found.chronic_diagnoses or stay.chronic_visit_date or stay.chronic_department):
            return True
        return bool(found.diagnoses or stay.admission_time or stay.discharge_time)

    @_Lazy
    def discharge_diagnoses(self) -> Sequence[int]:
        """The rows of diseinfo that are diagnoses (4101A has kinds that are none)."""
        if self.interface == "4101":
            return range(len(self.list.diagnoses))
        return [index for index, row in enumerate(self.list.diagnoses) if row.kind not in _NO_DIAGNOSIS_4101A]

    @_Lazy
    def admitted_on(self) -> date | None:
        """入院日期."""
        moment = self.stay.admission_time
        return moment.date() if moment else None

    @_Lazy
    def discharged_on(self) -> date | None:
        """出院日期."""
        moment = self.stay.discharge_time
        return moment.date() if moment else None

    @_Lazy
    def days_since_birth(self) -> int | None:
        """入院时日龄 by the two dates, in days; negative when born after admission."""
        if self.stay.birth_date is None or self.admitted_on is None:
            return None
        return (self.admitted_on - self.stay.birth_date).days

    @_Lazy
    def years_since_birth(self) -> int | None:
        """入院时周岁 by the two dates, in whole years."""
        born, admitted = self.stay.birth_date, self.admitted_on
        if born is None or admitted is None:
            return None
        return admitted.year - born.year - ((admitted.month, admitted.day) < (born.month, born.day))

    @_Lazy
    def sent_days(self) -> int | None:
        """（年龄不足1周岁）年龄 as sent, in days: nwb_age, else age_days."""
        days = self.stay.newborn_age_days
        return self.stay.age_days if days is None else days

    @_Lazy
    def age_years(self) -> float | None:
        """年龄, years: as sent, 0 when only days were sent, else from birth date and admission."""
        if self.stay.age is not None:
            return self.stay.age
        if self.sent_days is not None:
            return self.sent_days // DAYS_PER_YEAR
        return self.years_since_birth

    @_Lazy
    def age_days(self) -> int | None:
        """日龄, days: as sent, else from birth date and admission; from one year on at least years × 365."""
        # Systems send 0 days beside the age of an adult.
        if self.stay.age is not None and self.stay.age >= 1:
            return int(self.stay.age * DAYS_PER_YEAR)
        return self.days_since_birth if self.sent_days is None else self.sent_days

    @_Lazy
    def newborn(self) -> bool | None:
        """Whether the patient is a 新生儿 (at most 28 days old at admission)."""
        return None if self.age_days is None else 0 <= self.age_days <= NEWBORN_DAYS

    @_Lazy
    def stay_days(self) -> int | None:
        """住院天数 by the dates: discharge less admission; a same-day stay by the setting (0 or 1)."""
        if self.admitted_on is None or self.discharged_on is None:
            return None
        days = (self.discharged_on - self.admitted_on).days
        return days or int(self.settings["same_day_stay"])

    @_Lazy
    def stay_minutes(self) -> int | None:
        """From admission to discharge, in minutes."""
        return minutes_between(self.stay.admission_time, self.stay.discharge_time)

    @_Lazy
    def nursing_days(self) -> int | None:
        """Days of the four levels of nursing together; None when none of them was sent."""
        stay = self.stay
        sent = [
            days
            for days in (
                stay.special_nursing_days,
                stay.first_level_nursing_days,
                stay.second_level_nursing_days,
                stay.third_level_nursing_days,
            )
            if days is not None
        ]
        return sum(sent) if sent else None

    @_Lazy
    def icu_minutes(self) -> int | None:
        """Minutes in intensive care by the times; None when a row lacks one, 0 without rows."""
        total = 0
        for row in self.list.intensive_care:
            minutes = minutes_between(row.entered_at, row.left_at)
            if minutes is None:
                return None
            total += minutes
        return total

    @_Lazy
    def ventilation_minutes(self) -> int | None:
        """呼吸机使用时长, minutes."""
        return None if self.stay.ventilation is None else int(self.stay.ventilation)

    # --- money

    @_Lazy
    def charge_columns(self) -> Sequence[tuple[Any, ...]]:
        """The columns of iteminfo: category, then amount, class A, class B, own pay and other, yuan."""
        return list(zip(*map(astuple, self.list.charges), strict=True)) or [()] * 6

    @_Lazy
    def sound_charges(self) -> Mapping[str, float] | None:
        """Charges by category (01 … 14), yuan, where all are known, none below 0 or with a part of a fen, each
        the sum of its parts, and no category stands twice; else None."""
        found: dict[str, float] = {}
        for row in self.list.charges:
            category, amount = row.category, row.amount_yuan
            if category is None or amount is None:
                return None
            a, b, own, other = row.class_a_yuan, row.class_b_yuan, row.own_pay_yuan, row.other_yuan
            # Rounded without a call; many parts are 0: that is quicker told than rounded. Class A is what is left.
            fen = amount * 100 + TO_WHOLE - TO_WHOLE
            b_fen = b * 100 + TO_WHOLE - TO_WHOLE if b else 0.0
            own_fen = own * 100 + TO_WHOLE - TO_WHOLE if own else 0.0
            other_fen = other * 100 + TO_WHOLE - TO_WHOLE if other else 0.0
            a_fen = fen - b_fen - own_fen - other_fen
            if a_fen < 0 or b_fen < 0 or own_fen < 0 or other_fen < 0:
                return None
            if fen / 100 != amount or fen > MOST_FEN or a_fen / 100 != a:
                return None
            if b_fen / 100 != b or own_fen / 100 != own or other_fen / 100 != other:
                return None
            found[category] = amount
        return found if len(found) == len(self.list.charges) else None

    @_Lazy
    def least_charge(self) -> float:
        """The smallest amount in the rows of iteminfo that is not 0, yuan; 0 without one."""
        return min(filter(None, chain.from_iterable(self.charge_columns[1:])), default=0.0)

    @_Lazy
    def charges_fen(self) -> int | None:
        """Sum of the charges, fen; None without charges or when one has no amount."""
        amounts = self.charge_columns[1]
        if not amounts or None in amounts:
            return None
        total: int = sum([round(amount * 100) for amount in amounts if amount is not None])
        return total

    @_Lazy
    def total_fen(self) -> int | None:
        """医疗费总额, fen: as sent, else the sum of the charges."""
        sent = self.stay.total_fee_yuan
        return self.charges_fen if sent is None else to_fen(sent)

    @_Lazy
    def funds_fen(self) -> int:
        """基金支付合计, fen."""
        return sum(
            [to_fen(row.amount_yuan) for row in self.list.fund_payments if row.amount_yuan is not None]
        )

    @_Lazy
    def charge_yuan(self) -> Mapping[str, float]:
        """Charges by category code (01 … 14), yuan; rows of the same category together."""
        if self.sound_charges is not None:
            return self.sound_charges
        categories, amounts = self.charge_columns[:2]
        found = dict(zip(categories, amounts, strict=True))
        if len(found) == len(categories) and None not in found and None not in amounts:
            return found
        found = {}
        for category, amount in zip(categories, amounts, strict=True):
            if category is not None and amount is not None:
                found[category] = found.get(category, 0.0) + amount
        return found

    # --- places

    def rows(self, node: str) -> Sequence[Any]:
        """The rows of a node by wire name; setlinfo as its single record."""
        value = getattr(self.list, NODE_ATTRIBUTES[node])
        return (value,) if node == "setlinfo" else value

    def value_at(self, node: str, index: int, wire: str) -> object:
        """The value of a field (wire name), as text when it was sent but could not be read."""
        rows = self.rows(node)
        value = (
            getattr(rows[max(index, 0)], FIELDS[node][wire].attribute) if max(index, 0) < len(rows) else None
        )
        if value is None and self.malformed:
            official = f"{place(node, index)}.{wire}"
            for defect in self.received.defects:
                if defect.official == official:
                    return defect.shown
        return value


DERIVED: Mapping[str, str] = {
    name: (fact.__doc__ or "").strip() for name, fact in vars(Facts).items() if isinstance(fact, _Lazy)
}
"""Every fact that a rule can name as ``fact.NAME``, with what it is."""


def rows_of(node: str) -> Callable[[Facts], Sequence[Any]]:
    """How to read the rows of a node, as ``Facts.rows`` gives them."""
    if node == "setlinfo":
        return lambda facts: (facts.stay,)
    return attrgetter(f"list.{NODE_ATTRIBUTES[node]}")


def minutes_between(start: datetime | None, end: datetime | None) -> int | None:
    """Whole minutes from ``start`` to ``end``; None when one is not known."""
    if start is None or end is None:
        return None
    return int((end - start).total_seconds() // 60)


def place(node: str, index: int = -1, wire: str = "") -> str:
    """The official path of a field, row or node: ``diseinfo[2].diag_code``."""
    row = node if index < 0 else f"{node}[{index}]"
    return f"{row}.{wire}" if wire else row


def label(node: str, wire: str = "") -> str:
    """The Chinese label of a field or node."""
    return FIELDS[node][wire].label if wire else NODE_LABELS[node]


def as_text(value: object) -> str:
    """A value as a message shows it."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value if len(value) <= 60 else value[:60] + "…"
    if isinstance(value, bool):
        return "是" if value else "否"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, date):
        return value.isoformat()
    if hasattr(value, "wire"):
        return str(value.wire())
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    if isinstance(value, tuple | list | frozenset):
        return "、".join(map(as_text, value))
    return str(value)
