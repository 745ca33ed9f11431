"""Planted mistakes of codes, procedures, ventilation, groups and charges: EXC, CMB, PROC, PPX, VENT, GRP, FRD."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random
from typing import Any

from api.demo.case_mix import FEMALE, MALE, CaseMix
from api.demo.generator import Payload
from api.demo.planted import Defect, Plant
from models.settlement_list import Minutes

_ANAESTHESIA = ("anst_way", "anst_dr_name", "anst_dr_code", "anst_begntime", "anst_endtime")
_NURSING = ("spga_nurscare_days", "lv1_nurscare_days", "scd_nurscare_days", "lv3_nurscare_days")
_AMOUNTS = ("amt", "claa_sumfee", "clab_amt", "fulamt_ownpay_amt", "oth_amt")
_TIME = "%Y-%m-%d %H:%M:%S"


def _rows(body: Payload, node: str) -> list[Payload]:
    found: list[Payload] = body.get(node, [])
    return found


def _own(name: str, *rules: str, touches: str) -> Callable[[Plant], Defect]:
    """Make a defect of a function."""
    return lambda plant: Defect(name, rules, plant, touches)


def _diagnose(body: Payload, text: str) -> None:
    """Add an other diagnosis, ``code name``."""
    code, _, name = text.partition(" ")
    row = {"diag_type": "2", "diag_code": code, "diag_name": name, "adm_cond_type": "1", "maindiag_flag": "0"}
    body["diseinfo"].append(row)
    body["setlinfo"]["diag_code_cnt"] = len(body["diseinfo"])


def _perform(body: Payload, text: str) -> Payload:
    """Add a further procedure, ``code name``, at the time and by the surgeon of the last one."""
    code, _, name = text.partition(" ")
    last = body["oprninfo"][-1]
    kept = {field: value for field, value in last.items() if field not in _ANAESTHESIA}
    row = kept | {"oprn_oprt_type": "2", "oprn_oprt_code": code, "oprn_oprt_name": name}
    body["oprninfo"].append(row)
    body["setlinfo"]["oprn_oprt_code_cnt"] = len(body["oprninfo"])
    return row


def _has_code(body: Payload, node: str, *prefixes: str) -> bool:
    field = "diag_code" if node == "diseinfo" else "oprn_oprt_code"
    return any(row[field].startswith(prefixes) for row in _rows(body, node))


def _diagnosed(rule: str, name: str, *texts: str) -> Defect:
    """Diagnoses that do not stand together, on a list without others of their sections."""
    sections = tuple(text[:2] for text in texts)

    def plant(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
        if _has_code(body, "diseinfo", *sections):
            return False
        for text in texts:
            _diagnose(body, text)
        return True

    return Defect(name, (rule,), plant, "diag_code")


def _performed(rule: str, name: str, *texts: str) -> Defect:
    """Procedures that do not stand together or alone, on a list with others of other chapters."""
    chapters = (*(text[:2] for text in texts), "00.")

    def plant(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
        if not _rows(body, "oprninfo") or _has_code(body, "oprninfo", *chapters):
            return False
        for text in texts:
            _perform(body, text)
        return True

    return Defect(name, (rule,), plant, "oprn_oprt_code")


def _left_out(rule: str, name: str, *prefixes: str, beside: str = "") -> Defect:
    """The procedures with these codes are taken out of a list that has others, such as ``beside``."""

    def plant(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
        rows = _rows(body, "oprninfo")
        kept = [row for row in rows if not row["oprn_oprt_code"].startswith(prefixes)]
        if not kept or len(kept) == len(rows) or not _has_code(body, "oprninfo", beside):
            return False
        body["oprninfo"] = kept
        body["setlinfo"]["oprn_oprt_code_cnt"] = len(kept)
        return True

    return Defect(name, (rule,), plant, "oprn_oprt_code")


def _principal(
    rule: str, name: str, text: str, fits: Callable[[Payload], bool], *, without: str = ""
) -> Defect:
    """Another principal diagnosis, ``code name``; ``without``: a field of setlinfo that is taken out."""
    code, _, title = text.partition(" ")

    def plant(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
        if not fits(body):
            return False
        body["diseinfo"] = [row for row in body["diseinfo"] if row["diag_code"][:3] != code[:3]]
        if not body["diseinfo"] or body["diseinfo"][0]["maindiag_flag"] != "1":
            return False
        body["diseinfo"][0] |= {"diag_code": code, "diag_name": title}
        body["setlinfo"]["diag_code_cnt"] = len(body["diseinfo"])
        body["setlinfo"].pop(without, None)
        return True

    return Defect(name, (rule,), plant, "diag_code")


def _field(rule: str, name: str, field: str, value: Any, fits: Callable[[Payload], bool]) -> Defect:
    """Put a value in a field of setlinfo."""

    def plant(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
        if not fits(body):
            return False
        body["setlinfo"][field] = value
        return True

    return Defect(name, (rule,), plant, field)


_DIAGNOSES = [
    _diagnosed("EXC-001", "麻疹有无并发症同时编码", "B05.900 麻疹不伴有并发症", "B05.400 麻疹伴有肠道并发症"),
    _diagnosed("EXC-002", "视网膜裂孔有无脱离同时编码", "H33.304 视网膜裂孔", "H33.001 孔源性视网膜脱离"),
    _diagnosed(
        "EXC-003",
        "阑尾炎有无腹膜炎同时编码",
        "K35.800x001 急性阑尾炎",
        "K35.201 急性阑尾炎破裂或穿孔后伴有弥漫性腹膜炎",
    ),
    _diagnosed("EXC-004", "酒精性肝衰竭重复", "K70.401 急性酒精性肝衰竭", "K72.003 急性肝衰竭"),
    _diagnosed("EXC-005", "病毒性肝炎又编肝衰竭", "K72.003 急性肝衰竭", "B19.900 病毒性肝炎，不伴有肝昏迷"),
    _diagnosed("EXC-006", "胆石症又编胆管梗阻", "K83.109 梗阻性黄疸", "K80.501 胆总管结石"),
    _diagnosed("EXC-007", "糖尿病类型矛盾", "E14.900x001 糖尿病", "E11.900 2型糖尿病"),
    _diagnosed("EXC-008", "1型与2型糖尿病并存", "E10.900 1型糖尿病", "E11.900 2型糖尿病"),
    _diagnosed(
        "EXC-009", "1型糖尿病有无并发症同时编码", "E10.900 1型糖尿病", "E10.100 1型糖尿病伴有酮症酸中毒"
    ),
    _diagnosed(
        "EXC-010", "2型糖尿病有无并发症同时编码", "E11.900 2型糖尿病", "E11.600x051 2型糖尿病伴血糖控制不佳"
    ),
    _diagnosed("EXC-011", "反流有无食管炎同时编码", "K21.901 食管反流", "K21.001 反流性食管炎"),
    _diagnosed("EXC-012", "溃疡有无出血同时编码", "K25.900x001 胃溃疡", "K25.400x001 胃溃疡伴出血"),
    _diagnosed("EXC-013", "高血压心脏病又编高血压", "I11.901 高血压性心脏病", "I10.x04 高血压2级"),
    _diagnosed(
        "EXC-014", "慢阻肺急性加重又编未特指", "J44.100 慢性阻塞性肺病伴有急性加重", "J44.900 慢性阻塞性肺病"
    ),
    _diagnosed("EXC-015", "泌尿道感染部位重复", "N39.000 泌尿道感染", "N10.x02 急性肾盂肾炎"),
    _diagnosed("EXC-016", "脑梗死有无病因同时编码", "I63.900 脑梗死", "I63.502 大脑动脉闭塞脑梗死"),
    _diagnosed("CMB-001", "高血压心脏病与肾脏病分开编", "I11.901 高血压性心脏病", "I12.900x003 高血压性肾病"),
    _diagnosed("CMB-002", "高血压与心力衰竭分开编", "I10.x04 高血压2级", "I50.908 慢性心力衰竭"),
    _diagnosed("CMB-003", "高血压与慢性肾脏病分开编", "I10.x04 高血压2级", "N18.300 慢性肾脏病3期"),
    _diagnosed("CMB-004", "慢阻肺与肺炎分开编", "J44.900 慢性阻塞性肺病", "J18.900 肺炎"),
    _diagnosed(
        "CMB-005",
        "慢阻肺加重又编慢支和肺气肿",
        "J44.100 慢性阻塞性肺病伴有急性加重",
        "J42.x00 慢性支气管炎",
        "J43.900 肺气肿",
    ),
    _diagnosed("CMB-006", "慢支与肺气肿分开编", "J42.x00 慢性支气管炎", "J43.900 肺气肿"),
    _diagnosed("CMB-007", "肺气肿与肺大疱分开编", "J43.900 肺气肿", "J43.901 肺大疱"),
    _diagnosed("CMB-008", "过敏性鼻炎与哮喘分开编", "J30.400 变应性鼻炎", "J45.900x001 支气管哮喘"),
    _diagnosed("CMB-009", "急性喉炎与咽炎分开编", "J04.000 急性喉炎", "J02.900 急性咽炎"),
    _diagnosed("CMB-010", "急性喉炎与喉梗阻分开编", "J04.000 急性喉炎", "J38.601 喉梗阻"),
    _diagnosed("CMB-011", "扁桃体与腺样体肥大分开编", "J35.100 扁桃体肥大", "J35.200 腺样体肥大"),
    _diagnosed("CMB-012", "胆囊结石与急性胆囊炎分开编", "K80.200x003 胆囊结石", "K81.000 急性胆囊炎"),
    _diagnosed("CMB-013", "胆囊结石与慢性胆囊炎分开编", "K80.200x003 胆囊结石", "K81.100 慢性胆囊炎"),
    _diagnosed("CMB-014", "胆管结石与胆囊炎分开编", "K80.501 胆总管结石", "K81.100 慢性胆囊炎"),
    _diagnosed("CMB-015", "胆管结石与胆管炎分开编", "K80.501 胆总管结石", "K83.001 急性胆管炎"),
    _diagnosed("CMB-016", "肠梗阻与肠粘连分开编", "K56.700 肠梗阻", "K66.002 肠粘连"),
    _diagnosed("CMB-017", "肝硬化与静脉曲张分开编", "K74.100 肝硬化", "I85.900x001 食管静脉曲张"),
    _diagnosed("CMB-018", "左心衰竭与肺水肿分开编", "I50.101 急性左心衰竭", "J81.x00x002 急性肺水肿"),
    _diagnosed("CMB-019", "腰椎间盘突出与坐骨神经痛分开编", "M51.202 腰椎间盘突出", "M54.300 坐骨神经痛"),
    _diagnosed("CMB-020", "睑内翻与倒睫分开编", "H02.003 睑内翻", "H02.004 倒睫"),
    _diagnosed("CMB-021", "尺骨与桡骨远端骨折分开编", "S52.500x001 桡骨远端骨折", "S52.804 尺骨下端骨折"),
    _diagnosed("CMB-022", "肾结石与输尿管结石分开编", "N20.000 肾结石", "N20.100 输尿管结石"),
    _diagnosed("CMB-023", "肾积水与结石分开编", "N13.301 肾积水", "N20.000 肾结石"),
    _diagnosed("CMB-024", "输尿管狭窄与肾感染分开编", "N13.504 输尿管狭窄", "N15.901 肾感染"),
    _diagnosed(
        "CMB-025", "两个瓣膜分开编", "I05.200 二尖瓣狭窄伴有关闭不全", "I06.100 风湿性主动脉瓣关闭不全"
    ),
    _diagnosed(
        "CMB-026", "糖尿病肾病与慢性肾脏病分开编", "E11.201+N08.3* 2型糖尿病性肾病", "N18.300 慢性肾脏病3期"
    ),
    _diagnosed("CMB-027", "骨质疏松与椎体骨折分开编", "M81.900 骨质疏松", "S32.000x002 腰椎压缩性骨折"),
]

_PROCEDURES = [
    _performed("PROC-002", "粘连松解而无粘连诊断", "54.5903 肠粘连松解术"),
    _performed(
        "PROC-003", "垂体切除又编活检", "07.6201 经蝶骨垂体病损切除术", "07.1400 垂体腺活组织检查，经蝶骨入路"
    ),
    _performed(
        "PROC-004", "垂体病损切除又编活检", "07.6301 垂体病损切除术", "07.1500 垂体腺活组织检查，未特指入路"
    ),
    _performed("PROC-005", "胸腺切除又编活检", "07.8101 胸腺病损切除术", "07.1600 胸腺活组织检查"),
    _performed(
        "PROC-006", "胸腺切除两种入路", "07.8101 胸腺病损切除术", "07.8300x002 胸腔镜下胸腺病损切除术"
    ),
    _performed(
        "PROC-007", "内镜取石又编造影", "51.8800x009 内镜下胆管碎石取石术", "51.1000 内镜逆行胰胆管造影[ERCP]"
    ),
    _performed(
        "PROC-008", "体外循环又编体外膜氧合", "39.6100 体外循环辅助开放性心脏手术", "39.6500 体外膜氧合[ECMO]"
    ),
    _performed("PROC-009", "腹腔镜手术又编腹腔镜检查", "51.2300 腹腔镜下胆囊切除术", "54.2100 腹腔镜检查"),
    _performed(
        "PROC-010", "宫腔镜手术又编宫腔镜检查", "68.2900x048 宫腔镜下子宫电凝止血术", "68.1200x001 宫腔镜检查"
    ),
    _performed("PROC-011", "去除异物方式未说明", "14.0000 去除眼后节异物"),
    _performed("PROC-012", "起搏器类型未说明", "37.8000x001 永久起搏器置入术"),
    _performed("PROC-015", "取栓缺血管数量", "39.7400x002 经皮颅内动脉取栓术"),
    _performed("PROC-016", "脊柱融合缺节段数量", "81.0300x001 后入路颈椎融合术"),
    _performed(
        "PROC-018", "主动脉置换缺体外循环", "38.4503 主动脉瓣和升主动脉置换和冠脉移植术（Bentall手术）"
    ),
    _performed("PROC-019", "椎管内置管缺输注泵", "03.9000 椎管的导管置入，为治疗性或姑息治疗性药物的输注"),
    _performed("PROC-020", "阴道悬吊缺移植物", "70.7802 腹腔镜阴道移植物固定术"),
    _performed("PROC-021", "食管切除缺吻合", "42.4103 胸腔镜食管部分切除术"),
    _performed("PROC-022", "前房角穿刺与切开分开编", "12.5100x001 前房角穿刺术", "12.5200x001 前房角切开术"),
    _performed(
        "PROC-028", "双侧疝修补又编单侧", "53.1701 双侧腹股沟疝无张力修补术", "53.0201 单侧腹股沟斜疝修补术"
    ),
    _performed(
        "VENT-004",
        "两种通气时长同时编码",
        "96.7101 呼吸机治疗[小于96小时]",
        "96.7201 呼吸机治疗[大于等于96小时]",
    ),
]


@_own("造影明确血管而脑梗死未特指", "EXC-017", touches="diag_code")
def _unspecific_after_angiography(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    if not _rows(body, "oprninfo") or _has_code(body, "diseinfo", "I6"):
        return False
    _diagnose(body, "I63.900 脑梗死")
    _diagnose(body, "I65.201 颈动脉狭窄")
    _perform(body, "88.4103 颈动脉造影术")
    return True


@_own("分娩又编流产", "EXC-018", touches="diag_code")
def _delivered_and_aborted(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    if not _has_code(body, "diseinfo", "O80", "O81", "O82", "O83", "O84"):
        return False
    _diagnose(body, "O04.001 不完全性医疗性流产并发盆腔感染")
    return True


@_own("化疗疗程又编先兆临产", "EXC-019", touches="diag_code")
def _treated_and_waiting(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    if body["setlinfo"]["gend"] != FEMALE or not _has_code(body, "diseinfo", "Z51"):
        return False
    _diagnose(body, "O47.900x002 先兆临产")
    return True


@_own("同一手术填了两行", "PROC-001", touches="oprninfo")
def _twice(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    rows = _rows(body, "oprninfo")
    if not rows:
        return False
    first = rows[0]
    _perform(body, f"{first['oprn_oprt_code']} {first['oprn_oprt_name']}").update(
        {field: first[field] for field in ("oprn_oprt_date", "oprn_oprt_begntime") if field in first}
    )
    return True


@_own("胆囊已切除又切胆囊", "PROC-027", touches="diag_code")
def _removed_before(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    if not _has_code(body, "oprninfo", "51.23"):
        return False
    _diagnose(body, "Z90.400x003 后天性胆囊缺失")
    return True


@_own("导尿用全身麻醉", "PROC-029", touches="anst_way")
def _asleep_at_the_bedside(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    rows = [row for row in _rows(body, "oprninfo") if "anst_way" in row]
    if not rows:
        return False
    added = _perform(body, "57.9400 留置导尿管的置入术")
    added |= {field: rows[0][field] for field in _ANAESTHESIA if field in rows[0]} | {"anst_way": "1"}
    return True


def _become(body: Payload, *texts: str) -> bool:
    """The procedures become these, main first; False on a list without any."""
    if not _rows(body, "oprninfo"):
        return False
    first = body["oprninfo"][0]
    body["oprninfo"] = [first]
    for text in texts[1:]:
        _perform(body, text)
    code, _, name = texts[0].partition(" ")
    first |= {"oprn_oprt_type": "1", "oprn_oprt_code": code, "oprn_oprt_name": name}
    body["setlinfo"]["oprn_oprt_code_cnt"] = len(texts)
    return True


@_own("支架数量作主要手术", "PPX-001", touches="oprn_oprt_code")
def _count_as_main(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    return _become(
        body, "00.4500 置入一根血管支架", "36.0700 药物洗脱冠状动脉支架置入", "00.4000 单根血管操作"
    )


@_own("主要手术排在第二行", "PPX-002", touches="oprn_oprt_type")
def _main_second(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    rows = _rows(body, "oprninfo")
    if len(rows) < 2:
        return False
    rows[0]["oprn_oprt_type"], rows[1]["oprn_oprt_type"] = "2", "1"
    return True


@_own("以造影作主要手术", "PPX-003", touches="oprn_oprt_code")
def _examination_as_main(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    return _become(body, "88.5600 用两根导管的冠状动脉造影术", "47.0100 腹腔镜下阑尾切除术")


@_own("以检查作主要操作", "PPX-004", touches="oprn_oprt_code")
def _diagnostic_as_main(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    return _become(body, "88.5600 用两根导管的冠状动脉造影术", "51.8402 内镜下胆管扩张术")


@_own("主要手术与主要诊断不在同一大类", "PPX-005", "GRP-006", touches="oprn_oprt_code")
def _other_organ(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    if not body["diseinfo"][0]["diag_code"].startswith(("I2", "N20", "S82", "H25")):
        return False
    return _become(body, "47.0100 腹腔镜下阑尾切除术")


def _on_ventilator(rule: str, name: str, text: str, hours: int) -> Defect:
    """A procedure with ``hours`` on the ventilator, on a list with others and without intensive care."""

    def plant(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
        if not _rows(body, "oprninfo") or _rows(body, "icuinfo") or _ventilated(body):
            return False
        _perform(body, text)
        body["setlinfo"]["vent_used_dura"] = Minutes(hours * 60).wire()
        return True

    return Defect(name, (rule,), plant, "vent_used_dura")


@_own("特级护理而无监护记录", "VENT-009", touches="icuinfo")
def _nursed_without_care(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    if "icuinfo" not in body:
        return False
    body.pop("icuinfo")
    body["setlinfo"]["spga_nurscare_days"] = 1
    return True


def _ventilated(body: Payload) -> bool:
    return "vent_used_dura" in body["setlinfo"]


_VENTILATION = [
    _on_ventilator("VENT-001", "不足96小时编码而时长超过", "96.7101 呼吸机治疗[小于96小时]", 98),
    _on_ventilator("VENT-002", "96小时编码而时长不足", "96.7201 呼吸机治疗[大于等于96小时]", 90),
    _performed("VENT-003", "有创通气缺使用时间", "96.7101 呼吸机治疗[小于96小时]"),
    _field(
        "VENT-003",
        "填呼吸机时间而无通气编码",
        "vent_used_dura",
        "0/12/0",
        lambda body: not _ventilated(body) and body["setlinfo"]["act_ipt_days"] > 2,
    ),
    _on_ventilator("VENT-006", "无创通气填使用时间", "93.9000 无创机械性通气", 30),
    _on_ventilator("VENT-007", "长时间通气而未进先期分组", "31.1x00x005 暂时性气管切开术", 120),
    _on_ventilator("VENT-008", "通气两天而无监护记录", "96.7101 呼吸机治疗[小于96小时]", 50),
    _nursed_without_care,
]


# groups


def _grown(body: Payload) -> bool:
    return int(body["setlinfo"].get("age", 0)) >= 18


def _of_sex(sex: str) -> Callable[[Payload], bool]:
    return lambda body: _grown(body) and body["setlinfo"]["gend"] == sex and not _rows(body, "oprninfo")


@_own("没有任何诊断", "GRP-001", touches="diseinfo")
def _no_diagnosis(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    body["diseinfo"] = []
    body["setlinfo"]["diag_code_cnt"] = 0
    return True


@_own("住院超过60天", "GRP-009", touches="adm_time")
def _long_stay(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    info = body["setlinfo"]
    admitted = datetime.strptime(info["adm_time"], _TIME) - timedelta(days=70)
    if not _grown(body):
        return False
    info["adm_time"] = admitted.strftime(_TIME)
    info["act_ipt_days"] += 70
    return True


@_own("心力衰竭又编左心衰竭", "GRP-010", touches="diag_code")
def _excluded_complication(body: Payload, _rng: Random, mix: CaseMix) -> bool:
    codes = [row["diag_code"] for row in body["diseinfo"]]
    added = "I50.900x018"
    level, table = mix.level[added]
    if (table, codes[0]) not in mix.excluded or any(code[:3] == added[:3] for code in codes[1:]):
        return False
    if level == "" or mix.complication(codes[0], codes[1:]):
        return False
    _diagnose(body, f"{added} 慢性心功能不全急性加重")
    return True


_GROUPS = [
    _no_diagnosis,
    _principal("GRP-002", "成人主要诊断为围生期感染", "P39.900 特发于围生期的感染", _grown),
    _principal("GRP-003", "男性主要诊断为子宫腺肌病", "N80.001 子宫腺肌病", _of_sex(MALE)),
    _principal("GRP-004", "分娩结局作主要诊断", "Z37.000x001 单胎活产", _of_sex(FEMALE)),
    _principal("GRP-005", "低体重作主要诊断而无体重", "P07.101 低出生体重儿（1500-2499克）",
               lambda body: "nwb_adm_type" in body["setlinfo"] and not _rows(body, "oprninfo"),
               without="nwb_bir_wt"),
    _long_stay, _excluded_complication,
]  # fmt: skip


# leads for fund supervision


def _charge(body: Payload, category: str) -> Payload:
    """The row of a category, added with nothing when there is none."""
    rows = body["iteminfo"]
    for row in rows:
        if row["med_chrgitm"] == category:
            found: Payload = row
            return found
    rows.append({"med_chrgitm": category, **dict.fromkeys(_AMOUNTS, 0.0)})
    added: Payload = rows[-1]
    return added


def _move(body: Payload, into: str, *categories: str) -> float:
    """Move whole categories of charges into another one; its new amount, yuan."""
    target = _charge(body, into)
    for row in [row for row in body["iteminfo"] if row["med_chrgitm"] in categories]:
        for field in _AMOUNTS:
            target[field] = round(target[field] + row[field], 2)
        body["iteminfo"].remove(row)
    return float(target["amt"])


def _amount(body: Payload, *categories: str) -> float:
    return float(sum(row["amt"] for row in body["iteminfo"] if row["med_chrgitm"] in categories))


@_own("普通肺炎编成重症肺炎", "FRD-001", touches="diag_code")
def _severe_on_paper(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    first = body["diseinfo"][0]
    if not first["diag_code"].startswith("J18.9") or _rows(body, "icuinfo") or _rows(body, "oprninfo"):
        return False
    if _has_code(body, "diseinfo", "J80", "J96", "R57", "R65", "R06", "A41", "J18.903"):
        return False
    first |= {"diag_code": "J18.903", "diag_name": "重症肺炎"}
    return True


@_own("收手术费而入内科组", "FRD-003", touches="iteminfo")
def _operation_uncoded(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    if _rows(body, "oprninfo") or _amount(body, "06", "09") < 2000:
        return False
    return _move(body, "06", "09") >= 2000


@_own("住院一天而没有任何操作", "FRD-004", touches="dscg_time")
def _hardly_stayed(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    info = body["setlinfo"]
    if _rows(body, "oprninfo") or _rows(body, "icuinfo") or info["dscg_way"] != "1":
        return False
    admitted = datetime.strptime(info["adm_time"], _TIME)
    info["dscg_time"] = (admitted + timedelta(hours=16)).strftime(_TIME)
    info["act_ipt_days"] = 1
    return True


@_own("只有药费", "FRD-005", touches="iteminfo")
def _only_drugs(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    return _move(body, "09", "03", "04", "05", "06", "08", "12") > 0


@_own("体检式住院", "FRD-008", touches="iteminfo")
def _checked_up(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    if _rows(body, "oprninfo") or not 1 <= body["setlinfo"]["act_ipt_days"] <= 3:
        return False
    return _move(body, "03", "05", "08", "09", "11", "12") > 0


@_own("护理天数远少于住院天数", "FRD-009", touches="lv1_nurscare_days")
def _bed_kept(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    info = body["setlinfo"]
    if info["act_ipt_days"] < 5 or not any(field in info for field in _NURSING):
        return False
    info |= {field: 0 for field in _NURSING if field in info}
    info["lv1_nurscare_days"] = 1
    return True


@_own("高额材料而无手术", "FRD-012", touches="iteminfo")
def _implant_uncoded(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    if _rows(body, "oprninfo") or _amount(body, "03", "04", "05", "08", "09") < 10_000:
        return False
    return _move(body, "08", "03", "04", "05", "09") >= 10_000


PROCEDURES: tuple[Defect, ...] = (
    *_DIAGNOSES,
    _unspecific_after_angiography,
    _delivered_and_aborted,
    _treated_and_waiting,
    *_PROCEDURES,
    _performed("PROC-013", "起搏器缺电极编码", "37.8301 双腔永久起搏器置入术"),
    _left_out("PROC-014", "支架缺支架数量", "00.45"),
    _left_out("PROC-014", "支架缺血管数量", "00.40", beside="36.07"),
    _left_out("PROC-017", "髋关节缺轴面编码", "00.7"),
    _twice,
    _removed_before,
    _asleep_at_the_bedside,
    _count_as_main,
    _main_second,
    _examination_as_main,
    _diagnostic_as_main,
    _other_organ,
    *_VENTILATION,
    *_GROUPS,
    _severe_on_paper,
    _operation_uncoded,
    _hardly_stayed,
    _only_drugs,
    _checked_up,
    _bed_kept,
    _implant_uncoded,
)
"""Mistakes of the families EXC, CMB, PROC, PPX, VENT, GRP and FRD."""
