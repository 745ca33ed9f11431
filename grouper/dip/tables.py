"""What a DIP catalogue, a DIP payment plan and a comorbidity index must hold to be imported."""

from __future__ import annotations

import re

from grouper.dip.catalogue import (
    GROUP_COLUMNS,
    LAYER_NAMES,
    PROCEDURE_RULES,
    SCORE_COLUMNS,
    TREATMENT_GROUPS,
    group_of_row,
)
from grouper.dip.expression import ExpressionError, parse
from grouper.parameters import COLUMNS as PARAMETER_COLUMNS
from grouper.parameters import DIP_PARAMETERS, DRG_PARAMETERS, fault_of
from grouper.payment import MARKS
from models.pack import PackError, PackStore
from models.pack_import import ColumnSpec, Draft, KindSpec, TableSpec, shown

_NUMBER = re.compile(r"\d{1,6}")
_AMOUNT = re.compile(r"\d{1,12}(\.\d{1,16})?")
_PREFIXES = re.compile(r"[A-Z][0-9A-Zx.+*]{0,19}(\|[A-Z][0-9A-Zx.+*]{0,19})*")
_DIAGNOSIS = re.compile(r"[A-Z][0-9A-Zx.+*]{0,19}")
_PROCEDURE = re.compile(r"[0-9][0-9A-Zx.]{1,19}")
_DIP_CODE = re.compile(r"[^\s|,]{1,60}")
_CODE_LIST = "以 | 分开的诊断编码或其前几位，如 A40|B18.1"

GROUPS = TableSpec(
    "groups",
    tuple(
        {
            "code": ColumnSpec("code", _DIP_CODE, "病种编码，60 个字符以内，不含空格"),
            "layer": ColumnSpec("layer", re.compile("|".join(LAYER_NAMES)), "、".join(LAYER_NAMES) + " 之一"),
            "order": ColumnSpec("order", _NUMBER, "序号（整数）"),
            "name": ColumnSpec("name"),
            "diagnoses": ColumnSpec("diagnoses", _PREFIXES, _CODE_LIST, empty=True),
            "diagnosis_scope": ColumnSpec(
                "diagnosis_scope", re.compile("principal|any"), "principal（主要诊断）或 any（任一诊断）"
            ),
            "other_diagnoses": ColumnSpec("other_diagnoses", _PREFIXES, _CODE_LIST, empty=True),
            "procedure_rule": ColumnSpec(
                "procedure_rule", re.compile("|".join(PROCEDURE_RULES)), "、".join(PROCEDURE_RULES) + " 之一"
            ),
            "resistance": ColumnSpec(
                "resistance", re.compile("resistant|sensitive"), "resistant、sensitive 或空", empty=True
            ),
            "age_days_below": ColumnSpec("age_days_below", _NUMBER, "天数或空", empty=True),
            "birth_weight_from": ColumnSpec("birth_weight_from", _NUMBER, "克数或空", empty=True),
            "birth_weight_to": ColumnSpec("birth_weight_to", _NUMBER, "克数或空", empty=True),
            "treatment": ColumnSpec(
                "treatment", re.compile("|".join(TREATMENT_GROUPS)), "、".join(TREATMENT_GROUPS), empty=True
            ),
            "primary_care": ColumnSpec("primary_care", re.compile("1"), "1（基层病种）或空", empty=True),
        }.get(name, ColumnSpec(name, empty=True))
        for name in GROUP_COLUMNS
    ),
    ("code",),
)
SCORES = TableSpec(
    "scores",
    (
        ColumnSpec("code", _DIP_CODE, "病种编码"),
        ColumnSpec("score", _AMOUNT, "非负的分值", empty=True),
        ColumnSpec("mean_cost", _AMOUNT, "以元为单位的非负小数", empty=True),
        ColumnSpec("cases", re.compile(r"\d{1,9}"), "例数或空", empty=True),
    ),
    ("code",),
    optional=True,
)
assert SCORES.column_names == SCORE_COLUMNS  # noqa: S101 - one order of columns in both places


def _code_table(name: str, pattern: re.Pattern[str], meaning: str) -> TableSpec:
    return TableSpec(name, (ColumnSpec("code", pattern, meaning),), ("code",), optional=True)


EXCLUDED_DIAGNOSES = _code_table("excluded_diagnoses", _DIAGNOSIS, "诊断编码或其前几位")
EXCLUDED_PROCEDURES = _code_table("excluded_procedures", _PROCEDURE, "手术操作编码或其前几位")
RESISTANCE_DIAGNOSES = _code_table("resistance_diagnoses", _DIAGNOSIS, "诊断编码或其前几位")

