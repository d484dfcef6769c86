"""The account: the company, or household, that several customers belong to, as it was known then.

An account's people are those whose latest known event that names an account names this one. What they did counts for it
with all their history, and stops counting when they have moved on.
"""

from __future__ import annotations

import polars as pl

from features.accounts import named
from features.frames import cents
from features.view import Feature, FeatureView
from features.windows import days_since, latest, over_spine, text, with_first, within

__all__ = ["view"]

_ACTS = ("page_view", "form", "cart", "order", "click")
"""What a person does of their own accord; opens are not among them, for machines open, too."""
_ATTRIBUTES = ("industry", "company_size")
_NONE = "belongs to no known account"
_FEATURES = (
    Feature("industry", "", "belongs to an account in {value}", "string", absent=_NONE),
    Feature("company_size", "", "belongs to an account of size {value}", "string", absent=_NONE),
    Feature("contacts", "people", "belongs to an account with {value} people known", absent=_NONE),
    Feature(
        "contacts_active_30d", "people", "belongs to an account with {value} people active in 30 days", absent=_NONE
    ),
    Feature("buyers_365d", "people", "belongs to an account where {value} people ordered in 365 days", absent=_NONE),
    Feature("orders_365d", "orders", "belongs to an account with {value} orders in 365 days", absent=_NONE),
    Feature("revenue_365d", "currency", "belongs to an account that spent {value} in 365 days", absent=_NONE),
    Feature("views_30d", "pages", "belongs to an account that saw {value} pages in 30 days", absent=_NONE),
    Feature(
        "days_since_active",
        "days",
        "belongs to an account last active {value} days ago",
        absent="belongs to no active account",
    ),
    Feature(
        "days_since_order",
        "days",
        "belongs to an account that last ordered {value} days ago",
        absent="belongs to no account that ever ordered",
    ),
)
_ZEROS = tuple(each.name for each in _FEATURES if each.dtype != "string" and not each.name.startswith("days_since"))
_TYPE, _ORDER = pl.col("type"), pl.col("type") == "order"


def aggregate(events: pl.DataFrame, spine: pl.DataFrame) -> pl.DataFrame:
    """See `features.view.FeatureView`."""
    said = named(events)
    return over_spine(_FEATURES, _prepare(events, said), with_first(said, spine), _summarise, _ZEROS)


def _prepare(events: pl.DataFrame, said: pl.DataFrame) -> pl.DataFrame:
    """What each person named or did, once for every account they ever named."""
    owners = said.select("customer_id", "account_id").unique()
    naming = said.rename({"account_id": "names"}).join(owners, on="customer_id")
    columns = ("customer_id", "occurred_at", "received_at", "event_id", "type")
    acts = events.filter(_TYPE.is_in(_ACTS)).select(*columns, pl.when(_ORDER).then(cents()).alias("cents"))
    profiles = events.filter(_TYPE == "profile").select(*columns, *(text(name).alias(name) for name in _ATTRIBUTES))
    here = naming.with_columns(here=pl.col("names") == pl.col("account_id")).drop("names")
    theirs = [each.join(owners, on="customer_id") for each in (acts, profiles)]
    return pl.concat([here, *theirs], how="diagonal")


def _summarise(pairs: pl.DataFrame) -> pl.DataFrame:
    stands = (
        latest(pairs.filter(pl.col("here").is_not_null())).group_by("row", "customer_id").agg(pl.col("here").last())
    )
    people = stands.filter("here").select("row", "customer_id")
    theirs = pairs.filter(_TYPE.is_not_null()).join(people, on=["row", "customer_id"], how="semi")
    acts = theirs.filter(_TYPE != "profile")
    active = acts.group_by("row").agg(
        pl.col("customer_id").filter(within(30)).n_unique().alias("contacts_active_30d"),
        pl.col("customer_id").filter(_ORDER & within(365)).n_unique().alias("buyers_365d"),
        (_ORDER & within(365)).sum().alias("orders_365d"),
        (pl.when(_ORDER & within(365)).then(pl.col("cents")).sum() / 100).alias("revenue_365d"),
        ((_TYPE == "page_view") & within(30)).sum().alias("views_30d"),
        days_since(pl.lit(True)).alias("days_since_active"),
        days_since(_ORDER).alias("days_since_order"),
    )
    said = latest(theirs.filter(_TYPE == "profile")).group_by("row")
    attributes = said.agg(pl.col(name).drop_nulls().last() for name in _ATTRIBUTES)
    counted = people.group_by("row").len("contacts")
    return counted.join(active, on="row", how="left").join(attributes, on="row", how="left")


view = FeatureView("account", _FEATURES, aggregate, entity="account")
