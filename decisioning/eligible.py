"""Which actions are allowed for a customer now, and for each other action the one reason why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from decisioning.point import Cap, DecisionPoint, Group, Rule
from features.kernel.records import Decision

__all__ = ["Eligible", "eligible"]

Eligible = tuple[tuple[str, ...], dict[str, str]]
"""The eligible actions, in the point's order, and reason by excluded action."""


def eligible(
    point: DecisionPoint,
    group: Group,
    vector: Mapping[str, float | str | None],
    recent: Sequence[Decision],
    now: datetime,
) -> Eligible:
    """Apply the group's own actions, then every rule, then every cap; the first that excludes is the reason.

    Args:
        point: the decision point.
        group: the customer's group; an action it does not have is excluded under the group's name.
        vector: features by reference; None or absent is missing, and then the rule's `when_missing` holds.
        recent: this customer's decisions at this point, at least as far back as `point.cap_window`.
        now: the instant of deciding.
    """
    excluded = {action: group.name for action in point.actions if action not in (group.actions or point.actions)}
    for rule in point.rules:
        if not _holds(rule, vector.get(rule.feature)):
            _exclude(excluded, rule.actions, rule.reason)
    for cap in point.caps:
        if _reached(cap, recent, now):
            _exclude(excluded, cap.actions, cap.reason)
    return tuple(action for action in point.actions if action not in excluded), excluded


def _holds(rule: Rule, value: float | str | None) -> bool:
    if value is None or value != value:  # NaN, too, is missing
        return rule.when_missing == "allow"
    if rule.one_of is not None:
        return value in rule.one_of
    if isinstance(value, str):
        return False
    low = rule.at_least is None or value >= rule.at_least
    return low and (rule.at_most is None or value <= rule.at_most)


def _reached(cap: Cap, recent: Sequence[Decision], now: datetime) -> bool:
    counted = [each for each in recent if each.action in cap.actions and now - cap.window < each.decided_at <= now]
    return len(counted) >= cap.at_most


def _exclude(excluded: dict[str, str], actions: Sequence[str], reason: str) -> None:
    for action in actions:
        excluded.setdefault(action, reason)
