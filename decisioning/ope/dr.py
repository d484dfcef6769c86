"""Doubly robust (Dudík, Langford & Li, 2011): a model of the reward, corrected where the log can check it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decisioning.estimate import Estimate, estimate, weights

__all__ = ["dr"]


def dr(
    reward: NDArray[np.float64],
    propensity: NDArray[np.float64],
    target: NDArray[np.float64],
    predicted: NDArray[np.float64],
    expected: NDArray[np.float64],
) -> Estimate:
    """V = (1/n) Σ [v + w (r - q)], with Var(V) = Var(v + w (r - q)) / n.

    Unbiased with true propensities whatever the model says, provided it was not fitted on the same rows (fit it on
    others, or cross-fit); the better the model, the less noise.

    Args:
        reward: r [n], in any unit; the value has the same.
        propensity: p [n], of the logged actions under the policy that logged them.
        target: e [n], of the same actions under the policy to be valued.
        predicted: q [n], the model's reward of the logged action.
        expected: v [n], the model's reward averaged over the actions as the valued policy would take them.

    Raises:
        InvalidInput: as `ips`.
    """
    w = weights(reward, propensity, target)
    terms = expected + w * (reward - predicted)
    return estimate(float(terms.mean()), float(terms.var(ddof=1)) if len(w) > 1 else np.nan, w)
