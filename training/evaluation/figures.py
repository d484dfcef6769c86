"""Figures of a binary prediction, weighted, on rows sorted once: what makes hundreds of bootstrap draws cheap.

Rows with equal predictions form one tie group and are never split by chance: AUC counts them half, lift and
calibration bins take them in proportion.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.evaluation.result import Bins

__all__ = ["HIGHER_IS_BETTER", "Sorted"]

Floats = NDArray[np.float64]

HIGHER_IS_BETTER = {
    "auc": True,
    "pr_auc": True,
    "lift_top_decile": True,
    "log_loss": False,
    "brier": False,
    "ece": False,
}
"""The figures, each with the direction in which it improves."""

_TINY = 1e-15
_BINS = 10


class Sorted:
    """Labels and predictions of n rows, sorted by prediction, ready for figures under any row weights.

    Args:
        y: [n] labels, 0 or 1.
        p: [n] probabilities.

    >>> Sorted(np.array([0.0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])).figures()["auc"]
    0.75
    """

    def __init__(self, y: Floats, p: Floats) -> None:
        self._order = np.argsort(p, kind="stable")
        self._y, self._p = y[self._order].astype(np.float64), p[self._order].astype(np.float64)
        self._starts = np.flatnonzero(np.r_[True, np.diff(self._p) > 0])
        safe = np.clip(self._p, _TINY, 1 - _TINY)
        self._loss = -np.where(self._y > 0, np.log(safe), np.log1p(-safe))
        self._square = (self._p - self._y) ** 2

    def figures(self, weights: Floats | None = None) -> dict[str, float]:
        """All figures under row weights [n] (1 each, if None); NaN where only one class has weight."""
        w = np.ones(len(self._y)) if weights is None else weights[self._order].astype(np.float64)
        total = w.sum()
        positive = np.add.reduceat(w * self._y, self._starts)
        weight = np.add.reduceat(w, self._starts)
        bins = self._bins(w, weight, positive)
        if not 0.0 < positive.sum() < total:
            return dict.fromkeys(HIGHER_IS_BETTER, float("nan"))
        return {
            "auc": _auc(positive, weight - positive),
            "pr_auc": _average_precision(positive, weight),
            "lift_top_decile": _lift(positive, weight),
            "log_loss": float(w @ self._loss / total),
            "brier": float(w @ self._square / total),
            "ece": float(np.abs(bins.predicted - bins.observed).mean()),
        }

    def bins(self) -> Bins:
        """Mean prediction and observed rate of ten equal-count bins."""
        w = np.ones(len(self._y))
        return self._bins(w, np.add.reduceat(w, self._starts), np.add.reduceat(self._y, self._starts))

    def _bins(self, w: Floats, weight: Floats, positive: Floats) -> Bins:
        edges = np.linspace(0.0, weight.sum(), _BINS + 1)
        cumulative = np.r_[0.0, np.cumsum(weight)]
        share = weight.sum() / _BINS
        predicted = np.add.reduceat(w * self._p, self._starts)
        return Bins(
            *(np.diff(np.interp(edges, cumulative, _from_zero(each))) / share for each in (predicted, positive))
        )


def _from_zero(values: Floats) -> Floats:
    return np.concatenate(([0.0], np.cumsum(values)))


def _auc(positive: Floats, negative: Floats) -> float:
    """Probability that a positive ranks above a negative, ties half (Hanley & McNeil, 1982)."""
    below = np.cumsum(negative) - negative / 2
    return float(positive @ below / (positive.sum() * negative.sum()))


def _average_precision(positive: Floats, weight: Floats) -> float:
    """Area under precision over recall as a sum of steps, from the highest prediction down."""
    hits, taken = np.cumsum(positive[::-1]), np.cumsum(weight[::-1])
    precision = np.divide(hits, taken, out=np.zeros_like(hits), where=taken > 0)
    return float(positive[::-1] @ precision / hits[-1])


def _lift(positive: Floats, weight: Floats) -> float:
    """Rate among the tenth with the highest predictions over the rate of all."""
    taken, hits = _from_zero(weight[::-1]), _from_zero(positive[::-1])
    top = 0.1 * taken[-1]
    return float(np.interp(top, taken, hits) / top / (hits[-1] / taken[-1]))
