"""Puts security headers on every answer and writes the access log, which holds no patient data."""

from __future__ import annotations

import logging
import time

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("qingdan.access")

SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'self'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    # Answers hold what stands in a patient's list.
    "cache-control": "no-store",
}
"""Sent with every answer that does not set the header itself."""


class AnswerHeaders:
    """ASGI middleware: security headers, and one log line a request.

    The line has the method, the route's pattern (never the path or query as sent, which may hold a
    name or a code), the status and the time taken.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0

        async def completed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self.app(scope, receive, completed)
        finally:
            route = getattr(scope.get("route"), "path", "-")
            spent = (time.perf_counter() - started) * 1000
            logger.info("%s %s %d %.1f ms", scope["method"], route, status, spent)
