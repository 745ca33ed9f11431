"""The pages without a network: requests go straight to the application."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI

from api.settings import Settings
from web.app import create_app

Send = Callable[..., httpx.Response]


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    app = create_app(Settings(home=tmp_path_factory.mktemp("home"), body_limit=512 * 1024))
    app.state.service.open()
    return app


@pytest.fixture
def send(app: FastAPI) -> Send:
    """``send("POST", "/open", data={…})`` gives the answer."""

    def send(method: str, path: str, **named: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://page"
            ) as client:
                return await client.request(method, path, **named)

        return anyio.run(ask)

    return send
