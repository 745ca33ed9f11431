"""A bureau's own tables as packs: DIP catalogues with scores, DRG weights, rates and thresholds."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from grouper.dip.catalogue import TREATMENT_GROUPS, DipGroup, Layer, TreatmentGroup
from grouper.dip.expression import ExpressionError
from grouper.dip.tables import MARK_TABLE, PARAMETERS, SCORES, THRESHOLDS
from grouper.importer import WEIGHTS
from grouper.payment import BASIC, STABLE
from grouper.workbook import (
    Cell,
    Column,
    Row,
    Sheet,
    WorkbookError,
    find_header,
    is_workbook,
    make_sheet,
    open_workbook,
    read_csv_rows,
    read_rows,
)
from grouper.workbook_dip import put_groups, read_diagnoses, read_dip_workbook, read_procedures
from models.pack_import import Draft, Fault, Table, TableSpec, check_key

CATEGORY_LENGTH = 3

CATALOGUE_COLUMNS = (
    Column("code", ("病种编码", "病种代码", "DIP编码", "DIP代码", "组号", "分组编码"), optional=True),
    Column("name", ("病种名称", "DIP名称", "组名称", "分组名称"), optional=True),
    Column("type", ("病种类型", "病种类别", "目录类型", "类型", "类别"), optional=True),
    Column(
        "diagnosis",
        ("主要诊断编码", "主要诊断代码", "主诊断编码", "诊断编码", "疾病编码", "主要诊断", "ICD10编码"),
    ),
    Column("diagnosis_name", ("主要诊断名称", "主诊断名称", "诊断名称", "疾病名称"), optional=True),
    Column(
        "main",
        (
            "主要手术操作编码",
            "主要手术操作代码",
            "手术操作编码",
            "手术操作代码",
            "主要手术编码",
            "手术编码",
            "操作编码",
            "主要手术操作",
        ),
        optional=True,
    ),
    Column("main_name", ("主要手术操作名称", "手术操作名称", "手术名称", "操作名称"), optional=True),
    Column(
        "related", ("相关手术操作编码", "相关手术操作代码", "其他手术操作编码", "相关手术操作"), optional=True
    ),
    Column("others", ("其他诊断编码", "次要诊断编码", "其他诊断", "次要诊断"), optional=True),
    Column("treatment", ("治疗方式", "治疗类别", "操作类别", "分组类别"), optional=True),
    Column("score", ("病种分值", "基准分值", "分值", "RW", "相对权重")),
    Column(
        "mean_cost",
        ("次均费用", "均次费用", "例均费用", "平均费用", "病种均次费用", "次均医疗费用"),
        optional=True,
    ),
    Column("cases", ("病例数", "例数"), optional=True),
    Column("primary_care", ("基层病种", "是否基层病种"), optional=True),
)
WEIGHT_COLUMNS = (
    Column(
        "drg", ("DRG编码", "DRG代码", "DRG组编码", "DRGS编码", "病组编码", "病组代码", "分组编码", "DRG组")
    ),
    Column("weight", ("权重", "基准权重", "相对权重", "病组权重", "RW", "基础权重"), optional=True),
    Column("average_fee", ("次均费用", "均次费用", "例均费用", "平均费用", "病组次均费用"), optional=True),
    Column("standard", ("支付标准", "病组支付标准", "付费标准"), optional=True),
    Column("low_ratio", ("低倍率", "低倍率界限", "低倍率阈值", "低费用倍数"), optional=True),
    Column("high_ratio", ("高倍率", "高倍率界限", "高倍率阈值", "高费用倍数"), optional=True),
    Column("low_amount", ("低倍率金额", "低费用界限", "费用下限", "低费用阈值"), optional=True),
    Column("high_amount", ("高倍率金额", "高费用界限", "费用上限", "高费用阈值"), optional=True),
    Column("basic", (BASIC, "是否基础病组", "基础组"), optional=True),
    Column("stable", (STABLE, "是否稳定病组", "稳定组"), optional=True),
)
RATE_COLUMNS = (
    Column("base_rate", ("费率", "基础费率", "基准费率", "基准点值")),
    Column(
        "hospital_level",
        ("医院等级", "医院级别", "医疗机构等级", "医疗机构级别", "级别", "等级"),
        optional=True,
    ),
    Column("insurance", ("险种", "医保类型", "参保类型", "险种类型"), optional=True),
    Column(
        "hospital_coefficient",
        ("医疗机构系数", "医院系数", "等级系数", "机构系数", "级别系数"),
        optional=True,
    ),
    Column("insurance_coefficient", ("险种系数",), optional=True),
)
PARAMETER_SHEET = (
    Column("parameter", ("parameter", "参数")),
    Column("key", ("key", "档次", "键"), optional=True),
    Column("hospital_level", ("hospital_level", "医院等级", "医疗机构等级"), optional=True),
    Column("insurance", ("insurance", "险种"), optional=True),
    Column("value", ("value", "值", "参数值")),
    Column("unit", ("unit", "单位"), optional=True),
    Column("source", ("source", "来源", "依据")),
)

_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]+)?")
_YES = ("是", "1", "√", "Y", "YES", "TRUE")
_NO = ("", "否", "0", "N", "NO", "×", "/", "-", "FALSE")
_TREATMENT_WORDS: tuple[tuple[str, TreatmentGroup], ...] = (
    *((group, group) for group in TREATMENT_GROUPS),
    ("介入", "手术组"),
    ("诊断性", "诊断性操作组"),
    ("治疗性", "治疗性操作组"),
    ("保守", "内科组"),
    ("内科", "内科组"),
    ("手术", "手术组"),
)


def read_catalogue(path: Path, mapping: Mapping[str, str]) -> Draft | None:
    """A DIP catalogue: the official workbook, or a bureau's table with scores; None for our own form.

    ``mapping`` gives the header of a column by the name in CATALOGUE_COLUMNS, where the synonyms do not
    fit. Every row of the bureau's table becomes a group of the base layer or a 综合病种, with its score.
    """
    official = read_dip_workbook(path)
    if official is not None:
        return official
    return _read(path, "dip-catalogue", CATALOGUE_COLUMNS, mapping, _catalogue)


def read_payment(path: Path, mapping: Mapping[str, str]) -> Draft | None:
    """A bureau's DRG weights, with rates and thresholds where the workbook has them; None for our own form."""
    return _read(path, "drg-payment", WEIGHT_COLUMNS, mapping, _payment)


