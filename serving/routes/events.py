"""`POST /v1/events`: what happened, once, durably. JSON, or NDJSON with an event a line."""

from __future__ import annotations

import json
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Body, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from features.kernel.clock import now
from features.kernel.errors import Conflict, InvalidEvent, InvalidInput
from features.kernel.events import Event
from features.kernel.records import Receipt
from serving.edge import MAX_BODY
from serving.journal import durable
from serving.routes.common import Serving, answer, many, one, one_or_many_schema, refused
from serving.schemas import BATCH, EventBatch, EventIn, ReceiptsOut
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


_LINES = {
    "schema": {"type": "string", "description": f"one event a line, up to {BATCH} lines"},
    "example": json.dumps(_EXAMPLE),
}
_BODY = one_or_many_schema(EventIn, EventBatch, _EXAMPLE)
_BODY["requestBody"]["content"]["application/x-ndjson"] = _LINES
_BOM = b"\xef\xbb\xbf"


@router.post(
    "/events",
    summary='Send one event, up to 1,000 as {"events": [...]}, or one a line as NDJSON',
    response_model=ReceiptsOut,
    status_code=202,
    responses={200: {"model": ReceiptsOut, "description": "nothing new: every event was known already, or refused"}},
    openapi_extra=_BODY,
)
async def post_events(request: Request, body: Annotated[Any, Body()], services: Serving) -> JSONResponse:
    """Answers when the events are durable; features of the customers follow within moments.

    One event: 202 accepted, 200 known already, 409 the id has another body, 422 not valid. A batch is judged item by
    item and always answered with receipts: `accepted`, `duplicate`, `conflict`, `quarantined` (dated in the future) or
    `invalid`; send again only what was not accepted. 429: nothing was taken; try again after `Retry-After` seconds.

    With `content-type: application/x-ndjson` each line is an event; blank lines are passed over, and the receipt of an
    `invalid` one names its line.
    """
    if isinstance(body, bytes) and _is_ndjson(request):
        return await _judged(services, [_line(number, text) for number, text in _lines(body)])
    if not isinstance(body, dict):
        found = {"type": "dict_type", "loc": ("body",), "msg": "Input should be a JSON object", "input": body}
        raise RequestValidationError([found], body=body)
    if "events" in body:
        return await _judged(services, [_event_or_refusal(each) for each in many(body, "events")])
    receipts = await _append(services, [_event(body)])
    if receipts[0].status == "conflict":
        raise Conflict(
            "was used before with another body", field="event_id", value=receipts[0].id, remedy="use a new id"
        )
    return answer(receipts)


async def _judged(services: Services, items: list[Event | Receipt]) -> JSONResponse:
    """Receipts of items in their order: of events what the ledger says, of others the refusal they are."""
    events = [each for each in items if isinstance(each, Event)]
    services.metrics.items.labels("event", "invalid").inc(len(items) - len(events))
    taken = iter(await _append(services, events) if events else [])
    return answer([next(taken) if isinstance(each, Event) else each for each in items])


def _is_ndjson(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/x-ndjson"


def _lines(body: bytes) -> list[tuple[int, bytes]]:
    """Numbers (from 1) and texts of the lines that are not blank."""
    numbered = enumerate(body.removeprefix(_BOM).split(b"\n"), start=1)
    found = [(number, text.strip()) for number, text in numbered if text.strip()]
    if not 0 < len(found) <= BATCH:
        raise InvalidInput(
            f"must have 1 to {BATCH} lines", field="body", value=len(found), remedy="send several requests"
        )
    return found


def _line(number: int, text: bytes) -> Event | Receipt:
    try:
        item = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        what = "text in UTF-8" if isinstance(error, UnicodeDecodeError) else "JSON"
        return Receipt("", "invalid", f"line {number}: is no {what}; send one JSON object a line")
    judged = _event_or_refusal(item)
    if isinstance(judged, Event):
        return judged
    return msgspec.structs.replace(judged, reason=f"line {number}: {judged.reason}")


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
    receipts = await durable(lambda: services.intake.submit(events))
    for each in receipts:
        services.metrics.items.labels("event", each.status).inc()
    return receipts
