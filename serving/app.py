"""The HTTP service. `create_app(settings)` builds it; uvicorn runs `serving.app:from_env` as a factory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from fastapi.telemetry import TelemetryConfig
from fastapi_offline import FastAPIOffline

from features.kernel.settings import Settings
from serving import errors
from serving.auth import key_check
from serving.edge import Edge
from serving.routes import events, health, models, next_best_action, outcomes, scores
from serving.schemas import ProblemOut
from serving.services import Services, compose

__all__ = ["create_app", "from_env"]

_DESCRIPTION = """
From a business's own customer events: who will convert, buy, leave or open and when, with reasons; and the next best
action of a journey, drawn with a known probability, so that it can be measured whether it helped.

Every answer names the **rung** it stands on: `fresh`, `stale` (features older than their TTL), `default` (customer
unknown), `prior` (no store, or a damaged model). Errors are `application/problem+json` (RFC 9457) and name field and
remedy.
"""

# FastAPI would export traces, bodies of refused requests among them, once some library has set up OpenTelemetry.
_NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}

_REFUSALS = {
    401: "no key, or a wrong one",
    404: "what was named does not exist here",
    409: "the id was used before with another body",
    413: "the body is too large",
    422: "the request is not valid",
    429: "the service cannot take more now; Retry-After says when",
}


def create_app(settings: Settings, make: Callable[[Settings], Services] = compose) -> FastAPI:
    """The service.

    Args:
        settings: what the deployment chose.
        make: composes the services when the app starts; tests and benchmarks give their own.
    """

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        services = make(settings)
        app.state.services = services
        services.start()
        try:
            yield
        finally:
            services.close()

    app = FastAPIOffline(  # FastAPI whose /docs needs no CDN
        title="Kairos", version="0.1.0", description=_DESCRIPTION, lifespan=life, telemetry=_NO_TELEMETRY
    )
    errors.install(app)
    app.add_middleware(Edge)
    refusals = {
        status: {"description": what, "content": {"application/problem+json": {"schema": _ref(ProblemOut)}}}
        for status, what in _REFUSALS.items()
    }
    guarded = [Depends(key_check(settings.api_key))]
    for each in (events, scores, next_best_action, outcomes, models):
        app.include_router(each.router, dependencies=guarded, responses=refusals)  # type: ignore[arg-type]
    app.include_router(health.router)
    return app


def from_env() -> FastAPI:
    """The service by the environment's settings: uvicorn's factory.

    Raises:
        InvalidSetting: a variable is unknown or makes no sense.
    """
    return create_app(Settings.from_env())


def _ref(model: type[ProblemOut]) -> dict[str, object]:
    return model.model_json_schema()
