"""``GET /api/v1/rules``: the rule catalogue; ``/rules/{code}``: one rule in full."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from api.answers import API_PREFIX, JSON, answer, ok
from api.problems import ProblemError
from api.services.rules import rule_entries
from api.state import CheckerDep
from models.report import Severity

router = APIRouter(prefix=f"{API_PREFIX}/rules", tags=["规则"])

RULE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "规则的全部内容：编号、名称、级别、状态、依据、理由、条件、提示、建议、正反例",
    "required": ["code", "name", "title", "severity", "status", "basis", "why", "advice", "runs"],
    "properties": {
        "code": {"type": "string"},
        "name": {"type": "string"},
        "title": {"type": "string"},
        "severity": {"enum": ["error", "warn", "info"]},
        "status": {"enum": ["stable", "preview", "off"]},
        "basis": {"type": "object"},
        "why": {"type": "string"},
        "advice": {"type": "string"},
        "runs": {"type": "boolean", "description": "是否在用"},
    },
}


@router.get(
    "",
    operation_id="list_rules",
    summary="规则目录",
    response_class=Response,
    responses=ok("RuleEntry", "规则，按编号排列", many=True),
)
async def list_rules(
    checker: CheckerDep,
    family: Annotated[
        str, Query(pattern=r"^[A-Za-z]{0,5}$", description="规则类别，如 CMP", examples=["SEX"])
    ] = "",
    severity: Annotated[Severity | None, Query(description="级别：error、warn、info")] = None,
) -> Response:
    """全部质控规则，含未启用的规则及其原因。"""
    return answer(rule_entries(checker.rules, family, severity or ""))


@router.get(
    "/{code}",
    operation_id="get_rule",
    summary="一条规则",
    response_class=Response,
    responses={200: {"description": "规则的全部内容", "content": {JSON: {"schema": RULE_SCHEMA}}}},
)
async def get_rule(
    checker: CheckerDep,
    code: Annotated[str, Path(max_length=20, description="规则编号", examples=["CMP-001"])],
) -> Response:
    """一条规则的依据、理由、条件、提示、建议和正反例。"""
    found = checker.rules.rule(code.upper())
    if found is None:
        raise ProblemError("not-found", f"没有规则“{code}”；规则目录见 /api/v1/rules")
    return answer(found)
