"""What travels over HTTP: bodies in and out, unknown fields refused, each with an example for `/docs`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from features.kernel.card import Kind
from features.kernel.events import MAX_ID

__all__ = [
    "BATCH",
    "RUNG",
    "CardOut",
    "DecisionIn",
    "DecisionOut",
    "EventBatch",
    "EventIn",
    "Id",
    "MetricOut",
    "ModelOut",
    "ModelsOut",
    "Number",
    "OutcomeBatch",
    "OutcomeIn",
    "ProblemOut",
    "ReceiptOut",
    "ReceiptsOut",
    "Rung",
    "example",
]

BATCH = 1_000
"""The most items of one request."""


def _instant(value: datetime) -> datetime:
    if not 1970 < value.year < 2262:
        raise ValueError("must lie between 1971 and 2261")
    return value.astimezone(UTC)


Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID, pattern=r"^[^\x00]*$")]
Instant = Annotated[AwareDatetime, AfterValidator(_instant)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Rung = Literal["fresh", "stale", "default", "prior"]
RUNG = Field(description="fresh, stale (older than the TTL), default (unknown customer) or prior (no model or store)")


def example(**fields: Any) -> ConfigDict:
    """Configuration of a body: unknown fields are refused, and `/docs` shows this example."""
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [fields]})


# -- events ------------------------------------------------------------------------------------------------------------


class EventIn(BaseModel):
    """One thing that happened to one person."""

    model_config = example(
        event_id="order-1001",
        customer_id="c1",
        type="order",
        occurred_at="2026-01-31T12:00:00Z",
        amount=49.9,
        currency="EUR",
        properties={"items": 2, "discount": 0.1},
    )

    event_id: Id
    customer_id: Id
    type: Annotated[str, StringConstraints(max_length=32)]
    occurred_at: Instant
    account_id: Id | None = None
    channel: Id | None = None
    campaign: Id | None = None
    message_id: Id | None = None
    decision_id: Id | None = None
    amount: Number | None = None
    currency: Annotated[str, StringConstraints(min_length=1, max_length=8, pattern=r"^[^\x00]*$")] | None = None
    properties: dict[str, Any] = {}


class EventBatch(BaseModel):
    """Up to 1,000 events; each is judged alone and gets its own receipt."""

    model_config = ConfigDict(extra="forbid")

    events: Annotated[list[EventIn], Field(min_length=1, max_length=BATCH)]


class ReceiptOut(BaseModel):
    """What became of one item."""

    id: str | None = Field(description="the item's own id, or null where it had none")
    status: Literal["accepted", "duplicate", "conflict", "quarantined", "invalid", "not_found"]
    reason: str | None = None


class ReceiptsOut(BaseModel):
    """Receipts in the order of the items; what is `accepted` is durable."""

    model_config = example(receipts=[{"id": "order-1001", "status": "accepted", "reason": None}])

    receipts: list[ReceiptOut]


# -- decisions and outcomes --------------------------------------------------------------------------------------------


class DecisionIn(BaseModel):
    """A question for the next best action; the same `request_id` gets the same answer."""

    model_config = example(request_id="r-1", customer_id="c1", decision_point="win_back")

    request_id: Id | None = None
    customer_id: Id
    decision_point: Id


class DecisionOut(BaseModel):
    """A decision as it stands in the journal."""

    model_config = example(
        decision_id="d-1",
        request_id="r-1",
        customer_id="c1",
        decision_point="win_back",
        action="reminder",
        propensity=0.62,
        pmf={"none": 0.1, "reminder": 0.62, "discount": 0.28},
        group="bandit",
        group_share=0.5,
        policy="thompson",
        state_version=3,
        exclusions={},
        model_versions={"churn": "1"},
        rung="fresh",
        decided_at="2026-01-31T12:00:00Z",
    )

    decision_id: str
    request_id: str
    customer_id: str | None
    decision_point: str
    action: str
    propensity: float = Field(description="probability with which this action was drawn in the customer's group")
    pmf: dict[str, float]
    group: str
    group_share: float
    policy: str
    state_version: int
    exclusions: dict[str, str] = Field(description="actions that were not eligible, each with its reason")
    model_versions: dict[str, str]
    rung: Rung = RUNG
    decided_at: datetime


class OutcomeIn(BaseModel):
    """What came of a decision."""

    model_config = example(
        outcome_id="o-1", decision_id="d-1", kind="order", value=1.0, occurred_at="2026-02-03T09:30:00Z"
    )

    outcome_id: Id
    decision_id: Id
    kind: Annotated[str, StringConstraints(min_length=1, max_length=32, pattern=r"^[^\x00]*$")]
    value: Number = 1.0
    occurred_at: Instant


class OutcomeBatch(BaseModel):
    """Up to 1,000 outcomes; each is judged alone and gets its own receipt."""

    model_config = ConfigDict(extra="forbid")

    outcomes: Annotated[list[OutcomeIn], Field(min_length=1, max_length=BATCH)]


# -- models and problems -----------------------------------------------------------------------------------------------


class MetricOut(BaseModel):
    """A figure on later time than the model was trained on, with its 95 % interval and the baseline's figure."""

    name: str
    value: float
    low: float
    high: float
    baseline: float | None


class ModelOut(BaseModel):
    """A served model in short."""

    problem: str
    version: str
    kind: Kind
    unit: str
    source: str
    question: str
    headline: str
    horizon_days: int
    prior: float
    metrics: list[MetricOut]
    trained_at: datetime
    fault: str | None = Field(default=None, description="why a newer model is not served")


class ModelsOut(BaseModel):
    """Every served model."""

    models: list[ModelOut]


class CardOut(BaseModel):
    """The whole card of a served model."""

    card: dict[str, Any]
    fault: str | None = None


class ProblemOut(BaseModel):
    """An error, as RFC 9457 has it."""

    model_config = example(
        type="urn:kairos:error:not-found",
        title="It does not exist here",
        status=404,
        detail="problem: is not known (got 'churm'); choose one of: churn, propensity",
        field="problem",
        value="'churm'",
        remedy="choose one of: churn, propensity",
    )

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None
    value: str | None = None
    remedy: str | None = None
    errors: list[dict[str, Any]] | None = None
