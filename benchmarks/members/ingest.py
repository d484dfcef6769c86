"""Ingest: from an event's JSON to features online, against Feast's push of the same features already computed.

Kairos validates, makes durable (group commit, SQLite with a full sync), finds the histories, aggregates and writes;
Feast only writes. Both go in equal micro-batches, into a Redis each. The follower is a process of its own, as it is in
use. Beside the rate stands how soon an event shows in a read at twice Feast's rate, which is the goal.
"""

from __future__ import annotations

import json
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import redis

from benchmarks.harness import Benchmark, Result, Side, compare
from benchmarks.peers import feast_push
from benchmarks.peers.feast_push import FeastPush
from benchmarks.peers.processes import peak_mb
from features.compute import all_views, compute, population
from features.frames import events_frame, spine_of, to_events
from features.ingest.intake import Intake
from features.ingest.streams import read_event
from features.ingest.tail import Tail
from features.kernel import cursors, tables
from features.kernel.clock import from_micros, now
from features.kernel.group_commit import GroupCommit
from features.kernel.ledger import Ledger
from features.kernel.processes import child
from features.kernel.seeds import generator
from features.kernel.settings import Settings
from features.market import simulate
from features.packed.store import PackedStore
from features.population import months_of
from features.redis_server import RedisServer

__all__ = ["benchmark"]

BATCH = 500
READ_BACK = 200
COUNT = "orders:count_30d"
TICK, POLL = 0.05, 0.01
"""Seconds between two arrivals of events where freshness is measured, and between two looks at what is online."""
_PROBES = 5
_ELEMENTS = (9, 90)  # of each list, compared
_STATUS = Path("/proc/self/status")
_ids = count()


@dataclass(frozen=True, slots=True)
class _World:
    """A ledger with everyone's history, a Redis for each side, and room for a follower of the ledger."""

    folder: Path
    settings: Settings
    feast_url: str
    ledger: Ledger
    intake: Intake
    store: PackedStore
    feast: FeastPush
    groups: list[Sequence[str]]
    """Everyone, in micro-batches."""
    batches: list[feast_push.Batch] = field(default_factory=list)
    """Their features, for Feast to push."""

    @property
    def people(self) -> list[str]:
        return [each for group in self.groups for each in group]


