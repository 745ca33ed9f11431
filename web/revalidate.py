"""The pages of a month judged again: begin it, see what changed, correct a list and keep it as a new version."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import parse_qsl, quote

from fastapi import APIRouter, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from api.answers import answer, json_body
from api.batch.comparison import summary_rows
from api.problems import ProblemError
from api.routes import revalidation
from api.routes.payloads import exported, previewed
from api.state import Service, ServiceDep
from models.settlement_list import Interface
from web.forms import FormError, export, read_form
from web.forms import open_list as open_form
from web.pages import StoredList, check_stored, list_page, read_stored, render

router = APIRouter(include_in_schema=False)
MOST_ROWS = 200
MOST_FIELDS = 10
RunId = Annotated[int, Path(ge=1, le=(1 << 31) - 1)]


@router.post("/batches/{run_id}/revalidate")
async def begin(request: Request, service: ServiceDep, run_id: RunId) -> Response:
    """Judge the lists of a run again, and show the new run."""
    _own_page(request)
    fields = _fields(await request.body())
    scheme = fields.get("scheme", "").strip() or None
    by = revalidation.who(request, fields.get("by", "").strip()[:80])
    service.require()
    run = await run_in_threadpool(revalidation.begin, service, run_id, scheme, None, by)
    return RedirectResponse(f"{_base(request)}/batches/{run.id}", 303)


@router.get("/batches/{run_id}/changes")
async def changes(
    request: Request,
    service: ServiceDep,
    run_id: RunId,
    before: Annotated[int, Query(ge=0, le=(1 << 31) - 1)] = 0,
) -> Response:
    """What is otherwise than in another run, by default the one it judged again."""
    found = await run_in_threadpool(revalidation.changes_of, service, run_id, before)
    return render(
        request,
        "changes.html",
        found=found,
        summary=summary_rows(found),
        lists=found.changed_lists[:MOST_ROWS],
        groups=found.groups[:MOST_ROWS],
    )


@router.get("/batches/{run_id}/payloads")
async def payloads(
    request: Request,
    service: ServiceDep,
    run_id: RunId,
    form: Annotated[Literal["4101", "4101A"], Query(alias="format")] = "4101",
    with_errors: Annotated[str, Query(max_length=5)] = "",
) -> Response:
    """What an export of the payloads would hold and leave out, and the button for it."""
    found = await run_in_threadpool(previewed, service, run_id, form, with_errors == "1")
    return render(
        request,
        "payloads.html",
        run=run_id,
        form=form,
        with_errors=with_errors == "1",
        found=found,
        refused=found.refused[:MOST_ROWS],
    )


@router.post("/batches/{run_id}/payloads")
async def download_payloads(request: Request, service: ServiceDep, run_id: RunId) -> Response:
    """The payloads as a file, with the true identity; who took it is in the audit log."""
    _own_page(request)
    fields = _fields(await request.body())
    by = revalidation.who(request, fields.get("by", "").strip()[:80])
    form: Interface = "4101A" if fields.get("format") == "4101A" else "4101"
    return await run_in_threadpool(exported, service, run_id, form, fields.get("with_errors") == "1", by)


@router.get("/lists")
async def stored_list(
    request: Request,
    service: ServiceDep,
    run: Annotated[int, Query(ge=1, le=(1 << 31) - 1)],
    name: Annotated[str, Query(alias="list", min_length=1, max_length=200)],
    saved: Annotated[str, Query(max_length=60)] = "",
) -> Response:
    """A list of a run in the form, its identity masked, to be corrected."""
    opened = await run_in_threadpool(revalidation.opened_by, request, service, run, name)
    stored = StoredList(run, opened.list_key, opened.version, saved)
    try:
        form = open_form(opened.payload)
    except FormError as error:
        return render(request, "refused.html", 422, title="不能打开清单", reason=str(error))
    return list_page(request, service, form, stored=stored)


@router.post("/lists/check")
async def check_list(
    request: Request,
    service: ServiceDep,
    name: Annotated[str, Query(alias="list", min_length=1, max_length=200)],
    base: Annotated[int, Query(ge=1, le=(1 << 31) - 1)],
) -> Response:
    """The report on the list in the form, as ``/api/v1/check`` gives it, masked fields as what they mask."""
    content = await json_body(request)
    stored = StoredList(0, name, base)
    return answer(await run_in_threadpool(revalidation.said, check_stored, service, stored, content))


@router.post("/lists/save")
async def save_list(request: Request, service: ServiceDep) -> Response:
    """Keep the form as a new version of its list, and show it with what the check said."""
    _own_page(request)
    try:
        body = (await request.body()).decode("ascii")
        form = read_form(body)
        content = export(form)
    except UnicodeDecodeError as error:
        raise ProblemError("bad-request", "表单内容无法读取：请刷新页面后重试") from error
    except FormError as error:
        return render(request, "refused.html", 422, title="不能保存清单", reason=str(error))
    stored = read_stored(body)
    if stored is None:
        raise ProblemError("bad-request", "表单没有说明是哪个批次的哪份清单：请从批次打开清单")
    fields = dict(parse_qsl(body))
    by = revalidation.who(request, fields.get("_by", "").strip()[:80])
    try:
        said = await run_in_threadpool(_kept, service, stored, content, by, fields.get("_why", "")[:200])
    except ProblemError as error:
        # What was typed stays in the form.
        return list_page(request, service, form, str(error.detail), 422, stored=stored)
    address = f"{_base(request)}/lists?run={stored.run}&list={quote(stored.key, safe='')}"
    return RedirectResponse(f"{address}&saved={quote(said, safe='')}", 303)


def _kept(service: Service, stored: StoredList, content: bytes, by: str, why: str) -> str:
    kept = revalidation.save(service, stored.run, stored.key, content, base=stored.version, who=by, why=why)
    if not kept.new:
        return "没有改动，没有存新版本"
    errors = sum(one.severity == "error" and one.accepted is None for one in kept.report.findings)
    return f"已存为第 {kept.version} 版：{kept.report.verdict}，{kept.report.score} 分，错误 {errors} 处"


def _own_page(request: Request) -> None:
    # A page elsewhere could send this form too: browsers say so.
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise ProblemError("bad-request", "只能从本系统的页面提交")


def _fields(body: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(body.decode("ascii"), errors="strict", max_num_fields=MOST_FIELDS))
    except ValueError as error:
        raise ProblemError("bad-request", "表单内容无法读取：请刷新页面后重试") from error


def _base(request: Request) -> str:
    return str(request.scope.get("root_path", "")).rstrip("/")
