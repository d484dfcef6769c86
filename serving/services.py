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
from features.compute import all_views
from features.ingest import Ingest
from features.kernel.errors import KairosError
from features.kernel.group_commit import GroupCommit
from features.kernel.ledger import Ledger
from features.kernel.seeds import generator
from features.kernel.settings import Settings
from features.store import FeatureStore
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
    ingest: Ingest
    models: Models
    score_log: ScoreLog
    scorer: Scorer
    decider: Decider
    metrics: Metrics
    _closing: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Read models and states, begin to open the store, and from then on look for newer ones each second."""
        self.refresh()
        self.store.start()
        self._thread = threading.Thread(target=self._keep_fresh, name="refresh", daemon=True)
        self._thread.start()

    def refresh(self) -> None:
        """Follow the models' pointers and the learners' states. Never raises: what is away stays as it was."""
        self._try("models", self.models.refresh)
        self._try("states", self.decider.refresh)

    def close(self) -> None:
        """Stop in the order of the data: what was acknowledged is computed and written before the ledger closes."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        self.ingest.close()
        self.score_log.close()
        self.scorer.close()
        self.store.close()
        self.commit.close()
        self.ledger.close()

    def _keep_fresh(self) -> None:
        while not self._closing.wait(_REFRESH_SECONDS):
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
        store: opens the feature store; Feast's, if None.
        points: decision points; those of `decisioning/journeys`, if None.
        rng: of the draws that are not sticky; seeded anew for each worker, if None.

    Raises:
        Unavailable: the ledger cannot be opened.
    """
    ledger = Ledger(settings.ledger, skew=timedelta(seconds=settings.skew_seconds))
    commit, metrics, models = GroupCommit(ledger), Metrics(), Models(settings.models)
    online = OnlineStore(store or (lambda: _feast(settings)))
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
    ingest = Ingest(ledger, commit, online, settings.queue_size)
    metrics.show(models, lambda: ingest.waiting)
    return Services(settings, ledger, commit, online, ingest, models, score_log, scorer, decider, metrics)


def _feast(settings: Settings) -> Store:
    """Feast's store, imported and read once, so that no request waits for either."""
    store = FeatureStore(settings)
    store.read_vectors(["(nobody)"], [ref for view in all_views().values() for ref in view.refs[:1]])
    return store
