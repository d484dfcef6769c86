"""A column that is only ever filled for one label: the amount of the purchase that was to be predicted."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import polars as pl

from training.leak import Column, Leak, Sheet, Suspect

__all__ = ["leak"]

ROWS = 20
PURE = 0.999
CHANCE = 1e-9
"""Probability below which so pure a column is no accident: base rate to the power of its rows."""


def _look(sheet: Sheet) -> Iterator[Suspect]:
    for name, column in sheet.columns.items():
        filled = _filled(column)
        rows, yes = int(filled.sum()), int(sheet.y[filled].sum())
        if rows < ROWS or rows == len(filled):
            continue
        for hits, label, base in ((yes, "yes", sheet.base), (rows - yes, "no", 1 - sheet.base)):
            if hits >= PURE * rows and rows * math.log(base) < math.log(CHANCE):
                yield Suspect(
                    name, f"is filled in {rows:,} rows, and {hits:,} of them are a {label}: it comes with the label"
                )


def _filled(column: Column) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Rows where something stands there: neither missing nor blank nor 0."""
    values = column.values
    if values.dtype == pl.String:
        there = values.str.strip_chars() != ""
    elif values.dtype.is_numeric() or values.dtype == pl.Boolean:
        there = values.cast(pl.Float64) != 0
    else:
        there = values.is_not_null()
    return there.fill_null(False).to_numpy()


leak = Leak(code="comes_with_label", title="is only ever filled for one label", severity="refuse", look=_look)
