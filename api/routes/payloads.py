"""``/api/v1/batches/{id}/payloads``: the newest versions of a run's lists as payloads ready to be uploaded."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from tempfile import TemporaryFile
from typing import Annotated, Any, BinaryIO, Literal, cast

from fastapi import APIRouter, Query, Request
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.responses import Response, StreamingResponse

from api.answers import answer, ok
from api.batch.payloads import CLEAN, EVERY, Exported, export_payloads, preview_payloads
from api.limits import check_json_type
from api.problems import ProblemError
from api.routes.batch import ADDRESS, EMPTY, By, RunId
from api.routes.revalidation import said, who
from api.state import Service, ServiceDep
from api.store.vault import Vault
from models.settlement_list import Interface

NDJSON = "application/x-ndjson"
CHUNK = 1 << 18
"""Bytes that are sent at once."""

router = APIRouter(prefix=ADDRESS, tags=["批次"])

PayloadForm = Annotated[
    Literal["4101", "4101A"], Query(alias="format", description="接口", examples=["4101"])
]
WithErrors = Annotated[bool, Query(description="结论为“需修改”的清单也导出")]


@router.get(
    "/{run_id}/payloads",
    operation_id="preview_payloads",
    summary="导出报文前查看",
    response_class=Response,
    responses=ok("Exported", "能导出几份，哪些不能导出、为什么；不含患者身份"),
)
async def preview(
    service: ServiceDep, run_id: RunId, form: PayloadForm = "4101", with_errors: WithErrors = False
) -> Response:
    """与导出时的取舍相同，但什么也不导出。"""
    return answer(await run_in_threadpool(previewed, service, run_id, form, with_errors))


@router.post(
    "/{run_id}/payloads",
    operation_id="export_payloads",
    summary="导出报文",
    response_class=Response,
    responses={200: {"description": "NDJSON，一行一份报文，含患者身份", "content": {NDJSON: {}}}},
    openapi_extra=EMPTY,
)
async def export(  # noqa: PLR0917 -- FastAPI gives them by name
    request: Request,
    service: ServiceDep,
    run_id: RunId,
    form: PayloadForm = "4101",
    with_errors: WithErrors = False,
    by: By = "",
) -> Response:
    """把最新版本的清单写成可上传的报文，每行一份 `{"infno": …, "input": {…}}`。

    患者身份是真实值，导出记入审计。不能导出的清单不在其中，先用 GET 查看是哪些。报文为 `{}`。
    """
    check_json_type(request.headers.get("content-type", ""))
    return await run_in_threadpool(exported, service, run_id, form, with_errors, who(request, by))


def previewed(service: Service, run_id: int, form: Interface, with_errors: bool) -> Exported:
    """What an export would write and leave out. Raises ProblemError."""
    database = service.database()
    vault = Vault.open(service.settings, database)
    verdicts = EVERY if with_errors else CLEAN
    return cast(Exported, said(preview_payloads, database, vault, run_id, form, verdicts=verdicts))


def exported(service: Service, run_id: int, form: Interface, with_errors: bool, by: str) -> Response:
    """The file of the payloads; that it was written is in the audit log. Raises ProblemError."""
    database = service.database()
    # It has no name in any folder: whatever happens, no identity is left lying about.
    written: Any = TemporaryFile(dir=service.settings.home)  # noqa: SIM115 -- closed when it was sent
    try:
        said(
            export_payloads,
            database,
            Vault.open(service.settings, database),
            run_id,
            form,
            written,
            who=by,
            at=datetime.now().astimezone(),
            verdicts=EVERY if with_errors else CLEAN,
        )
        size = written.tell()
        written.seek(0)
    except OSError as error:
        written.close()
        raise ProblemError("not-ready", "磁盘已满或不能写入，没有导出；请腾出空间后重试") from error
    except BaseException:
        written.close()
        raise
    headers = {
        "content-disposition": f'attachment; filename="batch-{run_id}-{form}.ndjson"',
        "content-length": str(size),
        "cache-control": "no-store",
    }
    return StreamingResponse(iterate_in_threadpool(_chunks(written)), media_type=NDJSON, headers=headers)


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    with stream:
        while chunk := stream.read(CHUNK):
            yield chunk
