"""Predicates of family CMP: what must be filled when something else is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from models.settlement_list import FIELDS
from qc_rules import usual
from qc_rules.facts import Facts
from qc_rules.predicates import OUTPATIENT, Hit, predicate

_TCM = {"4101": (("3", "中医主病"), ("4", "中医主证")), "4101A": (("2", "中医主病"), ("3", "中医主证"))}


def _missing(facts: Facts, node: str, index: int, wire: str) -> bool:
    """Whether a field that the interface has is empty; ``index`` is -1 in setlinfo."""
    info = FIELDS[node][wire]
    if info.only_4101 and facts.interface == "4101A":
        return False
    row = facts.stay if index < 0 else facts.rows(node)[index]
    return facts.is_missing(node, index, wire, getattr(row, info.attribute))


def _present(facts: Facts, node: str, index: int, wire: str) -> bool:
    row = facts.stay if index < 0 else facts.rows(node)[index]
    return not facts.is_missing(node, index, wire, getattr(row, FIELDS[node][wire].attribute))


@predicate(glance=usual.rows)
def no_principal_diagnosis(facts: Facts) -> Iterable[Hit]:
    """No row of diseinfo is the principal western diagnosis."""
    rows = facts.list.diagnoses
    for index in facts.western:
        row = rows[index]
        if row.principal_flag == "1" or (facts.interface == "4101" and row.kind == "1"):
            return ()
    if any(one.startswith("diseinfo") for one in facts.malformed):
        return ()  # the principal diagnosis may stand in what could not be read
    return (Hit("diseinfo"),)


_PAIRS = {
    node: [(code, name, FIELDS[node][code].attribute, FIELDS[node][name].attribute) for code, name in pairs]
    for node, pairs in {
        "diseinfo": [("diag_code", "diag_name")],
        "oprninfo": [("oprn_oprt_code", "oprn_oprt_name")],
        "opspdiseinfo": [("diag_code", "diag_name"), ("oprn_oprt_code", "oprn_oprt_name")],
        "setlinfo": [("wm_dise_code", "otp_wm_dise"), ("tcm_dise_code", "otp_tcm_dise")],
    }.items()
}


@predicate(rows=tuple(_PAIRS), sees=OUTPATIENT)
def code_without_name(facts: Facts, node: str, index: int, row: Any) -> Iterator[Hit]:
    """A diagnosis or procedure has a code without a name, or a name without a code."""
    for code, name, code_attribute, name_attribute in _PAIRS[node]:
        one, other = getattr(row, code_attribute), getattr(row, name_attribute)
        no_code = facts.is_missing(node, index, code, one)
        no_name = facts.is_missing(node, index, name, other)
        if no_code is not no_name:
            there, empty = (name, code) if no_code else (code, name)
            values = {
                "there": FIELDS[node][there].label,
                "value": other if no_code else one,
                "row": "" if index < 0 else f"第 {index + 1} 行",
            }
            yield Hit(node, index, empty, values=values)


@predicate(glance=usual.dates_and_counts)
def blood_incomplete(facts: Facts) -> Iterable[Hit]:
    """Kind, amount and unit of blood given: one is filled and another is not."""
    stay = facts.stay
    if not (facts.list.transfusions or stay.blood_kind or stay.blood_amount or stay.blood_unit):
        return ()
    return _blood_incomplete(facts)


def _blood_incomplete(facts: Facts) -> Iterator[Hit]:
    fields = ("bld_cat", "bld_amt", "bld_unt")
    places = [("bldinfo", index) for index in range(len(facts.list.transfusions))]
    stay = facts.stay
    if stay.blood_kind or stay.blood_amount or stay.blood_unit:
        places.append(("setlinfo", -1))
    for node, index in places:
        # An amount of 0 is how some systems say that no blood was given.
        row = facts.rows(node)[max(index, 0)]
        amount = row.blood_amount if node == "setlinfo" else row.amount
        there = [
            wire
            for wire in fields
            if _present(facts, node, index, wire) and not (wire == "bld_amt" and amount == 0)
        ]
        if there and len(there) < len(fields):
            values = {"there": "、".join(FIELDS[node][wire].label for wire in there)}
            for wire in fields:
                if wire not in there:
                    yield Hit(node, index, wire, values=values)


@predicate(glance=usual.dates_and_counts)
def age_missing(facts: Facts) -> Iterable[Hit]:
    """Under one year the age in days is missing, else the age in years."""
    age = facts.stay.age
    if age is not None and age >= 1 and (facts.years_since_birth or 1) >= 1:
        return ()
    return _age_missing(facts)


def _age_missing(facts: Facts) -> Iterator[Hit]:
    no_years = _missing(facts, "setlinfo", -1, "age")
    no_days = _missing(facts, "setlinfo", -1, "nwb_age") and _missing(facts, "setlinfo", -1, "age_days")
    if not no_years and not no_days:
        return
    years = facts.years_since_birth
    if years is None:
        if no_years and no_days:
            yield Hit("setlinfo", wire="age", values={"who": "患者"})
    elif years >= 1:
        if no_years:
            yield Hit("setlinfo", wire="age", values={"who": f"入院时 {years} 周岁的患者"})
    elif years == 0 and no_days:
        yield Hit("setlinfo", wire="nwb_age", values={"who": "不足 1 周岁的患者"})


@predicate(when=("dscg_way", "discharge_way"))
def receiver_missing(facts: Facts, *, discharge_way: str, may_be_unknown: bool) -> Iterable[Hit]:
    """A patient was sent on, and name or code of the receiving institution is missing.

    ``may_be_unknown``: both may be missing, when nobody knows where the patient went.
    """
    if facts.stay.discharge_way != discharge_way:
        return ()
    empty = [w for w in ("acp_medins_name", "acp_optins_code") if _missing(facts, "setlinfo", -1, w)]
    if len(empty) == 2 and may_be_unknown:
        return ()
    return [Hit("setlinfo", wire=wire) for wire in empty]


@predicate(when=("prfs", "occupations"))
def employer_missing(facts: Facts, *, occupations: tuple[str, ...]) -> Iterable[Hit]:
    """A patient in employment without name or address of the employer."""
    stay = facts.stay
    if stay.occupation not in occupations:
        return ()
    wires = ("emp_name", "emp_addr")
    return [Hit("setlinfo", wire=wire) for wire in wires if _missing(facts, "setlinfo", -1, wire)]


@predicate(when=("trt_type", "treatment_types"))
def tcm_diagnosis_missing(facts: Facts, *, treatment_types: tuple[str, ...]) -> Iterable[Hit]:
    """A list of 中医 treatment without 主病 or 主证, or one of them without code or name."""
    if facts.stay.treatment_type not in treatment_types or "diseinfo" in facts.malformed:
        return ()
    return _tcm_missing(facts)


def _tcm_missing(facts: Facts) -> Iterator[Hit]:
    rows = facts.list.diagnoses
    for kind, name in _TCM[facts.interface]:
        found = [index for index, row in enumerate(rows) if row.kind == kind]
        if not found:
            yield Hit("diseinfo", values={"what": f"没有{name}诊断"})
        for index in found:
            for wire in ("diag_code", "diag_name"):
                if _missing(facts, "diseinfo", index, wire):
                    what = f"第 {index + 1} 条{name}诊断缺少{FIELDS['diseinfo'][wire].label}"
                    yield Hit("diseinfo", index, wire, values={"what": what})


@predicate(glance=usual.dates_and_counts)
def chronic_visit_incomplete(facts: Facts) -> Iterable[Hit]:
    """Something of a 门诊慢特病 visit is filled, and department, date, diagnosis or its code is not."""
    stay, rows = facts.stay, facts.list.chronic_diagnoses
    if not rows and stay.chronic_department is None and stay.chronic_visit_date is None:
        return ()
    return _chronic_incomplete(facts)


def _chronic_incomplete(facts: Facts) -> Iterator[Hit]:
    rows = facts.list.chronic_diagnoses
    for wire in ("opsp_diag_caty", "opsp_mdtrt_date"):
        if _missing(facts, "setlinfo", -1, wire):
            yield Hit("setlinfo", wire=wire)
    if not rows and "opspdiseinfo" not in facts.malformed:
        yield Hit("opspdiseinfo")
    for index in range(len(rows)):
        for wire in ("diag_name", "diag_code"):
            if _missing(facts, "opspdiseinfo", index, wire):
                yield Hit("opspdiseinfo", index, wire)
