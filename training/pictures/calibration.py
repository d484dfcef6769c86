"""Observed mean over mean answer of ten equal-count bins, beside the diagonal and the baseline."""

from __future__ import annotations

from typing import Any

from training.drawing import BASELINE, GUIDE, MODEL, figure
from training.picture import Picture, Shown

__all__ = ["picture"]


def _draw(shown: Shown) -> Any:
    bins, baseline = shown.evaluation.bins, shown.evaluation.baseline_bins
    drawn, axes = figure()
    top = 1.05 * float(max(each.max() for each in (*bins, *baseline)))
    axes.plot([0, top], [0, top], color=GUIDE, linewidth=1, label="perfect")
    axes.plot(*baseline, "o--", color=BASELINE, markersize=4, label="baseline")
    axes.plot(*bins, "o-", color=MODEL, markersize=5, label="model")
    axes.set(xlabel="mean predicted probability", ylabel="observed rate", title="Calibration on the test split")
    axes.legend()
    return drawn


picture = Picture(file="calibration.png", title="Calibration", kinds=("binary", "candidates"), draw=_draw)
