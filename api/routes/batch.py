"""``/api/v1/batches``: a file of lists handed in, its run watched, cancelled, gone on with, its results read."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query, Request
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse

from api.answers import API_PREFIX, JSON, Region, Scheme, answer, ok
from api.batch.export import CHUNK, rejected_rows, result_lines
from api.batch.jobs import Upload, fit_name
from api.batch.runs import (
    MONTH,
    BatchError,
    NoRunError,
    RunSummary,
    read_run,
    requeue,
    runs,
    summary,
)
from api.batch.start import begin, note_results, stop
from api.batch.totals import Totals, totals_of
from api.intake.mapping import (
    MAX_MAPPING_BYTES,
    ColumnMapping,
    MappingError,
    mapping_of,
    shipped_mapping,
    shipped_names,
)
from api.limits import check_json_type
from api.problems import FieldFault, ProblemError
from api.reader import HEADER, reader_of
from api.reading import FileRefusedError
from api.settings import Settings
from api.state import Service, ServiceDep
from models.pack import PackError

ADDRESS = f"{API_PREFIX}/batches"
OCTETS = "application/octet-stream"
WRITTEN = 1 << 20
"""Bytes that are written at once."""
MOST_REJECTS = 1000
MOST_FAULTS = 10

EMPTY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {JSON: {"schema": {"type": "object"}, "example": {}}}}
}

router = APIRouter(prefix=ADDRESS, tags=["批次"])

RunId = Annotated[int, Path(ge=1, le=(1 << 31) - 1, description="批次编号", examples=[1])]
MonthText = Annotated[
    str, Query(pattern=r"^((19|20)\d{2}-(0[1-9]|1[0-2]))?$", description="结算月份", examples=["2026-10"])
]
FileName = Annotated[
    str,
    Query(
        min_length=1,
        max_length=255,
        description="文件名，如 lists.ndjson；决定怎样读取",
        examples=["lists.ndjson"],
    ),
]
Payment = Annotated[
    str,
    Query(
        pattern=r"^[a-z0-9._-]{0,64}$",
        description="DRG 支付数据包编号；不写时按地区和出院日期选取。",
        examples=["sichuan-2024"],
    ),
]
MappingName = Annotated[
    str,
    Query(
        max_length=255,
        description="列对照：内置对照的名称（如 hqms），或 `mapping_bytes` 所指的文件的名称（.toml 或 .yaml）",
    ),
]
MappingBytes = Annotated[
    int,
    Query(
        ge=0,
        le=MAX_MAPPING_BYTES,
        description="报文开头有多少字节是列对照文件，其后才是清单文件；0 为没有",
    ),
]
By = Annotated[str, Query(max_length=80, description="操作人，记入审计；反向代理已认出用户时以它为准")]


class RunDetail(msgspec.Struct, frozen=True):
    """A run with what it came to so far."""

    run: RunSummary
    totals: Totals


@router.post(
    "",
    operation_id="begin_batch",
    summary="上传清单，开始一个批次",
    response_class=Response,
    responses=ok("RunSummary", "排队的批次；用它的 id 查询进度"),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def begin_batch(  # noqa: PLR0917 -- FastAPI gives them by name
    request: Request,
    service: ServiceDep,
    month: MonthText,
    name: FileName,
    by: By = "",
    region: Region = "",
    scheme: Scheme = "",
    payment: Payment = "",
    mapping: MappingName = "",
    mapping_bytes: MappingBytes = 0,
) -> Response:
    """报文就是文件本身：NDJSON、JSON、模板 .xlsx、CSV、Parquet 或它们的 zip。

    医院自己导出的表格要有列对照：把列对照文件放在清单文件前面一起发来，用 `mapping_bytes` 写明它的字节数。

    清单在后台质控、分组并存入数据库，上传的文件用完即删。不接受服务器上的路径。
    """
    _check_type(request)
    if not MONTH.fullmatch(month):
        raise _invalid("month", "必须给出，如 2026-10")
    settings = _settings(service, region, scheme)
    await run_in_threadpool(_check_packs, service, scheme, payment)
    upload = await run_in_threadpool(_refusing, Upload, service.settings, name)
    try:
        lead = await _receive(request, upload, mapping_bytes)
        chosen = await run_in_threadpool(_mapping, mapping, lead)
        run_id = await run_in_threadpool(
            _begin, service, settings, upload, month, _who(request, by), payment, chosen
        )
    except BaseException:
        await asyncio.shield(run_in_threadpool(upload.discard))
        raise
    service.jobs().put(run_id)
    return answer(summary(read_run(service.database(), run_id)))


def _check_type(request: Request) -> None:
    """Another site's form cannot send this type without the browser asking first."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != OCTETS:
        raise ProblemError("unsupported-media-type", f"请求头 Content-Type 应为 {OCTETS}，报文是文件本身")


