"""SHAP dependence: of the six strongest inputs, what each value did to the raw score, a dot a row.

The spread at one value is what other inputs make of it. Rows without a value stand at the left, behind the line.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.drawing import BASELINE, GUIDE, MODEL
from training.explanation.importance import raw_unit
from training.picture import Picture, Shown

__all__ = ["picture"]

ROWS, COLUMNS = 2, 3
_MOST_CATEGORIES = 8
_DOTS = {"s": 7, "alpha": 0.35, "linewidths": 0}

Floats = NDArray[np.float64]


def _draw(shown: Shown) -> Any:
    from matplotlib.figure import Figure  # noqa: PLC0415

    told = shown.explanation
    names = [each.name for each in told.inputs]
    strongest = [each.name for each in told.importance.inputs[: ROWS * COLUMNS] if each.shap > 0]
    if not strongest:
        return None
    figure = Figure(figsize=(12, 7), layout="constrained")
    vocabularies = {each.ref: each.vocabulary for each in shown.card.features if each.dtype == "category"}
    every = figure.subplots(ROWS, COLUMNS, sharey=True).ravel()
    for axes, name in zip(every, strongest, strict=False):
        column = names.index(name)
        x, shap = told.x[:, column].astype(np.float64), told.values[:, column]
        if name in vocabularies:
            _categories(axes, x, shap, vocabularies[name])
        else:
            _numbers(axes, x, shap)
        axes.axhline(0, color=GUIDE, linewidth=0.8, zorder=0)
        axes.set_title(name, fontsize=10)
    for axes in every[len(strongest) :]:
        axes.set_axis_off()
    figure.supylabel(f"SHAP value, in {raw_unit(shown.card)}", fontsize=10)
    figure.suptitle("What each value does: the strongest inputs")
    return figure


def _numbers(axes: Any, x: Floats, shap: Floats) -> None:
    """The middle 98 % of the values, so that one outlier does not press all others into a line."""
    known = ~np.isnan(x)
    if not known.any():
        axes.scatter(np.zeros(len(x)), shap, color=BASELINE, **_DOTS)
        axes.set_xticks([0], ["missing"])
        return
    low, high = np.quantile(x[known], [0.01, 0.99])
    inside = known & (x >= low) & (x <= high)
    axes.scatter(x[inside], shap[inside], color=MODEL, **_DOTS)
    if known.all():
        return
    width = (high - low) or 1.0
    axes.scatter(np.full((~known).sum(), low - 0.12 * width), shap[~known], color=BASELINE, **_DOTS)
    axes.axvline(low - 0.06 * width, color=GUIDE, linewidth=0.8, linestyle=":")
    axes.annotate("missing", (low - 0.12 * width, 0.03), xycoords=("data", "axes fraction"), ha="center", fontsize=8)


def _categories(axes: Any, x: Floats, shap: Floats, vocabulary: tuple[str, ...]) -> None:
    """The most frequent categories, the one with the greatest mean effect last."""
    groups = [(vocabulary[i], shap[x == i]) for i in range(len(vocabulary)) if (x == i).any()]
    groups = sorted(groups, key=lambda each: -len(each[1]))[:_MOST_CATEGORIES]
    if np.isnan(x).any():
        groups.append(("missing", shap[np.isnan(x)]))
    groups.sort(key=lambda each: float(each[1].mean()))
    for place, (name, values) in enumerate(groups):
        spread = place + np.linspace(-0.25, 0.25, len(values))
        axes.scatter(spread, values, color=BASELINE if name == "missing" else MODEL, **_DOTS)
    axes.set_xticks(range(len(groups)), [name[:14] for name, _ in groups], rotation=30, ha="right", fontsize=8)


picture = Picture(
    file="shap_dependence.png",
    title="What each value does",
    kinds=("binary", "candidates", "regression", "uplift"),
    draw=_draw,
)
