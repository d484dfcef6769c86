"""What a Brier score is made of: reliability - resolution + uncertainty (Murphy, 1973).

*Reliability*: how far answers lie from what was observed where they were given; 0 is perfect. *Resolution*: how far
apart those observed rates lie; the more the better. *Uncertainty*: p(1 - p) of the base rate, the score of who always
answers it. Answers are seldom equal, so they are put into ten equal-weight bins; what is lost inside the bins belongs
to resolution, and with it the three sum to the Brier score exactly (Stephenson, Coelho & Jolliffe, 2008).
"""

from __future__ import annotations

from typing import NamedTuple

from training.evaluation.ties import Sums

__all__ = ["Decomposition", "decompose"]


class Decomposition(NamedTuple):
    """Brier score = reliability - resolution + uncertainty."""

    reliability: float
    resolution: float
    uncertainty: float


def decompose(sums: Sums) -> Decomposition:
    """The three parts; there must be some weight.

    >>> import numpy as np
    >>> from training.evaluation.ties import Ties
    >>> decompose(Ties(np.array([0.0, 0, 1, 1]), np.array([0.5, 0.5, 1, 1])).sums())
    Decomposition(reliability=0.125, resolution=0.25, uncertainty=0.25)
    """
    weight, answers, yes, squares, products = sums.moments
    total = weight.sum()
    answer, observed, rate = answers / weight, yes / weight, yes.sum() / total
    between = weight @ (observed - rate) ** 2
    spread = (squares - weight * answer**2).sum()
    together = 2 * (products - yes * answer).sum()
    return Decomposition(
        reliability=float(weight @ (answer - observed) ** 2 / total),
        resolution=float((between - spread + together) / total),
        uncertainty=float(rate * (1 - rate)),
    )
