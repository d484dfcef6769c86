"""A fixed split: the plain A/B test, and the yardstick every learning policy must beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from decisioning.policy import Pmf, State
from features.kernel.errors import InvalidInput

__all__ = ["Split", "policy"]


@dataclass(frozen=True, slots=True)
class Split:
    """Probabilities in fixed proportion to `weights`; a customer always draws the same.

    Args:
        weights: relative weight of an action, 1 where none is named; every weight is positive.

    >>> Split(weights={"none": 2.0}).pmf({}, {}, ["none", "reminder", "discount"])
    array([0.5 , 0.25, 0.25])
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    name: str = "split"
    sticky: bool = True

    def __post_init__(self) -> None:
        for action, weight in self.weights.items():
            if not 0 < weight < float("inf"):
                raise InvalidInput("must be positive", field=f"weights.{action}", value=weight)

    def initial(self) -> State:
        """Nothing: a split learns nothing."""
        return {}

    def pmf(self, state: State, context: Mapping[str, float | None], actions: Sequence[str]) -> Pmf:
        """The weights of the eligible actions, scaled to sum to 1."""
        weights = np.array([self.weights.get(action, 1.0) for action in actions], dtype=np.float64)
        pmf: Pmf = weights / weights.sum()
        return pmf

    def learn(
        self, state: State, context: Mapping[str, float | None], action: str, reward: float, probability: float
    ) -> State:
        """The state as it was."""
        return state


policy = Split()
