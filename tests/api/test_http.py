"""The HTTP interface, on a real server."""

from __future__ import annotations

import gzip
import http.client
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest

from api.app import create_app
from api.example import EXAMPLE_CASE
from api.headers import SECURITY_HEADERS
from api.settings import Settings
from api.state import Service
from models.report import Report
from tests.api.problems import assert_problem
from tests.api.serving import running

CHECK, GROUP = "/api/v1/check", "/api/v1/group"
JSON = {"content-type": "application/json"}


def test_a_clean_list_may_be_uploaded_and_is_grouped(client: httpx.Client, example: dict[str, Any]) -> None:
    report = msgspec.json.decode(client.post(CHECK, json=example).content, type=Report)
    assert report.findings == ()
    assert (report.verdict, report.score, report.list_id) == ("可上传", 100, "EX20260105001")
    assert report.group is not None
    assert report.group.code == "GE29"
    assert {"icd10", "icd9cm3", "drg-scheme"} <= {pack.kind for pack in report.packs}


def test_a_finding_points_into_the_envelope_as_received(client: httpx.Client, faulty: dict[str, Any]) -> None:
    report = client.post(CHECK, json={"infno": "4101", "input": faulty}).json()
    assert report["verdict"] == "需修改"
    assert [f["path"] for f in report["findings"] if f["rule"] == "CMP-001"] == ["input.setlinfo.mdtrt_id"]


def test_a_wrong_value_is_a_finding_and_the_other_checks_go_on(
    client: httpx.Client, faulty: dict[str, Any]
) -> None:
    faulty["setlinfo"]["dscg_time"] = "昨天"
    answer = client.post(CHECK, json=faulty)
    assert answer.status_code == 200
    found = answer.json()["findings"]
    assert any(f["path"] == "setlinfo.dscg_time" for f in found)
    assert any(f["rule"] == "CMP-001" for f in found)


def test_the_scheme_is_chosen_by_parameter(client: httpx.Client, example: dict[str, Any]) -> None:
    report = client.post(CHECK, params={"scheme": "chs-drg-1.1"}, json=example).json()
    assert report["group"]["pack"]["id"] == "chs-drg-1.1"
    assert_problem(
        client.post(CHECK, params={"scheme": "no-such"}, json=example), "invalid-request", "no-such"
    )
    assert_problem(client.post(CHECK, params={"scheme": "../x"}, json=example), "invalid-request", "scheme")
    assert_problem(client.post(CHECK, params={"region": "四川"}, json=example), "invalid-request", "region")


def test_a_case_and_its_list_have_the_same_group(client: httpx.Client, example: dict[str, Any]) -> None:
    case = client.post(GROUP, json=EXAMPLE_CASE).json()
    assert case["code"] == client.post(GROUP, json=example).json()["code"] == "GE29"
    assert client.post(GROUP, json={"infno": "4101", "input": example}).json()["code"] == "GE29"


@pytest.mark.parametrize(
    ("body", "mention"),
    [
        ({"procedures": []}, "diagnoses"),
        ({"diagnoses": "K35.800x001"}, "diagnoses"),
        ({"diagnoses": ["K35.800x001", 5]}, "diagnoses[1]"),
        ({"diagnoses": [], "age": "old"}, "age"),
        ({"diagnoses": [], "age": -1}, "age"),
        ({"diagnoses": [], "gender": "1"}, "gender"),
        ([], "JSON 对象"),
    ],
)
def test_a_wrong_case_names_the_field(client: httpx.Client, body: object, mention: str) -> None:
    assert_problem(client.post(GROUP, json=body), "invalid-request", mention)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"{}", b'{"a": 1}', b"\xff\xfe{}", b"[" * 100_000, b'{"input": 1}',
     b'{"setlinfo": {"age": 1e999, "psn_name": "\\ud800"}}']
)  # fmt: skip
def test_what_is_no_list_is_refused(client: httpx.Client, content: bytes) -> None:
    assert_problem(client.post(CHECK, content=content, headers=JSON), "invalid-json")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"diagnoses":' + b"\xff"])
def test_what_is_no_json_is_no_case(client: httpx.Client, content: bytes) -> None:
    assert_problem(client.post(GROUP, content=content, headers=JSON), "invalid-json")


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/xml"])
def test_a_body_that_does_not_say_it_is_json_is_refused(client: httpx.Client, kind: str) -> None:
    answer = client.post(CHECK, content=b"{}", headers={"content-type": kind})
    assert_problem(answer, "unsupported-media-type", "application/json")


def test_another_character_set_is_refused(client: httpx.Client) -> None:
    headers = {"content-type": "application/json; charset=gbk"}
    assert_problem(client.post(CHECK, content=b"{}", headers=headers), "unsupported-media-type", "UTF-8")


