"""Events by the hundred thousand into the ledger: durable and idempotent as one by one, without an object each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from features.kernel import tables
from features.kernel.database import append_new
from features.kernel.events import body_hash
from features.kernel.ledger import EVENT_COLUMNS, Ledger
from features.kernel.records import Receipt

__all__ = ["append_event_rows"]

_CACHE = "PRAGMA cache_size = -131072"
"""128 MB of pages in memory: ids come in no order, so that an insert touches any page of their index."""
_RECEIVED = EVENT_COLUMNS.index("received_at")


def append_event_rows(ledger: Ledger, rows: Sequence[tuple[Any, ...]]) -> list[Receipt]:
    """Append events in one transaction; one receipt a row, in order.

    Args:
        rows: values of `EVENT_COLUMNS` of events that are valid and not dated ahead of their receipt; instants in
            microseconds, `properties` as canonical JSON (keys sorted, no blanks) or None where there are none.

    Raises:
        Unavailable: the ledger did not take them; none of these rows is in it.
    """
    keyed = [
        (row[0], body_hash(row[:_RECEIVED] + row[_RECEIVED + 1 :]), row[1], row[2], row[3], row[4], *row[5:])
        for row in rows
    ]
    with ledger.transaction() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql(_CACHE)
        return append_new(connection, tables.events, keyed)
