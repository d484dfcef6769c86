"""`POST /v1/events`: what happened, once, durably."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from features.kernel.clock import now
from features.kernel.errors import Conflict, InvalidEvent, InvalidInput
from features.kernel.events import Event
from features.kernel.records import Receipt
from serving.edge import MAX_BODY
from serving.journal import durable
from serving.routes.common import AnyBody, Serving, answer, many, one, one_or_many_schema, refused
from serving.schemas import EventBatch, EventIn, ReceiptsOut
from serving.services import Services

__all__ = ["router"]

router = APIRouter(prefix="/v1", max_body_size=MAX_BODY, tags=["events"])
_EXAMPLE: dict[str, Any] = {
    "event_id": "order-1001",
    "customer_id": "c1",
    "type": "order",
    "occurred_at": "2026-01-31T12:00:00Z",
    "amount": 49.9,
    "currency": "EUR",
}


@router.post(
    "/events",
    summary='Send one event, or up to 1,000 as {"events": [...]}',
    response_model=ReceiptsOut,
    status_code=202,
    responses={200: {"model": ReceiptsOut, "description": "nothing new: every event was known already, or refused"}},
    openapi_extra=one_or_many_schema(EventIn, EventBatch, _EXAMPLE),
)
async def post_events(body: AnyBody, services: Serving) -> JSONResponse:
    """Answers when the events are durable; features of the customers follow within moments.

    One event: 202 accepted, 200 known already, 409 the id has another body, 422 not valid. A batch is judged item by
    item and always answered with receipts: `accepted`, `duplicate`, `conflict`, `quarantined` (dated in the future) or
    `invalid`; send again only what was not accepted. 429: nothing was taken; try again after `Retry-After` seconds.
    """
    if "events" not in body:
        receipts = await _append(services, [_event(body)])
        if receipts[0].status == "conflict":
            raise Conflict(
                "was used before with another body", field="event_id", value=receipts[0].id, remedy="use a new id"
            )
        return answer(receipts)
    items = [_event_or_refusal(each) for each in many(body, "events")]
    events = [each for each in items if isinstance(each, Event)]
    services.metrics.items.labels("event", "invalid").inc(len(items) - len(events))
    taken = iter(await _append(services, events) if events else [])
    return answer([next(taken) if isinstance(each, Event) else each for each in items])


def _event(item: Any) -> Event:
    parsed = one(EventIn, item)
    try:
        return Event(received_at=now(), **dict(parsed))
    except (UnicodeError, RecursionError, OverflowError) as error:
        raise InvalidEvent(
            f"cannot be written as JSON: {type(error).__name__}", field="properties", remedy="send plain, shallow JSON"
        ) from error


def _event_or_refusal(item: Any) -> Event | Receipt:
    try:
        return _event(item)
    except (InvalidInput, RequestValidationError) as error:
        return refused(item, "event_id", error)


async def _append(services: Services, events: list[Event]) -> list[Receipt]:
    receipts = await durable(lambda: services.ingest.submit(events))
    for each in receipts:
        services.metrics.items.labels("event", each.status).inc()
    return receipts
