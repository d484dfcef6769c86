"""Recording what was read: as valid, durable and idempotent as one event by one, whatever comes in between."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import history
from features.frames import EVENT_SCHEMA, events_frame, to_events
from features.importing import record as module
from features.importing.record import STATUSES, ahead, event_rows, record
from features.importing.valid import canonical, faults
from features.kernel import clock, tables
from features.kernel.bulk import append_event_rows
from features.kernel.errors import InvalidEvent, Unavailable
from features.kernel.events import EVENT_TYPES, MAX_AMOUNT, MAX_ID, MAX_PROPERTIES, Event
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings

T0 = datetime(2011, 7, 1, 12, tzinfo=UTC)


def frame_of(*rows: dict[str, Any]) -> pl.DataFrame:
    """Events from what differs from a plain order of 5 GBP."""
    plain: dict[str, Any] = dict.fromkeys(EVENT_SCHEMA)
    plain |= {
        "customer_id": "c",
        "type": "order",
        "occurred_at": T0,
        "received_at": T0,
        "amount": 5.0,
        "currency": "GBP",
    }
    full = [plain | {"event_id": f"e{i}"} | row for i, row in enumerate(rows)]
    frame = pl.DataFrame(full, schema=EVENT_SCHEMA, orient="row")
    return frame.with_columns(canonical(frame["properties"]))


def orders(n: int, **same: Any) -> pl.DataFrame:
    return frame_of(
        *(
            {"customer_id": f"c{i % 97}", "amount": i / 4, "occurred_at": T0 + timedelta(seconds=i)} | same
            for i in range(n)
        )
    )


# -- the same rules as Event -------------------------------------------------------------------------------------------

_IDS = st.sampled_from(["", "a", "x" * MAX_ID, "x" * (MAX_ID + 1), "🙂" * MAX_ID, "nul\x00", "é" * (MAX_ID + 1)])
_TIMES = st.sampled_from(
    [T0, datetime(1970, 1, 1, tzinfo=UTC), datetime(1969, 12, 31, 23, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)]
)
_AMOUNTS = st.sampled_from(
    [None, 0.0, -0.0, 1.5, -1.5, math.nan, math.inf, -math.inf, MAX_AMOUNT, MAX_AMOUNT * 2, -MAX_AMOUNT * 2]
)
_NOTE = {"note": "x" * (MAX_PROPERTIES - len('{"note":""}'))}
_TEXTS = ["{}", '{"name": "n"}', '{"name": ""}', '{"name": null}', '{"b": 1, "a": [2.0, {"d": 1, "c": "é"}]}']
_LARGE = [json.dumps(_NOTE), json.dumps({"note": _NOTE["note"] + "x"})]
_PROPERTIES = st.sampled_from([None, *_TEXTS, *_LARGE])


@settings(max_examples=300, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            "event_id": _IDS,
            "customer_id": _IDS,
            "type": st.sampled_from([*EVENT_TYPES, "orderr", ""]),
            "occurred_at": _TIMES,
            "received_at": _TIMES,
            "amount": _AMOUNTS,
            "properties": _PROPERTIES,
        }
    )
)
def test_a_frame_is_held_to_the_rules_of_an_event(row: dict[str, Any]) -> None:
    frame = frame_of(row)
    try:
        event = next(to_events(frame))
    except InvalidEvent as error:
        assert faults(frame).to_list() == [error.field]
    else:
        assert faults(frame).to_list() == [None]
        assert isinstance(event, Event)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(_PROPERTIES, st.sampled_from([None, 0.0, 1.25, 1e11]), st.sampled_from(["c", "🙂", "a:b"])),
        min_size=1,
        max_size=8,
    )
)
def test_the_quick_way_writes_what_the_slow_way_writes(rows: list[tuple[str | None, float | None, str]]) -> None:
    made = [{"properties": p, "amount": a, "customer_id": c, "type": "cart", "channel": "email"} for p, a, c in rows]
    frame = frame_of(*made)
    frame = frame.filter(faults(frame).is_null())
    slow, quick = Ledger("sqlite://"), Ledger("sqlite://")
    with slow, quick:
        slow.append_events(list(to_events(frame)))
        append_event_rows(quick, event_rows(frame))
        columns = list(tables.events.columns)
        with slow.engine.connect() as one, quick.engine.connect() as other:
            query = tables.events.select().with_only_columns(*columns)
            assert one.execute(query).all() == other.execute(query).all()  # the hashes of their bodies, too


def test_properties_are_written_in_one_way() -> None:
    given_ = pl.Series("properties", ['{"b": 1.0, "a": "é"}', "{}", None, '{"a":"é","b":1.0}'])
    assert canonical(given_).to_list() == ['{"a":"é","b":1.0}', None, None, '{"a":"é","b":1.0}']


# -- once, and only once -----------------------------------------------------------------------------------------------


def test_what_is_there_already_is_a_duplicate_and_what_differs_a_conflict(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 7)
    told: list[tuple[float, float]] = []
    with Ledger(ledger_url) as ledger:
        first = record(orders(20), ledger, lambda done, total: told.append((done, total)))
        assert first == dict.fromkeys(STATUSES, 0) | {"accepted": 20}
        assert told == [(7, 20), (14, 20), (20, 20)]
        changed = orders(25).with_columns(
            pl.when(pl.col("event_id") == "e3").then(99.0).otherwise("amount").alias("amount")
        )
        again = record(changed, ledger)
        assert again == {"accepted": 5, "duplicate": 19, "conflict": 1, "quarantined": 0}
        assert events_frame(row for part in ledger.events() for row in part).equals(orders(25))


def test_an_invalid_event_stops_everything_before_anything_is_written(tmp_path: Path) -> None:
    with Ledger(f"sqlite:///{tmp_path / 'l.sqlite'}") as ledger:
        with pytest.raises(InvalidEvent, match="amount"):
            record(pl.concat([orders(5), frame_of({"event_id": "bad", "amount": -1.0})]), ledger)
        assert ledger.count(tables.events) == 0


def test_an_event_dated_ahead_of_the_clock_goes_to_quarantine(tmp_path: Path) -> None:
    clock.set_origin(T0 + timedelta(seconds=10))
    try:
        with Ledger(f"sqlite:///{tmp_path / 'l.sqlite'}", skew=timedelta(seconds=5)) as ledger:
            assert ahead(orders(30), ledger.skew).sum() == pytest.approx(14, abs=2)
            for accepted in (True, False):
                receipts = record(orders(30), ledger)
                assert receipts["quarantined"] == 30 - receipts["accepted" if accepted else "duplicate"] > 0
            assert ledger.count(tables.quarantine) == 30 - ledger.count(tables.events)
    finally:
        clock.set_origin(None)


# -- what comes in between ---------------------------------------------------------------------------------------------

RECIPE = """kind: events
about: Orders
file: {format: csv}
time_zone: UTC
currency: EUR
columns:
  customer: {type: id}
  at: {type: time, format: iso}
  number: {type: text}
  price: {type: number}
