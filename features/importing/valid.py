"""The rules of `features.kernel.events.Event` for a whole frame at once, without an object an event."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import polars as pl

from features.kernel.events import EVENT_TYPES, MAX_AMOUNT, MAX_ID, MAX_PROPERTIES

__all__ = ["canonical", "faults", "unusable_id"]

_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)
_ENCODE = msgspec.json.Encoder(order="sorted").encode
_DECODE = msgspec.json.Decoder(dict[str, Any]).decode


def faults(events: pl.DataFrame) -> pl.Series:
    """Of each event the field for which `Event` would refuse it, null where it would not.

    Args:
        events: columns `features.frames.EVENT_SCHEMA`; `properties` as `canonical` makes them.
    """
    amount, kind = pl.col("amount"), pl.col("type")
    priced = kind.is_in(["order", "refund"])
    nameless = pl.lit(_without_name(events))
    rules: list[tuple[str, pl.Expr]] = [
        *((name, _unusable(name)) for name in ("event_id", "customer_id")),
        ("type", ~kind.is_in(list(EVENT_TYPES)).fill_null(False)),
        ("properties.name", nameless),
        *((name, ~_in_range(name)) for name in ("occurred_at", "received_at")),
        ("amount", ~(amount.abs() <= MAX_AMOUNT) | (priced & (amount.is_null() | (amount < 0)))),
        ("properties", pl.col("properties").str.len_bytes() > MAX_PROPERTIES),
    ]
    named = [pl.when(rule.fill_null(False)).then(pl.lit(name)) for name, rule in rules]
    return events.select(pl.coalesce(named).alias("fault")).to_series()


def canonical(properties: pl.Series) -> pl.Series:
    """JSON text as the ledger writes it: keys sorted, no blanks; `{}` and nothing are both null.

    Raises:
        msgspec.DecodeError: a text is no JSON object.
    """
    texts = properties.drop_nulls().unique()
    if texts.is_empty():
        return properties.cast(pl.String)
    written = [_ENCODE(_DECODE(text)).decode() for text in texts]
    table = pl.Series([None if text == "{}" else text for text in written], dtype=pl.String)
    return properties.replace_strict(texts, table, default=None, return_dtype=pl.String)


def unusable_id(text: pl.Expr) -> pl.Expr:
    """Whether an id is longer than the ledger takes, or holds NUL."""
    return (text.str.len_chars() > MAX_ID) | text.str.contains("\x00", literal=True)


def _unusable(name: str) -> pl.Expr:
    return pl.col(name).is_null() | (pl.col(name) == "") | unusable_id(pl.col(name))


def _in_range(name: str) -> pl.Expr:
    return pl.col(name).is_between(_FIRST, _LAST, closed="left").fill_null(False)


def _without_name(events: pl.DataFrame) -> pl.Series:
    custom = (events["type"] == "custom").fill_null(False)
    if not custom.any():
        return custom
    texts = events.filter(custom)["properties"].unique()
    nameless = [text for text in texts if text is None or not _DECODE(text).get("name")]
    return custom & events["properties"].is_in(nameless, nulls_equal=True)
