"""What a customer bought: how often, how much, how recently (recency, frequency, monetary value), at what discount.

Sums of money are gross, in the major unit of the currency the events carry; refunds are counted beside them. They are
added up in whole cents, so that no sum depends on the order of its terms.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from features.frames import cents
from features.view import Expect, Feature, FeatureView
from features.windows import DAY, days_since, latest, number, over_spine, with_first, within

__all__ = ["view"]

_SPANS = (7, 30, 90, 365)
_NEVER, _ONCE = "never ordered", "has not ordered twice yet"
_FEATURES = (
    *(Feature(f"count_{days}d", "orders", f"ordered {{value}} times in {days} days") for days in _SPANS),
    Feature("count_total", "orders", "ordered {value} times so far"),
    *(Feature(f"revenue_{days}d", "currency", f"spent {{value}} in {days} days") for days in _SPANS),
    Feature("revenue_total", "currency", "spent {value} so far"),
    Feature("days_since_last", "days", "last ordered {value} days ago", absent=_NEVER),
    Feature("days_since_first", "days", "first ordered {value} days ago", absent=_NEVER),
    Feature("average_value", "currency", "spends {value} an order", absent=_NEVER),
    Feature("largest_value", "currency", "spent {value} on the largest order", absent=_NEVER),
    Feature("last_value", "currency", "spent {value} on the last order", absent=_NEVER),
    Feature(
        "items_per_order", "items", "orders {value} items at a time", absent="ordered nothing whose items were counted"
    ),
    Feature(
        "discount_share",
        "share",
        "had an average discount of {value} on the orders",
        absent="ordered nothing whose discount is known",
    ),
    Feature("mean_gap_days", "days", "orders every {value} days", absent=_ONCE),
    Feature(
        "gap_spread",
        "ratio",
        "has gaps between orders that vary by {value} of their mean",
        expect=Expect(low=0),
        absent="ordered too few times to have gaps that vary",
    ),
    Feature(
        "gap_ratio",
        "ratio",
        "has waited {value} times the usual gap between orders",
        expect=Expect(low=0),
        absent=_ONCE,
    ),
    Feature("trend_90d", "ratio", "orders {value} times as often as in the 90 days before", expect=Expect(low=0)),
    Feature("refunds_365d", "refunds", "returned something {value} times in 365 days"),
    Feature("refunded_365d", "currency", "got {value} refunded in 365 days"),
)
_ZEROS = (
    *(f"{kind}_{span}" for kind in ("count", "revenue") for span in (*(f"{days}d" for days in _SPANS), "total")),
    "count_before",
    "refunds_365d",
    "refunded_365d",
)
_DERIVED = {
    # Each with one order more: nobody divides by zero, and one order after none is no endless growth.
    "trend_90d": (pl.col("count_90d") + 1) / (pl.col("count_before") + 1),
    "gap_ratio": pl.when(pl.col("mean_gap_days") > 0).then(pl.col("days_since_last") / pl.col("mean_gap_days")),
}
_CENTS, _AGO = pl.col("cents"), pl.col("ago")
_MINUTE = 60_000_000
"""Microseconds: gaps are squared in whole minutes, which no order of summation can change."""


def aggregate(events: pl.DataFrame, spine: pl.DataFrame) -> pl.DataFrame:
    """See `features.view.FeatureView`."""
    return over_spine(_FEATURES, _prepare(events), with_first(events, spine), _summarise, _ZEROS, _DERIVED)


def _prepare(events: pl.DataFrame) -> pl.DataFrame:
    wanted = events.filter(pl.col("type").is_in(["order", "refund"]))
    return wanted.select(
        "customer_id",
        "occurred_at",
        "received_at",
        "event_id",
        "type",
        cents().alias("cents"),
        # Basis points, whole: a mean of floats would depend on the order of its terms.
        (number("discount").clip(0, 1) * 10_000).round().cast(pl.Int64).alias("discount"),
        number("items").round().cast(pl.Int64, strict=False).alias("items"),
    )


def _summarise(pairs: pl.DataFrame) -> pl.DataFrame:
    orders = latest(pairs.filter(pl.col("type") == "order"))
    gap = (_AGO.shift() - _AGO) // _MINUTE
    orders = orders.with_columns(gap=pl.when(pl.col("row") == pl.col("row").shift()).then(gap))
    bought = orders.group_by("row").agg(
        *(within(days).sum().alias(f"count_{days}d") for days in _SPANS),
        pl.len().alias("count_total"),
        (within(180) & ~within(90)).sum().alias("count_before"),
        *(_money(pl.when(within(days)).then(_CENTS).sum()).alias(f"revenue_{days}d") for days in _SPANS),
        _money(_CENTS.sum()).alias("revenue_total"),
        days_since(pl.lit(True)).alias("days_since_last"),
        (_AGO.max() / DAY).alias("days_since_first"),
        _money(_ratio(_CENTS.sum(), _CENTS.count())).alias("average_value"),
        _money(_CENTS.max()).alias("largest_value"),
        _money(_CENTS.last()).alias("last_value"),
        _ratio(pl.col("items").sum(), pl.col("items").count()).alias("items_per_order"),
        (_ratio(pl.col("discount").sum(), pl.col("discount").count()) / 10_000).alias("discount_share"),
        (_ratio(_AGO.max() - _AGO.min(), pl.len().cast(pl.Int64) - 1) / DAY).alias("mean_gap_days"),
        _spread(pl.col("gap").cast(pl.Float64)).alias("gap_spread"),
    )
    returned = pairs.filter((pl.col("type") == "refund") & within(365)).group_by("row")
    refunds = returned.agg(pl.len().alias("refunds_365d"), _money(_CENTS.sum()).alias("refunded_365d"))
    return bought.join(refunds, on="row", how="full", coalesce=True)


def _money(in_cents: pl.Expr) -> pl.Expr:
    return in_cents / 100


def _ratio(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    """Null in place of a division by zero: a mean over nothing is not known."""
    return pl.when(whole > 0).then(part / whole)


def _spread(gaps: pl.Expr) -> pl.Expr:
    """The coefficient of variation, from sums of whole numbers; null for fewer than two gaps, or none but zero."""
    n, total, squares = gaps.count(), gaps.sum(), (gaps * gaps).sum()
    return pl.when((n > 1) & (total > 0)).then((n * squares - total * total).sqrt() / total)


view = FeatureView("orders", _FEATURES, aggregate, reads=("order", "refund"), fresh=timedelta(days=90))
