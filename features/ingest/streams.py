"""A consumer of Redis Streams: entries → validated events → ledger, each event once.

An entry has one field `event`, the JSON of an event as `POST /v1/events` takes it (without `received_at`). Flat
fields are not read: Redis knows no numbers, and guessing types would let a wrong amount in. What cannot be read as an
event, or contradicts one that was accepted, goes to quarantine with its reason and its text, and is then acknowledged
like any other: a bad entry blocks nobody.

An entry is acknowledged to Redis only after the ledger's commit. Who is killed in between leaves it pending; it is
delivered again, to the consumer of the same name when it starts or to any other after `CLAIM_AFTER`, and its `event_id`
makes it count once. While too many events wait for the follower nothing is read: the stream holds them. How long the
stream may grow (MAXLEN) is its producers' business.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, NamedTuple

import msgspec
import redis
import redis.exceptions
from redis.cluster import RedisCluster
from sqlalchemy.exc import DataError, IntegrityError

from features.ingest.intake import Backlog
from features.kernel import quarantine
from features.kernel.clock import now
from features.kernel.errors import InvalidEvent, Unavailable
from features.kernel.events import MAX_ID, Event
from features.kernel.ledger import Ledger
from features.kernel.quarantine import Refused
from features.kernel.records import Receipt

__all__ = ["StreamConsumer", "read_event"]

AT_ONCE = 500
"""Entries of one transaction."""
BLOCK, CLAIM_EVERY, CLAIM_AFTER = 0.5, 5.0, 60.0
"""Seconds: to wait for an entry; between two looks for others' pending entries; until those are taken over."""
FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0
"""Seconds until what is away is tried again; doubled each time."""

_FIELD = b"event"
_AWAY = (Unavailable, redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)
_log = logging.getLogger(__name__)

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID, pattern=r"^[^\x00]*$")]
_Currency = Annotated[str, msgspec.Meta(min_length=1, max_length=8, pattern=r"^[^\x00]*$")]


class _Said(msgspec.Struct, forbid_unknown_fields=True):
    event_id: _Id
    customer_id: _Id
    type: str
    occurred_at: datetime
    account_id: _Id | None = None
    channel: _Id | None = None
    campaign: _Id | None = None
    message_id: _Id | None = None
    decision_id: _Id | None = None
    amount: float | None = None
    currency: _Currency | None = None
    properties: dict[str, Any] = {}


_decode = msgspec.json.Decoder(_Said).decode


def read_event(text: bytes, received_at: datetime) -> Event:
    """The event that a JSON text says.

    Raises:
        InvalidEvent: it is no JSON, or breaks the contract of `features.kernel.events`; the message says where.

    >>> read_event(b'{"event_id": "e1", "customer_id": "c1", "type": "click", "occurred_at": "yesterday"}', now())
    Traceback (most recent call last):
    ...
    features.kernel.errors.InvalidEvent: Invalid RFC3339 encoded datetime - at `$.occurred_at`
    """
    try:
        return Event(received_at=received_at, **msgspec.structs.asdict(_decode(text)))
    except (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError) as error:
        raise InvalidEvent(str(error)) from error


class _Entry(NamedTuple):
    id: str
    fields: Mapping[bytes, bytes] | None
    """None where the entry was trimmed away before it was read."""


@dataclass(slots=True)
class Counts:
    """What a consumer has done with entries so far."""

    accepted: int = 0
    duplicate: int = 0
    quarantined: int = 0
    """Dated too far ahead."""
    refused: int = 0
    """No events, or contradictions; their texts are in quarantine."""
    gone: int = 0
    """Delivered once, and trimmed away before they could be delivered again."""


