"""Learning: a state equals the fold over the ledger's order, whoever learnt, however often, and replays bit for bit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text

from decisioning.learner import learn
from decisioning.next_best import Known, Request, decide
from decisioning.point import all_points
from decisioning.replay import differences, replay
from features.kernel.ledger import Ledger
from features.kernel.records import Decision, Outcome, PolicyState
from features.kernel.seeds import generator

POINT = all_points()["win_back"]
START = datetime(2026, 5, 1, tzinfo=UTC)
WEEK = timedelta(days=7)
CONSENT = {"profile:email_consent": 1.0}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    yield ledger
    ledger.close()


def decide_for(ledger: Ledger, customers: range, at: datetime, *, state: PolicyState | None = None) -> list[Decision]:
    known = Known("fresh", CONSENT, states={"thompson": state})
    rng = generator("decide", customers.start)
    rows = [
        decide(POINT, Request(f"r{i}", f"c{i}"), known, rng, now=at + timedelta(seconds=i), salt="s") for i in customers
    ]
    ledger.append_decisions(rows)
    return rows


def outcome(decision: Decision, after: timedelta, *, kind: str = "order", value: float = 1.0, tag: str = "") -> Outcome:
    return Outcome(
        outcome_id=f"o-{decision.decision_id}{tag}",
        decision_id=decision.decision_id,
        kind=kind,
        value=value,
        occurred_at=decision.decided_at + after,
    )


def respond(ledger: Ledger, rows: list[Decision], better: str = "discount") -> set[str]:
    rng = generator("respond")
    won = [each for each in rows if rng.random() < (0.4 if each.action == better else 0.1)]
    ledger.append_outcomes([outcome(each, timedelta(days=1)) for each in won])
    return {each.decision_id for each in won}


def expected_arms(rows: list[Decision], won: set[str]) -> dict[str, list[float]]:
    """Counted independently: a row of the bandit adds one success or one failure to its action."""
    arms: dict[str, list[float]] = {}
    for each in rows:
        if each.group == "bandit":
            alpha_beta = arms.setdefault(each.action, [1.0, 1.0])
            alpha_beta[each.decision_id not in won] += 1
    return arms


def test_the_state_counts_successes_and_failures_of_closed_windows(ledger: Ledger) -> None:
    rows = decide_for(ledger, range(300), START)
    won = respond(ledger, rows)
    assert learn(ledger, POINT, START + WEEK - timedelta(seconds=1)) == [], "no window has closed"
    [state] = learn(ledger, POINT, START + WEEK + timedelta(seconds=99.5))  # customers 0 to 99
    assert state.version == 1 and state.decision_mark == 100
    assert state.state["arms"] == expected_arms(rows[:100], won)
    [state] = learn(ledger, POINT, START + 2 * WEEK)
    assert state.version == 2 and state.state["arms"] == expected_arms(rows, won)
    assert learn(ledger, POINT, START + 3 * WEEK) == [], "nothing new, nothing published"
    assert ledger.state("win_back", "thompson") == state


def test_it_stops_at_the_first_open_window(ledger: Ledger) -> None:
    decide_for(ledger, range(10), START)
    decide_for(ledger, range(10, 11), START + timedelta(days=3))
    decide_for(ledger, range(11, 30), START)
    assert learn(ledger, POINT, START + WEEK + timedelta(hours=1))[0].decision_mark == 10
    assert learn(ledger, POINT, START + 2 * WEEK)[0].decision_mark == 30


def test_only_an_order_within_the_window_is_a_reward(ledger: Ledger) -> None:
    rows = [each for each in decide_for(ledger, range(60), START) if each.group == "bandit"][:6]
    ledger.append_outcomes(
        [
            outcome(rows[0], timedelta(0)),
            outcome(rows[1], WEEK - timedelta(microseconds=1)),
            outcome(rows[2], WEEK),  # too late
            outcome(rows[3], -timedelta(seconds=1)),  # before the decision
            outcome(rows[4], timedelta(days=1), kind="click"),
            outcome(rows[5], timedelta(days=1), value=0.0),
            outcome(rows[0], timedelta(days=2), tag="-again"),  # a second order is no second success
        ]
    )
    [state] = learn(ledger, POINT, START + 2 * WEEK)
    assert sum(alpha - 1 for alpha, _ in state.state["arms"].values()) == 2


def test_no_choice_teaches_nothing(ledger: Ledger) -> None:
    rng = generator("no consent")
    rows = [decide(POINT, Request(f"r{i}", f"c{i}"), Known("prior"), rng, now=START, salt="s") for i in range(40)]
    ledger.append_decisions(rows)
    [state] = learn(ledger, POINT, START + WEEK)
    assert state.state == {"arms": {}} and state.decision_mark == 40


def test_every_version_replays_bit_for_bit_and_tampering_shows(ledger: Ledger) -> None:
    state, rows = None, list[Decision]()
    for week in range(4):
        rows += decide_for(ledger, range(100 * week, 100 * week + 100), START + week * WEEK, state=state)
        respond(ledger, rows[-100:])
        [state] = learn(ledger, POINT, START + (week + 1) * WEEK + timedelta(minutes=10))
    # Late news of decisions already folded must not change what replays.
    ledger.append_outcomes([outcome(each, timedelta(days=2), tag="-late") for each in rows])
    published = ledger.states("win_back", "thompson")
    assert [each.version for each in published] == [1, 2, 3, 4]
    rebuilt = replay(ledger, POINT)["thompson"]
    assert [msgspec.json.encode(a) for a in rebuilt] == [msgspec.json.encode(b) for b in published]
    assert differences(ledger, POINT) == []
    with ledger.transaction() as connection:
        connection.execute(
            text('UPDATE states SET row = replace(row, \'"arms":{"d\', \'"arms":{"x\') WHERE version = 2')
        )
    assert differences(ledger, POINT) == ["thompson 2"]


def test_learning_often_or_rarely_ends_in_the_same_state(tmp_path: Path) -> None:
    ends = []
    for every in (1, 7, 40):
        ledger = Ledger(f"sqlite:///{tmp_path / f'{every}.sqlite'}")
        respond(ledger, decide_for(ledger, range(120), START))
        for second in range(0, 121, every):
            learn(ledger, POINT, START + WEEK + timedelta(seconds=second))
        learn(ledger, POINT, START + 2 * WEEK)
        ends.append(ledger.state("win_back", "thompson").state)  # type: ignore[union-attr]
        ledger.close()
    assert ends[0] == ends[1] == ends[2]


class _Overtaken(Ledger):
    """A ledger on which another learner always publishes just before the first version of ours."""

    def publish_state(self, state: PolicyState) -> None:
        if state.version == 1:
            other = Ledger(str(self.engine.url))
            learn(other, POINT, START + WEEK + timedelta(seconds=49))
            other.close()
        super().publish_state(state)


def test_who_comes_second_folds_on_from_there(ledger: Ledger) -> None:
    rows = decide_for(ledger, range(100), START)
    won = respond(ledger, rows)
    late = _Overtaken(str(ledger.engine.url))
    [state] = learn(late, POINT, START + 2 * WEEK)
    late.close()
    assert state.version == 2 and state.state["arms"] == expected_arms(rows, won)
    assert ledger.state("win_back", "thompson", 1).decision_mark == 50  # type: ignore[union-attr]
    assert differences(ledger, POINT) == []


_LEARNER = """
import sys
from datetime import datetime, timedelta
from decisioning.learner import learn
from decisioning.point import all_points
from features.kernel.ledger import Ledger

