"""The ledger: idempotent by id, honest about conflicts, in one order, and durable once it has answered."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from features.kernel import tables
from features.kernel.errors import Conflict, Unavailable
from features.kernel.events import Event
from features.kernel.ledger import EVENT_COLUMNS, Ledger
from features.kernel.records import Decision, Outcome, PolicyState, Score

T0 = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    ledger = Ledger(ledger_url)
    yield ledger
    ledger.close()


def event(name: str, *, ahead: timedelta = timedelta(0), **fields: object) -> Event:
    values: dict[str, object] = {"customer_id": "c1", "type": "page_view", "occurred_at": T0 + ahead, "received_at": T0}
    return Event(event_id=name, **(values | fields))  # type: ignore[arg-type]


def statuses(ledger: Ledger, *batch: Event) -> list[str]:
    receipts = ledger.append_events(batch)
    assert [each.id for each in receipts] == [each.event_id for each in batch]
    return [each.status for each in receipts]


def stored(ledger: Ledger) -> list[str]:
    return [row[0] for part in ledger.events() for row in part]


def decision(name: str, *, customer: str = "c1", at: datetime = T0, point: str = "win_back") -> Decision:
    return Decision(
        decision_id=f"d-{name}",
        request_id=name,
        customer_id=customer,
        decision_point=point,
        group="bandit",
        group_share=0.5,
        policy="thompson",
        state_version=3,
        eligible=("none", "discount"),
        excluded={"reminder": "capped"},
        pmf={"none": 0.1 + 0.2, "discount": 0.7},
        u=0.42,
        action="discount",
        context={"orders:count_90d": 1.0, "score:churn": None},
        model_versions={"churn": "4"},
        rung="fresh",
        decided_at=at,
    )


def outcome(name: str, of: str = "d-1", value: float = 1.0) -> Outcome:
    return Outcome(outcome_id=name, decision_id=of, kind="order", value=value, occurred_at=T0)


# -- idempotence, conflict, quarantine ---------------------------------------------------------------------------------


def test_an_event_is_stored_once_whatever_is_sent_again(ledger: Ledger) -> None:
    assert statuses(ledger, event("a"), event("b", properties={"x": 1, "y": [1, 2]})) == ["accepted", "accepted"]
    again = event("b", properties={"y": [1, 2], "x": 1}, received_at=T0 + timedelta(days=1))
    assert statuses(ledger, again) == ["duplicate"], "neither the order of keys nor the receipt is the body"
    assert statuses(ledger, event("a", customer_id="c2"), event("new")) == ["conflict", "accepted"]
    assert stored(ledger) == ["a", "b", "new"]
    assert ledger.append_events([event("a", customer_id="c2")])[0].reason == "this id was used before with another body"


def test_within_one_batch_the_first_counts(ledger: Ledger) -> None:
    batch = [event("a"), event("a"), event("a", customer_id="c2"), event("b")]
    assert statuses(ledger, *batch) == ["accepted", "duplicate", "conflict", "accepted"]
    assert stored(ledger) == ["a", "b"] and statuses(ledger) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"customer_id": "c2"},
        {"type": "click"},
        {"occurred_at": T0 - timedelta(microseconds=1)},
        {"account_id": "c1"},
        {"channel": "x"},
        {"campaign": "x"},
        {"message_id": "x"},
        {"decision_id": "x"},
        {"amount": 0.0},
        {"currency": "EUR"},
        {"properties": {"x": None}},
    ],
    ids=lambda each: next(iter(each)),
)
def test_every_field_the_sender_says_is_part_of_the_body(tmp_path: Path, changed: dict[str, object]) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    assert statuses(ledger, event("a"), event("a", **changed)) == ["accepted", "conflict"]
    ledger.close()


def test_the_future_is_quarantined_with_a_reason_and_in_its_place(ledger: Ledger) -> None:
    ahead = event("future", ahead=timedelta(minutes=5, microseconds=1))
    batch = [event("a"), ahead, event("edge", ahead=timedelta(minutes=5)), ahead]
    assert statuses(ledger, *batch) == ["accepted", "quarantined", "accepted", "quarantined"]
    assert stored(ledger) == ["a", "edge"] and ledger.count(tables.quarantine) == 1
    [receipt] = ledger.append_events([ahead])
    assert receipt.status == "quarantined" and receipt.reason == "dated more than 0:05:00 ahead of its receipt"
    assert statuses(ledger, event("future", ahead=timedelta(days=1))) == ["conflict"]


@given(
    batches=st.lists(
        st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["c1", "c2"]), st.booleans()), max_size=8),
        max_size=6,
    )
)
@settings(max_examples=40, deadline=None)
def test_receipts_agree_with_a_dictionary(batches: list[list[tuple[str, str, bool]]]) -> None:
    """However events are batched and repeated, the ledger answers like a dict of first bodies.

    Of a batch the present events are taken first; a future one under an accepted id has another body: a conflict.
    """
    with tempfile.TemporaryDirectory() as folder:
        ledger, known, held = Ledger(f"sqlite:///{folder}/ledger.sqlite"), dict[str, str](), dict[str, str]()
        for batch in batches:
            expected = [""] * len(batch)
            for i, (name, customer, future) in sorted(enumerate(batch), key=lambda each: each[1][2]):
                shelf = held if future else known
                taken = future and name in known
                new, same = name not in shelf, not taken and shelf.setdefault(name, customer) == customer
                settled = "quarantined" if future else "accepted" if new else "duplicate"
                expected[i] = settled if same else "conflict"
            sent = [event(n, customer_id=c, ahead=timedelta(days=int(f))) for n, c, f in batch]
            assert statuses(ledger, *sent) == expected
        assert Counter(stored(ledger)) == Counter(known.keys()) and ledger.count(tables.quarantine) == len(held)
        ledger.close()


def test_decisions_and_outcomes_are_idempotent_too(ledger: Ledger) -> None:
    assert [each.status for each in ledger.append_decisions([decision("1"), decision("1")])] == [
        "accepted",
        "duplicate",
    ]
    assert ledger.append_decisions([decision("1", customer="c2")])[0].status == "conflict"
    assert ledger.append_decisions([decision("1", at=T0 + timedelta(days=1))])[0].status == "duplicate"
    assert ledger.decision(request_id="1") == ledger.decision(decision_id="d-1") == decision("1")
    assert ledger.decision(request_id="2") is None
    receipts = ledger.append_outcomes([outcome("o"), outcome("o"), outcome("o", value=2.0)])
    assert [each.status for each in receipts] == ["accepted", "duplicate", "conflict"]
    assert ledger.outcomes(["d-1", "d-9"]) == {"d-1": [outcome("o")]}


# -- reading back ------------------------------------------------------------------------------------------------------


def test_events_come_back_as_they_were_in_ledger_order(ledger: Ledger) -> None:
    full = event(
        "z", account_id="a", channel="email", campaign="k", message_id="m", decision_id="d", amount=12.25,
        currency="EUR", properties={"näme": "Ü", "n": [1, 2.5, None]}, occurred_at=T0 - timedelta(microseconds=7),
    )  # fmt: skip
    ledger.append_events([full, event("a", customer_id="c2"), event("b", customer_id="c3")])
    rows = [dict(zip(EVENT_COLUMNS, row, strict=True)) for part in ledger.events() for row in part]
    assert [row["event_id"] for row in rows] == ["z", "a", "b"]
    back = rows[0] | {"properties": msgspec.json.decode(rows[0]["properties"])}
    for name in ("occurred_at", "received_at"):
        back[name] = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=back[name])
    assert back == msgspec.structs.asdict(full)
    assert [row[0] for part in ledger.events(["c3", "c1", "c3"]) for row in part] == ["z", "b"]


def test_ranges_of_the_journal(ledger: Ledger) -> None:
    ledger.append_decisions([decision(str(i), point=("p", "q")[i % 2]) for i in range(6)])
    found = ledger.decisions("p")
    assert [each.request_id for _, each in found] == ["0", "2", "4"]
    first, second, third = (seq for seq, _ in found)
    assert first < second < third <= ledger.mark(tables.decisions)
    assert [seq for seq, _ in ledger.decisions("p", after=first, upto=second)] == [second]
    ledger.append_outcomes([outcome("o1", "d-0")])
    mark = ledger.mark(tables.outcomes)
    ledger.append_outcomes([outcome("o2", "d-0")])
    assert [each.outcome_id for each in ledger.outcomes(["d-0"], upto=mark)["d-0"]] == ["o1"]
    assert ledger.mark(tables.scores) == 0


def test_recent_decisions_of_one_customer(ledger: Ledger) -> None:
    days = [timedelta(days=each) for each in (-8, -7, -1)]
    ledger.append_decisions([decision(f"{each}", at=T0 + each) for each in days])
    ledger.append_decisions([decision("other", customer="c2"), decision("elsewhere", point="p")])
    found = ledger.recent_decisions("win_back", "c1", since=T0 - timedelta(days=7))
    assert [each.decided_at for each in found] == [T0 + each for each in days[1:]]


def test_a_version_of_a_state_is_published_once(ledger: Ledger) -> None:
    def state(version: int, arms: dict[str, list[float]]) -> PolicyState:
        return PolicyState(
            decision_point="p",
            policy="q",
            version=version,
            state=arms,
            decision_mark=1,
            outcome_mark=2,
            published_at=T0,
        )

    assert ledger.state("p", "q") is None and ledger.states("p", "q") == []
    versions = [state(1, {"a": [1.0, 2.0]}), state(2, {"a": [1.5, 2.0 / 3]})]
    for each in versions:
        ledger.publish_state(each)
    with pytest.raises(Conflict, match="another learner"):
        ledger.publish_state(state(2, {}))
    assert ledger.states("p", "q") == versions and ledger.state("p", "q") == versions[1]
    assert ledger.state("p", "q", 1) == versions[0] and ledger.state("p", "other") is None


def test_scores_come_back_since_an_instant(ledger: Ledger) -> None:
    rows = [
        Score(
            score_id=f"s{i}", customer_id="c1", problem="churn", model_version="1", rung="fresh", value=0.1 * i,
            features={"web:views_7d": None, "profile:country": "DE", "x": 1.5}, scored_at=T0 + timedelta(hours=i),
        )
        for i in range(3)
    ]  # fmt: skip
    ledger.append_scores(rows)
    assert ledger.scores("churn") == rows and ledger.scores("churn", since=T0 + timedelta(hours=1)) == rows[1:]
    assert ledger.scores("other") == []


def test_a_transaction_is_all_or_nothing(ledger: Ledger) -> None:
    with pytest.raises(RuntimeError, match="after"), ledger.transaction() as connection:
        ledger.append_events([event("a")], connection)
        ledger.append_outcomes([outcome("o")], connection)
        raise RuntimeError("after")
    assert stored(ledger) == [] and ledger.count(tables.outcomes) == 0


def test_a_ledger_that_cannot_be_reached_says_so(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"this is no database" * 100)
    with pytest.raises(Unavailable, match="KAIROS_LEDGER_URL"):
        Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    ledger = Ledger(f"sqlite:///{tmp_path / 'other.sqlite'}")
    with ledger.transaction() as connection:
        connection.execute(text("DROP TABLE decisions"))
    with pytest.raises(Unavailable, match="cannot be read"):
        ledger.decisions("p")
    with pytest.raises(Unavailable, match="did not take"):
        ledger.append_decisions([decision("1")])
    ledger.close()


def test_an_accepted_id_cannot_hide_in_quarantine(ledger: Ledger) -> None:
    """The same id with another body is a conflict, also where that body is dated ahead."""
    first = event("a")
    ahead = msgspec.structs.replace(first, occurred_at=first.received_at + timedelta(days=9))
    fresh = msgspec.structs.replace(ahead, event_id="b")
    assert statuses(ledger, first) == ["accepted"]
    assert statuses(ledger, ahead, fresh, ahead) == ["conflict", "quarantined", "conflict"]
    assert stored(ledger) == ["a"]


# -- many at once ---------------------------------------------------------------------------------


_APPENDER = """
import json, sys
from datetime import UTC, datetime
from features.kernel.events import Event
from features.kernel.ledger import Ledger

