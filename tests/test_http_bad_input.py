"""Input that is wrong, huge, odd or ambiguous: what is refused and told why, what is taken and then also served."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from features.compute import compute
from features.frames import events_frame, spine_of, to_events
from features.ingest.follower import Follower
from features.kernel.card import CardFeature, column_name
from features.kernel.clock import now
from features.kernel.errors import InvalidEvent
from features.kernel.events import MAX_AMOUNT, MAX_PROPERTIES, Event
from features.kernel.ledger import Ledger
from features.kernel.seeds import generator
from features.kernel.settings import Settings, quiet_libraries
from features.packed.store import PackedStore
from serving.app import create_app
from serving.testing import listening, publish, simple_card

quiet_libraries()
import lightgbm as lgb  # noqa: E402

REF = "orders:count_30d"
WHEN = (now() - timedelta(days=2)).replace(microsecond=0)
AT = WHEN.isoformat()
ODD_IDS = [
    "ann lee",
    "  ",
    "🦊",
    "e\u0301 ≠ é",
    "50%/?&#",
    '"; DROP TABLE events; --',
    "a\tb\nc",
    "{c1}",
    "[red]",
    "x" * 200,
]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"), redis_url=redis_url)


@pytest.fixture(scope="module")
def client(settings: Settings) -> Iterator[httpx.Client]:
    rng = generator("bad input")
    x = rng.normal(size=(400, 1))
    data = lgb.Dataset(x, (x[:, 0] > 0).astype(float), feature_name=[column_name(REF)])
    model = lgb.train({"objective": "binary", "verbosity": -1, "num_threads": 1}, data, 5)
    text = str(model.model_to_string()).encode()
    card = simple_card("churn", [REF], text, features=(CardFeature(ref=REF, dtype="float32"),))
    publish(settings.models, card, text)
    with listening(create_app(settings)) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def event(**fields: Any) -> dict[str, Any]:
    event.count += 1  # type: ignore[attr-defined]
    plain = {"event_id": f"event-{event.count}", "customer_id": "c", "type": "click", "occurred_at": AT}  # type: ignore[attr-defined]
    return plain | fields


event.count = 0  # type: ignore[attr-defined]


def send(client: httpx.Client, body: Any, content_type: str | None = "application/json") -> httpx.Response:
    content = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    headers = {} if content_type is None else {"content-type": content_type}
    return client.post("/v1/events", content=content, headers=headers)


def refusal(answer: httpx.Response, status: int = 422) -> dict[str, Any]:
    """The problem document of a refusal: it names the field and what to do, and shows no inner part of ours."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["status"] == status and found["field"] and len(found["remedy"]) > 5, found
    assert found["field"] in found["detail"] or found["title"] in ("The body is no JSON", "The body is too large")
    assert "Traceback" not in answer.text and ".py" not in answer.text and "pydantic" not in answer.text
    return found


def taken(client: httpx.Client, body: Any) -> None:
    answer = send(client, body)
    assert answer.status_code == 202, answer.text
    assert [each["status"] for each in answer.json()["receipts"]] == ["accepted"]


def stored(settings: Settings, event_id: str) -> Event:
    """The event as it came to lie in the ledger."""
    with Ledger.of(settings) as ledger:
        rows = [row for part in ledger.events() for row in part if row[0] == event_id]
    return next(to_events(events_frame(rows)))


# -- values ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "value", "remedy"),
    [
        ("NaN", "nan", "leave it out"),
        ("Infinity", "inf", "leave it out"),
        ("-Infinity", "-inf", "leave it out"),
        ("1e400", "inf", "leave it out"),
        ('"49.90"', "49.90", "without quotes"),
        ("true", "True", "without quotes"),
        ("1" + "0" * 400, "1000", "without quotes"),
        ("[1]", "[1]", "without quotes"),
        ("-1", "-1.0", "type 'refund'"),
        ("null", None, "type 'refund'"),
        ("1e308", "1e+308", "not in cents"),
        (str(2**63), "9.22", "not in cents"),
        ("1000000000000.01", "1000000000000.01", "not in cents"),
    ],
)
def test_an_amount_that_is_none_is_refused(client: httpx.Client, amount: str, value: str | None, remedy: str) -> None:
    body = json.dumps(event(type="order"))[:-1] + f', "amount": {amount}}}'
    found = refusal(send(client, body))
    assert found["field"] == "amount" and remedy in found["remedy"]
    assert found.get("value", "").startswith(value or "")
    [receipt] = send(client, f'{{"events": [{body}]}}').json()["receipts"]
    assert receipt["status"] == "invalid" and "amount" in receipt["reason"] and remedy in receipt["reason"]