def test_a_compressed_body_is_refused(client: httpx.Client) -> None:
    headers = {**JSON, "content-encoding": "gzip"}
    answer = client.post(CHECK, content=gzip.compress(b"{}"), headers=headers)
    assert_problem(answer, "unsupported-media-type", "gzip")


def test_a_declared_body_over_the_limit_is_refused_unread(address: str, settings: Settings) -> None:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=120)
    connection.putrequest("POST", CHECK)
    for name, value in {**JSON, "content-length": str(settings.body_limit + 1)}.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()  # not a byte of the body was sent
    assert answer.status == 413
    connection.close()


@pytest.mark.parametrize("path", [CHECK, GROUP])
def test_streamed_bytes_are_counted(client: httpx.Client, settings: Settings, path: str) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(settings.body_limit // 1024 * 50):
            yield b" " * 1024

    assert_problem(
        client.post(path, content=endless(), headers=JSON), "payload-too-large", str(settings.body_limit)
    )


def test_a_body_of_exactly_the_limit_is_read(
    client: httpx.Client, settings: Settings, example: dict[str, Any]
) -> None:
    content = msgspec.json.encode(example).ljust(settings.body_limit)
    assert client.post(CHECK, content=content, headers=JSON).status_code == 200
    assert_problem(client.post(CHECK, content=content + b" ", headers=JSON), "payload-too-large")


def test_unknown_addresses_and_methods_are_problems(client: httpx.Client) -> None:
    for path in ("/nothing", "/api/v1", "/api/v1/check/", "/docs", "/redoc"):
        assert_problem(client.get(path), "not-found")
    answer = client.get(CHECK)
    assert_problem(answer, "method-not-allowed")
    assert answer.headers["allow"] == "POST"


def test_codes_are_found_by_prefix_name_and_initials(client: httpx.Client) -> None:
    for query in ("I10.x00x002", "高血压", "gxy"):
        hits = client.get("/api/v1/codes", params={"q": query, "limit": 20}).json()
        assert "I10.x00x002" in {hit["code"] for hit in hits}
    procedures = client.get("/api/v1/codes", params={"q": "阑尾切除", "system": "icd9cm3"}).json()
    assert "47.0100" in {hit["code"] for hit in procedures}
    assert len(client.get("/api/v1/codes", params={"q": "骨折", "limit": 3}).json()) == 3


@pytest.mark.parametrize(
    ("params", "mention"),
    [
        ({}, "q"),
        ({"q": ""}, "q"),
        ({"q": "x" * 101}, "q"),
        ({"q": "xx", "limit": "0"}, "limit"),
        ({"q": "xx", "limit": "many"}, "limit"),
        ({"q": "xx", "system": "icd11"}, "system"),
    ],
)
def test_a_wrong_search_names_the_parameter(
    client: httpx.Client, params: dict[str, str], mention: str
) -> None:
    assert_problem(client.get("/api/v1/codes", params=params), "invalid-request", mention)


def test_one_code_with_its_ancestors(client: httpx.Client) -> None:
    entry = client.get("/api/v1/codes/icd10/I10.x00x002").json()
    assert entry["name"] == "高血压"
    assert entry["grey"] is False
    assert entry["ancestors"] == ["I10.x00", "I10.x", "I10"]
    assert client.get("/api/v1/codes/icd10/Ｉ10.X00X002").json() == entry
    assert client.get("/api/v1/codes/icd10/I10.x00").json()["grey"] is True
    assert_problem(client.get("/api/v1/codes/icd10/X99.999"), "not-found", "X99.999")
    assert_problem(client.get("/api/v1/codes/icd11/X99"), "invalid-request", "system")


def test_rules_and_packs_are_listed(client: httpx.Client) -> None:
    rules = client.get("/api/v1/rules", params={"family": "cmp"}).json()
    assert "CMP-001" in {rule["code"] for rule in rules}
    assert {rule["family"] for rule in rules} == {"CMP"}
    errors = client.get("/api/v1/rules", params={"severity": "error"}).json()
    assert {rule["severity"] for rule in errors} == {"error"}
    rule = client.get("/api/v1/rules/cmp-001").json()
    assert (rule["code"], rule["runs"]) == ("CMP-001", True)
    assert_problem(client.get("/api/v1/rules/CMP-999"), "not-found", "CMP-999")
    packs = {pack["id"]: pack for pack in client.get("/api/v1/packs").json()}
    assert packs["chs-drg-2.0"]["active"] is True


def test_ready_means_the_packs_are_loaded(client: httpx.Client) -> None:
    health = client.get("/healthz").json()
    assert health["status"] == "ok"
    assert health["packs"]["icd10-nhsa-2.0"] == "2.0"


def test_a_service_without_its_packs_says_why(
    tmp_path_factory: pytest.TempPathFactory, example: dict[str, Any]
) -> None:
    home = tmp_path_factory.mktemp("broken")
    (home / "packs").mkdir()
    (home / "packs" / "active.toml").write_text('"chs-drg-2.0" = "9"\n')
    with running(create_app(Settings(home=home, scheme="chs-drg-2.0"))) as address:
        assert_problem(httpx.get(f"{address}/healthz", timeout=120), "not-ready", "chs-drg-2.0")
        assert_problem(httpx.post(f"{address}{CHECK}", json=example, timeout=120), "not-ready", "chs-drg-2.0")
        assert httpx.get(f"{address}/openapi.json", timeout=120).status_code == 200


def test_every_answer_has_the_security_headers(client: httpx.Client, example: dict[str, Any]) -> None:
    answers = (client.post(CHECK, json=example), client.get("/nothing"), client.post(CHECK, content=b"x"))
    for answer in answers:
        assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
        assert "server" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers


def test_the_log_holds_no_patient_data(
    client: httpx.Client, example: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        client.post(CHECK, json=example)
        client.get("/api/v1/codes/icd10/C34.900")
        client.get("/api/v1/codes", params={"q": "示例患者"})
        client.get("/示例患者")
    logged = [record.getMessage() for record in caplog.records if record.name == "qingdan.access"]
    assert len(logged) == 4
    assert logged[0].startswith("POST /api/v1/check 200 ")
    assert logged[1].startswith("GET /api/v1/codes/{system}/{code} ")
    assert not any(word in line for word in ("C34", "示例患者", "%E7") for line in logged)


def test_an_unforeseen_error_is_a_problem_and_its_message_is_not_logged(
    settings: Settings,
    example: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(_: Service) -> None:
        raise RuntimeError(example["setlinfo"]["certno"])

    app = create_app(settings)
    with running(app) as address:
        monkeypatch.setattr(Service, "require", broken)
        answer = httpx.post(f"{address}{CHECK}", json=example, timeout=120)
    assert_problem(answer, "internal-error", "日志")
    instance = answer.json()["instance"]
    assert instance in caplog.text
    assert "RuntimeError" in caplog.text
    assert example["setlinfo"]["certno"] not in answer.text + caplog.text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "报文是空的"),
        (b'{"a":{1:2}}', "第 7 字节附近，对象的键应为加半角双引号的文本"),
        (b'{"setlinfo":{"age":1', "内容不完整"),
        ('{"setlinfo":{}}'.encode("utf-16"), "UTF-16"),
    ],
)
def test_what_is_wrong_with_the_json_is_said_in_chinese(
    client: httpx.Client, content: bytes, reason: str
) -> None:
    detail = client.post(CHECK, content=content, headers=JSON).json()["detail"]
    assert reason in detail
    assert "malformed" not in detail
    assert "byte" not in detail


