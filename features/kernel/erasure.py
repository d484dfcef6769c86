"""Erasure in the ledger: a person's rows go, what was decided stays without them, and no file keeps the bytes.

Events, scores and what is in quarantine are deleted: of what could not be read as an event, all that names them. A
decision keeps what learner and verdict need: its id, group, policy, eligible actions, probabilities, action and time.
It loses the customer id, the request id (the client chose it), the context, the reasons of exclusion, and the draw (a
sticky policy's is a hash of the customer). Its outcomes stay, but for their ids, which the client chose, too. Published
states hold no person and stay as they are.

SQLite writes over what it deletes, and `wipe` rewrites the file and empties its journal. In PostgreSQL the rows are
deleted, and their bytes go when the server vacuums.
"""

from __future__ import annotations

import re
import sqlite3
import uuid
from collections.abc import Iterable

import msgspec
from sqlalchemy import Connection, Select, Table, delete, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from features.kernel import tables
from features.kernel.clock import now, to_micros
from features.kernel.database import chunks
from features.kernel.errors import Unavailable
from features.kernel.ledger import Ledger
from features.kernel.records import Decision

__all__ = ["Traces", "erase", "traces", "unfinished", "unknown", "wipe"]

_CURSOR = "erasures wiped"
_GONE = (tables.events, tables.quarantine, tables.scores)
_PATIENCE = 30.0
_JSON = msgspec.json.Encoder(order="sorted")


