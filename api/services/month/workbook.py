"""The month as a workbook for the insurance office: one sheet for each question."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

import xlsxwriter

from api.services.month.result import Comparison, MonthReport
from api.spreadsheet import MAX_CELL_TEXT, MAX_SHEET_ROWS

CREATED = datetime(2000, 1, 1)
Cell = str | int | float | bool | None
Sheet = tuple[str, Sequence[str], Iterable[Sequence[Cell]]]
"""Name, header and rows."""

_COMPARED = (
    "单位", "名称", "指标", "编码", "编码名称", "比较对象", "例数", "对照例数", "实际", "期望", "值", "下限", "上限",
    "对照值", "p", "q", "提示", "方向", "小样本", "说明",
)  # fmt: skip
_CODES = "编码使用"


def write_workbook(path: Path, report: MonthReport) -> None:
    """Write all sheets: 概况, 科室, 医师, 高权重编码, 病组, 残差候选, 跨清单, 复核排序, 未读取."""
    lines = report.comparisons
    sheets: tuple[Sheet, ...] = (
        ("概况", ("项目", "值"), _overview(report)),
        *((title.removesuffix("比较"), header, rows) for title, header, rows in compared_sheets(lines)),
        (
            "病组",
            (
                "DRG", "名称", "例数", "均次费用（元）", "下限", "上限", "平均住院日", "公布的均次费用（元）", "比值",
                "权重", "小样本",
            ),
            (
                (one.drg, one.name, one.cases, one.mean_fee, one.low, one.high, one.mean_stay, one.average_fee,
                 one.ratio, one.weight, one.small)
                for one in report.groups
            ),
        ),
        (
            "残差候选",
            ("清单", "文件", "行号", "对象", "科室", "医师", "DRG", "实际", "期望", "比值", "偏离（标准差）", "说明"),
            (
                (one.list_id, one.file, one.line, one.target, one.department, one.doctor, one.drg, one.actual,
                 one.expected, one.ratio, one.deviations, one.text)
                for one in report.candidates
            ),
        ),
        (
            "跨清单",
            ("清单", "文件", "行号", "规则", "问题", "另一清单", "另一文件", "另一行号", "间隔（小时）", "说明", "建议", "依据"),
            (
                (one.list_id, one.file, one.line, one.finding.rule, one.finding.title, one.other_id, one.other_file,
                 one.other_line or None, one.gap_hours, one.finding.message, one.finding.advice, one.finding.basis)
                for one in report.cross_findings
            ),
        ),
        (
            "复核排序",
            ("名次", "清单", "文件", "行号", "科室", "医师", "DRG", "方向", "影响（权重）", "影响（元）", "影响说明",
             "证据强度", "得分", "证据", "怎样排除"),
            (
                (one.rank, one.list_id, one.file, one.line, one.department, one.doctor, one.drg, one.direction,
                 one.effect_weight, one.effect_yuan, one.effect_text, one.strength, one.score,
                 "\n".join(f"{found.kind}（{found.strength:g}）：{found.text}" for found in one.evidence), one.clears)
                for one in report.reviews
            ),
        ),
        ("未读取", ("文件", "行号", "原因"), ((one.file, one.line, one.error) for one in report.unread)),
    )  # fmt: skip
    write_book(path, sheets)


def write_book(path: Path, sheets: Iterable[Sheet], *, filters: bool = False) -> None:
    """Write sheets row by row, so that memory does not grow with them. ``filters`` over the header.

    A text stays text: never a formula, never a link. The same sheets give the same bytes.
    """
    book = xlsxwriter.Workbook(
        str(path),
        {
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
            "constant_memory": True,
        },
    )
    book.set_properties({"created": CREATED})
    bold = book.add_format({"bold": True, "bg_color": "#DCE6F1"})
    for name, header, rows in sheets:
        _write(book, name, header, rows, bold, filters=filters)
    book.close()


def compared_sheets(lines: Sequence[Comparison]) -> tuple[Sheet, ...]:
    """The comparisons as sheets: 科室, 医师, 高权重编码."""
    return (
        (
            "科室比较",
            _COMPARED,
            _compared(one for one in lines if one.level == "科室" and one.measure != _CODES),
        ),
        (
            "医师比较",
            _COMPARED,
            _compared(one for one in lines if one.level == "医师" and one.measure != _CODES),
        ),
        (
            "高权重编码",
            ("层级", *_COMPARED),
            ((one.level, *_compared_line(one)) for one in _ordered(lines) if one.measure == _CODES),
        ),
    )


def _overview(report: MonthReport) -> list[Sequence[Cell]]:
    summary = report.summary
    share = summary.complicated_share
    rows: list[Sequence[Cell]] = [
        ("清单份数", summary.lists),
        ("未读取的行数", summary.unread),
        ("过去的清单份数", summary.past_lists),
        ("过去未读取的行数", summary.past_unread),
        ("入组份数", summary.grouped),
        ("出院日期", summary.period),
        ("医疗费总额（元）", summary.total_fee),
        ("MCC/CC 率", share),
    ]
    for level, number in summary.tested.items():
        rows += [(f"{level}比较次数", number), (f"{level}提示数", summary.flagged[level])]
    rows.append(("错误发现率（每一层级）", summary.false_discovery_rate))
    rows += [
        (
            f"{model.target}模型",
            f"学自 {model.learned_from} 份，解释 {model.explained:.0%} 的差异，典型误差 {model.typical_error:.0%}",
        )
        for model in report.models
    ]
    rows += [
        ("残差候选", summary.candidates),
        ("跨清单问题", summary.cross_findings),
        ("复核排序行数", summary.reviews),
    ]
    rows += [("数据包", f"{pack.id} {pack.version}") for pack in report.packs]
    return rows + [("说明", note) for note in report.notes]


def _ordered(lines: Iterable[Comparison]) -> list[Comparison]:
    """Flags first, then by q; what was not tested stands last, by name."""
    return sorted(
        lines,
        key=lambda one: (not one.flagged, 2.0 if one.q is None else one.q, one.unit, one.measure, one.code),
    )


def _compared(lines: Iterable[Comparison]) -> list[Sequence[Cell]]:
    return [_compared_line(one) for one in _ordered(lines)]


def _compared_line(one: Comparison) -> tuple[Cell, ...]:
    return (
        one.unit, one.name, one.measure, one.code, one.code_name, one.baseline, one.cases, one.compared_with,
        one.observed, one.expected, one.value, one.low, one.high, one.reference, one.p, one.q, one.flagged,
        one.direction, one.small, one.note,
    )  # fmt: skip


def _write(
    book: Any, name: str, header: Sequence[str], rows: Iterable[Sequence[Cell]], bold: Any, *, filters: bool
) -> None:
    """One sheet; rows beyond what a sheet holds go on in a next one."""
    sheet: Any = None
    number, at = 0, MAX_SHEET_ROWS
    for row in chain([None], rows):
        if at == MAX_SHEET_ROWS:
            if filters and sheet is not None:
                sheet.autofilter(0, 0, at - 1, len(header) - 1)
            number += 1
            sheet = book.add_worksheet(name if number == 1 else f"{name} {number}")
            sheet.freeze_panes(1, 0)
            sheet.set_column(0, len(header) - 1, 14)
            for column, title in enumerate(header):
                sheet.write_string(0, column, title, bold)
            at = 1
        if row is None:
            continue
        for column, value in enumerate(row):
            # A text stays text: never a formula, never a link.
            if isinstance(value, bool):
                sheet.write_string(at, column, "是" if value else "")
            elif isinstance(value, str):
                sheet.write_string(at, column, value[:MAX_CELL_TEXT])
            elif value is not None:
                sheet.write_number(at, column, value)
        at += 1
    if filters:
        sheet.autofilter(0, 0, at - 1, len(header) - 1)