@dataclass(frozen=True, slots=True)
class _Source:
    """The sheets of a workbook, or the one table of a CSV with an empty sheet name."""

    file: str
    sheets: tuple[tuple[str, list[list[Cell]]], ...]
    draft: Draft
    mapping: Mapping[str, str]


def _read(
    path: Path,
    kind: str,
    columns: Sequence[Column],
    mapping: Mapping[str, str],
    build: Callable[[_Source, Sequence[Column]], None],
) -> Draft | None:
    if not path.is_file():
        return None
    draft = Draft()
    unknown = [name for name in mapping if name not in {column.name for column in columns}]
    if unknown:
        known = "、".join(column.name for column in columns)
        draft.faults.append(
            Fault(path.name, 0, "", f"{kind} 没有列 {'、'.join(unknown)}，可以对应的列：{known}")
        )
        return draft
    wanted = [
        replace(column, headers=(mapping[column.name],), optional=False) if column.name in mapping else column
        for column in columns
    ]
    try:
        if is_workbook(path):
            book = open_workbook(path)
            sheets = tuple((name, read_rows(path, book, name)) for name in book.sheet_names)
        else:
            rows = read_csv_rows(path)
            if not mapping and not _is_bureaus(rows, wanted):
                return None
            sheets = (("", rows),)
        build(_Source(path.name, sheets, draft, mapping), wanted)
    except WorkbookError as error:
        draft.faults.append(Fault(path.name, 0, "", str(error).removeprefix(f"{path.name}：")))
    return draft


def _is_bureaus(rows: Sequence[Sequence[Cell]], columns: Sequence[Column]) -> bool:
    """Whether a CSV has Chinese headers; our own form has English ones and is read as it is."""
    _, found = find_header(rows, columns)
    return any(re.search("[\u4e00-\u9fff]", str(cell)) for row in rows[:3] for cell in row) and bool(found)


def _sheet(source: _Source, columns: Sequence[Column], distinguishing: str) -> Sheet | None:
    """The sheet whose header fits ``columns`` best, read; faults when none has the needed columns."""
    best: tuple[int, str, list[list[Cell]]] | None = None
    for name, rows in source.sheets:
        _, found = find_header(rows, columns)
        if distinguishing in found and (best is None or len(found) > best[0]):
            best = (len(found), name, rows)
    if best is None:
        return None
    sheet, faults = make_sheet(source.file, best[1], best[2], columns)
    source.draft.faults += faults
    if sheet.cleaned:
        source.draft.notes.append(f"{sheet.place}：{sheet.cleaned} 行去掉了换行、多余空格等残留字符")
    if sheet.letters:
        used = "、".join(f"{header} → {name}" for name, (_, header) in sheet.letters.items())
        source.draft.notes.append(f"{sheet.place}：列的对应是 {used}")
    return sheet


