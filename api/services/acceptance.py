"""What a hospital accepts: who, why, until when, and what the place that keeps it must be able to do."""

from __future__ import annotations

import re
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

import msgspec

from models.pack import PackError
from models.system_errors import reason_of
from qc_rules.acceptance import Acceptance, Acceptances
from qc_rules.schema import RULE_CODE

FILE_NAME = "acceptances.ndjson"
MAX_TEXT = 200
MAX_REASON = 1000
MAX_KEPT = 200_000
"""Acceptances of one hospital: far more are a sign that a rule should be switched off."""


class AcceptanceError(PackError):
    """An acceptance cannot be made, found or kept; the reason is in Chinese."""


class NotAcceptedError(AcceptanceError):
    """There is no acceptance of that id."""


class NewAcceptance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked to be accepted, see Acceptance."""

    rule: str
    by: str
    reason: str
    until: date | None = None
    list_id: str = ""
    field: str = ""
    value: str = ""
    department: str = ""


class Withdrawal(msgspec.Struct, frozen=True):
    """That an acceptance no longer holds: by whom and when."""

    by: str
    at: datetime


class KeptAcceptance(msgspec.Struct, frozen=True, omit_defaults=True):
    """An acceptance as it is kept, with its withdrawal when it was withdrawn."""

    acceptance: Acceptance
    withdrawn: Withdrawal | None = None


class AcceptanceStore(Protocol):
    """Where acceptances are kept. Times are given by the caller."""

    def add(self, asked: NewAcceptance, now: datetime) -> Acceptance:
        """Keep a new one. Raises AcceptanceError."""
        ...

    def withdraw(self, acceptance_id: str, by: str, now: datetime) -> KeptAcceptance:
        """End one; one that is withdrawn already stays as it is. Raises AcceptanceError."""
        ...

    def all(self) -> list[KeptAcceptance]:
        """Every one in the order made, the withdrawn too. Raises AcceptanceError."""
        ...

    def holding(self, on: date) -> Acceptances:
        """Those that hold on a day. Raises AcceptanceError."""
        ...


class _Accept(msgspec.Struct, frozen=True, tag_field="event", tag="accept"):
    acceptance: Acceptance


class _Withdraw(msgspec.Struct, frozen=True, tag_field="event", tag="withdraw"):
    id: str
    by: str
    at: datetime


_decode = msgspec.json.Decoder(_Accept | _Withdraw).decode


def read_acceptance_file(path: Path) -> list[KeptAcceptance]:
    """What an earlier version of the program kept in ``acceptances.ndjson``: a line for each acceptance made
    and for each withdrawn. Raises AcceptanceError naming the line that is wrong.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise AcceptanceError(f"{path}：无法读取（{reason_of(error)}）") from error
    kept: dict[str, KeptAcceptance] = {}
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            event = _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise AcceptanceError(
                f"{path} 第 {number} 行：不是接受记录（{error}）；请恢复这个文件的备份或改正这一行"
            ) from error
        if isinstance(event, _Accept):
            kept[event.acceptance.id] = KeptAcceptance(event.acceptance)
        elif event.id in kept:
            withdrawn = Withdrawal(event.by, event.at)
            kept[event.id] = msgspec.structs.replace(kept[event.id], withdrawn=withdrawn)
    return list(kept.values())


def check_new(asked: NewAcceptance, today: date) -> None:
    """Raises AcceptanceError with every fault of what is asked."""
    faults = []
    if not re.fullmatch(RULE_CODE, asked.rule):
        faults.append(f"规则编号“{asked.rule[:40]}”不符合要求，应如 CMP-001")
    for name in ("by", "reason", "list_id", "field", "value", "department"):
        try:
            limit = MAX_REASON if name in ("reason", "value") else MAX_TEXT
            check_text(name, getattr(asked, name), limit, needed=name in ("by", "reason"))
        except AcceptanceError as error:
            faults += error.faults
    if asked.until is not None and asked.until < today:
        faults.append(f"有效期至 {asked.until}，早于今天 {today}")
    if faults:
        raise AcceptanceError(*faults)


_LABELS = {
    "by": "接受人",
    "reason": "理由",
    "list_id": "清单编号",
    "field": "字段",
    "value": "值",
    "department": "科室",
}


def check_text(name: str, text: str, limit: int, *, needed: bool = True) -> None:
    label = _LABELS[name]
    if needed and not text.strip():
        raise AcceptanceError(f"{label}不能为空")
    if len(text) > limit:
        raise AcceptanceError(f"{label}不能超过 {limit} 个字符")
    if not text.isprintable():
        raise AcceptanceError(f"{label}里有不能显示的字符")
