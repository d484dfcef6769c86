"""The outermost layer of the service: measures every request and refuses bodies that are too large."""

from __future__ import annotations

import time

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import STATUS, TooLarge, problem

__all__ = ["MAX_BODY", "Edge"]

MAX_BODY = 8 * 1024 * 1024
"""Bytes of the largest body that is read."""


class Edge:
    """ASGI middleware; counts by route template, never by path, so that metrics stay few."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, read = time.perf_counter(), 500, 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        async def receiving() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > MAX_BODY:  # sent in chunks, without a length
                # FastAPI lets only its own exception through from the reading of a body.
                raise HTTPException(STATUS[TooLarge][0], str(_too_large(read)))
            return message

        try:
            if (length := _declared(scope)) > MAX_BODY:
                code, title = STATUS[TooLarge]
                error = _too_large(length)
                answer = problem(code, title, str(error), "too-large", field=error.field, remedy=error.remedy)
                await answer(scope, receive, sending)
            else:
                await self._app(scope, receiving, sending)
        finally:
            self._measure(scope, status, time.perf_counter() - started)

    def _measure(self, scope: Scope, status: int, seconds: float) -> None:
        services = getattr(scope["app"].state, "services", None)
        if services is not None:
            route = getattr(scope.get("route"), "path", "(none)")
            services.metrics.requests.labels(scope["method"], route, str(status)).inc()
            services.metrics.seconds.labels(route).observe(seconds)


def _declared(scope: Scope) -> int:
    text = dict(scope["headers"]).get(b"content-length", b"0")
    return int(text) if text.isdigit() else 0


def _too_large(size: int) -> TooLarge:
    return TooLarge(f"is larger than {MAX_BODY} bytes", field="body", value=size, remedy="send it in several requests")
