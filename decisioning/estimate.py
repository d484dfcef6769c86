"""What every off-policy estimator shares: checked importance weights, and an estimate with its interval."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from features.kernel.errors import InvalidInput

__all__ = ["Estimate", "estimate", "weights"]

_Z = float(ndtri(0.975))


class Estimate(NamedTuple):
    """The value of a policy per decision, with its 95 % interval by the central limit theorem."""

    value: float
    low: float
    high: float
    standard_error: float
    effective_n: float
    """(Σ w)² / Σ w² (Kish, 1965): how many decisions under the policy itself would be worth as much."""


def estimate(value: float, variance: float, w: NDArray[np.float64]) -> Estimate:
    """An estimate from its value and the variance of one decision's term."""
    error = math.sqrt(variance / len(w))
    squares = float((w**2).sum())
    effective = float(w.sum()) ** 2 / squares if squares else 0.0
    return Estimate(value, value - _Z * error, value + _Z * error, error, effective)


def weights(
    reward: NDArray[np.float64], propensity: NDArray[np.float64], target: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Importance weights w = target / propensity [n].

    Raises:
        InvalidInput: lengths differ or are 0, a propensity is outside (0, 1], or a target outside [0, 1].
    """
    if not len(reward) == len(propensity) == len(target) > 0:
        raise InvalidInput(
            "must have one length, at least 1",
            field="reward, propensity, target",
            value=(len(reward), len(propensity), len(target)),
        )
    if not ((propensity > 0) & (propensity <= 1)).all():
        raise InvalidInput(
            "must lie in (0, 1]",
            field="propensity",
            value=float(propensity.min()),
            remedy="a decision without its probability cannot be evaluated off-policy",
        )
    if not ((target >= 0) & (target <= 1)).all():
        raise InvalidInput("must lie in [0, 1]", field="target", value=float(target.max()))
    w: NDArray[np.float64] = target / propensity
    return w
