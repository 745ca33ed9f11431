"""What the quality-control rules would say of a list that chose otherwise: another diagnosis or procedure first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from api.services.check import Checker, case_of, discharge_date
from models.grouping import PreparedCode
from models.report import Finding, Severity
from models.wire import Received, decode_payload, encode

PRINCIPAL_FIELDS = ("diag_type", "maindiag_flag")
"""What marks a row of diseinfo as the principal diagnosis."""
MAIN_FIELDS = ("oprn_oprt_type",)
"""What marks a row of oprninfo as the main procedure."""
COUNT_FIELD = "diag_code_cnt"
"""The number of diagnoses in setlinfo (诊断代码计数)."""


class RuleMention(msgspec.Struct, frozen=True):
    """A quality-control rule that one choice would break or mend; ``message`` is Chinese."""

    rule: str
    title: str
    severity: Severity
    message: str


class SelectionRules:
    """Checks the same list with one other choice and tells the findings that come and go."""

    def __init__(self, checker: Checker, received: Received, region: str = "", scheme: str = "") -> None:
        self._checker, self._region, self._scheme = checker, region, scheme
        self._interface = received.interface
        self._payload = encode(received, with_evidence=True)
        on = discharge_date(received)
        facts = checker.rules_for(on, region).facts(received)
        prepared = checker.scheme_for(on, region, scheme).prepare(case_of(facts))
        diagnoses = [] if facts.principal is None else [facts.principal, *facts.others]
        rows = range(len(received.list.procedures))
        procedures = [] if facts.main is None else [facts.main, *(row for row in rows if row != facts.main)]
        self._diagnoses = _rows_by_code(diagnoses, prepared.diagnoses)
        self._procedures = _rows_by_code(procedures, prepared.procedures)
        self._first = {"diseinfo": facts.principal, "oprninfo": facts.main}
        self._listed = self._check(self._payload)

    def of(self, kind: str, code: str) -> tuple[tuple[RuleMention, ...], tuple[RuleMention, ...]]:
        """The findings that come (broken) and those that go (mended) with one alternative of a what-if."""
        row = (self._procedures if kind == "main" else self._diagnoses).get(code)
        if row is None:
            return (), ()
        if kind == "without":
            changed = self._without(row)
        elif kind == "main":
            changed = self._in_front("oprninfo", row, MAIN_FIELDS)
        else:
            changed = self._in_front("diseinfo", row, PRINCIPAL_FIELDS)
        found = self._check(changed)
        return _only_in(found, self._listed), _only_in(self._listed, found)

    def _check(self, payload: Mapping[str, Any]) -> Sequence[Finding]:
        received = decode_payload({"infno": self._interface, "input": payload})
        return self._checker.check(received, region=self._region, scheme=self._scheme).findings

    def _in_front(self, node: str, row: int, marks: Sequence[str]) -> Mapping[str, Any]:
        """The list with ``row`` of a node in front, and the marks of the first place exchanged."""
        rows = self._payload[node]
        before = self._first[node]
        if before is None or not all(isinstance(one, dict) for one in (rows[row], rows[before])):
            return self._payload
        chosen, former = dict(rows[row]), dict(rows[before])
        for mark in marks:
            chosen[mark], former[mark] = former.get(mark), chosen.get(mark)
        rest = [former if place == before else one for place, one in enumerate(rows) if place != row]
        return {**self._payload, node: [chosen, *rest]}

    def _without(self, row: int) -> Mapping[str, Any]:
        """The list without one row of diseinfo; where it states how many there are, one fewer."""
        rows = self._payload["diseinfo"]
        stay = dict(self._payload["setlinfo"])
        if isinstance(stay.get(COUNT_FIELD), int):
            stay[COUNT_FIELD] -= 1
        return {**self._payload, "setlinfo": stay, "diseinfo": [*rows[:row], *rows[row + 1 :]]}


def _rows_by_code(rows: Sequence[int], codes: Iterable[PreparedCode]) -> Mapping[str, int]:
    """The row of each code that grouping used."""
    return {code.used: row for row, code in zip(rows, codes, strict=True) if code.used}


def _only_in(findings: Sequence[Finding], others: Sequence[Finding]) -> tuple[RuleMention, ...]:
    """The rules that fire more often in ``findings`` than in ``others``, each once."""
    known = [finding.rule for finding in others]
    mentions: dict[str, RuleMention] = {}
    for finding in findings:
        if finding.rule in known:
            known.remove(finding.rule)
        elif finding.rule not in mentions:
            said = finding.rule, finding.title, finding.severity, finding.message
            mentions[finding.rule] = RuleMention(*said)
    return tuple(mentions.values())
