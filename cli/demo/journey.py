"""The journey of the demo: ask for the next best action over HTTP, report what came of it, let the learner learn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx
import numpy as np

from cli.console import Step
from cli.demo.world import Respond
from decisioning.learner import learn
from decisioning.point import DecisionPoint
from features.kernel.errors import KairosError
from features.kernel.ledger import Ledger
from features.kernel.seeds import uniform

__all__ = ["Journey", "Round"]

_AT_ONCE = 16
_LEARNING_GROUP = "bandit"


@dataclass(frozen=True, slots=True)
class Round:
    """One batch of the journey: how many were asked, how many converted, what the learner now prefers."""

    number: int
    asked: int
    converted: int
    preference: dict[str, float]
    """Mean probability of each action among the learning group's decisions of this batch."""


@dataclass(frozen=True, slots=True)
class Journey:
    """Drives one decision point of a running service.

    A real journey waits a reward window for each outcome. Here the window of each batch is closed at once, by running
    the learner as of the window's end: the same code as `kairos learn --as-of`.
    """

    url: str
    ledger: Ledger
    point: DecisionPoint
    respond: Respond

    def run(self, audience: Sequence[str], *, batch: int, at: Step) -> list[Round]:
        """Ask for everyone in `audience`, in batches, learning between them."""
        return asyncio.run(self._run(audience, batch, at))

    async def _run(self, audience: Sequence[str], batch: int, at: Step) -> list[Round]:
        rounds: list[Round] = []
        limits = httpx.Limits(max_connections=_AT_ONCE)
        async with httpx.AsyncClient(base_url=self.url, limits=limits, timeout=30.0) as client:
            for number, start in enumerate(range(0, len(audience), batch), 1):
                answers = await self._ask(client, audience[start : start + batch], number)
                converted = await self._report(client, answers)
                rounds.append(Round(number, len(answers), converted, _preference(answers)))
                closes = max(datetime.fromisoformat(each["decided_at"]) for each in answers) + self.point.reward.window
                learn(self.ledger, self.point, closes + timedelta(seconds=1))
                await _refreshed()
                shown = ", ".join(f"{action} {share:.2f}" for action, share in rounds[-1].preference.items())
                at(start + len(answers), len(audience), f"bandit: {shown}")
        return rounds

    async def _ask(self, client: httpx.AsyncClient, customers: Sequence[str], number: int) -> list[dict[str, Any]]:
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(customer: str) -> dict[str, Any]:
            async with gate:
                body = {
                    "request_id": f"demo-{number}-{customer}",
                    "customer_id": customer,
                    "decision_point": self.point.name,
                }
                answer: dict[str, Any] = _json(await client.post("/v1/next-best-action", json=body))
                return answer

        return list(await asyncio.gather(*(one(each) for each in customers)))

    async def _report(self, client: httpx.AsyncClient, answers: Sequence[dict[str, Any]]) -> int:
        outcomes = [
            {
                "outcome_id": f"outcome-{each['decision_id']}",
                "decision_id": each["decision_id"],
                "kind": self.point.reward.kind,
                "value": 1.0,
                "occurred_at": each["decided_at"],
            }
            for each in answers
            if self.respond(each["customer_id"], each["action"], uniform("demo outcome", each["customer_id"]))
        ]
        if outcomes:
            _json(await client.post("/v1/outcomes", json={"outcomes": outcomes}))
        return len(outcomes)


def _preference(answers: Sequence[dict[str, Any]]) -> dict[str, float]:
    learning = [each["pmf"] for each in answers if each["group"] == _LEARNING_GROUP]
    actions = sorted({action for pmf in learning for action in pmf})
    return {action: float(np.mean([pmf.get(action, 0.0) for pmf in learning])) for action in actions}


def _json(response: httpx.Response) -> Any:
    if response.is_error:
        raise KairosError(f"{response.request.url.path} answered {response.status_code}: {response.text[:500]}")
    return response.json()


async def _refreshed() -> None:
    """Workers read a published state within a second."""
    started = time.monotonic()
    while time.monotonic() - started < 1.05:
        await asyncio.sleep(0.05)
