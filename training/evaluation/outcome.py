"""What was observed of each row: the label itself, or of an uplift problem something whose mean is the effect."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.trainingset import Split

__all__ = ["outcome"]

Floats = NDArray[np.float64]


def outcome(split: Split) -> Floats:
    """[n] what an answer is compared with on average.

    Of a randomised row y · (arm / e - (1 - arm) / (1 - e)), e being the probability of arm 1: its mean over any group
    is an unbiased estimate of the group's average effect (Horvitz & Thompson, 1952).
    """
    if split.arm is None or split.propensity is None:
        return split.y
    return split.y * (split.arm / split.propensity - (1 - split.arm) / (1 - split.propensity))
