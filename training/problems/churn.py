"""Churn: which customers will fall silent, by the measure of their own rhythm.

Without a contract nobody cancels: who buys weekly and has not come for two months has left, who buys twice a year has
not. So each person has a horizon of their own: as long as nine in ten of their gaps between orders would be, if they
keep their rhythm. Where orders come at random, gaps are exponential, and the ninth decile of those is 2.3 times their
mean (Ehrenberg, "The pattern of consumer purchases", 1959). A mean of few gaps says little, so it is shrunk towards
everyone's, as gamma-distributed rates have it (Schmittlein, Morrison & Colombo, "Counting your customers", 1987).

Not asked about is who has been silent for as long already: that is known, and needs no model.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from training.problem import Problem
from training.rows.labels import before, within

__all__ = ["problem"]

PATIENCE = 2.3
"""Own horizon in mean gaps: ln 10, the ninth decile of an exponential gap."""
POOLED_GAPS = 2.0
"""Weight of everyone's mean gap in a person's own, in gaps."""
LEAST_DAYS = 14
"""The shortest horizon of a person's own; the longest is the problem's."""
SILENT_DAYS = 180
"""Who has not ordered for so long is not asked about, however slow their rhythm."""
_NO_RHYTHM = 365.0
"""Mean gap in days where nobody has ordered on two days."""


def _population(events: pl.DataFrame, cutoff: datetime) -> pl.DataFrame:
    """Customers not yet overdue, with `patience_days`: how long a silence is usual for them."""
    orders = before(events, cutoff, "order").select("customer_id", "occurred_at")
    when = pl.col("occurred_at")
    seen = orders.group_by("customer_id").agg(
        gaps=when.dt.date().n_unique().cast(pl.Int64) - 1,
        span=(when.max() - when.min()).dt.total_microseconds(),  # whole numbers: no sum depends on its order
        silent=(cutoff - when.max()).dt.total_microseconds() / _DAY,
    )
    everyone = seen.filter(pl.col("gaps") > 0).select(pl.col("span").sum() / pl.col("gaps").sum()).item()
    pooled = POOLED_GAPS * (_NO_RHYTHM if everyone is None else everyone / _DAY)
    gap = (pl.col("span") / _DAY + pooled) / (pl.col("gaps") + POOLED_GAPS)
    known = seen.with_columns(patience_days=PATIENCE * gap)
    usual = pl.col("silent") < pl.col("patience_days").clip(LEAST_DAYS, SILENT_DAYS)
    return known.filter(usual).select("customer_id", "patience_days").sort("customer_id")


def _label(events: pl.DataFrame, population: pl.DataFrame, cutoff: datetime, horizon: timedelta) -> pl.DataFrame:
    """No order within the person's own horizon: 14 days to `horizon`, in whole days."""
    own = pl.col("patience_days").ceil().clip(min(LEAST_DAYS, horizon.days), horizon.days)
    orders = within(events, cutoff, horizon, "order").group_by("customer_id").agg(first=pl.col("occurred_at").min())
    waited = (pl.col("first") - cutoff).dt.total_microseconds() / _DAY
    stayed = (waited < own).fill_null(False)
    rows = population.join(orders, on="customer_id", how="left", maintain_order="left")
    return rows.select("customer_id", (~stayed).cast(pl.Int8).alias("label"))


_DAY = timedelta(days=1) // timedelta(microseconds=1)

problem = Problem(
    name="churn",
    question="Will this customer place no order for as long as nine in ten of their own gaps, {days} days at most?",
    population=_population,
    label=_label,
    horizon=timedelta(days=90),
    features=("orders:*", "profile:*", "engagement:*", "web:*"),
    baseline=("orders:days_since_last", "orders:gap_ratio"),  # recency, and recency by the person's own rhythm
    needs=("order",),
    sensitive=("profile:country",),
)
