"""The ledger: append-only tables in one SQL database, the only thing Kairos cannot rebuild.

What an `append_*` call has returned is on disk: SQLite runs in WAL mode with `synchronous=FULL`. Appending the same
id with the same body again is a `duplicate`, with another body a `conflict`; neither changes anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Self

import msgspec
from sqlalchemy import Connection, Table, func, insert, inspect, select
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from features.kernel import tables
from features.kernel.clock import from_micros, now, to_micros
from features.kernel.database import Row, append_new, chunks, compared, open_engine, stored
from features.kernel.errors import Conflict, Unavailable
from features.kernel.events import Event, body_hash
from features.kernel.records import Decision, Outcome, PolicyState, Receipt, Score
from features.kernel.settings import Settings

__all__ = ["EVENT_COLUMNS", "Ledger"]

EVENT_COLUMNS = tuple(Event.__struct_fields__)
"""Columns of `Ledger.events`, in order; the two instants are microseconds, `properties` is JSON text or None."""

_JSON = msgspec.json.Encoder(order="sorted")


class Ledger:
    """One database of the ledger's tables; safe to share between threads.

    Args:
        url: SQLAlchemy URL (`sqlite:///…` or `postgresql+psycopg://…`). Missing tables are created.
        skew: how far ahead of its receipt an event may be dated before it goes to quarantine.
    """

    def __init__(self, url: str, *, skew: timedelta = timedelta(minutes=5)) -> None:
        self.engine = open_engine(url)
        self._writing = self.engine.execution_options(kairos_writes=True)
        self.skew = skew
        try:
            if tables.metadata.tables.keys() - set(inspect(self.engine).get_table_names()):
                with self._writing.begin() as connection:  # processes that begin at once take turns
                    tables.metadata.create_all(connection)
        except SQLAlchemyError as error:
            raise Unavailable(f"the ledger cannot be opened: {error}", field="KAIROS_LEDGER_URL") from error

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The ledger that the settings choose; close it, or use it in a `with`."""
        return cls(settings.ledger, skew=timedelta(seconds=settings.skew_seconds))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back every connection."""
        self.engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One durable unit: pass its connection to several `append_*` calls to commit them together."""
        try:
            with self._writing.begin() as connection:
                yield connection
        except (DataError, IntegrityError):
            raise  # the rows are at fault, not the ledger
        except SQLAlchemyError as error:
            raise Unavailable(f"the ledger did not take the rows: {error}") from error

    # -- what the world says ---------------------------------------------------------------------------------------

    def append_events(self, batch: Sequence[Event], connection: Connection | None = None) -> list[Receipt]:
        """Append events; one receipt an event, in order. Future-dated ones go to quarantine with a reason."""
        late = {i for i, each in enumerate(batch) if each.is_future(self.skew)}
        reason = f"dated more than {self.skew} ahead of its receipt"
        with self._within(connection) as own:
            good = append_new(own, tables.events, [_event_row(each) for i, each in enumerate(batch) if i not in late])
            if not late:
                return good
            held = _hold(own, [(*_event_row(batch[i]), reason) for i in sorted(late)])
        accepted, refused = iter(good), iter(held)
        return [next(refused if i in late else accepted) for i in range(len(batch))]

    def append_outcomes(self, batch: Sequence[Outcome], connection: Connection | None = None) -> list[Receipt]:
        """Append outcomes, idempotent by `outcome_id`."""
        with self._within(connection) as own:
            return append_new(own, tables.outcomes, [_outcome_row(each) for each in batch])

    # -- what Kairos said ------------------------------------------------------------------------------------------

    def append_decisions(self, batch: Sequence[Decision], connection: Connection | None = None) -> list[Receipt]:
        """Append decisions, idempotent by `request_id`: a repeat is a `duplicate`; read the first with `decision`."""
        with self._within(connection) as own:
            return append_new(own, tables.decisions, [_decision_row(each) for each in batch])

    def append_scores(self, batch: Sequence[Score], connection: Connection | None = None) -> None:
        """Append the log of served scores."""
        rows = [
            msgspec.structs.asdict(each)
            | {"features": _JSON.encode(each.features).decode(), "scored_at": to_micros(each.scored_at)}
            for each in batch
        ]
        if rows:
            with self._within(connection) as each:
                each.execute(insert(tables.scores), rows)

    def publish_state(self, state: PolicyState) -> None:
        """Append a learner's state.

        Raises:
            Conflict: another learner published this version first.
        """
        row = {
            "decision_point": state.decision_point,
            "policy": state.policy,
            "version": state.version,
            "row": _JSON.encode(state).decode(),
        }
        try:
            with self.transaction() as connection:
                connection.execute(insert(tables.states), [row])
        except IntegrityError:
            raise Conflict(
                "another learner published this version first", field=state.policy, value=state.version
            ) from None

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
        for ids in chunks(sorted(set(customers))):
            query = select(*columns).where(tables.events.c.customer_id.in_(ids)).order_by(tables.events.c.seq)
            yield from self._stream(query)

    def decisions(
        self, decision_point: str, *, after: int = 0, upto: int | None = None, limit: int | None = None
    ) -> list[tuple[int, Decision]]:
        """Decisions of one point with their sequence in (after, upto], in ledger order, at most `limit`."""
        table = tables.decisions
        query = select(table.c.seq, table.c.row).where(table.c.decision_point == decision_point, table.c.seq > after)
        query = query if upto is None else query.where(table.c.seq <= upto)
        with self._reading() as connection:
            rows = connection.execute(query.order_by(table.c.seq).limit(limit)).all()
        return [(seq, msgspec.json.decode(row, type=Decision)) for seq, row in rows]

    def recent_decisions(
        self, decision_point: str, customer_id: str, *, since: datetime, connection: Connection | None = None
    ) -> list[Decision]:
        """A customer's decisions at one point from an instant on, in ledger order: what caps are counted over."""
        table = tables.decisions
        query = select(table.c.row).where(
            table.c.customer_id == customer_id,
            table.c.decision_point == decision_point,
            table.c.decided_at >= to_micros(since),
        )
        with self._reading(connection) as own:
            rows = own.execute(query.order_by(table.c.seq)).scalars().all()
        return [msgspec.json.decode(row, type=Decision) for row in rows]

    def decision(
        self,
        *,
        request_id: str | None = None,
        decision_id: str | None = None,
        connection: Connection | None = None,
    ) -> Decision | None:
        """The decision of one request or id, or None."""
        table = tables.decisions
        by = table.c.request_id == request_id if request_id is not None else table.c.decision_id == decision_id
        with self._reading(connection) as own:
            row = own.execute(select(table.c.row).where(by)).scalar()
        return None if row is None else msgspec.json.decode(row, type=Decision)

    def outcomes(self, decision_ids: Iterable[str], *, upto: int | None = None) -> dict[str, list[Outcome]]:
        """Outcomes by decision id, in ledger order, those with sequence ≤ `upto` only."""
        table, found = tables.outcomes, dict[str, list[Outcome]]()
        columns = [table.c[name] for name in Outcome.__struct_fields__]
        with self._reading() as connection:
            for ids in chunks(list(decision_ids)):
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
        with self._reading() as connection:
            row = connection.execute(query.order_by(table.c.version.desc()).limit(1)).scalar()
        return None if row is None else msgspec.json.decode(row, type=PolicyState)

    def states(self, decision_point: str, policy: str) -> list[PolicyState]:
        """Every published state of a learner, oldest first."""
        table = tables.states
        query = select(table.c.row).where(table.c.decision_point == decision_point, table.c.policy == policy)
        with self._reading() as connection:
            rows = connection.execute(query.order_by(table.c.version)).scalars().all()
        return [msgspec.json.decode(row, type=PolicyState) for row in rows]

    def scores(self, problem: str, *, since: datetime | None = None) -> list[Score]:
        """The logged scores of a problem since an instant, in ledger order."""
        table = tables.scores
        columns = [table.c[name].label(name) for name in Score.__struct_fields__]
        query = select(*columns).where(table.c.problem == problem)
        query = query if since is None else query.where(table.c.scored_at >= to_micros(since))
        with self._reading() as connection:
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
        with self._reading() as connection:
            return connection.execute(select(func.max(table.c.seq))).scalar() or 0

    def count(self, table: Table) -> int:
        """Rows in a table."""
        with self._reading() as connection:
            return connection.execute(select(func.count()).select_from(table)).scalar() or 0

    # -- inside ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _reading(self, connection: Connection | None = None) -> Iterator[Connection]:
        if connection is not None:
            yield connection
            return
        try:
            with self.engine.connect() as own:
                yield own
        except SQLAlchemyError as error:
            raise Unavailable(f"the ledger cannot be read: {error}") from error

    @contextmanager
    def _within(self, connection: Connection | None) -> Iterator[Connection]:
        if connection is not None:
            yield connection
        else:
            with self.transaction() as own:
                yield own

    def _stream(self, query: Any) -> Iterator[list[tuple[Any, ...]]]:
        with self._reading() as connection:
            for part in connection.execute(query.execution_options(stream_results=True)).partitions(50_000):
                yield [tuple(row) for row in part]