class Traces(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger holds of a person, in rows."""

    events: int = 0
    quarantine: int = 0
    scores: int = 0
    decisions: int = 0
    outcomes: int = 0
    accounts: tuple[str, ...] = ()
    """Accounts of which no other person is known."""

    def __bool__(self) -> bool:
        return any((self.events, self.quarantine, self.scores, self.decisions))


def traces(ledger: Ledger, customer_id: str) -> Traces:
    """What the ledger holds of a person now.

    Raises:
        Unavailable: the ledger cannot be read.
    """
    try:
        with ledger.engine.connect() as connection:
            return _traces(connection, customer_id)
    except SQLAlchemyError as error:
        raise Unavailable(f"the ledger cannot be read: {error}") from error


def erase(ledger: Ledger, customer_id: str) -> Traces:
    """Take a person out of the ledger, in one transaction, and leave a tombstone; nothing happens to an unknown one.

    The tombstone and the line in the audit trail say when and how many rows, not whose. Call `wipe` afterwards.

    Returns:
        What there was.
    """
    with ledger.transaction() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA secure_delete = ON")
        found = _traces(connection, customer_id)
        if not found:
            return found
        _make_nameless(connection, customer_id)
        for table in _GONE:
            connection.execute(delete(table).where(table.c.customer_id == customer_id))
        for seq in _unread(connection, customer_id):
            connection.execute(delete(tables.quarantine).where(tables.quarantine.c.seq == seq))
        _leave_tombstone(connection, found)
    return found


def unknown(ledger: Ledger, customers: Iterable[str]) -> list[str]:
    """Those of whom the ledger has no event, sorted: whom somebody else remembers, but who was forgotten.

    Raises:
        Unavailable: the ledger cannot be read.
    """
    held, customer = set(customers), tables.events.c.customer_id
    try:
        with ledger.engine.connect() as connection:
            for some in chunks(sorted(held)):
                held.difference_update(
                    connection.execute(select(customer).distinct().where(customer.in_(some))).scalars()
                )
    except SQLAlchemyError as error:
        raise Unavailable(f"the ledger cannot be read: {error}") from error
    return sorted(held)


def unfinished(ledger: Ledger) -> bool:
    """Whether rows were erased whose bytes may still stand in a file: an erasure was interrupted before its `wipe`."""
    with ledger.engine.connect() as connection:
        done = connection.execute(select(tables.cursors.c.seq).where(tables.cursors.c.name == _CURSOR)).scalar()
    return ledger.mark(tables.tombstones) > (done or 0)


def wipe(ledger: Ledger, patience: float = _PATIENCE) -> None:
    """Leave no byte of what was erased in the ledger's files. SQLite needs as much free space as the ledger is large.

    Writers wait meanwhile. On PostgreSQL nothing is to be done here.

    Args:
        patience: seconds to wait for others who read.

    Raises:
        Unavailable: somebody reads for longer, or the disk is full; what was erased is erased, call it again.
    """
    erased = ledger.mark(tables.tombstones)
    if ledger.engine.dialect.name == "sqlite":
        _rewrite(ledger, patience)
    with ledger.transaction() as connection:
        connection.execute(delete(tables.cursors).where(tables.cursors.c.name == _CURSOR))
        connection.execute(insert(tables.cursors), [{"name": _CURSOR, "seq": erased, "at": to_micros(now())}])


def _traces(connection: Connection, customer_id: str) -> Traces:
    counted = {table.name: _count(connection, table, customer_id) for table in (*_GONE, tables.decisions)}
    counted["quarantine"] += len(_unread(connection, customer_id))
    outcomes = select(func.count()).where(tables.outcomes.c.decision_id.in_(_decisions_of(customer_id)))
    return Traces(
        **counted,
        outcomes=connection.execute(outcomes).scalar() or 0,
        accounts=_accounts_of_nobody_else(connection, customer_id),
    )


def _count(connection: Connection, table: Table, customer_id: str) -> int:
    query = select(func.count()).select_from(table).where(table.c.customer_id == customer_id)
    return connection.execute(query).scalar() or 0


def _unread(connection: Connection, customer_id: str) -> list[int]:
    """Entries in quarantine of which not even the customer could be read, but whose text names this one."""
    table = tables.quarantine
    named = table.c.properties.contains(customer_id, autoescape=True)
    query = select(table.c.seq, table.c.properties).where(table.c.customer_id == "", named)
    word = re.compile(rf"(?<![0-9A-Za-z]){re.escape(customer_id)}(?![0-9A-Za-z])")
    return [seq for seq, text in connection.execute(query) if word.search(text)]


def _decisions_of(customer_id: str) -> Select[tuple[str]]:
    return select(tables.decisions.c.decision_id).where(tables.decisions.c.customer_id == customer_id)


def _accounts_of_nobody_else(connection: Connection, customer_id: str) -> tuple[str, ...]:
    account, customer = tables.events.c.account_id, tables.events.c.customer_id
    mine = set(connection.execute(select(account).distinct().where(customer == customer_id)).scalars()) - {None}
    if not mine:
        return ()
    theirs = select(account).distinct().where(account.in_(mine), customer != customer_id)
    return tuple(sorted(mine - set(connection.execute(theirs).scalars())))


def _make_nameless(connection: Connection, customer_id: str) -> None:
    table, outcomes = tables.decisions, tables.outcomes
    theirs = select(outcomes.c.seq).where(outcomes.c.decision_id.in_(_decisions_of(customer_id)))
    for seq in connection.execute(theirs).scalars().all():
        renamed = f"forgotten-{uuid.uuid4().hex}"
        connection.execute(update(outcomes).where(outcomes.c.seq == seq).values(outcome_id=renamed))
    rows = connection.execute(select(table.c.seq, table.c.row).where(table.c.customer_id == customer_id)).all()
    for seq, row in rows:
        left = _nameless(msgspec.json.decode(row, type=Decision))
        values = {"request_id": left.request_id, "body_hash": bytes(16), "row": _JSON.encode(left).decode()}
        connection.execute(update(table).where(table.c.seq == seq).values(**values, customer_id=None))


def _nameless(decision: Decision) -> Decision:
    """The decision without the person. `u` becomes the middle of the action's share, which still draws the action."""
    place = decision.eligible.index(decision.action)
    below = sum(decision.pmf[action] for action in decision.eligible[:place])
    return msgspec.structs.replace(
        decision,
        request_id=decision.decision_id,
        customer_id=None,
        context=None,
        excluded={},
        u=below + decision.pmf[decision.action] / 2,
    )


def _leave_tombstone(connection: Connection, found: Traces) -> None:
    at = to_micros(now())
    stone = {"forgotten_at": at, "events": found.events + found.quarantine, "scores": found.scores}
    connection.execute(insert(tables.tombstones), [stone])
    counts = {name: getattr(found, name) for name in ("events", "quarantine", "scores", "decisions", "outcomes")}
    detail = _JSON.encode(counts).decode()
    line = {"at": at, "who": "kairos forget", "what": "a person was forgotten", "detail": detail}
    connection.execute(insert(tables.audit), [line])


def _rewrite(ledger: Ledger, patience: float) -> None:
    """SQLite's file anew, without free pages and without gaps that old deletes left in others; its journal empty."""
    raw = ledger.engine.raw_connection()
    try:
        driver = raw.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        [before] = driver.execute("PRAGMA busy_timeout").fetchone()
        driver.execute(f"PRAGMA busy_timeout = {int(patience * 1000)}")
        driver.execute("VACUUM")
        [busy, _, _] = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        driver.execute(f"PRAGMA busy_timeout = {before}")
    except sqlite3.OperationalError as error:
        raise _not_wiped(str(error)) from error
    finally:
        raw.close()
    if busy:
        raise _not_wiped("another process still reads it as it was")


def _not_wiped(why: str) -> Unavailable:
    return Unavailable(
        f"the person is erased, but not yet their bytes in its file: {why}",
        field="ledger",
        remedy="see that nobody holds the file and that the disk has room, then run the same command again",
    )