@pytest.mark.parametrize("amount", [0.0, -0.0, 1e-300, 0.1 + 0.2, MAX_AMOUNT])
def test_an_amount_that_is_taken_can_be_summed(client: httpx.Client, settings: Settings, amount: float) -> None:
    body = event(type="order", amount=amount, customer_id=f"pays {amount}")
    taken(client, body)
    assert stored(settings, body["event_id"]).amount == amount
    with Ledger.of(settings) as ledger:
        events = events_frame(row for part in ledger.events([body["customer_id"]]) for row in part)
    orders = compute(events, spine_of([body["customer_id"]], now()))["orders"]
    assert orders["revenue_total"].to_list() == [pytest.approx(round(amount, 2))]


def test_the_event_itself_keeps_the_same_bounds() -> None:
    plain: dict[str, Any] = {"event_id": "e", "customer_id": "c", "occurred_at": WHEN, "received_at": WHEN}
    for amount in (float("nan"), float("inf"), -1.0, None, MAX_AMOUNT * 1.01):
        with pytest.raises(InvalidEvent, match="amount") as refused:
            Event(**plain, type="order", amount=amount)
        assert refused.value.remedy
    for properties in ({"a": float("nan")}, {"a": [1, {"b": float("-inf")}]}, {"a": "x" * MAX_PROPERTIES}):
        with pytest.raises(InvalidEvent, match="properties") as refused:
            Event(**plain, type="click", properties=properties)
        assert refused.value.remedy
    assert Event(**plain, type="click", properties={"a": None, "b": "null"}).properties == {"a": None, "b": "null"}


@pytest.mark.parametrize(
    ("properties", "field", "value"),
    [
        ('{"a": NaN}', "properties.a", "nan"),
        ('{"a": [0, {"b": -Infinity}]}', "properties.a[1].b", "-inf"),
        ('{"a": 1e999}', "properties.a", "inf"),
        ("[1]", "properties", "[1]"),
        ("null", "properties", "None"),
        ('"{}"', "properties", "{}"),
        ('{"a": "\\ud800"}', "properties", None),
        ('{"\\udfff": 1}', "properties", None),
    ],
)
def test_properties_that_could_not_be_kept_as_they_are_are_refused(
    client: httpx.Client, properties: str, field: str, value: str | None
) -> None:
    found = refusal(send(client, json.dumps(event())[:-1] + f', "properties": {properties}}}'))
    assert (found["field"], found.get("value")) == (field, value)


@pytest.mark.parametrize(
    "properties",
    [
        {"a": None, "null": "null"},
        {"": 1, "$": 2, "a.b": 3, "\x00": "\x00"},
        {"page": 5, "session": {"a": [1]}},
        {"a": 2**63, "b": -(2**64), "c": 10**300},
        {"text": "ß🦊\u202e\u0000"},
        {"text": "x" * (MAX_PROPERTIES - 20)},
    ],
)
def test_odd_properties_come_back_as_they_were_sent(
    client: httpx.Client, settings: Settings, properties: dict[str, Any]
) -> None:
    body = event(properties=properties)
    taken(client, body)
    assert stored(settings, body["event_id"]).properties == properties


def test_a_property_of_ten_megabytes_is_refused_unread_and_a_large_one_named(client: httpx.Client) -> None:
    huge = refusal(send(client, event(properties={"text": "x" * 10_000_000})), 413)
    assert huge["field"] == "body" and str(MAX_PROPERTIES) in huge["remedy"]
    large = refusal(send(client, event(properties={"text": "x" * 100_000})))
    assert (large["field"], large["value"]) == ("properties", "100011 bytes")
    [good, bad] = send(client, {"events": [event(), event(properties={"text": "x" * 100_000})]}).json()["receipts"]
    assert (good["status"], bad["status"]) == ("accepted", "invalid"), "its neighbour is not to blame"


@pytest.mark.parametrize("kind", ["orderr", "", "ORDER", None, 3, ["order"]])
def test_an_unknown_type_is_refused(client: httpx.Client, kind: object) -> None:
    assert refusal(send(client, event(type=kind)))["field"] == "type"


# -- ids ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ("", "at least one"),
        ("x" * 201, "shorten"),
        ("a\x00b", "NUL"),
        ("a\ud800", "surrogate"),
        (12, "in quotes"),
        (None, "in quotes"),
        (["c"], "in quotes"),
    ],
)
@pytest.mark.parametrize("field", ["customer_id", "event_id"])
def test_what_is_no_id_is_refused(client: httpx.Client, field: str, given: object, remedy: str) -> None:
    found = refusal(send(client, event(**{field: given})))
    assert found["field"] == field and remedy in found["remedy"]


