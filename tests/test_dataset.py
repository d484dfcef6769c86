"""Training sets: as known at the cutoff, as labelled in the window, and no leak between the two or between splits."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.compute import compute
from features.frames import EVENT_SCHEMA
from features.importing.imported import Imported, SnapshotColumn, SnapshotInfo
from features.kernel import clock
from features.kernel.card import column_name
from features.kernel.errors import InvalidInput, NotEnoughData, NotFound
from features.kernel.seeds import generator
from features.kernel.settings import Settings, quiet_libraries
from features.market import Market, simulate
from features.store import FeatureStore
from training import pipeline
from training.plan import Plan
from training.problems import all_problems, asked
from training.rows import cutoffs, dataset
from training.rows.groups import grouped
from training.rows.snapshot import from_snapshot
from training.synthetic import Synthetic, draw
from training.testing import Computed
from training.trainingset import TrainingSet, decode, encode

quiet_libraries()
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def market() -> Market:
    return simulate(seed=7, people=700).with_test()


def training_set(name: str, events: pl.DataFrame, market: Market, **changed: object) -> TrainingSet:
    problem, plan = cutoffs.longest(all_problems()[name], market.start, market.end)
    problem = dataclasses.replace(problem, **changed)  # type: ignore[arg-type]
    return dataset.build(problem, events, Computed(events), plan)


@pytest.fixture(scope="module")
def churn(market: Market) -> TrainingSet:
    return training_set("churn", market.events, market)


@pytest.fixture(scope="module")
def made() -> Synthetic:
    return draw(generator("training"), 1200)


def test_what_is_not_over_was_not_seen(market: Market) -> None:
    """Today is not counted, nor a day that only a mistaken import names."""
    clock.set_origin(market.end + timedelta(minutes=10))
    try:
        today = market.events.tail(1).with_columns(pl.lit(market.end + timedelta(minutes=5)).alias("received_at"))
        astray = today.with_columns(pl.lit(market.end + 2000 * DAY).alias("received_at"))
        for events in (market.events, pl.concat([market.events, today.cast(EVENT_SCHEMA)]), astray.cast(EVENT_SCHEMA)):
            assert dataset.observed_until(events) == market.end
    finally:
        clock.set_origin(None)


# -- training sets -----------------------------------------------------------------------------------------------------


def test_the_store_gives_what_the_views_compute(churn: TrainingSet, market: Market, tmp_path: Path) -> None:
    """Through Feast and Parquet or straight from the events: the same training set, bit for bit."""
    store = FeatureStore(Settings(home=tmp_path))
    store.apply()
    store.backfill(market.events, dataset.spine([churn.problem], market.events, [churn.cutoffs]))
    stored = dataset.build(churn.problem, market.events, store, churn.cutoffs)
    assert stored.data_hash == churn.data_hash
    assert stored.defaults == churn.defaults


@pytest.mark.parametrize("name", all_problems())
def test_what_happens_after_the_last_window_changes_nothing(name: str, market: Market) -> None:
    """Nor does what is said later of earlier times: every row stands as it was known at its cutoff."""
    before = training_set(name, market.events, market, caution=None)
    last = before.cutoffs.test[-1] + before.problem.horizon
    known = market.events.filter(pl.col("occurred_at") < last)
    planted = known.filter(pl.col("type") != "send").sample(4_000, seed=1)
    planted = planted.with_columns(
        (pl.col("event_id") + "-planted").alias("event_id"),
        pl.lit(last).cast(EVENT_SCHEMA["occurred_at"]).alias("occurred_at"),
    ).with_columns(pl.col("occurred_at").alias("received_at"))
    after = training_set(name, pl.concat([known, planted]), market, caution=None)
    assert after.data_hash == before.data_hash


def test_planting_an_order_in_the_window_changes_its_label_and_no_feature(churn: TrainingSet, market: Market) -> None:
    row = int(np.flatnonzero(churn.test.y == 1)[0])
    person, cutoff = str(churn.test.person[row]), churn.cutoffs.test[0]
    assert churn.test.as_of[row] == np.datetime64(cutoff.replace(tzinfo=None))
    order = market.events.filter(pl.col("type") == "order").head(1)
    at = pl.lit(cutoff + churn.problem.horizon - timedelta(microseconds=1)).cast(EVENT_SCHEMA["occurred_at"])
    planted = order.with_columns(
        pl.lit("planted").alias("event_id"),
        pl.lit(person).alias("customer_id"),
        at.alias("occurred_at"),
        at.alias("received_at"),
    )
    after = training_set("churn", pl.concat([market.events, planted]), market)
    mine = np.flatnonzero((churn.test.as_of == churn.test.as_of[row]) & (churn.test.person == person))
    assert mine.tolist() == [row] and after.test.y[row] == 0
    at_that_cutoff = churn.test.as_of == churn.test.as_of[row]
    assert np.array_equal(after.test.x[at_that_cutoff], churn.test.x[at_that_cutoff], equal_nan=True)
    others = at_that_cutoff & (np.arange(len(churn.test)) != row)
    assert np.array_equal(after.test.y[others], churn.test.y[others])


def test_rows_stand_in_card_order(churn: TrainingSet) -> None:
    for split in churn.splits.values():
        assert split.x.flags.c_contiguous and split.x.dtype == np.float32
        assert split.x.shape == (len(split), len(churn.columns))
        assert np.all(np.diff(split.as_of) >= np.timedelta64(0))
    assert [each.ref for each in churn.features] == churn.inputs
    assert set(churn.defaults) == set(churn.inputs)


def test_candidate_columns_hold_the_value_of_the_hour_that_was_taken(market: Market) -> None:
    data = training_set("send_time", market.events, market, caution=None)
    assert data.candidates is not None
    at = {name: data.columns.index(name) for name in ("hour_of_day", "day_of_week", "affinity")}
    rows = data.test.x[:200]
    frame = pl.DataFrame({"customer_id": data.test.person[:200], "as_of": data.test.as_of[:200]}).with_columns(
        pl.col("as_of").dt.replace_time_zone("UTC")
    )
    view = compute(market.events, frame.unique())["send_hours"]
    looked_up = frame.join(view, on=["customer_id", "as_of"], how="left", maintain_order="left")
    for i, row in enumerate(rows):
        hour, day = int(row[at["hour_of_day"]]), int(row[at["day_of_week"]])
        assert row[at["affinity"]] == looked_up["open_rate"][i][day * 24 + hour]
    assert {f"send_hours:open_rate[{hour}]" for hour in range(168)} <= data.defaults.keys()


def test_vocabularies_come_from_training_rows_alone(made: Synthetic) -> None:
    assert encode(["Lyon", "Oslo", None], ("Bergen", "Lyon")).tolist() == pytest.approx(
        [1.0, np.nan, np.nan], nan_ok=True
    )
    assert decode(encode(["Lyon", "Oslo"], ("Bergen", "Lyon")), ("Bergen", "Lyon")) == ["Lyon", None]
    city = made.data.features[2]
    assert city.vocabulary == ("Bergen", "Lyon", "Porto", "Turin")
    problem, features = made.data.problem, made.data.features
    rows = pl.DataFrame(
        {
            "split": ["train", "test"],
            "customer_id": ["a", "b"],
            "as_of": [made.data.observed_until] * 2,
            "label": [0, 1],
        }
        | {column_name(each.ref): ["Lyon", "Oslo"] if each.dtype == "category" else [0.0, 1.0] for each in features}
    )
    only = dataset.assemble(problem, rows, features, made.data.cutoffs, made.data.observed_until)
    assert only.features[2].vocabulary == ("Lyon",) and np.isnan(only.test.x[0, 2])


def test_hashes_depend_on_the_data_and_on_who_was_learnt_from(churn: TrainingSet, market: Market) -> None:
    assert training_set("churn", market.events.sample(fraction=1.0, shuffle=True, seed=2), market).data_hash == (
        churn.data_hash
    )
    x = churn.test.x.copy()
    x[0, 3] += 1
    touched = dataclasses.replace(churn, test=dataclasses.replace(churn.test, x=x))
    assert touched.data_hash != churn.data_hash and touched.membership_hash == churn.membership_hash
    gone = churn.train.person != churn.train.person[0]
    fewer = dataclasses.replace(
        churn.train,
        x=churn.train.x[gone],
        y=churn.train.y[gone],
        person=churn.train.person[gone],
        as_of=churn.train.as_of[gone],
    )
    never = churn.validation.person != churn.train.person[0]
    validation = dataclasses.replace(churn.validation, person=churn.validation.person[never])
    assert dataclasses.replace(churn, train=fewer, validation=validation).membership_hash != churn.membership_hash


@pytest.mark.parametrize(
    ("absent", "said"),
    [(["order"], "churn: needs events of type order"), (["order", "lifecycle"], "lifecycle and order")],
)
def test_a_problem_names_the_events_it_lacks(market: Market, absent: list[str], said: str) -> None:
    name = "churn" if len(absent) == 1 else "lead_scoring"
    with pytest.raises(NotEnoughData, match=said):
        training_set(name, market.events.filter(~pl.col("type").is_in(absent)), market)


def test_one_class_alone_is_not_enough(market: Market) -> None:
    """Nobody orders in the last half year: the last cutoffs hold silent customers only, or none."""
    halfway = market.end - 160 * DAY
    events = market.events.filter((pl.col("type") != "order") | (pl.col("occurred_at") < halfway))
    with pytest.raises(NotEnoughData, match="churn: the test split holds"):
        pipeline.fit(training_set("churn", events, market), plan=Plan(trials=0))


def test_labels_that_have_not_matured_are_refused(churn: TrainingSet, market: Market) -> None:
    events = market.events.filter(pl.col("received_at") < market.end - 2 * DAY)
    with pytest.raises(InvalidInput, match="not matured"):
        dataset.build(churn.problem, events, Computed(events), churn.cutoffs)


def test_features_that_were_never_computed_are_missed(churn: TrainingSet, market: Market, tmp_path: Path) -> None:
    nothing = Computed(market.events.head(0))
    nothing.historical = lambda spine, refs: spine.with_columns(  # type: ignore[method-assign]
        pl.lit(None, pl.Float32).alias(column_name(ref)) for ref in refs
    )
    with pytest.raises(NotEnoughData, match="no features"):
        dataset.build(churn.problem, market.events, nothing, churn.cutoffs)


def test_people_recur_across_splits_in_time_and_stand_in_each_cutoff_once(churn: TrainingSet) -> None:
    both = set(churn.train.person) & set(churn.test.person)
    assert len(both) > 0.3 * len(set(churn.test.person))
    for split in churn.splits.values():
        assert len({*zip(split.person.tolist(), split.as_of.tolist(), strict=True)}) == len(split)
    assert churn.train.as_of.max() < churn.validation.as_of.min() < churn.test.as_of.min()


def test_sends_share_the_values_of_their_person_and_cutoff(market: Market) -> None:
    """Where several rows are of one person and cutoff, each has the values a plain join would give it."""
    data = training_set("channel", market.events, market, caution=None)
    rows = pl.DataFrame({"customer_id": data.test.person, "as_of": data.test.as_of}).with_columns(
        pl.col("as_of").dt.replace_time_zone("UTC")
    )
    assert rows.is_duplicated().sum() > 100
    joined = rows.join(
        Computed(market.events).historical(rows.unique(), data.inputs[:20]),
        on=["customer_id", "as_of"],
        how="left",
        maintain_order="left",
    )
    for i, feature in enumerate(data.features[:20]):
        values = joined[column_name(feature.ref)]
        expected = encode(values.to_list(), feature.vocabulary) if feature.vocabulary else values.to_numpy()
        assert np.array_equal(data.test.x[:, i], expected.astype(np.float32), equal_nan=True), feature.ref
    by_email, rate = (data.columns.index(each) for each in ("by_email", "answer_rate"))
    mails = data.test.x[:, by_email] == 1
    own = data.test.x[:, data.inputs.index("engagement:email_click_rate")]
    assert mails.any() and np.array_equal(data.test.x[mails, rate], own[mails], equal_nan=True)
    assert not np.array_equal(data.test.x[~mails, rate], own[~mails], equal_nan=True)


def test_a_sensitive_attribute_is_that_of_the_cutoff(churn: TrainingSet, market: Market) -> None:
    """Who moves after the last cutoff stays in the group they were in."""
    assert set(churn.test.groups) == {"profile:country"}
    countries = {"DE", "GB", "US", "BR", "IN", "JP", "AU"}
    assert set(churn.test.groups["profile:country"]) == countries
    moved = market.events.filter(pl.col("type") == "profile").with_columns(
        (pl.col("event_id") + "-moved").alias("event_id"),
        pl.lit('{"country":"FR"}').alias("properties"),
        pl.lit(churn.cutoffs.test[-1]).cast(EVENT_SCHEMA["occurred_at"]).alias("occurred_at"),
        pl.lit(churn.cutoffs.test[-1]).cast(EVENT_SCHEMA["received_at"]).alias("received_at"),
    )
    after = training_set("churn", pl.concat([market.events, moved]), market)
    for name, split in after.splits.items():
        assert np.array_equal(split.groups["profile:country"], churn.splits[name].groups["profile:country"])


def test_groups_of_categories_are_what_they_are_and_of_numbers_quarters() -> None:
    assert grouped(pl.Series(["DE", None, "GB"]), pl.Series([True] * 3)).to_list() == ["DE", "", "GB"]
    ages = pl.Series("age", [*range(20, 61), None], dtype=pl.Float32)
    bands = grouped(ages, pl.Series([*(ages[:41] <= 40), False]))
    assert bands[0] == "to 25" and bands[40] == "over 35" and bands[-1] == ""
    assert grouped(pl.Series([0.0, 1.0, None]), pl.Series([True] * 3)).to_list() == ["0", "1", ""]
    assert grouped(pl.Series([None, None], dtype=pl.Float32), pl.Series([True] * 2)).to_list() == ["", ""]


def test_weights_arms_and_propensities_come_through(market: Market) -> None:
    def weighed(events: pl.DataFrame, population: pl.DataFrame, cutoff: datetime, horizon: timedelta) -> pl.DataFrame:
        labels = all_problems()["churn"].label(events, population, cutoff, horizon)
        return labels.with_columns(weight=pl.lit(1.0) + pl.col("label"))

    data = training_set("churn", market.events, market, label=weighed)
    assert data.train.weight is not None and np.array_equal(data.train.weight, 1 + data.train.y)
    assert training_set("send_time", market.events, market, caution=None).train.weight is None  # 1 each
    uplift = training_set("uplift", market.events, market).train
    assert uplift.arm is not None and uplift.propensity is not None
    assert set(uplift.arm) == {0, 1} and len(set(uplift.propensity)) > 1


@pytest.mark.parametrize(
    ("name", "changed", "said"),
    [
        ("churn", {"label": pl.lit(2)}, "churn: gives a label at .* that a binary problem cannot have"),
        ("churn", {"label": pl.lit(None)}, "gives a label"),
        ("churn", {"weight": pl.lit(0.0)}, "gives a weight"),
        ("clv", {"label": pl.lit(-1.0)}, "that a regression problem cannot have"),
        ("clv", {"label": pl.lit(float("nan"))}, "that a regression problem cannot have"),
        ("uplift", {"propensity": pl.lit(1.0)}, "gives a propensity"),
        ("uplift", {"arm": pl.lit(2)}, "gives a arm"),
        ("uplift", {"arm": None}, "gives no arm"),
    ],
)
def test_labels_that_its_kind_cannot_have_are_refused(
    name: str, changed: dict[str, pl.Expr | None], said: str, market: Market
) -> None:
    problem = all_problems()[name]

    def wrong(events: pl.DataFrame, population: pl.DataFrame, cutoff: datetime, horizon: timedelta) -> pl.DataFrame:
        labels = problem.label(events, population, cutoff, horizon)
        dropped = labels.drop([each for each, value in changed.items() if value is None])
        return dropped.with_columns(value.alias(each) for each, value in changed.items() if value is not None)

    with pytest.raises(InvalidInput, match=said):
        training_set(name, market.events, market, label=wrong)


def test_what_the_events_cannot_support_stands_in_the_limits(market: Market) -> None:
    data = training_set("churn", market.events, market, caution=lambda events, cutoffs: ("Prices are not known.",))
    assert data.limits == ("Prices are not known.",)


def test_a_short_history_is_asked_over_a_shorter_horizon_and_says_so(market: Market) -> None:
    start = market.end - 250 * DAY
    events = market.events.filter(pl.col("occurred_at") >= start)
    asked = dataclasses.replace(all_problems()["propensity"], horizon=90 * DAY, shorter=(60 * DAY, 30 * DAY))
    problem, plan = cutoffs.longest(asked, start, market.end)
    assert (problem.name, problem.horizon, problem.intended) == ("propensity", 60 * DAY, 90 * DAY)
    data = dataset.build(problem, events, Computed(events), plan)
    said = "The history is too short to ask over 90 days, so this model looks 60 days ahead."
    assert data.limits == (said,)
    assert data.origin and (data.origin.horizon_days, data.origin.intended_days) == (60, 90)


def test_the_origin_builds_the_same_set_again(market: Market) -> None:
    books = all_problems()["propensity"].about("books").over(20 * DAY)
    plan = cutoffs.for_problem(market.start, market.end, books.horizon)
    data = dataset.build(books, market.events, Computed(market.events), plan, seq=12)
    assert data.origin and data.origin.cutoffs and data.origin.seq == 12
    again = asked(data.origin)
    assert again.name == "propensity_books_20d"
    rebuilt = dataset.build(again, market.events, Computed(market.events), data.origin.cutoffs)
    assert rebuilt.data_hash == data.data_hash


def test_calibration_in_the_large_holds_where_two_in_a_hundred_say_yes() -> None:
    """Nothing resamples: answers add up to the yeses there are, within four standard errors."""
    data = draw(generator("rare"), 1_500, base=-4.6).data
    assert 0.01 < data.train.y.mean() < 0.03
    fitted = pipeline.fit(data, plan=Plan(trials=0))
    mean, error = fitted.answers.mean(), np.sqrt((fitted.answers * (1 - fitted.answers)).sum()) / len(data.test)
    assert abs(mean - data.test.y.mean()) < 4 * error
    assert fitted.card.prior == pytest.approx(data.train.y.mean(), abs=0.003)


def test_a_reference_to_no_feature_is_named() -> None:
    wrong = dataclasses.replace(all_problems()["churn"], features=("orders:*", "orders:colour"))
    with pytest.raises(NotFound, match="orders:colour"):
        dataset.references(wrong)


# -- snapshots ---------------------------------------------------------------------------------------------------------


def imported(n: int, start: datetime, horizon: int = 0) -> Imported:
    """A table of calls: one number, one category, labels that follow both; a call every six hours."""
    rng = generator("snapshot", n)
    x, job = rng.normal(size=n), rng.integers(0, 3, n)
    label = (rng.random(n) < 1 / (1 + np.exp(-(x + job - 1)))).astype(np.int8)
    table = pl.DataFrame(
        {"id": [f"r{i}" for i in range(n)], "as_of": [start + i * timedelta(hours=6) for i in range(n)], "label": label}
        | {"balance": pl.Series(x, dtype=pl.Float32), "job": [("admin", "chef", "nurse")[i] for i in job]},
        schema_overrides={"as_of": pl.Datetime("us", "UTC")},
    ).sample(fraction=1.0, shuffle=True, seed=4)
    info = SnapshotInfo(
        problem="lead_scoring", question="Will they say yes?", target="y", positive="yes", horizon_days=horizon,
        columns=(
            SnapshotColumn("balance", "float32", "euro", "has {value}"),
            SnapshotColumn("job", "category", "", "works as {value}"),
        ),
        categories={"job": ("admin", "chef", "nurse")}, excluded={}, baseline=("balance",),
    )  # fmt: skip
    return Imported("calls", "snapshot", n, {"row": n}, {}, table=table, snapshot=info)


@pytest.mark.parametrize("horizon", [0, 10])
def test_a_table_is_split_in_time_order(market: Market, horizon: int) -> None:
    problem, data = from_snapshot(imported(2_000, market.start, horizon))
    assert data.source == "request"
    assert problem.name == "lead_scoring" and [each.ref for each in data.features] == ["balance", "job"]
    gap = np.timedelta64(problem.horizon)
    for earlier, later in ((data.train, data.validation), (data.validation, data.test)):
        assert earlier.as_of.max() + gap <= later.as_of.min() and earlier.as_of.max() < later.as_of.min()
    assert sum(map(len, data.splits.values())) == 2_000 - 2 * max(0, horizon * 4 - 1)
    fitted = pipeline.fit(data, plan=Plan(trials=0))
    assert fitted.card.source == "request" and not any(each.refuses for each in fitted.findings)


def changed(calls: Imported, **columns: pl.Expr) -> Imported:
    return dataclasses.replace(calls, table=calls.table.with_columns(**columns))


def test_a_table_of_two_instants_cannot_be_split(market: Market) -> None:
    two = pl.lit(market.start) + DAY * (pl.int_range(pl.len()) % 2)
    with pytest.raises(NotEnoughData, match="three stretches of time"):
        from_snapshot(changed(imported(500, market.start), as_of=two))


def test_a_table_of_one_instant_is_split_by_id_and_says_so(market: Market) -> None:
    """A person's rows stay together, and stay where they are when rows are added."""
    calls = changed(
        imported(3_000, market.start), as_of=pl.lit(market.start), id=pl.format("p{}", pl.int_range(pl.len()) // 3)
    )
    _, data = from_snapshot(calls)
    assert data.split == "random" and any("split at random by id" in each for each in data.limits)
    people = [set(split.person) for split in data.splits.values()]
    assert sum(map(len, people)) == len(set.union(*people)) == 1_000
    assert [len(split) / 3_000 for split in data.splits.values()] == pytest.approx([0.6, 0.2, 0.2], abs=0.03)
    fewer = dataclasses.replace(calls, table=calls.table.head(1_500))
    assert all(
        set(split.person) <= mine for split, mine in zip(from_snapshot(fewer)[1].splits.values(), people, strict=True)
    )
    assert data.cutoffs.train == data.cutoffs.test == (market.start,)


def test_each_treatment_of_a_table_is_a_problem_of_its_own(market: Market) -> None:
    calls = changed(
        imported(1_200, market.start),
        treatment=pl.lit(pl.Series(["none", "Call Twice", "none", "letter"] * 300)),
    )
    assert calls.snapshot
    calls = dataclasses.replace(
        calls, snapshot=dataclasses.replace(calls.snapshot, arms=("none", "Call Twice", "letter"))
    )
    plain, data = from_snapshot(calls)
    assert plain.kind == "binary" and data.train.arm is None and sum(map(len, data.splits.values())) == 1_200
    problem, data = from_snapshot(calls, "Call Twice")
    assert (problem.name, problem.kind, problem.file) == ("uplift_call_twice", "uplift", "uplift")
    assert sum(map(len, data.splits.values())) == 900
    for split in data.splits.values():
        assert split.arm is not None and split.propensity is not None
        assert 0.25 < split.arm.mean() < 0.42 and set(split.propensity) == {1 / 3}
    with pytest.raises(InvalidInput, match=r"fax.*use one of: Call Twice, letter"):
        from_snapshot(calls, "fax")
    with pytest.raises(InvalidInput, match="its recipe names none"):
        from_snapshot(imported(500, market.start), "fax")
