"""Writes the results of a run as NDJSON or Parquet: the same run gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from sqlalchemy import Connection, Row, select

from api.batch.runs import FINDING, REJECT, RESULT, STATE_NAMES, BatchError, read_run, run_of
from api.intake.rejects import Reject
from api.services.month.figures import in_yuan
from api.store.database import Database

CHUNK = 2000
"""Lists that are in memory at once."""


class FoundLine(msgspec.Struct, frozen=True):
    """A finding as the export has it. ``other``: the other list that it concerns."""

    rule: str
    severity: str
    path: str
    field: str
    value: str
    message: str
    accepted: bool
    other: str


class ResultLine(msgspec.Struct, frozen=True):
    """A list as the export has it. Amounts in yuan; empty text and None for what is not known."""

    number: int
    list_key: str
    version: int
    list_id: str
    source: str
    line: int
    department: str
    doctor: str
    verdict: str
    score: int
    grade: str
    errors: int
    warnings: int
    drg: str
    adrg: str
    mdc: str
    reason: str
    weight: float | None
    cost_yuan: float | None
    expected_yuan: float | None
    dip: str
    dip_score: float | None
    dip_amount_yuan: float | None
    findings: list[FoundLine]


_YUAN = {"cost": "cost_yuan", "expected": "expected_yuan", "dip_amount": "dip_amount_yuan"}
_COLUMNS = [name for name in ResultLine.__struct_fields__ if name in RESULT.c] + list(_YUAN)
_encode = msgspec.json.Encoder().encode


def result_lines(connection: Connection, run_id: int) -> Iterator[ResultLine]:
    """What a run says of every list, in its order. Raises NoRunError."""
    run_of(connection, run_id)
    for rows in result_rows(connection, run_id, _COLUMNS, CHUNK):
        findings = _findings(connection, run_id, rows[0].number, rows[-1].number)
        for row in rows:
            yield _line(row, findings.get(row.number, []))


def result_rows(
    connection: Connection, run_id: int, names: Iterable[str], size: int
) -> Iterator[Sequence[Row[Any]]]:
    """The columns ``names`` (``number`` among them) of a run's results in its order, ``size`` rows at a time."""
    columns = [RESULT.c[name] for name in names]
    after = 0
    while rows := connection.execute(
        select(*columns)
        .where(RESULT.c.run_id == run_id, RESULT.c.number > after)
        .order_by(RESULT.c.number)
        .limit(size)
    ).all():
        yield rows
        after = rows[-1].number


def _line(row: Row[Any], findings: list[FoundLine]) -> ResultLine:
    values = dict(row._mapping)
    for fen, yuan in _YUAN.items():
        values[yuan] = in_yuan(values.pop(fen))
    return ResultLine(**values, findings=findings)


def _findings(connection: Connection, run_id: int, first: int, last: int) -> dict[int, list[FoundLine]]:
    found: dict[int, list[FoundLine]] = {}
    names = ("number", "rule", "severity", "path", "field", "value", "message", "accepted", "other_key")
    rows = connection.execute(
        select(*(FINDING.c[name] for name in names))
        .where(FINDING.c.run_id == run_id, FINDING.c.number.between(first, last))
        .order_by(FINDING.c.number, FINDING.c.position)
    )
    for row in rows:
        one = FoundLine(
            row.rule,
            row.severity,
            row.path,
            row.field,
            row.value,
            row.message,
            bool(row.accepted),
            row.other_key,
        )
        found.setdefault(row.number, []).append(one)
    return found


def write_ndjson(database: Database, run_id: int, stream: BinaryIO) -> int:
    """One line a list; gives how many. Raises NoRunError."""
    count = 0
    with database.read() as connection:
        for line in result_lines(connection, run_id):
            stream.write(_encode(line) + b"\n")
            count += 1
    return count


def write_parquet(database: Database, run_id: int, path: Path) -> int:
    """One row a list, its findings as a list of records; gives how many. Raises NoRunError.

    Goes through a file of lines beside ``path``, so that memory stays flat.
    """
    import polars as pl  # noqa: PLC0415 -- heavy, and only this needs it

    lines = path.with_name(f"{path.name}.lines")
    try:
        with lines.open("wb") as stream:
            count = write_ndjson(database, run_id, stream)
        schema = _schema(ResultLine)
        frame = pl.scan_ndjson(lines, schema=schema) if count else pl.LazyFrame(schema=schema)
        frame.sink_parquet(path, compression="zstd", maintain_order=True)
    finally:
        lines.unlink(missing_ok=True)
    return count


def _schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    import polars as pl  # noqa: PLC0415

    plain: dict[Any, Any] = {
        int: pl.Int64,
        str: pl.String,
        bool: pl.Boolean,
        float | None: pl.Float64,
        list[FoundLine]: pl.List(pl.Struct(_schema(FoundLine))) if kind is ResultLine else None,
    }
    return {field.name: plain[field.type] for field in msgspec.structs.fields(kind)}


def finished(database: Database, run_id: int) -> None:
    """Raises BatchError for a run whose results are not whole, or that has none; NoRunError for none."""
    run = read_run(database, run_id)
    if run.state != "done":
        reason = f"：{run.message}" if run.message else ""
        raise BatchError(f"批次 {run_id} {STATE_NAMES[run.state]}，没有完整的结果，不能导出{reason}")
    if not run.lists:
        raise BatchError(f"批次 {run_id} 没有读到任何清单，没有可导出的")


def rejected_rows(connection: Connection, run_id: int) -> Iterator[Reject]:
    """Every row of the input that held no list, in its order. Raises NoRunError."""
    run_of(connection, run_id)
    rows = connection.execute(
        select(REJECT.c.source, REJECT.c.line, REJECT.c.column, REJECT.c.reason)
        .where(REJECT.c.run_id == run_id)
        .order_by(REJECT.c.part, REJECT.c.position),
        execution_options={"yield_per": CHUNK},
    )
    with rows:  # whoever asks may want the first ones only
        for row in rows:
            yield Reject(row.source, row.line, row.column, row.reason)
