"""``GET /healthz``: whether the service can work, and with which versions."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from api.answers import answer, ok
from api.state import ServiceDep
from api.version import program_version

router = APIRouter(tags=["运行"])


class Health(msgspec.Struct, frozen=True):
    """``packs`` gives the active version of each pack by its id."""

    status: str
    version: str
    packs: dict[str, str]


@router.get(
    "/healthz",
    operation_id="health",
    summary="运行状态",
    response_class=Response,
    responses=ok("Health", "服务可用"),
)
async def health(service: ServiceDep) -> Response:
    """数据包加载完成后返回 200 和各版本号；之前返回 503 和原因。"""
    store = service.require().store
    packs = {pack.id: pack.manifest.version for pack in store.all() if store.is_active(pack)}
    return answer(Health("ok", program_version(), packs))
