"""The report as a workbook: everything that its content holds, one sheet for each question."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from api.services.month.figures import in_yuan
from api.services.month.report.content import CLASSES, ReportContent, Totals, Unit
from api.services.month.report.definitions import DEFINITIONS
from api.services.month.report.page import Seal, missing_payment, pack_kind, review_note, when
from api.services.month.workbook import Cell, Sheet, compared_sheets, write_book
from models.report import SEVERITY_LABELS

_TOTALS = (
    "清单", "通过率", "可上传率", "平均分", "错误", "警告", "提示", "已接受", "入组", "QY", "0000", "无方案", "入组率", "QY率",
    "0000率", "DRG 组数", "总权重", "CMI", "有费用的清单", "费用（元）", "均次费用（元）", "住院日", "平均住院日", "费用消耗指数",
    "参加费用指数", "时间消耗指数", "参加时间指数", "算出支付的清单", "预计支付（元）", "这些清单的费用（元）", "结余（元）",
    "DIP 入组", "DIP 分值", "跨清单线索", "有跨清单线索的清单", "来源问题", "不计来源问题的通过率",
)  # fmt: skip


def write_report(path: Path, content: ReportContent, seal: Seal | None = None) -> None:
    """Write the report as xlsx. The same content and seal give the same bytes."""
    write_book(path, _sheets(content, seal))


def _sheets(content: ReportContent, seal: Seal | None) -> Iterator[Sheet]:
    yield "概况", ("项目", "值"), _overview(content, seal)
    yield (
        "走势",
        ("月份", "月报编号", *_TOTALS, "费用指数的标准", "时间指数的标准"),
        (
            (one.month, one.report or None, *_totals(one.totals), one.cost_standard, one.time_standard)
            for one in content.trend
        ),
    )
    families = [one.family for one in content.families]
    names = [f"{one.name or one.family}（清单）" for one in content.families]
    for title, units in (("科室", content.departments), ("医师", content.doctors)):
        yield title, ("代码", "名称", *_TOTALS, *names), (_unit(one, families) for one in units)
    yield (
        "问题类别",
        ("类别", "名称", "涉及清单", "错误", "警告", "提示", "跨清单线索", "已接受"),
        (
            (one.family, one.name, one.lists, one.errors, one.warnings, one.hints, one.across, one.accepted)
            for one in content.families
        ),
    )
    yield (
        "规则",
        ("规则", "问题", "级别", "涉及清单", "项数", "已接受", "类"),
        (
            (one.rule, one.title, SEVERITY_LABELS[one.severity], one.lists, one.findings, one.accepted,
             CLASSES[one.kind])
            for one in content.rules
        ),
    )  # fmt: skip
    yield (
        "来源问题",
        ("规则", "问题", "字段", "级别", "涉及清单", "项数"),
        (
            (one.rule, one.title, one.field, SEVERITY_LABELS[one.severity], one.lists, one.findings)
            for one in content.source_problems
        ),
    )
    yield "未入组原因", ("原因", "清单"), ((one.text, one.lists) for one in content.reasons)
    yield (
        "病组",
        (
            "DRG", "名称", "例数", "权重", "均次费用（元）", "平均住院日", "公布的均次费用（元）", "预计支付（元）", "费用（元）",
            "结余（元）",
        ),
        (
            (one.drg, one.name, one.lists, one.weight, in_yuan(one.mean_cost), _rounded(one.mean_stay),
             in_yuan(one.average_fee), in_yuan(one.expected), in_yuan(one.expected_cost),
             in_yuan(one.expected - one.expected_cost))
            for one in content.groups
        ),
    )  # fmt: skip
    yield (
        "费用倍率",
        ("倍率", "清单", "费用（元）"),
        ((one.label, one.lists, in_yuan(one.cost)) for one in content.multiples.bands),
    )
    yield (
        "MCC和CC",
        ("诊断", "名称", "级别", "清单", "占入组清单"),
        ((one.code, one.name, one.level, one.lists, one.share) for one in content.complications),
    )
    yield (
        "编码修改",
        (
            "清单", "科室", "原版本", "现版本", "原主要诊断", "现主要诊断", "原主要手术操作", "现主要手术操作", "增加的诊断",
            "减少的诊断", "增加的手术操作", "减少的手术操作",
        ),
        (
            (one.list_id, one.department, one.first_version, one.version, *one.principal, *one.main_procedure,
             "、".join(one.diagnoses_added), "、".join(one.diagnoses_removed), "、".join(one.procedures_added),
             "、".join(one.procedures_removed))
            for one in content.coding.lines
        ),
    )  # fmt: skip
    yield from _study(content)
    yield "口径", ("指标", "算法", "来源或注意"), DEFINITIONS
    yield (
        "数据包",
        ("数据包", "版本", "种类", "SHA-256"),
        ((one.id, one.version, pack_kind(one.kind), one.digest) for one in content.packs),
    )


def _study(content: ReportContent) -> Iterator[Sheet]:
    study = content.study
    if study is None:
        return
    yield from compared_sheets(study.comparisons)
    yield (
        "跨清单",
        ("清单", "批次中的序号", "另一清单", "规则", "问题", "说明", "建议", "依据"),
        (
            (one.list_id, one.line, one.other_id, one.finding.rule, one.finding.title, one.finding.message,
             one.finding.advice, one.finding.basis)
            for one in study.cross_findings
        ),
    )  # fmt: skip
    yield (
        "残差候选",
        ("清单", "批次中的序号", "对象", "科室", "医师", "DRG", "实际", "期望", "比值", "偏离（标准差）", "说明"),
        (
            (one.list_id, one.line, one.target, one.department, one.doctor, one.drg, one.actual, one.expected,
             one.ratio, one.deviations, one.text)
            for one in study.candidates
        ),
    )  # fmt: skip
    yield (
        "复核排序",
        (
            "名次", "清单", "批次中的序号", "科室", "医师", "DRG", "方向", "影响（权重）", "影响（元）", "影响说明", "证据强度",
            "得分", "证据", "怎样排除",
        ),
        chain(
            (
                (one.rank, one.list_id, one.line, one.department, one.doctor, one.drg, one.direction,
                 one.effect_weight, one.effect_yuan, one.effect_text, one.strength, one.score,
                 "\n".join(f"{found.kind}（{found.strength:g}）：{found.text}" for found in one.evidence), one.clears)
                for one in study.reviews
            ),
            [(None, f"说明：{note}") for note in (review_note(content),) if note],
        ),
    )  # fmt: skip


def _overview(content: ReportContent, seal: Seal | None) -> list[Sequence[Cell]]:
    rows: list[Sequence[Cell]] = [
        ("月份", content.month),
        ("医疗机构", "、".join(content.institutions)),
        ("统筹地区", content.region),
        ("出院日期", content.period),
        ("不是本月出院的清单", content.elsewhere),
        ("批次", content.origin.run),
        ("没有读出清单的行", content.origin.rejected - content.origin.rejected_files),
        ("无法读取的文件", content.origin.rejected_files),
    ]
    if seal:
        rows += [
            ("封存编号", seal.number),
            ("封存人", seal.sealed_by),
            ("封存时间", when(seal.sealed_at)),
            ("SHA-256", seal.digest),
        ]
        if seal.supersedes:
            rows.append(("取代", seal.supersedes))
        if seal.why:
            rows.append(("理由", seal.why))
        if seal.superseded_by:
            rows.append(("已被取代", seal.superseded_by))
    else:
        rows.append(("封存", "未封存"))
    if content.origin.trial:
        rows.append(("试算", f"{content.origin.trial}；不代表这个月，不能封存"))
    rows += zip(_TOTALS, _totals(content.totals), strict=True)
    rows += [
        ("费用指数的标准", f"{content.cost_standard.name}：{content.cost_standard.text}"),
        ("时间指数的标准", f"{content.time_standard.name}：{content.time_standard.text}"),
        ("费用倍率高于当地界限", content.multiples.high),
        ("费用倍率低于当地界限", content.multiples.low),
        ("有多个版本的清单", content.coding.changed),
        ("改了编码的清单", content.coding.recoded),
    ]
    if content.study:
        for level, number in content.study.tested.items():
            rows += [(f"{level}比较次数", number), (f"{level}提示数", content.study.flagged[level])]
    if missing := missing_payment(content):
        rows.append(("说明", missing))
    if note := review_note(content):
        rows.append(("说明", note))
    return rows + [("说明", note) for note in content.notes]


def _unit(unit: Unit, families: Sequence[str]) -> Sequence[Cell]:
    return (
        unit.unit,
        unit.name,
        *_totals(unit.totals),
        *(unit.families.get(family, 0) for family in families),
    )


def _totals(it: Totals) -> tuple[Cell, ...]:
    return (
        it.lists, it.pass_rate, it.clean_rate, it.score, it.errors, it.warnings, it.hints, it.accepted, it.grouped,
        it.ambiguous, it.ungrouped, it.unjudged, it.grouping_rate, it.ambiguous_rate, it.ungrouped_rate, it.groups,
        it.weight, it.cmi, it.cost_lists, in_yuan(it.cost), in_yuan(it.mean_cost), it.days, _rounded(it.mean_stay),
        it.cost_index, it.cost_index_lists, it.time_index, it.time_index_lists, it.priced, in_yuan(it.payment),
        in_yuan(it.expected_cost if it.priced else None), in_yuan(it.balance), it.dip_grouped, it.dip_score,
        it.across, it.across_lists, it.source, it.pass_rate_besides,
    )  # fmt: skip


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
