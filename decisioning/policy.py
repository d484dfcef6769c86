"""A policy: a frozen object that says with which probability it takes each action, and how an outcome changes its mind.

Drawing an action and logging its probability happen elsewhere, once (`choose.py`). That every probability is positive
is part of the contract: a log made under any policy can be evaluated for any other (Horvitz & Thompson, 1952).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = ["Pmf", "Policy", "State"]

State = Mapping[str, Any]
"""JSON-able; equals `fold(learn, journal)`, so it can be rebuilt and replayed bit for bit."""

Pmf = NDArray[np.float64]


@runtime_checkable
class Policy(Protocol):
    """The contract that `tests/test_policies.py` holds every file of `policies/` to."""

    @property
    def name(self) -> str:
        """The name it is logged under."""

    @property
    def sticky(self) -> bool:
        """Whether a customer's draw is always the same (a fixed split) or new each time."""

    def initial(self) -> State:
        """The state before anything was learnt: its prior."""

    def pmf(self, state: State, context: Mapping[str, float | None], actions: Sequence[str]) -> Pmf:
        """Probabilities [len(actions)] of the eligible actions, in their order; pure; all > 0; sum 1."""

    def learn(
        self,
        state: State,
        context: Mapping[str, float | None],
        action: str,
        reward: float,
        probability: float,
    ) -> State:
        """The next state after `action`, taken with `probability`, came to `reward` in [0, 1]; pure."""
