"""ε-greedy: mostly the action that did best so far, sometimes any (Sutton & Barto, Reinforcement Learning, 2.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from decisioning.policy import Pmf, State
from features.kernel.errors import InvalidInput

__all__ = ["Epsilon", "policy"]

_PRIOR = (1.0, 2.0)
"""Reward and trials before anything was seen: the mean of an even prior, so that a new action is tried."""


@dataclass(frozen=True, slots=True)
class Epsilon:
    """With probability 1 - ε the action of the highest mean reward (ties share it), with ε any, evenly.

    State: `{"arms": {action: [sum of rewards, trials]}}`, the prior's 1 of 2 counted in.

    Args:
        epsilon: share of decisions spent on exploring, in (0, 1].

    >>> greedy = Epsilon(epsilon=0.2)
    >>> state = greedy.learn(greedy.initial(), {}, "b", 1.0, 0.5)
    >>> greedy.pmf(state, {}, ["a", "b"])
    array([0.1, 0.9])
    """

    epsilon: float = 0.1
    name: str = "epsilon"
    sticky: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.epsilon <= 1:
            raise InvalidInput("must lie in (0, 1]", field="epsilon", value=self.epsilon)

    def initial(self) -> State:
        """No arm seen."""
        return {"arms": {}}

    def pmf(self, state: State, context: Mapping[str, float | None], actions: Sequence[str]) -> Pmf:
        """ε / K everywhere, the rest on the best mean."""
        arms = [state["arms"].get(action, _PRIOR) for action in actions]
        means = np.array([reward / trials for reward, trials in arms])
        best = means == means.max()
        pmf: Pmf = self.epsilon / len(means) + (1 - self.epsilon) * best / best.sum()
        return pmf

    def learn(
        self, state: State, context: Mapping[str, float | None], action: str, reward: float, probability: float
    ) -> State:
        """One more trial of `action`, and its reward."""
        total, trials = state["arms"].get(action, _PRIOR)
        return {"arms": {**state["arms"], action: [total + reward, trials + 1.0]}}


policy = Epsilon()
