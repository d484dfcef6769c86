"""Propensity to buy: which customers will order soon.

Asked of everyone who has ever ordered. `dataclasses.replace(problem, horizon=…)` asks it over another horizon.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from training.labels import before, happened, within
from training.problem import Problem

__all__ = ["problem"]


def _population(events: pl.DataFrame, cutoff: datetime) -> pl.DataFrame:
    return before(events, cutoff, "order").select("customer_id").unique().sort("customer_id")


def _label(events: pl.DataFrame, population: pl.DataFrame, cutoff: datetime, horizon: timedelta) -> pl.DataFrame:
    return happened(population, within(events, cutoff, horizon, "order"))


problem = Problem(
    name="propensity",
    question="Will this customer buy within {days} days?",
    population=_population,
    label=_label,
    horizon=timedelta(days=30),
    features=("orders:*", "profile:*", "engagement:*", "web:*"),
    baseline=("orders:days_since_last",),  # recency alone: what marketers go by today
    needs=("order",),
)
