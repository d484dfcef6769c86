"""Materialising: Kairos's batch engine and packed store against Feast's local engine and its stock Redis store.

4 views of 15 float32 features, from the same Parquet files into a real Redis each. Once into an empty Redis, once over
the day before, which is what every night does; and the memory that one run takes on top of what its process has.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
import redis

from benchmarks import synthetic
from benchmarks.harness import Benchmark, Result, Side, compare
from benchmarks.peers.feast_local import FeastLocal
from features import offline_files
from features.kernel.clock import now
from features.kernel.settings import Settings
from features.redis_server import RedisServer
from features.store import FeatureStore

__all__ = ["benchmark"]

VIEWS, FEATURES = 4, 15
READ_BACK = 1_000
DAY = timedelta(days=1)
_PEAK = Path("/proc/self/clear_refs")


class _Loader(Protocol):
    def materialize(self, as_of: datetime) -> object: ...


@dataclass(frozen=True, slots=True)
class _World:
    """The same offline files for both, and a Redis for each."""

    folder: Path
    today: datetime
    customers: list[str]
    kairos_url: str
    feast_url: str

    @property
    def rows(self) -> int:
        return len(self.customers) * VIEWS


def run(quick: bool) -> list[Result]:
    """Compare time a row, into an empty Redis and over yesterday; and memory, unless `quick`, on Linux."""
    with _filled(500 if quick else 20_000) as world:
        kairos, feast = _kairos(world.folder, world.kairos_url), _feast(world.folder, world.feast_url)
        refs = synthetic.refs(synthetic.views(VIEWS, FEATURES))
        asked = world.customers[:: max(1, len(world.customers) // READ_BACK)]
        sides = [
            (kairos, world.kairos_url, lambda: kairos.read_vectors(asked, refs).values),
            (feast, world.feast_url, lambda: feast.read(asked, refs)),
        ]
        found = [_compare_time(world, sides, over=over) for over in (False, True)]
        if not quick and _PEAK.exists():
            found.append(_compare_memory(world))
        kairos.close()
        return found


@contextmanager
def _filled(count: int) -> Iterator[_World]:
    views, ids = synthetic.views(VIEWS, FEATURES), synthetic.customers(count)
    today = now().replace(microsecond=0) - timedelta(hours=1)
    with tempfile.TemporaryDirectory(prefix="kairos-bench-") as scratch, RedisServer() as ours, RedisServer() as theirs:
        world = _World(Path(scratch), today, ids, ours.url, theirs.url)
        settings = _settings(world.folder, ours.url)
        FeatureStore(settings, views).apply()
        frames = synthetic.frames(views, ids, today)
        offline_files.write(settings.offline, frames, views)
        yesterday = {name: _other(frame, today - DAY) for name, frame in frames.items()}
        offline_files.write(settings.offline, yesterday, views)
        yield world


def _other(frame: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """The same customers at another instant, each value another."""
    return frame.with_columns(pl.lit(as_of).alias("as_of"), -pl.col(pl.Float32))


def _settings(folder: Path, url: str) -> Settings:
    return replace(Settings(), home=folder / "kairos", redis_url=url)


def _kairos(folder: Path, url: str) -> FeatureStore:
    return FeatureStore(_settings(folder, url), synthetic.views(VIEWS, FEATURES))


def _feast(folder: Path, url: str) -> FeastLocal:
    return FeastLocal(folder, url, synthetic.views(VIEWS, FEATURES), _settings(folder, url).offline)


_OPEN: dict[str, Callable[[Path, str], _Loader]] = {"kairos": _kairos, "feast": _feast}


def _compare_time(world: _World, sides: list[tuple[Any, str, Callable[[], Any]]], *, over: bool) -> Result:
    def side(name: str, loader: _Loader, url: str, read: Callable[[], Any], settings: dict[str, Any]) -> Side:
        def cost() -> float:
            with redis.Redis.from_url(url) as server:
                server.flushall()
            if over:
                loader.materialize(world.today - DAY)
            started = time.perf_counter()
            loader.materialize(world.today)
            return (time.perf_counter() - started) / world.rows * 1e6

        def answer() -> tuple[int, Any]:
            cost()
            with redis.Redis.from_url(url) as server:
                return int(server.dbsize()), np.asarray(read(), dtype=np.float32)

        return Side(name, answer, cost, settings)

    (ours, our_url, read_ours), (theirs, their_url, read_theirs) = sides
    return compare(
        "materialise_over_yesterday" if over else "materialise_into_empty",
        side("FeatureStore.materialize", ours, our_url, read_ours, {}),
        side("Feast, local engine", theirs, their_url, read_theirs, dict(FeastLocal.settings)),
        unit="µs a row",
        equal=lambda one, other: one[0] == other[0] and np.array_equal(one[1], other[1]),
        settings=_shared(world),
    )


def _compare_memory(world: _World) -> Result:
    def side(name: str, kind: str, url: str) -> Side:
        # Both load the same rows, and a process that fails prints no number: the rows are the answer.
        return Side(name, lambda: world.rows, lambda: _grown(kind, world, url))

    return compare(
        "materialise_memory",
        side("FeatureStore.materialize", "kairos", world.kairos_url),
        side("Feast, local engine", "feast", world.feast_url),
        unit="MB more at the peak",
        equal=lambda one, other: one == other,
        settings=_shared(world),
    )


def _grown(kind: str, world: _World, url: str) -> float:
    """Resident memory at the peak of one run less that before it, MB, in a process of its own."""
    script = "import sys; from benchmarks.members import materialise as m; m.child(*sys.argv[1:])"
    arguments = [kind, str(world.folder), url, world.today.isoformat()]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], check=True, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    return float(done.stdout.split()[-1])


def child(kind: str, folder: str, url: str, as_of: str) -> None:
    """Print what `_grown` asks for. A run over a day without rows comes first: it loads code, and is not counted."""
    loader, today = _OPEN[kind](Path(folder), url), datetime.fromisoformat(as_of)
    loader.materialize(today - 400 * DAY)
    _PEAK.write_text("5")  # Linux: forget the peak until now
    before = _kilobytes("VmRSS")
    loader.materialize(today)
    sys.stdout.write(f"\n{(_kilobytes('VmHWM') - before) / 1024}\n")


def _kilobytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _shared(world: _World) -> dict[str, Any]:
    return {"customers": len(world.customers), "views": VIEWS, "features": VIEWS * FEATURES, "rows": world.rows}


benchmark = Benchmark("loading 4 views of 15 features into Redis: Feast's local engine with its Redis store", run)
