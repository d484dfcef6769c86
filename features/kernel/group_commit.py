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

from features.kernel.errors import Busy
from features.kernel.ledger import Ledger

__all__ = ["GroupCommit"]

_Work = Callable[[Connection], Any]
_MOST = 512


class GroupCommit:
    """Commits submitted work in groups on a thread of its own. `close()` finishes what was handed in.

    Args:
        ledger: where to.
        depth: how many pieces of work may wait before `submit` raises `Busy`.
    """

    def __init__(self, ledger: Ledger, *, depth: int = 10_000) -> None:
        self._ledger = ledger
        self._waiting: queue.Queue[tuple[_Work, Future[Any]] | None] = queue.Queue(depth)
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._thread.start()

    def submit(self, work: _Work) -> Future[Any]:
        """Hand in `work(connection)`; its result arrives in the future once it is durable.

        Raises:
            Busy: too much is waiting already.
        """
        future: Future[Any] = Future()
        try:
            self._waiting.put_nowait((work, future))
        except queue.Full:
            raise Busy("the ledger cannot keep up") from None
        return future

    def close(self) -> None:
        """Commit what is waiting, then stop."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            group, last = [first], False
            while len(group) < _MOST and not last:
                try:
                    following = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    last = True
                else:
                    group.append(following)
            self._commit(group)
            if last:
                return

    def _commit(self, group: list[tuple[_Work, Future[Any]]]) -> None:
        try:
            with self._ledger.transaction() as connection:
                results = [work(connection) for work, _ in group]
        except Exception as error:  # noqa: BLE001  the edge of this thread: the caller gets it through the future
            if len(group) > 1:  # one bad piece must not fail its neighbours: commit each alone
                for each in group:
                    self._commit([each])
            else:
                group[0][1].set_exception(error)
            return
        for (_, future), result in zip(group, results, strict=True):
            future.set_result(result)
