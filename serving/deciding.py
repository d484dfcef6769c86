"""The next best action as the service does it: read what is known, decide, journal durably, only then answer."""

from __future__ import annotations

import dataclasses
import logging
import uuid

import numpy as np
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from decisioning import next_best
from decisioning.point import DecisionPoint
from features.kernel.clock import now
from features.kernel.discover import pick
from features.kernel.errors import Conflict, Unavailable
from features.kernel.group_commit import GroupCommit
from features.kernel.ledger import Ledger
from features.kernel.records import Decision, PolicyState
from serving.journal import durable
from serving.known import Rung, Value
from serving.metrics import Metrics
from serving.score import score
from serving.scorer import Scorer

__all__ = ["Decider"]

_log = logging.getLogger(__name__)
_WORST_FIRST: tuple[Rung, ...] = ("prior", "default", "stale", "fresh")


class Decider:
    """Decides at every decision point.

    Args:
        points: the decision points, by name.
        scorer: gives features and scores.
        ledger, commit: the journal.
        salt: of the sticky draws.
        rng: of the other draws; used on the commit thread alone.
    """

    def __init__(
        self,
        points: dict[str, DecisionPoint],
        scorer: Scorer,
        ledger: Ledger,
        commit: GroupCommit,
        metrics: Metrics,
        *,
        salt: str,
        rng: np.random.Generator,
    ) -> None:
        self.points = points
        self._scorer, self._ledger, self._commit, self._metrics = scorer, ledger, commit, metrics
        self._salt, self._rng = salt, rng
        self._states: dict[str, dict[str, PolicyState | None]] = {}

    def refresh(self) -> None:
        """Read the newest published state of every learner; between calls decisions use what was read last.

        Raises:
            Unavailable: the ledger cannot be read.
        """
        try:
            self._states = {
                name: {policy: self._ledger.state(name, policy) for policy in point.learners}
                for name, point in self.points.items()
            }
        except SQLAlchemyError as error:
            raise Unavailable(f"the ledger cannot be read: {error}") from error

    async def decide(self, decision_point: str, customer_id: str, request_id: str | None) -> Decision:
        """Decide, or give the first decision on the same request again. What is returned is in the journal.

        Raises:
            NotFound: there is no such decision point.
            Conflict: the request id was used for another customer or decision point.
            Busy, Unavailable: the journal cannot take it now.
        """
        point = pick(self.points, decision_point, field="decision_point")
        request = next_best.Request(request_id or uuid.uuid4().hex, customer_id)
        known = await self._known(point, customer_id)
        # Caps, draw and journal row are one unit: two requests at once cannot both be the first within a cap.
        status: str
        decision: Decision
        status, decision = await durable(
            lambda: self._commit.submit(lambda connection: self._journal(connection, point, request, known))
        )
        if status == "conflict":
            raise Conflict(
                "was used before for another customer or decision point",
                field="request_id",
                value=request.request_id,
                remedy="use a new one",
            )
        if status == "accepted":
            self._metrics.decisions.labels(point.name, decision.group, decision.action, decision.rung).inc()
        return decision

    def _journal(
        self, connection: Connection, point: DecisionPoint, request: next_best.Request, known: next_best.Known
    ) -> tuple[str, Decision]:
        """Decide and append; the receipt's status, and the decision that is in the journal. On the commit thread."""
        if point.caps:
            since = now() - point.cap_window
            recent = self._ledger.recent_decisions(point.name, request.customer_id, since=since, connection=connection)
            known = dataclasses.replace(known, recent=recent)
        decision = next_best.decide(point, request, known, self._rng, now=now(), salt=self._salt)
        [receipt] = self._ledger.append_decisions([decision], connection)
        if receipt.status == "duplicate":
            first = self._ledger.decision(request_id=request.request_id, connection=connection)
            return receipt.status, first or decision
        return receipt.status, decision

    async def _known(self, point: DecisionPoint, customer_id: str) -> next_best.Known:
        served = self._scorer.models
        bundles = [served.get(each) for each in point.scores if each in served.problems]
        bundles = [each for each in bundles if each.card.source == "store"]
        refs = dict.fromkeys([*point.refs, *(ref for each in bundles for ref in each.refs)])
        defaults: dict[str, Value] = {}
        for bundle in bundles:
            defaults |= bundle.card.default_features
        [known] = await self._scorer.read([customer_id], list(refs), defaults)
        scored = {each.card.problem: score(each, [known])[0] for each in bundles}
        rungs: list[Rung] = [known.rung, *(each.rung for each in scored.values())]
        if len(scored) < len(point.scores):
            rungs.append("prior")
        return next_best.Known(
            rung=min(rungs, key=_WORST_FIRST.index),
            vector=known.values,
            scores={problem: each.value for problem, each in scored.items()},
            model_versions={each.card.problem: each.card.version for each in bundles},
            states=self._states.get(point.name, {}),
        )
