"""Importing DRG schemes and weights: parents, formulas, sets and exclusion tables must be there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from api.services.packs import Candidate, ImportRefusedError, prepare
from models.pack import PackStore

STORE = PackStore()
SCHEME = {
    "mdc.csv": "order,mdc,name,condition\n1,E,呼吸系统疾病,ZYZD in DI_MDCE\n",
    "adrg.csv": (
        "order,mdc,adrg,part,name,kind,condition\n"
        "1,E,ER1,ER1,呼吸系统肿瘤,medical,ZYZD in DI_ER1\n"
        "2,E,EQY,EQY,,ambiguous,ZYSS in OP_ALL\n"
    ),
    "drg.csv": "adrg,order,drg,name,condition\nER1,1,ER11,伴MCC,QTZD in MCC\nER1,2,ER15,不伴,\n",
    "sets.csv": "set,code\nDI_MDCE,J18.900\nDI_ER1,C34.900\nOP_ALL,00.0101\n",
    "complication.csv": "code,level,exclusion_table\nA01.100,MCC,1\nA01.200,CC,999\n",
    "exclusion.csv": "exclusion_table,principal_diagnosis\n1,A01.100\n",
}
FIELDS: dict[str, object] = {
    "id": "city-drg",
    "kind": "drg-scheme",
    "name": "某市方案",
    "publisher": "某市医疗保障局",
    "document": "某市文件",
    "version": "1",
    "region": "4403",
    "effective_from": "2025-01-01",
}


def take(folder: Path, files: Mapping[str, str], **more: object) -> Candidate:
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
    return prepare(folder, {**FIELDS, **more}, STORE)


def faults(folder: Path, change: Mapping[str, tuple[str, str]], **more: object) -> list[str]:
    """The faults of the small scheme after one replacement in each of the files named."""
    files = dict(SCHEME)
    for name, (before, after) in change.items():
        assert before in files[name]
        files[name] = files[name].replace(before, after)
    with pytest.raises(ImportRefusedError) as refused:
        take(folder, files, **more)
    return list(refused.value.faults)


def test_a_scheme_is_taken_and_names_the_books_it_stands_on(tmp_path: Path) -> None:
    candidate = take(tmp_path, SCHEME)
    assert candidate.fields["requires"] == {"icd10": "icd10-nhsa-2.0", "icd9cm3": "icd9cm3-nhsa-2.0"}
    assert [table.after for table in candidate.diff] == [1, 2, 2, 3, 2, 1]
    assert candidate.notes == ("1 个并发症或合并症的排除表为空或 999：不被任何主要诊断排除",)


@pytest.mark.parametrize(
    ("file", "before", "after", "expected"),
    [
        (
            "mdc.csv",
            "DI_MDCE",
            "DI_NONE",
            "mdc.csv 第 2 行 condition 列：“ZYZD in DI_NONE”用到的集合 DI_NONE",
        ),
        ("mdc.csv", "ZYZD in DI_MDCE", "ZYZD of DI_MDCE", "mdc.csv 第 2 行 condition 列：公式第 6 个字符处"),
        ("adrg.csv", "ZYZD in DI_ER1", "(ZYZD in DI_ER1", "adrg.csv 第 2 行 condition 列：公式"),
        ("adrg.csv", "1,E,ER1", "1,X,ER1", "adrg.csv 第 2 行 mdc 列：ER1 所属的 MDC X 不在 mdc 表中"),
        ("adrg.csv", "呼吸系统肿瘤", "", "adrg.csv 第 2 行 name 列：不能为空"),
        ("adrg.csv", "medical", "internal", "adrg.csv 第 2 行 kind 列：“internal”不符合要求"),
        ("adrg.csv", "2,E,EQY", "1,E,EQY", "adrg.csv 第 3 行 order 列：序号 1 与第 2 行相同"),
        ("adrg.csv", "ambiguous", "medical", "adrg.csv 第 3 行 adrg 列：EQY 在 drg 表中没有任何 DRG"),
        (
            "drg.csv",
            "ER1,2,ER15",
            "ER2,2,ER15",
            "drg.csv 第 3 行 adrg 列：ER15 所属的 ADRG ER2 不在 adrg 表中",
        ),
        ("drg.csv", "ER1,2", "ER1,1", "drg.csv 第 3 行 order 列：序号 1 与第 2 行相同"),
        ("drg.csv", "ER15", "ER11", "drg.csv 第 3 行 drg 列：“ER11”与第 2 行重复"),
        ("sets.csv", "DI_ER1", "肿瘤", "sets.csv 第 3 行 set 列：“肿瘤”不符合要求"),
        (
            "sets.csv",
            "OP_ALL,00.0101",
            "DI_ER1,C34.900",
            "sets.csv 第 4 行 set、code 列：“DI_ER1 C34.900”与第 3 行重复",
        ),
        (
            "complication.csv",
            "MCC,1",
            "MCC,2",
            "complication.csv 第 2 行 exclusion_table 列：A01.100 的排除表 2",
        ),
        ("complication.csv", "MCC", "CCC", "complication.csv 第 2 行 level 列：“CCC”不符合要求"),
    ],
)
def test_a_fault_of_a_scheme_is_found(
    tmp_path: Path, file: str, before: str, after: str, expected: str
) -> None:
    found = faults(tmp_path, {file: (before, after)})
    assert any(fault.startswith(expected) for fault in found), found


def test_faults_of_several_tables_are_listed_together(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        {
            "mdc.csv": ("DI_MDCE", "DI_A and ZYSS in OP_B"),
            "drg.csv": ("ER1,2", "ER9,2"),
            "complication.csv": ("MCC,1", "MCC,7"),
        },
    )
    assert len(found) == 4, found


def test_a_code_that_the_library_lacks_is_noted_and_kept(tmp_path: Path) -> None:
    files = {**SCHEME, "sets.csv": SCHEME["sets.csv"] + "OP_ALL,43.4100x026\n"}
    candidate = take(tmp_path, files)
    assert ("OP_ALL", "43.4100x026") in candidate.tables["sets"][2]
    assert "编码 43.4100x026 不在 icd9cm3-nhsa-2.0 中，原样保留；出现在 OP_ALL" in candidate.notes


def test_the_same_code_is_noted_for_the_shipped_scheme() -> None:
    candidate = prepare(STORE.get("chs-drg-2.0").folder, {}, STORE)
    (note,) = candidate.notes
    assert note.endswith(
        "43.4100x026 不在 icd9cm3-nhsa-2.0 中，原样保留；出现在 OP_GK2_1、OP_RA2_2、OP_RA4_2、OP_RM1_1"
    )


def test_the_packs_a_scheme_stands_on_must_be_there(tmp_path: Path) -> None:
    for requires in ({"icd10": "icd10-of-mars"}, {"icd10": "icd9cm3-nhsa-2.0"}):
        assert "requires.icd10" in faults(tmp_path, {"mdc.csv": ("E", "E")}, requires=requires)[0]
    nothing = PackStore(tmp_path / "nothing")
    with pytest.raises(ImportRefusedError, match=r"requires\.icd10.*没有适用于"):
        prepare(tmp_path, FIELDS, nothing)


def weights(folder: Path, text: str) -> Candidate:
    source = folder / "权重.csv"
    source.write_bytes(text.encode("gb18030"))
    fields = {**FIELDS, "kind": "drg-payment", "requires": {"drg-scheme": "chs-drg-2.0"}}
    return prepare(source, fields, STORE)


def test_weights_are_taken_from_one_file_with_amounts_as_published(tmp_path: Path) -> None:
    candidate = weights(tmp_path, "drg,weight,average_fee,standard\nAA19,26.70,,\nZZ99,1,10062.30,9000\n")
    assert candidate.tables["weights"][2] == [("AA19", "26.70", "", ""), ("ZZ99", "1", "10062.30", "9000")]
    beyond, without = candidate.notes
    assert beyond.startswith("1 个 DRG 不在 chs-drg-2.0 中")
    assert without.startswith("633 个 DRG 在 chs-drg-2.0 中但这张表没有权重")


def test_weights_that_are_no_numbers_are_faults(tmp_path: Path) -> None:
    rows = (
        "AA19,8.741l,,",
        "AB19,-1,,",
        "AC19,1e5,,",
        "AD19,NaN,,",
        "AE19,,,",
        'AF19,"1,000.00",,',
        "AF19,1,,",
    )
    with pytest.raises(ImportRefusedError) as refused:
        weights(tmp_path, "drg,weight,average_fee,standard\n" + "\n".join(rows))
    assert [(fault.row, fault.column) for fault in refused.value.found] == [
        (2, "weight"),
        (3, "weight"),
        (4, "weight"),
        (5, "weight"),
        (7, "weight"),
        (8, "drg"),
        (6, "weight"),
    ]