ledger, closed = Ledger(sys.argv[1]), datetime.fromisoformat(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for second in range(int(sys.argv[3]), 200, 10):
    learn(ledger, all_points()["win_back"], closed + timedelta(seconds=second))
"""


def test_learners_in_two_processes_and_four_threads_publish_each_version_once(ledger: Ledger) -> None:
    rows = decide_for(ledger, range(200), START)
    won = respond(ledger, rows)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    common = [sys.executable, "-c", _LEARNER, str(ledger.engine.url), (START + WEEK).isoformat()]
    processes = [subprocess.Popen([*common, first], **pipes) for first in ("0", "5")]  # type: ignore[call-overload]
    for each in processes:
        assert each.stdout.readline() == "ready\n"
    for each in processes:
        each.communicate("go\n", timeout=60)
        assert each.returncode == 0
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(lambda second: learn(ledger, POINT, START + WEEK + timedelta(seconds=second)), range(150, 260, 5))
        )
    published = ledger.states("win_back", "thompson")
    assert [each.version for each in published] == list(range(1, len(published) + 1)) and len(published) >= 20
    assert published[-1].state["arms"] == expected_arms(rows, won), "each decision was learnt from exactly once"
    assert differences(ledger, POINT) == []


def test_the_loop_turns_toward_the_better_arm(ledger: Ledger) -> None:
    state = None
    for week in range(8):
        rows = decide_for(ledger, range(150 * week, 150 * week + 150), START + week * WEEK, state=state)
        respond(ledger, rows)
        [state] = learn(ledger, POINT, START + (week + 1) * WEEK + timedelta(minutes=20))
    assert state is not None
    pmf = dict(zip(POINT.actions, POINT.learners["thompson"].pmf(state.state, {}, POINT.actions), strict=True))
    assert pmf["discount"] > 0.9
