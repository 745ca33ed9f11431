"""The official CHS-DRG workbook (six sheets) as the tables of a scheme; every repair is reported."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coding.library import normalize_code
from grouper.importer import ADRG, AMBIGUOUS, COMPLICATION, DRG, EXCLUSION, MDC, SETS
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
from models.pack_import import Draft, Fault, Table, TableSpec, check_key

NOT_GROUPED = "0000"
"""The catch-all row of the workbook; the engine gives this answer itself, with a reason."""
SHOWN_EXAMPLES = 10

_CATCH_ALL = re.compile(r"[A-Z]000?")
"""X00 and X000 of the MDC X, where cases end that fit nothing else there."""
_PART = re.compile(r"([0-9A-Z]{3})_(\d+)")
_EXCLUSION_PREFIX = re.compile(r"^EX_?", re.IGNORECASE)
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}

MISSING_EXCLUSIONS = (
    ("103", "P22.100"),
    ("103", "P24.100"),
    ("104", "P39.800"),
    ("105", "P55.100"),
    ("105", "P59.900"),
    ("107", "P78.800"),
    ("128", "S02.400"),
)
"""Rows of exclusion tables that the CHS-DRG 3.0 workbook of 2026-09-09 lacks."""

_ORDER = Column("order", ("排序", "序号"), optional=True)
SHEETS: Mapping[str, tuple[tuple[str, ...], tuple[Column, ...]]] = {
    "mdc": (
        ("MDC",),
        (
            Column("mdc", ("MDC编码", "MDC代码")),
            Column("name", ("MDC名称",)),
            Column("condition", ("MDC规则", "规则")),
            _ORDER,
        ),
    ),
    "adrg": (
        ("ADRG",),
        (
            Column("adrg", ("ADRG编码", "ADRG代码")),
            Column("name", ("ADRG名称",)),
            Column("condition", ("ADRG规则", "规则")),
            Column("mdc", ("所属MDC编码", "所属MDC")),
            _ORDER,
        ),
    ),
    "drg": (
        ("DRG",),
        (
            Column("drg", ("DRG编码", "DRG代码")),
            Column("name", ("DRG名称",)),
            Column("condition", ("DRG规则", "规则")),
            Column("adrg", ("所属ADRG编码", "所属ADRG")),
            _ORDER,
        ),
    ),
    "sets": (
        ("集合",),
        (Column("set", ("集合编号", "集合编码")), Column("code", ("ICD编码", "ICD代码"))),
    ),
    "complication": (
        ("CC", "MCC/CC", "MCCCC", "并发症"),
        (
            Column("code", ("疾病编码", "疾病代码", "ICD编码")),
            Column("exclusion_table", ("排除表", "排除表编号")),
            Column("level", ("类型", "级别")),
        ),
    ),
    "exclusion": (
        ("排除表", "CC排除表"),
        (Column("exclusion_table", ("集合编号", "排除表编号")), Column("principal_diagnosis", ("ICD编码",))),
    ),
}
"""Per table: the names of its sheet, and its columns with their headers."""

_KIND_OF_LETTER = (("ABCDEFGHJ", "surgical"), ("KLMNPQ", "operation"), ("RSTUVWXYZ0", "medical"))


def read_drg_workbook(path: Path) -> Draft | None:
    """The tables of a scheme from the official workbook; None for a source that is no workbook.

    Faults name sheet, row and cell; ``notes`` of the draft list every repair. Nothing is guessed: a
    sheet or column that is not there is a fault.
    """
    if not is_workbook(path):
        return None
    draft = Draft()
    try:
        book = open_workbook(path)
        chosen = _choose_sheets(path.name, book.sheet_names, draft)
        for table, sheet_name in chosen.items():
            sheet, faults = make_sheet(
                path.name, sheet_name, read_rows(path, book, sheet_name), SHEETS[table][1]
            )
            draft.faults += faults
            if sheet.cleaned:
                draft.notes.append(
                    f"工作表“{sheet_name}”：{sheet.cleaned} 行去掉了 _x000D_、换行、多余空格等残留字符"
                )
            if sheet.rows:
                _BUILDERS[table](_Target(sheet, draft))
    except WorkbookError as error:
        draft.faults.append(Fault(path.name, 0, "", str(error).removeprefix(f"{path.name}：")))
    return draft


def _choose_sheets(file: str, names: Sequence[str], draft: Draft) -> dict[str, str]:
    """The sheet of each table: by its exact name, else by a name that contains it."""
    chosen: dict[str, str] = {}
    for exact in (True, False):
        for table, (titles, _) in SHEETS.items():
            wanted = [plain(title) for title in titles]
            for name in names:
                text = plain(name)
                same = text in wanted if exact else any(text.endswith(title) for title in wanted)
                if table not in chosen and name not in chosen.values() and same:
                    chosen[table] = name
    for table, (titles, _) in SHEETS.items():
        if table not in chosen:
            draft.faults.append(
                Fault(
                    file, 0, "", f"缺少工作表“{titles[0]}”；工作簿中有：{'、'.join(names)[:200] or '（无）'}"
                )
            )
    return chosen


@dataclass(slots=True)
class _Target:
    """The sheet being turned into a table, and where faults and repairs are reported."""

    sheet: Sheet
    draft: Draft
    repairs: dict[str, list[str]] = field(default_factory=dict)

    def fault(self, row: Row, column: str, message: str) -> None:
        self.draft.faults.append(self.sheet.fault(row, column, message))

    def repair(self, what: str, example: str) -> None:
        self.repairs.setdefault(what, []).append(example)

    def put(self, spec: TableSpec, rows: Iterable[tuple[Row | None, tuple[str, ...]]]) -> None:
        """Check the values by the table's own columns and keep them."""
        found = list(rows)
        last = self.sheet.rows[-1].number
        lines = [row.number if row else last + 1 for row, _ in found]
        table = Table(spec, self.sheet.place, [values for _, values in found], lines, self.sheet.letters)
        self.draft.tables[spec.name] = table
        for line, values in zip(lines, table.rows, strict=True):
            for column, value in zip(spec.columns, values, strict=True):
                if not value and not column.empty and column.name in self.sheet.letters:
                    self.draft.fault(spec.name, line, column.name, "不能为空")
                elif value and column.pattern and not column.pattern.fullmatch(value):
                    self.draft.fault(
                        spec.name, line, column.name, f"“{value[:60]}”不符合要求，应为{column.meaning}"
                    )
        check_key(table, self.draft)
        for what, examples in self.repairs.items():
            some = "、".join(examples[:SHOWN_EXAMPLES])
            more = f"等 {len(examples)} 处" if len(examples) > SHOWN_EXAMPLES else ""
            self.draft.notes.append(f"工作表“{self.sheet.name}”：{what}：{some}{more}")


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else None


