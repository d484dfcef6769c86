"""Reading features online: Kairos against the Feast SDK, and against one raw Redis GET of the same bytes; and memory.

60 float32 features in 4 views, for one customer and for a hundred, all read from the same Redis server. Memory is what
Redis says of the keys, for a server's own has more of its buffers in it than of a few thousand customers; taken on the
`redis-server` 7 of this machine, as most run it, where there is one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import redis

from benchmarks import synthetic
from benchmarks.harness import Benchmark, Result, Side, compare, per_call
from benchmarks.peers.feast_sdk import FeastSdk
from features.kernel.clock import now
from features.packed.layout import Schema
from features.packed.schema import HEAD
from features.packed.store import PackedStore
from features.redis_server import RedisServer, installed_executable
from features.view import FeatureView

__all__ = ["benchmark"]

VIEWS, FEATURES = 4, 15
MANY = 100
_NAMES = [f"feature_{j}" for j in range(FEATURES)]
TUNED = {"hash-max-ziplist-value": 256, "hash-max-ziplist-entries": 512}
"""How Redis 6.2 calls `hash-max-listpack-value` and `-entries`: Feast's hashes stay compact."""


@dataclass(frozen=True, slots=True)
class _Stores:
    """The same customers' features, in the same server."""

    kairos: PackedStore
    feast: FeastSdk
    raw: Any
    customers: list[str]
    refs: tuple[str, ...]


def run(quick: bool) -> list[Result]:
    """Compare reads of 1 and of `MANY` customers, and the memory of them all."""
    views, ids = synthetic.views(VIEWS, FEATURES), synthetic.customers(200 if quick else 2_000)
    frames = synthetic.frames(views, ids, now())
    with tempfile.TemporaryDirectory(prefix="kairos-bench-") as scratch:
        with _filled(Path(scratch), views, frames, ids) as stores:
            seconds = 0.05 if quick else 1.0
            found = [result for many in (1, MANY) for result in _compare(stores, many, seconds)]
        return found + _memory(Path(scratch), views, frames, ids)


@contextmanager
def _filled(
    folder: Path, views: Mapping[str, FeatureView], frames: Mapping[str, pl.DataFrame], ids: list[str]
) -> Iterator[_Stores]:
    with RedisServer() as server, redis.Redis.from_url(server.url) as raw:
        kairos = _kairos(server.url, views, frames)
        feast = _feast(folder / "same", server.url, views, frames)
        yield _Stores(kairos, feast, raw, ids, synthetic.refs(dict(views)))
        kairos.close()


def _kairos(url: str, views: Mapping[str, FeatureView], frames: Mapping[str, pl.DataFrame]) -> PackedStore:
    store = PackedStore(url, [Schema.of(each) for each in views.values()])
    store.push(frames)
    return store


def _feast(
    folder: Path,
    url: str,
    views: Mapping[str, FeatureView],
    frames: Mapping[str, pl.DataFrame],
    dtype: Literal["Float32", "Float64"] = "Float32",
) -> FeastSdk:
    folder.mkdir()
    feast = FeastSdk(folder, url, views, dtype)
    feast.write(frames)
    return feast


# -- speed -------------------------------------------------------------------------------------------------------------


def _compare(stores: _Stores, many: int, seconds: float) -> list[Result]:
    asked = stores.customers[:many]
    groups = [stores.customers[i : i + many] for i in range(0, len(stores.customers) - many + 1, many)]

    def side(name: str, read: Callable[[Sequence[str]], Any], values: Callable[[Any], Any], **settings: Any) -> Side:
        following = cycle(groups)  # never the same customers twice in a row
        cost = per_call(lambda: read(next(following)), seconds=seconds, scale=1e3)
        return Side(name, lambda: np.asarray(values(read(asked)), dtype=np.float32), cost, settings)

    ours = side(
        "PackedStore.read_vectors", lambda ids: stores.kairos.read_vectors(ids, stores.refs), lambda v: v.numbers
    )
    theirs = side(
        "Feast SDK",
        lambda ids: stores.feast.read(ids, stores.refs),
        lambda columns: stores.feast.rows(columns, stores.refs),
        **stores.feast.settings,
    )
    one = len(stores.raw.get(_key(asked[0])))
    floor = side(
        "one raw GET" if many == 1 else "one raw MGET",
        lambda ids: [stores.raw.get(_key(ids[0]))] if many == 1 else stores.raw.mget([_key(each) for each in ids]),
        lambda replies: _numbers(replies, list(stores.kairos.schemas.values())),
        client="redis-py",
        bytes_a_customer=one,
    )
    shared = _shared(stores.customers) | {"customers": many}
    return [
        compare(f"online_{many}_{what}", ours, peer, unit="ms a read", equal=np.array_equal, settings=shared)
        for what, peer in (("feast_sdk", theirs), ("raw_get", floor))
    ]


