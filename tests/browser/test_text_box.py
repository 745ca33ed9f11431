"""The box that codes what the doctor wrote, and the note on the listed diagnoses, in a real browser."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Browser, Locator, Page, Request, expect

from tests.browser.conftest import Watch
from tests.browser.test_page import Load, at, exported

WRITTEN = "1.高血压3级；2.冠心病；排除肺癌"


def box(page: Page, kind: str = "diagnosis") -> Locator:
    return page.locator(f".by-text[data-kind={kind}]")


def write(page: Page, text: str, kind: str = "diagnosis") -> Locator:
    """Type ``text`` into the box and wait for its mentions. The first one waits for the models."""
    found = box(page, kind)
    if found.get_attribute("open") is None:
        found.locator("summary").click()
    found.locator("textarea").fill(text)
    found.locator(".mention").first.wait_for(timeout=60_000)
    return found


def option(found: Locator, code: str) -> Locator:
    return found.locator("[role=option]", has=found.page.locator(f"code:text-is('{code}')"))


def test_what_was_written_is_shown_with_its_mentions_and_their_candidates(page: Page) -> None:
    found = write(page, WRITTEN)
    expect(found.locator("[data-seen]")).to_have_text(WRITTEN)
    expect(found.locator("mark")).to_have_text(["高血压3级", "冠心病", "排除肺癌"])
    expect(found.locator("mark").last).to_have_attribute("data-status", "excluded")
    expect(found.locator(".mention").last).to_contain_text("不编码")
    first = found.locator(".mention").first
    expect(first.locator("[role=option] code").first).to_have_text("I10.x05")
    expect(first.locator(".trust").first).to_have_text(re.compile("把握较大|一般"))
    expect(first.locator(".reason").first).not_to_be_empty()
    expect(first.locator("[role=listbox]")).to_have_attribute("aria-label", "“高血压3级”的候选")


def test_places_count_characters_beyond_the_basic_plane(page: Page) -> None:
    found = write(page, "𠮷𠮷；高血压")
    expect(found.locator("[data-seen]")).to_have_text("𠮷𠮷；高血压")
    expect(found.locator("mark").last).to_have_text("高血压")


def test_candidates_are_accepted_by_keyboard_and_become_rows(page: Page) -> None:
    found = write(page, WRITTEN)
    found.locator("textarea").focus()
    page.keyboard.press("Control+End")
    page.keyboard.press("ArrowDown")
    options = found.locator("[role=option]")
    expect(options.first).to_be_focused()
    expect(options.first).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowDown")
    expect(options.nth(1)).to_be_focused()
    page.keyboard.press("ArrowRight")
    second = found.locator(".mention").nth(1).locator("[role=option]")
    expect(second.first).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(options.first).to_be_focused()
    page.keyboard.press("Enter")
    expect(at(page, "diseinfo[0].diag_code")).to_have_value("I10.x05")
    expect(at(page, "diseinfo[0].diag_name")).to_have_value("高血压3级")
    expect(at(page, "diseinfo[0].diag_type")).to_have_value("1")
    expect(found.locator(".mention").first).to_have_attribute("data-done", "I10.x05")
    expect(second.first).to_be_focused()
    page.keyboard.press("1")
    expect(at(page, "diseinfo[1].diag_code")).to_have_value("I25.103")
    expect(found.locator("textarea")).to_be_focused()
    page.keyboard.press("Escape")
    expect(at(page, "diseinfo[2].diag_code")).to_be_focused()
    rows = exported(page)["diseinfo"]
    assert isinstance(rows, list)
    assert [row["diag_code"] for row in rows] == ["I10.x05", "I25.103"]


def test_a_code_that_is_listed_is_not_added_twice(page: Page) -> None:
    found = write(page, "高血压")
    option(found, "I10.x00x002").click()
    found.locator("textarea").fill("高血压病")
    expect(found.locator("[data-seen]")).to_have_text("高血压病")
    again = option(found, "I10.x00x002")
    expect(again).to_contain_text("已在清单")
    again.click()
    expect(page.locator("#toast")).to_contain_text("没有重复加入")
    expect(at(page, "diseinfo[1].diag_code")).to_have_value("")


def test_an_accepted_code_is_taken_back_with_its_row(page: Page, watch: Watch) -> None:
    found = write(page, "高血压")
    option(found, "I10.x00x002").click()
    expect(at(page, "diseinfo[0].diag_code")).to_have_value("I10.x00x002")
    page.get_by_role("button", name="撤销").click()
    expect(at(page, "diseinfo[0].diag_code")).to_have_value("")
    expect(found.locator(".mention").first).not_to_have_attribute("data-done", re.compile(".*"))
    page.wait_for_timeout(8500)
    assert not [url for url in watch.requests if url.endswith("/accepted")]


def test_procedures_are_coded_into_their_own_table(page: Page) -> None:
    found = write(page, "腹腔镜下胆囊切除术", "procedure")
    option(found, "51.2300").click()
    expect(at(page, "oprninfo[0].oprn_oprt_code")).to_have_value("51.2300")
    expect(at(page, "diseinfo[0].diag_code")).to_have_value("")


def test_what_cannot_be_coded_with_confidence_says_so(page: Page) -> None:
    found = write(page, "病情平稳好转出院")
    expect(found.locator(".mention").first).to_contain_text("没有有把握的匹配")


def test_a_candidate_against_the_patient_says_why(page: Page) -> None:
    page.select_option('[id="setlinfo.gend"]', "1")
    found = write(page, "卵巢囊肿")
    expect(found.locator(".flag.warning").first).to_contain_text("女性")


def test_choices_are_remembered_without_the_patient_and_only_while_the_switch_is_on(
    load: Load, watch: Watch
) -> None:
    page = load("clean")
    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request) if "/suggest" in request.url else None)
    at(page, "setlinfo.psn_name").fill("示例患者甲")
    found = write(page, "老慢支；示例患者甲慢支")
    switch = found.get_by_label("记住我的选择")
    expect(switch).to_be_checked()
    option(found, "J42.x00").first.click()
    switch.uncheck()
    found.locator("textarea").fill("慢性气管炎")
    expect(found.locator("[data-seen]")).to_have_text("慢性气管炎")
    found.locator("[role=option]").first.click()
    page.wait_for_timeout(8500)
    accepted = [json.loads(one.post_data or "") for one in sent if one.url.endswith("/accepted")]
    assert [(one["text"], one["codes"]) for one in accepted] == [("老慢支", ["J42.x00"])]
    assert {one.method for one in sent} == {"POST"}
    for one in sent:
        assert "示例患者甲" not in json.dumps(
            json.loads(one.post_data or "").get("context"), ensure_ascii=False
        )
    assert all("%E" not in url for url in watch.requests)


def test_a_text_with_the_name_of_the_patient_is_never_remembered(page: Page, watch: Watch) -> None:
    at(page, "setlinfo.psn_name").fill("赵示例")
    found = write(page, "赵示例高血压")
    found.locator("[role=option]").first.click()
    page.wait_for_timeout(8500)
    assert not [url for url in watch.requests if url.endswith("/accepted")]


def test_hostile_text_stays_text(page: Page) -> None:
    hostile = '高血压；<img src=x onerror="document.title=1">'
    found = write(page, hostile)
    expect(found.locator("[data-seen]")).to_have_text(hostile)
    assert page.locator("main img").count() == 0


def test_a_refusal_is_told_beside_the_text(page: Page, watch: Watch) -> None:
    watch.complaints = []
    page.route(
        "**/api/v1/suggest",
        lambda route: route.fulfill(status=200, content_type="application/json", body='{"mentions": []}'),
    )
    box(page).locator("summary").click()
    box(page).locator("textarea").fill("……")
    expect(box(page).locator("[data-spoken]")).to_contain_text("没有可编码的内容")


@pytest.mark.parametrize("kind", ["diagnosis", "procedure"])
def test_without_script_the_server_lists_the_candidates(browser: Browser, address: str, kind: str) -> None:
    context = browser.new_context(base_url=address, java_script_enabled=False)
    text = {"diagnosis": "高血压3级；排除肺癌", "procedure": "腹腔镜下胆囊切除术"}[kind]
    code = {"diagnosis": "I10.x05", "procedure": "51.2300"}[kind]
    try:
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto("/")
        found = box(page, kind)
        found.locator("summary").click()
        found.locator("textarea").fill(text)
        found.get_by_role("button", name="推荐编码").click()
        expect(found.locator("textarea")).to_have_value(text)
        expect(found.locator(".mention code").first).to_have_text(code)
        assert page.url.endswith("/suggest")
    finally:
        context.close()


def test_the_note_names_requirements_only_when_there_is_something_to_say(page: Page) -> None:
    at(page, "diseinfo[0].diag_code").fill("I10.x00x002")
    at(page, "diseinfo[1].diag_code").fill("K80.200x003")
    at(page, "oprninfo[0].oprn_oprt_code").fill("51.2300")
    note = page.locator("#advice details")
    note.wait_for(timeout=60_000)
    expect(note).not_to_have_attribute("open", re.compile(".*"))
    note.locator("summary").click()
    expect(note.locator("dt").first).to_contain_text("I10.x00x002")
    expect(note).to_contain_text("一般选本次手术、操作治疗的疾病")
    assert not re.search("元|金额|支付|权重", note.inner_text())
    at(page, "diseinfo[0].diag_code").fill("K80.200x003")
    at(page, "diseinfo[1].diag_code").fill("I10.x00x002")
    expect(note).to_have_count(0)


def test_the_boxes_are_not_printed(page: Page) -> None:
    write(page, "高血压")
    page.emulate_media(media="print")
    expect(box(page)).to_be_hidden()
