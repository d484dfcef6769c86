"""View frames (Polars) as the columns that `layout.pack` takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from features.kernel.errors import InvalidInput
from features.packed.layout import Column, Field, Schema, Strings

__all__ = ["columns_of", "micros"]

_INSTANT = pl.Datetime("us", "UTC")
_TYPES = {"float32": pl.Float32, "int64": pl.Int64, "bool": pl.Boolean, "string": pl.String}


def columns_of(schema: Schema, frame: pl.DataFrame) -> dict[str, Column]:
    """The columns of every field of the schema, whatever width a number has in the frame.

    Lists may be Polars lists or arrays, and null as a whole or in part.

    Raises:
        InvalidInput: a column lacks or cannot be of its field's type; a list has another length.
    """
    return {each.name: _column(schema, each, frame) for each in schema.fields}


def micros(series: pl.Series) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Instants as microseconds since 1970."""
    return series.cast(_INSTANT).cast(pl.Int64).to_numpy()


def _column(schema: Schema, field: Field, frame: pl.DataFrame) -> Column:
    ref = f"{schema.name}:{field.name}"
    if field.name not in frame.columns:
        raise InvalidInput("is missing from the frame", field=ref, remedy=f"it has {', '.join(frame.columns)}")
    series = frame[field.name]
    try:
        if field.length is not None:
            return _list(series, field.length, ref)
        series = series.cast(_TYPES[field.dtype])
    except pl.exceptions.PolarsError as error:
        raise InvalidInput(f"cannot be read as {field.kind}: {error}", field=ref) from None
    if field.dtype == "string":
        lengths = series.str.len_bytes().cast(pl.Int64).fill_null(-1).to_numpy()
        together = series.drop_nulls().str.join("").item() or ""
        return Strings(np.frombuffer(together.encode(), np.uint8), lengths)
    return _masked(series)


def _list(series: pl.Series, length: int, ref: str) -> Column:
    lists = series.cast(pl.List(pl.Float32))
    sizes = lists.list.len()
    wrong = lists.filter(sizes != length)
    if len(wrong):
        raise InvalidInput(f"must be a list of {length}", field=ref, value=wrong[0].to_list())
    whole = lists.to_frame("list").select(
        pl.when(pl.col("list").is_null()).then(pl.lit([None] * length, pl.List(pl.Float32))).otherwise(pl.col("list"))
    )
    numbers = _masked(whole.to_series().explode())
    return np.ma.MaskedArray(numbers.data.reshape(-1, length), np.ma.getmaskarray(numbers).reshape(-1, length))


def _masked(series: pl.Series) -> np.ma.MaskedArray[Any, Any]:
    if not series.null_count():  # most columns, and many times as fast
        return np.ma.MaskedArray(series.to_numpy())
    filled = series.fill_null(series.dtype != pl.Boolean and 0)
    return np.ma.MaskedArray(filled.to_numpy(), series.is_null().to_numpy())
