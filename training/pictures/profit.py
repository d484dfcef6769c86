"""What acting earns by how many are acted on: the best threshold of the validation split, judged on the test split."""

from __future__ import annotations

from typing import Any

import numpy as np

from training.drawing import BASELINE, GUIDE, MODEL, figure, percent
from training.picture import Picture, Shown

__all__ = ["picture"]


def _draw(shown: Shown) -> Any:
    rows = sorted(shown.evaluation.tables.get("profit", ()), key=lambda each: float(each["contacted"]))
    if not rows:
        return None
    share, profit, low, high = (np.array([each[name] for each in rows]) for name in _COLUMNS)
    best, simple = next(each for each in rows if each["chosen"]), shown.evaluation.metric("profit").baseline
    drawn, axes = figure(7, 5)
    axes.axhline(0, color=GUIDE, linewidth=1)
    axes.plot([0, 1], [0, profit[-1]], ":", color=GUIDE, label="people drawn at random")
    if simple is not None:
        axes.axhline(simple, linestyle="--", color=BASELINE, linewidth=1, label="baseline at its break-even")
    axes.fill_between(share, low, high, color=MODEL, alpha=0.2, linewidth=0)
    axes.plot(share, profit, color=MODEL, label="model, 95 %")
    axes.plot(best["contacted"], best["profit"], "o", color=MODEL, markersize=9, label="chosen on earlier rows")
    axes.set(
        xlabel="share of people acted on, highest score first",
        ylabel="profit for every 1,000 people",
        title=f"Acting from {100 * best['threshold']:.0f} % on: {best['profit']:,.0f} for every 1,000 people "
        f"({best['low']:,.0f} to {best['high']:,.0f})",
    )
    axes.margins(y=0.12)
    percent(axes.xaxis)
    axes.legend()
    return drawn


_COLUMNS = ("contacted", "profit", "low", "high")

picture = Picture(file="profit.png", title="Profit", kinds=("binary", "candidates"), draw=_draw)
