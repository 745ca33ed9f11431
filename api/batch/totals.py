"""What a run came to, counted by the store: verdicts, groups, findings by rule, packs."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Row, func, literal_column, select

from api.batch.notices import Notices, notices_of
from api.batch.runs import FINDING, PACK_USE, RESULT, run_of
from api.batch.storing import ACROSS_POSITION
from api.services.month.grouping_rate import Grouping
from api.store.database import Database
from models.report import Severity


class RuleTotal(msgspec.Struct, frozen=True):
    """How often a rule found something, and in how many lists; accepted findings do not count."""

    rule: str
    title: str
    severity: Severity
    findings: int
    lists: int


class UsedPack(msgspec.Struct, frozen=True):
    """A pack that the run used."""

    kind: str
    id: str
    version: str
    digest: str


class Totals(msgspec.Struct, frozen=True):
    """Lists by verdict, lists by what grouping made of them, rules by findings, packs by id. Amounts in yuan.

    ``across``: the rules that look beyond a list (跨清单线索), which no verdict counts; ``rules``: the others.
    """

    verdicts: dict[str, int]
    grouping: Grouping
    notices: Notices
    cost_yuan: float
    expected_yuan: float
    rules: tuple[RuleTotal, ...]
    across: tuple[RuleTotal, ...]
    packs: tuple[UsedPack, ...]


def totals_of(database: Database, run_id: int) -> Totals:
    """Of a run at work, of what is stored so far. Raises NoRunError."""
    own = RESULT.c.run_id == run_id
    # In the order of an index: nothing is sorted, and no finding itself is read but one of each rule.
    open_ones = FINDING.c.run_id == run_id, FINDING.c.accepted == literal_column("''")
    by_rule = (
        select(
            FINDING.c.rule,
            func.min(FINDING.c.severity).label("severity"),
            func.count().label("findings"),
            func.count(FINDING.c.number.distinct()).label("lists"),
            func.max(FINDING.c.position).label("last"),
        )
        .where(*open_ones)
        .group_by(FINDING.c.rule)
        .subquery()
    )
    title = select(FINDING.c.title).where(*open_ones, FINDING.c.rule == by_rule.c.rule).limit(1)
    with database.read() as connection:
        run = run_of(connection, run_id)
        verdicts = connection.execute(
            select(RESULT.c.verdict, func.count())
            .where(own)
            .group_by(RESULT.c.verdict)
            .order_by(RESULT.c.verdict)
        )
        reasons = connection.execute(
            select(RESULT.c.reason, func.count()).where(own).group_by(RESULT.c.reason)
        )
        grouping = Grouping.of(dict(map(tuple, reasons)))
        cost, expected = connection.execute(
            select(func.sum(RESULT.c.cost), func.sum(RESULT.c.expected)).where(own)
        ).one()
        rules = connection.execute(
            select(
                by_rule.c.rule,
                title.scalar_subquery().label("title"),
                by_rule.c.severity,
                by_rule.c.findings,
                by_rule.c.lists,
                by_rule.c.last,
            ).order_by(by_rule.c.findings.desc(), by_rule.c.rule)
        ).all()
        packs = connection.execute(
            select(PACK_USE.c.kind, PACK_USE.c.pack_id, PACK_USE.c.version, PACK_USE.c.digest)
            .where(PACK_USE.c.run_id == run_id)
            .order_by(PACK_USE.c.kind, PACK_USE.c.pack_id, PACK_USE.c.version)
        ).all()
        return Totals(
            {row[0]: row[1] for row in verdicts},
            grouping,
            notices_of(connection, run),
            int(cost or 0) / 100,
            int(expected or 0) / 100,
            tuple(_rule_total(row) for row in rules if row.last < ACROSS_POSITION),
            tuple(_rule_total(row) for row in rules if row.last >= ACROSS_POSITION),
            tuple(UsedPack(*row) for row in packs),
        )


def _rule_total(row: Row[*tuple[Any, ...]]) -> RuleTotal:
    return RuleTotal(row.rule, row.title, row.severity, row.findings, row.lists)
