"""``qingdan serve``: the page and the JSON interface."""

from __future__ import annotations

import gc
import importlib
import logging
import socket
from typing import TYPE_CHECKING, Annotated

import typer
from fastapi import FastAPI

from api.cli.terminal import HomeOption, RegionOption, SchemeOption, fail
from api.settings import Settings, load_settings
from models.collection import uncollected
from models.system_errors import reason_of

if TYPE_CHECKING:
    import uvicorn

APPLICATION = "web.app"
"""The module with the whole application: pages over the API. Named, not imported: ``web`` stands above ``api``."""


def serve(
    host: Annotated[str | None, typer.Option(help="监听的地址；0.0.0.0 表示全部网卡。")] = None,
    port: Annotated[int | None, typer.Option(help="监听的端口。")] = None,
    region: RegionOption = None,
    scheme: SchemeOption = None,
    home: HomeOption = None,
) -> None:
    """启动网页和 JSON 接口，默认 http://127.0.0.1:8000/ 。"""
    settings = load_settings(host=host, port=port, region=region, scheme=scheme, home=home)
    listener = _listen(settings)
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    with uncollected():
        application: FastAPI = importlib.import_module(APPLICATION).create_app(settings)
        gc.freeze()
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    typer.echo(f"清单服务：http://{shown}:{settings.port}{settings.root_path}/ （Ctrl+C 停止）")
    make_server(application).run(sockets=[listener])


def make_server(application: FastAPI) -> uvicorn.Server:
    """A server for ``application``; its ``run`` takes the open sockets."""
    import uvicorn  # noqa: PLC0415 -- other commands need no server

    # Our own access log has no patient data; uvicorn's has the path as sent.
    return uvicorn.Server(
        uvicorn.Config(
            application, log_config=None, access_log=False, server_header=False, lifespan="on", ws="none"
        )
    )


def listen(host: str, port: int) -> socket.socket:
    """An open socket for ``make_server``; port 0 takes a free one. Raises OSError, UnicodeError."""
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.create_server(address[:2], family=family, backlog=2048)
    # Connections inherit it. Without, the body of an answer waits 40 ms for the receipt of its head.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _listen(settings: Settings) -> socket.socket:
    try:
        return listen(settings.host, settings.port)
    except (OSError, UnicodeError) as error:
        reason = reason_of(error, "地址无效")
        fail(f"不能监听 {settings.host}:{settings.port}（{reason}）；端口可能已被占用，请换 --port")
