"""DRG payment: every rule worked by hand, nothing without its parameter, the tables of a bureau."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st

from api.services.packs import Candidate, ImportRefusedError, install, prepare
from grouper.parameters import DRG_PARAMETERS, Parameter, Parameters, fault_of, point_value
from grouper.payment import DrgPayment, DrgPlan, DrgTariff, Thresholds, load_drg_plan, pay_case
from grouper.worksheet import Billing, decimal, fen, rounded
from models.grouping import Case, GroupResult
from models.pack import PackStore

PLAN = [
    ("base_rate", "", "三级", "职工", "10000"),
    ("base_rate", "", "三级", "居民", "8000"),
    ("base_rate", "", "", "职工", "9000"),
    ("hospital_coefficient", "", "三级", "", "1.1"),
    ("hospital_coefficient", "", "二级", "", "0.9"),
    ("hospital_coefficient", "H1", "", "", "1.2"),
    ("insurance_coefficient", "", "", "", "1"),
    ("basic_same_rate", "", "", "", "是"),
    ("low_ratio", "", "", "", "0.4"),
    ("low_payment", "", "", "", "按费用"),
    ("high_ratio", "", "", "", "3"),
    ("high_share", "", "", "", "0.7"),
    ("long_stay_days", "", "", "", "60"),
    ("long_stay_payment", "", "", "", "按费用"),
]
TARIFFS = {
    "AA19": DrgTariff(Fraction("2.5"), 2_600_000),
    "BB11": DrgTariff(Fraction(1), None, 1_500_000),
    "CC15": DrgTariff(Fraction("0.3333")),
    "DD19": DrgTariff(None, 900_000),
}


def pay(
    drg: str = "AA19",
    cost: str | None = "27500",
    *,
    level: str = "三级",
    insurance: str = "职工",
    hospital: str = "",
    stay: int | None = 10,
    changed: dict[str, str] | None = None,
    without: tuple[str, ...] = (),
    thresholds: Thresholds | None = None,
    marks: tuple[str, ...] = (),
) -> DrgPayment:
    rows = [row for row in PLAN if row[0] not in without and row[0] not in (changed or {})]
    rows += [(name, "", "", "", value) for name, value in (changed or {}).items()]
    parameters = Parameters(
        Parameter(name, DRG_PARAMETERS[name], key, of, kind, value, "", "虚构示例")
        for name, key, of, kind, value in rows
    )
    plan = DrgPlan(
        TARIFFS, parameters, {drg: thresholds} if thresholds else {}, {drg: marks} if marks else {}
    )
    group = GroupResult(drg, "某组", drg[:1], drg[:3], "grouped", "入组")
    billing = Billing(None if cost is None else fen(cost), hospital, level, insurance)
    return pay_case(group, Case(("A00.000x001",), length_of_stay=stay), billing, plan)


CASES: list[tuple[str, dict[str, Any], str, str, str]] = [
    # what is shown, how it is asked, standard, kind of case, expected payment
    ("2.5 × 10000 × 1.1 = 27500", {}, "27500.00", "normal", "27500.00"),
    ("居民费率 2.5 × 8000 × 1.1 = 22000", {"insurance": "居民", "cost": "20000"}, "22000.00", "normal", "22000.00"),
    ("二级没有单独费率，用职工的 9000 × 2.5 × 0.9 = 20250", {"level": "二级"}, "20250.00", "normal", "20250.00"),
    ("本院系数 2.5 × 10000 × 1.2 = 30000", {"hospital": "H1"}, "30000.00", "normal", "30000.00"),
    ("公布的标准 15000 × 1.1 = 16500", {"drg": "BB11", "cost": "15000"}, "16500.00", "normal", "16500.00"),
    ("0.3333 × 10000 × 1.1 = 3666.30", {"drg": "CC15", "cost": "3000"}, "3666.30", "normal", "3666.30"),
    ("低倍率 10999.99 < 0.4 × 27500 = 11000，按费用", {"cost": "10999.99"}, "27500.00", "low", "10999.99"),
    ("恰为 11000 不算低", {"cost": "11000"}, "27500.00", "normal", "27500.00"),
    ("低倍率按标准", {"cost": "100", "changed": {"low_payment": "按标准"}}, "27500.00", "low", "27500.00"),
    ("恰为 3 × 27500 = 82500 不算高", {"cost": "82500"}, "27500.00", "normal", "27500.00"),
    ("高倍率 27500 + (92500 − 82500) × 0.7 = 34500", {"cost": "92500"}, "27500.00", "high", "34500.00"),
    ("高倍率到分 27500 + 0.01 × 0.7 = 27500.007 → 27500.01", {"cost": "82500.01"}, "27500.00", "high", "27500.01"),
    ("不设高倍率", {"cost": "200000", "changed": {"high_ratio": "无"}}, "27500.00", "normal", "27500.00"),
    ("超长住院 61 天按费用", {"cost": "200000", "stay": 61}, "27500.00", "long_stay", "200000.00"),
    ("恰为 60 天不算超长", {"stay": 60}, "27500.00", "normal", "27500.00"),
    ("不设超长住院", {"stay": 500, "changed": {"long_stay_days": "无"}}, "27500.00", "normal", "27500.00"),
    ("基础病组不乘系数 2.5 × 10000", {"marks": ("基础病组",)}, "25000.00", "normal", "25000.00"),
    ("基础病组仍乘系数", {"marks": ("基础病组",), "changed": {"basic_same_rate": "无"}}, "27500.00", "normal", "27500.00"),
    ("稳定病组只是标记", {"marks": ("稳定病组",)}, "27500.00", "normal", "27500.00"),
    (
        "病组自己的倍率 0.9 × 27500 = 24750 > 24000",
        {"cost": "24000", "thresholds": Thresholds(Fraction("0.9"))},
        "27500.00",
        "low",
        "24000.00",
    ),
    (
        "病组自己的金额界限 27500 + (50000 − 40000) × 0.7",
        {"cost": "50000", "thresholds": Thresholds(low_amount=500_000, high_amount=4_000_000)},
        "27500.00",
        "high",
        "34500.00",
    ),
    ("没有费用不判断倍率", {"cost": None}, "27500.00", "", "27500.00"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("working", "asked", "standard", "outlier", "expected"), CASES, ids=[row[0] for row in CASES]
)
def test_hand_worked_payment(
    working: str, asked: dict[str, Any], standard: str, outlier: str, expected: str
) -> None:
    paid = pay(**asked)
    assert (str(paid.standard), paid.outlier, str(paid.expected)) == (standard, outlier, expected), working
    assert paid.missing == ()
    if paid.cost is not None and paid.expected is not None:
        assert paid.balance == paid.expected - paid.cost


@pytest.mark.parametrize("name", [name for name in DRG_PARAMETERS if name not in ("basic_same_rate",)])
def test_without_a_parameter_there_is_no_amount_and_its_name_is_said(name: str) -> None:
    cost, stay = "27500", 10
    if name in ("low_payment",):
        cost = "100"
    if name == "high_share":
        cost = "92500"
    if name == "long_stay_payment":
        stay = 61
    paid = pay(cost=cost, stay=stay, without=(name,))
    assert paid.expected is None
    assert paid.balance is None
    assert f"缺少参数 {name}（{DRG_PARAMETERS[name]}）" in "".join(paid.missing)


def test_a_basic_group_needs_to_know_how_it_is_treated() -> None:
    assert "basic_same_rate" in "".join(pay(marks=("基础病组",), without=("basic_same_rate",)).missing)
    assert pay(without=("basic_same_rate",)).missing == ()


def test_what_the_tables_lack_is_said() -> None:
    assert "权重表没有 ZZ99" in "".join(pay("ZZ99").missing)
    assert "DD19 没有权重，也没有支付标准" in "".join(pay("DD19").missing)
    assert "没有住院天数" in "".join(pay(stay=None).missing)
    assert pay("DD19").average_fee == Decimal("9000.00")


def test_every_parameter_of_the_calculation_has_its_source() -> None:
    steps = {step.item: step for step in pay(cost="92500").steps}
    assert (steps["费率（元）"].text, steps["费率（元）"].source) == ("三级、职工", "虚构示例")
    assert steps["高倍率支付（元）"].text == "支付标准 + 超出部分 × 0.7"
    assert steps["病例类型"].text == "费用 92500.00 元，高于支付标准的 3.0000 倍"


@pytest.mark.parametrize("pack_id", ["liaocheng-2025", "sichuan-2024", "linyi-2022", "guangxi-yulin-2022"])
def test_the_shipped_tables_have_no_invented_rates(pack_id: str) -> None:
    plan = load_drg_plan(PackStore().get(pack_id))
    assert plan.parameters.all() == ()
    drg = next(iter(plan.tariffs))
    group = GroupResult(drg, "", drg[:1], drg[:3], "grouped", "入组")
    paid = pay_case(group, Case(("A00.000x001",)), Billing(100_000, "", "三级", "职工"), plan)
    assert paid.expected is None
    assert paid.missing
    assert paid.weight is not None


def test_rounding_is_half_up() -> None:
    assert [str(decimal(Fraction(text), 2)) for text in ("0.005", "1.004", "-0.005", "2.675")] == [
        "0.01",
        "1.00",
        "-0.01",
        "2.68",
    ]
    assert fen("12.345") == 1235
    assert rounded(Fraction(1, 3), 4) == Fraction(3333, 10000)
    assert point_value(12_500_000, Fraction(10_000)) == Fraction(25, 2)


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("base_rate", "10000", ""),
        ("base_rate", "-1", "合理的非负数字"),
        ("base_rate", "1e400", "合理的非负数字"),
        ("base_rate", "NaN", "合理的非负数字"),
        ("base_rate", "一万", "应为数字"),
        ("base_rate", "无", "应为数字"),
        ("low_ratio", "无", ""),
        ("low_payment", "随便", "按费用、按标准 之一"),
        ("rate", "1", "不认识的参数"),
    ],
)
def test_a_parameter_is_checked(name: str, value: str, fault: str) -> None:
    found = fault_of(name, value, DRG_PARAMETERS)
    assert (fault in found) if fault else found == ""


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 10**11),
    st.sampled_from(["三级", "二级", "一级", ""]),
    st.sampled_from(["职工", "居民", ""]),
    st.none() | st.integers(0, 10**6),
    st.sampled_from([*TARIFFS, "0000", ""]),
)
def test_there_is_an_amount_or_a_reason(
    cost: int, level: str, insurance: str, stay: int | None, drg: str
) -> None:
    paid = pay(drg, f"{cost // 100}.{cost % 100:02}", level=level, insurance=insurance, stay=stay)
    assert (paid.expected is None) is bool(paid.missing)


# ---- tables of a bureau

FIELDS: dict[str, object] = {
    "id": "city-drg-2026",
    "kind": "drg-payment",
    "name": "某市 DRG 2026",
    "publisher": "某市医疗保障局",
    "document": "某市文件",
    "version": "1",
    "region": "9999",
    "requires": {"drg-scheme": "chs-drg-2.0"},
}


def take(path: Path, headers: dict[str, str] | None = None, store: PackStore | None = None) -> Candidate:
    return prepare(path, FIELDS, store or PackStore(), headers)


def write(path: Path, sheets: dict[str, list[list[object]]]) -> Path:
    workbook = xlsxwriter.Workbook(str(path), {"strings_to_formulas": False})
    for name, rows in sheets.items():
        sheet = workbook.add_worksheet(name)
        for number, row in enumerate(rows):
            sheet.write_row(number, 0, row)
    workbook.close()
    return path


HEADER: list[object] = [
    "序号",
    "DRG组编码",
    "DRG组名称",
    "权重",
    "次均费用",
    "低倍率",
    "高倍率",
    "基础病组",
    "稳定病组",
]
SHEETS: dict[str, list[list[object]]] = {
    "权重表": [
        ["某市 2026 年 DRG 权重"],
        HEADER,
        [1, "AB19", "肝移植", 30.5, "210,000.5", 0.4, 2, "", "是"],
        [2, "ES35", "肺炎", 0.7, 6000, "40%", 3, "是", "否"],
    ],
    "费率": [
        ["医院等级", "险种", "费率", "医疗机构系数"],
        ["三级", "职工", 10000, 1.1],
        ["三级", "居民", 8000, 1.1],
        ["二级", "职工", 9000, 1],
    ],
    "其他参数": [
        ["参数", "值", "来源"],
        ["insurance_coefficient", 1, "某市文件第三条"],
        ["high_share", 0.7, "某市文件第五条"],
    ],
}


def test_a_bureaus_workbook_gives_weights_rates_thresholds_and_marks(tmp_path: Path) -> None:
    store = PackStore(site=tmp_path / "packs")
    install(store, take(write(tmp_path / "a.xlsx", SHEETS), store=store))
    plan = load_drg_plan(store.get("city-drg-2026"))
    assert plan.tariffs["AB19"] == DrgTariff(Fraction("30.5"), 21_000_050)
    assert plan.thresholds["ES35"] == Thresholds(Fraction("0.4"), Fraction(3))
    assert plan.marks == {"AB19": ("稳定病组",), "ES35": ("基础病组",)}
    rate = plan.parameters.find("base_rate", hospital_level="三级", insurance="居民")
    assert rate is not None
    assert (rate.value, rate.source) == ("8000", "a.xlsx 工作表“费率” 第 3 行")
    coefficient = plan.parameters.find("hospital_coefficient", hospital_level="二级")
    assert coefficient is not None
    assert coefficient.number == 1


def test_a_csv_with_chinese_headers_is_read_and_one_with_ours_as_well(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("病组编码,病组权重,支付标准\nAB19,30.5,\nES35,0.7,6000\n".encode("gb18030"))
    expected = [("AB19", "30.5", "", ""), ("ES35", "0.7", "", "6000")]
    assert take(path).tables["weights"][2] == expected
    path.write_text("drg,weight,average_fee,standard\nAB19,30.5,,\nES35,0.7,,6000\n", encoding="utf-8")
    assert take(path).tables["weights"][2] == expected
    path.write_text("组,分\nAB19,30.5\n", encoding="utf-8")
    assert take(path, {"drg": "组", "weight": "分"}).tables["weights"][2] == expected[:1]


def test_all_faults_of_a_bureaus_workbook_are_listed(tmp_path: Path) -> None:
    sheets = {name: [list(row) for row in rows] for name, rows in SHEETS.items()}
    sheets["权重表"] += [
        [3, "AB19", "又一次", 1, 1, "", "", "", ""],
        [4, "阑尾", "", "重", "", "", "", "", ""],
        [5, "FF15", "", 1, "", 3, 0.4, "不知", ""],
    ]
    sheets["费率"].append(["三级", "职工", 12000, 1.1])
    sheets["其他参数"].append(["low_ratio", "半", "某市文件"])
    with pytest.raises(ImportRefusedError) as refused:
        take(write(tmp_path / "a.xlsx", sheets))
    text = "\n".join(refused.value.faults)
    for wanted in (
        "“AB19”与第 3 行重复",
        "第 6 行 DRG组编码 列（B6 单元格）：“阑尾”不是 DRG 编码",
        "第 6 行 权重 列（D6 单元格）：“重”不是非负数字",
        "第 7 行 基础病组 列（H7 单元格）：“不知”应为 是 或 否",
        "FF15 的低界限 3 大于高界限 0.4",
        "base_rate 三级 职工 有两个值 10000 和 12000",
        "参数 low_ratio 的值“半”应为数字",
    ):
        assert wanted in text, text
