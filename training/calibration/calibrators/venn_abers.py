"""Venn–Abers: isotonic regression that asks twice, once as if the new row were a no and once as if it were a yes.

The two answers p0 ≤ p1 stand wide apart where rows are few; p = p1 / (1 − p0 + p1) is the one probability between them
that loses least whichever is right, so it bends as isotonic regression does and is drawn to the middle where little is
known.

Source: Vovk & Petej, "Venn–Abers predictors", UAI 2014.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from training.calibration.calibrator import Calibrator, Scores, joined
from training.calibration.calibrators.isotonic import binned, tails

__all__ = ["bounds", "calibrator"]

Floats = NDArray[np.float64]

_BIN_ROWS, _MOST_BINS = 10, 300
_PLACES = 60


def bounds(scores: Scores) -> tuple[Floats, Floats, Floats]:
    """(places [k], p0 [k], p1 [k]) at up to 60 places of equal weight; both rise."""
    fine, places = binned(scores, _BIN_ROWS, _MOST_BINS), binned(scores, _BIN_ROWS, _PLACES)
    low, high = (np.array([_with(fine, each, label) for each in places.raw]) for label in (0.0, 1.0))
    return places.raw, low, high


def _with(scores: Scores, place: float, label: float) -> float:
    """The isotonic fit at a place, after a row of weight 1 with this label was added there."""
    at = int(np.searchsorted(scores.raw, place))
    rate = np.insert(scores.yes / scores.weight, at, label)
    weight = np.insert(scores.weight, at, 1.0)
    return float(isotonic_regression(rate, weights=weight).x[at])


def _fit(scores: Scores) -> tuple[Floats, Floats]:
    at, low, high = bounds(scores)
    weight = np.full(len(at), 1.0)
    return tails(scores, *joined(at, high / (1 - low + high), weight))


calibrator = Calibrator("venn_abers", parameters=50, least=200, fit=_fit)
