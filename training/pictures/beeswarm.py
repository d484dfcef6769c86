"""SHAP's summary plot: every row a dot, the most important columns on top."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from training.explanation.importance import raw_unit
from training.picture import Picture, Shown

__all__ = ["picture"]

MOST = 15


def _draw(shown: Shown) -> Any:
    from matplotlib import pyplot  # noqa: PLC0415

    with warnings.catch_warnings():  # it makes its colour maps in a way matplotlib will deprecate
        warnings.filterwarnings("ignore", message="The set_(bad|over|under) function will be deprecated")
        import shap  # noqa: PLC0415

    explanation = shown.explanation
    held = shap.Explanation(
        values=explanation.values,
        base_values=np.full(len(explanation.x), explanation.expected),
        data=explanation.x.astype(np.float64),
        feature_names=[each.name for each in explanation.inputs],
    )
    figure = pyplot.figure(figsize=(9, 6))
    try:
        shap.plots.beeswarm(held, max_display=MOST, ax=figure.gca(), show=False, plot_size=None)
    finally:
        pyplot.close(figure)
    axes = figure.axes[0]
    axes.set_title(f"What drives the answer: {len(explanation.x):,} rows of the test split")
    axes.set_xlabel(f"SHAP value, in {raw_unit(shown.card)}")
    return figure


picture = Picture(
    file="shap_summary.png",
    title="What drives the answer, row by row",
    kinds=("binary", "candidates", "regression", "uplift"),
    draw=_draw,
)
