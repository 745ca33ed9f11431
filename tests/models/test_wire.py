"""Reading and writing lists: what is clean is typed, what is wrong is named, nothing is lost."""

from __future__ import annotations

import copy
import csv
import json
from datetime import date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.settlement_list import BACKING_NODES, FIELDS, Interface, Minutes, Weights
from models.wire import MAX_ROWS, DecodeError, Received, decode, decode_payload, encode
from tests.shared import SHARED, needs_shared

CLEAN: dict[str, Any] = {
    "setlinfo": {
        "mdtrt_id": "J1",
        "psn_name": "测试甲",
        "gend": "1",
        "brdy": "1960-02-29",
        "age": 66,
        "adm_time": "2026-10-01 08:30:00",
        "dscg_time": "2026-10-09 10:00:00",
        "act_ipt_days": 8,
        "vent_used_dura": "1/13/24",
        "mul_nwb_bir_wt": "2100,1980",
        "psn_selfpay": 1234.5,
    },
    "diseinfo": [
        {"diag_type": "1", "diag_code": "K80.100x001", "diag_name": "胆囊结石", "maindiag_flag": "1"}
    ],
    "iteminfo": [{"med_chrgitm": "01", "amt": 120.35}],
}


def changed(**fields: Any) -> dict[str, Any]:
    payload = copy.deepcopy(CLEAN)
    payload["setlinfo"] |= fields
    return payload


def read(payload: Any) -> Received:
    return decode(json.dumps(payload, ensure_ascii=False).encode())


def test_a_clean_list_is_typed_without_defects() -> None:
    received = read(CLEAN)
    stay = received.list.stay
    assert received.defects == () == received.unknown
    assert stay.birth_date == date(1960, 2, 29)
    assert stay.admission_time == datetime(2026, 10, 1, 8, 30)
    assert stay.length_of_stay == 8
    assert stay.ventilation == Minutes(1 * 1440 + 13 * 60 + 24)
    assert stay.multiple_birth_weights == Weights((2100.0, 1980.0))
    assert received.list.diagnoses[0].code == "K80.100x001"
    assert received.list.charges[0].amount_yuan == 120.35


def test_both_readers_give_the_same_list() -> None:
    assert read(CLEAN) == decode_payload(CLEAN)


def test_an_envelope_is_opened_and_kept_in_the_paths() -> None:
    received = read({"infno": "4101A", "input": CLEAN})
    assert received.interface == "4101A"
    assert received.path("diseinfo[0].diag_code") == "input.diseinfo[0].diag_code"


@pytest.mark.parametrize(
    ("fields", "interface"),
    [
        ({"psn_name": "测试甲"}, "4101"),
        ({"psn_name": "", "psn_no": "5100001", "stas_type": "0"}, "4101A"),
    ],
)
def test_the_interface_is_recognised_without_an_envelope(fields: dict[str, str], interface: str) -> None:
    payload = changed(**fields)
    del payload["iteminfo"]
    assert read(payload).interface == interface


def test_empty_and_null_values_are_absent_values() -> None:
    received = read(changed(gend="", brdy=None, age="", emp_name=""))
    assert received.defects == ()
    assert received.list.stay.sex is None
    assert received.list.stay.birth_date is None
    assert received.list.stay.age is None


@pytest.mark.parametrize("text", ['a: ""b', ':""', 'x:"', "a:\\", '说明: ""'])
def test_quotes_inside_a_text_survive_the_removal_of_empty_values(text: str) -> None:
    assert read(changed(curr_addr=text, emp_name="")).list.stay.address == text


def test_a_bad_date_is_a_defect_and_the_rest_is_read() -> None:
    received = read(changed(brdy="1960-02-30"))
    (defect,) = received.defects
    assert (defect.path, defect.label, defect.kind, defect.usable) == (
        "setlinfo.brdy",
        "出生日期",
        "date",
        False,
    )
    assert "1960-02-30" in defect.shown
    assert received.list.stay.birth_date is None
    assert received.list.stay.length_of_stay == 8


@pytest.mark.parametrize(
    ("wire", "value", "kind"),
    [
        ("act_ipt_days", "八天", "count"),
        ("act_ipt_days", 8.5, "count"),
        ("vent_used_dura", "37小时", "duration"),
        ("vent_used_dura", "1/25/00", "duration"),
        ("nwb_bir_wt", "三千克", "weights"),
        ("mul_nwb_bir_wt", "2100，1980", "weights"),
        ("psn_selfpay", "1,234.50", "amount"),
        ("psn_selfpay", "nan", "amount"),
        ("age", True, "number"),
        ("psn_name", {"姓": "测"}, "text"),
        ("adm_time", 20261399, "datetime"),
        ("adm_time", ["2026-10-01"], "datetime"),
    ],
)
def test_a_wrong_value_is_named_and_written_back_as_received(wire: str, value: Any, kind: str) -> None:
    received = read(changed(**{wire: value}))
    (defect,) = received.defects
    assert defect.path == f"setlinfo.{wire}"
    assert defect.kind == kind
    assert not defect.usable
    assert defect.reason
    assert encode(received)["setlinfo"][wire] == value


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2026/10/1 8:30", datetime(2026, 10, 1, 8, 30)),
        ("20261001083000", datetime(2026, 10, 1, 8, 30)),
        ("2026-10-01T08:30:00Z", datetime(2026, 10, 1, 8, 30)),
        ("2026-10-01", datetime(2026, 10, 1)),
    ],
)
def test_a_time_in_another_form_is_read_and_reported(value: str, moment: datetime) -> None:
    received = read(changed(adm_time=value))
    assert received.list.stay.admission_time == moment
    assert [defect.usable for defect in received.defects] == [True]


