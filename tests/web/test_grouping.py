"""The pages about a group: reasons, other choices, payment and DIP, without script."""

from __future__ import annotations

import copy
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
from fastapi import FastAPI
from python_calamine import CalamineWorkbook

from api.example import EXAMPLE_LIST
from api.services.payment import billing_of_list
from api.settings import Settings
from api.spreadsheet import value_domains, write_template
from grouper.explain import PassedOver
from models.pack import PackStore
from models.wire import decode_payload
from tests.web.conftest import Send, ask
from tests.web.reading import read
from web.app import create_app
from web.forms import FormError, open_workbook
from web.grouping import by_level, money, signed
from web.upload import file_of

HOSTILE = '"><script>alert(1)</script>'
LIMIT = 64 * 1024 * 1024


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    """The fictional region, whose packs hold every parameter."""
    app = create_app(Settings(home=tmp_path_factory.mktemp("home"), region="99"))
    app.state.service.open()
    return app


@pytest.fixture
def example() -> dict[str, Any]:
    return copy.deepcopy(dict(EXAMPLE_LIST))


@pytest.fixture
def template(tmp_path: Path) -> bytes:
    path = tmp_path / "lists.xlsx"
    write_template(path, value_domains(PackStore()))
    return path.read_bytes()


def form_of(send: Send, payload: object) -> dict[str, str]:
    """What a browser without script would send for an opened list."""
    return read(send("POST", "/open", content=json.dumps(payload).encode()).text).values


def test_the_reasons_of_a_form_are_those_of_the_interface(send: Send, example: dict[str, Any]) -> None:
    shown = send("POST", "/explain", data=form_of(send, example))
    assert shown.status_code == 200
    text = send("POST", "/api/v1/group/explain", json=example, headers={"accept": "text/plain"}).text
    area = shown.text.partition('<textarea id="appeal"')[2].partition(">")[2].partition("</textarea>")[0]
    assert area == text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    found = send("POST", "/api/v1/group/explain", json=example).json()
    for step in found["path"]:
        assert step["name"] in shown.text
        for entry in step["passed_over"]:
            assert f"<code>{entry['code']}</code>" in shown.text


def test_the_list_comes_back_from_the_reasons_unchanged(send: Send, example: dict[str, Any]) -> None:
    example["local_node"] = [{"x": HOSTILE}]
    example["setlinfo"]["local_field"] = 1
    message = {"infno": "4101", "msgid": "H1", "input": example}
    payload = read(send("POST", "/explain", data=form_of(send, message)).text).values["payload"]
    assert json.loads(payload) == message
    for path in ("/explain", "/what-if"):
        again = send("POST", path, data={"payload": payload})
        assert json.loads(read(again.text).values["payload"]) == message
    assert (
        read(send("POST", "/open", data={"payload": payload}).text).values["setlinfo.psn_name"] == "示例患者"
    )


def test_a_list_without_a_group_shows_what_was_tried(send: Send, example: dict[str, Any]) -> None:
    example["diseinfo"] = [{"diag_type": "1", "diag_code": "Z99.900", "maindiag_flag": "1"}]
    example["oprninfo"] = []
    text = read(send("POST", "/explain", data=form_of(send, example)).text).text
    assert "没有入组" in text
    assert "此前未入的 MDC" in text


def test_other_choices_stand_in_the_order_of_the_list_with_the_rules_they_break(
    demo: FastAPI, send: Send, example: dict[str, Any]
) -> None:
    for code in ("J96.000", "E11.900"):
        example["diseinfo"].append({"diag_type": "1", "diag_code": code, "maindiag_flag": "0"})
    shown = ask(demo, "POST", "/what-if", data=form_of(send, example)).text
    text = read(shown).text
    places = [text.index(f"作主要诊断 {code}") for code in ("I10.x00x002", "J96.000", "E11.900")]
    assert places == sorted(places)
    assert "只由病历决定" in text
    assert "病历中须有依据" in text
    assert 'href="/rules/PDX-003"' in shown
    for word in ("建议选择", "收益", "优选", "应改为"):
        assert word not in text


