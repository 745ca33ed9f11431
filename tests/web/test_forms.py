"""From JSON to the form and back: nothing a list holds is lost."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.example import EXAMPLE_LIST
from models.pack import PackStore
from tests.web.reading import read
from web.domains import Domains
from web.forms import MAX_ROWS, Form, FormError, Page, export, open_list, read_form

DOMAINS = Domains.open(PackStore())


def submitted(form: Form) -> dict[str, str]:
    """What a browser sends for the form of this list."""
    page = Page(form, DOMAINS)
    pairs = {"_interface": form.interface, "_envelope": page.envelope, "_extra": page.extra}
    pairs["setlinfo._extra"] = page.stay_extra
    for part in page.sections:
        for block in part.blocks:
            views = [*block.fields]
            for row in block.rows:
                views += [*row.cells, *row.more]
                pairs[f"{row.path}._extra"] = row.extra
            pairs |= {view.path: view.value for view in views}
    return pairs


def round_trip(payload: Any) -> Any:
    opened = open_list(json.dumps(payload, ensure_ascii=False).encode())
    return json.loads(export(read_form(urlencode(submitted(opened)))))


def test_a_list_goes_through_the_form_unchanged() -> None:
    assert round_trip(EXAMPLE_LIST) == EXAMPLE_LIST


def test_unknown_fields_and_the_envelope_are_kept() -> None:
    message = {
        "infno": "4101",
        "msgid": "H1101010000120260110",
        "input": {
            **EXAMPLE_LIST,
            "local_node": [{"x": 1}],
            "setlinfo": {**EXAMPLE_LIST["setlinfo"], "local_field": {"nested": ["a", None]}},  # type: ignore[dict-item]
            "diseinfo": [{**row, "local_mark": "甲"} for row in EXAMPLE_LIST["diseinfo"]],  # type: ignore[dict-item]
        },
    }
    assert round_trip(message) == message


def test_charge_lines_and_evidence_are_carried_along_unseen() -> None:
    backed = {
        **EXAMPLE_LIST,
        "feedetail": [{"feedetl_sn": "F1", "cnt": 2, "pric": 15.5}] * (MAX_ROWS + 1),
        "evidence": [{"kind": "lab", "name": "血钾", "value": "2.9"}],
    }
    assert round_trip(backed) == backed
    page = Page(open_list(json.dumps(backed).encode()), DOMAINS)
    assert page.unplaced == ()


def test_values_that_cannot_be_read_are_shown_and_written_back_as_received() -> None:
    opened = open_list(json.dumps({"setlinfo": {"brdy": "1990-05-32", "age": "三十"}}).encode())
    assert submitted(opened)["setlinfo.brdy"] == "1990-05-32"
    assert json.loads(export(opened)) == {"setlinfo": {"brdy": "1990-05-32", "age": "三十"}}


def test_spelling_variants_arrive_in_the_field_of_the_official_name() -> None:
    opened = open_list(b'{"setlinfo": {"nwbbirwt": "3200"}}')
    assert submitted(opened)["setlinfo.nwb_bir_wt"] == "3200"


def test_the_interface_of_the_message_is_kept() -> None:
    opened = open_list(b'{"infno": "4101A", "input": {"setlinfo": {"psn_no": "1"}}}')
    assert opened.interface == "4101A"
    assert json.loads(export(opened))["infno"] == "4101A"


def test_empty_rows_between_filled_ones_are_left_out() -> None:
    body = urlencode(
        {"diseinfo[0].diag_code": "I10.x00", "diseinfo[1].diag_code": " ", "diseinfo[7].diag_code": "J18.900"}
    )
    assert read_form(body).payload == {"diseinfo": [{"diag_code": "I10.x00"}, {"diag_code": "J18.900"}]}


def test_a_file_in_gb18030_opens() -> None:
    content = json.dumps({"setlinfo": {"psn_name": "示例患者"}}, ensure_ascii=False).encode("gb18030")
    assert open_list(content).payload == {"setlinfo": {"psn_name": "示例患者"}}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "内容为空"),
        (b"\xff\xff\xff", "编码"),
        (b"not json", "JSON"),
        (b"[1, 2]", "JSON 对象"),
        (b'{"a": 1}', "没有找到"),
        (b'{"setlinfo": {}}\n{"setlinfo": {}}\n', "一次只能打开一份"),
        (b'[{"setlinfo": {}}, {"setlinfo": {}}]', "一次只能打开一份"),
        (b'{"setlinfo": ' + b"[" * 100_000, "无法读取"),
    ],
)
def test_what_is_not_a_list_is_refused_with_the_reason(content: bytes, reason: str) -> None:
    with pytest.raises(FormError, match=reason):
        open_list(content)


def test_more_rows_than_a_page_can_show_are_refused() -> None:
    rows = [{"diag_code": "I10.x00"}] * (MAX_ROWS + 1)
    with pytest.raises(FormError, match="出院诊断有 501 行"):
        open_list(json.dumps({"diseinfo": rows}).encode())


def test_a_node_of_the_wrong_shape_is_reported() -> None:
    opened = open_list(b'{"setlinfo": {"gend": "1"}, "diseinfo": "I10"}')
    assert any("出院诊断" in notice for notice in opened.notices)


def test_a_node_that_cannot_be_shown_is_kept_until_the_user_fills_it_in() -> None:
    payload = {"setlinfo": {"gend": "1"}, "diseinfo": "I10", "oprninfo": 3}
    assert round_trip(payload) == payload
    form = submitted(open_list(json.dumps(payload).encode()))
    filled = read_form(urlencode({**form, "diseinfo[0].diag_code": "I10.x00x002"}))
    assert filled.payload["diseinfo"] == [{"diag_code": "I10.x00x002"}]
    assert filled.payload["oprninfo"] == 3


def test_rows_that_cannot_be_shown_are_named() -> None:
    opened = open_list(b'{"setlinfo": {"gend": "1"}, "diseinfo": ["I10", {"diag_code": "I10.x00x002"}]}')
    assert any("diseinfo[0]" in notice and "未能载入" in notice for notice in opened.notices)
    assert Page(opened, DOMAINS).unplaced == ()


@given(st.text())
def test_no_body_breaks_the_form(body: str) -> None:
    try:
        form = read_form(body)
    except FormError:
        return
    assert isinstance(form.payload, dict)


@given(
    st.dictionaries(
        st.sampled_from(
            ["setlinfo.gend", "diseinfo[0].diag_code", "diseinfo[0]._extra", "_extra", "_envelope", "x[1].y"]
        ),
        st.text(min_size=1),
    )
)
def test_any_values_of_the_form_can_be_shown_again(values: dict[str, str]) -> None:
    form = read_form(urlencode(values, errors="surrogatepass"))
    again = read_form(urlencode(submitted(form), errors="surrogatepass"))
    assert again.payload == form.payload


def test_html_reader_sees_what_a_browser_sends() -> None:
    # Guards the other tests: inert templates must not count as inputs.
    shown = read('<form><input name="a" value="1"><template><input name="b"></template></form>')
    assert shown.values == {"a": "1"}
