"""The market's win-back test, and the problem that learns from tests: what was drawn, what a label is."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy import stats

from features.compute import compute
from features.frames import EVENT_SCHEMA, spine_of, to_events
from features.kernel.card import Cutoffs
from features.kernel.errors import NotEnoughData
from features.market import Market, simulate
from training.problems.uplift import problem

DAY = timedelta(days=1)
CUTOFF = datetime.fromisoformat("2026-05-02T00:00:00Z")
SMALL_P = 1e-3


@pytest.fixture(scope="module")
def plain() -> Market:
    return simulate(people=1_000)


@pytest.fixture(scope="module")
def tested(plain: Market) -> Market:
    return plain.with_test()


def prop(name: str) -> pl.Expr:
    return pl.col("properties").str.json_path_match(f"$.{name}")


def assignments(market: Market) -> pl.DataFrame:
    drawn = market.events.filter(pl.col("type") == "assignment")
    return drawn.select(
        "customer_id",
        "occurred_at",
        prop("arm").alias("arm"),
        prop("propensity").cast(pl.Float64).alias("propensity"),
    )


# -- the market's test -------------------------------------------------------------------------------------------------


def test_all_else_is_as_without_the_test(plain: Market, tested: Market) -> None:
    for name in ("events", "after"):
        old, new = getattr(plain, name), getattr(tested, name)
        assert_frame_equal(new.filter(~pl.col("event_id").str.starts_with("sim7t-")), old)
        assert new["event_id"].is_unique().all() and new["received_at"].is_sorted()
    assert_frame_equal(plain.with_test().events, tested.events)
    added = tested.events.filter(pl.col("event_id").str.starts_with("sim7t-"))
    assert set(added["type"]) == {"assignment", "order", "refund"}
    assert [each.event_id for each in to_events(added)] == added["event_id"].to_list()


def test_arms_are_drawn_with_the_recorded_probability(tested: Market) -> None:
    drawn = assignments(tested)
    own = pl.when(pl.col("arm") == "control").then(1 - pl.col("propensity")).otherwise("propensity")
    found = drawn.with_columns(own.round(2).alias("treated")).group_by("treated").agg(pl.len(), n=prop_treated().sum())
    assert set(found["treated"]) == {0.35, 0.6}
    for treated, rows, n in found.iter_rows():
        assert stats.binomtest(n, rows, treated).pvalue > SMALL_P
    assert len(drawn) > 2_000


def prop_treated() -> pl.Expr:
    return (pl.col("arm") == "discount").cast(pl.Int64)


def test_only_who_has_been_quiet_is_drawn_and_not_again_within_a_month(tested: Market) -> None:
    drawn = assignments(tested).with_columns(pl.col("occurred_at").dt.truncate("1d").alias("at")).sort("at")
    orders = tested.events.filter(pl.col("type") == "order").select("customer_id", last="occurred_at", at="occurred_at")
    found = drawn.join_asof(orders.sort("at"), on="at", by="customer_id", check_sortedness=False)
    quiet = (found["at"] - found["last"]).dt.total_seconds() / 86_400  # as of the midnight before
    assert quiet.null_count() == 0 and quiet.is_between(45, 365).all()
    again = drawn.sort("customer_id", "occurred_at").select(
        pl.col("occurred_at").diff().over("customer_id").drop_nulls()
    )
    assert again.to_series().min() > 29 * DAY


def test_the_effect_is_the_true_one(tested: Market) -> None:
    """Weighted for propensity, orders within two weeks differ by the mean true effect, within four standard errors."""
    drawn = assignments(tested).filter(pl.col("occurred_at") < tested.end - 20 * DAY).with_row_index("row")
    orders = tested.events.filter(pl.col("type") == "order").select("customer_id", at="occurred_at")
    inside = (pl.col("at") > pl.col("occurred_at")) & (pl.col("at") < pl.col("occurred_at") + 14 * DAY)
    bought = drawn.join(orders, on="customer_id").filter(inside)["row"].unique()
    y = drawn["row"].is_in(bought.implode()).cast(pl.Float64).to_numpy()
    sign = np.where(drawn["arm"].to_numpy() == "discount", 1.0, -1.0)
    each = sign * y / drawn["propensity"].to_numpy()
    month = drawn["occurred_at"].dt.truncate("1mo")
    true = np.empty(len(drawn))
    for at in month.unique():
        here = (month == at).to_numpy()
        true[here] = tested.truth.discount_effect(drawn["customer_id"].filter(pl.Series(here)).to_list(), at + 15 * DAY)
    assert abs(each.mean() - true.mean()) < 4 * each.std() / np.sqrt(len(each))
    assert 0.1 < true.mean() < 0.3 and true.std() > 0.05


def test_views_do_not_see_assignments(plain: Market, tested: Market) -> None:
    """Who was known already is known as before: a draw is nothing they did."""
    drawn = tested.events.filter(pl.col("type") == "assignment")
    spine = spine_of(drawn["customer_id"].unique().sort().to_list()[:200], CUTOFF)
    both = pl.concat([plain.events, drawn]).sort("received_at", "event_id")
    before, after = compute(plain.events, spine), compute(both, spine)
    assert before.keys() == after.keys()
    for view in before:
        assert_frame_equal(before[view], after[view])


# -- the label ---------------------------------------------------------------------------------------------------------


def event(customer: str, kind: str, at: datetime, properties: str | None = None) -> dict[str, object]:
    row = dict.fromkeys(EVENT_SCHEMA) | {"customer_id": customer, "type": kind, "occurred_at": at, "received_at": at}
    return row | {"event_id": f"{customer}-{kind}-{at.isoformat()}", "properties": properties, "amount": 9.0}


def drawn(customer: str, at: datetime, arm: str = "discount", chance: float | str = 0.6, test: str = "t") -> dict:
    return event(customer, "assignment", at, f'{{"arm":"{arm}","propensity":{chance},"test":"{test}"}}')


def frame(*rows: dict[str, object]) -> pl.DataFrame:
    known = [event(str(row["customer_id"]), "profile", CUTOFF - 9 * DAY) for row in rows]
    first = drawn("first", CUTOFF - 9 * DAY)
    return pl.DataFrame([*rows, *known, first], schema=EVENT_SCHEMA).unique("event_id")


def labelled(events: pl.DataFrame, test: str = "") -> dict[str, tuple[float, ...]]:
    asked = problem.about(test) if test else problem
    people = asked.population(events, CUTOFF)
    found = asked.label(events, people, CUTOFF, asked.horizon).select("customer_id", "label", "arm", "propensity")
    return {row[0]: tuple(round(float(each), 6) for each in row[1:]) for row in found.iter_rows()}


def test_an_order_within_two_weeks_of_the_draw_counts() -> None:
    at = CUTOFF + 20 * DAY
    events = frame(
        drawn("buys", at),
        event("buys", "order", at + 13.9 * DAY),
        drawn("late", at),
        event("late", "order", at + 14.1 * DAY),
        drawn("early", at),
        event("early", "order", at - DAY),
        drawn("spared", at, arm="control", chance=0.4),
        event("spared", "order", at + DAY),
        drawn("after", CUTOFF + 31 * DAY),
        drawn("twice", at - 9 * DAY, arm="control", chance=0.4),
        drawn("twice", at),
    )
    assert labelled(events) == {
        "buys": (1, 1, 0.6),
        "late": (0, 1, 0.6),
        "early": (0, 1, 0.6),
        "spared": (1, 0, 0.6),
        "twice": (0, 0, 0.6),
    }


def test_a_variant_asks_about_one_test() -> None:
    at = CUTOFF + DAY
    events = frame(drawn("one", at, test="a"), drawn("two", at, test="b"))
    assert set(labelled(events)) == {"one", "two"}
    assert set(labelled(events, "b")) == {"two"} and problem.about("b").name == "uplift_b"


def test_draws_without_arm_or_chance_are_left_out_and_told() -> None:
    at = CUTOFF + DAY
    bare = event("bare", "assignment", at, '{"arm":"discount","test":"t"}')
    events = frame(drawn("good", at), drawn("sure", at, chance=1.0), drawn("odd", at, chance='"?"'), bare)
    assert set(labelled(events)) == {"good"}
    assert problem.caution is not None
    cutoffs = Cutoffs(train=(CUTOFF,), validation=(CUTOFF,), test=(CUTOFF,))
    assert problem.caution(events, cutoffs) == ("3 of 5 assignments name no arm or no propensity and are left out.",)
    several = frame(drawn("one", at, test="a"), drawn("two", at, test="b"))
    assert any("3 tests (a, b, t)" in each for each in problem.caution(several, cutoffs))
    with pytest.raises(NotEnoughData, match=r"test t: has several treatments \(call, discount\)"):
        problem.caution(frame(drawn("one", at, arm="call")), cutoffs)
    with pytest.raises(NotEnoughData, match="no assignment names its arm"):
        problem.caution(pl.DataFrame([bare], schema=EVENT_SCHEMA), cutoffs)


def test_nobody_is_asked_about_before_the_first_test(plain: Market) -> None:
    assert problem.population(plain.events, CUTOFF).is_empty()