class StreamConsumer:
    """One consumer of a group of one stream. Runs on the thread that calls `run`.

    Args:
        url: the Redis that holds the stream, `redis://…` or `redis+cluster://…`.
        stream: its key. It and the group are made if they are not there; the group then begins at the first entry.
        consumer: this process's name within the group; a restart should keep it.
        ledger: where events go.
        queue_size: events that may wait for the follower before reading stops.
    """

    def __init__(
        self, url: str, stream: str, group: str, consumer: str, *, ledger: Ledger, queue_size: int = 10_000
    ) -> None:
        self._redis, self._stream, self._group, self._consumer = _client(url), stream, group, consumer
        self._ledger, self._queue_size = ledger, queue_size
        self.backlog = Backlog(ledger)
        self._claimed_at = float("-inf")
        self.claim_after = CLAIM_AFTER
        """Seconds that another consumer's entry must have been pending to be taken over."""
        self.counts = Counts()

    def run(self, stop: threading.Event) -> None:
        """Consume until `stop` is set. What is away is tried again, with growing waits."""
        wait = FIRST_WAIT
        while not stop.is_set():
            try:
                self._begin(stop)
                while not stop.is_set():
                    self.turn(stop)
                    wait = FIRST_WAIT
            except _AWAY as error:
                _log.warning("stream %s waits for a dependency: %s", self._stream, error)
            except redis.exceptions.ResponseError as error:
                if not str(error).startswith("NOGROUP"):
                    raise
                _log.warning("stream %s was removed with its group; it is made anew", self._stream)
            stop.wait(wait)
            wait = min(wait * 2, LONGEST_WAIT)
        self._redis.close()

    def turn(self, stop: threading.Event) -> None:
        """Take over what others left, read what is new, unless too much waits for the follower already.

        Raises:
            Unavailable, redis.exceptions.RedisError: something is away; nothing was acknowledged that is not durable.
        """
        self.backlog.look()
        if self.backlog.alive and self.backlog.events > self._queue_size:
            stop.wait(FIRST_WAIT)
            return
        if time.monotonic() - self._claimed_at > CLAIM_EVERY:
            self._take_over()
            self._claimed_at = time.monotonic()
        self._take(self._read(">", block=int(BLOCK * 1000)))

    def _begin(self, stop: threading.Event) -> None:
        """Make the group, and deal with what this consumer was given before and did not acknowledge."""
        try:
            self._redis.xgroup_create(self._stream, self._group, id="0", mkstream=True)
        except redis.exceptions.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
        while not stop.is_set() and (entries := self._read("0")):
            self._take(entries)

    def _read(self, after: str, block: int | None = None) -> list[_Entry]:
        found = self._redis.xreadgroup(self._group, self._consumer, {self._stream: after}, count=AT_ONCE, block=block)
        return [_entry(each) for _, entries in found or [] for each in entries]

    def _take_over(self) -> None:
        after: bytes | str = "0-0"
        while True:
            after, entries, *_ = self._redis.xautoclaim(
                self._stream, self._group, self._consumer, int(self.claim_after * 1000), after, count=AT_ONCE
            )
            self._take([_entry(each) for each in entries])
            if after in (b"0-0", "0-0"):
                return

    # -- from entries to the ledger --------------------------------------------------------------------------------

    def _take(self, entries: Sequence[_Entry]) -> None:
        if not entries:
            return
        there = [each for each in entries if each.fields]
        self.counts.gone += len(entries) - len(there)
        if there:
            try:
                self._record(there)
            except (DataError, IntegrityError):  # one entry must not keep its neighbours waiting
                for each in there:
                    self._record_alone(each)
        self._redis.xack(self._stream, self._group, *(each.id for each in entries))

    def _record_alone(self, entry: _Entry) -> None:
        try:
            self._record([entry])
        except (DataError, IntegrityError) as error:
            with self._ledger.transaction() as connection:
                quarantine.hold(connection, [self._refused(entry, f"the ledger cannot hold it: {error.orig}")])
            self.counts.refused += 1

    def _record(self, entries: Sequence[_Entry]) -> None:
        """Everything that entries come to, in one durable unit."""
        received, events, refused = now(), list[Event](), list[Refused]()
        senders: list[_Entry] = []
        for each in entries:
            try:
                events.append(read_event((each.fields or {})[_FIELD], received))
                senders.append(each)
            except KeyError:
                refused.append(self._refused(each, "has no field 'event' with the event as JSON"))
            except InvalidEvent as error:
                refused.append(self._refused(each, str(error)))
        with self._ledger.transaction() as connection:
            receipts = self._ledger.append_events(events, connection)
            refused += [
                self._refused(each, f"event_id {receipt.id}: {receipt.reason}")
                for each, receipt in zip(senders, receipts, strict=True)
                if receipt.status == "conflict"
            ]
            quarantine.hold(connection, refused)
        self._count(receipts, len(refused))

    def _count(self, receipts: Sequence[Receipt], refused: int) -> None:
        for each in receipts:
            if each.status != "conflict":
                setattr(self.counts, each.status, getattr(self.counts, each.status) + 1)
        self.counts.refused += refused

    def _refused(self, entry: _Entry, reason: str) -> Refused:
        text, customer = _text(entry), ""
        try:
            said = msgspec.json.decode(text)
            customer = said.get("customer_id", "") if isinstance(said, dict) else ""
        except (msgspec.MsgspecError, RecursionError):
            pass
        name = f"{self._stream[:100]}/{entry.id}"
        return Refused(id=name, raw=text, reason=reason, customer_id=customer if isinstance(customer, str) else "")


def _text(entry: _Entry) -> str:
    """The event's JSON, or where there is none all fields as JSON."""
    fields = entry.fields or {}
    if _FIELD in fields:
        return fields[_FIELD].decode(errors="replace")
    named = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in fields.items()}
    return msgspec.json.encode(named).decode()


def _entry(found: Any) -> _Entry:
    entry_id, fields = found
    return _Entry(entry_id.decode(), fields)


def _client(url: str) -> Any:
    # RESP 2: replies of streams have the same shape on every server.
    options: dict[str, Any] = {"protocol": 2, "socket_connect_timeout": 1.0, "socket_timeout": BLOCK + 5.0}
    if "+cluster:" in url:
        return RedisCluster.from_url(url.replace("+cluster", "", 1), **options)
    return redis.Redis.from_url(url, **options)
