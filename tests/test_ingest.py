"""Ingest: what was acknowledged is durable, shows online, and survives everything that may go away."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features import history
from features.compute import compute
from features.frames import events_frame, spine_of
from features.ingest import Ingest
from features.kernel import clock, tables
from features.kernel.errors import Busy, InvalidInput, NotFound, Unavailable
from features.kernel.events import Event
from features.kernel.group_commit import GroupCommit
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings
from features.redis_server import RedisServer
from features.store import FeatureStore

NOW = datetime(2026, 6, 1, tzinfo=UTC)
REFS = ["orders:count_30d", "orders:revenue_30d", "orders:days_since_last", "profile:country"]
_ids = count()


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    clock.set_origin(NOW)
    yield
    clock.set_origin(None)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    yield made
    made.close()


@pytest.fixture
def commit(ledger: Ledger) -> Iterator[GroupCommit]:
    made = GroupCommit(ledger)
    yield made
    made.close()


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as made:
        yield made


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, server: RedisServer) -> Iterator[FeatureStore]:
    made = FeatureStore(Settings(home=tmp_path_factory.mktemp("ingest"), redis_url=server.url))
    made.apply()
    yield made
    made.close()


@pytest.fixture
def ingest(ledger: Ledger, commit: GroupCommit, store: FeatureStore) -> Iterator[Ingest]:
    made = Ingest(ledger, commit, store)
    yield made
    made.close()


class Gate:
    """A store behind a gate: nothing is pushed until it is opened."""

    def __init__(self, store: FeatureStore) -> None:
        self.open = threading.Event()
        self._store = store

    def push(self, frames: Mapping[str, pl.DataFrame]) -> None:
        self.open.wait(30)
        self._store.push(frames)


def customer() -> str:
    return f"ingest-{next(_ids)}"


def order(who: str, amount: float = 20.0, ago: timedelta = timedelta(0), **fields: Any) -> Event:
    now = clock.now()
    settled: dict[str, Any] = {"event_id": f"order-{next(_ids)}", "received_at": now, "occurred_at": now - ago} | fields
    return Event(customer_id=who, type="order", amount=amount, **settled)


def statuses(ingest: Ingest, events: Sequence[Event]) -> list[str]:
    return [each.status for each in ingest.submit(events).result(30)]


def values(store: FeatureStore, who: str) -> list[float | str | None]:
    return store.read_vectors([who], REFS).values[0]


# -- online at once ----------------------------------------------------------------------------------------------------


def test_an_accepted_event_shows_in_the_next_read(ingest: Ingest, store: FeatureStore) -> None:
    who = customer()
    assert not store.read_vectors([who], REFS).known[0]
    assert statuses(ingest, [order(who), order(who, 5.5)]) == ["accepted", "accepted"]
    assert ingest.flush()
    assert values(store, who)[:2] == [2.0, 25.5]
    assert statuses(ingest, [order(who, 1.0)]) == ["accepted"]
    assert ingest.flush()
    assert values(store, who)[:2] == [3.0, 26.5]


def test_online_is_what_training_would_compute(ingest: Ingest, store: FeatureStore, ledger: Ledger) -> None:
    """The same aggregate over the same ledger at the row's own instant gives the same numbers."""
    who = customer()
    statuses(ingest, [order(who, ago=timedelta(days=day)) for day in (0, 3, 40)])
    assert ingest.flush()
    found = store.read_vectors([who], REFS)
    # Days since the last order tell the row's instant, which is then the spine's.
    events = events_frame(row for part in ledger.events([who]) for row in part)
    as_of = clock.now() - timedelta(seconds=float(found.age_seconds[0]))
    frame = compute(events, spine_of([who], as_of))
    assert found.values[0][:2] == [frame["orders"]["count_30d"][0], frame["orders"]["revenue_30d"][0]]
    assert found.values[0][2] == pytest.approx(frame["orders"]["days_since_last"][0], abs=1 / 86_400)


