"""Predicates of family FMT: the form of numbers, names, dates, weights, amounts and codes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from operator import attrgetter, mul
from typing import Any

from models.settlement_list import FIELDS, Weights
from qc_rules import usual
from qc_rules.facts import Facts, as_text
from qc_rules.predicates import OUTPATIENT, Hit, predicate
from qc_rules.predicates.dictionaries import ICD10_FORM
from qc_rules.predicates.structure import defect_hit

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK_DIGITS = "10X98765432"
"""GB 11643: the check digit by the weighted sum of the first 17 digits, modulo 11."""


def check_digit(first_17: str) -> str:
    """The eighteenth character of a citizen's identity number (GB 11643)."""
    return _CHECK_DIGITS[sum(map(mul, map(int, first_17), _WEIGHTS)) % 11]


@dataclass(frozen=True, slots=True)
class _Identity:
    """What the number of an identity card says; None or empty where it is wrong."""

    number: str
    born: date | None
    sex: str
    fault: str


@lru_cache(maxsize=1024)
def _read_identity(text: str) -> _Identity:
    number = unicodedata.normalize("NFKC", text).strip().upper()
    if not re.fullmatch(r"\d{17}[\dX]|\d{15}", number, re.ASCII):
        form = f"应为 18 位（或旧的 15 位）数字，末位可为 X，现为 {len(number)} 个字符"
        return _Identity(number, None, "", form)
    long = len(number) == 18
    digits = number[6:14] if long else f"19{number[6:12]}"
    sex = "1" if int(number[16] if long else number[14]) % 2 else "2"
    try:
        born = date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return _Identity(number, None, sex, "其中的出生日期不存在")
    wrong = long and check_digit(number[:17]) != number[17]
    return _Identity(number, born, sex, "校验位不符，至少有一位写错" if wrong else "")


def _identity(facts: Facts, certificate_types: tuple[str, ...]) -> _Identity | None:
    """The number of the patient's identity card; None when there is another certificate or none."""
    number = facts.stay.certificate_number
    if number is None or facts.stay.certificate_type not in certificate_types or number.isspace():
        return None
    return _read_identity(number)


def _identity_agrees(facts: Facts) -> bool:
    """Whether the certificate number is an identity number that fits birth date and sex."""
    stay = facts.stay
    if stay.certificate_number is None or stay.birth_date is None:
        return False
    identity = _read_identity(stay.certificate_number)
    return not identity.fault and (identity.born, identity.sex) == (stay.birth_date, stay.sex)


def _infant(facts: Facts, days: int) -> bool:
    """Whether the patient is at most so old, or may be."""
    return facts.days_since_birth is None or facts.days_since_birth <= days


@predicate(fields=("certno",), unless=_identity_agrees)
def identity_number_wrong(facts: Facts, *, certificate_types: tuple[str, ...]) -> Iterator[Hit]:
    """The number of an identity card has a wrong form, birth date or check digit."""
    identity = _identity(facts, certificate_types)
    if identity and identity.fault:
        yield Hit("setlinfo", wire="certno", values={"reason": identity.fault})


@predicate(fields=("certno",), unless=_identity_agrees)
def identity_birth_date_differs(
    facts: Facts, *, certificate_types: tuple[str, ...], infant_days: int
) -> Iterator[Hit]:
    """The birth date is not that of the identity number; infants may carry the number of a parent."""
    identity, born = _identity(facts, certificate_types), facts.stay.birth_date
    if identity and identity.born and born and identity.born != born and not _infant(facts, infant_days):
        yield Hit("setlinfo", wire="brdy", values={"named": identity.born})


@predicate(fields=("certno",), unless=_identity_agrees)
def identity_sex_differs(
    facts: Facts, *, certificate_types: tuple[str, ...], infant_days: int
) -> Iterator[Hit]:
    """The 17th digit (15-digit numbers: the last) is odd for a woman or even for a man."""
    identity, sex = _identity(facts, certificate_types), facts.stay.sex
    if (
        identity
        and identity.sex
        and sex in ("1", "2")
        and identity.sex != sex
        and not _infant(facts, infant_days)
    ):
        yield Hit("setlinfo", wire="gend", values={"named": "男" if identity.sex == "1" else "女"})


_PERSON = re.compile(r"[^\W\d_]+(?:·[^\W\d_]+)*")


_ATTRIBUTES = {wire: info.attribute for wire, info in FIELDS["setlinfo"].items()}


@predicate()
def name_malformed(facts: Facts, *, field: str) -> Iterable[Hit]:
    """A person's name is not 2–40 letters, · between the parts of a minority name."""
    name = getattr(facts.stay, _ATTRIBUTES[field])
    if name is None or (name.isalpha() and 2 <= len(name) <= 40) or name.isspace():
        return ()
    return _malformed(name, field)


