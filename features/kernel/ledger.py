"""The ledger: append-only tables in one SQL database, the only thing Kairos cannot rebuild.

What an `append_*` call has returned is on disk: SQLite runs in WAL mode with `synchronous=FULL`. Appending the same
id with the same body again is a `duplicate`, with another body a `conflict`; neither changes anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Table, create_engine, event, func, insert, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from features.kernel import tables
from features.kernel.clock import from_micros, now, to_micros
from features.kernel.errors import Unavailable
from features.kernel.events import CLIENT_FIELDS, Event, body_hash
from features.kernel.records import Decision, Outcome, PolicyState, Receipt, Score

__all__ = ["EVENT_COLUMNS", "Ledger"]

EVENT_COLUMNS = tuple(Event.__struct_fields__)
"""Columns of `Ledger.events`, in order; the two instants are microseconds, `properties` is JSON text or None."""

_CHUNK = 5_000
_JSON = msgspec.json.Encoder(order="sorted")


class Ledger:
    """One database of the ledger's tables; safe to share between threads.

    Args:
        url: SQLAlchemy URL (`sqlite:///…` or `postgresql+psycopg://…`). Missing tables are created.
        skew: how far ahead of its receipt an event may be dated before it goes to quarantine.
    """

    def __init__(self, url: str, *, skew: timedelta = timedelta(minutes=5)) -> None:
        self.engine = _engine(url)
        self._writing = self.engine.execution_options(kairos_writes=True)
        self.skew = skew
        try:
            tables.metadata.create_all(self.engine)
        except SQLAlchemyError as error:
            raise Unavailable(f"the ledger cannot be opened: {error}", field="KAIROS_LEDGER_URL") from error

    def close(self) -> None:
        """Give back every connection."""
        self.engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One durable unit: pass its connection to several `append_*` calls to commit them together."""
        try:
            with self._writing.begin() as connection:
                yield connection
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            raise Unavailable(f"the ledger did not take the rows: {error}") from error

    # -- what the world says ---------------------------------------------------------------------------------------

    def append_events(self, batch: Sequence[Event], connection: Connection | None = None) -> list[Receipt]:
        """Append events; one receipt an event, in order. Future-dated ones go to quarantine with a reason."""
        receipts: list[Receipt | None] = [None] * len(batch)
        good = [i for i, each in enumerate(batch) if not each.is_future(self.skew)]
        late = [i for i, each in enumerate(batch) if each.is_future(self.skew)]
        rows = [_event_row(batch[i]) for i in good]
        for i, receipt in zip(good, self._append(tables.events, "event_id", rows, connection), strict=True):
            receipts[i] = receipt
        reason = f"dated more than {self.skew} ahead of its receipt"
        rows = [_event_row(batch[i]) | {"reason": reason} for i in late]
        for i, receipt in zip(late, self._append(tables.quarantine, "event_id", rows, connection), strict=True):
            quarantined = receipt.status in ("accepted", "duplicate")
            receipts[i] = Receipt(receipt.id, "quarantined", reason) if quarantined else receipt
        return [receipt for receipt in receipts if receipt is not None]

    def append_outcomes(self, batch: Sequence[Outcome], connection: Connection | None = None) -> list[Receipt]:
        """Append outcomes, idempotent by `outcome_id`."""
        return self._append(tables.outcomes, "outcome_id", [_hashed(_timed(each)) for each in batch], connection)

    # -- what Kairos said ------------------------------------------------------------------------------------------

    def append_decisions(self, batch: Sequence[Decision], connection: Connection | None = None) -> list[Receipt]:
        """Append decisions, idempotent by `request_id`: a repeat is a `duplicate`; read the first with `decision`."""
        rows = [
            {
                "request_id": each.request_id,
                "body_hash": body_hash({"point": each.decision_point, "customer": each.customer_id}),
                "decision_id": each.decision_id,
                "customer_id": each.customer_id,
                "decision_point": each.decision_point,
                "row": _JSON.encode(each).decode(),
                "decided_at": to_micros(each.decided_at),
            }
            for each in batch
        ]
        return self._append(tables.decisions, "request_id", rows, connection)

    def append_scores(self, batch: Sequence[Score], connection: Connection | None = None) -> None:
        """Append the log of served scores."""
        rows = [_timed(each) | {"features": _JSON.encode(each.features).decode()} for each in batch]
        if rows:
            with self._within(connection) as each:
                each.execute(insert(tables.scores), rows)

    def publish_state(self, state: PolicyState) -> None:
        """Append a learner's state.

        Raises:
            IntegrityError: another learner published this version first.
        """
        row = {
            "decision_point": state.decision_point,
            "policy": state.policy,
            "version": state.version,
            "row": _JSON.encode(state).decode(),
        }
        with self.transaction() as connection:
            connection.execute(insert(tables.states), [row])

    def record(self, who: str, what: str, detail: dict[str, Any]) -> None:
        """Append one line to the audit trail."""
        row = {"at": to_micros(now()), "who": who, "what": what, "detail": _JSON.encode(detail).decode()}
        with self.transaction() as connection:
            connection.execute(insert(tables.audit), [row])

    # -- reading ---------------------------------------------------------------------------------------------------

    def events(self, customers: Iterable[str] | None = None) -> Iterator[list[tuple[Any, ...]]]:
        """Events in ledger order, in lists of rows with columns `EVENT_COLUMNS`; all, or those of some customers."""
        columns = [tables.events.c[name] for name in EVENT_COLUMNS]
        if customers is None:
            yield from self._stream(select(*columns).order_by(tables.events.c.seq))
            return
        for ids in _chunks(sorted(set(customers))):
            query = select(*columns).where(tables.events.c.customer_id.in_(ids)).order_by(tables.events.c.seq)
            yield from self._stream(query)

    def decisions(self, decision_point: str, *, after: int = 0, upto: int | None = None) -> list[tuple[int, Decision]]:
        """Decisions of one point with their sequence in (after, upto], in ledger order."""
        table = tables.decisions
        query = select(table.c.seq, table.c.row).where(table.c.decision_point == decision_point, table.c.seq > after)
        query = query if upto is None else query.where(table.c.seq <= upto)
        with self.engine.connect() as connection:
            rows = connection.execute(query.order_by(table.c.seq)).all()
        return [(seq, msgspec.json.decode(row, type=Decision)) for seq, row in rows]

    def decision(self, *, request_id: str | None = None, decision_id: str | None = None) -> Decision | None:
        """The decision of one request or id, or None."""
        table = tables.decisions
        by = table.c.request_id == request_id if request_id is not None else table.c.decision_id == decision_id
        with self.engine.connect() as connection:
            row = connection.execute(select(table.c.row).where(by)).scalar()
        return None if row is None else msgspec.json.decode(row, type=Decision)

    def outcomes(self, decision_ids: Iterable[str], *, upto: int | None = None) -> dict[str, list[Outcome]]:
        """Outcomes by decision id, in ledger order, those with sequence ≤ `upto` only."""
        table, found = tables.outcomes, dict[str, list[Outcome]]()
        columns = [table.c[name] for name in Outcome.__struct_fields__]
        with self.engine.connect() as connection:
            for ids in _chunks(list(decision_ids)):
                query = select(*columns).where(table.c.decision_id.in_(ids))
                query = query if upto is None else query.where(table.c.seq <= upto)
                for row in connection.execute(query.order_by(table.c.seq)):
                    outcome = Outcome(**{**row._mapping, "occurred_at": from_micros(row.occurred_at)})
                    found.setdefault(outcome.decision_id, []).append(outcome)
        return found

    def state(self, decision_point: str, policy: str, version: int | None = None) -> PolicyState | None:
        """The newest published state of a learner, or the given version; None before the first."""
        table = tables.states
        query = select(table.c.row).where(table.c.decision_point == decision_point, table.c.policy == policy)
        query = query if version is None else query.where(table.c.version == version)
        with self.engine.connect() as connection:
            row = connection.execute(query.order_by(table.c.version.desc()).limit(1)).scalar()
        return None if row is None else msgspec.json.decode(row, type=PolicyState)

    def scores(self, problem: str, *, since: datetime | None = None) -> list[Score]:
        """The logged scores of a problem since an instant, in ledger order."""
        table = tables.scores
        query = select(*(table.c[name] for name in Score.__struct_fields__)).where(table.c.problem == problem)
        query = query if since is None else query.where(table.c.scored_at >= to_micros(since))
        with self.engine.connect() as connection:
            rows = connection.execute(query.order_by(table.c.seq)).all()
        return [
            Score(
                **{
                    **row._mapping,
                    "features": msgspec.json.decode(row.features),
                    "scored_at": from_micros(row.scored_at),
                }
            )
            for row in rows
        ]

    def mark(self, table: Table) -> int:
        """The greatest sequence in a table, 0 when empty."""
        with self.engine.connect() as connection:
            return connection.execute(select(func.max(table.c.seq))).scalar() or 0

    def count(self, table: Table) -> int:
        """Rows in a table."""
        with self.engine.connect() as connection:
            return connection.execute(select(func.count()).select_from(table)).scalar() or 0

    # -- inside ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _within(self, connection: Connection | None) -> Iterator[Connection]:
        if connection is not None:
            yield connection
        else:
            with self.transaction() as own:
                yield own

    def _stream(self, query: Any) -> Iterator[list[tuple[Any, ...]]]:
        with self.engine.connect().execution_options(stream_results=True) as connection:
            for part in connection.execute(query).partitions(50_000):
                yield [tuple(row) for row in part]

    def _append(
        self, table: Table, key: str, rows: list[dict[str, Any]], connection: Connection | None
    ) -> list[Receipt]:
        if not rows:
            return []
        if connection is not None:
            return _insert_new(connection, table, key, rows)
        try:
            with self.transaction() as own:
                return _insert_new(own, table, key, rows)
        except IntegrityError:  # another process appended one of these ids since we looked: look again
            with self.transaction() as own:
                return _insert_new(own, table, key, rows)