PARAMETERS = TableSpec(
    "parameters",
    (
        ColumnSpec("parameter"),
        ColumnSpec("key", empty=True),
        ColumnSpec("hospital_level", empty=True),
        ColumnSpec("insurance", empty=True),
        ColumnSpec("value"),
        ColumnSpec("unit", empty=True),
        ColumnSpec("source"),
    ),
    ("parameter", "key", "hospital_level", "insurance"),
    optional=True,
)
assert PARAMETERS.column_names == PARAMETER_COLUMNS  # noqa: S101 - one order of columns in both places

THRESHOLDS = TableSpec(
    "thresholds",
    (
        ColumnSpec("drg"),
        ColumnSpec("low_ratio", _AMOUNT, "非负小数", empty=True),
        ColumnSpec("high_ratio", _AMOUNT, "非负小数", empty=True),
        ColumnSpec("low_amount", _AMOUNT, "以元为单位的非负小数", empty=True),
        ColumnSpec("high_amount", _AMOUNT, "以元为单位的非负小数", empty=True),
    ),
    ("drg",),
    optional=True,
)
MARK_TABLE = TableSpec(
    "marks",
    (ColumnSpec("drg"), ColumnSpec("mark", re.compile("|".join(MARKS)), " 或 ".join(MARKS))),
    ("drg", "mark"),
    optional=True,
)
DRG_PAYMENT_TABLES = (PARAMETERS, THRESHOLDS, MARK_TABLE)
"""The tables that a ``drg-payment`` pack may have beside its weights."""


def check_catalogue(draft: Draft, store: PackStore) -> None:
    """Every expression is readable, and every row has what its layer and its rule need."""
    if "groups" not in draft.tables:
        return
    table = draft.tables["groups"]
    for line, row in zip(table.lines, table.rows, strict=True):
        _check_group(draft, line, dict(zip(GROUP_COLUMNS, row, strict=True)))
    if not draft.faults:
        for line, row in zip(table.lines, table.rows, strict=True):
            try:
                group_of_row(row)
            except (ValueError, ExpressionError) as error:
                draft.fault("groups", line, "code", str(error))
    groups = draft.values("groups", "code")
    if "scores" in draft.tables:
        for line, (code,) in draft.tables["scores"].located("code"):
            if code not in groups:
                draft.fault("scores", line, "code", f"病种 {code} 不在 groups 表中")
    _note_unknown_codes(draft, store)


def _check_group(draft: Draft, line: int, row: dict[str, str]) -> None:
    layer, rule, code = row["layer"], row["procedure_rule"], row["code"]
    for column in ("main_procedures", "related_procedures"):
        try:
            parse(row[column])
        except ExpressionError as error:
            draft.fault("groups", line, column, f"“{shown(row[column])}”不能读取：{error}")
    if rule in ("main", "any", "exact") and not row["main_procedures"]:
        draft.fault("groups", line, "main_procedures", f"{code} 的规则是 {rule}，主要手术操作不能为空")
    if rule in ("none", "free") and (row["main_procedures"] or row["related_procedures"]):
        draft.fault("groups", line, "main_procedures", f"{code} 的规则是 {rule}，不能列手术操作")
    if layer != "pre":
        if not row["diagnoses"]:
            draft.fault("groups", line, "diagnoses", f"{code} 没有主要诊断；只有先期分组可以不限诊断")
        if row["diagnosis_scope"] == "any":
            draft.fault("groups", line, "diagnosis_scope", f"{code}：只有先期分组可以看任一诊断")
    if (layer == "comprehensive") is not (row["treatment"] != ""):
        draft.fault(
            "groups",
            line,
            "treatment",
            f"{code}：综合病种要写类别（{'、'.join(TREATMENT_GROUPS)}），其他层次不写",
        )


def _note_unknown_codes(draft: Draft, store: PackStore) -> None:
    """A procedure that the library lacks is kept: a catalogue may name local codes."""
    try:
        library = {code for (code,) in store.get(draft.requires["icd9cm3"]).records("codes", "code")}
    except (PackError, KeyError):
        return  # the missing pack itself is reported where ``requires`` is checked
    unknown: set[str] = set()
    for column in ("main_procedures", "related_procedures"):
        for text in draft.values("groups", column):
            try:
                expression = parse(text)
            except ExpressionError:
                continue
            unknown |= (expression.codes if expression else frozenset()) - library
    if unknown:
        some = "、".join(sorted(unknown)[:10])
        draft.notes.append(
            f"{len(unknown)} 个手术操作编码不在 {draft.requires['icd9cm3']} 中，原样保留：{some}"
        )


