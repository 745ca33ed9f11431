"""Who asks over HTTP: as the reverse proxy says, which knows its users; for the audit log."""

from __future__ import annotations

from urllib.parse import unquote

from starlette.requests import HTTPConnection

HEADER = "x-remote-user"
"""Set by the reverse proxy after it has let the user in; it must take away what a browser sends there."""
LONGEST = 80


def reader_of(request: HTTPConnection) -> str:
    """The name in ``X-Remote-User`` (percent-encoded where it is not ASCII), else the address of the caller."""
    name = unquote(request.headers.get(HEADER, ""), errors="replace").strip()
    if name and name.isprintable():
        return name[:LONGEST]
    return f"未登录 {request.client.host}" if request.client else "未登录"
