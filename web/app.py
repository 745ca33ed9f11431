"""The application with its pages: the API, the form for one list, the rule catalogue."""

from __future__ import annotations

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

import api.app
from api.problems import ProblemError, http_problem, response
from api.settings import Settings
from web import batch, pages, report, revalidate


def create_app(settings: Settings) -> FastAPI:
    """The application; the packs are loaded when it starts, once."""
    app = api.app.create_app(settings)
    app.include_router(batch.router)
    app.include_router(revalidate.router)
    app.include_router(report.router)
    app.include_router(pages.router)

    @app.exception_handler(ProblemError)
    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        found = http_problem(error)
        # Programs get the problem; someone who opened a page gets a page.
        if "text/html" in request.headers.get("accept", ""):
            return pages.refused(request, found)
        return response(found, error.headers)

    return app
