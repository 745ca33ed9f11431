"""The official CHS-DRG workbook: imported it groups like the shipped pack; broken it changes nothing."""

from __future__ import annotations

import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from api.services.packs import Candidate, ImportRefusedError, install, prepare
from grouper import workbook
from grouper.drg import compile_scheme
from grouper.workbook_drg import MISSING_EXCLUSIONS, read_drg_workbook
from models.pack import PackStore
from models.workbook import MIB
from tests.grouper.schemes import library, reference_cases, scheme
from tests.grouper.workbooks import Book, drg_book, plant_known_defects
from tests.shared import needs_shared

SHIPPED = PackStore().get("chs-drg-2.0")
FIELDS: dict[str, object] = {
    "id": "chs-drg-3.0",
    "kind": "drg-scheme",
    "name": "CHS-DRG 3.0",
    "publisher": "国家医疗保障局",
    "document": "医保发〔2026〕22号",
    "version": "3.0",
}


def take(path: Path, store: PackStore | None = None) -> Candidate:
    return prepare(path, FIELDS, store or PackStore())


def faults(path: Path) -> list[str]:
    with pytest.raises(ImportRefusedError) as refused:
        take(path)
    return list(refused.value.faults)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> tuple[PackStore, Candidate]:
    """The full-size workbook with every known defect, imported and in use."""
    folder = tmp_path_factory.mktemp("official")
    book = drg_book(SHIPPED)
    plant_known_defects(book)
    store = PackStore(site=folder / "packs")
    candidate = take(book.write(folder / "CHS-DRG 3.0.xlsx"), store)
    install(store, candidate)
    return store, candidate


@needs_shared
def test_5000_cases_group_the_same_as_through_the_shipped_pack(imported: tuple[PackStore, Candidate]) -> None:
    store, _ = imported
    read, shipped = compile_scheme(store.get("chs-drg-3.0"), library()), scheme("chs-drg-2.0")
    cases = reference_cases("chs-drg-2.0")[:5000]
    assert len(cases) == 5000
    differing = [
        (case_id, expected, got)
        for case_id, case, expected in cases
        if (got := read.group(case).code) != shipped.group(case).code
    ]
    assert differing == []
    assert all(read.group(case).code == expected for _, case, expected in cases)


def test_every_repair_is_reported(imported: tuple[PackStore, Candidate]) -> None:
    notes = "\n".join(imported[1].notes)
    for text in (
        "工作表“ADRG”：兜底行排到同级的最后",
        "兜底行 0000 不作为分组条目",
        "工作表“集合”：去掉重复的行",
        "等 60 处",
        "工作表“排除表”：补上公布的工作簿中缺少的排除行：EX_103 P22.100、EX_103 P24.100",
        "EX_128 S02.400",
        "去掉了 _x000D_、换行、多余空格等残留字符",
        "同一 ADRG 有几条并列规则，分别编为分部",
    ):
        assert text in notes


def test_the_tables_are_those_of_the_shipped_pack(imported: tuple[PackStore, Candidate]) -> None:
    pack = imported[0].get("chs-drg-3.0")
    for table, columns in (("sets", ("set", "code")), ("complication", ("code", "level", "exclusion_table"))):
        assert pack.records(table, *columns) == SHIPPED.records(table, *columns)
    rows = set(pack.records("exclusion", "exclusion_table", "principal_diagnosis"))
    assert rows - set(SHIPPED.records("exclusion", "exclusion_table", "principal_diagnosis")) == set(
        MISSING_EXCLUSIONS
    )
    kinds = dict(SHIPPED.records("adrg", "adrg", "kind"))
    found = dict(pack.records("adrg", "adrg", "kind"))
    assert {code: kind for code, kind in found.items() if code in kinds} == kinds
    order = [code for code, of in pack.records("adrg", "adrg", "mdc") if of == "B"]
    assert order[-1] == "B00"
    assert pack.verify() == []


