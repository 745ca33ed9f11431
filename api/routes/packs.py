"""``GET /api/v1/packs``: the data packs of this installation."""

from __future__ import annotations

from datetime import date

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from api.answers import API_PREFIX, answer, ok
from api.state import CheckerDep
from models.pack import Pack, PackStore

router = APIRouter(prefix=API_PREFIX, tags=["数据包"])


class PackEntry(msgspec.Struct, frozen=True):
    """One installed pack; dates are inclusive discharge dates."""

    kind: str
    id: str
    version: str
    name: str
    publisher: str
    document: str
    region: str
    effective_from: date | None
    effective_to: date | None
    active: bool
    sha256: str


def pack_entry(pack: Pack, store: PackStore) -> PackEntry:
    m = pack.manifest
    return PackEntry(
        m.kind, m.id, m.version, m.name, m.publisher, m.document, m.region, m.effective_from,
        m.effective_to, store.is_active(pack), pack.sha256,
    )  # fmt: skip


@router.get(
    "/packs",
    operation_id="list_packs",
    summary="数据包",
    response_class=Response,
    responses=ok("PackEntry", "已安装的数据包", many=True),
)
async def list_packs(checker: CheckerDep) -> Response:
    """编码库、分组方案、权重表、值域字典等数据包的来源、适用范围和状态。"""
    store = checker.store
    return answer([pack_entry(pack, store) for pack in store.all()])
