"""The one composition root: from settings to the objects that answer, and their life from start to close."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
from sqlalchemy.exc import SQLAlchemyError

from decisioning.point import DecisionPoint, all_points
from features.ingest.intake import Intake
from features.kernel.errors import KairosError
from features.kernel.group_commit import GroupCommit
from features.kernel.ledger import Ledger
from features.kernel.seeds import generator
from features.kernel.settings import Settings
from features.packed.store import PackedStore
from serving.bundles import Models
from serving.deciding import Decider
from serving.metrics import Metrics
from serving.online import OnlineStore, Store
from serving.score_log import ScoreLog
from serving.scorer import Scorer

__all__ = ["Services", "compose"]

_log = logging.getLogger(__name__)
_REFRESH_SECONDS = 1.0


@dataclass(slots=True)
class Services:
    """Everything a worker answers with. `start()` before the first request, `close()` after the last."""

    settings: Settings
    ledger: Ledger
    commit: GroupCommit
    store: OnlineStore
    intake: Intake
    models: Models
    score_log: ScoreLog
    scorer: Scorer
    decider: Decider
    metrics: Metrics
    _closing: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Read models and states, and from then on look each second for newer ones and at what may be away."""
        self.refresh()
        self.intake.start()
        self._thread = threading.Thread(target=self._keep_fresh, name="refresh", daemon=True)
        self._thread.start()

    def refresh(self) -> None:
        """Follow the models' pointers and the learners' states. Never raises: what is away stays as it was."""
        self._try("models", self.models.refresh)
        self._try("states", self.decider.refresh)

    def close(self) -> None:
        """Stop in the order of the data: what was taken is in the ledger before it closes."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        self.intake.close()
        self.score_log.close()
        self.scorer.close()
        self.store.close()
        self.commit.close()
        self.ledger.close()

    def _keep_fresh(self) -> None:
        while True:
            self._try("store", self.store.look)
            if self._closing.wait(_REFRESH_SECONDS):
                return
            self.refresh()

    def _try(self, work: str, do: Callable[[], None]) -> None:
        try:
            do()
        except (KairosError, SQLAlchemyError, OSError) as error:
            self.metrics.failures.labels(f"refresh {work}").inc()
            _log.warning("%s were not refreshed: %s", work, error)


def compose(
    settings: Settings,
    *,
    store: Callable[[], Store] | None = None,
    points: dict[str, DecisionPoint] | None = None,
    rng: np.random.Generator | None = None,
) -> Services:
    """Put a worker together.

    Args:
        settings: what the deployment chose.
        store: makes the online store; the packed one at `settings.redis_url`, if None.
        points: decision points; those of `decisioning/journeys`, if None.
        rng: of the draws that are not sticky; seeded anew for each worker, if None.

    Raises:
        Unavailable: the ledger cannot be opened.
    """
    ledger = Ledger(settings.ledger, skew=timedelta(seconds=settings.skew_seconds))
    commit, metrics, models = GroupCommit(ledger), Metrics(), Models(settings.models)
    online = OnlineStore(PackedStore.of(settings) if store is None else store())
    score_log = ScoreLog(ledger, commit, share=settings.score_log_share, dropped=metrics.unlogged.inc)
    scorer = Scorer(models, online, score_log, metrics, ttl_seconds=settings.feature_ttl_hours * 3600.0)
    decider = Decider(
        all_points() if points is None else points,
        scorer,
        ledger,
        commit,
        metrics,
        salt=settings.salt,
        rng=rng or generator("decide", settings.salt, uuid.uuid4()),
    )
    intake = Intake(ledger, commit, settings.queue_size)
    metrics.show(models, intake)
    return Services(settings, ledger, commit, online, intake, models, score_log, scorer, decider, metrics)
