"""The official DIP catalogue workbook (ten sheets) as the tables of a catalogue; every repair is reported."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from python_calamine import CalamineWorkbook

from coding.library import normalize_code
from grouper.dip.catalogue import (
    DipGroup,
    Layer,
    ProcedureRule,
    Resistance,
    row_of_group,
)
from grouper.dip.expression import Expression, ExpressionError, parse
from grouper.dip.tables import EXCLUDED_DIAGNOSES, EXCLUDED_PROCEDURES, GROUPS, RESISTANCE_DIAGNOSES
from grouper.workbook import (
    Column,
    Row,
    Sheet,
    WorkbookError,
    is_workbook,
    make_sheet,
    open_workbook,
    plain,
    read_rows,
)
from models.pack_import import Draft, Fault, Table, TableSpec

SHOWN_EXAMPLES = 10
MIN_SHEETS = 3
"""With fewer sheets of the official names the workbook is taken for a bureau's own catalogue."""

NEONATE_DAYS = 29
"""Birth-weight bands hold below this age (days)."""
BIRTH_WEIGHTS: Mapping[str, tuple[int, int]] = {
    "超低出生体重": (0, 999),
    "极低出生体重": (1000, 1499),
    "较低出生体重": (1500, 1999),
    "低出生体重": (2000, 2499),
}
"""g, inclusive, by how the name of a 先期 group begins; the workbook gives no columns for them."""
ANY_POSITION = ("39.65", "96.72")
"""先期 procedures that count wherever they stand: ECMO, and ventilation for 96 hours or more."""

_EMPTY = frozenset({"", "/", "-", "—", "无", "保守治疗", "ANY", "不限", "任意", "所有诊断"})
_SEPARATORS = re.compile(r"[|｜、,，;；/\s]+")
_DIAGNOSIS = re.compile(r"[A-Z][0-9A-Zx.+*]{0,19}")
_FOLLOWED = re.compile(r"[（(].*")

_CATEGORY = Column("category", ("类别",), optional=True)
_SEQUENCE = Column("seq", ("序号",))
_DIAGNOSES = Column("diagnoses", ("主要诊断", "主要诊断编码"))
_DIAGNOSIS_NAME = Column("diagnosis_name", ("主要诊断名称",), optional=True)
_MAIN = Column("main", ("主要手术操作", "主要手术操作编码"))
_MAIN_NAME = Column("main_name", ("名称", "主要手术操作名称"), optional=True, after="main")
_RELATED = Column("related", ("相关手术操作", "相关手术操作编码"), optional=True)
_RELATED_NAME = Column("related_name", ("名称", "相关手术操作名称"), optional=True, after="related")
_OTHERS = Column("others", ("其他诊断", "其他诊断编码", "次要诊断"), optional=True)
_USUAL = (_CATEGORY, _SEQUENCE, _DIAGNOSES, _DIAGNOSIS_NAME, _MAIN, _MAIN_NAME, _RELATED, _RELATED_NAME)


@dataclass(frozen=True, slots=True)
class _Layout:
    """An official sheet: words that its name holds, and its columns. ``layer`` is empty for lists of codes."""

    words: tuple[str, ...]
    columns: tuple[Column, ...]
    layer: Layer | None = None
    category: str = ""