def _settings(service: Service, region: str, scheme: str) -> Settings:
    chosen = {name: value for name, value in (("region", region), ("scheme", scheme)) if value}
    return service.settings.model_copy(update=chosen)


def _who(request: Request, by: str) -> str:
    """Whom the proxy let in, else as said, else where the request comes from."""
    return by if by and HEADER not in request.headers else reader_of(request)


def _check_packs(service: Service, scheme: str, payment: str) -> None:
    """Refuse at once what a run could not be made with."""
    checker = service.require()
    known = {pack.id for pack in checker.store.active("drg-scheme")}
    if scheme and scheme not in known:
        raise _invalid("scheme", f"没有在用的分组方案 {scheme}；可以写 {'、'.join(sorted(known))}")
    if not payment:
        return
    known = {pack.id for pack in checker.store.active("drg-payment")}
    if payment not in known:
        raise _invalid("payment", f"没有在用的支付数据包 {payment}；可以写 {'、'.join(sorted(known))}")
    try:
        service.payment().plan(payment=payment, scheme=scheme)
    except PackError as error:
        raise _invalid("payment", str(error)) from error


def _mapping(name: str, content: bytes) -> ColumnMapping | None:
    """The mapping that came in front of the file, or the shipped one of that name."""
    try:
        if content:
            return mapping_of(content, fit_name(name or "列对照.toml"))
        if not name:
            return None
        if name in shipped_names():
            return shipped_mapping(name)
    except MappingError as error:
        raise _invalid("mapping", "；".join(error.faults[:MOST_FAULTS])) from error
    raise _invalid("mapping", f"没有名为“{name}”的内置对照；可以写 {'、'.join(shipped_names())}")


async def _receive(request: Request, upload: Upload, lead: int) -> bytes:
    """Write the body as it comes, but for the ``lead`` bytes in front, which are given; memory stays flat."""
    held = bytearray()
    front = b""
    try:
        async for chunk in request.stream():
            held += chunk
            if lead and len(held) >= lead:
                front, lead = bytes(held[:lead]), 0
                del held[: len(front)]
            if not lead and len(held) >= WRITTEN:
                await run_in_threadpool(_refusing, upload.write, bytes(held))
                held.clear()
    except ClientDisconnect:
        raise ProblemError("bad-request", "上传中断，没有开始批次；请重新上传") from None
    if lead:
        raise _invalid("mapping_bytes", "报文比它写的列对照文件还短；列对照在前，清单文件在后")
    await run_in_threadpool(_refusing, upload.write, bytes(held))
    await run_in_threadpool(_refusing, upload.close)
    return front


