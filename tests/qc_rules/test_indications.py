"""The table of indications names real codes, agrees with the national grouping scheme, and stays silent in doubt."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

import pytest

from models.pack import PackStore
from qc_rules.examples import run
from qc_rules.predicates.indications import side_of
from qc_rules.reference import Reference
from qc_rules.ruleset import RuleSet
from qc_rules.schema import Example


def test_every_prefix_of_the_table_names_codes(reference: Reference) -> None:
    library, table = reference.library, reference.indications
    empty = [
        prefix
        for one in table.rows
        for system, prefixes in (("icd9cm3", one.procedures), ("icd10", one.diagnoses))
        for prefix in prefixes
        if next(iter(library.starting_with(prefix, system)), None) is None  # type: ignore[arg-type]
    ]
    assert empty == []
    assert all(next(iter(library.starting_with(prefix)), None) for prefix in table.general)


def test_the_table_covers_the_common_operations(reference: Reference) -> None:
    rows = reference.indications.rows
    assert len({prefix for one in rows if one.level == "operation" for prefix in one.procedures}) >= 150
    assert all(one.basis and one.shown and one.diagnoses for one in rows)


def test_the_support_is_what_the_national_scheme_says(reference: Reference) -> None:
    """How many procedures of a row have, in CHS-DRG 2.0, a diagnosis of the row in the same MDC."""
    scheme = PackStore().get("chs-drg-2.0")
    sets: dict[str, set[str]] = defaultdict(set)
    for name, code in scheme.records("sets", "set", "code"):
        sets[name].add(code)
    diagnoses = {
        mdc: set[str]().union(*(sets[name] for name in re.findall(r"DI_\w+", condition)))
        for mdc, condition in scheme.records("mdc", "mdc", "condition")
    }
    table = reference.indications
    agree = {
        (one.id, mdc): any(code.startswith(one.diagnoses) for code in codes)
        for one in table.rows
        for mdc, codes in diagnoses.items()
    }
    found: dict[str, set[str]] = defaultdict(set)
    grouped: dict[str, set[str]] = defaultdict(set)
    for mdc, kind, condition in scheme.records("adrg", "mdc", "kind", "condition"):
        if mdc in "AYZP" or kind == "medical":
            continue
        for name in re.findall(r"OP_\w+", condition):
            for code in sets[name] if name != "OP_ALL" else ():
                row = table.of_code(code)
                if row is not None:
                    grouped[row.id].add(code)
                    if agree[row.id, mdc]:
                        found[row.id].add(code)
    assert {one.id: one.support for one in table.rows} == {one.id: len(found[one.id]) for one in table.rows}
    # A row that no MDC supports, although the scheme groups its procedures, has the wrong diagnoses.
    assert [one.id for one in table.rows if grouped[one.id] and not found[one.id]] == []


def _fired(rules: RuleSet, change: dict[str, Any]) -> set[str]:
    return {one.rule for one in run(rules, Example(change=change))}


def _procedure(code: str, name: str) -> dict[str, str]:
    return {"oprn_oprt_type": "2", "oprn_oprt_code": code, "oprn_oprt_name": name}


def _diagnosis(code: str, name: str = "") -> dict[str, str]:
    return {"diag_type": "2", "diag_code": code, "diag_name": name, "maindiag_flag": "0"}


@pytest.mark.parametrize("code", ["T81.000x001", "C78.001", "C83.300", "K99.999"])
def test_a_diagnosis_that_explains_any_operation_or_is_unknown_silences(rules: RuleSet, code: str) -> None:
    bare = {"oprninfo[4]": _procedure("47.0100", "腹腔镜下阑尾切除术")}
    assert "DX-015" in _fired(rules, bare)
    assert "DX-015" not in _fired(rules, {**bare, "diseinfo[5]": _diagnosis(code)})


def test_the_order_of_other_diagnoses_changes_nothing(rules: RuleSet) -> None:
    rows = [_diagnosis("S72.000", "左股骨颈骨折"), _diagnosis("M16.900", "左髋关节病")]
    operation = {"oprninfo[4]": _procedure("81.5100", "右全髋关节置换")}
    there = _fired(rules, {**operation, "diseinfo[5]": rows[0], "diseinfo[6]": rows[1]})
    back = _fired(rules, {**operation, "diseinfo[5]": rows[1], "diseinfo[6]": rows[0]})
    assert "IND-002" in there
    assert there == back


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("左股骨颈骨折", "左"),
        ("右侧全髋关节置换", "右"),
        ("双侧膝关节病", ""),
        ("左右输尿管吻合术", ""),
        ("左心室室壁瘤", ""),
        ("左氧氟沙星过敏", ""),
        ("左前降支支架置入", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_a_side_is_a_side_of_the_body(name: str | None, side: str) -> None:
    assert side_of(name) == side
