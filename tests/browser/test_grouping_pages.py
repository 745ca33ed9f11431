"""What a coder does with the reasons of a group, in a real browser, with and without script."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from api.settings import Settings
from api.spreadsheet import value_domains, write_template
from models.pack import PackStore
from tests.api.serving import running
from tests.browser.conftest import Watch
from web.app import create_app

DONE = "#result[data-state=done]:not([data-due]):not([data-busy])"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server for the fictional region, whose packs hold every parameter."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), region="99")
    with running(create_app(settings)) as address:
        yield address


@pytest.fixture
def opened(page: Page) -> Page:
    """The clean sample with its result."""
    page.select_option("#sample", "clean")
    page.get_by_role("button", name="载入样例").click()
    page.wait_for_selector(DONE)
    return page


def test_payment_and_dip_follow_the_list(opened: Page) -> None:
    beside = opened.locator("#beside")
    expect(beside).to_contain_text("12,159.84 元")
    expect(beside).to_contain_text("K35.8:47.0100")
    payment = beside.locator("details.group").first
    payment.locator("summary").first.click()
    expect(payment.locator("dl")).to_contain_text("支付标准")
    opened.locator('[id="setlinfo.hi_setl_lv"]').select_option("2")
    expect(beside).to_contain_text("11,001.76 元")
    expect(payment).to_have_attribute("open", "")
    opened.locator('[id="setlinfo.hi_setl_lv"]').select_option("")
    expect(beside).to_contain_text("缺少参数 hospital_coefficient")
    expect(beside).not_to_contain_text("11,001.76")


def test_the_reasons_open_by_keyboard_and_give_the_text_of_the_appeal(
    opened: Page, context: BrowserContext
) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened.locator('[id="setlinfo.psn_name"]').focus()
    opened.keyboard.press("Alt+g")
    dialog = opened.locator("#about")
    expect(dialog).to_be_visible()
    expect(dialog.locator(".way > li").first).to_contain_text("消化系统疾病及功能障碍")
    passed = dialog.locator(".passed").nth(1)
    expect(passed.locator("table")).to_be_hidden()
    passed.locator("summary").focus()
    opened.keyboard.press("Enter")
    expect(passed.locator("table")).to_be_visible()
    expect(passed).to_contain_text("主要手术操作 47.0100 不在集合 OP_AA1_1 中")
    dialog.get_by_role("button", name="复制申诉说明").click()
    expect(dialog.get_by_role("status")).to_have_text("已复制")
    copied = opened.evaluate("navigator.clipboard.readText()")
    assert copied == dialog.locator("#appeal").input_value()
    assert "分组结果：GE29 阑尾切除术" in copied
    assert "示例患者" not in copied
    opened.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(opened.locator('[id="setlinfo.psn_name"]')).to_have_value("示例患者")


def test_the_text_is_copied_where_the_browser_has_no_clipboard(opened: Page) -> None:
    opened.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    opened.get_by_role("button", name="为什么是这个组").click()
    opened.locator("#about").get_by_role("button", name="复制申诉说明").click()
    expect(opened.locator("#about [data-copied]")).not_to_be_empty()
    length = opened.locator("#appeal").evaluate("field => field.selectionEnd - field.selectionStart")
    assert length == len(opened.locator("#appeal").input_value())


def test_other_choices_speak_of_the_list_as_it_stands_and_change_nothing(opened: Page) -> None:
    opened.locator('[id="diseinfo[2].diag_code"]').fill("J96.000")
    opened.keyboard.press("Escape")
    opened.wait_for_selector(DONE)
    opened.get_by_role("button", name="换一种主要诊断会怎样").click()
    dialog = opened.locator("#about")
    rows = dialog.locator(".choices tbody tr:not(.kind):not(.listed) th")
    expect(rows.nth(0)).to_contain_text("I10.x00x002")
    expect(rows.nth(1)).to_contain_text("J96.000")
    expect(dialog).to_contain_text("只由病历决定")
    expect(dialog.locator(".bearing a").first).to_have_attribute("href", "/rules/DX-017")
    dialog.get_by_role("button", name="为什么是这个组").click()
    expect(dialog.locator("h1")).to_have_text("为什么是这个组")
    dialog.get_by_role("button", name="返回清单").click()
    expect(dialog).to_be_hidden()
    expect(opened.locator('[id="diseinfo[0].diag_code"]')).to_have_value("K35.800x001")


def test_paper_holds_the_reasons_and_not_the_form_behind_them(opened: Page) -> None:
    opened.get_by_role("button", name="为什么是这个组").click()
    opened.wait_for_selector("#about h1")
    opened.emulate_media(media="print")
    expect(opened.locator("#about .way").first).to_be_visible()
    for hidden in ("#main", ".bar", "#about .views", "#about .passed >> nth=0", "#appeal"):
        expect(opened.locator(hidden)).to_be_hidden()


def test_a_refusal_is_said_beside_the_form(opened: Page, watch: Watch) -> None:
    watch.refused = True
    refusal = {"status": 422, "content_type": "application/problem+json", "body": '{"detail": "不能说明"}'}
    opened.route("**/what-if", lambda route: route.fulfill(**refusal))
    opened.get_by_role("button", name="换一种主要诊断会怎样").click()
    expect(opened.locator("#failure")).to_have_text("不能说明")
    expect(opened.locator("#about")).to_be_hidden()


def test_everything_works_without_script(browser: Browser, address: str) -> None:
    context = browser.new_context(base_url=address, java_script_enabled=False, locale="zh-CN")
    try:
        page = context.new_page()
        page.goto("/")
        page.select_option("#sample", "clean")
        page.get_by_role("button", name="载入样例").click()
        expect(page.locator("#beside")).to_contain_text("12,159.84 元")
        page.get_by_role("button", name="为什么是这个组").click()
        assert page.url == f"{address}/explain"
        expect(page.locator("#appeal")).to_have_value(re.compile("分组结果：GE29"))
        expect(page.get_by_role("button", name="复制申诉说明")).to_be_hidden()
        page.get_by_role("button", name="换一种主要诊断会怎样").click()
        expect(page.locator(".choices").first).to_contain_text("FQY")
        page.get_by_role("button", name="返回清单").click()
        expect(page.locator('[id="setlinfo.psn_name"]')).to_have_value("示例患者")
        assert "?" not in page.url
    finally:
        context.close()


def test_a_filled_in_template_opens_from_the_page(page: Page, tmp_path: Path) -> None:
    write_template(tmp_path / "清单.xlsx", value_domains(PackStore()))
    page.set_input_files("#file", tmp_path / "清单.xlsx")
    page.wait_for_selector(DONE)
    expect(page.locator('[id="setlinfo.psn_name"]')).to_have_value("示例患者")
    expect(page.locator("#result")).to_have_attribute("data-verdict", "可上传")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1366, 820])
def test_nothing_runs_over_the_edge(browser: Browser, address: str, scheme: str, width: int) -> None:
    context = browser.new_context(
        base_url=address,
        viewport={"width": width, "height": 768},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    try:
        page = context.new_page()
        page.goto("/")
        page.select_option("#sample", "delivery")
        page.get_by_role("button", name="载入样例").click()
        page.wait_for_selector(DONE)
        for name in ("为什么是这个组", "换一种主要诊断会怎样"):
            page.locator("#about, #result").get_by_role("button", name=name).last.click()
            expect(page.locator("#about h1")).to_have_text(name)
            over = page.locator("#about").evaluate("dialog => dialog.scrollWidth - dialog.clientWidth")
            assert over <= 0
            page.keyboard.press("Escape")
    finally:
        context.close()
