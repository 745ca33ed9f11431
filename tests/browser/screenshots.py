"""Makes the pictures of the pages for README and docs: ``python -m tests.browser.screenshots``."""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import Page

from api.settings import Settings
from models.pack import PROJECT_ROOT
from tests.api.batch.conftest import REGION, bodies, write_lists
from tests.api.serving import running
from tests.browser.chromium import chromium
from web.app import create_app

IMAGES = PROJECT_ROOT / "docs" / "images"
WRITTEN = "1.冠心病 不稳定性心绞痛 2.高血压3级（极高危） 3.2型糖尿病伴肾病 4.肺部结节待查；排除肺癌"
DONE = "#result[data-state=done]:not([data-due]):not([data-busy])"


def _load(page: Page, sample: str) -> None:
    page.goto("/")
    page.select_option("#sample", sample)
    page.get_by_role("button", name="载入样例").click()
    page.wait_for_selector(DONE)
    page.mouse.move(0, 400)


def _pictures(page: Page) -> None:
    _load(page, "errors")
    page.screenshot(path=IMAGES / "page-errors.png")
    _load(page, "delivery")
    page.locator("#part-diagnoses").evaluate("part => part.scrollIntoView()")
    page.locator('[id="diseinfo[5].diag_name"]').click()
    page.keyboard.type("产后出血")
    page.wait_for_selector("#hits [role=option]")
    page.wait_for_timeout(500)
    page.wait_for_selector(DONE)
    page.screenshot(path=IMAGES / "page-lookup.png")


def _text_box_picture(page: Page) -> None:
    page.goto("/")
    page.locator('[id="setlinfo.gend"]').select_option("1")
    page.locator('[id="setlinfo.age"]').fill("66")
    box = page.locator(".by-text[data-kind=diagnosis]")
    box.locator("summary").click()
    box.locator("textarea").fill(WRITTEN)
    box.locator(".mention").first.wait_for(timeout=60_000)
    box.locator("[role=option]").first.focus()
    page.keyboard.press("Enter")
    page.locator("#toast").evaluate("toast => toast.hidden = true")
    page.wait_for_selector(DONE)
    page.locator("#part-diagnoses").evaluate("part => part.scrollIntoView()")
    page.wait_for_timeout(2500)
    page.screenshot(path=IMAGES / "page-text-box.png")


def _group_pictures(page: Page) -> None:
    _load(page, "delivery")
    page.locator("#beside details.group > summary").first.click()
    page.screenshot(path=IMAGES / "page-payment.png")
    page.get_by_role("button", name="为什么是这个组").click()
    page.wait_for_selector("#about h1")
    page.screenshot(path=IMAGES / "page-reasons.png")
    page.locator("#about").get_by_role("button", name="换一种主要诊断会怎样").click()
    page.wait_for_selector("#about .choices")
    page.screenshot(path=IMAGES / "page-choices.png")


def _month_pictures(page: Page, folder: Path) -> None:
    """Runs over two months, some lists of which want something, and the report on the latter."""
    lists = bodies(440)
    for number, body in enumerate(lists):
        if number % 11 == 0:
            body["setlinfo"]["coner_tel"] = ""
        if number % 17 == 0:
            body["diseinfo"][0]["diag_code"] = "X99.999x"
        if number % 23 == 0:
            body["setlinfo"].pop("dscg_way", None)
    for name, month, part in (
        ("九月.ndjson", "2026-09", lists[300:]),
        ("十月.ndjson", "2026-10", lists[:300]),
    ):
        page.goto("/batches")
        page.locator("#upload-month").fill(month)
        page.locator("#upload-by").fill("病案科")
        page.locator("#upload-file").set_input_files(write_lists(folder / name, part))
        page.get_by_role("button", name="上传并开始").click()
        page.wait_for_selector("section[data-run][data-state=done]", timeout=300_000)
    page.goto("/batches")
    page.screenshot(path=IMAGES / "batches.png", clip={"x": 0, "y": 0, "width": 1366, "height": 460})
    page.goto("/reports/run/2")
    page.screenshot(path=IMAGES / "month-report.png")


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as home,
        running(create_app(Settings(home=Path(home)))) as address,
        chromium() as browser,
    ):
        for scheme in ("light", "dark"):
            context = browser.new_context(
                base_url=address,
                viewport={"width": 1366, "height": 768},
                locale="zh-CN",
                color_scheme="dark" if scheme == "dark" else "light",
                reduced_motion="reduce",
            )
            page = context.new_page()
            if scheme == "light":
                _pictures(page)
                _text_box_picture(page)
                page.goto("/rules")
                page.screenshot(path=IMAGES / "page-rules.png")
            else:
                _load(page, "delivery")
                page.screenshot(path=IMAGES / "page-dark.png")
            context.close()
    with (
        tempfile.TemporaryDirectory() as home,
        # The fictional region, whose packs hold every parameter of payment.
        running(create_app(Settings(home=Path(home), region=REGION))) as address,
        chromium() as browser,
    ):
        context = browser.new_context(
            base_url=address, viewport={"width": 1366, "height": 768}, locale="zh-CN", reduced_motion="reduce"
        )
        page = context.new_page()
        _group_pictures(page)
        _month_pictures(page, Path(home))
        context.close()


if __name__ == "__main__":
    main()
