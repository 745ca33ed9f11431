"""What holds for every case: compiled equals walked, order does not matter, nothing raises."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grouper.compiled import CompiledScheme
from grouper.drg import REASONS
from grouper.formula import NUMBER_VARIABLES
from grouper.prepare import PreparedCase
from grouper.scheme import COLUMNS, Scheme, Table
from grouper.walked import group_by_walking
from models.grouping import Case
from tests.grouper.schemes import SCHEMES, CaseMaker, scheme, with_regional_rules

RANDOM_CASES = 20_000


@pytest.mark.parametrize("name", SCHEMES)
def test_compiled_equals_walked_on_random_cases(name: str) -> None:
    compiled = scheme(name).compiled
    maker = CaseMaker(compiled.scheme, seed=1)
    groups = set()
    for _ in range(RANDOM_CASES):
        case = maker.case()
        group = compiled.group_code(case)
        assert group == group_by_walking(compiled.scheme, case), case
        groups.add(group)
    drgs = {drg.code for drgs in compiled.scheme.drgs.values() for drg in drgs}
    assert len(groups & drgs) > 0.9 * len(drgs)


@pytest.mark.parametrize("name", SCHEMES)
def test_compiled_equals_walked_with_regional_variables(name: str) -> None:
    compiled = with_regional_rules(name).compiled
    maker = CaseMaker(compiled.scheme, seed=2)
    groups = set()
    for _ in range(RANDOM_CASES):
        case = maker.case()
        group = compiled.group_code(case)
        assert group == group_by_walking(compiled.scheme, case), case
        groups.add(group)
    assert {"0A11", "0A17", "0A19"} <= groups
    assert sum(group.endswith("7") for group in groups) > 100


DIAGNOSES = ("A", "B", "C", "D", "E")
PROCEDURES = ("1", "2", "3", "4")
code_variables = st.sampled_from(("ZYZD", "QTZD", "ZYSS", "QTSS"))
sets = st.sampled_from(("DI_1", "DI_2", "DI_3", "OP_1", "OP_2", "OP_3"))


def _braces(items: list[str]) -> str:
    return items[0] if len(items) == 1 else "{" + ", ".join(items) + "}"


def _braced(items: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(items, min_size=1, max_size=3, unique=True).map(_braces)


conditions = st.one_of(
    st.builds(
        "{} {} {}".format, _braced(code_variables), st.sampled_from(("in", "in", "not in")), _braced(sets)
    ),
    st.sampled_from(
        ("QTZD in MCC", "QTZD in CC", "QTZD not in {MCC, CC}", "{ZYZD, QTZD} in {CC, DI_1}", "1")
    ),
    st.builds(
        "{} {} {}".format,
        st.sampled_from(NUMBER_VARIABLES),
        st.sampled_from(("=", "!=", "<", "<=", ">", ">=")),
        st.integers(0, 3),
    ),
    st.builds(
        "{} {} {}".format,
        st.sampled_from(("XB", "LYFS", "CYKB")),
        st.sampled_from(("=", "!=", "in", "not in")),
        st.integers(1, 3),
    ),
    st.builds(
        "length({} ∩ {}) {} {}".format,
        _braced(sets),
        _braced(code_variables),
        st.sampled_from(("=", ">=", "<")),
        st.integers(0, 3),
    ),
)
formulas = st.recursive(
    conditions,
    lambda parts: st.builds(
        lambda inner, joint: "(" + f" {joint} ".join(inner) + ")",
        st.lists(parts, min_size=2, max_size=3),
        st.sampled_from(("and", "and", "or")),
    ),
    max_leaves=8,
) | st.just("")


@st.composite
def small_schemes(draw: st.DrawFn) -> Scheme:
    rows: dict[Table, list[dict[str, str]]] = {table: [] for table in COLUMNS}

    def add(table: Table, *values: str) -> None:
        rows[table].append(dict(zip(COLUMNS[table], values, strict=True)))

    for mdc in range(draw(st.integers(1, 3))):
        add("mdc", str(mdc), f"M{mdc}", "", draw(formulas))
        for adrg in range(draw(st.integers(1, 3))):
            code = f"M{mdc}A{adrg}"
            kind = draw(st.sampled_from(("medical", "surgical", "ambiguous")))
            add("adrg", str(adrg), f"M{mdc}", code, code, "", kind, draw(formulas))
            for drg in range(draw(st.integers(0, 3))):
                add("drg", code, str(drg), f"{code}D{drg}", "", draw(formulas))
    for prefix, codes in (("DI", DIAGNOSES), ("OP", PROCEDURES)):
        for number in (1, 2, 3):
            for code in draw(st.sets(st.sampled_from(codes))):
                add("sets", f"{prefix}_{number}", code)
    for code in draw(st.sets(st.sampled_from(DIAGNOSES))):
        add("complication", code, draw(st.sampled_from(("MCC", "CC"))), draw(st.sampled_from("12")))
    for table, code in draw(st.sets(st.tuples(st.sampled_from("12"), st.sampled_from(DIAGNOSES)))):
        add("exclusion", table, code)
    return Scheme.from_rows(rows)


quantities = st.sampled_from((math.nan, 0.0, 1.0, 2.0, 3.0))
texts = st.sampled_from(("", "1", "2", "03", "x"))


@st.composite
def small_cases(draw: st.DrawFn) -> PreparedCase:
    diagnoses = draw(st.lists(st.sampled_from((*DIAGNOSES, "Z")), unique=True))
    procedures = draw(st.lists(st.sampled_from((*PROCEDURES, "9")), unique=True))
    return PreparedCase(
        diagnoses[0] if diagnoses else "",
        tuple(diagnoses[1:]),
        procedures[0] if procedures else "",
        tuple(procedures[1:]),
        *(draw(quantities) for _ in range(5)),
        *(draw(texts) for _ in range(3)),
    )


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(small_schemes(), st.lists(small_cases(), min_size=1, max_size=10))
def test_any_scheme_compiles_to_what_its_formulas_say(rules: Scheme, cases: list[PreparedCase]) -> None:
    compiled = CompiledScheme(rules)
    for case in cases:
        assert compiled.group_code(case) == group_by_walking(rules, case)


@pytest.mark.parametrize("name", SCHEMES)
def test_order_of_other_codes_changes_nothing(name: str) -> None:
    compiled = with_regional_rules(name).compiled
    maker = CaseMaker(compiled.scheme, seed=3)
    for _ in range(1000):
        case = maker.case()
        turned = msgspec.structs.replace(
            case, others=case.others[::-1], other_procedures=case.other_procedures[::-1]
        )
        assert compiled.group_code(turned) == compiled.group_code(case), case


code_texts = st.text(max_size=12) | st.sampled_from(
    ("I10.x00", "A41.900", "36.0600x001", "Z37.700", "p07.300 ")
)
whole = st.none() | st.integers(-(10**400), 10**400) | st.integers(0, 100)


@settings(max_examples=300, deadline=None)
@given(
    st.builds(
        Case,
        st.lists(code_texts, max_size=6).map(tuple),
        st.lists(code_texts, max_size=4).map(tuple),
        st.text(max_size=3),
        whole,
        whole,
        whole,
        whole,
        st.text(max_size=3),
        st.none() | st.floats(),
        st.text(max_size=8),
        st.sampled_from(("", "clinical-2.0", "beijing-7.0", "no-such-edition")),
        st.sampled_from(("", "clinical-3.0", "beijing-8.0", "no-such-edition")),
    )
)
def test_any_case_gets_a_result(case: Case) -> None:
    result = scheme("chs-drg-2.0").group(case)
    assert result.reason in REASONS
    assert (result.code == "0000") == (result.reason not in ("grouped", "ambiguous"))
    assert [code.received for code in result.diagnoses] == list(case.diagnoses)
    assert all(code.used or code.reason for code in (*result.diagnoses, *result.procedures))
