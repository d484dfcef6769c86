"""The newest event of each type that was known at an instant: whether what feeds the views still flows."""

from __future__ import annotations

from datetime import datetime

import polars as pl
from sqlalchemy import func, select

from features.kernel import tables
from features.kernel.clock import from_micros, to_micros
from features.kernel.ledger import Ledger

__all__ = ["newest_in", "newest_recorded"]


def newest_in(events: pl.DataFrame, as_of: datetime) -> dict[str, datetime]:
    """By type, when the newest event of a frame was received, of those known as of an instant."""
    then = events.filter((pl.col("received_at") <= as_of) & (pl.col("occurred_at") < as_of))
    return dict(then.group_by("type").agg(pl.col("received_at").max()).iter_rows())


def newest_recorded(ledger: Ledger, as_of: datetime) -> dict[str, datetime]:
    """The same of the ledger's events."""
    columns, instant = tables.events.c, to_micros(as_of)
    query = select(columns.type, func.max(columns.received_at)).where(
        columns.received_at <= instant, columns.occurred_at < instant
    )
    with ledger.engine.connect() as connection:
        return {kind: from_micros(when) for kind, when in connection.execute(query.group_by(columns.type))}