def _none_found(source: _Source, columns: Sequence[Column]) -> None:
    needed = "、".join("或".join(column.headers[:4]) for column in columns if not column.optional)
    source.draft.faults.append(
        Fault(source.file, 0, "", f"没有找到需要的列：{needed}；列名不同时请用 --column 列=表头 指明")
    )


def _amount(source: _Source, sheet: Sheet, row: Row, column: str) -> str:
    """A non-negative number without thousands separators; a fault for anything else."""
    text = row[column].replace(",", "").removesuffix("元").strip()
    if text in ("", "/", "-", "—"):
        return ""
    if text.endswith("%") and _NUMBER.fullmatch(text[:-1]):
        return _decimal_text(Fraction(text[:-1]) / 100)
    if re.fullmatch(r"[0-9.]+[eE][+-]?[0-9]{1,2}", text):
        try:
            return _decimal_text(Fraction(text))
        except ValueError:
            pass
    if not _NUMBER.fullmatch(text):
        source.draft.faults.append(sheet.fault(row, column, f"“{row[column][:30]}”不是非负数字"))
        return ""
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals[:16]}" if decimals else whole


def _decimal_text(value: Fraction) -> str:
    return f"{float(value):.12f}".rstrip("0").rstrip(".")


def _flag(source: _Source, sheet: Sheet, row: Row, column: str) -> bool:
    text = row[column].upper()
    if text not in (*_YES, *_NO):
        source.draft.faults.append(sheet.fault(row, column, f"“{row[column][:30]}”应为 是 或 否"))
    return text in _YES


def _put(source: _Source, spec: TableSpec, sheet: Sheet, rows: Sequence[tuple[Row, tuple[str, ...]]]) -> None:
    if rows:
        table = Table(
            spec, sheet.place, [values for _, values in rows], [row.number for row, _ in rows], sheet.letters
        )
        source.draft.tables[spec.name] = table
        check_key(table, source.draft)


def _catalogue(source: _Source, columns: Sequence[Column]) -> None:
    sheet = _sheet(source, columns, "diagnosis")
    if sheet is None:
        _none_found(source, columns)
        return
    groups: dict[str, tuple[DipGroup, str, int]] = {}
    scores: list[tuple[Row, tuple[str, ...]]] = []
    for order, row in enumerate(sheet.rows, start=1):
        group = _group(source, sheet, row, order)
        if group is None:
            continue
        twin = groups.get(group.code)
        if twin is not None:
            source.draft.faults.append(sheet.fault(row, "code", f"病种 {group.code} 与第 {twin[2]} 行重复"))
            continue
        groups[group.code] = (group, sheet.place, row.number)
        cases = row["cases"]
        if cases and not re.fullmatch(r"[0-9]{1,9}", cases):
            source.draft.faults.append(sheet.fault(row, "cases", f"“{cases[:30]}”不是例数（整数）"))
            cases = ""
        amounts = [_amount(source, sheet, row, column) for column in ("score", "mean_cost")]
        if not amounts[0]:
            source.draft.faults.append(sheet.fault(row, "score", f"病种 {group.code} 没有分值"))
        scores.append((row, (group.code, *amounts, cases)))
    put_groups(source.draft, source.file, list(groups.values()))
    _put(source, SCORES, sheet, scores)


