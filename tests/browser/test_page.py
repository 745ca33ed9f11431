"""What a coder does on the page, in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Dialog, Locator, Page, Route, expect

from api.example import EXAMPLE_LIST
from tests.browser.conftest import Watch

Load = Callable[[str], Page]


def at(page: Page, path: str) -> Locator:
    """The control of a field by its place."""
    return page.locator(f'[id="{path}"]')


def settled(page: Page) -> None:
    """Wait until the pause after typing is over and the check is done."""
    expect(page.locator("#result:not([data-due]):not([data-busy])")).to_be_attached()


def exported(page: Page) -> dict[str, object]:
    with page.expect_download() as download:
        page.get_by_role("button", name="导出 JSON").click()
    content = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def test_a_finding_shows_at_its_field_and_goes_when_the_field_is_mended(load: Load) -> None:
    page = load("errors")
    gender = at(page, "setlinfo.gend")
    expect(gender).to_have_attribute("aria-invalid", "true")
    expect(gender).to_have_attribute("aria-describedby", "notes-setlinfo.gend")
    expect(at(page, "notes-setlinfo.gend")).to_contain_text("性别")
    link = page.locator('.finding .place[href="#setlinfo.gend"]').first
    link.click()
    expect(gender).to_be_focused()
    page.keyboard.press("1")
    expect(gender).to_have_value("1")
    expect(page.locator('.finding .place[href="#setlinfo.gend"]')).to_have_count(0)
    expect(gender).not_to_have_attribute("aria-invalid", "true")
    expect(at(page, "notes-setlinfo.gend")).to_be_empty()


def test_the_verdict_follows_the_list(load: Load) -> None:
    page = load("clean")
    expect(page.locator("#result")).to_have_attribute("data-verdict", "可上传")
    at(page, "setlinfo.coner_tel").fill("")
    expect(page.locator("#result")).to_have_attribute("data-verdict", "需修改")
    expect(at(page, "setlinfo.coner_tel")).to_have_attribute("aria-invalid", "true")
    at(page, "setlinfo.coner_tel").fill("13000000000")
    expect(page.locator("#result")).to_have_attribute("data-verdict", "可上传")


def test_what_is_merely_missing_says_so_when_the_cursor_comes(page: Page) -> None:
    at(page, "setlinfo.psn_name").fill("示例患者")
    gender, note = at(page, "setlinfo.gend"), at(page, "notes-setlinfo.gend")
    expect(gender).to_have_attribute("aria-invalid", "true")
    expect(note).to_be_hidden()
    gender.focus()
    expect(note).to_be_visible()
    expect(note).to_contain_text("未填写")


def test_findings_stand_in_the_order_of_the_form_with_and_without_script(
    load: Load, browser: Browser
) -> None:
    page = load("errors")
    places = "items => items.map((item) => item.getAttribute('href'))"
    scripted = page.locator(".finding .place").evaluate_all(places)
    context = browser.new_context(base_url=page.url, java_script_enabled=False)
    try:
        plain = context.new_page()
        plain.goto("/")
        plain.select_option("#sample", "errors")
        plain.get_by_role("button", name="载入样例").click()
        hrefs = [link.get_attribute("href") for link in plain.locator(".finding .place").all()]
    finally:
        context.close()
    assert scripted == hrefs
    errors = page.locator('.finding[data-severity="error"] .place').evaluate_all(places)
    tops = [page.locator(f'[id="{place[1:]}"]').bounding_box() for place in errors]
    heights = [box["y"] for box in tops if box]
    assert heights == sorted(heights)
    assert len(heights) == len(errors) > 5


def test_the_group_stands_beside_the_form_with_its_reason(load: Load) -> None:
    page = load("clean")
    expect(page.locator(".drg code")).to_have_text(re.compile(r"^G[A-Z]\d\d$"))
    expect(page.locator(".group .why").first).not_to_be_empty()
    page.locator(".packs summary").click()
    expect(page.locator(".packs li").first).to_be_visible()


@pytest.mark.parametrize(
    ("column", "typed"), [("diag_code", "gxy"), ("diag_name", "高血压"), ("diag_code", "I10")]
)
def test_a_code_is_found_by_initials_name_or_code_and_fills_both_cells(
    page: Page, column: str, typed: str
) -> None:
    cell = at(page, f"diseinfo[0].{column}")
    cell.click()
    page.keyboard.type(typed)
    expect(page.locator("#hits")).to_be_visible()
    expect(cell).to_have_attribute("aria-expanded", "true")
    chosen = page.locator("#hits [aria-selected=true]")
    expect(cell).to_have_attribute("aria-activedescendant", "hit-0")
    page.keyboard.press("ArrowDown")
    code = chosen.locator("code").inner_text()
    name = chosen.locator("span").first.inner_text()
    page.keyboard.press("Enter")
    expect(page.locator("#hits")).to_be_hidden()
    expect(at(page, "diseinfo[0].diag_code")).to_have_value(code)
    expect(at(page, "diseinfo[0].diag_name")).to_have_value(name)
    expect(at(page, "diseinfo[0].diag_type")).to_have_value("1")
    expect(at(page, "diseinfo[1].diag_code")).to_be_attached()


def test_a_procedure_is_looked_up_in_its_own_code_book(page: Page) -> None:
    at(page, "oprninfo[0].oprn_oprt_name").click()
    page.keyboard.type("阑尾切除")
    page.locator("#hits [role=option]").first.click()
    expect(at(page, "oprninfo[0].oprn_oprt_code")).to_have_value(re.compile(r"^47\."))


def test_escape_leaves_what_was_typed(page: Page) -> None:
    cell = at(page, "diseinfo[0].diag_name")
    cell.click()
    page.keyboard.type("高血压")
    expect(page.locator("#hits")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#hits")).to_be_hidden()
    expect(cell).to_have_value("高血压")
    expect(at(page, "diseinfo[0].diag_code")).to_have_value("")


def test_a_grey_code_is_marked_in_the_candidates(page: Page) -> None:
    cell = at(page, "diseinfo[0].diag_code")
    cell.click()
    page.keyboard.type("O82.200")
    expect(page.locator("#hits .flag.grey").first).to_contain_text("灰码")


@pytest.mark.parametrize("enveloped", [False, True])
def test_a_pasted_list_keeps_what_the_page_does_not_know(page: Page, enveloped: bool) -> None:
    stay: dict[str, Any] = {**EXAMPLE_LIST["setlinfo"], "local_field": ["甲", {"乙": 1}]}  # type: ignore[dict-item]
    bare: dict[str, Any] = {**EXAMPLE_LIST, "setlinfo": stay}
    payload = {"infno": "4101", "msgid": "M1", "input": bare} if enveloped else bare
    page.get_by_role("button", name="粘贴 JSON").click()
    page.locator("#payload").fill(json.dumps(payload, ensure_ascii=False))
    page.get_by_role("button", name="载入并检查").click()
    expect(page.locator("#paste")).to_be_hidden()
    expect(at(page, "setlinfo.psn_name")).to_have_value("示例患者")
    expect(page.locator("#part-unplaced")).to_contain_text("local_field")
    at(page, "setlinfo.psn_name").fill("示例患者甲")
    settled(page)
    content = exported(page)
    written = content["input"] if enveloped else content
    assert written == {**bare, "setlinfo": {**stay, "psn_name": "示例患者甲"}}
    assert not enveloped or content["msgid"] == "M1"


def test_text_that_is_no_list_is_refused_in_the_dialog(page: Page, watch: Watch) -> None:
    watch.refused = True
    page.get_by_role("button", name="粘贴 JSON").click()
    page.locator("#payload").fill("{不是 JSON")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#paste-error")).to_contain_text("不是有效的 JSON")
    expect(page.locator("#payload")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#paste")).to_be_hidden()


def test_a_file_opens(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_bytes(json.dumps(EXAMPLE_LIST, ensure_ascii=False).encode("gb18030"))
    page.locator("#file").set_input_files(path)
    expect(at(page, "setlinfo.psn_name")).to_have_value("示例患者")


def test_rows_are_added_moved_removed_and_brought_back(load: Load) -> None:
    page = load("clean")
    codes = page.locator('[id^="diseinfo["][id$="].diag_code"]')
    first, second = codes.nth(0).input_value(), codes.nth(1).input_value()
    codes.nth(1).focus()
    page.keyboard.press("Alt+ArrowUp")
    assert (codes.nth(0).input_value(), codes.nth(1).input_value()) == (second, first)
    expect(at(page, "diseinfo[0].diag_code")).to_be_focused()
    page.keyboard.press("Alt+Delete")
    expect(at(page, "diseinfo[0].diag_code")).to_have_value(first)
    page.locator("#toast button").click()
    expect(at(page, "diseinfo[0].diag_code")).to_have_value(second)
    expect(at(page, "diseinfo[1].diag_code")).to_have_value(first)
    page.keyboard.press("Alt+Insert")
    expect(at(page, "diseinfo[2].diag_type")).to_be_focused()
    settled(page)
    rows = exported(page)["diseinfo"]
    assert isinstance(rows, list)
    assert [row["diag_code"] for row in rows] == [second, first]


def test_a_finding_in_a_row_follows_it_when_a_row_above_is_removed(load: Load) -> None:
    page = load("clean")
    at(page, "diseinfo[1].diag_code").fill("X99.999x")
    expect(at(page, "diseinfo[1].diag_code")).to_have_attribute("data-severity", re.compile("error|warn"))
    at(page, "diseinfo[0].diag_code").focus()
    page.keyboard.press("Alt+Delete")
    expect(at(page, "diseinfo[0].diag_code")).to_have_value("X99.999x")
    expect(page.locator('.finding .place[href="#diseinfo[0].diag_code"]').first).to_be_visible()


@pytest.mark.parametrize(
    ("path", "typed", "kept"),
    [
        ("setlinfo.brdy", "19900520", "1990-05-20"),
        ("setlinfo.brdy", "1990年5月2日", "1990-05-02"),
        ("setlinfo.adm_time", "2026/1/5 8:30", "2026-01-05 08:30:00"),
        ("setlinfo.adm_time", "2026-01-05T08:30:15", "2026-01-05 08:30:15"),
        ("setlinfo.adm_time", "昨天", "昨天"),
        ("setlinfo.vent_used_dura", "1 6 30", "1/6/30"),
    ],
)
def test_dates_take_pasted_text_and_become_official(page: Page, path: str, typed: str, kept: str) -> None:
    at(page, path).fill(typed)
    at(page, path).press("Tab")
    expect(at(page, path)).to_have_value(kept)


def test_everything_is_reached_by_keyboard(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator("#help")).to_be_hidden()
    page.locator("#sample").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#sample")).to_have_value("errors")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#result[data-state=done]:not([data-due]):not([data-busy])")
    page.keyboard.press("F8")
    first = page.evaluate("document.activeElement.id")
    page.keyboard.press("F8")
    second = page.evaluate("document.activeElement.id")
    page.keyboard.press("Shift+F8")
    assert page.evaluate("document.activeElement.id") == first != second
    at(page, "setlinfo.psn_name").focus()
    page.keyboard.press("Enter")
    expect(at(page, "setlinfo.gend")).to_be_focused()
    page.keyboard.press("Shift+Enter")
    expect(at(page, "setlinfo.psn_name")).to_be_focused()
    page.keyboard.press("Alt+PageDown")
    expect(at(page, "setlinfo.opsp_diag_caty")).to_be_focused()


def test_a_list_is_typed_from_nothing_by_keyboard(page: Page) -> None:
    at(page, "setlinfo.psn_name").focus()
    page.keyboard.type("示例患者")
    page.keyboard.press("Enter")
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    page.keyboard.type("19950812")
    at(page, "diseinfo[0].diag_code").focus()
    page.keyboard.type("gxy")
    page.keyboard.press("Enter")
    expect(at(page, "diseinfo[0].diag_code")).to_have_value(re.compile(r"^I10"))
    settled(page)
    expect(page.locator("#result")).to_have_attribute("data-state", "done")
    content = exported(page)
    stay, rows = content["setlinfo"], content["diseinfo"]
    assert stay == {"psn_name": "示例患者", "gend": "2", "brdy": "1995-08-12"}
    assert isinstance(rows, list)
    assert rows[0]["diag_code"].startswith("I10")


def test_enter_takes_a_candidate_of_what_was_typed_last(page: Page) -> None:
    """Whoever types faster than the search answers gets no code of an earlier beginning."""

    def slow(route: Route) -> None:
        if "q=gxy" in route.request.url:
            page.wait_for_timeout(600)
        route.continue_()

    page.route("**/api/v1/codes?*", slow)
    cell = at(page, "diseinfo[0].diag_code")
    cell.focus()
    page.keyboard.type("gx")
    expect(page.locator("#hits")).to_be_visible()
    page.keyboard.type("y")
    page.keyboard.press("Enter")
    expect(cell).to_have_value(re.compile(r"^I10"))


def test_every_visible_control_has_a_name(load: Load) -> None:
    page = load("errors")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('input:not([type=hidden]), select, textarea, button, a')]
            .filter((one) => one.checkVisibility() && !(one.labels?.length || one.getAttribute('aria-label')
                || one.textContent.trim() || one.title || one.getAttribute('aria-hidden')))
            .map((one) => one.outerHTML)"""
    )
    assert nameless == []
    twice = page.evaluate(
        """() => { const ids = [...document.querySelectorAll('[id]')].map((one) => one.id);
            return ids.filter((id, at) => ids.indexOf(id) !== at); }"""
    )
    assert twice == []


