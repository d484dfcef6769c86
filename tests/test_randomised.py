"""What can be said of a cause: choices drawn by chance are told from those made by who the person is."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from features.kernel.card import Cutoffs
from features.kernel.errors import NotEnoughData
from features.kernel.seeds import generator
from features.market import Market, simulate
from training.choices.randomised import LARGEST_WEIGHT, dependence, known_chances, limits, one_hot, stabilised
from training.problems import all_problems
from training.rows import cutoffs

SEND_TIME, CHANNEL = (all_problems()[name] for name in ("send_time", "channel"))
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def market() -> Market:
    return simulate(seed=7, people=1000)


@pytest.fixture(scope="module")
def plan(market: Market) -> Cutoffs:
    return cutoffs.for_problem(market.start, market.end, SEND_TIME.horizon)


def eager(market: Market) -> pl.Series:
    """A third of those written to: they opened most."""
    opens = market.events.filter(pl.col("type") == "open").group_by("customer_id").len()
    return opens.sort("len", "customer_id").tail(300)["customer_id"].implode()


def some(share: float) -> pl.Expr:
    """A share of the events, by their ids."""
    return pl.col("event_id").str.slice(-2).cast(pl.Int64) < 100 * share


MAIL = (pl.col("type") == "send") & (pl.col("channel") == "email")


def at_nine(events: pl.DataFrame, which: pl.Expr) -> pl.DataFrame:
    when = pl.col("occurred_at")
    morning = pl.when(which).then(when.dt.truncate("1d") + pl.duration(hours=9)).otherwise(when)
    return events.with_columns(morning.alias("occurred_at"))


def in_one_zone(events: pl.DataFrame) -> pl.DataFrame:
    said = pl.when(pl.col("type") == "profile").then(pl.lit('{"timezone":"UTC"}')).otherwise("properties")
    return events.with_columns(said.alias("properties"))


def with_chance(events: pl.DataFrame, name: str, chance: pl.Expr) -> pl.DataFrame:
    said = pl.concat_str(pl.lit(f'{{"{name}":'), chance.cast(pl.String), pl.lit("}"))
    return events.with_columns(pl.when(MAIL).then(said).otherwise("properties").alias("properties"))


# -- the market's choices ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", [SEND_TIME, CHANNEL, SEND_TIME.about("push")], ids=lambda each: each.name)
def test_what_the_market_draws_by_chance_supports_a_cause(problem: object, market: Market, plan: Cutoffs) -> None:
    assert problem.caution(market.events, plan) == ()  # type: ignore[attr-defined]


@pytest.mark.parametrize("share", [1.0, 0.4])
def test_hours_that_hang_on_the_person_are_noticed(share: float, market: Market, plan: Cutoffs) -> None:
    """Who opens most is written to at nine in the morning: all of the time, and two times in five."""
    morning = at_nine(market.events, MAIL & pl.col("customer_id").is_in(eager(market)) & some(share))
    (said,) = SEND_TIME.caution(morning, plan)  # type: ignore[misc]
    assert said.startswith("No cause is shown: the hour of a send was chosen by who the person is")


def test_hours_that_change_for_all_hang_on_nobody_unless_clocks_differ(market: Market, plan: Cutoffs) -> None:
    """From some day on every second mail goes out at nine, whoever gets it; by local clocks that is many hours."""
    later = at_nine(market.events, MAIL & (pl.col("occurred_at") > plan.train[6]) & some(0.5))
    assert SEND_TIME.caution(in_one_zone(later), plan) == ()  # type: ignore[misc]
    assert len(SEND_TIME.caution(later, plan)) == 1  # type: ignore[misc]


def test_hours_never_written_at_are_told(market: Market, plan: Cutoffs) -> None:
    awake = market.events.filter(~MAIL | pl.col("occurred_at").dt.hour().is_between(8, 19))
    (said,) = SEND_TIME.caution(in_one_zone(awake), plan)  # type: ignore[misc]
    assert said == "Nothing was sent at 84 of the 168 hours: what is said of those is a guess."


def test_channels_that_hang_on_the_person_are_noticed(market: Market, plan: Cutoffs) -> None:
    pushed = (pl.col("type") == "send") & (pl.col("channel") == "push") & pl.col("customer_id").is_in(eager(market))
    (said,) = CHANNEL.caution(market.events.filter(~pushed), plan)  # type: ignore[misc]
    assert said.startswith("No cause is shown: the channel of a send")


def test_one_channel_alone_is_no_choice(market: Market, plan: Cutoffs) -> None:
    with pytest.raises(NotEnoughData, match="through email only"):
        mails = (pl.col("type") != "send") | (pl.col("channel") == "email")
        CHANNEL.caution(market.events.filter(mails), plan)  # type: ignore[misc]
    with_two = (pl.col("type") != "send") | (pl.col("channel") != "push")
    assert CHANNEL.caution(market.events.filter(with_two), plan) == (  # type: ignore[misc]
        "Nothing was sent by push: what is said of it is a guess.",
    )


# -- known chances -----------------------------------------------------------------------------------------------------


def test_known_chances_are_believed_and_weighted(market: Market, plan: Cutoffs) -> None:
    """Where half of the mails say how their hour was drawn, the label is learnt from those alone, weighted."""
    even = with_chance(market.events, "propensity", pl.when(some(0.5)).then(1 / 168))
    assert SEND_TIME.caution(even, plan) == ()  # type: ignore[misc]
    population = SEND_TIME.population(even, plan.test[0])
    rows = SEND_TIME.label(even, population, plan.test[0], SEND_TIME.horizon)
    every = SEND_TIME.label(market.events, population, plan.test[0], SEND_TIME.horizon)
    assert 0.4 < len(rows) / len(every) < 0.6
    share = rows.group_by("candidate").agg(pl.len() / len(rows), pl.col("weight").first())
    assert np.allclose(share["weight"], np.clip(share["len"] * 168, 1 / LARGEST_WEIGHT, LARGEST_WEIGHT))


def test_very_uneven_chances_are_told(market: Market, plan: Cutoffs) -> None:
    rare = pl.when(some(0.02)).then(0.0001).otherwise(0.9)
    (said,) = SEND_TIME.caution(with_chance(market.events, "propensity", rare), plan)  # type: ignore[misc]
    assert "so uneven that" in said and "clipped to 10" in said


def test_a_chance_that_is_none_is_not_known(market: Market, plan: Cutoffs) -> None:
    wrong = with_chance(market.events, "propensity", pl.lit(1.5))
    population = SEND_TIME.population(wrong, plan.test[0])
    rows = SEND_TIME.label(wrong, population, plan.test[0], SEND_TIME.horizon)
    assert len(rows) > 500 and (rows["weight"] == 1).all()


def test_a_few_known_chances_do_not_throw_the_rest_away() -> None:
    rows = pl.DataFrame({"chance": [0.5] * 3 + [None] * 500})
    assert len(known_chances(rows, "chance")) == 503
    assert known_chances(rows, "chance")["chance"].null_count() == 503
    many = pl.DataFrame({"chance": [0.5] * 300 + [None] * 500})
    assert len(known_chances(many, "chance")) == 300


def test_weights_undo_a_choice_that_hung_on_the_person() -> None:
    """Eager people (answers .6 and .4) are sent A nine times in ten, others (.2 and 0) one time in ten."""
    rng = generator("test", "weights")
    eager_one, n = rng.random(60_000) < 0.5, 60_000
    chance_of_a = np.where(eager_one, 0.9, 0.1)
    takes_a = rng.random(n) < chance_of_a
    answers = rng.random(n) < 0.2 * takes_a + 0.4 * eager_one
    rows = pl.DataFrame({"a": takes_a, "y": answers, "chance": np.where(takes_a, chance_of_a, 1 - chance_of_a)})
    rows = rows.with_columns(stabilised(pl.col("a"), pl.col("chance")).alias("w"))

    def gap(weight: pl.Expr) -> float:
        mean = rows.group_by("a").agg((pl.col("y") * weight).sum() / weight.sum()).sort("a")["y"]
        return float(mean[1] - mean[0])

    assert gap(pl.lit(1.0) + 0 * pl.col("w")) > 0.45
    assert gap(pl.col("w")) == pytest.approx(0.2, abs=0.02)


# -- the test itself ---------------------------------------------------------------------------------------------------


def test_its_p_values_are_uniform_where_nothing_depends() -> None:
    """Thirty traits of 300 rows explain a tenth by chance: that is no evidence, and no effect."""
    found = []
    for i in range(60):
        rng = generator("null", i)
        codes = rng.integers(0, 24, 300)
        found.append(dependence(one_hot(codes), rng.normal(size=(300, 30)), rng.integers(0, 3, 300), rng))
    p = np.array([each.p for each in found])
    assert abs(np.mean(p) - 0.5) < 0.1 and 0.02 <= np.mean(p <= 0.1) <= 0.2
    assert abs(np.mean([each.explained for each in found])) < 0.005
    assert sum(each.shown for each in found) <= 4


def test_what_differs_between_strata_alone_is_no_dependence() -> None:
    rng = generator("strata")
    stratum = rng.integers(0, 4, 4_000)
    codes = np.where(rng.random(4_000) < 0.7, stratum, rng.integers(0, 4, 4_000))
    trait = stratum[:, None] + rng.normal(size=(4_000, 2))
    assert not dependence(one_hot(codes), trait, stratum, generator("a")).shown
    assert dependence(one_hot(codes), trait, np.zeros(4_000, np.int64), generator("a")).shown


def test_a_choice_that_never_varies_or_traits_that_never_do_show_nothing() -> None:
    same, vary = np.zeros((50, 1)), generator("vary").normal(size=(50, 1))
    for chosen, traits in ((same, vary), (vary, same)):
        found = dependence(chosen, traits, np.zeros(50, np.int64), generator("b"))
        assert (found.explained, found.p, found.shown) == (0.0, 1.0, False)


def test_nothing_is_said_where_nothing_is_wrong() -> None:
    assert limits("hour", pl.Series([0.5, 0.5]), pl.Series([1.0, 1.0]), None) == ()
