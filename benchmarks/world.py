"""A small served world: a simulated market, its features in offline store and Redis, one trained churn model."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from features.frames import spine_of
from features.kernel.settings import Settings
from features.market import simulate
from features.redis_server import RedisServer
from features.store import FeatureStore
from serving.bundles import Bundle, load_bundle
from training import pipeline
from training.plan import Plan
from training.problems import all_problems
from training.registry import bundle
from training.rows import cutoffs, dataset

__all__ = ["PROBLEM", "World", "served_world"]

PROBLEM = "churn"


@dataclass(frozen=True, slots=True)
class World:
    """Everything that a service needs, ready in `settings.home` and in Redis."""

    folder: Path
    """Scratch, removed when the world is left."""
    settings: Settings
    store: FeatureStore
    bundle: Bundle
    model: Path
    """LightGBM's text file."""
    customers: tuple[str, ...]
    now: datetime
    """The instant the world's features are of."""

    @property
    def env(self) -> dict[str, str]:
        """What a process must have in its environment to serve this world."""
        return {
            "KAIROS_HOME": str(self.settings.home),
            "KAIROS_REDIS_URL": self.settings.redis_url,
            "KAIROS_NOW": self.now.isoformat(),
        }


@contextmanager
def served_world(people: int) -> Iterator[World]:
    """Simulate, compute, train and materialise; everything is gone when left."""
    with tempfile.TemporaryDirectory(prefix="kairos-bench-") as scratch, RedisServer() as server:
        folder = Path(scratch)
        settings = replace(Settings(), home=folder / "home", redis_url=server.url)
        market, problem, store = simulate(people=people), all_problems()[PROBLEM], FeatureStore(settings)
        window = cutoffs.for_problem(market.start, market.end, problem.horizon)
        everyone = market.events["customer_id"].unique().sort()
        store.apply()
        store.backfill(market.events, dataset.spine([problem], market.events, [window]))
        store.backfill(market.events, spine_of(everyone, market.end))
        store.materialize(market.end)
        trained = pipeline.train(dataset.build(problem, market.events, store, window), settings, plan=Plan(trials=1))
        # Speed is measured here, not worth: a model of a market this small is served whatever the gates say.
        bundle.point(settings.models, problem.name, trained.card.version)
        known = store.read_vectors(everyone.to_list(), load_bundle(trained.bundle).refs).known
        customers = tuple(each for each, is_known in zip(everyone, known, strict=True) if is_known)
        served = load_bundle(trained.bundle)
        yield World(folder, settings, store, served, trained.bundle / "model.txt", customers, market.end)
        store.close()
