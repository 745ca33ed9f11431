"""The pages: one list with its result, and the rule catalogue."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote

import jinja2
import msgspec
import yaml
from fastapi import APIRouter, Request
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, Response

from api.batch.correction import check_correction
from api.problems import Problem, ProblemError
from api.reading import ZIP_MAGIC
from api.services.month.report.page import STYLE as REPORT_STYLE
from api.services.rule_view import rule_view
from api.services.rules import rule_entries
from api.state import Service, ServiceDep
from api.store.vault import Vault
from grouper.compare import TooManyCodesError
from grouper.dip.catalogue import LAYER_NAMES
from grouper.dip.explain import OUTCOME_NAMES
from models.pack import PackError
from models.report import SEVERITY_LABELS, Report
from models.wire import DecodeError, Received, decode_payload
from web.domains import Domains
from web.forms import MAX_INPUTS, Form, FormError, Page, export, open_list, open_workbook, read_form, target
from web.grouping import ROLES, SYMBOLS, beside, choices, money, reasons, signed
from web.samples import DEMO, DEMO_TITLE, SAMPLES, demo_list, sample
from web.suggestion import TextBox, boxes, filled
from web.upload import MULTIPART_TYPE, file_of

FOLDER = Path(__file__).resolve().parent
STATIC = FOLDER / "static"
PAGES = (
    ("/", "检查清单"),
    ("/batches", "批次"),
    ("/worklist", "工作清单"),
    ("/reports", "月报"),
    ("/rules", "规则目录"),
)
"""The pages of the bar at the top: address and name."""
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
"""Of the static files, stated here since what the system guesses differs from machine to machine."""
FOREVER = "public, max-age=31536000, immutable"
"""The address of a static file changes with its content, so a browser may keep it."""
FORM_TYPE = "application/x-www-form-urlencoded"
MAX_UNPACKED = 64 * 1024 * 1024
"""Bytes of a workbook that a page opens, unpacked: a page shows one list."""
STATUS_LABELS = {"stable": "启用", "preview": "试用", "off": "未启用"}

router = APIRouter(include_in_schema=False)


@cache
def _static_files() -> Mapping[str, bytes]:
    files = (*STATIC.iterdir(), REPORT_STYLE)
    return {path.name: path.read_bytes() for path in files if path.suffix in MEDIA_TYPES}


@cache
def _fingerprint(name: str) -> str:
    return hashlib.sha256(_static_files()[name]).hexdigest()[:12]


@cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"money": money, "signed": signed, "layers": LAYER_NAMES, "outcomes": OUTCOME_NAMES}
    return made


def render(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page made from a template."""
    base = request.scope.get("root_path", "").rstrip("/")

    def static(name: str) -> str:
        return f"{base}/static/{name}?v={_fingerprint(name)}"

    page = _environment().get_template(template)
    here = request.url.path.removeprefix(base)
    text = page.render(base=base, static=static, pages=PAGES, here=here, labels=SEVERITY_LABELS, **values)
    return HTMLResponse(text, status)


class StoredList(msgspec.Struct, frozen=True):
    """Where a list in the form comes from: a run, its key there, the version that was opened.

    ``said``: what came of the last save (Chinese).
    """

    run: int
    key: str
    version: int
    said: str = ""


def read_stored(body: str) -> StoredList | None:
    """Where the list of a submitted form comes from; None for one that is of no batch."""
    try:
        fields = dict(parse_qsl(body, max_num_fields=MAX_INPUTS))
        return StoredList(int(fields["_run"]), fields["_list"][:200], int(fields["_base"]))
    except (KeyError, ValueError):
        return None


def list_page(
    request: Request,
    service: Service,
    form: Form,
    error: str = "",
    status: int = 200,
    *,
    texts: Mapping[str, TextBox] | None = None,
    stored: StoredList | None = None,
) -> Response:
    """The form with a list in it and its result; ``stored`` where it comes from a batch."""
    checker = service.require()
    received = _received(form)
    report = _check(service, received, form, stored) if received else None
    group = report.group if report else None
    names = {row.get("diag_code"): row.get("diag_name", "") for row in form.payload.get("diseinfo", ())}
    counted = [
        {
            "code": item.code,
            "level": item.level,
            "name": names.get(item.code, ""),
            "note": "因主要诊断排除，不计" if item.excluded else "",
        }
        for item in (group.complications if group else ())
        if item.level
    ]
    converted = [item for item in (*group.diagnoses, *group.procedures) if item.reason] if group else []
    return render(
        request,
        "list.html",
        status,
        page=Page(form, Domains.open(checker.store, service.settings.region), report),
        target=target,
        samples=[*((one.id, one.title) for one in SAMPLES), (DEMO, DEMO_TITLE)],
        severities=SEVERITY_LABELS.items(),
        counted=counted,
        converted=converted,
        beside=beside(service, received, group) if received and group else None,
        texts=texts or boxes(service),
        stored=stored,
        error=error,
    )


