"""`POST /v1/outcomes`: what came of decisions."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from features.kernel.errors import Conflict, NotFound
from features.kernel.records import Outcome, Receipt
from serving.edge import MAX_BODY
from serving.journal import NOT_FOUND, append_outcomes
from serving.routes.common import AnyBody, Serving, answer, many, one, one_or_many_schema, refused
from serving.schemas import OutcomeBatch, OutcomeIn, ReceiptsOut
from serving.services import Services

__all__ = ["router"]

router = APIRouter(prefix="/v1", max_body_size=MAX_BODY, tags=["decisions"])
_EXAMPLE: dict[str, Any] = {
    "outcome_id": "o-1",
    "decision_id": "d-1",
    "kind": "order",
    "value": 1.0,
    "occurred_at": "2026-02-03T09:30:00Z",
}


@router.post(
    "/outcomes",
    summary='Report one outcome, or up to 1,000 as {"outcomes": [...]}',
    response_model=ReceiptsOut,
    status_code=202,
    responses={200: {"model": ReceiptsOut, "description": "nothing new: every outcome was known already, or refused"}},
    openapi_extra=one_or_many_schema(OutcomeIn, OutcomeBatch, _EXAMPLE),
)
async def post_outcomes(body: AnyBody, services: Serving) -> JSONResponse:
    """Answers when the outcomes are durable; the learner takes them in when it folds the journal next.

    One outcome: 202 accepted, 200 known already, 404 its decision is unknown, 409 the id has another body. A batch is
    judged item by item and always answered with receipts: `accepted`, `duplicate`, `conflict`, `not_found`, `invalid`.
    """
    if "outcomes" not in body:
        receipts = await _append(services, [_outcome(body)])
        _raise_if_refused(receipts[0], str(body["decision_id"]))
        return answer(receipts)
    items = [_outcome_or_refusal(each) for each in many(body, "outcomes")]
    outcomes = [each for each in items if isinstance(each, Outcome)]
    services.metrics.items.labels("outcome", "invalid").inc(len(items) - len(outcomes))
    taken = iter(await _append(services, outcomes) if outcomes else [])
    return answer([next(taken) if isinstance(each, Outcome) else each for each in items])


def _outcome(item: Any) -> Outcome:
    return Outcome(**dict(one(OutcomeIn, item)))


def _outcome_or_refusal(item: Any) -> Outcome | Receipt:
    try:
        return _outcome(item)
    except RequestValidationError as error:
        return refused(item, "outcome_id", error)


async def _append(services: Services, outcomes: list[Outcome]) -> list[Receipt]:
    receipts = await append_outcomes(services.ledger, services.commit, outcomes)
    for each in receipts:
        services.metrics.items.labels("outcome", each.status).inc()
    return receipts


def _raise_if_refused(receipt: Receipt, decision_id: str) -> None:
    if receipt.status == NOT_FOUND:
        raise NotFound(
            "is not in the journal", field="decision_id", value=decision_id, remedy="ask /v1/next-best-action first"
        )
    if receipt.status == "conflict":
        raise Conflict("was used before with another body", field="outcome_id", value=receipt.id, remedy="use a new id")