def small() -> Book:
    """A workbook of one MDC that can be damaged in many ways."""
    return Book(
        {
            "MDC": [["MDC编码", "MDC名称", "MDC规则", "排序"], ["B", "神经", "ZYZD in DI_MDCB", 1]],
            "ADRG": [
                ["ADRG编码", "ADRG名称", "ADRG规则", "所属MDC编码", "排序"],
                ["BR1", "脑出血", "ZYZD in DI_BR1", "B", 1],
            ],
            "DRG": [
                ["DRG编码", "DRG名称", "DRG规则", "所属ADRG编码", "所属MDC编码", "排序"],
                ["BR11", "脑出血，伴严重并发症", "QTZD in MCC", "BR1", "B", 1],
                ["BR15", "脑出血", "", "BR1", "B", 2],
            ],
            "集合": [
                ["集合编号", "ICD编码", "ICD名称", "类型编号"],
                ["DI_MDCB", "I61.900", "脑出血", "DI"],
                ["DI_BR1", "I61.900", "脑出血", "DI"],
            ],
            "CC": [["疾病编码", "疾病名称", "排除表", "类型"], ["J96.000", "急性呼吸衰竭", "EX_1", "MCC"]],
            "排除表": [["集合编号", "ICD编码", "ICD名称"], ["EX_1", "J18.900", "肺炎"]],
        }
    )


def test_a_small_workbook_is_read(tmp_path: Path) -> None:
    candidate = take(small().write(tmp_path / "a.xlsx"))
    assert candidate.tables["drg"][2] == [
        ("BR1", "1", "BR11", "脑出血，伴严重并发症", "QTZD in MCC"),
        ("BR1", "2", "BR15", "脑出血", ""),
    ]
    assert candidate.tables["complication"][2] == [("J96.000", "MCC", "1")]


def test_all_faults_are_listed_with_sheet_row_and_cell_and_nothing_changes(tmp_path: Path) -> None:
    book = small()
    book.titles = {"ADRG": 1}
    book.sheets["MDC"][1][2] = "ZYZD in DI_NONE"
    book.sheets["ADRG"][1][2] = "ZYZD in DI_BR1 and ("
    book.sheets["ADRG"][1][3] = "Q"
    book.sheets["DRG"].append(["BR17", "死亡", "ZYTX = 5", "BR1", "B", 3])
    book.sheets["DRG"].append(["BS11", "无上级", "", "BS1", "B", 1])
    book.sheets["CC"].append(["J96.100", "慢性呼吸衰竭", "EX_9", "重"])
    book.sheets["集合"].append(["DI_BR1", "脑出血", "", "DI"])
    found = faults(book.write(tmp_path / "b.xlsx"))
    text = "\n".join(found)
    assert "b.xlsx 工作表“ADRG” 第 3 行 ADRG规则 列（C3 单元格）：公式第 21 个字符处" in text
    assert "b.xlsx 工作表“ADRG” 第 3 行 所属MDC编码 列（D3 单元格）：BR1 所属的 MDC Q 不在 mdc 表中" in text
    assert "工作表“DRG” 第 4 行 DRG规则 列（C4 单元格）：公式第 1 个字符处：不认识的变量“ZYTX”" in text
    assert "工作表“DRG” 第 5 行 所属ADRG编码 列（D5 单元格）：BS11 所属的 ADRG BS1 不在 adrg 表中" in text
    assert "工作表“CC” 第 3 行 类型 列（D3 单元格）：“重”不符合要求，应为MCC 或 CC" in text
    assert "工作表“CC” 第 3 行 排除表 列（C3 单元格）：J96.100 的排除表 9 不在 exclusion 表中" in text
    assert "工作表“集合” 第 4 行 ICD编码 列（B4 单元格）：“脑出血”不符合要求" in text
    assert "工作表“MDC” 第 2 行 MDC规则 列（C2 单元格）" in text
    assert "DI_NONE 不在 sets 表中" in text
    assert len(found) == len(set(found))
    assert PackStore().versions("chs-drg-3.0") == []


@pytest.mark.parametrize("missing", ["MDC", "ADRG", "DRG", "集合", "CC", "排除表"])
def test_a_missing_sheet_is_a_fault(tmp_path: Path, missing: str) -> None:
    book = small()
    del book.sheets[missing]
    assert any(f"缺少工作表“{missing}”" in fault for fault in faults(book.write(tmp_path / "a.xlsx")))


def test_a_missing_column_names_what_stands_there_instead(tmp_path: Path) -> None:
    book = small()
    book.sheets["DRG"][0][2] = "备注"
    found = "\n".join(faults(book.write(tmp_path / "a.xlsx")))
    assert "工作表“DRG” 第 1 行 DRG规则 列：找不到这一列" in found
    assert "备注" in found


