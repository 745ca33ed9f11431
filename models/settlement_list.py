"""The settlement list (医疗保障基金结算清单) as typed records: the nodes of interfaces 4101 and 4101A,
and two optional ones of our own: the charge lines and the evidence behind the list.

Attribute names are the field's English terms; the official wire name of each field stands beside it
and is what JSON carries. An absent, null or empty value is None. Sources: 医保办发〔2020〕20号 and
〔2021〕34号, interface specification 4101 / 4101A.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated as A
from typing import Any, Literal, get_type_hints

import msgspec

Interface = Literal["4101", "4101A"]

MINUTES_PER_DAY = 24 * 60
MAX_YUAN = 10**14
"""An amount has at most 16 digits, two of them decimals."""
MAX_COUNT = 10**9


class Minutes(int):
    """A duration in minutes, on the wire 天/时/分 such as ``1/13/24`` (13 h 24 min and one day)."""

    @classmethod
    def parse(cls, text: str) -> Minutes:
        """Read 天/时/分; 时 up to 24 and 分 up to 60 as the upload platform does. Raises ValueError."""
        found = re.fullmatch(r"\s*(\d{1,5})/(\d{1,2})/(\d{1,2})\s*", text, re.ASCII)
        if not found:
            raise ValueError("应为 天/时/分，例如 1/13/24")
        days, hours, minutes = map(int, found.groups())
        if hours > 24 or minutes > 60:
            raise ValueError("时应为 0–24、分应为 0–60")
        return cls(days * MINUTES_PER_DAY + hours * 60 + minutes)

    def wire(self) -> str:
        days, rest = divmod(int(self), MINUTES_PER_DAY)
        return f"{days}/{rest // 60}/{rest % 60}"


class Weights(tuple[float, ...]):
    """Weights of one or several newborns in g, on the wire separated by half-width commas."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Weights:
        """Read ``3200`` or ``2100,1980``. Raises ValueError."""
        parts = text.strip().split(",")
        if len(parts) > 99 or not all(
            re.fullmatch(r"\s*\d{1,6}(\.\d{1,2})?\s*", part, re.ASCII) for part in parts
        ):
            raise ValueError("应为阿拉伯数字（克），多个新生儿用半角逗号分隔")
        return cls(float(part) for part in parts)

    def wire(self) -> str:
        return ",".join(f"{weight:g}" for weight in self)


class Info(msgspec.Struct, frozen=True):
    """What the interface says of one field, beyond its type."""

    label: str
    length: int | None
    attribute: str = ""
    wire: str = ""
    node: str = ""
    kind: str = ""
    only_4101: bool = False


def _meta(label: str, length: int | None, only_4101: bool) -> msgspec.Meta:
    return msgspec.Meta(title=label, extra={"length": length, "only_4101": only_4101})


def _in_both(label: str, length: int | None = None) -> msgspec.Meta:
    return _meta(label, length, only_4101=False)


def _in_4101(label: str, length: int | None = None) -> msgspec.Meta:
    """A field that 4101A dropped."""
    return _meta(label, length, only_4101=True)


def _wire(name: str) -> Any:
    return msgspec.field(default=None, name=name)


Text = str | None
Number = A[float, msgspec.Meta(ge=-MAX_YUAN, le=MAX_YUAN)] | None
Count = A[int, msgspec.Meta(ge=-MAX_COUNT, le=MAX_COUNT)] | None
Day = date | None
Moment = A[datetime, msgspec.Meta(tz=False)] | None
Duration = Minutes | None
Grams = Weights | None

both, full = _in_both, _in_4101


