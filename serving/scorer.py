"""Scoring as the service does it: read features within a time, score, log. Its parts are pure and stand elsewhere."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from features.kernel.clock import now
from features.kernel.errors import InvalidInput
from features.kernel.records import Score
from features.vectors import VectorReader
from serving.bundles import Bundle, Models
from serving.explain import Explanation, explain
from serving.given import given
from serving.known import PRIOR, Known, Value, look_up
from serving.metrics import Metrics
from serving.score import Scored, score
from serving.score_log import ScoreLog

__all__ = ["Answers", "Asked", "Scorer"]

_log = logging.getLogger(__name__)
_PATIENCE = 0.5
_PATIENCE_A_CUSTOMER = 0.005
_READERS = 4
_INLINE_ROWS = 500


class Asked(NamedTuple):
    """One customer to score; `features` where the model's source is the request."""

    customer_id: str
    features: Mapping[str, Value] | None = None


class Answers(NamedTuple):
    """What came of scoring, each list in the order asked."""

    bundle: Bundle
    score_ids: list[str]
    known: list[Known]
    scored: list[Scored]


class Scorer:
    """Answers for every served problem.

    Args:
        models: the served bundles.
        reader: the online store.
        log: where served scores go.
        ttl_seconds: age beyond which features are stale.
        patience: seconds to wait for the online store before answering on the rung `prior`.
    """

    def __init__(
        self,
        models: Models,
        reader: VectorReader,
        log: ScoreLog,
        metrics: Metrics,
        *,
        ttl_seconds: float,
        patience: float = _PATIENCE,
    ) -> None:
        self.models = models
        self._reader, self._score_log, self._metrics = reader, log, metrics
        self._ttl, self._patience = ttl_seconds, patience
        # A pool of its own: reads that hang in a dead connection must not take the threads of others.
        self._pool = ThreadPoolExecutor(_READERS, thread_name_prefix="online-store")

    def close(self) -> None:
        """Stop taking reads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def score(self, problem: str, asked: Sequence[Asked]) -> Answers:
        """Score customers and log what was answered.

        Raises:
            NotFound: no model is served for the problem.
            InvalidInput: features do not fit the card; names item, field and remedy.
        """
        bundle = self.models.get(problem)
        known = await self._known(bundle, asked)
        return self._served(bundle, asked, known, await self._scored(bundle, known))

    async def explain(self, problem: str, asked: Sequence[Asked]) -> tuple[Answers, list[Explanation | None]]:
        """Score customers and say why; None for those on the rung `prior`.

        Raises:
            NotFound, InvalidInput: as `score`.
        """
        bundle = self.models.get(problem)
        known = await self._known(bundle, asked)
        scored, explained = await asyncio.to_thread(explain, bundle, known)
        return self._served(bundle, asked, known, scored), explained

    async def read(self, customers: Sequence[str], refs: Sequence[str], defaults: Mapping[str, Value]) -> list[Known]:
        """What the store knows of customers; `prior` for all where it does not answer in time. Never raises."""
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._pool, look_up, self._reader, customers, refs, defaults, self._ttl)
        patience = self._patience + _PATIENCE_A_CUSTOMER * len(customers)
        try:
            return await asyncio.wait_for(work, patience)
        except TimeoutError:
            _log.warning("scoring on the rung prior: the online store gave no answer in %g s", patience)
        except Exception:  # noqa: BLE001  the edge of the store: whatever it raises lowers the rung, it is no 5xx
            _log.exception("scoring on the rung prior: the online store failed")
        self._metrics.failures.labels("online read").inc()
        return [PRIOR] * len(customers)

    async def _known(self, bundle: Bundle, asked: Sequence[Asked]) -> list[Known]:
        card = bundle.card
        if card.source == "request":
            return [given(card, i, each.features) for i, each in enumerate(asked)]
        for i, each in enumerate(asked):
            if each.features is not None:
                raise InvalidInput(
                    f"the model of {card.problem} reads its features from the store",
                    field=f"items.{i}.features",
                    remedy="leave it out",
                )
        return await self.read([each.customer_id for each in asked], bundle.refs, card.default_features)

    async def _scored(self, bundle: Bundle, known: list[Known]) -> list[Scored]:
        width = bundle.card.candidates.count if bundle.card.candidates else 1
        if len(known) * width <= _INLINE_ROWS:  # quicker than a change of threads
            return score(bundle, known)
        return await asyncio.to_thread(score, bundle, known)

    def _served(self, bundle: Bundle, asked: Sequence[Asked], known: list[Known], scored: list[Scored]) -> Answers:
        card, instant = bundle.card, now()
        ids = [uuid.uuid4().hex for _ in asked]
        kept = [
            Score(
                score_id=score_id,
                customer_id=each.customer_id,
                problem=card.problem,
                model_version=card.version,
                rung=answer.rung,
                value=answer.value,
                features=dict(what.values),
                scored_at=instant,
            )
            for score_id, each, what, answer in zip(ids, asked, known, scored, strict=True)
            if self._score_log.keeps(score_id)
        ]
        self._score_log.offer(kept)
        for answer in scored:
            self._metrics.scores.labels(card.problem, answer.rung).inc()
        return Answers(bundle, ids, known, scored)
