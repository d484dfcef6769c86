"""The problems: one file, one business question. `all_problems()` finds them."""

from __future__ import annotations

import sys
from datetime import timedelta

from features.kernel.discover import discover, pick
from training.origin import Origin
from training.problem import Problem

__all__ = ["all_problems", "asked"]


def all_problems() -> dict[str, Problem]:
    """Every problem by name, sorted.

    >>> "churn" in all_problems()
    True
    """
    return discover(sys.modules[__name__], "problem", Problem)


def asked(origin: Origin) -> Problem:
    """The problem as it was asked of events: about the same part, over the same horizon, under the same name.

    Raises:
        NotFound: no file has it any more.
        InvalidInput: it has no variants any more.
    """
    problem = pick(all_problems(), origin.problem, field="problem")
    problem = problem.about(origin.variant) if origin.variant else problem
    horizon = timedelta(days=origin.horizon_days)
    if origin.intended_days:
        return problem.over(timedelta(days=origin.intended_days)).falling_back(horizon)
    return problem.over(horizon)
