"""Feast through `AsofOfflineStore`: bit for bit as Feast's own DuckDB store, on generated data and in named cases.

Both stores serve one repository with one registry; each example writes the views' files anew. Where they differ on
purpose is told by `test_offline_differs.py`.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.asof.testing import (
    SCALARS,
    START,
    Both,
    assert_same,
    at,
    both_in,
    example,
    people,
    scalar_rows,
    stamps,
    visit_rows,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning"),  # Feast's store, through ibis
    pytest.mark.filterwarnings("ignore:.*experimental feature:RuntimeWarning"),
]

EXAMPLES = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    return both_in(tmp_path_factory.mktemp("offline"))


# -- generated data ----------------------------------------------------------------------------------------------------

names = st.sampled_from(["a", "b", "c", None])
hours = st.one_of(st.none(), st.integers(0, 9).map(float), st.sampled_from([2.000_000_5, 3.999_999_5]))
kinds = st.sampled_from(
    [pa.timestamp("us", "UTC"), pa.timestamp("us"), pa.timestamp("ms", "UTC"), pa.timestamp("ns", "UTC")]
)
floats = st.one_of(st.none(), st.sampled_from([0.0, -0.0, float("nan"), float("inf"), 0.1, -7.5]))
features = st.fixed_dictionaries(
    {
        "f32": floats.map(lambda x: None if x is None else float(np.float32(x))),
        "f64": floats,
        "i32": st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1)),
        "i64": st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
        "flag": st.sampled_from([None, True, False]),
        "text": st.one_of(st.none(), st.text(max_size=3).filter(lambda x: "\0" not in x)),
        "seen": st.sampled_from([None, START, START + timedelta(microseconds=1)]),
        "day": st.sampled_from([None, date(1969, 12, 31), date(2026, 1, 1)]),
        "list": st.one_of(st.none(), st.lists(st.sampled_from([None, 1.5, -0.0]), max_size=3)),
        "fixed": st.one_of(st.none(), st.lists(st.sampled_from([1.5, -0.0, float("inf")]), min_size=2, max_size=2)),
        "words": st.one_of(st.none(), st.lists(st.sampled_from([None, "", "é"]), max_size=2)),
    }
)
# Of rows that are equal in all three, Feast's store gives any one: see `test_differs_in_full_ties`.
scalar_lists = st.lists(st.tuples(names, hours, hours, features), max_size=14, unique_by=lambda row: row[:3])
visit_lists = st.lists(st.tuples(names, st.sampled_from([1, 2, None]), hours), max_size=10, unique_by=lambda row: row)
entity_lists = st.lists(st.tuples(names, hours, names, st.sampled_from([1, 2, 3])), min_size=1, max_size=8)


def written(both: Both, scalars: list[Any], visits: list[Any], world: list[Any], kind: Any, split: int) -> None:
    # Whole milliseconds where the column holds no more.
    coarse = kind == pa.timestamp("ms", "UTC")
    rows = [(who, None if t is None else round(t, 3) if coarse else t, w, x) for who, t, w, x in scalars]
    rows = list({(row[0], row[1], row[2]): row for row in rows}.values())
    both.write("scalars", scalar_rows(rows[:split], at=kind), scalar_rows(rows[split:], at=kind))
    both.write("visits", visit_rows(visits))
    both.write("world", pa.table({"at": stamps(world), "i64": pa.array(range(len(world)), pa.int64())}))
    both.ours.config.offline_store.chunk_rows = split + 1
    both.ours.config.offline_store.labels_at_once = 2 + split


@EXAMPLES
@given(
    scalars=scalar_lists,
    visits=visit_lists,
    world=st.lists(hours, max_size=5, unique=True),
    entities=entity_lists,
    kind=kinds,
    split=st.integers(0, 5),
    zone=st.sampled_from(["UTC", "Europe/Paris", None]),
    full=st.booleans(),
    created_by_then=st.booleans(),
)
def test_historical_features_are_those_of_feasts_own_store(
    both: Both,
    scalars: list[Any],
    visits: list[Any],
    world: list[Any],
    entities: list[Any],
    kind: pa.DataType,
    split: int,
    zone: str | None,
    full: bool,
    created_by_then: bool,
) -> None:
    written(both, scalars, visits, world, kind, split)
    asked = people(*((who, t) for who, t, _, _ in entities))
    asked = asked.assign(shop=[each[3] for each in entities], friend=[each[2] for each in entities])
    asked = asked.assign(extra=[None if i % 2 else 0.5 for i in range(len(asked))])
    asked = asked.assign(event_timestamp=asked["event_timestamp"].dt.tz_convert(zone))
    asked[["person", "friend"]] = asked[["person", "friend"]].astype("string")
    refs = [f"scalars:{name}" for name in SCALARS if full or name != "i64"] + ["visits:count", "world:i64"]
    how = {"full_feature_names": full, "filter_by_created_timestamp": created_by_then}
    assert_same(*both.historical(asked, refs, **how))


@EXAMPLES
@given(scalars=scalar_lists, visits=visit_lists, entities=entity_lists, split=st.integers(0, 5))
def test_renamed_views_with_keys_mapped_are_those_of_feasts_own_store(
    both: Both, scalars: list[Any], visits: list[Any], entities: list[Any], split: int
) -> None:
    written(both, scalars, visits, [], pa.timestamp("us", "UTC"), split)
    asked = people(*((who, t) for who, t, _, _ in entities))
    asked = asked.assign(near=[each[3] for each in entities], friend=[each[2] for each in entities])
    asked[["person", "friend"]] = asked[["person", "friend"]].astype("string")
    service = both.ours.get_feature_service("friends")
    assert_same(*both.historical(asked, service, full_feature_names=True))


@EXAMPLES
@given(
    scalars=scalar_lists,
    visits=visit_lists,
    kind=kinds.filter(lambda kind: kind.unit != "ns"),  # on which that store fails
    split=st.integers(0, 5),
    bounds=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    everything=st.booleans(),
)
def test_rows_pulled_are_those_of_feasts_own_store(
    both: Both, scalars: list[Any], visits: list[Any], kind: Any, split: int, bounds: tuple[int, int], everything: bool
) -> None:
    # Numbered, so that both can be put in one order.
    scalars = [(who, t, w, x | {"i64": i}) for i, (who, t, w, x) in enumerate(scalars)]
    written(both, scalars, visits, [], kind, split)
    dates = {"start_date": at(min(bounds)), "end_date": at(max(bounds))}
    for view, keys, values, created, number in (
        ("scalars", ["person"], list(SCALARS), "written", "i64"),
        ("scalars", [], ["i64"], "written", "i64"),
        ("visits", ["person", "shop_no"], ["n_visits"], None, "n_visits"),
    ):
        if not keys and len({(t, w) for _, t, w, _ in scalars}) < len(scalars):
            continue  # a full tie
        found = [pulled(each, view, keys, values, created, everything, dates) for each in (both.ours, both.theirs)]
        assert_same(*(each.sort_by(number) for each in found))


def pulled(
    store: Any, view: str, keys: list[str], values: list[str], created: str | None, everything: bool, dates: Any
) -> pa.Table:
    source, offline = store.get_feature_view(view).batch_source, store._get_provider().offline_store
    pull = offline.pull_all_from_table_or_query if everything else offline.pull_latest_from_table_or_query
    return pull(store.config, source, keys, values, "at", created_timestamp_column=created, **dates).to_arrow()


# -- named cases -------------------------------------------------------------------------------------------------------


def test_a_row_at_the_end_of_its_ttl_is_given_and_a_microsecond_later_is_not(both: Both) -> None:
    both.write("scalars", scalar_rows([("a", 2.0, 2.0, {"i64": 1})]))
    asked = people(("a", 2.0), ("a", 5.0), ("a", 5.0))
    asked.loc[2, "event_timestamp"] += timedelta(microseconds=1)
    ours, theirs = both.historical(asked, ["scalars:i64"])
    assert ours["i64"].to_pylist() == [1, 1, None]
    assert_same(ours, theirs)


def test_on_demand_views_are_computed_from_the_rows(both: Both) -> None:
    both.write("scalars", scalar_rows([("a", 2.0, 2.0, {"f64": 0.5})]))
    ours, theirs = both.historical(people(("a", 3.0), ("a", 3.0), ("b", 3.0)), ["summed:sum", "scalars:i64"])
    assert ours["sum"].to_pylist()[:2] == [0.5, 1.5]
    assert_same(ours, theirs)


def test_rows_come_in_the_order_of_the_entity_rows_and_none_is_lost(both: Both) -> None:
    both.write("scalars", scalar_rows([("a", 1.0, 1.0, {"i64": 1}), ("b", 1.0, 1.0, {"i64": 2})]))
    asked = people(("b", 3.0), ("a", 2.0), ("b", 3.0), ("x", 9.0), ("a", 2.0))
    found = both.ours.get_historical_features(asked, ["scalars:i64"]).to_df()
    assert found["n"].tolist() == [0, 1, 2, 3, 4]
    assert found["i64"].tolist()[:3] == [2, 1, 2]


def test_entity_rows_may_be_arrow_or_polars(both: Both) -> None:
    both.write("scalars", scalar_rows([("a", 1.0, 1.0, {"i64": 1})]))
    asked = people(("a", 2.0), ("b", 2.0))
    expected = both.ours.get_historical_features(asked, ["scalars:i64"]).to_arrow()
    for other in (pl.from_pandas(asked), pa.Table.from_pandas(asked, preserve_index=False)):
        assert_same(both.ours.get_historical_features(other, ["scalars:i64"]).to_arrow(), expected)


def test_batches_hold_what_the_table_holds(both: Both) -> None:
    both.write("scalars", scalar_rows([("a", 1.0, 1.0, {"i64": 1})]))
    both.ours.config.offline_store.labels_at_once = 3
    job = both.ours.get_historical_features(people(*[("a", 2.0)] * 8), ["scalars:i64"])
    batches = list(job.to_record_batches(rows=2))
    assert [each.num_rows for each in batches] == [2, 1, 2, 1, 2]
    assert pa.Table.from_batches(batches) == job.to_arrow()


def test_metadata_says_what_was_asked_for(both: Both) -> None:
    both.write("scalars", example("scalars"))
    job = both.ours.get_historical_features(people(("a", 2.0), ("a", 4.0), ("a", None)), ["scalars:i64"])
    found = job.metadata
    assert (found.features, found.keys) == (["scalars:i64"], ["person", "n"])
    assert (found.min_event_timestamp, found.max_event_timestamp) == (at(2), at(4))


def test_names_and_types_of_a_source(both: Both) -> None:
    both.write("visits", example("visits"))
    found = []
    for each in (both.ours, both.theirs):
        source, offline = each.get_feature_view("visits").batch_source, each._get_provider().offline_store
        offline.validate_data_source(each.config, source)
        found.append(list(offline.get_table_column_names_and_types_from_data_source(each.config, source)))
    assert found[0] == found[1]
    assert ("n_visits", "int64") in found[0]


def test_rows_are_materialised_through_feasts_own_engine(both: Both) -> None:
    both.write("scalars", scalar_rows([("a", 1.0, 1.0, {"i64": 1}), ("a", 2.0, 2.0, {"i64": 2})]))
    both.ours.materialize(start_date=at(0), end_date=at(3), feature_views=["scalars"])
    found = both.ours.get_online_features(["scalars:i64"], [{"person": "a"}]).to_dict()
    assert found["i64"] == [2]


# -- writing -----------------------------------------------------------------------------------------------------------


def test_rows_written_offline_are_read_and_the_last_of_equals_is_given(both: Both) -> None:
    both.write("world", pa.table({"at": stamps([1.0]), "i64": [1]}))
    both.ours.write_to_offline_store("world", pd.DataFrame({"at": [at(1)], "i64": [9]}))
    assert len(list((both.folder / "world").iterdir())) == 2
    assert both.ours.get_historical_features(people(("a", 2.0)), ["world:i64"]).to_df()["i64"].tolist() == [9]


def test_rows_with_other_columns_are_refused_as_by_feasts_own_store(both: Both) -> None:
    both.write("world", pa.table({"at": stamps([1.0]), "i64": [1]}))
    for store in (both.ours, both.theirs):
        with pytest.raises(ValueError, match="incorrect columns"):
            store._get_provider().offline_write_batch(
                store.config, store.get_feature_view("world"), pa.table({"i64": [1], "at": stamps([1.0])}), None
            )


def test_logged_features_are_kept_in_a_folder_and_read_again(both: Both, tmp_path: Path) -> None:
    from feast.feature_logging import LoggingConfig
    from feast.infra.offline_stores.file_source import FileLoggingDestination

    offline, config = both.ours._get_provider().offline_store, both.ours.config
    for partitions, folder in ((None, "plain"), (["day"], "by_day")):
        log = FileLoggingDestination(path=str(tmp_path / folder), partition_by=partitions)
        rows = pa.table({"i64": [1, 2], "at": stamps([1.0, 2.0]), "day": ["x", "y"]})
        pq.write_table(rows, tmp_path / "flushed.parquet")
        for data in (rows, tmp_path / "flushed.parquet"):
            offline.write_logged_features(config, data, None, LoggingConfig(destination=log), both.ours.registry)
        job = offline.pull_all_from_table_or_query(config, log.to_data_source(), [], ["i64", "day"], "at")
        assert sorted(job.to_df()[["i64", "day"]].itertuples(index=False, name=None)) == [(1, "x")] * 2 + [(2, "y")] * 2


@pytest.mark.parametrize("name", ["kept.parquet", "kept"])
def test_a_saved_dataset_is_kept_and_read_again(both: Both, tmp_path: Path, name: str) -> None:
    from feast.errors import SavedDatasetLocationAlreadyExists
    from feast.infra.offline_stores.file_source import SavedDatasetFileStorage

    storage = SavedDatasetFileStorage(path=str(tmp_path / name))
    for value, overwrite in ((1, False), (2, True)):
        both.write("scalars", scalar_rows([("a", 1.0, 1.0, {"i64": value})]))
        job = both.ours.get_historical_features(people(("a", 2.0), ("b", 2.0)), ["scalars:i64"])
        both.ours.create_saved_dataset(job, f"kept_{name[4:6]}", storage, allow_overwrite=overwrite)
        kept = both.ours.get_saved_dataset(f"kept_{name[4:6]}")
        assert kept.to_df()["i64"].dropna().tolist() == [value]
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        job.persist(storage)


def test_the_bench_compares_equal_answers_with_all_three_peers() -> None:
    from benchmarks.members.asof import benchmark

    found = benchmark.run(True)
    assert [each.name for each in found] == ["asof_daily_feast", "asof_daily_duckdb", "asof_daily_polars"]
    assert all(each.ratio > 0 for each in found)
