"""How far a single amount may lie from the answer: prediction intervals as knots a card can carry.

Rows unseen in fitting are binned by answer, and in each bin the bounds are order statistics with the correction of
split conformal prediction (Vovk, Gammerman & Shafer, 2005; one conformal predictor a bin, called Mondrian). Two tails
of a tenth each; what one tail does not need, because no outcome can be there (nobody spends less than nothing, and a
wait ends with the horizon), is given to the other, so that the bounds hold their share of cases and not more.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from features.kernel.card import Calibration, Interval
from training.calibration.calibrate import apply
from training.kind import Unseen

__all__ = ["LEVEL", "fit", "held"]

Floats = NDArray[np.float64]

LEVEL = 0.8
"""Share of single outcomes that the bounds hold."""
_MOST_BINS, _BIN_ROWS = 25, 60
_SLACK = 1e-9


def fit(calibration: Calibration, unseen: Unseen) -> Interval:
    """Where single outcomes lie, as a function of the answer; the bounds always hold the answer itself."""
    answer = apply(calibration, unseen.raw)
    order = np.argsort(answer, kind="stable")
    parts = np.array_split(order, max(1, min(_MOST_BINS, len(order) // _BIN_ROWS)))
    centre = np.array([np.average(answer[each], weights=unseen.weight[each]) for each in parts])
    sides = np.array([_order_statistics(unseen.y[each], unseen.weight[each]) for each in parts]).T
    count = np.array([len(each) for each in parts], dtype=np.float64)
    knots = np.unique(np.r_[calibration.value[0], centre, calibration.value[-1]])
    low, high = (
        np.interp(knots, centre, IsotonicRegression().fit(centre, each, sample_weight=count).predict(centre))
        for each in sides
    )
    return Interval(
        level=LEVEL,
        kind="prediction",
        value=tuple(knots.tolist()),
        low=tuple(np.minimum(low, knots).tolist()),
        high=tuple(np.maximum(high, knots).tolist()),
    )


def held(interval: Interval, answer: Floats, y: Floats) -> NDArray[np.bool_]:
    """Whether each outcome [n] lies within the bounds of its answer [n]."""
    low, high = (np.interp(answer, interval.value, each) for each in (interval.low, interval.high))
    return np.asarray((y >= low) & (y <= high))


def _order_statistics(y: Floats, weight: Floats) -> tuple[float, float]:
    """Bounds that hold `LEVEL` of the next outcome's chances, the outcomes [n] being exchangeable with it."""
    order = np.argsort(y, kind="stable")
    y, weight = y[order], weight[order] / weight.sum()
    tail = (1 - LEVEL) / 2
    low, high = _at(y, weight, tail, upper=False), _at(y, weight, 1 - tail, upper=True)
    spare_low, spare_high = tail - weight[y < low].sum(), tail - weight[y > high].sum()
    if spare_low > spare_high:
        high = _at(y, weight, 1 - tail - max(float(spare_low), 0.0), upper=True)
    else:
        low = _at(y, weight, tail + max(float(spare_high), 0.0), upper=False)
    return min(low, high), max(low, high)


def _at(y: Floats, weight: Floats, share: float, *, upper: bool) -> float:
    """The ceil((n + 1)·share)-th of ascending outcomes, or for a lower bound the floor((n + 1)·share)-th.

    The one more is the outcome to come, which may lie anywhere; weighted, it has the mean weight.
    """
    taken = np.cumsum(weight)
    wanted = share * (1 + 1 / len(y))
    place = np.searchsorted(taken, wanted - _SLACK) if upper else np.searchsorted(taken, wanted + _SLACK, "right") - 1
    return float(y[int(np.clip(place, 0, len(y) - 1))])
