"""Rows of the ledger besides events: what was scored, decided, observed and learnt."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

__all__ = ["Decision", "Outcome", "PolicyState", "Receipt", "Score"]


class Receipt(msgspec.Struct, frozen=True):
    """What became of one item that was handed in: `accepted`, `duplicate`, `conflict` or `quarantined`."""

    id: str
    status: str
    reason: str | None = None


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of the scoring service, as it was given."""

    score_id: str
    customer_id: str
    problem: str
    model_version: str
    rung: str
    value: float
    """The answer: a probability, an amount or a change of probability, as the model's card says."""
    features: dict[str, float | str | None]
    scored_at: datetime


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One decision with everything needed to evaluate it off-policy and to replay the learner.

    `pmf` gives the probability of each eligible action under the policy of the customer's `group`; `u` in [0, 1)
    was drawn and picked `action`; `group_share` is the probability of having landed in that group.
    """

    decision_id: str
    request_id: str
    customer_id: str | None
    decision_point: str
    group: str
    group_share: float
    policy: str
    state_version: int
    eligible: tuple[str, ...]
    excluded: dict[str, str]
    pmf: dict[str, float]
    u: float
    action: str
    context: dict[str, float | None] | None
    model_versions: dict[str, str]
    rung: str
    decided_at: datetime


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a decision: `kind` names it (`order`, `click`, …), `value` measures it (1 for "it happened")."""

    outcome_id: str
    decision_id: str
    kind: str
    value: float
    occurred_at: datetime


class PolicyState(msgspec.Struct, frozen=True, kw_only=True):
    """A published state of a learner: equal to folding the journal up to the two marks, bit for bit."""

    decision_point: str
    policy: str
    version: int
    state: dict[str, Any]
    decision_mark: int
    """Last decision (ledger sequence) whose reward window had closed and that was learnt from."""
    outcome_mark: int
    """Last outcome (ledger sequence) that was seen when this state was folded."""
    published_at: datetime
