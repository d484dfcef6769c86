"""Columns of labelled rows as float32 matrices, filled column by column: beside them stands never more than one column.

The store's answer may have fewer rows than there are labels (a person is sent several messages after one cutoff), so
the two are never joined: each row knows the place of its values.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.kernel.card import Candidates, CardFeature, column_name
from training.trainingset import encode

__all__ = ["Values", "filled", "typical", "with_vocabulary"]

MOST_CATEGORIES = 100
Places = NDArray[np.intp]


class Values(NamedTuple):
    """Feature values, and where in them those of each row stand."""

    frame: pl.DataFrame
    """Columns by `column_name`."""
    place: Places
    """[n]: row i has its values at `frame[place[i]]`."""

    def column(self, ref: str, rows: Places) -> pl.Series:
        """The values of a reference at some rows."""
        return self.frame.get_column(column_name(ref)).gather(self.place[rows])


def filled(
    values: Values, rows: Places, features: tuple[CardFeature, ...], candidates: Candidates | None, taken: NDArray[Any]
) -> NDArray[np.float32]:
    """[m, k] float32, C-contiguous: features, then of each candidate column the value at the row's own candidate.

    Args:
        rows: [m], which of the rows.
        taken: [n], the candidate of every row; empty where there are none.
    """
    width = len(features) + (len(candidates.columns) if candidates else 0)
    x = np.empty((len(rows), width), dtype=np.float32)
    for i, feature in enumerate(features):
        column = values.column(feature.ref, rows)
        x[:, i] = encode(column.to_list(), feature.vocabulary) if feature.dtype == "category" else _numbers(column)
    if candidates:
        for i, at_candidate in enumerate(
            _candidate_columns(values, rows, candidates, taken[rows]), start=len(features)
        ):
            x[:, i] = at_candidate
    return x


def with_vocabulary(feature: CardFeature, values: Values, train: Places) -> CardFeature:
    """A category with the values of the training rows as its vocabulary: the 100 most frequent, sorted."""
    if feature.dtype != "category":
        return feature
    counts = values.column(feature.ref, train).drop_nulls().value_counts(sort=False, name="rows")
    ranked = counts.sort(["rows", counts.columns[0]], descending=[True, False])
    vocabulary = tuple(sorted(ranked.get_column(counts.columns[0]).head(MOST_CATEGORIES).to_list()))
    return msgspec.structs.replace(feature, vocabulary=vocabulary)


def typical(column: pl.Series) -> float | str | None:
    """Median of numbers, most frequent of strings (the first of equals); None where all is missing."""
    known = column.drop_nulls()
    if known.is_empty():
        return None
    if column.dtype == pl.String:
        counts = known.value_counts(name="rows")
        return str(counts.sort(["rows", counts.columns[0]], descending=[True, False]).item(0, 0))
    return float(np.median(known.cast(pl.Float32).to_numpy()))


def _numbers(column: pl.Series) -> NDArray[np.float32]:
    """As the store holds them; NaN where missing."""
    return column.cast(pl.Float32).fill_null(float("nan")).to_numpy()


def _candidate_columns(
    values: Values, rows: Places, candidates: Candidates, taken: NDArray[Any]
) -> Iterator[NDArray[np.float32]]:
    """[m] each. Of a column with references, only the cells that were taken are read."""
    for column in candidates.columns:
        if column.values:
            yield np.asarray(column.values, dtype=np.float32)[taken]
            continue
        distinct = list(dict.fromkeys(column.refs))
        which = np.array([distinct.index(ref) for ref in column.refs])[taken]
        found = np.empty(len(rows), dtype=np.float32)
        for i, ref in enumerate(distinct):
            here = np.flatnonzero(which == i)
            found[here] = _numbers(values.column(ref, rows[here]))
        yield found
