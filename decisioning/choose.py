"""The one place where an action is drawn, so that the logged probability is the one it was drawn with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from decisioning.policy import Pmf

__all__ = ["choose"]


def choose(actions: Sequence[str], pmf: Pmf, u: float) -> str:
    """The action at `u` in [0, 1) of the cumulated probabilities, in the order of `actions`.

    >>> choose(["none", "reminder"], np.array([0.25, 0.75]), 0.25)
    'reminder'
    """
    drawn = int(np.searchsorted(np.cumsum(pmf), u, side="right"))
    return actions[min(drawn, len(actions) - 1)]  # the sum may fall short of 1 by rounding
