"""Scoring one customer over HTTP: Kairos against `feast serve` + `mlflow models serve`, and against a naive floor.

Every server is a real process with one worker, the load comes from a process of its own, and all share this machine's
cores. The same features lie in the same Redis and the same trees are walked; the peers give the model's raw
probability, and the card's calibration is applied to it before answers are compared, but not while they are timed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.clients import Kairos, Plan, probabilities
from benchmarks.harness import Benchmark, Result, Side, compare
from benchmarks.load import Order, generate
from benchmarks.peers import servers
from benchmarks.world import World, served_world
from features.kernel.errors import Unavailable
from serving.score import calibrate

__all__ = ["benchmark"]

ASKED = 50
ALONE, CROWD = 1, 16
_READY_WITHIN = 60.0


def run(quick: bool) -> list[Result]:
    """Compare one caller (what one answer takes) and `CROWD` callers (what one costs when the server is saturated)."""
    with ExitStack() as running:
        world = running.enter_context(served_world(300 if quick else 2_000))
        seconds = 0.3 if quick else 3.0
        ours = running.enter_context(servers.kairos(world))
        _wait_until_fresh(ours, world)
        theirs = running.enter_context(servers.chain(world))
        floor = running.enter_context(servers.naive_floor(world))
        return [
            compare(
                f"score_{callers}_{name}",
                _side("kairos serve", ours, world, callers, seconds, servers.KAIROS),
                _side(called, plan, world, callers, seconds, settings),
                unit="ms an answer" if callers == ALONE else "ms of wall time an answer, saturated",
                equal=_equal,
                settings=_shared(world, callers, seconds),
            )
            for callers in (ALONE, CROWD)
            for name, called, plan, settings in (
                ("chain", "feast serve + mlflow models serve", theirs, servers.CHAIN),
                ("floor", "bare ASGI + HMGET + predict", floor, servers.FLOOR),
            )
        ]


def _side(name: str, plan: Plan, world: World, callers: int, seconds: float, settings: dict[str, Any]) -> Side:
    latencies: list[dict[str, float]] = []

    def cost() -> float:
        seen = generate(Order(plan=plan, customers=world.customers, callers=callers, seconds=seconds))
        latencies.append({"answers_per_second": seen.answers / seen.seconds, "p50_ms": seen.p50, "p99_ms": seen.p99})
        return seen.milliseconds_each

    return Side(name, _answers(plan, world), cost, settings | {"seen": latencies})


def _answers(plan: Plan, world: World) -> Callable[[], NDArray[np.float64]]:
    """Calibrated probabilities of the first `ASKED` customers."""

    def answer() -> NDArray[np.float64]:
        said = np.array(asyncio.run(probabilities(plan, world.customers[:ASKED])))
        return said if isinstance(plan, Kairos) else calibrate(world.bundle, np.log(said / (1 - said)))

    return answer


def _equal(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> bool:
    """Equal to nine digits: the peers give a probability, and its log-odds are the raw score but for rounding."""
    return bool(np.allclose(ours, theirs, rtol=1e-9, atol=1e-9))


def _shared(world: World, callers: int, seconds: float) -> dict[str, Any]:
    card = world.bundle.card
    return {
        "callers": callers,
        "seconds_a_turn": seconds,
        "customers": len(world.customers),
        "features": len(card.features),
        "trees": world.model.read_text(encoding="utf-8").count("\nTree="),
    }


def _wait_until_fresh(plan: Kairos, world: World) -> None:
    """Kairos answers at once, on the rung `prior`, and opens its feature store behind; wait for that."""
    deadline = time.monotonic() + _READY_WITHIN
    while time.monotonic() < deadline:
        said = asyncio.run(probabilities(plan, world.customers[:ASKED]))
        if len(set(said)) > 1:
            return
        time.sleep(0.2)
    raise Unavailable(f"every customer gets {said[0]:.3f}: the feature store was not opened", field="kairos serve")


benchmark = Benchmark("one customer over HTTP: feast serve + mlflow models serve, a naive floor", run)
