"""Lineage equals what leaving out each event by hand gives; comparisons state what differs and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import lineage, promotion
from features.compare import compare_runs, psi, run_at, side_by_side
from features.compute import all_views, compute, population
from features.frames import EVENT_SCHEMA, spine_of
from features.kernel import clock
from features.kernel.errors import NotFound
from features.kernel.settings import Settings
from features.lineage import Lineage, trace
from features.market import simulate
from features.packed.store import PackedStore
from features.parity import served
from features.population import months_of
from features.vectors import Status
from features.view import Feature, FeatureView, column_type

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)


@pytest.fixture(scope="module")
def market() -> pl.DataFrame:
    return simulate(seed=21, people=60).events


@pytest.fixture
def _time_stands_at_now() -> Any:
    clock.set_origin(NOW)
    yield
    clock.set_origin(None)


def event(event_id: str, kind: str, at: datetime, customer: str = "c", **more: Any) -> dict[str, Any]:
    row = {"event_id": event_id, "customer_id": customer, "type": kind, "occurred_at": at, "received_at": at}
    return dict.fromkeys(EVENT_SCHEMA) | row | more


def told(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=EVENT_SCHEMA)


def busiest(events: pl.DataFrame, count: int, most: int = 120) -> list[str]:
    """Those with most known events, though fewer than `most`: half with an account, half without."""
    then = events.filter(pl.col("received_at") <= NOW)
    sizes = then.group_by("customer_id").agg(pl.len(), pl.col("account_id").drop_nulls().len().alias("named"))
    sizes = sizes.filter(pl.col("len") < most).sort("len", "customer_id", descending=[True, False])
    with_account = sizes.filter(pl.col("named") > 0)["customer_id"].head(count // 2)
    return [*with_account, *sizes.filter(pl.col("named") == 0)["customer_id"].head(count - count // 2)]


# -- sources -----------------------------------------------------------------------------------------------------------


def by_hand(events: pl.DataFrame, customer: str, as_of: datetime, refs: list[str]) -> dict[str, set[str]]:
    """Each event of the customer, and of the people of their account, taken out of everything known; slow and plain."""
    spine = spine_of([customer], as_of)
    everyone = population(events, months_of(spine))
    account = values(events, spine, everyone)["profile:account_id"]
    people = set(events.filter(pl.col("account_id") == pl.lit(account))["customer_id"]) if account else set()
    then = events.filter((pl.col("occurred_at") < as_of) & (pl.col("received_at") <= as_of))
    theirs = then.filter(pl.col("customer_id").is_in(list(people | {customer})))
    base = values(theirs, spine, everyone, account)
    found: dict[str, set[str]] = {ref: set() for ref in refs}
    for left_out in theirs["event_id"]:
        without = values(theirs.filter(pl.col("event_id") != left_out), spine, everyone, account)
        for ref in refs:
            if without[ref] != base[ref]:
                found[ref].add(left_out)
    return found


def values(events: pl.DataFrame, spine: pl.DataFrame, everyone: Any, account: Any = None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, frame in compute(events, spine, everyone).items():
        view = all_views()[name]
        rows = frame if view.entity == "customer" else frame.filter(pl.col("account_id") == pl.lit(account, pl.String))
        row = rows.row(0, named=True) if rows.height else dict.fromkeys(frame.columns)
        found |= {f"{name}:{each.name}": row[each.name] for each in view.features}
    return found


def test_sources_are_the_events_whose_absence_changes_the_value(market: pl.DataFrame) -> None:
    accounts = 0
    for customer in busiest(market, 2, most=20):
        found = trace(market, customer, NOW)
        accounts += "account" in found.examined
        expected = by_hand(market, customer, NOW, list(found.values))
        assert {ref: set(ids) for ref, ids in found.sources.items()} == expected, customer
        assert sum(map(len, expected.values())) > 40
    assert accounts == 1


def test_values_are_those_of_compute(market: pl.DataFrame) -> None:
    for customer in busiest(market, 4):
        spine = spine_of([customer], NOW)
        everyone = population(market, months_of(spine))
        account = values(market, spine, everyone)["profile:account_id"]
        assert trace(market, customer, NOW).values == values(market, spine, everyone, account)


def test_sources_come_newest_first_and_the_bound_is_told() -> None:
    rows = [event(f"e{i}", "order", NOW - (i + 1) * DAY, amount=10.0 + i) for i in range(6)]
    whole = trace(told(*rows), "c", NOW)
    assert whole.sources["orders:count_30d"] == ("e0", "e1", "e2", "e3", "e4", "e5")
    assert whole.sources["orders:last_value"] == ("e0",) and whole.sources["orders:largest_value"] == ("e5",)
    bounded = trace(told(*rows), "c", NOW, newest=2)
    assert bounded.sources["orders:count_30d"] == ("e0", "e1") and bounded.examined == {"customer": (2, 6)}
    assert bounded.values == whole.values


def test_a_long_history_is_left_out_in_turn_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = told(*(event(f"e{i}", "order", NOW - (i + 1) * DAY, amount=10.0) for i in range(6)))
    monkeypatch.setattr(lineage, "PAIRS", 20)
    assert trace(rows, "c", NOW).examined == {"customer": (3, 6)}
    monkeypatch.setattr(lineage, "PAIRS", 1)
    assert trace(rows, "c", NOW).sources["orders:count_30d"] == ("e0",)


def test_neither_of_two_events_that_say_the_same_is_a_source() -> None:
    said = '{"country":"AT"}'
    once = told(event("a", "profile", NOW - 3 * DAY, properties=said))
    twice = told(*once.to_dicts(), event("b", "profile", NOW - 2 * DAY, properties=said))
    assert trace(once, "c", NOW).sources["profile:country"] == ("a",)
    assert trace(twice, "c", NOW).sources["profile:country"] == ()
    assert trace(twice, "c", NOW).values["profile:country"] == "AT"


def test_ids_that_begin_alike_and_odd_ids_keep_their_events_apart() -> None:
    """Ties are broken by event id: made-up worlds must not turn their order round."""
    at = NOW - DAY
    rows = [
        event(each, "profile", at, "a b 🎈", properties=f'{{"country":"{country}"}}')
        for each, country in (("e", "A"), ("e1", "B"), ("e 1", "C"), ("é", "D"))
    ]
    found = trace(told(*rows, event("x", "order", at, "a b", amount=1.0)), "a b 🎈", NOW)
    assert found.values["profile:country"] == "D" and found.sources["profile:country"] == ("é",)
    assert found.values["orders:count_total"] == 0


def test_an_accounts_features_come_from_all_its_people() -> None:
    rows = told(
        event("p1", "profile", NOW - 9 * DAY, "ann", account_id="firm"),
        event("p2", "profile", NOW - 8 * DAY, "bob", account_id="firm"),
        event("o1", "order", NOW - 5 * DAY, "bob", amount=50.0),
        event("o2", "order", NOW - 4 * DAY, "cyd", amount=70.0),
    )
    found = trace(rows, "ann", NOW)
    assert found.values["profile:account_id"] == "firm" and found.values["account:revenue_365d"] == 50
    assert set(found.sources["account:revenue_365d"]) == {"o1", "p1", "p2"}  # who named the account, and what it bought
    assert found.examined == {"customer": (1, 1), "account": (3, 3)}


# -- what was known then -----------------------------------------------------------------------------------------------

_AT = st.integers(-20, 5).map(lambda hours: NOW + timedelta(hours=hours))
_LATE = st.integers(0, 30).map(lambda hours: timedelta(hours=hours))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["order", "send", "page_view"]), _AT, _LATE), min_size=1, max_size=12))
def test_nothing_that_was_received_later_has_a_part(drawn: list[tuple[str, datetime, timedelta]]) -> None:
    rows = [
        event(f"e{i}", kind, at, amount=5.0 if kind == "order" else None, received_at=at + late)
        for i, (kind, at, late) in enumerate(drawn)
    ]
    early = [each for each in rows if each["occurred_at"] < NOW and each["received_at"] <= NOW]
    later = {each["event_id"] for each in rows if each["occurred_at"] < NOW < each["received_at"]}
    if not early:
        with pytest.raises(NotFound, match="2026-09-01 12:00:00"):
            trace(told(*rows), "c", NOW)
        return
    found, without = trace(told(*rows), "c", NOW), trace(told(*early), "c", NOW)
    assert (found.values, found.sources) == (without.values, without.sources)
    assert set(found.events["event_id"]) == {each["event_id"] for each in early}
    assert set(found.later["event_id"]) == later and without.later.is_empty()


def test_an_unknown_customer_and_an_empty_history() -> None:
    rows = told(event("e", "order", NOW - DAY, amount=1.0))
    for events, who in ((rows, "nobody"), (rows, ""), (told(), "c")):
        with pytest.raises(NotFound, match="customer"):
            trace(events, who, NOW)


# -- two customers -----------------------------------------------------------------------------------------------------


def test_side_by_side_are_the_values_of_each(market: pl.DataFrame) -> None:
    a, b, *_ = busiest(market, 4)
    sides = [(a, NOW), (b, NOW), (a, NOW - 60 * DAY), (a, NOW)]
    found = side_by_side(market, sides)
    traced: list[Lineage] = [trace(market, customer, as_of) for customer, as_of in sides]
    assert found.keys() == traced[0].values.keys()
    for ref, of_sides in found.items():
        assert list(of_sides) == [each.values[ref] for each in traced], ref
    with pytest.raises(NotFound, match="nobody"):
        side_by_side(market, [(a, NOW), ("nobody", NOW)])


# -- what is served ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_time_stands_at_now")
def test_what_is_served_is_compared_with_its_own_instant(market: pl.DataFrame, own_redis_url: str) -> None:
    customer, stranger = busiest(market, 2)
    then = NOW - 3 * DAY
    store = PackedStore.of(Settings(redis_url=own_redis_url))
    store.push(compute(market, spine_of([customer], then), population(market, months_of(spine_of([customer], then)))))
    found = served(market, customer, store, all_views())
    assert not any(each.differs for each in found.values())
    assert {each.status for each in found.values()} == {Status.FRESH}
    assert all(each.age is not None and 3 * DAY <= each.age < 3 * DAY + 5 * SECOND for each in found.values())
    assert found["send_hours:open_rate"].value == found["send_hours:open_rate"].expected is not None
    late = event("late", "order", then - DAY, customer, amount=99.0)  # an import: received when it occurred
    changed = served(pl.concat([market, told(late)]), customer, store, all_views())
    assert changed["orders:count_total"].differs and not changed["web:views_30d"].differs
    nothing = served(market, stranger, store, all_views())
    assert {(each.value, each.expected, each.age, each.differs) for each in nothing.values()} == {
        (None, None, None, False)
    }
    store.forget([customer])
    store.close()


# -- two runs ----------------------------------------------------------------------------------------------------------

VIEW = FeatureView(
    "some",
    (
        Feature("same", "orders", ""),
        Feature("moved", "orders", ""),
        Feature("level", "", "", "string"),
        Feature("lost", "days", ""),
        Feature("hours", "share", "", length=2),
    ),
    lambda events, spine: spine,
)


def store_run(folder: Path, as_of: datetime, **columns: Any) -> None:
    n = len(next(iter(columns.values())))
    frame = pl.DataFrame(columns, schema={each.name: column_type(each) for each in VIEW.features})
    keys = pl.DataFrame({"customer_id": [f"c{i}" for i in range(n)]}).with_columns(pl.lit(as_of).alias("as_of"))
    promotion.promote(folder, {"some": VIEW}, [{"some": pl.concat([keys, frame], how="horizontal")}])


def test_two_runs_the_largest_change_first(tmp_path: Path) -> None:
    draw = np.random.default_rng(5)
    same, n = draw.poisson(3, 400).astype(np.float32), 400
    hours = draw.random((n, 2), dtype=np.float32).tolist()
    base = {"same": same, "level": ["a"] * n, "lost": [1.0] * n, "hours": hours}
    store_run(tmp_path, NOW - DAY, moved=draw.normal(5, 1, n), **base)
    gone = {"level": ["a"] * (n - 40) + ["b"] * 40, "lost": [1.0] * (n // 2) + [None] * (n // 2)}
    store_run(tmp_path, NOW, moved=draw.normal(7, 1, n), **base | gone)
    found = {each.ref: each for each in compare_runs(tmp_path, {"some": VIEW}, NOW - DAY, NOW)}
    assert list(found)[-2:] == ["some:hours[]", "some:same"] and found["some:same"].psi == 0
    assert [*found.values()] == sorted(found.values(), key=lambda each: -each.psi)
    moved, lost = found["some:moved"], found["some:lost"]
    assert moved.difference == pytest.approx(2, abs=0.2) and moved.psi > 1
    assert lost.missing == (0, 0.5) and lost.difference == 0 and lost.psi > 1
    assert found["some:level"].mean == (None, None) and found["some:level"].psi > 0.1
    assert found["some:hours[]"].mean[0] == pytest.approx(np.mean(hours), abs=1e-5)


def test_a_fall_below_the_commonest_and_least_value_is_a_change(tmp_path: Path) -> None:
    rest = {"moved": [1.0] * 20, "level": ["a"] * 20, "lost": [1.0] * 20, "hours": [[0.5, 0.5]] * 20}
    store_run(tmp_path, NOW - DAY, same=[5.0] * 20, **rest)
    store_run(tmp_path, NOW, same=[2.0] * 20, **rest)
    worst = compare_runs(tmp_path, {"some": VIEW}, NOW - DAY, NOW)[0]
    assert worst.ref == "some:same" and worst.psi > 1 and worst.difference == -float("inf")


def test_the_newest_run_that_is_not_later(tmp_path: Path) -> None:
    one = {"same": [1.0], "moved": [1.0], "level": ["a"], "lost": [1.0], "hours": [[0.5, 0.5]]}
    for when in (NOW - 2 * DAY, NOW):
        store_run(tmp_path, when, **one)
    (tmp_path / "some" / "part-0.parquet").write_bytes((tmp_path / "some").glob("2026*").__next__().read_bytes())
    views = {"some": VIEW}
    assert run_at(tmp_path, views, NOW) == NOW
    assert run_at(tmp_path, views, NOW - timedelta(microseconds=1)) == NOW - 2 * DAY
    with pytest.raises(NotFound, match="kairos features build"):
        run_at(tmp_path, views, NOW - 3 * DAY)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=8))
def test_the_index_is_never_negative_and_does_not_care_which_comes_first(counts: list[tuple[int, int]]) -> None:
    first, second = (np.array([each[i] for each in counts], dtype=np.float64) for i in (0, 1))
    assert psi(first, second) >= 0 and psi(first, first) == 0
    assert psi(first, second) == pytest.approx(psi(second, first)) == pytest.approx(psi(first * 3, second))


def test_a_rehearsal_judges_events_before_they_are_stored(market: pl.DataFrame, tmp_path: Path) -> None:
    sound = promotion.rehearse(market, customers=20)
    assert sound.breaches == () and sound.as_of is not None
    assert {each.of for each in sound.findings if each.view == "web"} == {20}
    refunds = market.filter(pl.col("type") == "order").with_columns(amount=-pl.col("amount"))
    broken = promotion.rehearse(refunds)
    assert {"orders:revenue_total", "orders:average_value"} <= {each.where for each in broken.breaches}
    assert promotion.rehearse(market.clear()).findings == ()
