"""When the base rate moves: the same model, other knots.

Three ways, by what is known of the new world. Its base rate: `shifted`. Only rows, no outcomes: `estimated` gives the
base rate that explains the answers best. Outcomes, however few: `recalibrate` draws the former calibration towards
them. Each gives a new `Calibration`; model and ranking stay.

On Bank Marketing, played forward month by month from half, 70 % and 85 % of its rows, `recalibrate` on the outcomes
known by then has log-loss .420, .497, .655; the share of yes of as many rows alone .421, .511, .657; the calibration
left as it was .578, .739, .926. Guessing the base rate without outcomes is far worse there than doing nothing: who says
yes has changed too, and that is what `estimated` cannot see.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from features.kernel.card import Calibration
from features.kernel.errors import InvalidInput
from training.calibration.calibrator import EDGE, apply

__all__ = ["MEMORY", "estimated", "recalibrate", "shifted"]

Floats = NDArray[np.float64]

MEMORY = 2_000
"""Outcomes that `recalibrate` goes by; on Bank Marketing 1,000 or 4,000 are worse by .01 to .02."""
_STEPS, _ENOUGH = 1_000, 1e-10
_MOVES, _BENDS = 1.0, 0.25
"""How far the former calibration is thought to be off, standard deviations: of its log-odds, and of their slope."""
_LEAST_SLOPE = 0.05


def shifted(calibration: Calibration, prior: float, now: float) -> Calibration:
    """The calibration where the share of yes is `now` instead of `prior`, and a yes and a no look as they did.

    By Bayes' rule every log-odds moves by the same: logit(now) − logit(prior).

    Raises:
        InvalidInput: a share is not inside (0, 1).

    >>> was = Calibration(method="platt", raw=(-1.0, 1.0), value=(0.1, 0.5), largest_error=0.0)
    >>> shifted(was, 0.2, 0.5).value
    (0.3076923076923077, 0.8)
    """
    for name, share in (("prior", prior), ("now", now)):
        if not 0.0 < share < 1.0:
            raise InvalidInput("must lie inside (0, 1)", field=name, value=share, remedy="give a share of yes")
    return _moved(calibration, float(logit(now) - logit(prior)), 1.0)


def estimated(p: Floats, prior: float, weight: Floats | None = None) -> float:
    """The share of yes among rows whose outcomes nobody knows, from their calibrated probabilities [n] under `prior`.

    Expectation maximisation (Saerens, Latinne & Decaestecker, "Adjusting the outputs of a classifier to new a priori
    probabilities", 2002). It holds where only the share has moved; where a yes has come to look otherwise it does not.
    """
    odds, now = p / (1 - p), prior
    for _ in range(_STEPS):
        moved = odds * (now / (1 - now)) / (prior / (1 - prior))
        found = float(np.clip(np.average(moved / (1 + moved), weights=weight), EDGE, 1 - EDGE))
        if abs(found - now) < _ENOUGH:
            break
        now = found
    return now


def recalibrate(
    raw: Floats, y: Floats, former: Calibration, *, weight: Floats | None = None, memory: int = MEMORY
) -> Calibration:
    """The former calibration after outcomes [n] of raw scores [n] came in; without any, the former itself.

    Log-odds become a · former + b. The former counts as a prior of a around 1 and b around 0, so that ten outcomes move
    it a little and two thousand nearly all the way. Always start from the calibration of the card: what was drawn
    towards the same outcomes before would count them twice.

    Args:
        raw: rows in time order, oldest first.
        weight: [n] of each row; 1 each, if None.
        memory: so many of the newest rows count; older ones speak of a world that has gone.
    """
    raw, y = raw[-memory:], y[-memory:]
    weight = np.ones(len(raw)) if weight is None else weight[-memory:]
    at = logit(np.clip(apply(former, raw), EDGE, 1 - EDGE))
    design, towards = np.column_stack([np.ones(len(at)), at]), np.array([0.0, 1.0])
    prior, found = np.diag([1 / _MOVES**2, 1 / _BENDS**2]), towards
    for _ in range(100):
        p = expit(design @ found)
        information = (design * (weight * p * (1 - p))[:, None]).T @ design + prior
        step = np.linalg.solve(information, design.T @ (weight * (y - p)) - prior @ (found - towards))
        found = found + step * min(1.0, 1.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < _ENOUGH:
            break
    return _moved(former, float(found[0]), max(float(found[1]), _LEAST_SLOPE))


def _moved(calibration: Calibration, by: float, slope: float) -> Calibration:
    value = np.clip(expit(slope * logit(np.array(calibration.value)) + by), EDGE / 10, 1 - EDGE / 10)
    kept = [0]
    for i in range(1, len(value)):
        if value[i] > value[kept[-1]]:
            kept.append(i)
    return msgspec.structs.replace(
        calibration,
        raw=tuple(calibration.raw[i] for i in kept),
        value=tuple(float(value[i]) for i in kept),
        largest_error=float("nan"),
    )
