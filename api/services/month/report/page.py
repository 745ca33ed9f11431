"""Writes a report as HTML: the part that stands in a page, and a whole file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from api.services.month.figures import percent
from api.services.month.ranking import DOWN
from api.services.month.report import charts
from api.services.month.report.content import ReportContent
from api.services.month.report.definitions import DEFINITIONS
from api.services.month.result import LEAST_LISTS

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
        "pack_kind": pack_kind,
    }
    return made


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


PACK_KINDS: Mapping[str, str] = {
    "program": "程序",
    "rules": "规则",
    "icd10": "疾病诊断编码",
    "icd9cm3": "手术操作编码",
    "drg-scheme": "DRG 分组方案",
    "drg-payment": "DRG 支付数据",
    "dip-catalogue": "DIP 病种目录",
    "dip-payment": "DIP 支付数据",
    "comorbidity-index": "合并症指数",
    "value-domains": "值域",
    "coding-terms": "编码词语",
    "charge-rules": "收费规则",
    "evidence": "诊疗依据",
    "procedure-indications": "手术适应证",
    "sex-restricted": "性别限制",
    "demo-case-mix": "演示病例",
}
"""Kinds of packs as people call them; one that is not here keeps its own name."""


def pack_kind(kind: str) -> str:
    """The kind of a pack in Chinese."""
    return PACK_KINDS.get(kind, kind)


def review_note(content: ReportContent) -> str:
    """Why the ranking holds few lists that may be coded too low (Chinese); "" where models speak of cost."""
    if content.study is None or any(one.target == "费用" for one in content.study.models):
        return ""
    some = any(one.direction == DOWN for one in content.study.reviews)
    left = "只凭规则线索" if some else "没有线索"
    return (
        f"可能漏编一侧{left}：已分组的清单不足 {LEAST_LISTS} 份，没有学习费用的期望，"
        "不能从费用高于期望看出漏编"
    )


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
        "common_rules": [one for one in content.rules if one.kind != "source"],
        "missing_payment": missing_payment(content),
        "review_note": review_note(content),
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
