"""The contract of a problem, which every file of `training/problems/` is held to, and what each one's label means."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from features.compute import all_views
from features.frames import EVENT_SCHEMA
from features.kernel.events import EVENT_TYPES
from features.market import Market, simulate
from features.refs import all_refs
from training.dataset import references
from training.problem import Problem
from training.problems import all_problems

PROBLEMS = all_problems()
CUTOFF = datetime.fromisoformat("2026-05-02T00:00:00Z")
SOON = timedelta(microseconds=1)


@pytest.fixture(scope="module")
def market() -> Market:
    return simulate(seed=11, people=400)


@pytest.fixture(params=PROBLEMS.values(), ids=PROBLEMS.keys())
def problem(request: pytest.FixtureRequest) -> Problem:
    return request.param


def event(customer: str, kind: str, at: datetime, received: datetime | None = None, **fields: object) -> pl.DataFrame:
    row = {
        "event_id": f"{customer}-{kind}-{at.isoformat()}",
        "customer_id": customer,
        "type": kind,
        "occurred_at": at,
        "received_at": received or at,
        **fields,
    }
    return pl.DataFrame([row], schema_overrides=EVENT_SCHEMA).select(
        pl.col(name).cast(dtype) if name in row else pl.lit(None, dtype).alias(name)
        for name, dtype in EVENT_SCHEMA.items()
    )


def everything(customers: list[str], at: datetime, received: datetime | None = None) -> pl.DataFrame:
    """One event of every type a problem may look at, for each customer at one instant."""
    properties = {
        "lifecycle": '{"stage":"customer"}',
        "open": '{"machine":false}',
        "profile": '{"timezone":"Asia/Tokyo"}',
        "custom": '{"name":"x"}',
    }
    return pl.concat(
        event(
            customer,
            kind,
            at,
            received,
            amount=9.0 if kind in ("order", "refund") else None,
            channel="email",
            message_id=f"planted-{customer}",
            properties=properties.get(kind),
        )
        for customer in customers
        for kind in EVENT_TYPES
    )


def labels(problem: Problem, events: pl.DataFrame, population: pl.DataFrame) -> pl.DataFrame:
    found = problem.label(events, population, CUTOFF, problem.horizon)
    return found.sort(found.columns)


# -- the contract ------------------------------------------------------------------------------------------------------


def test_there_are_the_four() -> None:
    assert {"lead_scoring", "churn", "propensity", "send_time"} <= PROBLEMS.keys()


def test_it_is_named_as_its_file_and_asks_a_question(problem: Problem) -> None:
    assert PROBLEMS[problem.name] is problem
    assert problem.asked.endswith("?") and str(problem.horizon.days) in problem.asked
    assert problem.horizon > timedelta(0) and problem.horizon % timedelta(days=1) == timedelta(0)


def test_what_it_refers_to_exists(problem: Problem) -> None:
    known = {ref for view in all_views().values() for ref in all_refs(view)}
    columns = problem.candidates.columns if problem.candidates else ()
    read = set(references(problem))
    assert read and read <= known
    assert {ref for column in columns for ref in column.refs} <= known
    assert set(problem.baseline) <= read | {column.name for column in columns} and problem.baseline
    assert set(problem.monotone) <= read | {column.name for column in columns}
    assert set(problem.monotone.values()) <= {-1, 1}
    assert problem.needs and set(problem.needs) <= EVENT_TYPES.keys()


def test_every_input_reads_as_a_reason(problem: Problem) -> None:
    phrases = {f"{view.name}:{each.name}": each.phrase for view in all_views().values() for each in view.features}
    columns = problem.candidates.columns if problem.candidates else ()
    assert [ref for ref in references(problem) if phrases[ref].count("{value}") != 1] == []
    assert [each.name for each in columns if each.phrase.count("{value}") != 1] == []


def test_candidates_have_one_value_or_reference_each(problem: Problem) -> None:
    assert (problem.kind == "candidates") == (problem.candidates is not None)
    for column in problem.candidates.columns if problem.candidates else ():
        assert problem.candidates and {len(column.values), len(column.refs)} == {0, problem.candidates.count}


def test_each_of_the_population_stands_there_once_and_is_labelled(problem: Problem, market: Market) -> None:
    population = problem.population(market.events, CUTOFF)
    found = labels(problem, market.events, population)
    assert population["customer_id"].is_unique().all() and len(population) > 10
    assert set(found["customer_id"]) <= set(population["customer_id"])
    assert set(found["label"]) == {0, 1}
    assert set(found.columns) == {"customer_id", "label"} | ({"candidate"} if problem.candidates else set())
    if problem.candidates is None:
        assert found["customer_id"].is_unique().all() and len(found) == len(population)
    else:
        assert found["candidate"].is_between(0, problem.candidates.count - 1).all()


def test_the_population_is_known_before_the_cutoff(problem: Problem, market: Market) -> None:
    """What happens from the cutoff on, or is heard of only after it, changes nothing."""
    everyone = market.events["customer_id"].unique().sort().to_list()
    strangers = [f"stranger-{i}" for i in range(5)]
    before = problem.population(market.events, CUTOFF).sort("customer_id")
    later = everything([*everyone[:100], *strangers], CUTOFF)
    late = everything([*everyone[:100], *strangers], CUTOFF - timedelta(days=3), received=CUTOFF + SOON)
    after = problem.population(pl.concat([market.events, later, late]), CUTOFF).sort("customer_id")
    assert before.equals(after)
    assert (
        problem.population(market.events.filter(pl.col("occurred_at") < CUTOFF), CUTOFF)
        .sort("customer_id")
        .equals(before)
    )


def test_the_label_sees_its_window_alone(problem: Problem, market: Market) -> None:
    """Events at the last instant before the window and at the first after it change no label; inside, they do."""
    population = problem.population(market.events, CUTOFF)
    people = population["customer_id"].to_list()
    until = CUTOFF + problem.horizon
    untouched = labels(problem, market.events, population)
    outside = pl.concat([everything(people, CUTOFF - SOON), everything(people, until)])
    assert labels(problem, pl.concat([market.events, outside]), population).equals(untouched)
    inside = everything(people, CUTOFF + problem.horizon / 3)
    assert not labels(problem, pl.concat([market.events, inside]), population).equals(untouched)


def test_rows_in_another_order_give_the_same(problem: Problem, market: Market) -> None:
    shuffled = market.events.sample(fraction=1.0, shuffle=True, seed=3)
    population = problem.population(market.events, CUTOFF)
    again = problem.population(shuffled, CUTOFF)
    assert population.sort("customer_id").equals(again.sort("customer_id"))
    assert labels(problem, market.events, population).equals(labels(problem, shuffled, again))


@pytest.mark.parametrize("days", [1, 14, 90])
def test_it_can_be_asked_over_another_horizon(problem: Problem, market: Market, days: int) -> None:
    asked = dataclasses.replace(problem, horizon=timedelta(days=days))
    population = asked.population(market.events, CUTOFF)
    found = labels(asked, market.events, population)
    assert set(found["label"]) <= {0, 1} and len(found) > 0
    assert str(days) in asked.asked


# -- what each label means ---------------------------------------------------------------------------------------------


def test_labels_are_as_frequent_as_the_market_knows_they_should_be() -> None:
    """Against the truth behind the events, within four standard errors: a label turned round would not pass."""
    market = simulate(seed=5, people=1500)
    truths = {
        "churn": lambda ids, days: 1 - market.truth.purchase_probability(ids, CUTOFF, days),
        "propensity": lambda ids, days: market.truth.purchase_probability(ids, CUTOFF, days),
        "lead_scoring": lambda ids, days: market.truth.lead_conversion_probability(ids, CUTOFF, days),
    }
    for name, truth in truths.items():
        found = labels(PROBLEMS[name], market.events, PROBLEMS[name].population(market.events, CUTOFF))
        p = truth(found["customer_id"].to_list(), PROBLEMS[name].horizon.days)
        expected, error = np.nansum(p), np.sqrt(np.nansum(p * (1 - p)))
        assert abs(found.filter(np.isfinite(p))["label"].sum() - expected) < 4 * error, name


def test_a_lead_who_orders_is_converted_and_one_who_ordered_before_is_no_lead() -> None:
    lead = PROBLEMS["lead_scoring"]
    day = timedelta(days=1)
    stages = pl.concat(
        event(name, "lifecycle", CUTOFF - 9 * day, properties='{"stage":"lead"}') for name in ("buys", "waits", "old")
    )
    orders = pl.concat(
        [event("buys", "order", CUTOFF + day, amount=5.0), event("old", "order", CUTOFF - day, amount=5.0)]
    )
    events = pl.concat([stages, orders])
    population = lead.population(events, CUTOFF)
    assert dict(labels(lead, events, population).iter_rows()) == {"buys": 1, "waits": 0}


def test_machine_opens_are_no_opens_and_hours_are_local() -> None:
    send_time = PROBLEMS["send_time"]
    day, second = timedelta(days=1), timedelta(seconds=1)
    # Monday 4 May 2026 23:30 UTC is Tuesday 08:30 in Tokyo
    at = datetime.fromisoformat("2026-05-04T23:30:00Z")
    people = ("human", "flagged", "fast", "late", "none", "both")
    parts = [
        event("human", "profile", CUTOFF - 5 * day, properties='{"timezone":"Asia/Tokyo"}'),
        event("fast", "profile", CUTOFF - 5 * day, properties='{"timezone":"Mars/Olympus"}'),
    ]
    for name in people:
        parts += [
            event(name, "send", CUTOFF - 5 * day, message_id=f"m0-{name}"),
            event(name, "send", at, message_id=f"m1-{name}"),
        ]
    opens = {"human": 60, "fast": 9, "late": 3 * 86_400, "flagged": 60, "both": 90}
    for name, delay in opens.items():
        machine = '{"machine":true}' if name == "flagged" else None
        parts.append(event(name, "open", at + delay * second, message_id=f"m1-{name}", properties=machine))
    parts.append(event("both", "open", at + second, message_id="m1-both", properties='{"machine":true}'))
    events = pl.concat(parts)
    found = {row[0]: row[1:] for row in labels(send_time, events, send_time.population(events, CUTOFF)).iter_rows()}
    monday_late, tuesday_morning = 23, 24 + 8
    assert found == {
        "human": (1, tuesday_morning),
        "flagged": (0, monday_late),
        "fast": (0, monday_late),
        "late": (0, monday_late),
        "none": (0, monday_late),
        "both": (1, monday_late),
    }