class Stay(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """setlinfo: patient, stay, settlement."""

    visit_id: A[Text, both("就诊ID", 30)] = _wire("mdtrt_id")
    settlement_id: A[Text, both("结算ID", 30)] = _wire("setl_id")
    person_number: A[Text, both("人员编号", 30)] = _wire("psn_no")
    institution_name: A[Text, full("定点医药机构名称", 200)] = _wire("fixmedins_name")
    institution_code: A[Text, full("定点医药机构编号", 12)] = _wire("fixmedins_code")
    settlement_level: A[Text, full("医保结算等级", 3)] = _wire("hi_setl_lv")
    insurance_number: A[Text, both("医保编号", 30)] = _wire("hi_no")
    record_number: A[Text, both("病案号", 40)] = _wire("medcasno")
    declared_at: A[Moment, both("申报时间")] = _wire("dcla_time")
    patient_name: A[Text, full("人员姓名", 50)] = _wire("psn_name")
    sex: A[Text, full("性别", 6)] = _wire("gend")
    birth_date: A[Day, full("出生日期")] = _wire("brdy")
    age: A[Number, full("年龄")] = _wire("age")
    nationality: A[Text, both("国籍", 6)] = _wire("ntly")
    newborn_age_days: A[Count, full("（年龄不足1周岁）年龄")] = _wire("nwb_age")
    age_days: A[Count, both("年龄（天）")] = _wire("age_days")
    ethnicity: A[Text, full("民族", 3)] = _wire("naty")
    certificate_type: A[Text, full("患者证件类别", 3)] = _wire("patn_cert_type")
    certificate_number: A[Text, full("证件号码", 50)] = _wire("certno")
    occupation: A[Text, both("职业", 6)] = _wire("prfs")
    address: A[Text, both("现住址", 200)] = _wire("curr_addr")
    employer_name: A[Text, both("单位名称", 200)] = _wire("emp_name")
    employer_address: A[Text, both("单位地址", 200)] = _wire("emp_addr")
    employer_phone: A[Text, both("单位电话", 50)] = _wire("emp_tel")
    postcode: A[Text, both("邮编", 6)] = _wire("poscode")
    contact_name: A[Text, both("联系人姓名", 50)] = _wire("coner_name")
    contact_relation: A[Text, both("与患者关系", 6)] = _wire("patn_rlts")
    contact_address: A[Text, both("联系人地址", 200)] = _wire("coner_addr")
    contact_phone: A[Text, both("联系人电话", 50)] = _wire("coner_tel")
    insurance_type: A[Text, full("医保类型", 3)] = _wire("hi_type")
    insured_region: A[Text, full("参保地", 6)] = _wire("insuplc")
    special_person_type: A[Text, full("特殊人员类型", 6)] = _wire("sp_psn_type")
    newborn_admission_type: A[Text, both("新生儿入院类型", 3)] = _wire("nwb_adm_type")
    birth_weight: A[Grams, both("新生儿出生体重")] = _wire("nwb_bir_wt")
    admission_weight: A[Grams, both("新生儿入院体重")] = _wire("nwb_adm_wt")
    multiple_birth_weights: A[Grams, both("多新生儿出生体重")] = _wire("mul_nwb_bir_wt")
    multiple_admission_weights: A[Grams, both("多新生儿入院体重")] = _wire("mul_nwb_adm_wt")
    chronic_department: A[Text, both("门诊慢特病诊断科别", 50)] = _wire("opsp_diag_caty")
    chronic_visit_date: A[Day, both("门诊慢特病就诊日期")] = _wire("opsp_mdtrt_date")
    inpatient_type: A[Text, full("住院医疗类型", 3)] = _wire("ipt_med_type")
    admission_way: A[Text, both("入院途径", 3)] = _wire("adm_way")
    treatment_type: A[Text, both("治疗类别", 3)] = _wire("trt_type")
    admission_time: A[Moment, both("入院时间")] = _wire("adm_time")
    admission_department: A[Text, full("入院科别", 6)] = _wire("adm_caty")
    hospital_admission_department: A[Text, both("院内入院科室代码", 30)] = _wire("adm_dept_codg")
    hospital_admission_department_name: A[Text, both("院内入院科室名称", 100)] = _wire("adm_dept_name")
    transfer_departments: A[Text, both("转科科别")] = _wire("refldept_dept")
    transferred: A[Text, both("转科标志", 3)] = _wire("traf_dept_flag")
    discharge_time: A[Moment, both("出院时间")] = _wire("dscg_time")
    discharge_department: A[Text, both("出院科别", 6)] = _wire("dscg_caty")
    hospital_discharge_department: A[Text, both("院内出院科室代码", 30)] = _wire("dscg_dept_codg")
    hospital_discharge_department_name: A[Text, both("院内出院科室名称", 100)] = _wire("dscg_dept_name")
    length_of_stay: A[Count, full("实际住院天数")] = _wire("act_ipt_days")
    outpatient_diagnosis: A[Text, both("门（急）诊西医诊断", 200)] = _wire("otp_wm_dise")
    outpatient_diagnosis_code: A[Text, both("门（急）诊西医诊断疾病代码", 20)] = _wire("wm_dise_code")
    outpatient_tcm_diagnosis: A[Text, both("门（急）诊中医诊断", 200)] = _wire("otp_tcm_dise")
    outpatient_tcm_diagnosis_code: A[Text, both("门（急）诊中医诊断代码", 20)] = _wire("tcm_dise_code")
    diagnosis_count: A[Count, full("诊断代码计数")] = _wire("diag_code_cnt")
    principal_flag: A[Text, full("主诊断标志", 3)] = _wire("maindiag_flag")
    procedure_count: A[Count, full("手术操作代码计数")] = _wire("oprn_oprt_code_cnt")
    ventilation: A[Duration, both("呼吸机使用时长")] = _wire("vent_used_dura")
    coma_before_admission: A[Duration, both("颅脑损伤患者入院前昏迷时长")] = _wire("pwcry_bfadm_coma_dura")
    coma_after_admission: A[Duration, both("颅脑损伤患者入院后昏迷时长")] = _wire("pwcry_afadm_coma_dura")
    blood_kind: A[Text, full("输血品种", 3)] = _wire("bld_cat")
    blood_amount: A[Number, full("输血量")] = _wire("bld_amt")
    blood_unit: A[Text, full("输血计量单位", 3)] = _wire("bld_unt")
    special_nursing_days: A[Count, both("特级护理天数")] = _wire("spga_nurscare_days")
    first_level_nursing_days: A[Count, both("一级护理天数")] = _wire("lv1_nurscare_days")
    second_level_nursing_days: A[Count, both("二级护理天数")] = _wire("scd_nurscare_days")
    third_level_nursing_days: A[Count, both("三级护理天数")] = _wire("lv3_nurscare_days")
    discharge_way: A[Text, both("离院方式", 3)] = _wire("dscg_way")
    receiver_name: A[Text, both("拟接收机构名称", 100)] = _wire("acp_medins_name")
    receiver_code: A[Text, both("拟接收机构代码", 30)] = _wire("acp_optins_code")
    bill_code: A[Text, both("票据代码", 50)] = _wire("bill_code")
    bill_number: A[Text, both("票据号码", 30)] = _wire("bill_no")
    transaction_number: A[Text, both("业务流水号", 50)] = _wire("biz_sn")
    readmission_planned: A[Text, both("出院31天内再住院计划标志", 3)] = _wire("days_rinp_flag_31")
    readmission_purpose: A[Text, both("出院31天内再住院目的", 200)] = _wire("days_rinp_pup_31")
    physician_name: A[Text, both("主诊医师姓名", 50)] = _wire("chfpdr_name")
    physician_code: A[Text, both("主诊医师代码", 30)] = _wire("chfpdr_code")
    nurse_name: A[Text, both("责任护士姓名", 50)] = _wire("resp_nurs_name")
    nurse_code: A[Text, both("责任护士代码", 30)] = _wire("resp_nurs_code")
    settlement_start: A[Day, both("结算开始日期")] = _wire("setl_begn_date")
    settlement_end: A[Day, both("结算结束日期")] = _wire("setl_end_date")
    self_pay_yuan: A[Number, full("个人自付")] = _wire("psn_selfpay")
    own_pay_yuan: A[Number, full("个人自费")] = _wire("psn_ownpay")
    account_pay_yuan: A[Number, full("个人账户支出")] = _wire("acct_pay")
    cash_pay_yuan: A[Number, full("个人现金支付")] = _wire("psn_cashpay")
    total_fee_yuan: A[Number, full("医疗费总额")] = _wire("medfee_sumamt")
    payment_method: A[Text, both("医保支付方式", 3)] = _wire("hi_paymtd")
    insurance_office: A[Text, full("医保机构", 100)] = _wire("hsorg")
    insurance_clerk: A[Text, full("医保机构经办人", 50)] = _wire("hsorg_opter")
    filling_department: A[Text, both("医疗机构填报部门", 100)] = _wire("medins_fill_dept")
    filling_person: A[Text, both("医疗机构填报人", 50)] = _wire("medins_fill_psn")
    status_type: A[Text, both("状态分类", 3)] = _wire("stas_type")


class FundPayment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """payinfo: what one fund pays."""

    fund_type: A[Text, full("基金支付类型", 6)] = _wire("fund_pay_type")
    amount_yuan: A[Number, full("基金支付金额")] = _wire("fund_payamt")


class ChronicDiagnosis(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """opspdiseinfo: a diagnosis of 门诊慢特病, with its procedure."""

    name: A[Text, both("诊断名称", 100)] = _wire("diag_name")
    code: A[Text, both("诊断代码", 20)] = _wire("diag_code")
    procedure_name: A[Text, both("手术操作名称", 500)] = _wire("oprn_oprt_name")
    procedure_code: A[Text, both("手术操作代码", 30)] = _wire("oprn_oprt_code")


class Diagnosis(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """diseinfo: a discharge diagnosis. ``condition_on_admission`` is 入院病情 1–4."""

    kind: A[Text, both("诊断类别", 3)] = _wire("diag_type")
    code: A[Text, both("诊断代码", 20)] = _wire("diag_code")
    name: A[Text, both("诊断名称", 100)] = _wire("diag_name")
    condition_on_admission: A[Text, both("入院病情类型", 3)] = _wire("adm_cond_type")
    principal_flag: A[Text, both("主诊断标志", 3)] = _wire("maindiag_flag")


class Charge(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """iteminfo: the charges of one of the fourteen categories."""

    category: A[Text, full("医疗收费项目", 6)] = _wire("med_chrgitm")
    amount_yuan: A[Number, full("金额")] = _wire("amt")
    class_a_yuan: A[Number, full("甲类费用合计")] = _wire("claa_sumfee")
    class_b_yuan: A[Number, full("乙类金额")] = _wire("clab_amt")
    own_pay_yuan: A[Number, full("全自费金额")] = _wire("fulamt_ownpay_amt")
    other_yuan: A[Number, full("其他金额")] = _wire("oth_amt")


class Procedure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """oprninfo: an operation or procedure (手术及操作). ``kind`` 1 main, 2 other."""

    kind: A[Text, both("手术操作类别", 3)] = _wire("oprn_oprt_type")
    name: A[Text, both("手术操作名称", 500)] = _wire("oprn_oprt_name")
    code: A[Text, both("手术操作代码", 30)] = _wire("oprn_oprt_code")
    performed_on: A[Day, full("手术操作日期")] = _wire("oprn_oprt_date")
    started_at: A[Moment, both("手术操作开始时间")] = _wire("oprn_oprt_begntime")
    ended_at: A[Moment, both("手术操作结束时间")] = _wire("oprn_oprt_endtime")
    anaesthesia: A[Text, both("麻醉方式", 6)] = _wire("anst_way")
    surgeon_name: A[Text, full("术者医师姓名", 50)] = _wire("oper_dr_name")
    surgeon_code: A[Text, both("术者医师代码", 20)] = _wire("oper_dr_code")
    anaesthetist_name: A[Text, full("麻醉医师姓名", 50)] = _wire("anst_dr_name")
    anaesthetist_code: A[Text, both("麻醉医师代码", 20)] = _wire("anst_dr_code")
    anaesthesia_started_at: A[Moment, both("麻醉开始时间")] = _wire("anst_begntime")
    anaesthesia_ended_at: A[Moment, both("麻醉结束时间")] = _wire("anst_endtime")


class IntensiveCare(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """icuinfo: one stay in an intensive care ward."""

    ward_type: A[Text, both("重症监护病房类型", 6)] = _wire("scs_cutd_ward_type")
    entered_at: A[Moment, both("重症监护进入时间")] = _wire("scs_cutd_inpool_time")
    left_at: A[Moment, both("重症监护退出时间")] = _wire("scs_cutd_exit_time")
    duration: A[Duration, both("重症监护合计时长")] = _wire("scs_cutd_sum_dura")


class Transfusion(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """bldinfo: blood given."""

    kind: A[Text, both("输血品种", 3)] = _wire("bld_cat")
    amount: A[Number, both("输血量")] = _wire("bld_amt")
    unit: A[Text, both("输血计量单位", 3)] = _wire("bld_unt")


class ChargeLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """feedetail: one charge line, under the names of interface 2301. Never part of what 4101 uploads.

    A refund is a line with negative quantity and amount. ``device_identifier`` is an addition of ours.
    """

    serial_number: A[Text, both("费用明细流水号", 30)] = _wire("feedetl_sn")
    charged_at: A[Moment, both("费用发生时间")] = _wire("fee_ocur_time")
    national_code: A[Text, both("医疗目录编码", 50)] = _wire("med_list_codg")
    item_code: A[Text, both("医药机构目录编码", 150)] = _wire("medins_list_codg")
    item_name: A[Text, both("医药机构目录名称", 200)] = _wire("medins_list_name")
    category: A[Text, both("医疗收费项目类别", 6)] = _wire("med_chrgitm_type")
    quantity: A[Number, both("数量")] = _wire("cnt")
    price_yuan: A[Number, both("单价")] = _wire("pric")
    amount_yuan: A[Number, both("明细项目费用总额")] = _wire("det_item_fee_sumamt")
    department_code: A[Text, both("开单科室编码", 30)] = _wire("bilg_dept_codg")
    department_name: A[Text, both("开单科室名称", 100)] = _wire("bilg_dept_name")
    doctor_code: A[Text, both("开单医生编码", 30)] = _wire("bilg_dr_codg")
    doctor_name: A[Text, both("开单医师姓名", 50)] = _wire("bilg_dr_name")
    order_number: A[Text, both("处方/医嘱号", 40)] = _wire("rx_drord_no")
    device_identifier: A[Text, both("医疗器械唯一标识（UDI）", 200)] = _wire("udi")


class Evidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """evidence: an order, or what was given, measured, seen or nursed; all names are ours.

    ``kind``: order, drug, lab, exam or nursing. ``value`` is a number or text (``<0.01``, ``双肺渗出``).
    """

    kind: A[Text, both("证据类别", 10)] = _wire("kind")
    code: A[Text, both("项目代码", 50)] = _wire("code")
    name: A[Text, both("项目名称", 200)] = _wire("name")
    value: A[Text, both("结果", 2000)] = _wire("value")
    unit: A[Text, both("结果单位", 20)] = _wire("unit")
    started_at: A[Moment, both("开始或采样时间")] = _wire("start")
    ended_at: A[Moment, both("结束时间")] = _wire("end")
    order_number: A[Text, both("医嘱号", 40)] = _wire("order_no")


class SettlementList(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One settlement list. Rows stand in the order received."""

    stay: Stay = msgspec.field(default_factory=Stay, name="setlinfo")
    fund_payments: tuple[FundPayment, ...] = msgspec.field(default=(), name="payinfo")
    chronic_diagnoses: tuple[ChronicDiagnosis, ...] = msgspec.field(default=(), name="opspdiseinfo")
    diagnoses: tuple[Diagnosis, ...] = msgspec.field(default=(), name="diseinfo")
    charges: tuple[Charge, ...] = msgspec.field(default=(), name="iteminfo")
    procedures: tuple[Procedure, ...] = msgspec.field(default=(), name="oprninfo")
    intensive_care: tuple[IntensiveCare, ...] = msgspec.field(default=(), name="icuinfo")
    transfusions: tuple[Transfusion, ...] = msgspec.field(default=(), name="bldinfo")
    charge_lines: tuple[ChargeLine, ...] = msgspec.field(default=(), name="feedetail")
    evidence: tuple[Evidence, ...] = msgspec.field(default=(), name="evidence")


RECORDS: Mapping[str, type[msgspec.Struct]] = {
    "setlinfo": Stay,
    "payinfo": FundPayment,
    "opspdiseinfo": ChronicDiagnosis,
    "diseinfo": Diagnosis,
    "iteminfo": Charge,
    "oprninfo": Procedure,
    "icuinfo": IntensiveCare,
    "bldinfo": Transfusion,
    "feedetail": ChargeLine,
    "evidence": Evidence,
}
"""The record type of each node, by wire name."""

NODE_LABELS: Mapping[str, str] = {
    "setlinfo": "基本信息",
    "payinfo": "基金支付",
    "opspdiseinfo": "门诊慢特病诊断",
    "diseinfo": "出院诊断",
    "iteminfo": "收费项目",
    "oprninfo": "手术操作",
    "icuinfo": "重症监护",
    "bldinfo": "输血",
    "feedetail": "收费明细",
    "evidence": "诊疗证据",
}

NODES_ONLY_4101 = frozenset({"payinfo", "iteminfo"})
BACKING_NODES = frozenset({"feedetail", "evidence"})
"""Optional nodes of ours that back a list and are never uploaded with it."""
NODE_ATTRIBUTES: Mapping[str, str] = {
    field.encode_name: field.name for field in msgspec.structs.fields(SettlementList)
}
"""Attribute of SettlementList by wire name of the node."""

_KINDS: tuple[tuple[object, str], ...] = (
    (Text, "text"),
    (Number, "number"),
    (Count, "count"),
    (Day, "date"),
    (Moment, "datetime"),
    (Duration, "duration"),
    (Grams, "weights"),
)


def _fields(node: str, record: type[msgspec.Struct]) -> dict[str, Info]:
    hints = get_type_hints(record, include_extras=True)
    infos = {}
    for field in msgspec.structs.fields(record):
        annotated = hints[field.name]
        meta: msgspec.Meta = annotated.__metadata__[-1]
        extra = meta.extra or {}
        kind = next(name for hint, name in _KINDS if annotated.__origin__ == hint)
        if field.name.endswith("_yuan"):
            kind = "amount"
        infos[field.encode_name] = Info(
            label=meta.title or "",
            length=extra["length"],
            attribute=field.name,
            wire=field.encode_name,
            node=node,
            kind=kind,
            only_4101=extra["only_4101"] or node in NODES_ONLY_4101,
        )
    return infos


FIELDS: Mapping[str, Mapping[str, Info]] = {node: _fields(node, record) for node, record in RECORDS.items()}
"""Every field by node and wire name, in official order."""
