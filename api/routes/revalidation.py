"""``/api/v1/batches/{id}``: judged again under other packs, compared, single lists opened and corrected."""

from __future__ import annotations

import os
import tempfile
from datetime import datetime
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response

from api.answers import JSON, answer, json_body, ok
from api.batch.comparison import RunComparison, compare_runs, write_workbook
from api.batch.correction import Corrected, OpenedList, correct, open_list, open_noted
from api.batch.revalidate import base_run, begin_revalidation
from api.batch.runs import BatchError, NoRunError, read_run, summary
from api.limits import check_json_type
from api.problems import ProblemError
from api.reader import HEADER, reader_of
from api.routes.batch import ADDRESS, EMPTY, By, RunId
from api.state import Service, ServiceDep
from api.store.lists import StoredVersion
from api.store.vault import Vault
from models.pack import PackError
from models.report import Finding
from models.wire import DecodeError

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
router = APIRouter(prefix=ADDRESS, tags=["批次"])

PackId = Annotated[
    str | None,
    Query(pattern=r"^[a-z0-9._-]{0,64}$", description="不写与原批次相同；写空值则按地区和出院日期选取"),
]
ListName = Annotated[
    str,
    Query(
        min_length=1,
        max_length=200,
        description="就诊ID、清单编号（机构编号/就诊ID），或 #序号",
        alias="list",
        examples=["#1"],
    ),
]


class OpenedVersion(msgspec.Struct, frozen=True):
    """The newest version of a list of a run, its identity masked, with what the run found of version ``judged``."""

    run: int
    number: int
    list_key: str
    list_id: str
    version: int
    judged: int
    list: dict[str, Any]
    findings: tuple[Finding, ...]
    versions: tuple[StoredVersion, ...]


def said(call: Any, *arguments: Any, **named: Any) -> Any:
    """What ``call`` gives; what it refuses as a problem."""
    try:
        return call(*arguments, **named)
    except NoRunError as error:
        raise ProblemError("not-found", str(error)) from error
    except (BatchError, PackError, DecodeError, ValueError) as error:
        raise ProblemError("invalid-request", str(error)) from error


def who(request: Request, by: str) -> str:
    """Whom the proxy let in, else as said, else where the request comes from."""
    return by if by and HEADER not in request.headers else reader_of(request)


@router.post(
    "/{run_id}/revalidate",
    operation_id="revalidate_batch",
    summary="重新质控",
    response_class=Response,
    responses=ok("RunSummary", "排队的批次；做完后用 changes 看变化"),
    openapi_extra=EMPTY,
)
async def revalidate_batch(  # noqa: PLR0917 -- FastAPI gives them by name
    request: Request,
    service: ServiceDep,
    run_id: RunId,
    scheme: PackId = None,
    payment: PackId = None,
    by: By = "",
) -> Response:
    """用现在的数据包重新质控一个已完成的批次，只重算改动涉及的清单和规则。报文为 `{}`。"""
    check_json_type(request.headers.get("content-type", ""))
    service.require()
    return answer(await run_in_threadpool(begin, service, run_id, scheme, payment, who(request, by)))


def begin(service: Service, run_id: int, scheme: str | None, payment: str | None, by: str) -> Any:
    """Write the run down and have it worked on."""
    database = service.database()
    base = said(base_run, database, str(run_id))
    number = said(begin_revalidation, database, service.settings, base, by=by, scheme=scheme, payment=payment)
    service.jobs().put(number)
    return summary(read_run(database, number))


