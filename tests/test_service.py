"""The service over HTTP, made of its real parts: ledger, group commit, intake, models, policies; a follower beside."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import httpx
import numpy as np
import pytest
from sqlalchemy import text as sql

from decisioning.point import all_points
from features.ingest.testing import following
from features.kernel import tables
from features.kernel.card import CandidateColumn, Candidates, CardFeature, column_name
from features.kernel.clock import now
from features.kernel.group_commit import GroupCommit
from features.kernel.ledger import Ledger
from features.kernel.records import PolicyState, Score
from features.kernel.seeds import generator
from features.kernel.settings import Settings, quiet_libraries
from serving.app import create_app
from serving.bundles import load_bundle
from serving.known import Known
from serving.score import score
from serving.score_log import ScoreLog
from serving.services import Services, compose
from serving.testing import MemoryStore, listening, publish, simple_card

quiet_libraries()
import lightgbm as lgb  # noqa: E402

REFS = ("orders:count_30d", "web:views_7d")
CONSENT = {"profile:email_consent": 1.0}
AT = "2026-01-31T12:00:00Z"


def fit(names: list[str]) -> bytes:
    rng = generator("service test", *names)
    x = rng.normal(2, 2, (800, len(names)))
    y = x.sum(axis=1) + rng.normal(size=len(x)) > 2 * len(names)
    data = lgb.Dataset(x, y.astype(float), feature_name=names)
    return (
        lgb.train({"objective": "binary", "verbosity": -1, "num_threads": 1, "num_leaves": 7}, data, 20)
        .model_to_string()
        .encode()
    )


def publish_all(models: Path) -> None:
    text = fit([column_name(ref) for ref in REFS])
    for problem in ("churn", "propensity"):
        publish(models, simple_card(problem, REFS, text), text)
    given = fit(["age", "job"])
    features = (
        CardFeature(ref="age", dtype="float32", unit="years", phrase="is {value} years old"),
        CardFeature(ref="job", dtype="category", vocabulary=("clerk", "pilot", "nurse", "cook", "judge")),
    )
    defaults = {"age": 40.0, "job": "clerk"}
    card = simple_card("lead_scoring", [], given, source="request", features=features, default_features=defaults)
    publish(models, card, given)
    timed = fit([column_name(REFS[0]), "hour"])
    hour = CandidateColumn(name="hour", values=tuple(float(i % 24) for i in range(168)))
    candidates = Candidates(name="hour_of_week", count=168, columns=(hour,))
    card = simple_card("send_time", REFS[:1], timed, kind="candidates", candidates=candidates)
    publish(models, card, timed)


class Running:
    """A service under test with the parts a test looks into."""

    def __init__(self, client: httpx.Client, services: Services, store: MemoryStore) -> None:
        self.client, self.services, self.store = client, services, store

    def post(self, path: str, body: object, expect: int = 200) -> Any:
        answer = self.client.post(f"/v1/{path}", json=body)
        assert answer.status_code == expect, answer.text
        return answer.json()

    def decide(self, customer: str, **more: str) -> dict[str, Any]:
        found: dict[str, Any] = self.post(
            "next-best-action", {"customer_id": customer, "decision_point": "win_back"} | more
        )
        return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    publish_all(Settings(home=home).models)
    return home


def run(settings: Settings) -> Iterator[Running]:
    store, made = MemoryStore(), []

    def make(settings: Settings) -> Services:
        made.append(compose(settings, store=lambda: store, rng=generator("service test")))
        return made[0]

    with listening(create_app(settings, make)) as url, httpx.Client(base_url=url, timeout=30) as client:
        eventually(lambda: client.get("/readyz").status_code == 200)
        with following(made[0].ledger, store):
            yield Running(client, made[0], store)


@pytest.fixture(scope="module")
def kairos(home: Path) -> Iterator[Running]:
    yield from run(Settings(home=home))


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Running]:
    """A service of one test's own, to break."""
    publish_all(Settings(home=tmp_path).models)
    yield from run(Settings(home=tmp_path))


def eventually(holds: Callable[[], object], within: float = 10.0) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.02)


def event(**fields: Any) -> dict[str, Any]:
    return {"event_id": "e", "customer_id": "c", "type": "page_view", "occurred_at": AT} | fields


