"""The mistakes that are planted in made-up lists, each with the rules that must find it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any

from api.demo.case_mix import FEMALE, MALE, CaseMix
from api.demo.charge_defects import BACKING
from api.demo.clinical_defects import CLINICAL
from api.demo.generator import CARE_WARD, Payload, check_digit
from api.demo.indication_defects import INDICATIONS
from api.demo.planted import Defect, Plant
from api.demo.procedure_defects import PROCEDURES
from models.settlement_list import Minutes

__all__ = ["DEFECTS", "Defect"]


def _info(body: Payload) -> Payload:
    found: Payload = body["setlinfo"]
    return found


def _rows(body: Payload, node: str) -> list[Payload]:
    found: list[Payload] = body.get(node, [])
    return found


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S")


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S")


# factories


def _set(
    rule: str, changes: Mapping[str, Any], *, when: str = "", name: str = "", apart: bool = False
) -> Defect:
    """Put values in fields of setlinfo; ``when`` is a field that must be filled."""

    def plant(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
        info = _info(body)
        if when and when not in info:
            return False
        for field, value in changes.items():
            if value is None:
                info.pop(field, None)
            else:
                info[field] = value
        return True

    touches = next(iter(changes))
    return Defect(name or f"{touches} 填写不当", (rule,), plant, touches, apart)


def _missing(rule: str, *fields: str, apart: bool = False) -> Defect:
    """Take fields out of setlinfo."""

    def plant(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
        info = _info(body)
        if fields[0] not in info:
            return False
        for field in fields:
            info.pop(field, None)
        return True

    return Defect(f"{fields[0]} 缺失", (rule,), plant, fields[0], apart)


def _row(
    rule: str,
    node: str,
    changes: Mapping[str, Any],
    *,
    name: str = "",
    when: Callable[[Payload], bool] = lambda _: True,
    last: bool = False,
) -> Defect:
    """Change fields of the first (or last) row of a node that ``when`` accepts; None takes one out."""

    def plant(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
        rows = [row for row in _rows(body, node) if when(row)]
        if not rows:
            return False
        row = rows[-1 if last else 0]
        for field, value in changes.items():
            if value is None:
                row.pop(field, None)
            else:
                row[field] = value
        return True

    touches = next(iter(changes))
    return Defect(name or f"{node} {touches} 填写不当", (rule,), plant, touches)


def _own(name: str, *rules: str, touches: str = "") -> Callable[[Plant], Defect]:
    """Make a defect of a function."""

    def wrap(plant: Plant) -> Defect:
        return Defect(name, rules, plant, touches)

    return wrap


def _has_anaesthesia(row: Payload) -> bool:
    return "anst_way" in row


def _is_main_diagnosis(row: Payload) -> bool:
    return bool(row["maindiag_flag"] == "1")


def _is_other_western_diagnosis(row: Payload) -> bool:
    return bool(row["diag_type"] == "2" and row["maindiag_flag"] == "0")


# what is missing: CMP

_REQUIRED: Mapping[str, str] = {
    "CMP-001": "mdtrt_id", "CMP-002": "setl_id", "CMP-003": "fixmedins_name", "CMP-004": "fixmedins_code",
    "CMP-005": "medcasno", "CMP-006": "psn_name", "CMP-007": "gend", "CMP-008": "brdy", "CMP-009": "ntly",
    "CMP-010": "naty", "CMP-011": "patn_cert_type", "CMP-012": "certno", "CMP-013": "prfs",
    "CMP-014": "coner_name", "CMP-015": "patn_rlts", "CMP-016": "coner_addr", "CMP-017": "coner_tel",
    "CMP-018": "hi_type", "CMP-019": "insuplc", "CMP-020": "ipt_med_type", "CMP-021": "adm_caty",
    "CMP-022": "dscg_caty", "CMP-023": "bill_code", "CMP-024": "bill_no", "CMP-025": "biz_sn",
    "CMP-026": "setl_begn_date", "CMP-027": "setl_end_date", "CMP-028": "psn_selfpay",
    "CMP-029": "psn_ownpay", "CMP-030": "acct_pay", "CMP-031": "psn_cashpay", "CMP-032": "hi_paymtd",
    "CMP-033": "hsorg", "CMP-034": "hsorg_opter", "CMP-035": "medins_fill_dept",
    "CMP-036": "medins_fill_psn", "CMP-037": "hi_no", "CMP-038": "adm_time", "CMP-039": "dscg_time",
    "CMP-040": "adm_way", "CMP-041": "dscg_way", "CMP-042": "trt_type", "CMP-043": "act_ipt_days",
    "CMP-044": "wm_dise_code", "CMP-046": "chfpdr_name", "CMP-047": "chfpdr_code",
}  # fmt: skip
_APART = frozenset(
    {
        "hi_no", "hsorg", "hsorg_opter", "medins_fill_dept", "medins_fill_psn", "bill_code", "bill_no", "biz_sn",
        "naty", "coner_addr", "coner_tel", "medcasno", "setl_id", "insuplc", "chfpdr_name", "hi_paymtd",
    }
)  # fmt: skip

_COMPLETENESS = [
    *(_missing(rule, field, apart=field in _APART) for rule, field in _REQUIRED.items()),
    _row("CMP-045", "diseinfo", {"adm_cond_type": None}, last=True),
    _missing("CMP-048", "resp_nurs_code", "resp_nurs_name"),
    _row("CMP-049", "diseinfo", {"maindiag_flag": "0", "diag_type": "2"}, when=_is_main_diagnosis),
    _row("CMP-050", "diseinfo", {"diag_code": None}, last=True),
    _row("CMP-051", "oprninfo", {"oprn_oprt_name": None}),
    _row("CMP-052", "oprninfo", {"oprn_oprt_date": None}),
    _row("CMP-053", "oprninfo", {"oper_dr_code": None}),
    _row("CMP-054", "oprninfo", {"anst_dr_code": None}, when=_has_anaesthesia),
    _row("CMP-055", "oprninfo", {"anst_way": None}, when=_has_anaesthesia),
    _row("CMP-056", "icuinfo", {"scs_cutd_sum_dura": None}),
    _set("CMP-057", {"bld_amt": None}, when="bld_cat", name="输血品种已填而缺输血量"),
    _missing("CMP-058", "age"),
    _missing("CMP-058", "nwb_age"),
    _set(
        "CMP-059",
        {"dscg_way": "2", "acp_medins_name": "清州市中心医院", "acp_optins_code": None},
        name="医嘱转院缺接收机构代码",
    ),
    _set(
        "CMP-060",
        {"dscg_way": "3", "acp_medins_name": "清州市清河镇卫生院", "acp_optins_code": None},
        name="转社区缺接收机构代码",
    ),
    _set("CMP-061", {"days_rinp_pup_31": None, "days_rinp_flag_31": "2"}, name="有再住院计划而无目的"),
    _set("CMP-062", {"days_rinp_pup_31": "复查", "days_rinp_flag_31": "1"}, name="无再住院计划而有目的"),
    _missing("CMP-063", "emp_name", "emp_addr"),
    _set("CMP-064", {"dscg_caty": "A03.11", "refldept_dept": None}, name="出院科别改变而缺转科科别"),
]


@_own("中医类清单缺中医主病主证", "CMP-065", touches="diseinfo")
def _no_tcm_diagnosis(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    info = _info(body)
    if info["trt_type"] != "20":
        return False
    body["diseinfo"] = [row for row in body["diseinfo"] if row["diag_type"] in ("1", "2")]
    info["diag_code_cnt"] = len(body["diseinfo"])
    return True


@_own("门诊慢特病缺就诊科别", "CMP-066", touches="opsp_diag_caty")
def _no_chronic_department(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    if not _rows(body, "opspdiseinfo"):
        return False
    _info(body).pop("opsp_diag_caty", None)
    return True


# what the interface cannot hold: STR

_STRUCTURE = [
    _set("STR-001", {"act_ipt_days": "八天"}, name="住院天数写成汉字"),
    _set("STR-002", {"adm_tiem": "2026-10-01 08:00:00"}, name="字段名拼写错误", apart=True),
    _set("STR-004", {"insuplc": "9901001234"}, name="参保地超过规定长度", apart=True),
    _row(
        "STR-005",
        "diseinfo",
        {"diag_type": "1"},
        when=_is_other_western_diagnosis,
        name="其他诊断的类别填成主要诊断",
    ),
    _row(
        "STR-006",
        "diseinfo",
        {"diag_type": "3"},
        when=_is_other_western_diagnosis,
        name="西医诊断的类别填成中医",
    ),
]


@_own("节点不是数组", "STR-003", touches="payinfo")
def _node_without_rows(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    body["payinfo"] = "无"
    return True


# what is written in the wrong form: FMT


def _certificate(text: str) -> str:
    return text[:17] + check_digit(text[:17])


@_own("证件号码校验位错误", "FMT-001", touches="certno")
def _wrong_check_digit(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    number = _info(body)["certno"]
    _info(body)["certno"] = number[:17] + ("1" if number[17] != "1" else "2")
    return True


@_own("出生日期与证件号码不一致", "FMT-002", touches="certno")
def _other_birth_date(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    if not _age_at_least(1, body):
        return False  # an infant may go by its mother's number
    number = _info(body)["certno"]
    year = int(number[6:10]) - 1
    _info(body)["certno"] = _certificate(f"{number[:6]}{year}0915{number[14:17]}")
    return True


@_own("性别与证件号码不一致", "FMT-003", touches="certno")
def _other_sex_in_number(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    if not _age_at_least(1, body):
        return False  # an infant may go by its mother's number
    number = _info(body)["certno"]
    digit = (int(number[16]) + 1) % 10
    _info(body)["certno"] = _certificate(f"{number[:16]}{digit}")
    return True


_FORMAT = [
    _set("FMT-004", {"psn_name": "李2"}, name="姓名含数字", apart=True),
    _set("FMT-005", {"coner_name": "王？"}, name="联系人姓名含标点", apart=True),
    _set("FMT-006", {"coner_tel": "11111111111"}, name="联系人电话为占位号码", apart=True),
    _set("FMT-007", {"poscode": "123456"}, when="poscode", name="邮编为占位值", apart=True),
    _set("FMT-008", {"fixmedins_code": "H990100001"}, name="机构编号不足 12 位"),
    _row("FMT-009", "icuinfo", {"scs_cutd_sum_dura": "3天2小时"}, name="重症时长格式错误"),
    _set(
        "FMT-009",
        {"pwcry_afadm_coma_dura": "1/30/10"},
        when="pwcry_afadm_coma_dura",
        name="昏迷时长小时数越界",
    ),
    _set("FMT-010", {"dcla_time": "2026/11/05"}, name="申报时间格式错误"),
    _set("FMT-011", {"nwb_bir_wt": "三千二百克"}, when="nwb_bir_wt", name="出生体重不是数字"),
    _set("FMT-012", {"nwb_adm_wt": 3205}, when="nwb_adm_type", name="入院体重未精确到 10 克"),
    _set("FMT-013", {"nwb_bir_wt": 150}, when="nwb_bir_wt", name="出生体重过低"),
    _set("FMT-014", {"mul_nwb_bir_wt": "2500,90"}, when="mul_nwb_bir_wt", name="多新生儿体重越界"),
    _row("FMT-015", "diseinfo", {"diag_code": "J18..9"}, last=True, name="诊断编码形式错误"),
    _row("FMT-016", "oprninfo", {"oprn_oprt_code": "5123"}, last=True, name="手术编码形式错误"),
    _row("FMT-018", "iteminfo", {"amt": -20.0}, last=True, name="金额为负"),
    _set("FMT-019", {"chfpdr_code": "N990100000012"}, name="主诊医师代码以 N 开头"),
]


@_own("诊断编码含全角字符", "FMT-017", touches="diag_code")
def _full_width_code(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    row = _rows(body, "diseinfo")[0]
    code = row["diag_code"]
    row["diag_code"] = chr(ord(code[0]) - ord("A") + ord("Ａ")) + code[1:]
    return True


# what is not in the dictionary: DIC

_DICTIONARY = [
    _set("DIC-001", {"nwb_adm_type": "7"}, when="nwb_adm_type", name="新生儿入院类型不在值域"),
    _set("DIC-002", {"trt_type": "9"}, name="治疗类别不在值域"),
    _set("DIC-003", {"dscg_way": "8"}, name="离院方式不在值域"),
    _set("DIC-004", {"hi_paymtd": "8"}, name="支付方式不在值域", apart=True),
    _row("DIC-005", "diseinfo", {"adm_cond_type": "7"}, last=True, name="入院病情不在值域"),
    _row("DIC-006", "oprninfo", {"anst_way": "77"}, when=_has_anaesthesia, name="麻醉方式不在值域"),
    _row("DIC-007", "icuinfo", {"scs_cutd_ward_type": "88"}, name="监护病房类型不在值域"),
    _set("DIC-008", {"bld_cat": "77"}, when="bld_cat", name="输血品种不在值域"),
    _set("DIC-009", {"patn_rlts": "99"}, name="与患者关系不在值域"),
    _set("DIC-010", {"ntly": "ZZZ"}, name="国籍不在值域", apart=True),
    _set("DIC-011", {"refldept_dept": "Z99"}, name="转科科别不在值域"),
    _set("DIC-012", {"dscg_caty": "Z99"}, name="出院科别不在值域"),
    _set("DIC-013", {"bld_unt": "kg"}, when="bld_cat", name="输血单位不在值域"),
    _set("DIC-014", {"gend": "3"}, name="性别不在值域"),
    _set("DIC-015", {"adm_way": "7"}, name="入院途径不在值域"),
    _set("DIC-016", {"ipt_med_type": "5"}, name="住院医疗类型不在值域"),
    _row("DIC-017", "oprninfo", {"oprn_oprt_code": "51.2399x099"}, last=True, name="手术编码不在编码库"),
    _set("DIC-018", {"wm_dise_code": "J18.999x999"}, name="门诊诊断编码不在编码库"),
    _row("DIC-021", "diseinfo", {"diag_name": "胸闷待查"}, last=True, name="诊断名称与编码不符",
         when=lambda row: row["diag_type"] in ("1", "2")),
    _row("DIC-022", "oprninfo", {"oprn_oprt_name": "清创手术"}, last=True, name="手术名称与编码不符"),
    _row("DIC-023", "diseinfo", {"diag_code": "J18.999x999", "diag_name": "自编肺炎"}, when=_is_main_diagnosis,
         name="主要诊断为自编码"),
    _set("DIC-025", {"dscg_way": "9"}, name="离院方式为其他"),
    _row("DIC-027", "iteminfo", {"med_chrgitm": "15"}, last=True, name="收费项目不在值域"),
    _row("DIC-028", "payinfo", {"fund_pay_type": "999999"}, name="基金类型不在值域"),
]  # fmt: skip


@_own("使用灰码诊断", "DIC-024", touches="diag_code")
def _grey_diagnosis(body: Payload, _rng: Random, mix: CaseMix) -> bool:
    _add_diagnosis(body, mix.grey.code, mix.grey.name)
    return True


@_own("使用灰码手术", "DIC-024", touches="oprn_oprt_code")
def _grey_procedure(body: Payload, _rng: Random, mix: CaseMix) -> bool:
    rows = _rows(body, "oprninfo")
    if not rows:
        return False
    rows[-1] |= {"oprn_oprt_code": mix.grey_procedure.code, "oprn_oprt_name": mix.grey_procedure.name}
    return True


def _add_diagnosis(body: Payload, code: str, name: str, condition: str = "1") -> None:
    body["diseinfo"].append(
        {
            "diag_type": "2",
            "diag_code": code,
            "diag_name": name,
            "adm_cond_type": condition,
            "maindiag_flag": "0",
        }
    )
    _info(body)["diag_code_cnt"] = len(body["diseinfo"])


# dates, days and counts that disagree: LOG


@_own("出院时间早于入院时间", "LOG-001", touches="dscg_time")
def _leaves_before_coming(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    info = _info(body)
    info["dscg_time"] = _text(_moment(info["adm_time"]) - timedelta(days=2))
    return True


@_own("出生日期晚于入院日期", "LOG-002", touches="brdy")
def _born_after_admission(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    info = _info(body)
    info["brdy"] = f"{_moment(info['adm_time']) + timedelta(days=1):%Y-%m-%d}"
    return True


def _shift(rule: str, name: str, field: str, by: int) -> Defect:
    """A whole number of setlinfo that is off by some."""

    def plant(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
        info = _info(body)
        if field not in info:
            return False
        info[field] += by
        return True

    return Defect(name, (rule,), plant, field)


@_own("住院天数按首尾两天都计", "LOG-006", touches="act_ipt_days")
def _no_day_counted(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    info = _info(body)
    admitted = _moment(info["adm_time"])
    if _rows(body, "oprninfo") or _rows(body, "icuinfo") or "vent_used_dura" in info:
        return False
    info |= {
        "dscg_time": _text(admitted.replace(hour=23, minute=30)),
        "act_ipt_days": 0,
        "setl_end_date": f"{admitted:%Y-%m-%d}",
    }
    info |= dict.fromkeys(_NURSING, 0)
    return True


_NURSING = ("spga_nurscare_days", "lv1_nurscare_days", "scd_nurscare_days", "lv3_nurscare_days")


@_own("手术日期早于入院", "LOG-007", touches="oprn_oprt_date")
def _operated_before_coming(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    rows = _rows(body, "oprninfo")
    if not rows:
        return False
    row = rows[0]
    early = _moment(_info(body)["adm_time"]) - timedelta(days=3)
    _move(row, early.replace(hour=10, minute=0))
    return True


def _move(row: Payload, start: datetime) -> None:
    """Put a procedure, with its anaesthesia, at another time."""
    by = start - _moment(row["oprn_oprt_begntime"])
    row["oprn_oprt_date"] = f"{start:%Y-%m-%d}"
    for field in ("oprn_oprt_begntime", "oprn_oprt_endtime", "anst_begntime", "anst_endtime"):
        if field in row:
            row[field] = _text(_moment(row[field]) + by)


def _swap(rule: str, name: str, begin: str, end: str) -> Defect:
    """A procedure row whose end comes before its beginning."""

    def plant(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
        rows = [row for row in _rows(body, "oprninfo") if begin in row]
        if not rows:
            return False
        rows[0][begin], rows[0][end] = rows[0][end], rows[0][begin]
        return True

    return Defect(name, (rule,), plant, begin)


@_own("手术结束晚于麻醉结束", "LOG-010", touches="anst_endtime")
def _anaesthesia_too_short(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    rows = [row for row in _rows(body, "oprninfo") if _has_anaesthesia(row)]
    if not rows:
        return False
    rows[0]["anst_endtime"] = _text(_moment(rows[0]["oprn_oprt_endtime"]) - timedelta(minutes=10))
    return True


@_own("监护室退出晚于出院", "LOG-011", touches="scs_cutd_exit_time")
def _leaves_care_after_discharge(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    rows = _rows(body, "icuinfo")
    if not rows:
        return False
    row = rows[0]
    leave = _moment(_info(body)["dscg_time"]) + timedelta(hours=5)
    row["scs_cutd_exit_time"] = _text(leave)
    row["scs_cutd_sum_dura"] = _duration(row).wire()
    return True


def _duration(row: Payload) -> Minutes:
    span = _moment(row["scs_cutd_exit_time"]) - _moment(row["scs_cutd_inpool_time"])
    return Minutes(span.total_seconds() // 60)


@_own("重症合计时长与进出时间不符", "LOG-012", touches="scs_cutd_sum_dura")
def _wrong_care_sum(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    rows = _rows(body, "icuinfo")
    if not rows:
        return False
    rows[0]["scs_cutd_sum_dura"] = Minutes(_duration(rows[0]) - 240).wire()
    return True


@_own("两段监护时间重叠", "LOG-013", touches="icuinfo")
def _overlapping_care(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    rows = _rows(body, "icuinfo")
    if not rows:
        return False
    again = dict(rows[0])
    again["scs_cutd_inpool_time"] = _text(_moment(rows[0]["scs_cutd_inpool_time"]) + timedelta(hours=3))
    again["scs_cutd_sum_dura"] = _duration(again).wire()
    rows.append(again)
    return True


@_own("结算开始晚于结算结束", "LOG-014", touches="setl_begn_date")
def _settlement_backwards(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    info = _info(body)
    info["setl_begn_date"] = f"{_moment(info['dscg_time']) + timedelta(days=3):%Y-%m-%d}"
    return True


@_own("结算开始不是入院日", "LOG-015", touches="setl_begn_date")
def _settlement_starts_late(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    info = _info(body)
    if info["act_ipt_days"] < 3:
        return False
    info["setl_begn_date"] = f"{_moment(info['adm_time']) + timedelta(days=1):%Y-%m-%d}"
    return True


@_own("申报早于出院", "LOG-016", touches="dcla_time")
def _declared_early(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    info = _info(body)
    info["dcla_time"] = _text(_moment(info["dscg_time"]) - timedelta(days=1))
    return True


@_own("两个主要诊断", "LOG-020", touches="maindiag_flag")
def _two_main_diagnoses(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    others = [row for row in _rows(body, "diseinfo") if row["diag_type"] == "2"]
    if not others:
        return False
    others[0] |= {"maindiag_flag": "1", "diag_type": "1"}
    return True


@_own("没有主要手术", "LOG-020", touches="oprn_oprt_type")
def _no_main_procedure(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    rows = _rows(body, "oprninfo")
    for row in rows:
        row["oprn_oprt_type"] = "2"
    return bool(rows)


def _too_long(rule: str, name: str, field: str, *, always: bool = False) -> Defect:
    """A duration of setlinfo that is longer than the stay."""

    def plant(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
        info = _info(body)
        if field not in info and not always:
            return False
        info[field] = Minutes((info["act_ipt_days"] + 3) * 24 * 60).wire()
        return True

    return Defect(name, (rule,), plant, field)


@_own("重症时长超过住院天数", "LOG-022", touches="scs_cutd_sum_dura")
def _care_longer_than_stay(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    rows = _rows(body, "icuinfo")
    if not rows:
        return False
    rows[0]["scs_cutd_sum_dura"] = Minutes((_info(body)["act_ipt_days"] + 4) * 24 * 60).wire()
    return True


@_own("全部诊断入院病情为无", "LOG-033", touches="adm_cond_type")
def _nothing_on_admission(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    for row in _rows(body, "diseinfo"):
        row["adm_cond_type"] = "4"
    return True


@_own("慢性病入院病情填无", "LOG-035", touches="adm_cond_type")
def _chronic_marked_new(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    row = next(
        (r for r in _rows(body, "diseinfo")[1:] if r["diag_code"].startswith(("I10", "E78.5", "K80.2"))), None
    )
    if row is None:
        return False
    row["adm_cond_type"] = "4"
    return True


def _age_at_least(years: int, body: Payload) -> bool:
    return int(_info(body).get("age", 0)) >= years


@_own("幼儿职业填退休", "LOG-031", touches="prfs")
def _retired_child(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    info = _info(body)
    if _age_at_least(6, body):
        return False
    info["prfs"] = "80"
    return True


@_own("少年的联系人为子女", "LOG-032", touches="patn_rlts")
def _child_of_a_child(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    if _age_at_least(18, body):
        return False
    _info(body)["patn_rlts"] = "20"
    return True


@_own("死于不致死的疾病", "LOG-026", touches="dscg_way")
def _dies_of_something_light(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    info, rows = _info(body), _rows(body, "diseinfo")
    if not rows[0]["diag_code"].startswith(("H25", "N40", "K64")):
        return False
    body["diseinfo"] = rows[:1]
    info |= {"diag_code_cnt": 1, "dscg_way": "5", "days_rinp_flag_31": "1"}
    return True


@_own("住院不满一天即转院而无接收机构", "LOG-027", touches="dscg_way")
def _sent_on_within_a_day(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    info = _info(body)
    if _moment(info["dscg_time"]) - _moment(info["adm_time"]) >= timedelta(days=1):
        return False
    info["dscg_way"] = "2"
    for field in ("acp_medins_name", "acp_optins_code"):
        info.pop(field, None)
    return True


@_own("最后转入的科室不是出院科别", "LOG-029", touches="refldept_dept")
def _leaves_from_elsewhere(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    info = _info(body)
    if info["dscg_caty"] == CARE_WARD or info["adm_caty"] != info["dscg_caty"]:
        return False
    info["refldept_dept"] = CARE_WARD
    return True


_LOGIC = [
    _dies_of_something_light,
    _sent_on_within_a_day,
    _leaves_from_elsewhere,
    _leaves_before_coming,
    _born_after_admission,
    _shift("LOG-003", "年龄多算一岁", "age", 1),
    _shift("LOG-004", "不足一岁的天数有误", "nwb_age", 3),
    _shift("LOG-005", "住院天数有误", "act_ipt_days", 2),
    _no_day_counted,
    _operated_before_coming,
    _swap("LOG-008", "手术起止颠倒", "oprn_oprt_begntime", "oprn_oprt_endtime"),
    _swap("LOG-009", "麻醉起止颠倒", "anst_begntime", "anst_endtime"),
    _anaesthesia_too_short,
    _leaves_care_after_discharge,
    _wrong_care_sum,
    _overlapping_care,
    _settlement_backwards,
    _settlement_starts_late,
    _declared_early,
    _shift("LOG-017", "护理天数超过住院天数", "lv1_nurscare_days", 9),
    _shift("LOG-018", "诊断计数有误", "diag_code_cnt", 1),
    _shift("LOG-019", "手术计数有误", "oprn_oprt_code_cnt", 1),
    _two_main_diagnoses,
    _no_main_procedure,
    _too_long("LOG-021", "呼吸机时长超过住院天数", "vent_used_dura"),
    _care_longer_than_stay,
    _too_long("LOG-023", "入院后昏迷时长超过住院天数", "pwcry_afadm_coma_dura"),
    _set(
        "LOG-025",
        {"dscg_way": "5", "days_rinp_flag_31": "2", "days_rinp_pup_31": "复查"},
        name="死亡而有再住院计划",
    ),
    _retired_child,
    _child_of_a_child,
    _nothing_on_admission,
    _chronic_marked_new,
]


# sums, and charges without what was charged for: FEE


def _fee(rule: str, name: str) -> Callable[[Callable[[Payload, list[Payload]], bool]], Defect]:
    """Make a defect of a function of the whole list and its charge rows."""

    def wrap(change: Callable[[Payload, list[Payload]], bool]) -> Defect:
        def plant(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
            return change(body, _rows(body, "iteminfo"))

        return Defect(name, (rule,), plant, "iteminfo")

    return wrap


def _charge(rows: Sequence[Payload], category: str) -> Payload | None:
    return next((row for row in rows if row["med_chrgitm"] == category), None)


def _add_yuan(row: Payload, field: str, yuan: float) -> None:
    row[field] = round(row[field] + yuan, 2)


@_fee("FEE-001", "收费项目之和与总额不符")
def _wrong_total(_body: Payload, rows: list[Payload]) -> bool:
    _add_yuan(rows[0], "amt", 120.0)
    _add_yuan(rows[0], "claa_sumfee", 120.0)
    return True


@_fee("FEE-002", "分类金额之和与项目金额不符")
def _wrong_parts(_body: Payload, rows: list[Payload]) -> bool:
    _add_yuan(rows[0], "clab_amt", 33.5)
    return True


@_fee("FEE-003", "收费项目为负")
def _negative(_body: Payload, rows: list[Payload]) -> bool:
    rows[-1] |= {"amt": -15.0, "oth_amt": -15.0}
    return True


@_own("基金与个人负担之和不等于总额", "FEE-004", touches="fund_payamt")
def _wrong_funds(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    _add_yuan(_rows(body, "payinfo")[0], "fund_payamt", 500.0)
    return True


@_own("个人负担与账户现金不符", "FEE-004", touches="psn_cashpay")
def _wrong_cash(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    _add_yuan(_info(body), "psn_cashpay", 88.0)
    return True


@_own("个人自付超过总额", "FEE-005", touches="psn_selfpay")
def _self_pay_above_total(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    info = _info(body)
    info["psn_selfpay"] = round(info["medfee_sumamt"] + 1000.0, 2)
    return True


@_fee("FEE-006", "同一收费项目两行")
def _twice(_body: Payload, rows: list[Payload]) -> bool:
    rows.append(dict(rows[0]))
    return True


def _into_other(rows: list[Payload], category: str, into: str = "05") -> bool:
    """Move a category's whole amount into another one, so that every sum still holds."""
    source, target = _charge(rows, category), _charge(rows, into)
    if source is None or target is None:
        return False
    for field in ("amt", "claa_sumfee", "clab_amt", "fulamt_ownpay_amt", "oth_amt"):
        _add_yuan(target, field, source[field])
    rows.remove(source)
    return True


