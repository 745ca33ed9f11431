"""Column mappings: what is written wrong is named with file, line and key, and what is written right is used."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.intake.convert import age_in_days, converter, duration, moment_of
from api.intake.mapping import (
    MAX_MAPPING_BYTES,
    MappingError,
    parse_mapping,
    plain_name,
    read_mapping,
    shipped_mapping,
    shipped_mappings,
)
from api.intake.propose import propose
from api.intake.source import open_source, open_table
from api.intake.table import Domains, Header, Plan
from api.settings import Settings
from models.settlement_list import FIELDS
from models.wire import decode
from tests.api.intake.front_page import COLUMNS

OWN = """
title = "本院"
extends = "chinese-headers"
empty = ["-", "无"]

[values.sex]
M = "1"
F = "2"

[setlinfo]
gend = { column = "SEX", values = "sex" }
mdtrt_id = { join = ["NO", ["TIMES", "次数"]], separator = "/" }
vent_used_dura = { days = "VD", hours = "VH" }
adm_time = { column = "D", hour = "H" }
nwb_age = { months = "M", unless_filled = "Y" }
hsorg = { value = "示例市医保中心" }

[[oprninfo]]
oprn_oprt_code = { column = "OPS", split = ";|" }
oprn_oprt_name = { column = "OPN", split = ";|" }
oprn_oprt_type = { value = "1", if_filled = "OPS" }

