"""Quarantine: what the world sent and the ledger set aside, to be released or discarded by a person.

Two kinds of rows. An *event dated ahead* of its receipt by more than clocks differ has its whole body here; released,
it becomes an event like any other, received when it was received, and known when its time comes. A *refused* entry of
a stream could not be read as an event: its raw text is kept, as far as `RAW_KEPT`, to be looked at and discarded.

What is released or discarded leaves the table; the audit trail says who did it, and doing it again changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import SQLAlchemyError

from features.kernel import tables
from features.kernel.clock import from_micros, now, to_micros
from features.kernel.database import append_new, chunks
from features.kernel.errors import Unavailable
from features.kernel.events import MAX_ID, body_hash
from features.kernel.ledger import Ledger
from features.kernel.records import Receipt

__all__ = ["RAW_KEPT", "Kept", "Refused", "discard", "hold", "listed", "release"]

RAW_KEPT = 4_096
"""Characters of a refused entry's text that are kept."""
_REFUSED = "(refused)"
_BODY = [column.name for column in tables.events.columns if column.name != "seq"]
_JSON = msgspec.json.Encoder(order="sorted")


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the quarantine."""

    id: str
    kind: Literal["dated ahead", "refused"]
    customer_id: str
    type: str | None
    occurred_at: datetime | None
    received_at: datetime
    reason: str
    raw: str | None
    """Of a refused entry, the beginning of its text."""


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that cannot be an event. `customer_id` where it could be read, so that a person can be forgotten."""

    id: str
    raw: str
    reason: str
    customer_id: str = ""


def hold(connection: Connection, refused: Sequence[Refused]) -> list[Receipt]:
    """Keep refused entries, within the caller's writing transaction; one that is kept already is a `duplicate`."""
    received = to_micros(now())
    rows = []
    for each in refused:
        raw = each.raw.replace("\x00", "\ufffd")[:RAW_KEPT]
        said = body_hash((each.raw,))
        nothing = (None,) * 7
        customer = each.customer_id[:MAX_ID].replace("\x00", "\ufffd")
        rows.append((each.id, said, customer, _REFUSED, 0, received, *nothing, raw, each.reason))
    return append_new(connection, tables.quarantine, rows)


def listed(ledger: Ledger, limit: int | None = None) -> list[Kept]:
    """What is in quarantine, oldest first.

    Raises:
        Unavailable: the ledger cannot be read.
    """
    table = tables.quarantine
    try:
        with ledger.engine.connect() as connection:
            return [_kept(row) for row in connection.execute(select(table).order_by(table.c.seq).limit(limit))]
    except SQLAlchemyError as error:
        raise Unavailable(f"the ledger cannot be read: {error}") from error


def release(ledger: Ledger, ids: Sequence[str], who: str) -> list[Receipt]:
    """Make events of what was set aside, with their own bodies and times of receipt; one receipt an id, in order.

    `accepted`; `duplicate`: it is an event already; `conflict`: another event has this id now, or it was discarded
    before; `invalid`: a refused entry cannot become an event; `not_found`.
    """
    return _settle(ledger, ids, who, "released")


def discard(ledger: Ledger, ids: Sequence[str], who: str) -> list[Receipt]:
    """Drop what was set aside; one receipt an id, in order.

    `accepted`; `duplicate`: discarded before; `conflict`: released before; `not_found`.
    """
    return _settle(ledger, ids, who, "discarded")


def _settle(ledger: Ledger, ids: Sequence[str], who: str, what: Literal["released", "discarded"]) -> list[Receipt]:
    table = tables.quarantine
    with ledger.transaction() as connection:
        held = {
            row.event_id: row
            for some in chunks(list(ids))
            for row in connection.execute(select(table).where(table.c.event_id.in_(some)))
        }
        receipts = []
        for each in dict.fromkeys(ids):
            if each not in held:
                receipts.append(_settled_before(connection, each, what))
                continue
            done = _released(connection, held[each]) if what == "released" else Receipt(each, "accepted")
            if done.status in ("accepted", "duplicate"):
                connection.execute(delete(table).where(table.c.event_id == each))
                line = {"at": to_micros(now()), "who": who, "what": _line(what), "detail": _detail(each)}
                connection.execute(insert(tables.audit), [line])
            receipts.append(done)
    by_id = {each.id: each for each in receipts}
    return [by_id[each] for each in ids]


def _released(connection: Connection, row: Any) -> Receipt:
    if row.type == _REFUSED:
        return Receipt(row.event_id, "invalid", "it could not be read as an event; discard it, and send a right one")
    [receipt] = append_new(connection, tables.events, [tuple(row._mapping[name] for name in _BODY)])
    if receipt.status == "conflict":
        return Receipt(receipt.id, "conflict", "another event has this id now; discard this one")
    return receipt


def _settled_before(connection: Connection, event_id: str, what: str) -> Receipt:
    audit = tables.audit
    lines = [_line(each) for each in ("released", "discarded")]
    query = select(audit.c.what).where(audit.c.what.in_(lines), audit.c.detail == _detail(event_id))
    last = connection.execute(query.order_by(audit.c.seq.desc()).limit(1)).scalar()
    if last is None:
        return Receipt(event_id, "not_found", "nothing in quarantine has this id")
    return Receipt(event_id, "duplicate" if last == _line(what) else "conflict", f"{last} before")


def _line(what: str) -> str:
    return f"an event in quarantine was {what}"


def _detail(event_id: str) -> str:
    # A hash, which whoever has the id can check: the sender chose the id, and a person may ask to be forgotten.
    return _JSON.encode({"event": body_hash((event_id,)).hex()}).decode()


def _kept(row: Any) -> Kept:
    refused = row.type == _REFUSED
    return Kept(
        id=row.event_id,
        kind="refused" if refused else "dated ahead",
        customer_id=row.customer_id,
        type=None if refused else row.type,
        occurred_at=None if refused else from_micros(row.occurred_at),
        received_at=from_micros(row.received_at),
        reason=row.reason,
        raw=row.properties if refused else None,
    )
