"""The pages of the batches: hand a file in, watch its run, cancel it, go on with it, read what it came to."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api.batch.runs import KIND_NAMES, STATE_NAMES, NoRunError, read_run, runs, summary
from api.batch.totals import totals_of
from api.problems import ProblemError
from api.state import Service, ServiceDep
from models.pack import Manifest
from models.report import SEVERITY_LABELS
from web.pages import render

router = APIRouter(include_in_schema=False)
MOST_RULES = 50
LONGEST_NUMBER = 12


@router.get("/batches")
async def batches(request: Request, service: ServiceDep) -> Response:
    """The form for a file, and the last runs with their progress."""
    found = await run_in_threadpool(runs, service.database())
    schemes, payments = await run_in_threadpool(_choices, service)
    today = datetime.now().astimezone()
    year, month = (today.year, today.month - 1) if today.month > 1 else (today.year - 1, 12)
    return render(
        request,
        "batches.html",
        runs=[summary(one) for one in found],
        states=STATE_NAMES,
        kinds=KIND_NAMES,
        month=f"{year}-{month:02d}",
        limit=service.settings.upload_limit,
        region=service.settings.region,
        scheme=service.settings.scheme,
        schemes=schemes,
        payments=payments,
        unpriced=not any(_holds(one, service.settings.region, f"{year}-{month:02d}") for one in payments),
    )


def _choices(service: Service) -> tuple[list[Manifest], list[Manifest]]:
    """The DRG schemes and payment packs in use, by id."""
    store = service.require().store
    schemes, payments = (
        sorted((pack.manifest for pack in store.active(kind)), key=lambda one: one.id)
        for kind in ("drg-scheme", "drg-payment")
    )
    return schemes, payments


def _holds(pack: Manifest, region: str, month: str) -> bool:
    """Whether a pack holds in a region on some day of a month; batches.js asks the same of what is typed."""
    begins = str(pack.effective_from or "")[:7]
    ends = str(pack.effective_to or "9999-12")[:7]
    return region.startswith(pack.region) and begins <= month <= ends


@router.get("/batches/{run_id}")
async def batch(request: Request, service: ServiceDep, run_id: str) -> Response:
    """One run: progress, verdicts, rules, packs."""
    number = int(run_id) if run_id.isascii() and run_id.isdigit() and len(run_id) < LONGEST_NUMBER else 0
    try:
        run = await run_in_threadpool(read_run, service.database(), number)
    except NoRunError as error:
        raise ProblemError("not-found", str(error)) from error
    totals = await run_in_threadpool(totals_of, service.database(), number)
    return render(
        request,
        "batch.html",
        run=summary(run),
        totals=totals,
        rules=totals.rules[:MOST_RULES],
        states=STATE_NAMES,
        kinds=KIND_NAMES,
        severities=SEVERITY_LABELS,
    )
