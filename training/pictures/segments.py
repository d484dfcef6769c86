"""Does it hold in every segment: what the model said and what happened, side by side."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from training.drawing import GUIDE, HAPPENED, MODEL, figure, number_axis
from training.picture import Picture, Shown

__all__ = ["picture"]


def _draw(shown: Shown) -> Any:
    rows = shown.evaluation.tables.get("by_segment", ())
    if not rows:
        return None
    drawn, axes = figure(8, 1.4 + 0.32 * len(rows) + 0.35 * len({each["by"] for each in rows}))
    place, ticks, labels = 0.0, list[float](), list[str]()
    for by, members in groupby(rows, key=lambda each: str(each["by"])):
        axes.text(0.0, place, f" {by}", transform=axes.get_yaxis_transform(), weight="bold", va="center", size=9)
        place += 1
        for each in members:
            whiskers = [[each["observed"] - each["low"]], [each["high"] - each["observed"]]]
            axes.errorbar(each["observed"], place, xerr=whiskers, fmt="o", color=HAPPENED, markersize=5, capsize=3)
            axes.plot(each["predicted"], place, "D", color=MODEL, markersize=5)
            ticks.append(place)
            labels.append(f"{each['segment']}  ({each['rows']:,})")
            place += 1
    axes.plot([], [], "D", color=MODEL, label="the model said, on average")
    axes.errorbar([], [], [], fmt="o", color=HAPPENED, capsize=3, label="it happened, 95 %")
    axes.set(yticks=ticks, yticklabels=labels, ylim=(place - 0.3, -0.7), title="Does it hold in every segment?")
    axes.grid(axis="x", color=GUIDE, alpha=0.3)
    number_axis(axes.xaxis, shown.card)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.6 / drawn.get_figheight()), ncols=2, frameon=False)
    return drawn


picture = Picture(
    file="segments.png",
    title="Segments",
    kinds=("binary", "candidates", "regression", "uplift"),
    draw=_draw,
)
