"""Reading features online: Kairos against the Feast SDK, and against one raw Redis GET of the same bytes.

60 float32 features in 4 views, for one customer and for a hundred. All three read from the same Redis server.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import redis

from benchmarks import synthetic
from benchmarks.harness import Benchmark, Result, Side, compare, per_call
from benchmarks.peers.feast_sdk import FeastSdk
from features.kernel.clock import now
from features.kernel.settings import Settings
from features.redis_server import RedisServer
from features.store import FeatureStore

__all__ = ["benchmark"]

VIEWS, FEATURES = 4, 15
MANY = 100


@dataclass(frozen=True, slots=True)
class _Stores:
    """The same customers' features in three places."""

    kairos: FeatureStore
    feast: FeastSdk
    raw: Any
    customers: list[str]
    refs: tuple[str, ...]


def run(quick: bool) -> list[Result]:
    """Compare reads of 1 and of `MANY` customers."""
    with _filled(200 if quick else 2_000) as stores:
        seconds = 0.05 if quick else 1.0
        return [result for many in (1, MANY) for result in _compare(stores, many, seconds)]


@contextmanager
def _filled(count: int) -> Iterator[_Stores]:
    views = synthetic.views(VIEWS, FEATURES)
    with tempfile.TemporaryDirectory(prefix="kairos-bench-") as scratch, RedisServer() as server:
        settings = replace(Settings(), home=Path(scratch) / "kairos", redis_url=server.url)
        ids, refs = synthetic.customers(count), synthetic.refs(views)
        frames = synthetic.frames(views, ids, now())
        kairos = FeatureStore(settings, views)
        kairos.apply()
        kairos.push(frames)
        feast = FeastSdk(Path(scratch), server.url, views)
        feast.write(frames)
        with redis.Redis.from_url(server.url) as raw:
            raw.mset({f"raw:{each}": packed for each, packed in zip(ids, _packed(frames), strict=True)})
            yield _Stores(kairos, feast, raw, ids, refs)
        kairos.close()


def _packed(frames: dict[str, pl.DataFrame]) -> list[bytes]:
    """Each customer's features as float32, one after the other."""
    columns = [frame.drop("customer_id", "as_of").to_numpy() for frame in frames.values()]
    return [row.tobytes() for row in np.hstack(columns).astype(np.float32)]


def _compare(stores: _Stores, many: int, seconds: float) -> list[Result]:
    asked = stores.customers[:many]
    groups = [stores.customers[i : i + many] for i in range(0, len(stores.customers) - many + 1, many)]

    def side(name: str, read: Callable[[Sequence[str]], Any], values: Callable[[Any], Any], **settings: Any) -> Side:
        following = cycle(groups)  # never the same customers twice in a row
        cost = per_call(lambda: read(next(following)), seconds=seconds, scale=1e3)
        return Side(name, lambda: np.asarray(values(read(asked)), dtype=np.float32), cost, settings)

    ours = side(
        "FeatureStore.read_vectors", lambda ids: stores.kairos.read_vectors(ids, stores.refs), lambda v: v.values
    )
    theirs = side(
        "Feast SDK",
        lambda ids: stores.feast.read(ids, stores.refs),
        lambda columns: stores.feast.rows(columns, stores.refs),
        **stores.feast.settings,
    )
    floor = side(
        "one raw GET" if many == 1 else "one raw MGET",
        lambda ids: stores.raw.mget([f"raw:{each}" for each in ids]) if many > 1 else [stores.raw.get(f"raw:{ids[0]}")],
        lambda replies: [np.frombuffer(each, dtype=np.float32) for each in replies],
        bytes_a_customer=4 * VIEWS * FEATURES,
    )
    shared = {"customers": many, "views": VIEWS, "features": VIEWS * FEATURES, "stored": len(stores.customers)}
    return [
        compare(f"online_{many}_{what}", ours, peer, unit="ms a read", equal=np.array_equal, settings=shared)
        for what, peer in (("feast_sdk", theirs), ("raw_get", floor))
    ]


benchmark = Benchmark("reading 60 features in 4 views: the Feast SDK, one raw Redis GET", run)
