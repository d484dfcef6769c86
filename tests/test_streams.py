"""The consumer of Redis Streams: every entry once in the ledger or in quarantine, whoever dies in between."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.exceptions

from features.ingest.streams import StreamConsumer, read_event
from features.kernel import cursors, quarantine, tables
from features.kernel.clock import now
from features.kernel.cursors import Cursor
from features.kernel.errors import InvalidEvent
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings
from features.packed.store import PackedStore
from features.redis_cluster import RedisCluster
from features.redis_server import RedisServer

AT = "2026-01-31T12:00:00Z"
_names = count()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as made:
        yield made


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, protocol=2) as made:
        yield made


@pytest.fixture
def stream() -> str:
    return f"stream-{next(_names)}"


def event(event_id: str, **fields: Any) -> bytes:
    said = {"event_id": event_id, "customer_id": "c", "type": "page_view", "occurred_at": AT} | fields
    return json.dumps(said).encode()


def add(client: redis.Redis, stream: str, *bodies: bytes) -> None:
    for body in bodies:
        client.xadd(stream, {"event": body})


@contextmanager
def consuming(url: str, stream: str, ledger: Ledger, name: str = "one", **more: Any) -> Iterator[StreamConsumer]:
    consumer, stop = StreamConsumer(url, stream, "kairos", name, ledger=ledger, **more), threading.Event()
    consumer.claim_after = 0.1
    thread = threading.Thread(target=consumer.run, args=[stop])
    thread.start()
    try:
        yield consumer
    finally:
        stop.set()
        thread.join()


def eventually(holds: Callable[[], object], within: float = 15.0) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.02)


def pending(client: redis.Redis, stream: str) -> int:
    found: Any = client.xpending(stream, "kairos")
    return int(found["pending"])


def ids(ledger: Ledger) -> list[str]:
    return [row[0] for part in ledger.events() for row in part]


# -- what becomes of an entry ------------------------------------------------------------------------------------------


def test_entries_are_in_the_ledger_once_and_acknowledged(
    redis_url: str, client: redis.Redis, stream: str, ledger: Ledger
) -> None:
    """Those that were there before the group, too."""
    add(
        client,
        stream,
        event("e1", amount=5, properties={"page": "/"}),
        event("e2"),
        event("e1", amount=5, properties={"page": "/"}),
    )
    with consuming(redis_url, stream, ledger) as consumer:
        eventually(lambda: ledger.count(tables.events) == 2)
        add(client, stream, event("e3"), event("e2"))
        eventually(lambda: ledger.count(tables.events) == 3)
        eventually(lambda: consumer.counts.duplicate == 2)
    assert ids(ledger) == ["e1", "e2", "e3"] and pending(client, stream) == 0
    [row, *_] = [row for part in ledger.events() for row in part]
    assert row[1:4] == ("c", "page_view", int(datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp() * 1e6))
    assert (consumer.counts.accepted, consumer.counts.refused) == (3, 0)


def test_what_is_no_event_is_kept_with_its_reason_and_blocks_nobody(
    redis_url: str, client: redis.Redis, stream: str, ledger: Ledger
) -> None:
    bad = {
        b"{": "truncated",
        b"[1]": "object",
        b'"\xff"': "",
        event("a", type="orderr"): "type",
        event("b", amount="ten"): "amount",
        event("c", typ="click"): "typ",
        event("d", occurred_at="2026-01-31T12:00:00"): "time zone",
        event("e", type="order", amount=-1): "amount",
        event("f", customer_id="nul\x00"): "customer_id",
        event("g", received_at=AT): "received_at",
        event("h", properties={"note": "x" * 10_000_000}): "65536 bytes",
        event("i", amount=float("nan")): "",
    }
    add(client, stream, *bad)
    client.xadd(stream, {"event_id": "flat", "customer_id": "flat-customer", "type": "click"})
    add(client, stream, event("good"), event("good", customer_id="somebody else"))
    with consuming(redis_url, stream, ledger) as consumer:
        eventually(lambda: ledger.count(tables.events) == 1)
        eventually(lambda: pending(client, stream) == 0 and consumer.counts.refused == len(bad) + 2)
    kept = quarantine.listed(ledger)
    assert [each.kind for each in kept] == ["refused"] * (len(bad) + 2)
    for reason, each in zip([*bad.values(), "field 'event'", "another body"], kept, strict=True):
        assert reason in each.reason, each
    assert max(len(each.raw or "") for each in kept) == quarantine.RAW_KEPT
    assert '"flat-customer"' in (kept[-2].raw or "") and kept[-2].customer_id == "flat-customer"
    assert kept[3].raw == event("a", type="orderr").decode() and kept[3].customer_id == "c"


def test_an_event_dated_ahead_goes_to_quarantine_like_any_other(
    redis_url: str, client: redis.Redis, stream: str, ledger: Ledger
) -> None:
    add(client, stream, event("ahead", occurred_at=(now() + timedelta(days=1)).isoformat()))
    with consuming(redis_url, stream, ledger) as consumer:
        eventually(lambda: consumer.counts.quarantined == 1)
    [kept] = quarantine.listed(ledger)
    assert (kept.id, kept.kind) == ("ahead", "dated ahead") and pending(client, stream) == 0


@pytest.mark.parametrize("text", [b"", b"null", b"1e999", b"{" * 100_000, event("x", properties=[1])])
def test_no_text_makes_it_fail(text: bytes) -> None:
    with pytest.raises(InvalidEvent):
        read_event(text, now())


# -- who dies, what goes away ------------------------------------------------------------------------------------------

_DYING = """
import os, signal, sys, threading
from contextlib import contextmanager
from features.kernel.ledger import Ledger
from features.ingest.streams import StreamConsumer