@router.get(
    "/{run_id}/changes",
    operation_id="batch_changes",
    summary="批次之间的变化",
    response_class=Response,
    responses={
        200: {
            "description": "新出现和消失的问题、换组、权重和金额",
            "content": {
                JSON: {"schema": {"$ref": "#/components/schemas/RunComparison"}},
                XLSX: {"schema": {"type": "string", "format": "binary"}},
            },
        }
    },
)
async def batch_changes(
    service: ServiceDep,
    run_id: RunId,
    before: Annotated[int, Query(ge=0, le=(1 << 31) - 1, description="与哪一批相比；0 为它所依据的批次")] = 0,
    kind: Annotated[Literal["json", "xlsx"], Query(alias="format", description="json 或 xlsx")] = "json",
) -> Response:
    """`before` 可以是更早或更晚的批次；同一份清单按机构编号和就诊ID 对应。"""
    found = await run_in_threadpool(changes_of, service, run_id, before)
    return answer(found) if kind == "json" else await run_in_threadpool(_workbook, found)


def changes_of(service: Service, run_id: int, before: int) -> RunComparison:
    """The changes from a run, by default the one that this run judged again. Raises ProblemError."""
    database = service.database()
    base = before or said(read_run, database, run_id).base_run
    if not base:
        raise ProblemError("invalid-request", f"批次 {run_id} 不是重新质控，请用 before 写明与哪一批相比")
    found: RunComparison = said(compare_runs, database, base, run_id)
    return found


def _workbook(found: RunComparison) -> Response:
    handle, name = tempfile.mkstemp(suffix=".xlsx")
    os.close(handle)
    path = FilePath(name)
    try:
        write_workbook(found, path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    task = BackgroundTask(path.unlink, missing_ok=True)
    return FileResponse(
        path, media_type=XLSX, filename=f"changes-{found.before}-{found.after}.xlsx", background=task
    )


@router.get(
    "/{run_id}/list",
    operation_id="open_batch_list",
    summary="批次中的一份清单",
    response_class=Response,
    responses=ok("OpenedVersion", "最新一版，患者身份打码；version 在保存时作 base"),
)
async def open_batch_list(request: Request, service: ServiceDep, run_id: RunId, name: ListName) -> Response:
    """打码的字段不要改，保存时恢复真实值。读取记入审计。"""
    opened = await run_in_threadpool(opened_by, request, service, run_id, name)
    values = {field: getattr(opened, field) for field in OpenedVersion.__struct_fields__ if field != "list"}
    return answer(OpenedVersion(**values, list=msgspec.json.decode(opened.payload)))


def opened_by(request: Request, service: Service, run_id: int, name: str) -> OpenedList:
    """A list for whoever asks, which the audit log keeps. Raises ProblemError."""
    at = datetime.now().astimezone()
    found: OpenedList = said(open_noted, service.database(), run_id, name, who=reader_of(request), at=at)
    return found


@router.post(
    "/{run_id}/list",
    operation_id="save_batch_list",
    summary="保存更正后的清单",
    response_class=Response,
    responses=ok("Corrected", "新版本和它的质控结果；批次的结果在重新质控后更新"),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": {"$ref": "#/components/schemas/Envelope"}}},
        }
    },
)
async def save_batch_list(  # noqa: PLR0917 -- FastAPI gives them by name
    request: Request,
    service: ServiceDep,
    run_id: RunId,
    name: ListName,
    base: Annotated[int, Query(ge=1, description="更正的是第几版；已有更新的版本时拒绝", examples=[1])],
    why: Annotated[str, Query(max_length=200, description="为什么更正，记入审计")] = "",
    by: By = "",
) -> Response:
    """报文是整份清单。原版本保留，更正存为新版本。"""
    content = await json_body(request)
    return answer(
        await run_in_threadpool(
            save, service, run_id, name, content, base=base, who=who(request, by), why=why
        )
    )


def save(
    service: Service, run_id: int, name: str, content: bytes, *, base: int, who: str, why: str
) -> Corrected:
    """Keep a corrected list. Raises ProblemError."""
    database = service.database()
    opened = said(open_list, database, run_id, name)
    kept: Corrected = said(
        correct,
        database,
        Vault.open(service.settings, database),
        service.require(),
        opened.list_key,
        content,
        base=base,
        who=who,
        at=datetime.now().astimezone(),
        why=why,
        accepted=service.accepted(),
    )
    return kept
