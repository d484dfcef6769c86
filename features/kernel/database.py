"""SQL beneath the ledger: a durable engine, and appending that tells what is new from a repeat and from a conflict.

Writers take turns, in SQLite by its nature, in PostgreSQL by an advisory lock: so sequences appear in their order, and
a reader that has seen sequence n will never meet a smaller one later. Learners fold by that order.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from sqlite3 import OperationalError
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, select

from features.kernel.records import Receipt

__all__ = ["append_new", "chunks", "compared", "open_engine", "stored"]

Row = tuple[Any, ...]
"""Values of a keyed table's columns but `seq`, in order: the key first, then the hash of the body."""

_CHUNK = 5_000
_WRITERS = 0x6B6169726F73  # the advisory lock's number, "kairos"


def open_engine(url: str) -> Engine:
    """An engine whose transactions, if begun with the option `kairos_writes`, are durable and take turns."""
    if not url.startswith("sqlite"):
        engine = create_engine(url)
        event.listen(engine, "begin", _begin_elsewhere)
        return engine
    Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": 30})
    event.listen(engine, "connect", _make_durable)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def append_new(connection: Connection, table: Table, rows: Sequence[Row]) -> list[Receipt]:
    """Append the rows whose key is new, within the caller's writing transaction; one receipt a row, in order."""
    if not rows:
        return []
    names = [column.name for column in table.columns if column.name != "seq"]
    holder = "?" if connection.dialect.name == "sqlite" else "%s"
    # A request whose decision was forgotten has that decision's id, though its own key is free again.
    another = any(column.unique for column in table.columns if column.name != names[0])
    statement = (
        f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join([holder] * len(names))}) "
        f"ON CONFLICT {'' if another else f'({names[0]}) '}DO NOTHING"
    )
    # Straight to the driver: SQLAlchemy's handling of parameters costs more than the insert itself.
    done = connection.exec_driver_sql(statement, list(rows))
    if done.rowcount == len(rows):
        return [Receipt(row[0], "accepted") for row in rows]
    return _told_apart(connection, table, rows, done.rowcount)


def chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Ids in portions that fit a query's parameters."""
    for start in range(0, len(ids), _CHUNK):
        yield ids[start : start + _CHUNK]


def stored(connection: Connection, table: Table, ids: Sequence[str]) -> dict[str, tuple[bytes, int]]:
    """Body hash and sequence of the keys that a table holds, by key."""
    key, found = table.c[table.columns.keys()[1]], dict[str, tuple[bytes, int]]()
    for some in chunks(list(ids)):
        query = select(key, table.c.body_hash, table.c.seq).where(key.in_(some))
        found.update({known: (bytes(body), seq) for known, body, seq in connection.execute(query)})
    return found


def compared(row: Row, body: bytes) -> Receipt:
    """The receipt of a row whose key is known with `body`."""
    if row[1] == body:
        return Receipt(row[0], "duplicate")
    return Receipt(row[0], "conflict", "this id was used before with another body")


def _told_apart(connection: Connection, table: Table, rows: Sequence[Row], new: int) -> list[Receipt]:
    """Receipts where some keys were known already, or stand in the batch twice; `new` rows were appended."""
    held = stored(connection, table, [row[0] for row in rows])
    # Writers take turns, so the rows just appended have the greatest sequences of all.
    by_age = sorted(held, key=lambda found: held[found][1], reverse=True)
    receipts, fresh = [], set(by_age[:new])
    for row in rows:
        if row[0] in fresh:
            fresh.remove(row[0])
            receipts.append(Receipt(row[0], "accepted"))
        elif row[0] not in held:
            receipts.append(Receipt(row[0], "conflict", "what it stood for was forgotten"))
        else:
            receipts.append(compared(row, held[row[0]][0]))
    return receipts


def _make_durable(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy begins; the driver must not
    _use_wal(connection)
    for pragma in ("synchronous=FULL", "busy_timeout=30000", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _use_wal(connection: Any) -> None:
    """Of two processes that make a database at once, one is told that it is locked; SQLite does not wait by itself."""
    for wait in (0.01, 0.05, 0.2, 1.0, 5.0):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except OperationalError:
            time.sleep(wait)
        else:
            return
    connection.execute("PRAGMA journal_mode=WAL")


def _begin_sqlite(connection: Connection) -> None:
    # A writer that starts as a reader can deadlock with another: take the lock first.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if _writes(connection) else "BEGIN")


def _begin_elsewhere(connection: Connection) -> None:
    if _writes(connection):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS})")


def _writes(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get("kairos_writes", False))
