"""The formula language: every official form parses, faults name their place, evaluation is exact."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grouper.formula import (
    ALWAYS,
    MAX_DEPTH,
    And,
    Comparison,
    Count,
    FormulaError,
    Membership,
    OneOf,
    Or,
    evaluate,
    parse,
    set_names,
    variables,
)
from grouper.prepare import PreparedCase
from grouper.scheme import CodeSets
from grouper.walked import CaseFacts

BOTH = ("ZYSS", "QTSS")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", ALWAYS),
        ("  \n ", ALWAYS),
        ("1", ALWAYS),
        ("_x000D_", ALWAYS),
        ("ZYZD in DI_MDCB", Membership(("ZYZD",), ("DI_MDCB",))),
        ("ZYSS not in OP_ALL", Membership(("ZYSS",), ("OP_ALL",), negated=True)),
        ("QTZD in {DI_A, DI_B}", Membership(("QTZD",), ("DI_A", "DI_B"))),
        ("{ZYSS, QTSS} in OP_A", Membership(BOTH, ("OP_A",))),
        ("{ZYSS,QTSS} not in {OP_A,OP_B}", Membership(BOTH, ("OP_A", "OP_B"), negated=True)),
        ("｛ZYSS，QTSS｝ in ｛OP_A、OP_B｝", Membership(BOTH, ("OP_A", "OP_B"))),
        ("QTZD in MCC", Membership(("QTZD",), ("MCC",))),
        ("qtzd IN mcc", Membership(("QTZD",), ("MCC",))),
        ("NL = 0", Comparison("NL", "=", 0)),
        ("NL==0", Comparison("NL", "=", 0)),
        ("XSRTL<=28", Comparison("XSRTL", "<=", 28)),
        ("XSRTL ≤ 28", Comparison("XSRTL", "<=", 28)),
        ("XSRTZ ＞ 1499.5", Comparison("XSRTZ", ">", 1499.5)),
        ("1500 <= XSRTZ", Comparison("XSRTZ", ">=", 1500)),
        ("XB = 1", OneOf("XB", ("1",))),
        ("LYFS in {2, 5}", OneOf("LYFS", ("2", "5"))),
        ("LYFS not in {2, 5}", OneOf("LYFS", ("2", "5"), negated=True)),
        ("CYKB = 'A03.01'", OneOf("CYKB", ("A03.01",))),
        ("CYKB != “ICU”", OneOf("CYKB", ("ICU",), negated=True)),
        ("ZYTS < 5", Comparison("ZYTS", "<", 5)),
        ("ICUSC >= 96", Comparison("ICUSC", ">=", 96)),
        ("length(OP_A ∩ {ZYSS, QTSS}) >= 2", Count(BOTH, ("OP_A",), ">=", 2)),
        ("LENGTH( {ZYSS,QTSS}∩{OP_A, OP_B} )>=3", Count(BOTH, ("OP_A", "OP_B"), ">=", 3)),
        ("length（OP_A∩ZYSS）＝1", Count(("ZYSS",), ("OP_A",), "=", 1)),
        (
            "(QTZD in MCC OR QTZD in CC)",
            Or((Membership(("QTZD",), ("MCC",)), Membership(("QTZD",), ("CC",)))),
        ),
    ],
)
def test_official_forms_parse(text: str, tree: object) -> None:
    assert parse(text) == tree


def test_or_binds_weaker_than_and() -> None:
    tree = parse("NL = 0 and XB = 1 or XB = 2")
    assert tree == Or((And((Comparison("NL", "=", 0), OneOf("XB", ("1",)))), OneOf("XB", ("2",))))


def test_brackets_bind() -> None:
    tree = parse("NL = 0 and (XB = 1 or XB = 2)")
    assert tree == And((Comparison("NL", "=", 0), Or((OneOf("XB", ("1",)), OneOf("XB", ("2",))))))


def test_debris_of_workbook_cells_is_read_over() -> None:
    assert parse("ZYZD  in\n DI_A _x000D_\n  AND（ XSRTL＜＝28 ）") == parse("ZYZD in DI_A and (XSRTL <= 28)")


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("ZYZD in", 7, "集合名称"),
        ("ZYZD DI_A", 5, "in 或 not in"),
        ("ZYZX in DI_A", 0, "不认识的变量“ZYZX”"),
        ("ZYZD in DI_A XB = 1", 13, "多余"),
        ("ZYZD in DI_A and", 16, "结束"),
        ("(ZYZD in DI_A", 13, "“)”"),
        ("ZYZD in DI_A)", 12, "多余"),
        ("NL > OP_A", 5, "数字"),
        ("NL in DI_A", 3, "数值"),
        ("ZYZD = 3", 0, "集合"),
        ("XB > 1", 0, "代码"),
        ("{NL} in DI_A", 1, "诊断或手术操作变量"),
        ("0", 0, "只能写 1"),
        ("ZYZD in DI_A & XB = 1", 13, "不认识的字符"),
        ("_x000D_ZYZD in", 14, "集合名称"),
        ("length(OP_A, ZYSS) >= 2", 11, "∩"),
        ("length(MCC ∩ QTZD) >= 2", 23, "MCC"),
        ("ZYZD in {DI_A, }", 15, "集合名称"),
        ("ZYZD in ZYSS", 8, "变量"),
    ],
)
def test_faults_name_their_place(text: str, position: int, message: str) -> None:
    with pytest.raises(FormulaError, match=re.escape(message)) as caught:
        parse(text)
    assert caught.value.position == position
    assert f"第 {position + 1} 个字符" in str(caught.value)


def test_hostile_sizes_are_refused_with_a_reason() -> None:
    with pytest.raises(FormulaError, match="嵌套"):
        parse("(" * (MAX_DEPTH + 1) + "1" + ")" * (MAX_DEPTH + 1))
    with pytest.raises(FormulaError, match="超过"):
        parse("1 and " * 100_000 + "1")
    assert parse("(" * MAX_DEPTH + "1" + ")" * MAX_DEPTH) == ALWAYS


@given(st.text(alphabet="ZYDQTSNLXB inotadr(){},∩<>=_0159x\n“\"'（", max_size=40) | st.text(max_size=40))
def test_any_text_parses_or_is_refused(text: str) -> None:
    position = 0
    try:
        parse(text)
    except FormulaError as error:
        position = error.position
    assert 0 <= position <= len(text)


def test_names_and_variables_of_a_formula() -> None:
    tree = parse("(ZYZD in {DI_A, DI_B} or length(OP_C ∩ {ZYSS, QTSS}) >= 2) and QTZD in MCC and CYKB = 1")
    assert set_names(tree) == {"DI_A", "DI_B", "OP_C"}
    assert variables(tree) == {"ZYZD", "ZYSS", "QTSS", "QTZD", "CYKB"}


SETS = {"D": frozenset({"D1", "D2"}), "E": frozenset({"E1"}), "P": frozenset({"P1", "P2", "P3"})}
CODE_SETS = CodeSets(SETS, {"M1": ("MCC", "7"), "C1": ("CC", "8")}, {"X1": frozenset({"7"})})


@pytest.mark.parametrize(
    ("text", "case", "expected"),
    [
        ("ZYZD in D", PreparedCase("D1"), True),
        ("ZYZD in D", PreparedCase("X1", ("D1",)), False),
        ("{ZYZD, QTZD} in D", PreparedCase("X1", ("D1",)), True),
        ("QTZD not in D", PreparedCase("D1", ("E1",)), True),
        ("QTZD not in D", PreparedCase("D1", ("E1", "D2")), False),
        ("ZYSS not in P", PreparedCase("D1"), True),
        ("ZYZD in UNKNOWN", PreparedCase("D1"), False),
        ("QTZD in MCC", PreparedCase("D1", ("M1",)), True),
        ("QTZD in MCC", PreparedCase("X1", ("M1",)), False),
        ("QTZD in CC", PreparedCase("D1", ("M1",)), False),
        ("QTZD in CC", PreparedCase("X1", ("C1",)), True),
        ("length(P ∩ {ZYSS, QTSS}) >= 2", PreparedCase("D1", (), "P1", ("P2",)), True),
        ("length(P ∩ {ZYSS, QTSS}) >= 2", PreparedCase("D1", (), "P1", ("Q2",)), False),
        ("length(P ∩ QTSS) = 0", PreparedCase("D1", (), "P1"), True),
        ("NL = 0", PreparedCase("D1", age=0), True),
        ("NL = 0", PreparedCase("D1"), False),
        ("NL != 0", PreparedCase("D1"), False),
        ("XSRTL > 28", PreparedCase("D1"), False),
        ("LYFS in {2, 5}", PreparedCase("D1", discharge_way="5"), True),
        ("LYFS = 5", PreparedCase("D1", discharge_way="05"), True),
        ("LYFS not in {2, 5}", PreparedCase("D1"), False),
        ("CYKB = icu", PreparedCase("D1", department="ICU"), True),
        ("ICUSC >= 96 and ZYTS < 5", PreparedCase("D1", icu_hours=96, length_of_stay=4), True),
    ],
)
def test_evaluation(text: str, case: PreparedCase, expected: bool) -> None:
    facts = CaseFacts(case, CODE_SETS)
    assert evaluate(parse(text), facts, lambda name: SETS.get(name, frozenset())) is expected
