"""Forgetting a person: nothing of them is left in any file or online, what was learnt and judged stays as it was."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sqlalchemy import select

from cli.demo.small import SmallLoop
from decisioning.choose import choose
from decisioning.learner import learn
from decisioning.next_best import Known, Request, decide
from decisioning.point import all_points
from decisioning.replay import differences, replay
from decisioning.verdict import verdict
from features import erasure, history, offline_files
from features.compute import all_views, compute
from features.erasure import look, mentions
from features.frames import EVENT_SCHEMA, spine_of, to_events
from features.ingest.follower import Follower
from features.kernel import cursors, tables
from features.kernel.clock import from_micros
from features.kernel.erasure import erase, traces, unfinished, wipe
from features.kernel.errors import InvalidInput, Unavailable
from features.kernel.events import Event
from features.kernel.ledger import Ledger
from features.kernel.quarantine import Refused, hold
from features.kernel.records import Decision, Outcome, PolicyState, Score
from features.kernel.seeds import generator
from features.kernel.settings import Settings
from features.packed.store import PackedStore
from features.vectors import Status
from serving.testing import publish, simple_card
from training.registry import bundle, membership

ROOT = Path(__file__).parent.parent
POINT = all_points()["win_back"]
NOW = datetime(2026, 6, 1, tzinfo=UTC)
START = NOW - timedelta(days=60)
WEEK = timedelta(days=7)
WHO = "zq7x-Wem gehört's?"
"""An id that occurs nowhere by chance, nor in one form only: JSON may escape it."""
MARKS = (b"zq7x", b"geh\xc3\xb6rt", b"geh\\u00f6rt", b"their own firm")
FIRM, SHARED = "their own firm", "a shared firm"
PEOPLE = [WHO, *(f"other-{i}" for i in range(40))]


# -- a home with a person in every corner of it --------------------------------------------------------------------


def life(who: str, number: int) -> list[dict[str, Any]]:
    firm = SHARED if number < 5 else None
    base = {"customer_id": who, "currency": None}
    at = [START + timedelta(days=day, minutes=number) for day in range(0, 50, 10)]
    at[-1] += timedelta(days=who == WHO)  # the newest event of all is theirs
    return [
        base | {"type": "profile", "occurred_at": at[0], "account_id": firm, "properties": '{"country":"DE"}'},
        base | {"type": "consent", "occurred_at": at[1], "channel": "email", "properties": '{"granted":true}'},
        base | {"type": "page_view", "occurred_at": at[2], "properties": f'{{"page":"/{who}"}}'},
        base | {"type": "order", "occurred_at": at[3], "amount": 10.0 + number, "currency": "EUR"},
        base | {"type": "click", "occurred_at": at[4], "account_id": FIRM if who == WHO else firm},
    ]


def all_events() -> pl.DataFrame:
    rows = [
        row | {"event_id": f"{who}/{i}", "received_at": row["occurred_at"]}
        for number, who in enumerate(PEOPLE)
        for i, row in enumerate(life(who, number))
    ]
    rows.sort(key=lambda row: row["occurred_at"])
    return pl.DataFrame(rows, schema=EVENT_SCHEMA, orient="row")


def decisions_of(people: list[str], at: datetime, state: PolicyState | None = None) -> list[Decision]:
    known = Known("fresh", {"profile:email_consent": 1.0, "web:views_7d": 3.0}, states={"thompson": state})
    rng = generator("erasure", at)
    asked = [Request(f"journey {at:%j} of {who}", who) for who in people]
    return [decide(POINT, each, known, rng, now=at, salt="s") for each in asked]


def outcomes_of(decisions: list[Decision]) -> list[Outcome]:
    return [
        Outcome(
            outcome_id=f"ordered by {each.customer_id}, {each.request_id}",
            decision_id=each.decision_id,
            kind="order",
            value=1.0,
            occurred_at=each.decided_at + timedelta(days=1),
        )
        for i, each in enumerate(decisions)
        if i % 3 == 0
    ]


def fill_ledger(ledger: Ledger, events: pl.DataFrame) -> None:
    ledger.append_events(list(to_events(events)))
    ahead: dict[str, Any] = {"type": "click", "occurred_at": NOW + timedelta(days=9), "received_at": NOW}
    ledger.append_events([Event(event_id=f"ahead of {who}", customer_id=who, **ahead) for who in PEOPLE[:2]])
    with ledger.transaction() as connection:
        hold(connection, [Refused(id="broken 1", raw=f'{{"customer_id": "{WHO}", ', reason="is no JSON")])
        hold(connection, [Refused(id="broken 2", raw="{x", reason="is no JSON")])
    state = None
    for week in range(3):
        made = decisions_of(PEOPLE, START + week * WEEK, state)
        ledger.append_decisions(made)
        ledger.append_outcomes(outcomes_of(made))
        [state] = learn(ledger, POINT, START + (week + 1) * WEEK + timedelta(hours=1))
    ledger.append_decisions(decisions_of(PEOPLE, NOW))  # windows still open
    ledger.append_scores(
        [
            Score(
                score_id=f"score {who}", customer_id=who, problem="churn", model_version="1", rung="fresh",
                value=0.5, features={"profile:country": "DE"}, scored_at=NOW,
            )
            for who in PEOPLE
        ]
    )  # fmt: skip


def fill_files(settings: Settings, ledger: Ledger, events: pl.DataFrame) -> dict[str, pl.DataFrame]:
    history.update(settings, ledger)
    for instant in (NOW - timedelta(days=30), NOW):
        frames = compute(events, spine_of(PEOPLE, instant))
        offline_files.write(settings.offline, frames, all_views())
    saved = settings.home / "datasets" / "for an audit.parquet"
    saved.parent.mkdir()
    pl.DataFrame({"label": [1.0] * len(PEOPLE), "customer_id": PEOPLE}).write_parquet(saved)
    (settings.offline / ".orders-20260101T000000000000.parquet-4711").write_text(f"half a file of {WHO}")
    refused = settings.home / "imports" / "2026-06-01"
    refused.mkdir(parents=True)
    (refused / "refused.csv").write_text(f'row,who,note\n1,other-1,"two\nlines"\n2,"{WHO}","two\nlines"\n3,other-2,\n')
    lines = [{"row": i, "who": who, "note": 'a "quote'} for i, who in enumerate(PEOPLE[:3])]
    (refused / "refused.ndjson").write_text("".join(f"{json.dumps(each)}\n" for each in lines))
    pl.DataFrame({"row": [1, 2], "text": [f"{WHO};1", "other;2"], "n": [0.5, 1]}).write_parquet(
        refused / "refused.parquet"
    )
    return frames


def fill_models(models: Path) -> None:
    for version, people in (("1", PEOPLE), ("2", PEOPLE[1:])):
        card = simple_card("churn", ["orders:count_30d"], b"text", version=version)
        folder = publish(models, card, b"text")
        (folder / membership.FILE).write_bytes(membership.members(people))
    publish(models, simple_card("propensity", ["orders:count_30d"], b"text"), b"text")  # of before


@pytest.fixture
def home(tmp_path: Path, redis_url: str) -> Iterator[Settings]:
    settings = Settings(home=tmp_path / "home", redis_url=redis_url)
    events = all_events()
    with Ledger.of(settings) as ledger:
        fill_ledger(ledger, events)
        frames = fill_files(settings, ledger, events)
    fill_models(settings.models)
    with closing(PackedStore.of(settings)) as store:
        store.push(frames)
        yield settings
        store.forget(PEOPLE)
        store.forget([FIRM, SHARED], "account_id")


@pytest.fixture
def ledger(home: Settings) -> Iterator[Ledger]:
    with Ledger.of(home) as ledger:
        yield ledger


def kairos(settings: Settings, *arguments: str, now: datetime = NOW) -> subprocess.CompletedProcess[str]:
    environment = os.environ | settings.environment() | {"KAIROS_NOW": now.isoformat()}
    command = [sys.executable, "-m", "kairos", *arguments]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300)


def forget(settings: Settings, who: str = WHO, now: datetime = NOW) -> dict[str, Any]:
    done = kairos(settings, "forget", who, "--yes", "--json", now=now)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def forget_here(settings: Settings) -> None:
    """What the command does once it knows that it may, without a process of its own."""
    with Ledger.of(settings) as ledger:
        erasure.forget(settings, ledger, WHO)
    bundle.forget(settings.models, WHO)


def holding(home: Path, marks: tuple[bytes, ...] = MARKS) -> list[str]:
    """Files with any of the marks in their bytes, or in a column of a table, which Parquet compresses."""
    found = []
    for path in sorted(each for each in home.rglob("*") if each.is_file()):
        content = path.read_bytes()
        if path.suffix == ".parquet":
            content += pl.read_parquet(path).select(pl.selectors.string()).write_csv().encode()
        if any(mark in content for mark in marks):
            found.append(str(path.relative_to(home)))
    return found


def online(settings: Settings, who: str) -> bool:
    refs = [view.refs[0] for view in all_views().values() if view.entity == "customer"]
    with closing(PackedStore.of(settings)) as store:
        return bool((store.read_vectors([who], refs).status != Status.MISSING).any())


def accounts_online(settings: Settings) -> int:
    with closing(PackedStore.of(settings)) as store:
        return store.forget([FIRM], "account_id")


def rows_of(ledger: Ledger) -> dict[str, list[Any]]:
    """Every row but theirs, and but what an erasure itself writes."""
    found = {}
    with ledger.engine.connect() as connection:
        for table in (tables.events, tables.quarantine, tables.scores, tables.decisions):
            mine = table.c.customer_id == WHO
            found[table.name] = [tuple(row) for row in connection.execute(select(table).where(~mine))]
        found["states"] = [tuple(row) for row in connection.execute(select(tables.states))]
    return found


# -- everything goes -----------------------------------------------------------------------------------------------


def test_nothing_of_the_person_is_left_in_any_file_or_online(home: Settings) -> None:
    before = holding(home.home)
    assert {"ledger.sqlite", "datasets/for an audit.parquet", "imports/2026-06-01/refused.csv"} <= set(before)
    assert any(each.startswith("history/") for each in before) and any("account/" in each for each in before)
    assert sum(each.startswith("offline/") for each in before) >= 2 * len(all_views())
    assert online(home, WHO)
    found = forget(home)
    assert holding(home.home) == []
    assert not online(home, WHO) and accounts_online(home) == 0
    assert found["ledger"] == {"events": 5, "quarantine": 2, "scores": 1, "decisions": 4, "outcomes": 3}
    assert found["accounts"] == [FIRM] and found["online"] == 1 and found["mentions"] == []
    assert set(found["files"]) <= set(before), "what it names is what held them"


def test_everybody_else_stays_as_they_were(home: Settings, ledger: Ledger) -> None:
    files = {path: pl.read_parquet(path) for path in home.home.rglob("*.parquet")}
    before, others = rows_of(ledger), [each for each in PEOPLE if each != WHO]
    before["quarantine"] = [row for row in before["quarantine"] if row[1] != "broken 1"]
    forget_here(home)
    after = rows_of(ledger)
    after["decisions"] = [row for row in after["decisions"] if row[4] is not None]
    assert after == before
    for path, frame in files.items():
        if {"customer_id", "account_id"} & set(frame.columns):
            key = "customer_id" if "customer_id" in frame.columns else "account_id"
            expected = frame.filter(~pl.col(key).is_in([WHO, FIRM]).fill_null(False))
            assert pl.read_parquet(path).equals(expected, null_equal=True), path
            assert pl.read_parquet(path).schema == frame.schema
    assert all(online(home, each) for each in others)
    refused = home.home / "imports" / "2026-06-01"
    assert (refused / "refused.csv").read_text() == 'row,who,note\n1,other-1,"two\nlines"\n3,other-2,\n'
    assert [json.loads(each)["row"] for each in (refused / "refused.ndjson").read_text().splitlines()] == [1, 2]
    assert pl.read_parquet(refused / "refused.parquet")["row"].to_list() == [2]


def test_the_history_needs_no_rebuild_and_would_not_bring_them_back(home: Settings, ledger: Ledger) -> None:
    forget_here(home)
    assert history.update(home, ledger) == 0, "it agrees with the ledger"
    history.rebuild(home, ledger)
    assert holding(home.home) == []


def test_decisions_stay_without_the_person(home: Settings, ledger: Ledger) -> None:
    before = {each.decision_id: each for _, each in ledger.decisions(POINT.name)}
    theirs = [each for each in before.values() if each.customer_id == WHO]
    forget_here(home)
    after = {each.decision_id: each for _, each in ledger.decisions(POINT.name)}
    assert list(after) == list(before), "the same decisions in the same order"
    assert all(after[each.decision_id] == each for each in before.values() if each.customer_id != WHO)
    assert len(theirs) == 4
    for each in theirs:
        left = after[each.decision_id]
        kept = ("decision_point", "group", "group_share", "policy", "state_version", "eligible", "pmf", "action")
        assert all(getattr(left, name) == getattr(each, name) for name in (*kept, "decided_at", "rung"))
        assert (left.customer_id, left.context, left.excluded, left.request_id) == (None, None, {}, each.decision_id)
        pmf = np.array([left.pmf[action] for action in left.eligible])
        assert choose(left.eligible, pmf, left.u) == left.action, "the draw still draws the action"
    assert len({left.u for left in after.values() if left.customer_id is None and left.policy == "split"}) <= 2
    outcomes = ledger.outcomes([each.decision_id for each in theirs])
    assert sum(map(len, outcomes.values())) == 3, "what came of them stays"


def test_replay_and_verdict_hold(home: Settings, ledger: Ledger) -> None:
    closed = NOW + 2 * WEEK
    published, before = ledger.states(POINT.name, "thompson"), verdict(ledger, POINT, closed)
    forget_here(home)
    assert differences(ledger, POINT) == [] and ledger.states(POINT.name, "thompson") == published
    assert replay(ledger, POINT)["thompson"] == published
    after = verdict(ledger, POINT, closed)
    assert (after.decisions, after.waiting, after.actions) == (before.decisions, before.waiting, before.actions)
    # Their four decisions of one group now stand for themselves: three more in it, nobody else moved.
    assert sum(each.n for each in after.groups) == sum(each.n for each in before.groups) + 3
    learn(ledger, POINT, closed)
    assert differences(ledger, POINT) == [], "decisions that were open when they were forgotten are learnt from, too"


def test_what_has_closed_is_learnt_while_they_are_still_known(home: Settings, ledger: Ledger) -> None:
    forget(home, now=NOW + 2 * WEEK)
    last = ledger.states(POINT.name, "thompson")[-1]
    with ledger.engine.connect() as connection:
        forgotten_at = connection.execute(select(tables.tombstones.c.forgotten_at)).scalar_one()
    assert last.version == 4 and last.decision_mark == ledger.mark(tables.decisions)
    assert last.published_at < from_micros(forgotten_at)
    assert differences(ledger, POINT) == []


def test_the_tombstone_and_the_audit_trail_name_nobody(home: Settings, ledger: Ledger) -> None:
    forget_here(home)
    with ledger.engine.connect() as connection:
        [stone] = connection.execute(select(tables.tombstones)).all()
        [line] = connection.execute(select(tables.audit).where(tables.audit.c.who == "kairos forget")).all()
    assert (stone.events, stone.scores) == (7, 1)
    assert json.loads(line.detail) == {"events": 5, "quarantine": 2, "scores": 1, "decisions": 4, "outcomes": 3}


# -- models ----------------------------------------------------------------------------------------------------------


def test_models_trained_on_them_are_named(home: Settings) -> None:
    asked = json.loads(kairos(home, "forget", WHO, "--dry-run", "--json").stdout)["models"]
    said = {(each["problem"], each["version"]): (each["trained_on"], each["champion"]) for each in asked}
    assert said == {
        ("churn", "1"): (True, False),
        ("churn", "2"): (False, True),
        ("propensity", "1"): ("unknown", True),
    }
    shown = kairos(home, "forget", WHO, "--yes")
    assert shown.returncode == 0 and "Train these anew" in shown.stdout and "unknown" in shown.stdout
    first = home.models / "churn" / "1"
    assert membership.holds(first, WHO) is False and membership.holds(first, PEOPLE[1]) is True
    assert [membership.forgotten(home.models / "churn" / each) for each in "12"] == [1, 0]


def test_a_list_of_members_names_nobody_and_differs_each_time(tmp_path: Path) -> None:
    people = [f"person-{i}" for i in range(500)]
    one, other = membership.members(people), membership.members(reversed(people))
    assert len(one) == len(other) and one != other and b"person" not in one
    (tmp_path / membership.FILE).write_bytes(one)
    assert all(membership.holds(tmp_path, each) for each in people)
    assert not any(membership.holds(tmp_path, f"person-{i}") for i in range(500, 1500))
    assert membership.drop(tmp_path, "person-7") and not membership.drop(tmp_path, "person-7")
    assert [each for each in people if not membership.holds(tmp_path, each)] == ["person-7"]
    assert membership.holds(tmp_path / "of before", "person-7") is None
    (tmp_path / membership.FILE).write_bytes(one[:-3])
    with pytest.raises(InvalidInput, match="no list of members"):
        membership.holds(tmp_path, "person-1")


def test_a_damaged_bundle_does_not_stop_an_erasure(home: Settings) -> None:
    (home.models / "churn" / "1" / "card.json").write_text("{")
    (home.models / "churn" / "2" / membership.FILE).write_bytes(b"?")
    asked = {(each.problem, each.version): each.trained_on for each in bundle.memberships(home.models, WHO)}
    assert asked == {("churn", "1"): True, ("churn", "2"): None, ("propensity", "1"): None}
    forget_here(home)
    assert holding(home.home) == []


# -- interrupted, repeated, refused ------------------------------------------------------------------------------------


class _PowerCut(BaseException):
    """Strikes at the given step of an erasure."""


class _Cut:
    def __init__(self, after: int) -> None:
        self.after, self.steps = after, list[str]()

    def __call__(self, what: str) -> None:
        self.steps.append(what)
        if len(self.steps) > self.after:
            raise _PowerCut


def test_an_erasure_interrupted_anywhere_is_completed_by_running_it_again(home: Settings, tmp_path: Path) -> None:
    with Ledger.of(home) as ledger:
        kept, whole = rows_of(ledger)["events"], _Cut(1_000)
    for after in range(1_000):
        trial = replace(home, home=tmp_path / f"trial {after}")
        shutil.copytree(home.home, trial.home)
        cut = _Cut(after)
        with Ledger.of(trial) as ledger:
            try:
                erasure.forget(trial, ledger, WHO, cut)
            except _PowerCut:
                assert look(trial, ledger, WHO) or unfinished(ledger), "there is more to do, and it shows"
                erasure.forget(trial, ledger, WHO)
            else:
                whole = cut
            assert not look(trial, ledger, WHO) and not unfinished(ledger)
            assert rows_of(ledger)["events"] == kept
        bundle.forget(trial.models, WHO)
        assert holding(trial.home) == [], f"after a power cut at {cut.steps[-1]}"
        shutil.rmtree(trial.home)
        if cut is whole:
            break
    assert len(whole.steps) > 15 and whole.steps[-1] == "bytes of the ledger" and {"ledger", "Redis"} < set(whole.steps)


def test_a_killed_command_is_completed_by_running_it_again(home: Settings) -> None:
    with Ledger.of(home) as ledger:
        erase(ledger, WHO)  # and then the process dies: neither were the bytes wiped nor the files swept again
        assert unfinished(ledger)
    found = forget(home)
    assert found["ledger"]["events"] == 0 and found["files"], "the ledger knew nothing more, and yet"
    assert holding(home.home, MARKS[:-1]) == []
    again = kairos(home, "forget", WHO, "--yes")
    assert again.returncode == 2 and "is not known: nothing was changed" in again.stderr


def test_nothing_is_wiped_while_another_reads_and_the_next_run_does_it(home: Settings, ledger: Ledger) -> None:
    with Ledger.of(home) as reader, reader.engine.connect() as reading:
        assert reading.execute(select(tables.events.c.seq)).first()
        erase(ledger, WHO)
        with pytest.raises(Unavailable, match="run the same command again"):
            wipe(ledger, patience=0.2)
        assert unfinished(ledger)
    wipe(ledger)
    assert not unfinished(ledger)
    assert not any(mark in (home.home / "ledger.sqlite").read_bytes() for mark in MARKS)
    assert (home.home / "ledger.sqlite-wal").stat().st_size < 20_000


def test_a_stranger_is_not_found_and_nothing_changes(home: Settings, ledger: Ledger) -> None:
    before = {path: path.read_bytes() for path in home.home.rglob("*.parquet")}, rows_of(ledger)
    for arguments in (["--yes", "--json"], ["--dry-run"]):
        done = kairos(home, "forget", "a stranger", *arguments)
        assert done.returncode == 2 and "is not known: nothing was changed" in done.stderr
    assert ({path: path.read_bytes() for path in home.home.rglob("*.parquet")}, rows_of(ledger)) == before
    assert ledger.count(tables.tombstones) == 0 and not (home.home / "offline" / ".lock").exists()


def test_a_dry_run_and_a_no_change_nothing(home: Settings, ledger: Ledger) -> None:
    before = traces(ledger, WHO)
    said = json.loads(kairos(home, "forget", WHO, "--dry-run", "--json").stdout)
    assert said["forgotten"] is False and said["ledger"]["events"] == 5 and said["online"] == 1
    assert len(said["files"]) > 10
    asked = kairos(home, "forget", WHO)  # nobody answers
    assert asked.returncode == 1 and "for good?" in asked.stdout + asked.stderr
    unclear = kairos(home, "forget", WHO, "--json")
    assert unclear.returncode == 2 and "--yes" in unclear.stderr
    assert traces(ledger, WHO) == before and online(home, WHO)


def test_redis_away_stops_it_before_the_ledger(home: Settings, ledger: Ledger) -> None:
    away = replace(home, redis_url="redis://127.0.0.1:1/0")
    done = kairos(away, "forget", WHO, "--yes")
    assert done.returncode == 1 and "cannot be reached" in done.stderr
    assert traces(ledger, WHO).events == 5, "the ledger still knows whom to look for"


def test_a_file_that_cannot_be_read_stops_it_before_the_ledger(home: Settings, ledger: Ledger) -> None:
    damaged = home.home / "datasets" / "cut off.parquet"
    damaged.write_bytes((home.home / "datasets" / "for an audit.parquet").read_bytes()[:-9])
    done = kairos(home, "forget", WHO, "--yes")
    assert done.returncode == 1 and "cut off.parquet" in done.stderr and "run the same command again" in done.stderr
    assert traces(ledger, WHO).events == 5
    damaged.unlink()
    forget_here(home)
    assert holding(home.home) == []


def test_without_redis_it_says_so(home: Settings) -> None:
    done = kairos(replace(home, redis_url=""), "forget", WHO, "--yes")
    assert done.returncode == 0 and "KAIROS_REDIS_URL is not set" in done.stdout


def test_logs_and_reports_that_name_them_are_pointed_at(home: Settings) -> None:
    (home.home / "service.log").write_text(f"the features of customer '{WHO}' could not be computed\n")
    (home.home / "other.log").write_text(f"x{WHO}, which is somebody else\n")
    assert forget(home)["mentions"] == ["service.log"]
    (home.home / "short.log").write_text("17")
    assert mentions(home.home, "17") == [], "it would be found everywhere"


# -- what comes afterwards ---------------------------------------------------------------------------------------------


def test_a_sequence_is_never_given_again(home: Settings, ledger: Ledger) -> None:
    last = ledger.mark(tables.events)
    newest = [row[0] for row in cursors.events_after(ledger, last - 1, 10)]
    assert newest == [last]
    forget_here(home)
    assert ledger.mark(tables.events) < last, "theirs was the newest event"
    again = Event(event_id="new", customer_id="other-1", type="click", occurred_at=NOW, received_at=NOW)
    ledger.append_events([again])
    assert [row[1] for row in cursors.events_after(ledger, last, 10)] == ["new"], "a follower must not pass over it"


def test_events_sent_again_are_of_somebody_new(home: Settings, ledger: Ledger) -> None:
    forget_here(home)
    [old] = [each for each in to_events(all_events()) if each.event_id == f"{WHO}/3"]
    assert [each.status for each in ledger.append_events([old])] == ["accepted"]
    assert traces(ledger, WHO).events == 1


def test_a_request_made_again_is_refused_and_not_answered_anew(home: Settings, ledger: Ledger) -> None:
    [made] = decisions_of([WHO], NOW)
    forget_here(home)
    [receipt] = ledger.append_decisions([made])
    assert receipt.status == "conflict" and ledger.decision(request_id=made.request_id) is None
    mixed = decisions_of(["new-1", WHO, "new-2"], NOW)
    assert [each.status for each in ledger.append_decisions(mixed)] == ["accepted", "conflict", "accepted"]


@pytest.mark.parametrize("who", ["17850", WHO])
def test_refused_rows_go_wherever_in_them_the_id_stands(tmp_path: Path, who: str) -> None:
    settings = Settings(home=tmp_path)
    columns: dict[str, Any] = {
        "number": [17850, 178500, 3, 4, 5] if who == "17850" else [1, 2, 3, 4, 5],
        "float": [17850.0, 1.0, 2.0, 3.0, 4.0] if who == "17850" else [0.0] * 5,
        "values": [f'{{"customer": {json.dumps(who)}}}', None, f"x{who}", "", f"{who}x"],
        "nested": [[who], [], ["a"], None, [f"{who}0"]],
    }
    (tmp_path / "imports" / "one").mkdir(parents=True)
    path = tmp_path / "imports" / "one" / "refused.parquet"
    frame = pl.DataFrame(columns)
    frame.write_parquet(path)
    with Ledger.of(settings) as ledger:
        erasure.forget(settings, ledger, who)
    assert pl.read_parquet(path).equals(frame.slice(1))


def test_a_follower_takes_them_out_of_a_redis_that_only_it_can_reach(home: Settings, ledger: Ledger) -> None:
    with closing(PackedStore.of(home)) as store:
        follower = Follower(ledger, store)
        while follower.turn():
            pass
        assert online(home, WHO)
        forget_here(replace(home, redis_url=""))  # as beside a `kairos up`, whose Redis is its own
        assert online(home, WHO)
        while follower.turn():
            pass
        assert not online(home, WHO) and all(online(home, each) for each in PEOPLE[1:])


def test_either_kind_of_ledger_forgets(ledger_url: str) -> None:
    ledger = Ledger(ledger_url)
    fill_ledger(ledger, all_events())
    before, last = rows_of(ledger), ledger.mark(tables.events)
    found = erase(ledger, WHO)
    assert (found.events, found.quarantine, found.scores, found.decisions, found.outcomes) == (5, 2, 1, 4, 3)
    assert found.accounts == (FIRM,) and unfinished(ledger)
    wipe(ledger)
    assert not unfinished(ledger) and not traces(ledger, WHO) and not erase(ledger, WHO)
    assert rows_of(ledger)["events"] == before["events"] and differences(ledger, POINT) == []
    assert [each.status for each in ledger.append_decisions(decisions_of(["new-1", WHO], NOW))] == [
        "accepted",
        "conflict",
    ]
    click = Event(event_id="new", customer_id="other-1", type="click", occurred_at=NOW, received_at=NOW)
    ledger.append_events([click])
    assert [row[1] for row in cursors.events_after(ledger, last, 10)] == ["new"]
    ledger.close()


def test_a_whole_small_loop_forgets_and_stays_whole(loop: SmallLoop, tmp_path: Path) -> None:
    settings = replace(loop.settings, home=tmp_path / "loop")
    shutil.copytree(loop.settings.home, settings.home)
    settings = replace(settings, redis_url="")  # the other tests' Redis is not to be emptied
    who = loop.world.audience[3]
    with Ledger.of(settings) as ledger:
        made = decisions_of([*loop.world.audience[:60]], loop.world.now - 3 * WEEK)
        ledger.append_decisions(made)
        ledger.append_outcomes(outcomes_of(made))
        learn(ledger, POINT, loop.world.now)
        learnt = {each.card.problem for each in loop.learnt.trained}
        found = forget(settings, who, loop.world.now)
        assert {each["problem"] for each in found["models"] if each["trained_on"] is True} <= learnt
        assert any(each["trained_on"] is True for each in found["models"])
        assert holding(settings.home, (who.encode(),)) == [], "nor does MLflow keep an id"
        assert differences(ledger, POINT) == []
        assert verdict(ledger, POINT, loop.world.now).decisions >= 60