def order(event_id: str, customer: str, amount: float = 20.0) -> dict[str, Any]:
    at = (now() - timedelta(hours=2)).isoformat()
    return event(event_id=event_id, customer_id=customer, type="order", amount=amount, currency="EUR", occurred_at=at)


# -- events ------------------------------------------------------------------------------------------------------------


def test_an_event_is_accepted_once(kairos: Running) -> None:
    first = event(event_id="once", properties={"page": "/pricing", "session": "s"})
    assert kairos.post("events", first, 202) == {"receipts": [{"id": "once", "status": "accepted", "reason": None}]}
    same = first | {"properties": {"session": "s", "page": "/pricing"}}
    assert kairos.post("events", same, 200)["receipts"][0]["status"] == "duplicate"
    refused = kairos.post("events", first | {"customer_id": "other"}, 409)
    assert (refused["field"], refused["value"]) == ("event_id", "once") and refused["remedy"]


def test_an_acknowledged_event_is_in_the_ledger(kairos: Running) -> None:
    before = kairos.services.ledger.count(tables.events)
    kairos.post("events", {"events": [event(event_id=f"durable-{i}", customer_id=f"d{i}") for i in range(50)]}, 202)
    assert kairos.services.ledger.count(tables.events) == before + 50


def test_a_batch_is_judged_item_by_item(kairos: Running) -> None:
    kairos.post("events", event(event_id="known"), 202)
    batch = [
        event(event_id="new"),
        event(event_id="known"),
        event(event_id="known", type="click"),
        event(event_id="future", occurred_at=(now() + timedelta(days=1)).isoformat()),
        event(event_id="typo", typ="click"),
        event(event_id="no amount", type="order"),
        {"event_id": 7},
        "no object",
        event(event_id="new"),
    ]
    receipts = kairos.post("events", {"events": batch}, 202)["receipts"]
    assert [each["status"] for each in receipts] == [
        "accepted", "duplicate", "conflict", "quarantined", "invalid", "invalid", "invalid", "invalid", "duplicate",
    ]  # fmt: skip
    assert [each["id"] for each in receipts[:6]] == ["new", "known", "known", "future", "typo", "no amount"]
    assert "typ" in receipts[4]["reason"] and "amount" in receipts[5]["reason"]


def ndjson(kairos: Running, body: bytes, expect: int = 202) -> Any:
    headers = {"content-type": "application/x-ndjson; charset=utf-8"}
    answer = kairos.client.post("/v1/events", content=body, headers=headers)
    assert answer.status_code == expect, answer.text
    return answer.json()


def test_a_line_is_an_event(kairos: Running) -> None:
    """A byte order mark, blank lines and Windows line ends are no mistakes; a bad line is told by its number."""
    lines = [
        b"\xef\xbb\xbf" + json.dumps(event(event_id="line-1")).encode(),
        b"",
        json.dumps(event(event_id="line-3", customer_id="\u00e9lo\u00efse \U0001f600")).encode() + b"\r",
        b'{"event_id": "line-4"',
        json.dumps(event(event_id="line-5", customer_id="caf\u00e9"), ensure_ascii=False).encode("latin-1"),
        json.dumps(event(event_id="line-6", amount="ten")).encode(),
        b"[1]",
        b"   ",
        json.dumps(event(event_id="line-9", type="order", amount=float("nan"))).encode(),
        json.dumps(event(event_id="line-3", customer_id="other")).encode(),
        json.dumps(event(event_id="line-1")).encode(),
    ]
    receipts = ndjson(kairos, b"\n".join(lines) + b"\n")["receipts"]
    assert [each["status"] for each in receipts] == [
        "accepted", "accepted", "invalid", "invalid", "invalid", "invalid", "invalid", "conflict", "duplicate",
    ]  # fmt: skip
    assert [each["reason"].partition(":")[0] for each in receipts[2:7]] == [f"line {n}" for n in (4, 5, 6, 7, 9)]
    assert "JSON" in receipts[2]["reason"] and "UTF-8" in receipts[3]["reason"] and "amount" in receipts[4]["reason"]
    assert receipts[4]["id"] == "line-6"
    rows = [row for part in kairos.services.ledger.events(["\u00e9lo\u00efse \U0001f600"]) for row in part]
    assert [row[0] for row in rows] == ["line-3"]


