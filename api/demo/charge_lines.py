"""Charge lines and evidence that back a made-up list: they add up to its charges and speak for its diagnoses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from random import Random
from typing import Any

from models.settlement_list import Minutes
from qc_rules.charge_tables import ChargedProcedure, ChargeTables, Condition, EvidenceTables, Signal, plain

Payload = dict[str, Any]

ORDERED = frozenset({"03", "04", "05", "06", "09", "10", "11"})
"""收费类别 that are charged on a doctor's order."""
LOCAL = "3"
"""麻醉方式 that begin so are local: no fee of their own."""
OPERATIVE = frozenset({"手术", "介入治疗"})
_LEVELS = (
    ("spga_nurscare_days", "特级护理", 24),
    ("lv1_nurscare_days", "一级护理", 1),
    ("scd_nurscare_days", "二级护理", 1),
    ("lv3_nurscare_days", "三级护理", 1),
)
_IMPLANTS: tuple[tuple[str, str], ...] = (
    ("36.07", "药物洗脱冠状动脉支架"),
    ("81.51", "人工髋关节假体"),
    ("81.52", "人工股骨头假体"),
    ("81.54", "人工膝关节假体"),
    ("37.8", "永久心脏起搏器"),
    ("13.7", "人工晶状体"),
    ("79.3", "锁定接骨板系统"),
    ("39.7", "可解脱弹簧圈"),
)
_FILLERS: Mapping[str, tuple[str, ...]] = {
    "03": ("常规心电图检查", "胸部CT平扫", "腹部彩色多普勒超声检查"),
    "04": ("血细胞分析", "肝功能检查", "肾功能检查", "电解质测定", "凝血功能检查", "尿液分析"),
    "05": ("静脉输液", "静脉采血", "换药"),
    "08": ("一次性使用输液器", "一次性使用注射器", "医用敷料"),
    "09": ("0.9%氯化钠注射液", "维生素C注射液", "复方甘草口服溶液"),
    "10": ("中药饮片",),
    "11": ("中成药",),
    "12": ("一般诊疗费",),
    "13": ("挂号费",),
    "14": ("一次性生活用品",),
}
_BLOOD = "悬浮少白细胞红细胞"
_ANAESTHESIA = {"1": "全身麻醉", "2": "椎管内麻醉", "4": "复合麻醉"}


@dataclass(frozen=True, slots=True)
class _Piece:
    """One line before it has a price: ``weight`` is its share of the category."""

    category: str
    name: str
    at: datetime
    quantity: float = 1
    weight: float = 1
    more: Mapping[str, str] = field(default_factory=dict)


def add_backing(
    body: Payload, kinds: Mapping[str, str], rng: Random, charges: ChargeTables, evidence: EvidenceTables
) -> None:
    """Add charge lines and evidence to a 4101 list; ``kinds`` is the kind of each coded procedure."""
    pieces = list(_pieces(body, kinds, rng, charges))
    amounts = {row["med_chrgitm"]: round(row["amt"] * 100) for row in body["iteminfo"]}
    lines: list[Payload] = []
    orders: dict[str, str] = {}
    for category in sorted(amounts):
        own = [piece for piece in pieces if piece.category == category]
        for piece, amount in zip(own, _share(amounts[category], own), strict=True):
            lines.append(_line(len(lines) + 1, piece, amount, orders))
    body["feedetail"] = lines
    started = {row.get("rx_drord_no"): row["fee_ocur_time"] for row in reversed(lines)}
    rows = [
        {"kind": "order", "name": name, "start": started[number], "order_no": number}
        for name, number in orders.items()
    ]
    body["evidence"] = rows + list(_signs(body, evidence))


def _line(number: int, piece: _Piece, amount: int, orders: dict[str, str]) -> Payload:
    row: Payload = {
        "feedetl_sn": f"{number:06d}",
        "fee_ocur_time": _text(piece.at),
        "medins_list_name": piece.name,
        "med_chrgitm_type": piece.category,
        "cnt": piece.quantity,
        "pric": round(amount / 100 / piece.quantity, 6),
        "det_item_fee_sumamt": amount / 100,
    }
    if piece.category in ORDERED:
        row["rx_drord_no"] = orders.setdefault(piece.name, f"Y{len(orders) + 1:04d}")
    return row | dict(piece.more)


def _share(total: int, pieces: list[_Piece]) -> list[int]:
    """``total`` fen by the weights of the pieces, to the fen: the last takes the rounding."""
    whole = sum(piece.weight for piece in pieces)
    parts = [int(total * piece.weight / whole) for piece in pieces]
    parts[-1] += total - sum(parts)
    return parts


def _pieces(body: Payload, kinds: Mapping[str, str], rng: Random, charges: ChargeTables) -> Iterator[_Piece]:
    info = body["setlinfo"]
    admitted, discharged = _moment(info["adm_time"]), _moment(info["dscg_time"])
    days = [admitted.date() + timedelta(days=n) for n in range((discharged.date() - admitted.date()).days)]
    for day in days:
        yield _Piece("01", "普通病房床位费", _evening(day))
        yield _Piece("02", "住院诊察费", _evening(day))
    yield from _nursing(body, days)
    for row in body["iteminfo"]:
        category = row["med_chrgitm"]
        for name in _FILLERS.get(category, ()):
            weight = rng.uniform(0.5, 1.5)
            yield _Piece(category, name, admitted + timedelta(minutes=rng.randint(5, 240)), 1, weight)
    if "vent_used_dura" in info:
        begin = _moment(body["icuinfo"][0]["scs_cutd_inpool_time"]) + timedelta(minutes=20)
        for at, hours in _by_day(begin, Minutes.parse(info["vent_used_dura"])):
            yield _Piece("05", "呼吸机辅助呼吸", at, hours, hours / 4)
    if "bld_cat" in info:
        yield _Piece("05", _BLOOD, _evening(days[0]), 2, 2)
    yield from _theatre(body, kinds, charges)


