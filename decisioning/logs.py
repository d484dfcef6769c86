"""From the journal to the arrays off-policy estimators take: "what if this other policy had decided?" """

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from decisioning.estimate import Estimate
from decisioning.ope.snips import snips
from decisioning.point import DecisionPoint
from decisioning.policy import Policy, State
from decisioning.reward import closed, reward
from features.kernel.errors import NotEnoughData
from features.kernel.ledger import Ledger
from features.kernel.records import Decision

__all__ = ["logged", "value"]

Array = NDArray[np.float64]
Estimator = Callable[[Array, Array, Array], Estimate]


def logged(ledger: Ledger, point: DecisionPoint, as_of: datetime) -> tuple[list[Decision], Array]:
    """Decisions whose window has closed, of groups that may take every action, and their rewards [n].

    A group with its own narrower actions (a holdout) took some with probability zero: its log says nothing of them.
    """
    whole = {each.name for each in point.groups if set(each.actions or point.actions) == set(point.actions)}
    decisions = [
        each for _, each in ledger.decisions(point.name) if each.group in whole and closed(point.reward, each, as_of)
    ]
    outcomes = ledger.outcomes([each.decision_id for each in decisions])
    rewards = [reward(point.reward, each, outcomes.get(each.decision_id, ())) for each in decisions]
    return decisions, np.array(rewards)


def value(
    ledger: Ledger, point: DecisionPoint, policy: Policy, state: State, as_of: datetime, *, by: Estimator = snips
) -> Estimate:
    """Reward per decision that `policy`, held at `state`, would have earned on the journal's decisions.

    Decisions of one customer count as independent. Where a learning policy logged them the interval is approximate:
    later propensities depend on earlier rewards.

    Raises:
        NotEnoughData: no decision's window has closed yet.
    """
    decisions, rewards = logged(ledger, point, as_of)
    if not decisions:
        raise NotEnoughData("no decision whose reward window has closed", field=point.name)
    propensity = np.array([each.pmf[each.action] for each in decisions])
    target = np.array(
        [policy.pmf(state, each.context or {}, each.eligible)[each.eligible.index(each.action)] for each in decisions]
    )
    return by(rewards, propensity, target)
