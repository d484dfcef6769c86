"""The next best action: group → eligible actions → policy → draw → the row that goes into the journal."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from decisioning.assign import assign
from decisioning.choose import choose
from decisioning.eligible import eligible
from decisioning.point import DecisionPoint
from features.kernel.errors import InvalidInput
from features.kernel.records import Decision, PolicyState
from features.kernel.seeds import uniform

__all__ = ["Known", "Request", "decide", "decision_id"]


@dataclass(frozen=True, slots=True)
class Request:
    """Who is asked about; the same `request_id` always stands for the same decision."""

    request_id: str
    customer_id: str


@dataclass(frozen=True, slots=True)
class Known:
    """What is known when deciding; everything may be missing, and `rung` says how much is."""

    rung: str
    vector: Mapping[str, float | str | None] = field(default_factory=dict)
    """Features by reference: those of `DecisionPoint.refs`."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """The model's answer by problem, of those of `DecisionPoint.scores`: a probability, an amount, an effect."""
    model_versions: Mapping[str, str] = field(default_factory=dict)
    """Version by problem of the models behind `scores`."""
    states: Mapping[str, PolicyState | None] = field(default_factory=dict)
    """Newest published state by policy; None or absent means the policy's prior."""
    recent: Sequence[Decision] = ()
    """The customer's decisions at this point, at least as far back as `DecisionPoint.cap_window`."""


def decide(
    point: DecisionPoint, request: Request, known: Known, rng: np.random.Generator, *, now: datetime, salt: str
) -> Decision:
    """Choose an action with a known probability. Pure apart from `rng`, which a sticky policy does not touch.

    Nothing is written here: append the row to the ledger before answering, and where the ledger calls it a duplicate
    answer with the row it has.

    Raises:
        InvalidInput: a feature of `point.context` is not a number.
    """
    group = assign(point, request.customer_id, salt)
    policy = point.policy_of(group)
    actions, excluded = eligible(point, group, known.vector, known.recent, now)
    published = known.states.get(policy.name)
    context = _context(point, known)
    pmf = policy.pmf(published.state if published else policy.initial(), context, actions)
    u = uniform(salt, point.name, "draw", request.customer_id) if policy.sticky else float(rng.random())
    return Decision(
        decision_id=decision_id(point.name, request.request_id),
        request_id=request.request_id,
        customer_id=request.customer_id,
        decision_point=point.name,
        group=group.name,
        group_share=group.share,
        policy=policy.name,
        state_version=published.version if published else 0,
        eligible=actions,
        excluded=excluded,
        pmf=dict(zip(actions, pmf.tolist(), strict=True)),
        u=u,
        action=choose(actions, pmf, u),
        context=context,
        model_versions=dict(known.model_versions),
        rung=known.rung,
        decided_at=now,
    )


def decision_id(point: str, request_id: str) -> str:
    """The id of the decision on a request: the same request, the same id, whichever worker answers."""
    return hashlib.blake2b(f"{point}\x1f{request_id}".encode(), digest_size=16).hexdigest()


def _context(point: DecisionPoint, known: Known) -> dict[str, float | None]:
    context: dict[str, float | None] = {}
    for ref in point.context:
        value = known.vector.get(ref)
        if isinstance(value, str):
            raise InvalidInput(
                "is not a number", field=f"{point.name}: context {ref}", value=value, remedy="leave it out of `context`"
            )
        context[ref] = None if value is None or value != value else float(value)
    return context | {f"score:{problem}": known.scores.get(problem) for problem in point.scores}
