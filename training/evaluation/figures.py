"""The figures of a yes-or-no question: each a function of tie groups, so that each respects any row weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from training.evaluation.decomposition import decompose
from training.evaluation.result import Bins
from training.evaluation.ties import BINS, Sums, Ties

__all__ = ["FIGURES", "HIGHER_IS_BETTER", "Sorted", "figures"]

Floats = NDArray[np.float64]

HIGHER_IS_BETTER = {
    "auc": True,
    "pr_auc": True,
    "lift_top_decile": True,
    "log_loss": False,
    "brier": False,
    "brier_reliability": False,
    "brier_resolution": True,
    "brier_uncertainty": False,
    "ece": False,
}
"""The figures, each with the direction in which it improves; `brier_uncertainty` is the data's, not the model's."""


class Sorted:
    """Labels and answers of n rows, sorted by answer, ready for figures under any row weights.

    Args:
        y: [n] labels, 0 or 1.
        p: [n] probabilities.
        weight: [n] of the rows themselves; 1 each, if None.

    >>> Sorted(np.array([0.0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])).figures()["auc"]
    0.75
    """

    def __init__(self, y: Floats, p: Floats, weight: Floats | None = None) -> None:
        self._ties = Ties(y, p, weight)

    def figures(
        self, weights: Floats | None = None, names: Iterable[str] = tuple(HIGHER_IS_BETTER)
    ) -> dict[str, float]:
        """Figures by name under further row weights [n] (1 each, if None); NaN where only one class has weight."""
        return figures(self.sums(weights), names)

    def sums(self, weights: Floats | None = None) -> Sums:
        """What figures and bins are made of."""
        return self._ties.sums(weights)

    def bins(self, weights: Floats | None = None, count: int = BINS) -> Bins:
        """Mean answer and observed rate of equal-weight bins, lowest answers first; one class may be absent."""
        return self.sums(weights).bins(count)


def figures(sums: Sums, names: Iterable[str] = tuple(HIGHER_IS_BETTER)) -> dict[str, float]:
    """Figures by name; NaN where only one class has weight."""
    weight, positive = sums.upto
    if not 0.0 < positive[-1] < weight[-1]:
        return dict.fromkeys(names, float("nan"))
    return {name: FIGURES[name](sums) for name in names}


def auc(sums: Sums) -> float:
    """Probability that a yes ranks above a no, ties half (Hanley & McNeil, 1982)."""
    weight, positive = sums.upto
    negative = weight - positive
    below = _dot(sums.positive, negative[1:] + negative[:-1]) / 2
    return float(below / (positive[-1] * negative[-1]))


def average_precision(sums: Sums) -> float:
    """Area under precision over recall as a sum of steps, from the highest answer down."""
    weight, positive = sums.upto
    hits, taken = positive[-1] - positive[:-1], weight[-1] - weight[:-1]
    precision = np.divide(hits, taken, out=np.zeros_like(hits), where=taken > 0)
    return _dot(sums.positive, precision) / float(positive[-1])


def lift(sums: Sums) -> float:
    """Rate among the tenth with the highest answers over the rate of all."""
    weight, positive = sums.upto
    hits = positive[-1] - np.interp(0.9 * weight[-1], weight, positive)
    return float(hits / positive[-1] / 0.1)


def log_loss(sums: Sums) -> float:
    """Mean surprise at what happened, in nats."""
    yes, no = sums.surprise
    return (_dot(sums.positive, yes) + _dot(sums.weight - sums.positive, no)) / float(sums.upto[0][-1])


def brier(sums: Sums) -> float:
    """Mean squared distance of the answer from what happened (Brier, 1950)."""
    bins = sums.moments
    missed = bins.answer_squared.sum() - 2 * bins.positive_answer.sum() + bins.positive.sum()
    return float(missed / bins.weight.sum())


def calibration_error(sums: Sums) -> float:
    """Expected calibration error: mean distance of answer and observed rate over ten bins (Naeini et al., 2015)."""
    bins = sums.moments
    return float(np.abs(bins.answer - bins.positive).sum() / bins.weight.sum())


def _dot(a: Floats, b: Floats) -> float:
    """The sum of products without BLAS, whose threads cost more than they give here, and sum in an order of theirs."""
    return float((a * b).sum())


FIGURES: dict[str, Callable[[Sums], float]] = {
    "auc": auc,
    "pr_auc": average_precision,
    "lift_top_decile": lift,
    "log_loss": log_loss,
    "brier": brier,
    "brier_reliability": lambda sums: decompose(sums).reliability,
    "brier_resolution": lambda sums: decompose(sums).resolution,
    "brier_uncertainty": lambda sums: decompose(sums).uncertainty,
    "ece": calibration_error,
}
"""Each figure by name."""
