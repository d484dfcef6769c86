"""Does it hold over time: the judged figure at each test cutoff, and what was said beside what happened."""

from __future__ import annotations

from typing import Any

import numpy as np

from training.drawing import BASELINE, HAPPENED, MODEL, number_axis, row, spoken
from training.picture import Picture, Shown

__all__ = ["picture"]


def _draw(shown: Shown) -> Any:
    rows = [each for each in shown.evaluation.tables.get("over_time", ()) if "gain" in each]
    if not rows:
        return None
    places = np.arange(len(rows))
    names = [
        each["as_of"][:10] + ("" if each["as_of"] == each["until"] else f"\nto {each['until'][:10]}") for each in rows
    ]
    drawn, (left, right) = row(2, "Does it hold over time?")
    _points(left, places - 0.08, rows, "value", MODEL, "model, 95 %")
    _points(left, places + 0.08, rows, "baseline", BASELINE, "baseline, 95 %")
    left.set(
        ylabel=spoken(rows[0]["figure"]),
        title="How good it is" if shown.card.kind == "regression" else "How well it ranks",
    )
    _points(right, places - 0.08, rows, "predicted", MODEL, "the model said, on average")
    _points(right, places + 0.08, rows, "observed", HAPPENED, "it happened, 95 %")
    right.set(title="Whether its answers add up")
    number_axis(right.yaxis, shown.card)
    for axes in (left, right):
        axes.set(xticks=places, xticklabels=names, xlim=(-0.5, len(rows) - 0.5))
        axes.tick_params(axis="x", labelsize=8)
        axes.margins(y=0.25)
        axes.legend(fontsize=9)
    return drawn


def _points(axes: Any, places: Any, rows: Any, name: str, colour: str, label: str) -> None:
    value, low, high = (np.array([each[key] for each in rows]) for key in (name, f"{name}_low", f"{name}_high"))
    known = ~np.isnan(value)
    whiskers = np.stack([value - low, high - value])[:, known]
    axes.errorbar(places[known], value[known], whiskers, fmt="o-", color=colour, capsize=3, markersize=5, label=label)


picture = Picture(
    file="over_time.png",
    title="Stability over time",
    kinds=("binary", "candidates", "regression", "uplift"),
    draw=_draw,
)
