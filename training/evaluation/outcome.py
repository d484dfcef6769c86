"""What was observed of each row, and how much the row counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.trainingset import Split

__all__ = ["outcome", "row_weights"]

Floats = NDArray[np.float64]


def outcome(split: Split) -> Floats:
    """[n] what an answer is compared with on average.

    Of a randomised row y · (arm / e - (1 - arm) / (1 - e)), e being the probability of arm 1: its mean over any group
    is an unbiased estimate of the group's average effect (Horvitz & Thompson, 1952).
    """
    if split.arm is None or split.propensity is None:
        return split.y
    return split.y * (split.arm / split.propensity - (1 - split.arm) / (1 - split.propensity))


def row_weights(split: Split) -> Floats:
    """[n] of each row; 1 where the split has none."""
    return np.ones(len(split)) if split.weight is None else split.weight
