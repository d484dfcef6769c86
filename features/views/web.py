"""What a person does on the site: pages, visits and how deep they go, pages that show intent, carts left, forms."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from features.view import Feature, FeatureView
from features.windows import DAY, days_since, over_spine, text, with_first, within

__all__ = ["INTENT_PAGES", "view"]

INTENT_PAGES = ("pricing", "prices", "demo", "trial", "quote", "checkout", "contact")
"""Words that make a page one of high intent, standing alone in its name or path, in any case."""
LEFT_AFTER = DAY
"""A cart is left when no order followed within a day of it."""

_FEATURES = (
    *(Feature(f"views_{days}d", "pages", f"saw {{value}} pages in {days} days") for days in (7, 30, 90)),
    Feature("sessions_30d", "visits", "visited the site {value} times in 30 days"),
    Feature(
        "pages_per_session_90d",
        "pages",
        "saw {value} pages a visit in 90 days",
        absent="was not on the site in 90 days",
    ),
    Feature("active_days_30d", "days", "was on the site on {value} days of 30"),
    *(
        Feature(f"intent_views_{days}d", "pages", f"saw prices, demo or checkout {{value}} times in {days} days")
        for days in (30, 90)
    ),
    *(Feature(f"carts_{days}d", "carts", f"put {{value}} things into a cart in {days} days") for days in (30, 90)),
    Feature("carts_left_90d", "carts", "left {value} carts without an order in 90 days"),
    *(Feature(f"forms_{days}d", "forms", f"sent {{value}} forms in {days} days") for days in (30, 90)),
    Feature("days_since_visit", "days", "was last on the site {value} days ago", absent="was never on the site"),
    Feature(
        "days_since_intent",
        "days",
        "last saw prices, demo or checkout {value} days ago",
        absent="never saw prices, demo or checkout",
    ),
    Feature(
        "days_since_cart",
        "days",
        "last put something into a cart {value} days ago",
        absent="never put anything into a cart",
    ),
    Feature("days_since_form", "days", "last sent a form {value} days ago", absent="never sent a form"),
)
_ZEROS = tuple(
    each.name for each in _FEATURES if not each.name.startswith("days_since") and each.name != "pages_per_session_90d"
)
_TYPE, _AGO, _ROW = pl.col("type"), pl.col("ago"), pl.col("row")
_VIEW, _CART, _FORM, _INTENT = _TYPE == "page_view", _TYPE == "cart", _TYPE == "form", pl.col("intent")


def aggregate(events: pl.DataFrame, spine: pl.DataFrame) -> pl.DataFrame:
    """See `features.view.FeatureView`."""
    return over_spine(_FEATURES, _prepare(events), with_first(events, spine), _summarise, _ZEROS)


def _prepare(events: pl.DataFrame) -> pl.DataFrame:
    columns = ("customer_id", "occurred_at", "received_at", "type")
    wanted = events.filter(_TYPE.is_in(["page_view", "cart", "form", "order"])).select(*columns, "properties")
    # Only where such a word stands at all need the JSON be read: the ledger's JSON does not escape letters.
    may_be = wanted["properties"].str.contains_any(list(INTENT_PAGES), ascii_case_insensitive=True).fill_null(False)
    word = rf"(^|[^a-z0-9])({'|'.join(INTENT_PAGES)})([^a-z0-9]|$)"
    shows = text("page").str.to_lowercase().str.contains(word).fill_null(False)
    return pl.concat(
        [
            wanted.filter(may_be).with_columns(intent=_VIEW & shows),
            wanted.filter(~may_be).with_columns(intent=pl.lit(False)),
        ]
    )


def _summarise(pairs: pl.DataFrame) -> pl.DataFrame:
    counted = pairs.group_by("row").agg(
        *((_VIEW & within(days)).sum().alias(f"views_{days}d") for days in (7, 30, 90)),
        *((_INTENT & within(days)).sum().alias(f"intent_views_{days}d") for days in (30, 90)),
        *((_CART & within(days)).sum().alias(f"carts_{days}d") for days in (30, 90)),
        *((_FORM & within(days)).sum().alias(f"forms_{days}d") for days in (30, 90)),
        days_since(_VIEW).alias("days_since_visit"),
        days_since(_INTENT).alias("days_since_intent"),
        days_since(_CART).alias("days_since_cart"),
        days_since(_FORM).alias("days_since_form"),
    )
    seen = pairs.filter(_VIEW & within(90)).select("row", "ago", text("session").alias("session"))
    days = seen.filter(within(30)).select("row", _AGO // DAY).unique().group_by("row").len("active_days_30d")
    found = counted.join(_visits(seen), on="row", how="left").join(days, on="row", how="left")
    return found.join(_left(pairs), on="row", how="left")


def _visits(seen: pl.DataFrame) -> pl.DataFrame:
    """Visits and pages a visit; page views that name no visit count in neither."""
    each = seen.drop_nulls("session").group_by("row", "session").agg(_AGO.min(), pl.len().alias("pages"))
    return each.group_by("row").agg(
        within(30).sum().alias("sessions_30d"), (pl.col("pages").sum() / pl.len()).alias("pages_per_session_90d")
    )


def _left(pairs: pl.DataFrame) -> pl.DataFrame:
    """Carts that were a day old without an order within that day."""
    ordered = _TYPE == "order"
    # The next order stands below its cart: also one of the same instant.
    steps = pairs.filter(ordered | _CART).sort("row", pl.col("occurred_at"), ordered)
    following = [pl.when(ordered).then(each).backward_fill() for each in (_ROW, _AGO)]
    bought = (following[0] == _ROW) & (_AGO - following[1] <= LEFT_AFTER)
    left = steps.filter(_CART & ~bought.fill_null(False) & (_AGO >= LEFT_AFTER) & within(90))
    return left.group_by("row").len("carts_left_90d")


view = FeatureView("web", _FEATURES, aggregate, reads=("page_view", "form", "cart"), fresh=timedelta(days=90))
