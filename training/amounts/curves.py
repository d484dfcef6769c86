"""The plain curve from a raw score to an amount: of money an exponential, of days within a horizon a sigmoid.

Two parameters each, intercept and slope, fitted by maximum quasi-likelihood to rows unseen in fitting. The raw score of
a money model is a logarithm, that of a days model the log-odds of the share of the horizon that passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression, TweedieRegressor

from training import losses
from training.kind import Unseen

__all__ = ["Curve", "Days", "Money"]

Floats = NDArray[np.float64]

POWER = 1.5
"""Of the Tweedie variance: 1 is Poisson's, 2 gamma's."""
_LEAST_SLOPE, _EDGE = 1e-3, 1e-9


class Curve(Protocol):
    """How amounts follow from raw scores, and what it costs to be wrong."""

    @property
    def name(self) -> str:
        """As the card calls it."""

    @property
    def top(self) -> float:
        """No answer lies above it."""

    def line(self, unseen: Unseen) -> tuple[float, float]:
        """Intercept and slope; the slope is above 0, for a backward ranking is not turned round."""

    def amount(self, score: Floats) -> Floats:
        """Amounts [n] of intercept + slope · raw [n]."""

    def score(self, amount: Floats) -> Floats:
        """The inverse of `amount`."""

    def loss(self, answer: Floats, y: Floats) -> Floats:
        """Deviance [n], less what does not depend on the answer."""


@dataclass(frozen=True, slots=True)
class Money:
    """exp(a + b·raw): Tweedie regression with a logarithmic link (Jørgensen, 1987)."""

    name: str = "log_linear"
    top: float = float("inf")

    def line(self, unseen: Unseen) -> tuple[float, float]:
        """Intercept and slope; the slope is above 0, for a backward ranking is not turned round."""
        mean = float(np.average(unseen.y, weights=unseen.weight))
        model = TweedieRegressor(power=POWER, link="log", alpha=0.0, max_iter=1000)
        z, centre, spread = _standardised(unseen.raw)
        model.fit(z[:, None], unseen.y / mean, sample_weight=unseen.weight / unseen.weight.mean())
        slope = max(float(model.coef_[0]) / spread, _LEAST_SLOPE)
        return float(model.intercept_) + float(np.log(mean)) - slope * centre, slope

    def amount(self, score: Floats) -> Floats:
        """Amounts [n] of intercept + slope · raw [n]."""
        return np.asarray(np.exp(score))

    def score(self, amount: Floats) -> Floats:
        """The inverse of `amount`."""
        return np.asarray(np.log(amount))

    def loss(self, answer: Floats, y: Floats) -> Floats:
        """Tweedie deviance [n], less what does not depend on the answer."""
        return losses.by_row({"metric": "tweedie", "tweedie_variance_power": POWER}, np.log(answer), y)


@dataclass(frozen=True, slots=True)
class Days:
    """top · sigmoid(a + b·raw): logistic regression of a share (Papke & Wooldridge, 1996)."""

    top: float
    name: str = "sigmoid"

    def line(self, unseen: Unseen) -> tuple[float, float]:
        """Intercept and slope; the slope is above 0, for a backward ranking is not turned round."""
        share = unseen.y / self.top
        z, centre, spread = _standardised(unseen.raw)
        rows, sides = np.r_[z, z][:, None], np.repeat([1, 0], len(z))
        weight = np.r_[unseen.weight * share, unseen.weight * (1 - share)] / unseen.weight.mean()
        model = LogisticRegression(C=1e6, max_iter=1000).fit(rows, sides, sample_weight=weight)
        slope = max(float(model.coef_[0, 0]) / spread, _LEAST_SLOPE)
        return float(model.intercept_[0]) - slope * centre, slope

    def amount(self, score: Floats) -> Floats:
        """Amounts [n] of intercept + slope · raw [n]."""
        return np.asarray(self.top * expit(score))

    def score(self, amount: Floats) -> Floats:
        """The inverse of `amount`, of the top something large."""
        share = np.clip(amount / self.top, _EDGE, 1 - _EDGE)
        return np.asarray(np.log(share) - np.log1p(-share))

    def loss(self, answer: Floats, y: Floats) -> Floats:
        """Cross-entropy [n] of the share of the horizon."""
        return losses.by_row({"metric": "cross_entropy"}, self.score(answer), y / self.top)


def _standardised(raw: Floats) -> tuple[Floats, float, float]:
    centre, spread = float(raw.mean()), max(float(raw.std()), _EDGE)
    return (raw - centre) / spread, centre, spread
