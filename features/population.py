"""What a view must know of everyone: the mean rate of a channel, the hours of a segment; month by month.

A row as of T reads what was known of everyone at the first instant (UTC) of T's month: the same number whether
features are computed for one customer or for all, in training, at night or a second after an event. By the rule of what
was known when, a month's row is final from its first instant on: whatever comes later is received later.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

__all__ = ["by_month", "months_of", "with_population"]

_INSTANT = pl.Datetime("us", "UTC")
_MONTH = pl.col("as_of").cast(_INSTANT).dt.truncate("1mo")


def months_of(spine: pl.DataFrame) -> pl.Series:
    """The first instants of the months that contain the spine's instants, each once, sorted."""
    return spine.select(_MONTH.alias("month")).to_series().unique().sort()


def with_population(spine: pl.DataFrame, population: pl.DataFrame) -> pl.DataFrame:
    """The spine with its rows' `month`, and the columns of those months."""
    months = spine.with_columns(_MONTH.alias("month"))
    return months.join(population, on="month", how="left", maintain_order="left")


def by_month(
    prepared: pl.DataFrame, months: pl.Series, days: int | None, summarise: Callable[[pl.DataFrame], pl.DataFrame]
) -> pl.DataFrame:
    """One row a month: what `summarise` says of the events known at its first instant.

    Args:
        prepared: `occurred_at`, `received_at` and what `summarise` reads.
        months: first instants of months.
        days: how far back events count; all of them, if None.
        summarise: events with `as_of`, the month's first instant, to one row, also of no events.
    """

    def row(at: pl.Expr) -> pl.DataFrame:
        known = (pl.col("occurred_at") < at) & (pl.col("received_at") <= at)
        if days is not None:
            known &= pl.col("occurred_at") >= at - pl.duration(days=days)
        found = summarise(prepared.filter(known).with_columns(at.alias("as_of")))
        return found.with_columns(at.alias("month"))

    rows = [row(pl.lit(month).cast(_INSTANT)) for month in months.to_list()]
    return pl.concat(rows) if rows else row(pl.lit(None).cast(_INSTANT)).clear()
