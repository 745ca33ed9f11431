"""Schemes are read in grouping order, refuse what they cannot read, and survive a damaged cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from grouper.cache import load_compiled
from grouper.compiled import CompiledScheme
from grouper.drg import compile_scheme
from grouper.scheme import Scheme, Table
from models.grouping import Case
from models.pack import PackError, PackStore

ROWS: dict[Table, list[dict[str, str]]] = {
    "mdc": [
        {"order": "2", "mdc": "B", "name": "乙", "condition": "ZYZD in DI_B"},
        {"order": "1", "mdc": "A", "name": "甲", "condition": "ZYZD in DI_A"},
    ],
    "adrg": [
        {"order": "10", "mdc": "B", "adrg": "BR1", "part": "BR1", "name": "b", "kind": "medical", "condition": ""},
        {"order": "9", "mdc": "B", "adrg": "BC1", "part": "BC1", "name": "c", "kind": "surgical",
         "condition": "ZYSS in OP_B"},
        {"order": "11", "mdc": "A", "adrg": "AA1", "part": "AA1", "name": "a", "kind": "surgical",
         "condition": "ZYSS in OP_A"},
    ],
    "drg": [
        {"adrg": "BR1", "order": "2", "drg": "BR19", "name": "rest", "condition": ""},
        {"adrg": "BR1", "order": "1", "drg": "BR11", "name": "mcc", "condition": "QTZD in MCC"},
        {"adrg": "BC1", "order": "1", "drg": "BC11", "name": "mcc only", "condition": "QTZD in MCC"},
        {"adrg": "AA1", "order": "1", "drg": "AA19", "name": "a", "condition": "1"},
    ],
    "sets": [
        {"set": "DI_A", "code": "I10.x00"},
        {"set": "DI_B", "code": "I10.x00"},
        {"set": "DI_B", "code": "I11.900"},
        {"set": "OP_A", "code": "00.1000"},
        {"set": "OP_B", "code": "00.2000"},
    ],
    "complication": [{"code": "J18.900", "level": "MCC", "exclusion_table": "7"}],
    "exclusion": [{"exclusion_table": "7", "principal_diagnosis": "I11.900"}],
}  # fmt: skip


def group(*diagnoses: str, procedures: tuple[str, ...] = ()) -> str:
    return compile_scheme(ROWS).group(Case(diagnoses, procedures)).code


def test_the_order_columns_decide_not_the_rows() -> None:
    assert group("I10.x00", procedures=("00.1000",)) == "AA19"
    assert group("I10.x00", "J18.900") == "BR11"
    assert group("I10.x00") == "BR19"


def test_an_entered_mdc_without_a_match_falls_through() -> None:
    assert group("I10.x00", procedures=("00.9999",)) == "BR19"


def test_an_adrg_without_a_matching_drg_is_passed_over() -> None:
    assert group("I10.x00", procedures=("00.2000",)) == "BR19"
    assert group("I10.x00", "J18.900", procedures=("00.2000",)) == "BC11"


def test_the_exclusion_table_of_the_principal_diagnosis_takes_the_complication_away() -> None:
    result = compile_scheme(ROWS).group(Case(("I11.900", "J18.900")))
    assert result.code == "BR19"
    (complication,) = result.complications
    assert (complication.level, complication.exclusion_table, complication.excluded) == ("MCC", "7", True)


def test_repeated_codes_are_dropped_with_the_reason() -> None:
    result = compile_scheme(ROWS).group(Case(("I10.x00", "J18.900", "i10.X00", "", "J18.900")))
    assert [code.used for code in result.diagnoses] == ["I10.x00", "J18.900", "", "", ""]
    assert [bool(code.reason) for code in result.diagnoses] == [False, False, True, True, True]
    assert "重复" in result.diagnoses[2].reason


def test_a_missing_principal_diagnosis_is_not_replaced_by_the_next() -> None:
    for diagnoses in ((), ("",), (" ", "I10.x00")):
        result = compile_scheme(ROWS).group(Case(diagnoses, ("00.1000",)))
        assert (result.code, result.reason) == ("0000", "no_principal_diagnosis")


@pytest.mark.parametrize(
    ("case", "reason", "words"),
    [
        (Case(("O80.000",), sex="1", age=30), "sex_conflict", "只用于女性"),
        (Case(("C61.x00",), sex="2", age=70), "sex_conflict", "只用于男性"),
        (Case(("P59.901",), sex="1", age=38), "age_conflict", "38 岁"),
        (Case(("P07.300x001",), sex="1", age=0, age_days=5), "no_adrg", "MDC P"),
        (Case(("Z37.700",), sex="1", age=30), "grey_principal_diagnosis", "灰码"),
        (Case(("T31.300",), sex="1", age=30), "not_for_grouping", "不属于任何 MDC"),
        (Case(("ABC",), sex="1", age=30), "unknown_principal_diagnosis", "不在医保版 2.0 编码库中"),
        (Case(("B17.204",), sex="1", age=50), "grouped", "MDC H"),
        (Case(("I60.301",), ("15.4x01",), sex="1", age=50), "ambiguous", "歧义组 BQY"),
        (
            Case(("nowhere",), diagnosis_edition="clinical-2.0"),
            "principal_diagnosis_not_converted",
            "没有对应",
        ),
        (Case(("I10.x00",), diagnosis_edition="klingon"), "principal_diagnosis_not_converted", "klingon"),
    ],
)
def test_the_reason_says_what_is_wrong_and_with_what(case: Case, reason: str, words: str) -> None:
    from tests.grouper.schemes import scheme  # noqa: PLC0415 - only these cases need a shipped scheme

    result = scheme("chs-drg-2.0").group(case)
    assert (result.reason, words in result.explanation) == (reason, True), result.explanation
    assert (result.code == "0000") == (reason not in ("grouped", "ambiguous"))


def test_codes_are_converted_by_the_declared_edition() -> None:
    from tests.grouper.schemes import library, scheme  # noqa: PLC0415

    crosswalk = library().icd10.editions["clinical-2.0"]
    code, target = next((code, target) for code, target in crosswalk.items() if target and target != code)
    result = scheme("chs-drg-2.0").group(Case((code,), diagnosis_edition="clinical-2.0"))
    assert result.diagnoses[0].used == target
    assert target in result.diagnoses[0].reason
    assert scheme("chs-drg-2.0").group(Case((code,))).diagnoses[0].used == code


def test_a_rule_that_cannot_be_read_is_named() -> None:
    broken = {**ROWS, "drg": [{**ROWS["drg"][0], "condition": "QTZD im MCC"}]}
    with pytest.raises(PackError, match="DRG BR19 的规则：公式第 6 个字符处"):
        compile_scheme(broken)


def test_an_adrg_of_an_unknown_mdc_is_named() -> None:
    with pytest.raises(PackError, match="MDC B 不在 mdc 表中"):
        Scheme.from_rows({**ROWS, "mdc": ROWS["mdc"][1:]})


def test_the_cache_gives_the_same_scheme_and_heals_when_damaged(tmp_path: Path) -> None:
    pack = PackStore().get("chs-drg-1.1")
    fresh = CompiledScheme(Scheme.from_pack(pack))
    (tmp_path / "in the way").write_text("")
    load_compiled(pack, tmp_path / "in the way")  # cannot be written to, still answers
    load_compiled(pack, tmp_path)
    (path,) = tmp_path.glob("*.scheme")
    good = path.read_bytes()
    for content in (good, good[: len(good) // 2], b"", good[:-1] + b"\0", b"x" * 100):
        path.write_bytes(content)
        loaded = load_compiled(pack, tmp_path)
        assert loaded.bits == fresh.bits
        assert loaded.scheme.code_sets == fresh.scheme.code_sets
        assert path.read_bytes() == good