@pytest.mark.parametrize("count", [0, 1001])
def test_lines_have_a_limit(kairos: Running, count: int) -> None:
    body = b"\n".join(json.dumps(event(event_id=f"many-{i}")).encode() for i in range(count)) + b"\n \n"
    refused = ndjson(kairos, body, 422)
    assert refused["value"] == str(count) and "1 to 1000 lines" in refused["detail"]
    assert ndjson(kairos, body[: body.rfind(b"\n{")], 202) if count else True


def test_properties_too_large_are_refused_with_the_limit_named(kairos: Running) -> None:
    large = event(event_id="large", properties={"note": "x" * 10_000_000})
    refused = kairos.post("events", large, 413)
    assert "8388608 bytes" in refused["detail"] and refused["remedy"]
    ten_mb = json.dumps(large).encode()
    chunks = (ten_mb[i : i + 1_000_000] for i in range(0, len(ten_mb), 1_000_000))
    answer = kairos.client.post("/v1/events", content=chunks, headers={"content-type": "application/json"})
    assert answer.status_code == 413 and answer.headers["content-type"] == "application/problem+json"
    refused = kairos.post("events", event(event_id="large", properties={"note": "x" * 100_000}), 422)
    assert refused["field"] == "properties" and "65536 bytes" in refused["remedy"]
    [receipt] = ndjson(kairos, json.dumps(event(event_id="large", properties={"n": "x" * 100_000})).encode(), 200)[
        "receipts"
    ]
    assert receipt["status"] == "invalid" and "65536 bytes" in receipt["reason"]


def test_a_queue_that_is_full_answers_429_and_keeps_what_it_took(tmp_path: Path) -> None:
    for each in run(Settings(home=tmp_path, queue_size=5)):
        backlog = each.services.intake.backlog
        eventually(lambda backlog=backlog: backlog.alive)
        each.store.away = True  # the follower cannot get on
        taken = 0
        for i in range(10):
            answer = each.client.post("/v1/events", json=event(event_id=f"full-{i}"))
            taken += answer.status_code == 202
        assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1
        assert taken == each.services.ledger.count(tables.events) == 5
        assert "kairos_follower_behind_events 5.0" in each.client.get("/metrics").text
        each.store.away = False
        eventually(lambda each=each: each.client.post("/v1/events", json=event(event_id="next")).status_code < 300)


def test_without_a_follower_events_are_taken_and_it_is_said(tmp_path: Path) -> None:
    store, made = MemoryStore(), []

    def make(settings: Settings) -> Services:
        made.append(compose(settings, store=lambda: store))
        return made[0]

    with listening(create_app(Settings(home=tmp_path, queue_size=2), make)) as url:
        for i in range(5):
            assert httpx.post(f"{url}/v1/events", json=event(event_id=f"alone-{i}")).status_code == 202
        eventually(lambda: httpx.get(f"{url}/readyz").json()["follower"]["events_behind"] == 5)
        found = httpx.get(f"{url}/readyz").json()
        assert found["ready"] and "kairos ingest" in found["follower"]["state"]
        shown = httpx.get(f"{url}/metrics").text
        assert "kairos_follower_alive 0.0" in shown and "kairos_follower_behind_events 5.0" in shown
        with following(made[0].ledger, store):
            eventually(lambda: httpx.get(f"{url}/readyz").json()["follower"]["state"] == "alive")


def test_an_event_shows_in_the_next_score(kairos: Running) -> None:
    asked = {"items": [{"customer_id": "buyer"}]}
    assert kairos.post("scores/churn", asked)["results"][0]["rung"] == "default"
    kairos.post("events", {"events": [order(f"buy-{i}", "buyer") for i in range(4)]}, 202)
    eventually(lambda: kairos.post("scores/churn", asked)["results"][0]["rung"] == "fresh")
    assert kairos.store.read_vectors(["buyer"], ["orders:count_30d"]).values == [[4.0]]


# -- scores ------------------------------------------------------------------------------------------------------------


