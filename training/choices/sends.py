"""Sends of a window and what came of them: what the problems about messages learn from.

A send may say with which probability its hour was drawn (`properties.propensity`), and with which its channel
(`properties.channel_propensity`): who drew them at random, evenly or not, can learn what they do.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from features.messages import MACHINE_SECONDS, channel
from features.windows import number, text
from training.rows.labels import within

__all__ = ["PATIENCE", "answered", "in_window"]

PATIENCE = timedelta(days=2)
"""What is not answered for so long counts as not answered."""
_MESSAGE = ["customer_id", "message_id"]


def in_window(events: pl.DataFrame, cutoff: datetime, horizon: timedelta) -> pl.DataFrame:
    """Sends of the window that leave time to be answered inside it, in time order.

    Returns:
        `customer_id`, `message_id`, `channel`, `sent_at`, `hour_propensity`, `channel_propensity` (null: not said).
    """
    sends = within(events, cutoff, horizon - _patience(horizon), "send")
    return sends.select(
        *_MESSAGE,
        channel(),
        pl.col("occurred_at").alias("sent_at"),
        _probability("propensity").alias("hour_propensity"),
        _probability("channel_propensity").alias("channel_propensity"),
    ).sort("sent_at", "message_id")


def answered(
    sends: pl.DataFrame, events: pl.DataFrame, cutoff: datetime, horizon: timedelta, *types: str
) -> pl.DataFrame:
    """The sends with `label`: 1 where an event of these types followed in time, and by a person.

    A machine (a privacy proxy marks itself, or opens within ten seconds) does not answer.
    """
    links = sends.select(*_MESSAGE, "sent_at").unique(_MESSAGE, maintain_order=True)
    pairs = within(events, cutoff, horizon, *types).join(links, on=_MESSAGE, how="inner")
    taken = pl.col("occurred_at") - pl.col("sent_at")
    too_fast = (pl.col("type") == "open") & (taken < timedelta(seconds=MACHINE_SECONDS))
    by_machine = (text("machine") == "true").fill_null(False) | too_fast
    in_time = (taken >= timedelta(0)) & (taken <= _patience(horizon))
    people = (
        pairs.filter(in_time & ~by_machine).select(_MESSAGE).unique().with_columns(pl.lit(1, pl.Int8).alias("label"))
    )
    return sends.join(people, on=_MESSAGE, how="left", maintain_order="left").with_columns(pl.col("label").fill_null(0))


def _patience(horizon: timedelta) -> timedelta:
    return min(PATIENCE, horizon / 2)


def _probability(name: str) -> pl.Expr:
    said = number(name)
    return pl.when((said > 0) & (said <= 1)).then(said)
