"""Rows to labelled snapshots: what was known of someone at an instant, and what came of it."""

from __future__ import annotations

import polars as pl

from features.importing.fate import Named, built_in, counted, fields_of, first_name, refusals
from features.importing.imported import Imported, SnapshotColumn, SnapshotInfo
from features.importing.raw import Raw
from features.importing.reasons import OF_SNAPSHOTS
from features.importing.refused import refused_rows
from features.importing.schema import SnapshotRecipe
from features.importing.source import source_of
from features.importing.table import BAD_TIME, as_text, stripped, typed
from features.importing.valid import unusable_id

__all__ = ["read_snapshot"]

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def read_snapshot(recipe: SnapshotRecipe, raw: Raw) -> Imported:
    """Labelled snapshots of a table's rows, in its order.

    Raises:
        InvalidRecipe: a column is not of the type the recipe says.
    """
    fields = typed(recipe, raw)
    label, arm = _outcome(recipe, raw), _arm(recipe, raw)
    rows = _dated(recipe, fields.rows).with_columns(
        pl.col("row" if recipe.id == "row" else recipe.id).cast(pl.String).alias("_id"),
        (label == recipe.label.positive).cast(pl.Int8).alias("_label"),
        arm.alias("treatment"),
    )
    rows = rows.with_columns(first_name(_refusals(recipe, raw, label, arm)).alias("_refused"))
    names = [*(each.reason for each in recipe.refused), *OF_SNAPSHOTS]
    kept = rows.filter(pl.col("_refused").is_null())
    table = kept.select(
        pl.col("_id").alias("id"),
        pl.col("_as_of").alias("as_of"),
        pl.col("_label").alias("label"),
        *(["treatment"] if recipe.treatment else []),
        *_features(recipe),
    )
    return Imported(
        recipe=recipe.name,
        kind="snapshot",
        rows_read=raw.height,
        used={"labelled snapshot": table.height},
        counts=counted(names, pl.concat([rows["_refused"], raw.broken["reason"]])),
        table=table,
        snapshot=_info(recipe, table),
        unused_columns=_unnamed(recipe, raw.frame),
        format=raw.format,
        refused=refused_rows(recipe, raw, fields, rows["_refused"], _about(recipe)),
        corrections=raw.corrections,
    )


def _refusals(recipe: SnapshotRecipe, raw: Raw, label: pl.Series, arm: pl.Series) -> list[Named]:
    return [
        *refusals(recipe, raw),
        *built_in("_as_of"),
        ("missing_id", pl.col("_id").is_null()),
        ("unusable_id", unusable_id(pl.col("_id"))),
        ("missing_label", pl.lit(label.is_null())),
        ("unlisted_label", pl.lit(~label.is_in([recipe.label.positive, recipe.label.negative]))),
        ("missing_treatment", pl.lit(arm.is_null() & (recipe.treatment is not None))),
    ]


def _outcome(recipe: SnapshotRecipe, raw: Raw) -> pl.Series:
    return _known(recipe, as_text(stripped(raw, raw.frame[recipe.label.column])))


def _arm(recipe: SnapshotRecipe, raw: Raw) -> pl.Series:
    if recipe.treatment is None:
        return pl.repeat(None, raw.frame.height, dtype=pl.String, eager=True)
    return _known(recipe, as_text(stripped(raw, raw.frame[recipe.treatment.column])))


def _known(recipe: SnapshotRecipe, text: pl.Series) -> pl.Series:
    return pl.select(pl.when(~text.is_in(["", *recipe.missing])).then(text)).to_series()


def _about(recipe: SnapshotRecipe) -> dict[str, list[str]]:
    """By reason the fields that it is about, for the report."""
    when = [name for name in (recipe.as_of.time, recipe.as_of.month, recipe.as_of.day) if name]
    about = dict.fromkeys(("unparsable_date", "missing_date", "date_out_of_range"), when)
    return about | {"missing_id": [recipe.id], "unusable_id": [recipe.id]} | fields_of(recipe)


def _features(recipe: SnapshotRecipe) -> list[pl.Expr]:
    """Numbers as Float32, which is what every feature is, offline and online; categories as text."""
    kinds = {name: column.type for name, column in recipe.columns.items() if column.type in ("number", "category")}
    return [pl.col(name).cast(pl.Float32) if kind == "number" else pl.col(name) for name, kind in kinds.items()]


