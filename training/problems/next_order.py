"""Next order: in how many days a customer will order again.

Asked of everyone who has ever ordered. Many never order again, so a mean of days has no end; what can be asked, and is
fully observed once the window has passed, is the restricted mean, of days or the horizon, whichever is less (Irwin,
1949; Royston & Parmar, "Restricted mean survival time", BMC Medical Research Methodology, 2013). An answer near the
horizon means: probably not within it.

It is judged by concordance, whether of two customers the one who orders sooner was told to. Not by mean absolute error:
the answer is a mean, and that error is least for the median (Gneiting, "Making and evaluating point forecasts", 2011).
"""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from training.amounts import buy_till_you_die
from training.problem import Problem
from training.rows.labels import before, within

__all__ = ["problem"]

_DAY = timedelta(days=1)


def _population(events: pl.DataFrame, cutoff: datetime) -> pl.DataFrame:
    return before(events, cutoff, "order").select("customer_id").unique().sort("customer_id")


def _label(events: pl.DataFrame, population: pl.DataFrame, cutoff: datetime, horizon: timedelta) -> pl.DataFrame:
    first = within(events, cutoff, horizon, "order").group_by("customer_id").agg(pl.col("occurred_at").min())
    found = population.select("customer_id").join(first, on="customer_id", how="left", maintain_order="left")
    days = (pl.col("occurred_at") - cutoff).dt.total_microseconds() / (_DAY / timedelta(microseconds=1))
    return found.select("customer_id", days.fill_null(horizon / _DAY).alias("label"))


problem = Problem(
    name="next_order",
    question="In how many days, {days} at most, will this customer order again?",
    population=_population,
    label=_label,
    horizon=timedelta(days=90),
    features=("orders:*", "profile:*", "engagement:*", "web:*"),
    baseline=buy_till_you_die.RFM,
    simple=buy_till_you_die.wait,
    needs=("order",),
    kind="regression",
    unit="days",
    metric="concordance",
)
