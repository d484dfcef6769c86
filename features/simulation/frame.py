"""From the parts of a simulation to one event frame: instants, delays of receipt, ids."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from features.frames import EVENT_SCHEMA
from features.kernel.clock import to_micros
from features.simulation.people import People
from features.simulation.processes import Floats, Ints

__all__ = ["DAY_MICROS", "assemble", "json_object", "labels", "micros", "numbered"]

DAY_MICROS = 86_400_000_000
_INSTANT = pl.Datetime("us", "UTC")
_LATE_HOURS, _LATE_DAYS = 0.015, 0.003
_ORDER = ("received_at", "occurred_at", "customer_id", "type", "channel", "message_id", "properties", "amount")


def micros(at: Floats, start: datetime) -> Ints:
    """Days since `start` as microseconds since 1970."""
    return np.asarray(to_micros(start) + np.round(at * DAY_MICROS), dtype=np.int64)


def labels(names: Sequence[str | None], codes: Ints) -> pl.Series:
    """`names[codes]` as strings."""
    return pl.Series(names, dtype=pl.String).gather(codes)


def numbered(prefix: str, numbers: Ints) -> pl.Series:
    """Ids like `e0000042`, of one width, so that they sort."""
    return prefix + pl.Series(numbers).cast(pl.String).str.zfill(7)


def json_object(**columns: pl.Series) -> pl.Series:
    """One JSON object a row, keys sorted as the ledger writes them; strings are quoted, nulls left out."""
    parts = []
    for key in sorted(columns):
        quote = '"' if columns[key].dtype == pl.String else ""
        parts.append(pl.concat_str(pl.lit(f'"{key}":{quote}'), pl.col(key).cast(pl.String), pl.lit(quote)))
    body = pl.concat_str(parts, separator=",", ignore_nulls=True)
    return pl.DataFrame(columns).select(pl.concat_str(pl.lit("{"), body, pl.lit("}"))).to_series()


def assemble(
    rng: np.random.Generator, parts: Sequence[pl.DataFrame], people: People, start: datetime, end: datetime, prefix: str
) -> pl.DataFrame:
    """One event frame of parts with `who`, `type`, `at` and any other event columns.

    Receipt follows by seconds (log-normal, median 2 s); 1.5 % come hours late and .3 % days. What would be received at
    `end` or later is left out, as is what would have occurred before the person arrived. Sorted by receipt; the event
    id is `prefix` and the place in that order.
    """
    frame = pl.concat(parts, how="diagonal").filter(pl.col("at") < (end - start) / timedelta(days=1))
    who, at = frame["who"].to_numpy(), frame["at"].to_numpy()
    lag = rng.lognormal(np.log(2.0), 0.6, len(at)) / 86_400
    late = rng.random(len(at))
    lag += np.where(late < _LATE_HOURS, rng.exponential(0.25, len(at)), 0.0)
    lag += np.where(late > 1 - _LATE_DAYS, rng.exponential(2.0, len(at)), 0.0)
    accounts = [*(f"a{i:05d}" for i in range(people.account.max(initial=0) + 1)), None]  # -1 is the last of them
    frame = frame.with_columns(
        labels(people.ids, who).alias("customer_id"),
        labels(accounts, people.account[who]).alias("account_id"),
        pl.Series("occurred_at", micros(at, start)).cast(_INSTANT),
        pl.Series("received_at", micros(at + lag, start)).cast(_INSTANT),
    )
    missing = [pl.lit(None).alias(name) for name in EVENT_SCHEMA if name not in frame.columns]
    seen = frame.filter(pl.Series(at >= people.arrival[who]), pl.col("received_at") < end)
    ordered = seen.with_columns(missing).sort(_ORDER, nulls_last=True)
    ids = numbered(prefix, np.arange(len(ordered)))
    return ordered.with_columns(ids.alias("event_id")).select(
        pl.col(name).cast(dtype) for name, dtype in EVENT_SCHEMA.items()
    )
