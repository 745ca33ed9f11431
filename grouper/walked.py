"""Group a prepared case by walking the formulas as trees: slow, plain, the measure of the compiled answer."""

from __future__ import annotations

from dataclasses import dataclass

from grouper.formula import evaluate
from grouper.prepare import PreparedCase
from grouper.scheme import AMBIGUOUS, NOT_GROUPED, CodeSets, Scheme


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """A prepared case together with what its other diagnoses count for in one scheme."""

    case: PreparedCase
    code_sets: CodeSets

    def number(self, variable: str) -> float:
        return self.case.number(variable)

    def text(self, variable: str) -> str:
        return self.case.text(variable)

    def codes(self, variable: str) -> tuple[str, ...]:
        return self.case.codes(variable)

    def complication_codes(self, level: str) -> tuple[str, ...]:
        return tuple(
            code
            for code in self.case.others
            if self.code_sets.complications.get(code, ("", ""))[0] == level and not self.excluded(code)
        )

    def excluded(self, code: str) -> bool:
        """Whether the principal diagnosis stands in the exclusion table of an other diagnosis."""
        table = self.code_sets.complications.get(code, ("", ""))[1]
        return table in self.code_sets.exclusions.get(self.case.principal, frozenset())


def group_by_walking(scheme: Scheme, case: PreparedCase) -> str:
    """The DRG, the 歧义组 or ``0000`` of a prepared case."""
    if not case.principal:
        return NOT_GROUPED
    facts = CaseFacts(case, scheme.code_sets)
    formulas = scheme.formulas
    for mdc in scheme.mdcs:
        if not evaluate(formulas[mdc.condition], facts, scheme.members):
            continue
        for adrg in scheme.adrgs:
            if adrg.mdc != mdc.code or not evaluate(formulas[adrg.condition], facts, scheme.members):
                continue
            if adrg.kind == AMBIGUOUS:
                return adrg.code
            for drg in scheme.drgs.get(adrg.code, ()):
                if evaluate(formulas[drg.condition], facts, scheme.members):
                    return drg.code
    return NOT_GROUPED
