"""Ingest: what was acknowledged is durable, shows online within a second, and survives everything that may go away."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features import history
from features.compute import compute
from features.frames import events_frame, spine_of
from features.ingest.follower import Follower
from features.ingest.intake import Intake
from features.ingest.testing import caught_up, following
from features.kernel import clock, tables
from features.kernel.errors import Busy, InvalidInput, NotFound, Unavailable
from features.kernel.events import Event
from features.kernel.group_commit import GroupCommit
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings
from features.packed.store import PackedStore
from features.redis_server import RedisServer

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
    with Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as made:
        yield made


@pytest.fixture
def commit(ledger: Ledger) -> Iterator[GroupCommit]:
    made = GroupCommit(ledger)
    yield made
    made.close()


@pytest.fixture
def intake(ledger: Ledger, commit: GroupCommit) -> Intake:
    return Intake(ledger, commit)


@pytest.fixture
def store(redis_url: str) -> Iterator[PackedStore]:
    made = PackedStore.of(Settings(redis_url=redis_url))
    yield made
    made.close()


@pytest.fixture
def follower(ledger: Ledger, store: PackedStore) -> Iterator[Follower]:
    with following(ledger, store) as made:
        yield made


class Gate:
    """A store behind a gate: nothing is pushed while it is closed."""

    def __init__(self, store: PackedStore) -> None:
        self.open = threading.Event()
        self.open.set()
        self._store = store

    def push(self, frames: Mapping[str, pl.DataFrame]) -> None:
        self.open.wait(30)
        self._store.push(frames)

    def forget(self, ids: Sequence[str]) -> None:
        self._store.forget(ids)


def customer() -> str:
    return f"ingest-{next(_ids)}"


def order(who: str, amount: float = 20.0, ago: timedelta = timedelta(0), **fields: Any) -> Event:
    now = clock.now()
    settled: dict[str, Any] = {"event_id": f"order-{next(_ids)}", "received_at": now, "occurred_at": now - ago} | fields
    return Event(customer_id=who, type="order", amount=amount, **settled)


def statuses(intake: Intake, events: Sequence[Event]) -> list[str]:
    return [each.status for each in intake.submit(events).result(30)]


def values(store: PackedStore, who: str) -> list[float | str | None]:
    return store.read_vectors([who], REFS).values[0]


def eventually(holds: Callable[[], object], within: float = 10.0) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.02)


# -- online at once ----------------------------------------------------------------------------------------------------


def test_an_accepted_event_shows_in_the_next_read(
    intake: Intake, follower: Follower, ledger: Ledger, store: PackedStore
) -> None:
    who = customer()
    assert not store.read_vectors([who], REFS).known[0]
    assert statuses(intake, [order(who), order(who, 5.5)]) == ["accepted", "accepted"]
    assert caught_up(follower, ledger)
    assert values(store, who)[:2] == [2.0, 25.5]
    assert statuses(intake, [order(who, 1.0)]) == ["accepted"]
    assert caught_up(follower, ledger)
    assert values(store, who)[:2] == [3.0, 26.5]


def test_online_is_what_training_would_compute(
    intake: Intake, follower: Follower, ledger: Ledger, store: PackedStore
) -> None:
    """The same aggregate over the same ledger at the row's own instant gives the same numbers."""
    who = customer()
    statuses(intake, [order(who, ago=timedelta(days=day)) for day in (0, 3, 40)])
    assert caught_up(follower, ledger)
    found = store.read_vectors([who], REFS)
    # The age tells the row's instant, which is then the spine's.
    events = events_frame(row for part in ledger.events([who]) for row in part)
    as_of = clock.now() - timedelta(seconds=float(found.age_seconds[0]))
    frame = compute(events, spine_of([who], as_of))
    assert found.values[0][:2] == [frame["orders"]["count_30d"][0], frame["orders"]["revenue_30d"][0]]
    assert found.values[0][2] == pytest.approx(frame["orders"]["days_since_last"][0], abs=1 / 86_400)


