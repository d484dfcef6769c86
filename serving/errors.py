"""Every refusal as `application/problem+json` (RFC 9457), from one table, naming field, value and remedy.

Nothing here is ever a stack trace: what was not foreseen is logged with its trace and answered without it.
"""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Collection, Mapping, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from features.kernel import errors

__all__ = [
    "STATUS",
    "ProblemResponse",
    "Unauthorized",
    "describe",
    "did_you_mean",
    "install",
    "printable",
    "problem",
    "status_of",
]

_log = logging.getLogger(__name__)
_SHOWN = 80
_NO_JSON = "The body is no JSON"


class Unauthorized(errors.KairosError):
    """The request carries no key, or a wrong one."""


STATUS: dict[type[errors.KairosError], tuple[int, str]] = {
    Unauthorized: (401, "A key is needed"),
    errors.InvalidInput: (422, "The request is not valid"),
    errors.Conflict: (409, "The id was used before with another body"),
    errors.NotFound: (404, "It does not exist here"),
    errors.Busy: (429, "Try again later"),
    errors.Unavailable: (429, "Try again later"),
    errors.NotEnoughData: (409, "There are not enough data"),
    errors.GateRefused: (409, "The model was not promoted"),
    errors.QualityBreach: (409, "Features are not as they should be"),
}
"""The one table; a class answers for its subclasses.

A ledger that cannot be written is back-pressure like any other."""

_REMEDIES = {
    "missing": "add it",
    "json_invalid": "send one JSON value, UTF-8",
    "dict_type": "send a JSON object: {…}",
    "model_type": "send a JSON object: {…}",
    "model_attributes_type": "send a JSON object: {…}",
    "list_type": "send a JSON list: […]",
    "string_type": "send text, in quotes",
    "string_unicode": "take out what is no character (a lone surrogate)",
    "string_pattern_mismatch": "take out the NUL character",
    "float_type": "send a number, without quotes",
    "finite_number": "leave it out if it is not known",
    "value_error": "look for a slip in it",
    "string_too_short": "give it at least one character",
    "string_too_long": "shorten it",
    "datetime_from_date_parsing": "write it like 2026-01-31T12:00:00Z",
    "datetime_parsing": "write it like 2026-01-31T12:00:00Z",
    "datetime_type": "write it like 2026-01-31T12:00:00Z",
    "timezone_aware": "add Z or an offset",
    "too_short": "give at least one",
    "too_long": "send several requests",
}


class ProblemResponse(JSONResponse):
    """A body of type `application/problem+json`, in ASCII: any text a client sent can be quoted in it."""

    media_type = "application/problem+json"

    def render(self, content: Any) -> bytes:
        """Encode; a lone surrogate or NaN of the request cannot break it."""
        return super().render(printable(content))


def problem(status: int, title: str, detail: str, kind: str, **more: Any) -> ProblemResponse:
    """One problem document; None among `more` is left out."""
    body = {"type": f"urn:kairos:error:{kind}", "title": title, "status": status, "detail": detail}
    return ProblemResponse(body | {name: value for name, value in more.items() if value is not None}, status)


def status_of(error: errors.KairosError) -> tuple[int, str]:
    """HTTP status and title of an error: the entry of its nearest class in the table."""
    return next(STATUS[each] for each in type(error).__mro__ if each in STATUS)


def install(app: FastAPI) -> None:
    """Make `app` answer every error as a problem document."""
    app.add_exception_handler(errors.KairosError, _of_kairos)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(Exception, _of_anything)


async def _of_kairos(_: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, errors.KairosError)
    status, title = status_of(error)
    answer = problem(
        status,
        title,
        str(error),
        _kebab(type(error).__name__),
        field=error.field,
        value=None if error.value is None else _shown(error.value),
        remedy=error.remedy,
    )
    if status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    if status == 429:
        answer.headers["Retry-After"] = str(math.ceil(getattr(error, "retry_after", 1.0)))
    return answer


async def _of_validation(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, RequestValidationError)
    body = getattr(request.scope.get("route"), "body_field", None)
    model = getattr(getattr(body, "field_info", None), "annotation", None)
    return _invalid([_where(each, error.body) for each in error.errors()], model)


def _where(found: Mapping[str, Any], body: Any) -> Mapping[str, Any]:
    """Of a body that is no JSON: where it ceases to be, and what stands there."""
    if found["type"] != "json_invalid":
        return found
    at, why = int(found["loc"][-1]), found["ctx"]["error"]
    there = str(body)[max(0, at - 20) : at + 20]
    return {**found, "loc": ("body",), "msg": f"is no JSON at character {at + 1}: {why}", "input": there}


