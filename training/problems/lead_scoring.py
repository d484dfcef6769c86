"""Lead scoring: which of today's leads will become customers.

A lead is a person whose latest lifecycle stage is `lead` and who has never ordered. Converting is a first order or
the stage `customer`, whichever the business records.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from training.labels import before, happened, latest_property, within
from training.problem import Problem

__all__ = ["problem"]


def _population(events: pl.DataFrame, cutoff: datetime) -> pl.DataFrame:
    stages = latest_property(before(events, cutoff, "lifecycle"), "stage")
    buyers = before(events, cutoff, "order").select("customer_id").unique()
    return stages.filter(pl.col("stage") == "lead").select("customer_id").join(buyers, on="customer_id", how="anti")


def _label(events: pl.DataFrame, population: pl.DataFrame, cutoff: datetime, horizon: timedelta) -> pl.DataFrame:
    window = within(events, cutoff, horizon, "order", "lifecycle")
    stage = pl.col("properties").str.json_path_match("$.stage")
    return happened(population, window.filter((pl.col("type") == "order") | (stage == "customer")))


problem = Problem(
    name="lead_scoring",
    question="Will this lead become a customer within {days} days?",
    population=_population,
    label=_label,
    horizon=timedelta(days=90),
    features=("profile:*", "engagement:*", "web:*"),
    baseline=("web:views_30d", "engagement:clicks_30d", "profile:tenure_days"),
    needs=("lifecycle", "order"),
)
