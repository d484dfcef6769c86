"""A reference: what Kairos reaches on public data whose results are known, one file of `benchmarks/references/` a set.

`reference = Reference(...)` is all a file needs; `kairos results NAME --data FOLDER` runs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Claim", "Progress", "Reference"]

Progress = Callable[[str, float], None]
"""Told (what is being done, share done in [0, 1])."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One figure beside the one it is held against."""

    what: str
    """`AUC without duration, 5-fold out of fold`."""
    value: float
    target: str
    """What it must be, in words: `at least .80`."""
    holds: bool
    low: float | None = None
    high: float | None = None
    """95 % interval, where there is one."""
    peer: float | None = None
    """The known result of others."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Reference:
    """One data set's claims."""

    name: str
    about: str
    needs: str
    """The folder of the data set under `--data`, e.g. `bank_marketing`; empty where it is simulated."""
    run: Callable[[Path, Progress], list[Claim]]
    """(folder of all data, progress) -> what came of it."""
