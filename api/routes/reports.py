"""``/api/v1/reports``, and report and work list of a batch: read by programs, each reading in the audit log."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, HTMLResponse, Response

from api.answers import API_PREFIX, JSON, answer, ok
from api.problems import ProblemError
from api.reader import reader_of
from api.services.month.report.content import ReportContent, canonical
from api.services.month.report.page import Seal, standalone
from api.services.month.report.sealing import (
    NotSealedError,
    SealedLine,
    Verdict,
    note_reading,
    note_worklist,
    read_sealed,
    sealed_reports,
    verify,
)
from api.services.month.report.stored import NoRunError, report_of
from api.services.month.report.workbook import write_report
from api.services.month.worklist import Filter, department_names, work_page, write_work_list
from api.state import ServiceDep

router = APIRouter(prefix=API_PREFIX, tags=["月报"])
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
HTML = "text/html; charset=utf-8"
MOST_PAGE_ROWS = 500

Format = Literal["json", "html", "xlsx"]
FormatParameter = Annotated[Format, Query(alias="format", description="json、html（可打印）或 xlsx")]
SealedName = Annotated[
    str,
    Path(max_length=20, description="封存月报的编号，或月份（取在用的那一份）", examples=["2026-10"]),
]
RunName = Annotated[
    str,
    Path(max_length=20, description="批次编号，或月份（取最后完成的批次）", examples=["2026-10"]),
]
MonthParameter = Annotated[
    str,
    Query(pattern=r"^((19|20)[0-9]{2}-(0[1-9]|1[0-2]))?$", description="只列这个月", examples=["2026-10"]),
]


def _files(description: str, *others: str) -> dict[int | str, dict[str, Any]]:
    """An answer that is the report as an object, or a file of another format."""
    content: dict[str, Any] = {JSON: {"schema": {"type": "object", "description": "内容见月报的说明"}}}
    content |= {kind: {"schema": {"type": "string", "format": "binary"}} for kind in others}
    return {200: {"description": description, "content": content}}


@router.get(
    "/reports",
    operation_id="list_reports",
    summary="封存的月报",
    response_class=Response,
    responses=ok("SealedLine", "月份近的在前", many=True),
)
def list_reports(service: ServiceDep, month: MonthParameter = "") -> Response:
    """所有封存的月报；`superseded_by` 不为 0 的已被取代。"""
    return answer(sealed_reports(service.database(), month))


@router.get(
    "/reports/{name}",
    operation_id="get_report",
    summary="一份封存的月报",
    response_class=Response,
    responses=_files("月报；json 的字节就是封存的内容，SHA-256 相同", "text/html", XLSX),
)
def get_report(
    request: Request, service: ServiceDep, name: SealedName, kind: FormatParameter = "json"
) -> Response:
    """每次读取都记入审计。读者取自反向代理的请求头 `X-Remote-User`。"""
    how = f"接口 {kind}"
    try:
        found = read_sealed(service.database(), name, who=reader_of(request), how=how)
    except NotSealedError as error:
        raise ProblemError("not-found", str(error)) from error
    if kind == "json":
        return Response(found.body, media_type=JSON)
    line = found.line
    return report_file(found.content, line.seal, kind, f"report-{line.month}-{line.number}")


@router.get(
    "/reports/{name}/verification",
    operation_id="verify_report",
    summary="核验封存的月报",
    response_class=Response,
    responses=ok("Verdict", "faults 为空即相符"),
)
def verify_report(service: ServiceDep, name: SealedName) -> Response:
    """重算 SHA-256，核对月份、批次、数据包和取代关系。"""
    try:
        return answer(verify(service.database(), name)[0])
    except NotSealedError as error:
        raise ProblemError("not-found", str(error)) from error


@router.get(
    "/batches/{name}/report",
    operation_id="draft_report",
    summary="一个批次的月报草稿",
    response_class=Response,
    responses=_files("未封存的月报", "text/html", XLSX),
)
def draft_report(
    request: Request,
    service: ServiceDep,
    name: RunName,
    kind: FormatParameter = "json",
    statistics: Annotated[bool, Query(description="是否做统计比较、残差和复核排序，较慢")] = False,
) -> Response:
    """按数据库现有的结果生成，不封存；读取记入审计。"""
    database = service.database()
    try:
        content = report_of(database, service.settings, name, with_study=statistics)
    except NoRunError as error:
        raise ProblemError("not-found", str(error)) from error
    with database.begin() as connection:
        note_reading(connection, reader_of(request), f"run {content.origin.run}", f"接口草稿 {kind}")
    return report_file(content, None, kind, f"draft-{content.month}")


@router.get(
    "/batches/{name}/worklist",
    operation_id="get_worklist",
    summary="一个批次的工作清单",
    response_class=Response,
    responses={
        200: {
            "description": "每个问题一行；xlsx 是全部，json 是一页",
            "content": {
                JSON: {"schema": {"$ref": "#/components/schemas/WorkPage"}},
                XLSX: {"schema": {"type": "string", "format": "binary"}},
            },
        }
    },
)
def get_worklist(  # noqa: PLR0917 -- the query gives them by name
    request: Request,
    service: ServiceDep,
    name: RunName,
    rule: Annotated[str, Query(max_length=80, description="规则编号，或类别如 PDX")] = "",
    severity: Annotated[Literal["", "error", "warn", "info"], Query(description="级别")] = "",
    department: Annotated[str, Query(max_length=80, description="出院科别代码")] = "",
    doctor: Annotated[str, Query(max_length=80, description="医师代码")] = "",
    verdict: Annotated[Literal["", "可上传", "需复核", "需修改"], Query(description="清单的判定")] = "",
    list_id: Annotated[str, Query(max_length=80, description="清单编号的开头")] = "",
    accepted: Annotated[bool, Query(description="已接受的问题也列出")] = False,
    of_kind: Annotated[
        Literal["", "list", "across", "source"],
        Query(alias="class", description="list 清单问题，across 跨清单线索，source 来源问题"),
    ] = "",
    page: Annotated[int, Query(ge=1, le=1_000_000, description="第几页")] = 1,
    size: Annotated[int, Query(ge=1, le=MOST_PAGE_ROWS, description="每页行数")] = 50,
    kind: Annotated[Literal["json", "xlsx"], Query(alias="format", description="json 或 xlsx")] = "json",
) -> Response:
    """质控发现的问题，可按规则、级别、科室、医师、判定筛选；不含患者身份信息，读取记入审计。"""
    database = service.database()
    wanted = Filter(rule, severity, department, doctor, verdict, list_id, accepted, of_kind)
    try:
        if kind == "xlsx":
            names = department_names(service.settings)
            written = [0]

            def write(path: FilePath) -> None:
                written[0], _ = write_work_list(database, name, wanted, path, names)

            response = file_answer(write, f"worklist-{name}.xlsx", XLSX)
            note_worklist(database, reader_of(request), written[0], "接口 xlsx")
            return response
        found = work_page(database, name, wanted, page, size)
    except NoRunError as error:
        raise ProblemError("not-found", str(error)) from error
    note_worklist(database, reader_of(request), found.run, f"接口 第 {found.page} 页")
    return answer(found)


def report_file(content: ReportContent, seal: Seal | None, kind: Format, stem: str) -> Response:
    """A report in one of its formats, as a file to keep."""
    if kind == "json":
        return Response(canonical(content), media_type=JSON)
    if kind == "html":
        # A file of its own: nothing is loaded, and it brings its style, which the pages' policy refuses.
        policy = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return HTMLResponse(standalone(content, seal), headers=policy | _named(f"{stem}.html"))
    return file_answer(lambda path: write_report(path, content, seal), f"{stem}.xlsx", XLSX)


def file_answer(write: Callable[[FilePath], object], name: str, media_type: str) -> FileResponse:
    """What ``write`` puts into a file, sent from there; the file is gone afterwards."""
    handle, place = tempfile.mkstemp(suffix=".part")
    os.close(handle)
    path = FilePath(place)
    try:
        write(path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    gone = BackgroundTask(path.unlink, missing_ok=True)
    return FileResponse(path, headers=_named(name), media_type=media_type, background=gone)


def _named(name: str) -> dict[str, str]:
    return {"content-disposition": f"attachment; filename*=UTF-8''{quote(name)}"}


__all__ = ["Format", "SealedLine", "Verdict", "file_answer", "report_file", "router"]
