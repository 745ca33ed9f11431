"""What a hospital's own charge rules, evidence and indication tables must hold to be imported."""

from __future__ import annotations

import re

from models.pack import PackStore
from models.pack_import import ColumnSpec, Draft, KindSpec, TableSpec
from qc_rules.charge_tables import CHARGE_RULES, EVIDENCE, OPERATORS, PERS, ROLES, SOURCES, split
from qc_rules.indications import CONFIDENCES, INDICATIONS, LEVELS

_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_ID_MEANING = "小写字母、数字、- 和 _"
_NUMBER = re.compile(r"\d{1,6}(\.\d{1,3})?")
_WORDS_MEANING = "名称中的词，用 | 分开；同时要有的用 + 连接"
_CATEGORIES = re.compile(r"\d{2}(\|\d{2})*")
_DIAGNOSES = re.compile(r"[A-Z][0-9A-Zx.]{0,11}(\|[A-Z][0-9A-Zx.]{0,11})*")
_PROCEDURES = re.compile(r"\d{2}[0-9x.]{0,8}(\|\d{2}[0-9x.]{0,8})*")


def _one_of(values: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(value) for value in values if value))


def _id(name: str) -> ColumnSpec:
    return ColumnSpec(name, _ID, _ID_MEANING)


_EXCLUDE = ColumnSpec("exclude", None, _WORDS_MEANING, empty=True)
_INCLUDE = ColumnSpec("include", None, _WORDS_MEANING)


def _check_charge_rules(draft: Draft, store: PackStore) -> None:
    """The limits and exclusions name items of the table."""
    del store
    concepts = draft.values("items", "concept")
    for table, columns in (("frequency", ("concept",)), ("exclusion", ("first", "second"))):
        if table not in draft.tables:
            continue
        for line, values in draft.tables[table].located(*columns):
            for column, value in zip(columns, values, strict=True):
                if value not in concepts:
                    draft.fault(table, line, column, f"items 表没有项目 {value}")


def _check_evidence(draft: Draft, store: PackStore) -> None:
    """Every signal belongs to a condition, every condition has signals, and a comparison has its number."""
    del store
    conditions = draft.values("conditions", "condition")
    if "signals" not in draft.tables or "conditions" not in draft.tables:
        return
    signalled = draft.values("signals", "condition")
    for line, (condition,) in draft.tables["conditions"].located("condition"):
        if condition not in signalled:
            draft.fault("conditions", line, "condition", f"signals 表没有 {condition} 的依据")
    for line, (condition, operator, value) in draft.tables["signals"].located(
        "condition", "operator", "value"
    ):
        if condition not in conditions:
            draft.fault("signals", line, "condition", f"conditions 表没有 {condition}")
        if operator in ("<", ">", ">=", "rise") and not _NUMBER.fullmatch(value):
            draft.fault("signals", line, "value", f"运算 {operator} 要有数值，写的是“{value}”")
        if operator == "contains" and not value:
            draft.fault("signals", line, "value", "运算 contains 要有词，用 | 分开")


def _check_indications(draft: Draft, store: PackStore) -> None:
    """A procedure prefix stands in one row."""
    del store
    if "indications" not in draft.tables:
        return
    seen: set[str] = set()
    for line, (procedures,) in draft.tables["indications"].located("procedures"):
        for prefix in split(procedures):
            if prefix in seen:
                draft.fault("indications", line, "procedures", f"手术操作 {prefix} 已写在另一行")
            seen.add(prefix)


KINDS = (
    KindSpec(
        CHARGE_RULES,
        "收费明细核查表",
        (
            TableSpec(
                "items",
                (
                    _id("concept"),
                    ColumnSpec("name"),
                    _INCLUDE,
                    _EXCLUDE,
                    ColumnSpec("categories", _CATEGORIES, "收费类别 01–14，用 | 分开", empty=True),
                    ColumnSpec("codes", None, "项目编码的开头，用 | 分开", empty=True),
                ),
                ("concept",),
            ),
            TableSpec(
                "frequency",
                (
                    _id("id"),
                    ColumnSpec("name"),
                    _id("concept"),
                    ColumnSpec("per", _one_of(PERS), "、".join(PERS)),
                    ColumnSpec("most", _NUMBER, "数量"),
                    ColumnSpec("spare", _NUMBER, "容许多出的数量"),
                    ColumnSpec("hours", re.compile(r"\d{1,5}"), "小时数，per 不是 window 的写 0"),
                    ColumnSpec("note", empty=True),
                ),
                ("id",),
            ),
            TableSpec(
                "exclusion",
                (
                    _id("id"),
                    ColumnSpec("name"),
                    _id("first"),
                    _id("second"),
                    ColumnSpec("same_part", re.compile("[01]"), "1（只在同一部位时互斥）或 0"),
                    ColumnSpec("note", empty=True),
                ),
                ("id",),
            ),
            TableSpec(
                "procedures",
                (
                    _id("id"),
                    ColumnSpec("name"),
                    ColumnSpec("procedures", _PROCEDURES, "手术操作编码前缀，用 | 分开"),
                    _INCLUDE,
                    _EXCLUDE,
                ),
                ("id",),
            ),
        ),
        _check_charge_rules,
    ),
    KindSpec(
        EVIDENCE,
        "诊断依据表",
        (
            TableSpec(
                "conditions",
                (
                    _id("condition"),
                    ColumnSpec("name"),
                    ColumnSpec("diagnoses", _DIAGNOSES, "诊断编码前缀，用 | 分开"),
                    ColumnSpec("explained_by", _DIAGNOSES, "诊断编码前缀，用 | 分开", empty=True),
                ),
                ("condition",),
            ),
            TableSpec(
                "signals",
                (
                    _id("condition"),
                    ColumnSpec("role", _one_of(ROLES), "、".join(ROLES)),
                    ColumnSpec("source", _one_of(tuple(SOURCES)), "、".join(SOURCES)),
                    _INCLUDE,
                    _EXCLUDE,
                    ColumnSpec("operator", _one_of(OPERATORS), "空、" + "、".join(OPERATORS[1:]), empty=True),
                    ColumnSpec("value", empty=True),
                    ColumnSpec("unit", empty=True),
                ),
                ("condition", "role", "source", "include", "operator"),
            ),
        ),
        _check_evidence,
    ),
    KindSpec(
        INDICATIONS,
        "手术操作适应证表",
        (
            TableSpec(
                "indications",
                (
                    _id("id"),
                    ColumnSpec("name"),
                    ColumnSpec("level", _one_of(LEVELS), "operation 具体手术或 organ 系统"),
                    ColumnSpec("procedures", _PROCEDURES, "手术操作编码前缀，用 | 分开"),
                    ColumnSpec("indication"),
                    ColumnSpec("diagnoses", _DIAGNOSES, "诊断编码前缀，用 | 分开；空为不判断", empty=True),
                    ColumnSpec("confidence", _one_of(CONFIDENCES), "high（警告）或 fair（提示）"),
                    ColumnSpec("basis", empty=True),
                    ColumnSpec("support", re.compile(r"\d{1,9}"), "支持的份数或编码数", empty=True),
                ),
                ("id",),
            ),
            TableSpec(
                "general",
                (
                    ColumnSpec("diagnoses", _DIAGNOSES, "诊断编码前缀，用 | 分开"),
                    ColumnSpec("why", empty=True),
                ),
                ("diagnoses",),
            ),
        ),
        _check_indications,
    ),
)
