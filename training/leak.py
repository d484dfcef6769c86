"""A leak: a column that could not have been known when the decision was made. One check a file in `training/leaks/`.

`leak = Leak(...)` is all a file needs. A table says nothing of when its columns were written; what a check has is how
they look beside the label. A model of a leaking column shines on every test and fails on the first day (Kaufman, Rosset
& Perlich, "Leakage in data mining", 2012).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.kernel.seeds import generator

__all__ = ["ROW_ORDER", "Column", "Leak", "Sheet", "Suspect", "area"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

ROW_ORDER = "(row order)"
"""Stands for a column in what is said of the order of the rows."""

_BINS, _FOLDS, _PRIOR_ROWS = 64, 5, 20


class Suspect(NamedTuple):
    """A column that a check speaks of, and its sentence."""

    column: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Leak:
    """A check with its name. `refuse`: such a column is left out unless allowed; `warn`: it stays, with a note."""

    code: str
    title: str
    severity: Literal["refuse", "warn"]
    look: Callable[[Sheet], Iterator[Suspect]]


class Column:
    """One raw column beside the label. What is costly to find is found once, when asked for."""

    def __init__(self, name: str, values: pl.Series, y: Floats, fold: Ints) -> None:
        self.name, self.values = name, values
        self._y, self._fold = y, fold

    @cached_property
    def codes(self) -> Ints:
        """[n] bin of each value: 0 is missing; numbers and times in up to 64 equal-count bins, texts one each."""
        if self.values.dtype == pl.String:
            return self.values.rank("dense").fill_null(0).to_numpy().astype(np.intp)
        numbers = self.values.cast(pl.Float64, strict=False).to_numpy()
        codes, known = np.zeros(len(numbers), dtype=np.intp), np.isfinite(numbers)
        if known.any():
            edges = np.unique(np.quantile(numbers[known], np.linspace(0, 1, _BINS + 1)[1:-1]))
            codes[known] = 1 + np.searchsorted(edges, numbers[known], side="right")
        return codes

    @cached_property
    def rates(self) -> Floats:
        """[n] rate of yes among the other folds' rows of the same bin, drawn to the base rate by 20 rows of it."""
        rates, width, base = np.empty(len(self._y)), int(self.codes.max()) + 1, float(self._y.mean())
        for fold in range(_FOLDS):
            out = self._fold == fold
            rows = np.bincount(self.codes[~out], minlength=width)
            hits = np.bincount(self.codes[~out], weights=self._y[~out], minlength=width)
            rates[out] = ((hits + _PRIOR_ROWS * base) / (rows + _PRIOR_ROWS))[self.codes[out]]
        return rates

    @cached_property
    def alone(self) -> float:
        """Area under the ROC curve of the column alone, in whichever shape it tells; .5 is nothing."""
        return area(self._y, self.rates)


class Sheet:
    """The training rows of a table: raw columns, the label, and the rows' own time if there is one.

    Args:
        rows: the columns to judge: numbers, booleans, text, dates.
        y: [n] 0 or 1; both occur.
        time: [n] when each row was decided on, or None.
    """

    def __init__(self, rows: pl.DataFrame, y: Floats, time: pl.Series | None = None) -> None:
        self.y, self.time = y, time
        self.fold = generator("leaks").integers(0, _FOLDS, len(y))
        self.columns = {each.name: Column(each.name, each, y, self.fold) for each in rows.get_columns()}

    @property
    def base(self) -> float:
        """Share of yes."""
        return float(self.y.mean())

    @cached_property
    def order(self) -> Column:
        """The order of the rows as if it were a column."""
        return Column(ROW_ORDER, pl.Series(np.arange(len(self.y))), self.y, self.fold)

    def timed(self, name: str) -> bool:
        """Whether a column says itself when it was recorded, and the rows when they were decided on."""
        return self.time is not None and self.columns[name].values.dtype.is_temporal()


def area(y: Floats, score: Floats) -> float:
    """Area under the ROC curve (Hanley & McNeil, 1982), ties half."""
    ranks = pl.Series(score).rank("average").to_numpy()
    positives = float(y.sum())
    negatives = len(y) - positives
    return float((ranks[y > 0].sum() - positives * (positives + 1) / 2) / (positives * negatives))
