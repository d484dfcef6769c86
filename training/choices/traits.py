"""What was known of people at a cutoff, as a few numbers: enough to notice that a sender chose by them."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl

from features.messages import CHANNELS, channel
from training.rows.labels import before

__all__ = ["TRAITS", "traits"]

_RECENTLY = timedelta(days=180)
_COUNTED = ("order", "page_view", "open", "click")
_WHEN = ("hour_cos", "hour_sin", "weekday")
TRAITS = (*(f"{each}s" for each in _COUNTED), *(f"{each}_sends" for each in CHANNELS), *_WHEN, "days_known")


def traits(events: pl.DataFrame, cutoff: datetime) -> pl.DataFrame:
    """`customer_id` and `TRAITS`, no nulls: what people did in 180 days, and when they used to be written to.

    Counts are logarithms of one more; `hour_cos`, `hour_sin` and `weekday` are means over their sends (0 without any).
    """
    known = before(events, cutoff, *_COUNTED, "send", "lifecycle", "profile")
    recent = known.filter(pl.col("occurred_at") >= cutoff - _RECENTLY)
    sent = pl.col("type") == "send"
    angle = 2 * np.pi * pl.col("occurred_at").dt.hour() / 24
    counted = (
        recent.with_columns(channel())
        .group_by("customer_id")
        .agg(
            *((pl.col("type") == each).sum().log1p().alias(f"{each}s") for each in _COUNTED),
            *((sent & (pl.col("channel") == each)).sum().log1p().alias(f"{each}_sends") for each in CHANNELS),
            angle.cos().filter(sent).mean().alias("hour_cos"),
            angle.sin().filter(sent).mean().alias("hour_sin"),
            pl.col("occurred_at").dt.weekday().filter(sent).mean().alias("weekday"),
        )
    )
    first = (cutoff - pl.col("occurred_at").min()).dt.total_days().cast(pl.Float64).log1p()
    since = known.group_by("customer_id").agg(first.alias("days_known"))
    found = since.join(counted, on="customer_id", how="left").sort("customer_id")
    return found.select("customer_id", pl.col(*TRAITS).cast(pl.Float64).fill_null(0.0))
