"""What was observed of each row, and how much the row counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.trainingset import Split

__all__ = ["outcome", "row_weights"]

Floats = NDArray[np.float64]


def outcome(split: Split) -> Floats:
    """[n] what an answer is compared with on average.

    Of a randomised row (y - m) · (arm / e - (1 - arm) / (1 - e)), e the probability of arm 1 and m the mean of all
    y: its mean over any group is an estimate of the group's average effect (Horvitz & Thompson, 1952; what is taken off
    every row alike changes the noise, not the mean).
    """
    if split.arm is None or split.propensity is None:
        return split.y
    drawn = split.arm / split.propensity - (1 - split.arm) / (1 - split.propensity)
    return (split.y - np.average(split.y, weights=split.weight)) * drawn


def row_weights(split: Split) -> Floats:
    """[n] of each row; 1 where the split has none."""
    return np.ones(len(split)) if split.weight is None else split.weight
