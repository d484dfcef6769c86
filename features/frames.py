"""Events and spines as Polars frames, and the one rule of what was known when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import msgspec
import polars as pl

from features.kernel.clock import from_micros
from features.kernel.events import Event
from features.kernel.ledger import EVENT_COLUMNS

__all__ = ["EVENT_SCHEMA", "cents", "events_frame", "known", "spine_of", "to_events"]

_INSTANT = pl.Datetime("us", "UTC")

EVENT_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    name: _INSTANT if name in ("occurred_at", "received_at") else pl.Float64 if name == "amount" else pl.String
    for name in EVENT_COLUMNS
}
"""Columns of an event frame; `properties` is JSON text or null."""


def events_frame(rows: Iterable[tuple[Any, ...]]) -> pl.DataFrame:
    """Rows as `Ledger.events` gives them, as a frame."""
    wire = {name: pl.Int64 if dtype == _INSTANT else dtype for name, dtype in EVENT_SCHEMA.items()}
    frame = pl.DataFrame(list(rows), schema=wire, orient="row")
    return frame.with_columns(pl.col("occurred_at", "received_at").cast(_INSTANT))


def to_events(frame: pl.DataFrame) -> Iterator[Event]:
    """Rows of an event frame as events, in its order: the inverse of `events_frame`.

    Raises:
        InvalidEvent: a row breaks the contract of `features.kernel.events`.
    """
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    wire = frame.select(*EVENT_SCHEMA).with_columns(pl.col("occurred_at", "received_at").dt.timestamp("us"))
    for row in wire.iter_rows(named=True):
        row["occurred_at"], row["received_at"] = from_micros(row["occurred_at"]), from_micros(row["received_at"])
        row["properties"] = decode(row["properties"]) if row["properties"] else {}
        yield Event(**row)


def spine_of(customers: Iterable[str], as_of: datetime) -> pl.DataFrame:
    """The same instant for each customer."""
    return pl.DataFrame({"customer_id": list(customers)}, schema={"customer_id": pl.String}).with_columns(
        pl.lit(as_of).cast(_INSTANT).alias("as_of")
    )


def known(events: pl.DataFrame, spine: pl.DataFrame) -> pl.DataFrame:
    """Each spine row's events that were known at its instant: the events' columns plus `as_of`."""
    pairs = events.join(spine.select("customer_id", "as_of").unique(), on="customer_id", how="inner")
    return pairs.filter((pl.col("occurred_at") < pl.col("as_of")) & (pl.col("received_at") <= pl.col("as_of")))


def cents(column: str = "amount") -> pl.Expr:
    """An amount in whole cents: integer sums do not depend on the order of their terms."""
    return (pl.col(column) * 100).round().cast(pl.Int64)