def test_a_late_event_corrects_features(intake: Intake, follower: Follower, ledger: Ledger, store: PackedStore) -> None:
    who = customer()
    statuses(intake, [order(who, ago=timedelta(days=10))])
    assert caught_up(follower, ledger)
    before = values(store, who)[2]
    statuses(intake, [order(who, ago=timedelta(days=2)), order(who, ago=timedelta(days=20))])
    assert caught_up(follower, ledger)
    after = values(store, who)
    assert before == pytest.approx(10, abs=0.01)
    assert after[0] == 3.0
    assert after[2] == pytest.approx(2, abs=0.01)


def test_an_event_of_a_clock_that_runs_ahead_shows_when_its_time_has_come(
    intake: Intake, follower: Follower, ledger: Ledger, store: PackedStore
) -> None:
    who = customer()
    statuses(intake, [order(who, ago=timedelta(days=1)), order(who, ago=timedelta(seconds=-4))])
    assert caught_up(follower, ledger)
    assert values(store, who)[0] == 1.0, "it has not happened yet"
    eventually(lambda: values(store, who)[0] == 2.0)


def test_many_at_once(intake: Intake, follower: Follower, ledger: Ledger, store: PackedStore) -> None:
    """Concurrent senders of the same customers: each event counts once."""
    people = [customer() for _ in range(20)]

    def send() -> None:
        futures = [intake.submit([order(who)]) for who in people]
        assert {each.result(30)[0].status for each in futures} == {"accepted"}

    senders = [threading.Thread(target=send) for _ in range(4)]
    for each in senders:
        each.start()
    for each in senders:
        each.join()
    assert caught_up(follower, ledger)
    assert [row[0] for row in store.read_vectors(people, REFS).values] == [4.0] * 20
    assert follower.waiting == 0


# -- receipts ----------------------------------------------------------------------------------------------------------


def test_receipts(intake: Intake, follower: Follower, store: PackedStore, ledger: Ledger) -> None:
    who, other = customer(), customer()
    first = order(who, event_id=f"{who}-1")
    again = order(who, event_id=f"{who}-1", occurred_at=first.occurred_at)
    changed = order(who, 99.0, event_id=f"{who}-1", occurred_at=first.occurred_at)
    stolen = order(other, event_id=f"{who}-1", occurred_at=first.occurred_at)
    ahead = order(who, ago=timedelta(minutes=-10))
    assert statuses(intake, [first, again, changed, stolen, ahead]) == [
        "accepted",
        "duplicate",
        "conflict",
        "conflict",
        "quarantined",
    ]
    assert statuses(intake, [again]) == ["duplicate"]
    assert caught_up(follower, ledger)
    assert values(store, who)[0] == 1.0
    assert not store.read_vectors([other], REFS).known[0], "a refused event touches nobody"
    assert (ledger.count(tables.events), ledger.count(tables.quarantine)) == (1, 1)


def test_a_quarantined_event_does_not_block_the_customer(
    intake: Intake, follower: Follower, ledger: Ledger, store: PackedStore
) -> None:
    """In stock Feast one row dated ahead makes the store refuse every later row of its entity."""
    who = customer()
    statuses(intake, [order(who, ago=timedelta(days=-30))])
    assert statuses(intake, [order(who)]) == ["accepted"]
    assert caught_up(follower, ledger)
    assert values(store, who)[0] == 1.0


# -- limits ------------------------------------------------------------------------------------------------------------


