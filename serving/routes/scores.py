"""`POST /v1/scores/{problem}` and its explanation."""

from __future__ import annotations

import numpy as np
from fastapi import APIRouter

from features.kernel.card import Card
from serving.edge import MAX_BODY
from serving.explain import Explanation, Reason
from serving.routes.common import Serving
from serving.score import Scored, candidate_label
from serving.score_schemas import (
    CandidateOut,
    ExplanationOut,
    ExplanationsOut,
    IntervalOut,
    ReasonGroupOut,
    ReasonOut,
    ScoreItem,
    ScoreOut,
    ScoresIn,
    ScoresOut,
)
from serving.scorer import Asked

__all__ = ["router"]

router = APIRouter(prefix="/v1", max_body_size=MAX_BODY, tags=["scores"])
_TOP = 5
_PROBABILITIES = ("binary", "candidates")


@router.post("/scores/{problem}", summary="Score customers")
async def post_scores(problem: str, body: ScoresIn, services: Serving) -> ScoresOut:
    """Calibrated answers, each with the rung it stands on; a customer nobody knows is no error.

    `value` is the answer in `unit`, whatever the model's kind; `probability` repeats it where it is one. `low` and
    `high` bound it, as `interval` says. A problem with candidates (the hour to send at) scores all of them: `best`, and
    the `top` five, best first.
    """
    answers = await services.scorer.score(problem, _asked(body.items))
    card = answers.bundle.card
    rows = zip(answers.score_ids, body.items, answers.scored, strict=True)
    return ScoresOut(
        problem=card.problem,
        model_version=card.version,
        kind=card.kind,
        unit=card.unit,
        interval=_interval(card),
        results=[_score(card, score_id, item.customer_id, scored) for score_id, item, scored in rows],
    )


@router.post("/scores/{problem}/explanation", summary="Score customers and say why")
async def post_explanation(problem: str, body: ScoresIn, services: Serving) -> ExplanationsOut:
    """SHAP values that add up to the raw score, and the same in the answer's unit and in words.

    `base + Σ contribution = raw` and `reference + Σ points = value`. `groups` are families of inputs (the same count
    over 7, 30 and 90 days), each with its members inside; `reasons` are the inputs one by one. Of a problem with
    candidates the best one is explained. On the rung `prior` there is nothing to explain: both are empty.
    """
    answers, explained = await services.scorer.explain(problem, _asked(body.items))
    card = answers.bundle.card
    rows = zip(body.items, answers.scored, explained, strict=True)
    return ExplanationsOut(
        problem=card.problem,
        model_version=card.version,
        kind=card.kind,
        unit=card.unit,
        interval=_interval(card),
        results=[_explanation(card, item.customer_id, scored, why) for item, scored, why in rows],
    )


def _asked(items: list[ScoreItem]) -> list[Asked]:
    return [Asked(each.customer_id, each.features) for each in items]


def _interval(card: Card) -> IntervalOut | None:
    return None if card.interval is None else IntervalOut(level=card.interval.level, kind=card.interval.kind)


def _score(card: Card, score_id: str, customer_id: str, scored: Scored) -> ScoreOut:
    top = None
    if scored.candidates is not None:
        order = np.argsort(-scored.candidates, kind="stable")[:_TOP].tolist()
        top = [_candidate(card, each, float(scored.candidates[each])) for each in order]
    return ScoreOut(
        score_id=score_id,
        customer_id=customer_id,
        value=scored.value,
        probability=_probability(card, scored.value),
        low=scored.low,
        high=scored.high,
        rung=scored.rung,
        age_seconds=scored.age_seconds,
        best=top[0] if top else None,
        top=top,
    )


def _probability(card: Card, answer: float) -> float | None:
    return answer if card.kind in _PROBABILITIES else None


def _candidate(card: Card, candidate: int, probability: float) -> CandidateOut:
    return CandidateOut(candidate=candidate, label=candidate_label(card, candidate), probability=probability)


def _explanation(card: Card, customer_id: str, scored: Scored, why: Explanation | None) -> ExplanationOut:
    reference = why.reference if why else scored.value
    return ExplanationOut(
        customer_id=customer_id,
        value=scored.value,
        probability=_probability(card, scored.value),
        low=scored.low,
        high=scored.high,
        rung=scored.rung,
        age_seconds=scored.age_seconds,
        reference=reference,
        reference_probability=_probability(card, reference),
        raw=why.raw if why else None,
        base=why.base if why else None,
        candidate=_candidate(card, why.candidate, why.value) if why and why.candidate is not None else None,
        groups=[
            ReasonGroupOut(
                group=each.group,
                contribution=each.contribution,
                points=each.points,
                text=each.text,
                reasons=[_reason(reason) for reason in each.reasons],
            )
            for each in (why.groups if why else ())
        ],
        reasons=[_reason(each) for each in (why.reasons if why else ())],
    )


def _reason(reason: Reason) -> ReasonOut:
    return ReasonOut(
        ref=reason.ref,
        value=reason.value,
        contribution=reason.contribution,
        points=reason.points,
        text=reason.text,
    )
