"""The engine: rules compiled once, then run over the facts of one list after another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from models.grouping import GroupResult
from models.pack import Pack, PackRef
from models.report import Finding, Severity
from models.settlement_list import Interface
from models.wire import Received
from qc_rules.code_index import CodeIndex
from qc_rules.compiler import CompiledRule, compile_rule
from qc_rules.facts import Facts, Setting, as_text, label
from qc_rules.messages import Filling
from qc_rules.packs import LoadedRule, national_pack, read_pack, rule_packs
from qc_rules.predicates import Hit
from qc_rules.program import Program
from qc_rules.reference import CodeReader, Reference
from qc_rules.schema import Rule, Stage
from qc_rules.source import RuleError, fault
from qc_rules.terms import CompileError

__all__ = ["RuleSet", "national_pack", "rule_packs"]

INTERFACES: tuple[Interface, ...] = ("4101", "4101A")


class RuleSet:
    """The rules of one region and date, compiled. Findings come by rule code, then by row."""

    def __init__(
        self,
        loaded: Iterable[LoadedRule],
        reference: Reference,
        settings: Mapping[str, Setting],
        packs: tuple[PackRef, ...] = (),
    ) -> None:
        self.reference = reference
        self.settings = settings
        self.packs = packs
        self._loaded = {one.rule.code: one for one in sorted(loaded, key=lambda one: one.rule.code)}
        running = [one for one in self._loaded.values() if _runs(one.rule, settings)]
        faults: list[str] = []
        self._compiled: list[CompiledRule] = []
        for one in running:
            try:
                self._compiled.append(compiled_rule(one.rule, reference, settings))
            except CompileError as error:
                faults.append(fault(one.path, one.text, error.location, error.reason))
        if faults:
            raise RuleError(*faults)
        index = CodeIndex({number: compiled.codes for number, compiled in enumerate(self._compiled)})
        self.codes = CodeReader(reference.library, index.leads)
        self._dated = {
            number
            for number, compiled in enumerate(self._compiled)
            if compiled.rule.effective_from or compiled.rule.effective_to
        }
        self._stages: dict[Stage, RuleSet] = {}
        self._programs = {interface: Program(self._compiled, interface) for interface in INTERFACES}

    @classmethod
    def load(cls, packs: Sequence[Pack], reference: Reference) -> RuleSet:
        """The rules of ``packs``, later ones overriding earlier ones. Raises RuleError."""
        loaded: dict[str, LoadedRule] = {}
        settings: dict[str, Setting] = {}
        refs = []
        for number, pack in enumerate(packs):
            if number:
                unknown = sorted(set(pack.manifest.parameters) - set(settings))
                if unknown:
                    raise RuleError(
                        f"{pack.folder / 'pack.toml'} parameters：没有设置 {'、'.join(unknown)}；"
                        f"有的是：{'、'.join(sorted(settings))}"
                    )
            settings |= pack.manifest.parameters
            refs.append(read_pack(pack, loaded))
        return cls(loaded.values(), reference, settings, tuple(refs))

    def with_settings(self, changed: Mapping[str, Setting]) -> RuleSet:
        """The same rules under other settings. Raises RuleError for an unknown setting."""
        unknown = sorted(set(changed) - set(self.settings))
        if unknown:
            raise RuleError(f"没有设置 {'、'.join(unknown)}；有的是：{'、'.join(sorted(self.settings))}")
        return RuleSet(self._loaded.values(), self.reference, {**self.settings, **changed}, self.packs)

    def at_stage(self, stage: Stage) -> RuleSet:
        """Only the rules of one stage (事前, 事中, 事后), compiled when first asked for and kept."""
        found = self._stages.get(stage)
        if found is None:
            loaded = [one for one in self._loaded.values() if stage in one.rule.stages]
            found = RuleSet(loaded, self.reference, self.settings, self.packs)
            self._stages[stage] = found
        return found

    def facts(self, received: Received, group: GroupResult | None = None) -> Facts:
        """What the rules look at in one list."""
        facts = Facts(received, self.codes, self.reference, self.settings, group)
        self._programs[facts.interface].read(facts)
        return facts

    def check(self, facts: Facts) -> list[Finding]:
        """Every finding on one list, by rule code, then in row order."""
        fired = self._programs[facts.interface].fired(facts)
        if not fired:
            return []
        findings: list[Finding] = []
        for number in sorted(fired):
            compiled = self._compiled[number]
            if number in self._dated and not compiled.rule.in_force(facts.discharged_on):
                continue
            found = compiled.hits(facts)
            if found:
                findings += [_finding(compiled, facts, hit) for hit in found]
        return findings

    def rule(self, code: str) -> dict[str, Any] | None:
        """One rule as documented, ready for JSON: the file's content, its pack, and whether it runs."""
        one = self._loaded.get(code)
        if one is None:
            return None
        content = one.rule.model_dump(mode="json")
        return {
            **content,
            "family": one.rule.family,
            "pack": one.pack.id,
            "runs": _runs(one.rule, self.settings),
        }

    def rules(self) -> list[Rule]:
        """Every rule by code, those switched off too."""
        return [one.rule for one in self._loaded.values()]

    @property
    def running(self) -> list[CompiledRule]:
        """The rules that run, by code."""
        return self._compiled

    def severity(self, code: str) -> Severity | None:
        """The severity with which a rule runs: lowered to warn where only unconfirmed values speak for it."""
        return next((one.severity for one in self._compiled if one.rule.code == code), None)

    def deduction(self, code: str) -> int:
        """Points that a fired rule costs, 0 for an unknown one."""
        one = self._loaded.get(code)
        return one.rule.deduction if one else 0


WRONG_VALUES = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
"""What code raises that is handed a value of another kind or form than it is written for."""


def compiled_rule(rule: Rule, reference: Reference, settings: Mapping[str, Setting]) -> CompiledRule:
    """One rule ready to run. Raises CompileError, also for a value that nothing can be made of."""
    try:
        return compile_rule(rule, reference, settings)
    except CompileError:
        raise
    except WRONG_VALUES as error:
        raise CompileError(["when"], f"条件或参数的值不合要求（{error}）") from error


def _runs(rule: Rule, settings: Mapping[str, Setting]) -> bool:
    if rule.severity_from and settings.get(rule.severity_from) == "off":
        return False
    return rule.status == "stable" or (rule.status == "preview" and bool(settings.get("preview_rules")))


def _finding(compiled: CompiledRule, facts: Facts, hit: Hit) -> Finding:
    node = compiled.node
    row = None
    if node == "setlinfo":
        row = facts.stay
    elif node == hit.node:
        rows, at = facts.rows(node), max(hit.index, 0)
        row = rows[at] if at < len(rows) else None
    value = hit.value or (as_text(facts.value_at(hit.node, hit.index, hit.wire)) if hit.wire else "")
    filling = Filling(facts, row, hit.index, hit, value)
    rule = compiled.rule
    return Finding(
        rule=rule.code,
        title=rule.title,
        severity=_milder(compiled.severity, hit.severity),
        path=hit.path or facts.received.path(hit.official),
        field=hit.label or label(hit.node, hit.wire),
        value=value,
        message=compiled.message(filling),
        advice=compiled.advice(filling),
        basis=compiled.basis,
    )


_STRENGTH: Mapping[str, int] = {"error": 3, "warn": 2, "info": 1}


def _milder(rule: Severity, hit: Severity | Literal[""]) -> Severity:
    return hit if hit and _STRENGTH[hit] < _STRENGTH[rule] else rule
