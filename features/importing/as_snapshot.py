"""Rows to labelled snapshots: what was known of someone at an instant, and what came of it."""

from __future__ import annotations

import polars as pl

from features.importing.fate import Named, built_in, counted, first_name, refusals, unusable_id
from features.importing.imported import Imported, SnapshotColumn, SnapshotInfo
from features.importing.reasons import OF_SNAPSHOTS
from features.importing.schema import SnapshotRecipe
from features.importing.table import BAD_TIME, as_text, source_of, typed

__all__ = ["read_snapshot"]

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def read_snapshot(recipe: SnapshotRecipe, raw: pl.DataFrame) -> Imported:
    """Labelled snapshots of a file's rows, in the file's order.

    Raises:
        InvalidRecipe: a column is not of the type the recipe says.
    """
    rows = _dated(recipe, typed(recipe, raw))
    label = as_text(raw[recipe.label.column]).str.strip_chars()
    unknown = label.is_null() | label.is_in(["", *recipe.missing])
    answer = pl.lit(label.eq(recipe.label.positive))
    rows = rows.with_columns(
        pl.col("row" if recipe.id == "row" else recipe.id).cast(pl.String).alias("_id"),
        answer.cast(pl.Int8).alias("_label"),
    )
    named: list[Named] = [
        *refusals(recipe, raw),
        *built_in("_as_of"),
        ("missing_id", pl.col("_id").is_null()),
        ("unusable_id", unusable_id(pl.col("_id"))),
        ("missing_label", pl.lit(unknown)),
        ("unlisted_label", pl.lit(~label.is_in([recipe.label.positive, recipe.label.negative]))),
    ]
    rows = rows.with_columns(first_name(named).alias("_refused"))
    names = [*(each.reason for each in recipe.refused), *OF_SNAPSHOTS]
    kept = rows.filter(pl.col("_refused").is_null())
    table = kept.select(
        pl.col("_id").alias("id"), pl.col("_as_of").alias("as_of"), pl.col("_label").alias("label"), *_features(recipe)
    )
    return Imported(
        recipe=recipe.name,
        kind="snapshot",
        rows_read=raw.height,
        used={"labelled snapshot": table.height},
        counts=counted(names, rows["_refused"]),
        table=table,
        snapshot=_info(recipe, table),
        unused_columns=_unnamed(recipe, raw),
    )


def _features(recipe: SnapshotRecipe) -> list[pl.Expr]:
    """Numbers as Float32, which is what every feature is, offline and online; categories as text."""
    kinds = {name: column.type for name, column in recipe.columns.items() if column.type in ("number", "category")}
    return [pl.col(name).cast(pl.Float32) if kind == "number" else pl.col(name) for name, kind in kinds.items()]


def _dated(recipe: SnapshotRecipe, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with `_as_of`; a date that is there but is none in the calendar is marked in `BAD_TIME`."""
    when = recipe.as_of
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
    )


def _unnamed(recipe: SnapshotRecipe, raw: pl.DataFrame) -> tuple[str, ...]:
    named = {recipe.label.column, *recipe.excluded, *(source_of(recipe, name) for name in recipe.columns)}
    return tuple(name for name in raw.columns if name not in named)
