"""Observed effect of each tenth by predicted effect, with 95 % intervals, beside what was predicted."""

from __future__ import annotations

from typing import Any

from training.drawing import BASELINE, GUIDE, MODEL, figure
from training.picture import Picture, Shown

__all__ = ["picture"]


def _draw(shown: Shown) -> Any:
    rows = shown.evaluation.tables["deciles"]
    part, predicted, effect, low, high = (
        [each[name] * (1 if name == "part" else 100) for each in rows]
        for name in ("part", "predicted", "effect", "low", "high")
    )
    average = shown.evaluation.metric("average_effect")
    drawn, axes = figure()
    axes.axhline(0, color="black", linewidth=0.8)
    axes.axhspan(100 * average.low, 100 * average.high, color=GUIDE, alpha=0.25, linewidth=0)
    axes.axhline(100 * average.value, color=GUIDE, linewidth=1, linestyle="--", label="average effect, 95 % interval")
    spread = [[max(0.0, at - below) for at, below in zip(effect, low, strict=True)]]
    spread.append([max(0.0, above - at) for at, above in zip(effect, high, strict=True)])
    axes.errorbar(part, effect, yerr=spread, fmt="o", color=MODEL, capsize=3, label="observed, 95 % interval")
    axes.plot(part, predicted, "_", color=BASELINE, markersize=22, markeredgewidth=2.5, label="predicted")
    axes.set(
        xlabel="tenth of the people, highest predicted effect first",
        ylabel="effect of the treatment (points of probability)",
        title="Effect by tenth on the test split",
        xticks=part,
    )
    axes.legend()
    return drawn


picture = Picture(file="effects_by_decile.png", title="Effect by tenth", kinds=("uplift",), draw=_draw)
