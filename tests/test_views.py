"""Every feature view against an oracle in SQL, and what lets training and serving see the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import Template
from typing import Any

import duckdb
import msgspec
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from features import windows
from features.compute import all_views, compute
from features.frames import EVENT_SCHEMA, known
from features.market import Market, simulate

ORIGIN = datetime(2026, 3, 27, 22, 30, tzinfo=UTC)  # a day and a half before Europe's clocks change
ORACLE = Template(Path(__file__).with_name("oracle_views.sql").read_text())
SLOTS = ", ".join([*(f"'open_rate_h{hour:02d}'" for hour in range(24)), *(f"'open_rate_d{day}'" for day in range(7))])
INSTANT = pl.Datetime("us", "UTC")
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


# -- events to try them on ---------------------------------------------------------------------------------------------

PROPERTIES: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "profile": st.fixed_dictionaries(
        {},
        optional={
            "country": st.sampled_from(["DE", "Côte d'Ivoire", "", None]),
            "timezone": st.sampled_from(["Europe/Berlin", "Asia/Kolkata", "America/New_York", "Nowhere/Land"]),
            "industry": st.just("retail"),
            "company_size": st.sampled_from(["11-50", 12]),
        },
    ),
    "lifecycle": st.fixed_dictionaries({}, optional={"stage": st.sampled_from(["lead", "customer", "lost"])}),
    "consent": st.fixed_dictionaries({}, optional={"granted": st.sampled_from([True, False, "maybe"])}),
    "open": st.fixed_dictionaries({}, optional={"machine": st.sampled_from([True, False, None])}),
    "page_view": st.fixed_dictionaries(
        {}, optional={"page": st.sampled_from(["/Pricing", "home", None]), "session": st.sampled_from(["s1", "s2"])}
    ),
    "order": st.fixed_dictionaries(
        {},
        optional={
            "discount": st.sampled_from([0, 0.15, 0.333, 1.7, -0.1, "much", None, True]),
            "items": st.sampled_from([1, 2.5, 3, "x", None]),
        },
    ),
}
TYPES = [
    "profile",
    "lifecycle",
    "consent",
    "send",
    "open",
    "click",
    "unsubscribe",
    "page_view",
    "form",
    "cart",
    "order",
]
SECONDS = [0.000001, 5, 9.999999, 10, 3_600, 43_200, 86_400, 86_400 * 29.9, 86_400 * 30, 86_400 * 91, 86_400 * 366]


@st.composite
def an_event(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from([*TYPES, "refund"]))
    occurred = ORIGIN - timedelta(seconds=draw(st.sampled_from(SECONDS))) * draw(st.sampled_from([-1, 0, 1, 1, 1, 2]))
    lag = timedelta(seconds=draw(st.sampled_from([0, 0, 0, 5, 86_400, 86_400 * 40])))
    has_amount = kind in ("order", "refund")
    properties = draw(PROPERTIES.get(kind, st.just({})))
    return {
        "customer_id": draw(st.sampled_from(["ann", "bob"])),
        "type": kind,
        "occurred_at": occurred,
        "received_at": occurred + lag,
        "channel": draw(st.sampled_from(["email", "email", "sms", None])),
        "message_id": draw(st.sampled_from(["m1", "m2", None])),
        "amount": draw(st.sampled_from([0.0, 0.125, 10.005, 19.99, 1e6])) if has_amount else None,
        "properties": msgspec.json.encode(properties).decode() if properties else None,
    }


EVENTS = st.lists(an_event(), max_size=40).map(lambda rows: frame_of(rows))
AS_OF = st.sampled_from(
    [ORIGIN, ORIGIN + timedelta(seconds=5), ORIGIN + timedelta(days=31), ORIGIN - timedelta(days=1)]
)
SPINES = st.lists(st.tuples(st.sampled_from(["ann", "bob", "eve"]), AS_OF), min_size=1, max_size=6).map(
    lambda rows: spine_of(rows)
)


def frame_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    numbered = [{"event_id": f"e{i:03d}"} | row for i, row in enumerate(rows)]
    return pl.DataFrame(numbered, schema=EVENT_SCHEMA, orient="row")


def spine_of(rows: list[tuple[str, datetime]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"customer_id": pl.String, "as_of": INSTANT}, orient="row")


@pytest.fixture(scope="module")
def market() -> Market:
    return simulate(seed=11, people=60)


@pytest.fixture(scope="module")
def market_spine(market: Market) -> pl.DataFrame:
    people = market.events.select("customer_id").unique().sort("customer_id")
    cutoffs = [market.start + (market.end - market.start) * share / 5 for share in range(6)]
    return people.join(pl.DataFrame({"as_of": cutoffs}, schema={"as_of": INSTANT}), how="cross")


# -- the oracle --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.sql("set timezone = 'UTC'")
        connection.sql("create macro day(n) as n * 86400000000")
        yield connection


def oracle(database: duckdb.DuckDBPyConnection, name: str, events: pl.DataFrame, spine: pl.DataFrame) -> pl.DataFrame:
    """The view's frame by SQL: float32 features, nulls for those unknown, in the spine's order."""
    naive = {"occurred_at", "received_at", "as_of"}
    for table, frame in (("e", events), ("s", spine.unique())):
        plain = frame.with_columns(pl.col(each).dt.replace_time_zone(None) for each in naive & set(frame.columns))
        database.register(table, plain.to_arrow())
    rows = pl.DataFrame(database.sql(ORACLE.safe_substitute(VIEW=name, SLOTS=SLOTS)).to_arrow_table())
    rows = rows.with_columns(pl.col("as_of").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))
    types = {each.name: pl.String if each.dtype == "string" else pl.Float32 for each in all_views()[name].features}
    rows = rows.select("customer_id", "as_of", *(pl.col(each).cast(dtype) for each, dtype in types.items()))
    return spine.join(rows, on=["customer_id", "as_of"], how="left", maintain_order="left")


@pytest.mark.parametrize("name", all_views())
def test_a_market_by_sql(
    name: str, market: Market, market_spine: pl.DataFrame, database: duckdb.DuckDBPyConnection
) -> None:
    expected = oracle(database, name, market.events, market_spine)
    for feature in all_views()[name].features:
        values = expected[feature.name].drop_nulls()
        assert values.n_unique() > 1, f"{feature.name} does not vary: it is not tested"
    assert_frame_equal(all_views()[name].aggregate(market.events, market_spine), expected, check_exact=True)


@pytest.mark.parametrize("name", all_views())
@settings(max_examples=40, deadline=None, suppress_health_check=[*SLOW, HealthCheck.function_scoped_fixture])
@given(events=EVENTS, spine=SPINES)
def test_any_events_by_sql(
    name: str, database: duckdb.DuckDBPyConnection, events: pl.DataFrame, spine: pl.DataFrame
) -> None:
    expected = oracle(database, name, events, spine)
    assert_frame_equal(all_views()[name].aggregate(events, spine), expected, check_exact=True)


# -- properties --------------------------------------------------------------------------------------------------------


def same(one: dict[str, pl.DataFrame], other: dict[str, pl.DataFrame]) -> None:
    for name in all_views():
        assert_frame_equal(one[name], other[name], check_exact=True)


@settings(max_examples=40, deadline=None, suppress_health_check=SLOW)
@given(events=EVENTS, as_of=AS_OF)
def test_what_was_not_known_changes_nothing(events: pl.DataFrame, as_of: datetime) -> None:
    """The leak test: every event that occurred at the cutoff or later, or was received after it, might be missing."""
    spine = spine_of([("ann", as_of), ("bob", as_of)])
    before = known(events, spine).drop("as_of")
    same(compute(events, spine), compute(before, spine))


def test_a_planted_outcome_does_not_leak(market: Market, market_spine: pl.DataFrame) -> None:
    """Each event once more, after the cutoff, and once more before it but received only after it."""
    as_of = market.start + timedelta(days=500)
    spine = market_spine.select("customer_id").unique().with_columns(pl.lit(as_of).cast(INSTANT).alias("as_of"))
    before = market.events.filter(pl.col("received_at") <= as_of)
    shift = pl.lit(as_of).cast(INSTANT) - pl.col("occurred_at").min()
    after = before.with_columns(
        ("after-" + pl.col("event_id")).alias("event_id"),
        pl.col("occurred_at") + shift,
        pl.col("received_at") + shift,
    )
    late = before.with_columns(
        ("late-" + pl.col("event_id")).alias("event_id"),
        pl.lit(as_of + timedelta(microseconds=1)).cast(INSTANT).alias("received_at"),
        pl.lit(as_of - timedelta(microseconds=1)).cast(INSTANT).alias("occurred_at"),
    )
    planted = pl.concat([before, after, late])
    same(compute(planted, spine), compute(before, spine))
    later = spine.with_columns(pl.col("as_of") + pl.duration(days=400))
    seen, unseen = compute(planted, later), compute(before, later)
    assert all(not seen[name].equals(unseen[name]) for name in all_views()), "the planted events change nothing at all"


def test_the_order_of_events_does_not_matter(market: Market, market_spine: pl.DataFrame) -> None:
    shuffled = market.events.sample(fraction=1.0, shuffle=True, seed=3)
    same(compute(market.events, market_spine), compute(shuffled, market_spine))


@settings(max_examples=30, deadline=None, suppress_health_check=SLOW)
@given(events=EVENTS, as_of=AS_OF)
def test_the_order_of_simultaneous_events_does_not_matter(events: pl.DataFrame, as_of: datetime) -> None:
    spine = spine_of([("ann", as_of), ("bob", as_of)])
    same(compute(events, spine), compute(events.reverse(), spine))


def test_a_row_depends_on_its_customer_alone(market: Market, market_spine: pl.DataFrame) -> None:
    whole = compute(market.events, market_spine)
    for customer in market_spine["customer_id"].unique().sort().head(5):
        own = pl.col("customer_id") == customer
        alone = compute(market.events.filter(own), market_spine.filter(own))
        same(alone, {name: frame.filter(own) for name, frame in whole.items()})


def test_rows_come_in_the_order_of_the_spine_repeats_included(market: Market, market_spine: pl.DataFrame) -> None:
    spine = pl.concat([market_spine, market_spine.head(7)]).sample(fraction=1.0, shuffle=True, seed=5)
    for name, frame in compute(market.events, spine).items():
        assert_frame_equal(frame.select("customer_id", "as_of"), spine)
        expected = [each.name for each in all_views()[name].features]
        assert frame.columns == ["customer_id", "as_of", *expected]


def test_parts_make_the_same_frame(market: Market, market_spine: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded by computing in parts: where they are cut must not show."""
    whole = compute(market.events, market_spine)
    monkeypatch.setattr(windows, "PAIRS_AT_ONCE", 97)
    same(compute(market.events, market_spine), whole)