LAYOUTS: Mapping[str, _Layout] = {
    "先期分组": _Layout(
        ("先期",),
        (
            *_USUAL,
            Column("name", ("名称", "病种名称", "先期分组名称")),
        ),
        "pre",
        "XQ",
    ),
    "并项规则下的核心病种": _Layout(("并项",), _USUAL, "merged", "BX"),
    "烧伤类病种": _Layout(
        ("烧伤",),
        (
            *_USUAL,
            Column("degree", ("烧伤程度", "程度"), optional=True),
            Column("area", ("烧伤面积", "面积"), optional=True),
            Column("others", ("其他诊断", "其他诊断编码", "烧伤面积编码", "面积编码")),
        ),
        "burn",
        "FZ",
    ),
    "肿瘤类病种": _Layout(
        ("肿瘤",),
        (
            _CATEGORY,
            _SEQUENCE,
            _DIAGNOSES,
            _DIAGNOSIS_NAME,
            Column("others", ("其他诊断", "其他诊断编码", "次要诊断")),
            Column(
                "expression", ("手术操作表达式", "手术操作组合", "治疗方式组合", "治疗方式", "手术操作编码")
            ),
            Column(
                "expression_name",
                ("手术操作表达式名称", "手术操作名称", "名称"),
                optional=True,
                after="expression",
            ),
            replace(_MAIN, optional=True),
            _MAIN_NAME,
            _RELATED,
            _RELATED_NAME,
        ),
        "tumour",
        "FZ",
    ),
    "结核类病种": _Layout(
        ("结核类",),
        (*_USUAL, Column("resistance", ("是否耐药", "耐药情况", "耐药")), _OTHERS),
        "tuberculosis",
        "FZ",
    ),
    "结核耐药诊断": _Layout(
        ("耐药诊断",), (Column("code", ("诊断编码", "疾病编码", "编码", "主要诊断", "ICD编码")),)
    ),
    "基础规则下的核心病种": _Layout(("基础规则",), _USUAL, "base", "JC"),
    "不纳入分组的主要诊断": _Layout(
        ("不纳入", "诊断"),
        (Column("code", ("主要诊断编码", "主要诊断", "诊断编码", "疾病编码", "编码", "ICD编码")),),
    ),
    "不纳入分组的主要手术操作": _Layout(
        ("不纳入", "手术"),
        (Column("code", ("主要手术操作编码", "主要手术操作", "手术操作编码", "编码", "ICD编码")),),
    ),
    "基层病种": _Layout(("基层",), _USUAL),
}
"""The ten sheets by what they hold."""

_CODE_TABLES: Mapping[str, TableSpec] = {
    "结核耐药诊断": RESISTANCE_DIAGNOSES,
    "不纳入分组的主要诊断": EXCLUDED_DIAGNOSES,
    "不纳入分组的主要手术操作": EXCLUDED_PROCEDURES,
}


@dataclass(slots=True)
class _Reading:
    """What was read so far: groups with the sheet and row that each came from, and what was repaired."""

    file: str
    draft: Draft
    groups: dict[str, tuple[DipGroup, Sheet, Row]] = field(default_factory=dict)
    repairs: dict[str, list[str]] = field(default_factory=dict)

    def repair(self, sheet: Sheet, what: str, example: str) -> None:
        self.repairs.setdefault(f"工作表“{sheet.name}”：{what}", []).append(example)

    def fault(self, sheet: Sheet, row: Row, column: str, message: str) -> None:
        self.draft.faults.append(sheet.fault(row, column, message))


def choose_sheets(names: Sequence[str]) -> dict[str, str]:
    """The official sheets of a workbook: what each holds → its name."""
    chosen: dict[str, str] = {}
    for title, layout in LAYOUTS.items():
        for name in names:
            text = plain(name)
            if name not in chosen.values() and all(plain(word) in text for word in layout.words):
                chosen[title] = name
                break
    return chosen


def is_official(names: Sequence[str]) -> bool:
    """Whether the sheets are those of the national catalogue."""
    return len(choose_sheets(names)) >= MIN_SHEETS


def read_dip_workbook(path: Path) -> Draft | None:
    """The tables of a catalogue from the official workbook; None for another workbook or source.

    Faults name sheet, row and cell; ``notes`` of the draft list every repair. A sheet that is missing is
    a fault, for a catalogue without it would group cases wrongly.
    """
    if not is_workbook(path):
        return None
    draft = Draft()
    try:
        book = open_workbook(path)
        if not is_official(book.sheet_names):
            return None
        _read(path, book, draft)
    except WorkbookError as error:
        draft.faults.append(Fault(path.name, 0, "", str(error).removeprefix(f"{path.name}：")))
    return draft