class Dying(Ledger):
    @contextmanager
    def transaction(self):
        with super().transaction() as connection:
            yield connection
            if sys.argv[4] == "before the commit":
                os.kill(os.getpid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

consumer = StreamConsumer(sys.argv[1], sys.argv[2], "kairos", "dying", ledger=Dying(sys.argv[3]))
consumer.run(threading.Event())
"""


@pytest.mark.parametrize("heir", ["dying", "another"])
@pytest.mark.parametrize("moment", ["before the commit", "before the acknowledgement"])
def test_killed_at_any_moment_nothing_is_lost_or_doubled(
    redis_url: str, client: redis.Redis, stream: str, ledger: Ledger, moment: str, heir: str
) -> None:
    """Its pending entries go to itself when it comes again, or to another after a while."""
    add(client, stream, *(event(f"e{i}") for i in range(20)), b"no event")
    arguments = [redis_url, stream, str(ledger.engine.url), moment]
    died = subprocess.run([sys.executable, "-c", _DYING, *arguments], check=False)
    assert died.returncode == -signal.SIGKILL
    assert ledger.count(tables.events) == (0 if moment == "before the commit" else 20)
    assert pending(client, stream) == 21
    add(client, stream, event("e20"))
    with consuming(redis_url, stream, ledger, heir):
        eventually(lambda: ledger.count(tables.events) == 21 and pending(client, stream) == 0)
    assert sorted(ids(ledger)) == sorted(f"e{i}" for i in range(21))
    assert len(quarantine.listed(ledger)) == 1


def test_a_stream_of_a_cluster(ledger: Ledger) -> None:
    with RedisCluster() as cluster:
        for node in cluster.nodes:
            with redis.Redis.from_url(node.url) as client, contextlib.suppress(redis.exceptions.ResponseError):
                client.xadd("events", {"event": event("e1")})  # the node that has the key's slot takes it
        with consuming(cluster.url, "events", ledger) as consumer:
            eventually(lambda: consumer.counts.accepted == 1)
    assert ids(ledger) == ["e1"]


def test_two_consumers_share_the_work(redis_url: str, client: redis.Redis, stream: str, ledger: Ledger) -> None:
    with consuming(redis_url, stream, ledger) as one, consuming(redis_url, stream, ledger, "two") as two:
        for i in range(300):
            add(client, stream, event(f"e{i}"))
        eventually(lambda: ledger.count(tables.events) == 300 and pending(client, stream) == 0)
    assert len(set(ids(ledger))) == 300 and one.counts.accepted + two.counts.accepted == 300


def test_it_waits_while_redis_is_away_and_for_a_stream_that_was_removed(ledger: Ledger) -> None:
    with RedisServer() as server, consuming(server.url, "events", ledger):
        with redis.Redis.from_url(server.url, protocol=2) as client:
            add(client, "events", event("before"))
            eventually(lambda: ledger.count(tables.events) == 1)
            client.delete("events")
            add(client, "events", event("anew"))
            eventually(lambda: ledger.count(tables.events) == 2)
        os.kill(server.pid, signal.SIGKILL)
        time.sleep(0.3)
        server.stop()
        server.start()
        with redis.Redis.from_url(server.url, protocol=2) as client:
            add(client, "events", event("after"))
            eventually(lambda: ledger.count(tables.events) == 3)
    assert ids(ledger) == ["before", "anew", "after"]


def test_while_too_much_waits_for_the_follower_it_reads_no_further(
    redis_url: str, client: redis.Redis, stream: str, ledger: Ledger
) -> None:
    cursors.move(ledger, Cursor(0, now()))
    with consuming(redis_url, stream, ledger, queue_size=3) as consumer:
        eventually(lambda: _alive(ledger, consumer))
        add(client, stream, *(event(f"e{i}") for i in range(4)))
        eventually(lambda: ledger.count(tables.events) == 4)
        add(client, stream, event("later"))
        time.sleep(0.8)
        assert ledger.count(tables.events) == 4, "four are more than three"
        cursors.move(ledger, Cursor(4, now()))
        eventually(lambda: ledger.count(tables.events) == 5)


def _alive(ledger: Ledger, consumer: StreamConsumer) -> bool:
    cursors.move(ledger, Cursor(0, now()))  # a follower's word
    time.sleep(0.6)
    return consumer.backlog.alive


# -- the verb ----------------------------------------------------------------------------------------------------------


def test_from_a_stream_to_features(tmp_path: Path, redis_url: str, client: redis.Redis, stream: str) -> None:
    who = f"customer of {stream}"
    add(client, stream, *(event(f"e{i}", customer_id=who, type="order", amount=10) for i in range(3)), b"no event")
    settings = Settings(home=tmp_path, redis_url=redis_url)
    command = [sys.executable, "-m", "kairos", "ingest", "--stream", stream, "--consumer", "a"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("KAIROS_")}
    env |= {"KAIROS_HOME": str(tmp_path), "KAIROS_REDIS_URL": redis_url, "KAIROS_NOW": "2026-02-01T00:00:00Z"}
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    store = PackedStore.of(settings)
    try:
        eventually(lambda: store.read_vectors([who], ["orders:count_30d"]).values == [[3.0]], within=60)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
        store.close()
    assert process.returncode == 130
    assert "accepted=3" in said and "refused=1" in said and "Traceback" not in said
    assert pending(client, stream) == 0
