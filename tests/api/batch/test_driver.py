"""A run: every part stored once and in order, cancelled, gone on with, fenced; one person's stays compared."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from sqlalchemy import func, select, update

from api.batch.across import months_before
from api.batch.driver import Progress
from api.batch.executors import InProcess, open_executor
from api.batch.export import rejected_rows, write_ndjson, write_parquet
from api.batch.runs import (
    FINDING,
    RESULT,
    RUN,
    RUN_PART,
    BatchError,
    Claim,
    NoRunError,
    cancel,
    last_done,
    new_run,
    now,
    read_run,
    runs,
    table,
)
from api.batch.totals import totals_of
from api.services.month.report.stored import report_of
from api.store.database import Database
from api.store.tables import ListVersion
from qc_rules.acceptance import Acceptance
from tests.api.batch.conftest import BROKEN, MONTH, Body, Site, bodies

MakeFile = Callable[..., Path]


def exported(database: Database, run_id: int) -> bytes:
    stream = BytesIO()
    write_ndjson(database, run_id, stream)
    return stream.getvalue()


def counted(database: Database, column: Any, run_id: int) -> int:
    with database.read() as connection:
        return connection.execute(select(func.count()).where(column == run_id)).scalar() or 0


class StopsAfter(InProcess):
    """Works on some parts, then does what it was told."""

    def __init__(self, parts: int, then: Callable[[], object]) -> None:
        self.left, self.then = parts, then

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        if self.left == 0:
            self.then()
        self.left -= 1
        return super().submit(fn, *args, **kwargs)


def test_every_list_and_every_rejected_line_is_stored_once(site: Site, lists_file: MakeFile) -> None:
    path = lists_file([*bodies(30), BROKEN, *bodies(50)[30:]])
    seen: list[Progress] = []
    run = site.work(site.new(path), path, report=seen.append)
    assert (run.state, run.lists, run.rejected, run.parts_done) == ("done", 50, 1, 3)
    assert run.done_bytes == run.total_bytes == path.stat().st_size
    assert len(run.input_digest) == 64
    assert run.share == 1.0
    with site.database.read() as connection:
        numbers = connection.execute(select(RESULT.c.number).order_by(RESULT.c.number)).scalars().all()
        (reject,) = rejected_rows(connection, run.id)
        assert last_done(connection, MONTH) == run.id
        versions = connection.execute(select(func.count()).select_from(table(ListVersion))).scalar()
    assert numbers == [one for one in range(1, 52) if one != 31]
    assert (reject.source, reject.line) == ("lists.ndjson", 31)
    assert versions == 50
    assert [one.lists for one in seen] == [20, 39, 50]
    assert seen[-1].seconds_left == 0
    totals = totals_of(site.database, run.id)
    assert sum(totals.verdicts.values()) == 50
    report = report_of(site.database, site.settings, str(run.id), with_study=False).totals
    found = totals.grouping
    assert (found.grouped, found.ambiguous, found.ungrouped, found.unjudged) == (
        report.grouped,
        report.ambiguous,
        report.ungrouped,
        0,
    )
    assert found.grouped > 40
    assert found.text.startswith(f"入组 {found.grouped} 份（入组率 {report.grouping_rate:.1%}，")
    assert totals.packs


def test_the_same_lists_again_are_the_same_versions_and_a_changed_one_is_a_new_one(
    site: Site, lists_file: MakeFile
) -> None:
    lists = bodies(4)
    first = site.run(lists_file(lists))
    lists[2]["setlinfo"]["psn_name"] = "李改名"
    second = site.run(lists_file([*lists, lists[0]], "again.ndjson"))
    with site.database.read() as connection:
        found = connection.execute(
            select(RESULT.c.run_id, RESULT.c.version).order_by(RESULT.c.run_id, RESULT.c.number)
        )
        assert [tuple(row) for row in found] == [(first.id, 1)] * 4 + [
            (second.id, one) for one in (1, 1, 2, 1, 1)
        ]


def test_a_run_that_was_stopped_goes_on_and_ends_as_if_it_had_not_been(
    site: Site, lists_file: MakeFile
) -> None:
    path = lists_file([*bodies(70), BROKEN])
    whole = site.run(path)
    run_id = site.new(path)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        site.work(run_id, path, StopsAfter(3, interrupt))
    stopped = read_run(site.database, run_id)
    assert stopped.state == "cancelled"
    assert "可以继续" in stopped.message
    assert 0 < stopped.lists < 70
    assert counted(site.database, RESULT.c.run_id, run_id) == stopped.lists
    calls = StopsAfter(99, interrupt)
    run = site.work(run_id, path, calls)
    assert run.state == "done"
    # Parts that were stored are not worked on again; one call more compares across lists, if there is a pair.
    assert 99 - calls.left <= 4 - stopped.parts_done + 1
    assert exported(site.database, run_id) == exported(site.database, whole.id)
    assert run.input_digest == whole.input_digest


def test_cancelling_stops_between_parts(site: Site, lists_file: MakeFile) -> None:
    path = lists_file(bodies(80))
    run_id = site.new(path, part_size=10)
    run = site.work(run_id, path, StopsAfter(4, lambda: cancel(site.database, run_id)))
    assert run.state == "cancelled"
    assert run.lists == run.parts_done * 10 < 80
    assert counted(site.database, RUN_PART.c.run_id, run_id) == run.parts_done
    assert site.work(run_id, path).state == "done"


def test_a_run_that_waits_is_cancelled_at_once_and_a_finished_one_not_at_all(
    site: Site, lists_file: MakeFile
) -> None:
    path = lists_file(bodies(2))
    run_id = site.new(path)
    assert cancel(site.database, run_id).state == "cancelled"
    assert cancel(site.database, run_id).state == "cancelled"
    site.work(run_id, path)
    with pytest.raises(BatchError, match="已经完成"):
        cancel(site.database, run_id)
    with pytest.raises(BatchError, match="已经完成"):
        site.work(run_id, path)


def test_two_drivers_never_work_on_one_run(site: Site, lists_file: MakeFile) -> None:
    path = lists_file(bodies(2))
    run_id = site.new(path)
    first = Claim(site.database, run_id)
    first.take()
    with pytest.raises(BatchError, match="另一个程序"):
        site.work(run_id, path)
    assert first.beat()
    assert first.beat()


def test_a_silent_driver_is_replaced_and_can_write_no_more(site: Site, lists_file: MakeFile) -> None:
    path = lists_file(bodies(2))
    run_id = site.new(path)
    first = Claim(site.database, run_id)
    first.worker = "another-machine:1:1:ab"
    first.take()
    with pytest.raises(BatchError, match="另一个程序"):
        Claim(site.database, run_id).take()
    with site.database.begin() as connection:
        connection.execute(update(RUN).values(heartbeat_at=now() - timedelta(minutes=3)))
    assert site.work(run_id, path).state == "done"
    assert not first.beat()
    first.end("failed", "too late")
    assert read_run(site.database, run_id).state == "done"


def test_a_driver_whose_process_has_ended_is_replaced_at_once(site: Site, lists_file: MakeFile) -> None:
    path = lists_file(bodies(2))
    run_id = site.new(path)
    dead = Claim(site.database, run_id)
    host, _, _ = dead.worker.partition(":")
    dead.worker = f"{host}:999999999:1:ab"
    dead.take()
    assert cancel(site.database, run_id).state == "cancelled"
    assert site.work(run_id, path).state == "done"


def test_another_input_is_not_taken_for_the_rest_of_the_first(site: Site, lists_file: MakeFile) -> None:
    lists = bodies(60)
    path = lists_file(lists)
    run_id = site.new(path)

    def stop() -> None:
        cancel(site.database, run_id)

    site.work(run_id, path, StopsAfter(2, stop))
    assert read_run(site.database, run_id).parts_done >= 1
    lists[0]["setlinfo"]["psn_name"] = "另一人"
    with pytest.raises(BatchError, match=r"与批次 .* 开始时不同"):
        site.work(run_id, lists_file(lists, "other.ndjson"))
    assert read_run(site.database, run_id).state == "failed"
    assert site.work(run_id, path).state == "done"


def test_a_shorter_input_is_refused(site: Site, lists_file: MakeFile) -> None:
    path = lists_file(bodies(60))
    run_id = site.new(path, part_size=10)
    site.work(run_id, path, StopsAfter(4, lambda: cancel(site.database, run_id)))
    assert read_run(site.database, run_id).parts_done >= 2
    (path.parent / "elsewhere").mkdir()
    with pytest.raises(BatchError, match="短"):
        site.work(run_id, lists_file(bodies(10), "elsewhere/lists.ndjson"))


def test_a_failure_is_kept_with_its_reason_and_the_run_goes_on(site: Site, lists_file: MakeFile) -> None:
    path = lists_file(bodies(60))
    run_id = site.new(path, part_size=10)

    def fail() -> None:
        raise RuntimeError("a secret of a list")

    with pytest.raises(BatchError, match="RuntimeError"):
        site.work(run_id, path, StopsAfter(3, fail))
    failed = read_run(site.database, run_id)
    assert failed.state == "failed"
    assert "RuntimeError" in failed.message
    assert "secret" not in failed.message
    assert site.work(run_id, path).lists == 60


@pytest.fixture(scope="session")
def pool() -> Iterator[Executor]:
    with open_executor(2) as (executor, workers):
        assert workers == 2
        yield executor


def test_processes_store_the_same_as_this_process(site: Site, lists_file: MakeFile, pool: Executor) -> None:
    path = lists_file([*bodies(90), BROKEN, *people()])
    here = site.run(path, part_size=7)
    there = site.work(site.new(path, part_size=7), path, pool, workers=2)
    assert exported(site.database, there.id) == exported(site.database, here.id)
    assert stored(site.database, there.id) == stored(site.database, here.id)
    assert there.input_digest == here.input_digest


def stored(database: Database, run_id: int) -> list[tuple[Any, ...]]:
    """All that stands in the results and findings of a run."""
    found: list[tuple[Any, ...]] = []
    with database.read() as connection:
        for one in (RESULT, FINDING):
            columns = [column for column in one.c if column.name != "run_id"]
            rows = connection.execute(
                select(*columns).where(one.c.run_id == run_id).order_by(*one.primary_key)
            )
            found += [tuple(row) for row in rows]
    return found


def people() -> list[Body]:
    """A first stay in October, and a second one of the same person and disease ten days later."""
    one = bodies(1)[0]
    one["setlinfo"] |= {"adm_time": "2026-10-01 09:00:00", "dscg_time": "2026-10-08 10:00:00"}
    one["setlinfo"] |= {"mdtrt_id": "FIRST", "act_ipt_days": 7, "days_rinp_flag_31": "1", "dscg_way": "1"}
    two = copy.deepcopy(one)
    two["setlinfo"] |= {"mdtrt_id": "SECOND", "adm_time": "2026-10-18 09:00:00"}
    two["setlinfo"] |= {"dscg_time": "2026-10-22 10:00:00", "act_ipt_days": 4}
    return [one, two]


def across(database: Database, run_id: int) -> list[tuple[int, str, str]]:
    with database.read() as connection:
        rows = connection.execute(
            select(FINDING.c.number, FINDING.c.rule, FINDING.c.other_key)
            .where(FINDING.c.run_id == run_id, FINDING.c.other_key != "")
            .order_by(FINDING.c.number, FINDING.c.position)
        )
        return [tuple(row) for row in rows]


def test_two_stays_of_one_person_are_found_within_a_run(site: Site, lists_file: MakeFile) -> None:
    run = site.run(lists_file([*bodies(25)[1:], *people()]))
    (found,) = across(site.database, run.id)
    assert found[:2] == (26, "FRD-006")
    assert found[2].endswith("/FIRST")


def test_the_first_stay_may_be_in_an_earlier_month_of_the_store(site: Site, lists_file: MakeFile) -> None:
    first, second = people()
    site.run(lists_file([first], "september.ndjson"), month="2026-09")
    run = site.run(lists_file([second]))
    (found,) = across(site.database, run.id)
    assert found[:2] == (1, "FRD-006")
    assert "september.ndjson" in exported(site.database, run.id).decode()


def test_later_months_and_unfinished_runs_do_not_count(site: Site, lists_file: MakeFile) -> None:
    first, second = people()
    site.run(lists_file([first], "later.ndjson"), month="2026-11")
    path = lists_file([first], "cancelled.ndjson")
    cancel(site.database, site.new(path, month="2026-09"))
    assert across(site.database, site.run(lists_file([second])).id) == []


def test_an_accepted_rule_marks_what_is_found_across_lists_too(site: Site, lists_file: MakeFile) -> None:
    accepted = Acceptance("a1", "FRD-006", "医保办", "已核实", accepted_at=now())
    run = site.run(lists_file(people()), accepted=(accepted,))
    with site.database.read() as connection:
        kept = connection.execute(
            select(FINDING.c.accepted).where(FINDING.c.run_id == run.id, FINDING.c.rule == "FRD-006")
        ).scalars()
        assert ["已核实" in one for one in kept] == [True]


def test_the_months_before_a_month() -> None:
    assert months_before("2026-02", 3) == ["2026-01", "2025-12", "2025-11"]


def test_a_number_that_is_no_run_and_a_month_that_is_none(site: Site) -> None:
    for number in (0, -1, 7, 1 << 70):
        with pytest.raises(NoRunError):
            read_run(site.database, number)
    for month in ("2026-13", "2026/10", "", "2026-10\n"):
        with pytest.raises(BatchError, match="月份"):
            new_run(site.database, month=month, source="a", options=site.options(), by="x")
    assert runs(site.database) == []


def test_an_empty_input_is_no_finished_run(site: Site, lists_file: MakeFile) -> None:
    path = lists_file([b"  ", b""])
    run_id = site.new(path)
    with pytest.raises(BatchError, match="没有读到任何清单：输入里没有内容"):
        site.work(run_id, path)
    assert read_run(site.database, run_id).state == "failed"
    assert exported(site.database, run_id) == b""


def test_results_go_out_as_parquet_with_every_finding(
    site: Site, lists_file: MakeFile, tmp_path: Path
) -> None:
    lists = bodies(40)
    del lists[3]["setlinfo"]["medcasno"]
    run = site.run(lists_file(lists))
    paths = [tmp_path / name for name in ("a.parquet", "b.parquet")]
    for path in paths:
        assert write_parquet(site.database, run.id, path) == 40
    assert paths[0].read_bytes() == paths[1].read_bytes()
    lines = [msgspec.json.decode(line) for line in exported(site.database, run.id).splitlines()]
    assert pl.read_parquet(paths[0]).to_dicts() == lines
    assert sum(len(line["findings"]) for line in lines) > 0


def test_workers_need_no_web_framework() -> None:
    code = (
        "import sys, api.batch.work, api.batch.start, api.batch.driver;"
        "print([name for name in ('fastapi', 'starlette', 'uvicorn') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"
