"""The fictional lists that the page can load: what a coder sees before opening one of their own."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.example import EXAMPLE_LIST

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
            "certno": "110101199005209018",
            "coner_tel": None,
            "adm_way": "7",
            "dscg_time": "2026-01-04 09:00:00",
            "lv1_nurscare_days": 12,
            "acct_pay": "1千元",
        },
        {
            "diseinfo": _diagnoses(
                ("K35.800x001", "急性阑尾炎", "1"),
                ("N40.x00", "前列腺增生", "1"),
                ("K35.800x001", "急性阑尾炎", "1"),
                ("E11.900x001", "2型糖尿病伴并发症", ""),
            ),
            "oprninfo": [{**_APPENDECTOMY, "oprn_oprt_code": "47.01", "oprn_oprt_date": "2026-02-05"}],
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
            "certno": "110101199508120026",
            "adm_caty": "A05.02",
            "dscg_caty": "A05.02",
            "otp_wm_dise": "妊娠合并子宫瘢痕",
            "wm_dise_code": "O34.201",
            "diag_code_cnt": 4,
        },
        {
            "diseinfo": _diagnoses(
                ("O34.201", "妊娠合并子宫瘢痕", "1"),
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
            "nwb_age": 1,
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
            "diag_code_cnt": 3,
            "oprn_oprt_code_cnt": None,
            "vent_used_dura": "1/6/30",
        },
        {
            "diseinfo": _diagnoses(
                ("P22.000", "新生儿呼吸窘迫综合征", "1"),
                ("P07.101", "低出生体重儿（1500-2499克）", "1"),
                ("P59.901", "新生儿高胆红素血症", "4"),
            ),
            "oprninfo": [],
        },
    ),
)


def sample(name: str) -> Sample | None:
    return next((one for one in SAMPLES if one.id == name), None)
