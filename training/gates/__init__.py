"""The promotion gates: one file, one check. `judge()` asks them all."""

from __future__ import annotations

import sys

from features.kernel.discover import discover
from training.gate import Evidence, Finding, Gate

__all__ = ["all_gates", "judge"]


def all_gates() -> dict[str, Gate]:
    """Every gate by name, sorted.

    >>> {"beats_baseline", "calibrated", "leak", "time_order"} <= all_gates().keys()
    True
    """
    return discover(sys.modules[__name__], "gate", Gate)


def judge(evidence: Evidence) -> tuple[Finding, ...]:
    """What every gate says of a model, by code."""
    return tuple(each.judge(evidence) for each in sorted(all_gates().values(), key=lambda each: each.code))
