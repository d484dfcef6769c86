"""Every feature view against an oracle in SQL, and what lets training and serving see the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from features import compute as computing
from features.accounts import accounts_named
from features.compute import all_views, compute, population, wide
from features.frames import EVENT_SCHEMA, known
from features.market import Market, simulate
from features.population import months_of
from features.refs import all_refs
from features.view import column_type

ORIGIN = datetime(2026, 3, 27, 22, 30, tzinfo=UTC)  # a day and a half before Europe's clocks change
ORACLE = "".join(Path(__file__).with_name(f"oracle_{name}.sql").read_text() for name in ("views", "messages"))
SOON = timedelta(microseconds=1)
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
        {},
        optional={
            "page": st.sampled_from(["/Pricing", "home", "/demo2", "a/checkout?x", None]),
            "session": st.sampled_from(["s1", "s2"]),
        },
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
        "channel": draw(st.sampled_from(["email", "email", "sms", "push", "fax", None])),
        "account_id": draw(st.sampled_from([None, None, "acme", "globex"])),
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
    """A market some of whose mails are push messages, and some of whose people change their company."""
    market = simulate(seed=11, people=60)
    who, kind, channel = pl.col("customer_id"), pl.col("type"), pl.col("channel")
    pushed = pl.col("message_id").str.contains("[0-2]$") & (channel == "email")
    pushed |= (kind == "consent") & who.str.contains("[02468]$") & (channel == "sms")
    pushed |= (kind == "unsubscribe") & who.str.contains("[0-4]$")
    texted = pl.col("message_id").str.contains("[34]$") | (kind == "unsubscribe") & who.str.contains("[56]$")
    moved = who.str.contains("[159]$") & (pl.col("occurred_at") > market.start + timedelta(days=400))
    now = (
        pl.when(pushed.fill_null(False))
        .then(pl.lit("push"))
        .when(texted.fill_null(False))
        .then(pl.lit("sms"))
        .otherwise(channel)
    )
    account = pl.when(moved).then(pl.lit("a00001")).otherwise(pl.col("account_id"))
    return replace(market, events=market.events.with_columns(now.alias("channel"), account.alias("account_id")))


@pytest.fixture(scope="module")
def market_spine(market: Market) -> pl.DataFrame:
    people = market.events.select("customer_id").unique().sort("customer_id")
    cutoffs = [market.start + (market.end - market.start) * share / 5 for share in range(6)]
    return people.join(pl.DataFrame({"as_of": cutoffs}, schema={"as_of": INSTANT}), how="cross")


def alone(name: str, events: pl.DataFrame, spine: pl.DataFrame) -> pl.DataFrame:
    """One view, computed without the others."""
    return compute(events, spine, views={name: all_views()[name]})[name]


# -- the oracle --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.sql("set timezone = 'UTC'")
        connection.sql("create macro day(n) as n * 86400000000")
        yield connection


def oracle(database: duckdb.DuckDBPyConnection, name: str, events: pl.DataFrame, spine: pl.DataFrame) -> pl.DataFrame:
    """The view's frame by SQL: nulls for those unknown, in the spine's order, or that of the accounts it names."""
    naive = {"occurred_at", "received_at", "as_of"}
    view = all_views()[name]
    accounts = by_sql_named(events, spine)
    for table, frame in (("e", events), ("s", spine.unique()), ("a", accounts)):
        plain = frame.with_columns(pl.col(each).dt.replace_time_zone(None) for each in naive & set(frame.columns))
        database.register(table, plain.to_arrow())
    rows = pl.DataFrame(database.sql(f"{ORACLE} select * from {name}").to_arrow_table())
    rows = rows.with_columns(pl.col("as_of").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))
    rows = rows.select(view.key, "as_of", *(pl.col(each.name).cast(column_type(each)) for each in view.features))
    asked = spine if view.entity == "customer" else accounts
    return asked.join(rows, on=[view.key, "as_of"], how="left", maintain_order="left")


def by_sql_named(events: pl.DataFrame, spine: pl.DataFrame) -> pl.DataFrame:
    """Accounts that anyone of the spine named in what was known by then."""
    named = known(events, spine).select("account_id", "as_of").drop_nulls().unique()
    return named.sort("account_id", "as_of")


@pytest.mark.parametrize("name", all_views())
def test_a_market_by_sql(
    name: str, market: Market, market_spine: pl.DataFrame, database: duckdb.DuckDBPyConnection
) -> None:
    expected = oracle(database, name, market.events, market_spine)
    for feature in all_views()[name].features:
        values = expected[feature.name].drop_nulls()
        assert values.n_unique() > 1, f"{feature.name} does not vary: it is not tested"
    assert_frame_equal(alone(name, market.events, market_spine), expected, check_exact=True)


@pytest.mark.parametrize("name", all_views())
@settings(max_examples=40, deadline=None, suppress_health_check=[*SLOW, HealthCheck.function_scoped_fixture])
@given(events=EVENTS, spine=SPINES)
def test_any_events_by_sql(
    name: str, database: duckdb.DuckDBPyConnection, events: pl.DataFrame, spine: pl.DataFrame
) -> None:
    expected = oracle(database, name, events, spine)
    assert_frame_equal(alone(name, events, spine), expected, check_exact=True)


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


def test_a_row_is_the_same_for_one_customer_as_for_everyone(market: Market, market_spine: pl.DataFrame) -> None:
    """What ingest computes of a few is what training computes of all: given their account's people and the month."""
    whole = compute(market.events, market_spine)
    everyone = population(market.events, months_of(market_spine))
    for customer in market_spine["customer_id"].unique().sort().head(8):
        spine = market_spine.filter(pl.col("customer_id") == customer)
        accounts = market.events.filter(pl.col("customer_id") == customer)["account_id"].drop_nulls().unique()
        mates = market.events.filter(pl.col("account_id").is_in(accounts.implode()))["customer_id"].unique()
        mine = market.events.filter(pl.col("customer_id").is_in([customer, *mates]))
        found = compute(mine, spine, everyone)
        for name, view in all_views().items():
            expected = whole[name].join(found[name].select(view.key, "as_of"), on=[view.key, "as_of"], how="semi")
            assert_frame_equal(found[name], expected, check_exact=True)


