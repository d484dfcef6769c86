"""SHAP values of any number of rows, a block at a time: by WOODELF where it applies, else by LightGBM itself.

WOODELF (Nadel & Wettenstein, "From Decision Trees to Boolean Logic: A Fast and Unified SHAP Algorithm", AAAI 2026)
gives what LightGBM's path-dependent TreeSHAP gives, to float32, in a fraction of the time. It knows no splits by
category. Whether it agrees is not believed but looked at: on a first sample, missing values put into it, value by
value; and in every block by the sum of each tenth row, which must be its raw score. Where it does not agree, LightGBM
answers.

Rows go in as float64: compared in float32, a value next to a threshold would take the other branch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.kernel.seeds import generator
from training.booster import load

__all__ = ["AGREES", "ROWS_AT_ONCE", "BulkShap", "blocks"]

Matrix = NDArray[np.float32]

ROWS_AT_ONCE = 100_000
"""WOODELF prepares each leaf anew for every block; with 80 columns so many rows hold 100 MB."""
AGREES = 1e-5
"""Largest difference from LightGBM's values, as a share of the largest of them where that is above 1."""
_SUM_AGREES = 1e-4
"""The same of a row's sum, in which as many roundings add up as there are columns."""
_LOOKED_AT = 10
"""Of every block each tenth row's sum is compared: what is off is off in many rows, and all would cost a third more."""
_SAMPLE = 200
_MISSING = 0.2
_CATEGORICAL = re.compile(r"^num_cat=[1-9]", re.MULTILINE)


class BulkShap:
    """SHAP values of one model.

    Args:
        text: of LightGBM's `model.txt`.
        rows: [m, k] some of the rows to come, m at least 1; agreement is looked at on them.
    """

    def __init__(self, text: str, rows: Matrix) -> None:
        self._booster = load(text)
        sample = _with_missing(rows[:_SAMPLE])
        exact = self._exact(sample)
        self.expected = float(exact[0, -1])
        """What the values of a row are added to, to give its raw score."""
        self.path: Literal["woodelf", "pred_contrib"] = "pred_contrib"
        """Who computes."""
        self.why = self._disagreement(text, sample, exact[:, :-1])
        """Why it is not WOODELF; empty where it is."""
        if not self.why:
            self.path = "woodelf"
        self.mended = 0
        """Rows of blocks in which WOODELF's sums were off, so that LightGBM computed them."""

    def values(self, rows: Matrix) -> Matrix:
        """SHAP values [m, k] of the raw score of rows [m, k]; NaN is a missing value. Give about `ROWS_AT_ONCE`."""
        if self.path == "woodelf":
            found = self._fast(rows)
            raw = self._booster.predict(np.ascontiguousarray(rows[::_LOOKED_AT]), raw_score=True, num_threads=1)
            if _agree(found[::_LOOKED_AT].sum(axis=1, dtype=np.float64) + self.expected, raw, _SUM_AGREES):
                return found
            self.mended += len(rows)
        return self._exact(rows)[:, :-1].astype(np.float32)

    def _exact(self, rows: Matrix) -> NDArray[np.float64]:
        return np.asarray(self._booster.predict(np.ascontiguousarray(rows), pred_contrib=True))

    def _fast(self, rows: Matrix) -> Matrix:
        # By column: every node of every tree reads one, and a row apart costs three times as much.
        frame = pd.DataFrame(np.asfortranarray(rows, dtype=np.float64), columns=self._booster.feature_name())
        return np.asarray(self._explainer.shap_values(frame, verbose=False), dtype=np.float32)

    @cached_property
    def _explainer(self) -> Any:
        from woodelf import WoodelfExplainer  # noqa: PLC0415  the one door to it

        return WoodelfExplainer(self._booster)

    def _disagreement(self, text: str, sample: Matrix, exact: NDArray[np.float64]) -> str:
        if _CATEGORICAL.search(text):
            return "the model splits by category"
        if not _agree(self._fast(sample), exact, AGREES):
            return "WOODELF does not agree with LightGBM on this model"
        return ""


def blocks(rows: Matrix, bulk: BulkShap, progress: Callable[[int, int], object]) -> Iterator[Matrix]:
    """SHAP values of rows [n, k] in blocks [m, k]; `progress(done, n)` is told after each."""
    for first in range(0, len(rows), ROWS_AT_ONCE):
        yield bulk.values(rows[first : first + ROWS_AT_ONCE])
        progress(min(first + ROWS_AT_ONCE, len(rows)), len(rows))


def _with_missing(rows: Matrix) -> Matrix:
    """The rows, and the same with a fifth of their values taken away: where NaN goes is what differs first."""
    holes = np.where(generator("bulk shap").random(rows.shape) < _MISSING, np.float32(np.nan), rows)
    return np.concatenate([rows, holes])


def _agree(found: NDArray[Any], exact: NDArray[np.float64], tolerance: float) -> bool:
    scale = max(1.0, float(np.abs(exact).max(initial=0.0)))
    return bool(np.abs(found - exact).max(initial=0.0) <= tolerance * scale)
