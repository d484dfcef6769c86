"""Rebuilding every state a learner ever published from the ledger alone: the proof that no learning is lost."""

from __future__ import annotations

import msgspec

from decisioning.learner import fold
from decisioning.point import DecisionPoint
from decisioning.policy import Policy
from features.kernel.ledger import Ledger
from features.kernel.records import PolicyState

__all__ = ["differences", "replay"]


def replay(ledger: Ledger, point: DecisionPoint) -> dict[str, list[PolicyState]]:
    """By policy, every version that was published, its state folded anew from the first decision on.

    A version says how far it had read (its two marks); nothing else of it is believed.
    """
    return {name: _rebuilt(ledger, point, policy) for name, policy in point.learners.items()}


def differences(ledger: Ledger, point: DecisionPoint) -> list[str]:
    """Versions whose published state is not, byte for byte, the replayed one: `policy version`; empty if all are."""
    wrong = []
    for name, rebuilt in replay(ledger, point).items():
        published = ledger.states(point.name, name)
        for ours, theirs in zip(rebuilt, published, strict=False):  # one more may have been published since
            if _bytes(ours) != _bytes(theirs):
                wrong.append(f"{name} {theirs.version}")
    return wrong


def _rebuilt(ledger: Ledger, point: DecisionPoint, policy: Policy) -> list[PolicyState]:
    published = ledger.states(point.name, policy.name)
    state, after, rebuilt = policy.initial(), 0, list[PolicyState]()
    for version in published:
        decisions = [each for _, each in ledger.decisions(point.name, after=after, upto=version.decision_mark)]
        outcomes = ledger.outcomes([each.decision_id for each in decisions], upto=version.outcome_mark)
        state = fold(point, policy, state, decisions, outcomes)
        after = version.decision_mark
        rebuilt.append(msgspec.structs.replace(version, state=dict(state)))
    return rebuilt


def _bytes(state: PolicyState) -> bytes:
    return msgspec.json.encode(state, order="sorted")
