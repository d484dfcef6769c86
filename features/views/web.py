"""What a person does on the site: pages, visits, the pricing page, carts and forms."""

from __future__ import annotations

import polars as pl

from features.view import Feature, FeatureView
from features.windows import DAY, days_since, over_spine, text, within

__all__ = ["view"]

_FEATURES = (
    *(Feature(f"views_{days}d", "pages", f"saw {{value}} pages in {days} days") for days in (7, 30, 90)),
    Feature("sessions_30d", "visits", "visited the site {value} times in 30 days"),
    Feature("active_days_30d", "days", "was on the site on {value} days of 30"),
    *(Feature(f"pricing_views_{days}d", "pages", f"saw prices {{value}} times in {days} days") for days in (30, 90)),
    *(Feature(f"carts_{days}d", "carts", f"put {{value}} things into a cart in {days} days") for days in (7, 30, 90)),
    *(Feature(f"forms_{days}d", "forms", f"sent {{value}} forms in {days} days") for days in (30, 90)),
    Feature("days_since_visit", "days", "was last on the site {value} days ago"),
    Feature("days_since_pricing", "days", "last saw prices {value} days ago"),
    Feature("days_since_cart", "days", "last put something into a cart {value} days ago"),
    Feature("days_since_form", "days", "last sent a form {value} days ago"),
)
_DEFAULTS = {each.name: 0.0 for each in _FEATURES if not each.name.startswith("days_since")}
_TYPE = pl.col("type")
_VIEW, _CART, _FORM, _PRICING = _TYPE == "page_view", _TYPE == "cart", _TYPE == "form", pl.col("pricing")


def aggregate(events: pl.DataFrame, spine: pl.DataFrame) -> pl.DataFrame:
    """See `features.view.FeatureView`."""
    return over_spine(_FEATURES, events, _prepare(events), spine, _summarise, _DEFAULTS)


def _prepare(events: pl.DataFrame) -> pl.DataFrame:
    wanted = events.filter(_TYPE.is_in(["page_view", "cart", "form"]))
    priced = text("page").str.to_lowercase().str.contains("pricing", literal=True)
    return wanted.select(
        "customer_id",
        "occurred_at",
        "received_at",
        "type",
        (_VIEW & priced.fill_null(False)).alias("pricing"),
        # A number in place of the name: equal names, equal numbers, which is all that counting needs.
        pl.when(_VIEW).then(text("session")).rank("dense").alias("session"),
    )


def _summarise(pairs: pl.DataFrame) -> pl.DataFrame:
    days_ago = (pl.col("as_of") - pl.col("occurred_at")).dt.total_microseconds() // DAY
    return pairs.group_by("customer_id", "as_of").agg(
        *((_VIEW & within(days)).sum().alias(f"views_{days}d") for days in (7, 30, 90)),
        pl.col("session").filter(within(30)).drop_nulls().n_unique().alias("sessions_30d"),
        days_ago.filter(_VIEW & within(30)).n_unique().alias("active_days_30d"),
        *((_PRICING & within(days)).sum().alias(f"pricing_views_{days}d") for days in (30, 90)),
        *((_CART & within(days)).sum().alias(f"carts_{days}d") for days in (7, 30, 90)),
        *((_FORM & within(days)).sum().alias(f"forms_{days}d") for days in (30, 90)),
        days_since(_VIEW).alias("days_since_visit"),
        days_since(_PRICING).alias("days_since_pricing"),
        days_since(_CART).alias("days_since_cart"),
        days_since(_FORM).alias("days_since_form"),
    )


view = FeatureView("web", _FEATURES, aggregate)