def _refusing(call: Any, *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except BatchError as error:
        raise ProblemError("not-ready", str(error)) from error


def _begin(  # noqa: PLR0917 -- what the request has given
    service: Service,
    settings: Settings,
    upload: Upload,
    month: str,
    by: str,
    payment: str,
    mapping: ColumnMapping | None,
) -> int:
    try:
        return begin(
            service.database(), settings, upload.path, month=month, by=by, payment=payment, mapping=mapping
        )
    except FileRefusedError as error:
        # The message has the path on the server in front.
        raise _invalid("body", str(error).replace(str(upload.path), upload.path.name)) from error


def _invalid(place: str, reason: str) -> ProblemError:
    return ProblemError("invalid-request", f"{place}：{reason}", [FieldFault(place, reason)])


@router.get(
    "",
    operation_id="list_batches",
    summary="批次",
    response_class=Response,
    responses=ok("RunSummary", "新的在前，最多 100 个", many=True),
)
async def list_batches(service: ServiceDep, month: MonthText = "") -> Response:
    """最近的批次和它们的进度；`month` 只列一个月的。"""
    found = await run_in_threadpool(runs, service.database(), month=month)
    return answer([summary(one) for one in found])


@router.get(
    "/{run_id}",
    operation_id="show_batch",
    summary="一个批次",
    response_class=Response,
    responses=ok("RunDetail", "状态、进度、结论和问题的数目、所用的数据包"),
)
async def show_batch(service: ServiceDep, run_id: RunId) -> Response:
    """`run.share` 是已存入的部分，`run.seconds_left` 是估计还要的秒数。"""
    return answer(await run_in_threadpool(_found, _detail, service, run_id))


def _detail(service: Service, run_id: int) -> RunDetail:
    return RunDetail(summary(read_run(service.database(), run_id)), totals_of(service.database(), run_id))


def _found(call: Any, *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except NoRunError as error:
        raise ProblemError("not-found", str(error)) from error
    except BatchError as error:
        raise _invalid("run_id", str(error)) from error


@router.post(
    "/{run_id}/cancel",
    operation_id="cancel_batch",
    summary="取消批次",
    response_class=Response,
    responses=ok("RunSummary", "正在做的部分做完即停，已存的保留"),
    openapi_extra=EMPTY,
)
async def cancel_batch(request: Request, service: ServiceDep, run_id: RunId, by: By = "") -> Response:
    """取消后可以用 `resume` 继续。已完成的批次不能取消。报文为 `{}`。"""
    check_json_type(request.headers.get("content-type", ""))
    return answer(
        summary(await run_in_threadpool(_found, stop, service.database(), run_id, _who(request, by)))
    )


@router.post(
    "/{run_id}/resume",
    operation_id="resume_batch",
    summary="继续批次",
    response_class=Response,
    responses=ok("RunSummary", "重新排队；做过的部分不重做"),
    openapi_extra=EMPTY,
)
async def resume_batch(request: Request, service: ServiceDep, run_id: RunId) -> Response:
    """继续一个已取消或失败的批次。报文为 `{}`。"""
    check_json_type(request.headers.get("content-type", ""))
    service.require()
    run = await run_in_threadpool(_found, requeue, service.database(), run_id)
    service.jobs().put(run_id)
    return answer(summary(run))


@router.get(
    "/{run_id}/results",
    operation_id="batch_results",
    summary="批次的结果",
    response_class=Response,
    responses={200: {"description": "NDJSON，一行一份清单", "content": {"application/x-ndjson": {}}}},
)
async def batch_results(request: Request, service: ServiceDep, run_id: RunId) -> Response:
    """每份清单一行：结论、得分、DRG、DIP、费用和问题。患者身份不在其中；读取记入审计。"""
    database = service.database()
    await run_in_threadpool(_found, note_results, database, run_id, reader_of(request), "接口 ndjson")

    def lines() -> Any:
        encode = msgspec.json.Encoder().encode
        with database.read() as connection:
            held: list[bytes] = []
            for line in result_lines(connection, run_id):
                held.append(encode(line))
                if len(held) == CHUNK // 10:
                    yield b"\n".join(held) + b"\n"
                    held = []
            if held:
                yield b"\n".join(held) + b"\n"

    headers = {"content-disposition": f'attachment; filename="batch-{run_id}.ndjson"'}
    return StreamingResponse(
        iterate_in_threadpool(lines()), media_type="application/x-ndjson", headers=headers
    )


@router.get(
    "/{run_id}/rejects",
    operation_id="batch_rejects",
    summary="未读取的行",
    response_class=Response,
    responses=ok("Reject", "文件、行号、列、原因；最多 1000 行，全部的用 qingdan batch rejects", many=True),
)
async def batch_rejects(service: ServiceDep, run_id: RunId) -> Response:
    """输入中没有成为清单的行。"""

    def found() -> list[Any]:
        with service.database().read() as connection:
            return list(islice(rejected_rows(connection, run_id), MOST_REJECTS))

    return answer(await run_in_threadpool(_found, found))
