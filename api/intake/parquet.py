"""Reads lists from Parquet: a wide table, one column of JSON, or one column for each node of the list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
from polars.exceptions import PanicException, PolarsError

from models.settlement_list import RECORDS
from models.wire import DecodeError

BATCH_CELLS = 500_000
MIN_BATCH, MAX_BATCH = 100, 1_000
"""Cells and rows held at a time. Slices are read one by one: streaming the file holds a whole row group, which
is gigabytes for a wide table."""
JSON_COLUMNS = ("list", "json", "payload", "content", "message", "清单")
"""Names of a column that holds one list in wire form."""


def column_names(path: Path) -> list[str]:
    """The columns of the file. Raises DecodeError."""
    try:
        return pl.scan_parquet(path, glob=False).collect_schema().names()
    except (PolarsError, PanicException, OSError) as error:
        raise DecodeError(_reason(error)) from error


def json_column(names: list[str]) -> str:
    """The column that holds lists as JSON, if the file has no other way to say one."""
    return next((name for name in names if name.casefold() in JSON_COLUMNS), "")


def has_nodes(names: list[str]) -> bool:
    """Whether the columns are the nodes of the list."""
    return "setlinfo" in names


def text_rows(path: Path, names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The cells of ``names`` of every row as text; empty for null. Raises DecodeError."""
    schema = _schema(path)
    nested = [name for name in names if schema[name].is_nested()]
    if nested:
        raise DecodeError(f"列 {'、'.join(nested[:5])} 是嵌套的数据，不能当作表格的单元格；请展开后再导出")
    columns = [pl.col(name).cast(pl.String, strict=False).fill_null("") for name in names]
    for frame in _batches(pl.scan_parquet(path, glob=False).select(columns)):
        yield from frame.iter_rows()


def json_rows(path: Path, column: str) -> Iterator[bytes]:
    """The content of ``column`` of every row. Raises DecodeError."""
    kind = _schema(path)[column]
    if kind not in (pl.String, pl.Binary):
        raise DecodeError(f"列 {column} 应为 JSON 文本，现在的类型是 {kind}")
    for frame in _batches(pl.scan_parquet(path, glob=False).select(column)):
        for (value,) in frame.iter_rows():
            yield value if isinstance(value, bytes) else (value or "").encode()


def node_rows(path: Path) -> Iterator[bytes]:
    """Every row whose columns are nodes, as the JSON of a list. Raises DecodeError."""
    names = [name for name in _schema(path) if name in RECORDS]
    for frame in _batches(pl.scan_parquet(path, glob=False).select(names)):
        for row in frame.iter_rows(named=True):
            yield msgspec.json.encode(
                {name: _plain(value) for name, value in row.items() if value is not None}
            )


def _plain(value: Any) -> Any:
    """Nested values without nulls, dates as the list writes them."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_plain(one) for one in value if one is not None]
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return value.isoformat() if isinstance(value, date) else value


def _schema(path: Path) -> pl.Schema:
    try:
        return pl.scan_parquet(path, glob=False).collect_schema()
    except (PolarsError, PanicException, OSError) as error:
        raise DecodeError(_reason(error)) from error


def _batches(lazy: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    try:
        width = len(lazy.collect_schema())
        size = max(MIN_BATCH, min(MAX_BATCH, BATCH_CELLS // max(1, width)))
        rows = lazy.select(pl.len()).collect().item()
        for start in range(0, rows, size):
            yield lazy.slice(start, size).collect()
    except (PolarsError, PanicException) as error:
        raise DecodeError(_reason(error)) from error


def _reason(error: BaseException) -> str:
    return f"不是完好的 Parquet 文件（{str(error).splitlines()[0][:200] if str(error) else '内容损坏'}）；请重新导出"
