"""Charts of the report as SVG that stands in the page: no script, no style of its own, no address."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

import pygal
from pygal.style import Style

from api.services.month.figures import percent
from api.services.month.report.content import ReportContent, TrendPoint, Unit

# Its finder of plug-ins answers in a way that Python warns of at each later import, and none is used here.
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]

Value = float | None
WIDTH, HALF = 1000, 500
"""Width of a drawing that takes the page, and of one that has another beside it."""
LINE_HEIGHT = 22
"""Height that one bar takes; a further series takes half of it more."""
AROUND = 60
"""Height of axis, legend and margins."""
FONT = 12
CHARACTER = 0.6
"""Width of a character as pygal reckons it, in sizes of the font; a Chinese one takes 1."""
LONGEST_LABEL = 14
MOST_UNITS = 15
MOST_CODES = 10
LEAST_TREND = 2

_DROPPED = ("script", "style")
_STYLE = Style(
    label_font_size=FONT,
    major_label_font_size=FONT,
    legend_font_size=FONT,
    value_font_size=FONT,
    value_label_font_size=FONT,
)


def _wide(text: str) -> int:
    return sum(unicodedata.east_asian_width(character) in "WF" for character in text)


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_LABEL else f"{text[: LONGEST_LABEL - 1]}…"


def _plain(root: Any) -> Any:
    """The drawing without script and style; what pygal keeps for its script becomes titles to point at."""
    for parent in list(root.iter()):
        for child in list(parent):
            kind = str(child.tag).rpartition("}")[2]
            if (
                kind in _DROPPED
                or "tooltip" in (child.get("class") or "").split()
                or (kind == "title" and parent is root)
            ):
                parent.remove(child)
        notes = [child for child in parent if str(child.tag).rpartition("}")[2] == "desc"]
        for child in notes:
            if child.get("class") == "value" and child.text and notes[0] is child:
                child.tag = child.tag.replace("desc", "title")
                child.attrib.clear()
            else:
                parent.remove(child)
    for node in root.iter():
        # Its short names would meet those of the page.
        names = [f"c-{name}" for name in (node.get("class") or "").split()]
        if names:
            node.set("class", " ".join(names))
    root.attrib.pop("id", None)
    return root


def _draw(chart: Any, name: str, *, description: str) -> str:
    """The SVG as text; ``description`` says to a screen reader what the chart shows."""
    # The name of a drawing is random otherwise, and the same report would have other bytes.
    chart.uuid = name
    chart.add_xml_filter(_plain)
    text: str = chart.render(is_unicode=True, disable_xml_declaration=True, pretty_print=False)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'\s(?:xmlns:xlink|id)="[^"]*"', "", text)
    return text.replace("<svg ", f'<svg role="img" aria-label="{_escaped(description)}" ', 1)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


def _options(height: int, **more: Any) -> dict[str, Any]:
    return {
        "width": WIDTH,
        "height": height,
        "explicit_size": False,
        "js": (),
        "style": _STYLE,
        "margin": 6,
        "spacing": 8,
        "legend_at_bottom": True,
        "legend_box_size": 10,
        "min_scale": 3,
        "max_scale": 7,
        "truncate_legend": -1,
        "truncate_label": -1,
        **more,
    }


def _bars(
    name: str,
    labels: Sequence[str],
    series: Sequence[tuple[str, Sequence[Value]]],
    shown: Callable[[float], str],
    *,
    stacked: bool = False,
    width: int = WIDTH,
    description: str,
    **more: Any,
) -> str:
    """Horizontal bars, the first label on top. "" without any."""
    if not labels:
        return ""
    short = [_shortened(label) for label in labels]
    rows = 1 if stacked else 1 + (len(series) - 1) / 2
    legend = len(series) > 1
    kind = pygal.HorizontalStackedBar if stacked else pygal.HorizontalBar
    chart = kind(
        **_options(
            int(AROUND + LINE_HEIGHT * rows * len(labels)),
            width=width,
            show_legend=legend,
            legend_at_bottom_columns=len(series),
            print_values=not stacked,
            print_values_position="top",
            # pygal reckons Chinese characters too narrow: what is lacking is margin.
            margin_left=int(6 + FONT * (1 - CHARACTER) * max(_wide(label) for label in short)),
            margin_right=56,
            **more,
        )
    )
    chart.x_labels = list(reversed(short))
    chart.value_formatter = lambda value: "" if value is None else shown(value)
    for title, values in series:
        chart.add(title, list(reversed(values)))
    return _draw(chart, name, description=description)


def _columns(name: str, labels: Sequence[str], values: Sequence[Value], *, description: str) -> str:
    chart = pygal.Bar(
        **_options(240, show_legend=False, print_values=True, print_values_position="top", margin_top=18)
    )
    chart.x_labels = list(labels)
    chart.value_formatter = lambda value: f"{value:,.0f}"
    chart.add("", list(values))
    return _draw(chart, name, description=description)


def _lines(
    name: str,
    points: Sequence[TrendPoint],
    series: Sequence[tuple[str, Callable[[TrendPoint], Value]]],
    shown: Callable[[float], str],
    *,
    description: str,
) -> str:
    """One line each over the months. "" where there is no trend yet."""
    if len(points) < LEAST_TREND:
        return ""
    chart = pygal.Line(**_options(210, width=HALF, show_legend=len(series) > 1, dots_size=3, margin_right=24))
    chart.x_labels = [point.month for point in points]
    chart.value_formatter = lambda value: "" if value is None else shown(value)
    for title, value_of in series:
        chart.add(title, [value_of(point) for point in points])
    return _draw(chart, name, description=description)


def trend_charts(content: ReportContent) -> tuple[tuple[str, str], ...]:
    """Title and drawing of each chart over the months; none before the second month."""
    points = content.trend
    drawn = (
        (
            "通过率与入组率",
            _lines(
                "trend-rates",
                points,
                (
                    ("通过率", lambda one: one.totals.pass_rate),
                    ("入组率", lambda one: one.totals.grouping_rate),
                ),
                percent,
                description="各月通过率和入组率的折线图，数值见下表",
            ),
        ),
        (
            "CMI",
            _lines(
                "trend-cmi",
                points,
                (("CMI", lambda one: one.totals.cmi),),
                lambda value: f"{value:.3f}",
                description="各月 CMI 的折线图，数值见下表",
            ),
        ),
        (
            "均次费用（元）",
            _lines(
                "trend-cost",
                points,
                (
                    (
                        "均次费用",
                        lambda one: None if one.totals.mean_cost is None else one.totals.mean_cost / 100,
                    ),
                ),
                lambda value: f"{value:,.0f}",
                description="各月均次费用的折线图，数值见下表",
            ),
        ),
        (
            "费用消耗指数与时间消耗指数",
            _lines(
                "trend-index",
                points,
                (
                    ("费用消耗指数", lambda one: one.totals.cost_index),
                    ("时间消耗指数", lambda one: one.totals.time_index),
                ),
                lambda value: f"{value:.2f}",
                description="各月费用消耗指数和时间消耗指数的折线图，数值见下表",
            ),
        ),
    )
    return tuple(one for one in drawn if one[1])


def family_chart(content: ReportContent) -> str:
    """Findings of each family by severity."""
    lines = [one for one in content.families if one.errors or one.warnings or one.hints]
    lines.sort(key=lambda one: -(one.errors + one.warnings + one.hints))
    lines = lines[:MOST_UNITS]
    return _bars(
        "families",
        [one.name or one.family for one in lines],
        (
            ("错误", [one.errors for one in lines]),
            ("警告", [one.warnings for one in lines]),
            ("提示", [one.hints for one in lines]),
        ),
        lambda value: f"{value:,.0f}",
        stacked=True,
        description="各类问题按错误、警告、提示的条形图，数值见下表",
    )


def unit_label(unit: Unit) -> str:
    """The name of a department, else its code."""
    return unit.name or unit.unit


def pass_chart(content: ReportContent) -> str:
    """Share of lists that pass, of the departments with the most lists."""
    units = content.departments[:MOST_UNITS]
    return _bars(
        "pass",
        [unit_label(one) for one in units],
        (("通过率", [one.totals.pass_rate for one in units]),),
        percent,
        range=(0, 1),
        description="清单最多的科室的通过率条形图，数值见下表",
    )


def index_chart(content: ReportContent) -> str:
    """Both indices of the departments with the most lists."""
    units = [
        one for one in content.departments[:MOST_UNITS] if one.totals.cost_index or one.totals.time_index
    ]
    return _bars(
        "index",
        [unit_label(one) for one in units],
        (
            ("费用消耗指数", [one.totals.cost_index for one in units]),
            ("时间消耗指数", [one.totals.time_index for one in units]),
        ),
        lambda value: f"{value:.2f}",
        description="清单最多的科室的费用消耗指数和时间消耗指数条形图，数值见下表",
    )


def multiples_chart(content: ReportContent) -> str:
    """How many lists lie in each band of cost ÷ standard."""
    bands = content.multiples.bands
    if not any(one.lists for one in bands):
        return ""
    return _columns(
        "multiples",
        [one.label for one in bands],
        [one.lists for one in bands],
        description="各费用倍率段清单份数的柱形图，数值见下表",
    )


def payment_chart(content: ReportContent) -> str:
    """Expected payment beside cost, of the departments with the most cost."""
    units = [one for one in content.departments if one.totals.priced]
    units.sort(key=lambda one: (-one.totals.expected_cost, one.unit))
    units = units[:MOST_UNITS]
    return _bars(
        "payment",
        [unit_label(one) for one in units],
        (
            ("预计支付（万元）", [one.totals.expected / 1_000_000 for one in units]),
            ("费用（万元）", [one.totals.expected_cost / 1_000_000 for one in units]),
        ),
        lambda value: f"{value:,.1f}",
        description="费用最多的科室的预计支付与费用条形图，数值见下表",
    )


def complication_chart(content: ReportContent, level: str) -> str:
    """The diagnoses that counted most often at one level."""
    lines = [one for one in content.complications if one.level == level][:MOST_CODES]
    return _bars(
        f"complication-{level}",
        [one.name or one.code for one in lines],
        ((level, [one.lists for one in lines]),),
        lambda value: f"{value:,.0f}",
        width=HALF,
        description=f"使用最多的 {level} 的条形图，数值见下表",
    )
