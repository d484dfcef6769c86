"""BG/NBD: how many purchases a customer will make, from how many they made, when the last was, and how old they are.

Fader, Hardie & Lee, "Counting your customers the easy way: an alternative to the Pareto/NBD model" (Marketing Science,
2005). While a customer is active they buy as a Poisson process of rate λ ~ gamma(r, α); after each purchase they are
lost for good with probability p ~ beta(a, b). Four parameters, fitted by maximum likelihood.

Of a customer is known x, the number of purchases after the first, t_x, when the last of them was, and T, how long ago
the first was: t_x and T counted from the first purchase, in any one unit of time, t_x = 0 where x = 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import gammaln, hyp2f1

from features.kernel.errors import InvalidInput, NotEnoughData

__all__ = ["BGNBD", "History", "fit"]

Floats = NDArray[np.float64]

_SINGULAR = 1e-5
_BOUNDS = (-8.0, 8.0)
"""Of the logarithms of the parameters, time in units of the mean age."""
_STARTS = ((0.0, 0.0, 0.0, 1.0), (-1.5, -2.0, -0.5, 1.0), (0.0, 0.0, -3.0, 1.0))


class History(NamedTuple):
    """What is known of n customers: each [n]."""

    x: Floats
    t_x: Floats
    T: Floats


class BGNBD(NamedTuple):
    """The four parameters; α is in units of time."""

    r: float
    alpha: float
    a: float
    b: float

    def log_likelihood(self, known: History) -> Floats:
        """Log-likelihood [n] of each customer's history."""
        r, alpha, a, b = self
        x, t_x, age = known
        bought = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
        stayed = gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
        active = -(r + x) * np.log(alpha + age)
        with np.errstate(divide="ignore"):
            lost = np.where(x > 0, np.log(a / np.maximum(b + x - 1, 1e-300)) - (r + x) * np.log(alpha + t_x), -np.inf)
        return np.asarray(bought + stayed + np.logaddexp(active, lost))

    def alive(self, known: History) -> Floats:
        """P(still active) [n]; 1 for who bought once only, for one is lost after a purchase following the first."""
        r, alpha, a, b = self
        x, t_x, age = known
        odds = np.log(a / np.maximum(b + x - 1, 1e-300)) + (r + x) * np.log((alpha + age) / (alpha + t_x))
        return np.asarray(np.where(x > 0, np.exp(-np.logaddexp(0.0, odds)), 1.0))

    def expected(self, known: History, t: float) -> Floats:
        """Expected purchases [n] in the next t; equation (10) of the paper.

        Its hypergeometric function overflows for frequent buyers; by Euler's transformation the power before it and the
        function become (1 - z)^(a - 1) · 2F1(a + b - 1 - r, a - 1; a + b + x - 1; z), which does not.
        """
        r, alpha, a, b = self
        a = a if abs(a - 1) > _SINGULAR else 1 + _SINGULAR
        c = a + b + known.x - 1
        c = np.where(np.abs(c) > _SINGULAR, c, _SINGULAR)
        z = t / (alpha + known.T + t)
        left = np.exp((a - 1) * np.log1p(-z)) * hyp2f1(a + b - 1 - r, a - 1, c, z)
        return np.asarray(np.maximum(c / (a - 1) * (1 - left), 0.0) * self.alive(known))

    def none(self, known: History, t: float) -> Floats:
        """P(no purchase in the next t) [n]."""
        stays = np.exp((self.r + known.x) * (np.log(self.alpha + known.T) - np.log(self.alpha + known.T + t)))
        return np.asarray(1 - self.alive(known) * (1 - stays))

    def wait(self, known: History, t: float) -> Floats:
        """Expected time [n] until the next purchase, or t if there is none before: the integral of `none` up to t."""
        k, start = self.r + known.x - 1, self.alpha + known.T
        k = np.where(np.abs(k) > _SINGULAR, k, _SINGULAR)
        active = start * -np.expm1(-k * np.log1p(t / start)) / k
        return np.asarray(t - self.alive(known) * (t - active))


def fit(known: History) -> BGNBD:
    """Maximum likelihood from three starting points, by L-BFGS-B on the logarithms of the parameters.

    Raises:
        InvalidInput: histories that cannot be: x below 0, t_x outside [0, T].
        NotEnoughData: nobody bought twice, or nobody has any age.
    """
    x, t_x, age = (np.asarray(each, dtype=np.float64) for each in known)
    wrong = ~((x >= 0) & (t_x >= 0) & (t_x <= age) & np.isfinite(x + age))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise InvalidInput("needs x >= 0 and 0 <= t_x <= T", field="history", value=(x[at], t_x[at], age[at]))
    if not x.any() or not age.any():
        raise NotEnoughData("nobody of these bought a second time", field="BG/NBD", remedy="import more orders")
    unit = float(age.mean())
    scaled = History(x, t_x / unit, age / unit)

    def loss(logs: Floats) -> float:
        return -float(BGNBD(*np.exp(logs)).log_likelihood(scaled).mean())

    found = [minimize(loss, start, method="L-BFGS-B", bounds=[_BOUNDS] * 4) for start in _STARTS]
    r, alpha, a, b = np.exp(min(found, key=lambda each: float(each.fun)).x).tolist()
    return BGNBD(r, alpha * unit, a, b)
