"""Who a person is, as it was known then: attributes, account, stage of the lifecycle, consent a channel, since when.

A profile event may carry only what changed: each attribute is the latest that was given. Where two are of the same
instant, the later receipt and then the greater event id decides, so that the order of rows never does. Consent has a
history of its own: saying again what was said before is no change.
"""

from __future__ import annotations

import polars as pl

from features.accounts import named
from features.view import Feature, FeatureView
from features.windows import DAY, days_since, latest, over_spine, text, with_first

__all__ = ["view"]

CHANNELS = ("email", "sms", "push")
_ATTRIBUTES = ("country", "source", "industry", "company_size", "timezone")
_FEATURES = (
    Feature("account_id", "", "belongs to the account {value}", "string", identifier=True),
    Feature("country", "", "lives in {value}", "string", absent="lives in a country not known"),
    Feature("source", "", "came through {value}", "string", absent="came through a source not known"),
    Feature("stage", "", "is at the stage '{value}'", "string", absent="is at no stage that is known"),
    Feature("industry", "", "works in {value}", "string", absent="works in an industry not known"),
    Feature(
        "company_size", "", "works at a company of size {value}", "string", absent="works at a company of unknown size"
    ),
    Feature("timezone", "", "lives in the time zone {value}", "string", absent="lives in a time zone not known"),
    Feature("tenure_days", "days", "has been known for {value} days"),
    Feature(
        "days_since_stage", "days", "reached the present stage {value} days ago", absent="is at no stage that is known"
    ),
    *(
        feature
        for channel, said in zip(CHANNELS, ("e-mails", "text messages", "push messages"), strict=True)
        for feature in (
            Feature(
                f"{channel}_consent",
                "yes = 1",
                f"consents to {said}: {{value}}",
                absent=f"never said whether {said} are welcome",
            ),
            Feature(
                f"days_since_{channel}_consent",
                "days",
                f"last changed the consent to {said} {{value}} days ago",
                absent=f"never said whether {said} are welcome",
            ),
        )
    ),
)
_ORDER = ("occurred_at", "received_at", "event_id")
_TYPE = pl.col("type")
_SAYS_CONSENT = _TYPE.is_in(["consent", "unsubscribe"])


def aggregate(events: pl.DataFrame, spine: pl.DataFrame) -> pl.DataFrame:
    """See `features.view.FeatureView`."""
    # The first event of any type opens the tenure.
    derived = {"tenure_days": (pl.col("as_of") - pl.col("first_at")).dt.total_microseconds() / DAY}
    spine = with_first(events, spine)
    return over_spine(_FEATURES, _prepare(events), spine, _summarise, derived=derived)


def _prepare(events: pl.DataFrame) -> pl.DataFrame:
    said = events.filter(_TYPE.is_in(["profile", "lifecycle"])).select(
        "customer_id",
        *_ORDER,
        *(pl.when(_TYPE == "profile").then(text(name)).alias(name) for name in _ATTRIBUTES),
        pl.when(_TYPE == "lifecycle").then(text("stage")).alias("stage"),
    )
    return pl.concat([said, _consents(events), named(events)], how="diagonal")


def _consents(events: pl.DataFrame) -> pl.DataFrame:
    """One row per channel and statement: `channel`, `granted` (1 or 0)."""
    granted = pl.when(text("granted") == "true").then(1).when(text("granted") == "false").then(0)
    # Who leaves without naming a channel has left all of them.
    every = pl.lit(list(CHANNELS), pl.List(pl.String))
    left = pl.when(pl.col("channel").is_null()).then(every).otherwise(pl.concat_list("channel"))
    asked = _TYPE == "consent"
    said = events.filter(_SAYS_CONSENT & (~asked | pl.col("channel").is_not_null())).select(
        "customer_id",
        *_ORDER,
        channel=left,
        granted=pl.when(asked).then(granted).otherwise(0).cast(pl.Int8),
    )
    return said.drop_nulls("granted").explode("channel", empty_as_null=True).filter(pl.col("channel").is_in(CHANNELS))


def _summarise(pairs: pl.DataFrame) -> pl.DataFrame:
    ordered = latest(pairs)
    attributes = ordered.group_by("row").agg(
        *(pl.col(name).drop_nulls().last() for name in ("account_id", *_ATTRIBUTES, "stage")),
        days_since(pl.col("stage").is_not_null()).alias("days_since_stage"),
    )
    return attributes.join(_changed(ordered.filter(pl.col("granted").is_not_null())), on="row", how="left")


def _changed(statements: pl.DataFrame) -> pl.DataFrame:
    """Of each row and channel what holds, and days since it was first said without a break."""
    by_channel = statements.sort("row", "channel", maintain_order=True)
    before = pl.struct("row", "channel", "granted").shift()
    changes = by_channel.filter(pl.struct("row", "channel", "granted").ne_missing(before))
    holds = changes.group_by("row", "channel").agg(pl.col("granted").last(), pl.col("ago").last() / DAY)
    return holds.group_by("row").agg(
        column
        for channel in CHANNELS
        for column in (
            pl.col("granted").filter(pl.col("channel") == channel).first().alias(f"{channel}_consent"),
            pl.col("ago").filter(pl.col("channel") == channel).first().alias(f"days_since_{channel}_consent"),
        )
    )


view = FeatureView("profile", _FEATURES, aggregate)
