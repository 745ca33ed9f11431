"""The application with its pages: the API, the form for one list, the rule catalogue."""

from __future__ import annotations

from fastapi import FastAPI, Request
from starlette.responses import Response

import api.app
from api.problems import ProblemError, response
from api.settings import Settings
from web import pages


def create_app(settings: Settings) -> FastAPI:
    """The application; the packs are loaded when it starts, once."""
    app = api.app.create_app(settings)
    app.include_router(pages.router)

    @app.exception_handler(ProblemError)
    async def refused(request: Request, error: ProblemError) -> Response:
        # Programs get the problem; someone who opened a page gets a page.
        if "text/html" in request.headers.get("accept", ""):
            return pages.refused(request, error)
        return response(error.problem, error.headers)

    return app
