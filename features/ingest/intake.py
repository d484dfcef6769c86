"""Intake: validated events → ledger. `submit` answers when they are durable; what follows from them is the follower's.

Back-pressure: while a follower lives, no more than `queue_size` events may lie beyond its cursor; then `Busy` tells the
sender to come again, and nothing was taken. Where none lives (or its Redis is away, so that it does not get on) events
are accepted all the same: features grow stale, and `/readyz` and `/metrics` say so. Refusing would help nobody: the
ledger keeps events better than their senders do. Needs neither Polars nor Redis.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future

from features.kernel import cursors, tables
from features.kernel.clock import now
from features.kernel.errors import Busy, InvalidInput, Unavailable
from features.kernel.events import Event
from features.kernel.group_commit import GroupCommit
from features.kernel.ledger import Ledger
from features.kernel.records import Receipt

__all__ = ["ALIVE", "Backlog", "Intake"]

ALIVE = 10.0
"""Seconds after its last word on the cursor that a follower counts as alive; it has one a second."""
LOOK = 0.25
"""Seconds between two looks at the cursor."""

_log = logging.getLogger(__name__)


class Backlog:
    """How far the follower is behind, by the last look at the ledger.

    A follower is alive when its cursor was seen to change: clocks of two machines need not agree for that.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._cursor: cursors.Cursor | None = None
        self._looked = False
        self._changed_at = float("-inf")
        self.events = 0
        """Events beyond the cursor."""
        self.seconds = 0.0
        """How long the first of them has waited."""

    @property
    def alive(self) -> bool:
        """Whether a follower has said something within `ALIVE` seconds."""
        return time.monotonic() - self._changed_at < ALIVE

    def look(self) -> None:
        """Read cursor and ledger.

        Raises:
            Unavailable: the ledger cannot be read; what was seen last stays.
        """
        cursor, mark = cursors.read(self._ledger), self._ledger.mark(tables.events)
        done = 0 if cursor is None else cursor.seq
        since = cursors.waiting_since(self._ledger, done) if mark > done else None
        if self._looked and cursor != self._cursor:
            self._changed_at = time.monotonic()
        self._cursor, self._looked = cursor, True
        self.events = max(mark - done, 0)
        self.seconds = 0.0 if since is None else max((now() - since).total_seconds(), 0.0)


class Intake:
    """Takes events into the ledger. Safe to share between threads.

    Args:
        ledger: where they go.
        commit: commits to the same ledger; it must outlive this object.
        queue_size: events that may wait for the follower before `submit` raises `Busy`.
    """

    def __init__(self, ledger: Ledger, commit: GroupCommit, queue_size: int = 10_000) -> None:
        self._ledger, self._commit, self._queue_size = ledger, commit, queue_size
        self.backlog = Backlog(ledger)
        self._lock = threading.Lock()
        self._under_way = 0
        self._since_looked = 0
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Look at the follower's cursor from now on, some times a second, off the way of requests."""
        self._thread = threading.Thread(target=self._watch, name="backlog", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking; harmless when it was not started. What was submitted is in the commit's hands."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()

    @property
    def waiting(self) -> int:
        """Events that the follower has not dealt with yet, those under way into the ledger among them."""
        with self._lock:
            return self.backlog.events + self._since_looked + self._under_way

    def submit(self, events: Sequence[Event]) -> Future[list[Receipt]]:
        """Hand in events; the future gives one receipt an event, in order, once they are durable.

        Raises:
            Busy: too many events wait for the follower, or too much for the ledger; nothing was accepted.
            InvalidInput: more events at once than may ever wait.
            Unavailable: the ledger is closing.
        """
        batch = list(events)
        self._admit(len(batch))
        try:
            future = self._commit.submit(lambda connection: self._ledger.append_events(batch, connection))
        except BaseException:
            self._settled(len(batch), 0)
            raise
        future.add_done_callback(lambda done: self._settled(len(batch), _accepted(done)))
        return future

    def look(self) -> None:
        """Look at the cursor now.

        Raises:
            Unavailable: the ledger cannot be read.
        """
        with self._lock:
            counted = self._since_looked
        self.backlog.look()
        with self._lock:
            self._since_looked -= counted  # the look has counted these

    def _admit(self, count: int) -> None:
        if count > self._queue_size:
            raise InvalidInput("are too many at once", field="events", value=count, remedy="send less")
        with self._lock:
            waiting = self.backlog.events + self._since_looked + self._under_way
            if self.backlog.alive and waiting + count > self._queue_size:
                raise Busy("too many events wait for their features")
            self._under_way += count

    def _settled(self, count: int, accepted: int) -> None:
        with self._lock:
            self._under_way -= count
            self._since_looked += accepted

    def _watch(self) -> None:
        away = False
        while not self._closing.is_set():
            try:
                self.look()
                away = False
            except Unavailable as error:
                if not away:
                    _log.warning("how far features are behind cannot be seen: %s", error)
                away = True
            self._closing.wait(LOOK)


def _accepted(done: Future[list[Receipt]]) -> int:
    if done.cancelled() or done.exception() is not None:
        return 0
    return sum(receipt.status == "accepted" for receipt in done.result())