def test_an_empty_sheet_is_a_fault(tmp_path: Path) -> None:
    book = small()
    book.sheets["集合"] = [["集合编号", "ICD编码"]]
    assert any("表头下没有数据行" in fault for fault in faults(book.write(tmp_path / "a.xlsx")))


def test_a_formula_error_in_a_cell_is_a_fault(tmp_path: Path) -> None:
    book = small()
    book.sheets["ADRG"][1][1] = "#REF!"
    assert any(
        "（B2 单元格）：单元格的值是公式错误 #REF!" in fault
        for fault in faults(book.write(tmp_path / "a.xlsx"))
    )


def test_a_cell_that_holds_a_spreadsheet_formula_without_a_value_is_empty(tmp_path: Path) -> None:
    path = small().write(tmp_path / "a.xlsx")
    formula = b'<c r="A2"><f>CONCATENATE("B","R1")</f></c>'
    rewrite(path, "xl/worksheets/sheet2.xml", lambda text: re.sub(rb'<c r="A2"[^>]*>.*?</c>', formula, text))
    assert any("工作表“ADRG” 第 2 行 ADRG编码 列（A2 单元格）：不能为空" in fault for fault in faults(path))


def test_catch_all_rows_sort_last_whatever_their_number(tmp_path: Path) -> None:
    book = small()
    book.sheets["ADRG"].insert(1, ["B00", "兜底", "1", "B", 0])
    book.sheets["DRG"].insert(1, ["B000", "兜底", "", "B00", "B", 0])
    book.sheets["DRG"].insert(1, ["0000", "未入组", "", "0000", "", 0])
    candidate = take(book.write(tmp_path / "a.xlsx"))
    assert [row[3] for row in candidate.tables["adrg"][2]] == ["BR1", "B00"]
    assert [row[2] for row in candidate.tables["drg"][2]] == ["BR11", "BR15", "B000"]


def test_what_is_no_workbook_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    path.write_bytes(b"not a workbook")
    assert any("不是完好的 Excel 工作簿" in fault for fault in faults(path))
    path.write_bytes(small().write(tmp_path / "b.xlsx").read_bytes()[:-200])
    assert any("不是完好的 Excel 工作簿" in fault for fault in faults(path))
    assert read_drg_workbook(tmp_path) is None


def rewrite(path: Path, member: str, change: Any) -> None:
    """Change one part of a workbook in place."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, change(content) if name == member else content)


def test_a_zip_bomb_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small().write(tmp_path / "a.xlsx")
    rewrite(path, "xl/worksheets/sheet1.xml", lambda text: text + b" " * (20 * 1024 * 1024))
    limits = replace(workbook.LIMITS, unpacked=10 * MIB, texts=10 * MIB)
    monkeypatch.setattr(workbook, "LIMITS", limits)
    assert any("解压后有" in fault for fault in faults(path))


def test_a_size_that_lies_is_found(tmp_path: Path) -> None:
    path = small().write(tmp_path / "a.xlsx")
    rewrite(path, "xl/worksheets/sheet1.xml", lambda text: text + b" " * 200_000)
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo("xl/worksheets/sheet1.xml").file_size
    path.write_bytes(content.replace(size.to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    assert any("不是完好的 Excel 工作簿" in fault for fault in faults(path))


@pytest.mark.parametrize("cell", ['r="XFD1048576"', "s='1' r='A1048576'", 'r="ZZ2"'])
def test_a_sheet_that_spans_millions_of_cells_is_refused(tmp_path: Path, cell: str) -> None:
    path = small().write(tmp_path / "a.xlsx")
    extra = f"<row><c {cell}><v>1</v></c></row></sheetData>".encode()
    rewrite(path, "xl/worksheets/sheet1.xml", lambda text: text.replace(b"</sheetData>", extra))
    assert any("单元格伸展到" in fault for fault in faults(path))


def test_one_long_text_in_very_many_cells_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = small()
    book.sheets["备注"] = [["长" * 30_000]] * 400
    path = book.write(tmp_path / "a.xlsx")
    limits = replace(workbook.LIMITS, unpacked=10 * MIB, texts=10 * MIB)
    monkeypatch.setattr(workbook, "LIMITS", limits)
    assert any("重复的文字" in fault for fault in faults(path))