def _read(path: Path, book: CalamineWorkbook, draft: Draft) -> None:
    chosen = choose_sheets(book.sheet_names)
    reading = _Reading(path.name, draft)
    for title, layout in LAYOUTS.items():
        if title not in chosen:
            names = "、".join(book.sheet_names)[:200]
            draft.faults.append(Fault(path.name, 0, "", f"缺少工作表“{title}”；工作簿中有：{names}"))
            continue
        sheet, faults = make_sheet(
            path.name, chosen[title], read_rows(path, book, chosen[title]), layout.columns
        )
        draft.faults += faults
        if sheet.cleaned:
            draft.notes.append(
                f"工作表“{sheet.name}”：{sheet.cleaned} 行去掉了 _x000D_、换行、多余空格等残留字符"
            )
        if title in _CODE_TABLES:
            _read_codes(reading, sheet, _CODE_TABLES[title])
        elif layout.layer is not None:
            for row in sheet.rows:
                _read_group(reading, sheet, row, layout.layer, layout.category)
        else:
            _mark_primary_care(reading, sheet)
    for what, examples in reading.repairs.items():
        some = "、".join(examples[:SHOWN_EXAMPLES])
        more = f"等 {len(examples)} 处" if len(examples) > SHOWN_EXAMPLES else ""
        draft.notes.append(f"{what}：{some}{more}")
    put_groups(
        draft,
        path.name,
        [(group, f"{sheet.place}", row.number) for group, sheet, row in reading.groups.values()],
    )


def put_groups(draft: Draft, file: str, groups: Sequence[tuple[DipGroup, str, int]]) -> None:
    """Keep groups as the table ``groups``, unless a sheet has faults: they have been said with their cells."""
    if groups and not draft.faults:
        places = {place for _, place, _ in groups}
        draft.tables["groups"] = Table(
            GROUPS,
            places.pop() if len(places) == 1 else file,
            [row_of_group(group) for group, _, _ in groups],
            [line for _, _, line in groups],
        )


def _read_codes(reading: _Reading, sheet: Sheet, spec: TableSpec) -> None:
    pattern = spec.columns[0].pattern
    lines: dict[str, int] = {}
    for row in sheet.rows:
        for text in filter(None, _SEPARATORS.split(row["code"])):
            code = normalize_code(text)
            if pattern is not None and not pattern.fullmatch(code):
                reading.fault(sheet, row, "code", f"“{text[:40]}”不是编码，应为{spec.columns[0].meaning}")
            elif code in lines:
                reading.repair(sheet, "去掉重复的编码", f"第 {row.number} 行 {code}")
            else:
                lines[code] = row.number
    reading.draft.tables[spec.name] = Table(
        spec, sheet.place, [(code,) for code in lines], list(lines.values()), sheet.letters
    )


def read_diagnoses(text: str) -> tuple[tuple[str, ...], str]:
    """The codes or leading characters in a cell, and the first that is none (empty when all are)."""
    if text.upper() in _EMPTY:
        return (), ""
    codes = tuple(dict.fromkeys(normalize_code(part) for part in _SEPARATORS.split(text) if part))
    return codes, next((code for code in codes if not _DIAGNOSIS.fullmatch(code)), "")


def read_procedures(text: str) -> Expression | None:
    """The procedures in a cell; None where it says that there are none. Raises ExpressionError."""
    return None if text.upper() in _EMPTY else parse(text)


def _read_group(reading: _Reading, sheet: Sheet, row: Row, layer: Layer, category: str) -> None:
    order = (
        int(row["seq"]) if row["seq"].isascii() and row["seq"].isdigit() and len(row["seq"]) <= 6 else None
    )
    if order is None:
        reading.fault(sheet, row, "seq", f"“{row['seq'][:30]}”不是序号（整数）")
    if row["category"] and row["category"] != category:
        reading.fault(sheet, row, "category", f"“{row['category'][:30]}”应为 {category}")
    diagnoses = _diagnoses(reading, sheet, row, "diagnoses")
    others = _diagnoses(reading, sheet, row, "others")
    main, related, expression = (
        _procedures(reading, sheet, row, column) for column in ("main", "related", "expression")
    )
    if layer != "pre" and not diagnoses and order is not None:
        reading.fault(sheet, row, "diagnoses", "主要诊断不能为空")
    rule: ProcedureRule = "main" if main else "none"
    if expression is not None:
        if main is None:
            rule, main = "any", expression
        else:
            related = expression
    group = DipGroup(
        code=f"{category}{order}",
        layer=layer,
        category=category,
        order=order or 0,
        name=_name(row, layer),
        diagnoses=diagnoses,
        other_diagnoses=others,
        procedure_rule=rule,
        main=main,
        related=related,
        resistance=_resistance(reading, sheet, row) if layer == "tuberculosis" else "",
        degree=row["degree"],
        area=row["area"],
    )
    if layer == "pre":
        group = _pre(reading, sheet, row, group)
    _keep(reading, sheet, row, group)


