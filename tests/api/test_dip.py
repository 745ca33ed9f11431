"""DIP and payment through the command line and the interface: lists, files, what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.cli import run
from api.services.check import Checker
from api.services.dip import DipDesk, read_cost
from grouper.worksheet import Billing
from models.grouping import Case
from models.pack import Pack, PackError, PackStore
from tests.api.problems import assert_problem

CASE: dict[str, Any] = {"diagnoses": ["D34.x00"], "procedures": ["06.4x00"], "age": 50}
PATHS = ("dip/group", "dip/explain", "dip/score", "payment")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QINGDAN_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_settlement_list_is_grouped_and_priced_with_its_own_costs(
    client: httpx.Client, example: dict[str, Any]
) -> None:
    found = client.post("/api/v1/dip/group?region=99", json=example).json()
    assert found["code"] == "K35.8:47.0100"
    assert [one["used"] for one in found["procedures"]] == ["47.0100"]
    asked = "region=99&hospital_level=三级&insurance=职工"
    score = client.post(f"/api/v1/dip/score?{asked}", json=example).json()
    assert score["cost"] is not None
    assert score["missing"] == []
    assert float(score["amount"]) > 0
    paid = client.post(f"/api/v1/payment?{asked}", json={"infno": "4101", "input": example}).json()
    assert paid["group"]["code"] == "GE29"
    assert paid["payment"]["expected"] == "12159.84"


def test_the_explanation_through_the_interface_is_that_of_the_command_line(
    client: httpx.Client, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = client.post("/api/v1/dip/explain", json=CASE).json()["text"]
    assert (
        run(["dip", "group", "--dx", "D34.x00", "--procedures", "06.4x00", "--age", "50", "--explain"]) == 0
    )
    assert capsys.readouterr().out.strip() == text


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({**CASE, "cost": -1}, "cost"),
        ({**CASE, "cost": "一万"}, "cost"),
        ({**CASE, "level": "三级"}, "没有这个字段"),
        ({"procedures": []}, "diagnoses"),
        ({**CASE, "diagnoses": ["A" * 65]}, "diagnoses"),
    ],
)
def test_a_wrong_field_is_named(client: httpx.Client, path: str, body: dict[str, Any], fault: str) -> None:
    response = client.post(f"/api/v1/{path}", json=body)
    assert_problem(response, "invalid-request")
    assert fault in response.json()["detail"]


@pytest.mark.parametrize("path", PATHS)
def test_what_is_no_json_is_refused(client: httpx.Client, path: str) -> None:
    response = client.post(f"/api/v1/{path}", content=b"{", headers={"Content-Type": "application/json"})
    assert_problem(response, "invalid-json")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("dip/group?catalogue=nothing", "没有数据包 nothing"),
        ("dip/group?catalogue=chs-drg-2.0", "这里应为 dip-catalogue"),
        ("dip/score?catalogue=dip-national&payment=dip-payment-demo", "依据的目录是 dip-demo"),
        ("payment", "没有适用于全国的 drg-payment 数据包"),
        ("payment?payment=linyi-2022&scheme=chs-drg-2.0", "依据的分组方案是 chs-drg-1.1"),
        ("payment?payment=dip-national", "这里应为 drg-payment"),
    ],
)
def test_a_pack_that_does_not_fit_is_refused(client: httpx.Client, path: str, reason: str) -> None:
    response = client.post(f"/api/v1/{path}", json=CASE)
    assert_problem(response, "invalid-request")
    assert reason in response.json()["detail"]


def test_a_region_without_a_plan_of_its_own_has_no_amount() -> None:
    desk = DipDesk(Checker(PackStore()))
    score = desk.score(Case(("D34.x00",), ("06.4x00",)), Billing(1_000_000))
    assert score.group == "JC2372"
    assert score.amount is None
    assert any("分值" in text for text in score.missing)


def test_a_file_of_cases_keeps_every_row_and_names_the_bad_ones(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        "case_id,dx,procedures,age,cost,insurance,备注",
        "1,K35.800x001|I10.x00x002,47.0100,35,12500,居民,甲",
        "2,K35.800x001,47.0100,三十五,12500,,乙",
        "3,K35.800x001,47.0100,35,很多,,丙",
        "4,R69.x99,,35,100,,丁",
        "5,K35.800x001",
    ]
    (home / "cases.csv").write_bytes("\n".join(rows).encode("gb18030"))
    command = [
        "dip",
        "cases",
        "cases.csv",
        "--out",
        "out.csv",
        "--region",
        "99",
        "--level",
        "三级",
        "--insurance",
        "职工",
    ]
    assert run(command) == 1
    shown = capsys.readouterr()
    assert "5 例：入组 1，有金额 1，不能读取 3" in shown.out
    assert "第 3 行：age 的值“三十五”应为非负整数" in shown.err
    assert "第 4 行：费用“很多”应为以元为单位的数字" in shown.err
    assert "第 6 行：有 2 个值，表头有 7 列" in shown.err
    with (home / "out.csv").open(encoding="utf-8", newline="") as handle:
        found = list(csv.DictReader(handle))
    assert [row["备注"] for row in found] == ["甲", "乙", "丙", "丁", ""]
    # 1026.4679 × 1.1 = 1129.1147 (four decimals), × 7.2 = 8129.62584
    assert (found[0]["dip"], found[0]["score"], found[0]["amount"]) == (
        "K35.8:47.0100",
        "1129.1147",
        "8129.63",
    )
    assert "目录中没有适合的病种" in found[3]["explanation"]
    assert "不能读取" in found[4]["explanation"]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["dip", "cases", "none.csv", "--out", "o.csv"], "无法读取"),
        (["dip", "cases", "list.csv", "--out", "o.csv"], "缺少列 dx"),
        (["dip", "cases", "list.csv", "--out", "list.csv"], "输出文件不能是输入文件"),
        (["dip", "build-catalogue", "list.csv"], "缺少列 dx、year、cost"),
        (["dip", "build-catalogue", "none.ndjson"], "无法读取"),
        (["dip", "score", "--dx", "A", "--cost", "1e99"], "应在 0 到"),
        (["dip", "group", "--dx", "A", "--catalogue", "nothing"], "没有数据包 nothing"),
        (["payment", "--dx", "A", "--payment", "dip-demo"], "这里应为 drg-payment"),
    ],
)
def test_a_wrong_command_leaves_with_one_clear_line(
    home: Path, capsys: pytest.CaptureFixture[str], command: list[str], reason: str
) -> None:
    (home / "list.csv").write_text("a,b\n1,2\n")
    assert run(command) == 2
    shown = capsys.readouterr()
    assert reason in shown.err
    assert shown.out == ""
    assert not (home / "o.csv").exists()


def history(home: Path) -> None:
    rows = ["case_id,year,dx,procedures,cost"]
    rows += [f"{number},2025,E04.900x001,06.4x00,{9000 + number}" for number in range(20)]
    rows += [f"{number},2025,E04.900x001,,1000" for number in range(3)]
    (home / "history.csv").write_text("\n".join(rows))


def test_a_built_catalogue_is_in_use_at_once_and_the_same_bytes_again(home: Path) -> None:
    history(home)
    command = ["dip", "build-catalogue", "history.csv", "--id", "dip-own", "--region", "98"]
    assert run(command) == 0
    assert run([*command, "--out", "again"]) == 0
    installed = PackStore(site=home / "home" / "packs").get("dip-own")
    again = Pack.load(home / "again")
    assert again.sha256 == installed.sha256
    assert installed.manifest.version == "2025"
    assert run([*command, "--out", "again"]) == 2
    desk = DipDesk(Checker(PackStore(site=home / "home" / "packs"), "98"))
    assert desk.group(Case(("E04.900x001",), ("06.4x00",))).code == "E04.9:06.4x00"
    assert desk.group(Case(("E04.900x001",))).code == "E04:内科组"


def test_a_built_catalogue_without_region_and_date_goes_before_the_shipped_sample(home: Path) -> None:
    history(home)
    assert run(["dip", "build-catalogue", "history.csv", "--id", "a-own"]) == 0
    desk = DipDesk(Checker(PackStore(site=home / "home" / "packs")))
    assert desk.group(Case(("E04.900x001",), ("06.4x00",))).code == "E04.9:06.4x00"


def test_lists_are_a_history_as_well(
    home: Path, example: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    without_cost = json.loads(json.dumps(example))
    without_cost["setlinfo"].pop("medfee_sumamt", None)
    without_cost.pop("iteminfo", None)
    lines = [json.dumps(example, ensure_ascii=False)] * 3 + [json.dumps(without_cost), "{"]
    (home / "lists.ndjson").write_text("\n".join(lines))
    assert (
        run(["dip", "build-catalogue", "lists.ndjson", "--threshold", "3", "--id", "dip-own", "--out", "own"])
        == 1
    )
    shown = capsys.readouterr()
    assert "第 4 行：lists.ndjson：没有医疗费总额，也没有收费项目金额" in shown.err
    assert "第 5 行" in shown.err
    assert "3 例（2026 年）：国家规则 0，核心病种 3" in shown.out
    assert Pack.load(home / "own").verify() == []


@pytest.mark.parametrize(("text", "fen"), [("1,234.5", 123450), ("0", 0), ("12.345", 1235)])
def test_costs_are_read_as_fen(text: str, fen: int) -> None:
    assert read_cost(text) == fen


@pytest.mark.parametrize("text", ["", "-1", "NaN", "Infinity", "1e20", "一"])
def test_an_impossible_cost_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="费用"):
        read_cost(text)


def test_a_catalogue_of_another_kind_is_no_base(home: Path) -> None:
    history(home)
    assert run(["dip", "build-catalogue", "history.csv", "--base", "linyi-2022"]) == 2
    with pytest.raises(PackError, match="dip-catalogue"):
        DipDesk(Checker(PackStore())).engine(catalogue="linyi-2022")


def test_a_bureaus_table_is_imported_by_one_command(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "bureau.csv").write_bytes(
        "主诊代码,手术编码,结算分\nE04.9,06.4x00,812.5\n甲,,\n".encode("gb18030")
    )
    command = [
        "packs",
        "import",
        "bureau.csv",
        "--kind",
        "dip-catalogue",
        "--id",
        "city-dip",
        "--version",
        "1",
    ]
    command += [
        "--name",
        "某市目录",
        "--publisher",
        "某市医疗保障局",
        "--document",
        "某市文件",
        "--region",
        "98",
    ]
    command += ["--column", "diagnosis=主诊代码", "--column", "score=结算分"]
    assert run(command) != 0
    shown = capsys.readouterr()
    assert "bureau.csv 第 3 行 主诊代码 列（A3 单元格）：“甲”不是诊断编码或其前几位" in shown.err
    assert PackStore(site=home / "home" / "packs").versions("city-dip") == []
    (home / "bureau.csv").write_bytes("主诊代码,手术编码,结算分\nE04.9,06.4x00,812.5\n".encode("gb18030"))
    assert run(command) == 0
    assert "列的对应是 主诊代码 → diagnosis、手术编码 → main、结算分 → score" in capsys.readouterr().err
    assert run(["dip", "group", "--region", "98", "--dx", "E04.900x001", "--procedures", "06.4x00"]) == 0
    assert "E04.9:06.4x00" in capsys.readouterr().out


def test_a_file_of_cases_is_paid_by_drg(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        "case_id,sex,dx,procedures,age,los,cost,insurance",
        "1,1,K35.800x001,47.0100,35,5,12500,居民",
        "2,1,K35.800x001,47.0100,35,70,90000,",
        "3,1,K35.800x001,47.0100,35,,9000,",
        "4,1,,,35,1,很多,",
    ]
    (home / "cases.csv").write_text("\n".join(rows))
    command = ["payment-cases", "cases.csv", "--out", "out.csv", "--region", "99", "--level", "三级"]
    assert run([*command, "--insurance", "职工"]) == 1
    # 1.4476 × 7000 × 1.05 = 10639.86; 70 days are paid at cost; the third has no length of stay
    assert (
        "4 例：有金额 2，不能读取 1；有金额的病例费用 102500.00 元，预计支付 100639.86 元"
        in capsys.readouterr().out
    )
    with (home / "out.csv").open(encoding="utf-8", newline="") as handle:
        found = list(csv.DictReader(handle))
    assert [row["outlier"] for row in found] == ["正常", "超长住院", "未判断", ""]
    assert [row["expected"] for row in found] == ["10639.86", "90000.00", "", ""]
    assert "没有住院天数" in found[2]["missing"]
    assert "费用“很多”" in found[3]["missing"]
