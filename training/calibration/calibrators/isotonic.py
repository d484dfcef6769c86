"""Isotonic regression: any rising curve. Bends where a sigmoid cannot, and needs many rows not to bend after noise.

Fitted over small bins of equal weight; its steps are joined through their centres, so that ranking and explanation
survive, and go on to the ends of the data with the sigmoid's slope in log-odds.

Source: Zadrozny & Elkan, "Transforming classifier scores into accurate multiclass probability estimates", KDD 2002.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.special import expit, logit

from training.calibration.calibrator import EDGE, Calibrator, Scores, joined, logistic, total

__all__ = ["binned", "calibrator", "tails"]

Floats = NDArray[np.float64]

_BIN_ROWS, _MOST_BINS = 60, 60


def binned(scores: Scores, rows: float, most: int) -> Scores:
    """Neighbouring scores taken together into bins of equal weight, at least `rows` of it and at most `most` bins."""
    share = np.cumsum(scores.weight) / scores.weight.sum()
    count = int(np.clip(scores.weight.sum() // rows, 2, most))
    middle = share - np.diff(share, prepend=0.0) / 2
    place = np.unique(np.minimum((middle * count).astype(np.intp), count - 1), return_inverse=True)[1]
    weight = total(place, scores.weight)
    return Scores(total(place, scores.weight * scores.raw) / weight, weight, total(place, scores.yes))


def tails(scores: Scores, at: Floats, value: Floats) -> tuple[Floats, Floats]:
    """The line lengthened to the ends of the data with the slope of Platt's sigmoid in log-odds."""
    slope = logistic(scores.raw[:, None], scores)[1]
    inner = logit(np.clip(value[[0, -1]], EDGE, 1 - EDGE))
    ends = expit(inner + slope * (scores.raw[[0, -1]] - at[[0, -1]]))
    return np.r_[scores.raw[0], at, scores.raw[-1]], np.r_[ends[0], value, ends[1]]


def _fit(scores: Scores) -> tuple[Floats, Floats]:
    bins = binned(scores, _BIN_ROWS, _MOST_BINS)
    rate = (bins.yes + scores.rate) / (bins.weight + 1.0)  # one row of the base rate: no bin is impossible
    level = np.asarray(isotonic_regression(rate, weights=bins.weight).x)
    return tails(scores, *joined(bins.raw, level, bins.weight))


calibrator = Calibrator("isotonic", parameters=_MOST_BINS, least=1_000, fit=_fit)
