"""Cursors: how far a follower of the ledger's events has come, kept in the ledger itself.

Writers take turns (`features.kernel.database`), so a reader that has seen sequence n never meets a smaller one later:
"everything up to n" is all a follower has to remember.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, select, text
from sqlalchemy.exc import SQLAlchemyError

from features.kernel import tables
from features.kernel.clock import from_micros, to_micros
from features.kernel.errors import Unavailable
from features.kernel.ledger import EVENT_COLUMNS, Ledger

__all__ = ["FOLLOWER", "Cursor", "events_after", "move", "read", "waiting_since"]

FOLLOWER = "features"
"""The cursor of the follower that keeps online features fresh."""

_MOVE = text(
    "INSERT INTO cursors (name, seq, at) VALUES (:name, :seq, :at) "
    "ON CONFLICT (name) DO UPDATE SET seq = excluded.seq, at = excluded.at WHERE cursors.seq <= excluded.seq"
)


class Cursor(NamedTuple):
    """All events with sequence ≤ `seq` that were known as of `at` have been dealt with."""

    seq: int
    at: datetime


def read(ledger: Ledger, name: str = FOLLOWER) -> Cursor | None:
    """Where a follower stands; None before its first word.

    Raises:
        Unavailable: the ledger cannot be read.
    """
    table = tables.cursors
    with _reading(ledger) as connection:
        row = connection.execute(select(table.c.seq, table.c.at).where(table.c.name == name)).first()
    return None if row is None else Cursor(row.seq, from_micros(row.at))


def move(ledger: Ledger, cursor: Cursor, name: str = FOLLOWER) -> None:
    """Say how far a follower has come, durably. A cursor never goes back: where it stands further, nothing changes.

    Raises:
        Unavailable: the ledger did not take it.
    """
    with ledger.transaction() as connection:
        connection.execute(_MOVE, {"name": name, "seq": cursor.seq, "at": to_micros(cursor.at)})


def events_after(ledger: Ledger, seq: int, limit: int) -> list[tuple[Any, ...]]:
    """The first `limit` events beyond a sequence, in ledger order: rows of the sequence and `EVENT_COLUMNS`.

    Raises:
        Unavailable: the ledger cannot be read.
    """
    table = tables.events
    columns = [table.c.seq, *(table.c[name] for name in EVENT_COLUMNS)]
    query = select(*columns).where(table.c.seq > seq).order_by(table.c.seq).limit(limit)
    with _reading(ledger) as connection:
        return [tuple(row) for row in connection.execute(query)]


def waiting_since(ledger: Ledger, seq: int) -> datetime | None:
    """When the first event beyond a sequence was received; None where there is none.

    Raises:
        Unavailable: the ledger cannot be read.
    """
    table = tables.events
    query = select(table.c.received_at).where(table.c.seq > seq).order_by(table.c.seq).limit(1)
    with _reading(ledger) as connection:
        received = connection.execute(query).scalar()
    return None if received is None else from_micros(received)


@contextmanager
def _reading(ledger: Ledger) -> Iterator[Connection]:
    try:
        with ledger.engine.connect() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise Unavailable(f"the ledger cannot be read: {error}") from error