def test_a_full_queue_refuses_and_keeps_what_it_took(ledger: Ledger, commit: GroupCommit, store: PackedStore) -> None:
    gate, intake = Gate(store), Intake(ledger, commit, queue_size=3)
    with following(ledger, gate) as follower:
        eventually(lambda: (intake.look(), intake.backlog.alive)[1])  # its cursor is seen to move
        gate.open.clear()
        people = [customer() for _ in range(6)]
        taken = 0
        with pytest.raises(Busy, match="try again"):
            for who in people:
                statuses(intake, [order(who)])
                taken += 1
                intake.look()
        assert taken == 3
        assert ledger.count(tables.events) == taken, "a refused event was stored"
        gate.open.set()
        assert caught_up(follower, ledger)
        eventually(lambda: (intake.look(), intake.waiting == 0)[1])
        assert statuses(intake, [order(customer())]) == ["accepted"], "it takes events again"
        assert store.read_vectors(people[:taken], REFS).known.all()
    with pytest.raises(InvalidInput, match="send less"):
        intake.submit([order(customer()) for _ in range(4)])


def test_what_is_sent_between_two_looks_is_counted(ledger: Ledger, commit: GroupCommit, store: PackedStore) -> None:
    gate, intake = Gate(store), Intake(ledger, commit, queue_size=3)
    with following(ledger, gate):
        eventually(lambda: (intake.look(), intake.backlog.alive)[1])
        gate.open.clear()
        assert statuses(intake, [order(customer()) for _ in range(3)]) == ["accepted"] * 3
        assert intake.waiting == 3
        with pytest.raises(Busy):
            intake.submit([order(customer())])
        gate.open.set()


def test_without_a_follower_nothing_is_refused(ledger: Ledger, commit: GroupCommit, store: PackedStore) -> None:
    """Features grow stale then; the ledger keeps the events until a follower comes."""
    intake = Intake(ledger, commit, queue_size=3)
    people = [customer() for _ in range(10)]
    intake.start()
    for who in people:
        assert statuses(intake, [order(who)]) == ["accepted"]
    eventually(lambda: intake.backlog.events == 10)
    assert not intake.backlog.alive
    time.sleep(0.01)
    intake.look()
    assert intake.backlog.seconds > 0
    with following(ledger, store) as follower:
        assert caught_up(follower, ledger)
    assert store.read_vectors(people, REFS).known.all()
    eventually(lambda: intake.waiting == 0)
    intake.close()


def test_closing_finishes_what_was_taken_and_refuses_more(ledger: Ledger) -> None:
    commit = GroupCommit(ledger)
    intake = Intake(ledger, commit)
    intake.start()
    futures = [intake.submit([order(customer())]) for _ in range(50)]
    intake.close()
    commit.close()
    assert [each.result(0)[0].status for each in futures] == ["accepted"] * 50
    assert ledger.count(tables.events) == 50
    with pytest.raises(Unavailable, match="closing"):
        intake.submit([order(customer())])
    assert intake.waiting == 50, "a refused event does not wait"


