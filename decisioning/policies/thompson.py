"""Thompson sampling for rewards in [0, 1] with Beta posteriors, as probabilities rather than as draws.

Thompson (1933): take an action as often as it is believed to be the best. Agrawal & Goyal (2012) bound its regret.
That belief is an integral, P(i is best) = ∫ f_i(x) ∏_{j≠i} F_j(x) dx, and it is computed, not sampled: so the
logged probability is the true one. A floor keeps every probability positive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln

from decisioning.policy import Pmf, State
from features.kernel.errors import InvalidInput

__all__ = ["Thompson", "best_of_beta", "policy"]

_PRIOR = (1.0, 1.0)
_OFFSETS = np.array([0.0, 1, 2, 3, 4.5, 6, 9, 13, 20, 32])
"""Panel ends in standard deviations from a posterior's mean: close where it is, far enough for a skew one's tail."""
_ORDER = 8


@dataclass(frozen=True, slots=True)
class Thompson:
    """Each eligible action with the probability that its mean reward is the highest, mixed with a floor.

    State: `{"arms": {action: [alpha, beta]}}`, posterior Beta(alpha, beta) from the even prior Beta(1, 1).

    Args:
        floor: least probability of an eligible action, in (0, 1); with K actions at most 1 / K is given.

    >>> bandit = Thompson(floor=0.01)
    >>> state = bandit.learn(bandit.initial(), {}, "b", 1.0, 0.5)
    >>> bandit.pmf(state, {}, ["a", "b"]).round(4)  # P(Beta(2, 1) > Beta(1, 1)) = 2/3
    array([0.3367, 0.6633])
    """

    floor: float = 0.01
    name: str = "thompson"
    sticky: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.floor < 1:
            raise InvalidInput("must lie in (0, 1)", field="floor", value=self.floor)

    def initial(self) -> State:
        """No arm seen."""
        return {"arms": {}}

    def pmf(self, state: State, context: Mapping[str, float | None], actions: Sequence[str]) -> Pmf:
        """P(best) of each eligible action, scaled to leave room for the floor."""
        arms = [tuple(state["arms"].get(action, _PRIOR)) for action in actions]
        order = sorted(range(len(arms)), key=arms.__getitem__)  # one cache entry whatever the order of actions
        pmf = np.empty(len(arms))
        pmf[order] = best_of_beta(tuple(arms[i] for i in order))
        floor = min(self.floor, 1 / len(arms))
        return floor + (1 - len(arms) * floor) * pmf

    def learn(
        self, state: State, context: Mapping[str, float | None], action: str, reward: float, probability: float
    ) -> State:
        """Beta(alpha + reward, beta + 1 - reward); for fractions see Agrawal & Goyal, section 2."""
        alpha, beta = state["arms"].get(action, _PRIOR)
        return {"arms": {**state["arms"], action: [alpha + reward, beta + (1.0 - reward)]}}


@lru_cache(maxsize=4096)
def best_of_beta(arms: tuple[tuple[float, float], ...]) -> Pmf:
    """Probability [K] that each of K independent Beta(alpha, beta) variables is the greatest; alpha, beta ≥ 1.

    Gauss–Legendre quadrature on panels that follow every posterior, error about 1e-7 (tests/test_policies.py). It runs
    over the angle t with x = sin² t, where densities that rise like x^0.3 at an end are smooth. The array is cached
    and read-only.
    """
    alpha, beta = np.array(arms).T[:, :, None, None]
    angle, width = _grid(alpha.ravel(), beta.ravel())
    log_density = (2 * alpha - 1) * np.log(np.sin(angle)) + (2 * beta - 1) * np.log(np.cos(angle)) - betaln(alpha, beta)
    density = np.exp(log_density) * width[:, None]  # [K, panels, order], per unit of a panel
    mass = density @ _WEIGHTS  # [K, panels]
    before = np.cumsum(mass, axis=1) - mass
    cdf = ((before[:, :, None] + density @ _INTEGRATE) / mass.sum(axis=1)[:, None, None]).clip(0.0, 1.0)
    others = _products_of_others(cdf)
    pmf: Pmf = np.einsum("kpo,kpo,o->k", density, others, _WEIGHTS)
    pmf /= pmf.sum()
    pmf.flags.writeable = False
    return pmf


def _grid(alpha: NDArray[np.float64], beta: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Angles [panels, order] in (0, π/2) and the panels' widths [panels]."""
    mean = alpha / (alpha + beta)
    deviation = np.sqrt(mean * (1 - mean) / (alpha + beta + 1))
    steps = np.concatenate([-_OFFSETS[:0:-1], _OFFSETS])
    within = np.clip(mean[:, None] + deviation[:, None] * steps, 0.0, 1.0)
    ends = np.arcsin(np.sqrt(np.unique(np.concatenate([[0.0], within.ravel(), [1.0]]))))
    width = np.diff(ends)
    return ends[:-1, None] + width[:, None] * _NODES, width


def _products_of_others(cdf: NDArray[np.float64]) -> NDArray[np.float64]:
    """∏_{j≠i} cdf[j] for each i, without dividing (a factor may be 0)."""
    left, right = np.ones_like(cdf), np.ones_like(cdf)
    np.cumprod(cdf[:-1], axis=0, out=left[1:])
    np.cumprod(cdf[:0:-1], axis=0, out=right[-2::-1])
    product: NDArray[np.float64] = left * right
    return product


def _rule(order: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Gauss–Legendre nodes, weights on [0, 1] and the matrix M: (f(nodes) @ M)[k] = ∫_0^node_k of f's polynomial."""
    x, w = np.polynomial.legendre.leggauss(order)
    basis = np.polynomial.legendre.legvander(x, order - 1)
    integrals = np.stack(
        [np.polynomial.legendre.legval(x, np.polynomial.legendre.legint(unit, lbnd=-1)) for unit in np.eye(order)]
    )
    return (x + 1) / 2, w / 2, np.linalg.solve(basis.T, integrals) / 2


_NODES, _WEIGHTS, _INTEGRATE = _rule(_ORDER)

policy = Thompson()
