"""The examples in docs/dip.md and docs/payment.md are run, and print what they show."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from api.cli import run
from grouper.parameters import DIP_PARAMETERS, DRG_PARAMETERS
from models.pack import PROJECT_ROOT

DOCS = PROJECT_ROOT / "docs"
DIP = (DOCS / "dip.md").read_text(encoding="utf-8")
PAYMENT = (DOCS / "payment.md").read_text(encoding="utf-8")
SESSIONS = re.findall(r"```console\n(.*?)```", DIP + PAYMENT, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that the pages speak of."""
    (tmp_path / "dip-cases.csv").write_text(
        "case_id,dx,procedures,age,cost\n1,K35.800x001,47.0100,35,12500\n2,P07.100,39.6500,30,90000\n"
    )
    (tmp_path / "drg-cases.csv").write_text(
        "case_id,sex,dx,procedures,age,los,cost\n1,1,K35.800x001,47.0100,35,5,12500\n"
        "2,1,K35.800x001,47.0100,35,5,90000\n"
    )
    rows = ["case_id,year,dx,procedures,cost"]
    rows += [f"{number},2025,E04.900x001,06.4x00,{9000 + number}" for number in range(20)]
    rows += [f"{number},2024,E04.900x001,06.3100,{7000 + number}" for number in range(16)]
    rows += [f"{number},2025,E04.900x001,,{1000 + number}" for number in range(5)]
    (tmp_path / "history.csv").write_text("\n".join(rows))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QINGDAN_HOME", str(tmp_path / "home"))


@pytest.mark.usefixtures("folder", "loaded_once")
@pytest.mark.parametrize("session", SESSIONS)
def test_a_command_prints_what_is_shown(session: str, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    for command, expected in re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", session, re.MULTILINE):
        name, *arguments = shlex.split(command)
        assert name == "qingdan"
        assert run(arguments) == 0
        shown = capsysbinary.readouterr().out.decode()
        place = 0
        for fragment in filter(None, re.split(r"…|\n", expected)):
            found = shown.find(fragment, place)
            assert found >= 0, f"{fragment!r} is not in {shown[place:]!r}"
            place = found + len(fragment)


def test_every_parameter_is_documented() -> None:
    assert [name for name in DIP_PARAMETERS if f"`{name}`" not in DIP] == []
    assert [name for name in DRG_PARAMETERS if f"`{name}`" not in PAYMENT] == []
