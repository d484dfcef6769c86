"""What every view does around its own arithmetic: pair events with the spine, count within days, fill in zeros.

A view prepares the events it reads (types, JSON paths), `over_spine` pairs them with the spine's rows, and the view
says what the pairs of a row come to. `features.compute` bounds how many pairs there are at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

import polars as pl

from features.view import Feature, column_type

__all__ = [
    "DAY",
    "Paired",
    "days_since",
    "frame_of",
    "key_of",
    "known_from",
    "latest",
    "number",
    "over_spine",
    "paired",
    "text",
    "with_first",
    "within",
]

DAY = 86_400_000_000
"""Microseconds."""
_INSTANT = pl.Datetime("us", "UTC")
_KNOWN = (pl.col("occurred_at") < pl.col("as_of")) & (pl.col("received_at") <= pl.col("as_of"))


class Paired(NamedTuple):
    """Rows of a spine, each once, and what was known at each."""

    rows: pl.DataFrame
    """The spine's columns, `first_at`, and `row`, a number."""
    pairs: pl.DataFrame
    """`row`, `as_of`, `ago` (microseconds from the event to the instant) and the columns of the prepared events."""


def over_spine(
    features: tuple[Feature, ...],
    prepared: pl.DataFrame,
    spine: pl.DataFrame,
    summarise: Callable[[pl.DataFrame], pl.DataFrame],
    zeros: Collection[str] = (),
    derived: Mapping[str, pl.Expr] | None = None,
) -> pl.DataFrame:
    """One row per spine row, in its order: what `summarise` says of its pairs; nulls where nothing at all is known.

    Args:
        features: the columns of the result, after the key and `as_of`.
        prepared: the events the view reads, with the spine's key, `occurred_at`, `received_at`, columns of its own.
        spine: as `with_first` gives it.
        summarise: pairs (see `Paired`) to at most one row per `row`.
        zeros: columns that are 0 where something is known and `summarise` gives nothing: what can be counted.
        derived: columns made of those, and of what else stands in the spine.
    """
    rows, pairs = paired(prepared, spine)
    values = rows.join(summarise(pairs), on="row", how="left", maintain_order="left")
    something = pl.col("first_at").is_not_null()
    values = values.with_columns(pl.when(something).then(pl.col(name).fill_null(0)).alias(name) for name in zeros)
    made = {} if derived is None else derived
    values = values.with_columns(pl.when(something).then(each).alias(name) for name, each in made.items())
    return frame_of(features, values, spine)


def paired(prepared: pl.DataFrame, spine: pl.DataFrame) -> Paired:
    """Each spine row's events that were known at its instant. An event comes once for every row that knows it."""
    key = key_of(spine)
    rows = spine.with_columns(pl.col("as_of").cast(_INSTANT))
    if rows.select(key, "as_of").is_duplicated().any():
        rows = rows.unique([key, "as_of"], keep="first", maintain_order=True)
    rows = rows.with_row_index("row")
    pairs = prepared.join(rows.select(key, "as_of", "row"), on=key, how="inner").filter(_KNOWN)
    ago = (pl.col("as_of") - pl.col("occurred_at")).dt.total_microseconds()
    return Paired(rows, pairs.with_columns(ago=ago).drop(key))


def frame_of(features: tuple[Feature, ...], values: pl.DataFrame, spine: pl.DataFrame) -> pl.DataFrame:
    """The view's frame from a value a feature of each of `Paired.rows`; repeats in the spine are repeated."""
    key = key_of(spine)
    columns = [pl.col(each.name).cast(column_type(each)) for each in features]
    frame = values.select(key, "as_of", *columns)
    if frame.height == spine.height:
        return frame
    asked = spine.select(key, pl.col("as_of").cast(_INSTANT))
    return asked.join(frame, on=[key, "as_of"], how="left", maintain_order="left")


def with_first(events: pl.DataFrame, spine: pl.DataFrame) -> pl.DataFrame:
    """The spine with `first_at`: when the first event known of each row's entity occurred; null where none is known."""
    if "first_at" in spine.columns:
        return spine
    key = key_of(spine)
    rows = spine.select(key, pl.col("as_of").cast(_INSTANT)).unique()
    times = events.select(key, "occurred_at", "received_at")
    earliest = times.group_by(key).agg(pl.col("occurred_at").min().alias("earliest"))
    heard = times.join(earliest, on=key, how="inner")
    # Whoever has heard of the earliest event needs no other; before, only what was received before it can be known.
    of_earliest = heard.filter(pl.col("occurred_at") == pl.col("earliest")).group_by(key)
    bound = of_earliest.agg(pl.col("received_at").min().alias("bound"))
    of_use = times.join(bound, on=key, how="inner").filter(pl.col("received_at") <= pl.col("bound"))
    firsts = of_use.join(rows, on=key, how="inner").filter(_KNOWN).group_by(key, "as_of")
    found = firsts.agg(pl.col("occurred_at").min().alias("first_at"))
    whole = spine.with_columns(pl.col("as_of").cast(_INSTANT))
    return whole.join(found, on=[key, "as_of"], how="left", maintain_order="left")


def key_of(spine: pl.DataFrame) -> str:
    """The column that names the entity of a spine: `account_id` or `customer_id`."""
    return "account_id" if "account_id" in spine.columns else "customer_id"


def known_from() -> pl.Expr:
    """The first instant as of which an event is known: it occurred before it and was received by then."""
    return pl.max_horizontal(pl.col("occurred_at") + pl.duration(microseconds=1), pl.col("received_at"))


def within(days: int) -> pl.Expr:
    """Whether a pair's event occurred in [as_of - days, as_of)."""
    return pl.col("ago") <= days * DAY


def days_since(which: pl.Expr) -> pl.Expr:
    """Days from the last event of a kind to the instant, null without one (inside an aggregation over pairs)."""
    return pl.when(which).then(pl.col("ago")).min() / DAY


def latest(pairs: pl.DataFrame) -> pl.DataFrame:
    """Pairs in the order in which they count: by row, then time, receipt and event id, so that no two are equal."""
    return pairs.sort("row", "occurred_at", "received_at", "event_id")


def text(path: str) -> pl.Expr:
    """A property as text, null where it is absent."""
    return pl.col("properties").str.json_path_match(f"$.{path}")


def number(path: str) -> pl.Expr:
    """A property as a finite number, null where it is absent or none."""
    value = text(path).cast(pl.Float64, strict=False)
    return pl.when(value.is_finite()).then(value)