def run(quick: bool) -> list[Result]:
    """Compare the rate; unless `quick`, memory, too, on Linux."""
    with _served(200 if quick else 3_000, BATCH // 5 if quick else BATCH) as world:
        with _follower(world.settings, world.ledger):
            freshness = _freshness(world, seconds=1.0 if quick else 10.0)
            found = [_compare_rate(world, freshness)]
        if not quick and _STATUS.exists():
            found.append(_compare_memory(world))
        return found


# -- how many a second -------------------------------------------------------------------------------------------------


def _compare_rate(world: _World, freshness: dict[str, float]) -> Result:
    customers = [view for view in all_views().values() if view.entity == "customer"]
    scalars = [ref for view in customers for ref in view.refs]
    lists = [f"{view.name}:{each.name}" for view in customers for each in view.features if each.length is not None]
    asked = world.people[:: max(1, len(world.people) // READ_BACK)]

    def ours() -> list[list[Any]]:
        _ingested(world)
        elements = [f"{ref}[{i}]" for ref in lists for i in _ELEMENTS]
        return world.store.read_vectors(asked, [*scalars, *elements]).values

    def theirs() -> list[list[Any]]:
        world.feast.push(world.feast.prepared([_expected(world, asked)]))
        read = world.feast.read(asked, [*scalars, *lists])
        width = len(scalars)
        return [[*row[:width], *(each and each[i] for each in row[width:] for i in _ELEMENTS)] for row in read]

    return compare(
        "ingest_rate",
        Side("intake and follower", ours, lambda: _ingested(world), {"ledger": "SQLite, synchronous=FULL"}),
        Side("Feast's push", theirs, lambda: _pushed(world), dict(FeastPush.settings)),
        unit="s per 1,000 customers",
        equal=lambda one, other: one == other,
        settings=_shared(world) | freshness,
    )


def _shared(world: _World) -> dict[str, Any]:
    views = all_views().values()
    return {
        "customers": len(world.people),
        "events_a_customer": round(world.ledger.count(tables.events) / len(world.people)),
        "micro_batch": len(world.groups[0]),
        "views": len(views),
        "features": sum(len(view.refs) for view in views),
        "lists": sum(each.length is not None for view in views for each in view.features),
    }


def _ingested(world: _World) -> float:
    """Everyone gets an event; seconds per 1,000 customers until the last of them is online."""
    while not _caught_up(world.ledger):
        time.sleep(TICK)
    texts = [[_order(each) for each in group] for group in world.groups]
    before = world.store.read_vectors(world.people, [COUNT]).numbers[:, 0]
    last = world.people[-_PROBES:]  # they wait in the order of their events
    started = time.perf_counter()
    taken = [world.intake.submit([read_event(text, now()) for text in group]) for group in texts]
    if any(receipt.status != "accepted" for each in taken for receipt in each.result()):
        raise AssertionError("an event was not accepted")
    while not (world.store.read_vectors(last, [COUNT]).numbers[:, 0] > before[-_PROBES:]).all():
        time.sleep(POLL)
    seconds = time.perf_counter() - started
    after = world.store.read_vectors(world.people, [COUNT]).numbers[:, 0]
    if not np.array_equal(after, before + 1):
        raise AssertionError("not every event is online, once")
    return seconds / len(world.people) * 1_000


def _pushed(world: _World) -> float:
    prepared = world.feast.prepared(world.batches)
    started = time.perf_counter()
    world.feast.push(prepared)
    return (time.perf_counter() - started) / len(world.people) * 1_000


def _order(customer: str) -> bytes:
    said = {"event_id": f"bench-{next(_ids)}", "customer_id": customer, "type": "order", "amount": 20.0}
    said |= {"occurred_at": (now() - timedelta(seconds=1)).isoformat(), "currency": "EUR", "properties": {"items": 2}}
    return json.dumps(said).encode()


def _expected(world: _World, ids: Sequence[str]) -> feast_push.Batch:
    """What training would compute from the ledger, at the instants that stand in the headers of what is online."""
    with redis.Redis.from_url(world.settings.redis_url) as client:
        values = [client.get(f"kairos:customer_id:{{{each}}}") for each in ids]
    as_of = [from_micros(struct.unpack_from("<IIHq", value)[3]) for value in values if isinstance(value, bytes)]
    events = events_frame(row for part in world.ledger.events() for row in part)
    return compute(events, pl.DataFrame({"customer_id": ids, "as_of": as_of}))


# -- how soon ----------------------------------------------------------------------------------------------------------


def _freshness(world: _World, seconds: float) -> dict[str, float]:
    """Events arrive at twice Feast's rate; how long some of them take from submit to read."""
    world.feast.push(world.feast.prepared(world.batches[:1]))  # connections and caches
    rate = 2_000 / _pushed(world)
    rng, waiting, found = generator("benchmark", "freshness"), dict[str, tuple[float, float]](), list[float]()
    started, sent = time.perf_counter(), 0
    while (passed := time.perf_counter() - started) < seconds or waiting:
        due = int(min(passed, seconds) * rate) - sent
        if due >= rate * TICK:
            chosen = [world.people[(sent + i) % len(world.people)] for i in range(due)]
            probes = [str(each) for each in rng.choice(chosen, _PROBES) if each not in waiting]
            counts = dict(zip(probes, world.store.read_vectors(probes, [COUNT]).numbers[:, 0].tolist(), strict=True))
            at = time.perf_counter()
            world.intake.submit([read_event(_order(each), now()) for each in chosen])
            waiting |= {each: (at, count) for each, count in counts.items()}
            sent += due
        if waiting:
            seen = world.store.read_vectors(list(waiting), [COUNT]).numbers[:, 0]
            for each, number in zip(list(waiting), seen.tolist(), strict=True):
                if number > waiting[each][1]:
                    found.append(time.perf_counter() - waiting.pop(each)[0])
        time.sleep(POLL)
    cuts = statistics.quantiles(found, n=100, method="inclusive")
    return {
        "freshness_events_a_second": round(rate),
        "freshness_p50_s": round(cuts[49], 3),
        "freshness_p99_s": round(cuts[98], 3),
    }


# -- memory ------------------------------------------------------------------------------------------------------------


def _compare_memory(world: _World) -> Result:
    """The most memory of the follower, which holds every event, and of a process that only pushes through Feast."""
    frames = world.folder / "frames"
    frames.mkdir()
    feast_push.save(world.batches, frames)

    def ours() -> float:
        with _follower(world.settings, world.ledger) as pid:
            _ingested(world)
            return peak_mb(pid)

    def theirs() -> float:
        command = [sys.executable, "-m", "benchmarks.peers.feast_push", str(frames), world.feast_url]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return float(done.stdout.split()[-1])

    return compare(
        "ingest_memory",
        Side("the follower", lambda: None, ours, {"events": world.ledger.count(tables.events)}),
        Side("Feast's push", lambda: None, theirs, dict(FeastPush.settings)),
        unit="MB",
        equal=lambda one, other: True,
        settings=_shared(world),
    )


# -- the world ---------------------------------------------------------------------------------------------------------


@contextmanager
def _served(people: int, batch: int) -> Iterator[_World]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kairos-bench-")))
        ours, theirs = stack.enter_context(RedisServer()), stack.enter_context(RedisServer())
        settings = replace(Settings(), home=folder / "home", redis_url=ours.url)
        ledger = stack.enter_context(Ledger.of(settings))
        events = _past(people)
        for part in events.iter_slices(20_000):
            ledger.append_events(list(to_events(part)))
        commit, store = GroupCommit(ledger), PackedStore.of(settings)
        stack.callback(store.close)
        stack.callback(commit.close)
        (folder / "feast").mkdir()
        everyone = events["customer_id"].unique().sort().to_list()
        peer = FeastPush(folder / "feast", theirs.url)
        intake = Intake(ledger, commit, queue_size=100_000)
        world = _World(folder, settings, theirs.url, ledger, intake, store, peer, list(_cut(everyone, batch)))
        store.push(compute(events, spine_of(everyone, now())))
        tail, month = Tail(), months_of(spine_of(everyone[:1], now()))
        tail.append(events)
        for chosen in world.groups:
            world.batches.append(compute(tail.of(chosen), spine_of(chosen, now()), population(events, month)))
        yield world


def _past(people: int) -> pl.DataFrame:
    """A simulated market that ends now."""
    market = simulate(people=people)
    ago = now() - market.end
    return market.events.with_columns(pl.col("occurred_at", "received_at") + ago)


@contextmanager
def _follower(settings: Settings, ledger: Ledger) -> Iterator[int]:
    """`kairos ingest`, caught up; its process id."""
    before = cursors.read(ledger)
    command = [sys.executable, "-m", "kairos", "ingest"]

    def ready() -> bool:
        return cursors.read(ledger) != before and _caught_up(ledger)

    log = settings.home / "follower.log"
    with child(command, name="kairos ingest", ready=ready, env=settings.environment(), log=log) as process:
        yield process.pid


def _caught_up(ledger: Ledger) -> bool:
    cursor = cursors.read(ledger)
    return cursor is not None and cursor.seq >= ledger.mark(tables.events)


def _cut(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


benchmark = Benchmark("event to online feature: Feast's push of the same features, computed before", run)
