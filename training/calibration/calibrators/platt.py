"""Platt's sigmoid (1999): a straight line in log-odds, two parameters. The safe choice where the rarer class is small.

Source: Platt, "Probabilistic outputs for support vector machines", 1999.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from training.calibration.calibrator import Calibrator, Scores, logistic

__all__ = ["calibrator", "grid"]

Floats = NDArray[np.float64]

_KNOTS = 65


def grid(scores: Scores) -> Floats:
    """Raw scores at which a smooth curve is written down, a little beyond the data."""
    margin = 0.5 + 0.1 * float(np.ptp(scores.raw))
    return np.linspace(scores.raw[0] - margin, scores.raw[-1] + margin, _KNOTS)


def _fit(scores: Scores) -> tuple[Floats, Floats]:
    intercept, slope = logistic(scores.raw[:, None], scores)
    at = grid(scores)
    return at, expit(intercept + slope * at)


calibrator = Calibrator("platt", parameters=2, least=0, fit=_fit)
