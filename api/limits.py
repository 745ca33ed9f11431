"""Refuses bodies that are too large, compressed or not JSON, before anything reads them."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import Problem, ProblemError, problem, response


class BodyTooLargeError(ProblemError):
    """More bytes arrived than a body may have."""

    def __init__(self, limit: int) -> None:
        super().__init__("payload-too-large", _too_large(limit).detail, headers={"connection": "close"})


def _too_large(limit: int) -> Problem:
    return problem(
        "payload-too-large",
        f"报文超过上限 {limit} 字节；一次只送一份清单，成批清单请用 qingdan check",
    )


class BodyLimit:
    """ASGI middleware: at most ``limit`` bytes of body, counted as they arrive.

    A Content-Length over the limit is refused at once; a wrong or missing one does not help, since
    the bytes that come are what counts.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(dict(scope["headers"]))
        if refusal is not None:
            await response(refusal, {"connection": "close"})(scope, receive, send)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            if message["type"] == "http.request":
                taken += len(message.get("body", b""))
                if taken > self.limit:
                    raise BodyTooLargeError(self.limit)
            return message

        await self.app(scope, counted, send)

    def _refusal(self, headers: dict[bytes, bytes]) -> Problem | None:
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and (len(length) > 18 or int(length) > self.limit):
            return _too_large(self.limit)
        encoding = headers.get(b"content-encoding", b"identity").strip().lower()
        if encoding not in (b"identity", b""):
            shown = encoding[:20].decode("ascii", "replace")
            return problem(
                "unsupported-media-type", f"不接受压缩的报文（Content-Encoding: {shown}），请直接送 JSON"
            )
        return None


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
