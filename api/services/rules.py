"""The rule catalogue as programs and people list it."""

from __future__ import annotations

import msgspec

from models.report import Severity
from qc_rules.ruleset import RuleSet


class RuleEntry(msgspec.Struct, frozen=True):
    """One line of the catalogue. ``severity`` is the one it runs with; ``runs`` whether it is on."""

    code: str
    name: str
    title: str
    family: str
    severity: Severity
    status: str
    runs: bool
    basis: str
    needs: str = ""


def rule_entries(rules: RuleSet, family: str = "", severity: str = "") -> list[RuleEntry]:
    """The rules by code, of one family (``CMP``) or severity when given, those switched off too."""
    running = {one.rule.code: one.severity for one in rules.running}
    entries = (
        RuleEntry(
            rule.code,
            rule.name,
            rule.title,
            rule.family,
            running.get(rule.code, rule.severity),
            rule.status,
            rule.code in running,
            rule.basis.text,
            rule.needs,
        )
        for rule in rules.rules()
    )
    return [e for e in entries if family.upper() in ("", e.family) and severity in ("", e.severity)]
