"""What all pictures share: their size and their colours. Figures are made without pyplot, which would keep them."""

from __future__ import annotations

from typing import Any

__all__ = ["BASELINE", "GUIDE", "MODEL", "figure"]

MODEL, BASELINE, GUIDE = "#2255aa", "#cc8844", "#999999"


def figure(width: float = 6, height: float = 5) -> tuple[Any, Any]:
    """A matplotlib figure, in inches, and its axes."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    drawn = Figure(figsize=(width, height))
    return drawn, drawn.add_subplot()
