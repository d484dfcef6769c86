"""Gamma-Gamma: what a customer spends an order, their own mean drawn towards everyone's by as much as it is uncertain.

Fader & Hardie, "The Gamma-Gamma model of monetary value" (2013). Order values of a person are gamma(p, ν), and ν
differs between people as gamma(q, γ). Beside BG/NBD, which counts the orders, it makes the customer lifetime value of
Fader, Hardie & Lee, "RFM and CLV: using iso-value curves for customer base analysis" (2005).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import gammaln

from features.kernel.errors import NotEnoughData

__all__ = ["GammaGamma", "fit"]

Floats = NDArray[np.float64]

_BOUNDS = ((-6.0, 6.0), (0.01, 6.0), (-12.0, 12.0))
"""Of log p, log q (q > 1, or there is no mean) and log γ, values in units of their mean."""
_STARTS = ((0.0, 1.0, 0.0), (1.5, 1.5, 0.0))


class GammaGamma(NamedTuple):
    """The three parameters; γ is in money."""

    p: float
    q: float
    gamma: float

    def log_likelihood(self, orders: Floats, mean: Floats) -> Floats:
        """Log-likelihood [n] of mean order values [n] over numbers of orders [n]."""
        p, q, gamma = self
        shape = p * orders
        norm = gammaln(shape + q) - gammaln(shape) - gammaln(q)
        powers = q * np.log(gamma) + (shape - 1) * np.log(mean) + shape * np.log(orders)
        return np.asarray(norm + powers - (shape + q) * np.log(gamma + orders * mean))

    def expected(self, orders: Floats, mean: Floats) -> Floats:
        """Expected value [n] of an order to come."""
        return np.asarray(self.p * (self.gamma + orders * mean) / (self.p * orders + self.q - 1))


def fit(orders: Floats, mean: Floats) -> GammaGamma:
    """Maximum likelihood from mean order values [n], above 0, over numbers of orders [n], one or more each.

    Raises:
        NotEnoughData: nobody has an order of any value.
    """
    known = (orders > 0) & (mean > 0)
    if not known.any():
        raise NotEnoughData("nobody has an order of any value", field="Gamma-Gamma", remedy="import order amounts")
    unit = float(mean[known].mean())
    n, value = orders[known], mean[known] / unit

    def loss(logs: Floats) -> float:
        return -float(GammaGamma(*np.exp(logs)).log_likelihood(n, value).mean())

    found = [minimize(loss, start, method="L-BFGS-B", bounds=_BOUNDS) for start in _STARTS]
    p, q, gamma = np.exp(min(found, key=lambda each: float(each.fun)).x).tolist()
    return GammaGamma(p, q, gamma * unit)