ledger, at, statuses = Ledger(sys.argv[1]), datetime(2026, 1, 1, tzinfo=UTC), []
print("ready", flush=True)
sys.stdin.readline()
for start in range(0, 400, 20):
    ids = [f"e{i}" for i in range(start, start + 20)]
    batch = [Event(event_id=i, customer_id="c", type="page_view", occurred_at=at, received_at=at) for i in ids]
    statuses += [each.status for each in ledger.append_events(batch)]
print(json.dumps(statuses), flush=True)
"""


def test_two_processes_appending_the_same_ids_accept_each_once(ledger: Ledger, ledger_url: str) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([sys.executable, "-c", _APPENDER, ledger_url], **pipes) for _ in range(2)]  # type: ignore[call-overload]
    for each in processes:
        assert each.stdout.readline() == "ready\n"
    for each in processes:
        each.stdin.write("go\n")
        each.stdin.flush()
    one, two = (json.loads(each.communicate(timeout=60)[0]) for each in processes)
    assert all(each.returncode == 0 for each in processes)
    assert all({a, b} == {"accepted", "duplicate"} for a, b in zip(one, two, strict=True))
    assert sorted(stored(ledger)) == sorted(f"e{i}" for i in range(400))


def test_a_reader_never_meets_a_smaller_sequence_later(ledger: Ledger, ledger_url: str) -> None:
    """Writers take turns: while one has rows that are not committed, no other can commit greater sequences."""
    with ledger.transaction() as connection:
        ledger.append_decisions([decision("slow")], connection)
        probe = "import sys; from features.kernel.ledger import Ledger; Ledger(sys.argv[1]).record('w', 'x', {})"
        other = subprocess.Popen([sys.executable, "-c", probe, ledger_url])
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(2.5)
        assert ledger.count(tables.audit) == 0
    assert other.wait(30) == 0
    assert ledger.count(tables.audit) == 1
