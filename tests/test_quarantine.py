"""Quarantine: what was set aside is listed, released with its own body or discarded, each once, and somebody knows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from features.ingest.follower import Follower
from features.kernel import clock, quarantine, tables
from features.kernel.events import Event
from features.kernel.ledger import EVENT_COLUMNS, Ledger
from features.kernel.quarantine import Refused
from kairos import app, load
from serving.testing import MemoryStore

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    clock.set_origin(NOW)
    yield
    clock.set_origin(None)


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    with Ledger(ledger_url) as made:
        yield made


def ahead(name: str, by: timedelta = HOUR, **fields: Any) -> Event:
    said = {"customer_id": "c1", "type": "order", "amount": 9.5, "currency": "EUR", "channel": "web"}
    return Event(event_id=name, occurred_at=NOW + by, received_at=NOW, properties={"b": 1, "a": "é"}, **(said | fields))


def hold(ledger: Ledger, *entries: Refused) -> list[str]:
    with ledger.transaction() as connection:
        return [each.status for each in quarantine.hold(connection, entries)]


def statuses(receipts: list[Any]) -> list[str]:
    return [each.status for each in receipts]


def rows(ledger: Ledger) -> list[tuple[Any, ...]]:
    return [row for part in ledger.events() for row in part]


def audit(ledger: Ledger) -> list[tuple[str, str]]:
    with ledger.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(select(tables.audit.c.who, tables.audit.c.what))]


# -- release and discard -----------------------------------------------------------------------------------------------


def test_a_released_event_has_the_body_it_came_with(ledger: Ledger) -> None:
    event = ahead("e1")
    assert statuses(ledger.append_events([event])) == ["quarantined"]
    [kept] = quarantine.listed(ledger)
    assert (kept.id, kept.kind, kept.customer_id, kept.occurred_at) == ("e1", "dated ahead", "c1", NOW + HOUR)
    assert "ahead of its receipt" in kept.reason
    clock.set_origin(NOW + timedelta(days=1))
    assert statuses(quarantine.release(ledger, ["e1"], "ann")) == ["accepted"]
    assert quarantine.listed(ledger) == [] and audit(ledger) == [("ann", "an event in quarantine was released")]
    [row] = rows(ledger)
    found = dict(zip(EVENT_COLUMNS, row, strict=True))
    assert found["received_at"] == clock.to_micros(NOW), "it was received when it was received"
    later = clock.now()
    again = msgspec.structs.replace(event, received_at=later)
    assert statuses(ledger.append_events([again])) == ["duplicate"], "the sender's repeat is the same event"


def test_what_is_settled_stays_settled(ledger: Ledger) -> None:
    ledger.append_events([ahead("e1"), ahead("e2")])
    assert statuses(quarantine.release(ledger, ["e1", "e1", "e2", "typo"], "ann")) == [
        "accepted", "accepted", "accepted", "not_found",
    ]  # fmt: skip
    assert statuses(quarantine.release(ledger, ["e1"], "bob")) == ["duplicate"]
    assert statuses(quarantine.discard(ledger, ["e1", "typo"], "bob")) == ["conflict", "not_found"]
    assert len(rows(ledger)) == 2 and len(audit(ledger)) == 2
    ledger.append_events([ahead("e3")])
    assert statuses(quarantine.discard(ledger, ["e3"], "bob")) == ["accepted"]
    assert statuses(quarantine.discard(ledger, ["e3"], "bob")) == ["duplicate"]
    assert statuses(quarantine.release(ledger, ["e3"], "bob")) == ["conflict"]
    assert len(rows(ledger)) == 2 and audit(ledger)[2:] == [("bob", "an event in quarantine was discarded")]


def test_an_id_that_another_event_has_by_now_is_a_conflict(ledger: Ledger) -> None:
    """The sender mended the date and sent again: the first body can only be discarded."""
    ledger.append_events([ahead("e1")])
    assert statuses(ledger.append_events([ahead("e1", -HOUR)])) == ["accepted"]
    assert statuses(quarantine.release(ledger, ["e1"], "ann")) == ["conflict"]
    assert [each.id for each in quarantine.listed(ledger)] == ["e1"] and audit(ledger) == []
    assert statuses(quarantine.discard(ledger, ["e1"], "ann")) == ["accepted"]
    assert quarantine.listed(ledger) == [] and len(rows(ledger)) == 1


def test_the_same_event_accepted_meanwhile_is_no_conflict(ledger: Ledger) -> None:
    ledger.append_events([ahead("e1")])
    later = msgspec.structs.replace(ahead("e1"), received_at=NOW + HOUR)
    assert statuses(ledger.append_events([later])) == ["accepted"]
    assert statuses(quarantine.release(ledger, ["e1"], "ann")) == ["duplicate"]
    assert quarantine.listed(ledger) == [] and len(rows(ledger)) == 1


def test_a_released_event_counts_when_its_time_has_come(ledger: Ledger) -> None:
    store = MemoryStore()
    follower = Follower(ledger, store)
    ledger.append_events([ahead("e1"), ahead("e0", -HOUR)])
    quarantine.release(ledger, ["e1"], "ann")
    for passed, expected in ((timedelta(0), 1.0), (HOUR / 2, 1.0), (2 * HOUR, 2.0)):
        clock.set_origin(NOW + passed)
        while follower.turn():
            pass
        assert store.read_vectors(["c1"], ["orders:count_30d"]).values == [[expected]]


# -- refused entries ---------------------------------------------------------------------------------------------------


def test_a_refused_entry_is_kept_once_in_bounds_and_can_only_be_discarded(ledger: Ledger) -> None:
    entry = Refused(id="s/1-0", raw="x\x00" * 10_000, reason="is no JSON", customer_id="c\x00" * 200)
    assert hold(ledger, entry) == ["accepted"] and hold(ledger, entry) == ["duplicate"]
    [kept] = quarantine.listed(ledger)
    assert (kept.kind, kept.type, kept.occurred_at, kept.reason) == ("refused", None, None, "is no JSON")
    assert len(kept.raw or "") == quarantine.RAW_KEPT and len(kept.customer_id) == 200
    [receipt] = quarantine.release(ledger, ["s/1-0"], "ann")
    assert receipt.status == "invalid" and "discard" in (receipt.reason or "")
    assert statuses(quarantine.discard(ledger, ["s/1-0"], "ann")) == ["accepted"]
    assert quarantine.listed(ledger) == [] and rows(ledger) == []


def test_the_list_begins_with_the_oldest(ledger: Ledger) -> None:
    ledger.append_events([ahead("z")])
    hold(ledger, Refused(id="a", raw="{", reason="is no JSON"))
    ledger.append_events([ahead("m")])
    assert [each.id for each in quarantine.listed(ledger)] == ["z", "a", "m"]
    assert [each.id for each in quarantine.listed(ledger, 2)] == ["z", "a"]


# -- the verb ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    monkeypatch.setenv("KAIROS_HOME", str(tmp_path))
    with Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as made:
        yield made


def run(*words: str) -> tuple[int, Any]:
    found = CliRunner().invoke(app, ["quarantine", *words, "--json"])
    return found.exit_code, json.loads(found.stdout) if found.stdout else found.exception


def test_the_verb_lists_releases_and_discards(home: Ledger) -> None:
    home.append_events([ahead("e1"), ahead("e2"), ahead("e3")])
    hold(home, Refused(id="s/1-0", raw="{", reason="is no JSON"))
    code, found = run("list")
    assert code == 0 and [each["id"] for each in found] == ["e1", "e2", "e3", "s/1-0"]
    assert run("list", "--limit", "1") == (0, found[:1])
    assert run("release", "e1") == (0, [{"id": "e1", "status": "accepted", "reason": None}])
    code, receipts = run("release", "e1", "s/1-0", "typo")
    assert code == 2 and [each["status"] for each in receipts] == ["duplicate", "invalid", "not_found"]
    code, receipts = run("release", "--all")
    assert code == 0 and [each["id"] for each in receipts] == ["e2", "e3"], "what was refused stays"
    assert run("discard", "--all") == (0, [{"id": "s/1-0", "status": "accepted", "reason": None}])
    assert run("list") == (0, []) and run("discard", "--all") == (0, [])
    assert len(rows(home)) == 3


@pytest.mark.parametrize("words", [("release",), ("release", "e1", "--all"), ("discard",), ("discard", "e1", "--all")])
def test_the_verb_asks_for_ids_or_all(home: Ledger, words: tuple[str, ...]) -> None:
    home.append_events([ahead("e1")])
    code, error = run(*words)
    assert code == 1 and "--all" in str(error) and len(quarantine.listed(home)) == 1


def test_a_table_for_people(home: Ledger) -> None:
    home.append_events([ahead("e1")])
    hold(home, Refused(id="s/1-0", raw="not json " * 100, reason="is no JSON"))
    shown = CliRunner().invoke(app, ["quarantine", "list"]).stdout
    assert "In quarantine: 2" in shown and "e1" in shown and "is no JSON" in shown
    assert load("quarantine").name == "quarantine"