def check_parameters(draft: Draft, names: dict[str, str]) -> None:
    """Every parameter is known and has a possible value."""
    if "parameters" not in draft.tables:
        return
    for line, (name, value) in draft.tables["parameters"].located("parameter", "value"):
        fault = fault_of(name, value, names)
        if fault:
            draft.fault("parameters", line, "value", fault)


def check_drg_parameters(draft: Draft) -> None:
    """The optional tables of a ``drg-payment`` pack: known parameters, thresholds the right way round."""
    check_parameters(draft, dict(DRG_PARAMETERS))
    if "thresholds" in draft.tables:
        located = draft.tables["thresholds"].located(
            "drg", "low_ratio", "high_ratio", "low_amount", "high_amount"
        )
        for line, (drg, *limits) in located:
            if not any(limits):
                draft.fault("thresholds", line, "low_ratio", f"{drg} 的四个界限都为空")
            for low, high, column in ((*limits[:2], "high_ratio"), (*limits[2:], "high_amount")):
                if (
                    low
                    and high
                    and _AMOUNT.fullmatch(low)
                    and _AMOUNT.fullmatch(high)
                    and float(low) > float(high)
                ):
                    draft.fault("thresholds", line, column, f"{drg} 的低界限 {low} 大于高界限 {high}")
    for table in ("thresholds", "marks"):
        if table in draft.tables and "weights" in draft.tables:
            known = draft.values("weights", "drg")
            for line, (drg,) in draft.tables[table].located("drg"):
                if drg not in known:
                    draft.fault(table, line, "drg", f"{drg} 不在 weights 表中")


def _check_dip_payment(draft: Draft, store: PackStore) -> None:
    check_parameters(draft, dict(DIP_PARAMETERS))
    if "scores" not in draft.tables or "dip-catalogue" not in draft.requires:
        return
    try:
        pack = store.get(draft.requires["dip-catalogue"])
        known = {code for (code,) in pack.records("groups", "code")}
    except PackError:
        return  # the missing pack itself is reported where ``requires`` is checked
    beyond = sorted(draft.values("scores", "code") - known)
    if beyond:
        draft.notes.append(f"{len(beyond)} 个有分值的病种不在 {pack.id} 中：{'、'.join(beyond[:10])}")


def _check_comorbidity(draft: Draft, store: PackStore) -> None:
    del store
    if "conditions" not in draft.tables:
        return
    heads: dict[str, tuple[str, ...]] = {}
    known = draft.values("conditions", "condition")
    for line, (condition, *head) in draft.tables["conditions"].located(
        "condition", "name", "weight", "superseded_by"
    ):
        if heads.setdefault(condition, tuple(head)) != tuple(head):
            draft.fault("conditions", line, "condition", f"{condition} 各行的名称、权重或上位病情不一致")
        if head[2] and head[2] not in known:
            draft.fault("conditions", line, "superseded_by", f"{head[2]} 不在表中")


CATALOGUE = KindSpec(
    "dip-catalogue",
    "DIP 病种目录",
    (GROUPS, SCORES, EXCLUDED_DIAGNOSES, EXCLUDED_PROCEDURES, RESISTANCE_DIAGNOSES),
    check_catalogue,
    requires=("icd10", "icd9cm3"),
)
PAYMENT = KindSpec(
    "dip-payment",
    "DIP 分值付费参数",
    (
        TableSpec(PARAMETERS.name, PARAMETERS.columns, PARAMETERS.key),
        SCORES,
        TableSpec(
            "severity",
            (
                ColumnSpec("order", _NUMBER, "由重到轻的次序（整数）"),
                ColumnSpec("level"),
                ColumnSpec("diagnosis", _DIAGNOSIS, "诊断编码或其前几位"),
            ),
            ("diagnosis",),
            optional=True,
        ),
    ),
    _check_dip_payment,
    requires=("dip-catalogue",),
)
COMORBIDITY = KindSpec(
    "comorbidity-index",
    "合并症指数",
    (
        TableSpec(
            "conditions",
            (
                ColumnSpec("condition", re.compile(r"[a-z_]{1,40}"), "小写字母和 _"),
                ColumnSpec("name"),
                ColumnSpec("weight", re.compile(r"\d{1,2}"), "整数"),
                ColumnSpec("superseded_by", empty=True),
                ColumnSpec("prefix", _DIAGNOSIS, "诊断编码的前几位"),
            ),
            ("condition", "prefix"),
        ),
    ),
    _check_comorbidity,
)
