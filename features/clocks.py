"""The hour of the week by a person's own clock."""

from __future__ import annotations

from functools import lru_cache

import polars as pl

__all__ = ["HOURS", "local_slot", "zones"]

HOURS = 168
"""Of a week, Monday 00:00 to 01:00 being 0."""


def zones(events: pl.DataFrame) -> pl.DataFrame:
    """The time zones that profile events name: `customer_id`, times, `event_id`, `zone`."""
    zone = pl.col("properties").str.json_path_match("$.timezone")
    named = events.filter(pl.col("type") == "profile").select(
        "customer_id", "occurred_at", "received_at", "event_id", zone=zone
    )
    return named.drop_nulls("zone")


def local_slot(events: pl.DataFrame) -> pl.DataFrame:
    """Events with `occurred_at` and `zone`, and their `slot`: hour of the week; UTC where the zone is none there is.

    The order of the rows is not kept.
    """
    parts = []
    for (zone,), part in events.partition_by("zone", as_dict=True).items() or [((None,), events)]:
        by_clock = pl.col("occurred_at").dt.convert_time_zone(str(zone) if zone and _is_zone(str(zone)) else "UTC")
        hour, weekday = by_clock.dt.hour().cast(pl.Int64), by_clock.dt.weekday().cast(pl.Int64) - 1
        parts.append(part.with_columns(slot=weekday * 24 + hour))
    return pl.concat(parts)


@lru_cache(maxsize=2_000)
def _is_zone(name: str) -> bool:
    try:
        pl.select(pl.lit(0).cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(name))
    except pl.exceptions.PolarsError:
        return False
    return True
