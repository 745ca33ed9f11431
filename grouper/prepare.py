"""Bring the codes of a case to the edition that the scheme is written in, and its numbers to units."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from coding.library import CodeLibrary, System, normalize_code
from models.grouping import Case, PreparedCode
from models.pack import PackError

DAYS_A_YEAR = 365
"""For the age in days of patients of one year and more, whose days the list does not give."""
GREY = "是灰码，不得用于结算清单"
OWN_EDITIONS = ("", "insurance-2.0", "医保版2.0", "医保版 2.0")
"""How a case may name 医保版 2.0, which needs no conversion."""
MAX_REMEMBERED = 100_000
"""Codes of one edition that are remembered: more than both code books together hold."""
MAX_CODE_LENGTH = 64
MAX_EDITIONS = 16
"""What is longer, or a name of an edition that comes later, is worked out anew each time."""


class PreparedCase(msgspec.Struct, frozen=True, gc=False):
    """A case as the formulas see it: codes of the scheme's edition, each once.

    Ages in years and days, weight in g, stay in days, ICU in hours; NaN where the case does not say.
    ``principal`` and ``main`` are empty where there is none. Sex, discharge way and department are
    codes of the list.
    """

    principal: str
    others: tuple[str, ...] = ()
    main: str = ""
    other_procedures: tuple[str, ...] = ()
    age: float = math.nan
    age_days: float = math.nan
    birth_weight: float = math.nan
    length_of_stay: float = math.nan
    icu_hours: float = math.nan
    sex: str = ""
    discharge_way: str = ""
    department: str = ""

    def number(self, variable: str) -> float:
        """The value of NL, XSRTL, XSRTZ, ZYTS or ICUSC."""
        return float(getattr(self, NUMBER_FIELDS[variable]))

    def text(self, variable: str) -> str:
        """The value of XB, LYFS or CYKB."""
        return str(getattr(self, TEXT_FIELDS[variable]))

    def codes(self, variable: str) -> tuple[str, ...]:
        """The codes of ZYZD, QTZD, ZYSS or QTSS."""
        if variable == "QTZD":
            return self.others
        if variable == "QTSS":
            return self.other_procedures
        code = self.principal if variable == "ZYZD" else self.main
        return (code,) if code else ()


NUMBER_FIELDS = {
    "NL": "age",
    "XSRTL": "age_days",
    "XSRTZ": "birth_weight",
    "ZYTS": "length_of_stay",
    "ICUSC": "icu_hours",
}
TEXT_FIELDS = {"XB": "sex", "LYFS": "discharge_way", "CYKB": "department"}


class Preparation(msgspec.Struct, frozen=True):
    """A prepared case and what became of each received code, in the order received."""

    case: PreparedCase
    diagnoses: tuple[PreparedCode, ...] = ()
    procedures: tuple[PreparedCode, ...] = ()


class Preparer:
    """Prepares case after case, and remembers what becomes of each code: the same ones come back."""

    def __init__(self, library: CodeLibrary | None = None) -> None:
        self.library = library
        self._codes: dict[tuple[System, str], _Codes] = {}

    def prepare(self, case: Case) -> Preparation:
        """Normalise, convert and deduplicate the codes of ``case``.

        Codes of another edition are converted by the library's crosswalk of that edition; a code without
        counterpart is dropped. Nothing moves up: a dropped principal diagnosis or main procedure leaves
        its place empty. A code that stands again is dropped, the first one stays.
        """
        diagnoses, principal, others = _each_once(
            tuple(map(self._of("icd10", case.diagnosis_edition), case.diagnoses))
        )
        procedures, main, other_procedures = _each_once(
            tuple(map(self._of("icd9cm3", case.procedure_edition), case.procedures))
        )
        age, age_days = ages(number(case.age), number(case.age_days))
        return Preparation(
            PreparedCase(
                principal,
                others,
                main,
                other_procedures,
                age,
                age_days,
                number(case.birth_weight),
                number(case.length_of_stay),
                number(case.icu_hours),
                case.sex.strip(),
                case.discharge_way.strip(),
                case.department.strip(),
            ),
            diagnoses,
            procedures,
        )

    def _of(self, system: System, edition: str) -> Callable[[str], PreparedCode]:
        """What becomes of a code of this edition, from memory where it came before."""
        codes = self._codes.get((system, edition))
        if codes is None:
            codes = _Codes(system, edition, self.library)
            if len(self._codes) < MAX_EDITIONS:
                self._codes[system, edition] = codes
        return codes.__getitem__


class _Codes(dict[str, PreparedCode]):
    """What becomes of each code of one edition, worked out when first met."""

    def __init__(self, system: System, edition: str, library: CodeLibrary | None) -> None:
        super().__init__()
        self._system, self._edition, self._library = system, edition, library

    def __missing__(self, text: str) -> PreparedCode:
        prepared = PreparedCode(text, *prepare_code(text, self._system, self._edition, self._library))
        if len(text) <= MAX_CODE_LENGTH:
            if len(self) >= MAX_REMEMBERED:
                self.clear()
            self[text] = prepared
        return prepared


def number(value: float | None) -> float:
    """A quantity of the list as a float; NaN where it is missing, negative or beyond all sense."""
    if value is None:
        return math.nan
    try:
        converted = float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return converted if 0 <= converted < math.inf else math.nan


def ages(years: float, days: float) -> tuple[float, float]:
    """Years and days of age, each completed from the other.

    Days count under one year only: from one year on they are 365 a year, as the rules that test days
    ask about newborns.
    """
    if math.isnan(years):
        years = days // DAYS_A_YEAR
    if years >= 1:
        days = years * DAYS_A_YEAR
    return years, days


def _each_once(codes: tuple[PreparedCode, ...]) -> tuple[tuple[PreparedCode, ...], str, tuple[str, ...]]:
    """The codes in order, one that stands again dropped with the reason; what is used of the first, of the rest."""
    used = [code.used for code in codes]
    if len(set(used)) < len(used):
        codes = _first_ones(codes)
        used = [code.used for code in codes]
    return codes, used[0] if used else "", tuple(filter(None, used[1:]))


def _first_ones(codes: tuple[PreparedCode, ...]) -> tuple[PreparedCode, ...]:
    seen: set[str] = set()
    prepared = []
    for code in codes:
        again = code.used in seen
        prepared.append(
            PreparedCode(code.received, "", f"与前面的 {code.used} 重复，只计一次") if again else code
        )
        if code.used:
            seen.add(code.used)
    return tuple(prepared)


def prepare_code(text: str, system: System, edition: str, library: CodeLibrary | None) -> tuple[str, str]:
    """(the code to group by, empty when there is none; the reason in Chinese why it differs)."""
    if library is not None and edition in OWN_EDITIONS:
        as_written = library.table(system).codes.get(text)
        if as_written is not None:  # most codes: the book writes every code as normalize_code does
            return text, GREY if as_written.grey else ""
    code = normalize_code(text)
    if not code:
        return "", "没有编码"
    written = "" if code == text else f"“{text}”按规范写法读作 {code}"
    if edition not in OWN_EDITIONS:
        converted, reason = _convert(code, system, edition, library)
        return converted, "；".join(filter(None, (written, reason)))
    entry = library.table(system).get(code) if library else None
    unknown = "不在医保版 2.0 编码库中，按原编码参与分组" if library and entry is None else ""
    grey = GREY if entry and entry.grey else ""
    return code, "；".join(filter(None, (written, unknown, grey)))


def _convert(code: str, system: System, edition: str, library: CodeLibrary | None) -> tuple[str, str]:
    if library is None:
        return "", f"没有装载编码库，不能从版本 {edition} 换算，不参与分组"
    try:
        target = library.to_insurance(system, edition, code)
    except PackError as error:
        return "", f"{error}；不参与分组"
    if not target:
        return "", f"版本 {edition} 的 {code} 没有对应的医保版 2.0 编码，不参与分组"
    if target == code:
        return target, ""
    return target, f"从版本 {edition} 的 {code} 换算为医保版 2.0 的 {target}"
