"""The learner: folds decisions whose reward window has closed into the next state of each policy, and publishes it.

It stands apart from deciding, so deciding never waits for it. It folds in ledger order and stops at the first decision
whose window is still open: what it learnt from is then always a prefix of the ledger, named by two marks, and any
state can be rebuilt (`decisioning.replay`). A late outcome of a decision already folded changes no state any more; it
still counts in the verdict.

Each policy learns from its own decisions alone, or the comparison with a fixed split would credit the learner with the
split's exploration; and only from those that had a choice: one eligible action says who could not be treated, not what
works.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from decisioning.point import DecisionPoint
from decisioning.policy import Policy, State
from decisioning.reward import closed, reward
from features.kernel import clock, tables
from features.kernel.errors import Conflict
from features.kernel.ledger import Ledger
from features.kernel.records import Decision, Outcome, PolicyState

__all__ = ["fold", "learn"]

_PAGE = 5_000


def learn(ledger: Ledger, point: DecisionPoint, as_of: datetime) -> list[PolicyState]:
    """Publish the next state of every learning policy of the point; those published, none where nothing has closed.

    Any number of learners may run at once: a version is published once, and who comes second folds on from there.

    Args:
        ledger: decisions, outcomes and states.
        point: the decision point.
        as_of: windows that end by then are closed.
    """
    states = (_advance(ledger, point, policy, as_of) for policy in point.learners.values())
    return [state for state in states if state is not None]


def fold(
    point: DecisionPoint,
    policy: Policy,
    state: State,
    decisions: Iterable[Decision],
    outcomes: Mapping[str, Sequence[Outcome]],
) -> State:
    """The state after `decisions`, in their order; pure. Outcomes by decision id."""
    for each in decisions:
        if each.policy == policy.name and len(each.eligible) > 1:
            came_to = reward(point.reward, each, outcomes.get(each.decision_id, ()))
            state = policy.learn(state, each.context or {}, each.action, came_to, each.pmf[each.action])
    return state


def _advance(ledger: Ledger, point: DecisionPoint, policy: Policy, as_of: datetime) -> PolicyState | None:
    while True:
        last = ledger.state(point.name, policy.name)
        following = _next(ledger, point, policy, last, as_of)
        if following is None:
            return None
        try:
            ledger.publish_state(following)
        except Conflict:
            continue  # another learner was first: fold on from what it published
        return following


def _next(
    ledger: Ledger, point: DecisionPoint, policy: Policy, last: PolicyState | None, as_of: datetime
) -> PolicyState | None:
    outcome_mark = ledger.mark(tables.outcomes)
    mark, ready = last.decision_mark if last else 0, list[Decision]()
    for seq, decision in _until_open(ledger, point, mark, as_of):
        mark = seq
        ready.append(decision)
    if not ready:
        return None
    outcomes = ledger.outcomes([each.decision_id for each in ready], upto=outcome_mark)
    return PolicyState(
        decision_point=point.name,
        policy=policy.name,
        version=last.version + 1 if last else 1,
        state=dict(fold(point, policy, last.state if last else policy.initial(), ready, outcomes)),
        decision_mark=mark,
        outcome_mark=outcome_mark,
        published_at=clock.now(),
    )


def _until_open(ledger: Ledger, point: DecisionPoint, after: int, as_of: datetime) -> Iterator[tuple[int, Decision]]:
    """Decisions after a sequence, up to the first whose window is open; read in pages, as most may be open."""
    while page := ledger.decisions(point.name, after=after, limit=_PAGE):
        for after, decision in page:
            if not closed(point.reward, decision, as_of):
                return
            yield after, decision
