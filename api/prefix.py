"""The path under which a proxy offers the service (setting ``root_path``)."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class RootPath:
    """ASGI middleware: tells the application its prefix, unless the server did.

    The prefix is only named, not put in front of the path, so proxies that take it off and proxies
    that leave it on both work.
    """

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self.app = app
        self.prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.prefix and not scope.get("root_path"):
            scope["root_path"] = self.prefix
        await self.app(scope, receive, send)