def test_scores_follow_from_the_card(kairos: Running) -> None:
    rows = {f"s{i}": {REFS[0]: float(i), REFS[1]: 2.0 * i} for i in range(5)}
    for customer, values in rows.items():
        kairos.store.put(customer, values)
    found = kairos.post("scores/churn", {"items": [{"customer_id": each} for each in (*rows, "nobody")]})
    bundle = load_bundle(kairos.services.settings.models / "churn" / "1")
    expected = [each.value for each in score(bundle, [Known("fresh", row) for row in rows.values()])]
    assert [each["probability"] for each in found["results"][:5]] == expected
    assert [each["rung"] for each in found["results"]] == ["fresh"] * 5 + ["default"]
    assert (found["problem"], found["model_version"]) == ("churn", "1")
    assert all(each["age_seconds"] < 60 for each in found["results"][:5])


def test_old_features_answer_on_the_rung_stale(kairos: Running) -> None:
    kairos.store.put("old", {REFS[0]: 1.0, REFS[1]: 1.0}, now() - timedelta(hours=49))
    [found] = kairos.post("scores/churn", {"items": [{"customer_id": "old"}]})["results"]
    assert found["rung"] == "stale" and found["age_seconds"] == pytest.approx(49 * 3600, abs=60)


def test_the_best_hour_of_the_week(kairos: Running) -> None:
    kairos.store.put("timely", {REFS[0]: 3.0})
    [found] = kairos.post("scores/send_time", {"items": [{"customer_id": "timely"}]})["results"]
    top = [each["probability"] for each in found["top"]]
    assert len(top) == 5 and top == sorted(top, reverse=True) and found["best"] == found["top"][0]
    assert found["probability"] == top[0] and found["best"]["label"][:3] == "Mon"


def test_a_model_of_the_request_scores_what_it_is_given(kairos: Running) -> None:
    items = [
        {"customer_id": "l", "features": {"age": 50, "job": "pilot"}},
        {"customer_id": "m", "features": {"age": 1.5}},
    ]
    found = kairos.post("scores/lead_scoring", {"items": [*items, {"customer_id": "n"}]})["results"]
    bundle = load_bundle(kairos.services.settings.models / "lead_scoring" / "1")
    rows: list[dict[str, Any]] = [{"age": 50.0, "job": "pilot"}, {"age": 1.5}, {"age": 40.0, "job": "clerk"}]
    expected = [each.value for each in score(bundle, [Known("fresh", row) for row in rows])]
    assert [each["probability"] for each in found] == expected
    assert [each["rung"] for each in found] == ["fresh", "fresh", "default"]


@pytest.mark.parametrize(
    ("problem", "features", "field", "remedy"),
    [
        ("lead_scoring", {"agee": 1}, "items.0.features.agee", "did you mean age?"),
        ("lead_scoring", {"age": "old"}, "items.0.features.age", "null"),
        ("lead_scoring", {"job": 3}, "items.0.features.job", "null"),
        ("churn", {"orders:count_30d": 1}, "items.0.features", "leave it out"),
    ],
)
def test_features_must_fit_the_card(
    kairos: Running, problem: str, features: dict[str, Any], field: str, remedy: str
) -> None:
    refused = kairos.post(f"scores/{problem}", {"items": [{"customer_id": "l", "features": features}]}, 422)
    assert refused["field"] == field and remedy in refused["remedy"]


def test_explanations_add_up(kairos: Running) -> None:
    kairos.store.put("why", {REFS[0]: 5.0, REFS[1]: 0.0})
    for problem, item in {
        "churn": {"customer_id": "why"},
        "send_time": {"customer_id": "why"},
        "lead_scoring": {"customer_id": "why", "features": {"age": 33, "job": "cook"}},
    }.items():
        [found] = kairos.post(f"scores/{problem}/explanation", {"items": [item]})["results"]
        [scored] = kairos.post(f"scores/{problem}", {"items": [item]})["results"]
        assert found["probability"] == scored["probability"] and found["reasons"]
        assert found["base"] + sum(each["contribution"] for each in found["reasons"]) == pytest.approx(found["raw"])
        points = sum(each["points"] for each in found["reasons"])
        assert found["reference_probability"] + points == pytest.approx(found["probability"])
        assert all("point" in each["text"] for each in found["reasons"])


