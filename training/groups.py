"""Sensitive attributes as groups of people: a category as it is, a number by quarters of those learnt from."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl

__all__ = ["grouped"]

MOST = 10
"""Groups of a category: the most frequent; the rest are one, `other`."""
FEW = 6
"""Numbers of which there are no more than this stand for themselves."""


def grouped(values: pl.Series, fitted: pl.Series) -> pl.Series:
    """The group [n] of each row, as text; "" where it is not known.

    Args:
        values: [n] text or numbers.
        fitted: [n] bool, the rows learnt from: which groups there are is decided by them.

    >>> grouped(pl.Series([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, None]), pl.Series([True] * 9)).to_list()[3:6]
    ['2 to 4', '4 to 6', '4 to 6']
    """
    known = values.filter(fitted).drop_nulls()
    if values.dtype == pl.String:
        counts = known.value_counts(name="rows", sort=False)
        kept = (
            counts.sort(["rows", counts.columns[0]], descending=[True, False]).get_column(counts.columns[0]).head(MOST)
        )
        column = pl.col(values.name)
        named = pl.when(column.is_in(kept.implode())).then(column).when(column.is_not_null()).then(pl.lit("other"))
        return values.to_frame().select(named.fill_null("")).to_series()
    if known.n_unique() <= FEW:
        return values.map_elements(lambda each: f"{each:g}", return_dtype=pl.String).fill_null("")
    cuts = sorted({float(f"{known.quantile(share, 'lower'):.3g}") for share in (0.25, 0.5, 0.75)})
    names = [f"to {cuts[0]:g}", *(f"{low:g} to {high:g}" for low, high in pairwise(cuts))]
    names.append(f"over {cuts[-1]:g}")
    band = np.searchsorted(cuts, values.cast(pl.Float64).fill_null(0.0).to_numpy())
    return (
        values.to_frame()
        .select(pl.when(values.is_not_null()).then(pl.Series(names).gather(band)).fill_null(""))
        .to_series()
    )