@_fee("FEE-008", "住院多日而无护理费")
def _no_nursing_fee(body: Payload, rows: list[Payload]) -> bool:
    return _info(body)["act_ipt_days"] > 1 and _into_other(rows, "07")


@_fee("FEE-008", "住院多日而无床位费")
def _no_bed_fee(body: Payload, rows: list[Payload]) -> bool:
    return _info(body)["act_ipt_days"] > 1 and _into_other(rows, "01")


@_fee("FEE-009", "有手术费而无手术编码")
def _fee_without_operation(body: Payload, rows: list[Payload]) -> bool:
    if _charge(rows, "06") is None:
        return False
    body.pop("oprninfo")
    _info(body)["oprn_oprt_code_cnt"] = 0
    return True


@_fee("FEE-010", "有手术编码而无手术费")
def _operation_without_fee(_body: Payload, rows: list[Payload]) -> bool:
    return _into_other(rows, "06")


@_fee("FEE-014", "中医类清单无中医费用")
def _no_tcm_fee(body: Payload, rows: list[Payload]) -> bool:
    info = _info(body)
    if info["trt_type"] != "20" or info["act_ipt_days"] < 2:
        return False
    return _into_other(rows, "10", "09") and _into_other(rows, "11", "09") and _into_other(rows, "05", "03")


