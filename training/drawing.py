"""What all pictures share: sizes, colours, axes in percent. Figures are made without pyplot, which would keep them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from features.kernel.card import Card

__all__ = [
    "BASELINE",
    "GUIDE",
    "HAPPENED",
    "MODEL",
    "SERIES",
    "figure",
    "grid",
    "number_axis",
    "percent",
    "row",
    "spoken",
]

MODEL, BASELINE, GUIDE, HAPPENED = "#2255aa", "#cc8844", "#999999", "#333333"
SERIES = ("#2255aa", "#cc8844", "#338866", "#aa3355", "#7755aa", "#557788", "#998833")
"""Colours of lines side by side."""


def figure(width: float = 6, height: float = 5) -> tuple[Any, Any]:
    """A matplotlib figure, in inches, and its axes."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    drawn = Figure(figsize=(width, height))
    return drawn, drawn.add_subplot()


def row(panels: int, title: str) -> tuple[Any, list[Any]]:
    """A figure with panels side by side under one title, and their axes."""
    drawn, table = grid([10], panels, title, width=4.6 if panels > 1 else 6)
    return drawn, table[0]


def grid(heights: Sequence[float], columns: int, title: str, *, width: float = 4.2) -> tuple[Any, list[list[Any]]]:
    """A figure with rows of panels of these relative heights (a line of text is 1) under one title, and their axes."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    tall = 1.0 + sum(0.35 * each + 0.6 for each in heights)
    drawn = Figure(figsize=(width * columns, tall), layout="constrained")
    drawn.suptitle(title)
    table = drawn.subplots(len(heights), columns, squeeze=False, gridspec_kw={"height_ratios": list(heights)})
    return drawn, [list(each) for each in table]


def percent(*which: Any) -> None:
    """Show axes that hold shares in percent."""
    from matplotlib.ticker import PercentFormatter  # noqa: PLC0415

    for each in which:
        each.set_major_formatter(PercentFormatter(1.0, decimals=None))


def number_axis(axis: Any, card: Card) -> None:
    """An axis of answers: of probabilities in percent, else in the card's unit."""
    if card.kind != "regression":
        percent(axis)
        return
    axis.set_label_text(card.unit)


def spoken(figure_name: str) -> str:
    """The name of a figure as people write it.

    >>> spoken("pr_auc"), spoken("log_loss")
    ('PR AUC', 'log loss')
    """
    words = figure_name.split("_")
    return " ".join(each.upper() if each in ("auc", "pr", "mae", "rmse", "auuc", "ece") else each for each in words)