def _received(form: Form) -> Received | None:
    """The list of a form; None while there is nothing to check yet."""
    if form.empty:
        return None
    try:
        return decode_payload(form.message)
    except DecodeError:
        return None  # only fields outside the interface


def _check(service: Service, received: Received, form: Form, stored: StoredList | None) -> Report:
    if stored:
        return check_stored(service, stored, export(form))
    return service.require().check(received, accepted=service.accepted())


def check_stored(service: Service, stored: StoredList, content: bytes) -> Report:
    """The report on a list of a batch being corrected, whose masked fields stand for their true values.

    Raises StoreError, DecodeError.
    """
    database = service.database()
    return check_correction(
        database,
        Vault.open(service.settings, database),
        service.require(),
        stored.key,
        content,
        base=stored.version,
        accepted=service.accepted(),
    )


@router.get("/")
async def empty_list(request: Request, service: ServiceDep) -> Response:
    """A form to type a list into."""
    page = list_page(request, service, Form())
    # Whoever opens the page will look up codes: the index is made while they read.
    page.background = BackgroundTask(_prepare_search, service)
    return page


def _prepare_search(service: Service) -> None:
    with suppress(PackError):  # the look-up itself says what is missing
        service.search()


@router.post("/")
async def checked_list(request: Request, service: ServiceDep) -> Response:
    """The submitted form again, with its result: how the page works without script."""
    body = await request.body()
    form, error = _submitted(body)
    text = body.decode("ascii", "replace")
    return list_page(
        request,
        service,
        form,
        error,
        422 if error else 200,
        texts=boxes(service, text),
        stored=read_stored(text),
    )


@router.post("/suggest")
async def suggested_codes(request: Request, service: ServiceDep) -> Response:
    """The submitted form again, with candidates for the texts in its boxes: coding without script."""
    body = await request.body()
    form, error = _submitted(body)
    made = boxes(service, body.decode("ascii", "replace"))
    texts = await run_in_threadpool(filled, service, made, form.payload)
    return list_page(request, service, form, error, 422 if error else 200, texts=texts)


@router.post("/open")
async def opened_list(request: Request, service: ServiceDep) -> Response:
    """A list that was pasted, opened from a file or is a sample, in the form and with its result."""
    body = await request.body()
    kind = request.headers.get("content-type", "")
    try:
        form = await run_in_threadpool(_opened, body, kind, service)
    except FormError as error:
        return list_page(request, service, Form(), str(error), 422)
    return list_page(request, service, form)


