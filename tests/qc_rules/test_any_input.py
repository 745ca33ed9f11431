"""Whatever stands in a list, the rules answer with findings and never with an exception."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.settlement_list import FIELDS, RECORDS
from models.wire import decode_payload
from qc_rules.examples import bases, build
from qc_rules.facts import DERIVED
from qc_rules.ruleset import RuleSet
from qc_rules.schema import Example

_TEXTS = st.sampled_from(
    [
        "", " ", "0", "1", "-1", "9" * 30, "I10", "A00.000+B00.000*", "Ｉ10†", "*", "+", "x", "\x00", "￿" * 300,
        "2025-10-10", "0001-01-01 00:00:00", "9999-12-31 23:59:59", "1/2/3", "99999/24/60", "3200", "0.001,0", "𠮷",
        "{value}", "→", "1e308", "-0.005",
    ]
)  # fmt: skip
_VALUES = st.one_of(
    _TEXTS,
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=12),
    st.just([]),
    st.just({}),
)
_NODES = list(RECORDS)


def _rows(node: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(
        st.one_of(st.sampled_from(list(FIELDS[node])), st.text(max_size=4)), _VALUES, max_size=12
    )


def _node(node: str) -> st.SearchStrategy[Any]:
    rows = _rows(node)
    whole = rows if node == "setlinfo" else st.lists(st.one_of(rows, _VALUES), max_size=4)
    return st.one_of(whole, _VALUES, rows)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    base=st.sampled_from(bases()),
    infno=st.sampled_from(["4101", "4101A"]),
    data=st.data(),
)
def test_mangled_lists_never_raise(base: str, infno: str, data: st.DataObject, rules: RuleSet) -> None:
    payload = build(Example(base=base))
    payload["infno"] = infno
    for node in data.draw(st.lists(st.sampled_from(_NODES), unique=True, max_size=4)):
        payload["input"][node] = data.draw(_node(node))
    for node in data.draw(st.lists(st.sampled_from(_NODES), unique=True, max_size=4)):
        rows = payload["input"].get(node)
        row = rows if isinstance(rows, dict) else rows[0] if isinstance(rows, list) and rows else None
        if isinstance(row, dict):
            row |= data.draw(_rows(node))
    facts = rules.facts(decode_payload(payload))
    findings = rules.check(facts)
    assert all(one.message and one.path and one.field for one in findings)
    assert [one.rule for one in findings] == sorted(one.rule for one in findings)


def test_every_fact_can_be_asked_of_an_empty_list(rules: RuleSet) -> None:
    facts = rules.facts(decode_payload({"setlinfo": {}}))
    assert {name: getattr(facts, name) for name in DERIVED}["stay_days"] is None
