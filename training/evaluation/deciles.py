"""Lift and gain by decile: what contacting the best tenth, two tenths, … of people would have found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.evaluation.bootstrap import bounds
from training.evaluation.result import Bins, Rows

__all__ = ["table"]

Floats = NDArray[np.float64]


def table(bins: Bins, drawn: Sequence[Floats], baseline: Floats) -> Rows:
    """A row a tenth, the highest answers first.

    Args:
        bins: ten equal-weight bins, lowest answers first.
        drawn: [draws, 10] their observed rates under each draw.
        baseline: [10] the observed rates of the baseline's bins.

    `lift`: observed rate over that of all. `gain`: share of all yeses found among this tenth and those above it.
    """
    lifts = bounds(_lift(bins.observed), [_lift(each) for each in drawn])
    gains = bounds(_gain(bins.observed), [_gain(each) for each in drawn])
    lift, gain, simple = _lift(bins.observed), _gain(bins.observed), _gain(baseline)
    return tuple(
        {
            "decile": i + 1,
            "predicted": float(bins.predicted[::-1][i]),
            "observed": float(bins.observed[::-1][i]),
            "lift": float(lift[i]),
            "lift_low": float(lifts[0][i]),
            "lift_high": float(lifts[1][i]),
            "gain": float(gain[i]),
            "gain_low": float(gains[0][i]),
            "gain_high": float(gains[1][i]),
            "baseline_lift": float(_lift(baseline)[i]),
            "baseline_gain": float(simple[i]),
        }
        for i in range(len(bins.observed))
    )


def _lift(observed: Floats) -> Floats:
    best_first, mean = observed[::-1], observed.mean()
    return best_first / mean if mean > 0 else np.full(len(best_first), np.nan)


def _gain(observed: Floats) -> Floats:
    gain: Floats = np.cumsum(_lift(observed)) / len(observed)
    return gain
