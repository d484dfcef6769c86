"""Percentile bootstraps (Efron, 1979) over persons, and figures with the intervals they give.

Rows of one person at several cutoffs are not independent; resampling rows would call the figures surer than they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from features.kernel.card import Metric

__all__ = ["DRAWS", "metric", "weights"]

Floats = NDArray[np.float64]

DRAWS = 200


def weights(person: NDArray[np.str_], rng: np.random.Generator, draws: int = DRAWS) -> Iterator[Floats]:
    """Row weights [n] of each draw: how often the row's person was drawn."""
    codes = np.unique(person, return_inverse=True)[1]
    people = int(codes.max()) + 1
    for _ in range(draws):
        yield rng.multinomial(people, np.full(people, 1 / people))[codes].astype(np.float64)


def metric(
    name: str, value: float, drawn: Sequence[float], baseline: float | None = None, *, higher_is_better: bool = True
) -> Metric:
    """A figure with its 95 % interval; widened to hold the figure, for resampling always adds calibration error."""
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Metric(
        name=name,
        value=value,
        low=float(min(low, value)),
        high=float(max(high, value)),
        baseline=baseline,
        higher_is_better=higher_is_better,
    )
