"""Group commit: many small appends, one durable transaction.

A disk flush costs the same for one row as for a thousand. Callers hand in work and wait for its future; one thread
takes whatever has gathered meanwhile and commits it at once. Nobody is told "accepted" before the commit has returned.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from sqlalchemy import Connection

from features.kernel.errors import Busy, Unavailable
from features.kernel.ledger import Ledger

__all__ = ["GroupCommit"]

_Work = Callable[[Connection], Any]
_Piece = tuple[_Work, "Future[Any]"]
_MOST = 512


class GroupCommit:
    """Commits submitted work in groups on a thread of its own. `close()` finishes what was handed in.

    Args:
        ledger: where to.
        depth: how many pieces of work may wait before `submit` raises `Busy`.
    """

    def __init__(self, ledger: Ledger, *, depth: int = 10_000) -> None:
        self._ledger = ledger
        self._waiting: queue.Queue[_Piece | None] = queue.Queue(depth)
        self._handing_in = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._thread.start()

    def submit(self, work: _Work) -> Future[Any]:
        """Hand in `work(connection)`; its result arrives in the future once it is durable.

        Work runs a second time, in a transaction of its own, when something else in its group failed; it must change
        nothing but the ledger. Work whose future was cancelled before its turn is left out.

        Raises:
            Busy: too much is waiting already.
            Unavailable: `close` was called.
        """
        future: Future[Any] = Future()
        with self._handing_in:  # or a piece could slip in behind the end and wait for ever
            if self._closed:
                raise Unavailable("the ledger is closing")
            try:
                self._waiting.put_nowait((work, future))
            except queue.Full:
                raise Busy("the ledger cannot keep up") from None
        return future

    def close(self) -> None:
        """Commit what is waiting, then stop. Calling it again does nothing."""
        with self._handing_in:
            if not self._closed:
                self._closed = True
                self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        last = False
        while not last:
            first = self._waiting.get()
            group, last = self._gathered(first)
            # From here on a future cannot be cancelled, so that setting its result cannot fail.
            self._commit([each for each in group if each[1].set_running_or_notify_cancel()])

    def _gathered(self, first: _Piece | None) -> tuple[list[_Piece], bool]:
        """The first piece and what waits behind it, and whether the end was met."""
        group: list[_Piece] = []
        following = first
        while following is not None:
            group.append(following)
            if len(group) == _MOST:
                return group, False
            try:
                following = self._waiting.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

    def _commit(self, group: list[_Piece]) -> None:
        if not group:
            return
        try:
            with self._ledger.transaction() as connection:
                results = [work(connection) for work, _ in group]
        except Exception as error:  # noqa: BLE001  the edge of this thread: the caller gets it through the future
            self._failed(group, error)
            return
        for (_, future), result in zip(group, results, strict=True):
            future.set_result(result)

    def _failed(self, group: list[_Piece], error: Exception) -> None:
        if len(group) == 1 or isinstance(error, Unavailable):  # alone, or nobody would fare better
            for _, future in group:
                future.set_exception(error)
        else:  # one bad piece must not fail its neighbours: commit each alone
            for each in group:
                self._commit([each])