def test_minute_precision_is_enough() -> None:
    received = read(changed(adm_time="2026-10-01 08:30"))
    assert received.defects == ()
    assert received.list.stay.admission_time == datetime(2026, 10, 1, 8, 30)


def test_numbers_in_quotes_and_texts_as_numbers_are_what_they_mean() -> None:
    received = read(changed(age="66", act_ipt_days="8", psn_selfpay="1234.50", gend=1))
    assert received.defects == ()
    assert (received.list.stay.age, received.list.stay.length_of_stay, received.list.stay.sex) == (66, 8, "1")
    assert received.list.stay.self_pay_yuan == 1234.5


@pytest.mark.parametrize(
    ("variant", "official", "value"),
    [
        ("nwbbirwt", "nwb_bir_wt", "3200"),
        ("nwbadmwt", "nwb_adm_wt", "3100"),
        ("nwb_admtype", "nwb_adm_type", "1"),
        ("otptcmdise", "otp_tcm_dise", "胃脘痛"),
        ("tcmdisecode", "tcm_dise_code", "A04.03.15"),
    ],
)
def test_variant_spellings_are_read_and_the_official_ones_written(
    variant: str, official: str, value: str
) -> None:
    received = read(changed(**{variant: value}))
    assert received.unknown == ()
    assert received.path(f"setlinfo.{official}") == f"setlinfo.{variant}"
    written = encode(received)["setlinfo"]
    assert written[official] == value
    assert variant not in written


def test_the_official_spelling_wins_over_a_variant() -> None:
    received = read(changed(nwbbirwt="1", nwb_bir_wt="3200"))
    assert received.list.stay.birth_weight == Weights((3200.0,))
    assert received.spelled == {}


def test_unknown_fields_are_kept_and_written_back_at_their_place() -> None:
    payload = changed(local_flag="Y")
    payload["diseinfo"][0]["memo"] = {"a": 1}
    payload["extinfo"] = [1]
    received = read(payload)
    assert sorted(field.path for field in received.unknown) == [
        "diseinfo[0].memo",
        "extinfo",
        "setlinfo.local_flag",
    ]
    written = encode(received)
    assert written["setlinfo"]["local_flag"] == "Y"
    assert written["diseinfo"][0]["memo"] == {"a": 1}
    assert written["extinfo"] == [1]


@pytest.mark.parametrize(
    ("node", "value"),
    [("diseinfo", {"diag_code": "A00.000"}), ("diseinfo", ["A00.000"]), ("setlinfo", []), ("oprninfo", "无")],
)
def test_a_node_of_the_wrong_shape_is_a_defect(node: str, value: Any) -> None:
    received = read(CLEAN | {node: value})
    assert [defect.kind for defect in received.defects] == ["node"]
    assert received.defects[0].path.startswith(node)


@pytest.mark.parametrize(
    ("node", "value"),
    [
        ("oprninfo", "无"),
        ("setlinfo", []),
        ("setlinfo", [{"gend": "1"}, {}]),
        ("icuinfo", 3),
        ("diseinfo", ["A00.000", {"diag_code": "A01.000"}]),
    ],
)
def test_a_node_or_row_that_cannot_be_read_is_written_back_as_received(node: str, value: Any) -> None:
    received = read(CLEAN | {node: value})
    assert encode(received)[node] == value
    assert encode(read(CLEAN | {"iteminfo": "无"}), "4101A").get("iteminfo") is None


def test_a_single_row_without_its_brackets_is_written_in_the_official_form() -> None:
    received = read(CLEAN | {"diseinfo": {"diag_code": "A00.000"}})
    assert encode(received)["diseinfo"] == [{"diag_code": "A00.000"}]


def test_a_bad_row_leaves_the_others_at_their_place() -> None:
    received = read(CLEAN | {"diseinfo": [None, {"diag_code": "A01.000"}]})
    assert received.list.diagnoses[1].code == "A01.000"