def _hold(connection: Connection, rows: list[Row]) -> list[Receipt]:
    """Put events into quarantine, but for those whose id is an accepted event's: they repeat it or contradict it."""
    known = stored(connection, tables.events, [row[0] for row in rows])
    kept = iter(append_new(connection, tables.quarantine, [row for row in rows if row[0] not in known]))
    return [compared(row, known[row[0]][0]) if row[0] in known else _quarantined(next(kept), row[-1]) for row in rows]


def _quarantined(receipt: Receipt, reason: str) -> Receipt:
    return receipt if receipt.status == "conflict" else Receipt(receipt.id, "quarantined", reason)


def _event_row(each: Event) -> Row:
    occurred = to_micros(each.occurred_at)
    links = (each.account_id, each.channel, each.campaign, each.message_id, each.decision_id)
    properties = _JSON.encode(each.properties).decode() if each.properties else None
    rest = (*links, each.amount, each.currency, properties)
    said = body_hash((each.event_id, each.customer_id, each.type, occurred, *rest))
    return (each.event_id, said, each.customer_id, each.type, occurred, to_micros(each.received_at), *rest)


def _outcome_row(each: Outcome) -> Row:
    said = (each.decision_id, each.kind, each.value, to_micros(each.occurred_at))
    return (each.outcome_id, body_hash(said), *said)


def _decision_row(each: Decision) -> Row:
    asked = body_hash((each.decision_point, each.customer_id))
    ids = (each.decision_id, each.customer_id, each.decision_point)
    return (each.request_id, asked, *ids, _JSON.encode(each).decode(), to_micros(each.decided_at))
