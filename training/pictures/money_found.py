"""The share of all money found among the share of people with the highest answers, and the Gini coefficients of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from training.drawing import BASELINE, GUIDE, HAPPENED, MODEL, figure, percent
from training.evaluation.amounts import gain_curve
from training.picture import Picture, Shown

__all__ = ["picture"]


def _draw(shown: Shown) -> Any:
    if shown.card.unit == "days":
        return None  # days are not found: a ranking of waits is judged by concordance
    test, gini = shown.data.test, shown.evaluation.metric("gini")
    curves = {
        "the best possible order": (test.y, ":", HAPPENED),
        f"baseline, Gini {gini.baseline:.2f}": (shown.baseline, "--", BASELINE),
        f"model, Gini {gini.value:.2f} ({gini.low:.2f} to {gini.high:.2f})": (shown.answers, "-", MODEL),
    }
    drawn, axes = figure()
    for label, (answers, style, colour) in curves.items():
        axes.plot(*gain_curve(test.y, answers, test.weight), style, color=colour, label=label)
    axes.plot([0, 1], [0, 1], color=GUIDE, linewidth=1, label="at random")
    tenth = float(np.interp(0.1, *gain_curve(test.y, shown.answers, test.weight)))
    axes.set(
        xlabel="share of people, highest answer first",
        ylabel="share of all that they bring",
        title=f"The first tenth brings {100 * tenth:.0f} % of it",
        xlim=(0, 1),
        ylim=(0, 1.02),
    )
    percent(axes.xaxis, axes.yaxis)
    axes.legend(loc="lower right")
    return drawn


picture = Picture(file="money_found.png", title="Where the money is", kinds=("regression",), draw=_draw)
