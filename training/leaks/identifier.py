"""A column that names the row: what it tells of the label is the order in which rows were written, or chance."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import polars as pl

from training.leak import Column, Leak, Sheet, Suspect

__all__ = ["leak"]

ROWS = 50
"""Fewer rows may all differ by chance."""
UNIQUE = 0.99
DENSE = 2
"""Numbers of a range no wider than this many times the rows are a count of them."""
_NAMED = re.compile(r"(^|[^a-z])(id|uuid|guid|key|index|row|nr|no|number|code)([^a-z]|$)")


def _look(sheet: Sheet) -> Iterator[Suspect]:
    for name, column in sheet.columns.items():
        known = column.values.drop_nulls()
        if len(known) < ROWS or known.n_unique() < UNIQUE * len(known) or not _names(column, known):
            continue
        told = f"; it tells the label apart all the same (AUC {column.alone:.2f})" if _tells(column) else ""
        yield Suspect(name, f"names the row: {known.n_unique():,} values in {len(known):,} rows{told}")


def _names(column: Column, known: pl.Series) -> bool:
    if known.dtype == pl.String:
        return True
    numbers = known.cast(pl.Float64, strict=False).to_numpy()
    if known.dtype.is_temporal() or not np.array_equal(numbers, np.floor(numbers)):
        return False
    steps = np.diff(numbers)
    counted = bool((steps > 0).all() or (steps < 0).all())
    dense = np.ptp(numbers) < DENSE * len(numbers)
    return counted or dense or bool(_NAMED.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column.name).lower()))


def _tells(column: Column) -> bool:
    """Of texts that all differ nothing is told; numbers may go with the order of the rows."""
    return column.values.dtype != pl.String and column.alone > 0.55


leak = Leak(code="identifier", title="names the row", severity="refuse", look=_look)
