"""Observed rate over mean answer of ten equal-weight bins with its interval, beside the diagonal and the baseline."""

from __future__ import annotations

from typing import Any

import numpy as np

from training.drawing import BASELINE, GUIDE, MODEL, figure, percent
from training.picture import Picture, Shown

__all__ = ["picture"]


def _draw(shown: Shown) -> Any:
    rows = [each for each in shown.evaluation.tables["reliability"] if each["segment"] == "all"]
    predicted, observed, low, high = (np.array([each[name] for each in rows]) for name in _COLUMNS)
    baseline, error = shown.evaluation.baseline_bins, shown.evaluation.metric("ece")
    drawn, axes = figure()
    top = min(1.0, 1.05 * float(max(predicted.max(), high.max(), *map(np.max, baseline))))
    axes.plot([0, top], [0, top], color=GUIDE, linewidth=1, label="perfect")
    axes.plot(*baseline, "o--", color=BASELINE, markersize=4, label="baseline")
    whiskers = np.stack([observed - low, high - observed])
    axes.errorbar(predicted, observed, whiskers, fmt="o-", color=MODEL, markersize=5, capsize=3, label="model, 95 %")
    axes.set(
        xlabel="the model said",
        ylabel="it happened",
        title=f"Probabilities are off by {100 * error.value:.1f} points on average",
        xlim=(0, top),
        ylim=(0, top),
    )
    percent(axes.xaxis, axes.yaxis)
    axes.legend(loc="upper left")
    return drawn


_COLUMNS = ("predicted", "observed", "low", "high")

picture = Picture(file="calibration.png", title="Calibration", kinds=("binary", "candidates"), draw=_draw)
