"""`POST /v1/scores/{problem}` and its explanation."""

from __future__ import annotations

import numpy as np
from fastapi import APIRouter

from features.kernel.card import Card
from serving.edge import MAX_BODY
from serving.explain import Explanation
from serving.routes.common import Serving
from serving.schemas import (
    CandidateOut,
    ExplanationOut,
    ExplanationsOut,
    ReasonOut,
    ScoreItem,
    ScoreOut,
    ScoresIn,
    ScoresOut,
)
from serving.score import Scored, candidate_label
from serving.scorer import Asked

__all__ = ["router"]

router = APIRouter(prefix="/v1", max_body_size=MAX_BODY, tags=["scores"])
_TOP = 5


@router.post("/scores/{problem}", summary="Score customers")
async def post_scores(problem: str, body: ScoresIn, services: Serving) -> ScoresOut:
    """Calibrated probabilities, each with the rung it stands on; a customer nobody knows is no error.

    A problem with candidates (the hour to send at) scores all of them: `best`, and the `top` five, best first.
    """
    answers = await services.scorer.score(problem, _asked(body.items))
    card = answers.bundle.card
    rows = zip(answers.score_ids, body.items, answers.scored, strict=True)
    return ScoresOut(
        problem=card.problem,
        model_version=card.version,
        results=[_score(card, score_id, item.customer_id, scored) for score_id, item, scored in rows],
    )


@router.post("/scores/{problem}/explanation", summary="Score customers and say why")
async def post_explanation(problem: str, body: ScoresIn, services: Serving) -> ExplanationsOut:
    """SHAP values that add up to the raw log-odds, and the same in probability points and words.

    `base + Σ contribution = raw` and `reference_probability + Σ points = probability`. Of a problem with candidates the
    best candidate is explained. On the rung `prior` there is nothing to explain: `reasons` is empty.
    """
    answers, explained = await services.scorer.explain(problem, _asked(body.items))
    card = answers.bundle.card
    rows = zip(body.items, answers.scored, explained, strict=True)
    return ExplanationsOut(
        problem=card.problem,
        model_version=card.version,
        results=[_explanation(card, item.customer_id, scored, why) for item, scored, why in rows],
    )


def _asked(items: list[ScoreItem]) -> list[Asked]:
    return [Asked(each.customer_id, each.features) for each in items]


def _score(card: Card, score_id: str, customer_id: str, scored: Scored) -> ScoreOut:
    top = None
    if scored.candidates is not None:
        order = np.argsort(-scored.candidates, kind="stable")[:_TOP].tolist()
        top = [_candidate(card, scored, each) for each in order]
    return ScoreOut(
        score_id=score_id,
        customer_id=customer_id,
        probability=scored.probability,
        rung=scored.rung,
        age_seconds=scored.age_seconds,
        best=top[0] if top else None,
        top=top,
    )


def _candidate(card: Card, scored: Scored, candidate: int) -> CandidateOut:
    probability = float(scored.candidates[candidate]) if scored.candidates is not None else scored.probability
    return CandidateOut(candidate=candidate, label=candidate_label(card, candidate), probability=probability)


def _explanation(card: Card, customer_id: str, scored: Scored, why: Explanation | None) -> ExplanationOut:
    reasons = [
        ReasonOut(ref=each.ref, value=each.value, contribution=each.contribution, points=each.points, text=each.text)
        for each in (why.reasons if why else ())
    ]
    return ExplanationOut(
        customer_id=customer_id,
        probability=scored.probability,
        rung=scored.rung,
        age_seconds=scored.age_seconds,
        reference_probability=why.reference_probability if why else scored.probability,
        raw=why.raw if why else None,
        base=why.base if why else None,
        candidate=_candidate(card, scored, why.candidate) if why and why.candidate is not None else None,
        reasons=reasons,
    )
