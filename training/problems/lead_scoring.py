"""Lead scoring: which of today's leads will become customers.

A lead is a person whose latest lifecycle stage is `lead` and who has never ordered. Converting is a first order or
the stage `customer`, whichever the business records.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from training.problem import Problem
from training.rows.labels import before, happened, latest_property, within

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
    features=(
        "profile:country",
        "profile:source",
        "profile:industry",
        "profile:company_size",
        "profile:tenure_days",
        "profile:email_consent",
        "engagement:email_opens_90d",
        "engagement:email_clicks_90d",
        "engagement:email_open_rate",
        "engagement:days_since_click",
        "web:*",
        "account:company_size",
        "account:orders_365d",
    ),
    # the points system of marketing automation: so much for a visit, a form, a click
    baseline=("web:views_30d", "web:forms_90d", "engagement:email_clicks_90d"),
    needs=("lifecycle", "order"),
    sensitive=("profile:country",),
    # leads are few: what is known of directions keeps the trees from learning noise
    monotone={
        "profile:tenure_days": -1,
        "engagement:email_clicks_90d": 1,
        "web:views_30d": 1,
        "web:views_90d": 1,
        "web:sessions_30d": 1,
        "web:intent_views_30d": 1,
        "web:intent_views_90d": 1,
        "web:forms_90d": 1,
        "web:days_since_visit": -1,
        "web:days_since_intent": -1,
    },
)
