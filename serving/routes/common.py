"""What routes share: the services of the app, one-or-many bodies judged item by item, receipts as answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Body, Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError

from features.kernel.errors import InvalidInput, KairosError
from features.kernel.events import MAX_ID
from features.kernel.records import Receipt
from serving.errors import describe, printable
from serving.schemas import BATCH
from serving.services import Services

__all__ = ["AnyBody", "Serving", "answer", "many", "one", "one_or_many_schema", "refused"]

T = TypeVar("T", bound=BaseModel)

AnyBody = Annotated[dict[str, Any], Body()]


async def _services(request: Request) -> Services:  # async: a plain function would be run on another thread
    services: Services = request.app.state.services
    return services


Serving = Annotated[Services, Depends(_services)]


def one(model: type[T], item: Any) -> T:
    """An item of a body, validated.

    Raises:
        RequestValidationError: it is not valid.
    """
    try:
        return model.model_validate(item)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False), body=item) from error


def many(body: dict[str, Any], name: str) -> list[Any]:
    """The items of a batch body `{name: [...]}`.

    Raises:
        InvalidInput: it has other fields, no list, none or too many items.
    """
    for other in body.keys() - {name}:
        raise InvalidInput("is no field of a batch", field=other[:80], remedy=f"put everything into {name}")
    items = body[name]
    if not isinstance(items, list) or not 0 < len(items) <= BATCH:
        count = len(items) if isinstance(items, list) else None
        raise InvalidInput(
            f"must be a list of 1 to {BATCH} items", field=name, value=count, remedy="send several batches"
        )
    return items


def answer(receipts: Sequence[Receipt]) -> JSONResponse:
    """Receipts: 202 when something new was accepted or set aside, 200 when all of it was known or refused."""
    new = any(each.status in ("accepted", "quarantined") for each in receipts)
    return JSONResponse({"receipts": [msgspec.structs.asdict(each) for each in receipts]}, 202 if new else 200)


def refused(item: Any, key: str, error: KairosError | RequestValidationError) -> Receipt:
    """The receipt of an item of a batch that is not valid: its id, if it has one, and what to mend."""
    given = item.get(key) if isinstance(item, dict) else None
    name = printable(given[:MAX_ID]) if isinstance(given, str) else ""
    reason = str(error) if isinstance(error, KairosError) else describe(error.errors()[0])
    return Receipt(name, "invalid", printable(reason))


def one_or_many_schema(single: type[BaseModel], batch: type[BaseModel], example: dict[str, Any]) -> dict[str, Any]:
    """OpenAPI of a body that is one item or a batch."""
    schemas = [each.model_json_schema(ref_template="#/components/schemas/{model}") for each in (single, batch)]
    for each in schemas:
        each.pop("$defs", None)
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"oneOf": schemas}, "example": example}},
        }
    }
