"""A SQL query to columns, read in parts of bounded size over a connection that may only read.

No message shows a password: URLs are shown without it, and it is cut out of what the database says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, SQLAlchemyError

from features.importing.raw import Progress, Raw
from features.kernel.errors import InvalidInput, InvalidRecipe, NotFound, Unavailable

__all__ = ["read_query", "shown"]

_AT_ONCE = 50_000
"""Rows held as Python objects."""


def read_query(url: str, query: str, progress: Progress | None = None, most: int | None = None) -> Raw:
    """The rows of a query, or about its first `most`.

    Args:
        url: SQLAlchemy URL, `sqlite:///shop.db` or `postgresql+psycopg://user:password@host/database`.
        query: one statement that reads.

    Raises:
        InvalidInput: the URL is none, or its database has no driver here.
        NotFound: there is no such SQLite file.
        Unavailable: the database cannot be reached.
        InvalidRecipe: it cannot answer the query.
    """
    where = _parsed(url)
    engine = _engine(where)
    try:
        with engine.connect() as connection:
            return _read(connection.execution_options(stream_results=True), query, progress, most)
    except OperationalError as error:
        if error.statement is None:  # before any statement: connecting failed
            raise Unavailable(
                f"cannot be reached: {_without_password(error, where)}", field="url", value=shown(where)
            ) from None
        raise _refused(error, query, where) from None
    except SQLAlchemyError as error:
        raise _refused(error, query, where) from None
    finally:
        engine.dispose()


def shown(url: str | URL) -> str:
    """A URL as it may be printed: no password, no parameters."""
    where = _parsed(url) if isinstance(url, str) else url
    return where.set(query={}).render_as_string(hide_password=True)


def _parsed(url: str) -> URL:
    remedy = "write sqlite:///shop.db or postgresql+psycopg://user:password@host/database"
    try:
        where = make_url(url)
    except ArgumentError:
        raise InvalidInput("is no database URL", field="url", remedy=remedy) from None
    if where.get_backend_name() == "postgres":  # what many tools write
        where = where.set(drivername="postgresql+psycopg")
    if where.drivername == "postgresql":
        where = where.set(drivername="postgresql+psycopg")
    if where.get_backend_name() == "sqlite" and not Path(where.database or "").is_file():
        raise NotFound("there is no such SQLite file", field="url", value=where.database, remedy="check the path")
    return where


def _engine(where: URL) -> Engine:
    try:
        engine = create_engine(where)
    except (NoSuchModuleError, ModuleNotFoundError):
        remedy = "Kairos comes with the drivers of SQLite and PostgreSQL"
        raise InvalidInput("has no driver here", field="url", value=where.drivername, remedy=remedy) from None
    if where.get_backend_name() == "sqlite":
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA query_only=ON"))
        return engine
    return engine.execution_options(postgresql_readonly=True) if where.get_backend_name() == "postgresql" else engine


def _read(connection: Connection, query: str, progress: Progress | None, most: int | None) -> Raw:
    result = connection.execute(text(query.replace(":", r"\:")))  # a colon is no parameter of ours
    if not result.returns_rows:
        raise InvalidRecipe("returns no rows", field="query", value=query, remedy="write a SELECT")
    names = _names(list(result.keys()))
    parts: list[pl.DataFrame] = []
    read = 0
    for rows in result.partitions(_AT_ONCE):
        columns = zip(*rows, strict=True)
        parts.append(pl.DataFrame([_column(name, each) for name, each in zip(names, columns, strict=True)]))
        read += len(rows)
        if progress is not None:
            progress(read, max(read, most or 0) + 1)
        if most is not None and read >= most:
            break
    return Raw.of(_joined(parts, names), "sql")


def _names(given: list[str]) -> list[str]:
    return [name if name not in given[:i] else f"{name}_{i + 1}" for i, name in enumerate(given)]


def _column(name: str, values: Sequence[Any]) -> pl.Series:
    """A series of the values' common kind; where they have none (SQLite allows that), of text."""
    kinds = {type(each) for each in values} - {type(None)}
    if not kinds:
        return pl.Series(name, values, dtype=pl.Null)
    if kinds == {bool}:
        return pl.Series(name, values, dtype=pl.Boolean)
    if kinds == {int} and all(each is None or abs(each) < 2**63 for each in values):
        return pl.Series(name, values, dtype=pl.Int64)
    if kinds <= {int, float, Decimal}:
        return pl.Series(name, [None if each is None else float(each) for each in values], dtype=pl.Float64)
    if kinds == {date}:
        return pl.Series(name, values, dtype=pl.Date)
    if kinds == {datetime}:
        aware = {each.tzinfo is not None for each in values if each is not None}
        if aware == {True}:
            instants = [None if each is None else each.astimezone(UTC) for each in values]
            return pl.Series(name, instants, dtype=pl.Datetime("us", "UTC"))
        if aware == {False}:
            return pl.Series(name, values, dtype=pl.Datetime("us"))
    return pl.Series(name, [_text(each) for each in values], dtype=pl.String)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes | memoryview):
        return bytes(value).decode("utf-8", errors="replace")
    return value.isoformat() if isinstance(value, datetime | date) else str(value)


def _joined(parts: list[pl.DataFrame], names: list[str]) -> pl.DataFrame:
    """One frame; a column whose kind differs from part to part becomes numbers if they all are, else text."""
    if not parts:
        return pl.DataFrame(schema=dict.fromkeys(names, pl.String))
    for name in names:
        kinds = {part.schema[name] for part in parts} - {pl.Null()}
        common = kinds.pop() if len(kinds) == 1 else pl.Float64() if _numbers(kinds) else pl.String()
        parts = [part.with_columns(pl.col(name).cast(common)) for part in parts]
    return pl.concat(parts, rechunk=True)


def _numbers(kinds: Iterable[pl.DataType]) -> bool:
    return bool(kinds) and all(each.is_numeric() for each in kinds)


def _refused(error: SQLAlchemyError, query: str, where: URL) -> InvalidRecipe:
    return InvalidRecipe(
        f"cannot be answered: {_without_password(error, where)}", field="query", value=query, remedy="try it by hand"
    )


def _without_password(error: SQLAlchemyError, where: URL) -> str:
    said = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    secrets = [where.password, *(each for key, each in where.query.items() if "pass" in key.lower())]
    for secret in secrets:
        said = said.replace(str(secret), "***") if secret else said
    return said
