"""What a customer bought: how often, how much, how recently (recency, frequency, monetary value), at what discount.

Sums of money are gross, in the major unit of the currency the events carry; refunds are counted beside them. They are
added up in whole cents, so that no sum depends on the order of its terms.
"""

from __future__ import annotations

import polars as pl

from features.frames import cents
from features.view import Feature, FeatureView
from features.windows import DAY, days_since, number, over_spine, within

__all__ = ["view"]

_FEATURES = (
    *(Feature(f"count_{days}d", "orders", f"ordered {{value}} times in {days} days") for days in (30, 90, 365)),
    Feature("count_total", "orders", "ordered {value} times so far"),
    *(Feature(f"revenue_{days}d", "currency", f"spent {{value}} in {days} days") for days in (30, 90, 365)),
    Feature("revenue_total", "currency", "spent {value} so far"),
    Feature("days_since_last", "days", "last ordered {value} days ago"),
    Feature("days_since_first", "days", "first ordered {value} days ago"),
    Feature("average_value", "currency", "spends {value} an order"),
    Feature("largest_value", "currency", "spent {value} on the largest order"),
    Feature("last_value", "currency", "spent {value} on the last order"),
    Feature("items_per_order", "items", "orders {value} items at a time"),
    Feature("discount_share", "share", "had an average discount of {value} on the orders"),
    Feature("mean_gap_days", "days", "orders every {value} days"),
    Feature("gap_ratio", "ratio", "has waited {value} times the usual gap between orders"),
    Feature("refunds_365d", "refunds", "returned something {value} times in 365 days"),
    Feature("refunded_365d", "currency", "got {value} refunded in 365 days"),
)
_ZEROS = (*(f"{kind}_{span}" for kind in ("count", "revenue") for span in ("30d", "90d", "365d", "total")),)
_DEFAULTS = dict.fromkeys((*_ZEROS, "refunds_365d", "refunded_365d"), 0.0)

_ORDER, _REFUND = pl.col("type") == "order", pl.col("type") == "refund"
_CENTS, _WHEN = pl.col("cents"), pl.col("occurred_at")


def aggregate(events: pl.DataFrame, spine: pl.DataFrame) -> pl.DataFrame:
    """See `features.view.FeatureView`."""
    return over_spine(_FEATURES, events, _prepare(events), spine, _summarise, _DEFAULTS)


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
    spans = {"30d": within(30), "90d": within(90), "365d": within(365), "total": pl.lit(True)}
    orders = pairs.filter(_ORDER)
    bought = orders.group_by("customer_id", "as_of").agg(
        *(within_span.sum().alias(f"count_{span}") for span, within_span in spans.items() if span != "total"),
        pl.len().alias("count_total"),
        *(_money(_CENTS.filter(within_span).sum()).alias(f"revenue_{span}") for span, within_span in spans.items()),
        days_since(pl.lit(True)).alias("days_since_last"),
        ((pl.col("as_of").first() - _WHEN.min()).dt.total_microseconds() / DAY).alias("days_since_first"),
        _money(_CENTS.sum() / _CENTS.count()).alias("average_value"),
        _money(_CENTS.max()).alias("largest_value"),
        _money(_CENTS.sort_by("occurred_at", "received_at", "event_id").last()).alias("last_value"),
        (pl.col("items").sum() / pl.col("items").count()).alias("items_per_order"),
        (pl.col("discount").sum() / pl.col("discount").count() / 10_000).alias("discount_share"),
        ((_WHEN.max() - _WHEN.min()).dt.total_microseconds() / (pl.len() - 1).cast(pl.Int64) / DAY).alias("gap"),
    )
    bought = bought.with_columns(_finite("gap").alias("mean_gap_days"), _finite("items_per_order"))
    bought = bought.with_columns(
        _finite("average_value"),
        _finite("discount_share"),
        pl.when(pl.col("mean_gap_days") > 0)
        .then(pl.col("days_since_last") / pl.col("mean_gap_days"))
        .alias("gap_ratio"),
    )
    returned = (
        pairs.filter(_REFUND & within(365))
        .group_by("customer_id", "as_of")
        .agg(pl.len().alias("refunds_365d"), _money(_CENTS.sum()).alias("refunded_365d"))
    )
    return bought.drop("gap").join(returned, on=["customer_id", "as_of"], how="full", coalesce=True)


def _money(in_cents: pl.Expr) -> pl.Expr:
    return in_cents / 100


def _finite(name: str) -> pl.Expr:
    """Null in place of 0/0: a mean over nothing is not known."""
    return pl.when(pl.col(name).is_finite()).then(pl.col(name)).alias(name)


view = FeatureView("orders", _FEATURES, aggregate)
