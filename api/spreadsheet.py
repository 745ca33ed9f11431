"""The xlsx side: the template for settlement lists, reading it filled in, and reports as a workbook."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import date, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import xlsxwriter
from python_calamine import CalamineError, CalamineWorkbook

from api.example import EXAMPLE_LIST
from models.pack import PackStore
from models.report import SEVERITY_LABELS, Report
from models.settlement_list import FIELDS, NODE_LABELS, Info
from models.wire import DecodeError, Received, decode_payload
from models.workbook import MIB, UnsafeWorkbookError, WorkbookLimits, check_workbook

KEY_LABEL = "清单序号"
KEY_NAME = "no"
VISIT_ID = "mdtrt_id"
TEMPLATE_ROWS = 5000
"""Rows of the template that have drop-downs."""

MAX_COLUMNS = 512
MAX_CELLS = 10_000_000
MAX_TEXT_BYTES = 512 * MIB
"""Bounds of a filled-in template, besides its unpacked size."""
MAX_SHEET_ROWS = 1_048_576
MAX_CELL_TEXT = 32_767
"""Limits of the file format."""

PayloadRow = tuple[int, dict[str, Any] | None, str]
WorkbookRow = tuple[int, Received | None, str]
"""Row of sheet 基本信息 (or of the sheet in question), the list, and what is wrong (Chinese)."""


# ---------------------------------------------------------------- reading


def read_workbook(source: Path | BinaryIO, limit: int) -> Iterator[WorkbookRow]:
    """The lists of a filled-in template, as workbook_payloads gives them. Raises DecodeError, OSError."""
    for row, payload, error in workbook_payloads(source, limit):
        yield row, None if payload is None else decode_payload(payload), error


def workbook_payloads(source: Path | BinaryIO, limit: int) -> Iterator[PayloadRow]:
    """The lists of a filled-in template as plain JSON values, in the order of sheet 基本信息.

    Raises DecodeError, OSError. The rows of one list have the same value in column 清单序号, or, without that column, the same
    就诊ID. ``limit`` is the unpacked size in bytes. A row that belongs to no list is an error of its own.
    """
    limits = WorkbookLimits(limit, MAX_TEXT_BYTES, MAX_SHEET_ROWS, MAX_COLUMNS, MAX_CELLS)
    try:
        check_workbook(source, limits)
        with source.open("rb") if isinstance(source, Path) else nullcontext(source) as stream:
            stream.seek(0)
            book = CalamineWorkbook.from_filelike(stream)
            sheets = _node_sheets(book.sheet_names)
            if "setlinfo" not in sheets:
                raise DecodeError(
                    f"没有“{NODE_LABELS['setlinfo']}”工作表；请用 qingdan template 生成模板后填写"
                )
            tables = {
                node: book.get_sheet_by_name(name).to_python(skip_empty_area=False)
                for node, name in sheets.items()
            }
    except UnsafeWorkbookError as error:
        raise DecodeError(f"{error}，或改用 NDJSON（一行一份）") from error
    except (CalamineError, ValueError) as error:
        if isinstance(error, DecodeError):
            raise
        raise DecodeError(f"不是能读取的 xlsx 工作簿（{error}）") from error
    yield from _join({node: _Table(node, sheets[node], rows) for node, rows in tables.items()})


def is_template(names: Sequence[str]) -> bool:
    """Whether a workbook with these sheets is the filled-in template."""
    return "setlinfo" in _node_sheets(names)


def _node_sheets(names: Sequence[str]) -> dict[str, str]:
    """The sheet of each node, found by Chinese or wire name."""
    found: dict[str, str] = {}
    for name in names:
        plain = name.strip()
        for node, label in NODE_LABELS.items():
            if plain in (label, node) or plain == f"{label} {node}":
                found.setdefault(node, name)
    return found


class _Table:
    """The rows of one sheet: the payload of each, and its key columns."""

    def __init__(self, node: str, sheet: str, rows: Sequence[Sequence[Any]]) -> None:
        self.node, self.sheet = node, sheet
        header, self.start = next(
            ((row, number) for number, row in enumerate(rows, start=1) if any(row)), ((), 0)
        )
        self.columns = [_column_name(node, str(cell)) for cell in header]
        repeated = {name for name in self.columns if name and self.columns.count(name) > 1}
        if repeated:
            raise DecodeError(f"工作表“{sheet}”的表头有重复的列：{'、'.join(sorted(repeated))}")
        if rows and KEY_NAME not in self.columns and VISIT_ID not in self.columns:
            raise DecodeError(f"工作表“{sheet}”没有“{KEY_LABEL}”列，不能把各行对应到清单")
        self.rows = rows[self.start :]

    def payloads(self) -> Iterator[tuple[int, str, str, dict[str, Any]]]:
        """Row number, 清单序号, 就诊ID and fields of every row that is not empty."""
        fields = FIELDS[self.node]
        for number, row in enumerate(self.rows, start=self.start + 1):
            payload = {
                name: value
                for name, cell in zip(self.columns, row, strict=False)
                if name and (value := cell_value(cell, fields.get(name))) not in ("", None)
            }
            if not payload:
                continue
            key = str(payload.pop(KEY_NAME, ""))
            visit = str(payload.get(VISIT_ID, ""))
            if self.node != "setlinfo":
                payload.pop(VISIT_ID, None)
            yield number, key, visit, payload


def _column_name(node: str, header: str) -> str:
    """The wire name of a column: the last word of its header, else found by its Chinese label."""
    words = header.split()
    if not words:
        return ""
    if words[0] == KEY_LABEL or words[-1] == KEY_NAME:
        return KEY_NAME
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", words[-1]):
        return words[-1]
    plain = "".join(words)
    if plain == "就诊ID":
        return VISIT_ID
    return next((wire for wire, info in FIELDS[node].items() if info.label == plain), plain)


def cell_value(cell: Any, info: Info | None = None) -> Any:
    """A cell as JSON would carry it."""
    if isinstance(cell, str):
        return cell.strip()
    if isinstance(cell, datetime):
        text = cell.strftime("%Y-%m-%d %H:%M:%S")
        # A date cell has no time of its own; a day field gets the day.
        return text[:10] if info is not None and info.kind == "date" and text.endswith("00:00:00") else text
    if isinstance(cell, date):
        return cell.isoformat()
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return int(cell)
    if isinstance(cell, bool | int | float) or cell is None:
        return cell
    return str(cell)


def _join(tables: Mapping[str, _Table]) -> Iterator[PayloadRow]:
    lists: dict[int, dict[str, Any]] = {}
    by_key: dict[str, int] = {}
    by_visit: dict[str, int] = {}
    problems: list[tuple[int, str]] = []
    for number, key, visit, payload in tables["setlinfo"].payloads():
        if not key and not visit:
            problems.append((number, f"这一行没有填“{KEY_LABEL}”，不能对应其他工作表"))
        elif key in by_key:
            problems.append((number, f"{KEY_LABEL}“{key}”与第 {by_key[key]} 行重复"))
        elif not key and visit in by_visit:
            problems.append((number, f"就诊ID“{visit}”与第 {by_visit[visit]} 行重复，请填“{KEY_LABEL}”"))
        else:
            if key:
                by_key[key] = number
            by_visit.setdefault(visit, number)
            lists[number] = {"setlinfo": payload}
    strays: list[PayloadRow] = []
    for node, table in tables.items():
        if node == "setlinfo":
            continue
        for number, key, visit, payload in table.payloads():
            owner = by_key.get(key) if key else by_visit.get(visit) if visit else None
            if owner is None:
                shown = key or visit
                reason = f"{KEY_LABEL}“{shown}”在“基本信息”中没有" if shown else f"没有填“{KEY_LABEL}”"
                strays.append((number, None, f"工作表“{table.sheet}”第 {number} 行：{reason}，这一行未检查"))
            else:
                lists[owner].setdefault(node, []).append(payload)
    refused = dict(problems)
    for number in sorted({*lists, *refused}):
        if number in refused:
            yield number, None, refused[number]
        else:
            yield number, lists[number], ""
    yield from strays


# ---------------------------------------------------------------- template

_DOMAIN_OF = {"adm_caty": "departments", "dscg_caty": "departments", "ntly": "countries"}
_DOMAIN_IN_4101 = {("diseinfo", "diag_type"): "diag_type(4101)"}


def value_domains(store: PackStore, region: str = "") -> dict[str, list[tuple[str, str]]]:
    """Code and name of every value, by the field's wire name, ``departments`` or ``countries``.

    Raises PackError.
    """
    pack = store.pack_for("value-domains", region)
    found: dict[str, list[tuple[str, str]]] = {}
    for field, code, name in pack.records("domains", "field", "code", "name"):
        found.setdefault(field, []).append((code, name))
    for table in ("departments", "countries"):
        found[table] = [(code, name) for code, name in pack.records(table, "code", "name")]
    return found


def write_template(path: Path, domains: Mapping[str, Sequence[tuple[str, str]]]) -> None:
    """Write the empty template with one fictional list as example. ``domains`` as value_domains gives them."""
    book = _workbook(path)
    bold = book.add_format({"bold": True, "bg_color": "#DCE6F1", "text_wrap": True, "valign": "top"})
    text = book.add_format({"num_format": "@"})
    plain = book.add_format({})
    ranges = _domain_ranges(domains)
    for node, label in NODE_LABELS.items():
        sheet = book.add_worksheet(label)
        sheet.freeze_panes(1, 1)
        sheet.set_row(0, 32)
        sheet.write_string(0, 0, f"{KEY_LABEL}\n{KEY_NAME}", bold)
        sheet.set_column(0, 0, 10, text)
        for column, (wire, info) in enumerate(FIELDS[node].items(), start=1):
            sheet.write_string(0, column, f"{info.label}\n{wire}", bold)
            # Codes as text keep their leading zeros; only amounts and counts are numbers.
            numeric = info.kind in ("number", "amount", "count")
            sheet.set_column(
                column, column, max(10, min(2 * len(info.label), 24)), plain if numeric else text
            )
            domain = _DOMAIN_IN_4101.get((node, wire)) or _DOMAIN_OF.get(wire, wire)
            if domain in ranges:
                sheet.data_validation(
                    1, column, TEMPLATE_ROWS, column, _drop_down(info, domains[domain], ranges[domain])
                )
        example = EXAMPLE_LIST.get(node, ())
        for row, values in enumerate([example] if isinstance(example, Mapping) else example, start=1):
            sheet.write_string(row, 0, "1", text)
            for column, wire in enumerate(FIELDS[node], start=1):
                value = values.get(wire)
                if isinstance(value, str):
                    sheet.write_string(row, column, value, text)
                elif value is not None:
                    sheet.write_number(row, column, value)
    sheet = book.add_worksheet("值域")
    for domain in ranges:
        column = 2 * list(ranges).index(domain)
        sheet.write_string(0, column, domain, bold)
        sheet.set_column(column + 1, column + 1, 20)
        for row, (code, name) in enumerate(domains[domain], start=1):
            sheet.write_string(row, column, code, text)
            sheet.write_string(row, column + 1, name)
    _add_notes(book)
    book.close()


_NOTES = (
    "每个工作表是清单的一个节点，第一行是表头（中文名称和接口字段名），请勿改动字段名。",
    f"同一份清单的各行，“{KEY_LABEL}”填相同的值；“基本信息”每份清单一行。",
    "第 2 行起是一份虚构的示例清单，填写前请删除。",
    "代码列请保持“文本”格式，以免丢失开头的 0；下拉值的含义见“值域”工作表。",
    "日期写成 2026-01-05，时间写成 2026-01-05 10:20:00，时长写成 天/时/分（如 1/13/24）。",
    "“收费明细”“诊疗证据”两张表可以不填；填了用于核查收费与诊断依据，不随清单上传。",
    "填好后运行：qingdan check 文件名.xlsx",
)


def _add_notes(book: Any) -> None:
    sheet = book.add_worksheet("填写说明")
    sheet.set_column(0, 0, 100)
    for row, note in enumerate(_NOTES):
        sheet.write_string(row, 0, note)


def _domain_ranges(domains: Mapping[str, Sequence[tuple[str, str]]]) -> dict[str, str]:
    """Where on sheet 值域 the codes of each domain of a field stand: two columns a domain."""
    used = {
        _DOMAIN_IN_4101.get((node, wire)) or _DOMAIN_OF.get(wire, wire)
        for node, fields in FIELDS.items()
        for wire in fields
    }
    ranges = {}
    for number, domain in enumerate(name for name in domains if name in used):
        column = xlsxwriter.utility.xl_col_to_name(2 * number, col_abs=True)
        ranges[domain] = f"='值域'!{column}$2:{column}${len(domains[domain]) + 1}"
    return ranges


def _drop_down(info: Info, values: Sequence[tuple[str, str]], source: str) -> dict[str, Any]:
    meaning = "；".join(f"{code} {name}" for code, name in values)
    return {
        "validate": "list",
        "source": source,
        "ignore_blank": True,
        "input_title": info.label[:32],
        "input_message": meaning if len(meaning) <= 255 else "可选的代码见“值域”工作表",
        # Some values are local: warn, never forbid.
        "error_type": "warning",
        "error_title": info.label[:32],
        "error_message": "不在值域字典中，请核对；确属本地代码的可以保留",
    }


def _workbook(path: Path, **options: Any) -> Any:
    # Text from a list stays text: never a formula, never a link.
    return xlsxwriter.Workbook(
        str(path),
        {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False, **options},
    )


# ---------------------------------------------------------------- reports

_SUMMARY = (
    "文件",
    "行号",
    "清单",
    "结论",
    "得分",
    "等级",
    "错误",
    "警告",
    "提示",
    "DRG 编码",
    "DRG 名称",
    "分组说明",
)
_FINDINGS = ("文件", "行号", "清单", "规则", "级别", "位置", "字段", "值", "问题", "建议", "依据", "接受")
_UNREAD = ("文件", "行号", "原因")


class ReportWorkbook:
    """Writes reports to a workbook row by row: 汇总, 问题, 未读取. A full sheet goes on in a next one."""

    def __init__(self, path: Path) -> None:
        self._book = _workbook(path, constant_memory=True)
        self._bold = self._book.add_format({"bold": True, "bg_color": "#DCE6F1"})
        self._summary = _Sheet(self._book, "汇总", _SUMMARY, self._bold)
        self._findings = _Sheet(self._book, "问题", _FINDINGS, self._bold)
        self._unread = _Sheet(self._book, "未读取", _UNREAD, self._bold)

    def add(self, file: str, line: int, report: Report) -> None:
        counted = [f.severity for f in report.findings if f.accepted is None]
        counts = [counted.count(severity) for severity in SEVERITY_LABELS]
        group = report.group
        grouped = (group.code, group.name, group.explanation) if group else ("", "", report.ungrouped)
        self._summary.row(
            file, line, report.list_id, report.verdict, report.score, report.grade, *counts, *grouped
        )
        for found in report.findings:
            label = SEVERITY_LABELS[found.severity]
            self._findings.row(
                file, line, report.list_id, found.rule, label, found.path, found.field, found.value,
                found.message, found.advice, found.basis, found.accepted.text if found.accepted else "",
            )  # fmt: skip

    def add_unread(self, file: str, line: int, reason: str) -> None:
        self._unread.row(file, line, reason)

    def close(self) -> None:
        self._book.close()

    def __enter__(self) -> ReportWorkbook:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Sheet:
    def __init__(self, book: Any, name: str, header: Sequence[str], bold: Any) -> None:
        self._book, self._name, self._header, self._bold = book, name, header, bold
        self._number = 0
        self._open()

    def _open(self) -> None:
        self._number += 1
        name = self._name if self._number == 1 else f"{self._name} {self._number}"
        self._sheet = self._book.add_worksheet(name)
        self._sheet.freeze_panes(1, 0)
        self._sheet.write_row(0, 0, self._header, self._bold)
        self._next = 1

    def row(self, *values: str | int) -> None:
        if self._next == MAX_SHEET_ROWS:
            self._open()
        for column, value in enumerate(values):
            if isinstance(value, str):
                self._sheet.write_string(self._next, column, value[:MAX_CELL_TEXT])
            else:
                self._sheet.write_number(self._next, column, value)
        self._next += 1
