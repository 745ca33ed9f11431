"""A sealed report: its hash, that nothing can change it, how it is superseded, who read it. On both databases."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import DBAPIError

from api.batch.executors import InProcess
from api.batch.revalidate import base_run, begin_revalidation, run_revalidation
from api.batch.runs import RunView, read_run
from api.services.month.report.content import ReportContent, canonical
from api.services.month.report.sealing import (
    NotSealedError,
    SealedLine,
    read_sealed,
    seal,
    sealed_reports,
    verify,
)
from api.services.month.report.stored import PACK_USE, RUN, SEALED, ReportError, chosen_text, report_of
from api.store import audit
from api.store.database import Database
from tests.api.batch.conftest import Site, bodies
from tests.api.report.conftest import Run

Make = Callable[[int], ReportContent]


@pytest.fixture
def made(site: Site) -> Make:
    return lambda run_id: report_of(site.database, site.settings, str(run_id), with_study=False)


def entries(database: Database, action: str) -> list[tuple[str, str]]:
    with database.read() as connection:
        return [(one.who, one.object) for one in audit.entries(connection, action=action)]


def tampered(database: Database, number: int, **values: object) -> None:
    """What somebody who administers the database can do."""
    trigger = "sealed_report_no_update" if database.is_sqlite else "sealed_report_no_change"
    with database.begin() as connection:
        connection.execute(text(f"DROP TRIGGER {trigger}{'' if database.is_sqlite else ' ON sealed_report'}"))
        connection.execute(update(SEALED).where(SEALED.c.id == number).values(**values))


def test_what_is_sealed_is_read_back_and_verified_byte_by_byte(site: Site, run_of: Run, made: Make) -> None:
    content = made(run_of())
    line = seal(site.database, content, by=" 张三 ")
    body = canonical(content)
    assert line.digest == hashlib.sha256(body).hexdigest()
    assert (line.month, line.sealed_by, line.supersedes, line.superseded_by) == ("2026-10", "张三", 0, 0)
    for name in (str(line.number), "2026-10"):
        found = read_sealed(site.database, name, who="李四", how="页面")
        assert (found.content, found.body, found.line) == (content, body, line)
    (verdict,) = verify(site.database)
    assert (verdict.line, verdict.faults) == (line, ())


def test_made_again_the_report_has_the_same_hash(site: Site, run_of: Run, made: Make) -> None:
    run_id = run_of()
    line = seal(site.database, made(run_id), by="张三")
    again = Database.open(site.settings)
    content = report_of(again, site.settings, "2026-10", with_study=False)
    again.dispose()
    assert hashlib.sha256(canonical(content)).hexdigest() == line.digest


def test_a_month_is_sealed_once_and_only_superseded_by_naming_the_one_in_force(
    site: Site, run_of: Run, made: Make
) -> None:
    content = made(run_of())
    first = seal(site.database, content, by="张三")
    for given, said in (
        ({}, f"已有封存的月报（第 {first.number} 号）"),
        ({"supersede": first.number}, "要写明理由"),
        ({"supersede": first.number, "why": "  "}, "要写明理由"),
        ({"supersede": first.number + 7, "why": "更正"}, f"在用的是第 {first.number} 号"),
    ):
        with pytest.raises(ReportError, match=said):
            seal(site.database, content, by="张三", **given)
    second = seal(site.database, content, by="李四", supersede=first.number, why="补传 3 份")
    assert (second.supersedes, second.why) == (first.number, "补传 3 份")
    old, new = sorted(sealed_reports(site.database), key=lambda one: one.number)
    assert (old.superseded_by, new.superseded_by) == (second.number, 0)
    assert read_sealed(site.database, "2026-10", who="x", how="y").line.number == second.number
    assert read_sealed(site.database, str(first.number), who="x", how="y").line.superseded_by == second.number
    with pytest.raises(ReportError, match=f"在用的是第 {second.number} 号"):
        seal(site.database, content, by="张三", supersede=first.number, why="再来")
    assert [one.faults for one in verify(site.database)] == [(), ()]


def test_a_trial_never_speaks_for_its_month_and_is_not_sealed(site: Site, run_of: Run, made: Make) -> None:
    run_id = run_of(bodies(6))
    base = read_run(site.database, run_id)

    def again(**given: str) -> RunView:
        begun = begin_revalidation(site.database, site.settings, base, by="质控科", **given)
        return run_revalidation(site.database, site.settings, begun, InProcess())

    trial = again(scheme="chs-drg-1.1")
    assert trial.trial == trial.kind_text == "试算：方案 chs-drg-1.1"
    content = report_of(site.database, site.settings, "2026-10", with_study=False)
    assert content.origin.run == run_id
    assert base_run(site.database, "2026-10").id == run_id
    with pytest.raises(ReportError, match=f"试算：方案 chs-drg-1.1，不能封存.*请封存批次 {run_id}（6 份）"):
        seal(site.database, made(trial.id), by="张三", confirmed=True, why="试")
    of_trial = begin_revalidation(site.database, site.settings, trial, by="质控科")
    assert read_run(site.database, of_trial).trial == "试算：方案 chs-drg-1.1"
    official = again()
    assert official.trial == ""
    assert report_of(site.database, site.settings, "2026-10", with_study=False).origin.run == official.id
    assert chosen_text(site.database, official.id) == (
        f"2026-10 取批次 {official.id}（重新质控，6 份）；这个月另有完成的"
        f"批次 {trial.id}（试算：方案 chs-drg-1.1，6 份）、批次 {run_id}（6 份）"
    )
    assert seal(site.database, made(official.id), by="张三").run == official.id


def test_asking_for_what_holds_is_no_trial(site: Site, run_of: Run) -> None:
    run_id = run_of(bodies(2))
    base = read_run(site.database, run_id)
    with site.database.read() as connection:
        rows = connection.execute(
            select(PACK_USE.c.kind, PACK_USE.c.pack_id).where(PACK_USE.c.run_id == run_id)
        )
        used = {row.kind: row.pack_id for row in rows}
    again = begin_revalidation(
        site.database,
        site.settings,
        base,
        by="质控科",
        scheme=used["drg-scheme"],
        payment=used["drg-payment"],
    )
    assert read_run(site.database, again).trial == ""


def test_a_month_with_trials_only_says_so(site: Site, run_of: Run) -> None:
    run_id = run_of(bodies(2))
    base = read_run(site.database, run_id)
    trial = begin_revalidation(site.database, site.settings, base, by="质控科", scheme="chs-drg-1.1")
    run_revalidation(site.database, site.settings, trial, InProcess())
    with site.database.begin() as connection:
        connection.execute(update(RUN).where(RUN.c.id == run_id).values(state="failed"))
    with pytest.raises(ReportError, match="只有试算"):
        report_of(site.database, site.settings, "2026-10", with_study=False)


def test_a_run_without_lists_is_not_sealed(site: Site, run_of: Run, made: Make) -> None:
    full, empty = run_of(bodies(3)), run_of(bodies(1))
    content = made(empty)
    without = msgspec.structs.replace(content, totals=msgspec.structs.replace(content.totals, lists=0))
    with pytest.raises(ReportError, match=f"批次 {empty} 没有清单.*批次 {full}（3 份）"):
        seal(site.database, without, by="张三", confirmed=True, why="试")


def test_lists_of_other_months_and_far_fewer_lists_are_to_be_confirmed(
    site: Site, run_of: Run, made: Make
) -> None:
    full = run_of(bodies(10))
    content = made(run_of(bodies(5)))
    for given in ({}, {"confirmed": True}, {"why": "只交了这些"}):
        with pytest.raises(ReportError, match=f"只有 5 份清单，2026-10 还有批次 {full}（10 份）"):
            seal(site.database, content, by="张三", **given)
    line = seal(site.database, content, by="张三", confirmed=True, why="只交了这些")
    assert (line.why, line.supersedes) == ("只交了这些", 0)
    other = made(run_of(bodies(4), "2026-09"))
    assert other.elsewhere == 4
    with pytest.raises(ReportError, match="4 份清单中 4 份不是 2026-09 出院的（出院月份：2026-10 4 份）"):
        seal(site.database, other, by="张三")
    assert [one.month for one in sealed_reports(site.database)] == ["2026-10"]


def test_a_first_seal_supersedes_nothing(site: Site, run_of: Run, made: Make) -> None:
    with pytest.raises(ReportError, match="还没有封存的月报"):
        seal(site.database, made(run_of()), by="张三", supersede=1, why="更正")


@pytest.mark.parametrize("by", ["", "  ", "名" * 81, "张\n三"])
def test_a_seal_has_a_name(site: Site, run_of: Run, made: Make, by: str) -> None:
    with pytest.raises(ReportError, match="写明是谁"):
        seal(site.database, made(run_of()), by=by)
    assert sealed_reports(site.database) == []


def test_of_two_who_seal_at_once_one_is_refused(site: Site, run_of: Run, made: Make) -> None:
    content = made(run_of())

    def attempt(who: str) -> SealedLine | str:
        try:
            return seal(site.database, content, by=who)
        except ReportError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(attempt, ["甲", "乙", "丙", "丁"]))
    assert len([one for one in found if isinstance(one, SealedLine)]) == 1
    assert len(sealed_reports(site.database)) == 1


def test_the_database_itself_refuses_to_change_or_remove_a_sealed_report(
    site: Site, run_of: Run, made: Make
) -> None:
    line = seal(site.database, made(run_of()), by="张三")
    chosen = SEALED.c.id == line.number
    for statement in (
        update(SEALED).where(chosen).values(sealed_by="李四"),
        update(SEALED).where(chosen).values(content=b""),
        delete(SEALED).where(chosen),
    ):
        with pytest.raises(DBAPIError, match="never changed"), site.database.begin() as connection:
            connection.execute(statement)
    assert verify(site.database)[0].line == line


def test_content_that_was_altered_behind_the_program_is_found_and_not_shown(
    site: Site, run_of: Run, made: Make
) -> None:
    content = made(run_of())
    line = seal(site.database, content, by="张三")
    totals = msgspec.structs.replace(content.totals, passed=content.totals.lists)
    better = msgspec.structs.replace(content, totals=totals)
    tampered(site.database, line.number, content=zlib.compress(canonical(better)))
    (verdict,) = verify(site.database, "2026-10")
    assert verdict.faults == ("内容的 SHA-256 与封存时不符",)
    with pytest.raises(ReportError, match="SHA-256 不符"):
        read_sealed(site.database, "2026-10", who="李四", how="页面")


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"content": b"no zlib"}, "已损坏"),
        ({"content": zlib.compress(b"{}")}, "内容不是月报"),
        ({"month": "2026-09"}, "登记为 2026-09"),
        ({"packs": "[]"}, "登记的数据包与内容不符"),
        ({"packs": "nonsense"}, "登记的数据包与内容不符"),
    ],
)
def test_every_kind_of_damage_is_named(
    site: Site, run_of: Run, made: Make, values: dict[str, object], fault: str
) -> None:
    line = seal(site.database, made(run_of(bodies(3))), by="张三")
    tampered(site.database, line.number, **values)
    (verdict,) = verify(site.database, str(line.number))
    assert any(fault in one for one in verdict.faults), verdict.faults


def test_packs_that_the_run_did_not_use_are_found(site: Site, run_of: Run, made: Make) -> None:
    run_id = run_of(bodies(3))
    seal(site.database, made(run_id), by="张三")
    with site.database.begin() as connection:
        connection.execute(update(PACK_USE).where(PACK_USE.c.run_id == run_id).values(digest="0" * 64))
    assert verify(site.database)[0].faults == (f"批次 {run_id} 登记的数据包与内容不符",)


def test_every_seal_and_every_reading_is_in_the_audit_log(site: Site, run_of: Run, made: Make) -> None:
    line = seal(site.database, made(run_of(bodies(3))), by="张三")
    for who in ("甲", "乙", "甲"):
        read_sealed(site.database, str(line.number), who=who, how="页面")
    report = f"report {line.number}"
    assert entries(site.database, "seal") == [("张三", report)]
    assert entries(site.database, "read-report") == [("甲", report), ("乙", report), ("甲", report)]
    with site.database.read() as connection:
        assert audit.verify_chain(connection).fault == ""


def test_a_reading_that_failed_for_its_content_was_still_a_reading(
    site: Site, run_of: Run, made: Make
) -> None:
    line = seal(site.database, made(run_of(bodies(3))), by="张三")
    tampered(site.database, line.number, content=zlib.compress(b"{}"))
    with pytest.raises(ReportError):
        read_sealed(site.database, str(line.number), who="甲", how="页面")
    assert entries(site.database, "read-report") == [("甲", f"report {line.number}")]


@pytest.mark.parametrize(
    "name", ["1", "2026-10", "0", "-1", "99999999999999", "2026-13", "十月", "", "1;DROP TABLE run"]
)
def test_what_is_not_sealed_is_said_to_be_missing(site: Site, name: str) -> None:
    with pytest.raises(NotSealedError):
        read_sealed(site.database, name, who="x", how="y")
    assert entries(site.database, "read-report") == []


def test_a_run_that_is_not_done_has_no_report(site: Site, run_of: Run, made: Make) -> None:
    run_id = run_of(bodies(3))
    content = made(run_id)
    with site.database.begin() as connection:
        connection.execute(update(RUN).where(RUN.c.id == run_id).values(state="cancelled"))
    with pytest.raises(ReportError, match="还没有完成"):
        made(run_id)
    with pytest.raises(ReportError, match="没有已完成的批次"):
        report_of(site.database, site.settings, "2026-10")
    with pytest.raises(ReportError, match="还没有完成"):
        seal(site.database, content, by="张三")
