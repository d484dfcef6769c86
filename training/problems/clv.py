"""Customer lifetime value: what each customer will bring in the next year.

Asked of everyone who has ever ordered. Revenue is what is ordered within the horizon less what is refunded within it,
and never below 0: a refund of an order from before the window is no income, but no negative customer either. Sums are
in whole cents, in the currency that the events carry.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from features.frames import cents
from features.kernel.card import Cutoffs
from training.amounts import buy_till_you_die
from training.amounts.currency import MONEY, currencies
from training.problem import Problem
from training.rows.labels import before, within

__all__ = ["problem"]


def _population(events: pl.DataFrame, cutoff: datetime) -> pl.DataFrame:
    return before(events, cutoff, "order").select("customer_id").unique().sort("customer_id")


def _label(events: pl.DataFrame, population: pl.DataFrame, cutoff: datetime, horizon: timedelta) -> pl.DataFrame:
    signed = pl.when(pl.col("type") == "order").then(cents()).otherwise(-cents())
    window = within(events, cutoff, horizon, "order", "refund").group_by("customer_id").agg(signed.sum().alias("net"))
    found = population.select("customer_id").join(window, on="customer_id", how="left", maintain_order="left")
    return found.select("customer_id", (pl.col("net").fill_null(0).clip(0) / 100).alias("label"))


def _caution(events: pl.DataFrame, cutoffs: Cutoffs) -> tuple[str, ...]:
    paid = events.filter(pl.col("type").is_in(["order", "refund"])).get_column("amount")
    found, unpriced, said = currencies(events), paid.null_count(), []
    if len(found) > 1:
        said.append(f"Amounts in {', '.join(found)} are added up as they are, without an exchange rate.")
    if unpriced:
        said.append(f"{unpriced} of {len(paid)} orders and refunds carry no amount and count as 0.")
    return tuple(said)


problem = Problem(
    name="clv",
    question="How much will this customer spend, less refunds, within {days} days?",
    population=_population,
    label=_label,
    horizon=timedelta(days=365),
    shorter=(timedelta(days=180), timedelta(days=90)),
    features=("orders:*", "profile:*", "engagement:*", "web:*"),
    baseline=buy_till_you_die.RFM,
    simple=buy_till_you_die.revenue,
    needs=("order",),
    kind="regression",
    unit=MONEY,
    caution=_caution,
    # what is known of directions keeps the trees from learning a few large customers by heart
    monotone={
        "orders:count_90d": 1,
        "orders:count_365d": 1,
        "orders:count_total": 1,
        "orders:revenue_90d": 1,
        "orders:revenue_365d": 1,
        "orders:revenue_total": 1,
        "orders:average_value": 1,
        "orders:largest_value": 1,
        "orders:days_since_last": -1,
        "orders:gap_ratio": -1,
    },
)
