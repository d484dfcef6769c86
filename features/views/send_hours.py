"""At which hour of their day and on which weekday a person opens what was sent then, by their own clock.

A rate of a few sends says little, so it is shrunk (the mean of a Beta posterior): the overall rate of the customer to a
constant prior, the rate of an hour to the customer's overall rate. The prior is a constant and not the population's
rate because a row may depend on its own customer's events only.
"""

from __future__ import annotations

from functools import lru_cache

import polars as pl

from features.messages import sends
from features.view import Feature, FeatureView
from features.windows import over_spine, text, within

__all__ = ["view"]

PRIOR_RATE = 0.25
"""Share of messages a person opens of whom nothing is known."""
PRIOR_SENDS = 8.0
"""Weight of the prior in the overall rate, in sends."""
SLOT_SENDS = 6.0
"""Weight of the overall rate in the rate of an hour or weekday, in sends."""

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_HOURS = tuple(f"open_rate_h{hour:02d}" for hour in range(24))
_WEEKDAYS = tuple(f"open_rate_d{day}" for day in range(7))
_FEATURES = (
    *(Feature(name, "share", f"opens {{value}} of what is sent at {hour}:00") for hour, name in enumerate(_HOURS)),
    *(
        Feature(name, "share", f"opens {{value}} of what is sent on a {day}")
        for name, day in zip(_WEEKDAYS, _DAYS, strict=True)
    ),
)
_DEFAULTS = {each.name: PRIOR_RATE for each in _FEATURES}
_KEYS = ("customer_id", "as_of")


def aggregate(events: pl.DataFrame, spine: pl.DataFrame) -> pl.DataFrame:
    """See `features.view.FeatureView`."""
    return over_spine(_FEATURES, events, _prepare(events), spine, _summarise, _DEFAULTS)


def _prepare(events: pl.DataFrame) -> pl.DataFrame:
    columns = ("customer_id", "type", "occurred_at", "received_at")
    profiles = events.filter(pl.col("type") == "profile").select(*columns, "event_id", zone=text("timezone"))
    sent = sends(events).filter("openable").select(*columns, "opened_from")
    return pl.concat([profiles.drop_nulls("zone"), sent], how="diagonal")


def _summarise(pairs: pl.DataFrame) -> pl.DataFrame:
    zones = (
        pairs.filter(pl.col("type") == "profile")
        .sort("occurred_at", "received_at", "event_id")
        .group_by(_KEYS)
        .agg(pl.col("zone").last())
    )
    sent = pairs.filter((pl.col("type") == "send") & within(365)).select(
        *_KEYS, "occurred_at", opened=(pl.col("opened_from") <= pl.col("as_of")).fill_null(False)
    )
    local = _local(sent.join(zones, on=_KEYS, how="left"))
    hour, weekday, opened = pl.col("hour"), pl.col("weekday"), pl.col("opened")
    slots = {name: hour == i for i, name in enumerate(_HOURS)} | {
        name: weekday == i for i, name in enumerate(_WEEKDAYS)
    }
    counted = local.group_by(_KEYS).agg(
        pl.len().alias("sends"),
        opened.sum().alias("opens"),
        *(slot.sum().alias(f"{name}_sends") for name, slot in slots.items()),
        *((slot & opened).sum().alias(f"{name}_opens") for name, slot in slots.items()),
    )
    overall = (pl.col("opens") + PRIOR_SENDS * PRIOR_RATE) / (pl.col("sends") + PRIOR_SENDS)
    return counted.with_columns(overall=overall).select(
        *_KEYS,
        *(
            ((pl.col(f"{name}_opens") + SLOT_SENDS * pl.col("overall")) / (pl.col(f"{name}_sends") + SLOT_SENDS)).alias(
                name
            )
            for name in slots
        ),
    )


def _local(sent: pl.DataFrame) -> pl.DataFrame:
    """Hour of day (0-23) and weekday (Monday 0) of each send by its customer's clock; UTC where the zone is unknown."""
    parts = []
    for (zone,), part in sent.partition_by("zone", as_dict=True).items() or [((None,), sent)]:
        by_clock = pl.col("occurred_at").dt.convert_time_zone(str(zone) if zone and _is_zone(str(zone)) else "UTC")
        hour, weekday = by_clock.dt.hour(), by_clock.dt.weekday() - 1
        parts.append(part.select(*_KEYS, "opened", hour=hour, weekday=weekday))
    return pl.concat(parts)


@lru_cache(maxsize=2_000)
def _is_zone(name: str) -> bool:
    try:
        pl.select(pl.lit(0).cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(name))
    except pl.exceptions.PolarsError:
        return False
    return True


view = FeatureView("send_hours", _FEATURES, aggregate)
