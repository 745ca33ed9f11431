"""``POST /api/v1/group/explain``: why a case has its DRG, as JSON or as the text of an appeal."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response

from api.answers import API_PREFIX, JSON, Region, Scheme, answer
from api.routes.dip import BODY, AskedDep
from api.services.explanation import explain_case
from api.state import CheckerDep

router = APIRouter(prefix=API_PREFIX, tags=["分组"])

TEXT = "text/plain"
SCHEMA = "#/components/schemas/Explanation"


def wants_text(accept: str) -> bool:
    """Whether an Accept header names plain text before JSON."""
    kinds = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    named = [kind for kind in kinds if kind in (TEXT, JSON, "*/*", "application/*")]
    return bool(named) and named[0] == TEXT


@router.post(
    "/group/explain",
    operation_id="group_explain",
    summary="DRG 分组的理由",
    response_class=Response,
    responses={
        200: {
            "description": "分组结果，MDC → ADRG → DRG 各级的规则和事实，此前未入的各组；"
            "请求头 `Accept: text/plain` 时为同样内容的中文文本",
            "content": {JSON: {"schema": {"$ref": SCHEMA}}, TEXT: {"schema": {"type": "string"}}},
        }
    },
    openapi_extra=BODY,
)
async def group_explain(
    request: Request, found: AskedDep, checker: CheckerDep, region: Region = "", scheme: Scheme = ""
) -> Response:
    """返回 DRG 和得出它的过程：每一级的规则原文、本例成立的条件、此前未入的组及其未满足的条件。

    请求头 `Accept: text/plain` 时返回可直接用于申诉材料的文本。
    """
    explanation = await run_in_threadpool(
        explain_case, checker, found.case, on=found.on, region=region, scheme=scheme
    )
    if wants_text(request.headers.get("accept", "")):
        return PlainTextResponse(explanation.to_text())
    return answer(explanation)