def _malformed(name: str, field: str) -> Iterator[Hit]:
    plain = name.replace("•", "·").replace("・", "·").replace("．", "·")
    reason = ""
    if not 2 <= len(name) <= 40:
        reason = f"应为 2 至 40 个字符，现为 {len(name)} 个"
    elif not _PERSON.fullmatch(plain):
        reason = "不应含数字、标点或空格"
    if reason:
        yield Hit("setlinfo", wire=field, values={"reason": reason})


_MOBILE = re.compile(r"(?:\+?86)?1[3-9]\d{9}")
_PLAIN = re.compile(r"1[3-9]\d{9}")
_LANDLINE = re.compile(r"(?:\(?0\d{2,3}\)?)?\d{7,8}(?:转\d{1,6})?")
_SERVICE = re.compile(r"[48]00\d{7}")


@lru_cache(maxsize=4096)
def _telephone_fault(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return ""
    number = re.sub(r"[\s\-－—_()（）]", "", unicodedata.normalize("NFKC", text))
    digits = re.sub(r"\D", "", number)
    if len(digits) < 7:
        return "不足 7 位数字"
    if len(set(digits)) == 1 or digits in (
        "12345678911",
        "12345678910",
        "12345678901",
        "12345678",
        "1234567",
    ):
        return "是占位号码"
    if _MOBILE.fullmatch(number) or _LANDLINE.fullmatch(number) or _SERVICE.fullmatch(number):
        return ""
    return "不是 11 位手机号码，也不是区号加固定电话号码"


@predicate()
def telephone_malformed(facts: Facts) -> Iterator[Hit]:
    """A telephone number of contact or employer that cannot be one."""
    for wire, number in (("coner_tel", facts.stay.contact_phone), ("emp_tel", facts.stay.employer_phone)):
        # A dash says that there is no telephone.
        if number is None or not number.strip(" -－—/无"):
            continue
        reason = _telephone_fault(number)
        if reason:
            yield Hit("setlinfo", wire=wire, values={"reason": reason})


_WEIGHT_FIELDS = ("nwb_bir_wt", "nwb_adm_wt", "mul_nwb_bir_wt", "mul_nwb_adm_wt")


def _weights(facts: Facts, fields: tuple[str, ...]) -> Iterator[tuple[str, Weights]]:
    for wire in fields:
        weights = getattr(facts.stay, FIELDS["setlinfo"][wire].attribute)
        if weights is not None:
            yield wire, weights


@predicate(fields=_WEIGHT_FIELDS)
def weight_not_in_tens(facts: Facts) -> Iterator[Hit]:
    """The weight of a newborn is not a multiple of 10 g."""
    for wire, weights in _weights(facts, _WEIGHT_FIELDS):
        if any(weight % 10 for weight in weights):
            yield Hit("setlinfo", wire=wire)


def _outside(facts: Facts, weights: Weights) -> dict[str, object] | None:
    """The first weight outside the limits of the settings, with the limits; None when all are inside."""
    low, high = float(facts.settings["newborn_weight_min"]), float(facts.settings["newborn_weight_max"])
    found = next((weight for weight in weights if not low <= weight <= high), None)
    return None if found is None else {"weight": found, "low": low, "high": high}


@predicate(fields=_WEIGHT_FIELDS)
def weight_outside(facts: Facts, *, fields: tuple[str, ...]) -> Iterator[Hit]:
    """The weight of a single newborn is outside the limits of the settings."""
    for wire, weights in _weights(facts, fields):
        outside = _outside(facts, weights) if len(weights) == 1 else None
        if outside:
            yield Hit("setlinfo", wire=wire, values=outside)


@predicate(fields=_WEIGHT_FIELDS, defects=True)
def several_weights_wrong(facts: Facts, *, fields: tuple[str, ...]) -> Iterator[Hit]:
    """The weights of several newborns cannot be read, or one is outside the limits of the settings."""
    for defect in facts.received.defects:
        if defect.kind == "weights" and defect.official.startswith("setlinfo.mul_"):
            yield from defect_hit(defect)
    for wire, weights in _weights(facts, fields):
        outside = _outside(facts, weights) if len(weights) > 1 or wire.startswith("mul_") else None
        if outside:
            reason = f"其中 {as_text(outside['weight'])} 克不在 {as_text(outside['low'])}–{as_text(outside['high'])} 克之内"
            yield Hit("setlinfo", wire=wire, values={"reason": reason})


_ICD9 = re.compile(r"\d{2}\.(?:[\dx]{4}|\d{3}[\dA-Z]\d)(?:x\d{3})?")


@predicate(rows=("diseinfo",))
def diagnosis_code_malformed(facts: Facts, node: str, index: int, row: Any) -> Iterator[Hit]:
    """A western diagnosis code does not have the form of the insurance edition of ICD-10."""
    code = facts.diagnosis_codes[index]
    # Without 诊断类别 it may be a code of Chinese medicine.
    if code is None or code.known or not code.code or row.kind is None or index not in facts.western:
        return
    if not ICD10_FORM.fullmatch(code.code):
        yield Hit(node, index, "diag_code")


@predicate(rows=("oprninfo",))
def procedure_code_malformed(facts: Facts, node: str, index: int, row: Any) -> Iterator[Hit]:
    """A procedure code does not have the form of the insurance edition of ICD-9-CM-3."""
    del row
    code = facts.procedure_codes[index]
    if code and not code.known and code.code and not _ICD9.fullmatch(code.code):
        yield Hit(node, index, "oprn_oprt_code")


@predicate(rows=("diseinfo", "oprninfo", "setlinfo"), sees=OUTPATIENT)
def code_not_normal(facts: Facts, node: str, index: int, row: Any) -> Iterator[Hit]:
    """A code holds full-width characters, blanks, † or letters in the wrong case."""
    if node == "diseinfo":
        code, wire = facts.diagnosis_codes[index] if index in facts.western else None, "diag_code"
    elif node == "oprninfo":
        code, wire = facts.procedure_codes[index], "oprn_oprt_code"
    else:
        code, wire = facts.codes.diagnosis(row.outpatient_diagnosis_code), "wm_dise_code"
    if code and code.received != code.code and code.code:
        yield Hit(node, index, wire, values={"normal": code.code})


_AMOUNTS = {
    node: [(info.attribute, info.wire) for info in FIELDS[node].values() if info.kind == "amount"]
    for node in ("setlinfo", "payinfo", "iteminfo")
}


_READ_AMOUNTS: Mapping[str, Callable[[Any], tuple[float | None, ...]]] = {
    "setlinfo": attrgetter(*(attribute for attribute, _ in _AMOUNTS["setlinfo"])),
    "payinfo": lambda row: (row.amount_yuan,),
    "iteminfo": attrgetter(*(attribute for attribute, _ in _AMOUNTS["iteminfo"])),
}


@predicate(glance=usual.charges)
def amount_malformed(facts: Facts) -> Iterable[Hit]:
    """An amount is no number, has more than two decimals, or is negative outside a reversal (红冲).

    A reversal is a list whose total is negative.
    """
    if facts.sound_charges is not None and not facts.received.defects:
        amounts = [row.amount_yuan for row in facts.list.fund_payments if row.amount_yuan]
        amounts += filter(None, _READ_AMOUNTS["setlinfo"](facts.stay))
        if min(amounts, default=0) >= 0 and [round(amount * 100) / 100 for amount in amounts] == amounts:
            return ()
    return _amount_faults(facts)


def _amount_faults(facts: Facts) -> Iterator[Hit]:
    for defect in facts.received.defects:
        if defect.kind == "amount":
            yield from defect_hit(defect)
    reversal = facts.total_fen is not None and facts.total_fen < 0
    for node, read in _READ_AMOUNTS.items():
        for index, row in enumerate(facts.rows(node), -1 if node == "setlinfo" else 0):
            for position, amount in enumerate(read(row)):
                reason = ""
                if amount is not None and amount < 0 and not reversal:
                    reason = "为负数，结算清单只有红冲时才有负数"
                elif amount is not None and round(amount * 100) / 100 != amount:
                    reason = "超过两位小数"
                if reason:
                    yield Hit(node, index, _AMOUNTS[node][position][1], values={"reason": reason})


_STAFF = {
    "setlinfo": (
        ("chfpdr_code", "physician_code", "D", "医师"),
        ("resp_nurs_code", "nurse_code", "N", "护士"),
    ),
    "oprninfo": (
        ("oper_dr_code", "surgeon_code", "D", "医师"),
        ("anst_dr_code", "anaesthetist_code", "D", "医师"),
    ),
}


@predicate(rows=tuple(_STAFF), sees=("chfpdr_code", "resp_nurs_code"))
def staff_code_wrong(facts: Facts, node: str, index: int, row: Any) -> Iterator[Hit]:
    """A physician's code does not begin with D, or a nurse's not with N."""
    del facts
    for wire, attribute, letter, who in _STAFF[node]:
        code = getattr(row, attribute)
        if code is not None and code[:1] != letter and not code.isspace():
            yield Hit(node, index, wire, values={"letter": letter, "who": who})
