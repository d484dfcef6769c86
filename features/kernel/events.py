"""The event: the one thing Kairos accepts from the world, append-only and idempotent by `event_id`.

Profile, consent and lifecycle changes are events too, so that a feature sees them as they were then.
`message_id` links an open or click to its send; `decision_id` links a send or an outcome to its decision.
"""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from features.kernel.errors import InvalidEvent

__all__ = ["CLIENT_FIELDS", "EVENT_TYPES", "Event", "body_hash"]

EVENT_TYPES: dict[str, str] = {
    "profile": "attributes of the person became known or changed; they stand in properties",
    "lifecycle": "the stage changed; properties.stage is lead, customer or lost",
    "consent": "consent for a channel changed; properties.granted is true or false",
    "send": "a message was sent; where chance chose them, properties.propensity is the probability of its hour, "
    "properties.channel_propensity that of its channel",
    "open": "a message was opened; properties.machine marks a privacy proxy where the sender knows",
    "click": "a link in a message was clicked",
    "unsubscribe": "the person left a channel",
    "page_view": "a page was seen; properties.page names it, properties.session the visit",
    "form": "a form was submitted",
    "cart": "something was put into a cart",
    "assignment": "an arm of a test was drawn; properties.test and properties.arm name them (control is no treatment), "
    "properties.propensity is the probability of that arm",
    "order": "an order was placed; amount is its value, properties.category or properties.categories say of what",
    "refund": "an order or a part of it was returned; amount is its value, positive",
    "custom": "anything else; properties.name says what",
}
"""The closed list of types, each with its meaning."""

MAX_ID = 200
MAX_PROPERTIES = 64 * 1024
MAX_AMOUNT = 1e12
"""Far beyond what anybody pays, and sums in whole cents stay exact: one slip must not spoil everyone's features."""
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(2262, 1, 1, tzinfo=UTC)


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that happened to one person. Times are UTC; `amount` is in major units of `currency`.

    Raises:
        InvalidEvent: when built with a value that breaks the contract.

    >>> Event(event_id="e1", customer_id="c1", type="orderr", occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
    ...       received_at=datetime(2026, 1, 1, tzinfo=UTC))
    Traceback (most recent call last):
    ...
    features.kernel.errors.InvalidEvent: type: is not a known event type (got 'orderr'); use one of profile, ...
    """

    event_id: str
    customer_id: str
    type: str
    occurred_at: datetime
    received_at: datetime
    account_id: str | None = None
    channel: str | None = None
    campaign: str | None = None
    message_id: str | None = None
    decision_id: str | None = None
    amount: float | None = None
    currency: str | None = None
    properties: dict[str, Any] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_ids(self)
        if self.type not in EVENT_TYPES:
            raise InvalidEvent(
                "is not a known event type",
                field="type",
                value=self.type,
                remedy=f"use one of {', '.join(EVENT_TYPES)}",
            )
        if self.type == "custom" and not self.properties.get("name"):
            raise InvalidEvent("a custom event needs a name", field="properties.name", remedy="say what happened")
        for name in ("occurred_at", "received_at"):
            _check_instant(name, getattr(self, name))
        _check_amount(self)
        if self.properties:
            _check_properties(self.properties)

    def is_future(self, bound: timedelta) -> bool:
        """Whether it is dated further ahead of its receipt than clocks differ."""
        return self.occurred_at > self.received_at + bound


def _check_ids(event: Event) -> None:
    for name in ("event_id", "customer_id"):
        value = getattr(event, name)
        if not value or len(value) > MAX_ID or "\x00" in value:
            raise InvalidEvent(
                f"must have 1 to {MAX_ID} characters, none of them NUL",
                field=name,
                value=value,
                remedy="send the id by which you know it, or a hash of it",
            )


def _check_instant(name: str, instant: datetime) -> None:
    if instant.tzinfo is None:
        raise InvalidEvent("names no time zone", field=name, value=instant.isoformat(), remedy="add Z or an offset")
    if not _EARLIEST <= instant < _LATEST:
        raise InvalidEvent(
            "lies outside 1970 to 2261", field=name, value=instant.isoformat(), remedy="look for a slip in the year"
        )


def _check_amount(event: Event) -> None:
    amount = event.amount
    if event.type in ("order", "refund") and (amount is None or amount < 0):
        raise InvalidEvent(
            f"of type '{event.type}' needs an amount of zero or more",
            field="amount",
            value=amount,
            remedy="send returned goods as type 'refund' with a positive amount",
        )
    if amount is not None and not abs(amount) <= MAX_AMOUNT:  # NaN, too, is not
        raise InvalidEvent(
            f"must be a finite number of at most {MAX_AMOUNT:,.0f}",
            field="amount",
            value=amount,
            remedy="send it in whole units of the currency, not in cents; leave it out if it is not known",
        )


def _check_properties(properties: dict[str, Any]) -> None:
    written = msgspec.json.encode(properties)
    if len(written) > MAX_PROPERTIES:
        raise InvalidEvent(
            "are too large",
            field="properties",
            value=f"{len(written)} bytes",
            remedy=f"keep them under {MAX_PROPERTIES} bytes",
        )
    if b"null" in written:  # which is how a number that is none would be written, without a word
        _check_numbers(properties, "properties")


def _check_numbers(value: object, field: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidEvent("must be a finite number", field=field, value=value, remedy="leave it out")
    if isinstance(value, dict):
        for name, each in value.items():
            _check_numbers(each, f"{field}.{name}")
    elif isinstance(value, list):
        for i, each in enumerate(value):
            _check_numbers(each, f"{field}[{i}]")


CLIENT_FIELDS = tuple(name for name in Event.__struct_fields__ if name != "received_at")
"""What the sender says; two events with one id must agree on these."""

_ENCODER = msgspec.json.Encoder(order="sorted")


def body_hash(fields: dict[str, Any] | tuple[Any, ...]) -> bytes:
    """16 bytes by which two bodies under one id are compared; the order of keys does not matter."""
    return hashlib.blake2b(_ENCODER.encode(fields), digest_size=16).digest()