def _opened(body: bytes, content_type: str, service: Service) -> Form:
    """The list in a request, however it was chosen. Raises FormError."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == FORM_TYPE:
        return _chosen(body, service)
    if kind == MULTIPART_TYPE:
        body = file_of(content_type, body)
        if not body:
            raise FormError("没有选择文件，或文件是空的")
    if body.startswith(ZIP_MAGIC):
        return open_workbook(body, min(service.settings.workbook_limit, MAX_UNPACKED))
    return open_list(body)


def _chosen(body: bytes, service: Service) -> Form:
    """The list that a plain form pasted, or the sample that it chose. Raises FormError."""
    try:
        fields = parse_qs(body.decode("ascii"), errors="strict", max_num_fields=10)
    except ValueError as error:
        raise FormError("表单内容无法读取：请刷新页面后重试") from error
    if "payload" in fields:
        return open_list(fields["payload"][0].encode())
    name = fields.get("sample", [""])[0]
    if name == DEMO:
        made = demo_list(service.require())
        return Form(made.interface, made.body)
    found = sample(name)
    if found is None:
        raise FormError("没有选择样例，也没有粘贴内容")
    return Form(payload=found.payload())


@router.post("/beside")
async def beside_the_group(request: Request, service: ServiceDep) -> Response:
    """DRG payment and DIP of the submitted form: the piece that the script puts beside the DRG."""
    form, _ = _submitted(await request.body())
    received = _received(form)
    found = None
    if received:
        with suppress(PackError):  # the report says why there is no group
            found = beside(service, received, service.require().group_list(received))
    return render(request, "beside_only.html", found=found)


@router.post("/explain")
async def explained_group(request: Request, service: ServiceDep) -> Response:
    """Why the list of the submitted form has its groups."""
    return await _about_group(request, service, "explain", "explanation.html", reasons)


@router.post("/what-if")
async def other_choices(request: Request, service: ServiceDep) -> Response:
    """What another principal diagnosis, another main procedure or one MCC or CC less would change."""
    return await _about_group(request, service, "what-if", "choices.html", choices)


async def _about_group(
    request: Request,
    service: Service,
    view: str,
    template: str,
    look: Callable[[Service, Received], object],
) -> Response:
    """A page about the group of a list, which comes as the form or as JSON in the field ``payload``."""
    body = await request.body()
    try:
        if body.startswith(b"payload="):
            form = await run_in_threadpool(_opened, body, FORM_TYPE, service)
        else:
            form, error = _submitted(body)
            if error:
                raise FormError(error)
        received = _received(form)
        if received is None:
            raise FormError("清单是空的：请先填写诊断")
        found = await run_in_threadpool(look, service, received)
    except (FormError, PackError, TooManyCodesError) as error:
        return render(request, "refused.html", 422, title="不能说明分组", reason=str(error))
    payload = export(form).decode()
    return render(request, template, found=found, view=view, payload=payload, symbols=SYMBOLS, roles=ROLES)


@router.post("/export")
async def exported_list(request: Request, service: ServiceDep) -> Response:
    """The list of the form as a JSON file under official names."""
    form, error = _submitted(await request.body())
    if not error:
        try:
            content = export(form)
        except FormError as refused:
            error = str(refused)
        else:
            name = quote("结算清单.json")
            disposition = f"attachment; filename=\"settlement-list.json\"; filename*=UTF-8''{name}"
            return Response(
                content, media_type="application/json", headers={"content-disposition": disposition}
            )
    return list_page(request, service, form, error, 422)


def _submitted(body: bytes) -> tuple[Form, str]:
    try:
        return read_form(body.decode("ascii")), ""
    except FormError as error:
        return Form(), str(error)
    except UnicodeDecodeError:
        return Form(), "表单内容无法读取：请刷新页面后重试"


@router.get("/static/{name}")
async def static_file(name: str) -> Response:
    """A style sheet, script or picture of the pages."""
    content = _static_files().get(name)
    if content is None:
        raise ProblemError("not-found", "没有这个文件")
    kind = MEDIA_TYPES[Path(name).suffix]
    return Response(content, media_type=kind, headers={"cache-control": FOREVER})


@router.get("/rules")
async def rule_catalogue(request: Request, service: ServiceDep) -> Response:
    """Every rule, those switched off too."""
    checker = service.require()
    entries = rule_entries(checker.rules)
    return render(
        request,
        "rules.html",
        entries=entries,
        families=sorted({entry.family for entry in entries}),
        severities=SEVERITY_LABELS.items(),
        statuses=STATUS_LABELS,
    )


@router.get("/rules/{code}")
async def rule_page(request: Request, service: ServiceDep, code: str) -> Response:
    """One rule in full: what it says, why, on what basis, and its examples."""
    checker = service.require()
    rule = checker.rules.rule(code.upper()[:20])
    if rule is None:
        return render(
            request, "refused.html", 404, title="没有这条规则", reason=f"规则目录中没有“{code[:20]}”。"
        )
    written = next(one for one in checker.rules.rules() if one.code == rule["code"])
    return render(
        request,
        "rule.html",
        rule=rule,
        statuses=STATUS_LABELS,
        basis=written.basis.text,
        view=await run_in_threadpool(rule_view, checker.rules, written),
        condition=_yaml(rule["when"]),
    )


def _yaml(value: object) -> str:
    if value is None:
        return ""
    return yaml.safe_dump(value, allow_unicode=True, sort_keys=False, width=100).strip()


def refused(request: Request, found: Problem) -> Response:
    """A page that says why there is none, for a browser."""
    return render(request, "refused.html", found.status, title=found.title, reason=found.detail)