def test_without_a_payment_pack_there_are_no_figures(send: Send, example: dict[str, Any]) -> None:
    shown = read(send("POST", "/what-if", data=form_of(send, example)).text)
    assert "不列权重和金额" in shown.text
    assert [found for tag, found in shown.tags if tag == "th" and "figure" in found.get("class", "")] == []


def test_payment_and_dip_stand_beside_the_group(demo: FastAPI, send: Send, example: dict[str, Any]) -> None:
    form = form_of(send, example)
    page = ask(demo, "POST", "/", data=form).text
    piece = ask(demo, "POST", "/beside", data=form).text
    received = decode_payload(example)
    billing = billing_of_list(received, 1_200_000)
    paid = ask(demo, "POST", "/api/v1/payment", params={"insurance": billing.insurance}, json=example).json()[
        "payment"
    ]
    score = ask(demo, "POST", "/api/v1/dip/score", json=example).json()
    for text in (page, piece):
        assert f"{Decimal(paid['expected']):,} 元" in text
        assert f"<code>{score['group']}</code>" in text
        assert f"{Decimal(score['amount']):,} 元" in text
        assert "虚构示例，不是任何地区的标准" in text
    assert paid["missing"] == score["missing"] == []


def test_a_missing_parameter_is_named_and_no_amount_given(
    demo: FastAPI, send: Send, example: dict[str, Any]
) -> None:
    del example["setlinfo"]["hi_type"]
    piece = ask(demo, "POST", "/beside", data=form_of(send, example)).text
    assert "缺少参数 base_rate" in piece
    assert "缺少参数 point_value" in piece
    assert "预计支付（元）" not in piece


def test_without_packs_the_reason_is_given(send: Send, example: dict[str, Any]) -> None:
    piece = send("POST", "/beside", data=form_of(send, example)).text
    assert "的 drg-payment 数据包" in piece
    assert "没有参数就不给金额" in piece


def test_an_empty_form_has_nothing_beside_and_nothing_to_explain(send: Send) -> None:
    assert send("POST", "/beside", data={"_interface": "4101"}).text.strip() == ""
    for path in ("/explain", "/what-if"):
        answer = send("POST", path, data={"_interface": "4101"})
        assert answer.status_code == 422
        assert "清单是空的" in answer.text
        assert send("POST", path, content=b"\xff\xfe").status_code == 422
        assert send("POST", path, data={"payload": "[]"}).status_code == 422
        assert send("GET", path).status_code == 405


def test_more_codes_than_any_record_has_are_refused_on_a_page(send: Send, example: dict[str, Any]) -> None:
    example["diseinfo"] = [{"diag_type": "1", "diag_code": f"A{n:02}.000"} for n in range(201)]
    for path in ("/explain", "/what-if"):
        answer = send("POST", path, data=form_of(send, example))
        assert answer.status_code == 422
        assert "超过 200 个" in answer.text


def test_hostile_text_is_escaped_on_the_pages_about_a_group(send: Send, example: dict[str, Any]) -> None:
    example["diseinfo"][0]["diag_code"] = HOSTILE
    example["diseinfo"][1]["diag_code"] = HOSTILE + "2"
    example["oprninfo"][0]["oprn_oprt_code"] = HOSTILE
    form = form_of(send, example)
    for path in ("/explain", "/what-if", "/beside"):
        answer = send("POST", path, data=form)
        assert answer.status_code == 200
        assert HOSTILE not in answer.text
        assert "unsafe" not in answer.headers["content-security-policy"]
        for tag, found in read(answer.text).tags:
            assert "style" not in found
            assert tag != "script" or "src" in found


