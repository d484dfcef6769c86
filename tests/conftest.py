"""What several test files share: one small turn of the loop, made once for those who need it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.console import Step
from cli.demo import stations
from cli.demo.world import World, market_world
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings, quiet_libraries
from features.redis_server import RedisServer
from features.store import FeatureStore

PEOPLE = 700


@dataclass(frozen=True)
class Loop:
    """A home with events, features, models and a filled Redis, standing at `world.now`."""

    world: World
    settings: Settings
    learnt: stations.Learnt

    @property
    def environment(self) -> dict[str, str]:
        """What a `kairos` process needs to live in this home."""
        return os.environ | {
            "KAIROS_HOME": str(self.settings.home),
            "KAIROS_REDIS_URL": self.settings.redis_url,
            "KAIROS_NOW": self.world.now.isoformat(),
        }


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real `redis-server` for the session."""
    with RedisServer() as server:
        yield server.url


@pytest.fixture(scope="session")
def loop(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Loop:
    """The demo's stations up to the service, on a small market. Do not write to its home: others read it."""
    quiet_libraries()
    world = market_world(seed=7, people=PEOPLE, audience=200)
    settings = Settings(home=Path(tmp_path_factory.mktemp("loop")), redis_url=redis_url)
    ledger, store, at = Ledger(settings.ledger), FeatureStore(settings), Step()
    stations.record(world, settings, ledger, at)
    store.apply()
    asked = stations.problems_of(world)
    stations.compute_features(world, asked, store, at)
    learnt = stations.learn_models(world, asked, settings, store, trials=1, at=at)
    stations.materialise(world, store, at)
    ledger.close()
    return Loop(world, settings, learnt)