def test_4101a_hides_what_it_does_not_have_and_keeps_what_is_filled_in(page: Page) -> None:
    page.select_option("#interface", "4101A")
    expect(at(page, "setlinfo.psn_name")).to_be_hidden()
    expect(at(page, "setlinfo.psn_no")).to_be_visible()
    expect(at(page, "iteminfo[0].amt")).to_be_hidden()
    expect(page.locator("#interface")).to_be_focused()
    page.select_option("#interface", "4101")
    at(page, "setlinfo.psn_name").fill("示例患者")
    page.select_option("#interface", "4101A")
    expect(at(page, "setlinfo.psn_name")).to_be_visible()
    expect(at(page, "setlinfo.psn_name")).to_have_value("示例患者")


def test_leaving_with_changes_is_asked_about(page: Page) -> None:
    at(page, "setlinfo.psn_name").fill("示例患者")
    asked: list[str] = []

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.accept()

    page.on("dialog", answer)
    page.reload()
    assert asked == ["beforeunload"]
    page.reload()
    assert asked == ["beforeunload"]


def test_another_list_replaces_changes_only_when_allowed(load: Load, page: Page) -> None:
    at(page, "setlinfo.psn_name").fill("示例患者甲")
    page.locator("#clear").click()
    expect(page.locator("#ask")).to_be_visible()
    page.get_by_role("button", name="返回").click()
    expect(at(page, "setlinfo.psn_name")).to_have_value("示例患者甲")
    page.locator("#clear").click()
    page.get_by_role("button", name="放弃并继续").click()
    expect(at(page, "setlinfo.psn_name")).to_have_value("")
    expect(page.locator("#result")).to_have_attribute("data-state", "empty")


