"""``qingdan intake`` and the reject file."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from api.cli import run
from api.intake.rejects import HEADER, Reject, RejectWriter, plain_cell
from models.wire import decode
from tests.api.intake.front_page import row_of, table


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, example: dict[str, Any]) -> Path:
    """A front page with one good row, one with a cell too many and one that is a formula."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QINGDAN_HOME", str(tmp_path / "home"))
    lines = table([row_of(example)]).splitlines()
    (tmp_path / "page.csv").write_text(
        "\n".join((lines[0], lines[1], lines[1] + ",x", "=cmd|'/C calc'!A0,x"))
    )
    return tmp_path


def test_convert_writes_lists_and_rejects(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = run(["intake", "convert", "page.csv", "--out", "out.ndjson", "--rejects", "bad.csv"])
    assert status == 1
    (line,) = (folder / "out.ndjson").read_bytes().splitlines()
    assert decode(line).list.stay.patient_name == "示例患者"
    assert (folder / "bad.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    with (folder / "bad.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.reader(stream))
    assert tuple(rows[0]) == HEADER
    assert [row[:2] for row in rows[1:]] == [["page.csv", "3"], ["page.csv", "4"]]
    assert all(row[3] for row in rows[1:])
    shown = capsys.readouterr()
    assert "读出 1 份清单，已写入 out.ndjson；不能读入 2 行，见 bad.csv" in shown.out
    assert "page.csv 第 3 行" in shown.err


def test_rejects_as_lines_and_a_list_that_cannot_be_decoded(folder: Path) -> None:
    (folder / "mixed.ndjson").write_bytes(b'{"no": 1}\n{"setlinfo": {"mdtrt_id": "1"}}\n')
    assert run(["intake", "check", "mixed.ndjson", "--rejects", "bad.ndjson"]) == 1
    (row,) = map(json.loads, (folder / "bad.ndjson").read_text().splitlines())
    assert (row["source"], row["line"], row["column"]) == ("mixed.ndjson", 1, "")
    assert "节点" in row["reason"]


def test_check_says_which_columns_are_used(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["intake", "check", "page.csv"]) == 1
    assert "列对照：HQMS" in capsys.readouterr().out


def test_a_list_over_several_lines_becomes_one_line(folder: Path, example: dict[str, Any]) -> None:
    (folder / "one.json").write_text(json.dumps(example, indent=2, ensure_ascii=False))
    assert run(["intake", "convert", "one.json", "--out", "out.ndjson"]) == 0
    (line,) = (folder / "out.ndjson").read_bytes().splitlines()
    assert json.loads(line) == example


def test_columns_proposes_what_convert_takes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "own.csv").write_text("病人姓名称,主诊断编码,没用\n甲,I10.x00,1\n")
    assert run(["intake", "columns", "own.csv"]) == 0
    text = capsys.readouterr().out
    assert "主诊断编码" in text
    assert run(["intake", "columns", "own.csv", "--out", "own.toml"]) == 0
    assert (folder / "own.toml").read_text() == text
    assert run(["intake", "convert", "own.csv", "--mapping", "own.toml", "--out", "out.ndjson"]) == 0
    assert decode((folder / "out.ndjson").read_bytes()).list.diagnoses[0].code == "I10.x00"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "none.csv"], "没有这个文件"),
        (["check", "page.csv", "--mapping", "none.toml"], "none.toml"),
        (["check", "page.csv", "--mapping", "bad.toml"], "第 2 行"),
        (["convert", "page.csv", "--out", "page.csv"], "不能是输入文件"),
        (["convert", "page.csv", "--out", "none/x.ndjson"], "没有这个文件夹"),
        (["columns", "page.zip"], "没有这个文件"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    (folder / "bad.toml").write_text("[setlinfo]\nno_such = 'x'\n")
    assert run(["intake", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_shipped_mapping_can_be_named(folder: Path) -> None:
    assert run(["intake", "check", "page.csv", "--mapping", "hqms"]) == 1
    assert run(["intake", "check", "page.csv", "--mapping", "n041"]) == 2


@pytest.mark.parametrize("lead", ["=", "+", "-", "@", "\t", "\r", "＝"])
def test_no_cell_of_the_reject_file_is_a_formula(tmp_path: Path, lead: str) -> None:
    path = tmp_path / "bad.csv"
    with RejectWriter(path) as writer:
        writer.add(Reject(f"{lead}cmd.csv", 3, f"{lead}HYPERLINK(1)", f"{lead}1\n2\x003"))
    with path.open(encoding="utf-8-sig", newline="") as stream:
        row = list(csv.reader(stream))[1]
    assert all(cell.startswith("'") for cell in (row[0], row[2], row[3]))
    assert "\n" not in row[3]
    assert plain_cell("甲") == "甲"


def test_whole_files_are_counted_apart_from_rows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "own.toml").write_text('title = "本院"\n[[diseinfo]]\ndiag_code = "主码"\n')
    (folder / "month").mkdir()
    (folder / "page.csv").rename(folder / "month/page.csv")
    (folder / "month/other.csv").write_text("x,y\n1,2\n")
    assert run(["intake", "check", "month", "--mapping", "own.toml"]) == 1
    shown = capsys.readouterr()
    assert "读出 1 份清单；不能读入 1 个文件、2 行" in shown.out
    assert "month/page.csv：列对照“本院”对不上这个文件的列，改用内置对照“HQMS 住院病案首页”" in shown.err
