"""How far a probability may be off: 95 % bounds of the true share of yes among rows with the same answer.

A local logistic regression of the outcome on the answer's log-odds (Loader, 1999, *Local Regression and Likelihood*),
at places across the answers, with one cluster a person in its standard error (Liang & Zeger, 1986) and Student's t with
as many degrees of freedom as the neighbourhood holds rows of the rarer class. It assumes no shape of the curve, so it
also shows where the calibrator itself bends wrongly, and it is wide where rows are few.

Two other ways were measured against simulated truth (`tests/test_calibrators.py` repeats it): the two probabilities of
Venn–Abers cover the true share in a sixth to a third of cases, for they are no confidence interval; a bootstrap of the
chosen calibrator covers it only where that calibrator has the right shape.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import t as student

from features.kernel.card import Calibration, Interval
from training.calibration.calibrator import apply

__all__ = ["interval"]

Floats = NDArray[np.float64]

LEVEL = 0.95
_PLACES = 33
_RARER, _RATE = 40.0, 1 / 3
"""A neighbourhood holds (40 / rows of the rarer class) ** (1/3) of the rows: all of 40, a seventh of 13,000."""
_STEPS = 30


def interval(
    calibration: Calibration, raw: Floats, y: Floats, weight: Floats, person: NDArray[np.str_]
) -> Interval | None:
    """Bounds at up to 33 answers, from rows [n] the model has not seen; None where all answers are the same.

    The answer itself always lies between its bounds.
    """
    order = np.argsort(raw, kind="stable")
    order = order[weight[order] > 0]
    at = logit(apply(calibration, raw[order]))
    rows = _Rows(at, y[order], weight[order], np.unique(person[order], return_inverse=True)[1])
    places = np.unique(np.quantile(at, np.linspace(0, 1, _PLACES)))
    if len(places) < 2:
        return None
    rarer = min(float(y[order].sum()), float(len(order) - y[order].sum()))
    take = max(2, round(len(order) * min(1.0, (_RARER / max(rarer, 1.0)) ** _RATE)))
    bounds = [rows.bounds(place, take) for place in places]
    answers = expit(places)
    return Interval(
        level=LEVEL,
        kind="confidence",
        value=tuple(answers.tolist()),
        low=tuple(min(low, answer) for (low, _), answer in zip(bounds, answers.tolist(), strict=True)),
        high=tuple(max(high, answer) for (_, high), answer in zip(bounds, answers.tolist(), strict=True)),
    )


class _Rows:
    """Rows sorted by the log-odds of their answer."""

    def __init__(self, at: Floats, y: Floats, weight: Floats, person: NDArray[np.intp]) -> None:
        self._at, self._y, self._weight, self._person = at, y, weight, person

    def bounds(self, place: float, take: int) -> tuple[float, float]:
        """The bounds at a place, from its `take` nearest rows."""
        near, kernel = self._near(place, take)
        x, y = self._at[near] - place, self._y[near]
        found, inverse = _local(x, y, kernel)
        residual = kernel * (y - expit(found[0] + found[1] * x))
        codes = np.unique(self._person[near], return_inverse=True)[1]
        score = np.column_stack([np.bincount(codes, residual), np.bincount(codes, residual * x)])
        people = len(score)
        if people < 2:
            return 0.0, 1.0
        variance = (inverse @ (score.T @ score) @ inverse)[0, 0] * people / (people - 1)
        yes, all_ = (kernel @ y) / kernel.max(), kernel.sum() / kernel.max()
        reach = student.ppf((1 + LEVEL) / 2, max(2.0, min(yes, all_ - yes) - 1)) * np.sqrt(variance)
        return float(expit(found[0] - reach)), float(expit(found[0] + reach))

    def _near(self, place: float, take: int) -> tuple[slice, Floats]:
        """The nearest rows and their tricube weights (Cleveland, 1979)."""
        middle = int(np.searchsorted(self._at, place))
        around = slice(max(0, middle - take), min(len(self._at), middle + take))
        distance = np.abs(self._at[around] - place)
        width = np.partition(distance, min(take, len(distance)) - 1)[min(take, len(distance)) - 1] * 1.0001 + 1e-9
        inside = np.flatnonzero(distance < width)
        near = slice(around.start + int(inside[0]), around.start + int(inside[-1]) + 1)
        closeness = 1 - (np.abs(self._at[near] - place) / width) ** 3
        return near, self._weight[near] * np.clip(closeness, 0, None) ** 3


def _local(x: Floats, y: Floats, kernel: Floats) -> tuple[Floats, NDArray[np.float64]]:
    """Intercept and slope [2] by Newton's method, and the inverse of the information [2, 2].

    The slope is drawn towards 1, what it is where the calibration is right, with a standard deviation of 1.
    """
    design = np.column_stack([np.ones(len(x)), x])
    towards, prior = np.array([0.0, 1.0]), np.diag([1e-9, 1.0])
    rate = (kernel @ y + 0.5 * kernel.max()) / (kernel.sum() + kernel.max())
    found = np.array([logit(rate), 1.0])
    information = prior
    for _ in range(_STEPS):
        p = expit(design @ found)
        information = (design * (kernel * p * (1 - p))[:, None]).T @ design + prior
        step = np.linalg.solve(information, design.T @ (kernel * (y - p)) - prior @ (found - towards))
        largest = float(np.abs(step).max())
        found = found + step * min(1.0, 2.0 / largest) if largest > 0 else found
        if largest < 1e-7:
            break
    return found, np.linalg.inv(information)
