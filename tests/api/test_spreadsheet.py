"""The template, reading it filled in, and reports as a workbook."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
from python_calamine import CalamineWorkbook

from api.settings import MIB, Settings
from api.spreadsheet import ReportWorkbook, read_workbook, value_domains, write_template
from models.report import Finding, Report
from models.settlement_list import FIELDS, NODE_LABELS
from models.wire import DecodeError, decode_payload

LIMIT = 16 * MIB
Write = Callable[[dict[str, list[list[Any]]]], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a workbook of sheets, each a list of rows."""

    def write(sheets: dict[str, list[list[Any]]]) -> Path:
        path = tmp_path / "lists.xlsx"
        with xlsxwriter.Workbook(path, {"default_date_format": "yyyy-mm-dd hh:mm:ss"}) as book:
            for name, rows in sheets.items():
                sheet = book.add_worksheet(name)
                for number, row in enumerate(rows):
                    sheet.write_row(number, 0, row)
        return path

    return write


def test_the_template_reads_back_as_its_example(tmp_path: Path, example: dict[str, Any]) -> None:
    path = tmp_path / "template.xlsx"
    write_template(path, value_domains(Settings().store()))
    [(row, received, error)] = read_workbook(path, LIMIT)
    assert (row, error) == (2, "")
    assert received == decode_payload(example)


def test_the_template_has_every_field_with_label_and_wire_name(tmp_path: Path) -> None:
    path = tmp_path / "template.xlsx"
    write_template(path, value_domains(Settings().store()))
    book = CalamineWorkbook.from_path(path)
    for node, label in NODE_LABELS.items():
        header = book.get_sheet_by_name(label).to_python()[0]
        assert header[1:] == [f"{info.label}\n{wire}" for wire, info in FIELDS[node].items()]


def test_the_template_offers_the_values_of_a_domain(tmp_path: Path) -> None:
    path = tmp_path / "template.xlsx"
    write_template(path, value_domains(Settings().store()))
    domains = CalamineWorkbook.from_path(path).get_sheet_by_name("值域").to_python()
    column = domains[0].index("gend")
    assert [(row[column], row[column + 1]) for row in domains[1:5]] == [
        ("0", "未知的性别"),
        ("1", "男"),
        ("2", "女"),
        ("9", "未说明的性别"),
    ]
    with zipfile.ZipFile(path) as archive:
        sheet = archive.read("xl/worksheets/sheet1.xml").decode()
    assert sheet.count("<dataValidation ") >= 15
    assert "1 男；2 女" in sheet


def test_rows_are_joined_by_number_or_visit(write: Write) -> None:
    path = write(
        {
            "基本信息": [["清单序号", "就诊ID", "年龄"], ["2", "V2", 60], ["1", "V1", 50], ["", "V3", 70]],
            "出院诊断": [
                ["清单序号", "就诊ID", "诊断代码"],
                ["1", "", "A01.000"],
                [2, "", "B02.900"],
                ["1", "", "C03.900"],
                ["", "V3", "D04.900"],
                ["", "V1", "E05.900"],
            ],
        }
    )
    found = list(read_workbook(path, LIMIT))
    lists = [
        (received.list.stay.age, [d.code for d in received.list.diagnoses])
        for _, received, _ in found
        if received
    ]
    assert [row for row, _, _ in found] == [2, 3, 4]
    assert lists == [(60, ["B02.900"]), (50, ["A01.000", "C03.900", "E05.900"]), (70, ["D04.900"])]


def test_rows_that_belong_nowhere_are_reported(write: Write) -> None:
    path = write(
        {
            "setlinfo": [["no", "age"], ["1", 50], ["1", 60], ["", 70], ["", ""]],
            "diseinfo": [["no", "diag_code"], ["9", "A01.000"], ["", "B02.900"], ["1", "C03.900"]],
        }
    )
    found = list(read_workbook(path, LIMIT))
    assert [(row, received is not None) for row, received, _ in found] == [
        (2, True), (3, False), (4, False), (2, False), (3, False),
    ]  # fmt: skip
    assert "重复" in found[1][2]
    assert "清单序号" in found[2][2]
    assert "9" in found[3][2]
    assert found[0][1] is not None
    assert [d.code for d in found[0][1].list.diagnoses] == ["C03.900"]


def test_cells_become_what_json_would_carry(write: Write) -> None:
    path = write(
        {
            "基本信息": [
                [
                    "no",
                    "brdy",
                    "adm_time",
                    "medfee_sumamt",
                    "act_ipt_days",
                    "hi_type",
                    "vent_used_dura",
                    "本院字段",
                ],
                [1, date(1990, 5, 20), datetime(2026, 1, 5, 10, 20), 12.5, 5, 1, "1/13/24", "x"],
            ]
        }
    )
    [(_, received, _)] = read_workbook(path, LIMIT)
    assert received is not None
    stay = received.list.stay
    assert (stay.birth_date, stay.admission_time) == (date(1990, 5, 20), datetime(2026, 1, 5, 10, 20))
    assert (stay.total_fee_yuan, stay.length_of_stay, stay.insurance_type) == (12.5, 5, "1")
    assert stay.ventilation == 37 * 60 + 24
    assert [(unknown.name, unknown.value) for unknown in received.unknown] == [("本院字段", "x")]


