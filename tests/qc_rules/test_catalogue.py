"""The catalogue of rules is what the rule files say, and holds every rule of the table it was built from."""

import csv
from collections.abc import Iterator

import pytest

from models.pack import PROJECT_ROOT
from qc_rules.catalogue import FAMILIES, national_rules, outdated
from qc_rules.schema import CONFIDENCE_LABELS, Rule

TABLE = PROJECT_ROOT.parent / "shared" / "data" / "settlement" / "qc_rules.csv"
BUILT = {path.name.upper() for path in (PROJECT_ROOT / "qc_rules" / "rules").iterdir() if path.is_dir()}

SOURCES = {
    "4101 interface specification": "4101",
    "local settlement-list rule base": "地方结算清单质控规则",
    "HQMS front-page logic checks": "HQMS",
    "hospital front-page QC rule list": "首页质控规则",
    "upload platform error messages": "上传平台校验提示",
    "settlement-list dictionary notes": "字典说明",
    "hospital audit rule catalogue": "审核规则目录",
    "grouper product messages": "分组器",
    "record-quality engine": "病历质控引擎",
    "coding assistant rule set": "编码助手规则",
    "coding convention": "惯例",
    "ICD-10 volume 2 §3.1.3": "ICD-10 第二卷",
    "医保办发〔2020〕20号 填写规范": "〔2020〕20号",
    "医保办发〔2021〕34号 填写规范 (recalled)": "〔2021〕34号",
    "国家医保局两库 诊断与患者性别不符": "国家医保局两库",
}
"""Words by which a source of the table is known in the rule files, where they are not its own."""


def test_pages_are_up_to_date() -> None:
    assert outdated() == [], "python -m qc_rules.catalogue"


def test_every_family_has_a_name() -> None:
    assert {rule.family for rule in national_rules()} <= set(FAMILIES)


def _table() -> Iterator[dict[str, str]]:
    if not TABLE.is_file():
        return
    with TABLE.open(encoding="utf-8") as file:
        yield from (row for row in csv.DictReader(file) if row["id"].partition("-")[0] in BUILT)


@pytest.mark.skipif(not TABLE.is_file(), reason="the table that the rules were built from is not here")
def test_every_row_of_the_table_is_a_rule_with_its_basis() -> None:
    rules: dict[str, Rule] = {rule.code: rule for rule in national_rules()}
    faults = []
    for row in _table():
        rule = rules.get(row["id"])
        if rule is None:
            faults.append(f"{row['id']}: no rule")
            continue
        if rule.basis.confidence != row["confidence"]:
            faults.append(f"{row['id']}: {rule.basis.confidence}, the table says {row['confidence']}")
        for source in row["basis"].split("; "):
            if SOURCES.get(source, source) not in rule.basis.document:
                faults.append(f"{row['id']}: {source} is not in {rule.basis.document}")
    assert faults == []


def test_no_rule_is_stronger_than_its_basis_allows() -> None:
    for rule in national_rules():
        assert rule.severity != "error" or rule.basis.confidence == "official" or rule.arithmetic, rule.code


def test_confidences_have_labels() -> None:
    assert set(CONFIDENCE_LABELS) == {"official", "in use", "convention"}
