"""What people should know of a run beside its results: files that were not read, lists of another month."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta

import msgspec
from sqlalchemy import Connection, func, select
from sqlmodel import col

from api.batch.runs import REJECT, RESULT, RunView
from api.store.lists import import_origin
from api.store.tables import ListVersion

MOST_FILES = 5
"""Files that are named; the others are only counted."""
LONGEST_NAME, LONGEST_REASON = 80, 120


class Notices(msgspec.Struct, frozen=True):
    """Counts of lists, and the same as sentences (Chinese), with what is to be known of how the input was read.

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
    texts = [*_unread_files(connection, run), *run.notes.splitlines()]
    if renewed:
        texts.append(f"{renewed} 份与库里已有的就诊相同而内容不同，存为新版本（原版本保留）")
    if outside:
        texts.append(
            f"{outside} 份的出院日期不在 {run.month}（最早 {earliest:%Y-%m-%d}，最晚 {latest:%Y-%m-%d}）；"
            "请核对月份是否写对"
        )
    return Notices(renewed, outside, tuple(texts))


def _unread_files(connection: Connection, run: RunView) -> Iterator[str]:
    """The files of a package or folder that could not be read at all, by name and with the reason."""
    if not run.rejected_files:
        return
    rows = connection.execute(
        select(REJECT.c.source, REJECT.c.reason)
        .where(REJECT.c.run_id == run.id, REJECT.c.line == 0)
        .order_by(REJECT.c.part, REJECT.c.position)
        .limit(MOST_FILES)
    )
    named = [f"{row.source[-LONGEST_NAME:]}（{row.reason[:LONGEST_REASON]}）" for row in rows]
    more = "等" if run.rejected_files > len(named) else ""
    yield f"{run.rejected_files} 个文件无法读取：{'、'.join(named)}{more}"


def _days(month: str) -> tuple[datetime, datetime]:
    """The first moment of a month, and that of the month after."""
    first = date.fromisoformat(f"{month}-01")
    after = (first + timedelta(days=31)).replace(day=1)
    return datetime.combine(first, datetime.min.time()), datetime.combine(after, datetime.min.time())
