"""What a run came to is counted right, and in the order of an index however many findings it has."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event, select

from api.batch.runs import FINDING
from api.batch.storing import ACROSS_POSITION
from api.batch.totals import Totals, totals_of
from tests.api.batch.conftest import Site, bodies
from tests.api.batch.test_driver import MakeFile


def test_findings_and_lists_are_counted_by_rule(site: Site, lists_file: MakeFile) -> None:
    lists = bodies(12)
    for body in lists[:8]:
        body["setlinfo"]["psn_name"] = ""
    for body in lists[2:6]:
        for row in body["diseinfo"][:2]:
            row["diag_code"] = "没有这个编码"
    run = site.run(lists_file(lists))
    totals = totals_of(site.database, run.id)
    with site.database.read() as connection:
        rows = connection.execute(
            select(FINDING).where(FINDING.c.run_id == run.id, FINDING.c.accepted == "")
        ).all()
    own = [row for row in rows if row.position < ACROSS_POSITION]
    assert {one.rule: (one.title, one.severity, one.findings, one.lists) for one in totals.rules} == {
        rule: (
            next(row.title for row in own if row.rule == rule),
            next(row.severity for row in own if row.rule == rule),
            sum(row.rule == rule for row in own),
            len({row.number for row in own if row.rule == rule}),
        )
        for rule in {row.rule for row in own}
    }
    assert any(one.findings > one.lists for one in totals.rules)
    counts = [one.findings for one in totals.rules]
    assert counts == sorted(counts, reverse=True)


def test_findings_are_counted_in_the_order_of_their_index(site: Site, lists_file: MakeFile) -> None:
    """A million of them are not sorted."""
    run = site.run(lists_file(bodies(3)))
    asked: list[tuple[str, Any]] = []

    def note(*given: Any) -> None:
        asked.append(given[2:4])

    event.listen(site.database.engine, "before_cursor_execute", note)
    found: Totals = totals_of(site.database, run.id)
    event.remove(site.database.engine, "before_cursor_execute", note)
    assert sum(found.verdicts.values()) == 3
    (counting,) = [one for one in asked if "FROM finding" in one[0]]
    with site.database.begin() as connection:
        if site.database.is_sqlite:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {counting[0]}", counting[1])
            steps = [row[3] for row in plan]
            assert sum("finding USING COVERING INDEX ix_finding_rule" in step for step in steps) == 1, steps
        else:
            # The tables are too small for PostgreSQL to choose an index by itself.
            for other in ("seqscan", "bitmapscan", "hashagg"):
                connection.exec_driver_sql(f"SET LOCAL enable_{other} = off")
            plan = connection.exec_driver_sql(f"EXPLAIN {counting[0]}", counting[1])
            steps = [row[0] for row in plan]
            assert any("Index Only Scan using ix_finding_rule" in step for step in steps), steps
            assert sum("Aggregate" in step for step in steps) == 1, steps
        assert not any("TEMP B-TREE FOR GROUP BY" in step for step in steps), steps
