"""Percentile bootstraps (Efron, 1979) over persons, and figures with the intervals they give.

Rows of one person at several cutoffs are not independent; resampling rows would call the figures surer than they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.kernel.card import Metric

__all__ = ["DRAWS", "Estimate", "bounds", "estimate", "metric", "weights"]

Floats = NDArray[np.float64]

DRAWS = 200
LEVEL = (2.5, 97.5)
"""Percentiles of the draws that bound a 95 % interval."""


class Estimate(NamedTuple):
    """Figures with their 95 % intervals: each [m]. NaN where a figure cannot be had of these rows."""

    value: Floats
    low: Floats
    high: Floats


def weights(person: NDArray[np.str_], rng: np.random.Generator, draws: int = DRAWS) -> Iterator[Floats]:
    """Row weights [n] of each draw: how often the row's person was drawn."""
    codes = np.unique(person, return_inverse=True)[1]
    people = int(codes.max()) + 1
    for _ in range(draws):
        drawn = np.bincount(rng.integers(people, size=people), minlength=people)
        yield drawn[codes].astype(np.float64)


def estimate(
    statistic: Callable[[Floats | None], Floats], person: NDArray[np.str_], rng: np.random.Generator, draws: int = DRAWS
) -> Estimate:
    """The figures [m] that `statistic` gives under row weights [n] (1 each, if None), with intervals by person."""
    value = np.asarray(statistic(None), dtype=np.float64)
    return Estimate(value, *bounds(value, [statistic(each) for each in weights(person, rng, draws)]))


def bounds(value: Floats, drawn: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Low and high [m] of draws [draws, m], widened to hold the figures [m]: resampling shifts some of them.

    >>> bounds(np.array([2.0, np.nan]), [np.array([each, np.nan]) for each in (1.0, 1.0, 1.5)])[1].tolist()
    [2.0, nan]
    """
    table = np.asarray(drawn, dtype=np.float64)
    known = ~np.isnan(table).all(axis=0)
    low, high = np.full(len(value), np.nan), np.full(len(value), np.nan)
    if known.any():
        low[known], high[known] = np.nanpercentile(table[:, known], LEVEL, axis=0)
    return np.fmin(low, value), np.fmax(high, value)


def metric(
    name: str, value: float, drawn: Sequence[float], baseline: float | None = None, *, higher_is_better: bool = True
) -> Metric:
    """A figure with its 95 % interval; widened to hold the figure, for resampling always adds calibration error."""
    low, high = bounds(np.array([value]), np.asarray(drawn, dtype=np.float64)[:, None].tolist())
    return Metric(
        name=name,
        value=value,
        low=float(low[0]),
        high=float(high[0]),
        baseline=baseline,
        higher_is_better=higher_is_better,
    )
