"""What every view does around its own arithmetic: pair events with the spine, keep memory bounded, fill in zeros.

A view prepares the events it reads once (types, JSON paths) and gives one row per (customer, instant) from pairs; the
pairs of many instants are made in parts, so that a spine of a hundred cutoffs needs no more memory than one of three.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import polars as pl

from features.frames import known
from features.view import Feature

__all__ = ["DAY", "days_since", "known_from", "number", "over_spine", "text", "within"]

PAIRS_AT_ONCE = 1_500_000
"""Pairs of event and instant held at a time: about 200 MB with the widest view."""

KEYS = ("customer_id", "as_of")
DAY = 86_400_000_000
"""Microseconds."""
_INSTANT = pl.Datetime("us", "UTC")
_TYPES: dict[str, type[pl.DataType]] = {"float32": pl.Float32, "string": pl.String}


def over_spine(
    features: tuple[Feature, ...],
    events: pl.DataFrame,
    prepared: pl.DataFrame,
    spine: pl.DataFrame,
    summarise: Callable[[pl.DataFrame], pl.DataFrame],
    defaults: Mapping[str, float],
) -> pl.DataFrame:
    """One row per spine row, in its order: what `summarise` says of its pairs, else the default, else null.

    Args:
        features: the columns of the result, after `customer_id` and `as_of`.
        events: all events; a customer with none known at an instant gets nulls only.
        prepared: those the view reads, with `customer_id`, `occurred_at`, `received_at` and columns of its own.
        spine: `customer_id`, `as_of`.
        summarise: pairs (the columns of `prepared` and `as_of`) to one row per `customer_id`, `as_of`. It sees numbers
            in place of customer ids, which group faster.
        defaults: values of a known customer where `summarise` gives none: 0 for what can be counted.
    """
    rows = spine.select(pl.col("customer_id"), pl.col("as_of").cast(_INSTANT))
    keys = rows.unique()
    codes = keys.select("customer_id").unique().with_row_index("code")
    coded_keys, coded = _coded(keys, codes), _coded(prepared, codes)
    found = pl.concat([summarise(known(coded, part)) for part in _parts(coded_keys, coded)])
    anything = known(_coded(_first_known(events), codes), coded_keys).select(*KEYS, known=pl.lit(True))
    values = coded_keys.join(found, on=KEYS, how="left").join(anything, on=KEYS, how="left")
    columns = [_column(each, defaults.get(each.name)) for each in features]
    named = values.join(codes.rename({"customer_id": "id", "code": "customer_id"}), on="customer_id")
    named = named.select(pl.col("id").alias("customer_id"), "as_of", *columns)
    return rows.join(named, on=KEYS, how="left", maintain_order="left")


def known_from() -> pl.Expr:
    """The first instant as of which an event is known: it occurred before it and was received by then."""
    return pl.max_horizontal(pl.col("occurred_at") + pl.duration(microseconds=1), pl.col("received_at"))


def within(days: int) -> pl.Expr:
    """Whether a pair's event occurred in [as_of - days, as_of)."""
    return pl.col("occurred_at") >= pl.col("as_of") - pl.duration(days=days)


def days_since(which: pl.Expr) -> pl.Expr:
    """Days from the last event of a kind to the instant, null without one (inside an aggregation over pairs)."""
    last = pl.col("occurred_at").filter(which).max()
    return (pl.col("as_of").first() - last).dt.total_microseconds() / DAY


def text(path: str) -> pl.Expr:
    """A property as text, null where it is absent."""
    return pl.col("properties").str.json_path_match(f"$.{path}")


def number(path: str) -> pl.Expr:
    """A property as a finite number, null where it is absent or none."""
    value = text(path).cast(pl.Float64, strict=False)
    return pl.when(value.is_finite()).then(value)


def _column(feature: Feature, default: float | None) -> pl.Expr:
    column = pl.col(feature.name)
    if default is not None:
        column = pl.when(pl.col("known")).then(column.fill_null(default))
    return column.cast(_TYPES[feature.dtype])


def _coded(frame: pl.DataFrame, codes: pl.DataFrame) -> pl.DataFrame:
    return frame.join(codes, on="customer_id", how="inner").drop("customer_id").rename({"code": "customer_id"})


def _first_known(events: pl.DataFrame) -> pl.DataFrame:
    first = pl.struct("occurred_at", "received_at").get(known_from().arg_min())
    return events.group_by("customer_id").agg(first.alias("first")).unnest("first")


def _parts(keys: pl.DataFrame, prepared: pl.DataFrame) -> list[pl.DataFrame]:
    counts = prepared.group_by("customer_id").len("pairs")
    sized = keys.join(counts, on="customer_id", how="left").sort("as_of", "customer_id")
    part = pl.col("pairs").fill_null(0).cum_sum() // PAIRS_AT_ONCE
    parts = sized.with_columns(part.alias("part")).partition_by("part", include_key=False, maintain_order=True)
    return [each.drop("pairs") for each in parts] or [keys]