def _dated(recipe: SnapshotRecipe, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with `_as_of`; a date that is there but is none in the calendar is marked in `BAD_TIME`."""
    when = recipe.as_of
    if when.instant:
        midnight = pl.lit(when.instant).str.to_datetime("%Y-%m-%d", time_unit="us")
        local = midnight.dt.replace_time_zone(recipe.time_zone, ambiguous="earliest", non_existent="null")
        return rows.with_columns(local.dt.convert_time_zone("UTC").alias("_as_of"))
    if when.time:
        return rows.with_columns(pl.col(when.time).alias("_as_of"))
    month, day = (
        _month(pl.col(when.month)),
        pl.col(when.day).cast(pl.Float64, strict=False).cast(pl.Int32, strict=False),
    )
    year, first = (int(part) for part in when.start.split("-"))
    # rows stand in order of time: where the month falls back, a year has passed
    known = month.forward_fill().fill_null(first)
    turned = (known < known.shift(1, fill_value=first)).cast(pl.Int32).cum_sum()
    local = _calendar(year + turned, month, day)
    instant = local.dt.replace_time_zone(recipe.time_zone, ambiguous="earliest", non_existent="null")
    dated = rows.with_columns(instant.dt.convert_time_zone("UTC").alias("_as_of"))
    given = pl.col(when.month).is_not_null() & pl.col(when.day).is_not_null()
    return dated.with_columns(pl.col(BAD_TIME) | (given & pl.col("_as_of").is_null()))


def _calendar(year: pl.Expr, month: pl.Expr, day: pl.Expr) -> pl.Expr:
    """Midnight of a day, null where the calendar has none."""
    text = pl.format("{}-{}-{}", year, month.cast(pl.String).str.zfill(2), day.cast(pl.String).str.zfill(2))
    return text.str.to_datetime("%Y-%m-%d", time_unit="us", strict=False)


def _month(column: pl.Expr) -> pl.Expr:
    """1 to 12 from a number or an English name, abbreviated or not; null otherwise."""
    text = column.cast(pl.String).str.to_lowercase()
    numbers = (
        {str(i): i for i in range(1, 13)} | {f"{i}.0": i for i in range(1, 13)} | {f"0{i}": i for i in range(1, 10)}
    )
    names = {name: i for i, name in enumerate(_MONTHS, 1)}
    by_name = text.str.slice(0, 3).replace_strict(names, default=None, return_dtype=pl.Int32)
    return pl.coalesce(text.replace_strict(numbers, default=None, return_dtype=pl.Int32), by_name)


def _info(recipe: SnapshotRecipe, table: pl.DataFrame) -> SnapshotInfo:
    columns = tuple(
        SnapshotColumn(
            name,
            "float32" if each.type == "number" else "category",
            each.unit,
            each.phrase or f"{name.replace('_', ' ')} is {{value}}",
        )
        for name, each in recipe.columns.items()
        if each.type in ("number", "category")
    )
    return SnapshotInfo(
        problem=recipe.problem,
        question=recipe.question,
        target=recipe.label.column,
        positive=recipe.label.positive,
        horizon_days=recipe.horizon_days,
        columns=columns,
        categories={
            each.name: tuple(table[each.name].drop_nulls().unique().sort())
            for each in columns
            if each.dtype == "category"
        },
        excluded=dict(recipe.excluded),
        baseline=recipe.baseline,
        arms=_arms(recipe, table),
    )


def _arms(recipe: SnapshotRecipe, table: pl.DataFrame) -> tuple[str, ...]:
    if recipe.treatment is None:
        return ()
    others = table["treatment"].unique().sort().to_list()
    return (recipe.treatment.control, *(each for each in others if each != recipe.treatment.control))


def _unnamed(recipe: SnapshotRecipe, frame: pl.DataFrame) -> tuple[str, ...]:
    named = {recipe.label.column, *recipe.excluded, *(source_of(recipe, name) for name in recipe.columns)}
    named |= {recipe.treatment.column} if recipe.treatment else set()
    return tuple(name for name in frame.columns if name not in named)
