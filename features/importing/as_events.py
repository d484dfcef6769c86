"""Rows to events: each row gets a fate, rows of one event are aggregated, changes of attributes become profiles."""

from __future__ import annotations

import polars as pl

from features.frames import EVENT_SCHEMA
from features.importing.fate import Named, built_in, counted, first_name, refusals, unusable_id
from features.importing.imported import Imported
from features.importing.reasons import OF_EVENTS
from features.importing.schema import EventRecipe, Use
from features.importing.sql import aggregate, condition
from features.importing.table import source_of, typed
from features.kernel.events import MAX_ID

__all__ = ["read_events"]

_JOIN = ":"


def read_events(recipe: EventRecipe, raw: pl.DataFrame) -> Imported:
    """Events of a file's rows; `received_at` is `occurred_at`, ids depend on the rows alone.

    Raises:
        InvalidRecipe: a column is not of the type the recipe says.
    """
    rows = typed(recipe, raw)
    rows = rows.with_columns(first_name(_refusals(recipe, raw)).alias("_refused"))
    rows = rows.with_columns(pl.when(pl.col("_refused").is_null()).then(first_name(_uses(recipe))).alias("_used"))
    rows = rows.with_columns(pl.coalesce("_refused", first_name(_unfit(recipe))).alias("_refused"))
    made, refused = [], [rows["_refused"]]
    used: dict[str, int] = {}
    for i, use in enumerate(recipe.used):
        grouped = _aggregated(recipe, use, f"used[{i}]", rows)
        good, bad = grouped.filter(~pl.col("_unusable")), grouped.filter("_unusable")
        made.append(good.select(*EVENT_SCHEMA))
        used[f"{use.reason} as {use.event}"] = int(good["_lines"].sum())
        refused.append(pl.repeat("unusable_amount", int(bad["_lines"].sum()), dtype=pl.String, eager=True))
    events = pl.concat([*made, _profiles(recipe, rows)])
    names = [*(each.reason for each in recipe.refused), *OF_EVENTS]
    named = {source_of(recipe, name) for name in recipe.columns}
    return Imported(
        recipe=recipe.name,
        kind="events",
        rows_read=raw.height,
        used=used,
        counts=counted(names, pl.concat(refused)),
        events=events.sort("received_at", "event_id"),
        unused_columns=tuple(name for name in raw.columns if name not in named),
    )


def _refusals(recipe: EventRecipe, raw: pl.DataFrame) -> list[Named]:
    return [
        *refusals(recipe, raw),
        *built_in("at"),
        ("missing_customer", pl.col("customer").is_null()),
        ("unusable_id", unusable_id(pl.col("customer"))),
    ]


def _uses(recipe: EventRecipe) -> list[Named]:
    return [
        (use.reason, condition(recipe, use.when, f"used[{i}].when") if use.when else pl.lit(True))
        for i, use in enumerate(recipe.used)
    ]


def _unfit(recipe: EventRecipe) -> list[Named]:
    """Rows whose rule is known but that cannot be used under it."""
    named: list[Named] = [("no_rule_fits", pl.col("_refused").is_null() & pl.col("_used").is_null())]
    for i, use in enumerate(recipe.used):
        mine = pl.col("_used") == use.reason
        named.append(("unusable_id", mine & (_event_id(recipe, use).str.len_chars() > MAX_ID)))
        if use.amount:
            amount = aggregate(recipe, use.amount, f"used[{i}].amount", keep_first=False)
            unknown = [pl.col(name).is_null() for name in sorted(set(amount.meta.root_names()))]
            named.append(("missing_amount", mine & pl.any_horizontal(unknown or [pl.lit(False)])))
    return named


def _event_id(recipe: EventRecipe, use: Use) -> pl.Expr:
    """`recipe:reason:customer:…`; a colon within a part is escaped, so that different keys never make one id."""
    keys = dict.fromkeys(("customer", *use.one_per))
    parts = [_part(name, recipe.columns[name].type if name != "row" else "number") for name in keys]
    return pl.concat_str([pl.lit(recipe.name), pl.lit(use.reason), *parts], separator=_JOIN)


