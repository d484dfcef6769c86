"""Consent by channel: its history, what held when, agreement with what models and journeys see, and the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decisioning.point import all_points
from features.compute import all_views
from features.consent import as_of, history
from features.frames import EVENT_SCHEMA, to_events
from features.kernel.ledger import Ledger
from features.kernel.settings import Settings
from features.messages import CHANNELS
from features.refs import all_refs

ROOT = Path(__file__).parent.parent
START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def frame_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    made = [
        {"event_id": f"e{i}", "customer_id": "ann", "received_at": row["occurred_at"]}
        | row
        | {"properties": msgspec.json.encode(row["properties"]).decode() if row.get("properties") else None}
        for i, row in enumerate(rows)
    ]
    return pl.DataFrame(made, schema=EVENT_SCHEMA, orient="row")


def asks(day: float, channel: str | None, granted: object, **other: Any) -> dict[str, Any]:
    properties = {"granted": granted}
    return {"type": "consent", "occurred_at": START + day * DAY, "channel": channel, "properties": properties} | other


def leaves(day: float, channel: str | None, **other: Any) -> dict[str, Any]:
    return {"type": "unsubscribe", "occurred_at": START + day * DAY, "channel": channel} | other


def spans(rows: list[dict[str, Any]], channel: str) -> list[tuple[bool, float, float | None]]:
    """(granted, since, until) in days from the start."""
    found = history(frame_of(rows)).filter(pl.col("channel") == channel)
    return [
        (granted, (since - START) / DAY, None if until is None else (until - START) / DAY)
        for granted, since, until in found.select("granted", "since", "until").iter_rows()
    ]


# -- the history -------------------------------------------------------------------------------------------------------


def test_each_change_begins_where_the_last_one_ends() -> None:
    rows = [asks(0, "email", True), leaves(5, "email"), asks(9, "email", True), asks(1, "sms", False)]
    assert spans(rows, "email") == [(True, 0, 5), (False, 5, 9), (True, 9, None)]
    assert spans(rows, "sms") == [(False, 1, None)]
    assert history(frame_of(rows)).filter(pl.col("channel") == "email")["event_id"].to_list() == ["e0", "e1", "e2"]


def test_saying_again_what_holds_is_no_change() -> None:
    assert spans([asks(0, "sms", True), asks(3, "sms", True), asks(4, "sms", False)], "sms") == [
        (True, 0, 4),
        (False, 4, None),
    ]


def test_who_leaves_without_a_channel_leaves_all_of_them() -> None:
    rows = [asks(0, "email", True), asks(0, "fax", True), leaves(2, None), asks(3, "push", True)]
    assert spans(rows, "email") == [(True, 0, 2), (False, 2, None)]
    assert spans(rows, "fax") == [(True, 0, 2), (False, 2, None)], "a channel that only this customer names"
    assert spans(rows, "sms") == [(False, 2, None)], "one of the usual, never spoken of"
    assert spans(rows, "push") == [(False, 2, 3), (True, 3, None)]


@pytest.mark.parametrize("row", [asks(1, "email", "maybe"), asks(1, "email", None), asks(1, None, True)])
def test_what_says_nothing_clear_changes_nothing(row: dict[str, Any]) -> None:
    assert spans([asks(0, "email", True), row], "email") == [(True, 0, None)]


def test_of_two_at_one_instant_the_later_received_counts() -> None:
    late = START + 3 * DAY
    rows = [asks(0, "email", True, received_at=late), asks(0, "email", False), leaves(0, "sms"), asks(0, "sms", True)]
    assert spans(rows, "email") == [(True, 0, None)], "what was contradicted at its own instant never held"
    assert spans(rows, "sms") == [(True, 0, None)], "received together: the greater event id"


def test_nobody_and_nothing_have_an_empty_history() -> None:
    nothing = frame_of([])
    assert history(nothing).is_empty() and as_of(nothing, START).is_empty()
    assert history(nothing).columns == ["customer_id", "channel", "granted", "since", "until", "event_id"]


def test_as_of_an_instant_only_what_was_known_then_counts() -> None:
    rows = [asks(0, "email", True), leaves(5, "email", received_at=START + 8 * DAY)]
    held = {day: as_of(frame_of(rows), START + day * DAY)["granted"].to_list() for day in (0, 1, 7, 8)}
    assert held == {0: [], 1: [True], 7: [True], 8: [False]}


# -- agreement with what models and journeys see -----------------------------------------------------------------------


def received(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"received_at": row["occurred_at"] + row.pop("lag") * DAY}


STATEMENTS = st.lists(
    st.fixed_dictionaries(
        {
            "customer_id": st.sampled_from(["ann", "bob"]),
            "type": st.sampled_from(["consent", "consent", "unsubscribe", "click"]),
            "occurred_at": st.integers(0, 6).map(lambda day: START + day * DAY),
            "lag": st.sampled_from([0, 0, 1, 4]),
            "channel": st.sampled_from([*CHANNELS, "fax", None]),
            "properties": st.sampled_from([{"granted": True}, {"granted": False}, {"granted": "maybe"}, {}]),
        }
    ).map(received),
    max_size=25,
)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(STATEMENTS, st.integers(0, 11).map(lambda day: START + day * DAY))
def test_the_profile_view_says_the_same(rows: list[dict[str, Any]], instant: datetime) -> None:
    events = frame_of(rows)
    spine = pl.DataFrame({"customer_id": ["ann", "bob"], "as_of": [instant] * 2}).cast(
        {"as_of": pl.Datetime("us", "UTC")}
    )
    features = all_views()["profile"].aggregate(events, spine)
    held = {
        (who, channel): (granted, (instant - since) / DAY)
        for who, channel, granted, since in as_of(events, instant).drop("event_id").iter_rows()
    }
    for row in features.iter_rows(named=True):
        for channel in CHANNELS:
            granted, days = held.get((row["customer_id"], channel), (None, None))
            assert row[f"{channel}_consent"] == (None if granted is None else float(granted))
            assert row[f"days_since_{channel}_consent"] == (None if days is None else pytest.approx(days))


def test_journeys_ask_for_the_consent_of_a_channel_that_there_is() -> None:
    known = {ref for view in all_views().values() for ref in all_refs(view)}
    rules = [rule for point in all_points().values() for rule in point.rules if "consent" in rule.feature]
    assert rules
    for rule in rules:
        assert rule.feature in known, f"{rule.feature} is no feature"
        # Only an explicit yes may pass: nothing known is no consent.
        assert (rule.at_least, rule.when_missing) == (1, "exclude")


# -- the command -------------------------------------------------------------------------------------------------------


def kairos(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"KAIROS_HOME": str(home), "KAIROS_NOW": (START + 30 * DAY).isoformat()}
    command = [sys.executable, "-m", "kairos", "consent", *arguments]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_the_command_shows_history_and_state(tmp_path: Path) -> None:
    rows = [asks(0, "email", True), leaves(5, "email"), asks(9, "sms", True), {"type": "click", "occurred_at": START}]
    rows[-1] |= {"customer_id": "bob [b]"}
    with Ledger.of(Settings(home=tmp_path)) as ledger:
        ledger.append_events(list(to_events(frame_of(rows))))
    now = json.loads(kairos(tmp_path, "ann", "--json").stdout)
    assert [(each["channel"], each["granted"]) for each in now["channels"]] == [("email", False), ("sms", True)]
    assert [each["event_id"] for each in now["history"]] == ["e0", "e1", "e2"]
    then = json.loads(kairos(tmp_path, "ann", "--json", "--as-of", (START + 2 * DAY).isoformat()).stdout)
    assert [(each["channel"], each["granted"]) for each in then["channels"]] == [("email", True)]
    shown = kairos(tmp_path, "ann")
    assert shown.returncode == 0 and "2026-03-06 00:00:00" in shown.stdout and "sms" in shown.stdout
    assert "Neither consent nor refusal" in kairos(tmp_path, "bob [b]").stdout
    stranger = kairos(tmp_path, "nobody")
    assert stranger.returncode == 2 and "is not known as of" in stranger.stderr
