"""Reads lists from Parquet: a wide table, one column of JSON, or one column for each node of the list."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
from polars.exceptions import PanicException, PolarsError

from models.settlement_list import RECORDS
from models.wire import DecodeError

MAGIC = b"PAR1"
BATCH = 1_000
"""Rows held at a time."""
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


def text_rows(path: Path) -> Iterator[tuple[str, ...]]:
    """The cells of every row as text; empty for null. Raises DecodeError."""
    schema = _schema(path)
    nested = [name for name, kind in schema.items() if kind.is_nested()]
    if nested:
        raise DecodeError(f"列 {'、'.join(nested[:5])} 是嵌套的数据，不能当作表格的单元格；请展开后再导出")
    columns = [pl.col(name).cast(pl.String, strict=False).fill_null("") for name in schema]
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
        yield from lazy.collect_batches(chunk_size=BATCH, maintain_order=True)
    except (PolarsError, PanicException) as error:
        raise DecodeError(_reason(error)) from error


def _reason(error: BaseException) -> str:
    return f"不是完好的 Parquet 文件（{str(error).splitlines()[0][:200] if str(error) else '内容损坏'}）；请重新导出"
