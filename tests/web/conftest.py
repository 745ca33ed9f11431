"""The pages without a network: requests go straight to the application."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI

from api.settings import Settings
from web.app import create_app

Send = Callable[..., httpx.Response]


def ask(app: FastAPI, method: str, path: str, *, root_path: str = "", **named: Any) -> httpx.Response:
    """One request to ``app`` and its answer."""

    async def request() -> httpx.Response:
        transport = httpx.ASGITransport(app, root_path=root_path)
        async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
            return await client.request(method, path, **named)

    return anyio.run(request)


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    app = create_app(Settings(home=tmp_path_factory.mktemp("home"), body_limit=512 * 1024))
    app.state.service.open()
    return app


@pytest.fixture
def send(app: FastAPI) -> Send:
    """``send("POST", "/open", data={…})`` gives the answer."""
    return partial(ask, app)
