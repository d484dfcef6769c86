"""What judging a model came to, whatever its kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.kernel.card import Metric

__all__ = ["Bins", "Evaluation", "Rows"]

Rows = tuple[dict[str, Any], ...]
"""A table: a dict a row, the same keys in each, plain numbers and text."""


class Bins(NamedTuple):
    """Ten equal-weight bins by answer, lowest first: each [10]."""

    predicted: NDArray[np.float64]
    observed: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good the model is, how sure that is, and how much better than the baseline."""

    metrics: tuple[Metric, ...]
    gain: Metric
    """The judged figure: model minus baseline, signed so that positive is better."""
    bins: Bins
    baseline_bins: Bins
    mean: float
    """Mean outcome of the test split: the base rate, or of an uplift problem the average effect."""
    rows: int
    people: int
    positives: int
    """Rows with a yes; of a regression those with an amount above 0."""
    tables: dict[str, Rows] = field(default_factory=dict)
    """What is too long for a figure: `deciles`, `reliability`, `over_time`, `by_segment`, `groups`, `profit`, `slots`,
    `hits`, of effects `qini`; one that does not apply is absent. `evaluation.json` of the run holds them."""

    @property
    def largest_error(self) -> float:
        """Largest gap between mean answer and observed mean over ten equal-count bins."""
        return float(np.abs(self.bins.predicted - self.bins.observed).max())

    def metric(self, name: str) -> Metric:
        """The metric called `name`."""
        return {each.name: each for each in self.metrics}[name]