def describe(found: Mapping[str, Any], model: Any = None) -> str:
    """One of pydantic's `errors()` in one sentence with field, value and remedy."""
    item = _item(found, model)
    return str(errors.InvalidInput(item["message"], field=item["field"], remedy=item["remedy"]))


def _invalid(found: Sequence[Mapping[str, Any]], model: Any) -> ProblemResponse:
    """The first of pydantic's errors in the open, all under `errors`; `model` says which fields are known."""
    items = [_item(each, model) for each in found[:20]]
    first = items[0]
    malformed = found[0]["type"] == "json_invalid"
    return problem(
        400 if malformed else 422,
        _NO_JSON if malformed else STATUS[errors.InvalidInput][1],
        describe(found[0], model),
        "invalid-input",
        **{name: first.get(name) for name in ("field", "value", "remedy")},
        errors=items,
    )


async def _of_http(_: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, HTTPException)
    kinds = {404: "not-found", 405: "method-not-allowed", 400: "invalid-input", 413: "too-large"}
    remedies = {
        400: "send one JSON value, UTF-8, nested no deeper than people read",
        404: "see /docs for the paths there are",
        405: f"use {(error.headers or {}).get('Allow', 'another')}",
        413: "send it in several requests",
    }
    # Those two are of a body that could not be read: too large, or no JSON that can be decoded.
    field = "body" if error.status_code in (400, 413) else None
    answer = problem(
        error.status_code,
        _NO_JSON if error.status_code == 400 else str(error.detail),
        str(error.detail),
        kinds.get(error.status_code, "http"),
        field=field,
        remedy=remedies.get(error.status_code),
    )
    answer.headers.update(error.headers or {})
    return answer


async def _of_anything(request: Request, error: Exception) -> ProblemResponse:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(500, "Kairos made a mistake", "the service's log says which", "internal", remedy="report it")


def _item(found: Mapping[str, Any], model: Any) -> dict[str, Any]:
    parts = [each for each in found["loc"] if each != "body"]
    field = ".".join(map(str, parts)) or "body"
    remedy = _REMEDIES.get(found["type"], "see /docs for what is allowed")
    if isinstance(found.get("input"), bytes):  # the body was not even looked at as JSON
        remedy = "send it as JSON, with the header content-type: application/json"
    if found["type"] == "extra_forbidden":
        remedy = did_you_mean(str(parts[-1]), _fields(model, parts[:-1]))
    item = {"field": field, "message": found["msg"].removeprefix("Value error, "), "remedy": remedy}
    return item if found["type"] == "missing" else item | {"value": _shown(found.get("input"))}


def did_you_mean(name: str, known: Collection[str]) -> str:
    """The remedy for an unknown name.

    >>> did_you_mean("custmer_id", ["customer_id", "features"])
    'did you mean customer_id?'
    """
    if not known:
        return "leave it out"
    close = difflib.get_close_matches(name[:100], known, 1)
    return f"did you mean {close[0]}?" if close else f"leave it out; known are {', '.join(known)}"


def _fields(model: Any, path: Sequence[str | int]) -> list[str]:
    """The field names of the model that `path` leads to from `model`, through lists and unions; empty if unclear."""
    models = _models(model)
    for part in path:
        if isinstance(part, str):
            models = [
                m for each in models if part in each.model_fields for m in _models(each.model_fields[part].annotation)
            ]
    return list(models[0].model_fields) if models else []


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (list, Union, UnionType):
        return [model for each in get_args(annotation) for model in _models(each)]
    return []


def _kebab(name: str) -> str:
    return "".join(f"-{each.lower()}" if each.isupper() else each for each in name).lstrip("-")


def _shown(value: object) -> str:
    value = value[:_SHOWN].decode(errors="replace") if isinstance(value, bytes) else value
    shown = value[:_SHOWN] if isinstance(value, str) else repr(value)
    return shown if len(shown) <= _SHOWN else shown[: _SHOWN - 1] + "…"


def printable(content: Any) -> Any:
    """JSON content with every lone surrogate of its texts escaped, so that it can be encoded."""
    if isinstance(content, str):
        return content.encode("utf-8", "backslashreplace").decode()
    if isinstance(content, dict):
        return {printable(name): printable(value) for name, value in content.items()}
    return [printable(each) for each in content] if isinstance(content, list) else content
