"""The routes of suggestion over a real server: answers, refusals, learning."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.settings import Settings
from tests.api.problems import assert_problem
from tests.api.serving import running

SUGGEST = "/api/v1/suggest"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    app = create_app(Settings(home=tmp_path_factory.mktemp("home")))
    with running(app) as address, httpx.Client(base_url=address, timeout=120) as client:
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
        (f"{SUGGEST}/accepted", '{"text": "肺炎 13800001111", "codes": ["J18.900"]}', 422),
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
    assert not re.search(r"[Ee]xpected|[Oo]bject|[Uu]nexpected|malformed|truncated", problem["detail"])


@pytest.mark.parametrize(
    ("path", "content", "said"),
    [
        (SUGGEST, '{"texts": "肺炎"}', "texts：没有这个字段；可用的是 text、kind、context、limit"),
        (SUGGEST, '{"text": "肺炎", "context": {"sexx": "1"}}', "sexx：没有这个字段；可用的是 sex、"),
        (SUGGEST, '{"text": "肺炎", "limit": 0}', "limit：应为 1 到 20 的整数"),
        (SUGGEST, '{"text": "肺炎", "context": {"sex": "9"}}', "context.sex：应为对象：sex（1 男，2 女）"),
        (f"{SUGGEST}/advice", "{}", "context：必须给出"),
    ],
)
def test_a_refusal_names_the_field_and_what_it_may_hold(
    desk: httpx.Client, path: str, content: str, said: str
) -> None:
    answer = desk.post(path, content=content.encode(), headers={"content-type": "application/json"})
    assert_problem(answer, "invalid-request", said)


def test_browsing_starts_at_the_chapters(desk: httpx.Client) -> None:
    nodes = desk.get("/api/v1/browse").json()
    assert len(nodes) == 22
    assert desk.get("/api/v1/browse", params={"parent": nodes[0]["key"]}).json()[0]["key"] == "A00"


def test_the_suggester_is_loaded_by_the_first_suggestion_and_not_before(tmp_path: Path) -> None:
    app = create_app(Settings(home=tmp_path))
    with running(app) as address:
        assert httpx.get(f"{address}/healthz", timeout=120).status_code == 200
        httpx.get(f"{address}/openapi.json", timeout=120).raise_for_status()
        assert app.state.service._suggestion is None


def test_a_service_without_a_trained_model_says_so_and_does_everything_else(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "active.json").write_text('{"icd10": ["20250101-1"]}')
    with (
        running(create_app(Settings(home=tmp_path))) as address,
        httpx.Client(base_url=address, timeout=120) as client,
    ):
        answer = client.post(SUGGEST, json={"text": "肺炎"})
        assert_problem(answer, "not-ready")
        assert "模型" in answer.json()["detail"]
        assert client.get("/api/v1/codes", params={"q": "gxy"}).json()


def test_a_coding_with_an_identity_number_is_not_kept(desk: httpx.Client) -> None:
    text = "慢支 110101199001011234"
    answer = desk.post(f"{SUGGEST}/accepted", json={"text": text, "codes": ["J42.x00"]})
    assert_problem(answer, "invalid-request")
    assert text not in answer.text
    past = desk.post(SUGGEST, json={"text": "慢支"}).json()["mentions"][0]["candidates"]
    assert all("同样的写法曾编为此码" not in one["reasons"] for one in past)


def test_what_is_kept_holds_no_more_than_text_code_department_time_and_person(tmp_path: Path) -> None:
    with running(create_app(Settings(home=tmp_path))) as address:
        accepted = {"text": "高血压病3级", "codes": ["I10.x05"], "department": "心内科", "by": "c07"}
        httpx.post(f"{address}{SUGGEST}/accepted", json=accepted, timeout=120).raise_for_status()
    with closing(sqlite3.connect(tmp_path / "qingdan.sqlite")) as connection:
        cursor = connection.execute("SELECT * FROM coding_history")
        names = [column[0] for column in cursor.description]
        [row] = cursor.fetchall()
    assert set(names) == {"id", "system", "text", "chosen", "department", "accepted_at", "accepted_by"}
    assert row[1:3] == ("icd10", "高血压病3级")
