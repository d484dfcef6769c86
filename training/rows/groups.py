"""Sensitive attributes as groups of people: a category as it is, a number by quarters of those learnt from."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl

__all__ = ["grouped"]

FEW = 6
"""Numbers of which there are no more than this stand for themselves."""


def grouped(values: pl.Series, fitted: pl.Series) -> pl.Series:
    """The group [n] of each row, as text; "" where it is not known.

    Args:
        values: [n] text or numbers.
        fitted: [n] bool, the rows learnt from: the quarters are theirs.

    >>> grouped(pl.Series([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, None]), pl.Series([True] * 9)).to_list()[3:6]
    ['2 to 4', '4 to 6', '4 to 6']
    """
    if values.dtype == pl.String:
        return values.fill_null("")
    known = values.filter(fitted).drop_nulls()
    if known.n_unique() <= FEW:
        return values.map_elements(lambda each: f"{each:g}", return_dtype=pl.String).fill_null("")
    cuts = sorted({float(f"{known.quantile(share, 'lower'):.3g}") for share in (0.25, 0.5, 0.75)})
    names = [f"to {cuts[0]:g}", *(f"{low:g} to {high:g}" for low, high in pairwise(cuts))]
    names.append(f"over {cuts[-1]:g}")
    band = np.searchsorted(cuts, values.cast(pl.Float64).fill_null(0.0).to_numpy())
    return pl.Series(names).gather(band).zip_with(values.is_not_null(), pl.Series([""] * len(values), dtype=pl.String))