def test_nothing_of_a_list_stays_on_the_computer_or_in_an_address(
    load: Load, context: BrowserContext, watch: Watch
) -> None:
    page = load("errors")
    at(page, "setlinfo.psn_name").fill("示例患者甲")
    settled(page)
    assert page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 0]
    assert context.cookies() == []
    assert page.evaluate("indexedDB.databases()") == []
    assert not [url for url in watch.requests if "%E7%A4%BA%E4%BE%8B" in url or "1101011990" in url]


def test_hostile_names_stay_text(page: Page) -> None:
    hostile = '"><img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script>'
    payload = {**EXAMPLE_LIST, "setlinfo": {**EXAMPLE_LIST["setlinfo"], "gend": hostile, hostile: 1}}  # type: ignore[dict-item]
    page.get_by_role("button", name="粘贴 JSON").click()
    page.locator("#payload").fill(json.dumps(payload))
    page.get_by_role("button", name="载入并检查").click()
    expect(page.locator('.finding .place[href="#setlinfo.gend"]').first).to_be_visible()
    assert page.locator("main img").count() == 0
    assert page.title() != "owned"


def test_a_service_that_is_away_is_said_and_the_result_stays(
    load: Load, context: BrowserContext, watch: Watch
) -> None:
    page = load("clean")
    page.route("**/api/v1/check", lambda route: route.abort())
    at(page, "setlinfo.coner_tel").fill("")
    expect(page.locator("#failure")).to_contain_text("连接不到服务")
    expect(page.locator("#result")).to_have_attribute("data-verdict", "可上传")
    page.unroute("**/api/v1/check")
    at(page, "setlinfo.coner_tel").fill("1")
    expect(page.locator("#failure")).to_be_hidden()
    watch.complaints = [text for text in watch.complaints if "ERR_FAILED" not in text]


