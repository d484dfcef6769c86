"""The pictures of a model: one file, one PNG. `draw_all()` draws those that fit its kind."""

from __future__ import annotations

import sys
from pathlib import Path

from features.kernel.discover import discover
from training.picture import Picture, Shown

__all__ = ["all_pictures", "draw_all"]


def all_pictures() -> dict[str, Picture]:
    """Every picture by name, sorted.

    >>> {"beeswarm", "calibration", "gain"} <= all_pictures().keys()
    True
    """
    return discover(sys.modules[__name__], "picture", Picture)


def draw_all(shown: Shown, folder: Path) -> list[Path]:
    """Draw every picture of the model's kind into the folder; the same model, the same bytes."""
    drawn = []
    for each in all_pictures().values():
        if shown.card.kind not in each.kinds or (figure := each.draw(shown)) is None:
            continue
        path = folder / each.file
        figure.savefig(path, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
        figure.clear()
        drawn.append(path)
    return drawn