def _sorted(
    target: _Target,
    code_column: str,
    rows: Sequence[Row],
    group: Callable[[Row], str],
    last: Callable[[Row], bool],
) -> list[Row]:
    """By the column 排序 inside each ``group``, rows of ``last`` behind the others of theirs.

    Rows without a number keep their place in the sheet. Groups follow in order of appearance.
    """
    has_order = "order" in target.sheet.letters
    if not has_order:
        target.repair("没有“排序”列，按行的先后排序", f"{len(rows)} 行")
    places: dict[str, int] = {}
    keys: dict[int, tuple[int, bool, int, int]] = {}
    seen: dict[tuple[str, int], Row] = {}
    previous = 0
    for row in rows:
        order = _number(row["order"])
        if has_order and order is None:
            if row["order"]:
                target.fault(row, "order", f"“{row['order'][:30]}”不是整数")
            order = previous
        place = places.setdefault(group(row), len(places))
        if has_order and row["order"] and not last(row):
            twin = seen.setdefault((group(row), order or 0), row)
            if twin is not row and twin[code_column] != row[code_column]:
                target.repair(
                    "排序号相同，按行的先后排序",
                    f"{twin[code_column]} 与 {row[code_column]}（{row['order']}）",
                )
        previous = order or 0
        keys[row.number] = (place, last(row), previous if has_order else 0, row.number)
    ordered = sorted(rows, key=lambda row: keys[row.number])
    moved = [row[code_column] for row in rows if last(row)]
    if moved:
        target.repair("兜底行排到同级的最后", f"{len(moved)} 行（{'、'.join(moved[:SHOWN_EXAMPLES])}）")
    return ordered


def _formula(row: Row) -> str:
    """The formula of a row in half-width signs; the check of the scheme reads it."""
    return row["condition"].translate(_FULL_WIDTH)


def _distinct(target: _Target, rows: Sequence[Row], columns: Sequence[str], shown: str) -> list[Row]:
    """Without rows that repeat an earlier one in all ``columns``."""
    seen: set[tuple[str, ...]] = set()
    kept = []
    for row in rows:
        key = tuple(row[column] for column in columns)
        if key in seen:
            target.repair("去掉重复的行", f"第 {row.number} 行 {row[shown]}")
            continue
        seen.add(key)
        kept.append(row)
    return kept


def _grouping_rows(target: _Target, code: str) -> list[Row]:
    """The rows of a level without the catch-all 0000, which the engine answers itself."""
    kept = []
    for row in target.sheet.rows:
        if row[code] == NOT_GROUPED:
            target.repair("兜底行 0000 不作为分组条目，未入组由程序给出并说明原因", f"第 {row.number} 行")
            continue
        kept.append(row)
    return kept


def _is_catch_all(code: str) -> bool:
    return _CATCH_ALL.fullmatch(code) is not None


