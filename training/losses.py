"""The loss of each row under the metric that early stopping watches: what two models are compared on, person by person.

LightGBM tells the mean alone; whether one mean is better than another beyond noise needs the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.kernel.errors import InvalidInput

__all__ = ["LOSSES", "by_row", "noise"]

Floats = NDArray[np.float64]


def _log_loss(raw: Floats, y: Floats, _: float) -> Floats:
    return np.logaddexp(0.0, raw) - y * raw


def _squared(raw: Floats, y: Floats, _: float) -> Floats:
    return np.asarray((raw - y) ** 2)


def _absolute(raw: Floats, y: Floats, _: float) -> Floats:
    return np.abs(raw - y)


def _poisson(raw: Floats, y: Floats, _: float) -> Floats:
    return np.asarray(np.exp(raw) - y * raw)


def _gamma(raw: Floats, y: Floats, _: float) -> Floats:
    return np.asarray(y * np.exp(-raw) + raw)


def _tweedie(raw: Floats, y: Floats, power: float) -> Floats:
    return np.asarray(np.exp((2 - power) * raw) / (2 - power) - y * np.exp((1 - power) * raw) / (1 - power))


LOSSES: Mapping[str, Callable[[Floats, Floats, float], Floats]] = {
    "binary_logloss": _log_loss,
    "cross_entropy": _log_loss,
    "l2": _squared,
    "rmse": _squared,
    "l1": _absolute,
    "poisson": _poisson,
    "gamma": _gamma,
    "tweedie": _tweedie,
}
"""By LightGBM's name of the metric: (raw score [n], y [n], Tweedie's power) -> loss [n], lower is better."""


def by_row(objective: Mapping[str, Any], raw: Floats, y: Floats) -> Floats:
    """Loss [n] of raw scores [n] under an objective's `metric`.

    Raises:
        InvalidInput: the metric is none of `LOSSES`.
    """
    name = str(objective.get("metric"))
    if name not in LOSSES:
        raise InvalidInput("is no known loss", field="metric", value=name, remedy=f"use one of {', '.join(LOSSES)}")
    return LOSSES[name](raw, y, float(objective.get("tweedie_variance_power", 1.5)))


def noise(difference: Floats, weight: Floats, person: NDArray[np.str_]) -> float:
    """Standard error of the weighted mean of a difference [n], its rows taken together by person.

    The sandwich estimator with one cluster a person (Liang & Zeger, 1986).
    """
    codes = np.unique(person, return_inverse=True)[1]
    centred = weight * (difference - np.average(difference, weights=weight))
    people = int(codes.max()) + 1
    if people < 2:
        return float("inf")
    return float(np.sqrt(people / (people - 1) * (np.bincount(codes, centred) ** 2).sum()) / weight.sum())
