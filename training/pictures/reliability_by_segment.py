"""The reliability curve of each segment: a panel a column, a line a segment, in five bins."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from training.drawing import GUIDE, SERIES, percent, row
from training.picture import Picture, Shown

__all__ = ["picture"]

PANELS = 4


def _draw(shown: Shown) -> Any:
    rows = [each for each in shown.evaluation.tables["reliability"] if each["by"]]
    panels = [(by, list(members)) for by, members in groupby(rows, key=lambda each: str(each["by"]))][:PANELS]
    if not panels:
        return None
    drawn, all_axes = row(len(panels), "Probabilities by segment: above the line more happened than was said")
    top = min(1.0, 1.05 * max(max(each["predicted"], each["observed"]) for _, members in panels for each in members))
    for axes, (by, members) in zip(all_axes, panels, strict=True):
        axes.plot([0, top], [0, top], color=GUIDE, linewidth=1)
        for i, (segment, bins) in enumerate(groupby(members, key=lambda each: str(each["segment"]))):
            curve = [(each["predicted"], each["observed"]) for each in bins]
            axes.plot(*zip(*curve, strict=True), "o-", color=SERIES[i % len(SERIES)], markersize=4, label=segment)
        axes.set(xlabel="the model said", ylabel="it happened", title=by, xlim=(0, top), ylim=(0, top))
        percent(axes.xaxis, axes.yaxis)
        axes.legend(fontsize=8, loc="upper left")
    return drawn


picture = Picture(
    file="reliability_by_segment.png", title="Calibration by segment", kinds=("binary", "candidates"), draw=_draw
)
