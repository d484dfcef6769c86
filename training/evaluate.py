"""Evaluation on the test split, later in time than all the model has seen, beside the baseline, with intervals.

Intervals are percentile bootstraps (Efron, 1979) over persons: rows of one person at several cutoffs are not
independent, and resampling rows would call the figures surer than they are. Model and baseline share every draw, so
that their difference has an interval of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.kernel.card import Metric
from training.metrics import HIGHER_IS_BETTER, Bins, Sorted

__all__ = ["Evaluation", "evaluate"]

Floats = NDArray[np.float64]

DRAWS = 200


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good the model is, how sure that is, and how much better than the baseline."""

    metrics: tuple[Metric, ...]
    gain: Metric
    """The problem's metric: model minus baseline, signed so that positive is better."""
    bins: Bins
    baseline_bins: Bins
    base_rate: float
    rows: int
    people: int
    positives: int

    @property
    def largest_error(self) -> float:
        """Largest gap between mean prediction and observed rate over ten equal-count bins."""
        return float(np.abs(self.bins.predicted - self.bins.observed).max())

    def metric(self, name: str) -> Metric:
        """The metric called `name`."""
        return {each.name: each for each in self.metrics}[name]


def evaluate(
    y: Floats,
    model: Floats,
    baseline: Floats,
    person: NDArray[np.str_],
    rng: np.random.Generator,
    *,
    metric: str = "auc",
    draws: int = DRAWS,
) -> Evaluation:
    """Figures of the test split.

    Args:
        y: [n] labels; both classes must occur.
        model: [n] calibrated probabilities.
        baseline: [n] the baseline's probabilities.
        person: [n] whose row it is.
        rng: draws the bootstrap.
        metric: the figure whose gain over the baseline is judged.
    """
    ours, theirs = Sorted(y, model), Sorted(y, baseline)
    drawn = [
        (figures := ours.figures(weights), figures[metric] - theirs.figures(weights)[metric])
        for weights in _weights(person, rng, draws)
    ]
    values, reference = ours.figures(), theirs.figures()
    better = 1.0 if HIGHER_IS_BETTER[metric] else -1.0
    return Evaluation(
        metrics=tuple(
            _metric(each, values[each], [draw[each] for draw, _ in drawn], reference[each]) for each in values
        ),
        gain=_metric(metric, better * (values[metric] - reference[metric]), [better * each for _, each in drawn]),
        bins=ours.bins(),
        baseline_bins=theirs.bins(),
        base_rate=float(y.mean()),
        rows=len(y),
        people=len(np.unique(person)),
        positives=int(y.sum()),
    )


def _metric(name: str, value: float, drawn: list[float], baseline: float | None = None) -> Metric:
    """A figure with its interval; widened to hold the figure, for resampling always adds calibration error."""
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Metric(
        name=name,
        value=value,
        low=float(min(low, value)),
        high=float(max(high, value)),
        baseline=baseline,
        higher_is_better=HIGHER_IS_BETTER[name] or baseline is None,
    )


def _weights(person: NDArray[np.str_], rng: np.random.Generator, draws: int) -> Iterator[Floats]:
    """Row weights [n] of each bootstrap draw: how often the row's person was drawn."""
    codes = np.unique(person, return_inverse=True)[1]
    people = int(codes.max()) + 1
    for _ in range(draws):
        yield rng.multinomial(people, np.full(people, 1 / people))[codes].astype(np.float64)
