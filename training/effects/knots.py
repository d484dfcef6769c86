"""From raw effects to effects that can be believed: knots and bounds learnt from rows the model has not seen.

Isotonic regression of pseudo-outcomes over tenths of the raw scores, shrunk towards the average effect by 1 - 1/z², z
being how many standard errors the slope of pseudo-outcomes on raw scores lies above zero (the positive part of James
and Stein, 1961; the slope is the best linear predictor of Chernozhukov et al., "Generic machine learning inference on
heterogeneous treatment effects", 2018). Where people cannot be told apart, everybody has the average effect.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from features.kernel.card import Calibration, Interval
from training.kind import Unseen

__all__ = ["bounds", "fit"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

_BINS, _BIN_ROWS = 10, 300
_LEAST_SLOPE = 1e-3
"""A rise too small to matter, which keeps the order of the raw scores."""
_LEVEL, _SDS = 0.95, 1.96


def fit(unseen: Unseen) -> Calibration:
    """Knots from raw effects to effects, both rising strictly; `largest_error` is NaN until the test split was seen."""
    raw, y, weight = unseen.raw, unseen.y, unseen.weight
    mean, centre = float(np.average(y, weights=weight)), float(np.average(raw, weights=weight))
    slope, trust = _slope(unseen, mean, centre)
    level, knots = _steps(unseen)
    ends = np.array([raw.min(), raw.max()])
    if trust == 0.0 or len(level) < 2:  # a line, through the average
        knots = ends + np.array([-1e-3, 1e-3])
        value = mean + trust * slope * (knots - centre)
    else:  # the steps through their centres, and on to the ends of the data with the slope
        value = mean + trust * (level - mean)
        beyond = value[[0, -1]] + trust * slope * (ends - knots[[0, -1]])
        below, above = ends[0] < knots[0], ends[1] > knots[-1]
        knots = np.concatenate([ends[:1][: int(below)], knots, ends[1:][: int(above)]])
        value = np.concatenate([beyond[:1][: int(below)], value, beyond[1:][: int(above)]])
    value = value + _LEAST_SLOPE * (knots - centre)
    return Calibration(
        method="shrunk isotonic", raw=tuple(knots.tolist()), value=tuple(value.tolist()), largest_error=float("nan")
    )


def bounds(calibration: Calibration, unseen: Unseen) -> Interval:
    """95 % confidence bounds of the mean effect among people of about one answer: the tenth of the rows around it."""
    answer = np.interp(unseen.raw, calibration.raw, calibration.value)
    part = _parts(unseen.raw)
    total: Floats = np.bincount(part, weights=unseen.weight).astype(np.float64)
    value = np.bincount(part, weights=unseen.weight * answer) / total
    effect = np.bincount(part, weights=unseen.weight * unseen.y) / total
    error = _standard_errors(unseen, part, unseen.y - effect[part], total)
    return Interval(
        level=_LEVEL,
        kind="confidence",
        value=tuple(value.tolist()),
        low=tuple((value - _SDS * error).tolist()),
        high=tuple((value + _SDS * error).tolist()),
    )


def _slope(unseen: Unseen, mean: float, centre: float) -> tuple[float, float]:
    """Slope of the pseudo-outcome on the raw score, and how far to trust it: 1 - 1/z², 0 where z is under 1."""
    distance = unseen.raw - centre
    size = float(unseen.weight @ distance**2)
    if size == 0.0:
        return 0.0, 0.0
    slope = float((unseen.weight * distance) @ (unseen.y - mean)) / size
    left = unseen.weight * distance * (unseen.y - mean - slope * distance)
    error = float(np.sqrt(np.sum(_by_person(unseen.person, left) ** 2))) / size
    return slope, max(0.0, 1.0 - (error / slope) ** 2) if slope > 0 else 0.0


def _steps(unseen: Unseen) -> tuple[Floats, Floats]:
    """Levels of the isotonic fit over tenths, rising strictly, and the centres of the raw scores each stands for."""
    part = _parts(unseen.raw)
    total = np.bincount(part, weights=unseen.weight)
    centre = np.bincount(part, weights=unseen.weight * unseen.raw) / total
    effect = np.bincount(part, weights=unseen.weight * unseen.y) / total
    level = IsotonicRegression().fit(centre, effect, sample_weight=total).predict(centre)
    step = np.cumsum(np.r_[0, np.diff(level) > 0])
    first = np.flatnonzero(np.r_[True, np.diff(step) > 0])
    return level[first], np.bincount(step, weights=total * centre) / np.bincount(step, weights=total)


def _parts(raw: Floats) -> Ints:
    """[n] which part of the raw scores each row belongs to, lowest first: tenths, fewer of few rows; ties together."""
    count = max(2, min(_BINS, len(raw) // _BIN_ROWS))
    edges = np.unique(np.quantile(raw, np.linspace(0, 1, count + 1)[1:-1]))
    return np.unique(np.searchsorted(edges, raw, side="left"), return_inverse=True)[1]


def _standard_errors(unseen: Unseen, part: Ints, left: Floats, total: Floats) -> Floats:
    """[k] of the weighted mean of each part, rows of one person taken together."""
    errors = [
        np.sqrt(np.sum(_by_person(unseen.person[part == k], (unseen.weight * left)[part == k]) ** 2))
        for k in range(len(total))
    ]
    return np.array(errors) / total


def _by_person(person: NDArray[np.str_], values: Floats) -> Floats:
    return np.asarray(np.bincount(np.unique(person, return_inverse=True)[1], weights=values), dtype=np.float64)
