"""Whatever is sent, the answer is a success or a problem document that names field and remedy; never a 5xx."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.kernel import errors
from features.kernel.card import CardFeature, column_name
from features.kernel.seeds import generator
from features.kernel.settings import Settings, quiet_libraries
from serving import errors as http_errors
from serving.app import create_app
from serving.edge import MAX_BODY
from serving.services import compose
from serving.testing import MemoryStore, listening, publish, simple_card

quiet_libraries()
import lightgbm as lgb  # noqa: E402

KEY = "a long key"
REFS = ("orders:count_30d", "web:views_7d")
AT = "2026-01-31T12:00:00Z"
PATHS = (
    "events",
    "outcomes",
    "next-best-action",
    "scores/churn",
    "scores/lead_scoring",
    "scores/churn/explanation",
    "scores/lead_scoring/explanation",
)


def _model() -> bytes:
    rng = generator("errors test")
    x = rng.normal(size=(400, 2))
    data = lgb.Dataset(x, (x.sum(axis=1) > 0).astype(float), feature_name=[column_name(ref) for ref in REFS])
    return lgb.train({"objective": "binary", "verbosity": -1, "num_threads": 1}, data, 5).model_to_string().encode()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    chosen = Settings(home=tmp_path_factory.mktemp("home"), api_key=KEY)
    text = _model()
    publish(chosen.models, simple_card("churn", REFS, text), text)
    given_features = (
        CardFeature(ref=REFS[0], dtype="float32"),
        CardFeature(ref=REFS[1], dtype="category", vocabulary=("a", "b")),
    )
    publish(chosen.models, simple_card("lead_scoring", REFS, text, source="request", features=given_features), text)
    app = create_app(chosen, lambda each: compose(each, store=MemoryStore))
    headers = {"Authorization": f"Bearer {KEY}"}
    with listening(app) as url, httpx.Client(base_url=url, headers=headers, timeout=30) as client:
        yield client


def send(client: httpx.Client, path: str, body: Any) -> httpx.Response:
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    return client.post(f"/v1/{path}", content=text, headers={"content-type": "application/json"})


def problem_of(answer: httpx.Response) -> dict[str, Any]:
    """The problem document of a refusal, complete."""
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["status"] == answer.status_code and found["type"].startswith("urn:kairos:error:")
    assert found["title"] and found["detail"] and found["remedy"], found
    assert "Traceback" not in answer.text and ".py" not in answer.text
    return found


# -- any body at all ---------------------------------------------------------------------------------------------------

TEXT = st.text(max_size=20) | st.sampled_from(
    ["", "\x00", "\ud800", "c1", "win_back", "order", AT, "0001-01-01T00:00:00+14:00"]
)
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.just(10**400) | st.just("x" * 300)
ANY = st.recursive(
    SCALAR, lambda each: st.lists(each, max_size=4) | st.dictionaries(TEXT, each, max_size=4), max_leaves=12
)


def nearly(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects of a schema in which any field may be missing, extra, or anything."""
    likely = {name: st.one_of(good, good, ANY) for name, good in fields.items()}
    exact = st.fixed_dictionaries(likely)
    loose = st.fixed_dictionaries({}, optional=likely | {"typo": ANY})
    return exact | loose


IDS = st.sampled_from(["a", "b", "c"])
WHEN = st.sampled_from(
    [AT, "2026-02-01T00:00:00", "9999-12-31T23:59:59-14:00", "2999-01-01T00:00:00Z", "1e400", 0, 1e300]
)
AMOUNT = st.floats() | st.integers() | st.just(1.0)
EVENT = nearly(
    event_id=IDS, customer_id=IDS, type=st.sampled_from(["order", "click", "custom", "profile"]), occurred_at=WHEN,
    amount=AMOUNT, channel=TEXT, properties=st.dictionaries(TEXT, ANY, max_size=3),
)  # fmt: skip
OUTCOME = nearly(outcome_id=IDS, decision_id=IDS, kind=st.just("order"), value=AMOUNT, occurred_at=WHEN)
DECISION = nearly(request_id=IDS | st.none(), customer_id=IDS, decision_point=st.just("win_back"))
FEATURES = st.dictionaries(st.sampled_from(REFS) | TEXT, SCALAR, max_size=3) | st.none()
SCORES = nearly(items=st.lists(nearly(customer_id=IDS, features=FEATURES), max_size=4))
BODY = ANY | EVENT | OUTCOME | DECISION | SCORES
BODY |= nearly(events=st.lists(EVENT | ANY, max_size=4)) | nearly(outcomes=st.lists(OUTCOME | ANY, max_size=4))


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(path=st.sampled_from(PATHS), body=BODY)
def test_no_body_makes_it_fail(client: httpx.Client, path: str, body: Any) -> None:
    answer = send(client, path, body)
    assert answer.status_code < 500, (path, body, answer.text)
    if answer.status_code >= 400:
        problem_of(answer)
    else:
        answer.json()


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(path=st.sampled_from(PATHS), body=st.binary(max_size=50))
def test_no_bytes_make_it_fail(client: httpx.Client, path: str, body: bytes) -> None:
    answer = send(client, path, body)
    assert 400 <= answer.status_code < 500
    problem_of(answer)


@pytest.mark.parametrize("depth", [100, 2_000, 200_000])
def test_deep_bodies_are_refused_or_taken(client: httpx.Client, depth: int) -> None:
    deep = '{"a":' * depth + "1" + "}" * depth
    event = f'{{"event_id":"deep{depth}","customer_id":"c","type":"click","occurred_at":"{AT}","properties":{deep}}}'
    for body in (event, f'{{"events":[{event}]}}', deep):
        answer = send(client, "events", body)
        assert answer.status_code < 500
        if answer.status_code >= 400:
            problem_of(answer)


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=20))
def test_no_name_in_a_path_makes_it_fail(client: httpx.Client, name: str) -> None:
    for answer in (client.get(f"/v1/models/{quote(name)}"), client.get(f"/{quote(name)}")):
        assert answer.status_code < 500


