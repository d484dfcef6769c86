"""The ledger's tables. Instants are whole microseconds since 1970 UTC; structures are canonical JSON text.

`seq` is the ledger's own order: a learner folds rows by it, never by a client's clock. One that was given is never
given again, not even after its row was erased: SQLite, left to itself, would reuse the last ones, and a follower would
pass over what comes next.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

__all__ = [
    "audit",
    "cursors",
    "decisions",
    "events",
    "metadata",
    "outcomes",
    "quarantine",
    "scores",
    "states",
    "tombstones",
]

metadata = MetaData()


def _seq() -> Column[int]:
    return Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)


def _keyed(name: str, key: str, *columns: Column[Any] | Index) -> Table:
    """An append-only table, idempotent by `key`: the hash tells a repeat from a conflict."""
    return Table(
        name,
        metadata,
        _seq(),
        Column(key, String(200), nullable=False, unique=True),
        Column("body_hash", LargeBinary(16), nullable=False),
        *columns,
        sqlite_autoincrement=True,
    )


def _event_columns() -> tuple[Column[Any], ...]:
    return (
        Column("customer_id", String(200), nullable=False),
        Column("type", String(32), nullable=False),
        Column("occurred_at", BigInteger, nullable=False),
        Column("received_at", BigInteger, nullable=False),
        *(Column(name, String(200)) for name in ("account_id", "channel", "campaign", "message_id", "decision_id")),
        Column("amount", Float(53)),
        Column("currency", String(8)),
        Column("properties", Text),
    )


events = _keyed("events", "event_id", *_event_columns(), Index("events_by_customer", "customer_id", "occurred_at"))
quarantine = _keyed("quarantine", "event_id", *_event_columns(), Column("reason", Text, nullable=False))

scores = Table(
    "scores",
    metadata,
    _seq(),
    Column("score_id", String(200), nullable=False, unique=True),
    Column("customer_id", String(200), nullable=False, index=True),
    Column("problem", String(100), nullable=False),
    Column("model_version", String(100), nullable=False),
    Column("rung", String(16), nullable=False),
    # Whatever was answered; it was once always a probability, and a ledger keeps its columns' names for good.
    Column("probability", Float(53), nullable=False, key="value"),
    Column("features", Text, nullable=False),
    Column("scored_at", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

decisions = _keyed(
    "decisions",
    "request_id",
    Column("decision_id", String(200), nullable=False, unique=True),
    Column("customer_id", String(200), index=True),
    Column("decision_point", String(100), nullable=False),
    Column("row", Text, nullable=False),
    Column("decided_at", BigInteger, nullable=False),
    Index("decisions_by_point", "decision_point", "seq"),
)

outcomes = _keyed(
    "outcomes",
    "outcome_id",
    Column("decision_id", String(200), nullable=False, index=True),
    Column("kind", String(32), nullable=False),
    Column("value", Float(53), nullable=False),
    Column("occurred_at", BigInteger, nullable=False),
)

states = Table(
    "states",
    metadata,
    _seq(),
    Column("decision_point", String(100), nullable=False),
    Column("policy", String(100), nullable=False),
    Column("version", Integer, nullable=False),
    Column("row", Text, nullable=False),
    UniqueConstraint("decision_point", "policy", "version"),
)

cursors = Table(
    "cursors",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
)
"""How far a follower of the ledger has come, and when it last said so."""

tombstones = Table(
    "tombstones",
    metadata,
    _seq(),
    Column("forgotten_at", BigInteger, nullable=False),
    Column("events", Integer, nullable=False),
    Column("scores", Integer, nullable=False),
    sqlite_autoincrement=True,
)
"""One row an erasure: when, and how many events (quarantined ones too) and scores went. Nothing says whose.

Who keeps customers in memory looks at the greatest `seq`: when it grew, somebody is gone, and memory is to be rebuilt.
"""

audit = Table(
    "audit",
    metadata,
    _seq(),
    Column("at", BigInteger, nullable=False),
    Column("who", String(200), nullable=False),
    Column("what", String(100), nullable=False),
    Column("detail", Text, nullable=False),
)
