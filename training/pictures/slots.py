"""When people answer: the hours of the week as a heat map, what the model says above what happened; others as bars."""

from __future__ import annotations

from typing import Any

import numpy as np

from features.kernel.card import Candidates
from training.drawing import HAPPENED, MODEL, figure, percent
from training.picture import Picture, Shown

__all__ = ["picture"]

WEEK = 168
LEAST = 5
"""Rows below which a slot is not shown."""
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def _draw(shown: Shown) -> Any:
    rows = [each for each in shown.evaluation.tables.get("slots", ()) if each["rows"] >= LEAST]
    if not rows or shown.card.candidates is None:
        return None
    return _week(shown, rows) if shown.card.candidates.count == WEEK else _bars(shown, rows)


def _week(shown: Shown, rows: list[dict[str, Any]]) -> Any:
    from matplotlib.figure import Figure  # noqa: PLC0415

    drawn = Figure(figsize=(10, 6.4), layout="constrained")
    drawn.suptitle(_title(shown))
    said, seen = _grid(rows, "predicted"), _grid(rows, "observed")
    shades = {"vmin": 0.0, "vmax": float(np.nanquantile(np.stack([said, seen]), 0.98))}
    panels = drawn.subplots(2, 1, sharex=True)
    for axes, values, title in zip(panels, (said, seen), ("The model says", "It happened"), strict=True):
        shown_as = axes.imshow(values, aspect="auto", cmap="Blues", **shades)
        axes.set(yticks=range(7), yticklabels=_DAYS, title=title, xticks=range(0, 24, 2), facecolor="lightgrey")
    panels[1].set(xlabel=f"local hour of the day (grey: fewer than {LEAST} messages)")
    bar = drawn.colorbar(shown_as, ax=list(panels), label="share answered")
    percent(bar.ax.yaxis)
    return drawn


def _bars(shown: Shown, rows: list[dict[str, Any]]) -> Any:
    drawn, axes = figure(7, 4.5)
    places = np.arange(len(rows))
    axes.bar(places - 0.2, [each["predicted"] for each in rows], 0.38, color=MODEL, label="the model says")
    axes.bar(places + 0.2, [each["observed"] for each in rows], 0.38, color=HAPPENED, label="it happened")
    candidates = shown.data.candidates
    if candidates is not None:
        names = [f"{_name(candidates, each['slot'])}\n({each['rows']:,})" for each in rows]
        axes.set(xticks=places, xticklabels=names, xlabel=candidates.name)
    axes.set(ylabel="share answered", title=_title(shown))
    percent(axes.yaxis)
    axes.legend()
    return drawn


def _name(candidates: Candidates, slot: int) -> str:
    """The column that is 1 for this candidate alone, if there is one: `by_email`."""
    own = (each.name for each in candidates.columns if each.values and each.values[slot] == 1 == sum(each.values))
    return next(own, f"no. {slot + 1}").replace("_", " ")


def _title(shown: Shown) -> str:
    hits = {each["ranking"]: each["hit_rate"] for each in shown.evaluation.tables.get("hits", ())}
    if not hits:
        return "When people answer"
    return (
        f"Its favourite of what was tried was answered in {100 * hits['model']:.0f} of 100 cases; "
        f"the most popular {100 * hits['most popular']:.0f}, by chance {100 * hits['chance']:.0f}"
    )


def _grid(rows: list[dict[str, Any]], name: str) -> Any:
    values = np.full(WEEK, np.nan)
    for each in rows:
        values[each["slot"]] = each[name]
    return values.reshape(7, 24)


picture = Picture(file="slots.png", title="When people answer", kinds=("candidates",), draw=_draw)
