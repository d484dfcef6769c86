"""The problems: one file, one business question. `all_problems()` finds them."""

from __future__ import annotations

import sys

from features.kernel.discover import discover
from training.problem import Problem

__all__ = ["all_problems"]


def all_problems() -> dict[str, Problem]:
    """Every problem by name, sorted.

    >>> "churn" in all_problems()
    True
    """
    return discover(sys.modules[__name__], "problem", Problem)
