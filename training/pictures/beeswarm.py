"""SHAP's summary plot: every row a dot, the most important columns on top."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from training.picture import Picture, Shown

__all__ = ["picture"]


def _draw(shown: Shown) -> Any:
    from matplotlib import pyplot  # noqa: PLC0415

    with warnings.catch_warnings():  # it makes its colour maps in a way matplotlib will deprecate
        warnings.filterwarnings("ignore", message="The set_(bad|over|under) function will be deprecated")
        import shap  # noqa: PLC0415

    explanation = shown.explanation
    held = shap.Explanation(
        values=explanation.values,
        base_values=np.full(len(explanation.x), explanation.expected),
        data=explanation.x,
        feature_names=list(explanation.columns),
    )
    figure = pyplot.figure(figsize=(9, 6))
    try:
        shap.plots.beeswarm(held, max_display=15, ax=figure.gca(), show=False, plot_size=None)
    finally:
        pyplot.close(figure)
    return figure


picture = Picture(
    file="shap_summary.png",
    title="What drives the score",
    kinds=("binary", "candidates", "regression", "uplift"),
    draw=_draw,
)