def test_what_is_known_of_everyone_never_changes_afterwards(market: Market) -> None:
    month = datetime(2025, 6, 1, tzinfo=UTC)
    months = pl.Series("month", [datetime(2024, 5, 1, tzinfo=UTC), month], INSTANT)
    then = market.events.filter((pl.col("occurred_at") < month) & (pl.col("received_at") <= month))
    late = then.with_columns(
        ("late-" + pl.col("event_id")).alias("event_id"), pl.lit(month + SOON).cast(INSTANT).alias("received_at")
    )
    at_once = then.with_columns(("at-" + pl.col("event_id")).alias("event_id"), received_at=pl.lit(month).cast(INSTANT))
    before, after = population(then, months), population(pl.concat([market.events, late]), months)
    assert set(before) == {"engagement", "send_hours"}
    for name, frame in before.items():
        assert_frame_equal(after[name], frame, check_exact=True)
        assert frame["month"].to_list() == months.to_list()
        assert frame.drop("month").row(0) != frame.drop("month").row(1), "a year has told nothing"
        more = population(pl.concat([then, at_once]), months)[name]
        assert not more.equals(frame), "what is received at the first instant is known"


def test_of_nobody_the_documented_constants_are_known(market: Market) -> None:
    start = pl.Series("month", [datetime(2020, 1, 1, tzinfo=UTC)], INSTANT)
    for events in (market.events, market.events.clear()):
        known_then = population(events, start)
        rates = known_then["engagement"].row(0, named=True)
        assert (rates["email_open_mean"], rates["sms_click_mean"]) == (0.25, 0.05)
        hours = known_then["send_hours"].row(0, named=True)
        assert hours["open_profile_lead"] == [0.25] * 168 and hours["click_mean_other"] == 0.03


def test_everyone_of_a_month_reads_its_first_instant(market: Market) -> None:
    """Rows of one month share a mean; a month later it is another."""
    who = market.events.filter(pl.col("type") == "profile")["customer_id"][0]
    instants = [datetime(2025, month, day, tzinfo=UTC) for month, day in ((6, 1), (6, 30), (7, 1))]
    lurker = market.events.filter((pl.col("customer_id") != who) | (pl.col("type") == "profile"))
    rates = compute(lurker, spine_of([(who, each) for each in instants]))["engagement"]["email_open_rate"]
    assert rates[0] == rates[1] != rates[2]


def test_accounts_are_those_their_people_named(market: Market, market_spine: pl.DataFrame) -> None:
    few = market_spine.filter(pl.col("customer_id").str.contains("[15]$"))
    found = accounts_named(market.events, few).sort("account_id", "as_of")
    assert_frame_equal(found, by_sql_named(market.events, few))
    assert_frame_equal(compute(market.events, few)["account"].select("account_id", "as_of"), found)


