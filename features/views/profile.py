"""Who a person is, as it was known then: attributes, stage of the lifecycle, consent, and since when they are known.

A profile event may carry only what changed: each attribute is the latest that was given. Where two are of the same
instant, the later receipt and then the greater event id decides, so that the order of rows never does.
"""

from __future__ import annotations

import polars as pl

from features.view import Feature, FeatureView
from features.windows import DAY, days_since, over_spine, text

__all__ = ["view"]

_ATTRIBUTES = ("country", "source", "industry", "company_size", "timezone")
_FEATURES = (
    Feature("country", "", "lives in {value}", "string"),
    Feature("source", "", "came through {value}", "string"),
    Feature("stage", "", "is at the stage '{value}'", "string"),
    Feature("industry", "", "works in {value}", "string"),
    Feature("company_size", "", "works at a company of size {value}", "string"),
    Feature("timezone", "", "lives in the time zone {value}", "string"),
    Feature("tenure_days", "days", "has been known for {value} days"),
    Feature("days_since_stage", "days", "reached the present stage {value} days ago"),
    Feature("email_consent", "yes = 1", "consents to email ({value}: 1 yes, 0 no)"),
    Feature("days_since_consent", "days", "last changed the consent to email {value} days ago"),
)
_ORDER = ("occurred_at", "received_at", "event_id")
_TYPE = pl.col("type")
_BY_EMAIL = pl.col("channel") == "email"


def aggregate(events: pl.DataFrame, spine: pl.DataFrame) -> pl.DataFrame:
    """See `features.view.FeatureView`."""
    return over_spine(_FEATURES, events, _prepare(events), spine, _summarise, {})


def _prepare(events: pl.DataFrame) -> pl.DataFrame:
    # The first event of any type opens the tenure; only the earliest ever known can, at each instant.
    said = _TYPE.is_in(["profile", "lifecycle"]) | _consent()
    return events.filter(said | _may_be_first()).select(
        "customer_id",
        *_ORDER,
        *(pl.when(_TYPE == "profile").then(text(name)).alias(name) for name in _ATTRIBUTES),
        pl.when(_TYPE == "lifecycle").then(text("stage")).alias("stage"),
        _granted().alias("consent"),
    )


def _consent() -> pl.Expr:
    # Who leaves without naming a channel has left all of them.
    return ((_TYPE == "consent") & _BY_EMAIL) | ((_TYPE == "unsubscribe") & _BY_EMAIL.fill_null(True))


def _granted() -> pl.Expr:
    asked = pl.when(text("granted") == "true").then(1.0).when(text("granted") == "false").then(0.0)
    return pl.when((_TYPE == "consent") & _BY_EMAIL).then(asked).when(_consent()).then(0.0)


def _may_be_first() -> pl.Expr:
    """Whether an event occurred before all those of its customer that were received earlier."""
    by_receipt = pl.col("occurred_at").cum_min().over("customer_id", order_by=["received_at", "occurred_at"])
    return pl.col("occurred_at") <= by_receipt


def _summarise(pairs: pl.DataFrame) -> pl.DataFrame:
    when = pl.col("as_of").first()
    return (
        pairs.sort(_ORDER)
        .group_by("customer_id", "as_of")
        .agg(
            *(pl.col(name).drop_nulls().last() for name in (*_ATTRIBUTES, "stage")),
            ((when - pl.col("occurred_at").min()).dt.total_microseconds() / DAY).alias("tenure_days"),
            days_since(pl.col("stage").is_not_null()).alias("days_since_stage"),
            pl.col("consent").drop_nulls().last().alias("email_consent"),
            days_since(pl.col("consent").is_not_null()).alias("days_since_consent"),
        )
    )


view = FeatureView("profile", _FEATURES, aggregate)
