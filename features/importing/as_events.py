"""Rows to events: each row gets a fate, rows of one event are aggregated, changes of attributes become profiles."""

from __future__ import annotations

import polars as pl

from features.frames import EVENT_SCHEMA
from features.importing.fate import Named, built_in, counted, fields_of, first_name, refusals
from features.importing.imported import Imported
from features.importing.profiles import id_part, id_text, properties_json, read_profiles, unfit_for_profile
from features.importing.raw import Raw
from features.importing.reasons import OF_EVENTS, UNREADABLE
from features.importing.refused import refused_rows
from features.importing.schema import EventRecipe, Use
from features.importing.source import source_of
from features.importing.sql import aggregate, condition
from features.importing.table import typed
from features.importing.valid import canonical, faults, unusable_id
from features.kernel.events import MAX_ID

__all__ = ["read_events"]

_OF_FAULT = {
    "event_id": "unusable_id",
    "customer_id": "unusable_id",
    "properties.name": "missing_name",
    "amount": "unusable_amount",
    "properties": "properties_too_large",
}
"""The reason of refusal of an event that the kernel would not take, by the field at fault."""


def read_events(recipe: EventRecipe, raw: Raw) -> Imported:
    """Events of a table's rows; `received_at` is `occurred_at`, ids depend on the rows alone.

    Raises:
        InvalidRecipe: a column is not of the type the recipe says.
    """
    table = typed(recipe, raw)
    rows = table.rows.with_columns(first_name(_refusals(recipe, raw)).alias("_refused"))
    rows = rows.with_columns(pl.when(pl.col("_refused").is_null()).then(first_name(_uses(recipe))).alias("_used"))
    rows = rows.with_columns(pl.coalesce("_refused", first_name(_unfit(recipe))).alias("_refused"))
    rows = _without_incomplete(recipe, rows)
    made: list[pl.DataFrame] = []
    used: dict[str, int] = {}
    for i, use in enumerate(recipe.used):
        grouped, rows = _checked(recipe, use, _aggregated(recipe, use, f"used[{i}]", rows), rows)
        made.append(grouped.select(*EVENT_SCHEMA))
        used[f"{use.reason} as {use.event}"] = int(grouped["_lines"].sum())
    events = pl.concat([*made, read_profiles(recipe, rows)])
    reasons = rows["_refused"]
    names = list(dict.fromkeys([*(each.reason for each in recipe.refused), *OF_EVENTS]))
    named = {source_of(recipe, name) for name in recipe.columns}
    return Imported(
        recipe=recipe.name,
        kind="events",
        rows_read=raw.height,
        used=used,
        counts=counted(names, pl.concat([reasons, raw.broken["reason"]])),
        events=events.sort("received_at", "event_id"),
        unused_columns=tuple(name for name in raw.frame.columns if name not in named),
        format=raw.format,
        refused=refused_rows(recipe, raw, table, reasons, _fields(recipe)),
        corrections=raw.corrections,
    )


def _refusals(recipe: EventRecipe, raw: Raw) -> list[Named]:
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
    return [*named, *unfit_for_profile(recipe)]


def _without_incomplete(recipe: EventRecipe, rows: pl.DataFrame) -> pl.DataFrame:
    """Refuse what is left of an event one of whose lines cannot be read: its amount would be wrong for good."""
    lost = rows.filter(pl.col("_refused").is_in(UNREADABLE) & pl.col("customer").is_not_null())
    if lost.is_empty():
        return rows
    for use in recipe.used:
        keys = [name for name in dict.fromkeys(("customer", *use.one_per)) if name != "row"]
        if "row" in use.one_per:
            continue  # each row is an event of its own
        marked = lost.select(keys).drop_nulls().unique().with_columns(pl.lit(True).alias("_lost"))
        torn = (pl.col("_used") == use.reason) & pl.col("_lost") & pl.col("_refused").is_null()
        reason = pl.when(torn).then(pl.lit("incomplete_event")).otherwise("_refused").alias("_refused")
        rows = rows.join(marked, on=keys, how="left", maintain_order="left").with_columns(reason).drop("_lost")
    return rows


def _event_id(recipe: EventRecipe, use: Use) -> pl.Expr:
    """`recipe:reason:customer:…`; a colon within a part is escaped, so that different keys never make one id."""
    keys = dict.fromkeys(("customer", *use.one_per))
    parts = [id_part(name, recipe.columns[name].type if name != "row" else "number") for name in keys]
    return id_text(recipe.name, use.reason, parts)


def _aggregated(recipe: EventRecipe, use: Use, path: str, rows: pl.DataFrame) -> pl.DataFrame:
    """One row an event: `EVENT_SCHEMA` and `_lines` (rows in it)."""
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
    filled = {"event_id", "customer_id", "type", "occurred_at", "received_at", "amount", "currency", "properties"}
    return grouped.with_columns(finite).with_columns(
        pl.lit(use.event).alias("type"),
        pl.col("occurred_at").alias("received_at"),
        pl.lit(recipe.currency if use.amount else None, pl.String).alias("currency"),
        *(pl.lit(None, dtype).alias(name) for name, dtype in EVENT_SCHEMA.items() if name not in {*filled, *fields}),
        properties_json(use.properties).alias("properties"),
    )


def _checked(
    recipe: EventRecipe, use: Use, grouped: pl.DataFrame, rows: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The events the kernel takes, and the rows with those refused whose event it would not take."""
    grouped = grouped.with_columns(canonical(grouped["properties"]))
    links = pl.any_horizontal([pl.lit(False), *(unusable_id(pl.col(name)) for name in use.fields)])
    fault = pl.coalesce(
        faults(grouped).replace(_OF_FAULT), pl.when(links.fill_null(False)).then(pl.lit("unusable_field"))
    )
    grouped = grouped.with_columns(fault.alias("_fault"))
    bad = grouped.filter(pl.col("_fault").is_not_null()).select("event_id", "_fault")
    if bad.height:
        mine = pl.col("_refused").is_null() & (pl.col("_used") == use.reason)
        rows = rows.with_columns(pl.when(mine).then(_event_id(recipe, use)).alias("event_id"))
        rows = rows.join(bad, on="event_id", how="left", maintain_order="left")
        rows = rows.with_columns(pl.coalesce("_refused", "_fault").alias("_refused")).drop("event_id", "_fault")
    return grouped.filter(pl.col("_fault").is_null()), rows


def _fields(recipe: EventRecipe) -> dict[str, list[str]]:
    """By reason the fields that it is about, for the report."""
    about = {reason: ["at"] for reason in ("missing_date", "date_out_of_range")}
    about |= {reason: ["customer"] for reason in ("missing_customer", "unusable_id")}
    amounts = [name for use in recipe.used if use.amount for name in pl.sql_expr(use.amount).meta.root_names()]
    about |= dict.fromkeys(("missing_amount", "unusable_amount"), amounts)
    tried = [name for use in recipe.used if use.when for name in pl.sql_expr(use.when).meta.root_names()]
    about |= {"no_rule_fits": tried, "incomplete_event": [name for use in recipe.used for name in use.one_per]}
    return about | fields_of(recipe)
