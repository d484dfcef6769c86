"""Propensity: which of today's customers will buy soon, anything or something of one product category.

`propensity_90d` asks over 90 days, `propensity_books` of orders that name the category "Books".
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import polars as pl

from features.kernel.card import Cutoffs
from training.choices.categories import bought, require
from training.problem import Problem
from training.rows.labels import before, happened, within

__all__ = ["problem"]


def _population(events: pl.DataFrame, cutoff: datetime) -> pl.DataFrame:
    return before(events, cutoff, "order").select("customer_id").unique().sort("customer_id")


def _label(events: pl.DataFrame, population: pl.DataFrame, cutoff: datetime, horizon: timedelta) -> pl.DataFrame:
    return happened(population, within(events, cutoff, horizon, "order"))


def _label_of(
    category: str, events: pl.DataFrame, population: pl.DataFrame, cutoff: datetime, horizon: timedelta
) -> pl.DataFrame:
    orders = bought(within(events, cutoff, horizon, "order"))
    return happened(population, orders.filter(pl.col("category") == category))


def _about(category: str) -> Problem:
    def cautious(events: pl.DataFrame, cutoffs: Cutoffs) -> tuple[str, ...]:
        require(events, category, f"propensity_{category}")
        return ()

    question = f"Will this customer buy something of the category {category.replace('_', ' ')} within {{days}} days?"
    return replace(problem, question=question, label=partial(_label_of, category), caution=cautious)


problem = Problem(
    name="propensity",
    question="Will this customer buy within {days} days?",
    population=_population,
    label=_label,
    horizon=timedelta(days=30),
    features=("orders:*", "profile:*", "engagement:*", "web:*"),
    baseline=("orders:days_since_last",),  # recency alone: what marketers go by today
    needs=("order",),
    variant=_about,
    sensitive=("profile:country",),
)
