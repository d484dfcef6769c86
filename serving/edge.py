"""The outermost layer of the service: requests are counted and timed, bodies too large are refused unread."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from features.kernel.events import MAX_PROPERTIES
from serving.errors import problem

__all__ = ["MAX_BODY", "Edge"]

MAX_BODY = 8 * 1024 * 1024
"""Bytes of the largest body that is read. What comes in chunks, without a length, FastAPI cuts off at the same size."""

_too_large = problem(
    413,
    "The body is too large",
    f"it has more than {MAX_BODY} bytes",
    "too-large",
    field="body",
    remedy=f"send several requests, and leave large things out: one event's properties may have {MAX_PROPERTIES} bytes",
)


class Edge:
    """ASGI middleware; counts by route template, never by path, so that metrics stay few."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if _declared(scope) > MAX_BODY:
                await _too_large(scope, receive, sending)
            else:
                await self._app(scope, receive, sending)
        finally:
            services = getattr(scope["app"].state, "services", None)
            if services is not None:
                route = getattr(scope.get("route"), "path", "(none)")
                services.metrics.requests.labels(scope["method"], route, str(status)).inc()
                services.metrics.seconds.labels(route).observe(time.perf_counter() - started)


def _declared(scope: Scope) -> int:
    text = dict(scope["headers"]).get(b"content-length", b"0")
    return int(text) if text.isdigit() else 0
