"""What a run came to, counted by the store: verdicts, groups, findings by rule, packs."""

from __future__ import annotations

import msgspec
from sqlalchemy import distinct, func, select

from api.batch.notices import Notices, notices_of
from api.batch.runs import FINDING, PACK_USE, RESULT, run_of
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
    """Lists by verdict, lists by what grouping made of them, rules by findings, packs by id. Amounts in yuan."""

    verdicts: dict[str, int]
    grouping: Grouping
    notices: Notices
    cost_yuan: float
    expected_yuan: float
    rules: tuple[RuleTotal, ...]
    packs: tuple[UsedPack, ...]


def totals_of(database: Database, run_id: int) -> Totals:
    """Of a run at work, of what is stored so far. Raises NoRunError."""
    own = RESULT.c.run_id == run_id
    found = func.count()
    lists = func.count(distinct(FINDING.c.number))
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
            select(FINDING.c.rule, func.max(FINDING.c.title), func.min(FINDING.c.severity), found, lists)
            .where(FINDING.c.run_id == run_id, FINDING.c.accepted == "")
            .group_by(FINDING.c.rule)
            .order_by(found.desc(), FINDING.c.rule)
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
            tuple(RuleTotal(*row) for row in rules),
            tuple(UsedPack(*row) for row in packs),
        )
