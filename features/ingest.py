"""Ingest: events → ledger → the features of the customers touched, online.

`submit` answers when the events are durable. A thread then recomputes the customers they touch from their whole history
with the same `aggregate` that training uses, at the present instant, and pushes the result: a late event corrects what
it changes, and nothing is updated in place. What was not pushed yet when the process dies is not lost: the ledger has
it, and the next event of the customer or the next materialise brings it online.
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Protocol

import polars as pl
from sqlalchemy.exc import SQLAlchemyError

from features.compute import compute
from features.frames import events_frame, spine_of
from features.kernel import clock
from features.kernel.errors import Busy, InvalidInput, Unavailable
from features.kernel.events import Event
from features.kernel.group_commit import GroupCommit
from features.kernel.ledger import Ledger
from features.kernel.records import Receipt

__all__ = ["Ingest"]

AT_ONCE = 500
"""Customers recomputed together."""
FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0
"""Seconds until a failed push is tried again; doubled each time."""

_AWAY = (Unavailable, SQLAlchemyError)
_log = logging.getLogger(__name__)


class Pusher(Protocol):
    """What ingest needs of the store."""

    def push(self, frames: dict[str, pl.DataFrame]) -> None:
        """Write view frames online; raises Unavailable."""


class Ingest:
    """Takes events; one thread keeps the online features of their customers fresh. Safe to share between threads.

    Args:
        ledger: where the events are read back from.
        commit: commits to the same ledger; it must outlive this object.
        store: where features are pushed to.
        queue_size: customers that may wait for their features before `submit` raises `Busy`.
    """

    def __init__(self, ledger: Ledger, commit: GroupCommit, store: Pusher, queue_size: int = 10_000) -> None:
        self._ledger, self._commit, self._store, self._queue_size = ledger, commit, store, queue_size
        self._changed = threading.Condition()
        self._waiting: dict[str, None] = {}  # an ordered set: who waits longest comes first
        self._later: list[tuple[datetime, str]] = []  # heap: customers with an event dated ahead of our clock
        self._due: dict[str, datetime] = {}  # what the heap holds of each
        self._reserved = 0
        self._at_work = 0
        self._closing = False
        self._give_up = float("inf")
        self.refreshed = 0
        """Customers recomputed and pushed so far."""
        self.retries = 0
        """Pushes put off because a dependency was away."""
        self.failures = 0
        """Customers given up because their features could not be computed; each was logged."""
        self._thread = threading.Thread(target=self._run, name="ingest", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Customers whose features are older than their last accepted event."""
        with self._changed:
            return len(self._waiting) + self._reserved + self._at_work

    def submit(self, events: Sequence[Event]) -> Future[list[Receipt]]:
        """Hand in events; the future gives one receipt an event, in order, once they are durable.

        Raises:
            Busy: too many customers wait for their features, or too many events for the ledger; nothing was accepted.
            InvalidInput: more customers at once than may ever wait.
            Unavailable: this ingest was closed.
        """
        batch = list(events)
        customers = len({each.customer_id for each in batch})
        self._reserve(customers)
        try:
            future = self._commit.submit(lambda connection: self._ledger.append_events(batch, connection))
        except BaseException:
            self._release(customers, ())
            raise
        future.add_done_callback(lambda done: self._release(customers, _touched(done, batch)))
        return future

    def flush(self, timeout: float = 30.0) -> bool:
        """Wait until the features of every accepted event are online; False when that took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy(), timeout)

    def close(self, patience: float = 10.0) -> int:
        """Refuse new events, finish what was accepted, stop.

        Args:
            patience: seconds to keep trying while the online store is away.

        Returns:
            Customers whose features are not online yet (the ledger has their events).
        """
        with self._changed:
            self._closing, self._give_up = True, time.monotonic() + patience
            self._changed.notify_all()
        self._thread.join()
        if self._waiting:
            _log.warning("features of %d customers are not online yet; materialise them", len(self._waiting))
        return len(self._waiting)

    # -- the queue -------------------------------------------------------------------------------------------------

    def _reserve(self, customers: int) -> None:
        if customers > self._queue_size:
            raise InvalidInput("names too many customers at once", field="events", value=customers, remedy="send less")
        with self._changed:
            if self._closing:
                raise Unavailable("ingest is closing", remedy="send the events again to the next process")
            if len(self._waiting) + self._reserved + customers > self._queue_size:
                raise Busy("too many customers wait for their features")
            self._reserved += customers

    def _release(self, reserved: int, touched: Sequence[str]) -> None:
        with self._changed:
            self._reserved -= reserved
            self._waiting.update(dict.fromkeys(touched))
            self._changed.notify_all()

    def _busy(self) -> bool:
        return bool(self._waiting or self._reserved or self._at_work)

    def _take(self) -> list[str] | None:
        """The next customers to recompute, or None when there is nothing more to do."""
        with self._changed:
            while True:
                self._move_due()
                if self._waiting:
                    taken = list(self._waiting)[:AT_ONCE]
                    for each in taken:
                        del self._waiting[each]
                    self._at_work = len(taken)
                    return taken
                if self._closing and not self._reserved:
                    return None
                self._changed.wait(self._until_due())

    def _done(self, again: Sequence[str] = ()) -> None:
        with self._changed:
            self._at_work = 0
            # Those that failed go to the front: nobody waits for ever behind newcomers.
            self._waiting = dict.fromkeys(again) | self._waiting
            self._changed.notify_all()

    def _move_due(self) -> None:
        now = clock.now()
        while self._later and self._later[0][0] < now:
            due, customer = heapq.heappop(self._later)
            self._waiting[customer] = None
            if self._due.get(customer) == due:
                del self._due[customer]

    def _until_due(self) -> float | None:
        if not self._later:
            return None
        return max((self._later[0][0] - clock.now()).total_seconds(), 0.001)

    # -- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        wait = FIRST_WAIT
        while (customers := self._take()) is not None:
            try:
                self._refresh(customers)
            except _AWAY as error:
                self.retries += 1
                _log.warning("features wait for a dependency: %s", error)
                self._done(customers)
                if time.monotonic() >= self._give_up:
                    return
                self._pause(wait)
                wait = min(wait * 2, LONGEST_WAIT)
                continue
            except Exception:  # noqa: BLE001  found by customer below, where it is logged and counted
                self._one_by_one(customers)
            wait = FIRST_WAIT
            self._done()

    def _pause(self, seconds: float) -> None:
        with self._changed:
            deadline = min(time.monotonic() + seconds, self._give_up)
            # New events do not shorten the pause, closing does: its patience is counted from then.
            closing = self._closing
            self._changed.wait_for(lambda: self._closing != closing, max(deadline - time.monotonic(), 0.0))

    def _one_by_one(self, customers: Sequence[str]) -> None:
        """One customer whose history cannot be computed must not keep the others waiting."""
        for each in customers:
            try:
                self._refresh([each])
            except _AWAY:
                self._release(0, [each])
            except Exception:  # noqa: BLE001  the edge of this thread
                self.failures += 1
                _log.exception("the features of customer %r could not be computed", each)

    def _refresh(self, customers: Sequence[str]) -> None:
        # Before the read: a worker that reads first and is then held up must not overwrite, with an older reading and a
        # later instant, what another has pushed meanwhile. What is received in between is scheduled below.
        as_of = clock.now()
        rows = [row for part in self._ledger.events(customers) for row in part]
        events = events_frame(rows)
        self._store.push(compute(events, spine_of(customers, as_of)))
        self.refreshed += len(customers)
        ahead = events.filter((pl.col("occurred_at") >= as_of) | (pl.col("received_at") > as_of))
        if ahead.height:
            known_from = pl.max_horizontal("occurred_at", "received_at")
            with self._changed:
                for customer, due in ahead.group_by("customer_id").agg(known_from.min()).iter_rows():
                    if self._due.get(customer) != due:
                        self._due[customer] = due
                        heapq.heappush(self._later, (due, customer))


def _touched(done: Future[list[Receipt]], batch: Sequence[Event]) -> list[str]:
    # A repeat counts too: the process may have died between the first one's commit and its push.
    if done.cancelled() or done.exception() is not None:
        return []
    pairs = zip(batch, done.result(), strict=True)
    return list({each.customer_id: None for each, receipt in pairs if receipt.status in ("accepted", "duplicate")})
