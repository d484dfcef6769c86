"""Beta calibration: a sigmoid that may be steeper among the sure than among the unsure, three parameters.

With s the uncalibrated probability, log-odds = a · ln s − b · ln(1 − s) + c, where a, b ≥ 0. Platt's sigmoid is a = b.

Source: Kull, Silva Filho & Flach, "Beta calibration", AISTATS 2017.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit

from training.calibration.calibrator import Calibrator, Scores, logistic
from training.calibration.calibrators.platt import grid

__all__ = ["calibrator"]

Floats = NDArray[np.float64]


def _fit(scores: Scores) -> tuple[Floats, Floats]:
    found = logistic(_columns(scores.raw), scores)
    at = grid(scores)
    return at, expit(found[0] + _columns(at) @ found[1:])


def _columns(raw: Floats) -> Floats:
    return np.column_stack([log_expit(raw), -log_expit(-raw)])


calibrator = Calibrator("beta", parameters=3, least=100, fit=_fit)
