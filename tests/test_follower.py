"""The follower: online = ledger, whoever dies when; late, ahead of time, forgotten, of an account, twice at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.compute import all_views, compute
from features.frames import EVENT_SCHEMA, events_frame, spine_of
from features.ingest import follower as module
from features.ingest import tail as tail_module
from features.ingest.follower import Follower
from features.ingest.tail import Tail
from features.ingest.testing import caught_up, following
from features.kernel import clock, cursors, erasure, tables
from features.kernel.cursors import Cursor
from features.kernel.events import Event
from features.kernel.ledger import Ledger
from features.kernel.seeds import generator
from features.kernel.settings import Settings
from features.packed.store import PackedStore
from serving.testing import MemoryStore

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
COUNTS = ["orders:count_30d", "orders:revenue_30d"]
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


class Watched(MemoryStore):
    """Remembers who was pushed, and lets nothing through while it is away."""

    def __init__(self) -> None:
        super().__init__()
        self.pushed: list[list[str]] = []
        self.frames: list[dict[str, pl.DataFrame]] = []

    def push(self, frames: Mapping[str, pl.DataFrame]) -> None:
        super().push(frames)
        self.frames.append(dict(frames))
        self.pushed.append(frames["orders"]["customer_id"].to_list())

    @property
    def everyone(self) -> list[str]:
        return [each for part in self.pushed for each in part]


def order(who: str, amount: float = 20.0, ago: timedelta = timedelta(days=1), **fields: Any) -> Event:
    now = clock.now()
    settled: dict[str, Any] = {"event_id": f"e{next(_ids)}", "received_at": now, "occurred_at": now - ago} | fields
    return Event(customer_id=who, type="order", amount=amount, **settled)


def all_turns(follower: Follower) -> Follower:
    while follower.turn():
        pass
    return follower


def counts(store: MemoryStore, who: str) -> list[float | str | None]:
    return store.read_vectors([who], COUNTS).values[0]


# -- where it begins and goes on ---------------------------------------------------------------------------------------


def test_without_a_cursor_everyone_is_computed_once_from_the_whole_history(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nobody from a part of it, however the reading is cut."""
    monkeypatch.setattr(module, "READ_AT_ONCE", 7)
    monkeypatch.setattr(module, "READ_A_TURN", 14)
    monkeypatch.setattr(module, "AT_ONCE", 4)
    ledger.append_events([order(f"c{i % 10}") for i in range(100)])
    store = Watched()
    all_turns(Follower(ledger, store))
    assert sorted(store.everyone) == [f"c{i}" for i in range(10)]
    assert {tuple(counts(store, f"c{i}")) for i in range(10)} == {(10.0, 200.0)}
    assert [len(each) for each in store.pushed] == [4, 4, 2]


def test_it_goes_on_at_its_cursor(ledger: Ledger) -> None:
    ledger.append_events([order("ann"), order("bob")])
    all_turns(Follower(ledger, MemoryStore()))
    ledger.append_events([order("bob"), order("cleo")])
    store = Watched()
    all_turns(Follower(ledger, store))
    assert store.everyone == ["bob", "cleo"] and counts(store, "bob")[0] == 2.0


def test_what_a_materialise_computed_is_not_computed_again(ledger: Ledger) -> None:
    ledger.append_events([order("ann"), order("bob")])
    cursors.move(ledger, Cursor(ledger.mark(tables.events), clock.now()))
    ledger.append_events([order("bob")])
    store = Watched()
    all_turns(Follower(ledger, store))
    assert store.everyone == ["bob"] and counts(store, "bob")[0] == 2.0


def test_the_cursor_moves_only_after_the_push(ledger: Ledger) -> None:
    ledger.append_events([order("ann")])
    store = Watched()
    follower = all_turns(Follower(ledger, store))
    assert cursors.read(ledger) is not None
    ledger.append_events([order("ann"), order("bob")])
    store.away = True
    with pytest.raises(Exception, match="away"):
        follower.turn()
    assert follower.cursor is not None and follower.cursor.seq == 1 and follower.waiting == 2
    again = Watched()
    all_turns(Follower(ledger, again))
    assert sorted(again.everyone) == ["ann", "bob"]


def test_a_cursor_never_goes_back(ledger: Ledger) -> None:
    cursors.move(ledger, Cursor(10, NOW))
    cursors.move(ledger, Cursor(9, NOW + timedelta(days=1)))
    assert cursors.read(ledger) == Cursor(10, NOW)
    cursors.move(ledger, Cursor(10, NOW + timedelta(seconds=1)))
    assert cursors.read(ledger) == Cursor(10, NOW + timedelta(seconds=1))


