"""Every form a hospital hands in, whole and damaged: each list comes out once, each fault is one line that says why."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
import xlsxwriter

from api.intake import archive, source
from api.intake.archive import members
from api.intake.delimited import MAX_JOINED
from api.intake.mapping import parse_mapping
from api.intake.source import FileRefusedError, Incoming, open_source
from api.settings import MIB, Settings
from api.spreadsheet import value_domains, write_template
from models.wire import Received, decode
from tests.api.intake.conftest import Take
from tests.api.intake.front_page import COLUMNS, row_of, table


def received(items: list[Incoming]) -> list[Received]:
    assert [item.error for item in items] == [""] * len(items)
    return [decode(item.content) for item in items if item.content is not None]


def names(items: list[Incoming]) -> list[str | None]:
    return [decode(item.content).list.stay.patient_name if item.content else None for item in items]


def line(example: dict[str, Any]) -> bytes:
    return msgspec.json.encode(example)


def patients(example: dict[str, Any], count: int) -> list[dict[str, str]]:
    """Rows of the front page for patients 甲0, 甲1 …"""
    rows = []
    for number in range(count):
        example["setlinfo"]["psn_name"] = f"甲{number}"
        example["setlinfo"]["medcasno"] = f"M{number}"
        rows.append(row_of(example))
    return rows


# ---------------------------------------------------------------- lists in wire form


def test_lines_pass_through_as_they_are(take: Take, example: dict[str, Any]) -> None:
    first, second = line(example), json.dumps(example).encode()
    items = take("month.ndjson", b"\xef\xbb\xbf" + first + b"\r\n\n" + second + b"\n")
    assert [(item.source, item.line, item.content) for item in items] == [
        ("month.ndjson", 1, first),
        ("month.ndjson", 3, second),
    ]


def test_gbk_lines_become_utf8(take: Take, example: dict[str, Any]) -> None:
    text = line(example).decode()
    for name in ("month.ndjson", "month.utf8.ndjson"):
        assert [item.content for item in take(name, f"{text}\n{text}\n".encode("gbk"))] == [text.encode()] * 2


def test_content_is_not_looked_into(take: Take) -> None:
    items = take("month.ndjson", b'{"no": "list"}\nnot JSON\n')
    assert [item.content for item in items] == [b'{"no": "list"}', b"not JSON"]


def test_a_row_of_5000_diagnoses_is_one_list(tmp_path: Path, example: dict[str, Any]) -> None:
    example["diseinfo"] *= 5000 // len(example["diseinfo"])
    path = tmp_path / "wide.ndjson"
    path.write_bytes(line(example) + b"\n")
    (item,) = open_source(path, Settings(home=tmp_path)).items()
    (found,) = received([item])
    assert len(found.list.diagnoses) == len(example["diseinfo"])


def test_json_arrays_and_templates(
    take: Take, tmp_path: Path, example: dict[str, Any], settings: Settings
) -> None:
    assert names(take("array.json", b"[" + line(example) + b"," + line(example) + b"]")) == ["示例患者"] * 2
    assert names(take("one.json", msgspec.json.format(line(example), indent=2))) == ["示例患者"]
    write_template(tmp_path / "filled.xlsx", value_domains(settings.store()))
    items = list(open_source(tmp_path / "filled.xlsx", settings).items())
    assert names(items) == ["示例患者"]
    assert items[0].line == 2


# ---------------------------------------------------------------- the front page


def test_the_front_page_gives_the_list_again(take: Take, example: dict[str, Any]) -> None:
    example["setlinfo"] |= {
        "vent_used_dura": "2/3/0",
        "pwcry_bfadm_coma_dura": "0/5/30",
        "adm_time": "2026-01-05 10:20:00",
    }
    (found,) = received(take("hqms.csv", table([row_of(example)])))
    wanted = decode(line(example))
    stay, expected = found.list.stay, wanted.list.stay
    for name in (
        "record_number", "patient_name", "sex", "birth_date", "age", "admission_time", "discharge_time",
        "length_of_stay", "discharge_way", "total_fee_yuan", "ventilation", "coma_before_admission",
        "admission_department", "nationality", "outpatient_diagnosis_code",
    ):  # fmt: skip
        assert getattr(stay, name) == getattr(expected, name), name
    assert stay.coma_after_admission is None
    assert stay.visit_id == f"{expected.record_number}-1"
    codes = [(one.code, one.name) for one in wanted.list.diagnoses]
    assert [(one.code, one.name) for one in found.list.diagnoses] == codes
    assert [one.kind for one in found.list.diagnoses] == ["1"] + ["2"] * (len(codes) - 1)
    assert [one.principal_flag for one in found.list.diagnoses] == ["1"] + ["0"] * (len(codes) - 1)
    operations = [(one.code, one.performed_on, one.surgeon_name) for one in wanted.list.procedures]
    assert [(one.code, one.performed_on, one.surgeon_name) for one in found.list.procedures] == operations
    assert found.list.procedures[0].kind == "1"
    assert found.defects == ()
    assert found.unknown == ()


def test_a_full_row_of_41_diagnoses_and_41_operations(take: Take, example: dict[str, Any]) -> None:
    disease, operation = example["diseinfo"][0], example["oprninfo"][0]
    example["diseinfo"] = [{**disease, "diag_code": f"A{n:02d}.000"} for n in range(41)]
    example["oprninfo"] = [{**operation, "oprn_oprt_code": f"{n:02d}.0000"} for n in range(41)]
    (found,) = received(take("hqms.csv", table([row_of(example)])))
    assert [one.code for one in found.list.diagnoses] == [f"A{n:02d}.000" for n in range(41)]
    assert [one.code for one in found.list.procedures] == [f"{n:02d}.0000" for n in range(41)]
    assert [one.kind for one in found.list.procedures] == ["1"] + ["2"] * 40


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030"])
@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
def test_encodings_and_delimiters(take: Take, example: dict[str, Any], encoding: str, delimiter: str) -> None:
    text = table(patients(example, 3)).replace(",", delimiter)
    assert names(take("anything.csv", text.encode(encoding))) == ["甲0", "甲1", "甲2"]


def test_a_gbk_file_named_utf8_with_one_utf8_line(take: Take, example: dict[str, Any]) -> None:
    header, first, second = table(patients(example, 2)).splitlines()
    content = b"\n".join(
        (header.encode(), first.encode("gbk"), second.encode(), b"\xff\xff," + first.encode("gbk"))
    )
    items = take("首页_utf8.csv", content)
    assert names(items) == ["甲0", "甲1", None]
    assert "编码" in items[2].error
    assert items[2].line == 4


def test_a_title_above_the_header_is_passed_over(take: Take, example: dict[str, Any]) -> None:
    items = take("titled.csv", "某某医院 2026 年 10 月\n\n" + table(patients(example, 2)))
    assert names(items) == ["甲0", "甲1"]
    assert [item.line for item in items] == [4, 5]


N041 = (
    "USERNAME,BAH,ZYCS,XM,XB,CSRQ,NL,BZYZSNL,SFZH,RYSJ,RYSJS,CYSJ,CYSJS,RYKB,LYFS,ZFY,JBDM,ZYZD,RYBQ,"
    "JBDM1,QTZD1,RYBQ1,SSJCZBM1,SSJCZMC1,SSJCZRQ1,SSJCZBM2,SSJCZMC2,SSJCZRQ2,RYQ_T,RYQ_XS,RYQ_F,SFZZYJH"
)


def test_the_pinyin_columns_of_n041(take: Take) -> None:
    row = (
        "hosp,00012,2,新生儿一,1,20251221,0,15/30,-,20260105,9,20260108,14,0312,1,3000.5,P36.900,败血症,1,"
        "P59.900,黄疸,1,99.0400,输血,2026-01-06,96.0400,插管,2026-01-07,0,5,30,1"
    )
    (found,) = received(take("N041.csv", f"{N041}\n{row}\n"))
    stay = found.list.stay
    assert (stay.visit_id, stay.newborn_age_days, stay.age) == ("00012-2", 15, 0)
    assert str(stay.admission_time) == "2026-01-05 09:00:00"
    assert stay.coma_before_admission == 5 * 60 + 30
    assert stay.certificate_type is None
    assert [one.code for one in found.list.diagnoses] == ["P36.900", "P59.900"]
    assert [(one.kind, one.code) for one in found.list.procedures] == [("1", "99.0400"), ("2", "96.0400")]
    assert found.defects == ()


def test_chinese_headers_names_for_codes_and_several_codes_in_a_cell(take: Take) -> None:
    text = (
        "患者姓名,性别,年龄（岁）,入院日期,出院时间,离院方式,入院科室,主要诊断编码,主要诊断名称,其他诊断编码,其他诊断名称,总费用\n"
        '李四,女,61岁,2026年1月5日,2026/1/9 8:05,医嘱离院,内科,I10.x00,高血压,E11.900；I25.103,糖尿病；冠心病,"1,234.50"\n'
    )
    (found,) = received(take("own.csv", text))
    stay = found.list.stay
    assert (stay.sex, stay.age, stay.discharge_way, stay.admission_department) == ("2", 61, "1", "A03")
    assert (str(stay.discharge_time), stay.total_fee_yuan) == ("2026-01-09 08:05:00", 1234.5)
    assert [(one.kind, one.code, one.name) for one in found.list.diagnoses] == [
        ("1", "I10.x00", "高血压"),
        ("2", "E11.900", "糖尿病"),
        ("2", "I25.103", "冠心病"),
    ]


def test_what_is_not_understood_stays_for_the_check_to_name(take: Take, example: dict[str, Any]) -> None:
    row = row_of(example) | {
        "A12C": "男女",
        "A14": "5天",
        "B12": "去年",
        "C47": "很久",
        "B34C": "77",
        "D01": "三千",
    }
    (found,) = received(take("hqms.csv", table([row])))
    assert {defect.official.partition(".")[2]: defect.value for defect in found.defects} == {
        "age": "5天",
        "adm_time": "去年",
        "vent_used_dura": "/很久/",
        "medfee_sumamt": "三千",
    }
    assert (found.list.stay.sex, found.list.stay.discharge_way) == ("男女", "77")


def test_dashes_and_kept_zeros(take: Take, example: dict[str, Any]) -> None:
    row = row_of(example) | {"A11": "-", "A48": '="00123"', "A20": "'510101", "A26": " — ", "A12C": "01"}
    (found,) = received(take("hqms.csv", table([row])))
    stay = found.list.stay
    assert (stay.patient_name, stay.record_number, stay.certificate_number) == (None, "00123", "510101")
    assert (stay.address, stay.sex) == (None, "1")


def test_a_years_old_patient_has_no_age_in_days(take: Take, example: dict[str, Any]) -> None:
    rows = [
        row_of(example) | {"A14": age, "A16": days} for age, days in (("35", "0"), ("0", "0"), ("0", "200"))
    ]
    ages = [one.list.stay.newborn_age_days for one in received(take("hqms.csv", table(rows)))]
    assert ages == [None, 0, 200]


# ---------------------------------------------------------------- damaged tables


def test_a_bad_row_costs_only_itself(take: Take, example: dict[str, Any]) -> None:
    lines = table(patients(example, 6)).splitlines()
    lines[2] += ",one more"
    lines[4] = lines[4][: len(lines[4]) // 2]
    lines[5] = lines[5].replace("甲4", "甲\x004")
    items = take("hqms.csv", "\n".join(lines))
    assert names(items) == ["甲0", None, "甲2", None, None, "甲5"]
    assert [item.line for item in items] == [2, 3, 4, 5, 6, 7]
    assert [item.column for item in items if item.error] == [
        f"第 {len(COLUMNS) + 1} 列",
        COLUMNS[lines[4].count(",") + 1],
        "A11",
    ]
    assert ["表头" in item.error or "NUL" in item.error for item in items if item.error] == [True] * 3


def test_cells_may_hold_line_breaks_and_delimiters(take: Take, example: dict[str, Any]) -> None:
    rows = patients(example, 3)
    rows[1]["A26"] = '某路 1 号,\n"甲"楼\n2 层'
    items = take("hqms.csv", table(rows))
    assert names(items) == ["甲0", "甲1", "甲2"]
    assert received(items)[1].list.stay.address == '某路 1 号,\n"甲"楼\n2 层'
    assert [item.line for item in items] == [2, 3, 6]


def test_a_quote_never_closed_costs_one_row(take: Take, example: dict[str, Any]) -> None:
    count = 3 * MAX_JOINED
    lines = table(patients(example, count)).splitlines()
    for number in (2, 40, count):
        lines[number] = lines[number].replace("甲", '"甲')
    items = take("hqms.csv", "\n".join(lines))
    assert names(items) == [None if n + 1 in (2, 40, count) else f"甲{n}" for n in range(count)]
    assert all("引号" in item.error for item in items if item.error)


def test_two_quotes_never_closed_do_not_swallow_the_rows_between(take: Take, example: dict[str, Any]) -> None:
    lines = table(patients(example, 6)).splitlines()
    for number in (2, 5):
        lines[number] = lines[number].replace("甲", '"甲')
    items = take("hqms.csv", "\n".join(lines))
    assert names(items) == ["甲0", None, "甲2", "甲3", None, "甲5"]


def test_a_quote_within_a_cell_is_a_character(take: Take, example: dict[str, Any]) -> None:
    lines = table(patients(example, 2)).splitlines()
    lines[1] = lines[1].replace("甲0", '5"甲')
    assert names(take("hqms.csv", "\n".join(lines))) == ['5"甲', "甲1"]


def test_a_line_over_the_limit_is_named(take: Take, example: dict[str, Any], settings: Settings) -> None:
    lines = table(patients(example, 2)).splitlines()
    items = take("hqms.csv", "\n".join((lines[0], lines[1], "x" * 3 * settings.line_limit, lines[2])))
    assert names(items) == ["甲0", None, "甲1"]
    assert "上限" in items[1].error


def test_a_repeated_column_that_is_used_refuses_the_table(take: Take, example: dict[str, Any]) -> None:
    text = table(patients(example, 1)).replace("A48,", "A11,", 1)
    with pytest.raises(FileRefusedError, match=r"重复.*A11"):
        take("hqms.csv", text)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("x.csv", "a,b,c\n1,2,3\n", "intake columns"),
        ("x.csv", "", "空"),
        ("x.csv", "只有一行", "intake columns"),
        ("x.csv", "A11,C03C\n".encode("utf-16"), "UTF-16"),
        ("x.csv", "A11,C03C\n".encode("utf-16-le"), "UTF-16"),
        ("x.rar", b"Rar!\x1a\x07\x00", "RAR"),
        ("x.gz", b"\x1f\x8b\x08\0\0", "解压"),
        ("x.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "xlsx"),
        ("x.parquet", b"PAR1" + b"\0" * 64, "Parquet"),
        ("x.parquet", b"PAR1" + b"\xff" * 64 + b"PAR1", "Parquet"),
        ("x.zip", b"PK\x03\x04" + b"\0" * 64, "压缩"),
    ],
)
def test_what_is_no_source_is_refused_in_one_sentence(
    take: Take, name: str, content: bytes | str, reason: str
) -> None:
    with pytest.raises(FileRefusedError, match=reason) as caught:
        take(name, content)
    assert name in str(caught.value)


def test_paths_that_lead_nowhere(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for path, reason in (
        (tmp_path / "none.csv", "没有"),
        (tmp_path / "empty", "没有文件"),
        (tmp_path / "pipe", "普通文件"),
        (Path("x\0y"), "无效"),
    ):
        with pytest.raises(FileRefusedError, match=reason):
            list(open_source(path, settings).items())


# ---------------------------------------------------------------- workbooks


def workbook(path: Path, sheets: dict[str, list[list[Any]]]) -> Path:
    with xlsxwriter.Workbook(str(path)) as book:
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            for number, row in enumerate(rows):
                for column, value in enumerate(row):
                    sheet.write(number, column, value)
    return path


def test_a_table_in_a_workbook_with_titles_notes_and_two_sheets(
    tmp_path: Path, example: dict[str, Any], settings: Settings
) -> None:
    rows = [[row.get(name, "") for name in COLUMNS] for row in patients(example, 3)]
    path = workbook(
        tmp_path / "own.xlsx",
        {
            "说明": [["请勿外传"]],
            "上半月": [["某某医院"], [], list(COLUMNS), rows[0], [], rows[1]],
            "下半月": [list(COLUMNS), rows[2]],
        },
    )
    items = list(open_source(path, settings).items())
    assert names(items) == ["甲0", "甲1", "甲2"]
    assert [(item.source, item.line) for item in items] == [
        ("own.xlsx/上半月", 4),
        ("own.xlsx/上半月", 6),
        ("own.xlsx/下半月", 2),
    ]


def test_numbers_dates_and_formulas_in_a_workbook(tmp_path: Path, settings: Settings) -> None:
    path = tmp_path / "own.xlsx"
    with xlsxwriter.Workbook(str(path)) as book:
        sheet = book.add_worksheet()
        day = book.add_format({"num_format": "yyyy-mm-dd"})
        sheet.write_row(0, 0, ["A11", "A14", "A13", "D01", "C03C", "A26"])
        sheet.write(1, 0, "甲")
        sheet.write_number(1, 1, 35)
        sheet.write_number(1, 2, 33000, day)
        sheet.write_number(1, 3, 1234.5)
        sheet.write_formula(1, 4, '="I10"&".x00"', None, "I10.x00")
        sheet.write_formula(1, 5, '=HYPERLINK("http://127.0.0.1/","住址")', None, "")
    (found,) = received(list(open_source(path, settings).items()))
    stay = found.list.stay
    assert (stay.age, str(stay.birth_date), stay.total_fee_yuan) == (35, "1990-05-07", 1234.5)
    assert found.list.diagnoses[0].code == "I10.x00"
    assert stay.address is None
    assert found.defects == ()


def test_a_sheet_of_10000_columns_is_refused(tmp_path: Path, settings: Settings) -> None:
    path = workbook(tmp_path / "wide.xlsx", {"a": [["A11", "C03C"], ["甲", "I10"]]})
    with xlsxwriter.Workbook(str(path)) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["A11", "C03C", *(f"x{n}" for n in range(10_000))])
        sheet.write_row(1, 0, ["甲", "I10.x00"])
    with pytest.raises(FileRefusedError, match="列，超过上限"):
        list(open_source(path, settings).items())


def test_a_text_table_of_10000_columns_is_read_and_17000_refused(take: Take) -> None:
    def wide(columns: int) -> str:
        more = [f"x{n}" for n in range(columns)]
        return f"A11,C03C,{','.join(more)}\n甲,I10.x00{',' * columns}\n"

    assert names(take("wide.csv", wide(5_000))) == ["甲"]
    with pytest.raises(FileRefusedError, match=r"列，超过上限|intake columns"):
        take("wide.csv", wide(17_000))


# ---------------------------------------------------------------- Parquet


def test_a_parquet_table(tmp_path: Path, example: dict[str, Any], settings: Settings) -> None:
    rows = patients(example, 2_500)
    path = tmp_path / "p.parquet"
    pl.DataFrame({name: [row.get(name, "") for row in rows] for name in COLUMNS}).write_parquet(path)
    items = list(open_source(path, settings).items())
    assert names(items) == [f"甲{n}" for n in range(2_500)]
    assert [item.line for item in items] == list(range(1, 2_501))


def test_parquet_types_become_what_the_list_writes(tmp_path: Path, settings: Settings) -> None:
    path = tmp_path / "p.parquet"
    frame = pl.DataFrame(
        {"A11": ["甲", None], "A14": [35, None], "C03C": ["I10.x00", None], "D01": [12.5, None]}
    )
    frame = frame.with_columns(
        pl.lit("2026-01-05 10:20:30").str.to_datetime().alias("B12"),
        pl.lit("1990-05-07").str.to_date().alias("A13"),
    )
    frame.write_parquet(path)
    items = list(open_source(path, settings).items())
    stay = decode(items[0].content or b"").list.stay
    assert (stay.age, stay.total_fee_yuan, str(stay.birth_date)) == (35, 12.5, "1990-05-07")
    assert str(stay.admission_time) == "2026-01-05 10:20:30"


def test_parquet_of_lists_as_json_and_as_nodes(
    tmp_path: Path, example: dict[str, Any], settings: Settings
) -> None:
    path = tmp_path / "json.parquet"
    pl.DataFrame({"id": [1, 2], "payload": [line(example).decode(), None]}).write_parquet(path)
    items = list(open_source(path, settings).items())
    assert names(items) == ["示例患者", None]
    assert items[1].column == "payload"
    path = tmp_path / "nodes.parquet"
    pl.DataFrame([{node: example[node] for node in ("setlinfo", "diseinfo")}]).write_parquet(path)
    (found,) = received(list(open_source(path, settings).items()))
    assert found.list.stay == decode(line(example)).list.stay
    assert found.list.diagnoses == decode(line(example)).list.diagnoses


def test_a_parquet_cut_short(tmp_path: Path, example: dict[str, Any], settings: Settings) -> None:
    path = tmp_path / "p.parquet"
    rows = patients(example, 50)
    pl.DataFrame({name: [row.get(name, "") for row in rows] for name in COLUMNS}).write_parquet(path)
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(FileRefusedError, match="Parquet"):
        list(open_source(path, settings).items())
    path.write_bytes(content[:200] + b"\xff" * 4000 + content[4200:])
    with pytest.raises(FileRefusedError, match="Parquet"):
        list(open_source(path, settings).items())


# ---------------------------------------------------------------- folders and zips


def zipped(files: dict[str, bytes], **options: Any) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, **options) as made:
        for name, content in files.items():
            made.writestr(name, content)
    return out.getvalue()


def test_a_folder_in_the_order_of_names(tmp_path: Path, example: dict[str, Any], settings: Settings) -> None:
    folder = tmp_path / "2026-10"
    (folder / "sub").mkdir(parents=True)
    rows = patients(example, 4)
    (folder / "b.csv").write_text(table(rows[1:2]))
    (folder / "a.csv").write_text(table(rows[:1]), encoding="gbk")
    (folder / "sub/c.ndjson").write_bytes(line(example))
    (folder / "z.zip").write_bytes(zipped({"d.csv": table(rows[2:3]).encode()}))
    (folder / "说明.docx").write_bytes(b"PK\x03\x04 no zip")
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "~$b.xlsx").write_bytes(b"x")
    (folder / "link.csv").symlink_to(tmp_path / "elsewhere.csv")
    taken: list[int] = []
    opened = open_source(folder, settings)
    items = list(opened.items(taken.append))
    assert [item.source for item in items] == [
        "2026-10/a.csv",
        "2026-10/b.csv",
        "2026-10/link.csv",
        "2026-10/sub/c.ndjson",
        "2026-10/z.zip/d.csv",
        "2026-10/说明.docx",
    ]
    assert names(items) == ["甲0", "甲1", None, "甲3", "甲2", None]
    assert [item.line for item in items if item.error] == [0, 0]
    assert list(open_source(folder, settings).items()) == items
    assert sum(taken) >= opened.size


def test_a_zip_with_gbk_names_and_one_damaged_member(
    take: Take, tmp_path: Path, example: dict[str, Any], settings: Settings
) -> None:
    rows = patients(example, 3)
    content = bytearray(
        zipped(
            {
                "b/二.csv": table(rows[1:2]).encode("gbk"),
                "a.ndjson": line(example),
                "c.csv": table(rows).encode(),
            }
        )
    )
    with zipfile.ZipFile(io.BytesIO(content)) as made:
        start = made.getinfo("c.csv").header_offset
    content[start + 60 : start + 90] = bytes(30)
    items = take("month.zip", bytes(content))
    assert [(item.source, item.line) for item in items] == [
        ("month.zip/a.ndjson", 1),
        ("month.zip/b/二.csv", 2),
        ("month.zip/c.csv", 0),
    ]
    assert names(items) == ["甲2", "甲1", None]
    assert "损坏" in items[2].error
    assert list((settings.home / archive.WORKPLACE).iterdir()) == []


def test_gbk_names_in_a_zip(tmp_path: Path, example: dict[str, Any]) -> None:
    path = tmp_path / "gbk.zip"
    name = "首页".encode("gbk").decode("cp437") + ".ndjson"
    content = zipped({"XXXX.ndjson": line(example)}).replace(b"XXXX.ndjson", name.encode("cp437"))
    path.write_bytes(content)
    assert [member.name for member in members(path)] == ["首页.ndjson"]


def test_a_zip_cut_short_is_refused(take: Take, example: dict[str, Any]) -> None:
    content = zipped({"a.ndjson": line(example) * 50})
    for cut in (30, len(content) // 2, len(content) - 10):
        with pytest.raises(FileRefusedError, match="不完整"):
            take("cut.zip", content[:cut])


def test_a_zip_bomb_is_stopped_and_the_others_go_on(
    take: Take, example: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "RATIO_FROM", MIB)
    content = zipped({"a.ndjson": line(example), "bomb.csv": b"0" * 20 * MIB, "c.ndjson": line(example)})
    items = take("bomb.zip", content)
    assert names(items) == ["示例患者", None, "示例患者"]
    assert "炸弹" in items[1].error


def test_a_zip_that_lies_about_its_size(take: Take, example: dict[str, Any]) -> None:
    content = bytearray(zipped({"a.ndjson": line(example) * 20}))
    real = len(line(example) * 20)
    for place in range(len(content) - 4):
        if content[place : place + 4] == struct.pack("<I", real):
            content[place : place + 4] = struct.pack("<I", 10)
    (item,) = take("liar.zip", bytes(content))
    assert item.content is None
    assert item.line == 0


def test_a_zip_too_large_in_all_is_refused(
    take: Take, example: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MAX_UNPACKED", 1000)
    with pytest.raises(FileRefusedError, match="超过上限"):
        take("large.zip", zipped({"a.ndjson": line(example)}))


def test_zips_in_zips_path_tricks_and_twins_are_not_read(
    take: Take, tmp_path: Path, example: dict[str, Any]
) -> None:
    inner = zipped({"a.ndjson": line(example)})
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, content in (
            ("../../evil.ndjson", line(example)),
            ("/etc/passwd", b"x"),
            ("c:\\x.ndjson", line(example)),
            ("inner.zip", inner),
            ("ok.ndjson", line(example)),
            ("ko.ndjson", line(example)),
            ("__MACOSX/._ok.ndjson", b"x"),
        ):
            made.writestr(name, content)
        link = zipfile.ZipInfo("link.csv")
        link.external_attr = 0o120777 << 16
        made.writestr(link, "/etc/passwd")
    items = take("tricks.zip", out.getvalue().replace(b"ko.ndjson", b"ok.ndjson"))
    assert [item.source for item in items if item.content] == ["tricks.zip/ok.ndjson"]
    reasons = {item.source.partition("/")[2]: item.error for item in items if item.error}
    assert set(reasons) == {
        "../../evil.ndjson", "/etc/passwd", "c:\\x.ndjson", "inner.zip", "ok.ndjson", "link.csv",
    }  # fmt: skip
    assert any("压缩包里还有压缩包" in reason for reason in reasons.values())
    assert any("同名" in reason for reason in reasons.values())
    assert not (tmp_path.parent / "evil.ndjson").exists()


def test_what_a_dead_process_left_unpacked_is_removed(
    take: Take, settings: Settings, example: dict[str, Any]
) -> None:
    left = settings.home / archive.WORKPLACE / "999999999-left"
    left.mkdir(parents=True)
    (left / "member.csv").write_text("patient data")
    mine = settings.home / archive.WORKPLACE / f"{os.getpid()}-mine"
    mine.mkdir()
    take("a.zip", zipped({"a.ndjson": line(example)}))
    assert not left.exists()
    assert mine.exists()


def test_a_failing_disk_ends_everything(
    take: Take, example: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive, "_unpack", full)
    with pytest.raises(FileRefusedError, match="磁盘已满"):
        take("a.zip", zipped({"a.ndjson": line(example), "b.ndjson": line(example)}))


def test_progress_adds_up_to_the_size(tmp_path: Path, example: dict[str, Any], settings: Settings) -> None:
    files = {
        "a.csv": table(patients(example, 5)).encode(),
        "b.ndjson": line(example) + b"\n",
        "c.csv": b"no,table\n1,2",
    }
    (tmp_path / "in.zip").write_bytes(zipped(files))
    (tmp_path / "in.csv").write_bytes(files["a.csv"])
    for name in ("in.zip", "in.csv"):
        taken: list[int] = []
        opened = open_source(tmp_path / name, settings)
        list(opened.items(taken.append))
        assert sum(taken) == opened.size


def test_a_mapping_is_used_instead_of_the_shipped_ones(take: Take) -> None:
    mapping = parse_mapping('[setlinfo]\npsn_name = "A11"\n', "own", "own.toml")
    (item,) = take("hqms.csv", "A11,C03C\n甲,I10.x00\n", mapping)
    assert item.content == '{"setlinfo":{"psn_name":"甲"}}'.encode()
    with pytest.raises(FileRefusedError, match="own"):
        take("other.csv", "x,y\n1,2\n", mapping)


def test_public_names() -> None:
    assert source.__all__ == sorted(source.__all__)


OWN_MAPPING = """
title = "本院导出"
[setlinfo]
psn_name = "名"
gend = "性别"
[[diseinfo]]
diag_code = "主码"
diag_type = { value = "1", if_filled = "主码" }
"""


def test_in_a_package_shipped_mappings_serve_what_the_given_one_does_not_fit(
    tmp_path: Path, settings: Settings, example: dict[str, Any]
) -> None:
    mapping = parse_mapping(OWN_MAPPING, "own", "own.toml")
    path = tmp_path / "all.zip"
    parquet = io.BytesIO()
    pl.DataFrame({"BAH": ["9"], "JBDM": ["I10.x00"], "XM": ["甲4"]}).write_parquet(parquet)
    files = {
        "a.csv": "名,性别,主码\n甲1,男,I10.x00\n".encode(),
        "b.csv": table(patients(example, 1)).encode(),
        "c.csv": "姓名,性别,主要诊断编码\n甲3,男,I10.x00\n".encode(),
        "d.parquet": parquet.getvalue(),
        "e.ndjson": line(example),
        "f.csv": b"x,y\n1,2\n",
        "g.csv": "名,备注\n甲7,x\n".encode(),
    }
    path.write_bytes(zipped(files))
    notes: list[str] = []
    items = list(open_source(path, settings, mapping, notes.append).items())
    assert names(items) == ["甲1", "甲0", "甲3", "甲4", names([items[4]])[0], None, "甲7"]
    assert [decode(one.content).list.diagnoses[0].code for one in items[:4] if one.content][2] == "I10.x00"
    assert [note.split("：")[0] for note in notes] == ["all.zip/b.csv", "all.zip/c.csv", "all.zip/d.parquet"]
    assert "本院导出" in notes[0]
    assert "HQMS" in notes[0]
    assert "也不是内置对照" in items[5].error

    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    assert names(list(open_source(folder, settings, mapping).items())) == names(items)


def test_a_single_table_is_read_with_the_given_mapping_only(take: Take) -> None:
    mapping = parse_mapping(OWN_MAPPING, "own", "own.toml")
    with pytest.raises(FileRefusedError, match="own"):
        take("b.csv", "BAH,JBDM\n1,I10.x00\n", mapping)