def test_served_scores_are_logged(kairos: Running) -> None:
    kairos.store.put("logged", {REFS[0]: 1.0, REFS[1]: 7.0})
    [found] = kairos.post("scores/propensity", {"items": [{"customer_id": "logged"}]})["results"]

    def logged() -> list[Any]:
        rows = kairos.services.ledger.scores("propensity")
        return [each for each in rows if each.score_id == found["score_id"]]

    eventually(logged)
    [row] = logged()
    assert (row.customer_id, row.rung, row.value, row.model_version) == (
        "logged",
        "fresh",
        found["probability"],
        "1",
    )
    assert row.features == {REFS[0]: 1.0, REFS[1]: 7.0}


def test_the_score_log_is_a_sample(tmp_path: Path) -> None:
    publish_all(Settings(home=tmp_path).models)
    for each in run(Settings(home=tmp_path, score_log_share=0.5)):
        for _ in range(4):
            each.post("scores/churn", {"items": [{"customer_id": f"c{i}"} for i in range(100)]})
        each.services.score_log.close()
        assert 140 < len(each.services.ledger.scores("churn")) < 260


def test_the_score_log_is_bounded_and_waits_for_nobody(tmp_path: Path) -> None:
    ledger, dropped, gate = Ledger(Settings(home=tmp_path).ledger), list[int](), threading.Event()
    commit = GroupCommit(ledger)
    log = ScoreLog(ledger, commit, share=1.0, dropped=dropped.append, depth=5)
    commit.submit(lambda _: gate.wait(10))
    rows = [
        Score(score_id=f"s{i}", customer_id="c", problem="p", model_version="1", rung="fresh", value=0.5,
              features={}, scored_at=now())
        for i in range(20)
    ]  # fmt: skip
    log.offer(rows[:3])  # under way
    for each in rows[3:]:
        log.offer([each])  # five wait, twelve do not fit
    gate.set()
    log.close()
    commit.close()
    assert sum(dropped) == 12 and [each.score_id for each in ledger.scores("p")] == [f"s{i}" for i in range(8)]
    ledger.close()


# -- decisions and outcomes --------------------------------------------------------------------------------------------


def test_a_decision_is_in_the_journal_before_it_is_answered(kairos: Running) -> None:
    kairos.store.put("decided", CONSENT | {REFS[0]: 1.0, REFS[1]: 1.0})
    found = kairos.decide("decided", request_id="r-journal")
    row = kairos.services.ledger.decision(request_id="r-journal")
    assert row is not None and row.decision_id == found["decision_id"] and row.pmf == found["pmf"]
    assert sum(found["pmf"].values()) == pytest.approx(1.0) and min(found["pmf"].values()) > 0
    assert found["propensity"] == found["pmf"][found["action"]] and found["rung"] == "fresh"
    assert found["model_versions"] == {"churn": "1", "propensity": "1"}
    assert row.context is not None and row.context["score:churn"] is not None


def test_the_same_request_gets_the_same_decision(kairos: Running) -> None:
    kairos.store.put("again", CONSENT | {REFS[0]: 1.0})
    first = kairos.decide("again", request_id="r-again")
    assert [kairos.decide("again", request_id="r-again") for _ in range(5)] == [first] * 5
    refused = kairos.post(
        "next-best-action", {"request_id": "r-again", "customer_id": "other", "decision_point": "win_back"}, 409
    )
    assert refused["field"] == "request_id"
    assert kairos.decide("again")["decision_id"] != first["decision_id"]


def test_rules_and_caps_exclude_by_name(kairos: Running) -> None:
    assert kairos.decide("no consent known")["pmf"] == {"none": 1.0}
    assert set(kairos.decide("no consent known")["exclusions"]) == {"reminder", "discount"}
    treated = 0
    for i in range(40):
        customer = f"capped-{i}"
        kairos.store.put(customer, CONSENT)
        if kairos.decide(customer)["action"] != "none":
            treated += 1
            assert "treated within 7 days" in kairos.decide(customer)["exclusions"].values()
    assert treated > 5


