"""The examples in docs/api.md and docs/cli.md are run, and give what they show."""

from __future__ import annotations

import copy
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.cli import application, run
from api.example import EXAMPLE_LIST
from api.problems import KINDS
from api.settings import Settings
from models.pack import PROJECT_ROOT
from tests.api.serving import running

DOCS = PROJECT_ROOT / "docs"
API = (DOCS / "api.md").read_text(encoding="utf-8")
CLI = (DOCS / "cli.md").read_text(encoding="utf-8")

PAGES = "\n".join(page.read_text(encoding="utf-8") for page in sorted(DOCS.glob("*.md")))
"""Every page: what a part offers may be listed on its own page."""

REQUESTS = re.findall(r"```http\n(.*?)```\s*```json (\d+)\n(.*?)```", API, re.DOTALL)
SESSIONS = re.findall(r"```console\n(.*?)```", CLI, re.DOTALL)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(create_app(Settings(home=tmp_path_factory.mktemp("home")))) as address:
        yield address


def contains(whole: Any, part: Any, place: str = "$") -> None:
    """Everything that ``part`` shows is in ``whole``; of an array, each shown item is somewhere in it."""
    if isinstance(part, dict):
        assert isinstance(whole, dict), place
        for key, value in part.items():
            assert key in whole, f"{place}.{key}"
            contains(whole[key], value, f"{place}.{key}")
    elif isinstance(part, list):
        assert isinstance(whole, list), place
        for number, value in enumerate(part):
            assert any(_holds(one, value) for one in whole), f"{place}[{number}] {value} in {whole}"
    else:
        assert whole == part, place


def _holds(whole: Any, part: Any) -> bool:
    try:
        contains(whole, part)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize(("request_text", "status", "answer"), REQUESTS)
def test_a_request_gives_the_answer_shown(address: str, request_text: str, status: str, answer: str) -> None:
    head, _, body = request_text.partition("\n\n")
    line, *headers = head.splitlines()
    method, path = line.split()
    sent = dict(header.split(": ", 1) for header in headers)
    received = httpx.request(method, address + path, headers=sent, content=body.strip().encode(), timeout=120)
    assert received.status_code == int(status)
    contains(received.json(), json.loads(answer))


def test_every_address_and_every_problem_is_documented(address: str) -> None:
    paths = httpx.get(f"{address}/openapi.json", timeout=120).json()["paths"]
    rows = re.findall(r"^\| `(GET|POST|DELETE) (\S+?)(?:\?q=)?` \|", PAGES, re.MULTILINE)
    assert {(method.lower(), path) for method, path in rows} == {
        (method, path) for path, operations in paths.items() for method in operations
    }
    problems = re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", API, re.MULTILINE)
    assert {(kind, int(status)) for kind, status in problems} == {
        (kind, status) for kind, (status, _) in KINDS.items()
    }
    assert len(REQUESTS) == API.count("```http")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that docs/cli.md speaks of."""
    clean: dict[str, Any] = copy.deepcopy(dict(EXAMPLE_LIST))
    text = json.dumps(clean, ensure_ascii=False)
    (tmp_path / "list.json").write_text(json.dumps(clean, ensure_ascii=False, indent=2))
    del clean["setlinfo"]["mdtrt_id"]
    (tmp_path / "month.ndjson").write_text(f"{text}\n{json.dumps(clean, ensure_ascii=False)}\n{text[:200]}\n")
    (tmp_path / "cases.csv").write_text(
        "case_id,sex,age,dx,procedures\n1,1,35,K35.800x001,47.0100\n2,1,60,I10.x00,\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QINGDAN_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.mark.parametrize("session", SESSIONS)
@pytest.mark.usefixtures("loaded_once")
def test_a_command_prints_what_is_shown(
    session: str, folder: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    for command, expected in re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", session, re.MULTILINE):
        words, _, asks_status = command.partition("; ")
        name, *arguments = shlex.split(words)
        assert name == "qingdan"
        status = run(arguments)
        shown = capsysbinary.readouterr().out.decode()
        if asks_status:
            assert asks_status == "echo $?"
            shown += f"{status}\n"
        place = 0
        for fragment in filter(None, re.split(r"…|\n", expected)):
            found = shown.find(fragment, place)
            assert found >= 0, f"{fragment!r} is not in {shown[place:]!r}"
            place = found + len(fragment)


def test_every_command_is_documented() -> None:
    import typer  # noqa: PLC0415

    commands = getattr(typer.main.get_command(application()), "commands", {})
    for name in commands:
        assert re.search(rf"^\| .*`(?:qingdan )?{name}\b", PAGES, re.MULTILINE), name
