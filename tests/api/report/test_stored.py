"""The report from the store: agrees with the rows, knows earlier months and versions, hides who the patients are."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from python_calamine import CalamineWorkbook
from sqlalchemy import delete, event, select, update

from api.batch.totals import totals_of
from api.services.month.report.content import canonical
from api.services.month.report.page import standalone
from api.services.month.report.sealing import seal
from api.services.month.report.stored import (
    ACROSS,
    FINDING,
    LEAST_OF_SOURCE,
    RESULT,
    RUN,
    ReportError,
    report_of,
    source_problems,
)
from api.services.month.report.workbook import write_report
from api.services.month.worklist import (
    COLUMNS,
    Filter,
    WorkRow,
    choices,
    department_names,
    work_page,
    write_work_list,
)
from tests.api.batch.conftest import Site, bodies
from tests.api.report.conftest import FORMULA, LISTS, NAME, Run, month_lists


def test_the_report_agrees_with_the_rows_it_is_made_of(site: Site, run_of: Run) -> None:
    run_id = run_of()
    content = report_of(site.database, site.settings, str(run_id), with_study=False)
    with site.database.read() as connection:
        results = connection.execute(select(RESULT).where(RESULT.c.run_id == run_id)).all()
        findings = connection.execute(select(FINDING).where(FINDING.c.run_id == run_id)).all()
    it = content.totals
    assert it.lists == len(results) == LISTS
    assert 0 < it.passed == sum(row.verdict != "需修改" for row in results) < LISTS
    assert it.grouped == sum(row.reason == "grouped" for row in results) < LISTS
    assert it.cost == sum(row.cost or 0 for row in results)
    assert it.weight == pytest.approx(
        sum(row.weight for row in results if row.weight and row.reason == "grouped")
    )
    assert it.errors == sum(row.severity == "error" for row in findings if row.position < ACROSS) > 0
    assert {one.rule: one.findings for one in content.rules} == Counter(row.rule for row in findings)
    assert {one.unit: one.totals.lists for one in content.departments} == Counter(
        row.department for row in results if row.department
    )
    assert sum(one.lists for one in content.groups) == it.grouped
    assert all(one.name for one in content.departments)
    assert {one.kind for one in content.packs} >= {"drg-scheme", "drg-payment"}


def test_with_statistics_it_says_how_few_lists_there_are(site: Site, run_of: Run) -> None:
    run_of()
    content = report_of(site.database, site.settings, "2026-10")
    assert content.study is not None
    assert content.study.past_lists == 0
    assert content.study.models == ()
    assert any("不足 500 份" in note for note in content.notes)
    assert any("没有往月的清单" in note for note in content.notes)


def test_two_stays_of_one_person_that_overlap_are_in_report_and_work_list(site: Site, run_of: Run) -> None:
    one, other = bodies(2)
    for name in ("psn_no", "certno", "hi_no", "brdy", "gend", "adm_time", "dscg_time", "age"):
        if name in one["setlinfo"]:
            other["setlinfo"][name] = one["setlinfo"][name]
    run_id = run_of([one, other])
    study = report_of(site.database, site.settings, str(run_id)).study
    assert study is not None
    (found,) = [line for line in study.cross_findings if line.finding.rule == "LOG-030"]
    assert {found.list_id, found.other_id} == {one["setlinfo"]["mdtrt_id"], other["setlinfo"]["mdtrt_id"]}
    assert [line.list_id for line in study.reviews if line.direction == "重复或时间有误"] == [found.list_id]
    (row,) = work_page(site.database, str(run_id), Filter(rule="LOG-030")).rows
    assert (row.list_id, row.other) == (found.list_id, found.other_id)


def test_sealed_months_are_the_trend_and_the_standard_of_later_ones(site: Site, run_of: Run) -> None:
    for month in ("2026-08", "2026-09"):
        run_of(bodies(LISTS), month)
        earlier = report_of(site.database, site.settings, month, with_study=False)
        # The lists are of October, whatever month they are stored for.
        seal(site.database, earlier, by="张三", confirmed=True, why="借用十月的清单")
    dearer = bodies(LISTS)
    for body in dearer:
        body["setlinfo"]["medfee_sumamt"] = float(body["setlinfo"]["medfee_sumamt"]) * 2
    run_of(dearer)
    content = report_of(site.database, site.settings, "2026-10")
    assert [(one.month, one.report > 0) for one in content.trend] == [
        ("2026-08", True),
        ("2026-09", True),
        ("2026-10", False),
    ]
    assert content.cost_standard.name == "本院 2026-08 至 2026-09 同病组"
    assert content.totals.cost_index == pytest.approx(2.0)
    assert content.totals.time_index == pytest.approx(1.0)
    assert content.study is not None
    assert content.study.past_lists == 2 * LISTS


def test_codes_that_changed_between_versions_are_listed(site: Site, run_of: Run) -> None:
    lists = bodies(6)
    run_of(lists)
    first = lists[0]["diseinfo"][0]["diag_code"]
    lists[0]["diseinfo"][0]["diag_code"] = "I10.x00"
    lists[1]["diseinfo"].append({**lists[1]["diseinfo"][-1], "diag_code": "E11.900", "maindiag_flag": "0"})
    lists[2]["setlinfo"]["medfee_sumamt"] = 1
    coding = report_of(site.database, site.settings, str(run_of(lists)), with_study=False).coding
    assert (coding.changed, coding.recoded, coding.principal) == (3, 2, 1)
    by_list = {one.list_id: one for one in coding.lines}
    changed = by_list[lists[0]["setlinfo"]["mdtrt_id"]]
    assert changed.principal == (first, "I10.x00")
    assert (changed.first_version, changed.version) == (1, 2)
    assert by_list[lists[1]["setlinfo"]["mdtrt_id"]].diagnoses_added == ("E11.900",)


def test_no_file_says_who_the_patients_are_and_no_cell_is_a_formula(
    site: Site, run_of: Run, tmp_path: Path
) -> None:
    run_id = run_of()
    content = report_of(site.database, site.settings, str(run_id))
    book, work = tmp_path / "report.xlsx", tmp_path / "work.xlsx"
    write_report(book, content)
    write_work_list(site.database, str(run_id), Filter(), work, {})
    certificates = [str(body["setlinfo"]["certno"]).encode() for body in month_lists()]
    texts = [canonical(content), standalone(content).encode()]
    for path in (book, work):
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        texts.append(b"".join(parts.values()))
        assert b"<f>" not in texts[-1]
        assert b"<hyperlink" not in texts[-1]
    for content_bytes in texts:
        assert NAME.encode() not in content_bytes
        assert not [number for number in certificates if number in content_bytes]
        assert b"<script" not in content_bytes
    cells = [
        cell for row in CalamineWorkbook.from_path(book).get_sheet_by_name("医师").to_python() for cell in row
    ]
    assert FORMULA in cells


def test_what_nearly_all_lists_lack_is_one_problem_of_their_source(
    site: Site, run_of: Run, tmp_path: Path
) -> None:
    lists = bodies(LEAST_OF_SOURCE)
    for body in lists:
        body["setlinfo"].pop("psn_name", None)
    lists[3]["setlinfo"].pop("gend", None)
    run_id = run_of(lists)
    content = report_of(site.database, site.settings, str(run_id), with_study=False)
    (problem,) = [one for one in content.source_problems if "姓名" in one.field]
    assert (problem.lists, problem.severity) == (len(lists), "error")
    it = content.totals
    assert it.passed == 0
    assert it.source == sum(one.findings for one in content.source_problems)
    assert it.pass_rate_besides is not None
    assert 0.5 < it.pass_rate_besides < 1
    page = standalone(content)
    assert f"{problem.field}（<code>{problem.rule}</code>，{len(lists)} 份全部）" in page
    of_rule = {one.rule: one for one in content.rules}
    assert of_rule[problem.rule].kind == "source"
    every = rows_of(site, run_id)
    of_source = [row.kind == "source" for row in every]
    assert sum(of_source) == it.source
    assert of_source == sorted(of_source)
    only = rows_of(site, run_id, Filter(kind="source"))
    assert [row.kind for row in only] == ["source"] * it.source
    assert len(rows_of(site, run_id, Filter(kind="list"))) == len(every) - it.source
    path = tmp_path / "work.xlsx"
    _, written = write_work_list(site.database, str(run_id), EVERY, path, {})
    assert written == len(every)
    assert problem.field in str(CalamineWorkbook.from_path(path).get_sheet_by_name("来源问题").to_python())
    few = report_of(site.database, site.settings, str(run_of(lists[1:])), with_study=False)
    assert few.source_problems == ()


def test_findings_across_lists_are_a_class_of_their_own(site: Site, run_of: Run) -> None:
    one, other = bodies(2)
    for name in ("psn_no", "certno", "hi_no", "brdy", "gend", "adm_time", "dscg_time", "age"):
        if name in one["setlinfo"]:
            other["setlinfo"][name] = one["setlinfo"][name]
    run_id = run_of([one, other])
    content = report_of(site.database, site.settings, str(run_id), with_study=False)
    rows = rows_of(site, run_id)
    across = [row for row in rows if row.kind == "across"]
    assert "LOG-030" in {row.rule for row in across}
    it = content.totals
    assert (it.across, it.across_lists) == (len(across), len({row.number for row in across}))
    assert it.errors == sum(
        row.severity == "error" for row in rows if row.kind == "list" and not row.accepted
    )
    assert it.warnings == sum(
        row.severity == "warn" for row in rows if row.kind == "list" and not row.accepted
    )
    assert rows_of(site, run_id, Filter(kind="across")) == across
    assert f"跨清单线索 {it.across} 项" in standalone(content)


def test_sheets_speak_chinese(site: Site, run_of: Run, tmp_path: Path) -> None:
    content = report_of(site.database, site.settings, str(run_of()))
    path = tmp_path / "report.xlsx"
    write_report(path, content)
    book = CalamineWorkbook.from_path(path)
    _, *rules = book.get_sheet_by_name("规则").to_python()
    assert {row[2] for row in rules} <= {"错误", "警告", "提示"}
    _, *packs = book.get_sheet_by_name("数据包").to_python()
    assert not [row[2] for row in packs if str(row[2]).isascii()]
    assert "不足 500 份" in str(book.get_sheet_by_name("复核排序").to_python()[-1])


# --- the work list

EVERY = Filter(accepted=True)


def rows_of(site: Site, run_id: int, wanted: Filter = EVERY) -> list[WorkRow]:
    first = work_page(site.database, str(run_id), wanted, 1, 7)
    found = list(first.rows)
    for page in range(2, first.pages + 1):
        found += work_page(site.database, str(run_id), wanted, page, 7).rows
    assert len(found) == first.total
    return found


def test_pages_hold_every_finding_once_and_in_order(site: Site, run_of: Run) -> None:
    run_id = run_of()
    every = rows_of(site, run_id)
    assert len(every) > 14
    assert [row.number for row in every] == sorted(row.number for row in every)
    with site.database.read() as connection:
        stored = connection.execute(select(FINDING.c.rule).where(FINDING.c.run_id == run_id)).scalars().all()
    assert Counter(row.rule for row in every) == Counter(stored)
    assert (
        work_page(site.database, str(run_id), Filter(), 999).page
        == work_page(site.database, str(run_id), Filter(), 999).pages
    )


def test_each_filter_keeps_just_what_fits(site: Site, run_of: Run) -> None:
    run_id = run_of()
    every = rows_of(site, run_id)
    sample = every[len(every) // 2]
    cases = (
        (Filter(rule=sample.rule.lower()), lambda row: row.rule == sample.rule),
        (Filter(rule=sample.rule[:3]), lambda row: row.rule.startswith(sample.rule[:3] + "-")),
        (Filter(severity="error"), lambda row: row.severity == "error"),
        (Filter(department=sample.department), lambda row: row.department == sample.department),
        (Filter(doctor=FORMULA), lambda row: row.doctor == FORMULA),
        (Filter(verdict="需复核"), lambda row: row.verdict == "需复核"),
        (Filter(list_id=sample.list_id), lambda row: row.list_id == sample.list_id),
        (Filter(list_id="%"), lambda _: False),
    )
    for wanted, fits in cases:
        assert rows_of(site, run_id, wanted) == [row for row in every if fits(row)], wanted
    found = choices(site.database, str(run_id))
    assert {code for code, _, _ in found.rules} == {row.rule for row in every}
    assert {row.department for row in every} <= {code for code, _ in found.departments} | {""}


def test_the_workbook_holds_what_the_pages_hold(site: Site, run_of: Run, tmp_path: Path) -> None:
    run_id = run_of()
    path = tmp_path / "work.xlsx"
    names = department_names(site.settings)
    run, written = write_work_list(site.database, "2026-10", Filter(severity="error"), path, names)
    every = rows_of(site, run_id, Filter(severity="error"))
    assert (run, written) == (run_id, len(every))
    header, *rows = CalamineWorkbook.from_path(path).get_sheet_by_name("工作清单").to_python()
    assert tuple(header) == COLUMNS
    assert [(row[1], row[8], row[12]) for row in rows] == [
        (one.list_id, one.rule, one.message) for one in every
    ]
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        assert b"<autoFilter" in archive.read("xl/worksheets/sheet1.xml")


@pytest.mark.parametrize(
    "wanted", [Filter(severity="bad"), Filter(verdict="好"), Filter(rule="x" * 81), Filter(doctor="\x00")]
)
def test_a_filter_that_nothing_can_match_is_refused(site: Site, run_of: Run, wanted: Filter) -> None:
    run_id = run_of(bodies(1))
    with pytest.raises(ReportError, match=r"级别|判定|筛选条件"):
        work_page(site.database, str(run_id), wanted)


def test_a_page_of_the_work_list_is_found_in_indices(site: Site, run_of: Run) -> None:
    """However long the work list is, no finding is read but those that the page shows."""
    run_id = run_of()
    if not site.database.is_sqlite:
        pytest.skip("PostgreSQL plans by the size of the tables, and these are small")
    wide = ("finding.message", "finding.title")
    asked: list[tuple[str, Any]] = []

    def note(*given: Any) -> None:
        asked.append(given[2:4])

    filters = [
        Filter(),
        Filter(severity="error"),
        Filter(rule="CMP"),
        Filter(verdict="需修改"),
        Filter(kind="list"),
    ]
    event.listen(site.database.engine, "before_cursor_execute", note)
    for wanted in filters:
        work_page(site.database, str(run_id), wanted)
    totals_of(site.database, run_id)
    event.remove(site.database.engine, "before_cursor_execute", note)
    counted = 0
    with site.database.read() as connection:
        for statement, parameters in asked:
            if "FROM finding" in statement and not any(name in statement for name in wide):
                plan = [
                    row[3]
                    for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                ]
                assert all("COVERING" in step for step in plan if "SEARCH" in step), (statement, plan)
                assert not any("ORDER BY" in step for step in plan), (statement, plan)
                counted += 1
    assert counted >= 3 * len(filters)


def test_the_problems_of_the_source_are_kept_for_a_finished_run_only(site: Site, run_of: Run) -> None:
    lists = month_lists()
    for body in lists:
        body["setlinfo"]["medcasno"] = ""
    run_id = run_of(lists)
    with site.database.begin() as connection:
        (first,) = [one for one in source_problems(connection, run_id) if one.rule == "CMP-005"]
        assert first.lists == len(lists)
        connection.execute(update(RUN).where(RUN.c.id == run_id).values(state="running"))
        connection.execute(delete(FINDING).where(FINDING.c.rule == "CMP-005"))
        assert "CMP-005" not in {one.rule for one in source_problems(connection, run_id)}
        connection.execute(update(RUN).where(RUN.c.id == run_id).values(state="done"))
        assert first in source_problems(connection, run_id)