def test_who_moves_leaves_one_account_and_joins_another() -> None:
    day = timedelta(days=1)
    rows = [
        {"customer_id": who, "type": "profile", "occurred_at": at, "received_at": at, "account_id": account}
        for who, at, account in (
            ("ann", ORIGIN - 9 * day, "acme"),
            ("bob", ORIGIN - 9 * day, "acme"),
            ("bob", ORIGIN - day, "globex"),
        )
    ]
    events = frame_of(rows)
    before, after = (compute(events, spine_of([("bob", at)])) for at in (ORIGIN - day, ORIGIN))
    assert dict(before["account"].select("account_id", "contacts").iter_rows()) == {"acme": 2}
    assert dict(after["account"].select("account_id", "contacts").iter_rows()) == {"acme": 1, "globex": 1}
    assert after["profile"]["account_id"].to_list() == ["globex"]
    assert wide(after, ["account:contacts"])["account__contacts"].to_list() == [1]


def test_wide_is_every_value_by_reference(market: Market, market_spine: pl.DataFrame) -> None:
    frames = compute(market.events, market_spine)
    refs = [ref for view in all_views().values() for ref in all_refs(view)]
    table = wide(frames, refs)
    assert table.shape == (market_spine.height, 2 + len(refs))
    assert table["send_hours__open_rate__17"].to_list() == [
        None if each is None else each[17] for each in frames["send_hours"]["open_rate"]
    ]
    accounts = {row[:2]: row[2] for row in frames["account"].select("account_id", "as_of", "contacts").iter_rows()}
    belongs = frames["profile"].select("account_id", "as_of").iter_rows()
    assert table["account__contacts"].to_list() == [accounts.get(each) for each in belongs]


def test_rows_come_in_the_order_of_the_spine_repeats_included(market: Market, market_spine: pl.DataFrame) -> None:
    spine = pl.concat([market_spine, market_spine.head(7)]).sample(fraction=1.0, shuffle=True, seed=5)
    for name, frame in compute(market.events, spine).items():
        view = all_views()[name]
        if view.entity == "customer":
            assert_frame_equal(frame.select("customer_id", "as_of"), spine)
        assert frame.schema == {view.key: pl.String, "as_of": INSTANT} | {
            each.name: column_type(each) for each in view.features
        }


def test_parts_make_the_same_frame(market: Market, market_spine: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded by computing in parts: where they are cut must not show."""
    whole = compute(market.events, market_spine)
    monkeypatch.setattr(computing, "PAIRS_AT_ONCE", 997)
    same(compute(market.events, market_spine), whole)
    monkeypatch.setattr(computing, "ROWS_AT_ONCE", 7)
    same(compute(market.events, market_spine), whole)


def test_nothing_is_known_of_a_stranger_and_zero_of_a_newcomer() -> None:
    signed_up = ORIGIN - timedelta(days=1)
    row = {"customer_id": "ann", "type": "profile", "occurred_at": signed_up, "received_at": signed_up}
    frames = compute(frame_of([row]), spine_of([("ann", ORIGIN), ("eve", ORIGIN), ("ann", signed_up)]))
    assert frames.pop("account").is_empty(), "nobody named one"
    for frame in frames.values():
        assert all(value is None for value in frame.drop("customer_id", "as_of").row(1)), "a stranger"
        assert all(value is None for value in frame.drop("customer_id", "as_of").row(2)), "not known yet"
    newcomer = {name: frame.row(0, named=True) for name, frame in frames.items()}
    assert newcomer["orders"]["count_365d"] == 0
    assert newcomer["orders"]["days_since_last"] is None
    assert newcomer["engagement"]["email_sends_since_click"] == 0
    assert newcomer["engagement"]["email_open_rate"] == 0.25
    assert newcomer["send_hours"]["open_rate"] == [0.25] * 168
    assert newcomer["profile"]["tenure_days"] == 1
    assert newcomer["profile"]["email_consent"] is None


def test_no_events_at_all() -> None:
    spine = spine_of([("ann", ORIGIN)])
    for name, frame in compute(frame_of([]), spine).items():
        assert frame.height == (all_views()[name].entity == "customer"), name
        assert compute(frame_of([]), spine.clear())[name].height == 0


def test_every_feature_says_what_it_is() -> None:
    refs = [ref for view in all_views().values() for ref in all_refs(view)]
    assert len(refs) == len(set(refs))
    for view in all_views().values():
        for feature in view.features:
            assert "{value}" in feature.phrase, f"{view.name}:{feature.name}"
            assert feature.unit or feature.dtype == "string", f"{view.name}:{feature.name}"
            assert not feature.phrase.endswith("."), "a phrase goes into a sentence"
