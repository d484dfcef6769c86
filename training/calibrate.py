"""Calibration: from LightGBM's raw log-odds to a probability that can be believed, as knots a card can carry.

Learnt from rows the model has not seen: the validation split, and the training rows as models fitted on other people
see them. The validation split alone is one season; calibrated on it, a model of customers believes in that season.

Isotonic regression (Zadrozny & Elkan, 2002), its steps turned into a strictly rising line through their centres so that
ranking and explanation survive; where the rarer class is small, Platt's sigmoid (Platt, 1999), which has two
parameters to learn instead of many.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from features.kernel.card import Calibration

__all__ = ["apply", "fit"]

Floats = NDArray[np.float64]

FEW = 1_000
"""Rows of the rarer class below which Platt's sigmoid is the better bet (Niculescu-Mizil & Caruana, 2005)."""
_BIN_ROWS, _MOST_BINS = 60, 60
_SIGMOID_KNOTS = 65
_LEAST_SLOPE = 1e-3
_EDGE = 1e-4


def fit(raw: Floats, y: Floats) -> Calibration:
    """Knots from raw log-odds [n] and labels [n] of rows the model was not fitted on; both classes must occur.

    Both sequences of knots rise strictly and every probability lies inside (0, 1). `largest_error` is NaN until
    the test split has been seen.
    """
    few = min(y.sum(), len(y) - y.sum()) < FEW
    slope, intercept = _sigmoid(raw, y)
    knots, probability = _platt(raw, slope, intercept) if few else _isotonic(raw, y, slope)
    return Calibration(
        method="platt" if few else "isotonic",
        raw=tuple(knots.tolist()),
        value=tuple(probability.tolist()),
        largest_error=float("nan"),
    )


def apply(calibration: Calibration, raw: Floats) -> Floats:
    """Answers [n] (probabilities, amounts) of raw scores [n]: linear between knots, constant beyond them."""
    return np.interp(raw, calibration.raw, calibration.value)


def _sigmoid(raw: Floats, y: Floats) -> tuple[float, float]:
    """Slope and intercept of Platt's sigmoid, the slope kept positive: a model that ranks backwards is not turned."""
    model = LogisticRegression(C=1e4).fit(raw[:, None], y)
    slope = float(model.coef_[0, 0])
    if slope >= _LEAST_SLOPE:
        return slope, float(model.intercept_[0])
    rate = y.mean()
    return _LEAST_SLOPE, float(np.log(rate / (1 - rate)) - _LEAST_SLOPE * raw.mean())


def _platt(raw: Floats, slope: float, intercept: float) -> tuple[Floats, Floats]:
    margin = 0.5 + 0.1 * np.ptp(raw)
    knots = np.linspace(raw.min() - margin, raw.max() + margin, _SIGMOID_KNOTS)
    return _strict(knots, _expit(slope * knots + intercept))


def _isotonic(raw: Floats, y: Floats, slope: float) -> tuple[Floats, Floats]:
    """Steps of the isotonic fit over small equal-count bins, joined through their centres.

    Beyond the first and last centre the line goes on to the ends of the data with the sigmoid's slope in log-odds.
    """
    order = np.argsort(raw, kind="stable")
    bins = np.array_split(order, max(2, min(_MOST_BINS, len(raw) // _BIN_ROWS)))
    counts = np.array([len(each) for each in bins], dtype=np.float64)
    centre = np.array([raw[each].mean() for each in bins])
    hits = np.array([y[each].sum() for each in bins])
    rate = (hits + y.mean()) / (counts + 1.0)  # one row of the base rate: a bin without positives is not impossible
    level = IsotonicRegression().fit(centre, rate, sample_weight=counts).predict(centre)
    steps = np.split(np.arange(len(level)), np.flatnonzero(np.diff(level) > 0) + 1)
    knots = np.array([np.average(centre[each], weights=counts[each]) for each in steps])
    probability = np.array([level[each[0]] for each in steps])
    low = _expit(_logit(probability[0]) + slope * (raw.min() - knots[0]))
    high = _expit(_logit(probability[-1]) + slope * (raw.max() - knots[-1]))
    return _strict(np.r_[raw.min(), knots, raw.max()], np.r_[low, probability, high])


def _strict(knots: Floats, probability: Floats) -> tuple[Floats, Floats]:
    """The knots that rise strictly in both, clipped inside (0, 1); two at least."""
    probability = np.clip(probability, _EDGE / 10, 1 - _EDGE / 10)
    kept = [0]
    for i in range(1, len(knots)):
        if knots[i] > knots[kept[-1]] and probability[i] > probability[kept[-1]]:
            kept.append(i)
    if len(kept) > 1:
        return knots[kept], probability[kept]
    middle = float(np.clip(probability[0], _EDGE, 1 - _EDGE))
    return np.array([knots[0] - 1.0, knots[0] + 1.0]), np.array([middle - _EDGE / 2, middle + _EDGE / 2])


def _expit(z: Floats | float) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.asarray(z))))


def _logit(p: float) -> float:
    return float(np.log(p / (1 - p)))
