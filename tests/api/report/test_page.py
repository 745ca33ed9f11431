"""The report as a page: drawings without script, a table beside each, hostile texts stay texts."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import msgspec
import pytest

from api.services.month.report import charts
from api.services.month.report.content import CodingChange, ReportContent, TrendPoint
from api.services.month.report.making import coding_changes
from api.services.month.report.page import Seal, fragment, standalone
from api.services.month.report.summary import Found
from models.grouping import Complication
from tests.api.report.test_content import content_of, entry

HOSTILE = '<script>alert("x")</script>&\'"'


@pytest.fixture
def content() -> ReportContent:
    """A month with something in every part, hostile where texts come from lists."""
    found = (
        Found("CMP-001", "error", HOSTILE),
        Found("DX-001", "warn", "诊断"),
        Found("FRD-001", "info", "线索"),
    )
    lists = [
        entry(
            verdict="需修改", findings=found, weight=1.5, expected=90_000, multiple=1.2, against="支付标准",
            complications=(Complication("J96.000", "MCC"), Complication("E11.900", "CC")), average_fee=80_000,
            drg_name=HOSTILE, dip="I10", dip_score=900.0,
        ),
        entry(department=HOSTILE, doctor=HOSTILE),
        entry("no_mdc"),
    ]  # fmt: skip
    change = CodingChange(HOSTILE, "A03", 1, 2, ("I10.x00", "I11.900"), ("", ""), ("E11.900",), (), (), ())
    made = content_of(lists, coding=coding_changes([change]), code_name=lambda _: HOSTILE)
    before = TrendPoint("2026-09", 4, "ab", made.totals, "甲", "乙")
    return msgspec.structs.replace(made, trend=(before, *made.trend))


def drawings(content: ReportContent) -> list[str]:
    found = [drawing for _, drawing in charts.trend_charts(content)]
    found += [
        charts.family_chart(content),
        charts.pass_chart(content),
        charts.index_chart(content),
        charts.multiples_chart(content),
        charts.payment_chart(content),
        charts.complication_chart(content, "MCC"),
        charts.complication_chart(content, "CC"),
    ]
    return found


def test_a_drawing_holds_shapes_only_and_says_what_it_shows(content: ReportContent) -> None:
    found = drawings(content)
    assert len(found) == 11
    for drawing in found:
        root = ET.fromstring(drawing)  # noqa: S314 -- ours
        assert root.get("role") == "img"
        assert re.search("[一-龥]", root.get("aria-label") or "")
        kinds = {str(node.tag).rpartition("}")[2] for node in root.iter()}
        assert kinds <= {"svg", "g", "defs", "rect", "path", "line", "circle", "text", "title"}, kinds
        shapes = sum(str(node.tag).endswith(("rect", "path", "circle")) for node in root.iter())
        assert shapes > 3
        for node in root.iter():
            assert not {name for name in node.attrib if name in ("style", "id") or "href" in name}
            assert all(name.startswith("c-") for name in (node.get("class") or "").split())


def test_the_same_content_is_drawn_and_written_alike(content: ReportContent) -> None:
    assert drawings(content) == drawings(content)
    assert standalone(content) == standalone(content)


def test_pointing_at_a_bar_shows_its_value(content: ReportContent) -> None:
    assert "<title>66.7%</title>" in charts.trend_charts(content)[0][1].replace("ns0:", "")


def test_there_is_no_trend_in_the_first_month_and_nothing_is_drawn_of_nothing() -> None:
    empty = content_of([])
    assert [one for one in drawings(empty) if one] == []
    page = fragment(empty)
    assert "下表只有本月" in page
    assert "没有可用的支付标准" in page


def test_every_drawing_has_a_table_in_its_section(content: ReportContent) -> None:
    sections = re.findall(r"<section.*?</section>", fragment(content), re.DOTALL)
    with_drawings = [one for one in sections if "<svg" in one]
    assert len(with_drawings) >= 5
    for section in with_drawings:
        assert "<table" in section
        assert "<figcaption>" in section


def test_texts_of_lists_never_become_markup(content: ReportContent) -> None:
    page = standalone(content, Seal(1, "ab", datetime(2026, 11, 1, tzinfo=UTC), HOSTILE, 0, HOSTILE))
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 5


def test_the_file_stands_alone(content: ReportContent) -> None:
    page = standalone(content)
    assert set(re.findall(r"https?://[^\"' <]+", page)) == {"http://www.w3.org/2000/svg"}
    assert re.findall(r"<(?:link|img|script|iframe)\b|\bsrc=|url\(|@import", page) == []
    assert "default-src 'none'" in page
    assert page.count("<style>") == 1


def test_a_seal_is_shown_and_so_is_its_absence(content: ReportContent) -> None:
    seal = Seal(7, "ab" * 32, datetime(2026, 11, 1, tzinfo=UTC), "张三", 6, "补传", 8)
    page = fragment(content, seal)
    for text in ("第 7 号", "ab" * 32, "张三", "取代第 6 号（补传）", "已被第 8 号取代"):
        assert text in page
    assert "未封存" in fragment(content)
    assert "未封存" not in page