def test_workbooks_that_are_no_template_are_refused(write: Write, tmp_path: Path) -> None:
    refused: tuple[tuple[dict[str, list[list[Any]]], str], ...] = (
        ({"Sheet1": [["a"], [1]]}, "基本信息"),
        ({"基本信息": [["年龄"], [50]]}, "清单序号"),
        ({"基本信息": [["no", "age", "年龄"], [1, 50, 60]]}, "重复"),
    )
    for sheets, reason in refused:
        with pytest.raises(DecodeError, match=reason):
            list(read_workbook(write(sheets), LIMIT))
    for content in (b"PK\x03\x04", b"", b"PK\x05\x06" + b"\0" * 18):
        (tmp_path / "x.xlsx").write_bytes(content)
        with pytest.raises(DecodeError, match="xlsx"):
            list(read_workbook(tmp_path / "x.xlsx", LIMIT))


def _with_member(path: Path, name: str, change: Callable[[bytes], bytes]) -> Path:
    content = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            data = old.read(member)
            new.writestr(member, change(data) if member.filename == name else data)
    path.write_bytes(content.getvalue())
    return path


SHEET = "xl/worksheets/sheet1.xml"


def test_a_zip_bomb_is_refused(write: Write) -> None:
    path = _with_member(write({"基本信息": [["no"], [1]]}), SHEET, lambda data: data + b" " * LIMIT)
    assert path.stat().st_size < MIB
    with pytest.raises(DecodeError, match="上限"):
        list(read_workbook(path, LIMIT))


def test_a_zip_bomb_that_lies_about_its_size_is_refused(write: Write) -> None:
    path = _with_member(write({"基本信息": [["no"], [1]]}), SHEET, lambda data: data + b" " * LIMIT)
    true_size = (LIMIT + 1000).to_bytes(4, "little")[2:]
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo(SHEET).file_size.to_bytes(4, "little")
    assert true_size[1:] == size[3:]
    path.write_bytes(content.replace(size, (1000).to_bytes(4, "little")))
    with pytest.raises(DecodeError, match="损坏"):
        list(read_workbook(path, LIMIT))


@pytest.mark.parametrize("place", ["XFD1048576", "A1048577", "ABC2", "Z1000000", "ZZZZZZZZ1"])
def test_cells_far_apart_are_refused_before_they_fill_the_memory(write: Write, place: str) -> None:
    path = write({"基本信息": [["no"], [1]]})
    cell = f"<row><c s='1' r = '{place}'><v>1</v></c></row></sheetData>".encode()
    _with_member(path, SHEET, lambda data: data.replace(b"</sheetData>", cell))
    with pytest.raises(DecodeError, match="上限"):
        list(read_workbook(path, LIMIT))


def test_a_long_text_in_very_many_cells_is_refused(write: Write) -> None:
    path = write({"基本信息": [["no"], *(["x" * 30_000] for _ in range(20_000))]})
    assert path.stat().st_size < MIB
    with pytest.raises(DecodeError, match="过长"):
        list(read_workbook(path, LIMIT))


def test_a_report_keeps_text_as_text(tmp_path: Path) -> None:
    path = tmp_path / "report.xlsx"
    evil = ("=1+1", "+cmd", "@SUM(A1)", "http://example.org", "-2", "\x1b[31m", "x" * 40_000)
    findings = tuple(
        Finding("FMT-001", "标题", "error", "setlinfo.age", "年龄", value, "说明", "建议", "依据")
        for value in evil
    )
    report = Report("=list", "4101", "需修改", 50, "丙", findings, None, (), "没有方案")
    with ReportWorkbook(path) as book:
        book.add("a.ndjson", 7, report)
        book.add_unread("a.ndjson", 8, "=坏行")
    read = CalamineWorkbook.from_path(path)
    rows = read.get_sheet_by_name("问题").to_python()
    column = rows[0].index("值")
    assert [row[column] for row in rows[1:6]] == list(evil[:5])
    assert len(str(rows[-1][column])) == 32_767
    summary = read.get_sheet_by_name("汇总").to_python()
    assert dict(zip(summary[0], summary[1], strict=True)) | {"清单": "=list", "错误": 7, "得分": 50} == dict(
        zip(summary[0], summary[1], strict=True)
    )
    assert read.get_sheet_by_name("未读取").to_python()[1] == ["a.ndjson", 8, "=坏行"]
    with zipfile.ZipFile(path) as archive:
        content = b"".join(archive.read(name) for name in archive.namelist() if "worksheets" in name)
    assert b"<f>" not in content
    assert b"hyperlink" not in content


def test_a_full_sheet_goes_on_in_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.spreadsheet.MAX_SHEET_ROWS", 4)
    path = tmp_path / "report.xlsx"
    with ReportWorkbook(path) as book:
        for line in range(7):
            book.add_unread("a", line, "r")
    read = CalamineWorkbook.from_path(path)
    lines = [
        row[1]
        for name in read.sheet_names
        if name.startswith("未读取")
        for row in read.get_sheet_by_name(name).to_python()[1:]
    ]
    assert lines == list(range(7))
