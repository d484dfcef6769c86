"""Figures of a predicted amount, weighted, on rows sorted once: what makes hundreds of bootstrap draws cheap.

With rows from the highest answer down, the gain curve is the share of all money found over the share of rows taken.
The normalised Gini coefficient is the area between that curve and the diagonal, over the same area when rows are
ordered by the money itself: 1 for a perfect order, 0 for one by chance, below 0 for a reversed one. Rows with equal
answers are one straight piece of the curve and are never ordered by chance. Of a yes-or-no outcome it is 2·AUC − 1.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from training.evaluation.concordance import Concordance
from training.evaluation.result import Bins

__all__ = ["HIGHER_IS_BETTER", "Ranked", "gain_curve"]

Floats = NDArray[np.float64]

HIGHER_IS_BETTER = {
    "gini": True,
    "concordance": True,
    "mae": False,
    "rmse": False,
    "total_ratio": True,
    "share_top_decile": True,
}
"""The figures, each with the direction in which it improves; `total_ratio` is best at 1, from whichever side."""

_BINS = 10


class Ranked:
    """Amounts and answers of n rows, sorted by answer, ready for figures under any row weights.

    Args:
        y: [n] amounts, 0 or more.
        answer: [n] expected amounts.
        weight: [n] of the rows, 1 each if None; the weights of a draw are multiplied by it.

    >>> Ranked(np.array([0.0, 0, 30, 10]), np.array([1.0, 2, 9, 8])).figures()["gini"]
    1.0
    """

    def __init__(self, y: Floats, answer: Floats, weight: Floats | None = None) -> None:
        self._weight = np.ones(len(y)) if weight is None else weight
        self._order = np.argsort(answer, kind="stable")
        self._y, self._answer = y[self._order], answer[self._order]
        self._starts = _starts(self._answer)
        self._ideal = np.argsort(y, kind="stable")
        self._money, self._steps = y[self._ideal], _starts(y[self._ideal])
        self._error = np.abs(self._y - self._answer)
        self._concordance = Concordance(y, answer)

    def figures(self, draw: Floats | None = None, names: Collection[str] = HIGHER_IS_BETTER) -> dict[str, float]:
        """The named figures under row weights [n] (1 each, if None); NaN where all amounts are equal or 0."""
        given = self._weight if draw is None else draw * self._weight
        w, ideal = given[self._order], given[self._ideal]
        money, weight = np.add.reduceat(w * self._y, self._starts), np.add.reduceat(w, self._starts)
        perfect = _area(np.add.reduceat(ideal * self._money, self._steps), np.add.reduceat(ideal, self._steps))
        total = w.sum()
        if not perfect > 0:
            return dict.fromkeys(names, float("nan"))
        how: dict[str, Callable[[], float]] = {
            "gini": lambda: _area(money, weight) / perfect,
            "concordance": lambda: self._concordance.under(given),
            "mae": lambda: float(w @ self._error / total),
            "rmse": lambda: float(np.sqrt(w @ self._error**2 / total)),
            "total_ratio": lambda: float(w @ self._answer / money.sum()),
            "share_top_decile": lambda: _top_share(money, weight),
        }
        return {name: how[name]() for name in names}

    def bins(self, draw: Floats | None = None) -> Bins:
        """Mean answer and mean amount of ten equal-weight bins by answer, under row weights [n] (1 each, if None)."""
        w = (self._weight if draw is None else draw * self._weight)[self._order]
        weight = np.add.reduceat(w, self._starts)
        edges, share = np.linspace(0.0, weight.sum(), _BINS + 1), weight.sum() / _BINS
        taken = _from_zero(weight)
        sums = (np.add.reduceat(w * each, self._starts) for each in (self._answer, self._y))
        return Bins(*(np.diff(np.interp(edges, taken, _from_zero(each))) / share for each in sums))


def gain_curve(y: Floats, answer: Floats, weight: Floats | None = None) -> tuple[Floats, Floats]:
    """Share of rows taken, the highest answers first, and share of all money found in them; both from 0 to 1."""
    w = np.ones(len(y)) if weight is None else weight
    order = np.argsort(answer, kind="stable")
    starts = _starts(answer[order])
    taken = _from_zero(np.add.reduceat(w[order], starts)[::-1])
    found = _from_zero(np.add.reduceat((w * y)[order], starts)[::-1])
    return taken / taken[-1], found / found[-1]


def _starts(ascending: Floats) -> NDArray[np.intp]:
    return np.flatnonzero(np.r_[True, np.diff(ascending) > 0])


def _from_zero(values: Floats) -> Floats:
    return np.concatenate(([0.0], np.cumsum(values)))


def _area(money: Floats, weight: Floats) -> float:
    """Area between the gain curve and the diagonal, of groups of equal answers in ascending order."""
    total, rows = money.sum(), weight.sum()
    if not total > 0:
        return float("nan")
    # From the lowest answer up the curve lies below the diagonal by just as much.
    return float(0.5 - np.trapezoid(_from_zero(money) / total, _from_zero(weight) / rows))


def _top_share(money: Floats, weight: Floats) -> float:
    """Share of all money that the tenth with the highest answers brings."""
    taken, found = _from_zero(weight[::-1]), _from_zero(money[::-1])
    return float(np.interp(0.1 * taken[-1], taken, found) / found[-1])
