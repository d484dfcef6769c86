"""Consent by channel, with its own history: what a person allowed or refused, from when until when, and who says so.

A `consent` event says it for its channel (`properties.granted`, true or false; anything else, or no channel, says
nothing); an `unsubscribe` refuses its channel, and without a channel every one. Where two are of the same instant, the
later receipt and then the greater event id decides. Saying again what holds is no change. The view `profile` tells
models and journeys the same by the same rules.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from features.frames import known, spine_of
from features.messages import CHANNELS
from features.windows import text

__all__ = ["as_of", "history"]

_ORDER = ("occurred_at", "received_at", "event_id")
_WHOSE = ("customer_id", "channel")
_ASKED = pl.col("type") == "consent"


def history(events: pl.DataFrame) -> pl.DataFrame:
    """Every change of consent, sorted by customer, channel and time; pure.

    Args:
        events: columns `features.frames.EVENT_SCHEMA`, of any customers and types, in any order.

    Returns:
        `customer_id`, `channel`, `granted` (bool), `since`, `until` (null: it holds still), `event_id` (its source).
    """
    said = _by_channel(_statements(events)).sort(*_WHOSE, *_ORDER)
    before = pl.struct(*_WHOSE, "granted").shift()
    changes = said.filter(pl.struct(*_WHOSE, "granted").ne_missing(before))
    until = pl.col("occurred_at").shift(-1).over(*_WHOSE)
    spans = changes.select(*_WHOSE, "granted", since="occurred_at", until=until, event_id="event_id")
    # What was contradicted at its own instant never held.
    return spans.filter(pl.col("until").is_null() | (pl.col("until") > pl.col("since")))


def as_of(events: pl.DataFrame, instant: datetime) -> pl.DataFrame:
    """What held at an instant, by what was known then: `history` without `until`, one row per customer and channel.

    Nothing is known of a channel that has no row: to be on the safe side, that is no consent.
    """
    then = known(events, spine_of(events["customer_id"].unique(), instant)).drop("as_of")
    return history(then).filter(pl.col("until").is_null()).drop("until")


def _statements(events: pl.DataFrame) -> pl.DataFrame:
    granted = pl.when(text("granted") == "true").then(True).when(text("granted") == "false").then(False)
    says = (_ASKED & pl.col("channel").is_not_null()) | (pl.col("type") == "unsubscribe")
    said = events.filter(says).with_columns(granted=pl.when(_ASKED).then(granted).otherwise(False))
    return said.drop_nulls("granted").select(*_WHOSE, "granted", *_ORDER)


def _by_channel(said: pl.DataFrame) -> pl.DataFrame:
    """A statement for every channel as one for each: those Kairos knows, and any other its customer ever named."""
    whole = said.filter(pl.col("channel").is_null()).drop("channel")
    usual = whole.select("customer_id").unique().join(pl.DataFrame({"channel": CHANNELS}), how="cross")
    channels = pl.concat([usual, said.select(*_WHOSE).drop_nulls()]).unique()
    every = whole.join(channels, on="customer_id").select(said.columns)
    return pl.concat([said.drop_nulls("channel"), every])