def test_customers_wait_in_the_order_of_their_events_and_the_cursor_stands_before_the_first(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 2)
    ledger.append_events([order(who) for who in ("dora", "ann", "cleo", "ann", "bob", "dora")])
    store = Watched()
    follower = Follower(ledger, store)
    seen = []
    while follower.turn():
        seen.append(follower.cursor and follower.cursor.seq)
    assert store.pushed == [["dora", "ann"], ["cleo", "bob"]] and seen == [2]
    assert follower.cursor is not None and follower.cursor.seq == 6


# -- when events count -------------------------------------------------------------------------------------------------


def test_an_event_that_comes_too_late_is_counted_and_waits_for_the_next_materialise(ledger: Ledger) -> None:
    store = Watched()
    follower = Follower(ledger, store, late=timedelta(days=5))
    ledger.append_events([order("ann", ago=timedelta(days=5)), order("bob", ago=timedelta(days=6))])
    all_turns(follower)
    assert store.everyone == ["ann"] and follower.late == 1
    assert follower.cursor is not None and follower.cursor.seq == 2, "it is dealt with"
    ledger.append_events([order("bob")])
    all_turns(follower)
    assert counts(store, "bob")[0] == 2.0, "whatever is computed later has it"


def test_imported_history_is_not_late(ledger: Ledger) -> None:
    then = NOW - timedelta(days=20)
    ledger.append_events([order("ann", occurred_at=then, received_at=then)])
    follower = all_turns(Follower(ledger, store := Watched(), late=timedelta(days=5)))
    assert follower.late == 0 and counts(store, "ann")[0] == 1.0


def test_an_event_whose_time_came_while_nobody_followed_counts(ledger: Ledger) -> None:
    """It was read before, so the cursor has passed it: the cursor's instant tells that it did not count yet."""
    ledger.append_events([order("ann"), order("ann", ago=-timedelta(minutes=3)), order("bob")])
    store = Watched()
    all_turns(Follower(ledger, store))
    assert counts(store, "ann")[0] == 1.0
    clock.set_origin(NOW + timedelta(minutes=10))
    all_turns(Follower(ledger, store))
    assert counts(store, "ann")[0] == 2.0
    assert store.pushed[-1] == ["ann"], "nobody else is computed again"


def test_two_events_ahead_of_time_count_one_after_the_other(ledger: Ledger) -> None:
    store = Watched()
    follower = Follower(ledger, store)
    ledger.append_events([order("ann", ago=-timedelta(minutes=minute)) for minute in (1, 2)])
    for minutes, expected in ((0, None), (1.5, 1.0), (3, 2.0)):
        clock.set_origin(NOW + timedelta(minutes=minutes))
        all_turns(follower)
        assert counts(store, "ann")[0] == expected


def test_an_account_is_computed_from_all_who_name_it(ledger: Ledger) -> None:
    ledger.append_events([order("ann", account_id="acme"), order("bob", account_id="acme"), order("cleo")])
    store = Watched()
    follower = all_turns(Follower(ledger, store))
    ledger.append_events([order("ann")])
    all_turns(follower)
    assert store.pushed[-1] == ["ann"]
    events = events_frame(row for part in ledger.events() for row in part)
    last = store.frames[-1]
    expected = compute(events, spine_of(["ann"], last["orders"]["as_of"][0]))
    assert last["account"]["account_id"].to_list() == ["acme"]
    assert last["account"].equals(expected["account"], null_equal=True)


def test_the_population_is_everyones(ledger: Ledger) -> None:
    """What a view must know of everyone is the same for one customer touched as for all of them at once."""
    rng, people = generator("follower", "population"), [f"c{i}" for i in range(30)]
    month_ago = NOW - timedelta(days=40)
    batch = []
    for i in range(600):
        who, at = people[i % 30], month_ago + timedelta(hours=float(rng.uniform(0, 24 * 39)))
        kind = ("send", "open", "click")[int(rng.integers(3))]
        batch.append(
            Event(event_id=f"m{i}", customer_id=who, type=kind, channel="email", message_id=f"{who}-{i // 90}",
                  occurred_at=at, received_at=at)
        )  # fmt: skip
    ledger.append_events(batch)
    store = Watched()
    follower = all_turns(Follower(ledger, store))
    ledger.append_events([order("c3")])
    all_turns(follower)
    events = events_frame(row for part in ledger.events() for row in part)
    last = store.frames[-1]
    expected = compute(events, spine_of(["c3"], last["orders"]["as_of"][0]))
    assert all(last[name].equals(expected[name], null_equal=True) for name in all_views())


