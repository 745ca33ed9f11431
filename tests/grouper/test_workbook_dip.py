"""The official DIP workbook and a bureau's catalogue: imported they group as the tables they were made from."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import xlsxwriter

from api.services.packs import Candidate, ImportRefusedError, install, prepare
from grouper.dip.catalogue import GROUP_COLUMNS, Catalogue, group_of_row, load_catalogue
from grouper.dip.engine import DipEngine
from grouper.workbook_dip import LAYOUTS, choose_sheets
from models.grouping import Case
from models.pack import PackStore
from tests.grouper.dip import case_of, content, engine, library
from tests.grouper.workbooks import DIP_SHEETS, Book, dip_book

FIELDS: dict[str, object] = {
    "id": "city-dip",
    "kind": "dip-catalogue",
    "name": "某市 DIP 目录",
    "publisher": "某市医疗保障局",
    "document": "某市文件",
    "version": "1",
    "region": "9999",
}
STORE = PackStore()
LISTS = {
    "resistance": content()["catalogue"]["resistance_diagnoses"],
    "diagnoses": content()["catalogue"]["excluded_diagnoses"],
    "procedures": content()["catalogue"]["excluded_procedures"],
}


def rows() -> list[dict[str, str]]:
    """The groups of the hand-worked catalogue that the national layout can say."""
    defaults = {**dict.fromkeys(GROUP_COLUMNS, ""), "diagnosis_scope": "principal", "procedure_rule": "free"}
    category = {"pre": "XQ", "merged": "BX", "base": "JC"}
    found = []
    for given in content()["catalogue"]["groups"]:
        row = {**defaults, **given}
        if row["layer"] != "comprehensive" and row["procedure_rule"] != "exact":
            found.append({**row, "category": category.get(row["layer"], "FZ")})
    return found


def take(path: Path, headers: Mapping[str, str] | None = None, **fields: object) -> Candidate:
    return prepare(path, {**FIELDS, **fields}, STORE, headers)


def faults(path: Path, headers: Mapping[str, str] | None = None) -> str:
    with pytest.raises(ImportRefusedError) as refused:
        take(path, headers)
    return "\n".join(refused.value.faults)


def imported(path: Path, folder: Path, headers: Mapping[str, str] | None = None) -> Catalogue:
    store = PackStore(site=folder / "packs")
    install(store, prepare(path, FIELDS, store, headers))
    return load_catalogue(store.get("city-dip"))


def test_the_ten_sheets_are_found_by_name() -> None:
    assert list(choose_sheets(DIP_SHEETS).items()) == list(zip(LAYOUTS, DIP_SHEETS, strict=True))


def test_the_imported_workbook_is_the_catalogue_it_was_made_from(tmp_path: Path) -> None:
    given = rows()
    book = dip_book(given, LISTS, primary_care=["JC8", "JC1"])
    catalogue = imported(book.write(tmp_path / "目录.xlsx"), tmp_path)
    expected = {row["code"]: group_of_row(tuple(row[column] for column in GROUP_COLUMNS)) for row in given}
    for group in catalogue.groups:
        wanted = expected.pop(group.code)
        names = (
            "layer",
            "diagnoses",
            "any_diagnosis",
            "other_diagnoses",
            "procedure_rule",
            "main",
            "related",
        )
        names += ("resistance", "age_days_below", "birth_weight_from", "birth_weight_to", "degree", "area")
        for name in names:
            assert getattr(group, name) == getattr(wanted, name), (group.code, name)
        assert group.primary_care is (group.code in ("JC8", "JC1"))
    assert expected == {}
    assert catalogue.excluded_diagnoses == frozenset(LISTS["diagnoses"])
    assert catalogue.resistance_diagnoses == frozenset(LISTS["resistance"])


def test_hand_worked_cases_group_the_same_through_the_workbook(tmp_path: Path) -> None:
    read = DipEngine(
        imported(dip_book(rows(), LISTS, ["JC8"]).write(tmp_path / "a.xlsx"), tmp_path), library()
    )
    left_out = {"JC7", "ZH1", "ZH2", "ZH3", "ZH4", "ZH5"}
    checked = 0
    for given in content()["cases"]:
        here = engine().group(case_of(given))
        if here.code not in left_out:
            there = read.group(case_of(given))
            assert (there.code, there.layer, there.reason, there.conservative) == (
                here.code,
                here.layer,
                here.reason,
                here.conservative,
            ), given["name"]
            checked += 1
    assert checked > 60


def full_size() -> list[dict[str, str]]:
    """As many groups as a national catalogue has, over the whole code books."""
    pick = random.Random(7)  # noqa: S311 - test data, nothing secret
    subcategories = sorted(library().icd10.subcategories)
    procedures = sorted(library().icd9cm3.codes)
    given = rows()
    for number in range(100, 9_100):
        diagnosis = pick.choice(subcategories)
        main = "|".join(pick.sample(procedures, pick.choice((0, 1, 1, 2))))
        related = "|".join(pick.sample(procedures, 2)) if main and pick.random() < 0.2 else ""
        given.append(
            {
                **dict.fromkeys(GROUP_COLUMNS, ""),
                "code": f"JC{number}",
                "layer": "base",
                "category": "JC",
                "order": str(number),
                "name": diagnosis,
                "diagnoses": diagnosis,
                "diagnosis_scope": "principal",
                "procedure_rule": "main" if main else "none",
                "main_procedures": main,
                "related_procedures": related,
            }
        )
    return given


def test_a_full_size_workbook_groups_5000_cases_like_its_tables(tmp_path: Path) -> None:
    given = full_size()
    groups = tuple(group_of_row(tuple(row[column] for column in GROUP_COLUMNS)) for row in given)
    shipped = DipEngine(
        Catalogue(
            groups,
            {},
            frozenset(LISTS["diagnoses"]),
            frozenset(LISTS["procedures"]),
            frozenset(LISTS["resistance"]),
        ),
        library(),
    )
    book = dip_book(given, LISTS, ["JC8"])
    plant_defects(book)
    read = DipEngine(imported(book.write(tmp_path / "a.xlsx"), tmp_path), library())
    pick = random.Random(11)  # noqa: S311 - test data, nothing secret
    diagnoses, procedures = list(library().icd10.codes), list(library().icd9cm3.codes)
    differing, grouped = [], 0
    for _ in range(5000):
        group = pick.choice(groups)
        principal = pick.choice(diagnoses)
        if group.diagnoses:
            found = list(library().starting_with(pick.choice(group.diagnoses)))
            principal = pick.choice(found).code if found else principal
        codes = [*(group.main.codes if group.main else ()), *(group.related.codes if group.related else ())]
        case = Case(
            (principal, *pick.sample(diagnoses, 3), *(one + "00" for one in group.other_diagnoses[:1])),
            tuple(
                pick.sample(codes, pick.randint(0, len(codes))) + pick.sample(procedures, pick.randint(0, 2))
            ),
            age=pick.choice((0, 40)),
            age_days=pick.choice((3, None)),
            birth_weight=pick.choice((900, 1800, None)),
        )
        one, other = shipped.group(case), read.group(case)
        grouped += one.reason == "grouped"
        if (one.code, one.conservative) != (other.code, other.conservative):
            differing.append((case, one.code, other.code))
    assert differing == []
    assert grouped > 2000


def plant_defects(book: Book) -> None:
    base = book.sheets["四、基础规则下的核心病种"]
    base.append(list(base[5]))
    for row in base[10:40]:
        row[2] = f" {row[2]}_x000D_\n"
        row[4] = str(row[4]).replace("|", "｜\n")
        row[3] = f"{row[3]}  "
    base[50][4] = base[50][4] or "保守治疗"
    for row in base:
        row.insert(3, row.pop())  # the last 名称 elsewhere: it no longer follows its procedures
    book.sheets["五、不纳入分组的主要诊断"].append(["R69", "重复"])


def test_repairs_of_the_workbook_are_reported(tmp_path: Path) -> None:
    book = dip_book(rows(), LISTS, ["JC8"])
    base = book.sheets["四、基础规则下的核心病种"]
    base.append(list(base[1]))
    base.append([*base[2][:3], "另一行", "06.0900x001", "", "", ""])
    base[3][2] = f" {base[3][2]}_x000D_\n"
    book.sheets["五、不纳入分组的主要诊断"].append(["R69", "重复"])
    book.sheets["六、基层病种"].append(["JC", 99, "K35", "阑尾炎", "", "", "", ""])
    notes = "\n".join(take(book.write(tmp_path / "a.xlsx")).notes)
    assert "去掉重复的行：第" in notes
    assert "序号重复而内容不同，编码加后缀区分" in notes
    assert "JC2_2" in notes
    assert "去掉重复的编码：第 4 行 R69" in notes
    assert "工作表“四、基础规则下的核心病种”：1 行去掉了 _x000D_、换行、多余空格等残留字符" in notes
    assert "目录各表中没有同样的病种，未标为基层病种：第 3 行 K35" in notes


def test_all_faults_of_the_workbook_are_listed_with_their_cells(tmp_path: Path) -> None:
    book = dip_book(rows(), LISTS)
    base = book.sheets["四、基础规则下的核心病种"]
    base[1][1] = "一"
    base[2][2] = "甲状腺"
    base[3][4] = "06.3100+"
    base[4][2] = ""
    book.sheets["三、诊断辅助细分-结核类病种"][1][8] = "未知"
    book.sheets["五、不纳入分组的主要诊断"].append(["高血压", ""])
    book.sheets["一、先期分组"].append(["XQ", 30, "巨大儿", "P08", "", "", "", "", ""])
    del book.sheets["六、基层病种"]
    text = faults(book.write(tmp_path / "a.xlsx"))
    place = "a.xlsx 工作表“四、基础规则下的核心病种”"
    assert f"{place} 第 4 行 序号 列（B4 单元格）：“一”不是序号（整数）" in text
    assert f"{place} 第 5 行 主要诊断 列（C5 单元格）：“甲状腺”不是诊断编码或其前几位" in text
    assert f"{place} 第 6 行 主要手术操作 列（E6 单元格）：“06.3100+”不能读取：表达式没有写完" in text
    assert f"{place} 第 7 行 主要诊断 列（C7 单元格）：主要诊断不能为空" in text
    assert "第 2 行 是否耐药 列（I2 单元格）：“未知”应为 耐药 或 非耐药" in text
    assert "第 4 行 主要诊断编码 列（A4 单元格）：“高血压”不是编码" in text
    assert "“巨大儿”没有手术操作，也不是已知的出生体重段" in text
    assert "缺少工作表“基层病种”" in text
    assert STORE.versions("city-dip") == []


def bureau(path: Path, header: Sequence[str], *data: Sequence[object]) -> Path:
    workbook = xlsxwriter.Workbook(str(path), {"strings_to_formulas": False})
    sheet = workbook.add_worksheet("病种目录")
    sheet.write(0, 0, "某市 2025 年病种目录")
    for number, row in enumerate((header, *data), start=1):
        sheet.write_row(number, 0, row)
    workbook.close()
    return path


HEADER = (
    *(
        "病种编码",
        "主要诊断编码",
        "主要诊断名称",
        "主要手术操作编码",
        "相关手术操作编码",
        "病种类型",
        "治疗方式",
    ),
    *("病种分值", "次均费用（元）", "病例数", "基层病种"),
)
ROWS = (
    ("D34:1", "D34", "甲状腺良性肿瘤", "06.2x01", "", "核心病种", "", 500.5, 10000, 120, "否"),
    ("D34:2", "D34", "甲状腺良性肿瘤", "06.2x01+40.4100", "", "核心病种", "", 700, "15,000.50", 60, ""),
    ("D34:3", "D34", "甲状腺良性肿瘤", "", "", "核心病种", "保守治疗", 200, 4000, 90, "是"),
    ("D34:4", "D34.x", "甲状腺良性肿瘤", "", "", "综合病种", "手术组", 350, 7000, 33, ""),
)


def test_a_bureaus_catalogue_with_scores_becomes_a_pack(tmp_path: Path) -> None:
    catalogue = imported(bureau(tmp_path / "a.xlsx", HEADER, *ROWS), tmp_path)
    by_code = {group.code: group for group in catalogue.groups}
    assert by_code["D34:2"].related is not None
    assert by_code["D34:2"].related.text == "40.4100"
    assert by_code["D34:3"].procedure_rule == "none"
    assert by_code["D34:3"].primary_care
    assert (by_code["D34:4"].layer, by_code["D34:4"].treatment) == ("comprehensive", "手术组")
    assert str(catalogue.scores["D34:1"].score) == "1001/2"
    assert catalogue.scores["D34:2"].mean_cost == 1500050
    read = DipEngine(catalogue, library())
    assert read.group(Case(("D34.x00",), ("06.2x01", "40.4100"))).code == "D34:2"
    assert read.group(Case(("D34.x00",), ("06.4x00",))).code == "D34:4"
    assert read.group(Case(("D34.x00",))).code == "D34:3"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030"])
def test_a_bureaus_csv_with_its_own_headers_is_mapped(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("主诊,手术,结算分\nD34,06.2x01,500\nD34,,200\n".encode(encoding))
    catalogue = imported(path, tmp_path, {"diagnosis": "主诊", "main": "手术", "score": "结算分"})
    assert [(group.code, group.procedure_rule) for group in catalogue.groups] == [
        ("D34:06.2x01", "main"),
        ("D34", "none"),
    ]


def test_unknown_headers_say_what_is_needed_and_how_to_map(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("甲,乙\nD34,500\n", encoding="utf-8")
    assert "--column 列=表头" in faults(path, {"diagnosis": "丙"})
    assert "没有列 nonsense，可以对应的列" in faults(path, {"nonsense": "甲"})


def test_all_faults_of_a_bureaus_catalogue_are_listed(tmp_path: Path) -> None:
    path = bureau(
        tmp_path / "a.xlsx",
        HEADER,
        *ROWS,
        ("D34:1", "D34", "", "06.4x00", "", "", "", 1, 1, 1, ""),
        ("E1", "甲状腺", "", "06.4x00", "", "", "", "很多", -5, "若干", "也许"),
        ("E2", "E04", "", "(06.4x00", "", "", "", "", "", "", ""),
        ("E3", "E04", "", "", "", "综合病种", "", 1, 1, 1, ""),
    )
    text = faults(path)
    for wanted in (
        "第 7 行 病种编码 列（A7 单元格）：病种 D34:1 与第 3 行重复",
        "第 8 行 主要诊断编码 列（B8 单元格）：“甲状腺”不是诊断编码或其前几位",
        "第 8 行 病种分值 列（H8 单元格）：“很多”不是非负数字",
        "第 8 行 次均费用（元） 列（I8 单元格）：“-5”不是非负数字",
        "第 8 行 病例数 列（J8 单元格）：“若干”不是例数（整数）",
        "第 8 行 基层病种 列（K8 单元格）：“也许”应为 是 或 否",
        "第 9 行 主要手术操作编码 列（D9 单元格）：“(06.4x00”不能读取：缺少右括号",
        "第 9 行 病种分值 列（H9 单元格）：病种 E2 没有分值",
        "第 10 行 治疗方式 列（G10 单元格）：综合病种要写明类别",
    ):
        assert wanted in text, text


def test_our_own_csv_form_is_read_as_it_is(tmp_path: Path) -> None:
    pack = STORE.get("dip-national")
    candidate = take(pack.table_path("groups"))
    assert candidate.tables["groups"][2] == pack.records("groups", *GROUP_COLUMNS)
