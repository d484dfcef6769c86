"""Churn: which active customers will stop buying.

Without a contract nobody cancels; a customer who ordered in the last 180 days and places no order in the next 90 has
left. Orders long past say nothing about leaving now, so customers without a recent order are not asked about.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from training.labels import before, happened, within
from training.problem import Problem

__all__ = ["problem"]

ACTIVE = timedelta(days=180)


def _population(events: pl.DataFrame, cutoff: datetime) -> pl.DataFrame:
    return before(events, cutoff, "order", since=ACTIVE).select("customer_id").unique().sort("customer_id")


def _label(events: pl.DataFrame, population: pl.DataFrame, cutoff: datetime, horizon: timedelta) -> pl.DataFrame:
    stayed = happened(population, within(events, cutoff, horizon, "order"))
    return stayed.with_columns((1 - pl.col("label")).alias("label"))


problem = Problem(
    name="churn",
    question="Will this active customer place no order within {days} days?",
    population=_population,
    label=_label,
    horizon=timedelta(days=90),
    features=("orders:*", "profile:*", "engagement:*", "web:*"),
    baseline=("orders:days_since_last",),  # recency alone: what marketers go by today
    needs=("order",),
)
