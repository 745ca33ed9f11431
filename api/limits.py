"""Refuses bodies that are too large, compressed or not JSON, before anything reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import Problem, ProblemError, problem, response

DRAINED_BYTES = 64 * 1024 * 1024
DRAINED_SECONDS = 5


class BodyTooLargeError(ProblemError):
    """More bytes arrived than a body may have."""

    def __init__(self, limit: int) -> None:
        super().__init__("payload-too-large", _too_large(limit).detail, headers={"connection": "close"})


def _too_large(limit: int) -> Problem:
    return problem(
        "payload-too-large",
        f"报文超过上限 {limit} 字节；一次只送一份清单，成批清单请用批次",
    )


class BodyLimit:
    """ASGI middleware: at most ``limit`` bytes of body, counted as they arrive; of ``uploads`` more, by path.

    A Content-Length over the limit is refused at once; a wrong or missing one does not help, since
    the bytes that come are what counts.
    """

    def __init__(self, app: ASGIApp, limit: int, uploads: Mapping[str, int] | None = None) -> None:
        self.app = app
        self.limit = limit
        self.uploads = uploads or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        limit = self.uploads.get(scope["path"].removeprefix(scope.get("root_path", "")), self.limit)
        refusal = _refusal(headers, limit)
        refused, taken = refusal is not None, 0

        async def counted() -> Message:
            nonlocal refused, taken
            message = await receive()
            if message["type"] == "http.request":
                taken += len(message.get("body", b""))
                if taken > limit:
                    refused = True
                    raise BodyTooLargeError(limit)
            return message

        async def drained(message: Message) -> None:
            last = message["type"] == "http.response.body" and not message.get("more_body")
            if refused and last and b"expect" not in headers:
                # Closing on a client that still sends would reset the connection before it reads this.
                await send({**message, "more_body": True})
                await _drain(receive)
                message = {"type": "http.response.body"}
            await send(message)

        if refusal is not None:
            await response(refusal, {"connection": "close"})(scope, receive, drained)
        else:
            await self.app(scope, counted, drained)


def _refusal(headers: dict[bytes, bytes], limit: int) -> Problem | None:
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and (len(length) > 18 or int(length) > limit):
        return _too_large(limit)
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding not in (b"identity", b""):
        shown = encoding[:20].decode("ascii", "replace")
        return problem(
            "unsupported-media-type", f"不接受压缩的报文（Content-Encoding: {shown}），请直接送 JSON"
        )
    return None


async def _drain(receive: Receive) -> None:
    """Take and forget what a refused client still sends, within bounds."""
    left = DRAINED_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAINED_SECONDS):
            while left > 0:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body"):
                    return
                left -= len(message.get("body", b""))


def check_json_type(content_type: str) -> None:
    """Raises ProblemError unless a body of this type is JSON in UTF-8.

    Demanding the type also keeps other sites' forms out: a browser asks first before it sends it.
    """
    kind, _, parameters = content_type.partition(";")
    kind = kind.strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise ProblemError(
            "unsupported-media-type",
            f"请求头 Content-Type 应为 application/json，收到的是{f'“{kind[:60]}”' if kind else '空值'}",
        )
    name, _, charset = parameters.strip().lower().partition("=")
    if name == "charset" and charset.strip('" ') not in ("utf-8", "utf8"):
        raise ProblemError(
            "unsupported-media-type", f"报文应为 UTF-8 编码，请求头写的是 {charset[:20]}；请转换后再送"
        )
