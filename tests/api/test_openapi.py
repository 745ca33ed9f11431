"""The OpenAPI document: true to what the service does, in Chinese, usable without a network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as property_settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.app import create_app
from api.example import EXAMPLE_LIST
from api.problems import MEDIA_TYPE
from api.routes.batch import OCTETS
from api.services.month.report.sealing import seal
from api.services.month.report.stored import report_of
from api.settings import Settings
from api.store.database import Database
from models.settlement_list import RECORDS
from tests.api.batch.conftest import Site, bodies, write_lists
from tests.api.problems import assert_problem

SHOWN_FIELDS = 6
"""Fields of each node in the document that lists are made up from: from two hundred, one takes seconds."""


def _small_document() -> dict[str, Any]:
    document = create_app(Settings()).openapi()
    schemas = document["components"]["schemas"]
    schemas["SettlementList"].pop("anyOf")
    for record in RECORDS.values():
        properties = schemas[record.__name__]["properties"]
        schemas[record.__name__]["properties"] = dict(list(properties.items())[:SHOWN_FIELDS])
    return document


# The loader only needs the document; what is called is the server of the fixture.
SCHEMA = schemathesis.openapi.from_dict(_small_document())
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


OPERATIONS = {
    one.label: one for one in (found.ok() for found in SCHEMA.get_all_operations() if isinstance(found, Ok))
}


# Not SCHEMA.parametrize: its tests are of one node id, and of several with one id xdist runs one.
@pytest.mark.parametrize("label", OPERATIONS)
def test_whatever_is_sent_the_answer_is_as_documented(label: str, address: str) -> None:
    @seed(20260105)
    @property_settings(
        max_examples=12,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=OPERATIONS[label].as_strategy())
    def sent(case: schemathesis.Case[Any]) -> None:
        answer = case.call(base_url=address, timeout=120)
        case.validate_response(answer, checks=CHECKS)
        assert answer.status_code in (200, 400, 404, 405, 415, 422)
        if answer.status_code != 200:
            headers = {name: values[0] for name, values in answer.headers.items()}
            received = httpx.Response(answer.status_code, headers=headers, content=answer.content)
            assert_problem(received, str(received.json()["type"]).rpartition(":")[2])

    sent()


@pytest.fixture
def document(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield path, method, operation


def test_every_text_is_chinese(document: dict[str, Any]) -> None:
    def walk(value: Any, place: str) -> Iterator[tuple[str, str]]:
        if isinstance(value, dict):
            for key, below in value.items():
                if key in ("description", "summary") and isinstance(below, str):
                    yield place, below
                elif key not in ("example", "examples"):
                    yield from walk(below, f"{place}/{key}")
        elif isinstance(value, list):
            for number, below in enumerate(value):
                yield from walk(below, f"{place}/{number}")

    texts = list(walk(document, ""))
    assert len(texts) > 200
    assert [(place, text) for place, text in texts if not re.search(r"[\u4e00-\u9fff]", text)] == []


@pytest.fixture(scope="module", autouse=True)
def stored_month(settings: Settings) -> None:
    """What the examples ask for: run 1 of 2026-10, and its sealed report, before anything sent makes a run."""
    database = Database.open(settings)
    site = Site(database, settings)
    site.run(write_lists(settings.home / "month.ndjson", bodies(3)))
    seal(database, report_of(database, settings, "2026-10", with_study=False), by="张三")
    database.dispose()


NOT_NOW = {
    "cancel_batch": "已经完成",
    "resume_batch": "完成",
    "batch_changes": "不是重新质控",
    "save_batch_list": "另一份清单",
}
"""What a month that is done is refused, and why: cancelled, gone on with, compared, another list put in it."""


def test_every_operation_has_a_working_example(client: httpx.Client, document: dict[str, Any]) -> None:
    for path, method, operation in _operations(document):
        parameters = operation.get("parameters", [])
        values = {p["name"]: p["schema"]["examples"][0] for p in parameters if p["schema"].get("examples")}
        address = path.format_map(values)
        query = {
            p["name"]: values[p["name"]]
            for p in parameters
            if p["in"] == "query" and p["name"] in set(values) - {"region", "scheme"}
        }
        content = operation.get("requestBody", {}).get("content", {})
        if OCTETS in content:
            line = msgspec.json.encode(EXAMPLE_LIST)
            sent = client.post(address, params=query, content=line, headers={"content-type": OCTETS})
            assert sent.status_code == 200, (path, sent.text)
            continue
        bodies = content.get("application/json", {})
        examples = [example["value"] for example in bodies.get("examples", {}).values()]
        for body in examples or [bodies.get("example", EXAMPLE_LIST) if bodies else None]:
            answer = client.request(method.upper(), address, params=query, json=body)
            if (said := NOT_NOW.get(operation["operationId"])) is not None:
                assert answer.status_code == 422, (path, answer.text)
                assert said in answer.json()["detail"]
            else:
                assert answer.status_code == 200, (path, answer.text)
        assert MEDIA_TYPE in operation["responses"]["default"]["content"]


def test_the_example_answers_are_those_of_the_service(client: httpx.Client, document: dict[str, Any]) -> None:
    content = document["paths"]["/api/v1/check"]["post"]
    sent = content["requestBody"]["content"]["application/json"]["examples"]["bare"]["value"]
    shown = content["responses"]["200"]["content"]["application/json"]["example"]
    assert client.post("/api/v1/check", json=sent).json() == shown
    assert shown["verdict"] == "可上传"


def test_the_document_needs_no_other_host(document: dict[str, Any]) -> None:
    assert re.findall(r"https?://[^\s\"']+", str(document)) == []
