"""Importing code books and value tables: every fault is listed with file, line and column."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import models.pack_import
from api.services.packs import KINDS, Candidate, ImportRefusedError, prepare
from coding.library import normalize_code
from models.pack import Pack, PackError, PackStore
from tests.shared import SHARED, needs_shared

STORE = PackStore()
FIELDS: dict[str, object] = {
    "id": "city-codes",
    "kind": "icd10",
    "name": "某市编码",
    "publisher": "某市医疗保障局",
    "document": "某市文件",
    "version": "1",
}
CODES = "code,name,grey\nA00.000,霍乱,1\nA00.000x001,古典生物型霍乱,0\n"


def fill(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def take(folder: Path, files: Mapping[str, str | bytes], **more: object) -> Candidate:
    return prepare(fill(folder, files), {**FIELDS, **more}, STORE)


def faults(folder: Path, files: Mapping[str, str | bytes], **more: object) -> list[str]:
    with pytest.raises(ImportRefusedError) as refused:
        take(folder, files, **more)
    return list(refused.value.faults)


def test_a_code_book_is_taken_as_it_is(tmp_path: Path) -> None:
    candidate = take(
        tmp_path,
        {
            "codes.csv": CODES,
            "aliases.csv": "code,name,edition\nA00.000x001,古典霍乱,clinical-2.0\n",
            "crosswalk.csv": "edition,code,insurance_code\nclinical-2.0,A00.001,A00.000x001\nclinical-2.0,A00.002,\n",
        },
    )
    assert candidate.tables["codes"][2] == [("A00.000", "霍乱", "1"), ("A00.000x001", "古典生物型霍乱", "0")]
    assert {table.table: len(table.added) for table in candidate.diff} == {
        "codes": 2,
        "aliases": 1,
        "crosswalk": 2,
    }
    assert candidate.notes == ()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_the_encodings_of_spreadsheets_are_read(tmp_path: Path, encoding: str, line_end: str) -> None:
    content = CODES.replace("\n", line_end).encode(encoding)
    assert take(tmp_path, {"codes.csv": content}).tables["codes"][2][0] == ("A00.000", "霍乱", "1")


def test_all_faults_are_listed_not_only_the_first(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        {
            "codes.csv": (
                "code,name,grey\n"
                "A00.000,霍乱,1\n"
                "A00.000,又一个,0\n"  # repeated
                "霍乱,A00,0\n"  # no code
                "A01.000,,0\n"  # no name
                "A02.000,伤寒,是\n"  # no flag
                "A03.000,痢疾\n"  # too short
                '"A04.000","多\n行",0\n'  # a line break inside a cell is no fault and counts as a line
                "A05.000,食物中毒,0,多余\n"  # too long
            ),
            "aliases.csv": "code,name,edition\nB99.900,别名,clinical-2.0\nA00.000,别名,随便\n",
            "crosswalk.csv": "edition,code\nclinical-2.0,A00.000\n",
        },
    )
    assert len(found) == 9, found
    for where in (
        "codes.csv 第 3 行 code 列：“A00.000”与第 2 行重复",
        "codes.csv 第 4 行 code 列：“霍乱”不符合要求",
        "codes.csv 第 5 行 name 列：不能为空",
        "codes.csv 第 6 行 grey 列：“是”不符合要求",
        "codes.csv 第 7 行：有 2 个值，表头有 3 列",
        "codes.csv 第 10 行：有 4 个值，表头有 3 列",
        "aliases.csv 第 2 行 code 列：编码 B99.900 不在 codes 表中",
        "aliases.csv 第 3 行 edition 列：“随便”不符合要求",
        "crosswalk.csv 第 1 行 insurance_code 列：缺少这一列",
    ):
        assert any(fault.startswith(where) for fault in found), where


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"code,name,grey\n\xff\xff\xff,x,0\n", "编码既不是 UTF-8 也不是 GB18030"),
        (b"", "缺少这一列"),
        (b"\n\n", "缺少这一列"),
        (b"code,name,grey\n", "没有数据行"),
        (b'code,name,grey\n"A00.000,x,0\n', "不是有效的 CSV"),
        (b'code,name,grey\n"A00"x,x,0\n', "不是有效的 CSV"),
        (b"code,name,grey,grey\nA00.000,x,0,0\n", "不止一次"),
        (b"code,name,grey\nA00.000," + b"x" * 30_000 + b",0\n", "超过 20000 的上限"),
        (b"code,name,grey\nA00.000," + b"x" * 200_000 + b",0\n", "不是有效的 CSV"),
        (b"\x00\x00\x00", "缺少这一列"),
        (b"PK\x03\x04workbook", "缺少这一列"),
    ],
)
def test_a_hostile_file_is_a_fault(tmp_path: Path, content: bytes, message: str) -> None:
    assert message in faults(tmp_path, {"codes.csv": content})[0]


def test_a_huge_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.pack_import, "MAX_FILE_BYTES", 10)
    assert "的上限" in faults(tmp_path, {"codes.csv": CODES})[0]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(
        st.binary(max_size=200), st.text(max_size=100).map(lambda s: ("code,name,grey\n" + s).encode())
    )
)
def test_any_bytes_are_taken_or_refused_never_a_crash(tmp_path: Path, content: bytes) -> None:
    try:
        rows = take(tmp_path, {"codes.csv": content}).tables["codes"][2]
    except ImportRefusedError as refused:
        assert {fault.file for fault in refused.found} == {"codes.csv"}  # noqa: PT017 - either outcome is right, a third one is not
    else:
        assert rows
        assert all(normalize_code(row[0]) == row[0] for row in rows)


def test_a_missing_folder_or_table_is_said(tmp_path: Path) -> None:
    assert "缺少数据表 codes" in faults(tmp_path, {})[0]
    with pytest.raises(PackError, match="没有这个文件夹"):
        prepare(tmp_path / "nowhere", FIELDS, STORE)
    assert "需要一个文件夹" in faults_of_source(fill(tmp_path, {"codes.csv": CODES}) / "codes.csv")


def faults_of_source(source: Path) -> str:
    with pytest.raises(ImportRefusedError) as refused:
        prepare(source, FIELDS, STORE)
    return str(refused.value)


def test_columns_may_stand_in_any_order_and_unknown_ones_are_named(tmp_path: Path) -> None:
    candidate = take(tmp_path, {"codes.csv": "备注,grey,code,name\nx,0,A00.000,霍乱\n"})
    assert candidate.tables["codes"][2] == [("A00.000", "霍乱", "0")]
    assert "备注" in candidate.notes[0]


def test_the_blank_columns_that_spreadsheets_leave_are_passed_over(tmp_path: Path) -> None:
    candidate = take(tmp_path, {"codes.csv": "code,name,grey,,\nA00.000,霍乱,0,,\n"})
    assert candidate.tables["codes"][2] == [("A00.000", "霍乱", "0")]


def test_a_table_full_of_faults_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.pack_import, "MAX_FAULTS", 5)
    for row in ("x,霍乱,0\n", "A00.000,霍乱,0\n"):
        assert 5 <= len(faults(tmp_path, {"codes.csv": "code,name,grey\n" + row * 100})) <= 7
    monkeypatch.setattr(models.pack_import, "MAX_ROWS", 1)
    assert "从这一行起未检查" in faults(tmp_path, {"codes.csv": CODES})[0]


def test_codes_are_rewritten_as_the_tables_write_them_and_said(tmp_path: Path) -> None:
    candidate = take(
        tmp_path, {"codes.csv": "code,name,grey\nａ00.000X001, 霍乱_x000D_ ,0\nA17.0†G01*,脑膜炎,0\n"}
    )
    assert candidate.tables["codes"][2] == [("A00.000x001", "霍乱", "0"), ("A17.0+G01*", "脑膜炎", "0")]
    assert len(candidate.notes) == 2
    assert "A17.0†G01* → A17.0+G01*" in candidate.notes[1]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "../x"),
        ("id", "X"),
        ("id", ""),
        ("version", "a/b"),
        ("version", None),
        ("region", "广西"),
        ("kind", "unknown"),
        ("name", ""),
        ("effective_from", "yesterday"),
    ],
)
def test_an_impossible_manifest_is_refused(tmp_path: Path, field: str, value: object) -> None:
    with pytest.raises(PackError) as refused:
        take(tmp_path, {"codes.csv": CODES}, **{field: value})
    assert field in str(refused.value) or "种类" in str(refused.value)


def test_a_period_that_ends_before_it_begins_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="早于"):
        take(tmp_path, {"codes.csv": CODES}, effective_from="2025-01-01", effective_to="2024-12-31")


SEX = {
    "male_only_icd10": ["N40"],
    "female_only_icd10": ["C51", "O00", "M80.0", "M81.1"],
    "male_only_icd9": ["60"],
    "female_only_icd9": ["65"],
    "note": "",
}


def test_lists_of_one_sex_become_one_table(tmp_path: Path) -> None:
    candidate = take(tmp_path, {"sex_restricted_codes.json": json.dumps(SEX)}, kind="sex-restricted")
    assert set(candidate.tables["code_prefix"][2]) == {
        ("N40", "icd10", "1", "error"),
        ("60", "icd9cm3", "1", "error"),
        ("C51", "icd10", "2", "error"),
        ("O00", "icd10", "2", "warn"),
        ("M80.0", "icd10", "2", "warn"),
        ("M81.1", "icd10", "2", "warn"),
        ("65", "icd9cm3", "2", "error"),
    }


@pytest.mark.parametrize("content", ["[]", "{", "{}", '{"male_only_icd10": 1}', "[" * 100_000, '"x"', "null"])
def test_a_hostile_json_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(PackError, match=r"sex_restricted_codes\.json"):
        take(tmp_path, {"sex_restricted_codes.json": content}, kind="sex-restricted")


def test_a_prefix_of_the_wrong_system_is_a_fault(tmp_path: Path) -> None:
    table = "code_prefix,system,sex,level\nN40,icd9cm3,1,error\n"
    assert "不是 icd9cm3 的编码前缀" in faults(tmp_path, {"code_prefix.csv": table}, kind="sex-restricted")[0]


def test_the_torn_department_rows_are_found(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        {
            "domains.csv": "field,code,name,status\ngend,1,男,confirmed\n",
            "countries.csv": "code,name\nCHN,中国\n",
            "departments.csv": "code,name\nA32,医学影像科\nA32.01 X,线诊断专业\nA32.02 CT,诊断专业\n",
        },
        kind="value-domains",
    )
    assert [fault.split("，")[0] for fault in found] == [
        "departments.csv 第 3 行 code 列：“A32.01 X”不符合要求",
        "departments.csv 第 4 行 code 列：“A32.02 CT”不符合要求",
    ]


# What the shipped packs are made of, and what was mended on the way: (file, as published) → as shipped.
SOURCES = {
    "icd10-nhsa-2.0": {
        "codes": "codes/icd10.csv",
        "aliases": "codes/icd10_alias.csv",
        "crosswalk": "codes/icd10_crosswalk.csv",
    },
    "icd9cm3-nhsa-2.0": {
        "codes": "codes/icd9cm3.csv",
        "aliases": "codes/icd9cm3_alias.csv",
        "crosswalk": "codes/icd9cm3_crosswalk.csv",
    },
    "value-domains": {
        "domains": "settlement/value_domains.csv",
        "departments": "settlement/departments.csv",
        "countries": "settlement/countries.csv",
    },
    **{
        scheme: {
            table: f"schemes/{scheme}/{table}.csv"
            for table in ("mdc", "adrg", "drg", "sets", "complication", "exclusion")
        }
        for scheme in ("chs-drg-2.0", "chs-drg-1.1", "guangxi-2022")
    },
    **{
        payment: {"weights": f"payment/{payment}.csv"}
        for payment in ("sichuan-2024", "liaocheng-2025", "linyi-2022", "guangxi-yulin-2022")
    },
}
MENDED = {
    ("beijing-7.0", "J11.001", "J11.000X001"): ("beijing-7.0", "J11.001", "J11.000x001"),
    ("A32.01 X", "线诊断专业"): ("A32.01", "X线诊断专业"),
    ("A32.02 CT", "诊断专业"): ("A32.02", "CT诊断专业"),
    ("BB11", "8.741l", "", ""): ("BB11", "8.7411", "", ""),
}


@needs_shared
@pytest.mark.parametrize("pack_id", SOURCES)
def test_a_shipped_pack_holds_every_published_row(pack_id: str) -> None:
    pack = STORE.get(pack_id)
    assert set(pack.manifest.tables) == set(SOURCES[pack_id])
    for table, source in SOURCES[pack_id].items():
        with (SHARED / "data" / source).open(encoding="utf-8-sig", newline="") as file:
            header, *rows = (tuple(row) for row in csv.reader(file))
        assert pack.columns(table) == header
        published = [MENDED.get(row, tuple(cell.strip() for cell in row)) for row in rows]
        assert pack.records(table, *header) == published


@needs_shared
def test_the_shipped_sex_limits_hold_every_published_prefix() -> None:
    published = json.loads((SHARED / "data/settlement/sex_restricted_codes.json").read_text(encoding="utf-8"))
    shipped = STORE.get("sex-restricted").records("code_prefix", "sex", "system", "code_prefix")
    for sex, code in (("male", "1"), ("female", "2")):
        for short, system in (("icd10", "icd10"), ("icd9", "icd9cm3")):
            expected = [(code, system, prefix) for prefix in published[f"{sex}_only_{short}"]]
            assert [row for row in shipped if row[:2] == (code, system)] == expected


@pytest.mark.parametrize(
    "pack", [pack for pack in STORE.all() if pack.kind in KINDS], ids=lambda pack: pack.id
)
def test_importing_a_shipped_pack_gives_the_same_bytes(pack: Pack, tmp_path: Path) -> None:
    candidate = prepare(pack.folder, {}, STORE)
    assert all(table.same for table in candidate.diff)
    assert candidate.write(tmp_path / "again").sha256 == pack.sha256
