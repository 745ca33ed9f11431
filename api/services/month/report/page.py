"""Writes a report as HTML: the part that stands in a page, and a whole file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from api.services.month.report import charts
from api.services.month.report.content import ReportContent
from api.services.month.report.definitions import DEFINITIONS

FOLDER = Path(__file__).resolve().parent / "templates"
STYLE = FOLDER / "report.css"
PAPER = FOLDER / "paper.css"
SHOWN_UNITS = 30
SHOWN_RULES = 25
SHOWN_GROUPS = 30
SHOWN_ROWS = 40
"""Rows that the page shows; workbook and JSON hold all of the report."""


@dataclass(frozen=True)
class Seal:
    """What a sealed report carries beside its content. ``superseded_by``: the later report, 0 for none."""

    number: int
    digest: str
    sealed_at: datetime
    sealed_by: str
    supersedes: int = 0
    why: str = ""
    superseded_by: int = 0


@cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "percent": percent,
        "yuan": yuan,
        "wan": wan,
        "number": number,
        "signed_wan": signed_wan,
        "when": when,
    }
    return made


def percent(value: float | None) -> str:
    """0.9534 → 95.3%; — where there is none."""
    return "—" if value is None else f"{value:.1%}"


def yuan(fen: float | None) -> str:
    """Fen as yuan with two decimals."""
    return "—" if fen is None else f"{fen / 100:,.2f}"


def wan(fen: float | None) -> str:
    """Fen as 万元."""
    return "—" if fen is None else f"{fen / 1_000_000:,.2f}"


def signed_wan(fen: float | None) -> str:
    """Fen as 万元 with its sign."""
    return "—" if fen is None else f"{fen / 1_000_000:+,.2f}"


def number(value: float | None, digits: int = 2) -> str:
    """A number with thousands set apart."""
    return "—" if value is None else f"{value:,.{digits}f}"


def when(instant: datetime) -> str:
    """An instant as the clock on the wall shows it."""
    return f"{instant.astimezone():%Y-%m-%d %H:%M}"


def missing_payment(content: ReportContent) -> str:
    """Why there is no CMI or no payment, and what to do (Chinese); "" where both are there."""
    lacking = [
        name
        for name, value in (("CMI", content.totals.cmi), ("预计支付", content.totals.payment))
        if value is None
    ]
    if not lacking or not content.totals.grouped:
        return ""
    said = "、".join(lacking)
    if any(one.kind == "drg-payment" for one in content.packs):
        return f"{said}没有算出：所用的支付数据包没有这些病组的权重或标准"
    where = f"（地区 {content.region}）" if content.region else "（没有指定地区）"
    return (
        f"{said}没有算出：没有适用的支付数据包{where}；"
        "请用 --region（或设置 QINGDAN_REGION）或 --payment 指定后重新质控"
    )


def fragment(content: ReportContent, seal: Seal | None = None, links: Mapping[str, str] | None = None) -> str:
    """The report as HTML without head and body. ``links``: addresses of ``rules`` and ``worklist``, if any."""
    return _environment().get_template("report.html").render(**_values(content, seal, links or {}))


def standalone(content: ReportContent, seal: Seal | None = None) -> str:
    """The report as one HTML file: style and drawings inside, no script, nothing loaded from anywhere."""
    style = PAPER.read_text(encoding="utf-8") + STYLE.read_text(encoding="utf-8")
    values = _values(content, seal, {})
    return _environment().get_template("standalone.html").render(style=style, **values)


def _values(content: ReportContent, seal: Seal | None, links: Mapping[str, str]) -> dict[str, Any]:
    study = content.study
    return {
        "content": content,
        "totals": content.totals,
        "seal": seal,
        "links": {"rules": "", "worklist": "", **links},
        "trend_charts": charts.trend_charts(content),
        "family_chart": charts.family_chart(content),
        "pass_chart": charts.pass_chart(content),
        "index_chart": charts.index_chart(content),
        "multiples_chart": charts.multiples_chart(content),
        "payment_chart": charts.payment_chart(content),
        "complication_charts": [
            (level, charts.complication_chart(content, level)) for level in ("MCC", "CC")
        ],
        "families": _most_families(content),
        "flagged": [one for one in study.comparisons if one.flagged] if study else [],
        "missing_payment": missing_payment(content),
        "definitions": DEFINITIONS,
        "units": SHOWN_UNITS,
        "rules": SHOWN_RULES,
        "groups": SHOWN_GROUPS,
        "rows": SHOWN_ROWS,
    }


def _most_families(content: ReportContent) -> Sequence[tuple[str, str]]:
    """The families that concern most lists, as columns of the tables by department and doctor."""
    order = sorted(content.families, key=lambda one: (-one.lists, one.family))
    return [(one.family, one.name or one.family) for one in order if one.lists][:6]
