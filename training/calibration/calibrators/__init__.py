"""The calibrators: one file, one way from raw log-odds to probabilities. `all_calibrators()` finds them."""

from __future__ import annotations

import sys

from features.kernel.discover import discover
from training.calibration.calibrator import Calibrator

__all__ = ["all_calibrators"]


def all_calibrators() -> dict[str, Calibrator]:
    """Every calibrator by name, those of fewest parameters first.

    >>> list(all_calibrators())
    ['platt', 'beta', 'venn_abers', 'isotonic']
    """
    found = discover(sys.modules[__name__], "calibrator", Calibrator)
    return dict(sorted(found.items(), key=lambda each: each[1].parameters))
