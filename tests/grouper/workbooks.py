"""Official workbooks written for tests: the layout of the authorities, from the tables that are shipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import xlsxwriter

from models.pack import Pack

Rows = list[list[object]]
TITLE = ["按病组（DRG）付费分组方案"]


@dataclass
class Book:
    """The sheets of a workbook by name, in order: header row first, then data rows."""

    sheets: dict[str, Rows] = field(default_factory=dict)
    titles: Mapping[str, int] = field(default_factory=dict)
    """Rows of title above the header, by sheet."""

    def write(self, path: Path) -> Path:
        workbook = xlsxwriter.Workbook(str(path), {"strings_to_formulas": False, "strings_to_numbers": False})
        for name, rows in self.sheets.items():
            sheet = workbook.add_worksheet(name)
            above = self.titles.get(name, 0)
            for line in range(above):
                sheet.write_row(line, 0, TITLE)
            for number, row in enumerate(rows, start=above):
                sheet.write_row(number, 0, row)
        workbook.close()
        return path

    def column(self, sheet: str, header: str) -> int:
        return self.sheets[sheet][0].index(header)


def drg_book(pack: Pack) -> Book:
    """The six sheets of the official DRG workbook from a scheme pack, without defects."""
    level = {"mdc": "MDC", "adrg": "ADRG", "drg": "DRG"}
    mdc: Rows = [["MDC编码", "MDC名称", "MDC规则", "排序"]]
    mdc += [
        [code, name, rule, int(order)]
        for order, code, name, rule in pack.records("mdc", *["order", "mdc", "name", "condition"])
    ]
    adrg: Rows = [["ADRG编码", "ADRG名称", "ADRG规则", "所属MDC编码", "排序"]]
    mdc_of: dict[str, str] = {}
    for order, of, code, name, rule in pack.records("adrg", "order", "mdc", "adrg", "name", "condition"):
        mdc_of[code] = of
        adrg.append([code, name, rule, of, int(order)])
    drg: Rows = [["DRG编码", "DRG名称", "DRG规则", "所属ADRG编码", "所属MDC编码", "排序"]]
    for number, (of, code, name, rule) in enumerate(
        pack.records("drg", "adrg", "drg", "name", "condition"), start=1
    ):
        drg.append([code, name, rule, of, mdc_of[of], number])
    sets: Rows = [["集合编号", "ICD编码", "ICD名称", "类型编号"]]
    sets += [[name, code, "", name[:2]] for name, code in pack.records("sets", "set", "code")]
    complication: Rows = [["疾病编码", "疾病名称", "排除表", "类型"]]
    complication += [
        [code, "", f"EX_{table}" if table else "", kind]
        for code, kind, table in pack.records("complication", "code", "level", "exclusion_table")
    ]
    exclusion: Rows = [["集合编号", "ICD编码", "ICD名称"]]
    exclusion += [
        [f"EX_{table}", code, ""]
        for table, code in pack.records("exclusion", "exclusion_table", "principal_diagnosis")
    ]
    return Book(
        {
            level["mdc"]: mdc,
            level["adrg"]: adrg,
            level["drg"]: drg,
            "集合": sets,
            "CC": complication,
            "排除表": exclusion,
        }
    )


def plant_known_defects(book: Book) -> None:
    """Every defect of the published workbook: none may change a group."""
    adrg, drg, mdc, sets = (book.sheets[name] for name in ("ADRG", "DRG", "MDC", "集合"))
    # Catch-all rows that would swallow every surgical case of their MDC unless they stand last.
    ambiguous = [row for row in adrg[1:] if str(row[0])[1:] == "QY" and row[2] == "ZYSS in OP_ALL"]
    for row in ambiguous:
        letter = str(row[3])
        adrg.insert(1, [f"{letter}00", "兜底", "ZYSS in OP_ALL", letter, 0])
        drg.insert(1, [f"{letter}000", "兜底", "1", f"{letter}00", letter, 0])
    drg.insert(1, ["0000", "未入组", "", "", "", 0])
    # Remains of the spreadsheet inside formulas and names.
    mdc[4][2] = str(mdc[4][2]).replace(" or ", " _x000D_\n  OR  ")
    for row in adrg[30:60]:
        row[2] = "  " + str(row[2]).replace(" and ", "_x000D_\r\n and  ") + " _x000D_"
    for row in drg[40:60]:
        row[1] = f" {row[1]}_x000D_"
    adrg[70][2] = str(adrg[70][2]) or "1"
    # Rows twice.
    sets += [list(row) for row in sets[100:160]]
    book.sheets["排除表"] += [list(row) for row in book.sheets["排除表"][5:9]]
    # Columns elsewhere, and titles above the header.
    for rows in (adrg, drg):
        for row in rows:
            row.insert(0, row.pop())
    book.sheets["集合"] = [[row[3], row[0], row[2], row[1]] for row in sets]
    book.titles = {"MDC": 1, "ADRG": 2, "集合": 1}


USUAL = ["类别", "序号", "主要诊断", "主要诊断名称", "主要手术操作", "名称", "相关手术操作", "名称"]
TUMOUR = ["类别", "序号", "主要诊断", "主要诊断名称", "其他诊断", "手术操作表达式", "名称"]
DIP_SHEETS = (
    "一、先期分组",
    "二、并项规则下的核心病种",
    "三、诊断辅助细分-烧伤类病种",
    "三、诊断辅助细分-肿瘤类病种",
    "三、诊断辅助细分-结核类病种",
    "附表—结核耐药诊断",
    "四、基础规则下的核心病种",
    "五、不纳入分组的主要诊断",
    "五、不纳入分组的主要手术操作",
    "六、基层病种",
)


def dip_book(
    groups: Sequence[Mapping[str, str]], lists: Mapping[str, Sequence[str]], primary_care: Sequence[str] = ()
) -> Book:
    """The ten sheets of the official DIP workbook from rows of ``groups`` (columns of that table)."""
    layers = dict(
        zip(("pre", "merged", "burn", "tumour", "tuberculosis", "", "base"), DIP_SHEETS, strict=False)
    )
    headers: dict[str, list[str]] = {
        "pre": ["类别", "序号", "名称", *USUAL[2:]],
        "burn": [*USUAL, "烧伤程度", "烧伤面积", "其他诊断"],
        "tumour": TUMOUR,
        "tuberculosis": [*USUAL, "是否耐药"],
    }
    sheets: dict[str, Rows] = {name: [] for name in DIP_SHEETS}
    for layer, sheet in layers.items():
        if layer:
            sheets[sheet].append(list(headers.get(layer, USUAL)))
    marked: Rows = [list(USUAL)]
    for group in groups:
        layer = group["layer"]
        number, main, related = int(group["order"]), group["main_procedures"], group["related_procedures"]
        usual = [group["category"], number, group["diagnoses"], group["name"], main, "主要", related, "相关"]
        extra: dict[str, list[object]] = {
            "pre": [*usual[:2], group["name"], *usual[2:]],
            "burn": [*usual, group["degree"], group["area"], group["other_diagnoses"]],
            "tumour": [*usual[:4], group["other_diagnoses"], main, "组合"],
            "tuberculosis": [
                *usual,
                {"resistant": "耐药", "sensitive": "非耐药"}.get(group["resistance"], ""),
            ],
        }
        sheets[layers[layer]].append(extra.get(layer, list(usual)))
        if group["code"] in primary_care:
            marked.append(list(usual))
    sheets["附表—结核耐药诊断"] = [["诊断编码", "诊断名称"], *([code, ""] for code in lists["resistance"])]
    sheets["五、不纳入分组的主要诊断"] = [
        ["主要诊断编码", "名称"],
        *([code, ""] for code in lists["diagnoses"]),
    ]
    sheets["五、不纳入分组的主要手术操作"] = [
        ["主要手术操作编码", "名称"],
        *([code, ""] for code in lists["procedures"]),
    ]
    sheets["六、基层病种"] = marked
    return Book(sheets, {"一、先期分组": 1, "四、基础规则下的核心病种": 2})
