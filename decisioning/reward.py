"""What a decision came to: 1 if an outcome of the rewarded kind fell within its window, else 0 once that has closed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from decisioning.point import RewardRule
from features.kernel.records import Decision, Outcome

__all__ = ["closed", "reward"]


def closed(rule: RewardRule, decision: Decision, as_of: datetime) -> bool:
    """Whether the decision's window is over; before that no outcome means nothing yet."""
    return decision.decided_at + rule.window <= as_of


def reward(rule: RewardRule, decision: Decision, outcomes: Iterable[Outcome]) -> float:
    """1.0 or 0.0: whether one of the decision's outcomes is of the rule's kind, positive, and within the window."""
    upto = decision.decided_at + rule.window
    return float(
        any(
            each.kind == rule.kind and each.value > 0 and decision.decided_at <= each.occurred_at < upto
            for each in outcomes
        )
    )