def _group(source: _Source, sheet: Sheet, row: Row, order: int) -> DipGroup | None:
    diagnoses, wrong = read_diagnoses(row["diagnosis"])
    others, wrong_other = read_diagnoses(row["others"])
    for column, text in (("diagnosis", wrong), ("others", wrong_other)):
        if text:
            source.draft.faults.append(sheet.fault(row, column, f"“{text[:40]}”不是诊断编码或其前几位"))
    if not diagnoses:
        source.draft.faults.append(sheet.fault(row, "diagnosis", "主要诊断编码不能为空"))
        return None
    expressions = []
    for column in ("main", "related"):
        try:
            expressions.append(read_procedures(row[column]))
        except ExpressionError as error:
            source.draft.faults.append(sheet.fault(row, column, f"“{row[column][:40]}”不能读取：{error}"))
            expressions.append(None)
    main, related = expressions
    main_text = row["main"]
    if main is not None and not main.alternatives:
        # "a+b": the first is the main procedure, the others go with it
        first, _, rest = main.text.partition("+")
        if "(" not in first and "|" not in first and related is None:
            main, related = read_procedures(first), read_procedures(rest)
        else:
            source.draft.faults.append(
                sheet.fault(row, "main", f"“{main_text[:40]}”应为 主要+相关 或以 | 分开的编码")
            )
    layer: Layer = "base"
    treatment: TreatmentGroup | None = None
    if "综合" in row["type"]:
        layer = "comprehensive"
        treatment = _treatment(row)
        if treatment is None:
            source.draft.faults.append(
                sheet.fault(row, "treatment", f"综合病种要写明类别：{'、'.join(TREATMENT_GROUPS)}")
            )
        main = related = None
        diagnoses = tuple(dict.fromkeys(code[:CATEGORY_LENGTH] for code in diagnoses))
    name = row["name"] or " + ".join(
        part
        for part in (row["diagnosis_name"] or "|".join(diagnoses), row["main_name"] or (treatment or ""))
        if part
    )
    code = row["code"] or ":".join(
        part
        for part in (
            "|".join(diagnoses),
            treatment or "",
            main.text if main else "",
            related.text if related else "",
        )
        if part
    )
    return DipGroup(
        code=re.sub(r"[\s,|]", "/", code)[:60],
        layer=layer,
        category="ZH" if layer == "comprehensive" else "JC",
        order=order,
        name=name,
        diagnoses=diagnoses,
        other_diagnoses=others,
        procedure_rule="free" if layer == "comprehensive" else "main" if main else "none",
        main=main,
        related=related,
        treatment=treatment or "",
        primary_care=_flag(source, sheet, row, "primary_care") or "基层" in row["type"],
    )


def _treatment(row: Row) -> TreatmentGroup | None:
    for text in (row["treatment"], row["name"], row["main_name"], row["main"]):
        for word, treatment in _TREATMENT_WORDS:
            if word in text:
                return treatment
    return None


def _payment(source: _Source, columns: Sequence[Column]) -> None:
    sheet = _sheet(source, columns, "drg")
    if sheet is None or not {"weight", "average_fee", "standard"} & set(sheet.letters):
        _none_found(source, (*columns[:1], Column("weight", ("权重", "次均费用", "支付标准"))))
        return
    weights, thresholds, marks = [], [], []
    for row in sheet.rows:
        drg = row["drg"].upper()
        weights.append(
            (
                row,
                (drg, *(_amount(source, sheet, row, name) for name in ("weight", "average_fee", "standard"))),
            )
        )
        limits = [
            _amount(source, sheet, row, name)
            for name in ("low_ratio", "high_ratio", "low_amount", "high_amount")
        ]
        if any(limits):
            thresholds.append((row, (drg, *limits)))
        marks += [
            (row, (drg, mark))
            for column, mark in (("basic", BASIC), ("stable", STABLE))
            if _flag(source, sheet, row, column)
        ]
        if not re.fullmatch(r"[0-9A-Z][0-9A-Z-]{1,9}", drg):
            source.draft.faults.append(sheet.fault(row, "drg", f"“{drg[:30]}”不是 DRG 编码"))
    _put(source, WEIGHTS, sheet, weights)
    _put(source, THRESHOLDS, sheet, thresholds)
    _put(source, MARK_TABLE, sheet, marks)
    _parameters(source)


def _parameters(source: _Source) -> None:
    """Rates and coefficients by hospital level and insurance, and any other parameters, from further sheets."""
    rows: list[tuple[Row, tuple[str, ...]]] = []
    place: Sheet | None = None
    given = _sheet(source, PARAMETER_SHEET, "parameter")
    if given is not None:
        place = given
        rows += [(row, tuple(row[column.name] for column in PARAMETER_SHEET)) for row in given.rows]
    rates = _sheet(source, RATE_COLUMNS, "base_rate")
    if rates is not None:
        place = place or rates
        for row in rates.rows:
            for name in ("base_rate", "hospital_coefficient", "insurance_coefficient"):
                value = _amount(source, rates, row, name)
                if value:
                    level = row["hospital_level"] if name != "insurance_coefficient" else ""
                    insurance = row["insurance"] if name != "hospital_coefficient" else ""
                    unit = "元" if name == "base_rate" else ""
                    rows.append(
                        (row, (name, "", level, insurance, value, unit, f"{rates.place} 第 {row.number} 行"))
                    )
    if place is None:
        return
    distinct: dict[tuple[str, ...], tuple[Row, tuple[str, ...]]] = {}
    for row, values in rows:
        twin = distinct.setdefault(values[:4], (row, values))
        if twin[1][4] != values[4]:
            source.draft.faults.append(
                place.fault(
                    row,
                    "",
                    f"{values[0]} {' '.join(filter(None, values[1:4]))} 有两个值 {twin[1][4]} 和 {values[4]}",
                )
            )
    _put(source, PARAMETERS, place, list(distinct.values()))