def test_two_requests_at_once_cannot_both_be_first_within_a_cap(kairos: Running) -> None:
    customers = [f"hurried-{i}" for i in range(6)]
    for each in customers:
        kairos.store.put(each, CONSENT)
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(kairos.decide, customers * 8))
    treated = [sum(each["customer_id"] == c and each["action"] != "none" for each in found) for c in customers]
    assert max(treated) == 1 and sum(treated) >= 3


def test_the_same_request_at_once_is_one_decision(kairos: Running) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: kairos.decide("twin", request_id="r-twin"), range(16)))
    assert found == [found[0]] * 16


def test_decisions_use_the_published_state(kairos: Running) -> None:
    point = all_points()["win_back"]
    [(name, policy)] = point.learners.items()
    customer = next(c for c in map(str, range(1000)) if kairos.decide(c)["policy"] == name)
    state = dict(policy.learn(policy.initial(), {}, "reminder", 1.0, 0.5))
    kairos.services.ledger.publish_state(
        PolicyState(
            decision_point="win_back",
            policy=name,
            version=1,
            state=state,
            decision_mark=0,
            outcome_mark=0,
            published_at=now(),
        )
    )
    eventually(lambda: kairos.decide(customer)["state_version"] == 1, within=3.0)


def test_an_outcome_is_taken_once(kairos: Running) -> None:
    decision = kairos.decide("observed")["decision_id"]
    outcome = {"outcome_id": "o1", "decision_id": decision, "kind": "order", "value": 1, "occurred_at": AT}
    assert kairos.post("outcomes", outcome, 202)["receipts"][0]["status"] == "accepted"
    assert kairos.post("outcomes", outcome, 200)["receipts"][0]["status"] == "duplicate"
    assert kairos.post("outcomes", outcome | {"value": 2}, 409)["field"] == "outcome_id"
    assert [each.value for each in kairos.services.ledger.outcomes([decision])[decision]] == [1.0]


def test_an_outcome_of_no_decision_is_refused(kairos: Running) -> None:
    outcome = {"outcome_id": "o2", "decision_id": "never", "kind": "order", "occurred_at": AT}
    refused = kairos.post("outcomes", outcome, 404)
    assert (refused["field"], refused["value"]) == ("decision_id", "never")
    decision = kairos.decide("batch")["decision_id"]
    batch = [outcome, outcome | {"outcome_id": "o3", "decision_id": decision}, {"outcome_id": "o4"}]
    receipts = kairos.post("outcomes", {"outcomes": batch}, 202)["receipts"]
    assert [(each["id"], each["status"]) for each in receipts] == [
        ("o2", "not_found"), ("o3", "accepted"), ("o4", "invalid"),
    ]  # fmt: skip


# -- what is served ----------------------------------------------------------------------------------------------------


def test_models_and_their_cards(kairos: Running) -> None:
    models = kairos.client.get("/v1/models").json()["models"]
    assert [each["problem"] for each in models] == ["churn", "lead_scoring", "propensity", "send_time"]
    card = kairos.client.get("/v1/models/lead_scoring").json()["card"]
    assert card["features"][0] == {
        "ref": "age", "dtype": "float32", "unit": "years", "phrase": "is {value} years old", "absent": "",
            "vocabulary": [], "group": "",
    }  # fmt: skip


def test_a_new_champion_is_served_within_moments(alone: Running) -> None:
    models = alone.services.settings.models
    text = (models / "churn" / "1" / "model.txt").read_bytes()
    publish(models, simple_card("churn", REFS, text, version="2"), text)
    asked = {"items": [{"customer_id": "c"}]}
    eventually(lambda: alone.post("scores/churn", asked)["model_version"] == "2", within=3.0)
    (publish(models, simple_card("churn", REFS, text, version="3"), text) / "model.txt").write_bytes(text[:-9])
    eventually(lambda: alone.client.get("/readyz").json()["model_faults"], within=3.0)
    assert alone.post("scores/churn", asked)["model_version"] == "2"
    assert "kairos_model_faults 1.0" in alone.client.get("/metrics").text


