"""The verdict: did it help, by how much, how sure, and how many customers it would take to know.

The unit is the customer, since customers, not decisions, are randomised to groups: one converted if any of their
decisions whose window has closed came to its reward. Everyone counts in the group they were put in, whether or not
they could be treated (intention to treat), and every outcome counts that has arrived by now. Intervals are for one
look: who peeks daily and stops at the first good day will be fooled more often than 5 % of the time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from decisioning.intervals import Interval, detectable, needed, newcombe, power, ratio, wilson
from decisioning.point import Comparison, DecisionPoint
from decisioning.reward import closed, reward
from features.kernel.ledger import Ledger
from features.kernel.records import Decision

__all__ = ["Contrast", "Rate", "Verdict", "verdict"]

_POWER = 0.9


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """`conversions` of `n` with Wilson's 95 % interval; the three rates are None where n is 0."""

    name: str
    n: int
    conversions: int
    rate: float | None = None
    low: float | None = None
    high: float | None = None


class Contrast(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison and its answer. Figures are None where a side has no customer yet."""

    question: str
    treated: Rate
    control: Rate
    difference: Interval | None = None
    """Rate of `treated` less rate of `control`, in shares, with Newcombe's 95 % interval."""
    relative_lift: Interval | None = None
    """Ratio of the rates less 1, with its 95 % interval; None where the control has no conversion."""
    proven: bool = False
    """Whether the interval of the difference excludes zero."""
    power: float | None = None
    """Chance of such a proof with so many customers, were the observed rates the true ones."""
    detectable: float | None = None
    """The smallest difference that so many customers show with power .9."""
    needed: int | None = None
    """Customers in both groups together that show the observed difference with power .9."""
    sentence: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What an experiment says as of an instant."""

    decision_point: str
    as_of: datetime
    decisions: int
    """Decisions whose window has closed: those counted."""
    waiting: int
    """Decisions whose window is open, not counted."""
    groups: tuple[Rate, ...]
    """By group of customers."""
    actions: tuple[Rate, ...]
    """By `group/action`, over decisions that had a choice: for reading, not for proof, unless the group is a split."""
    comparisons: tuple[Contrast, ...]


def verdict(ledger: Ledger, point: DecisionPoint, as_of: datetime) -> Verdict:
    """The verdict on a decision point as of an instant; pure in the ledger."""
    decided = [each for _, each in ledger.decisions(point.name)]
    counted = [each for each in decided if closed(point.reward, each, as_of)]
    rewards = _rewards(ledger, point, counted)
    by_group = _customers(counted, rewards)
    return Verdict(
        decision_point=point.name,
        as_of=as_of,
        decisions=len(counted),
        waiting=len(decided) - len(counted),
        groups=tuple(_rate(group.name, by_group.get(group.name, {}).values()) for group in point.groups),
        actions=_by_action(point, counted, rewards),
        comparisons=tuple(_contrast(each, by_group) for each in point.comparisons),
    )


def _rewards(ledger: Ledger, point: DecisionPoint, decisions: list[Decision]) -> dict[str, float]:
    outcomes = ledger.outcomes([each.decision_id for each in decisions])
    return {each.decision_id: reward(point.reward, each, outcomes.get(each.decision_id, ())) for each in decisions}


def _customers(decisions: list[Decision], rewards: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Whether each customer converted, by group and customer. A forgotten customer's decisions stand for themselves."""
    found: dict[str, dict[str, float]] = {}
    for each in decisions:
        group, who = found.setdefault(each.group, {}), each.customer_id or each.decision_id
        group[who] = max(group.get(who, 0.0), rewards[each.decision_id])
    return found


def _by_action(point: DecisionPoint, decisions: list[Decision], rewards: Mapping[str, float]) -> tuple[Rate, ...]:
    chosen = [each for each in decisions if len(each.eligible) > 1]
    taken = {(each.group, each.action) for each in chosen}
    return tuple(
        _rate(
            f"{group.name}/{action}",
            [rewards[each.decision_id] for each in chosen if (each.group, each.action) == (group.name, action)],
        )
        for group in point.groups
        for action in point.actions
        if (group.name, action) in taken
    )


def _rate(name: str, rewards: Iterable[float]) -> Rate:
    counts = Counter(rewards)
    n, conversions = counts.total(), counts[1.0]
    if n == 0:
        return Rate(name=name, n=0, conversions=0)
    rate = wilson(conversions, n)
    return Rate(name=name, n=n, conversions=conversions, rate=rate.value, low=rate.low, high=rate.high)


def _contrast(asked: Comparison, by_group: Mapping[str, Mapping[str, float]]) -> Contrast:
    a, b = (
        _rate(" + ".join(side), [converted for name in side for converted in by_group.get(name, {}).values()])
        for side in (asked.groups, asked.against)
    )
    if a.rate is None or b.rate is None:
        missing = a.name if a.rate is None else b.name
        sentence = f"{asked.question} Nothing can be said yet: no customer of {missing} has a closed decision."
        return Contrast(question=asked.question, treated=a, control=b, sentence=sentence)
    difference = newcombe(a.conversions, a.n, b.conversions, b.n)
    relative = ratio(a.conversions, a.n, b.conversions, b.n)
    pooled = (a.conversions + b.conversions) / (a.n + b.n)
    contrast = Contrast(
        question=asked.question,
        treated=a,
        control=b,
        difference=difference,
        relative_lift=relative and Interval(*(each - 1 for each in relative)),
        proven=not difference.low <= 0 <= difference.high,
        power=power(a.rate, a.n, b.rate, b.n),
        detectable=detectable(pooled, a.n, b.n, _POWER),
        needed=needed(a.rate, b.rate, a.n / (a.n + b.n), _POWER),
        sentence="",
    )
    return msgspec.structs.replace(contrast, sentence=_sentence(contrast, difference))


def _sentence(contrast: Contrast, difference: Interval) -> str:
    a, b = contrast.treated, contrast.control
    points, low, high = (100 * each for each in difference)
    seen = (
        f"{a.name} {a.rate:.1%} of {a.n:,} customers, {b.name} {b.rate:.1%} of {b.n:,}: "
        f"{points:+.1f} points (95 % interval {low:+.1f} to {high:+.1f})"
    )
    if contrast.proven:
        return f"{contrast.question} {'Yes' if difference.value > 0 else 'No, it does harm'}: {seen}."
    if contrast.needed is None:
        return f"{contrast.question} No proven difference: {seen}."
    return (
        f"{contrast.question} No proven difference: {seen}. "
        f"Were it real, about {contrast.needed:,} customers would show it with power {_POWER:g}."
    )