def test_the_result_shows_the_newest_answer_only(load: Load) -> None:
    page = load("clean")
    held: list[Route] = []
    page.route("**/api/v1/check", lambda route: held.append(route) if not held else route.continue_())
    at(page, "setlinfo.coner_tel").fill("")
    expect(page.locator("#result[data-busy]")).to_be_attached()
    at(page, "setlinfo.coner_tel").fill("13000000000")
    settled(page)
    assert len(held) == 1
    expect(page.locator("#result")).to_have_attribute("data-verdict", "可上传")


def test_the_page_works_without_script(browser: Browser, address: str) -> None:
    context = browser.new_context(base_url=address, java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto("/")
        page.select_option("#sample", "errors")
        page.get_by_role("button", name="载入样例").click()
        expect(page.locator('.finding .place[href="#setlinfo.gend"]').first).to_be_visible()
        page.select_option('[id="setlinfo.gend"]', "1")
        page.get_by_role("button", name="检查", exact=True).first.click()
        expect(page.locator('.finding .place[href="#setlinfo.gend"]')).to_have_count(0)
        expect(page.locator(".finding").first).to_be_visible()
    finally:
        context.close()


def test_the_catalogue_is_filtered_while_typing(page: Page) -> None:
    page.goto("/rules")
    rows = page.locator(".catalogue tbody tr:visible")
    everything = rows.count()
    page.locator("#filter").fill("性别")
    expect(rows).not_to_have_count(everything)
    assert rows.count() > 0
    rows.first.locator("a").click()
    expect(page.locator("h1 code")).to_have_text(re.compile(r"^[A-Z]+-\d{3}$"))