def test_a_customer_who_cannot_be_computed_keeps_nobody_waiting(
    ledger: Ledger, intake: Intake, store: PackedStore, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = customer(), customer()

    class Picky(Gate):
        def push(self, frames: Mapping[str, pl.DataFrame]) -> None:
            if bad in frames["orders"]["customer_id"]:
                raise ValueError("no such luck")
            store.push(frames)

    with following(ledger, Picky(store)) as follower:
        others = [customer() for _ in range(9)]
        statuses(intake, [order(who) for who in (*others[:5], bad, good, *others[5:])])
        assert caught_up(follower, ledger)
    assert store.read_vectors([good, *others], REFS).known.all()
    assert not store.read_vectors([bad], REFS).known[0]
    assert follower.failures == 1
    assert bad in caplog.text


# -- what may go away --------------------------------------------------------------------------------------------------


def test_redis_killed_in_the_middle_loses_nothing(ledger: Ledger, intake: Intake) -> None:
    before, during = customer(), [customer() for _ in range(3)]
    with RedisServer() as server:
        own = PackedStore.of(Settings(redis_url=server.url))
        with following(ledger, own) as follower:
            statuses(intake, [order(before)])
            assert caught_up(follower, ledger)
            os.kill(server.pid, signal.SIGKILL)
            for who in during:
                assert statuses(intake, [order(who)]) == ["accepted"], "the ledger alone acknowledges"
            with pytest.raises(Unavailable):
                own.read_vectors([before], REFS)
            assert not caught_up(follower, ledger, within=1.0)
            assert follower.retries >= 1
            assert follower.waiting == 3
            server.stop()
            server.start()
            assert caught_up(follower, ledger)
            assert own.read_vectors(during, REFS).known.all()
        own.close()


def test_stopped_without_redis_the_next_follower_goes_on(ledger: Ledger, intake: Intake, store: PackedStore) -> None:
    people = [customer(), customer()]
    with following(ledger, store) as follower:
        assert caught_up(follower, ledger)
    with following(ledger, PackedStore.of(Settings(redis_url="redis://127.0.0.1:1/0"))) as follower:
        statuses(intake, [order(who) for who in people])
        eventually(lambda: follower.retries > 0)
        assert follower.waiting == 2
    assert not store.read_vectors(people, REFS).known.any()
    with following(ledger, store) as follower:
        assert caught_up(follower, ledger)
    assert store.read_vectors(people, REFS).known.all()


# -- the columnar history ----------------------------------------------------------------------------------------------


def test_history_is_the_ledger(tmp_path: Path, ledger: Ledger, intake: Intake) -> None:
    settings = Settings(home=tmp_path)
    with pytest.raises(NotFound, match="import"):
        history.refreshed(settings, ledger)
    with pytest.raises(NotFound, match="import"):
        history.read(settings)
    who = customer()
    statuses(intake, [order(who), order(who, channel="web", properties={"discount": 0.1})])
    assert history.refreshed(settings, ledger).equals(_whole(ledger), null_equal=True)
    statuses(intake, [order(who)])
    assert history.update(settings, ledger) == 1, "what is there is not read again"
    assert history.update(settings, ledger) == 0
    assert history.read(settings).equals(_whole(ledger), null_equal=True)
    assert history.rebuild(settings, ledger) == 3
    assert history.read(settings).equals(_whole(ledger), null_equal=True)


def test_history_grows_by_parts(
    tmp_path: Path, ledger: Ledger, intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "PART", 4)
    settings = Settings(home=tmp_path)
    for size in (3, 3, 1, 5, 2):
        statuses(intake, [order(customer()) for _ in range(size)])
        history.update(settings, ledger)
    parts = sorted(each.name for each in settings.history.iterdir())
    assert parts == [
        "events-000000000001-000000000006.parquet",
        "events-000000000007-000000000012.parquet",
        "events-000000000013-000000000014.parquet",
    ]
    assert history.read(settings).equals(_whole(ledger), null_equal=True)


def test_a_history_of_another_ledger_is_made_anew(tmp_path: Path, ledger: Ledger, intake: Intake) -> None:
    settings = Settings(home=tmp_path)
    statuses(intake, [order("ann"), order("bob"), order("ann")])
    history.update(settings, ledger)
    with ledger.transaction() as connection:
        connection.execute(tables.events.delete().where(tables.events.c.customer_id == "ann"))
    assert history.refreshed(settings, ledger)["customer_id"].to_list() == ["bob"]


def test_a_part_that_was_being_replaced_counts_once(tmp_path: Path, ledger: Ledger, intake: Intake) -> None:
    """Killed after the new part was written and before the old one was removed."""
    settings = Settings(home=tmp_path)
    statuses(intake, [order(customer())])
    history.update(settings, ledger)
    [old] = settings.history.iterdir()
    kept = old.read_bytes()
    statuses(intake, [order(customer())])
    history.update(settings, ledger)
    old.write_bytes(kept)
    assert history.read(settings).height == 2
    assert history.update(settings, ledger) == 0


def _whole(ledger: Ledger) -> pl.DataFrame:
    return events_frame(row for part in ledger.events() for row in part)