def _nursing(body: Payload, days: list[date]) -> Iterator[_Piece]:
    """Intensive care by the hour on its days, the levels of the list on the others."""
    intensive: set[date] = set()
    for row in body.get("icuinfo", []):
        minutes = Minutes.parse(row["scs_cutd_sum_dura"])
        for at, hours in _by_day(_moment(row["scs_cutd_inpool_time"]), minutes):
            intensive.add(at.date())
            yield _Piece("07", "重症监护", at, hours, hours)
    levels = [
        (name, quantity) for wire, name, quantity in _LEVELS for _ in range(body["setlinfo"].get(wire, 0))
    ]
    for day, (name, quantity) in zip(days, levels, strict=False):
        if day not in intensive:
            yield _Piece("07", name, _evening(day), quantity, 4)


def _theatre(body: Payload, kinds: Mapping[str, str], charges: ChargeTables) -> Iterator[_Piece]:
    """Each operation under a name that its charge has, its anaesthesia, and what was implanted."""
    there = {row["med_chrgitm"] for row in body["iteminfo"]}
    anaesthetised = False
    for row in body.get("oprninfo", []):
        code, at = row["oprn_oprt_code"], _moment(row["oprn_oprt_endtime"])
        operative = kinds[code] in OPERATIVE
        category = "06" if operative else "05"
        known = next((one for one in charges.procedures if code.startswith(one.procedures)), None)
        if (operative or known) and category in there:
            yield _Piece(category, _charge_name(row["oprn_oprt_name"], known), at, 1, 6)
        way = row.get("anst_way", LOCAL)
        if not way.startswith(LOCAL) and not anaesthetised:
            anaesthetised = True
            yield _Piece("06", _ANAESTHESIA[way[0]], at, 1, 2)
        implant = next((name for prefix, name in _IMPLANTS if code.startswith(prefix)), "")
        if implant and "08" in there:
            udi = {"udi": f"(01)0699{row['oprn_oprt_date'].replace('-', '')}1(21)D{code[:2]}"}
            yield _Piece("08", implant, at, 1, 8, udi)


def _charge_name(name: str, known: ChargedProcedure | None) -> str:
    if known is None:
        return name if "术" in name else f"{name}术"
    return name if known.words.fit(plain(name)) else f"{known.words.first}（{name}）"


def _signs(body: Payload, evidence: EvidenceTables) -> Iterator[Payload]:
    """What speaks for each diagnosis that the table of evidence knows."""
    info = body["setlinfo"]
    at = _moment(info["adm_time"]) + timedelta(minutes=50)
    seen: set[str] = set()
    for row in body["diseinfo"]:
        condition = evidence.of_code(row["diag_code"])
        if condition is None or condition.id in seen:
            continue
        seen.add(condition.id)
        yield from _of_condition(condition, at)


def _of_condition(condition: Condition, at: datetime) -> Iterator[Payload]:
    by_role: dict[str, list[Signal]] = defaultdict(list)
    for signal in condition.signals:
        by_role[signal.role].append(signal)
    for role in ("finding", "treatment"):
        for signal in by_role[role][:1]:
            for hours, (value, unit) in enumerate(_results(signal)):
                yield _entry(signal, value, unit, at + timedelta(hours=8 * hours))
    if not by_role["finding"]:
        for signal in by_role["workup"][:1]:
            yield _entry(signal, "见报告", "", at)


def _entry(signal: Signal, value: str, unit: str, at: datetime) -> Payload:
    kind = next(kind for kind in ("lab", "exam", "nursing", "drug") if kind in signal.kinds)
    entry = {"kind": kind, "name": signal.words.first, "start": _text(at)}
    return entry | ({"value": value} if value else {}) | ({"unit": unit} if unit else {})


def _results(signal: Signal) -> list[tuple[str, str]]:
    """Results that a finding calls abnormal: value and unit."""
    if signal.operator == "rise":
        return [("82", "μmol/L"), ("236", "μmol/L")]
    if signal.operator in ("<", ">", ">="):
        factor = 0.8 if signal.operator == "<" else 1.5
        return [(f"{float(signal.value) * factor:g}", signal.unit)]
    return [(signal.value.split("|")[0], "")]


def _by_day(begin: datetime, minutes: int) -> Iterator[tuple[datetime, float]]:
    """A duration cut at midnight: the last minute of each part and its hours."""
    end = begin + timedelta(minutes=minutes)
    while begin < end:
        midnight = datetime(begin.year, begin.month, begin.day) + timedelta(days=1)
        stop = min(midnight, end)
        hours = round((stop - begin).total_seconds() / 3600, 2)
        if hours:
            yield stop - timedelta(minutes=1), hours
        begin = stop


def _evening(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 23, 50)


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S")


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S")
