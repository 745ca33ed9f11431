"""Predicates of family DIC: values and codes that must stand in a dictionary, with their names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from operator import attrgetter
from typing import Any, Literal

from models.report import Severity
from models.settlement_list import FIELDS
from qc_rules.facts import Facts
from qc_rules.predicates import OUTPATIENT, Hit, predicate
from qc_rules.reference import CodeFacts, Reference


@cache
def _places(fields: tuple[str, ...]) -> list[tuple[str, str, Callable[[Any], str | None]]]:
    """Node, wire name and reader of each ``node.field``."""
    split = [field.split(".") for field in fields]
    return [(node, wire, attrgetter(FIELDS[node][wire].attribute)) for node, wire in split]


@cache
def _unnamed(values: tuple[str, ...]) -> Mapping[str, str]:
    return dict.fromkeys(values, "")


def _clean(reference: Reference, given: Mapping[str, Any]) -> Iterator[tuple[str, str, Iterable[str]]]:
    """The values with which no field can fire: those of the domain that need no review."""
    known = reference.domains[given["domain"]].values if given.get("domain") else given["values"]
    for field in given["fields"]:
        node, _, wire = field.partition(".")
        yield node, wire, [value for value in known if value not in given.get("review", ())]


@predicate(domains=_clean)
def value_outside_domain(
    facts: Facts,
    *,
    fields: tuple[str, ...],
    domain: str = "",
    values: tuple[str, ...] = (),
    names_too: bool = False,
    doubtful: str = "",
    review: tuple[str, ...] = (),
) -> Iterator[Hit]:
    """A value of one of ``fields`` (node.field) is not in ``domain``, or not one of ``values``.

    ``names_too``: the meaning of a code may stand for it. ``doubtful``: a pattern of values that the
    table may lack: they only warn, as do the values to ``review``, which are in the domain.
    """
    known: Mapping[str, str] = facts.reference.domains[domain].values if domain else _unnamed(values)
    for node, wire, read in _places(fields):
        for index, row in enumerate(facts.rows(node), -1 if node == "setlinfo" else 0):
            value = read(row)
            if value is None or (value in known and value not in review) or value.isspace():
                continue
            if names_too and value in known.values():
                continue
            reviewed = value in review
            minor = reviewed or bool(doubtful and re.fullmatch(doubtful, value))
            reason = f"是{known[value]}，需要核实" if reviewed else "不在值域内"
            yield Hit(node, index, wire, values={"reason": reason}, severity="warn" if minor else "")


def _plain(name: str) -> str:
    """A name without what only typing changes: width, blanks, kinds of brackets and quotes."""
    text = unicodedata.normalize("NFKC", name)
    return re.sub(r"\s+", "", text).translate(str.maketrans("【】〔〕〈〉“”‘’、", "[][]<>\"\"'',")).lower()


def _name_fault(code: CodeFacts, name: str) -> tuple[str, Severity | Literal[""]]:
    """Why ``name`` is not the name of ``code``, and the severity; empty when it is."""
    if name == code.name or _plain(name) == _plain(code.name):
        return "", ""
    plain = _plain(name)
    if any(plain == _plain(alias) for alias in code.aliases):
        return f"是 {code.code} 的别名，标准名称为“{code.name}”", "warn"
    return f"与编码不匹配，{code.code} 的标准名称为“{code.name}”", ""


ICD10_FORM = re.compile(
    r"[A-Z]\d{2}\.(?:\d{3}|x\d{2}|\dx\d)(?:x\d{3,4})?(?:\+[A-Z]\d{2}(?:\.[\dx]{1,3})?(?:x\d{3})?\*?)?\*?"
)
"""Form of a code in the insurance edition of ICD-10."""


@predicate(rows=("diseinfo",))
def diagnosis_not_in_book(facts: Facts, node: str, index: int, row: Any) -> Iterator[Hit]:
    """A western diagnosis code is not in the code book, or its name is not that of the code."""
    code, name = facts.diagnosis_codes[index], row.name
    if code is None or not code.code or code.name == name or index not in facts.western:
        return
    if not code.known:
        if row.kind is None and not ICD10_FORM.fullmatch(code.code):
            return  # without 诊断类别 it may be a code of Chinese medicine
        values = {"reason": f"编码 {code.code} 不在《医疗保障疾病诊断分类与代码》中"}
        yield Hit(node, index, "diag_code", values=values)
    elif name is not None and not name.isspace():
        reason, severity = _name_fault(code, name)
        if reason:
            values = {"reason": f"名称“{name[:60]}”{reason}"}
            yield Hit(node, index, "diag_name", values=values, severity=severity)


@predicate(rows=("oprninfo",))
def procedure_name_differs(facts: Facts, node: str, index: int, row: Any) -> Iterator[Hit]:
    """The name of a procedure is not that of its code."""
    code, name = facts.procedure_codes[index], row.name
    if code is None or not code.known or code.name == name or name is None or name.isspace():
        return
    reason, severity = _name_fault(code, name)
    if reason:
        values = {"reason": f"名称“{name[:60]}”{reason}"}
        yield Hit(node, index, "oprn_oprt_name", values=values, severity=severity)


@predicate(rows=("setlinfo",), sees=OUTPATIENT)
def outpatient_diagnosis_not_in_book(facts: Facts, node: str, index: int, row: Any) -> Iterator[Hit]:
    """The outpatient diagnosis code is not in the code book, or its name is not that of the code."""
    code, name = facts.codes.diagnosis(row.outpatient_diagnosis_code), row.outpatient_diagnosis
    if code is None or not code.code:
        return
    if not code.known:
        values = {"reason": f"编码 {code.code} 不在《医疗保障疾病诊断分类与代码》中"}
        yield Hit(node, index, "wm_dise_code", values=values)
    elif name is not None and not name.isspace():
        reason, _ = _name_fault(code, name)
        if reason:
            # The outpatient doctor's own wording is often kept beside the code.
            values = {"reason": f"名称“{name[:60]}”{reason}"}
            yield Hit(node, index, "otp_wm_dise", values=values, severity="warn")


@predicate(rows=("diseinfo", "oprninfo"))
def grey_code(facts: Facts, node: str, index: int, row: Any) -> Iterator[Hit]:
    """A western diagnosis or a procedure has a grey code (灰码)."""
    del row
    diagnosis = node == "diseinfo"
    code = (facts.diagnosis_codes if diagnosis else facts.procedure_codes)[index]
    if code is not None and code.grey and (not diagnosis or index in facts.western):
        yield Hit(node, index, "diag_code" if diagnosis else "oprn_oprt_code", values={"name": code.name})
