"""Amounts on the test split, beside the baseline: does it rank money, are its totals right, how far is it off?

Intervals are percentile bootstraps over persons (`training.evaluation.bootstrap`); model and baseline share each draw.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from features.kernel.card import Metric
from training.evaluation.amounts import HIGHER_IS_BETTER, Ranked
from training.evaluation.bootstrap import DRAWS, bounds, metric, weights
from training.evaluation.result import Bins, Evaluation, Rows
from training.trainingset import Split

__all__ = ["better", "evaluate"]

Floats = NDArray[np.float64]
Figures = dict[str, float]


def evaluate(
    test: Split,
    model: Floats,
    baseline: Floats,
    rng: np.random.Generator,
    *,
    judged: str = "gini",
    draws: int = DRAWS,
) -> Evaluation:
    """Figures of the test split.

    Args:
        test: its amounts must not all be equal.
        model: [n] expected amounts.
        baseline: [n] the baseline's.
        rng: draws the bootstrap.
        judged: the figure whose gain over the baseline is judged: a key of `amounts.HIGHER_IS_BETTER`.
    """
    ours, theirs = Ranked(test.y, model, test.weight), Ranked(test.y, baseline, test.weight)
    drawn, tenths = [], []
    for each in weights(test.person, rng, draws):
        drawn.append((ours.figures(each), theirs.figures(each)))
        tenths.append(ours.bins(each).observed)
    values, reference = ours.figures(), theirs.figures()
    gains = [better(judged, mine, simple) for mine, simple in drawn]
    bins, weight = ours.bins(), np.ones(len(test)) if test.weight is None else test.weight
    return Evaluation(
        metrics=_metrics(values, reference, [mine for mine, _ in drawn]),
        gain=metric(judged, better(judged, values, reference), gains),
        bins=bins,
        baseline_bins=theirs.bins(),
        mean=float(np.average(test.y, weights=weight)),
        rows=len(test),
        people=len(np.unique(test.person)),
        positives=int((test.y > 0).sum()),
        tables={"deciles": _deciles(bins, bounds(bins.observed, tenths), theirs.bins().observed)},
    )


def _metrics(values: Figures, reference: Figures, drawn: Sequence[Figures]) -> tuple[Metric, ...]:
    return tuple(
        metric(name, value, [each[name] for each in drawn], reference[name], higher_is_better=HIGHER_IS_BETTER[name])
        for name, value in values.items()
    )


def better(name: str, mine: Figures, simple: Figures) -> float:
    """By how much one figure is better than the other, positive is better.

    >>> better("mae", {"mae": 3.0}, {"mae": 5.0})
    2.0
    >>> round(better("total_ratio", {"total_ratio": 0.9}, {"total_ratio": 1.3}), 2)
    0.2
    """
    if name == "total_ratio":
        return abs(simple[name] - 1) - abs(mine[name] - 1)
    gain = mine[name] - simple[name]
    return gain if HIGHER_IS_BETTER[name] else -gain


def _deciles(bins: Bins, observed: tuple[Floats, Floats], baseline: Floats) -> Rows:
    """A row a tenth, the highest answers first: mean answer, mean amount, its interval, and the baseline's tenth."""
    return tuple(
        {
            "decile": len(baseline) - i,
            "predicted": float(bins.predicted[i]),
            "observed": float(bins.observed[i]),
            "observed_low": float(observed[0][i]),
            "observed_high": float(observed[1][i]),
            "baseline_observed": float(baseline[i]),
        }
        for i in reversed(range(len(baseline)))
    )
