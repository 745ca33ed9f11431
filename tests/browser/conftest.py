"""A real server and a real browser; every page is watched for errors and for foreign requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from api.settings import Settings
from tests.api.serving import running
from tests.browser.chromium import CHROMIUM, chromium
from web.app import create_app

PATIENCE = 15_000
"""Milliseconds that a busy machine is given before something expected counts as missing."""
expect.set_options(timeout=PATIENCE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder, and skip them by name where there is no Chromium."""
    for item in items:
        if "tests/browser" not in item.path.as_posix():
            continue
        item.add_marker(pytest.mark.browser)
        item.add_marker(pytest.mark.xdist_group("browser"))
        if not CHROMIUM:
            item.add_marker(pytest.mark.skip(reason="chromium is not installed: no browser test can run"))


# Playwright keeps an event loop running while it is open, and no test of another folder that shares
# the process could start one of its own: both end with this folder.
@pytest.fixture(scope="package")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(create_app(Settings(home=tmp_path_factory.mktemp("home")))) as address:
        yield address


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@dataclass
class Watch:
    """What went on in a page. ``refused``: answers that a test expects to be refusals."""

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    refused: bool = False


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def context(browser: Browser, address: str, watch: Watch) -> Iterator[BrowserContext]:
    context = browser.new_context(
        base_url=address,
        viewport={"width": 1366, "height": 768},
        locale="zh-CN",
        reduced_motion="reduce",
        accept_downloads=True,
    )
    context.set_default_timeout(PATIENCE)
    context.on("request", lambda request: watch.requests.append(request.url))
    context.on("console", lambda message: watch.complaints.append(f"{message.type}: {message.text}"))
    context.on("weberror", lambda error: watch.complaints.append(str(error.error)))
    yield context
    context.close()
    foreign = [url for url in watch.requests if not url.startswith((address, "blob:", "data:"))]
    assert foreign == []
    expected = "status of 422" if watch.refused else "\0"
    assert [text for text in watch.complaints if expected not in text] == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    page = context.new_page()
    page.goto("/")
    return page


@pytest.fixture
def load(page: Page) -> Callable[[str], Page]:
    """``load("errors")`` opens a sample and waits for its result."""

    def load(sample: str) -> Page:
        page.select_option("#sample", sample)
        page.get_by_role("button", name="载入样例").click()
        page.wait_for_selector("#result[data-state=done]:not([data-due]):not([data-busy])")
        return page

    return load