@_fee("FEE-015", "其他费占比过高")
def _mostly_other(_body: Payload, rows: list[Payload]) -> bool:
    if _charge(rows, "14") is None:
        return False
    for category in ("03", "04", "05", "08", "09"):
        _into_other(rows, category, "14")
    return True


_FEES = [
    _wrong_total, _wrong_parts, _negative, _wrong_funds, _wrong_cash, _self_pay_above_total, _twice,
    _no_nursing_fee, _no_bed_fee, _fee_without_operation, _operation_without_fee, _no_tcm_fee, _mostly_other,
]  # fmt: skip


# what does not suit the patient: SEX, AGE, NEO


def _other_sex(rule: str, sex: str, code: str, name: str) -> Defect:
    """A diagnosis of the other sex."""

    def plant(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
        if _info(body)["gend"] != sex:
            return False
        _add_diagnosis(body, code, name)
        return True

    return Defect(f"{'男' if sex == MALE else '女'}性患者诊断 {code} {name}", (rule,), plant, "diag_code")


def _procedure_of_other_sex(rule: str, sex: str, code: str, name: str) -> Defect:
    def plant(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
        rows = _rows(body, "oprninfo")
        if _info(body)["gend"] != sex or not rows:
            return False
        rows[-1] |= {"oprn_oprt_code": code, "oprn_oprt_name": name}
        return True

    return Defect(
        f"{'男' if sex == MALE else '女'}性患者手术 {code} {name}", (rule,), plant, "oprn_oprt_code"
    )


_SEX = [
    _other_sex("SEX-001", MALE, "N73.902", "女性盆腔炎"),
    _other_sex("SEX-002", FEMALE, "N40.x00", "前列腺增生"),
    _other_sex("SEX-003", MALE, "O20.000", "先兆流产"),
    _procedure_of_other_sex("SEX-004", MALE, "68.2901", "子宫肌瘤切除术"),
    _procedure_of_other_sex("SEX-005", FEMALE, "60.2902", "经尿道前列腺切除术（TURP）"),
    _other_sex("SEX-006", MALE, "D25.900", "子宫平滑肌瘤"),
]


def _at_age(
    rule: str, low: int, high: int, code: str, name: str, *, sex: str = "", main: bool = False
) -> Defect:
    """A diagnosis that does not suit the patient's age, in full years."""

    def plant(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
        info = _info(body)
        if not low <= int(info.get("age", 0)) <= high or (sex and info["gend"] != sex):
            return False
        if any(row["diag_code"][:3] == code[:3] for row in _rows(body, "diseinfo")):
            return False
        if main:
            _rows(body, "diseinfo")[0] |= {"diag_code": code, "diag_name": name}
        else:
            _add_diagnosis(body, code, name)
        return True

    return Defect(f"{low}–{high} 岁诊断 {code} {name}", (rule,), plant, "diag_code")


@_own("年龄超过 120 岁", "AGE-011", touches="age")
def _too_old(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    info = _info(body)
    if not _age_at_least(30, body):
        return False
    info["brdy"] = "1890-05-05"
    info["age"] = int(info["adm_time"][:4]) - 1890
    info["certno"] = _certificate(f"{info['certno'][:6]}18900505{info['certno'][14:17]}")
    return True


@_own("出生 28 天后仍有围产期诊断", "AGE-006", touches="diag_code")
def _perinatal_after_a_month(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    if int(_info(body).get("nwb_age", 0)) <= 28:
        return False
    _add_diagnosis(body, "P39.900", "特发于围生期的感染")
    return True


_AGE = [
    _at_age("AGE-001", 0, 12, "C50.900", "乳房恶性肿瘤"),
    _at_age("AGE-002", 0, 12, "O20.000", "先兆流产", sex=FEMALE),
    _at_age("AGE-003", 0, 12, "D24.x00", "乳房良性肿瘤"),
    _at_age("AGE-004", 6, 120, "P39.900", "特发于围生期的感染"),
    _at_age("AGE-005", 1, 120, "P39.900", "特发于围生期的感染", main=True),
    _perinatal_after_a_month,
    _at_age("AGE-007", 18, 120, "M08.000", "幼年型类风湿性关节炎"),
    _at_age("AGE-009", 56, 120, "O20.000", "先兆流产", sex=FEMALE),
    _at_age("AGE-008", 3, 120, "A09.903", "婴儿腹泻"),
    _at_age("AGE-010", 18, 120, "L20.804", "婴儿湿疹"),
    _too_old,
]


def _newborn_only(rule: str, name: str, changes: Mapping[str, Any]) -> Defect:
    """Change fields of a list of a newborn."""

    def plant(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
        info = _info(body)
        if "nwb_adm_type" not in info:
            return False
        for field, value in changes.items():
            if value is None:
                info.pop(field, None)
            else:
                info[field] = value
        return True

    return Defect(name, (rule,), plant, next(iter(changes)))


def _with_weight(rule: str, code: str, name: str, weight: int) -> Defect:
    """A newborn's diagnosis of a weight band beside a weight outside the band, in g."""

    def plant(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
        info = _info(body)
        if "nwb_adm_type" not in info or any(r["diag_code"].startswith("P0") for r in body["diseinfo"]):
            return False
        info |= {"nwb_bir_wt": weight, "nwb_adm_wt": weight}
        _add_diagnosis(body, code, name)
        return True

    return Defect(f"{name} 与体重 {weight} 克不符", (rule,), plant, "nwb_bir_wt")


def _is_mother(body: Payload) -> bool:
    return any(row["diag_code"].startswith("Z37") for row in _rows(body, "diseinfo"))


@_own("产妇缺新生儿体重", "NEO-003", touches="nwb_bir_wt")
def _mother_without_weight(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    if not _is_mother(body):
        return False
    for field in ("nwb_bir_wt", "mul_nwb_bir_wt"):
        _info(body).pop(field, None)
    return True


@_own("双胎只填一个体重", "NEO-004", touches="mul_nwb_bir_wt")
def _one_weight_for_twins(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    info = _info(body)
    if "mul_nwb_bir_wt" not in info:
        return False
    info["mul_nwb_bir_wt"] = info["mul_nwb_bir_wt"].split(",")[0]
    return True


@_own("产伤诊断而出生已久", "NEO-005", touches="diag_code")
def _birth_injury_later(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    if int(_info(body).get("nwb_age", 0)) <= 30:
        return False
    _add_diagnosis(body, "P12.000", "产伤引起的头颅血肿")
    return True


@_own("正常新生儿而主要诊断为围产期疾病", "NEO-012", touches="nwb_adm_type")
def _normal_newborn(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    info = _info(body)
    if info.get("nwb_adm_type") != "3":
        return False
    info["nwb_adm_type"] = "1"
    return True


@_own("早产儿类型而无早产诊断", "NEO-011", touches="nwb_adm_type")
def _preterm_without_code(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    info = _info(body)
    if info.get("nwb_adm_type") != "3":
        return False
    info["nwb_adm_type"] = "2"
    return True


@_own("成人填新生儿体重", "NEO-013", touches="nwb_bir_wt")
def _weight_of_an_adult(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    if not _age_at_least(1, body) or any(
        row["diag_code"].startswith(("O", "Z3")) for row in body["diseinfo"]
    ):
        return False
    _info(body)["nwb_bir_wt"] = 3200
    return True


@_own("低体重主要诊断而无体重", "NEO-014", touches="nwb_bir_wt")
def _low_weight_without_weight(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    info = _info(body)
    if "nwb_adm_type" not in info:
        return False
    body["diseinfo"] = [r for r in body["diseinfo"] if not r["diag_code"].startswith("P07")]
    body["diseinfo"][0] |= {"diag_code": "P07.101", "diag_name": "低出生体重儿（1500-2499克）"}
    info["diag_code_cnt"] = len(body["diseinfo"])
    info.pop("nwb_bir_wt", None)
    return True


_NEWBORN = [
    _newborn_only("NEO-001", "新生儿缺出生体重", {"nwb_bir_wt": None}),
    _newborn_only("NEO-001", "新生儿缺入院体重", {"nwb_adm_wt": None}),
    _newborn_only("NEO-002", "新生儿缺入院类型", {"nwb_adm_type": None}),
    _mother_without_weight,
    _one_weight_for_twins,
    _birth_injury_later,
    _with_weight("NEO-006", "P07.000x001", "超低出生体重儿(750-999克)", 3200),
    _with_weight("NEO-007", "P07.100x002", "极低出生体重儿(1000-1249克)", 3200),
    _with_weight("NEO-008", "P07.100x003", "极低出生体重儿(1250-1499克)", 3200),
    _with_weight("NEO-009", "P07.100x004", "低出生体重儿(1500-2499克)", 3200),
    _with_weight("NEO-010", "P08.000", "特大婴儿", 3600),
    _preterm_without_code,
    _normal_newborn,
    _weight_of_an_adult,
    _low_weight_without_weight,
]

DEFECTS: tuple[Defect, ...] = (
    *_STRUCTURE,
    _node_without_rows,
    *_COMPLETENESS,
    _no_tcm_diagnosis,
    _no_chronic_department,
    _wrong_check_digit,
    _other_birth_date,
    _other_sex_in_number,
    *_FORMAT,
    _full_width_code,
    *_DICTIONARY,
    _grey_diagnosis,
    _grey_procedure,
    *_LOGIC,
    *_FEES,
    *_SEX,
    *_AGE,
    *_NEWBORN,
    *CLINICAL,
    *BACKING,
    *PROCEDURES,
    *INDICATIONS,
)
"""Every mistake that can be planted, by family of the rules that find it."""
