"""Self-normalised IPS (Swaminathan & Joachims, 2015): a little bias for much less noise, and never out of range."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decisioning.estimate import Estimate, estimate, weights
from features.kernel.errors import InvalidInput

__all__ = ["snips"]


def snips(reward: NDArray[np.float64], propensity: NDArray[np.float64], target: NDArray[np.float64]) -> Estimate:
    """V = Σ w r / Σ w, with Var(V) ≈ Σ w² (r - V)² / (Σ w)² by the delta method; bias O(1/n).

    Args:
        reward: r [n], in any unit; the value has the same.
        propensity: p [n], of the logged actions under the policy that logged them.
        target: e [n], of the same actions under the policy to be valued.

    Raises:
        InvalidInput: as `ips`, or the policy would have taken none of the logged actions.

    >>> snips(np.array([1.0, 0.0]), np.array([0.5, 0.5]), np.array([0.9, 0.1])).value
    0.9
    """
    w = weights(reward, propensity, target)
    if not w.sum() > 0:
        raise InvalidInput("gives none of the logged actions a probability", field="target", remedy="log more actions")
    value = float((w * reward).sum() / w.sum())
    spread = (w * (reward - value)) ** 2
    return estimate(value, float(len(w) ** 2 * spread.mean() / w.sum() ** 2), w)