def _insert_new(connection: Connection, table: Table, key: str, rows: list[dict[str, Any]]) -> list[Receipt]:
    seen: dict[str, bytes] = {}
    for ids in _chunks([row[key] for row in rows]):
        query = select(table.c[key], table.c.body_hash).where(table.c[key].in_(ids))
        seen.update({found_key: bytes(found_hash) for found_key, found_hash in connection.execute(query)})
    receipts, fresh = [], []
    for row in rows:
        known = seen.get(row[key])
        if known is None:
            seen[row[key]] = row["body_hash"]
            fresh.append(row)
        status = "accepted" if known is None else "duplicate" if known == row["body_hash"] else "conflict"
        reason = "this id was used before with another body" if status == "conflict" else None
        receipts.append(Receipt(row[key], status, reason))
    if fresh:
        connection.execute(insert(table), fresh)
    return receipts


def _timed(record: Outcome | Score) -> dict[str, Any]:
    row = msgspec.structs.asdict(record)
    return {name: to_micros(value) if isinstance(value, datetime) else value for name, value in row.items()}


def _hashed(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"body_hash": body_hash(row)}


def _event_row(each: Event) -> dict[str, Any]:
    row = msgspec.structs.asdict(each)
    row["occurred_at"], row["received_at"] = to_micros(each.occurred_at), to_micros(each.received_at)
    row["properties"] = _JSON.encode(each.properties).decode() if each.properties else None
    row["body_hash"] = body_hash({name: row[name] for name in CLIENT_FIELDS})
    return row


def _chunks(ids: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), _CHUNK):
        yield ids[start : start + _CHUNK]


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url)
    Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def _durable(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # SQLAlchemy begins; the driver must not
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(
        connection: Connection,
    ) -> None:  # a writer that starts as a reader can deadlock: take the lock first
        writes = connection.get_execution_options().get("kairos_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
