"""What drives a model: SHAP values of its trees (Lundberg et al., 2020).

Contributions come from LightGBM itself (exact TreeSHAP); `training/pictures/` draws them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.booster import Model

__all__ = ["Explanation", "explain"]

Floats = NDArray[np.float64]

ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Explanation:
    """SHAP values of a sample of rows, in log-odds."""

    columns: tuple[str, ...]
    x: Floats
    """[n, k]: the rows."""
    values: Floats
    """[n, k]: contributions; a row's sum plus `expected` is its raw log-odds."""
    expected: float

    @property
    def importance(self) -> dict[str, float]:
        """Mean absolute contribution by column, greatest first."""
        mean = np.abs(self.values).mean(axis=0)
        return {self.columns[i]: float(mean[i]) for i in np.argsort(-mean, kind="stable")}


def explain(model: Model, x: NDArray[np.float32], columns: Sequence[str], rng: np.random.Generator) -> Explanation:
    """SHAP values of up to 1,000 of the rows [n, k], drawn by `rng`."""
    chosen = np.sort(rng.permutation(len(x))[:ROWS])
    sample = np.ascontiguousarray(x[chosen], dtype=np.float64)
    contributions = model.contributions(sample)
    return Explanation(tuple(columns), sample, contributions[:, :-1], float(contributions[0, -1]))
