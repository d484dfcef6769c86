"""How much to spend on tuning, where it is kept, and from where it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["TRIALS", "Plan"]

TRIALS = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """A budget for tuning; the first of its two bounds that is reached ends it."""

    trials: int = TRIALS
    """Parameter sets to try beyond the defaults; 0 fits the defaults alone."""
    minutes: float | None = None
    """Wall time; None is no bound."""
    storage: Path | None = None
    """SQLite file of the studies, from which one that was interrupted goes on; None keeps it in memory."""
    warm: Mapping[str, float | int | str] = field(default_factory=dict)
    """Parameters of the last champion, tried first; empty where there is none."""
    fixed: Mapping[str, float | int | str] = field(default_factory=dict)
    """Fit exactly these and search nothing: what reproduces a run."""
    rounds: int = 0
    """With `fixed`: how many trees, without early stopping."""
