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
from training import cutoffs, dataset, pipeline
from training.plan import Plan
from training.problems import all_problems
from training.snapshot import from_snapshot
from training.synthetic import Synthetic, draw
from training.testing import Computed
from training.trainingset import TrainingSet, decode, encode

quiet_libraries()
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def market() -> Market:
    return simulate(seed=7, people=700)


def training_set(name: str, events: pl.DataFrame, market: Market) -> TrainingSet:
    problem = all_problems()[name]
    plan = cutoffs.for_problem(market.start, market.end, problem.horizon)
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
    before = training_set(name, market.events, market)
    last = before.cutoffs.test[-1] + before.problem.horizon
    known = market.events.filter(pl.col("occurred_at") < last)
    planted = known.filter(pl.col("type") != "send").sample(4_000, seed=1)
    planted = planted.with_columns(
        (pl.col("event_id") + "-planted").alias("event_id"),
        pl.lit(last).cast(EVENT_SCHEMA["occurred_at"]).alias("occurred_at"),
    ).with_columns(pl.col("occurred_at").alias("received_at"))
    after = training_set(name, pl.concat([known, planted]), market)
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
        assert split.x.flags.c_contiguous and split.x.dtype == np.float64
        assert split.x.shape == (len(split), len(churn.columns))
        assert np.array_equal(split.x, split.x.astype(np.float32).astype(np.float64), equal_nan=True)
        assert np.all(np.diff(split.as_of) >= np.timedelta64(0))
    assert [each.ref for each in churn.features] == churn.inputs
    assert set(churn.defaults) == set(churn.inputs)


def test_candidate_columns_hold_the_value_of_the_hour_that_was_taken(market: Market) -> None:
    data = training_set("send_time", market.events, market)
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
    """Nobody orders in the last half year: the last cutoffs hold churned customers only, or none."""
    halfway = market.end - 160 * DAY
    events = market.events.filter((pl.col("type") != "order") | (pl.col("occurred_at") < halfway))
    with pytest.raises(NotEnoughData, match="churn: the test split holds"):
        training_set("churn", events, market)


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
    assert fitted.card.source == "request" and [each.outcome for each in fitted.findings] == ["passed"] * 3


def test_a_table_of_one_instant_cannot_be_split(market: Market) -> None:
    calls = imported(500, market.start)
    calls = dataclasses.replace(calls, table=calls.table.with_columns(pl.lit(market.start).alias("as_of")))
    with pytest.raises(NotEnoughData, match="three stretches of time"):
        from_snapshot(calls)
