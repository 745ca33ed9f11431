"""Planted mistakes of what a procedure is done for, and of the side and the way of it: IND, DX-015, CHG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from api.demo.case_mix import CaseMix
from api.demo.generator import Payload
from api.demo.planted import Defect, Plant

OPERATIONS = (
    "06.4x00 甲状腺全部切除术",
    "13.4100x001 白内障超声乳化抽吸术",
    "14.7401 后入路玻璃体切割术",
    "28.2x00x002 扁桃体切除术",
    "36.0700 药物洗脱冠状动脉支架置入",
    "41.5x00 全脾切除术",
    "43.7x03 腹腔镜胃大部切除伴胃空肠吻合术",
    "47.0100 腹腔镜下阑尾切除术",
    "51.2300 腹腔镜下胆囊切除术",
    "53.0201 单侧腹股沟斜疝修补术",
    "81.5400 全部膝关节置换",
    "81.6500 经皮椎骨成形术",
    "85.4301 单侧乳腺改良根治术",
)
EYE = "10.0x00x001 结膜切开异物取出术"
ABDOMINAL = ("47.0", "51.2", "53.0", "68.3", "68.4")
SIDED = ("81.5", "53.0", "79.3", "13.4", "55.0", "56.0")


def _defect(name: str, rule: str, touches: str) -> Callable[[Plant], Defect]:
    return lambda plant: Defect(name, (rule,), plant, touches)


def _codes(body: Payload) -> list[str]:
    return [row["diag_code"] for row in body["diseinfo"]]


def _unexplained(body: Payload, mix: CaseMix, procedure: str) -> bool:
    """Whether no diagnosis of the list explains a procedure."""
    table = mix.indications
    row = table.of_code(procedure)
    return row is not None and not any(
        code.startswith((*row.diagnoses, *table.general)) for code in _codes(body)
    )


def _perform(body: Payload, text: str) -> None:
    """Add a further procedure, ``code name``, beside the last one."""
    code, _, name = text.partition(" ")
    last = {key: value for key, value in body["oprninfo"][-1].items() if not key.startswith("anst_")}
    body["oprninfo"].append(last | {"oprn_oprt_type": "2", "oprn_oprt_code": code, "oprn_oprt_name": name})
    body["setlinfo"]["oprn_oprt_code_cnt"] = len(body["oprninfo"])


def _western_only(body: Payload) -> bool:
    return bool(body.get("oprninfo")) and all(row["diag_type"] in ("1", "2") for row in body["diseinfo"])


def _operated(body: Payload, mix: CaseMix, operations: Sequence[str]) -> bool:
    fitting = [text for text in operations if _unexplained(body, mix, text.partition(" ")[0])]
    if not fitting or not _western_only(body):
        return False
    _perform(body, fitting[0])
    return True


@_defect("手术的适应证没有列出", "DX-015", "oprn_oprt_code")
def _without_indication(body: Payload, rng: Random, mix: CaseMix) -> bool:
    return _operated(body, mix, rng.sample(OPERATIONS, len(OPERATIONS)))


@_defect("手术所在系统没有诊断", "IND-001", "oprn_oprt_code")
def _without_organ(body: Payload, _rng: Random, mix: CaseMix) -> bool:
    return _operated(body, mix, (EYE,))


def _explaining(body: Payload, mix: CaseMix, procedure: str) -> list[Payload]:
    row = mix.indications.of_code(procedure)
    return [one for one in body["diseinfo"] if row and one["diag_code"].startswith(row.diagnoses)]


@_defect("诊断在左侧、手术在右侧", "IND-002", "oprn_oprt_name")
def _other_side(body: Payload, _rng: Random, mix: CaseMix) -> bool:
    for row in body.get("oprninfo", []):
        reasons = _explaining(body, mix, row["oprn_oprt_code"])
        if row["oprn_oprt_code"].startswith(SIDED) and reasons:
            row["oprn_oprt_name"] = f"右侧{row['oprn_oprt_name'].replace('单侧', '')}"
            for one in reasons:
                one["diag_name"] = f"左侧{one['diag_name'].replace('双侧', '').replace('单侧', '')}"
            return True
    return False


def _charge(body: Payload, name: str, at: str) -> None:
    """Add a line of an operation, 80 yuan, with its order."""
    number = len(body["feedetail"]) + 1
    body["feedetail"].append(
        {
            "feedetl_sn": f"P{number:05d}",
            "fee_ocur_time": at,
            "medins_list_name": name,
            "med_chrgitm_type": "06",
            "cnt": 1,
            "pric": 80,
            "det_item_fee_sumamt": 80,
            "rx_drord_no": f"P{number}",
        }
    )
    body["evidence"].append({"kind": "order", "name": name, "start": at, "order_no": f"P{number}"})


def _charged(body: Payload, mix: CaseMix, prefixes: tuple[str, ...]) -> tuple[Payload, str] | None:
    """A coded procedure with these prefixes and the name of its charge."""
    if "feedetail" not in body:
        return None
    for row in body.get("oprninfo", []):
        kind = next(
            (one for one in mix.charges.procedures if row["oprn_oprt_code"].startswith(one.procedures)), None
        )
        if kind is not None and row["oprn_oprt_code"].startswith(prefixes):
            return row, kind.words.first
    return None


@_defect("按腹腔镜收费而编开放手术", "CHG-020", "feedetail")
def _other_approach(body: Payload, _rng: Random, mix: CaseMix) -> bool:
    found = _charged(body, mix, ABDOMINAL)
    if found is None or any("腔镜" in row["oprn_oprt_name"] for row in body["oprninfo"]):
        return False
    _charge(body, f"腹腔镜{found[1]}", found[0]["oprn_oprt_endtime"])
    return True


@_defect("收费在左侧、手术在右侧", "CHG-021", "feedetail")
def _charged_on_other_side(body: Payload, _rng: Random, mix: CaseMix) -> bool:
    found = _charged(body, mix, SIDED)
    if found is None:
        return False
    row, name = found
    row["oprn_oprt_name"] = f"右侧{row['oprn_oprt_name'].replace('单侧', '')}"
    _charge(body, f"左侧{name}", row["oprn_oprt_endtime"])
    return True


INDICATIONS: tuple[Defect, ...] = (
    _without_indication,
    _without_organ,
    _other_side,
    _other_approach,
    _charged_on_other_side,
)
"""Mistakes of indications, sides and approaches."""
