"""The follower keeps online features fresh: it tails the ledger's events and computes anew whom they touch.

    ledger ─► tail (all events in memory) ─► customers touched ─► the `compute` of training ─► pushed ─► cursor moved

Nothing is updated in place: a customer's features come from the whole history, at the present instant, so a late event
corrects what it changes. The cursor moves after the push, and pushing twice does no harm (the greater instant wins): a
follower may be killed anywhere, and one that starts goes on at the cursor. Two at once do the same work twice.

Without a cursor it begins at the first event and computes everyone once, which is right whatever was online before.
Whoever has just computed everyone as of an instant (`kairos up`, `kairos features materialize`) moves the cursor to
where the ledger stood then, so that nothing is computed twice.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

import polars as pl
from sqlalchemy.exc import SQLAlchemyError

from features.compute import compute, population
from features.frames import events_frame, spine_of
from features.ingest.tail import Tail
from features.kernel import clock, cursors, tables
from features.kernel.cursors import Cursor
from features.kernel.erasure import unknown
from features.kernel.errors import Unavailable
from features.kernel.ledger import Ledger
from features.population import months_of
from features.windows import known_from

__all__ = ["Follower", "Pusher"]

AT_ONCE = 2_000
"""Customers computed together."""
READ_AT_ONCE, READ_A_TURN = 10_000, 100_000
"""Events read by one query, and before customers are computed again."""
FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0
"""Seconds until a failed turn is tried again; doubled each time."""
POLL, SAVE, HEARTBEAT = 0.05, 0.25, 1.0
"""Seconds between two looks at the ledger when nothing happens, and between two words on the cursor."""
CENSUS = 10.0
"""Seconds between two counts of the population that imported events make necessary."""

_AWAY = (Unavailable, SQLAlchemyError)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_log = logging.getLogger(__name__)


class Pusher(Protocol):
    """What the follower needs of an online store."""

    def push(self, frames: Mapping[str, pl.DataFrame]) -> object:
        """Write view frames online; raises Unavailable."""

    def forget(self, ids: Sequence[str]) -> object:
        """Remove all features of some customers; raises Unavailable."""


class Follower:
    """Follows the events of one ledger, on the thread that calls `run` (or `turn`).

    Args:
        ledger: where events and cursor are.
        store: where features are pushed to.
        late: an event received this long after it occurred is counted and recomputes nobody; it counts in whatever is
            computed later, at the next materialise for everyone.
    """

    def __init__(self, ledger: Ledger, store: Pusher, late: timedelta = timedelta(days=30)) -> None:
        self._ledger, self._store, self._late_by = ledger, store, late
        self.refreshed = 0
        """Customers computed and pushed so far."""
        self.retries = 0
        """Turns put off because the ledger or the online store was away."""
        self.failures = 0
        """Customers given up because their features could not be computed; each was logged."""
        self.late = 0
        """Events that came too late to recompute their customer."""
        self._forgotten: int | None = None
        self._said_at, self._unsaid = -HEARTBEAT, False
        self._counted_to = 0
        self._begin(None, 0)

    def _begin(self, cursor: Cursor | None, mark: int) -> None:
        self._cursor, self._base = cursor, mark if cursor is None else cursor.seq
        self._tail, self._position = Tail(), 0
        self._touched: dict[str, int] = {}  # customer: first event to be dealt with; in that order
        self._due: dict[str, None] = {}  # customers whose event, dated ahead of our clock, has had its time
        self._later: list[tuple[datetime, str]] = []  # heap: when that will be
        self._everyone: dict[str, pl.DataFrame] = {}
        self._month, self._census, self._recount = _LONG_AGO, 0.0, True

    @property
    def waiting(self) -> int:
        """Customers whose features are older than their last event that was read."""
        return len(self._touched) + len(self._due)

    @property
    def cursor(self) -> Cursor | None:
        """What has been dealt with; the ledger is told a little later."""
        return self._cursor

    # -- turns -----------------------------------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        """Follow until `stop` is set. What is away is tried again, with growing waits."""
        wait = FIRST_WAIT
        while not stop.is_set():
            try:
                busy = self.turn()
            except _AWAY as error:
                self.retries += 1
                _log.warning("features wait for a dependency: %s", error)
                stop.wait(wait)
                wait = min(wait * 2, LONGEST_WAIT)
            else:
                wait = FIRST_WAIT
                if not busy:
                    stop.wait(POLL)
        with contextlib.suppress(*_AWAY):
            self._say()

    def turn(self) -> bool:
        """Read what is new, compute some of those it touches, push them; whether more is waiting.

        Raises:
            Unavailable: the ledger or the online store is away; what was read is kept for the next turn.
        """
        # Before the read: a follower that reads first and is then held up must not overwrite, with an older reading and
        # a later instant, what another has pushed meanwhile.
        as_of = clock.now()
        self._mind_the_forgotten()
        more = self._read(as_of)
        if self._position < self._base:  # memory does not hold yet what features online were made of
            return True
        self._move_due(as_of)
        chosen = [*dict.fromkeys(itertools.islice(itertools.chain(self._due, self._touched), AT_ONCE))]
        if chosen:
            self._refresh(chosen, as_of)
            self._mind_the_forgotten(chosen)
        self._save(as_of)
        return more or self.waiting > 0

    def _mind_the_forgotten(self, pushed: Sequence[str] = ()) -> None:
        """Whom the ledger has forgotten must leave memory and the online store, too. It does not say who that was."""
        mark = self._ledger.mark(tables.tombstones)
        if mark == self._forgotten:
            return
        if gone := unknown(self._ledger, {*pushed, *self._tail.all()["customer_id"].unique()}):
            self._store.forget(gone)
        self._begin(cursors.read(self._ledger), self._ledger.mark(tables.events))
        self._forgotten = mark

    # -- reading ---------------------------------------------------------------------------------------------------

    def _read(self, as_of: datetime) -> bool:
        for _ in range(READ_A_TURN // READ_AT_ONCE):
            rows = cursors.events_after(self._ledger, self._position, READ_AT_ONCE)
            if rows:
                self._take_in(events_frame(row[1:] for row in rows), [row[0] for row in rows], as_of)
                self._position = rows[-1][0]
            if len(rows) < READ_AT_ONCE:
                self._base = min(self._base, self._position)  # there is no more
                return False
        return True

    def _take_in(self, events: pl.DataFrame, seqs: list[int], as_of: datetime) -> None:
        self._tail.append(events)
        at = events.select(
            "customer_id",
            seq=pl.Series(seqs, dtype=pl.Int64),
            known=known_from(),
            late=pl.col("received_at") - pl.col("occurred_at") > self._late_by,
        )
        done, seen = self._cursor or (0, _LONG_AGO)
        new, ahead, late = pl.col("seq") > done, pl.col("known") > as_of, pl.col("late")
        for customer, seq in at.filter(new & ~ahead & ~late).select("customer_id", "seq").iter_rows():
            self._touched.setdefault(customer, seq)
        # Of what the cursor has passed: events whose time had not come when it was last moved.
        unseen = at.filter(~new & ~ahead & (pl.col("known") > min(seen, as_of)))
        self._due.update(dict.fromkeys(unseen["customer_id"]))
        for due, customer in at.filter(ahead).select("known", "customer_id").iter_rows():
            heapq.heappush(self._later, (due, customer))
        self.late += at.filter(new & late & (pl.col("seq") > self._counted_to)).height
        self._counted_to = max(self._counted_to, seqs[-1])
        # Imported events may be older than the month, whose population they then change.
        self._recount |= bool((at["known"] <= self._month).any())

    def _move_due(self, as_of: datetime) -> None:
        while self._later and self._later[0][0] <= as_of:
            self._due[heapq.heappop(self._later)[1]] = None

    # -- computing -------------------------------------------------------------------------------------------------

    def _refresh(self, customers: Sequence[str], as_of: datetime) -> None:
        """Compute and push; who cannot be computed is found by halves, and keeps nobody else waiting."""
        try:
            self._push(customers, as_of)
        except _AWAY:
            raise
        except Exception:  # noqa: BLE001  the edge of this thread
            if len(customers) > 1:
                half = len(customers) // 2
                self._refresh(customers[:half], as_of)
                self._refresh(customers[half:], as_of)
                return
            self.failures += 1
            self._dealt_with(customers)
            _log.exception("the features of customer %r could not be computed", customers[0])

    def _push(self, customers: Sequence[str], as_of: datetime) -> None:
        spine = spine_of(customers, as_of)
        self._store.push(compute(self._tail.of(customers), spine, self._population(spine)))
        self.refreshed += len(customers)
        self._dealt_with(customers)

    def _dealt_with(self, customers: Sequence[str]) -> None:
        for each in customers:
            self._touched.pop(each, None)
            self._due.pop(each, None)

    def _population(self, spine: pl.DataFrame) -> dict[str, pl.DataFrame]:
        """What is known of everyone as of the month's first instant; counted again when imported events change that."""
        months = months_of(spine)
        if months[0] != self._month or (self._recount and time.monotonic() - self._census > CENSUS):
            self._everyone = population(self._tail.all(), months)
            self._month, self._census, self._recount = months[0], time.monotonic(), False
        return self._everyone

    # -- the cursor ------------------------------------------------------------------------------------------------

    def _save(self, as_of: datetime) -> None:
        if self._position < self._base:  # somebody was forgotten: memory is filled anew
            return
        seq = next(iter(self._touched.values()), self._position + 1) - 1
        _, seen = self._cursor or (0, _LONG_AGO)
        moved = self._cursor is None or seq > self._cursor.seq
        self._cursor = Cursor(seq, seen if self._due else as_of)
        self._unsaid |= moved
        waited = time.monotonic() - self._said_at
        if waited >= HEARTBEAT or (waited >= SAVE and self._unsaid):
            self._say()

    def _say(self) -> None:
        if self._cursor is not None:
            cursors.move(self._ledger, self._cursor)
            self._said_at, self._unsaid = time.monotonic(), False
