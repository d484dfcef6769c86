"""`GET /v1/models`: what is served, and how far to trust it."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter

from serving.edge import MAX_BODY
from serving.routes.common import Serving
from serving.schemas import CardOut, MetricOut, ModelOut, ModelsOut
from serving.services import Services

__all__ = ["router"]

router = APIRouter(prefix="/v1", max_body_size=MAX_BODY, tags=["models"])


@router.get("/models", summary="List the served models")
async def get_models(services: Serving) -> ModelsOut:
    """Each served model in short; `fault` says why a newer one is not served."""
    return ModelsOut(models=[_short(services, each) for each in services.models.problems])


@router.get("/models/{problem}", summary="The card of one model")
async def get_model(problem: str, services: Serving) -> CardOut:
    """The whole card: features, calibration, metrics with intervals, cutoffs."""
    card = services.models.get(problem).card
    return CardOut(card=msgspec.to_builtins(card), fault=services.models.faults.get(problem))


def _short(services: Services, problem: str) -> ModelOut:
    card = services.models.get(problem).card
    return ModelOut(
        **{name: getattr(card, name) for name in ModelOut.model_fields if name not in ("metrics", "fault")},
        metrics=[MetricOut.model_validate(each, from_attributes=True) for each in card.metrics],
        fault=services.models.faults.get(problem),
    )
