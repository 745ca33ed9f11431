"""What a check says of one settlement list."""

from __future__ import annotations

from datetime import date
from typing import Literal

import msgspec

from models.grouping import GroupResult
from models.pack import PackRef
from models.settlement_list import Interface

Severity = Literal["error", "warn", "info"]
Verdict = Literal["可上传", "需复核", "需修改"]

SEVERITY_LABELS: dict[Severity, str] = {"error": "错误", "warn": "警告", "info": "提示"}


class Accepted(msgspec.Struct, frozen=True, omit_defaults=True):
    """By whom a finding was accepted and why; ``until`` is the last day, None for always."""

    id: str
    by: str
    reason: str
    until: date | None = None

    @property
    def text(self) -> str:
        """As people read it."""
        return f"已接受（{self.by}：{self.reason}；{f'至 {self.until}' if self.until else '长期'}）"


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that a rule found.

    ``path`` is the place in the list as received (``input.diseinfo[2].diag_code``), ``field`` its
    Chinese label, ``value`` what stands there. ``message``, ``advice`` and ``basis`` are Chinese.
    An ``accepted`` one stays in the report but counts neither for the verdict nor for the score.
    """

    rule: str
    title: str
    severity: Severity
    path: str
    field: str
    value: str
    message: str
    advice: str
    basis: str
    accepted: Accepted | None = None


class Report(msgspec.Struct, frozen=True):
    """The whole answer for one list.

    ``list_id`` is 就诊ID, else 结算ID or 病案号. ``score`` is 100 less the deductions of the rules that
    fired (each rule once, never below 0), ``grade`` its band. ``verdict``: 需修改 with any error,
    需复核 with any warning, else 可上传; what is accepted counts for neither. ``ungrouped`` says in
    Chinese why ``group`` is None.
    """

    list_id: str
    interface: Interface
    verdict: Verdict
    score: int
    grade: str
    findings: tuple[Finding, ...]
    group: GroupResult | None
    packs: tuple[PackRef, ...]
    ungrouped: str = ""

    @property
    def uploadable(self) -> bool:
        """Whether the list may be uploaded: no finding is an error."""
        return self.verdict != "需修改"
