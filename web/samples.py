"""The fictional lists that the page can load: some fixed ones, and any number from the demo hospital."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from api.demo.case_mix import CaseMix, load_case_mix
from api.demo.generator import DemoList, Generator
from api.demo.month import Month
from api.example import EXAMPLE_LIST
from api.services.check import Checker
from models.pack import PackStore

DEMO = "demo"
DEMO_TITLE = "演示医院（随机一份）"
"""Id and name of the sample that is another list each time."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample: what differs from the example list. ``stay`` changes setlinfo, None takes a field away."""

    id: str
    title: str
    stay: Mapping[str, Any]
    nodes: Mapping[str, Sequence[Row]]

    def payload(self) -> dict[str, Any]:
        """The list under official names, without envelope."""
        payload: dict[str, Any] = copy.deepcopy(dict(EXAMPLE_LIST))
        stay = {**payload["setlinfo"], **self.stay}
        changed = {node: [dict(row) for row in rows] for node, rows in self.nodes.items()}
        return {
            **payload,
            "setlinfo": {key: value for key, value in stay.items() if value is not None},
            **changed,
        }


def _diagnoses(*rows: tuple[str, str, str]) -> list[Row]:
    return [
        {
            "diag_type": "1" if index == 0 else "2",
            "diag_code": code,
            "diag_name": name,
            "adm_cond_type": condition,
            "maindiag_flag": "1" if index == 0 else "0",
        }
        for index, (code, name, condition) in enumerate(rows)
    ]


def _without_surgery() -> list[Row]:
    """The example's charges with the operation charged as treatment."""
    surgery, treatment = "06", "05"
    charges: Any = EXAMPLE_LIST["iteminfo"]
    merged: dict[str, dict[str, Any]] = {}
    for row in charges:
        category = treatment if row["med_chrgitm"] == surgery else row["med_chrgitm"]
        kept = merged.setdefault(category, {"med_chrgitm": category})
        for name, amount in row.items():
            if name != "med_chrgitm":
                kept[name] = kept.get(name, 0) + amount
    return list(merged.values())


_APPENDECTOMY = EXAMPLE_LIST["oprninfo"][0]  # type: ignore[index]

SAMPLES = (
    Sample(
        "clean",
        "急性阑尾炎（无问题）",
        {},
        {
            "diseinfo": _diagnoses(
                ("K35.800x001", "急性阑尾炎", "1"),
                ("I10.x00x002", "高血压", "1"),
            )
        },
    ),
    Sample(
        "errors",
        "急性阑尾炎（有多处问题）",
        {
            "gend": "3",
            "brdy": "1990-05-32",
            "coner_tel": None,
            "adm_way": "7",
            "lv1_nurscare_days": 12,
            "acct_pay": "1千元",
        },
        {
            "diseinfo": _diagnoses(
                ("K35.800x001", "急性阑尾炎", "1"),
                ("N40.x00", "前列腺增生", "1"),
                ("K35.800x001", "急性阑尾炎", "1"),
                ("E11.900", "2型糖尿病", ""),
            ),
            "oprninfo": [{**_APPENDECTOMY, "oprn_oprt_code": "47.01", "oprn_oprt_date": "2026-01-15"}],
        },
    ),
    Sample(
        "delivery",
        "剖宫产",
        {
            "psn_name": "示例产妇",
            "gend": "2",
            "brdy": "1995-08-12",
            "age": 30,
            "certno": "110101199508120029",
            "adm_caty": "A05.02",
            "dscg_caty": "A05.02",
            "otp_wm_dise": "妊娠合并子宫瘢痕",
            "wm_dise_code": "O34.201",
            "nwb_bir_wt": "3350",
            "diag_code_cnt": 5,
        },
        {
            "diseinfo": _diagnoses(
                ("O34.201", "妊娠合并子宫瘢痕", "1"),
                ("O72.101", "产后即时出血", "4"),
                ("O99.005", "妊娠合并轻度贫血", "1"),
                ("O82.000", "经选择性剖宫产术的分娩", "4"),
                ("Z37.000x001", "单胎活产", "4"),
            ),
            "oprninfo": [
                {
                    **_APPENDECTOMY,
                    "oprn_oprt_code": "74.1x01",
                    "oprn_oprt_name": "剖宫产术，子宫下段横切口",
                    "anst_way": "2",
                }
            ],
        },
    ),
    Sample(
        "newborn",
        "早产新生儿",
        {
            "psn_name": "示例之子",
            "brdy": "2026-01-05",
            "age": None,
            "nwb_age": 0,
            "certno": "示例",
            "patn_cert_type": "99",
            "prfs": "90",
            "emp_name": None,
            "emp_addr": None,
            "emp_tel": None,
            "patn_rlts": "50",
            "nwb_adm_type": "2",
            "nwb_bir_wt": "2150",
            "nwb_adm_wt": "2130",
            "adm_caty": "A07.01",
            "dscg_caty": "A07.01",
            "adm_time": "2026-01-05 10:20:00",
            "otp_wm_dise": "早产儿",
            "wm_dise_code": "P07.300x001",
            "diag_code_cnt": 5,
            "oprn_oprt_code_cnt": None,
            "vent_used_dura": "1/6/30",
        },
        {
            "diseinfo": _diagnoses(
                ("P22.000", "新生儿呼吸窘迫综合征", "1"),
                ("P28.500", "新生儿呼吸衰竭", "1"),
                ("P07.300x021", "早产儿(孕期等于或大于32整周 但小于37整周)", "1"),
                ("P07.101", "低出生体重儿（1500-2499克）", "1"),
                ("P59.901", "新生儿高胆红素血症", "4"),
            ),
            "oprninfo": [],
            "iteminfo": _without_surgery(),
        },
    ),
)


def sample(name: str) -> Sample | None:
    return next((one for one in SAMPLES if one.id == name), None)


@lru_cache(maxsize=1)
def _case_mix(store: PackStore) -> CaseMix:
    return load_case_mix(store)


def demo_list(checker: Checker) -> DemoList:
    """A made-up list, about three in ten with mistakes. The first takes a second. Raises PackError."""
    generator = Generator(_case_mix(checker.store), seed=secrets.randbelow(2**32))
    rules = {one.rule.code for one in checker.rules.running}
    made, _ = next(iter(Month(generator, 1, rules)))
    return made