def test_metrics_count_what_was_served(alone: Running) -> None:
    alone.post("scores/churn", {"items": [{"customer_id": "a"}, {"customer_id": "b"}]})
    alone.post("events", event(), 202)
    alone.client.get("/v1/nowhere")
    shown = alone.client.get("/metrics").text
    assert 'kairos_scores_total{problem="churn",rung="default"} 2.0' in shown
    assert 'kairos_items_total{kind="event",status="accepted"} 1.0' in shown
    assert 'kairos_requests_total{method="POST",route="/v1/scores/{problem}",status="200"} 1.0' in shown
    assert 'route="(none)",status="404"' in shown


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_the_api_pages_need_no_network(kairos: Running, page: str) -> None:
    html = kairos.client.get(page).text
    sources = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert sources and all(each.startswith("/") for each in sources)
    assert all(kairos.client.get(each).status_code == 200 for each in sources)


def test_openapi_has_examples_and_refusals(kairos: Running) -> None:
    spec = kairos.client.get("/openapi.json").json()
    operations = {(path, method): each for path, item in spec["paths"].items() for method, each in item.items()}
    assert len(operations) == 10
    for (path, method), operation in operations.items():
        assert operation["summary"] and operation["description"]
        if path.startswith("/v1"):
            assert {"401", "404", "422", "429"} <= set(operation["responses"])
        if method == "post":
            schema = operation["requestBody"]["content"]["application/json"]
            name = schema["schema"].get("$ref", "").rpartition("/")[2]
            assert "example" in schema or "examples" in spec["components"]["schemas"][name]


# -- what goes wrong elsewhere -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["away", "slow"])
def test_without_its_store_the_service_answers_on_the_prior(alone: Running, fault: str) -> None:
    alone.store.put("c", CONSENT | {REFS[0]: 1.0})
    alone.store.away, alone.store.delay = fault == "away", 2.0 if fault == "slow" else 0.0
    started = time.monotonic()
    for problem in ("churn", "send_time"):
        [found] = alone.post(f"scores/{problem}", {"items": [{"customer_id": "c"}]})["results"]
        assert (found["rung"], found["probability"]) == ("prior", 0.3)
        [why] = alone.post(f"scores/{problem}/explanation", {"items": [{"customer_id": "c"}]})["results"]
        assert why["rung"] == "prior" and why["reasons"] == []
    assert alone.decide("c")["rung"] == "prior"
    assert time.monotonic() - started < 5.0
    alone.post("events", order("kept", "c"), 202)
    alone.store.away, alone.store.delay = False, 0.0
    eventually(lambda: alone.post("scores/churn", {"items": [{"customer_id": "c"}]})["results"][0]["rung"] == "fresh")


def test_without_any_model_it_still_decides(tmp_path: Path) -> None:
    for each in run(Settings(home=tmp_path)):
        each.store.put("c", CONSENT)
        found = each.decide("c")
        assert found["rung"] == "prior" and found["model_versions"] == {} and found["action"] in found["pmf"]
        assert "(none)" in each.post("scores/churn", {"items": [{"customer_id": "c"}]}, 404)["remedy"]


def test_a_ledger_that_fails_takes_nothing_and_says_so(alone: Running) -> None:
    with alone.services.ledger.transaction() as connection:
        connection.execute(sql("ALTER TABLE events RENAME TO gone"))
        connection.execute(sql("ALTER TABLE decisions RENAME TO gone_too"))
    for path, body in {
        "events": event(),
        "next-best-action": {"customer_id": "c", "decision_point": "win_back"},
    }.items():
        answer = alone.client.post(f"/v1/{path}", json=body)
        assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1, answer.text
    assert alone.post("scores/churn", {"items": [{"customer_id": "c"}]})["results"][0]["rung"] == "default"
    with alone.services.ledger.transaction() as connection:
        connection.execute(sql("ALTER TABLE gone RENAME TO events"))
    alone.post("events", event(), 202)


# -- the process -------------------------------------------------------------------------------------------------------


