"""Writes lists as the wide front page that a hospital exports, to be read back."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

OTHERS = 40
"""Other diagnoses and other operations of the national table."""

_STAY = {
    "A02": "fixmedins_name", "A48": "medcasno", "A11": "psn_name", "A12C": "gend", "A13": "brdy", "A14": "age",
    "A16": "nwb_age", "A15C": "ntly", "A19C": "naty", "A20": "certno", "A26": "curr_addr", "A32": "coner_name",
    "A35": "coner_tel", "B11C": "adm_way", "B12": "adm_time", "B13C": "adm_caty", "B15": "dscg_time",
    "B16C": "dscg_caty", "B20": "act_ipt_days", "C01C": "wm_dise_code", "C02N": "otp_wm_dise", "B34C": "dscg_way",
    "B36C": "days_rinp_flag_31", "B24": "chfpdr_name", "B24C": "chfpdr_code", "D01": "medfee_sumamt",
    "F17": "spga_nurscare_days", "F18": "lv1_nurscare_days", "A18x01": "nwb_bir_wt", "A17": "nwb_adm_wt",
}  # fmt: skip
_DISEASE = {"C06x{}C": "diag_code", "C07x{}N": "diag_name", "C08x{}C": "adm_cond_type"}
_OPERATION = {
    "C35x{}C": "oprn_oprt_code", "C36x{}N": "oprn_oprt_name", "C37x{}": "oprn_oprt_date", "C38x{}": "",
    "C39x{}": "oper_dr_name", "C40x{}": "", "C41x{}": "", "C42x{}C": "", "C43x{}C": "anst_way",
    "C44x{}": "anst_dr_name",
}  # fmt: skip
_MAIN = {
    "C14x01C": "oprn_oprt_code", "C15x01N": "oprn_oprt_name", "C16x01": "oprn_oprt_date", "C17x01": "",
    "C18x01": "oper_dr_name", "C22x01C": "anst_way", "C23x01": "anst_dr_name",
}  # fmt: skip
_DURATIONS = {"pwcry_bfadm_coma_dura": ("C28", "C29", "C30"), "pwcry_afadm_coma_dura": ("C31", "C32", "C33")}

COLUMNS: tuple[str, ...] = (
    "A01", "A49", *_STAY, "C03C", "C04N", "C05C",
    *(name.format(f"{n:02d}") for n in range(1, OTHERS + 1) for name in _DISEASE),
    *_MAIN,
    *(name.format(f"{n:02d}") for n in range(1, OTHERS + 1) for name in _OPERATION),
    "C28", "C29", "C30", "C31", "C32", "C33", "C47",
    *(f"D{n}" for n in range(11, 35)),
)  # fmt: skip
"""Columns of the table in the national order, without those that a list has no use for."""


def row_of(payload: Mapping[str, Any]) -> dict[str, str]:
    """One list as a row of the front page; what the table has no column for is left out."""
    body = payload.get("input", payload)
    stay = body["setlinfo"]
    row = {column: _text(stay.get(wire)) for column, wire in _STAY.items()}
    row["A49"], row["A01"] = "1", "12345678-9"
    diseases = body.get("diseinfo", [])
    for columns, wanted in (
        ({"C03C": "diag_code", "C04N": "diag_name", "C05C": "adm_cond_type"}, diseases[:1]),
        (_MAIN, body.get("oprninfo", [])[:1]),
    ):
        for record in wanted:
            row |= {column: _text(record.get(wire)) for column, wire in columns.items()}
    for names, records in ((_DISEASE, diseases[1:]), (_OPERATION, body.get("oprninfo", [])[1:])):
        for number, record in enumerate(records[:OTHERS], start=1):
            row |= {name.format(f"{number:02d}"): _text(record.get(wire)) for name, wire in names.items()}
    for wire, columns in _DURATIONS.items():
        row |= dict(zip(columns, _text(stay.get(wire) or "0/0/0").split("/"), strict=True))
    days, hours, minutes = map(int, (stay.get("vent_used_dura") or "0/0/0").split("/"))
    row["C47"] = str(days * 24 + hours + (minutes > 0))
    return row


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def table(rows: Iterable[Mapping[str, str]], columns: Sequence[str] = COLUMNS) -> str:
    """Rows as CSV text with a header."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, extrasaction="ignore", restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
