"""What the routes share: JSON answers, the raw body, the parameters that choose packs."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import Query, Request
from starlette.responses import Response

from api.limits import check_json_type

JSON = "application/json"
API_PREFIX = "/api/v1"

Region = Annotated[
    str,
    Query(
        pattern=r"^[0-9]{0,6}$",
        description="统筹地区：行政区划代码的前几位数字，如 45；不写用服务的设置。",
        examples=["45"],
    ),
]
Scheme = Annotated[
    str,
    Query(
        pattern=r"^[a-z0-9._-]{0,64}$",
        description="DRG 分组方案的数据包编号，如 chs-drg-2.0；不写时按地区和出院日期选取。",
        examples=["chs-drg-2.0"],
    ),
]

_encode = msgspec.json.Encoder().encode


def answer(content: Any) -> Response:
    """``content`` as JSON, encoded by msgspec."""
    return Response(_encode(content), media_type=JSON)


async def json_body(request: Request) -> bytes:
    """The raw body of a JSON request. Raises ProblemError for another content type."""
    check_json_type(request.headers.get("content-type", ""))
    return await request.body()


def ok(schema: str, description: str, *, many: bool = False) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI text of a successful answer. ``schema`` is the name of a component."""
    reference: dict[str, Any] = {"$ref": f"#/components/schemas/{schema}"}
    shape = {"type": "array", "items": reference} if many else reference
    return {200: {"description": description, "content": {JSON: {"schema": shape}}}}