def test_rows_beyond_the_limit_are_reported() -> None:
    received = read(CLEAN | {"icuinfo": [{"foo": 1}] + [{}] * MAX_ROWS})
    assert len(received.list.intensive_care) == MAX_ROWS
    assert str(MAX_ROWS + 1) in received.defects[0].reason
    assert received.defects[0].left_out == 1
    assert received.unread_values == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b'{"a": 1}',
        b'{"setlinfo": {',
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"input": 3}',
    ],
)
def test_what_is_no_list_at_all_is_refused_in_chinese(content: bytes) -> None:
    with pytest.raises(DecodeError, match=r"[\u4e00-\u9fff]"):
        decode(content)


def test_a_number_no_machine_holds_is_a_defect() -> None:
    received = decode(b'{"iteminfo": [{"med_chrgitm": "01", "amt": 1e999}]}')
    assert [defect.kind for defect in received.defects] == ["amount"]


def test_a_byte_order_mark_is_no_fault() -> None:
    assert decode(b"\xef\xbb\xbf" + json.dumps(CLEAN).encode()).list.stay.visit_id == "J1"


def test_4101a_leaves_out_what_that_interface_dropped() -> None:
    payload = copy.deepcopy(CLEAN)
    payload["diseinfo"].append({"diag_type": "2", "diag_code": "I10.x00"})
    written = encode(read(payload), "4101A")
    assert "iteminfo" not in written
    assert "psn_name" not in written["setlinfo"]
    assert [row["diag_type"] for row in written["diseinfo"]] == ["1", "1"]
    assert written["setlinfo"]["adm_time"] == "2026-10-01 08:30:00"


def test_minutes_and_weights_are_written_as_they_are_read() -> None:
    assert Minutes.parse("1/13/24").wire() == "1/13/24"
    assert Weights.parse("2100, 1980.5").wire() == "2100,1980.5"


@needs_shared
def test_every_field_of_the_published_tables_is_known() -> None:
    with (SHARED / "data/settlement/fields_4101.csv").open(encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            info = FIELDS[row["node"]][row["field"]]
            if row["type"] == "char" and info.length is not None:
                assert info.length == int(row["length"]), row["field"]
    published = json.loads((SHARED / "data/settlement/fields_4101A_4103.json").read_text(encoding="utf-8"))
    for node, names in published["4101A"].items():
        for name in names if node in FIELDS else ():
            assert not FIELDS[node][name].only_4101, name
    for name in published["4101A"]["setlinfo_local_additions"]:
        assert name in FIELDS["setlinfo"]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
ROWS = {
    node: st.dictionaries(st.sampled_from(sorted(fields)), JSON_VALUES, max_size=6)
    for node, fields in FIELDS.items()
}


@settings(max_examples=300, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            node: (row if node == "setlinfo" else st.lists(row, max_size=3)) | JSON_VALUES
            for node, row in ROWS.items()
        },
    ).filter(bool)
)
def test_any_value_anywhere_is_read_and_nothing_is_lost(payload: dict[str, Any]) -> None:
    received = decode_payload(payload)
    again = encode(received, with_evidence=True)
    for defect in received.defects:
        if not defect.usable:
            node, _, wire = defect.official.partition(".")
            if node == "setlinfo":
                assert (again["setlinfo"][wire] if wire else again["setlinfo"]) == defect.value
            elif defect.official in FIELDS and node not in BACKING_NODES:
                assert again[node] == defect.value
    assert decode_payload({"setlinfo": {}} | again).list == received.list


BACKED: dict[str, Any] = {
    **CLEAN,
    "feedetail": [
        {
            "feedetl_sn": "F1",
            "fee_ocur_time": "2026-10-01 09:00:00",
            "cnt": 2,
            "pric": 15.5,
            "udi": "(01)0693",
        },
        {"feedetl_sn": "F2", "cnt": "多", "remark": "本院字段"},
    ],
    "evidence": [
        {"kind": "lab", "name": "血钾", "value": 2.9, "unit": "mmol/L", "start": "2026-10-01 09:00:00"}
    ],
}


def test_charge_lines_and_evidence_are_read_like_any_node() -> None:
    received = read(BACKED)
    line, lab = received.list.charge_lines[0], received.list.evidence[0]
    assert (line.quantity, line.price_yuan, line.device_identifier) == (2, 15.5, "(01)0693")
    assert (lab.kind, lab.value, lab.unit) == ("lab", "2.9", "mmol/L")
    assert [defect.path for defect in received.defects] == ["feedetail[1].cnt"]
    assert [unknown.path for unknown in received.unknown] == ["feedetail[1].remark"]


@pytest.mark.parametrize("interface", ["4101", "4101A"])
def test_charge_lines_and_evidence_are_never_uploaded_unless_asked_for(interface: Interface) -> None:
    received = read(BACKED)
    assert not {"feedetail", "evidence"} & encode(received, interface).keys()
    kept = encode(received, interface, with_evidence=True)
    assert kept["feedetail"][1] == {"feedetl_sn": "F2", "remark": "本院字段", "cnt": "多"}
    assert decode_payload(kept).list.evidence == received.list.evidence