# -- what a refusal says -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "status", "field", "remedy"),
    [
        ("events", "{", 400, "body", "send one JSON value"),
        ("events", [], 422, "body", "send a JSON object"),
        ("events", {"events": []}, 422, "events", "send several batches"),
        ("events", {"events": [], "more": 1}, 422, "more", "put everything into events"),
        ("events", {"event_id": "e"}, 422, "customer_id", "add it"),
        ("scores/churn", {"items": [{"custmer_id": "c"}]}, 422, "items.0.custmer_id", "did you mean customer_id?"),
        ("scores/churn", {"items": [], "x": 1}, 422, "items", "give at least one"),
        ("scores/churn", {"items": [{"customer_id": "c"}] * 1001}, 422, "items", "send several requests"),
        ("scores/churm", {"items": [{"customer_id": "c"}]}, 404, "problem", "choose one of: churn, lead_scoring"),
        ("next-best-action", {"customer_id": "c", "decision_point": "x"}, 404, "decision_point", "win_back"),
        ("next-best-action", {"customer": "c", "decision_point": "win_back"}, 422, "customer", "did you mean"),
        ("outcomes", {"outcome_id": "o", "decision_id": "d", "kind": "k", "occurred_at": AT}, 404, "decision_id", "v1"),
    ],
)  # fmt: skip
def test_refusals_name_field_and_remedy(
    client: httpx.Client, path: str, body: Any, status: int, field: str, remedy: str
) -> None:
    answer = send(client, path, body)
    assert answer.status_code == status, answer.text
    found = problem_of(answer)
    named = [(each["field"], each["remedy"]) for each in found.get("errors", [])] + [(found["field"], found["remedy"])]
    assert any(field == a and remedy in b for a, b in named), named


@pytest.mark.parametrize(
    ("fields", "field", "remedy"),
    [
        ({"type": "orderr"}, "type", "use one of profile"),
        ({"type": "order"}, "amount", "refund"),
        ({"type": "custom"}, "properties.name", "say what happened"),
        ({"occurred_at": "2026-01-31T12:00:00"}, "occurred_at", "add Z or an offset"),
        ({"occurred_at": "yesterday"}, "occurred_at", "2026-01-31T12:00:00Z"),
        ({"customer": "c"}, "customer", "leave it out"),
        ({"properties": {"a": "\ud800"}}, "properties", "plain, shallow JSON"),
        ({"customer_id": ""}, "customer_id", "at least one character"),
        ({"customer_id": "x" * 201}, "customer_id", "shorten it"),
    ],
)
def test_an_event_that_breaks_the_contract_is_told_why(
    client: httpx.Client, fields: dict[str, Any], field: str, remedy: str
) -> None:
    event = {"event_id": "bad", "customer_id": "c", "type": "click", "occurred_at": AT} | fields
    answer = send(client, "events", event)
    found = problem_of(answer)
    assert (answer.status_code, found["field"]) == (422, field) and remedy in found["remedy"]
    [receipt] = send(client, "events", {"events": [event]}).json()["receipts"]
    assert receipt["status"] == "invalid" and field in receipt["reason"] and remedy in receipt["reason"]


def test_unknown_paths_and_methods(client: httpx.Client) -> None:
    assert problem_of(client.get("/v1/nothing"))["status"] == 404
    answer = client.get("/v1/events")
    assert problem_of(answer)["remedy"] == "use POST" and answer.headers["allow"] == "POST"


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_too_large_is_refused(client: httpx.Client, chunked: bool) -> None:
    body = b" " * (MAX_BODY + 1)
    content = iter([body[: MAX_BODY // 2], body[MAX_BODY // 2 :]]) if chunked else body
    answer = client.post("/v1/events", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 413 and "send" in problem_of(answer)["remedy"]


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer wrong", f"Basic {KEY}", f"Bearer {KEY}x", "Bearer \u00fc\u00e9"]
)
def test_without_the_key_nothing_is_answered(client: httpx.Client, header: str) -> None:
    headers = {"Authorization": header.encode("latin-1")}
    for path in ("events", "outcomes", "next-best-action", "scores/churn", "scores/churn/explanation"):
        answer = client.post(f"/v1/{path}", json={}, headers=headers)
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
        assert problem_of(answer)["field"] == "Authorization" and KEY not in answer.text
    assert client.get("/v1/models", headers=headers).status_code == 401
    assert client.get("/healthz", headers=headers).status_code == 200


# -- the table ---------------------------------------------------------------------------------------------------------


def test_every_error_has_a_status_below_500() -> None:
    tree = [getattr(errors, name) for name in errors.__all__]
    for each in tree:
        error = each("now") if each is errors.Busy else each("no", field="f", value=1, remedy="do")
        if each is not errors.KairosError:
            status, title = http_errors.status_of(error)
            assert 400 <= status < 500 and title


def test_a_mistake_of_ours_shows_no_trace() -> None:
    app = FastAPI()
    http_errors.install(app)

    @app.get("/mistake")
    async def mistake() -> None:
        raise ZeroDivisionError("a secret")

    with listening(app) as url:
        answer = httpx.get(f"{url}/mistake")
    assert answer.status_code == 500 and problem_of(answer)["title"] == "Kairos made a mistake"
    assert "secret" not in answer.text and "ZeroDivision" not in answer.text
