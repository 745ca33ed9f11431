"""``POST /api/v1/check``: one settlement list in, one report out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.answers import API_PREFIX, JSON, Region, Scheme, answer, json_body, ok
from api.example import EXAMPLE_LIST
from api.problems import ProblemError
from api.state import ServiceDep
from models.wire import DecodeError, Received, decode
from qc_rules.schema import Stage

router = APIRouter(prefix=API_PREFIX, tags=["质控"])

LIST_BODY = {
    "required": True,
    "content": {
        JSON: {
            "schema": {
                "oneOf": [
                    {"$ref": "#/components/schemas/SettlementList"},
                    {"$ref": "#/components/schemas/Envelope"},
                ]
            },
            "examples": {
                "bare": {"summary": "各节点直接给出", "value": EXAMPLE_LIST},
                "enveloped": {
                    "summary": "接口 4101 的报文",
                    "value": {"infno": "4101", "input": EXAMPLE_LIST},
                },
            },
        }
    },
}


def read_list(content: bytes) -> Received:
    """Raises ProblemError when ``content`` is not a settlement list."""
    try:
        return decode(content)
    except DecodeError as error:
        raise ProblemError("invalid-json", str(error)) from error


@router.post(
    "/check",
    operation_id="check",
    summary="检查一份结算清单",
    response_class=Response,
    responses=ok("Report", "检查报告：结论、得分、问题清单、DRG 分组及所用数据包"),
    openapi_extra={"requestBody": LIST_BODY},
)
async def check(
    request: Request,
    service: ServiceDep,
    region: Region = "",
    scheme: Scheme = "",
    stage: Annotated[
        Stage | None, Query(description="只运行一个阶段的规则：事前、事中、事后；不写则全部运行。")
    ] = None,
) -> Response:
    """接收接口 4101 或 4101A 的清单（各节点直接给出，或放在 `input` 中），返回检查报告。

    字段的值有误不会使请求失败：每个错误都是报告中的一条问题，其余检查照常进行。只有完全不是
    结算清单的报文才返回 400。
    """
    received = read_list(await json_body(request))
    checker = service.require()
    report = checker.check(received, region=region, scheme=scheme, stage=stage, accepted=service.accepted())
    return answer(report)
