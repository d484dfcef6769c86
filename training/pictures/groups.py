"""Does it serve everyone alike: three figures of each group of a sensitive attribute, with their intervals."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np

from training.drawing import BASELINE, GUIDE, MODEL, grid, number_axis, percent, spoken
from training.picture import Picture, Shown

__all__ = ["picture"]

ATTRIBUTES = 3


def _draw(shown: Shown) -> Any:
    rows = shown.evaluation.tables.get("groups", ())
    if not rows:
        return None
    attributes = [(name, list(members)) for name, members in groupby(rows, key=lambda each: str(each["attribute"]))]
    attributes = attributes[:ATTRIBUTES]
    heights = [1 + len(members) for _, members in attributes]
    drawn, table = grid(heights, 3, "Does it serve everyone alike?")
    for across, (name, members) in zip(table, attributes, strict=True):
        labels = [f"{each['group']}  ({each['rows']:,})" for each in members]
        _forest(across[0], members, "value", labels, float(np.nanmedian([each["value"] for each in members])))
        across[0].set(title=f"{name}: how well it ranks ({spoken(members[0]['figure'])})")
        _forest(across[1], members, "bias", [], 0.0)
        across[1].axvline(0, color=GUIDE, linewidth=1)
        across[1].set(title="what it says less what happens")
        number_axis(across[1].xaxis, shown.card)
        _forest(across[2], members, "selection_rate", [])
        across[2].axvline(0.1, color=GUIDE, linewidth=1)
        across[2].set(title="share among the best tenth of all")
        percent(across[2].xaxis)
    return drawn


def _forest(axes: Any, rows: list[dict[str, Any]], name: str, labels: list[str], expected: float | None = None) -> None:
    """A point a group with its interval; of another colour where that lies apart from what is expected."""
    value, low, high = (np.array([each[key] for each in rows]) for key in (name, f"{name}_low", f"{name}_high"))
    places, known = np.arange(len(rows)), ~np.isnan(value)
    apart = (low > expected) | (high < expected) if expected is not None else np.zeros(len(rows), dtype=np.bool_)
    for chosen, colour in ((known & ~apart, MODEL), (known & apart, BASELINE)):
        whiskers = np.stack([value - low, high - value])[:, chosen]
        axes.errorbar(value[chosen], places[chosen], xerr=whiskers, fmt="o", color=colour, capsize=3, markersize=5)
    axes.set(yticks=places, yticklabels=labels or [""] * len(rows), ylim=(len(rows) - 0.5, -0.5))
    axes.grid(axis="x", color=GUIDE, alpha=0.3)


picture = Picture(
    file="groups.png",
    title="Subgroups",
    kinds=("binary", "candidates", "regression", "uplift"),
    draw=_draw,
)
