"""The HTTP service: one FastAPI application over the checker."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from api import problems
from api.headers import AnswerHeaders
from api.limits import BodyLimit
from api.prefix import RootPath
from api.routes import (
    acceptances,
    batch,
    check,
    codes,
    comparison,
    dip,
    explanation,
    group,
    health,
    packs,
    payloads,
    reports,
    revalidation,
    rules,
    suggestion,
)
from api.settings import Settings
from api.state import Service
from api.version import program_version
from models.collection import uncollected


def create_app(settings: Settings) -> FastAPI:
    """The application; the packs are loaded when it starts, once."""
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with uncollected():
            service.open()
            gc.freeze()
        yield
        service.close()
        gc.unfreeze()

    app = FastAPI(
        title="清单",
        version=program_version(),
        lifespan=lifespan,
        # Their pages load scripts from a CDN, which a hospital's network does not reach.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses={"default": problems.ANSWER},
        # Records of failures would carry what stood in a patient's list.
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
    )
    app.state.service = service
    problems.install(app)
    app.add_middleware(BodyLimit, limit=settings.body_limit, uploads={batch.ADDRESS: settings.upload_limit})
    app.add_middleware(AnswerHeaders)
    app.add_middleware(RootPath, prefix=settings.root_path)
    checking = (check, group, explanation, comparison, dip)
    for part in (
        *checking,
        codes,
        suggestion,
        rules,
        acceptances,
        packs,
        batch,
        payloads,
        revalidation,
        reports,
        health,
    ):
        app.include_router(part.router)

    def openapi() -> dict[str, Any]:
        from api.openapi import document  # noqa: PLC0415 -- its schemas are of every part, SciPy's too

        if app.openapi_schema is None or not service.documented:
            app.openapi_schema = document(app, service)
            service.documented = service.checker is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
    return app
