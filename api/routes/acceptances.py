"""``/api/v1/acceptances``: findings that the hospital has accepted, made, listed and withdrawn."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from api.answers import API_PREFIX, JSON, answer, json_body, ok
from api.problems import FieldFault, ProblemError
from api.services.acceptance import AcceptanceError, NewAcceptance, NotAcceptedError
from api.state import ServiceDep
from models.wire import json_fault

router = APIRouter(prefix=f"{API_PREFIX}/acceptances", tags=["规则"])

EXAMPLE: dict[str, Any] = {
    "rule": "CMP-063",
    "list_id": "EX20251201001",
    "by": "病案科 王某",
    "reason": "患者入院时无法提供工作单位，已电话核实",
    "until": "2099-12-31",
}
BODY = {
    "required": True,
    "content": {
        JSON: {
            "schema": {"$ref": "#/components/schemas/NewAcceptance"},
            "examples": {"list": {"summary": "接受一份清单上的问题", "value": EXAMPLE}},
        }
    },
}
_decode = msgspec.json.Decoder(NewAcceptance).decode


@router.post(
    "",
    operation_id="accept",
    summary="接受一个问题",
    response_class=Response,
    responses=ok("Acceptance", "所保存的接受，含编号"),
    openapi_extra={"requestBody": BODY},
)
async def accept(request: Request, service: ServiceDep) -> Response:
    """接受一份清单（`list_id`）上某条规则的问题，或一类问题：规则，可再限定字段、值、出院科室。

    被接受的问题仍在报告中，标明谁、为何、到何时，不再计入结论和得分。
    """
    content = await json_body(request)
    try:
        asked = _decode(content)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProblemError("invalid-json", f"报文不是有效的 JSON（{json_fault(error)}）") from error
    if service.require().rules.rule(asked.rule) is None:
        raise _refused([FieldFault("rule", f"没有规则“{asked.rule[:40]}”；规则目录见 /api/v1/rules")])
    try:
        return answer(service.acceptances().add(asked, datetime.now().astimezone()))
    except AcceptanceError as error:
        raise _refused([FieldFault("body", fault) for fault in error.faults]) from error


def _invalid(message: str) -> ProblemError:
    place = message.rpartition("`$.")[2].rstrip("`") if "`$." in message else "body"
    if "missing required field" in message:
        place, reason = message.split("`")[1], "必须给出"
    elif "unknown field" in message:
        place, reason = message.split("`")[1], "没有这个字段"
    elif place == "until":
        reason = "应为日期，如 2026-12-31"
    else:
        reason = "类型不符合要求"
    return _refused([FieldFault(place, reason)])


def _refused(faults: list[FieldFault]) -> ProblemError:
    return ProblemError(
        "invalid-request", "；".join(f"{fault.place}：{fault.reason}" for fault in faults), faults
    )


@router.get(
    "",
    operation_id="list_acceptances",
    summary="已接受的问题",
    response_class=Response,
    responses=ok("KeptAcceptance", "按接受的先后排列", many=True),
)
async def list_acceptances(
    service: ServiceDep,
    every: Annotated[bool, Query(alias="all", description="是否也列出已撤销和已过期的")] = False,
) -> Response:
    """有效的接受；`all=true` 时也列出已撤销和已过期的。"""
    today = datetime.now().astimezone().date()
    kept = service.acceptances().all()
    return answer([one for one in kept if every or (one.withdrawn is None and one.acceptance.holds(today))])


@router.delete(
    "/{acceptance_id}",
    operation_id="withdraw",
    summary="撤销一次接受",
    response_class=Response,
    responses=ok("KeptAcceptance", "这次接受及其撤销；记录本身保留"),
)
async def withdraw(
    service: ServiceDep,
    acceptance_id: Annotated[str, Path(max_length=40, description="编号", examples=["A0001"])],
    by: Annotated[str, Query(min_length=1, max_length=200, description="撤销人", examples=["病案科 王某"])],
) -> Response:
    """撤销后，问题从下一次检查起重新计入结论和得分。已撤销的再撤销，结果不变。"""
    try:
        return answer(service.acceptances().withdraw(acceptance_id, by, datetime.now().astimezone()))
    except NotAcceptedError as error:
        raise ProblemError("not-found", str(error)) from error
    except AcceptanceError as error:
        raise _refused([FieldFault("by", fault) for fault in error.faults]) from error
