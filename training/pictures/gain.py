"""Share of positives found over share of people contacted, best scores first."""

from __future__ import annotations

from typing import Any

import numpy as np

from training.drawing import BASELINE, GUIDE, MODEL, figure
from training.picture import Picture, Shown

__all__ = ["picture"]


def _draw(shown: Shown) -> Any:
    y = shown.data.test.y
    drawn, axes = figure()
    contacted = np.linspace(0, 1, len(y) + 1)
    lines = ((shown.baseline, "baseline", "--", BASELINE), (shown.answers, "model", "-", MODEL))
    for p, name, style, colour in lines:
        found = np.r_[0.0, np.cumsum(y[np.argsort(-p, kind="stable")])] / y.sum()
        axes.plot(contacted, found, style, color=colour, label=name)
    axes.plot([0, 1], [0, 1], color=GUIDE, linewidth=1, label="at random")
    axes.set(xlabel="share contacted", ylabel="share of positives found", title="Cumulative gain on the test split")
    axes.legend()
    return drawn


picture = Picture(file="gain.png", title="Cumulative gain", kinds=("binary", "candidates"), draw=_draw)
