"""Planted mistakes of charge lines and evidence: family CHG, and the rules of others that read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from random import Random

from api.demo.case_mix import CaseMix
from api.demo.generator import Payload
from api.demo.planted import Defect, Plant
from qc_rules.charge_tables import Condition, plain

OPERATIVE_CATEGORY = "06"


def _backed(plant: Plant) -> Plant:
    """Only lists with charge lines and evidence give an occasion."""

    def planted(body: Payload, rng: Random, mix: CaseMix) -> bool:
        return "feedetail" in body and plant(body, rng, mix)

    return planted


def _defect(name: str, *rules: str) -> Callable[[Plant], Defect]:
    def wrap(plant: Plant) -> Defect:
        return Defect(name, rules, _backed(plant), "feedetail")

    return wrap


def _at(body: Payload, field: str, *, days: int = 0, minutes: int = 0) -> str:
    moment = datetime.strptime(body["setlinfo"][field], "%Y-%m-%d %H:%M:%S")
    return (moment + timedelta(days=days, minutes=minutes)).strftime("%Y-%m-%d %H:%M:%S")


def _charge(
    body: Payload, category: str, name: str, at: str, quantity: float = 1, *, ordered: bool = True
) -> None:
    """Add a line of 80 yuan a unit, with its order."""
    number = len(body["feedetail"]) + 1
    line = {
        "feedetl_sn": f"P{number:05d}",
        "fee_ocur_time": at,
        "medins_list_name": name,
        "med_chrgitm_type": category,
        "cnt": quantity,
        "pric": 80,
        "det_item_fee_sumamt": 80 * quantity,
    }
    if ordered:
        line["rx_drord_no"] = f"P{number}"
        body["evidence"].append({"kind": "order", "name": name, "start": at, "order_no": f"P{number}"})
    body["feedetail"].append(line)


def _codes(body: Payload, node: str, field: str) -> list[str]:
    return [row[field] for row in body.get(node, [])]


def _procedures(body: Payload) -> list[str]:
    return _codes(body, "oprninfo", "oprn_oprt_code")


def _added(name: str, rule: str, category: str, item: str, procedures: tuple[str, ...] = ()) -> Defect:
    """Charge ``item`` on the first day of a list without ``procedures``."""

    @_defect(name, rule)
    def plant(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
        if procedures and any(code.startswith(procedures) for code in _procedures(body)):
            return False
        _charge(body, category, item, _at(body, "adm_time", minutes=60))
        return True

    return plant


def _changed(name: str, rule: str, field: str, change: Callable[[Payload, Payload], bool]) -> Defect:
    """Change the first line on which ``change`` finds something to change."""

    @_defect(name, rule)
    def plant(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
        return any(field in line and change(line, body) for line in body["feedetail"])

    return plant


# families FEE, VENT and PROC


@_defect("明细合计与清单不符", "FEE-007")
def _sum(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    line = body["feedetail"][0]
    line["det_item_fee_sumamt"] = round(line["det_item_fee_sumamt"] + 100, 2)
    return True


@_defect("全身麻醉没有收费", "FEE-011")
def _anaesthesia(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    kept = [line for line in body["feedetail"] if "麻醉" not in line["medins_list_name"]]
    if len(kept) == len(body["feedetail"]):
        return False
    body["feedetail"] = kept
    return True


@_defect("手术费少于分项", "FEE-012")
def _surgery(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    for row in body["iteminfo"]:
        if row["med_chrgitm"] == OPERATIVE_CATEGORY:
            row["amt"] = round(row["amt"] / 2, 2)
            return True
    return False


@_defect("收了血费没有输血信息", "FEE-013")
def _blood(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    if "bld_cat" in body["setlinfo"]:
        return False
    _charge(body, "09", "悬浮少白细胞红细胞", _at(body, "adm_time", minutes=90), 2)
    return True


@_defect("收了呼吸机费没有时长和编码", "FEE-016", "VENT-005")
def _ventilator(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    if "vent_used_dura" in body["setlinfo"]:
        return False
    _charge(body, "05", "呼吸机辅助呼吸", _at(body, "adm_time", minutes=60), 6)
    return True


@_defect("手术操作没有收费", "PROC-026")
def _uncharged(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    kept = [line for line in body["feedetail"] if line["med_chrgitm_type"] != OPERATIVE_CATEGORY]
    if len(kept) == len(body["feedetail"]):
        return False
    body["feedetail"] = kept
    return True


# family CHG


def _double_price(line: Payload, _body: Payload) -> bool:
    line["pric"] = round(line["pric"] * 2 + 1, 6)
    return True


def _first_serial(line: Payload, body: Payload) -> bool:
    other = body["feedetail"][0]
    if line is other:
        return False
    line["feedetl_sn"] = other["feedetl_sn"]
    return True


@_defect("同一收费重复一次", "CHG-003")
def _twice(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    last = body["feedetail"][-1]
    body["feedetail"].append({**last, "feedetl_sn": "P00001"})
    return True


@_defect("床位费多收一天", "CHG-004", "CHG-005")
def _bed(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    _charge(body, "01", "普通病房床位费", _at(body, "adm_time", minutes=10), ordered=False)
    return True


@_defect("糖化血红蛋白重复测定", "CHG-006")
def _glycated(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    for minutes in (30, 60):
        _charge(body, "04", "糖化血红蛋白测定", _at(body, "adm_time", minutes=minutes))
    return True


@_defect("两小时内重复磁共振", "CHG-007")
def _scan(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    for minutes in (30, 150):
        _charge(body, "03", "头颅磁共振平扫", _at(body, "adm_time", minutes=minutes))
    return True


@_defect("平扫与增强同日收费", "CHG-008")
def _enhanced(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    for name in ("盆腔磁共振平扫", "盆腔磁共振增强扫描"):
        _charge(body, "03", name, _at(body, "adm_time", minutes=10))
    return True


@_defect("出院两天后收费", "CHG-009")
def _late(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    _charge(body, "05", "静脉输液", _at(body, "dscg_time", days=2))
    return True


@_defect("入院两天前收费", "CHG-010")
def _early(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    _charge(body, "03", "胸部X线摄影", _at(body, "adm_time", days=-2))
    return True


@_defect("收费没有医嘱", "CHG-011")
def _unordered(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    _charge(body, "05", "红外线治疗", _at(body, "adm_time", minutes=60), ordered=False)
    return True


@_defect("医嘱没有收费", "CHG-012")
def _unbilled(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    start = _at(body, "adm_time", minutes=60)
    body["evidence"].append({"kind": "order", "name": "头颅CT平扫", "start": start, "order_no": "P9"})
    return True


@_defect("植入物没有唯一标识", "CHG-013")
def _untraced(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    _charge(body, "08", "人工血管", _at(body, "adm_time", minutes=60), 10, ordered=False)
    return True


@_defect("呼吸机收费与时长相差", "CHG-014")
def _hours(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    body["setlinfo"]["vent_used_dura"] = "0/9/0"
    _charge(body, "05", "呼吸机辅助呼吸", _at(body, "adm_time", minutes=60), 200)
    return True


@_defect("收了重症监护费没有监护信息", "CHG-015")
def _intensive(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    if body.get("icuinfo"):
        return False
    _charge(body, "07", "重症监护", _at(body, "adm_time", minutes=60), 10, ordered=False)
    return True


@_defect("退费多于收费", "CHG-017")
def _refund(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    _charge(body, "05", "红外线治疗", _at(body, "adm_time", minutes=60), -1)
    return True


@_defect("低钾血症漏编", "CHG-018")
def _unlisted(body: Payload, _rng: Random, mix: CaseMix) -> bool:
    condition = next(one for one in mix.evidence.conditions if one.id == "hypokalaemia")
    known = (*condition.diagnoses, *condition.explained_by)
    if any(code.startswith(known) for code in _codes(body, "diseinfo", "diag_code")):
        return False
    start = _at(body, "adm_time", minutes=60)
    body["evidence"] += [
        {"kind": "lab", "name": "血钾", "value": "2.6", "unit": "mmol/L", "start": start},
        {"kind": "drug", "name": "氯化钾缓释片", "start": start},
    ]
    return True


@_defect("植入物没有手术", "CHG-019")
def _implant(body: Payload, _rng: Random, _mix: CaseMix) -> bool:
    if body.get("oprninfo"):
        return False
    _charge(body, "08", "药物洗脱冠状动脉支架", _at(body, "adm_time", minutes=60), 10, ordered=False)
    return True


# diagnoses that nothing speaks for


def _speaks(condition: Condition, name: str) -> bool:
    text = plain(name)
    return any(signal.words.fit(text) for signal in condition.signals)


def _silence(body: Payload, condition: Condition) -> bool:
    """Take away whatever speaks for a condition; False when a procedure does or nothing would be left."""
    if any(_speaks(condition, name) for name in _codes(body, "oprninfo", "oprn_oprt_name")):
        return False
    lines = [line for line in body["feedetail"] if not _speaks(condition, line["medins_list_name"])]
    rows = [row for row in body["evidence"] if not _speaks(condition, row["name"])]
    if not lines or not rows:
        return False
    body["feedetail"], body["evidence"] = lines, rows
    return True


def _western(body: Payload) -> Sequence[Payload]:
    return [row for row in body["diseinfo"] if row["diag_type"] in ("1", "2")]


@_defect("影响分组的合并症没有依据", "FRD-002")
def _lifting(body: Payload, _rng: Random, mix: CaseMix) -> bool:
    principal, *others = _codes(body, "diseinfo", "diag_code")
    for code in others:
        condition = mix.evidence.of_code(code)
        if condition is not None and mix.complication(principal, [code]) and _silence(body, condition):
            return True
    return False


@_defect("主要诊断没有依据", "DX-014")
def _unsupported(body: Payload, _rng: Random, mix: CaseMix) -> bool:
    condition = mix.evidence.of_code(_western(body)[0]["diag_code"])
    return condition is not None and _silence(body, condition)


BACKING: tuple[Defect, ...] = (
    _sum, _anaesthesia, _surgery, _blood, _ventilator, _uncharged,
    _added("收了体外膜肺费没有编码", "FEE-017", "05", "体外人工膜肺（ECMO）", ("39.65",)),
    _added("收了无创通气费没有编码", "FEE-018", "05", "无创辅助通气", ("93.90",)),
    _added("收了阿替普酶没有溶栓编码", "FEE-019", "09", "注射用阿替普酶", ("99.10",)),
    _added("收了支气管镜费没有编码", "FEE-020", "03", "电子支气管镜检查", ("33.2",)),
    _added("收了视网膜激光费没有编码", "FEE-021", "05", "视网膜激光光凝术", ("14.2", "14.3", "14.5")),
    _added("收了人工破膜费没有编码", "FEE-022", "05", "人工破膜术", ("73.0",)),
    _changed("金额不等于数量乘单价", "CHG-001", "pric", _double_price),
    _changed("流水号重复", "CHG-002", "feedetl_sn", _first_serial),
    _twice, _bed, _glycated, _scan, _enhanced, _late, _early, _unordered, _unbilled, _untraced, _hours,
    _intensive,
    _added("收了甲状腺切除费没有编码", "CHG-016", "06", "甲状腺次全切除术", ("06.2", "06.3", "06.4", "06.5")),
    _refund, _unlisted, _implant, _lifting, _unsupported,
)  # fmt: skip
"""Every mistake of lists that come with charge lines and evidence."""
