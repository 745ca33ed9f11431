"""The one error shape of every route: RFC 9457 ``application/problem+json``, in Chinese."""

from __future__ import annotations

import logging
import re
import traceback
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from fastapi import Depends, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.store.database import StoreError
from grouper.compare import TooManyCodesError
from models.pack import PackError

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:qingdan:problem:"
logger = logging.getLogger("qingdan")


class FieldFault(msgspec.Struct, frozen=True):
    """One parameter or field that is wrong: where it stands, and why (Chinese)."""

    place: str
    reason: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """The members of RFC 9457, and ``errors`` for each field that is wrong."""

    type: str
    title: str
    status: int
    detail: str
    instance: str = ""
    errors: tuple[FieldFault, ...] = ()


class ProblemError(HTTPException):
    """Raised by a route or a middleware that refuses a request. ``kind`` is a key of KINDS."""

    def __init__(
        self,
        kind: str,
        detail: str,
        errors: Sequence[FieldFault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(KINDS[kind][0], detail, headers)
        self.problem = problem(kind, detail, errors)


KINDS: dict[str, tuple[int, str]] = {
    "invalid-json": (400, "报文不能读取"),
    "bad-request": (400, "请求有误"),
    "not-found": (404, "没有找到"),
    "method-not-allowed": (405, "不支持这种请求方法"),
    "payload-too-large": (413, "报文过大"),
    "unsupported-media-type": (415, "不支持的报文格式"),
    "invalid-request": (422, "请求内容不符合要求"),
    "internal-error": (500, "服务内部错误"),
    "not-ready": (503, "服务尚未就绪"),
}
"""Status and title of every kind of problem; the kind ends its ``type``."""

_KIND_OF_STATUS = {status: kind for kind, (status, _) in reversed(KINDS.items())} | {400: "bad-request"}
_DETAILS = {
    404: "没有这个地址，请核对路径；接口清单见 /openapi.json",
    405: "这个地址不支持此请求方法，可用的方法见响应头 Allow",
}


def problem(kind: str, detail: str, errors: Sequence[FieldFault] = (), instance: str = "") -> Problem:
    status, title = KINDS[kind]
    return Problem(TYPE_PREFIX + kind, title, status, detail, instance, tuple(errors))


ANSWER: dict[str, Any] = {
    "description": "出错：RFC 9457 problem+json，`title` 和 `detail` 是中文",
    "content": {
        MEDIA_TYPE: {
            "schema": {"$ref": "#/components/schemas/Problem"},
            "example": msgspec.to_builtins(problem("not-found", "疾病诊断编码库中没有编码“X99.999”")),
        }
    },
}
"""Every problem in the OpenAPI document."""


def response(found: Problem, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(found), found.status, dict(headers or {}), MEDIA_TYPE)


def http_problem(error: HTTPException) -> Problem:
    """What an error of the framework, such as an unknown address, is to the caller."""
    if isinstance(error, ProblemError):
        return error.problem
    kind = _KIND_OF_STATUS.get(error.status_code)
    detail = _DETAILS.get(error.status_code, "请求不能处理，请核对报文")
    return (
        problem(kind, detail) if kind else Problem("about:blank", "请求不能处理", error.status_code, detail)
    )


async def known_parameters(request: Request) -> None:
    """Raises ProblemError for a query parameter that an address of the interface does not have.

    A misspelt one would otherwise do nothing, and nobody would notice.
    """
    route = request.scope.get("route")
    if not isinstance(route, APIRoute) or not route.path.startswith("/api/"):
        return
    known = sorted(_query_parameters(route.dependant))
    for name in request.query_params:
        if name not in known:
            there = f"可用的参数：{'、'.join(known)}" if known else "这个地址没有查询参数"
            fault = FieldFault(name[:40], f"没有这个参数；{there}")
            raise ProblemError("bad-request", f"{fault.place}：{fault.reason}", [fault])


def _query_parameters(of: Dependant) -> set[str]:
    below = (_query_parameters(one) for one in of.dependencies)
    return {parameter.alias for parameter in of.query_params}.union(*below)


def install(app: FastAPI) -> None:
    """Make every error of ``app`` a problem; to be called before the routes are added."""
    app.router.dependencies.append(Depends(known_parameters))

    @app.exception_handler(ProblemError)
    async def refused(_: Request, error: ProblemError) -> Response:
        return response(error.problem, error.headers)

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> Response:
        return response(http_problem(error), error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        faults = [_fault(fault) for fault in error.errors()]
        detail = "；".join(f"{fault.place}：{fault.reason}" for fault in faults)
        return response(problem("invalid-request", detail, faults))

    @app.exception_handler(StoreError)
    async def without_a_store(_: Request, error: Exception) -> Response:
        return response(problem("not-ready", str(error)))

    @app.exception_handler(TooManyCodesError)
    @app.exception_handler(PackError)
    async def refused_by_a_service(_: Request, error: Exception) -> Response:
        return response(problem("invalid-request", str(error)))

    app.add_middleware(UnexpectedErrors)


_REASONS = {
    "missing": "必须给出",
    "int_parsing": "应为整数",
    "int_type": "应为整数",
    "bool_parsing": "应为 true 或 false",
    "greater_than_equal": "不能小于 {ge}",
    "less_than_equal": "不能大于 {le}",
    "literal_error": "应为{expected}之一",
    "enum": "应为{expected}之一",
    "string_too_long": "不能超过 {max_length} 个字符",
    "string_too_short": "不能少于 {min_length} 个字符",
    "string_pattern_mismatch": "格式不符合要求：应为{pattern}",
}
_PACK_ID = "数据包编号（小写字母、数字和 . _ -，至多 64 个字符，如 chs-drg-2.0）"
_PATTERNS = {
    r"^[0-9]{0,6}$": "至多 6 位数字，如 45",
    r"^((19|20)\d{2}-(0[1-9]|1[0-2]))?$": "年-月，如 2026-10",
    r"^((19|20)[0-9]{2}-(0[1-9]|1[0-2]))?$": "年-月，如 2026-10",
    r"^[A-Za-z]{0,5}$": "至多 5 个字母，如 CMP",
    r"^[a-z0-9._-]{0,64}$": _PACK_ID,
    r"^[a-z0-9._-]{1,64},[a-z0-9._-]{1,64}$": f"两个{_PACK_ID}，用半角逗号分隔",
    r"^([a-z0-9._-]{0,64},[a-z0-9._-]{0,64})?$": f"两个{_PACK_ID}，用半角逗号分隔",
}
"""What a pattern of a parameter asks for, in words."""


def _fault(fault: Mapping[str, Any]) -> FieldFault:
    place = ".".join(str(part) for part in fault["loc"][1:]) or str(fault["loc"][0])
    context = {name: str(value) for name, value in (fault.get("ctx") or {}).items()}
    if "expected" in context:
        context["expected"] = "、".join(re.split(r", | or ", context["expected"].replace("'", "")))
    if "pattern" in context:
        context["pattern"] = _PATTERNS.get(context["pattern"], "说明中的写法")
    return FieldFault(place, _REASONS.get(fault["type"], "不符合要求").format_map(context))


class UnexpectedErrors:
    """Answers an error nobody foresaw with a problem, and logs where it happened.

    The log gets the type of the error and the frames, never its message: that may hold what stood in
    a patient's list.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception as error:
            instance = f"urn:uuid:{uuid.uuid4()}"
            frames = "".join(traceback.format_tb(error.__traceback__))
            logger.error("服务内部错误 %s：%s\n%s", instance, type(error).__name__, frames)
            if started:
                raise ConnectionError("答复中断") from None
            detail = f"请把编号 {instance} 和发生的时间告诉管理员，服务日志中有对应的记录"
            await response(problem("internal-error", detail, instance=instance))(scope, receive, send)
