"""Scores and their reasons as they travel over HTTP; the shapes are the same for every kind of question."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from features.kernel.card import Kind
from serving.schemas import BATCH, RUNG, Id, Number, Rung, example

__all__ = [
    "CandidateOut",
    "ExplanationOut",
    "ExplanationsOut",
    "IntervalOut",
    "ReasonGroupOut",
    "ReasonOut",
    "ScoreItem",
    "ScoreOut",
    "ScoresIn",
    "ScoresOut",
]


class ScoreItem(BaseModel):
    """One customer to score; `features` only for a model whose card says its source is the request."""

    model_config = ConfigDict(extra="forbid")

    customer_id: Id
    features: dict[str, Number | str | None] | None = None


class ScoresIn(BaseModel):
    """Up to 1,000 customers."""

    model_config = example(items=[{"customer_id": "c1"}])

    items: Annotated[list[ScoreItem], Field(min_length=1, max_length=BATCH)]


class CandidateOut(BaseModel):
    """One candidate and its calibrated probability."""

    candidate: int
    label: str
    probability: float


class IntervalOut(BaseModel):
    """What `low` and `high` of each answer mean."""

    level: float = Field(description="share of cases it holds, e.g. 0.95")
    kind: Literal["confidence", "prediction"] = Field(
        description="confidence: of the probability or expected amount; prediction: of the single outcome"
    )


_VALUE = Field(description="the answer, in `unit`; of a problem with candidates, the best one's probability")
_PROBABILITY = Field(description="the answer where it is a probability (binary, candidates), else null")
_UNIT = Field(description="of every answer: probability, change of probability, EUR, days")
_BOUND = "of the card's interval at this answer; null without one, and on the rungs default and prior"
_KIND = Field(description="what an answer is: a probability, the best candidate's, an amount, or a treatment's effect")


class ScoreOut(BaseModel):
    """One answer."""

    score_id: str
    customer_id: str
    value: float = _VALUE
    probability: float | None = _PROBABILITY
    low: float | None = Field(default=None, description=f"lower bound {_BOUND}")
    high: float | None = Field(default=None, description=f"upper bound {_BOUND}")
    rung: Rung = RUNG
    age_seconds: float | None = Field(description="age of the oldest feature, where features were read")
    best: CandidateOut | None = None
    top: list[CandidateOut] | None = Field(default=None, description="the best candidates, best first")


class ScoresOut(BaseModel):
    """Answers in the order of the items."""

    model_config = example(
        problem="churn",
        model_version="1",
        kind="binary",
        unit="probability",
        interval={"level": 0.95, "kind": "confidence"},
        results=[
            {
                "score_id": "9f2c",
                "customer_id": "c1",
                "value": 0.23,
                "probability": 0.23,
                "low": 0.19,
                "high": 0.28,
                "rung": "fresh",
                "age_seconds": 12.5,
            },
        ],
    )

    problem: str
    model_version: str
    kind: Kind = _KIND
    unit: str = _UNIT
    interval: IntervalOut | None = Field(description="what low and high mean; null where the model has no interval")
    results: list[ScoreOut]


class ReasonOut(BaseModel):
    """What one input did to the answer."""

    ref: str
    value: float | str | None
    contribution: float = Field(description="SHAP value, in the model's raw score")
    points: float = Field(description="the same in the answer's unit: of a probability, 0.08 is 8 percentage points")
    text: str


class ReasonGroupOut(BaseModel):
    """What a family of inputs did together: the same count over several windows, the parts of one thing."""

    group: str = Field(description="the family; of an input without one, its own reference")
    contribution: float
    points: float
    text: str
    reasons: list[ReasonOut] = Field(description="its members, the strongest first")


class ExplanationOut(BaseModel):
    """`base + Σ contribution = raw`; `reference + Σ points = value`; over `reasons` as over `groups`."""

    customer_id: str
    value: float = _VALUE
    probability: float | None = _PROBABILITY
    low: float | None = Field(default=None, description=f"lower bound {_BOUND}")
    high: float | None = Field(default=None, description=f"upper bound {_BOUND}")
    rung: Rung = RUNG
    age_seconds: float | None
    reference: float = Field(description="the answer before anything is known of this customer")
    reference_probability: float | None = Field(description="the same where it is a probability, else null")
    raw: float | None = Field(description="raw score; null on the rung prior, where there is nothing to explain")
    base: float | None
    candidate: CandidateOut | None = None
    groups: list[ReasonGroupOut] = Field(description="every family, the strongest first")
    reasons: list[ReasonOut] = Field(description="every input, the strongest first")


class ExplanationsOut(BaseModel):
    """Explanations in the order of the items."""

    problem: str
    model_version: str
    kind: Kind = _KIND
    unit: str = _UNIT
    interval: IntervalOut | None
    results: list[ExplanationOut]
