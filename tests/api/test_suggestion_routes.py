"""The routes of suggestion over a real server: answers, refusals, learning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.routes.suggestion import router
from api.settings import Settings
from tests.api.serving import running

SUGGEST = "/api/v1/suggest"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    app = create_app(Settings(home=tmp_path_factory.mktemp("home")))
    app.include_router(router)
    with running(app) as address, httpx.Client(base_url=address, timeout=60) as client:
        yield client


def test_a_text_gets_mentions_with_places_and_candidates(desk: httpx.Client) -> None:
    text = "高血压；肺炎"
    answer = desk.post(SUGGEST, json={"text": text, "context": {"sex": "1", "age": 60}})
    assert answer.status_code == 200
    mentions = answer.json()["mentions"]
    assert [text[mention["start"] : mention["end"]] for mention in mentions] == ["高血压", "肺炎"]
    assert mentions[0]["candidates"][0]["code"] == "I10.x00x002"
    assert answer.json()["model"] == "shipped"


def test_what_is_accepted_is_told_back_the_next_time(desk: httpx.Client) -> None:
    accepted = {"text": "老慢支", "codes": ["J42.x00"], "department": "呼吸科"}
    assert desk.post(f"{SUGGEST}/accepted", json=accepted).status_code == 200
    mention = desk.post(SUGGEST, json={"text": "老慢支"}).json()["mentions"][0]
    assert {one["code"]: one["past"] for one in mention["candidates"]}["J42.x00"] == 1


def test_advice_orders_the_listed_diagnoses(desk: httpx.Client) -> None:
    asked = {"context": {"diagnoses": ["I10.x00x002", "K80.200x003"], "procedures": ["51.2300"]}}
    answer = desk.post(f"{SUGGEST}/advice", json=asked)
    assert answer.status_code == 200
    assert answer.json()["principal"][0]["code"] == "K80.200x003"


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        (SUGGEST, "{", 400),
        (SUGGEST, "[]", 422),
        (SUGGEST, '{"text": ""}', 422),
        (SUGGEST, '{"text": 5}', 422),
        (SUGGEST, '{"text": "肺炎", "kind": "x"}', 422),
        (SUGGEST, '{"text": "肺炎", "limit": 1000}', 422),
        (SUGGEST, '{"text": "肺炎", "patient": "x"}', 422),
        (f"{SUGGEST}/accepted", '{"text": "肺炎", "codes": []}', 422),
        (f"{SUGGEST}/accepted", '{"text": "肺炎", "codes": ["Q99.999x9"]}', 422),
        (f"{SUGGEST}/advice", "null", 422),
    ],
)
def test_a_wrong_request_is_refused_as_a_problem(
    desk: httpx.Client, path: str, content: str, status: int
) -> None:
    answer = desk.post(path, content=content.encode(), headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["detail"]


def test_browsing_starts_at_the_chapters(desk: httpx.Client) -> None:
    nodes = desk.get("/api/v1/browse").json()
    assert len(nodes) == 22
    assert desk.get("/api/v1/browse", params={"parent": nodes[0]["key"]}).json()[0]["key"] == "A00"
