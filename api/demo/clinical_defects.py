"""Planted mistakes of diagnoses and their choice: families DX, PDX, OBS, TUM and INJ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from api.demo.case_mix import FEMALE, MALE, CaseMix
from api.demo.generator import Payload
from api.demo.planted import Defect, Plant

COMA = ("pwcry_bfadm_coma_dura", "pwcry_afadm_coma_dura")
ADULTS = (18, 95)
TCM_KINDS = ("3", "4")
"""诊断类别 of the rows that are no western diagnosis."""


def _diagnosis(text: str, *, main: bool) -> Payload:
    """A row from ``code name``, or ``code name@4`` with another 入院病情 than 1."""
    text, _, condition = text.partition("@")
    code, _, name = text.partition(" ")
    return {
        "diag_type": "1" if main else "2",
        "diag_code": code,
        "diag_name": name,
        "adm_cond_type": condition or "1",
        "maindiag_flag": "1" if main else "0",
    }


def _suits(body: Payload, sex: str, ages: tuple[int, int]) -> bool:
    info = body["setlinfo"]
    return (not sex or info["gend"] == sex) and "age" in info and ages[0] <= int(info["age"]) <= ages[1]


def _replace_procedures(body: Payload, codes: tuple[str, ...]) -> None:
    """The procedures of the list become these, with the times and the staff of its first one."""
    first = body["oprninfo"][0] if body.get("oprninfo") else None
    rows = []
    for position, text in enumerate(codes):
        code, _, name = text.partition(" ")
        kind = "2" if position else "1"
        rows.append({**(first or {}), "oprn_oprt_type": kind, "oprn_oprt_code": code, "oprn_oprt_name": name})
    if rows:
        body["oprninfo"] = rows
    else:
        body.pop("oprninfo", None)
    body["setlinfo"]["oprn_oprt_code_cnt"] = len(rows)


def _case(
    rule: str,
    name: str,
    diagnoses: tuple[str, ...],
    *,
    procedures: tuple[str, ...] | None = None,
    sex: str = "",
    ages: tuple[int, int] = ADULTS,
    put: Mapping[str, str] | None = None,
    remove: tuple[str, ...] = (),
) -> Defect:
    """The western diagnoses of a list become these, principal first.

    ``procedures`` stand in place of the list's own, in a list that has some; () takes them out.
    """

    def plant(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
        if not _suits(body, sex, ages) or (procedures and not body.get("oprninfo")):
            return False
        info = body["setlinfo"]
        kept = [row for row in body["diseinfo"] if row["diag_type"] in TCM_KINDS]
        rows = [_diagnosis(text, main=not position) for position, text in enumerate(diagnoses)]
        body["diseinfo"] = rows + kept
        info["diag_code_cnt"] = len(body["diseinfo"])
        if procedures is not None:
            _replace_procedures(body, procedures)
        for field in remove:
            info.pop(field, None)
        info.update(put or {})
        return True

    return Defect(name, (rule,), plant, "diseinfo")


def _added(rule: str, name: str, diagnoses: tuple[str, ...], *, sex: str = "") -> Defect:
    """These stand among the other diagnoses too."""

    def plant(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
        if not _suits(body, sex, ADULTS):
            return False
        _append(body, [_diagnosis(text, main=False) for text in diagnoses])
        return True

    return Defect(name, (rule,), plant, "diseinfo")


def _append(body: Payload, rows: list[Payload]) -> None:
    body["diseinfo"].extend(rows)
    body["setlinfo"]["diag_code_cnt"] = len(body["diseinfo"])


def _own(name: str, rule: str, touches: str) -> Callable[[Plant], Defect]:
    """Make a defect of a function."""
    return lambda plant: Defect(name, (rule,), plant, touches)


@_own("其他诊断重复一条", "DX-001", "diseinfo")
def _other_twice(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    others = [row for row in body["diseinfo"] if row["diag_type"] == "2"]
    if not others:
        return False
    _append(body, [dict(others[-1])])
    return True


@_own("主要诊断又列为其他诊断", "DX-002", "diseinfo")
def _principal_again(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    _append(body, [{**body["diseinfo"][0], "diag_type": "2", "maindiag_flag": "0"}])
    return True


@_own("门诊诊断填外部原因", "DX-003", "wm_dise_code")
def _outpatient_external_cause(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    body["setlinfo"] |= {"wm_dise_code": "W01.900", "otp_wm_dise": "在同一平面上滑倒"}
    return True


@_own("门诊诊断与主要诊断不同章", "DX-017", "wm_dise_code")
def _outpatient_of_other_chapter(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    if body["diseinfo"][0]["diag_code"][0] not in "GIJMN":
        return False
    body["setlinfo"] |= {"wm_dise_code": "K29.500", "otp_wm_dise": "慢性胃炎"}
    return True


def _outpatient_of_sex(rule: str, sex: str, code: str, name: str) -> Defect:
    """A 门（急）诊诊断 of the other sex."""

    def plant(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
        if body["setlinfo"]["gend"] != sex:
            return False
        body["setlinfo"] |= {"wm_dise_code": code, "otp_wm_dise": name}
        return True

    return Defect(f"{'男' if sex == MALE else '女'}性门诊诊断 {name}", (rule,), plant, "wm_dise_code")


CLINICAL: tuple[Defect, ...] = (
    _other_twice,
    _principal_again,
    _outpatient_external_cause,
    _outpatient_of_other_chapter,
    _outpatient_of_sex("DX-018", MALE, "N80.001", "子宫腺肌病"),
    _outpatient_of_sex("DX-019", FEMALE, "N40.x00", "前列腺增生"),
    # DX
    _added("DX-004", "其他诊断填外部原因", ("W01.900 在同一平面上滑倒",)),
    _added("DX-005", "诊断填形态学编码", ("M81400/3 腺癌",)),
    _added("DX-006", "诊断编码后接形态学编码", ("C22.101M81600/3 肝内胆管癌",)),
    _added("DX-007", "星号编码没有剑号编码", ("N08.3* 糖尿病肾小球疾患",)),
    _added(
        "DX-008",
        "剑号与星号分列",
        (
            "E10.200x011 糖尿病肾病",
            "N08.3* 糖尿病肾小球疾患",
        ),
    ),
    _added("DX-010", "其他诊断有操作并发症", ("T81.400x001 操作后伤口感染@4",)),
    _case(
        "DX-011",
        "耐药而没有感染",
        (
            "I10.x05 高血压3级",
            "U82.200x002 产超广谱β-内酰胺酶大肠埃希菌(ESBLs)",
        ),
    ),
    _case(
        "DX-012",
        "心绞痛又列胸痛",
        (
            "I20.000 不稳定型心绞痛",
            "R07.200 心前区痛",
        ),
    ),
    _case(
        "DX-013",
        "诊断多为未特指",
        (
            "J18.900 肺炎",
            "K29.500 慢性胃炎",
            "E11.900 2型糖尿病",
            "M81.900 骨质疏松",
            "E03.900 甲状腺功能减退症",
        ),
    ),
    _case(
        "DX-015",
        "透析而没有肾衰竭",
        (
            "K29.500 慢性胃炎",
            "I10.x05 高血压3级",
        ),
        procedures=("39.9500 血液透析",),
    ),
    _case(
        "DX-016",
        "并发症排在慢性病后",
        (
            "I63.901 脑干梗死",
            "I10.x05 高血压3级",
            "J18.900 肺炎@4",
        ),
    ),
    _case(
        "DX-016",
        "术后状态排在疾病前",
        (
            "I63.901 脑干梗死",
            "Z95.501 冠状动脉支架植入后状态",
            "E11.900 2型糖尿病",
        ),
    ),
    _added("DX-020", "女性患者前列腺继发肿瘤", ("C79.818 前列腺继发恶性肿瘤",), sex=FEMALE),
    # PDX
    _case(
        "PDX-001",
        "主要诊断填外部原因",
        (
            "W01.900 在同一平面上滑倒",
            "S82.202 胫骨骨折",
        ),
    ),
    _case(
        "PDX-002",
        "主要诊断入院病情为无",
        (
            "J18.900 肺炎@4",
            "I10.x05 高血压3级",
        ),
    ),
    _case(
        "PDX-003",
        "胆囊切除而主要诊断为高血压",
        (
            "I10.x05 高血压3级",
            "K80.200x003 胆囊结石",
        ),
        procedures=("51.2300 腹腔镜下胆囊切除术",),
    ),
    _case(
        "PDX-004",
        "术后感染作主要诊断",
        (
            "T81.400x001 操作后伤口感染@4",
            "K80.200x003 胆囊结石",
        ),
        procedures=("51.2300 腹腔镜下胆囊切除术",),
    ),
    _case("PDX-005", "并发症没有附加诊断", ("T81.400x001 操作后伤口感染",)),
    _case(
        "PDX-006",
        "有心绞痛而以胸痛为主要诊断",
        (
            "R07.200 心前区痛",
            "I20.000 不稳定型心绞痛",
        ),
    ),
    _case(
        "PDX-007",
        "以发热为主要诊断",
        (
            "R50.900 发热",
            "I10.x05 高血压3级",
        ),
    ),
    _case(
        "PDX-008",
        "主要诊断名称写待查",
        (
            "J18.900 肺炎待查",
            "I10.x05 高血压3级",
        ),
    ),
    _case(
        "PDX-009",
        "化疗未做而主要诊断为化疗",
        (
            "Z51.101 手术前恶性肿瘤化学治疗",
            "C34.101 肺上叶恶性肿瘤",
            "Z53.200x001 因病人原因未进行操作",
        ),
        procedures=(),
    ),
    _case(
        "PDX-010",
        "主要诊断为较轻的烧伤",
        (
            "T22.200x002 上肢二度烧伤",
            "T24.300x002 髋部三度烧伤",
            "T31.000 累及体表10%以下的烧伤",
        ),
    ),
    _case(
        "PDX-011",
        "主要诊断为浅表损伤",
        (
            "S80.000 膝挫伤",
            "S72.000 股骨颈骨折",
        ),
    ),
    _case(
        "PDX-012",
        "中毒列为其他诊断",
        (
            "J96.000 急性呼吸衰竭",
            "T60.001 有机磷中毒",
        ),
    ),
    _case(
        "PDX-013",
        "分娩而主要诊断非产科",
        (
            "E03.900 甲状腺功能减退症",
            "Z37.000x001 单胎活产@4",
            "O80.000 头位顺产@4",
        ),
        sex=FEMALE,
        ages=(20, 42),
    ),
    _case(
        "PDX-014",
        "有会阴裂伤而以顺产为主要诊断",
        (
            "O80.000 头位顺产",
            "O70.000 分娩时Ⅰ度会阴裂伤",
            "Z37.000x001 单胎活产@4",
        ),
        sex=FEMALE,
        ages=(20, 42),
    ),
    _case(
        "PDX-015",
        "脑梗死后遗症而以康复为主要诊断",
        (
            "Z50.900x001 康复医疗",
            "I69.300x002 陈旧性脑梗死",
        ),
    ),
    _case(
        "PDX-016",
        "化疗而没有肿瘤诊断",
        (
            "Z51.101 手术前恶性肿瘤化学治疗",
            "I10.x05 高血压3级",
        ),
        procedures=("99.2503 静脉注射化疗药物",),
    ),
    _case(
        "PDX-017",
        "只做化疗而主要诊断为肺癌",
        (
            "C34.101 肺上叶恶性肿瘤",
            "I10.x05 高血压3级",
        ),
        procedures=("99.2503 静脉注射化疗药物",),
    ),
    _case(
        "PDX-018",
        "切除肺癌而主要诊断为化疗",
        (
            "Z51.101 手术前恶性肿瘤化学治疗",
            "C34.101 肺上叶恶性肿瘤",
        ),
        procedures=("32.4100 胸腔镜下肺叶切除术",),
    ),
    _case(
        "PDX-019",
        "放疗而没有放疗操作",
        (
            "Z51.003 恶性肿瘤放射治疗",
            "C34.101 肺上叶恶性肿瘤",
        ),
        procedures=(),
    ),
    _case(
        "PDX-020",
        "化疗而没有化疗操作",
        (
            "Z51.101 手术前恶性肿瘤化学治疗",
            "C34.101 肺上叶恶性肿瘤",
        ),
        procedures=(),
    ),
    _case(
        "PDX-021",
        "切除肝转移瘤而主要诊断为结肠癌",
        (
            "C18.900 结肠恶性肿瘤",
            "C78.700 肝部和肝内胆管继发性恶性肿瘤",
        ),
        procedures=("50.2200 部分肝切除术",),
    ),
    _case(
        "PDX-022",
        "只抽胸水而主要诊断为肺癌",
        (
            "C34.101 肺上叶恶性肿瘤",
            "J90.x00x003 胸膜炎伴积液",
        ),
        procedures=("34.9101 胸腔穿刺抽液术",),
    ),
    _case(
        "PDX-023",
        "有心肌梗死而主要诊断为冠心病",
        (
            "I25.103 冠状动脉粥样硬化性心脏病",
            "I21.401 急性非ST段抬高型心肌梗死",
        ),
        ages=(40, 90),
    ),
    _case(
        "PDX-024",
        "主要诊断为未特指的心力衰竭",
        (
            "I50.900 心力衰竭",
            "I10.x05 高血压3级",
        ),
    ),
    _case(
        "PDX-025",
        "骨质疏松骨折以骨折为主要诊断",
        (
            "S22.000x006 胸椎棘突骨折",
            "M80.900 骨质疏松伴有病理性骨折",
        ),
        ages=(50, 90),
    ),
    _case(
        "PDX-026",
        "主要诊断不属于任何大类",
        (
            "B95.600 金黄色葡萄球菌作为分类于其他章疾病的原因",
            "J18.900 肺炎",
        ),
    ),
    _case(
        "PDX-027",
        "主要手术不属于主要诊断的大类",
        (
            "I10.x05 高血压3级",
            "E11.900 2型糖尿病",
        ),
        procedures=("81.5400 全部膝关节置换",),
    ),
    _case(
        "PDX-029",
        "主要诊断为 R65.000",
        (
            "R65.000 传染性病因的全身炎症反应综合征不伴有器官衰竭",
            "I10.x05 高血压3级",
        ),
    ),
    _case(
        "PDX-030",
        "主要诊断为 B95.000",
        (
            "B95.000 A族链球菌作为分类于其他章疾病的原因",
            "I10.x05 高血压3级",
        ),
    ),
    _case(
        "PDX-031",
        "主要诊断为 T30.000",
        (
            "T30.000 身体烧伤",
            "I10.x05 高血压3级",
        ),
    ),
    _case(
        "PDX-032",
        "主要诊断为 T31.000",
        (
            "T31.000 累及体表10%以下的烧伤",
            "I10.x05 高血压3级",
        ),
    ),
    _case(
        "PDX-033",
        "主要诊断为 T32.000",
        (
            "T32.000 累及体表10%以下的腐蚀伤",
            "I10.x05 高血压3级",
        ),
    ),
    _case(
        "PDX-034",
        "主要诊断为 T92.600",
        (
            "T92.600 上肢挤压伤和创伤性切断后遗症",
            "I10.x05 高血压3级",
        ),
    ),
    _case(
        "PDX-035",
        "主要诊断为 T90.501",
        (
            "T90.501 陈旧性颅脑损伤",
            "I10.x05 高血压3级",
        ),
    ),
    _case(
        "PDX-036",
        "主要诊断为 Z33.x00x001",
        (
            "Z33.x00x001 妊娠状态",
            "I10.x05 高血压3级",
        ),
        sex=FEMALE,
        ages=(20, 42),
    ),
    _case(
        "PDX-037",
        "主要诊断为 Z37.000x001",
        (
            "Z37.000x001 单胎活产",
            "I10.x05 高血压3级",
        ),
        sex=FEMALE,
        ages=(20, 42),
    ),
    _case(
        "PDX-038",
        "主要诊断为 Z38.000",
        (
            "Z38.000 单胎，在医院内出生",
            "I10.x05 高血压3级",
        ),
    ),
    _case(
        "PDX-039",
        "主要诊断为 Z53.000",
        (
            "Z53.000 由于禁忌证而未进行操作",
            "I10.x05 高血压3级",
        ),
    ),
    _case(
        "PDX-040",
        "主要诊断为 Z80.000",
        (
            "Z80.000 消化器官恶性肿瘤家族史",
            "I10.x05 高血压3级",
        ),
    ),
    _case(
        "PDX-041",
        "主要诊断为 Z85.000x001",
        (
            "Z85.000x001 胆囊恶性肿瘤史",
            "I10.x05 高血压3级",
        ),
    ),
    _case(
        "PDX-042",
        "主要诊断为 Z86.001",
        (
            "Z86.001 宫颈原位肿瘤个人史",
            "I10.x05 高血压3级",
        ),
    ),
    _case(
        "PDX-043",
        "主要诊断为 Z88.000",
        (
            "Z88.000 青霉素过敏个人史",
            "I10.x05 高血压3级",
        ),
    ),
    _case(
        "PDX-044",
        "主要诊断为 Z89.000x001",
        (
            "Z89.000x001 后天性单侧手指缺失",
            "I10.x05 高血压3级",
        ),
    ),
    _case(
        "PDX-045",
        "主要诊断为 Z91.000",
        (
            "Z91.000 非药物和生物制品过敏个人史",
            "I10.x05 高血压3级",
        ),
    ),
    _case(
        "PDX-046",
        "主要诊断为 Z92.000x001",
        (
            "Z92.000x001 避孕史",
            "I10.x05 高血压3级",
        ),
    ),
    _case(
        "PDX-047",
        "主要诊断为 Z93.000",
        (
            "Z93.000 气管造口状态",
            "I10.x05 高血压3级",
        ),
    ),
    _case(
        "PDX-048",
        "主要诊断为 Z94.001",
        (
            "Z94.001 自体肾移植状态",
            "I10.x05 高血压3级",
        ),
    ),
    _case(
        "PDX-049",
        "主要诊断为 Z95.001",
        (
            "Z95.001 具有心脏起搏器",
            "I10.x05 高血压3级",
        ),
    ),
    _case(
        "PDX-050",
        "主要诊断为 Z96.001",
        (
            "Z96.001 输尿管内支架",
            "I10.x05 高血压3级",
        ),
    ),
    _case(
        "PDX-051",
        "主要诊断为 Z98.000x001",
        (
            "Z98.000x001 肠搭桥状态",
            "I10.x05 高血压3级",
        ),
    ),
    _case(
        "PDX-052",
        "主要诊断为 Z99.000",
        (
            "Z99.000 依赖吸引器",
            "I10.x05 高血压3级",
        ),
    ),
    _case(
        "PDX-053",
        "主要诊断为 U82.000",
        (
            "U82.000 耐青霉素",
            "I10.x05 高血压3级",
        ),
    ),
    # OBS
    _case(
        "OBS-001",
        "分娩而没有结局",
        (
            "O80.000 头位顺产",
            "O26.900x507 孕40周",
        ),
        sex=FEMALE,
        ages=(20, 42),
    ),
    _case(
        "OBS-002",
        "有结局而没有分娩",
        (
            "O70.000 分娩时Ⅰ度会阴裂伤",
            "Z37.000x001 单胎活产@4",
        ),
        procedures=(),
        sex=FEMALE,
        ages=(20, 42),
    ),
    _case(
        "OBS-003",
        "两个分娩结局",
        (
            "O80.000 头位顺产",
            "Z37.000x001 单胎活产@4",
            "Z37.200x003 双胎活产@4",
        ),
        sex=FEMALE,
        ages=(20, 42),
    ),
    _case(
        "OBS-004",
        "分娩而没有孕周",
        (
            "O80.000 头位顺产",
            "Z37.000x001 单胎活产@4",
        ),
        sex=FEMALE,
        ages=(20, 42),
    ),
    _case(
        "OBS-005",
        "剖宫产诊断而没有手术",
        (
            "O34.201 妊娠合并子宫瘢痕",
            "Z37.000x001 单胎活产@4",
            "O82.000 经选择性剖宫产术的分娩@4",
        ),
        procedures=(),
        sex=FEMALE,
        ages=(20, 42),
    ),
    _case(
        "OBS-006",
        "剖宫产而没有分娩方式",
        (
            "O34.201 妊娠合并子宫瘢痕",
            "Z37.000x001 单胎活产@4",
        ),
        procedures=("74.1x01 剖宫产术，子宫下段横切口",),
        sex=FEMALE,
        ages=(20, 42),
    ),
    _case(
        "OBS-007",
        "顺产与剖宫产并存",
        (
            "O34.201 妊娠合并子宫瘢痕",
            "Z37.000x001 单胎活产@4",
            "O80.000 头位顺产@4",
            "O82.000 经选择性剖宫产术的分娩@4",
        ),
        procedures=("74.1x01 剖宫产术，子宫下段横切口",),
        sex=FEMALE,
        ages=(20, 42),
    ),
    _case(
        "OBS-008",
        "顺产而有剖宫产",
        (
            "O80.000 头位顺产",
            "Z37.000x001 单胎活产@4",
        ),
        procedures=("74.1x01 剖宫产术，子宫下段横切口",),
        sex=FEMALE,
        ages=(20, 42),
    ),
    _case(
        "OBS-009",
        "单胎顺产而结局为双胎",
        (
            "O80.000 头位顺产",
            "Z37.200x003 双胎活产@4",
        ),
        sex=FEMALE,
        ages=(20, 42),
    ),
    _case(
        "OBS-010",
        "死胎做低位剖宫产",
        (
            "O36.401 胎死宫内",
            "Z37.100x002 单胎死产@4",
            "O82.000 经选择性剖宫产术的分娩@4",
        ),
        procedures=("74.1x01 剖宫产术，子宫下段横切口",),
        sex=FEMALE,
        ages=(20, 42),
    ),
    _case(
        "OBS-011",
        "胎死宫内而结局为活产",
        (
            "O36.401 胎死宫内",
            "Z37.000x001 单胎活产@4",
            "O80.000 头位顺产@4",
        ),
        sex=FEMALE,
        ages=(20, 42),
    ),
    _case(
        "OBS-012",
        "流产与分娩结局并存",
        (
            "O02.100 稽留流产",
            "Z37.000x001 单胎活产@4",
        ),
        sex=FEMALE,
        ages=(20, 42),
    ),
    # TUM
    _case(
        "TUM-010",
        "肝转移而没有原发肿瘤",
        (
            "C78.700 肝部和肝内胆管继发性恶性肿瘤",
            "I10.x05 高血压3级",
        ),
    ),
    # INJ
    _case("INJ-001", "脑震荡而没有昏迷时间", ("S06.000 脑震荡", "S00.001 头皮挫伤"), remove=COMA),
    _case("INJ-002", "没有颅脑损伤而有昏迷时间", ("J18.900 肺炎",), put={"pwcry_afadm_coma_dura": "0/1/0"}),
    _case("INJ-003", "烧伤而没有面积", ("T22.200x002 上肢二度烧伤",)),
    _case("INJ-005", "药物中毒而没有表现", ("T42.401 安定中毒",)),
    _case(
        "INJ-006",
        "骨折与同处伤口分开编码",
        (
            "S82.202 胫骨骨折",
            "S81.800x081 腓部开放性损伤",
        ),
    ),
)
"""Every mistake of these families, by rule."""
