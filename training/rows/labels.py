"""What problems are made of: who was known as what before a cutoff, and what happened in the window after it.

`before` is the only way a population reads events, `within` the only way a label does: that a label cannot see the
past nor a population the future holds because of these two filters.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

__all__ = ["before", "happened", "latest_property", "within"]


def before(events: pl.DataFrame, cutoff: datetime, *types: str, since: timedelta | None = None) -> pl.DataFrame:
    """Events of the given types known at the cutoff: occurred before it, received by it, no older than `since`."""
    known = (pl.col("occurred_at") < cutoff) & (pl.col("received_at") <= cutoff) & pl.col("type").is_in(types)
    if since is not None:
        known &= pl.col("occurred_at") >= cutoff - since
    return events.filter(known)


def within(events: pl.DataFrame, cutoff: datetime, horizon: timedelta, *types: str) -> pl.DataFrame:
    """Events of the given types in [cutoff, cutoff + horizon), whenever they were received."""
    when = pl.col("occurred_at")
    return events.filter((when >= cutoff) & (when < cutoff + horizon) & pl.col("type").is_in(types))


def latest_property(known: pl.DataFrame, name: str) -> pl.DataFrame:
    """Each customer's latest value of one property among known events: `customer_id`, `<name>` (text, never null).

    Of events at one instant the one received last counts, then the one of the greater id.
    """
    value = pl.col("properties").str.json_path_match(f"$.{name}").alias(name)
    order = ("occurred_at", "received_at", "event_id")
    found = known.select("customer_id", *order, value).drop_nulls(name).sort(order)
    return found.group_by("customer_id", maintain_order=True).agg(pl.col(name).last()).sort("customer_id")


def happened(population: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """`customer_id`, `label`: 1 for those of the population who have any of these events."""
    doers = events.select("customer_id").unique()
    return population.select("customer_id").with_columns(
        pl.col("customer_id").is_in(doers.get_column("customer_id").implode()).cast(pl.Int8).alias("label")
    )