def _part(name: str, kind: str) -> pl.Expr:
    if kind == "time":
        return pl.col(name).dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ").fill_null("")
    text = pl.col(name).cast(pl.String).fill_null("")
    return text.str.replace_all("%", "%25", literal=True).str.replace_all(_JOIN, "%3A", literal=True)


def _aggregated(recipe: EventRecipe, use: Use, path: str, rows: pl.DataFrame) -> pl.DataFrame:
    """One row an event: `EVENT_SCHEMA`, `_lines` (rows in it) and `_unusable` (its amount cannot be)."""
    mine = rows.filter(pl.col("_refused").is_null() & (pl.col("_used") == use.reason))
    amount = aggregate(recipe, use.amount, f"{path}.amount", keep_first=False) if use.amount else pl.lit(None)
    fields = {
        name: aggregate(recipe, text, f"{path}.fields.{name}", keep_first=True) for name, text in use.fields.items()
    }
    inside = {
        f"_p_{name}": aggregate(recipe, use.properties[name], f"{path}.properties.{name}", keep_first=True)
        for name in sorted(use.properties)
    }
    # in the file's order: a sum of floats depends on it, and a repeated import must agree bit for bit
    grouped = mine.group_by(_event_id(recipe, use).alias("event_id"), maintain_order=True).agg(
        pl.col("customer").first().alias("customer_id"),
        pl.col("at").min().alias("occurred_at"),
        (amount.cast(pl.Float64).round(2) + 0.0).alias("amount"),
        pl.len().alias("_lines"),
        *(each.cast(pl.String).alias(name) for name, each in fields.items()),
        *(each.alias(name) for name, each in inside.items()),
    )
    finite = [pl.when(pl.col(name).is_finite()).then(pl.col(name)) for name in inside if grouped[name].dtype.is_float()]
    negative = (pl.col("amount") < 0) if use.event in ("order", "refund") else pl.lit(False)
    return grouped.with_columns(finite).with_columns(
        pl.lit(use.event).alias("type"),
        pl.col("occurred_at").alias("received_at"),
        pl.lit(recipe.currency if use.amount else None, pl.String).alias("currency"),
        *(pl.lit(None, dtype).alias(name) for name, dtype in EVENT_SCHEMA.items() if name not in _filled(use)),
        _json(use.properties).alias("properties"),
        (negative | ~pl.col("amount").is_finite()).fill_null(False).alias("_unusable"),
    )


def _filled(use: Use) -> set[str]:
    made = ("event_id", "customer_id", "type", "occurred_at", "received_at", "amount", "currency", "properties")
    return {*made, *use.fields}


def _json(names: dict[str, str]) -> pl.Expr:
    """Columns `_p_<name>` as JSON with sorted keys; null if there are none."""
    if not names:
        return pl.lit(None, pl.String)
    return pl.struct(pl.col(f"_p_{name}").alias(name) for name in sorted(names)).struct.json_encode()


def _profiles(recipe: EventRecipe, rows: pl.DataFrame) -> pl.DataFrame:
    """A profile event when a customer is first seen, and whenever one of the attributes has changed since."""
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
    return changed.select(
        pl.concat_str(
            [pl.lit(recipe.name), pl.lit("profile"), _part("customer", "id"), _part("at", "time")], separator=_JOIN
        ).alias("event_id"),
        pl.col("customer").alias("customer_id"),
        pl.lit("profile").alias("type"),
        pl.col("at").alias("occurred_at"),
        pl.col("at").alias("received_at"),
        *(pl.lit(None, EVENT_SCHEMA[name]).alias(name) for name in ("account_id", "channel", "campaign")),
        *(pl.lit(None, EVENT_SCHEMA[name]).alias(name) for name in ("message_id", "decision_id", "amount", "currency")),
        _json(recipe.profile).alias("properties"),
    ).select(*EVENT_SCHEMA)