def test_odd_ids_are_taken_recomputed_and_served_as_anybody(client: httpx.Client, settings: Settings) -> None:
    for who in ODD_IDS:
        taken(client, event(customer_id=who, type="order", amount=1.0, account_id=who))
    with Ledger.of(settings) as ledger, closing(PackedStore.of(settings)) as store:
        follower = Follower(ledger, store)
        while follower.turn():
            pass
        assert follower.failures == 0
    answer = client.post("/v1/scores/churn", json={"items": [{"customer_id": each} for each in [*ODD_IDS, "nobody"]]})
    results = answer.json()["results"]
    assert [each["customer_id"] for each in results] == [*ODD_IDS, "nobody"]
    assert [each["rung"] for each in results] == ["fresh"] * len(ODD_IDS) + ["default"]
    for who in ODD_IDS:
        body = {"customer_id": who, "decision_point": "win_back", "request_id": f"of {who}"[:200]}
        decided = client.post("/v1/next-best-action", json=body)
        assert decided.status_code == 200 and decided.json()["customer_id"] == who


def test_ids_that_look_alike_are_two_people(client: httpx.Client, settings: Settings) -> None:
    for who in ("caf\u00e9", "cafe\u0301"):
        taken(client, event(customer_id=who))
    with Ledger.of(settings) as ledger:
        assert [len(part) for part in ledger.events(["caf\u00e9"])] == [1]


def test_one_id_with_two_bodies_is_a_conflict(client: httpx.Client, settings: Settings) -> None:
    first = event(channel="email")
    taken(client, first)
    assert send(client, first).json()["receipts"][0]["status"] == "duplicate"
    assert send(client, dict(reversed(first.items()))).status_code == 200, "the order of keys says nothing"
    for other in ({"channel": "sms"}, {"customer_id": "d"}, {"properties": {"a": 1}}, {"amount": 0.0}):
        found = refusal(send(client, first | other), 409)
        assert (found["field"], found["value"], found["remedy"]) == ("event_id", first["event_id"], "use a new id")
    batch = [second := event(), second | {"channel": "sms"}, second]
    receipts = send(client, {"events": batch}).json()["receipts"]
    assert [each["status"] for each in receipts] == ["accepted", "conflict", "duplicate"]
    assert stored(settings, first["event_id"]).channel == "email", "what came first stays"


# -- times -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [-12, -3.5, 0, 5.75, 14])
def test_any_offset_is_the_same_instant(client: httpx.Client, settings: Settings, hours: float) -> None:
    offset = timedelta(hours=abs(hours))
    local = (WHEN + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%S")
    minutes = int(offset.total_seconds()) // 60
    body = event(occurred_at=f"{local}{'-' if hours < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}")
    taken(client, body)
    assert stored(settings, body["event_id"]).occurred_at == WHEN


@pytest.mark.parametrize("factor", [1, 1000])
def test_a_number_is_seconds_or_milliseconds_since_1970(client: httpx.Client, settings: Settings, factor: int) -> None:
    body = event(occurred_at=int(WHEN.timestamp()) * factor)
    taken(client, body)
    assert stored(settings, body["event_id"]).occurred_at == WHEN


@pytest.mark.parametrize(
    ("instant", "remedy"),
    [
        ("2026-01-31T12:00:00", "add Z or an offset"),
        ("2026-01-31", "add Z or an offset"),
        ("yesterday", "write it like"),
        ("31.01.2026 12:00", "write it like"),
        ("2026-02-30T00:00:00Z", "write it like"),
        ("2016-12-31T23:59:60Z", "write it like"),
        ("2026-01-31T24:00:00Z", "write it like"),
        ("2026-01-31T12:00:00+99:00", "write it like"),
        ("", "write it like"),
        (None, "write it like"),
        ([], "write it like"),
        ("0001-01-01T00:00:00+14:00", "slip"),
        ("1969-12-31T23:59:59Z", "slip"),
        ("2262-01-01T00:00:00Z", "slip"),
        ("2261-12-31T23:59:59-14:00", "slip"),
        ("9999-12-31T23:59:59-14:00", "slip"),
    ],
)
def test_what_is_no_instant_is_refused(client: httpx.Client, instant: object, remedy: str) -> None:
    found = refusal(send(client, event(occurred_at=instant)))
    assert found["field"] == "occurred_at" and remedy in found["remedy"]
    assert not isinstance(instant, str) or found["value"] == instant or remedy == "slip"


def test_the_far_past_is_taken_and_the_far_future_set_aside(client: httpx.Client, settings: Settings) -> None:
    old = event(occurred_at="1971-01-01T00:00:00Z", customer_id="old")
    taken(client, old)
    assert stored(settings, old["event_id"]).occurred_at == datetime(1971, 1, 1, tzinfo=UTC)
    [receipt] = send(client, event(occurred_at="2261-12-31T23:59:59Z")).json()["receipts"]
    assert receipt["status"] == "quarantined" and "ahead of its receipt" in receipt["reason"]


# -- bodies ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"  \n", 400),
        (b"hello", 400),
        (b"<event/>", 400),
        (b"{'event_id': 'e'}", 400),
        (b'{"event_id": "e",}', 400),
        (b'{"event_id": "e"} {"event_id": "f"}', 400),
        (b'{"event_id": "e', 400),
        (b'{"event_id": "\xff"}', 400),
        (b"\x1f\x8b\x08compressed", 400),
        (b"null", 422),
        (b"12", 422),
        (b'"event"', 422),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"a": ' + b"9" * 5_000 + b"}", 400),
        (b"[" * 100_000, 400),
    ],
)
def test_a_body_that_is_no_event_is_refused(client: httpx.Client, body: bytes, status: int) -> None:
    found = refusal(send(client, body), status)
    assert found["field"] == ("event_id" if body == b"{}" else "body")


