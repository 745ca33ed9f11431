"""The pages of the month's reports and of the work list; every reading is in the audit log."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Query, Request
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from api.problems import ProblemError
from api.reader import HEADER, reader_of
from api.services.month.report.content import CLASSES, ReportContent
from api.services.month.report.page import Seal, fragment
from api.services.month.report.sealing import (
    note_reading,
    note_worklist,
    read_sealed,
    seal,
    sealed_reports,
)
from api.services.month.report.stored import ReportError, chosen_text, finished_runs, report_of
from api.services.month.worklist import Filter, choices, department_names, work_page
from api.state import Service, ServiceDep
from models.report import SEVERITY_LABELS
from qc_rules.catalogue import FAMILIES
from web.pages import render

router = APIRouter(include_in_schema=False)
MOST_RUNS = 60
MOST_FIELDS = 10
FORM_ERROR = "表单内容无法读取：请刷新页面后重试"


@router.get("/reports")
def reports(request: Request, service: ServiceDep) -> Response:
    """Finished runs with their drafts, sealed reports, and the form that seals one."""
    return _reports(request, service)


def _reports(
    request: Request, service: Service, error: str = "", status: int = 200, sent: dict[str, str] | None = None
) -> Response:
    database = service.database()
    with database.read() as connection:
        runs = finished_runs(connection, most=MOST_RUNS)
    return render(
        request,
        "reports.html",
        status,
        runs=runs,
        sealed=sealed_reports(database),
        error=error,
        sent=sent or {},
        known=request.headers.get(HEADER, "") and reader_of(request),
    )


@router.post("/reports")
async def seal_report(request: Request, service: ServiceDep) -> Response:
    """Seal the report of a run, and show it."""
    # A page elsewhere could send this form too: browsers say so.
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise ProblemError("bad-request", "封存只能从本系统的页面提交")
    try:
        fields = dict(
            parse_qsl((await request.body()).decode("ascii"), errors="strict", max_num_fields=MOST_FIELDS)
        )
    except ValueError:
        return await run_in_threadpool(_reports, request, service, FORM_ERROR, 422)
    try:
        number = await run_in_threadpool(_seal, request, service, fields)
    except ReportError as error:
        return await run_in_threadpool(_reports, request, service, str(error), 422, fields)
    base = request.scope.get("root_path", "").rstrip("/")
    return RedirectResponse(f"{base}/reports/{number}", 303)


def _seal(request: Request, service: Service, fields: dict[str, str]) -> int:
    supersede = fields.get("supersede", "").strip()
    if supersede and not (supersede.isascii() and supersede.isdigit() and len(supersede) < 10):
        raise ReportError(f"取代的编号“{supersede[:20]}”应为封存月报的编号，如 3")
    # Whom the proxy knows signs with that name.
    by = reader_of(request) if request.headers.get(HEADER) else fields.get("by", "")
    content = report_of(service.database(), service.settings, fields.get("run", ""))
    line = seal(
        service.database(),
        content,
        by=by,
        supersede=int(supersede or 0),
        why=fields.get("why", ""),
        confirmed=fields.get("confirmed") == "1",
    )
    return line.number


@router.get("/reports/run/{name}")
def draft(request: Request, service: ServiceDep, name: str) -> Response:
    """The report of a run as it is now, without the statistics, which take a while."""
    database = service.database()
    try:
        content = report_of(database, service.settings, name[:20], with_study=False)
    except ReportError as error:
        return _refused(request, error)
    with database.begin() as connection:
        note_reading(connection, reader_of(request), f"run {content.origin.run}", "页面草稿")
    taken = chosen_text(database, content.origin.run)
    return _shown(request, content, None, f"api/v1/batches/{content.origin.run}/report", taken)


@router.get("/reports/{name}")
def sealed_report(request: Request, service: ServiceDep, name: str) -> Response:
    """A sealed report."""
    try:
        found = read_sealed(service.database(), name[:20], who=reader_of(request), how="页面")
    except ReportError as error:
        return _refused(request, error)
    return _shown(request, found.content, found.line.seal, f"api/v1/reports/{found.line.number}")


def _shown(
    request: Request, content: ReportContent, seal: Seal | None, download: str, taken: str = ""
) -> Response:
    base = request.scope.get("root_path", "").rstrip("/")
    links = {"rules": f"{base}/rules", "worklist": f"{base}/worklist?run={content.origin.run}"}
    return render(
        request,
        "report.html",
        month=content.month,
        seal=seal,
        run=content.origin.run,
        download=download,
        taken=taken,
        report=Markup(fragment(content, seal, links)),  # noqa: S704 -- made by a template that escapes
    )


@router.get("/worklist")
def worklist(  # noqa: PLR0917 -- the query gives them by name
    request: Request,
    service: ServiceDep,
    run: Annotated[str, Query(max_length=20)] = "",
    rule: Annotated[str, Query(max_length=80)] = "",
    severity: Annotated[str, Query(max_length=20)] = "",
    department: Annotated[str, Query(max_length=80)] = "",
    doctor: Annotated[str, Query(max_length=80)] = "",
    verdict: Annotated[str, Query(max_length=20)] = "",
    list_id: Annotated[str, Query(max_length=80)] = "",
    accepted: Annotated[str, Query(max_length=5)] = "",
    kind: Annotated[str, Query(max_length=20)] = "",
    page: Annotated[str, Query(max_length=10)] = "1",
) -> Response:
    """The findings of a run, one a row, narrowed and page by page."""
    database = service.database()
    with database.read() as connection:
        runs = finished_runs(connection, most=MOST_RUNS)
    if not runs and not run:
        reason = "还没有完成的批次：上传一个月的清单并运行批次后，问题列在这里。"
        return render(request, "refused.html", title="工作清单", reason=reason)
    wanted = Filter(rule, severity, department, doctor, verdict, list_id, accepted == "1", kind)
    name = run or str(next((one.id for one in runs if not one.trial), runs[0].id))
    try:
        number = int(page) if page.isascii() and page.isdigit() else 1
        found = work_page(database, name, wanted, number)
        chosen = choices(database, name)
    except ReportError as error:
        return _refused(request, error)
    note_worklist(database, reader_of(request), found.run, f"页面 第 {found.page} 页")
    query = {"run": str(found.run), **wanted.checked().chosen}
    return render(
        request,
        "worklist.html",
        found=found,
        wanted=wanted,
        runs=runs,
        choices=chosen,
        departments=department_names(service.settings),
        families=[(code, label) for code, label in FAMILIES.items()],
        severities=SEVERITY_LABELS.items(),
        classes=CLASSES,
        here_query=urlencode(query),
        file_query=urlencode(
            {"class" if name == "kind" else name: value for name, value in query.items() if name != "run"}
            | {"format": "xlsx"}
        ),
    )


def _refused(request: Request, error: ReportError) -> Response:
    return render(request, "refused.html", 404, title="不能显示", reason=str(error))
