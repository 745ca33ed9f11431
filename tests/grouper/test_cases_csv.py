"""A file of cases comes back with its groups; faulty rows stay and are named."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from grouper.cases_csv import CaseFileError, CaseFileReport, group_cases_csv
from tests.grouper.schemes import SCHEMES, cases_file, reference_cases, scheme, with_regional_rules
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


@needs_shared
@pytest.mark.parametrize("regional", [False, True])
def test_a_file_is_grouped_as_its_cases_are_one_by_one(regional: bool, tmp_path: Path) -> None:
    """Codes repeated, badly written, unknown, missing, and patients of every age; also where rules count codes."""
    chosen = with_regional_rules("chs-drg-2.0") if regional else scheme("chs-drg-2.0")
    choice = random.Random(5)  # noqa: S311 - test data, nothing secret
    given = []
    for _, one, _ in choice.sample(reference_cases("chs-drg-2.0"), 400):
        diagnoses = [*one.diagnoses, *choice.choices([*one.diagnoses, "", "A99.999", "x"], k=3)]
        diagnoses = [code.lower() if choice.random() < 0.1 else code for code in diagnoses]
        procedures = [*one.procedures, *choice.choices([*one.procedures, "", "88.7200"], k=2)]
        choice.shuffle(diagnoses)
        choice.shuffle(procedures)
        given.append(
            replace(
                one,
                diagnoses=tuple(diagnoses),
                procedures=tuple(procedures),
                length_of_stay=choice.choice((None, 3, 40)),
                discharge_way=choice.choice(("", "1", "5")),
                icu_hours=choice.choice((None, 100.0)),
                department=choice.choice(("", "A28")),
            )
        )
    columns = (
        "age",
        "age_days",
        "birth_weight",
        "length_of_stay",
        "discharge_way",
        "icu_hours",
        "department",
    )
    rows = ["dx,procedures,sex,age,age_days,birth_weight,los,discharge_way,icu_hours,dept"]
    for one in given:
        cells = ["" if (value := getattr(one, column)) is None else str(value) for column in columns]
        rows.append(",".join(["|".join(one.diagnoses), "|".join(one.procedures), one.sex, *cells]))
    (tmp_path / "in.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    group_cases_csv(chosen, tmp_path / "in.csv", tmp_path / "out.csv")
    groups = [
        line.rpartition(",")[2] for line in (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()
    ]
    assert groups[1:] == [chosen.group(one).code for one in given]
    assert len(set(groups)) > 20


def test_a_sex_in_words_is_its_code(tmp_path: Path) -> None:
    words, _ = run(tmp_path, "dx,procedures,age,sex\nN40.x00,60.5x00,70,男\nN40.x00,60.5x00,70,女\n")
    codes, _ = run(tmp_path, "dx,procedures,age,sex\nN40.x00,60.5x00,70,1\nN40.x00,60.5x00,70,2\n")
    groups = [line.rpartition(",")[2] for line in words.splitlines()]
    assert groups == [line.rpartition(",")[2] for line in codes.splitlines()]
    assert groups[1] != groups[2]


def test_name_and_reason_are_added_when_asked_for(tmp_path: Path) -> None:
    source, out = tmp_path / "cases.csv", tmp_path / "out.csv"
    source.write_text("dx,age,sex\nB17.204,50,1\n,50,1\nB17.204,fifty,1\n", encoding="utf-8")
    group_cases_csv(scheme("chs-drg-2.0"), source, out, explained=True)
    head, grouped, empty, faulty = out.read_text(encoding="utf-8").splitlines()
    assert head == "dx,age,sex,group,name,reason"
    assert "HS19" in grouped
    assert "→ DRG HS19" in grouped
    assert "没有主要诊断" in empty
    assert "age" in faulty.rpartition(",")[2]
