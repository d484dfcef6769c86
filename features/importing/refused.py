"""The rows that were not used, as they stood, with their number, reason and the values at fault: to be mended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from features.importing.raw import Raw
from features.importing.schema import Recipe
from features.importing.source import REASON, ROW, TEXT, VALUES, source_of
from features.importing.table import Typed

__all__ = ["refused_rows"]

_SHOWN = 200
"""Characters of a value at fault."""


def refused_rows(
    recipe: Recipe, raw: Raw, table: Typed, reasons: pl.Series, fields: Mapping[str, Sequence[str]]
) -> pl.DataFrame:
    """Rows with a reason, and those of the raw table that had no columns; in the order of the source.

    Args:
        reasons: of each row of `raw.frame`, null where it was used.
        fields: by reason, the fields of the recipe it is about; of `unparsable_…` it is those that cannot be read.

    Returns:
        Columns `ROW`, `REASON`, `VALUES` (JSON), `TEXT` (of rows without columns), then the source's own.
    """
    held = reasons.is_not_null()
    parts = [_broken(raw)]
    if held.any():
        marks = [mask.filter(held).alias(f"_unread_{name}") for name, mask in table.unread.items()]
        rows = raw.frame.filter(held).with_columns(
            raw.numbers.filter(held).alias(ROW), reasons.filter(held).alias(REASON)
        )
        rows = rows.with_columns(marks).with_columns(_values(recipe, table, reasons, fields), pl.lit("").alias(TEXT))
        parts.append(rows.select(ROW, REASON, VALUES, TEXT, *raw.frame.columns))
    return pl.concat(parts, how="diagonal").sort(ROW, maintain_order=True)


def _broken(raw: Raw) -> pl.DataFrame:
    lost = raw.broken.select(
        pl.col("row").alias(ROW), pl.col("reason").alias(REASON), pl.lit("{}").alias(VALUES), pl.col("text").alias(TEXT)
    )
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in raw.frame.schema.items()]
    return lost.with_columns(missing)


def _values(recipe: Recipe, table: Typed, reasons: pl.Series, fields: Mapping[str, Sequence[str]]) -> pl.Expr:
    chosen = pl.lit("{}")
    for reason in reasons.drop_nulls().unique():
        if reason in ("unparsable_number", "unparsable_date"):
            wanted = "number" if reason == "unparsable_number" else "time"
            at_fault = [
                pl.when(pl.col(f"_unread_{name}")).then(_json(recipe, [name]))
                for name in table.unread
                if recipe.columns[name].type == wanted
            ]
            value = pl.coalesce(at_fault) if at_fault else pl.lit("{}")
        else:
            value = _json(recipe, fields.get(reason, ()))
        chosen = pl.when(pl.col(REASON) == reason).then(value).otherwise(chosen)
    return chosen.alias(VALUES)


def _json(recipe: Recipe, names: Iterable[str]) -> pl.Expr:
    columns = list(dict.fromkeys(source_of(recipe, name) for name in names if name in recipe.columns))
    if not columns:
        return pl.lit("{}")
    return pl.struct(
        pl.col(each).cast(pl.String, strict=False).str.slice(0, _SHOWN) for each in columns
    ).struct.json_encode()
