"""Findings that a hospital has accepted: for one list or for a pattern, by whom, why and until when."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence
from datetime import date, datetime

import msgspec

from models.report import Accepted, Finding

UNUSED_RULE = "ACC-001"
"""The code under which a report says that an acceptance no longer has anything to accept."""
_INDEX = re.compile(r"\[\d+\]")


class Acceptance(msgspec.Struct, frozen=True, omit_defaults=True):
    """One accepted finding. ``until`` is the last day on which it holds, None for always.

    With ``list_id`` it holds for that list only, without for every list. ``field`` (its Chinese label,
    ``diseinfo.diag_code`` or ``diseinfo[2].diag_code``), ``value`` and ``department`` (the code of the
    discharge department) narrow it; empty ones do not.
    """

    id: str
    rule: str
    by: str
    reason: str
    accepted_at: datetime
    until: date | None = None
    list_id: str = ""
    field: str = ""
    value: str = ""
    department: str = ""

    def holds(self, on: date) -> bool:
        """Whether it has not run out on ``on``."""
        return self.until is None or on <= self.until

    def covers(self, finding: Finding, department: str) -> bool:
        """Whether it accepts a finding of its rule on a list of its own."""
        return (
            finding.rule == self.rule
            and self.value in ("", finding.value)
            and self.department in ("", department)
            and (not self.field or self.field in _names(finding))
        )


def _names(finding: Finding) -> tuple[str, str, str]:
    """What the place of a finding may be called."""
    path = finding.path.removeprefix("input.")
    return finding.field, path, _INDEX.sub("", path)


class Acceptances:
    """The acceptances that hold on one day, ready to be laid over one list's findings after another."""

    def __init__(self, acceptances: Iterable[Acceptance], on: date) -> None:
        self._by_list: dict[str, list[Acceptance]] = {}
        self._patterns: dict[str, list[Acceptance]] = {}
        for one in acceptances:
            if not one.holds(on):
                continue
            if one.list_id:
                self._by_list.setdefault(one.list_id, []).append(one)
            else:
                self._patterns.setdefault(one.rule, []).append(one)

    def apply(
        self, findings: Sequence[Finding], list_id: str, department: str, ran: Container[str] | None = None
    ) -> list[Finding]:
        """The findings of one list, the accepted ones marked; last, each acceptance of this list in vain.

        One made for the list itself goes before a pattern. ``ran``: the only rules that were run; what
        the others would have found is not known.
        """
        own = self._by_list.get(list_id, []) if list_id else []
        if not own and not self._patterns:
            return list(findings)
        used: set[str] = set()
        marked = []
        for finding in findings:
            covering = [
                one
                for one in (*own, *self._patterns.get(finding.rule, ()))
                if one.covers(finding, department)
            ]
            used.update(one.id for one in covering)
            if covering:
                first = covering[0]
                accepted = Accepted(first.id, first.by, first.reason, first.until)
                marked.append(msgspec.structs.replace(finding, accepted=accepted))
            else:
                marked.append(finding)
        idle = (one for one in own if one.id not in used and (ran is None or one.rule in ran))
        return [*marked, *map(_unused, idle)]


def _unused(one: Acceptance) -> Finding:
    where = f"，{one.field}" if one.field else ""
    return Finding(
        rule=UNUSED_RULE,
        title="已接受的问题不再出现",
        severity="info",
        path="",
        field="",
        value=one.id,
        message=f"{one.by}接受的问题（{one.rule}{where}，编号 {one.id}）在这份清单上已不再出现",
        advice=f"可以撤销这次接受：qingdan rules withdraw {one.id}",
        basis="本院接受的问题",
    )