used:
  - {reason: sale, event: order, one_per: [number], amount: SUM(price), properties: {lines: COUNT(*)}}
"""
SCRIPT = """
import sys
from features.importing import record
record.AT_ONCE = int(sys.argv.pop(1))
{before}
import kairos
kairos.main()
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with a recipe and 12,000 orders."""
    lines = [f"c{i % 500},{(T0 + timedelta(minutes=i)).isoformat()},o{i},{i % 90}.5\n" for i in range(12_000)]
    (tmp_path / "shop.csv").write_text("customer,at,number,price\n" + "".join(lines))
    (tmp_path / "shop.yaml").write_text(RECIPE)
    return tmp_path


def start(shop: Path, at_once: int, before: str = "") -> subprocess.Popen[str]:
    """`kairos import --json` in a process of its own."""
    arguments = ["import", str(shop / "shop.csv"), "--recipe", str(shop / "shop.yaml"), "--json"]
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(before=before), str(at_once), *arguments],
        env=os.environ | {"KAIROS_HOME": str(shop / "home")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def receipts(process: subprocess.Popen[str]) -> dict[str, int]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    found: dict[str, int] = json.loads(out)["receipts"]
    return found


def recorded(shop: Path) -> pl.DataFrame:
    with Ledger.of(Settings(home=shop / "home")) as ledger:
        return events_frame(row for part in ledger.events() for row in part)


def count(shop: Path) -> int:
    """Events in the ledger now; 0 while there is none."""
    path = shop / "home" / "ledger.sqlite"
    if not path.exists():
        return 0
    with Ledger.of(Settings(home=shop / "home")) as ledger:
        return ledger.count(tables.events)


def test_an_import_that_is_killed_keeps_what_it_took_and_is_completed_by_the_next(shop: Path) -> None:
    process = start(shop, 200)
    deadline = time.monotonic() + 60
    while count(shop) == 0:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    taken = count(shop)
    assert 0 < taken < 12_000 and taken % 200 == 0, "whole transactions, and not all of them"
    assert receipts(start(shop, 5_000)) == dict.fromkeys(STATUSES, 0) | {"accepted": 12_000 - taken, "duplicate": taken}
    assert recorded(shop)["event_id"].n_unique() == 12_000
    assert history.read(Settings(home=shop / "home")).height == 12_000


OPENED_AT = """
import sys, time
from features.kernel.ledger import Ledger
time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
Ledger(sys.argv[1]).close()
"""


def test_processes_that_make_the_same_ledger_at_once_all_succeed(tmp_path: Path) -> None:
    for i in range(3):
        url, at = f"sqlite:///{tmp_path / str(i) / 'ledger.sqlite'}", str(time.time() + 2)
        command = [sys.executable, "-c", OPENED_AT, url, at]
        started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
        ends = [(each.communicate(timeout=60)[1], each.returncode) for each in started]
        assert ends == [("", 0)] * 3


def test_two_imports_at_once_record_everything_once(shop: Path) -> None:
    both = [receipts(each) for each in [start(shop, 300), start(shop, 300)]]
    assert all(each["accepted"] + each["duplicate"] == 12_000 for each in both)
    assert sum(each["accepted"] for each in both) == recorded(shop).height == 12_000
    with Ledger.of(Settings(home=shop / "home")) as ledger:
        assert history.refreshed(Settings(home=shop / "home"), ledger)["event_id"].n_unique() == 12_000


FULL = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2 * 2**20, 2 * 2**20))"
"""No file may grow beyond 2 MB: what writes beyond it gets an error, as on a full disk."""


def test_a_full_disk_is_a_clear_error_and_what_was_taken_stays(shop: Path) -> None:
    process = start(shop, 500, FULL)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "Traceback" not in err
    taken = count(shop)
    assert 0 < taken < 12_000 and taken % 500 == 0
    told = " ".join(err.split())
    assert f"{taken:,} of 12,000 events are in the ledger and stay there" in told
    assert "is the disk full?" in told and "import again" in told
    assert receipts(start(shop, 5_000))["accepted"] == 12_000 - taken
    assert recorded(shop)["event_id"].n_unique() == 12_000


def test_a_database_that_is_full_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 100)
    with Ledger(f"sqlite:///{tmp_path / 'l.sqlite'}") as ledger:
        record(orders(100), ledger)
        with ledger.engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(Unavailable, match=r"disk is full; 100 of 5,000 events .* import again"):
            record(orders(5_000), ledger)
        assert ledger.count(tables.events) == 100


def test_a_history_that_cannot_be_written_loses_nothing(shop: Path) -> None:
    (shop / "home").mkdir()
    (shop / "home" / "history").write_text("in the way")
    process = start(shop, 5_000)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "every event is in the ledger" in " ".join(err.split())
    assert count(shop) == 12_000