def test_nothing_is_known_of_a_stranger_and_zero_of_a_newcomer() -> None:
    signed_up = ORIGIN - timedelta(days=1)
    row = {"customer_id": "ann", "type": "profile", "occurred_at": signed_up, "received_at": signed_up}
    frames = compute(frame_of([row]), spine_of([("ann", ORIGIN), ("eve", ORIGIN), ("ann", signed_up)]))
    for frame in frames.values():
        assert all(value is None for value in frame.drop("customer_id", "as_of").row(1)), "a stranger"
        assert all(value is None for value in frame.drop("customer_id", "as_of").row(2)), "not known yet"
    newcomer = {name: frame.row(0, named=True) for name, frame in frames.items()}
    assert newcomer["orders"]["count_365d"] == 0
    assert newcomer["orders"]["days_since_last"] is None
    assert newcomer["engagement"]["sends_since_click"] == 0
    assert newcomer["engagement"]["open_rate"] is None
    assert newcomer["send_hours"]["open_rate_h09"] == 0.25
    assert newcomer["profile"]["tenure_days"] == 1


def test_no_events_at_all() -> None:
    spine = spine_of([("ann", ORIGIN)])
    for name, frame in compute(frame_of([]), spine).items():
        assert frame.height == 1, name
        assert compute(frame_of([]), spine.clear())[name].height == 0


def test_every_feature_says_what_it_is() -> None:
    refs = [ref for view in all_views().values() for ref in view.refs]
    assert len(refs) == len(set(refs))
    for view in all_views().values():
        for feature in view.features:
            assert "{value}" in feature.phrase, f"{view.name}:{feature.name}"
            assert feature.unit or feature.dtype == "string", f"{view.name}:{feature.name}"
            assert not feature.phrase.endswith("."), "a phrase goes into a sentence"