def test_every_address_on_the_pages_stands_under_the_prefix(app: FastAPI, send: Send) -> None:
    form = form_of(send, EXAMPLE_LIST)
    for path in ("/explain", "/what-if"):
        shown = read(ask(app, "POST", path, root_path="/qingdan", data=form).text)
        links = [
            value
            for _, found in shown.tags
            for name, value in found.items()
            if name in ("href", "src", "action", "formaction") and value.startswith("/")
        ]
        assert len(links) > 5
        assert all(link.startswith("/qingdan/") for link in links)


def test_entries_are_told_apart_by_level() -> None:
    entries = [
        PassedOver(level, code, "", "", ()) for level, code in (("ADRG", "A1"), ("MDC", "B"), ("ADRG", "A2"))
    ]
    found = by_level(entries)
    assert [(one.level, [entry.code for entry in one.entries]) for one in found] == [
        ("MDC", ["B"]),
        ("ADRG", ["A1", "A2"]),
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [("1234.50", "+1,234.50"), ("-0.0176", "−0.0176"), ("0.0000", "0")],
)
def test_differences_carry_their_sign(value: str, shown: str) -> None:
    assert signed(Decimal(value)) == shown
    assert (signed(None), money(None)) == ("", "")
    assert money(Decimal("12345.60")) == "12,345.60"


def test_a_filled_in_template_opens_as_a_file_and_as_a_form(send: Send, template: bytes) -> None:
    opened = read(send("POST", "/open", content=template).text)
    chosen = read(send("POST", "/open", files={"file": ("清单.xlsx", template)}).text)
    assert opened.values == chosen.values
    assert opened.values["setlinfo.psn_name"] == "示例患者"
    assert opened.attributes["result"]["data-verdict"] == "可上传"


def test_a_json_file_opens_without_script(send: Send) -> None:
    content = json.dumps(EXAMPLE_LIST, ensure_ascii=False).encode("gb18030")
    answer = send("POST", "/open", files={"file": ("list.json", content)})
    assert read(answer.text).values["setlinfo.psn_name"] == "示例患者"


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "没有选择文件"), (b"PK\x03\x04broken", "无法读取工作簿"), (b"[]", "JSON 对象")],
)
def test_a_file_that_holds_no_list_is_refused(send: Send, content: bytes, reason: str) -> None:
    answer = send("POST", "/open", files={"file": ("x", content)})
    assert answer.status_code == 422
    assert reason in answer.text


def test_a_damaged_upload_is_refused(send: Send) -> None:
    kind = {"content-type": "multipart/form-data; boundary=x"}
    assert send("POST", "/open", content=b"--x\r\nnonsense", headers=kind).status_code == 422
    assert (
        send("POST", "/open", content=b"", headers={"content-type": "multipart/form-data"}).status_code == 422
    )


def test_an_upload_keeps_every_byte() -> None:
    content = bytes(range(256)) * 3 + b"\r\n--\r\n\n\r"
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
        + content
        + b"\r\n--b--\r\n"
    )
    assert file_of("multipart/form-data; boundary=b", body) == content


def test_a_workbook_with_several_lists_opens_the_first_and_says_so(template: bytes, tmp_path: Path) -> None:
    sheets = CalamineWorkbook.from_filelike(io.BytesIO(template))
    with xlsxwriter.Workbook(tmp_path / "two.xlsx") as book:
        for name in sheets.sheet_names:
            rows = sheets.get_sheet_by_name(name).to_python(skip_empty_area=False)
            if name == sheets.sheet_names[0]:
                rows.append(["2", *rows[-1][1:]])
            sheet = book.add_worksheet(name)
            for number, row in enumerate(rows):
                sheet.write_row(number, 0, row)
    opened = open_workbook((tmp_path / "two.xlsx").read_bytes(), LIMIT)
    assert any("2 份清单" in notice for notice in opened.notices)


def test_a_workbook_too_large_unpacked_is_refused(template: bytes) -> None:
    with pytest.raises(FormError, match="上限"):
        open_workbook(template, 1000)
