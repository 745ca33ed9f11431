"""The pages as a server gives them: how they work without script, and what they let through."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from fastapi import FastAPI

from api.example import EXAMPLE_LIST
from api.settings import Settings
from tests.web.conftest import Send, ask
from tests.web.reading import read
from web.app import create_app
from web.pages import STATIC
from web.samples import SAMPLES

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


def opened(send: Send, payload: object) -> str:
    answer = send("POST", "/open", content=json.dumps(payload).encode())
    assert answer.status_code == 200
    return answer.text


def test_the_empty_form_has_no_result(send: Send) -> None:
    shown = read(send("GET", "/").text)
    assert shown.attributes["result"]["data-state"] == "empty"
    assert shown.values["setlinfo.psn_name"] == ""
    assert "diseinfo[0].diag_code" in shown.values


def test_a_sample_with_errors_shows_findings_at_their_fields(send: Send) -> None:
    shown = read(send("POST", "/open", data={"sample": "errors"}).text)
    gender = shown.attributes["setlinfo.gend"]
    assert gender["aria-invalid"] == "true"
    assert gender["aria-describedby"] == "notes-setlinfo.gend"
    assert "notes-setlinfo.gend" in shown.attributes
    assert shown.attributes["result"]["data-verdict"] == "需修改"
    assert ("a", {"class": "place", "href": "#setlinfo.gend"}) in shown.tags


@pytest.mark.parametrize("sample", [one for one in SAMPLES if one.id != "errors"], ids=lambda one: one.id)
def test_the_other_samples_have_no_errors_and_a_group(send: Send, sample: object) -> None:
    payload = sample.payload()  # type: ignore[attr-defined]
    answer = send("POST", "/api/v1/check", json=payload).json()
    assert [one for one in answer["findings"] if one["severity"] == "error"] == []
    assert answer["group"]["reason"] == "grouped"


def test_the_demo_hospital_gives_another_list_each_time(send: Send) -> None:
    found = [read(send("POST", "/open", data={"sample": "demo"}).text) for _ in range(3)]
    assert {page.attributes["result"]["data-state"] for page in found} == {"done"}
    assert len({page.values["setlinfo.medcasno"] + page.values["setlinfo.adm_time"] for page in found}) == 3


def test_submitting_the_form_gives_the_same_result_as_the_api(send: Send) -> None:
    form = read(send("POST", "/open", data={"sample": "errors"}).text).values
    shown = read(send("POST", "/", data=form).text)
    report = send(
        "POST", "/api/v1/check", json=next(one for one in SAMPLES if one.id == "errors").payload()
    ).json()
    listed = [found for tag, found in shown.tags if tag == "li" and found.get("class") == "finding"]
    assert len(listed) == len(report["findings"])
    assert report["findings"]
    assert shown.attributes["result"]["data-verdict"] == report["verdict"]


def test_pasting_without_script_loads_the_list(send: Send) -> None:
    answer = send("POST", "/open", data={"payload": json.dumps(EXAMPLE_LIST)})
    assert read(answer.text).values["setlinfo.psn_name"] == "示例患者"


def test_export_gives_the_list_as_a_file(send: Send) -> None:
    form = read(opened(send, EXAMPLE_LIST)).values
    answer = send("POST", "/export", data=form)
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.json() == EXAMPLE_LIST


def test_a_refused_list_is_answered_with_the_reason(send: Send) -> None:
    answer = send("POST", "/open", content=b"[]")
    assert answer.status_code == 422
    assert "应为一个 JSON 对象" in answer.text


def test_nothing_to_export_is_said(send: Send) -> None:
    answer = send("POST", "/export", data={"_interface": "4101"})
    assert answer.status_code == 422
    assert "没有可导出的清单" in answer.text


def test_hostile_text_is_escaped_wherever_it_stands(send: Send) -> None:
    payload = {
        HOSTILE: HOSTILE,
        "setlinfo": {
            "psn_name": HOSTILE,
            "gend": HOSTILE,
            "ntly": HOSTILE,
            "brdy": HOSTILE,
            HOSTILE: HOSTILE,
        },
        "diseinfo": [{"diag_code": HOSTILE, "diag_name": HOSTILE, HOSTILE: {HOSTILE: [HOSTILE]}}],
    }
    for text in (opened(send, payload), opened(send, {"infno": HOSTILE, "input": payload, HOSTILE: 1})):
        assert HOSTILE not in text
        shown = read(text)
        assert shown.values["setlinfo.psn_name"] == HOSTILE
        assert not [found for tag, found in shown.tags if tag == "img"]
        assert [found for tag, found in shown.tags if tag == "script" and "src" not in found] == []


def test_pages_forbid_foreign_and_inline_code(send: Send) -> None:
    for path in ("/", "/rules"):
        answer = send("GET", path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"
        shown = read(answer.text)
        for tag, found in shown.tags:
            assert "style" not in found
            assert not [name for name in found if name.startswith("on")]
            if tag in ("script", "link"):
                assert (found.get("src") or found["href"]).startswith("/static/")


def test_own_code_names_no_other_server() -> None:
    files = [*STATIC.iterdir(), *(STATIC.parent / "templates").iterdir()]
    assert files
    for path in files:
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//[a-z]+\.[a-z]", text), path


def test_static_files_may_be_kept_since_their_address_follows_their_content(send: Send) -> None:
    address = next(
        found["href"] for tag, found in read(send("GET", "/").text).tags if found.get("rel") == "stylesheet"
    )
    answer = send("GET", address)
    assert "immutable" in answer.headers["cache-control"]
    assert re.search(r"\?v=[0-9a-f]{12}$", address)


@pytest.mark.parametrize("path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py"])
def test_static_files_stay_in_their_folder(send: Send, path: str) -> None:
    assert send("GET", path).status_code == 404


@pytest.mark.parametrize(
    ("suffix", "kind"), [("css", "text/css"), ("js", "text/javascript"), ("svg", "image/svg+xml")]
)
def test_static_files_have_the_type_that_browsers_insist_on(send: Send, suffix: str, kind: str) -> None:
    for path in STATIC.glob(f"*.{suffix}"):
        answer = send("GET", f"/static/{path.name}")
        assert answer.headers["content-type"].startswith(kind)
        assert answer.content == path.read_bytes()


def test_pages_behind_a_proxy_address_everything_under_its_prefix(app: FastAPI) -> None:
    for prefix in ("", "/qingdan"):  # proxies that take the prefix off, and those that leave it
        text = ask(app, "GET", f"{prefix}/", root_path="/qingdan").text
        shown = read(text)
        links = [found.get("href") or found.get("src") or found.get("action", "") for _, found in shown.tags]
        local = [link for link in links if link.startswith("/")]
        assert local
        assert all(link.startswith("/qingdan/") for link in local)
        assert ask(app, "GET", f"{prefix}/static/page.css", root_path="/qingdan").status_code == 200


def test_the_setting_names_the_prefix_where_the_server_does_not(tmp_path: Path) -> None:
    app = create_app(Settings(home=tmp_path, root_path="/qingdan"))
    app.state.service.open()
    for prefix in ("", "/qingdan"):
        text = ask(app, "GET", f"{prefix}/").text
        assert 'href="/qingdan/rules"' in text
        assert ask(app, "GET", f"{prefix}/static/page.css").status_code == 200
        assert ask(app, "GET", f"{prefix}/openapi.json").json()["servers"] == [{"url": "/qingdan"}]


def test_lists_are_never_taken_from_an_address(send: Send) -> None:
    shown = read(send("GET", "/?setlinfo.psn_name=x&sample=errors").text)
    assert shown.values["setlinfo.psn_name"] == ""
    assert send("GET", "/open").status_code == 405


def test_the_catalogue_lists_every_rule_and_each_has_a_page(send: Send) -> None:
    rules = send("GET", "/api/v1/rules").json()
    text = send("GET", "/rules").text
    assert rules
    for rule in rules:
        assert f'href="/rules/{rule["code"]}"' in text
    for rule in rules[:: max(1, len(rules) // 12)]:
        page = read(send("GET", f"/rules/{rule['code']}").text)
        assert rule["title"] in page.text


def test_a_rule_page_says_what_an_example_says_and_how_far_its_basis_holds(send: Send) -> None:
    page = read(send("GET", "/rules/DX-018").text).text
    assert "患者性别为 1（男），“门（急）诊西医诊断疾病代码”N80.001 子宫腺肌病 只用于女性" in page
    assert "地方结算清单质控规则库 2142（地方官方）" in page
    assert "门（急）诊西医诊断疾病代码：N80.001 子宫腺肌病" in page


def test_what_was_accepted_is_listed_but_not_counted(send: Send) -> None:
    before = send("POST", "/open", data={"sample": "errors"}).text
    counted = re.search(r'data-count="error".*?<b>(\d+)</b>', before, re.DOTALL)
    rule = re.search(
        r'class="finding" data-severity="error">.*?href="/rules/([A-Z]+-\d+)"', before, re.DOTALL
    )
    assert counted
    assert rule
    listed = before.count(f'href="/rules/{rule[1]}"')
    asked = {"rule": rule[1], "by": "质控员", "reason": "已核对"}
    made = send("POST", "/api/v1/acceptances", json=asked).json()
    try:
        after = send("POST", "/open", data={"sample": "errors"}).text
    finally:
        send("DELETE", f"/api/v1/acceptances/{made['id']}", params={"by": "质控员"})
    left = re.search(r'data-count="error".*?<b>(\d+)</b>', after, re.DOTALL)
    assert left
    assert int(left[1]) == int(counted[1]) - listed
    assert after.count(f'href="/rules/{rule[1]}"') == listed


def test_an_unknown_rule_is_said_in_a_page(send: Send) -> None:
    answer = send("GET", "/rules/XXX-999")
    assert answer.status_code == 404
    assert "没有这条规则" in answer.text


def test_a_browser_gets_problems_as_a_page_and_a_program_as_json(app: FastAPI, send: Send) -> None:
    service = app.state.service
    checker, service.checker, service.faults = service.checker, None, ("缺少数据包",)
    try:
        page = send("GET", "/", headers={"accept": "text/html"})
        problem = send("GET", "/", headers={"accept": "application/json"})
    finally:
        service.checker, service.faults = checker, ()
    assert (page.status_code, problem.status_code) == (503, 503)
    assert "缺少数据包" in read(page.text).text
    assert problem.json()["detail"] == "缺少数据包"


def test_a_body_that_is_too_large_is_refused(send: Send) -> None:
    assert send("POST", "/open", content=b"x" * (600 * 1024)).status_code == 413


def _colours(sheet: str) -> list[dict[str, str]]:
    blocks = re.findall(r":root \{(.*?)\}", sheet, re.DOTALL)
    return [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in blocks[:2]]


def _light(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_contrast_reaches_aa(scheme: int) -> None:
    colours = _colours(Path(STATIC / "page.css").read_text(encoding="utf-8"))[scheme]
    pairs = [
        (text, ground)
        for text in ("ink", "muted", "accent", "error", "warn", "info", "good")
        for ground in ("surface", "ground", "sunken")
    ]
    pairs += [(tone, f"{tone}-soft") for tone in ("error", "warn", "info", "good", "accent")]
    pairs += [("accent-ink", "accent"), ("ink", "error-soft"), ("ink", "warn-soft"), ("surface", "error")]
    for text, ground in pairs:
        lighter, darker = sorted((_light(colours[text]), _light(colours[ground])), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (text, ground)


def test_an_unknown_address_gives_a_browser_a_page_and_a_program_a_problem(send: Send) -> None:
    shown = send("GET", "/nowhere", headers={"accept": "text/html"})
    assert shown.status_code == 404
    assert shown.headers["content-type"].startswith("text/html")
    assert "没有找到" in shown.text
    assert send("GET", "/nowhere").json()["status"] == 404
