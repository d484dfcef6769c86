"""Small real parts for tests: a follower beside whatever puts events into the ledger."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from features.ingest.follower import Follower, Pusher
from features.kernel import clock, tables
from features.kernel.ledger import Ledger

__all__ = ["caught_up", "following"]


@contextmanager
def following(ledger: Ledger, store: Pusher, late: timedelta = timedelta(days=30)) -> Iterator[Follower]:
    """A follower on a thread of its own, stopped when left."""
    follower, stop = Follower(ledger, store, late), threading.Event()
    thread = threading.Thread(target=follower.run, args=[stop], name="follower")
    thread.start()
    try:
        yield follower
    finally:
        stop.set()
        thread.join()


def caught_up(follower: Follower, ledger: Ledger, within: float = 30.0) -> bool:
    """Wait until everything that the ledger holds and that is known by now is online; False when that took too long."""
    mark, instant, deadline = ledger.mark(tables.events), clock.now(), time.monotonic() + within
    while time.monotonic() < deadline:
        cursor = follower.cursor
        if cursor is not None and cursor.seq >= mark and cursor.at >= instant:
            return True
        time.sleep(0.01)
    return False
