"""Single outcomes within the bounds of their answers, and how many each tenth's bounds hold."""

from __future__ import annotations

from typing import Any

import numpy as np

from features.kernel.seeds import generator
from training.drawing import GUIDE, HAPPENED, MODEL, percent, row
from training.picture import Picture, Shown

__all__ = ["picture"]

_DOTS = 2_000


def _draw(shown: Shown) -> Any:
    interval, tenths = shown.card.interval, shown.evaluation.tables.get("coverage")
    if interval is None or not tenths:
        return None
    found = shown.evaluation.metric("coverage")
    drawn, (left, right) = row(2, f"Bounds meant to hold {100 * interval.level:.0f} % of single outcomes")
    _outcomes(shown, left)
    held = [each["held"] for each in tenths]
    right.bar(range(1, len(held) + 1), held, 0.75, color=MODEL, alpha=0.85)
    right.axhline(interval.level, color=HAPPENED, linewidth=1, linestyle="--", label="meant")
    right.set(
        xlabel="tenth of people, lowest answer first",
        ylabel="share of outcomes within",
        title=f"They hold {100 * found.value:.0f} % (95 % {100 * found.low:.0f} to {100 * found.high:.0f})",
        xticks=range(1, len(held) + 1),
        ylim=(0, 1.02),
    )
    percent(right.yaxis)
    right.legend(loc="lower right")
    return drawn


def _outcomes(shown: Shown, axes: Any) -> None:
    interval, y, answers = shown.card.interval, shown.data.test.y, shown.answers
    assert interval is not None
    some = generator("bounds", shown.card.problem).permutation(len(y))[:_DOTS]
    axes.plot(answers[some], y[some], ".", color=HAPPENED, alpha=0.35, markersize=4, markeredgewidth=0)
    axes.fill_between(interval.value, interval.low, interval.high, color=MODEL, alpha=0.2, linewidth=0, label="bounds")
    axes.plot(interval.value, interval.value, color=GUIDE, linewidth=1, label="the answer itself")
    right, top = (1.05 * float(np.quantile(each, 0.99)) for each in (answers, y))
    unit = shown.card.unit
    axes.set(xlabel=f"the model said, {unit}", ylabel=f"it was, {unit}", xlim=(0, right), ylim=(-0.02 * top, top))
    axes.legend(loc="upper left")


picture = Picture(
    file="bounds.png", title="How far single outcomes lie from answers", kinds=("regression",), draw=_draw
)