def _mdc(target: _Target) -> None:
    rows = _distinct(target, _grouping_rows(target, "mdc"), ("mdc", "name", "condition"), "mdc")
    ordered = _sorted(target, "mdc", rows, lambda _: "", lambda row: _is_catch_all(row["mdc"]))
    target.put(
        MDC,
        (
            (row, (str(order), row["mdc"], row["name"], _formula(row)))
            for order, row in enumerate(ordered, start=1)
        ),
    )


def _adrg(target: _Target) -> None:
    mdcs = _order_of(target.draft, "mdc", "mdc")
    rows = _distinct(target, _grouping_rows(target, "adrg"), ("adrg", "name", "condition", "mdc"), "adrg")
    rows = sorted(rows, key=lambda row: mdcs.get(row["mdc"], len(mdcs)))
    ordered = _sorted(target, "adrg", rows, lambda row: row["mdc"], lambda row: _is_catch_all(row["adrg"]))
    counts: dict[str, int] = {}
    for row in ordered:
        counts[row["adrg"]] = counts.get(row["adrg"], 0) + 1
    numbers: dict[str, int] = {}
    found = []
    for order, row in enumerate(ordered, start=1):
        code = part = row["adrg"]
        if match := _PART.fullmatch(code):
            code = match[1]
        elif counts[code] > 1:
            numbers[code] = numbers.get(code, 0) + 1
            part = f"{code}_{numbers[code]}"
            target.repair("同一 ADRG 有几条并列规则，分别编为分部", part)
        found.append((row, (str(order), row["mdc"], code, part, row["name"], _kind(code), _formula(row))))
    target.put(ADRG, found)


def _kind(adrg: str) -> str:
    if adrg[1:] == "QY":
        return AMBIGUOUS
    return next((kind for letters, kind in _KIND_OF_LETTER if adrg[1:2] in letters), "")


def _drg(target: _Target) -> None:
    rows = []
    for row in _grouping_rows(target, "drg"):
        if _kind(row["adrg"]) == AMBIGUOUS:
            target.repair("歧义组没有细分，DRG 行不使用", f"第 {row.number} 行 {row['drg']}")
            continue
        rows.append(row)
    rows = _distinct(target, rows, ("drg", "name", "condition", "adrg"), "drg")
    adrgs = _order_of(target.draft, "adrg", "adrg")
    rows = sorted(rows, key=lambda row: adrgs.get(row["adrg"], len(adrgs)))
    ordered = _sorted(target, "drg", rows, lambda row: row["adrg"], lambda row: _is_catch_all(row["drg"]))
    places: dict[str, int] = {}
    found = []
    for row in ordered:
        places[row["adrg"]] = places.get(row["adrg"], 0) + 1
        found.append((row, (row["adrg"], str(places[row["adrg"]]), row["drg"], row["name"], _formula(row))))
    target.put(DRG, found)


def _order_of(draft: Draft, table: str, column: str) -> dict[str, int]:
    found = draft.tables.get(table)
    return {code: at for at, code in reversed(list(enumerate(found.column(column))))} if found else {}


def _code(target: _Target, row: Row, column: str) -> str:
    code = normalize_code(row[column])
    if code != row[column]:
        target.repair("编码改为规范写法", f"{row[column]} → {code}")
    return code


def _sets(target: _Target) -> None:
    rows = _distinct(target, target.sheet.rows, ("set", "code"), "code")
    target.put(SETS, [(row, (row["set"], _code(target, row, "code"))) for row in rows])


def _complication(target: _Target) -> None:
    rows = _distinct(target, target.sheet.rows, ("code", "exclusion_table", "level"), "code")
    target.put(
        COMPLICATION,
        [
            (row, (_code(target, row, "code"), row["level"].upper(), _table_number(row["exclusion_table"])))
            for row in rows
        ],
    )


def _table_number(text: str) -> str:
    return _EXCLUSION_PREFIX.sub("", text)


def _exclusion(target: _Target) -> None:
    rows = _distinct(
        target, target.sheet.rows, ("exclusion_table", "principal_diagnosis"), "principal_diagnosis"
    )
    found: list[tuple[Row | None, tuple[str, ...]]] = [
        (row, (_table_number(row["exclusion_table"]), _code(target, row, "principal_diagnosis")))
        for row in rows
    ]
    present = {values for _, values in found}
    tables = {table for table, _ in present}
    for missing in MISSING_EXCLUSIONS:
        if missing[0] in tables and missing not in present:
            found.append((None, missing))
            target.repair("补上公布的工作簿中缺少的排除行", f"EX_{missing[0]} {missing[1]}")
    target.put(EXCLUSION, found)


_BUILDERS: Mapping[str, Callable[[_Target], None]] = {
    "mdc": _mdc,
    "adrg": _adrg,
    "drg": _drg,
    "sets": _sets,
    "complication": _complication,
    "exclusion": _exclusion,
}
