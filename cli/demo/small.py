"""One small turn of the loop up to the service: what tests and examples stand on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cli.console import Step
from cli.demo import stations
from cli.demo.world import World, market_world
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings, quiet_libraries
from features.store import FeatureStore

__all__ = ["SmallLoop", "small_loop"]


@dataclass(frozen=True, slots=True)
class SmallLoop:
    """A home with events, features, models and a filled Redis, standing at `world.now`."""

    world: World
    settings: Settings
    learnt: stations.Learnt

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which a `kairos` process lives in this home."""
        return {
            "KAIROS_HOME": str(self.settings.home),
            "KAIROS_REDIS_URL": self.settings.redis_url,
            "KAIROS_NOW": self.world.now.isoformat(),
        }


def small_loop(home: Path, redis_url: str, *, people: int = 1000, trials: int = 1) -> SmallLoop:
    """Simulate, record, define, compute, learn and materialise into `home`."""
    quiet_libraries()
    world = market_world(seed=7, people=people, audience=people)
    settings = Settings(home=home, redis_url=redis_url)
    ledger, store, at = Ledger(settings.ledger), FeatureStore(settings), Step()
    stations.record(world, settings, ledger, at)
    store.apply()
    asked = stations.problems_of(world)
    stations.compute_features(world, asked, store, at)
    learnt = stations.learn_models(world, asked, settings, store, trials=trials, at=at)
    stations.materialise(world, ledger, store, at)
    ledger.close()
    return SmallLoop(world, settings, learnt)