def test_of_a_body_that_is_no_json_the_place_is_named(client: httpx.Client) -> None:
    found = refusal(send(client, '{"event_id": "e", "customer_id": c}'), 400)
    assert "character 34" in found["detail"] and found["value"] == '"e", "customer_id": c}'


@pytest.mark.parametrize("kind", [None, "text/plain", "application/xml", "application/x-www-form-urlencoded"])
@pytest.mark.parametrize("path", ["events", "outcomes", "next-best-action", "scores/churn"])
def test_another_content_type_is_told_which(client: httpx.Client, kind: str | None, path: str) -> None:
    headers = {} if kind is None else {"content-type": kind}
    found = refusal(client.post(f"/v1/{path}", content=json.dumps(event()).encode(), headers=headers))
    assert found["field"] == "body" and "content-type: application/json" in found["remedy"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_does_no_harm(client: httpx.Client, settings: Settings, encoding: str) -> None:
    body = event(channel="é🦊")
    taken(client, json.dumps(body, ensure_ascii=False).encode(encoding))
    assert stored(settings, body["event_id"]).channel == "é🦊"


@pytest.mark.parametrize(("depth", "fits"), [(100, True), (400, True), (5_000, False), (200_000, False)])
def test_deep_nesting_is_kept_or_refused_and_spoils_nothing(
    client: httpx.Client, settings: Settings, depth: int, fits: bool
) -> None:
    body = event(customer_id=f"deep {depth}", type="page_view")
    text = json.dumps(body)[:-1] + ', "properties": ' + '{"a":' * depth + "1" + "}" * depth + "}"
    answer = send(client, text)
    assert answer.status_code == (202 if fits else 400), answer.text
    if not fits:
        refusal(answer, 400)
        return
    with Ledger.of(settings) as ledger:
        events = events_frame(row for part in ledger.events([body["customer_id"]]) for row in part)
    assert compute(events, spine_of([body["customer_id"]], now()))["web"]["views_7d"].to_list() == [1.0]


def test_of_a_key_that_comes_twice_the_last_counts(client: httpx.Client, settings: Settings) -> None:
    body = event(properties={"a": 1})
    text = json.dumps(body).replace('"customer_id": "c"', '"customer_id": "first", "customer_id": "last"')
    taken(client, text)
    assert stored(settings, body["event_id"]).customer_id == "last"


def test_items_that_are_no_objects_do_not_spoil_a_batch(client: httpx.Client) -> None:
    good = event()
    receipts = send(client, {"events": [1, None, "x", [], {}, {"event_id": 7}, good]}).json()["receipts"]
    assert [each["status"] for each in receipts] == ["invalid"] * 6 + ["accepted"]
    assert all(";" in each["reason"] for each in receipts[:-1]), "each says what to do"


def test_nothing_that_was_refused_is_in_the_ledger(client: httpx.Client, settings: Settings) -> None:
    before = _all(settings)
    refusal(send(client, event(type="order", amount=-1)))
    refusal(send(client, event(occurred_at="2026-01-31T12:00:00")))
    send(client, {"events": [event(type="nonsense")]})
    assert _all(settings) == before


def _all(settings: Settings) -> list[tuple[Any, ...]]:
    with Ledger.of(settings) as ledger:
        return [row for part in ledger.events() for row in part]
