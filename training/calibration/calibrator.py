"""A calibrator: one way from raw log-odds to probabilities, in one file of `training/calibration/calibrators/`.

`calibrator = Calibrator(...)` is all a file needs. It learns from `Scores`, rows with equal scores taken together, so
that a row of weight 2 is the row said twice; `knots` makes of what it learnt what a card can carry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit

from features.kernel.card import Calibration

__all__ = ["EDGE", "Calibrator", "Scores", "apply", "joined", "knots", "logistic", "tie", "total"]

Floats = NDArray[np.float64]

EDGE = 1e-5
"""No probability comes closer to 0 or 1."""
_LEAST_WIDTH, _SAME, _ALMOST, _APART, _DIGITS = 1e-4, 1e-9, 1e-3, 1e-6, 12


class Scores(NamedTuple):
    """Distinct raw scores [m], rising, with the weight of their rows and of those with a yes; both above 0 in sum."""

    raw: Floats
    weight: Floats
    yes: Floats

    @property
    def rate(self) -> float:
        """Share of yes."""
        return float(self.yes.sum() / self.weight.sum())

    @property
    def rarer(self) -> float:
        """Weight of the rarer class; of unweighted rows their number."""
        return float(min(self.yes.sum(), (self.weight - self.yes).sum()))


@dataclass(frozen=True, slots=True)
class Calibrator:
    """One way to calibrate. Where two are as good, the one of fewer parameters is taken."""

    name: str
    parameters: int
    """How much it can bend: 2 for a sigmoid; of what has no fixed number, what it comes to."""
    least: int
    """Rows of the rarer class below which it is not considered: it would learn noise."""
    fit: Callable[[Scores], tuple[Floats, Floats]]
    """(scores) -> (raw [k], probability [k]); `knots` makes them rise."""


def tie(raw: Floats, y: Floats, weight: Floats | None = None) -> Scores:
    """Scores of rows [n], equal where twelve decimals are; rows without weight are left out.

    Scores that lie less than a millionth apart, all of them, are one score.

    >>> tie(np.array([0.5, 0.1, 0.5]), np.array([1.0, 0, 0])).yes.tolist()
    [0.0, 1.0]
    """
    weight = np.ones(len(raw)) if weight is None else weight
    counted = weight > 0
    alike = np.ptp(raw[counted]) < _APART
    scores = np.full(counted.sum(), raw[counted].min()) if alike else raw[counted].round(_DIGITS)
    distinct, place = np.unique(scores, return_inverse=True)
    return Scores(distinct, total(place, weight[counted]), total(place, (weight * y)[counted]))


def total(place: NDArray[np.intp], of: Floats) -> Floats:
    """Sums [m] of numbers [n] by their place [n] from 0 to m - 1."""
    return np.bincount(place, of).astype(np.float64)


def knots(method: str, scores: Scores, raw: Floats, value: Floats) -> Calibration:
    """What a card can carry: knots rising strictly in both, inside (0, 1), whose mean over the scores is their rate.

    The mean is kept by one shift of all log-odds. `largest_error` is NaN until the test split has been seen.
    """
    raw, value = _rising(raw, np.clip(value, EDGE, 1 - EDGE))
    raw, value = _rising(raw, np.clip(expit(logit(value) + _shift(scores, raw, value)), EDGE, 1 - EDGE))
    return Calibration(method=method, raw=tuple(raw.tolist()), value=tuple(value.tolist()), largest_error=float("nan"))


def apply(calibration: Calibration, raw: Floats) -> Floats:
    """Answers [n] (probabilities, amounts) of raw scores [n]: linear between knots, constant beyond them."""
    return np.interp(raw, calibration.raw, calibration.value)


def joined(raw: Floats, level: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Steps [m] turned into a line through the weighted centre of each: (places, levels), which ranks within a step.

    The outermost steps reach as far as their rows, sloping only just.

    >>> joined(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.1, 0.2, 0.2, 0.5]), np.array([1.0, 1.0, 3.0, 1.0]))
    (array([0.  , 1.75, 3.  ]), array([0.1, 0.2, 0.5]))
    """
    starts = np.r_[0, np.flatnonzero(np.diff(level) > _SAME) + 1]
    centre = np.add.reduceat(weight * raw, starts) / np.add.reduceat(weight, starts)
    value = level[starts]
    if raw[0] < centre[0]:
        centre, value = np.r_[raw[0], centre], np.r_[value[0] * (1 - _ALMOST), value]
    if raw[-1] > centre[-1]:
        centre, value = np.r_[centre, raw[-1]], np.r_[value, value[-1] + (1 - value[-1]) * _ALMOST]
    return centre, value


def logistic(columns: Floats, scores: Scores) -> Floats:
    """Intercept and slopes [1 + c], no slope below 0, of a logistic regression on columns [m, c] of the scores.

    The yes and no of rows are drawn a little towards each other, as if each class had one doubtful row more (Platt,
    1999): scores that part the classes cleanly would else have an infinite slope.
    """
    yes, no = scores.yes.sum(), (scores.weight - scores.yes).sum()
    high, low = (yes + 1) / (yes + 2), 1 / (no + 2)
    target = scores.yes * high + (scores.weight - scores.yes) * low
    centre, width = columns.mean(axis=0), np.maximum(columns.std(axis=0), 1e-12)
    design = np.column_stack([np.ones(len(columns)), (columns - centre) / width])
    of_all = scores.weight.sum()

    def loss(slopes: Floats) -> tuple[float, Floats]:
        z = design @ slopes
        gradient = design.T @ (scores.weight * expit(z) - target)
        return float((scores.weight @ np.logaddexp(0, z) - target @ z) / of_all), gradient / of_all

    start = np.zeros(design.shape[1], dtype=np.float64)
    start[0] = logit(target.sum() / of_all)
    bounds: list[tuple[float | None, float | None]] = [(None, None), *[(0.0, None)] * columns.shape[1]]
    found = np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, tol=1e-12).x, dtype=np.float64)
    slopes = found[1:] / width
    return np.concatenate([[found[0] - slopes @ centre], slopes])


def _rising(raw: Floats, value: Floats) -> tuple[Floats, Floats]:
    """The knots of a line that never falls which rise strictly in both: of a flat beginning the last, else the first.

    Where fewer than two do, a line so flat that it is a constant.
    """
    start = int(np.flatnonzero(value <= value[0])[-1])
    kept = [start]
    for i in range(start + 1, len(raw)):
        if raw[i] > raw[kept[-1]] and value[i] > value[kept[-1]]:
            kept.append(i)
    if len(kept) > 1:
        return raw[kept], value[kept]
    middle = float(np.clip(value[0], _LEAST_WIDTH, 1 - _LEAST_WIDTH))
    return np.array([raw[0] - 1.0, raw[0] + 1.0]), np.array([middle - EDGE, middle + EDGE])


def _shift(scores: Scores, raw: Floats, value: Floats) -> float:
    """What to add to all log-odds so that the mean over the scores is their rate: by bisection, it rises."""
    low, high, wanted = -20.0, 20.0, scores.yes.sum()
    at = logit(value)
    for _ in range(60):
        middle = (low + high) / 2
        if scores.weight @ np.interp(scores.raw, raw, np.clip(expit(at + middle), EDGE, 1 - EDGE)) < wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2