def _keep(reading: _Reading, sheet: Sheet, row: Row, group: DipGroup) -> None:
    twin = reading.groups.get(group.code)
    if twin is not None:
        if twin[0] == group:
            reading.repair(sheet, "去掉重复的行", f"第 {row.number} 行 {group.code}")
            return
        number = 2
        while f"{group.code}_{number}" in reading.groups:
            number += 1
        group = replace(group, code=f"{group.code}_{number}")
        reading.repair(sheet, "序号重复而内容不同，编码加后缀区分", f"第 {row.number} 行 {group.code}")
    reading.groups[group.code] = (group, sheet, row)


def _diagnoses(reading: _Reading, sheet: Sheet, row: Row, column: str) -> tuple[str, ...]:
    codes, wrong = read_diagnoses(row[column])
    if wrong:
        reading.fault(sheet, row, column, f"“{wrong[:40]}”不是诊断编码或其前几位")
    return codes


def _procedures(reading: _Reading, sheet: Sheet, row: Row, column: str) -> Expression | None:
    try:
        return read_procedures(row[column])
    except ExpressionError as error:
        reading.fault(sheet, row, column, f"“{row[column][:40]}”不能读取：{error}")
        return None


def _resistance(reading: _Reading, sheet: Sheet, row: Row) -> Resistance:
    text = _FOLLOWED.sub("", row["resistance"])
    if not text or text in _EMPTY:
        return ""
    if any(word in text for word in ("非耐药", "不耐药", "无耐药", "敏感")) or text == "否":
        return "sensitive"
    if "耐药" in text or text == "是":
        return "resistant"
    reading.fault(sheet, row, "resistance", f"“{text[:30]}”应为 耐药 或 非耐药")
    return ""


def _pre(reading: _Reading, sheet: Sheet, row: Row, group: DipGroup) -> DipGroup:
    """What the 先期 sheet leaves to its names: birth-weight bands, and procedures in any position."""
    if group.main is not None:
        everywhere = any(code.startswith(ANY_POSITION) for code in group.main.codes)
        return replace(group, procedure_rule="any" if everywhere else "main")
    band = next((band for name, band in BIRTH_WEIGHTS.items() if group.name.startswith(name)), None)
    if band is None or not group.diagnoses:
        reading.fault(
            sheet,
            row,
            "name",
            f"“{group.name[:40]}”没有手术操作，也不是已知的出生体重段（{'、'.join(BIRTH_WEIGHTS)}）",
        )
        return group
    return replace(
        group,
        procedure_rule="free",
        any_diagnosis=True,
        age_days_below=NEONATE_DAYS,
        birth_weight_from=band[0],
        birth_weight_to=band[1],
    )


def _name(row: Row, layer: Layer) -> str:
    if layer == "pre":
        return row["name"]
    procedures = [row["main_name"] or row["expression_name"], row["related_name"]]
    parts = [part for part in procedures if part and part not in _EMPTY]
    if not parts and not row["main"] and not row["expression"]:
        parts = ["保守治疗"]
    labels = [part for part in (row["degree"], row["area"], row["resistance"]) if part]
    diagnosis = row["diagnosis_name"] or row["diagnoses"]
    return " + ".join(["，".join([diagnosis, *labels]), *parts])


def _mark_primary_care(reading: _Reading, sheet: Sheet) -> None:
    """基层病种 repeat rows of the other sheets: found by diagnosis and procedures."""
    by_content: dict[tuple[object, ...], list[str]] = {}
    for code, (group, _, _) in reading.groups.items():
        by_content.setdefault(_content(group.diagnoses, group.main, group.related), []).append(code)
    for row in sheet.rows:
        diagnoses = _diagnoses(reading, sheet, row, "diagnoses")
        main, related = (_procedures(reading, sheet, row, column) for column in ("main", "related"))
        found = by_content.get(_content(diagnoses, main, related))
        if not found:
            reading.repair(
                sheet, "目录各表中没有同样的病种，未标为基层病种", f"第 {row.number} 行 {row['diagnoses']}"
            )
            continue
        for code in found:
            group, place, origin = reading.groups[code]
            reading.groups[code] = (replace(group, primary_care=True), place, origin)


def _content(
    diagnoses: tuple[str, ...], main: Expression | None, related: Expression | None
) -> tuple[object, ...]:
    return (
        frozenset(diagnoses),
        main.codes if main else frozenset(),
        related.codes if related else frozenset(),
    )
