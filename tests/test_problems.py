"""The contract of a problem, which every file of `training/problems/` is held to, and every variant of one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise

import polars as pl
import pytest

from features.compute import all_views
from features.frames import EVENT_SCHEMA
from features.kernel.errors import InvalidInput, NotEnoughData
from features.kernel.events import EVENT_TYPES
from features.market import Market, simulate
from features.refs import all_refs
from training.origin import Origin
from training.problem import Problem
from training.problems import all_problems, asked
from training.rows import cutoffs
from training.rows.dataset import references
from training.rows.labelled import labelled

PROBLEMS = all_problems()
PARTS = {"propensity": "books", "send_time": "push", "uplift": "win_back"}
"""One part each that the simulated market knows, of problems that can be asked about a part."""
EVERY = PROBLEMS | {each.name: each for each in (PROBLEMS[name].about(part) for name, part in PARTS.items())}
CUTOFF = datetime.fromisoformat("2026-05-02T00:00:00Z")
SOON, DAY = timedelta(microseconds=1), timedelta(days=1)
PROPERTIES = {
    "lifecycle": '{"stage":"customer"}',
    "open": '{"machine":false}',
    "profile": '{"timezone":"Asia/Tokyo"}',
    "consent": '{"granted":true}',
    "order": '{"category":"books"}',
    "assignment": '{"test":"win_back","arm":"discount","propensity":0.5}',
    "custom": '{"name":"x"}',
}
"""Of planted events, so that every problem has something to look at."""


@pytest.fixture(scope="module")
def market() -> Market:
    return simulate(seed=11, people=400).with_test()


@pytest.fixture(params=EVERY.values(), ids=EVERY.keys())
def problem(request: pytest.FixtureRequest) -> Problem:
    return request.param


def everything(customers: list[str], at: datetime, received: datetime | None = None, channel: str = "") -> pl.DataFrame:
    """One event of every type a problem may look at, for each customer at one instant."""
    rows = [
        {
            "event_id": f"{customer}-{kind}-{at.isoformat()}",
            "customer_id": customer,
            "type": kind,
            "occurred_at": at,
            "received_at": received or at,
            "amount": {"order": 9.0, "refund": 2.0}.get(kind),
            "channel": channel or "email",
            "message_id": f"planted-{customer}",
            "properties": PROPERTIES.get(kind),
        }
        for customer in customers
        for kind in EVENT_TYPES
    ]
    given = pl.DataFrame(rows, schema_overrides=EVENT_SCHEMA, infer_schema_length=None)
    return given.select(
        pl.col(name).cast(dtype) if name in given.columns else pl.lit(None, dtype).alias(name)
        for name, dtype in EVENT_SCHEMA.items()
    )


def labels(problem: Problem, events: pl.DataFrame, population: pl.DataFrame) -> pl.DataFrame:
    found = problem.label(events, population, CUTOFF, problem.horizon)
    return found.sort(found.columns)


def people_of(problem: Problem, events: pl.DataFrame) -> pl.DataFrame:
    return problem.population(events, CUTOFF).sort("customer_id")


# -- what a file says --------------------------------------------------------------------------------------------------


def test_there_are_these() -> None:
    assert {"lead_scoring", "churn", "propensity", "send_time", "channel"} <= PROBLEMS.keys()


def test_it_is_named_as_its_file_and_asks_a_question(problem: Problem) -> None:
    assert problem.name == "_".join([problem.file, problem.part]).strip("_") and problem.file in PROBLEMS
    assert problem.asked.endswith("?") and str(problem.horizon.days) in problem.asked
    assert problem.horizon >= DAY and problem.horizon % DAY == timedelta(0)


def test_what_it_refers_to_exists(problem: Problem) -> None:
    known = {ref for view in all_views().values() for ref in all_refs(view)}
    columns = problem.candidates.columns if problem.candidates else ()
    read = set(references(problem))
    assert read and read <= known
    assert {ref for column in columns for ref in column.refs} <= known
    assert set(problem.sensitive) <= known
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
    if problem.candidates is None:
        return
    for column in problem.candidates.columns:
        assert {len(column.values), len(column.refs)} == {0, problem.candidates.count}
    assert len(problem.candidates.labels) in (0, problem.candidates.count)


def test_shorter_horizons_are_shorter(problem: Problem) -> None:
    assert all(each >= DAY and each % DAY == timedelta(0) for each in problem.shorter)
    assert all(later < earlier for earlier, later in pairwise((problem.horizon, *problem.shorter)))


def test_who_can_be_asked_about_a_part_is_tried_on_one() -> None:
    assert {name for name, each in PROBLEMS.items() if each.variant is not None} == PARTS.keys()


# -- whom it asks about, and what it sees ------------------------------------------------------------------------------


def test_each_of_the_population_stands_there_once_and_is_labelled(problem: Problem, market: Market) -> None:
    population = people_of(problem, market.events)
    found = labels(problem, market.events, population)
    assert population["customer_id"].is_unique().all() and len(population) > 10
    assert set(found["customer_id"]) <= set(population["customer_id"]) and len(found)
    if problem.kind != "candidates":
        assert found["customer_id"].is_unique().all()
    if problem.kind == "binary":
        assert len(found) == len(population)


def test_its_rows_are_what_its_kind_learns_from(problem: Problem, market: Market) -> None:
    rows = labelled(problem, market.events, [CUTOFF - 30 * DAY, CUTOFF], "train")
    wanted = {"candidates": {"candidate"}, "uplift": {"arm", "propensity"}}.get(problem.kind, set())
    assert set(rows.columns) - {"weight"} == {"split", "customer_id", "as_of", "label"} | wanted
    assert not any(rows.null_count().row(0))
    if problem.kind == "regression":
        assert rows["label"].min() >= 0 and rows["label"].n_unique() > 10
    else:
        assert set(rows["label"]) == {0, 1}
    if problem.candidates:
        assert rows["candidate"].is_between(0, problem.candidates.count - 1).all()
        assert rows["candidate"].n_unique() > 1 or problem.part
    if problem.kind == "uplift":
        assert set(rows["arm"]) == {0, 1} and rows["propensity"].is_between(0, 1, closed="none").all()


def test_the_population_is_known_before_the_cutoff(problem: Problem, market: Market) -> None:
    """What happens from the cutoff on, or is heard of only after it, changes nothing."""
    everyone = market.events["customer_id"].unique().sort().to_list()
    strangers = [f"stranger-{i}" for i in range(5)]
    before = people_of(problem, market.events)
    later = everything([*everyone[:100], *strangers], CUTOFF)
    late = everything([*everyone[:100], *strangers], CUTOFF - 3 * DAY, received=CUTOFF + SOON)
    assert before.equals(people_of(problem, pl.concat([market.events, later, late])))
    assert before.equals(people_of(problem, market.events.filter(pl.col("occurred_at") < CUTOFF)))


def test_the_label_sees_its_window_alone(problem: Problem, market: Market) -> None:
    """Events at the last instant before the window and at the first after it change no label; inside, they do."""
    population = people_of(problem, market.events)
    people = population["customer_id"].to_list()
    channel = problem.part if problem.file == "send_time" else ""
    until = CUTOFF + problem.horizon
    untouched = labels(problem, market.events, population)
    outside = pl.concat([everything(people, CUTOFF - SOON, None, channel), everything(people, until, None, channel)])
    assert labels(problem, pl.concat([market.events, outside]), population).equals(untouched)
    inside = everything(people, CUTOFF + problem.horizon / 3, None, channel)
    assert not labels(problem, pl.concat([market.events, inside]), population).equals(untouched)


def test_rows_in_another_order_give_the_same(problem: Problem, market: Market) -> None:
    shuffled = market.events.sample(fraction=1.0, shuffle=True, seed=3)
    population, again = people_of(problem, market.events), people_of(problem, shuffled)
    assert population.equals(again)
    assert labels(problem, market.events, population).equals(labels(problem, shuffled, again))


def test_what_it_says_of_events_is_in_sentences(problem: Problem, market: Market) -> None:
    _, plan = cutoffs.longest(problem, market.start, market.end)
    said = problem.caution(market.events, plan) if problem.caution else ()
    assert all(each[0].isupper() and each.endswith(".") for each in said)


# -- asked otherwise ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [2, 14, 90])
def test_it_can_be_asked_over_another_horizon(problem: Problem, market: Market, days: int) -> None:
    other = problem.over(days * DAY)
    population = people_of(other, market.events)
    found = labels(other, market.events, population)
    assert found["label"].is_between(0, 1).all() or problem.kind == "regression"
    assert len(found) or problem.kind == "uplift"  # a test may have drawn nobody in so short a time
    assert str(days) in other.asked
    assert (other.name == problem.name) == (other.horizon == problem.horizon)
    assert all(each < other.horizon for each in other.shorter)


def test_every_way_of_asking_has_a_name_of_its_own() -> None:
    propensity = PROBLEMS["propensity"]
    names = [
        propensity.over(90 * DAY).name,
        propensity.about("books").name,
        propensity.about("books").over(90 * DAY).name,
        propensity.over(90 * DAY).about("books").name,
        propensity.over(90 * DAY).over(60 * DAY).name,
        propensity.over(30 * DAY).name,
    ]
    both = "propensity_books_90d"
    assert names == ["propensity_90d", "propensity_books", both, both, "propensity_60d", "propensity"]
    assert propensity.over(90 * DAY).about("books").horizon == 90 * DAY


@pytest.mark.parametrize("name", ["Books", "two words", "gärten", "", "_x", "a/b", "x" * 61, "a-b", "books\n"])
def test_a_name_that_could_be_no_folder_or_address_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="lower-case letters, digits and underscores"):
        PROBLEMS["propensity"].about(name)


def test_a_refused_name_comes_with_a_better_one() -> None:
    with pytest.raises(InvalidInput, match="call it 'garten_haus'"):
        PROBLEMS["propensity"].about("Gärten & Haus")


@pytest.mark.parametrize("horizon", [timedelta(0), -DAY, timedelta(hours=36)])
def test_a_horizon_of_no_whole_days_is_refused(horizon: timedelta) -> None:
    with pytest.raises(InvalidInput, match="whole days"):
        PROBLEMS["propensity"].over(horizon)


def test_what_has_no_variants_says_so() -> None:
    with pytest.raises(InvalidInput, match=r"churn.*leave the part out"):
        PROBLEMS["churn"].about("books")
    with pytest.raises(InvalidInput, match="no variants"):
        PROBLEMS["propensity"].about("books").about("toys")


def test_there_is_no_hour_for_a_channel_that_is_none() -> None:
    with pytest.raises(InvalidInput, match=r"books.*use one of: email, sms, push"):
        PROBLEMS["send_time"].about("books")


def test_a_category_nobody_ordered_is_named_beside_those_there_are(market: Market) -> None:
    boats = PROBLEMS["propensity"].about("boats")
    plan = cutoffs.for_problem(market.start, market.end, boats.horizon)
    assert boats.caution
    with pytest.raises(NotEnoughData, match="'boats'; ask about one of: books, kitchen, garden, toys"):
        boats.caution(market.events, plan)
    with pytest.raises(NotEnoughData, match=r"properties\.category"):
        boats.caution(market.events.with_columns(pl.lit("{}").alias("properties")), plan)


def test_the_origin_says_how_it_was_asked() -> None:
    propensity = PROBLEMS["propensity"]

    def origin(each: Problem) -> Origin:
        intended = each.intended.days if each.intended else 0
        return Origin(
            kind="events", problem=each.file, horizon_days=each.horizon.days, intended_days=intended, variant=each.part
        )

    ways: list[Callable[[], Problem]] = [
        lambda: propensity,
        lambda: propensity.over(90 * DAY),
        lambda: propensity.about("books").over(7 * DAY),
        lambda: propensity.falling_back(14 * DAY),
        lambda: propensity.over(90 * DAY).falling_back(14 * DAY),
    ]
    for way in ways:
        again = asked(origin(way()))
        assert (again.name, again.horizon, again.intended, again.part) == (
            way().name, way().horizon, way().intended, way().part,
        )  # fmt: skip