def test_a_worker_imports_no_heavy_library() -> None:
    code = (
        "import sys, serving.app; from features.kernel.settings import Settings; serving.app.create_app(Settings());"
        "heavy = {'feast', 'mlflow', 'lightgbm', 'shap', 'evidently', 'optuna', 'pandas', 'sklearn'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_probabilities_are_numbers_of_json(kairos: Running) -> None:
    [found] = kairos.post("scores/churn", {"items": [{"customer_id": "nobody at all"}]})["results"]
    assert np.isfinite(found["probability"]) and found["age_seconds"] is None


def test_a_worker_that_has_answered_has_imported_no_heavy_library(tmp_path: Path, own_redis_url: str) -> None:
    """Packed vectors, a model's text and a card are all it needs: 200 MB and eight seconds less."""
    publish_all(Settings(home=tmp_path).models)
    code = """
import sys
from starlette.testclient import TestClient
from features.kernel.settings import Settings
from serving.app import create_app

with TestClient(create_app(Settings.from_env())) as client:
    sent = {"event_id": "e", "customer_id": "c", "type": "page_view", "occurred_at": "2026-01-31T12:00:00Z"}
    assert client.post("/v1/events", json=sent).status_code == 202
    scored = client.post("/v1/scores/churn", json={"items": [{"customer_id": "c"}]})
    assert scored.json()["results"][0]["rung"] == "default", scored.text
    decided = client.post("/v1/next-best-action", json={"customer_id": "c", "decision_point": "win_back"})
    assert decided.status_code == 200, decided.text
heavy = {"feast", "mlflow", "lightgbm", "shap", "evidently", "optuna", "pandas", "sklearn", "pyarrow", "duckdb"}
print(sorted(heavy & set(sys.modules)))
"""
    env = bare_environment() | {"KAIROS_HOME": str(tmp_path), "KAIROS_REDIS_URL": own_redis_url}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    assert found.stdout.strip() == "[]", found.stderr


def test_serve_and_ingest_start_and_stop(tmp_path: Path) -> None:
    """Worker and follower as processes of their own, with the worker's Redis; what was acknowledged outlives them."""
    settings = Settings(home=tmp_path)
    publish_all(settings.models)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log, env = tmp_path / "log", bare_environment() | {"KAIROS_HOME": str(tmp_path)}
    with ExitStack() as stack:
        out = stack.enter_context(log.open("wb"))
        serve = start(stack, ["serve", "--port", str(port)], env, out)
        client = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30))
        eventually(lambda: alive(client, "/readyz"), within=60)
        asked = {"items": [{"customer_id": "buyer"}]}
        answers = [client.post("/v1/scores/churn", json=asked).json()["results"][0]["rung"]]
        redis_port = int(re.findall(r"Redis at redis://127.0.0.1:(\d+)", log.read_text())[0])
        ingest = start(stack, ["ingest"], env | {"KAIROS_REDIS_URL": f"redis://127.0.0.1:{redis_port}/0"}, out)
        sent = client.post("/v1/events", json={"events": [order(f"p{i}", "buyer") for i in range(3)]})
        assert sent.status_code == 202

        def rung(path: str) -> str:
            return str(client.post(f"/v1/scores/churn{path}", json=asked).json()["results"][0]["rung"])

        eventually(lambda: rung("") == "fresh", within=60)
        answers.append(rung("/explanation"))
        assert answers == ["default", "fresh"]
        body = {"customer_id": "buyer", "decision_point": "win_back", "request_id": "r"}
        decided = client.post("/v1/next-best-action", json=body).json()["decision_id"]
        ingest.terminate()
        assert ingest.wait(20) == 128 + signal.SIGTERM, log.read_text()
        serve.terminate()
        assert serve.wait(20) in (0, 128 + signal.SIGTERM), log.read_text()
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", redis_port), timeout=1):
        pass
    assert "Traceback" not in log.read_text() and "1 customers refreshed" in log.read_text()
    ledger = Ledger(settings.ledger)
    decision = ledger.decision(request_id="r")
    assert ledger.count(tables.events) == 3 and decision is not None and decision.decision_id == decided
    assert {each.rung for each in ledger.scores("churn")} >= {"fresh"}
    ledger.close()


def bare_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("KAIROS_")}


def start(stack: ExitStack, verb: list[str], env: dict[str, str], out: IO[bytes]) -> subprocess.Popen[bytes]:
    """A `kairos` process, killed at the latest when the stack is left."""
    process = subprocess.Popen([sys.executable, "-m", "kairos", *verb], env=env, stdout=out, stderr=out)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def alive(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).status_code == 200
    except httpx.TransportError:
        return False
