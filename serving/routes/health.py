"""`/healthz`, `/readyz` and `/metrics`: for those who run the service; open without a key."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from serving.routes.common import Serving

__all__ = ["router"]

router = APIRouter(tags=["operations"])


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> dict[str, str]:
    """Always `ok` while the process answers."""
    return {"status": "ok"}


@router.get("/readyz", summary="Can it answer on its best rung?", responses={503: {"description": "not yet"}})
async def readyz(services: Serving) -> JSONResponse:
    """200 once the feature store is open; until then 503, and scores stand on the rung `prior`.

    Kairos answers even when it is not ready. A broken newer model does not make it unready; it is named.
    """
    ready = not services.store.fault
    body: dict[str, Any] = {
        "ready": ready,
        "store": services.store.fault or "open",
        "models": list(services.models.problems),
        "model_faults": services.models.faults,
        "decision_points": list(services.decider.points),
    }
    return JSONResponse(body, 200 if ready else 503)


@router.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)
async def metrics(services: Serving) -> PlainTextResponse:
    """Counters and durations of this worker, in Prometheus's text format."""
    return PlainTextResponse(services.metrics.text().decode(), media_type=CONTENT_TYPE_LATEST)
