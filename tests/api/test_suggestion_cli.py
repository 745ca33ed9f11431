"""``qingdan coding`` and ``qingdan suggest`` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from api.cli.coding import coding_app, suggest

app = typer.Typer()
app.add_typer(coding_app)
app.command()(suggest)


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    rows = [
        {"id": "1", "text": "高血压", "gold": [{"name": "高血压", "codes": ["I10.x00x002"]}]},
        {"id": "2", "text": "某种说不清的不适", "gold": [{"name": "霍乱", "codes": ["A00.900"]}]},
    ]
    path = tmp_path / "gold.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_one_text_is_suggested_as_json(tmp_path: Path) -> None:
    status, output = run("suggest", "高血压", "--format", "json", "--home", str(tmp_path))
    assert status == 0
    assert json.loads(output)[0]["candidates"][0]["code"] == "I10.x00x002"


def test_a_file_is_suggested_line_by_line(gold: Path, tmp_path: Path) -> None:
    out = tmp_path / "pred.jsonl"
    status, _ = run(
        "suggest", "--in", str(gold), "--out", str(out), "--kind", "diagnosis", "--home", str(tmp_path)
    )
    assert status == 0
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rows] == ["1", "2"]
    assert rows[0]["codes"][0] == "I10.x00x002"
    assert rows[0]["names"][0] == "高血压"
    assert set(rows[0]) == {"id", "codes", "names"}


def test_evaluation_prints_every_level_and_the_misses_by_cause(gold: Path, tmp_path: Path) -> None:
    status, output = run("coding", "evaluate", str(gold), "--home", str(tmp_path))
    assert status == 0
    for expected in ("名称", "类目", "TF-IDF", "rapidfuzz", "校准误差", "某种说不清的不适 → 应为 霍乱"):
        assert expected in output


@pytest.mark.parametrize(
    "arguments", [["suggest"], ["suggest", "肺炎", "--in", "x.jsonl"], ["suggest", "--in", "x.jsonl"]]
)
def test_a_wrong_command_line_is_refused(arguments: list[str], tmp_path: Path) -> None:
    status, _ = run(*arguments, "--home", str(tmp_path))
    assert status == 2


def test_there_is_nothing_to_roll_back_at_first(tmp_path: Path) -> None:
    assert run("coding", "rollback", "--home", str(tmp_path))[0] == 2


def test_the_state_names_the_shipped_models(tmp_path: Path) -> None:
    status, output = run("coding", "status", "--home", str(tmp_path))
    assert status == 0
    assert output.count("随程序发布") == 2