[[icuinfo]]
first = 0
scs_cutd_ward_type = "ICU{n}"
scs_cutd_inpool_time = "IN{nn}"
"""


def test_every_way_to_write_a_field(settings: Settings) -> None:
    mapping = parse_mapping(OWN, "own", "own.toml")
    header = [
        "SEX",
        "NO",
        "次数",
        "VD",
        "VH",
        "D",
        "H",
        "M",
        "Y",
        "OPS",
        "OPN",
        "icu0",
        "icu2",
        "in02",
        "主要诊断编码",
    ]
    plan = Plan(Header(header), mapping, Domains(settings.store(), ""))
    row = [
        "F",
        "7",
        "2",
        "1",
        "1.5",
        "2026/1/5",
        "9",
        "2 15/30",
        "0",
        "47.01|54.51",
        "切除",
        "CCU",
        "9",
        "20260106 0830",
    ]
    content = plan.list_of([*row, "K35.8"])
    assert content is not None
    found = decode(content).list
    assert (found.stay.sex, found.stay.visit_id, found.stay.ventilation) == ("2", "7/2", 24 * 60 + 90)
    assert (str(found.stay.admission_time), found.stay.newborn_age_days) == ("2026-01-05 09:00:00", 75)
    assert found.stay.insurance_office == "示例市医保中心"
    assert [(one.kind, one.code, one.name) for one in found.procedures] == [
        ("1", "47.01", "切除"),
        ("1", "54.51", None),
    ]
    assert [(one.ward_type, str(one.entered_at)) for one in found.intensive_care] == [
        ("1", "None"),
        ("9", "2026-01-06 08:30:00"),
    ]
    assert found.diagnoses[0].code == "K35.8"
    assert plan.ignored == ()


def test_yaml_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        'title: 本院\nsetlinfo:\n  psn_name: [姓名, 患者姓名]\ndiseinfo:\n  - diag_code: "诊断{n}"\n'
    )
    mapping = read_mapping(path)
    assert mapping.stay["psn_name"].columns == ("姓名", "患者姓名")
    assert mapping.rows[0].numbered


@pytest.mark.parametrize(
    ("text", "line", "key", "reason"),
    [
        ("title = 1\n[setlinfo]\npsn_name = 'x'", 1, "title", "文本"),
        ("[setlinfo]\npsn_nme = 'x'", 2, "setlinfo.psn_nme", "没有这个字段"),
        ("[setlinfo]\npsn_name = 3", 2, "setlinfo.psn_name", "文本"),
        ("[setlinfo]\npsn_name = { colum = 'x' }", 2, "setlinfo.psn_name.colum", "没有这个写法"),
        ("[setlinfo]\npsn_name = { column = 'x', value = 'y' }", 2, "setlinfo.psn_name", "一种"),
        ("[setlinfo]\npsn_name = { separator = 'y' }", 2, "setlinfo.psn_name", "一种"),
        ("\n[setlinfo]\ngend = { column = 'x', values = 'sex' }", 3, "setlinfo.gend.values", "values.sex"),
        ("[setlinfo]\ngend = { column = 'x', values = { M = 1 } }", 2, "setlinfo.gend.values.M", "加引号"),
        ("[[diseinfo]]\ndiag_code = 'x'\n[[diseinfo]]\nfirst = 'a'", 4, "diseinfo.first", "整数"),
        ("[feedetail]\nmed = 'x'", 1, "feedetail", "没有这个节点"),
        ("[settlement]\na = 'x'", 1, "settlement", "setlinfo（基本信息）"),
        ("extends = 'nothing'\n[setlinfo]\npsn_name = 'x'", 1, "extends", "hqms"),
        ("setlinfo = 'x'", 1, "setlinfo", "一组"),
    ],
)
def test_a_fault_names_the_file_the_line_and_the_key(text: str, line: int, key: str, reason: str) -> None:
    with pytest.raises(MappingError) as caught:
        parse_mapping(text, "own", "own.toml")
    assert any(
        fault.startswith(f"own.toml：第 {line} 行 {key}：") and reason in fault
        for fault in caught.value.faults
    ), caught.value.faults


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("own.toml", b"[setlinfo]\npsn_name = \n", "第 2 行"),
        ("own.yaml", b"setlinfo:\n  - x: [\n", "第 3 行"),
        ("own.toml", b"", "没有写任何字段"),
        ("own.yaml", b"- 1\n- 2\n", "键 = 值"),
        ("own.toml", "title = '医疗机构'".encode("gbk"), "UTF-8"),
        ("own.toml", b"#" * (MAX_MAPPING_BYTES + 1), "不像"),
        ("own.yaml", b"a: &a [*a]\n", "own.yaml"),
        ("own.yaml", b"!!python/object/apply:os.system [echo]\n", "YAML"),
    ],
)
def test_a_file_that_is_no_mapping(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(MappingError, match=reason) as caught:
        read_mapping(path)
    assert name in str(caught.value)


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(MappingError) as caught:
        parse_mapping("[setlinfo]\na = 'x'\nb = 'y'\n[nowhere]\nc = 'z'\n", "own", "own.toml")
    assert len(caught.value.faults) == 3


def test_the_shipped_mappings_know_their_own_columns(settings: Settings) -> None:
    domains = Domains(settings.store(), "")
    for mapping in shipped_mappings():
        assert mapping.document
        header = [names[0] for names in mapping.recognised_by]
        assert Plan(Header(header), mapping, domains).used == tuple(header), mapping.name
    hqms = shipped_mapping("hqms")
    plan = Plan(Header(COLUMNS), hqms, domains)
    wanted = {
        name for name in COLUMNS if name[:3] in ("C03", "C06", "C07", "C08", "C14", "C35", "C36", "C43")
    }
    assert wanted <= set(plan.used)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("年龄（岁）", "年龄(岁)"),
        ("c06X01c", "C06x01C"),
        (" 姓 名 ", "姓名"),
        ("Ａ11", "a11"),
        ("门（急）诊", "门急诊"),
    ],
)
def test_names_that_mean_the_same(one: str, other: str) -> None:
    assert plain_name(one) == plain_name(other)


def test_names_in_two_parts_are_found() -> None:
    header = Header(["姓名(A11)", "A12C|性别", "出生日期\nA13", "C06x01C 其他诊断"])
    assert [header.place([name]) for name in ("A11", "性别", "A13", "C06x01C", "无")] == [0, 1, 2, 3, None]
    assert header.numbers(("C06x{nn}C",)) == {1}


@pytest.mark.parametrize(
    ("kind", "cell", "wanted"),
    [
        ("brdy", "2026-1-5", "2026-01-05"),
        ("brdy", "20260105", "2026-01-05"),
        ("brdy", "2026年1月5日", "2026-01-05"),
        ("brdy", "2026-01-05 00:00:00.0", "2026-01-05"),
        ("brdy", "2026-02-30", "2026-02-30"),
        ("brdy", "1/5/26", "1/5/26"),
        ("adm_time", "2026/1/5 9:05", "2026-01-05 09:05:00"),
        ("adm_time", "2026-01-05  10:20:30", "2026-01-05 10:20:30"),
        ("adm_time", "2026-01-05T10:20:30.123", "2026-01-05 10:20:30"),
        ("adm_time", "202601051020", "2026-01-05 10:20:00"),
        ("adm_time", "2026年1月5日10时20分", "2026年1月5日10时20分"),
        ("adm_time", "2026年1月5日 10时20分", "2026-01-05 10:20:00"),
        ("adm_time", "2026/1/5", "2026-01-05"),
        ("adm_time", "2026-01-05 25:00:00", "2026-01-05 25:00:00"),
        ("age", "35岁", "35"),
        ("age", "35天", "35天"),
        ("act_ipt_days", "7天", "7"),
        ("medfee_sumamt", "1,234.50", "1234.50"),
        ("medfee_sumamt", "¥ 1234.5元", "1234.5"),
        ("medfee_sumamt", "12,34", "12,34"),
        ("medfee_sumamt", "=1+1", "=1+1"),
        ("nwb_bir_wt", "3200克", "3200"),
        ("nwb_bir_wt", "3.2kg", "3.2kg"),
        ("nwb_bir_wt", "2100,1980", "2100,1980"),
    ],
)
def test_units_and_forms(kind: str, cell: str, wanted: str) -> None:
    change = converter(FIELDS["setlinfo"][kind])
    assert change is not None
    assert change(cell) == wanted


@pytest.mark.parametrize(
    ("parts", "wanted"),
    [
        (("", "36.5", ""), "1/12/30"),
        (("0", "0", "0"), ""),
        (("", "0", ""), ""),
        (("1", "", "5"), "1/0/5"),
        (("", "1/2/3", ""), "1/2/3"),
        (("", "-3", ""), "/-3/"),
        (("", "多", ""), "/多/"),
    ],
)
def test_durations(parts: tuple[str, str, str], wanted: str) -> None:
    assert duration(*parts) == wanted


@pytest.mark.parametrize(
    ("months", "days"),
    [
        ("15/30", "15"),
        ("2 15/30", "75"),
        ("2", "60"),
        ("2月", "60"),
        ("2月15天", "75"),
        ("3天", "3"),
        ("1.5", "1.5"),
        ("x", "x"),
    ],
)
def test_ages_in_months(months: str, days: str) -> None:
    assert age_in_days(months) == days


def test_a_proposal_reads_the_table_it_was_made_for(tmp_path: Path, settings: Settings) -> None:
    table = tmp_path / "own.csv"
    table.write_text(
        "患者姓名,性别,年龄,住院流水,主诊断编码,主诊断名称,次诊断编码1,次诊断编码2,次诊断名称1,手术编码1,备注\n"
        "张三,男,35岁,1,I10.x00,高血压,E11.900,I25.103,糖尿病,47.0100,x\n"
    )
    header, plan = open_table(table, settings)
    assert plan is not None
    proposal = propose(header, 'a "quoted" title')
    assert proposal.left == ("备注",)
    assert set(proposal.guessed) == {"住院流水", "次诊断编码1", "次诊断编码2", "次诊断名称1"}
    mapping = parse_mapping(proposal.text, "own", "own.toml")
    assert mapping.title == 'a "quoted" title'
    (item,) = open_source(table, settings, mapping).items()
    found = decode(item.content or b"").list
    assert (found.stay.patient_name, found.stay.sex, found.stay.age, found.stay.visit_id) == (
        "张三",
        "1",
        35,
        "1",
    )
    assert [one.code for one in found.diagnoses] == ["I10.x00", "E11.900", "I25.103"]
    assert found.procedures[0].code == "47.0100"


def test_a_proposal_for_the_national_table_keeps_every_known_column(settings: Settings) -> None:
    proposal = propose(Header(COLUMNS), "HQMS")
    plan = Plan(Header(COLUMNS), shipped_mapping("hqms"), Domains(settings.store(), ""))
    again = parse_mapping(proposal.text, "own", "own.toml")
    assert set(Plan(Header(COLUMNS), again, Domains(settings.store(), "")).used) == set(plan.used)
    assert proposal.guessed == ()


def test_a_proposal_for_columns_nobody_knows() -> None:
    proposal = propose(Header(["foo", "bar\nbaz", "\x7f\x00"]), "x")
    assert len(proposal.left) == 3
    assert "没有用到的列" in proposal.text
    assert "bar baz" in proposal.text


HIS_HEADER = (
    "病案号,就诊号,姓名,性别名称,岁数,证号,付费类别,入区科室,入院日,入院钟点,出区科室,出院日,出院钟点,离院去向,"
    "主诊ICD,主诊描述,主诊大夫,其它诊断码1,其它诊断名1,其它入院病情1,其它诊断码2,其它诊断名2,其它入院病情2,"
    "手术码1,手术名1,手术日1,手术码2,手术名2,手术日2"
)
HIS_ROW = (
    "1,2,甲,男,35岁,110101199001011234,职工医保,心内科,2026/1/5,14:20,心内科,2026-01-09 00:00:00,9,医嘱离院,"
    "I10.x00,高血压,王,E11.900,糖尿病,有,I25.103,冠心病,1,47.0100,阑尾切除,2026/1/6,88.7200,超声,2026/1/7"
)


def test_the_headers_of_hospital_systems_are_known_as_they_are(tmp_path: Path, settings: Settings) -> None:
    table = tmp_path / "his.csv"
    table.write_text(f"{HIS_HEADER}\n{HIS_ROW}\n")
    header, plan = open_table(table, settings)
    assert plan is not None
    assert plan.ignored == ()
    proposal = propose(header, "HIS")
    assert (proposal.missing, proposal.guessed, proposal.left) == ((), (), ())
    (item,) = open_source(table, settings).items()
    assert list(open_source(table, settings, parse_mapping(proposal.text, "own", "own.toml")).items()) == [
        item
    ]
    found = decode(item.content or b"").list
    stay = found.stay
    assert (stay.sex, stay.age, stay.insurance_type, stay.discharge_way) == ("1", 35, "1", "1")
    assert f"{stay.admission_time} {stay.discharge_time}" == "2026-01-05 14:20:00 2026-01-09 09:00:00"
    assert [(one.code, one.condition_on_admission) for one in found.diagnoses] == [
        ("I10.x00", None),
        ("E11.900", "1"),
        ("I25.103", "1"),
    ]
    assert [one.code for one in found.procedures] == ["47.0100", "88.7200"]


@pytest.mark.parametrize(
    "name",
    [
        "证件号", "身份证号", "入院科别", "离院方式名称", "医疗付费方式", "主诊编码", "主诊断编码", "主诊断名称",
        "主治医生", "管床医生", "其它诊断1", "其他诊断名称1", "其它手术码1",
    ],
)  # fmt: skip
def test_a_usual_header_is_known(name: str, settings: Settings) -> None:
    plan = Plan(Header([name]), shipped_mapping("chinese-headers"), Domains(settings.store(), ""))
    assert plan.used == (name,)


@pytest.mark.parametrize(
    ("day", "hour", "moment"),
    [
        ("2026-01-05", "9", "2026-01-05 09:00:00"),
        ("2026/1/5", "14:20", "2026-01-05 14:20:00"),
        ("20260105", "14:20:07.123", "2026-01-05 14:20:07"),
        ("2026年1月5日", "14时20分", "2026-01-05 14:20:00"),
        ("2026-01-05", "14点", "2026-01-05 14:00:00"),
        ("2026-01-05 00:00:00", "1420", "2026-01-05 14:20:00"),
        ("2026-01-05 08:10:00", "14:20", "2026-01-05 08:10:00"),
        ("2026-01-05", "2026-01-05 14:20", "2026-01-05 14:20:00"),
        ("2026-01-05", "", "2026-01-05"),
        ("2026-01-05", "25:00", "2026-01-05"),
        ("2026-01-05", "9:75", "2026-01-05"),
        ("下午", "14:20", "下午"),
    ],
)
def test_a_day_and_its_time_in_two_columns_become_a_moment(day: str, hour: str, moment: str) -> None:
    assert moment_of(day, hour) == moment


def test_a_date_column_beside_a_time_column_and_a_time_column_alone() -> None:
    mapping = shipped_mapping("chinese-headers")
    domains = Domains(Settings().store(), "")
    both = Plan(Header(["入院时间", "入院日期"]), mapping, domains).list_of(["14:20", "2026/1/5"])
    alone = Plan(Header(["入院时间"]), mapping, domains).list_of(["2026/1/5 14:20"])
    assert both == alone == b'{"setlinfo":{"adm_time":"2026-01-05 14:20:00"}}'


def test_a_proposal_says_what_no_list_can_do_without() -> None:
    header = Header(["姓名", "主要诊断", "其它入院病情1", "其它入院病情2", "自定项1", "自定项2", "手术日1"])
    proposal = propose(header, "x")
    lines = proposal.text.splitlines()
    assert [line.startswith("# 缺少：") for line in lines[1:4]] == [True] * 3
    assert [
        word in lines[place] for place, word in ((1, "主要诊断编码"), (2, "就诊ID和病案号"), (3, "出院时间"))
    ] == [True] * 3
    assert proposal.text.count("[[diseinfo]]") == 1 + lines[1].count("[[diseinfo]]")
    assert "[[oprninfo]]" not in proposal.text
    assert "#   其它入院病情{n}（2 列）" in lines
    assert "#   自定项{n}（2 列）" in lines
    assert "#   手术日1" in lines
    assert set(proposal.left) == set(header.names[2:])
    assert "住院次数" in propose(Header(["病案号", "主要诊断编码", "出院日期"]), "x").missing[0]
    assert propose(Header(["病案号", "就诊ID", "主要诊断编码", "出院日期"]), "x").missing == ()
