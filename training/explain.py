"""What drives a model: SHAP values of its trees (Lundberg et al., 2020), and the pictures an analyst looks at.

Contributions come from LightGBM itself (exact TreeSHAP); `shap` draws them.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.booster import Model
from training.metrics import Bins

__all__ = ["Explanation", "beeswarm", "calibration_plot", "explain", "gain_plot"]

Floats = NDArray[np.float64]

ROWS = 1_000
_MODEL, _BASELINE, _GUIDE = "#2255aa", "#cc8844", "#999999"


@dataclass(frozen=True, slots=True)
class Explanation:
    """SHAP values of a sample of rows, in log-odds."""

    columns: tuple[str, ...]
    x: Floats
    """[n, k]: the rows."""
    values: Floats
    """[n, k]: contributions; a row's sum plus `expected` is its raw log-odds."""
    expected: float

    @property
    def importance(self) -> dict[str, float]:
        """Mean absolute contribution by column, greatest first."""
        mean = np.abs(self.values).mean(axis=0)
        return {self.columns[i]: float(mean[i]) for i in np.argsort(-mean, kind="stable")}


def explain(model: Model, x: Floats, columns: Sequence[str], rng: np.random.Generator) -> Explanation:
    """SHAP values of up to 1,000 of the rows [n, k], drawn by `rng`."""
    chosen = np.sort(rng.permutation(len(x))[:ROWS])
    sample = np.ascontiguousarray(x[chosen])
    contributions = model.contributions(sample)
    return Explanation(tuple(columns), sample, contributions[:, :-1], float(contributions[0, -1]))


def beeswarm(explanation: Explanation, path: Path) -> None:
    """SHAP's summary plot as PNG: every row a dot, the most important columns on top."""
    from matplotlib import pyplot  # noqa: PLC0415

    with warnings.catch_warnings():  # it makes its colour maps in a way matplotlib will deprecate
        warnings.filterwarnings("ignore", message="The set_(bad|over|under) function will be deprecated")
        import shap  # noqa: PLC0415

    figure = pyplot.figure(figsize=(9, 6))
    try:
        held = shap.Explanation(
            values=explanation.values,
            base_values=np.full(len(explanation.x), explanation.expected),
            data=explanation.x,
            feature_names=list(explanation.columns),
        )
        shap.plots.beeswarm(held, max_display=15, ax=figure.gca(), show=False, plot_size=None)
        _save(figure, path)
    finally:
        pyplot.close(figure)


def calibration_plot(bins: Bins, baseline: Bins, path: Path) -> None:
    """Observed rate over mean prediction of ten equal-count bins, beside the diagonal and the baseline, as PNG."""
    figure, axes = _figure()
    top = 1.05 * float(max(each.max() for each in (*bins, *baseline)))
    axes.plot([0, top], [0, top], color=_GUIDE, linewidth=1, label="perfect")
    axes.plot(*baseline, "o--", color=_BASELINE, markersize=4, label="baseline")
    axes.plot(*bins, "o-", color=_MODEL, markersize=5, label="model")
    axes.set(xlabel="mean predicted probability", ylabel="observed rate", title="Calibration on the test split")
    axes.legend()
    _save(figure, path)


def gain_plot(y: Floats, model: Floats, baseline: Floats, path: Path) -> None:
    """Share of positives found over share of people contacted, best scores first, as PNG."""
    figure, axes = _figure()
    contacted = np.linspace(0, 1, len(y) + 1)
    for p, name, style, colour in ((baseline, "baseline", "--", _BASELINE), (model, "model", "-", _MODEL)):
        found = np.r_[0.0, np.cumsum(y[np.argsort(-p, kind="stable")])] / y.sum()
        axes.plot(contacted, found, style, color=colour, label=name)
    axes.plot([0, 1], [0, 1], color=_GUIDE, linewidth=1, label="at random")
    axes.set(xlabel="share contacted", ylabel="share of positives found", title="Cumulative gain on the test split")
    axes.legend()
    _save(figure, path)


def _figure() -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(6, 5))
    return figure, figure.add_subplot()


def _save(figure: Any, path: Path) -> None:
    """Without date and version in the file: the same figure, the same bytes."""
    figure.savefig(path, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
