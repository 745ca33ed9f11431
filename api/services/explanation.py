"""Why a case has its DRG, for all doors: one case or one list in, the path through the rules out."""

from __future__ import annotations

from datetime import date

from api.services.check import Checker
from grouper.compare import MAX_CODES, TooManyCodesError
from grouper.explain import Explanation, explain
from models.grouping import Case


def explain_case(
    checker: Checker, case: Case, *, on: date | None = None, region: str = "", scheme: str = ""
) -> Explanation:
    """The DRG of a case and the way to it, by the scheme of a discharge date or the one asked for.

    Raises PackError, and TooManyCodesError above MAX_CODES codes.
    """
    refuse_too_many(case)
    return explain(checker.scheme_for(on, region, scheme), case)


def refuse_too_many(case: Case) -> None:
    """Raises TooManyCodesError: an explanation repeats every code beside every entry passed over."""
    codes = len(case.diagnoses) + len(case.procedures)
    if codes > MAX_CODES:
        raise TooManyCodesError(f"诊断和手术操作共 {codes} 个，超过 {MAX_CODES} 个，不能逐条说明；请核对清单")
