"""What a report counts: rates, indices, bands; the same lists give the same bytes in flat memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from datetime import datetime
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.services.month.records import UNKNOWN, Record
from api.services.month.report.content import (
    GroupTotals,
    Origin,
    ReportContent,
    Totals,
    UsedPack,
    canonical,
    digest_of,
    read_content,
)
from api.services.month.report.making import Frame, make_content
from api.services.month.report.page import fragment, missing_payment
from api.services.month.report.summary import LEAST_STANDARD, Entry, Found, Summary
from models.grouping import Complication

ORIGIN = Origin(1, "batch", "2026-10.ndjson", "", "", 0)
PLAIN = Record(
    file=0, line=1, list_id="1", people=(), institution="H1", department="A03", doctor="D1", born=None,
    birth_weight=None, sex="1", age=50.0, admitted=None, discharged=datetime(2026, 10, 5), planned=False,
    admission_way="1", discharge_way="1", principal="I10.x00", drg="FU29", drg_name="高血压", adrg="FU2",
    mdc="MDCF", raising=(), mcc=0, cc=0, diagnoses=1, procedures=0, intensive_minutes=0, ventilation_minutes=0,
    stay=5, cost=100_000, value=UNKNOWN, without=UNKNOWN, without_drg="FU29", top=UNKNOWN, top_drg="",
    average_fee=None, multiple=None, against="", outlier="",
)  # fmt: skip
"""Of a made-up list."""


def entry(
    reason: str = "grouped", *, verdict: str = "可上传", findings: tuple[Found, ...] = (), **given_: object
) -> Entry:
    own = {"weight", "expected", "dip", "dip_score", "complications", "score"}
    mine = {name: value for name, value in given_.items() if name in own}
    record = msgspec.structs.replace(PLAIN, **{k: v for k, v in given_.items() if k not in own})
    values = {"score": 100, "weight": None, "expected": None, "dip": "", "dip_score": None, **mine}
    return Entry("1", verdict, reason=reason, record=record, findings=findings, **values)  # type: ignore[arg-type]


def content_of(entries: list[Entry], **given_: object) -> ReportContent:
    values = {
        "month": "2026-10",
        "region": "",
        "origin": ORIGIN,
        "packs": (),
        "files": ("批次 1",),
        "department_name": lambda code: {"A03": "内科"}.get(code, ""),
        "code_name": lambda code: f"名{code}",
        "with_study": False,
    }
    return make_content(Frame(**{**values, **given_}), ((one, []) for one in entries))  # type: ignore[arg-type]


def totals(*entries: Entry) -> Totals:
    return content_of(list(entries)).totals


def test_rates_are_shares_of_the_lists() -> None:
    it = totals(
        entry(verdict="可上传"),
        entry(verdict="需复核"),
        entry("ambiguous", verdict="需修改"),
        entry("no_mdc"),
    )
    assert (it.pass_rate, it.clean_rate) == (0.75, 0.5)
    assert (it.grouping_rate, it.ambiguous_rate, it.ungrouped_rate) == (0.5, 0.25, 0.25)
    assert it.grouped + it.ambiguous + it.ungrouped + it.unjudged == it.lists == 4


def test_lists_without_a_scheme_are_not_held_against_the_grouping_rate() -> None:
    it = totals(entry(), entry("no_scheme"))
    assert (it.grouping_rate, it.unjudged) == (1.0, 1)


def test_a_month_without_lists_has_no_rates() -> None:
    it = totals()
    assert (it.lists, it.pass_rate, it.grouping_rate, it.cmi, it.mean_cost, it.cost_index) == (0, *[None] * 5)
    assert it.balance is None


def test_the_case_mix_index_counts_only_grouped_lists_with_a_weight() -> None:
    it = totals(entry(weight=2.0), entry(weight=1.0), entry(weight=None), entry("no_mdc", weight=9.0))
    assert (it.cmi, it.weighted, it.weight) == (1.5, 2, 3.0)


def test_payment_is_compared_with_the_cost_of_the_same_lists() -> None:
    it = totals(entry(expected=90_000), entry(expected=None, cost=7), entry(expected=5, cost=None))
    assert (it.priced, it.expected, it.expected_cost, it.balance) == (1, 90_000, 100_000, -10_000)


def test_what_was_not_computed_says_why_and_what_to_do() -> None:
    payment = (UsedPack("drg-payment-x", "1", "drg-payment", "0" * 64),)
    assert "没有指定地区" in missing_payment(content_of([entry()]))
    assert "--region" in missing_payment(content_of([entry()], region="51"))
    assert missing_payment(content_of([entry()], packs=payment)).startswith("CMI、预计支付没有算出：所用的")
    assert missing_payment(content_of([entry(weight=1.0)])).startswith("预计支付没有算出")
    assert missing_payment(content_of([entry(weight=1.0, expected=5)])) == ""
    assert missing_payment(content_of([])) == ""
    assert "没有指定地区" in fragment(content_of([entry()]))
    assert content_of([entry()]).totals.payment is None


def test_an_accepted_finding_counts_for_nothing_but_itself() -> None:
    found = Found("CMP-001", "error", "缺项"), Found("CMP-001", "error", "缺项", accepted=True)
    content = content_of([entry(findings=found), entry(findings=found[1:])])
    assert (content.totals.errors, content.totals.accepted) == (1, 2)
    (family,), (rule,) = content.families, content.rules
    assert (family.family, family.name, family.lists, family.errors, family.accepted) == (
        "CMP",
        "完整性",
        1,
        1,
        2,
    )
    assert (rule.lists, rule.findings, rule.accepted) == (1, 3, 2)
    assert content.departments[0].families == {"CMP": 1}


def test_units_are_named_and_the_largest_stands_first() -> None:
    content = content_of([entry(department="B1"), entry(), entry(doctor="")])
    assert [(one.unit, one.name, one.totals.lists) for one in content.departments] == [
        ("A03", "内科", 2),
        ("B1", "", 1),
    ]
    assert [one.unit for one in content.doctors] == ["D1"]


def test_why_lists_have_no_group_is_said_in_words() -> None:
    content = content_of([entry("no_mdc"), entry("no_mdc"), entry("sex_conflict"), entry()])
    assert [(one.text, one.lists) for one in content.reasons] == [
        ("不符合任何 MDC 的规则", 2),
        ("性别与主要诊断不符", 1),
    ]


def test_a_multiple_on_a_limit_belongs_to_the_higher_band() -> None:
    given_ = [entry(multiple=one, against="支付标准") for one in (0.39, 0.4, 0.99, 1.0, 2.0, 3.0, 9.0)]
    bands = content_of([*given_, entry()]).multiples
    assert [(one.label, one.lists) for one in bands.bands] == [
        ("0.4 倍以下", 1), ("0.4–0.7 倍", 1), ("0.7–1 倍", 1), ("1–1.5 倍", 1), ("1.5–2 倍", 0), ("2–3 倍", 1),
        ("3 倍以上", 2),
    ]  # fmt: skip
    assert bands.against == ("支付标准",)


def test_a_complication_counts_once_a_list_and_not_when_excluded() -> None:
    found = (
        Complication("J96.000", "MCC"),
        Complication("J96.000", "MCC"),
        Complication("I50.900", "CC", excluded=True),
        Complication("E11.900", ""),
    )
    (line,) = content_of([entry(complications=found), entry()]).complications
    assert (line.code, line.name, line.level, line.lists, line.share) == (
        "J96.000",
        "名J96.000",
        "MCC",
        1,
        0.5,
    )


# --- the indices and their standards


def test_against_the_own_month_the_hospital_is_one_and_the_departments_differ() -> None:
    content = content_of([entry(cost=100), entry(cost=300, department="B1"), entry(drg="X", cost=7)])
    assert content.totals.cost_index == content.totals.time_index == 1.0
    assert {one.unit: one.totals.cost_index for one in content.departments} == {"A03": 0.75, "B1": 1.5}
    assert content.cost_standard.name == "本院本月同病组"


def test_published_fees_come_before_the_past_and_groups_without_a_standard_are_left_out() -> None:
    past = [GroupTotals("FU29", "", 9, None, None, 9, 9 * 50_000, 9, 9 * 10, 0, 0)]
    lists = [entry(), entry(drg="X", average_fee=50_000), entry(drg="Y")]
    content = content_of(lists, past_groups=past, past_name="2026-09")
    assert content.cost_standard.name == "公布的病组均次费用"
    assert (content.totals.cost_index, content.totals.cost_index_lists) == (2.0, 1)
    assert (content.totals.time_index, content.totals.time_index_lists) == (0.5, 1)
    assert content.time_standard.name == "本院 2026-09 同病组"


def test_a_group_that_was_rare_in_the_past_is_no_standard() -> None:
    rare = LEAST_STANDARD - 1
    past = [GroupTotals("FU29", "", rare, None, None, rare, rare * 50_000, rare, rare * 10, 0, 0)]
    content = content_of([entry()], past_groups=past, past_name="2026-09")
    assert content.cost_standard.name == "本院本月同病组"
    months = content_of([entry()], past_groups=past * 2, past_name="2026-08 至 2026-09")
    assert months.totals.cost_index == 2.0


GROUPS = st.lists(
    st.tuples(st.sampled_from("ABC"), st.integers(1, 10**7), st.integers(1, 60)), min_size=1, max_size=30
)


@given(GROUPS, st.fixed_dictionaries({drg: st.integers(1, 10**7) for drg in "AB"}))
def test_the_index_is_the_mean_of_group_ratios_weighted_by_lists(
    lists: list[tuple[str, int, int]], fees: dict[str, int]
) -> None:
    given_ = [entry(drg=drg, cost=cost, stay=stay, average_fee=fees.get(drg)) for drg, cost, stay in lists]
    it = totals(*given_)
    known = [(drg, cost) for drg, cost, _ in lists if drg in fees]
    if not known:
        assert it.cost_index == 1.0  # against the month itself
        return
    total = 0.0
    for drg in {drg for drg, _ in known}:
        costs = [cost for other, cost in known if other == drg]
        total += len(costs) * (sum(costs) / len(costs) / fees[drg])
    assert it.cost_index == pytest.approx(total / len(known), rel=1e-5)
    assert it.cost_index_lists == len(known)


# --- one form, flat memory


def test_the_same_lists_give_the_same_bytes_and_reading_them_back_too() -> None:
    lists = [entry(weight=1, doctor=f"D{number}") for number in range(5)]
    body = canonical(content_of(lists))
    assert body == canonical(content_of(lists)) == canonical(read_content(body))
    assert digest_of(body) != digest_of(canonical(content_of(lists[1:])))
    assert list(msgspec.json.decode(body)) == sorted(msgspec.json.decode(body))


def _peak(count: int) -> int:
    def lists() -> Iterator[Entry]:
        rng = Random(1)  # noqa: S311 -- made-up data
        for number in range(count):
            doctor, drg = f"D{number % 20}", f"G{number % 30}"
            yield entry(doctor=doctor, drg=drg, list_id=str(number), cost=rng.randrange(1, 10**6))

    summary = Summary()
    tracemalloc.start()
    for one in lists():
        summary.add(one)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_number_of_lists() -> None:
    few, many = _peak(2_000), _peak(20_000)
    assert many < 2 * few
