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
    """200 while the online store can be reached; else 503, and scores stand on the rung `prior`.

    Kairos answers even when it is not ready. A broken newer model does not make it unready; it is named. Nor does a
    follower that does not run: events are taken, features grow stale, and it is said here.
    """
    ready, backlog = not services.store.fault, services.intake.backlog
    body: dict[str, Any] = {
        "ready": ready,
        "store": services.store.fault or "open",
        "models": list(services.models.problems),
        "model_faults": services.models.faults,
        "decision_points": list(services.decider.points),
        "follower": {
            "state": "alive" if backlog.alive else "not seen: features grow stale; run kairos ingest",
            "events_behind": services.intake.waiting,
            "seconds_behind": round(backlog.seconds, 3),
        },
    }
    return JSONResponse(body, 200 if ready else 503)


@router.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)
async def metrics(services: Serving) -> PlainTextResponse:
    """Counters and durations of this worker, in Prometheus's text format."""
    return PlainTextResponse(services.metrics.text().decode(), media_type=CONTENT_TYPE_LATEST)
