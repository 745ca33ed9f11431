"""A file of cases comes back with its groups; faulty rows stay and are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from grouper.cases_csv import CaseFileError, CaseFileReport, group_cases_csv
from tests.grouper.schemes import SCHEMES, cases_file, scheme
from tests.shared import needs_shared


@needs_shared
@pytest.mark.parametrize("name", SCHEMES)
def test_the_reference_file_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
    text = cases_file(name).read_bytes().decode().replace("\r\n", "\n")
    head, *rows = text.splitlines()
    emptied = [row.rpartition(",")[0] + "," for row in rows]
    (tmp_path / "in.csv").write_text("\n".join([head, *emptied]) + "\n", encoding="utf-8")
    report = group_cases_csv(scheme(name), tmp_path / "in.csv", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text(encoding="utf-8") == text
    assert (report.rows, report.faults) == (len(rows), ())


def run(tmp_path: Path, content: str | bytes) -> tuple[str, CaseFileReport]:
    source = tmp_path / "cases.csv"
    source.write_bytes(content.encode() if isinstance(content, str) else content)
    report = group_cases_csv(scheme("chs-drg-2.0"), source, tmp_path / "out.csv")
    return (tmp_path / "out.csv").read_text(encoding="utf-8"), report


def test_faulty_rows_are_kept_and_named(tmp_path: Path) -> None:
    text, report = run(
        tmp_path,
        "dx,age,sex,note,group\n"
        'B17.204,50,1,"a, b",old\n'
        "B17.204,fifty,1,x,old\n"
        "B17.204,-1,1,x,old\n"
        "B17.204,50\n"
        "B17.204,50,1,x,old,more\n"
        f"{'9' * 200_000},50,1,x,\n"
        "\n"
        ",50,1,x,\n",
    )
    assert text.splitlines()[:6] == [
        "dx,age,sex,note,group",
        'B17.204,50,1,"a, b",HS19',
        "B17.204,fifty,1,x,",
        "B17.204,-1,1,x,",
        "B17.204,50,,,",
        "B17.204,50,1,x,,more",
    ]
    assert text.splitlines()[-1] == ",50,1,x,0000"
    assert [fault.line for fault in report.faults] == [3, 4, 5, 6, 7]
    assert "“fifty”" in report.faults[0].reason
    assert report.rows == 7


def test_a_group_column_is_added_and_other_columns_may_be_missing(tmp_path: Path) -> None:
    text, report = run(tmp_path, "\ufeffid,dx\n1,B17.204\n2,\n")
    assert text.startswith("id,dx,group\n1,B17.204,HS19\n")
    assert text.endswith("2,,0000\n")
    assert (report.grouped, report.not_grouped) == (1, 1)


def test_gb18030_is_read(tmp_path: Path) -> None:
    text, _ = run(tmp_path, "姓名,dx\n张三,B17.204\n".encode("gb18030"))
    assert text.startswith("姓名,dx,group\n张三,B17.204,")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "文件是空的"),
        (b"\n\n", "文件是空的"),
        (b"id,age\n1,2\n", "缺少列 dx"),
        (b"dx,dx\nA,B\n", "列名重复"),
        (b"dx\n\xff\xff\xff\n", "编码"),
    ],
)
def test_a_file_that_cannot_be_grouped_changes_nothing(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("before")
    with pytest.raises(CaseFileError, match=words):
        run(tmp_path, content)
    assert (tmp_path / "out.csv").read_text() == "before"
    assert {path.name for path in tmp_path.iterdir()} == {"cases.csv", "out.csv"}