def test_a_late_event_corrects_features(ingest: Ingest, store: FeatureStore) -> None:
    who = customer()
    statuses(ingest, [order(who, ago=timedelta(days=10))])
    assert ingest.flush()
    before = values(store, who)[2]
    statuses(ingest, [order(who, ago=timedelta(days=2)), order(who, ago=timedelta(days=20))])
    assert ingest.flush()
    after = values(store, who)
    assert before == pytest.approx(10, abs=0.01)
    assert after[0] == 3.0
    assert after[2] == pytest.approx(2, abs=0.01)


def test_an_event_of_a_clock_that_runs_ahead_shows_when_its_time_has_come(ingest: Ingest, store: FeatureStore) -> None:
    who = customer()
    statuses(ingest, [order(who, ago=timedelta(days=1)), order(who, ago=timedelta(seconds=-4))])
    assert ingest.flush()
    assert values(store, who)[0] == 1.0, "it has not happened yet"
    deadline = time.monotonic() + 30
    while values(store, who)[0] != 2.0 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert values(store, who)[0] == 2.0


def test_many_at_once(ingest: Ingest, store: FeatureStore) -> None:
    """Concurrent senders of the same customers: each event counts once."""
    people = [customer() for _ in range(20)]

    def send() -> None:
        futures = [ingest.submit([order(who)]) for who in people]
        assert {each.result(30)[0].status for each in futures} == {"accepted"}

    senders = [threading.Thread(target=send) for _ in range(4)]
    for each in senders:
        each.start()
    for each in senders:
        each.join()
    assert ingest.flush()
    assert [row[0] for row in store.read_vectors(people, REFS).values] == [4.0] * 20
    assert ingest.waiting == 0


# -- receipts ----------------------------------------------------------------------------------------------------------


def test_receipts(ingest: Ingest, store: FeatureStore, ledger: Ledger) -> None:
    who, other = customer(), customer()
    first = order(who, event_id=f"{who}-1")
    again = order(who, event_id=f"{who}-1", occurred_at=first.occurred_at)
    changed = order(who, 99.0, event_id=f"{who}-1", occurred_at=first.occurred_at)
    stolen = order(other, event_id=f"{who}-1", occurred_at=first.occurred_at)
    ahead = order(who, ago=timedelta(minutes=-10))
    assert statuses(ingest, [first, again, changed, stolen, ahead]) == [
        "accepted",
        "duplicate",
        "conflict",
        "conflict",
        "quarantined",
    ]
    assert statuses(ingest, [again]) == ["duplicate"]
    assert ingest.flush()
    assert values(store, who)[0] == 1.0
    assert not store.read_vectors([other], REFS).known[0], "a refused event touches nobody"
    assert (ledger.count(tables.events), ledger.count(tables.quarantine)) == (1, 1)


def test_a_quarantined_event_does_not_block_the_customer(ingest: Ingest, store: FeatureStore) -> None:
    """In stock Feast one row dated ahead makes the store refuse every later row of its entity."""
    who = customer()
    statuses(ingest, [order(who, ago=timedelta(days=-30))])
    assert statuses(ingest, [order(who)]) == ["accepted"]
    assert ingest.flush()
    assert values(store, who)[0] == 1.0


# -- limits ------------------------------------------------------------------------------------------------------------


def test_a_full_queue_refuses_and_keeps_what_it_took(ledger: Ledger, commit: GroupCommit, store: FeatureStore) -> None:
    gate = Gate(store)
    ingest = Ingest(ledger, commit, gate, queue_size=3)
    held = customer()
    statuses(ingest, [order(held)])  # the thread takes it and stands at the gate
    while ingest.waiting != 1 or ledger.count(tables.events) != 1:
        time.sleep(0.01)
    people = [customer() for _ in range(3)]
    taken = 0
    with pytest.raises(Busy, match="try again"):
        for who in (*people, *(customer() for _ in range(3))):
            statuses(ingest, [order(who)])
            taken += 1
    assert taken >= 3
    assert ledger.count(tables.events) == 1 + taken, "a refused event was stored"
    gate.open.set()
    assert ingest.flush()
    assert statuses(ingest, [order(customer())]) == ["accepted"], "it takes events again"
    assert ingest.flush()
    ingest.close()
    assert store.read_vectors([held, *people], REFS).known.all()
    with pytest.raises(InvalidInput, match="send less"):
        ingest.submit([order(customer()) for _ in range(4)])


