"""Why a case has its DRG, through the interface and the command line: one text, one path, clear refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.cli import run
from api.routes.explanation import wants_text
from api.services.check import Checker
from api.services.explanation import explain_case
from grouper.compare import MAX_CODES, TooManyCodesError
from models.grouping import Case
from models.pack import PackStore
from tests.api.problems import assert_problem

PATH = "/api/v1/group/explain"
TEXT = {"Accept": "text/plain"}


def test_a_list_and_its_case_have_the_same_path(client: httpx.Client, example: dict[str, Any]) -> None:
    of_list = client.post(PATH, json={"infno": "4101", "input": example}).json()
    case = {
        "diagnoses": [row["diag_code"] for row in example["diseinfo"]],
        "procedures": [row["oprn_oprt_code"] for row in example["oprninfo"]],
        "sex": "1",
        "age": 35,
    }
    of_case = client.post(PATH, json=case).json()
    assert of_list["path"] == of_case["path"]
    assert [step["level"] for step in of_list["path"]] == ["MDC", "ADRG", "DRG"]
    assert of_list["path"][-1]["code"] == of_list["result"]["code"] == "GE29"
    assert of_list["result"] == client.post("/api/v1/group", json=example).json()


def test_the_text_is_that_of_the_command_line(
    client: httpx.Client, example: dict[str, Any], list_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = client.post(PATH, json=example, headers=TEXT)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert "分组结果：GE29 阑尾切除术" in answer.text
    assert run(["explain", str(list_file)]) == 0
    assert capsys.readouterr().out == answer.text
    assert run(["explain", str(list_file), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == client.post(PATH, json=example).json()


@pytest.mark.parametrize(
    ("accept", "text"),
    [
        ("text/plain", True),
        ("text/plain; charset=utf-8, application/json;q=0.5", True),
        ("application/json, text/plain", False),
        ("*/*", False),
        ("text/html, */*, text/plain", False),
        ("", False),
    ],
)
def test_the_text_is_for_those_who_name_it_first(accept: str, text: bool) -> None:
    assert wants_text(accept) is text


def test_a_case_without_a_group_tells_everything_that_was_tried(client: httpx.Client) -> None:
    found = client.post(PATH, json={"diagnoses": ["Z99.900"], "age": 40, "sex": "1"}).json()
    assert found["result"]["code"] == "0000"
    assert found["path"] == []
    assert {one["level"] for one in found["tried"]} >= {"MDC"}
    assert all(one["failed"] for one in found["tried"])


def test_the_scheme_asked_for_explains(client: httpx.Client, example: dict[str, Any]) -> None:
    found = client.post(f"{PATH}?scheme=chs-drg-1.1", json=example).json()
    assert found["result"]["pack"]["id"] == "chs-drg-1.1"
    assert found["path"][1]["code"] == "GD2"


@pytest.mark.parametrize(
    ("path", "body", "kind", "mention"),
    [
        (PATH, {"diagnoses": ["A00.000"] * (MAX_CODES + 1)}, "invalid-request", "超过 200 个"),
        (PATH, {"procedures": []}, "invalid-request", "diagnoses"),
        (PATH, [1], "invalid-request", "JSON 对象"),
        (f"{PATH}?scheme=nothing", {"diagnoses": ["A00.000"]}, "invalid-request", "nothing；"),
        (f"{PATH}?scheme=linyi-2022", {"diagnoses": ["A00.000"]}, "invalid-request", "linyi-2022"),
        (f"{PATH}?scheme=../x", {"diagnoses": ["A00.000"]}, "invalid-request", "scheme"),
    ],
)
def test_what_cannot_be_explained_is_refused(
    client: httpx.Client, path: str, body: Any, kind: str, mention: str
) -> None:
    assert_problem(client.post(path, json=body, headers=TEXT), kind, mention)


def test_a_body_over_the_limit_is_refused(client: httpx.Client) -> None:
    assert_problem(client.post(PATH, json={"diagnoses": ["A" * 300_000]}), "payload-too-large")


def test_too_many_codes_are_counted_over_both_kinds() -> None:
    checker = Checker(PackStore())
    explain_case(checker, Case(("I10.x00x002",), ("47.0100",) * (MAX_CODES - 1)))
    with pytest.raises(TooManyCodesError, match="201"):
        explain_case(checker, Case(("I10.x00x002",), ("47.0100",) * MAX_CODES))


def test_every_list_of_a_file_is_explained_and_a_bad_line_named(
    tmp_path: Path, example: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "month.ndjson"
    line = json.dumps(example, ensure_ascii=False)
    path.write_text(f"{line}\n{{broken\n{line}\n", encoding="utf-8")
    assert run(["explain", str(path)]) == 1
    shown = capsys.readouterr()
    assert shown.out.count("分组结果：GE29") == 2
    assert "── 第 3 行 ──" in shown.out
    assert "第 2 行" in shown.err


@pytest.mark.parametrize("command", ["explain", "what-if"])
def test_a_file_that_cannot_be_read_is_one_line(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([command, str(tmp_path / "none.json")]) == 2
    assert run([command, str(tmp_path)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert "没有这个文件" in errors[0]
    assert "是文件夹" in errors[1]
