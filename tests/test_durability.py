"""What the ledger has acknowledged survives `kill -9`, and so does the way of it into the online features."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import redis
from sqlalchemy import text

from features.compute import all_views, compute, wide
from features.frames import events_frame
from features.kernel import cursors, tables
from features.kernel.clock import from_micros, now
from features.kernel.events import Event
from features.kernel.ledger import Ledger
from features.kernel.seeds import generator
from features.kernel.settings import Settings
from features.packed.store import PackedStore

_WRITER = """
import sys
from datetime import UTC, datetime
from features.kernel.events import Event
from features.kernel.group_commit import GroupCommit
from features.kernel.ledger import Ledger

t0 = datetime(2026, 5, 1, 12, tzinfo=UTC)
ledger = Ledger(sys.argv[1])
commit = GroupCommit(ledger)
waiting = []
for i in range(10**9):
    one = Event(event_id=f"{sys.argv[2]}-{i}", customer_id="c1", type="page_view", occurred_at=t0, received_at=t0)
    waiting.append((one.event_id, commit.submit(lambda connection, one=one: ledger.append_events([one], connection))))
    if len(waiting) >= 64:
        name, future = waiting.pop(0)
        assert future.result()[0].status == "accepted"
        print(name, flush=True)
"""


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    acknowledged: list[str] = []
    for turn in range(4):
        writer = subprocess.Popen([sys.executable, "-c", _WRITER, url, str(turn)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for _ in range(150 + 97 * turn):
            acknowledged.append(writer.stdout.readline().strip())
        writer.send_signal(signal.SIGKILL)
        rest, _ = writer.communicate()
        acknowledged += rest.split("\n")[:-1]  # a last line without its end was not read
        assert writer.returncode == -signal.SIGKILL
    ledger = Ledger(url)
    kept = Counter(row[0] for part in ledger.events() for row in part)
    assert set(acknowledged) <= kept.keys() and set(kept.values()) == {1} and len(acknowledged) > 1000
    with ledger.engine.connect() as connection:
        assert connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2, "FULL: a commit is flushed to the disk"
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
    ledger.close()


def test_ledger_and_online_features_agree_however_often_the_follower_is_killed(tmp_path: Path, redis_url: str) -> None:
    """Killed while it reads, computes, pushes, or moves its cursor: it goes on, and everyone's features are right."""
    settings = Settings(home=tmp_path, redis_url=redis_url)
    rng, people = generator("durability"), [f"durable-{i}" for i in range(60)]
    store = PackedStore.of(settings)
    with Ledger.of(settings) as ledger:
        ledger.append_events(_past(people, rng))
        stood = set()
        for _ in range(7):
            with _ingest(settings) as follower:
                deadline = time.monotonic() + float(rng.uniform(1.0, 3.0))
                while time.monotonic() < deadline:
                    ledger.append_events([_now(people, rng) for _ in range(int(rng.integers(1, 30)))])
                    time.sleep(0.01)
                follower.kill()
            stood.add(cursors.read(ledger))
        assert len(stood) > 3, "it was killed while it got on"
        marked = ledger.mark(tables.events)
        with _ingest(settings):
            _eventually(lambda: (cursors.read(ledger) or (0,))[0] == marked and _settled(ledger))
        events = events_frame(row for part in ledger.events() for row in part)
    refs = [ref for view in all_views().values() if view.entity == "customer" for ref in view.refs]
    expected = wide(compute(events, _as_of(people, redis_url)), refs).drop("customer_id", "as_of")
    found = store.read_vectors(people, refs).values
    assert events["customer_id"].n_unique() == 60 and events.height > 1_000
    assert [list(row) for row in expected.rows()] == found
    store.close()


def _past(people: list[str], rng: np.random.Generator) -> list[Event]:
    """Two months as if imported: received when they occurred."""
    start = now() - timedelta(days=60)
    made = []
    for i in range(1_000):
        at = start + timedelta(days=float(rng.uniform(0, 59)))
        made.append(_event(f"past-{i}", people[int(rng.integers(60))], at, rng))
    return made


def _now(people: list[str], rng: np.random.Generator) -> Event:
    return _event(f"now-{rng.integers(2**62)}", people[int(rng.integers(60))], now(), rng)


def _event(event_id: str, customer: str, at: datetime, rng: np.random.Generator) -> Event:
    kind = ("order", "send", "open", "click", "page_view")[int(rng.integers(5))]
    message = f"{customer}-{int(rng.integers(5))}" if kind in ("send", "open", "click") else None
    return Event(
        event_id=event_id,
        customer_id=customer,
        type=kind,
        occurred_at=at,
        received_at=at,
        channel="email" if message else "web",
        message_id=message,
        amount=float(rng.integers(1, 100)) if kind == "order" else None,
        properties={"page": "/pricing", "session": f"s{int(rng.integers(9))}"} if kind == "page_view" else {},
    )


@contextmanager
def _ingest(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("KAIROS_")}
    command = [sys.executable, "-m", "kairos", "ingest"]
    process = subprocess.Popen(command, env=env | settings.environment(), stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _settled(ledger: Ledger) -> bool:
    """Whether the follower has said so after the last event's time, too."""
    cursor = cursors.read(ledger)
    time.sleep(0.1)
    return cursor is not None and cursors.read(ledger) != cursor


def _as_of(people: list[str], redis_url: str) -> pl.DataFrame:
    """The instant of each customer's online features: it stands in the header of every segment."""
    with redis.Redis.from_url(redis_url) as client:
        values = [client.get(f"kairos:customer_id:{{{each}}}") for each in people]
    instants = [from_micros(struct.unpack_from("<IIHq", value)[3]) for value in values if isinstance(value, bytes)]
    return pl.DataFrame(
        {"customer_id": people, "as_of": instants}, schema_overrides={"as_of": pl.Datetime("us", "UTC")}
    )


def _eventually(holds: Callable[[], object], within: float = 60.0) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.05)