def _key(customer: str) -> str:
    """Where the packed store keeps a customer."""
    return f"kairos:customer_id:{{{customer}}}"


def _numbers(replies: Sequence[bytes], schemas: Sequence[Schema]) -> list[Any]:
    """What the very bytes say that `PackedStore` reads: the views one after the other, their fields sorted by name."""
    value = np.dtype([(each.name, [("head", HEAD), ("body", each.body)]) for each in schemas])
    rows = [np.frombuffer(each, value)[0] for each in replies]
    return [[row[each.name]["body"][name] for each in schemas for name in _NAMES] for row in rows]


def _shared(customers: Sequence[str]) -> dict[str, Any]:
    return {"views": VIEWS, "features": VIEWS * FEATURES, "stored": len(customers)}


# -- memory ------------------------------------------------------------------------------------------------------------


def _memory(
    folder: Path, views: Mapping[str, FeatureView], frames: Mapping[str, pl.DataFrame], ids: list[str]
) -> list[Result]:
    """Bytes a customer, each store in a server of its own that is tuned for it; at Redis's defaults beside it.

    Feast once with its features declared Float32, and once Float64, which is what it makes of a pandas frame.
    """
    refs, asked = synthetic.refs(dict(views)), ids[:MANY]
    with ExitStack() as running:

        def feast(dtype: Literal["Float32", "Float64"]) -> Side:
            tuned, plain = _tuned_and_plain(running)
            peer = _feast(folder / dtype, tuned.url, views, frames, dtype)
            _feast(folder / f"{dtype}-plain", plain.url, views, frames, dtype)

            def values() -> Any:
                return np.asarray(peer.rows(peer.read(asked, refs), refs), dtype=np.float32)

            return _weighed(f"Feast's Redis store, {dtype}", values, tuned, plain, **FeastSdk.settings)

        tuned, plain = _tuned_and_plain(running)
        kairos = _kairos(tuned.url, views, frames)
        running.callback(kairos.close)
        _kairos(plain.url, views, frames).close()
        ours = _weighed(
            "PackedStore", lambda: kairos.read_vectors(asked, refs).numbers.astype(np.float32), tuned, plain
        )
        shared = _shared(ids) | {"measured": "MEMORY USAGE of every key, one a customer", "redis": _server(tuned.url)}
        return [
            compare(name, ours, peer, unit="bytes a customer", equal=np.array_equal, settings=shared)
            for name, peer in (
                ("online_memory_feast_float32", feast("Float32")),
                ("online_memory_feast_float64", feast("Float64")),
            )
        ]


def _tuned_and_plain(running: ExitStack) -> tuple[RedisServer, RedisServer]:
    """A server that is tuned, and one that is as it comes."""
    executable = installed_executable(at_least=7)
    tuned, plain = (running.enter_context(RedisServer(executable)) for _ in range(2))
    with redis.Redis.from_url(tuned.url) as client:
        for name, value in TUNED.items():
            client.config_set(name, value)
    return tuned, plain


def _weighed(name: str, values: Callable[[], Any], tuned: RedisServer, plain: RedisServer, **settings: Any) -> Side:
    """A side whose cost is what it takes in its tuned server; what it takes in the other is said beside it."""
    beside = {"settings": TUNED, "bytes_at_redis_defaults": _bytes_a_key(plain.url)}
    return Side(name, values, lambda: _bytes_a_key(tuned.url), beside | settings)


def _server(url: str) -> str:
    """Redis's version and how it allocates."""
    with redis.Redis.from_url(url) as client:
        found: Any = client.info()
    return f"{found['redis_version']}, {found['mem_allocator']}"


def _bytes_a_key(url: str) -> float:
    """What Redis says that a key and its value take, on average."""
    with redis.Redis.from_url(url) as client, client.pipeline(transaction=False) as asked:
        for key in client.scan_iter(count=1_000):
            asked.memory_usage(key, samples=0)
        return float(np.mean(asked.execute()))


benchmark = Benchmark("reading 60 features in 4 views: the Feast SDK, one raw Redis GET; and their memory", run)