# -- who is gone, who comes twice --------------------------------------------------------------------------------------


def test_the_forgotten_do_not_come_back(ledger: Ledger) -> None:
    ledger.append_events([order("ann"), order("bob")])
    store = Watched()
    follower = all_turns(Follower(ledger, store))
    erasure.erase(ledger, "ann")
    store.forget(["ann"])
    ledger.append_events([order("ann"), order("bob")])
    all_turns(follower)
    assert counts(store, "ann")[0] == 1.0, "who comes again begins anew"
    assert counts(store, "bob")[0] == 2.0


def test_who_is_forgotten_while_they_are_pushed_is_taken_out_again(ledger: Ledger) -> None:
    class Meanwhile(Watched):
        def push(self, frames: Mapping[str, pl.DataFrame]) -> None:
            erasure.erase(ledger, "ann")
            super().push(frames)

    ledger.append_events([order("ann"), order("bob")])
    store = Meanwhile()
    all_turns(Follower(ledger, store))
    assert not store.read_vectors(["ann"], COUNTS).known[0]
    assert counts(store, "bob")[0] == 1.0


@pytest.mark.parametrize("seed", range(3))
def test_two_followers_at_once_do_no_harm(ledger_url: str, redis_url: str, seed: int) -> None:
    with Ledger(ledger_url) as one, Ledger(ledger_url) as other:
        store = PackedStore.of(Settings(redis_url=redis_url))
        people = [f"two-{one.engine.dialect.name}-{seed}-{i}" for i in range(40)]
        rng = generator("two followers", seed)
        with following(one, store) as first, following(other, store) as second:
            for _ in range(15):
                one.append_events([order(people[int(i)]) for i in rng.integers(40, size=20)])
            assert caught_up(first, one) and caught_up(second, other)
        rows = [row[1] for part in one.events() for row in part]
        found = store.read_vectors(people, COUNTS).values
        assert [row[0] for row in found] == [float(rows.count(who)) or None for who in people]
        cursor = cursors.read(one)
        assert cursor is not None and cursor.seq == one.mark(tables.events)
        store.close()


def test_it_stops_when_told_and_says_where(ledger: Ledger) -> None:
    ledger.append_events([order("ann")])
    follower, stop = Follower(ledger, Watched()), threading.Event()
    thread = threading.Thread(target=follower.run, args=[stop])
    thread.start()
    assert caught_up(follower, ledger)
    stop.set()
    thread.join(10)
    assert not thread.is_alive() and cursors.read(ledger) == follower.cursor


# -- the tail ----------------------------------------------------------------------------------------------------------


def frame(rows: Sequence[tuple[str, str | None]]) -> pl.DataFrame:
    made = [{"event_id": f"e{next(_ids)}", "customer_id": who, "account_id": firm} for who, firm in rows]
    return pl.DataFrame(made, schema=EVENT_SCHEMA)


IDS = st.sampled_from(["a", "b", "B", "aa", "é", "\U0001f600", " ", "ab c", "zz", "ａ"])
FIRMS = st.none() | st.sampled_from(["f1", "f2", "\U0001f600"])


@settings(max_examples=100, deadline=None)
@given(parts=st.lists(st.lists(st.tuples(IDS, FIRMS), max_size=12), max_size=12), sought=st.lists(IDS, max_size=4))
def test_the_tail_finds_what_a_scan_finds(parts: list[list[tuple[str, str | None]]], sought: list[str]) -> None:
    """Whatever lies in runs, was merged, or is too new for either."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tail_module, "UNSORTED", 5)
        patch.setattr(tail_module, "MERGED", 40)
        tail, whole = Tail(), pl.DataFrame(schema=EVENT_SCHEMA)
        for part in parts:
            events = frame(part)
            tail.append(events)
            whole = pl.concat([whole, events])
        mine = whole.filter(pl.col("customer_id").is_in(sought))
        firms = mine["account_id"].drop_nulls().unique().to_list()
        colleagues = whole.filter(pl.col("account_id").is_in(firms))["customer_id"].to_list()
        expected = whole.filter(pl.col("customer_id").is_in([*sought, *colleagues]))
        assert sorted(tail.of(sought)["event_id"]) == sorted(expected["event_id"])
        assert len(tail) == whole.height and sorted(tail.all()["event_id"]) == sorted(whole["event_id"])
