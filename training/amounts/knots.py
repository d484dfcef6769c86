"""From a raw score to an expected amount, as knots a card can carry.

The plain curve (`training.amounts.curves`) has two parameters. Isotonic regression over equal-count bins follows the
data closer, but a bin's mean is at the mercy of its largest customer: it is taken only if, learnt from the train rows,
it has the lower deviance on the validation rows beyond noise. Either is scaled so that answers and outcomes have the
same total.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from features.kernel.card import Calibration
from training import losses
from training.amounts.curves import Curve
from training.kind import Unseen

__all__ = ["fit"]

Floats = NDArray[np.float64]
Knots = tuple[Floats, Floats]

_KNOTS, _MOST_BINS, _BIN_ROWS = 33, 30, 100
_MARGIN, _TINY = 0.5, 1e-6


def fit(unseen: Unseen, curve: Curve) -> Calibration:
    """Knots from raw scores [n] and amounts [n] >= 0, not all 0, of rows unseen in fitting.

    Both sequences of knots rise strictly, every amount is positive and none above the curve's top. `largest_error` is
    NaN until the test split has been seen.
    """
    isotonic = _isotonic_is_better(unseen, curve)
    raw, value = _isotonic(unseen, curve) if isotonic else _plain(unseen, curve, unseen.raw)
    total = float(unseen.weight @ unseen.y) / float(unseen.weight @ np.interp(unseen.raw, raw, value))
    raw, value = _below(raw, value * total, curve.top)
    return Calibration(
        method="isotonic" if isotonic else curve.name,
        raw=tuple(raw.tolist()),
        value=tuple(value.tolist()),
        largest_error=float("nan"),
    )


def _isotonic_is_better(unseen: Unseen, curve: Curve) -> bool:
    train, later = (_rows(unseen, mask) for mask in (~unseen.validation, unseen.validation))
    if len(train.y) < 10 * _BIN_ROWS or not (train.y.any() and later.y.any()):
        return False
    plain, isotonic = (
        curve.loss(np.interp(later.raw, *knots), later.y)
        for knots in (_plain(train, curve, unseen.raw), _isotonic(train, curve))
    )
    gain = plain - isotonic
    return bool(np.average(gain, weights=later.weight) > losses.noise(gain, later.weight, later.person))


def _rows(unseen: Unseen, mask: NDArray[np.bool_]) -> Unseen:
    raw, y, weight, person, validation = unseen
    return Unseen(raw[mask], y[mask], weight[mask], person[mask], validation[mask])


def _plain(unseen: Unseen, curve: Curve, span: Floats) -> Knots:
    intercept, slope = curve.line(unseen)
    raw = np.linspace(span.min() - _MARGIN, span.max() + _MARGIN, _KNOTS)
    return raw, curve.amount(intercept + slope * raw)


def _isotonic(unseen: Unseen, curve: Curve) -> Knots:
    """Steps of the isotonic fit joined through their centres; beyond the outer ones it is as steep as the plain curve.

    Joined along the curve's own scale, a logarithm: a straight line in money would lie far above it in the long upper
    end, and right totals would then be paid for by all others.
    """
    order = np.argsort(unseen.raw, kind="stable")
    parts = np.array_split(order, max(2, min(_MOST_BINS, len(order) // _BIN_ROWS)))
    weight = np.array([unseen.weight[each].sum() for each in parts])
    centre = np.array([np.average(unseen.raw[each], weights=unseen.weight[each]) for each in parts])
    mean = np.array([np.average(unseen.y[each], weights=unseen.weight[each]) for each in parts])
    least = _TINY * float(np.average(mean, weights=weight))
    level = np.maximum(IsotonicRegression().fit(centre, mean, sample_weight=weight).predict(centre), least)
    step = np.cumsum(np.r_[0, np.diff(level) > least])
    value = level[np.flatnonzero(np.r_[True, np.diff(step) > 0])]
    knots = np.bincount(step, weights=weight * centre) / np.bincount(step, weights=weight)
    ends = np.array([unseen.raw.min() - _MARGIN, unseen.raw.max() + _MARGIN])
    score, (_, slope) = curve.score(value), curve.line(unseen)
    beyond = score[[0, -1]] + slope * (ends - knots[[0, -1]])
    coarse, scores = np.r_[ends[0], knots, ends[1]], np.r_[beyond[0], score, beyond[1]]
    raw = np.unique(np.r_[coarse, np.linspace(ends[0], ends[1], _KNOTS)])
    return raw, curve.amount(np.interp(raw, coarse, scores))


def _below(raw: Floats, value: Floats, top: float) -> Knots:
    """The same line cut off where it reaches the top."""
    if value[-1] < top:
        return raw, value
    over = int(np.argmax(value >= top))
    if over == 0:
        return np.r_[raw[0] - _MARGIN, raw[0]], np.r_[top * (1 - _TINY), top]
    crossing = np.interp(top, value[: over + 1], raw[: over + 1])
    return np.r_[raw[:over], crossing], np.r_[value[:over], top]
