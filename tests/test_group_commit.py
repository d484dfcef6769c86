"""Group commit: everyone gets their own answer, nobody before it is durable, and one bad piece harms no other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from features.kernel import tables
from features.kernel.errors import Busy, Unavailable
from features.kernel.events import Event
from features.kernel.group_commit import GroupCommit
from features.kernel.ledger import Ledger
from features.kernel.records import Receipt

T0 = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    yield ledger
    ledger.close()


@pytest.fixture
def commit(ledger: Ledger) -> Iterator[GroupCommit]:
    commit = GroupCommit(ledger)
    yield commit
    commit.close()


def one(name: str, customer: str = "c1") -> Event:
    return Event(event_id=name, customer_id=customer, type="page_view", occurred_at=T0, received_at=T0)


def submit(commit: GroupCommit, ledger: Ledger, *names: str) -> Future[list[Receipt]]:
    return commit.submit(lambda connection: ledger.append_events([one(name) for name in names], connection))


def hold(commit: GroupCommit) -> tuple[threading.Event, Future[Any]]:
    """Keep the thread busy in a transaction until the event is set, so that a group gathers behind it."""
    started, go = threading.Event(), threading.Event()

    def work(_: Connection) -> None:
        started.set()
        assert go.wait(20)

    held = commit.submit(work)
    assert started.wait(20)
    return go, held


def test_every_caller_gets_their_own_receipts(commit: GroupCommit, ledger: Ledger) -> None:
    def caller(thread: int) -> list[list[str]]:
        futures = [submit(commit, ledger, f"{thread}-{i}", f"shared-{i}") for i in range(50)]
        return [[f"{each.id} {each.status}" for each in future.result(30)] for future in futures]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(caller, range(8)))
    for thread, answer in enumerate(answers):
        assert [own for own, _ in answer] == [f"{thread}-{i} accepted" for i in range(50)]
    shared = [each[1] for answer in answers for each in answer]
    assert all(
        shared.count(f"shared-{i} accepted") == 1 and shared.count(f"shared-{i} duplicate") == 7 for i in range(50)
    )
    assert ledger.count(tables.events) == 8 * 50 + 50


def test_what_gathers_is_committed_at_once(commit: GroupCommit, ledger: Ledger) -> None:
    commits: list[int] = []
    event.listen(ledger.engine, "commit", lambda _: commits.append(1))
    go, held = hold(commit)
    futures = [submit(commit, ledger, f"e{i}") for i in range(200)]
    go.set()
    wait([held, *futures], 30)
    assert len(commits) == 2 and ledger.count(tables.events) == 200


def test_an_answer_means_that_others_can_see_it(commit: GroupCommit, ledger: Ledger) -> None:
    reader = Ledger(str(ledger.engine.url))
    for i in range(30):
        assert submit(commit, ledger, f"e{i}").result(30)[0].status == "accepted"
        assert reader.count(tables.events) == i + 1
    reader.close()


def test_one_bad_piece_fails_alone(commit: GroupCommit, ledger: Ledger) -> None:
    def bad(connection: Connection) -> None:
        ledger.append_events([one("half")], connection)
        raise ValueError("this piece is wrong")

    go, _ = hold(commit)
    before, wrong, after = submit(commit, ledger, "a"), commit.submit(bad), submit(commit, ledger, "b")
    broken = commit.submit(lambda connection: connection.execute(text("INSERT INTO audit (seq) VALUES (1)")))
    go.set()
    assert [each.result(30)[0].status for each in (before, after)] == ["accepted", "accepted"]
    with pytest.raises(ValueError, match="this piece is wrong"):
        wrong.result(30)
    with pytest.raises(Exception, match="NOT NULL"):
        broken.result(30)
    assert ledger.count(tables.events) == 2, "what the bad piece had appended is gone"


def test_a_ledger_that_is_gone_fails_the_group_once(commit: GroupCommit, ledger: Ledger) -> None:
    tried: list[int] = []

    def work(connection: Connection) -> None:
        tried.append(1)
        connection.execute(text("SELECT * FROM nowhere"))

    go, _ = hold(commit)
    futures = [commit.submit(work) for _ in range(20)]
    go.set()
    for each in futures:
        with pytest.raises(Unavailable, match="nowhere"):
            each.result(30)
    assert len(tried) == 1, "a ledger that is gone is not asked twenty times"
    assert submit(commit, ledger, "next").result(30)[0].status == "accepted", "and the thread goes on"


def test_a_caller_who_left_is_left_out(commit: GroupCommit, ledger: Ledger) -> None:
    go, held = hold(commit)
    left, stayed = submit(commit, ledger, "left"), submit(commit, ledger, "stayed")
    assert left.cancel() and not held.cancel(), "what is under way can no longer be cancelled"
    go.set()
    assert stayed.result(30)[0].status == "accepted" and held.result(30) is None
    with pytest.raises(CancelledError):
        left.result(30)
    assert ledger.count(tables.events) == 1


def test_when_too_much_waits_the_next_is_refused_and_nothing_is_lost(ledger: Ledger) -> None:
    commit = GroupCommit(ledger, depth=3)
    go, _ = hold(commit)
    futures = [submit(commit, ledger, f"e{i}") for i in range(3)]
    with pytest.raises(Busy, match="try again after 1 s"):
        submit(commit, ledger, "too much")
    go.set()
    assert all(each.result(30)[0].status == "accepted" for each in futures)
    commit.close()
    assert ledger.count(tables.events) == 3


def test_close_finishes_what_was_handed_in_and_takes_no_more(ledger: Ledger) -> None:
    commit = GroupCommit(ledger)
    futures = [submit(commit, ledger, f"e{i}") for i in range(1500)]
    commit.close()
    assert all(each.done() for each in futures) and ledger.count(tables.events) == 1500
    with pytest.raises(Unavailable, match="closing"):
        submit(commit, ledger, "late")
    commit.close()
