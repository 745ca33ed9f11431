"""Where each field of the settlement list stands on the page: sections and blocks in the official order."""

from __future__ import annotations

from dataclasses import dataclass

from coding.library import System


@dataclass(frozen=True, slots=True)
class Block:
    """A titled group of single fields, or with ``node`` a table of rows."""

    title: str
    fields: tuple[str, ...] = ()
    node: str = ""
    foot: str = ""
    """What the coder may want to know of this table, in Chinese."""


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page; ``short`` is its name in the jump bar."""

    id: str
    title: str
    short: str
    blocks: tuple[Block, ...]


def _fields(names: str) -> tuple[str, ...]:
    return tuple(names.split())


SECTIONS = (
    Section(
        "list",
        "清单标识",
        "标识",
        (
            Block(
                "",
                _fields(
                    "fixmedins_name fixmedins_code hi_setl_lv medcasno hi_no mdtrt_id setl_id psn_no"
                    " dcla_time stas_type"
                ),
            ),
        ),
    ),
    Section(
        "basic",
        "一、基本信息",
        "基本信息",
        (
            Block(
                "患者",
                _fields(
                    "psn_name gend brdy age age_days nwb_age ntly naty patn_cert_type certno prfs"
                    " hi_type insuplc sp_psn_type"
                ),
            ),
            Block(
                "住址、单位与联系人",
                _fields(
                    "curr_addr emp_name emp_addr emp_tel poscode coner_name patn_rlts coner_tel coner_addr"
                ),
            ),
            Block(
                "新生儿",
                _fields("nwb_adm_type nwb_bir_wt nwb_adm_wt mul_nwb_bir_wt mul_nwb_adm_wt"),
            ),
        ),
    ),
    Section(
        "chronic",
        "二、门诊慢特病诊疗信息",
        "门诊慢特病",
        (
            Block("", _fields("opsp_diag_caty opsp_mdtrt_date")),
            Block("门诊慢特病诊断", node="opspdiseinfo"),
        ),
    ),
    Section(
        "stay",
        "三、住院诊疗信息",
        "住院",
        (
            Block(
                "入院与出院",
                _fields(
                    "ipt_med_type adm_way trt_type adm_time adm_caty refldept_dept traf_dept_flag dscg_time"
                    " dscg_caty act_ipt_days adm_dept_codg adm_dept_name dscg_dept_codg dscg_dept_name"
                ),
            ),
            Block("门（急）诊诊断", _fields("wm_dise_code otp_wm_dise tcm_dise_code otp_tcm_dise")),
        ),
    ),
    Section(
        "diagnoses",
        "出院诊断",
        "诊断",
        (
            Block("", node="diseinfo", foot="第一行为主要诊断。输入编码、名称或拼音首字母即可查码。"),
            Block("", _fields("diag_code_cnt maindiag_flag")),
        ),
    ),
    Section(
        "procedures",
        "手术及操作",
        "手术",
        (
            Block("", node="oprninfo", foot="第一行为主要手术或操作。"),
            Block("", _fields("oprn_oprt_code_cnt")),
        ),
    ),
    Section(
        "care",
        "重症、输血与护理",
        "重症输血",
        (
            Block(
                "呼吸机与昏迷",
                _fields("vent_used_dura pwcry_bfadm_coma_dura pwcry_afadm_coma_dura"),
            ),
            Block("重症监护", node="icuinfo"),
            Block("输血", node="bldinfo"),
            Block("", _fields("bld_cat bld_amt bld_unt")),
            Block(
                "护理天数",
                _fields("spga_nurscare_days lv1_nurscare_days scd_nurscare_days lv3_nurscare_days"),
            ),
            Block(
                "离院与医护人员",
                _fields(
                    "dscg_way acp_medins_name acp_optins_code days_rinp_flag_31 days_rinp_pup_31"
                    " chfpdr_name chfpdr_code resp_nurs_name resp_nurs_code"
                ),
            ),
        ),
    ),
    Section(
        "fees",
        "四、医疗收费信息",
        "收费",
        (
            Block(
                "票据与结算期间",
                _fields("bill_code bill_no biz_sn setl_begn_date setl_end_date medfee_sumamt"),
            ),
            Block("收费项目", node="iteminfo"),
            Block("基金支付", node="payinfo"),
            Block("个人负担", _fields("psn_selfpay psn_ownpay acct_pay psn_cashpay")),
            Block(
                "支付方式与经办",
                _fields("hi_paymtd hsorg hsorg_opter medins_fill_dept medins_fill_psn"),
            ),
        ),
    ),
)
"""The form of 医保办发〔2021〕34号, part by part."""

WIDE = frozenset(
    _fields(
        "fixmedins_name curr_addr emp_name emp_addr coner_addr otp_wm_dise otp_tcm_dise"
        " acp_medins_name days_rinp_pup_31 biz_sn refldept_dept"
    )
)
"""Fields whose text is usually long: they take two columns."""

SECOND_LINE = {
    "oprninfo": _fields(
        "oprn_oprt_begntime oprn_oprt_endtime oper_dr_name oper_dr_code anst_dr_name anst_dr_code"
        " anst_begntime anst_endtime"
    )
}
"""Fields of a row that stand on a second line below its table line."""

DOMAIN_OF = {
    **{
        wire: wire
        for wire in _fields(
            "gend hi_setl_lv hi_type sp_psn_type nwb_adm_type ipt_med_type adm_way trt_type adm_cond_type"
            " dscg_way hi_paymtd diag_type maindiag_flag oprn_oprt_type anst_way bld_unt med_chrgitm"
            " fund_pay_type prfs patn_rlts scs_cutd_ward_type days_rinp_flag_31 patn_cert_type"
        )
    },
    "adm_caty": "departments",
    "dscg_caty": "departments",
    "refldept_dept": "departments",
    "opsp_diag_caty": "departments",
    "ntly": "countries",
}
"""The value domain that a field is chosen from."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """A code field and its name field, filled together from one code table."""

    code: str
    name: str
    system: System


LOOKUPS = {
    "setlinfo": (Lookup("wm_dise_code", "otp_wm_dise", "icd10"),),
    "opspdiseinfo": (
        Lookup("diag_code", "diag_name", "icd10"),
        Lookup("oprn_oprt_code", "oprn_oprt_name", "icd9cm3"),
    ),
    "diseinfo": (Lookup("diag_code", "diag_name", "icd10"),),
    "oprninfo": (Lookup("oprn_oprt_code", "oprn_oprt_name", "icd9cm3"),),
}
"""Code and name pairs by node."""
