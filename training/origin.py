"""Where a training set came from, so that it can be built again and the same model learnt from it.

Kept with the run as `origin.json`. Events are named by the last ledger sequence that was read, a table by its SHA-256:
if either has changed since, the rebuilt set has another hash, and reproducing says so.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from features.kernel.card import Cutoffs

__all__ = ["Origin"]


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What a training set was built from, and how."""

    kind: Literal["events", "table", "recipe"]
    problem: str
    """The problem's file name in `training/problems`, or of a table the name it was given."""
    horizon_days: int = 0
    intended_days: int = 0
    """Of events: the horizon that the history was too short for; 0 if none."""
    variant: str = ""
    """Of events: what the problem is about, a category or a channel."""
    cutoffs: Cutoffs | None = None
    seq: int = 0
    """Of events: the last sequence of the ledger that was read."""
    path: str = ""
    sha256: str = ""
    """Of a table: the file and its SHA-256."""
    options: dict[str, Any] = {}
    """Of a table: the options of `kairos train`, or the recipe; of events: how many `events` there were."""