def test_a_parameter_that_does_not_exist_is_refused(client: httpx.Client, example: dict[str, Any]) -> None:
    assert_problem(client.post(CHECK, params={"regoin": "45"}, json=example), "bad-request", "regoin")
    detail = client.post(CHECK, params={"regoin": "45"}, json=example).json()["detail"]
    assert "region、scheme" in detail


def test_a_wrong_parameter_is_described_in_words(client: httpx.Client, example: dict[str, Any]) -> None:
    detail = client.post(CHECK, params={"region": "四川"}, json=example).json()["detail"]
    assert "至多 6 位数字" in detail
    detail = client.post(CHECK, params={"stage": "x"}, json=example).json()["detail"]
    assert "应为事前、事中、事后之一" in detail


def test_a_list_that_cannot_be_read_gets_no_points(client: httpx.Client, example: dict[str, Any]) -> None:
    report = client.post(CHECK, json={"setlinfo": "x", "diseinfo": [1, "a", None]}).json()
    assert (report["score"], report["verdict"]) == (0, "需修改")


def test_the_same_finding_a_thousand_times_is_listed_fifty_times(
    client: httpx.Client, example: dict[str, Any]
) -> None:
    example["diseinfo"] = [*example["diseinfo"], *({"diag_type": "1", "diag_code": "X"} for _ in range(1000))]
    answer = client.post(CHECK, json=example)
    found = [finding["rule"] for finding in answer.json()["findings"]]
    assert max(map(found.count, found)) == 50
    assert any("另有" in finding["message"] for finding in answer.json()["findings"])
