"""What each problem's label means: against the market's truth, and case by case."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from features.frames import EVENT_SCHEMA
from features.market import Market, simulate
from features.messages import CHANNELS
from training.choices.categories import bought
from training.problem import Problem
from training.problems import all_problems
from training.problems.churn import LEAST_DAYS, PATIENCE, POOLED_GAPS

PROBLEMS = all_problems()
CUTOFF = datetime.fromisoformat("2026-05-02T00:00:00Z")
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)


@pytest.fixture(scope="module")
def market() -> Market:
    return simulate(seed=5, people=1500)


def event(
    customer: str, kind: str, at: datetime, properties: dict[str, object] | None = None, **fields: object
) -> dict:
    said = json.dumps(properties) if properties else None
    row = {"event_id": f"{customer}-{kind}-{at.isoformat()}", "customer_id": customer, "type": kind, "properties": said}
    return row | {"occurred_at": at, "received_at": at} | fields


def frame(*events: dict) -> pl.DataFrame:
    given = pl.DataFrame(events, schema_overrides=EVENT_SCHEMA, infer_schema_length=None)
    return given.select(
        pl.col(name).cast(dtype) if name in given.columns else pl.lit(None, dtype).alias(name)
        for name, dtype in EVENT_SCHEMA.items()
    )


def orders(customer: str, *days: float, **properties: object) -> list[dict]:
    """Orders so many days after the cutoff."""
    return [event(customer, "order", CUTOFF + day * DAY, properties, amount=5.0) for day in days]


def labels(problem: Problem, events: pl.DataFrame) -> pl.DataFrame:
    return problem.label(events, problem.population(events, CUTOFF), CUTOFF, problem.horizon).sort("customer_id")


def told(problem: Problem, events: pl.DataFrame) -> dict[str, int]:
    return dict(labels(problem, events).select("customer_id", "label").iter_rows())


def near(found: float, p: np.ndarray, share: float = 0.0) -> bool:
    """Whether a count is within four standard errors (and `share` of itself) of what its probabilities expect."""
    known = p[np.isfinite(p)]
    return abs(found - known.sum()) < 4 * np.sqrt((known * (1 - known)).sum()) + share * found


# -- against the truth -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["propensity", "lead_scoring"])
def test_labels_are_as_frequent_as_the_market_knows_they_should_be(name: str, market: Market) -> None:
    """Within four standard errors: a label turned round would not pass."""
    truth = market.truth.purchase_probability if name == "propensity" else market.truth.lead_conversion_probability
    found = labels(PROBLEMS[name], market.events)
    p = truth(found["customer_id"].to_list(), CUTOFF, PROBLEMS[name].horizon.days)
    assert near(found.filter(np.isfinite(p))["label"].sum(), p)


def test_silence_is_as_frequent_as_the_market_knows_it_should_be_over_each_persons_own_horizon(market: Market) -> None:
    churn = PROBLEMS["churn"]
    own = churn.population(market.events, CUTOFF).with_columns(
        pl.col("patience_days").ceil().clip(LEAST_DAYS, churn.horizon.days).alias("days")
    )
    assert own["days"].n_unique() > 20 and own["days"].max() == churn.horizon.days
    p = {
        name: 1 - market.truth.purchase_probability([name], CUTOFF, days)[0]
        for name, days in own.select("customer_id", "days").iter_rows()
    }
    found = labels(churn, market.events)
    assert near(found["label"].sum(), np.array([p[name] for name in found["customer_id"]]))


def test_clicks_are_as_frequent_as_the_market_knows_they_should_be_by_channel(market: Market) -> None:
    """Engagement is that of the cutoff, and falls a little within 30 days: five in a hundred are allowed for it."""
    found = labels(PROBLEMS["channel"], market.events)
    p = market.truth.click_probability(found["customer_id"].to_list(), CUTOFF)
    for channel in range(len(CHANNELS)):
        these = (found["candidate"] == channel).to_numpy()
        assert these.sum() > 50 and near(found.filter(these)["label"].sum(), p[these, channel], share=0.05)


# -- leads and customers -----------------------------------------------------------------------------------------------


def test_a_lead_who_orders_is_converted_and_one_who_ordered_before_is_no_lead() -> None:
    stages = [event(name, "lifecycle", CUTOFF - 9 * DAY, {"stage": "lead"}) for name in ("buys", "waits", "old")]
    events = frame(*stages, *orders("buys", 1), *orders("old", -1))
    assert told(PROBLEMS["lead_scoring"], events) == {"buys": 1, "waits": 0}


# -- churn by a person's own rhythm ------------------------------------------------------------------------------------


def test_who_buys_weekly_is_lost_sooner_than_who_buys_every_month() -> None:
    weekly, monthly = range(-700, 0, 7), range(-700, 0, 30)
    events = frame(*orders("weekly", *weekly, 20), *orders("monthly", *monthly, 20), *orders("keeps", *weekly, 10))
    assert told(PROBLEMS["churn"], events) == {"keeps": 0, "monthly": 0, "weekly": 1}


def test_who_is_overdue_already_is_not_asked_about() -> None:
    weekly = range(-700, -40, 7)
    events = frame(*orders("weekly", *weekly), *orders("monthly", *range(-710, -40, 30)), *orders("once", -179))
    assert set(told(PROBLEMS["churn"], events)) == {"monthly"}


def test_few_gaps_are_shrunk_towards_everyones() -> None:
    """Of one gap of 60 days, and a pooled mean g with the weight of two gaps: (60 + 2g) / 3."""
    events = frame(*orders("often", *range(-100, 0, 10)), *orders("twice", -70, -10), *orders("once", -5))
    found = dict(PROBLEMS["churn"].population(events, CUTOFF).select("customer_id", "patience_days").iter_rows())
    pooled = (90 + 60) / (9 + 1)
    assert found["twice"] == pytest.approx(PATIENCE * (60 + POOLED_GAPS * pooled) / (1 + POOLED_GAPS))
    assert found["once"] == pytest.approx(PATIENCE * pooled)
    assert found["often"] < found["once"] < found["twice"]


def test_two_orders_of_one_day_are_no_gap() -> None:
    split = frame(*orders("split", *range(-100, 0, 10)), *orders("split", *(day + 0.1 for day in range(-100, 0, 10))))
    whole = frame(*orders("split", *range(-100, 0, 10)))
    found = [PROBLEMS["churn"].population(each, CUTOFF)["patience_days"].item() for each in (split, whole)]
    assert found[0] == pytest.approx(found[1], rel=0.01)


def test_nobody_with_a_rhythm_leaves_the_longest_horizon() -> None:
    events = frame(*orders("one", -5), *orders("other", -6, 89.9))
    assert told(PROBLEMS["churn"], events) == {"one": 1, "other": 0}


# -- categories --------------------------------------------------------------------------------------------------------


def test_who_buys_of_the_category_counts_and_who_buys_of_another_does_not() -> None:
    past = [each for name in ("one", "many", "other", "silent", "late") for each in orders(name, -9)]
    events = frame(
        *past,
        *orders("one", 3, category="Garden Tools"),
        *orders("many", 3, categories=["Books", "garden tools"]),
        *orders("other", 3, category="Books"),
        *orders("late", 31, category="garden_tools"),
    )
    found = told(PROBLEMS["propensity"].about("garden_tools"), events)
    assert found == {"late": 0, "many": 1, "one": 1, "other": 0, "silent": 0}


@pytest.mark.parametrize(
    ("properties", "named"),
    [
        ({"category": "Books"}, ["books"]),
        ({"categories": ["Books", "Toys & Games"]}, ["books", "toys_games"]),
        ({"category": "Books", "categories": ["books", "Toys"]}, ["books", "toys"]),
        ({"categories": "Books"}, ["books"]),
        ({"category": ""}, []),
        ({"category": None, "categories": []}, []),
        ({"items": 3}, []),
    ],
)
def test_categories_stand_in_either_property(properties: dict[str, object], named: list[str]) -> None:
    assert sorted(bought(frame(*orders("x", 0, **properties)))["category"]) == named


# -- messages ----------------------------------------------------------------------------------------------------------

MONDAY_LATE = datetime.fromisoformat("2026-05-04T23:30:00Z")
"""Tuesday 08:30 in Tokyo."""


def mails(name: str, *answers: tuple[str, timedelta], **properties: object) -> list[dict]:
    """A mail before the cutoff, one on Monday, and what answered that one after so long."""
    before = event(name, "send", CUTOFF - 5 * DAY, message_id=f"m0-{name}", channel="email")
    send = event(name, "send", MONDAY_LATE, properties, message_id=f"m1-{name}", channel="email")
    given = [
        event(
            name, kind, MONDAY_LATE + delay, {"machine": True} if kind == "machine" else None, message_id=f"m1-{name}"
        )
        for kind, delay in answers
    ]
    return [before, send, *({**each, "type": "open"} if each["type"] == "machine" else each for each in given)]


def test_machine_opens_are_no_opens_clicks_are_answers_and_hours_are_local() -> None:
    zones = [
        event("human", "profile", CUTOFF - 5 * DAY, {"timezone": "Asia/Tokyo"}),
        event("fast", "profile", CUTOFF - 5 * DAY, {"timezone": "Mars/Olympus"}),
    ]
    events = frame(
        *zones,
        *mails("human", ("open", 60 * SECOND)),
        *mails("flagged", ("machine", 60 * SECOND)),
        *mails("fast", ("open", 9 * SECOND)),
        *mails("late", ("open", 3 * DAY)),
        *mails("none"),
        *mails("both", ("machine", SECOND), ("open", 90 * SECOND)),
        *mails("clicks", ("click", 9 * SECOND)),
    )
    found = {row[0]: row[1:] for row in labels(PROBLEMS["send_time"], events).drop("weight").iter_rows()}
    monday_late, tuesday_morning = 23, 24 + 8
    assert found == {
        "human": (1, tuesday_morning),
        "flagged": (0, monday_late),
        "fast": (0, monday_late),
        "late": (0, monday_late),
        "none": (0, monday_late),
        "both": (1, monday_late),
        "clicks": (1, monday_late),
    }


def test_pushes_are_another_question_than_mails(market: Market) -> None:
    mail, push = (labels(each, market.events) for each in (PROBLEMS["send_time"], PROBLEMS["send_time"].about("push")))
    sends = market.events.filter((pl.col("type") == "send") & (pl.col("occurred_at") >= CUTOFF))
    sends = sends.filter(pl.col("occurred_at") < CUTOFF + 28 * DAY)
    for found, channel in ((mail, "email"), (push, "push")):
        assert 0 < len(found) <= sends.filter(pl.col("channel") == channel).height


def test_who_can_be_reached_by_one_channel_only_has_no_choice() -> None:
    past = CUTOFF - 20 * DAY
    events = frame(
        *(event(each, "consent", past, {"granted": True}, channel="email") for each in ("both", "left", "one", "said")),
        *(event(each, "consent", past, {"granted": True}, channel="sms") for each in ("both", "left")),
        event("left", "unsubscribe", past + DAY, channel="sms"),
        event("one", "consent", past, {"granted": False}, channel="push"),
        event("said", "send", past, channel="push", message_id="p1"),
        event("fax", "send", past, channel="fax", message_id="f1"),
    )
    found = dict(PROBLEMS["channel"].population(events, CUTOFF).iter_rows())
    assert found == {"both": "email sms", "said": "email push"}
