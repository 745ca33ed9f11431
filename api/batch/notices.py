"""What people should know of a run beside its results: lists kept as new versions, lists of another month."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import msgspec
from sqlalchemy import Connection, func, select
from sqlmodel import col

from api.batch.runs import RESULT, RunView
from api.store.lists import import_origin
from api.store.tables import ListVersion


class Notices(msgspec.Struct, frozen=True):
    """Counts of lists, and the same as sentences (Chinese).

    ``renewed``: the store had the stay with other content, and the list became a further version;
    ``outside_month``: discharged in another month than the run's.
    """

    renewed: int
    outside_month: int
    texts: tuple[str, ...]


def notices_of(connection: Connection, run: RunView) -> Notices:
    """Of a run at work, of what is stored so far."""
    joined = (col(ListVersion.list_key) == RESULT.c.list_key) & (col(ListVersion.version) == RESULT.c.version)
    own = RESULT.c.run_id == run.id
    renewed = connection.execute(
        select(func.count())
        .select_from(RESULT.join(ListVersion, joined))
        .where(own, RESULT.c.version > 1, col(ListVersion.origin) == import_origin(run.id))
    ).scalar_one()
    first, behind = _days(run.month)
    day = col(ListVersion.discharged)
    outside, earliest, latest = connection.execute(
        select(func.count(), func.min(day), func.max(day))
        .select_from(RESULT.join(ListVersion, joined))
        .where(own, (day < first) | (day >= behind))
    ).one()
    texts = []
    if renewed:
        texts.append(f"{renewed} 份与库里已有的就诊相同而内容不同，存为新版本（原版本保留）")
    if outside:
        texts.append(
            f"{outside} 份的出院日期不在 {run.month}（最早 {earliest:%Y-%m-%d}，最晚 {latest:%Y-%m-%d}）；"
            "请核对月份是否写对"
        )
    return Notices(renewed, outside, tuple(texts))


def _days(month: str) -> tuple[datetime, datetime]:
    """The first moment of a month, and that of the month after."""
    first = date.fromisoformat(f"{month}-01")
    after = (first + timedelta(days=31)).replace(day=1)
    return datetime.combine(first, datetime.min.time()), datetime.combine(after, datetime.min.time())