def test_close_drains_and_refuses(ledger: Ledger, commit: GroupCommit, store: FeatureStore) -> None:
    gate = Gate(store)
    ingest = Ingest(ledger, commit, gate)
    people = [customer() for _ in range(5)]
    futures = [ingest.submit([order(who)]) for who in people]
    threading.Timer(0.2, gate.open.set).start()
    assert ingest.close() == 0
    assert all(each.result(0)[0].status == "accepted" for each in futures)
    assert store.read_vectors(people, REFS).known.all()
    with pytest.raises(Unavailable, match="closing"):
        ingest.submit([order(people[0])])


def test_a_customer_who_cannot_be_computed_keeps_nobody_waiting(
    ledger: Ledger, commit: GroupCommit, store: FeatureStore, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = customer(), customer()

    class Picky:
        def push(self, frames: Mapping[str, pl.DataFrame]) -> None:
            if bad in frames["orders"]["customer_id"]:
                raise ValueError("no such luck")
            store.push(frames)

    ingest = Ingest(ledger, commit, Picky())
    statuses(ingest, [order(bad), order(good)])
    assert ingest.flush()
    assert store.read_vectors([good], REFS).known[0]
    assert ingest.failures == 1
    assert bad in caplog.text
    ingest.close()


# -- what may go away --------------------------------------------------------------------------------------------------


def test_redis_killed_in_the_middle_loses_nothing(ledger: Ledger, commit: GroupCommit, store: FeatureStore) -> None:
    with RedisServer() as server:
        own = FeatureStore(Settings(home=store.settings.home, redis_url=server.url))
        ingest = Ingest(ledger, commit, own)
        before, during = customer(), [customer() for _ in range(3)]
        statuses(ingest, [order(before)])
        assert ingest.flush()
        os.kill(server.pid, signal.SIGKILL)
        for who in during:
            assert statuses(ingest, [order(who)]) == ["accepted"], "the ledger alone acknowledges"
        with pytest.raises(Unavailable):
            own.read_vectors([before], REFS)
        assert not ingest.flush(timeout=1.0)
        assert ingest.retries >= 1
        assert ingest.waiting == 3
        server.stop()
        server.start()
        assert ingest.flush()
        assert own.read_vectors(during, REFS).known.all()
        assert ingest.close() == 0
        own.close()


def test_closing_without_redis_says_how_many_are_left(ledger: Ledger, commit: GroupCommit, store: FeatureStore) -> None:
    nowhere = FeatureStore(Settings(home=store.settings.home, redis_url="redis://127.0.0.1:1/0"))
    ingest = Ingest(ledger, commit, nowhere)
    statuses(ingest, [order(customer()), order(customer())])
    assert ingest.close(patience=0.3) == 2
    assert ledger.count(tables.events) == 2


# -- the columnar history ----------------------------------------------------------------------------------------------


def test_history_is_the_ledger(tmp_path: Path, ledger: Ledger, ingest: Ingest) -> None:
    settings = Settings(home=tmp_path)
    with pytest.raises(NotFound, match="import"):
        history.refreshed(settings, ledger)
    with pytest.raises(NotFound, match="import"):
        history.read(settings)
    who = customer()
    statuses(ingest, [order(who), order(who, channel="web", properties={"discount": 0.1})])
    whole = events_frame(row for part in ledger.events() for row in part)
    assert history.refreshed(settings, ledger).equals(whole, null_equal=True)
    statuses(ingest, [order(who)])
    assert history.refreshed(settings, ledger).height == 3
    assert history.rebuild(settings, ledger) == 3


def test_history_keeps_an_event_once(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    rows = [(f"e{i}", "ann", "order", 10, 10, None, None, None, None, None, 1.0, "EUR", None) for i in range(4)]
    assert history.write(settings, events_frame(rows[:3])) == 3
    assert history.write(settings, events_frame(rows)) == 1
    assert history.write(settings, events_frame(rows)) == 0
    assert history.read(settings)["event_id"].to_list() == ["e0", "e1", "e2", "e3"]
