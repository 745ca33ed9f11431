"""A month of 1,000 lists driven through the pages: handed in, corrected, judged again, reported and sealed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from pydantic import SecretStr

from api.cli import run
from api.settings import Settings
from tests.api.batch.conftest import BROKEN, MONTH, REGION, bodies, write_lists
from tests.api.serving import running
from tests.browser.conftest import Watch
from tests.databases import fresh_postgresql, postgresql_server  # noqa: F401 -- a fixture
from tests.hospital_pack import RULE, write_rules
from web.app import create_app

LISTS = 1_000
NO_PHONE = 3
"""Lists without the telephone of the contact; the first list has no 病案号."""
WORKING = 60_000
"""Milliseconds that a run over the month is given on a busy machine."""


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def settings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with ExitStack() as stack:
        store = ""
        if request.param == "postgresql":
            store = stack.enter_context(fresh_postgresql(request.getfixturevalue("postgresql_server")))
        yield Settings(
            home=tmp_path_factory.mktemp("home"),
            region=REGION,
            database_url=SecretStr(store),
            identity_key=SecretStr(""),
        )


@pytest.fixture(scope="module")
def address(settings: Settings) -> Iterator[str]:
    """A site of its own: what one test does to the month, the next one finds."""
    with running(create_app(settings)) as address:
        yield address


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lists = bodies(LISTS)
    lists[0]["setlinfo"]["medcasno"] = ""
    for body in lists[1 : 1 + NO_PHONE]:
        body["setlinfo"]["coner_tel"] = ""
    return write_lists(tmp_path_factory.mktemp("input") / "十月.ndjson", [*lists, BROKEN])


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


def done(page: Page, run: int) -> None:
    """Wait until the page, which keeps itself up to date, shows the run as finished."""
    expect(page).to_have_url(re.compile(rf"/batches/{run}$"))
    expect(page.locator(f'section[data-run="{run}"]')).to_have_attribute(
        "data-state", "done", timeout=WORKING
    )
    expect(page.locator('[data-show="state"]')).to_have_text("完成")


@pytest.fixture
def run_id(page: Page, month: Path) -> int:
    """The first run of the month, handed in on the page where no test before has."""
    page.goto("/batches")
    first = page.locator('#runs a[href="/batches/1"]')
    if not first.count():
        page.locator("#upload-month").fill(MONTH)
        page.locator("#upload-by").fill("病案科")
        page.locator("#upload-file").set_input_files(month)
        page.get_by_role("button", name="上传并开始").click()
        done(page, 1)
    return 1


def test_a_file_is_handed_in_and_watched_until_it_is_done(page: Page, run_id: int) -> None:
    page.goto(f"/batches/{run_id}")
    shown = page.locator(f'section[data-run="{run_id}"]')
    expect(shown.locator('[data-show="lists"]')).to_have_text(str(LISTS))
    expect(shown.locator('[data-show="rejected"]')).to_have_text("1 行")
    expect(shown).to_contain_text(f"需修改 {1 + NO_PHONE} 份")
    expect(page.locator("#main")).to_contain_text("十月.ndjson，病案科")
    page.get_by_role("link", name="全部批次").click()
    row = page.locator(f'#runs tr[data-run="{run_id}"]')
    expect(row).to_have_attribute("data-state", "done")
    expect(row.locator("progress")).to_have_count(0)


def test_a_file_that_is_none_is_refused_on_the_page(
    page: Page, run_id: int, watch: Watch, tmp_path: Path
) -> None:
    watch.refused = True
    page.goto("/batches")
    path = tmp_path / "十月.zip"
    path.write_bytes(b"PK\x03\x04 cut off")
    page.locator("#upload-file").set_input_files(path)
    page.get_by_role("button", name="上传并开始").click()
    expect(page.locator("#notice")).to_contain_text("十月.zip")
    expect(page.get_by_role("button", name="上传并开始")).to_be_enabled()
    page.reload()
    expect(page.locator("#runs tbody tr").last.locator("td").first).to_have_text(str(run_id))


def test_the_work_list_is_narrowed_and_opens_the_list_in_the_form(page: Page, run_id: int) -> None:
    page.goto(f"/batches/{run_id}")
    page.locator(f'section[data-run="{run_id}"]').get_by_role("link", name="工作清单").click()
    rows = page.locator(".worklist tbody tr")
    expect(rows.filter(has_text="CMP-017")).to_have_count(NO_PHONE)
    page.locator('select[name="rule"]').select_option("CMP-005")
    page.get_by_role("button", name="筛选").click()
    expect(page).to_have_url(re.compile("rule=CMP-005"))
    expect(rows).to_have_count(1)
    expect(page.locator('select[name="rule"]')).to_have_value("CMP-005")
    name = rows.locator("td a").first.inner_text()
    rows.locator("td a").first.click()
    form = page.locator("#list")
    expect(form.locator('[id="setlinfo.mdtrt_id"]')).to_have_value(name)
    expect(form.locator('[id="setlinfo.psn_name"]')).to_have_value(re.compile(r"^.\*+$"))
    expect(form.locator('[id="setlinfo.medcasno"]')).to_have_attribute("aria-invalid", "true")
    # A mask is judged as what it stands for.
    expect(page.locator(".finding")).to_have_count(1)
    page.go_back()
    page.get_by_role("link", name="清除").click()
    expect(page).not_to_have_url(re.compile("rule="))


def test_a_corrected_list_is_kept_and_the_month_judged_again(page: Page, run_id: int) -> None:
    page.goto(f"/worklist?run={run_id}&rule=CMP-005")
    link = page.locator(".worklist tbody td a").first
    name = link.inner_text()
    link.click()
    number = page.locator('[id="setlinfo.medcasno"]')
    number.fill("B20261001")
    result = page.locator("#result")
    expect(result).to_have_attribute("data-verdict", "可上传")
    expect(number).not_to_have_attribute("aria-invalid", "true")
    page.get_by_label("更正人").fill("张三")
    page.get_by_label("原因").fill("补病案号")
    page.get_by_role("button", name="存为新版本").click()
    said = page.locator(".stored [role=status]")
    expect(said).to_contain_text("已存为第 2 版：可上传")
    said.get_by_role("link", name="重新质控").click()
    page.get_by_role("button", name="用现在的数据包重新质控").click()
    done(page, 2)
    page.get_by_role("link", name="与批次 1 相比的变化").click()
    expect(page.locator("h1")).to_contain_text("批次 1 → 2")
    expect(page.locator("#main")).to_contain_text("有变化的清单 1 份，其中更正过 1 份")
    expect(page.locator("tr", has_text="CMP-005").locator("td").nth(3)).to_have_text("1")
    changed = page.locator("tr", has=page.get_by_role("link", name=name))
    expect(changed).to_contain_text("需修改 → 可上传")
    page.get_by_role("link", name="反过来看").click()
    expect(page.locator("tr", has=page.get_by_role("link", name=name))).to_contain_text("可上传 → 需修改")


def test_the_month_is_judged_under_a_changed_rule_pack(
    page: Page, run_id: int, settings: Settings, tmp_path: Path
) -> None:
    pack = write_rules(tmp_path / "本院规则", rule=RULE)
    assert run(["packs", "import", str(pack), "--home", str(settings.home)]) == 0
    page.goto(f"/batches/{run_id}")
    page.get_by_role("button", name="用现在的数据包重新质控").click()
    expect(page).not_to_have_url(re.compile(rf"/batches/{run_id}$"))
    done(page, int(page.url.rpartition("/")[2]))
    page.get_by_role("link", name="与批次 1 相比的变化").click()
    long = sum(body["setlinfo"]["act_ipt_days"] > 5 for body in bodies(LISTS))
    appeared = page.locator("tr", has_text="HOS-001").first.locator("td").nth(2)
    expect(appeared).to_have_text(str(long))
    expect(page.locator("#main")).to_contain_text("hospital-own")


def test_the_report_is_sealed_with_a_name_and_superseded_by_number(
    page: Page, run_id: int, watch: Watch
) -> None:
    watch.refused = True
    page.goto("/reports")
    page.get_by_role("link", name="月报草稿").first.click()
    expect(page.locator(".seal")).to_contain_text("未封存")
    expect(page.locator(".figures")).to_contain_text("通过率")
    expect(page.locator("svg").first).to_be_visible()
    page.get_by_role("link", name="月报", exact=True).click()
    seal_it = page.get_by_role("button", name="封存")
    page.get_by_label("月份或批次").fill(MONTH)
    page.get_by_label("封存人").fill("李四")
    seal_it.click()
    expect(page).to_have_url(re.compile("/reports/1$"), timeout=WORKING)
    expect(page.locator(".seal")).to_contain_text("已封存：第 1 号，李四")
    digest = page.locator(".seal code").inner_text()
    assert re.fullmatch("[0-9a-f]{64}", digest)

    page.goto("/reports")
    expect(page.locator("tr", has_text="第 1 号")).to_contain_text("在用")
    page.get_by_label("封存人").fill("王五")
    seal_it.click()
    expect(page.locator("[role=alert]")).to_contain_text("取代第 1 号和理由", timeout=WORKING)
    expect(page.get_by_label("封存人")).to_have_value("王五")
    page.get_by_label("取代第几号").fill("1")
    page.get_by_label("理由（取代或情形特殊时）").fill("更正后重新质控")
    seal_it.click()
    expect(page).to_have_url(re.compile("/reports/2$"), timeout=WORKING)
    expect(page.locator(".seal")).to_contain_text("取代第 1 号（更正后重新质控）")
    page.goto("/reports/1")
    expect(page.locator(".seal")).to_contain_text("已被第 2 号取代")
    expect(page.locator(".seal code")).to_have_text(digest)
    page.goto("/reports")
    expect(page.locator("tr", has_text="第 1 号").last).to_contain_text("已被第 2 号取代")


def test_the_sheet_of_a_report_fits_the_screen(page: Page, run_id: int) -> None:
    """Nothing but its wide tables scrolls sideways."""
    for place in (
        "/batches",
        f"/batches/{run_id}",
        f"/worklist?run={run_id}",
        f"/reports/run/{run_id}",
        "/reports",
    ):
        page.goto(place)
        wide = page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, place


def test_the_upload_form_says_what_is_not_priced_and_sends_region_and_mapping(
    page: Page, run_id: int, tmp_path: Path
) -> None:
    page.goto("/batches")
    said = page.locator("#unpriced")
    page.locator("#upload-month").fill(MONTH)
    region = page.locator("#upload-region")
    region.fill("3101")
    expect(said).to_contain_text("没有适用于地区 3101 的支付数据包")
    region.fill("5101")
    expect(said).to_be_hidden()
    page.locator("#upload-month").fill("2023-10")
    expect(said).to_be_visible()
    page.locator("#upload-payment").select_option("sichuan-2024")
    expect(said).to_be_hidden()
    page.locator("#upload-payment").select_option("")
    page.locator("#upload-month").fill("2025-03")
    mapping, table = tmp_path / "本院.toml", tmp_path / "本院.csv"
    mapping.write_text(
        'title = "本院"\n[setlinfo]\nmdtrt_id = "住院号"\n[[diseinfo]]\ndiag_type = { value = "1" }\n'
        'diag_code = "主码"\n',
        encoding="utf-8",
    )
    table.write_text("住院号,主码\nZ1,I10.x00x002\nZ2,J18.900\n", encoding="utf-8")
    page.locator("#upload-mapping").set_input_files(mapping)
    page.locator("#upload-file").set_input_files(table)
    with page.expect_request(lambda request: request.method == "POST") as sent:
        page.get_by_role("button", name="上传并开始").click()
    asked = parse_qs(urlsplit(sent.value.url).query)
    assert asked["region"] == ["5101"]
    assert asked["mapping"] == ["本院.toml"]
    assert asked["mapping_bytes"] == [str(mapping.stat().st_size)]
    expect(page).to_have_url(re.compile(r"/batches/\d+$"))
    expect(page.locator('[data-show="state"]')).to_have_text("完成", timeout=WORKING)
    expect(page.locator('[data-show="lists"]')).to_have_text("2")
