"""Inverse propensity scoring (Horvitz & Thompson, 1952; Strehl et al., 2010): unbiased, and noisy where w is large."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decisioning.estimate import Estimate, estimate, weights

__all__ = ["ips"]


def ips(reward: NDArray[np.float64], propensity: NDArray[np.float64], target: NDArray[np.float64]) -> Estimate:
    """V = (1/n) Σ w r, with Var(V) = Var(w r) / n, estimated from the sample.

    Args:
        reward: r [n], in any unit; the value has the same.
        propensity: p [n], of the logged actions under the policy that logged them.
        target: e [n], of the same actions under the policy to be valued.

    Raises:
        InvalidInput: the arrays differ in length, are empty, or a probability lies outside its range.

    >>> ips(np.array([1.0, 0.0]), np.array([0.5, 0.5]), np.array([1.0, 0.0])).value
    1.0
    """
    w = weights(reward, propensity, target)
    terms = w * reward
    return estimate(float(terms.mean()), float(terms.var(ddof=1)) if len(w) > 1 else np.nan, w)
