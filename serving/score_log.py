"""The log of served scores: sampled, written behind the answer in groups, bounded. It never delays a score."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from sqlalchemy import Connection

from features.kernel.errors import Busy
from features.kernel.group_commit import GroupCommit
from features.kernel.ledger import Ledger
from features.kernel.records import Score
from features.kernel.seeds import uniform

__all__ = ["ScoreLog"]

_log = logging.getLogger(__name__)


class ScoreLog:
    """Takes scores without waiting; at most one write is under way, the rest gathers for the next.

    Args:
        ledger, commit: where the rows go.
        share: share of scores that is kept; which ones follows from their ids alone.
        dropped: called with the number of scores that could not be kept.
        depth: how many scores may wait.
    """

    def __init__(
        self,
        ledger: Ledger,
        commit: GroupCommit,
        *,
        share: float,
        dropped: Callable[[int], object],
        depth: int = 20_000,
    ) -> None:
        self._ledger, self._commit, self._share, self._depth = ledger, commit, share, depth
        self._dropped = dropped
        self._lock = threading.Lock()
        self._waiting: list[Score] = []
        self._writing: list[Score] = []
        self._idle = threading.Event()
        self._idle.set()

    def keeps(self, score_id: str) -> bool:
        """Whether the score of this id belongs to the sample."""
        return self._share >= 1.0 or uniform(score_id) < self._share

    def offer(self, scores: Sequence[Score]) -> None:
        """Take scores that `keeps` picked; returns at once. What does not fit is counted as dropped."""
        with self._lock:
            room = self._depth - len(self._waiting)
            self._waiting.extend(scores[:room])
        if len(scores) > room:
            self._dropped(len(scores) - room)
        self._write_next()

    def close(self, patience: float = 10.0) -> None:
        """Wait until all that was taken is written, or could not be."""
        self._idle.wait(patience)

    def _write_next(self) -> None:
        with self._lock:
            if self._writing or not self._waiting:
                return
            self._writing, self._waiting = self._waiting, []
            self._idle.clear()
        try:
            self._commit.submit(self._write).add_done_callback(self._written)
        except Busy as error:  # decisions and events come first
            self._finish(error)

    def _write(self, connection: Connection) -> None:
        self._ledger.append_scores(self._writing, connection)

    def _written(self, future: Future[None]) -> None:
        self._finish(future.exception())
        self._write_next()

    def _finish(self, error: BaseException | None) -> None:
        with self._lock:
            lost, self._writing = self._writing, []
            if not self._waiting:
                self._idle.set()
        if error is not None:
            _log.warning("%d served scores were not logged: %s", len(lost), error)
            self._dropped(len(lost))
