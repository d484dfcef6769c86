"""Profile events: a customer's attributes when first seen, and whenever one of them has changed. Ids of events."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from features.frames import EVENT_SCHEMA
from features.importing.schema import EventRecipe
from features.importing.valid import canonical
from features.kernel.events import MAX_ID, MAX_PROPERTIES

__all__ = ["id_part", "id_text", "properties_json", "read_profiles", "unfit_for_profile"]

_JOIN = ":"


def id_text(recipe: str, reason: str, parts: Iterable[pl.Expr]) -> pl.Expr:
    """`recipe:reason:part:…`, the id of an event."""
    return pl.concat_str([pl.lit(recipe), pl.lit(reason), *parts], separator=_JOIN)


def id_part(name: str, kind: str) -> pl.Expr:
    """A field as a part of an id; a colon in it is escaped."""
    if kind == "time":
        return pl.col(name).dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ").fill_null("")
    text = pl.col(name).cast(pl.String).fill_null("")
    return text.str.replace_all("%", "%25", literal=True).str.replace_all(_JOIN, "%3A", literal=True)


def properties_json(names: Iterable[str]) -> pl.Expr:
    """Columns `_p_<name>` as a JSON object; null if there are none."""
    columns = [pl.col(f"_p_{name}").alias(name) for name in sorted(names)]
    return pl.struct(columns).struct.json_encode() if columns else pl.lit(None, pl.String)


def unfit_for_profile(recipe: EventRecipe) -> list[tuple[str, pl.Expr]]:
    """Rows whose attributes could make a profile event too large, or whose customer one with too long an id."""
    if not recipe.profile:
        return []
    # JSON may write one byte as six, and attributes of several rows may come together in one event
    most = MAX_PROPERTIES // (8 * len(recipe.profile))
    large = [pl.col(name).cast(pl.String).str.len_bytes() > most for name in recipe.profile.values()]
    return [
        ("unusable_id", _profile_id(recipe).str.len_chars() > MAX_ID),
        ("properties_too_large", pl.any_horizontal(large)),
    ]


def _profile_id(recipe: EventRecipe) -> pl.Expr:
    return id_text(recipe.name, "profile", [id_part("customer", "id"), id_part("at", "time")])


def read_profiles(recipe: EventRecipe, rows: pl.DataFrame) -> pl.DataFrame:
    """Profile events of typed rows that were not refused (`_refused`): columns `EVENT_SCHEMA`."""
    if not recipe.profile:
        return pl.DataFrame(schema=EVENT_SCHEMA)
    names = [f"_p_{each}" for each in sorted(recipe.profile)]
    seen = (
        rows.filter(pl.col("_refused").is_null())
        .sort("customer", "at", "row")
        .select("customer", "at", *(pl.col(recipe.profile[each[3:]]).alias(each) for each in names))
        .with_columns(pl.col(names).forward_fill().over("customer"))
        .unique(["customer", "at"], keep="last", maintain_order=True)
        .filter(pl.any_horizontal(pl.col(names).is_not_null()))
    )
    before = pl.struct(names).shift(1).over("customer")
    changed = seen.filter(before.is_null() | pl.struct(names).ne_missing(before))
    made = changed.select(
        _profile_id(recipe).alias("event_id"),
        pl.col("customer").alias("customer_id"),
        pl.lit("profile").alias("type"),
        pl.col("at").alias("occurred_at"),
        pl.col("at").alias("received_at"),
        *(pl.lit(None, EVENT_SCHEMA[name]).alias(name) for name in ("account_id", "channel", "campaign")),
        *(pl.lit(None, EVENT_SCHEMA[name]).alias(name) for name in ("message_id", "decision_id", "amount", "currency")),
        properties_json(recipe.profile).alias("properties"),
    ).select(*EVENT_SCHEMA)
    return made.with_columns(canonical(made["properties"]))
