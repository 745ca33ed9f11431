"""Writes many rows at once, the fast way of each database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Table, insert, inspect
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlmodel import SQLModel

Row = Mapping[str, Any]


class _Column:
    """How one column is filled: the row's key, what stands when it is missing, how the driver wants it."""

    def __init__(self, key: str, column: Any, field: Any, dialect: Dialect) -> None:
        self.key, self.name = key, column.name
        self.default = None if field.is_required() else field.default
        convert: Callable[[Any], Any] | None = column.type.dialect_impl(dialect).bind_processor(dialect)
        self.convert = convert


def insert_rows(connection: Connection, model: type[SQLModel], rows: Sequence[Row]) -> int:
    """Write ``rows`` (attribute names of ``model``; a missing one takes its default) and give their number.

    One prepared statement with SQLite, a COPY with PostgreSQL. The values pass the types of the columns, so
    that times become UTC and text what a database can hold. Raises KeyError for a key that is no attribute.
    """
    if not rows:
        return 0
    columns = _columns(model, connection.dialect)
    if unknown := set().union(*rows) - {column.key for column in columns}:
        raise KeyError(f"{model.__name__} has no {', '.join(sorted(unknown))}")
    filled = []
    for column in columns:
        key, default, convert = column.key, column.default, column.convert
        values = [one.get(key, default) for one in rows]
        filled.append(values if convert is None else list(map(convert, values)))
    table: Table = model.__table__  # type: ignore[attr-defined]
    if connection.dialect.name == "postgresql":
        names = ", ".join(connection.dialect.identifier_preparer.quote(column.name) for column in columns)
        statement = f"COPY {table.name} ({names}) FROM STDIN"
        cursor = connection.connection.cursor()
        driver = connection.dialect.loaded_dbapi
        try:
            with cursor.copy(statement) as copy:
                for row in zip(*filled, strict=True):
                    copy.write_row(row)
        except driver.Error as error:
            # The driver's error goes on as SQLAlchemy's, like that of every other statement.
            raise DBAPIError.instance(statement, None, error, driver.Error, hide_parameters=True) from None
        finally:
            cursor.close()
    else:
        connection.exec_driver_sql(
            _statement(table, columns, connection.dialect), list(zip(*filled, strict=True))
        )
    return len(rows)


@lru_cache(maxsize=64)
def _columns(model: type[SQLModel], dialect: Dialect) -> tuple[_Column, ...]:
    attributes = inspect(model).column_attrs
    fields = model.model_fields
    return tuple(
        _Column(one.key, one.columns[0], fields[one.key], dialect)
        for one in attributes
        # A number that the database gives out is left to it.
        if not (one.columns[0].primary_key and not fields[one.key].is_required())
    )


@lru_cache(maxsize=64)
def _statement(table: Table, columns: tuple[_Column, ...], dialect: Dialect) -> str:
    return str(insert(table).compile(dialect=dialect, column_keys=[one.name for one in columns]))
