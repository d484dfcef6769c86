"""Expected and observed amounts of each tenth of the people, highest answers first, beside the baseline's tenths."""

from __future__ import annotations

from typing import Any

import numpy as np

from training.drawing import BASELINE, HAPPENED, MODEL, figure
from training.picture import Picture, Shown

__all__ = ["picture"]


def _draw(shown: Shown) -> Any:
    rows = shown.evaluation.tables["deciles"]
    tenth, predicted, observed, low, high, simple = (np.array([each[name] for each in rows]) for name in _COLUMNS)
    total = shown.evaluation.metric("total_ratio")
    share = "{:.0%}".format
    drawn, axes = figure(7, 5)
    axes.bar(tenth, predicted, 0.75, color=MODEL, alpha=0.85, label="the model said")
    whiskers = np.stack([observed - low, high - observed])
    axes.errorbar(tenth, observed, whiskers, fmt="o", color=HAPPENED, markersize=5, capsize=3, label="it was, 95 %")
    axes.plot(
        tenth, simple, "_", color=BASELINE, markersize=18, markeredgewidth=3, label="it was, in the baseline's tenth"
    )
    axes.set(
        xlabel="tenth of people, highest answer first",
        ylabel=f"mean, in {shown.card.unit}",
        title=f"Answers add up to {share(total.value)} of what came (95 %: {share(total.low)} to {share(total.high)})",
        xticks=tenth,
    )
    axes.set_ylim(bottom=0)
    axes.legend()
    return drawn


_COLUMNS = ("decile", "predicted", "observed", "observed_low", "observed_high", "baseline_observed")

picture = Picture(file="amounts_by_decile.png", title="Said and observed by tenth", kinds=("regression",), draw=_draw)
