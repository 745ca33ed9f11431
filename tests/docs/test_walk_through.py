"""The walk-through in docs/ is done again: every block prints what is shown, and no case is forgotten."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from api.cli import run
from models.pack import PROJECT_ROOT

DOCS = PROJECT_ROOT / "docs"
PAGE = (DOCS / "walk-through.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```console\n\$ ([^\n]+)\n(.*?)```", PAGE, re.DOTALL)
GAP = "…"
"""A line that stands for lines left out."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(DOCS / "examples", tmp_path / "docs" / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QINGDAN_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.mark.parametrize(("command", "shown"), BLOCKS, ids=[command for command, _ in BLOCKS])
@pytest.mark.usefixtures("folder", "loaded_once")
def test_a_command_prints_what_is_shown(
    command: str, shown: str, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    name, *arguments = shlex.split(command)
    assert name == "qingdan"
    run(arguments)
    printed = [line.rstrip() for line in capsysbinary.readouterr().out.decode().rstrip("\n").splitlines()]
    place = 0
    gap = False
    for line in shown.rstrip("\n").splitlines():
        if line == GAP:
            gap = True
            continue
        found = printed.index(line, place) if line in printed[place:] else -1
        assert found >= 0, f"{line!r} is not in {printed[place:]}"
        assert gap or found == place, f"{printed[place:found]} is not shown before {line!r}"
        place, gap = found + 1, False
    assert gap or place == len(printed), f"{printed[place:]} is not shown"


def test_every_block_is_run() -> None:
    assert len(BLOCKS) == PAGE.count("```console") >= 20


def test_every_case_has_its_list_its_output_and_what_to_do() -> None:
    cases = re.split(r"^## (?=\d)", PAGE, flags=re.MULTILINE)[1:]
    assert len(cases) >= 10
    for number, case in enumerate(cases, 1):
        assert case.startswith(f"{number} ")
        assert f"docs/examples/{number:02d}-" in case
        for part in ("**清单**", "**影响**", "**什么可以消除**", "**编码员怎么做**", "```console"):
            assert part in case, (number, part)


def test_every_example_is_used() -> None:
    assert [path.name for path in sorted((DOCS / "examples").iterdir()) if path.name not in PAGE] == []
