"""What drives a model: SHAP values of its trees (Lundberg et al., 2020) on a sample of rows.

Contributions come from LightGBM itself (exact TreeSHAP); `training/pictures/` draws them,
`training/explanation/bulk.py` gives them for any number of rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.kernel.card import Card
from training.booster import Model
from training.explanation.importance import Importance, Input, Tally, inputs, worth

__all__ = ["Explanation", "explain"]

Floats = NDArray[np.float64]

ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Explanation:
    """SHAP values of a sample of rows."""

    inputs: tuple[Input, ...]
    """[k] the model's columns."""
    x: NDArray[np.float32]
    """[n, k]: the rows."""
    values: Floats
    """[n, k]: contributions to the raw score; a row's sum plus `expected` is its raw score."""
    expected: float
    importance: Importance
    """Mean absolute contributions, of inputs and of families."""


def explain(model: Model, x: NDArray[np.float32], card: Card, rng: np.random.Generator) -> Explanation:
    """SHAP values of up to 1,000 of the rows [n, k], drawn by `rng`."""
    sample = x[np.sort(rng.permutation(len(x))[:ROWS])]
    contributions = model.contributions(sample)
    values, expected = contributions[:, :-1], float(contributions[0, -1])
    tally = Tally(card)
    tally.add(values, worth(card, values, expected))
    return Explanation(inputs(card), sample, values, expected, tally.importance())
