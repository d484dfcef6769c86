"""`POST /v1/next-best-action`: what to do now, with the probability it was drawn with."""

from __future__ import annotations

from fastapi import APIRouter

from features.kernel.records import Decision
from serving.edge import MAX_BODY
from serving.routes.common import Serving
from serving.schemas import DecisionIn, DecisionOut

__all__ = ["router"]

router = APIRouter(prefix="/v1", max_body_size=MAX_BODY, tags=["decisions"])


@router.post("/next-best-action", summary="Ask for a customer's next best action")
async def post_next_best_action(body: DecisionIn, services: Serving) -> DecisionOut:
    """Draws an action with a known probability and journals the decision durably before it answers.

    The same `request_id` gets the same decision again, whatever has been learnt since; with another customer or
    decision point it is refused with 409. Without a `request_id` each call is a new decision.
    """
    return _out(await services.decider.decide(body.decision_point, body.customer_id, body.request_id))


def _out(decision: Decision) -> DecisionOut:
    return DecisionOut(
        decision_id=decision.decision_id,
        request_id=decision.request_id,
        customer_id=decision.customer_id,
        decision_point=decision.decision_point,
        action=decision.action,
        propensity=decision.pmf[decision.action],
        pmf=decision.pmf,
        group=decision.group,
        group_share=decision.group_share,
        policy=decision.policy,
        state_version=decision.state_version,
        exclusions=decision.excluded,
        model_versions=decision.model_versions,
        rung=decision.rung,  # type: ignore[arg-type]  # written by this service, which knows four
        decided_at=decision.decided_at,
    )
