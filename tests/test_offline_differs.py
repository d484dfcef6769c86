"""Where `AsofOfflineStore` differs from Feast's DuckDB store on purpose: what is right, why, and what that one does."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import ibis
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.asof.testing import Both, at, both_in, feast_with, people, scalar_rows, stamps, visit_rows
from features.kernel.errors import InvalidInput, NotFound

pytestmark = [
    pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning"),  # Feast's store, through ibis
    pytest.mark.filterwarnings("ignore:.*experimental feature:RuntimeWarning"),
]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    return both_in(tmp_path_factory.mktemp("offline"))


@pytest.fixture
def one(both: Both, tmp_path: Path) -> Callable[..., Both]:
    """Both stores over a repository of one view `v` of persons, whose features are the columns of a table."""
    import feast
    from feast import FeatureView, Field, FileSource, ValueType
    from feast.data_format import ParquetFormat
    from feast.types import Int64, String

    def make(rows: pa.Table, *, path: str | None = None, ttl: timedelta = timedelta(0), **source: Any) -> Both:
        (tmp_path / "v").mkdir()
        pq.write_table(rows, tmp_path / "v" / "0.parquet")
        times = source | {"timestamp_field": source.get("timestamp_field", "at")}
        named = [source.get("field_mapping", {}).get(each, each) for each in rows.column_names]
        features = [each for each in named if each not in ("person", "at", "event_timestamp")]
        person = feast.Entity(name="person", join_keys=["person"], value_type=ValueType.STRING)
        view = FeatureView(
            name="v",
            entities=[person],
            ttl=ttl,
            schema=[Field(name="person", dtype=String), *(Field(name=each, dtype=Int64) for each in features)],
            source=FileSource(path=path or str(tmp_path / "v"), file_format=ParquetFormat(), **times),
        )
        ours, theirs = feast_with(tmp_path, "features.offline.AsofOfflineStore"), feast_with(tmp_path, "duckdb")
        ours.apply([person, view])
        return Both(ours, theirs, tmp_path)

    return make


def rows(*values: int, name: str = "x", time: pa.Array | None = None) -> pa.Table:
    """Person a's rows, one an hour."""
    times = stamps([float(i) for i in range(len(values))]) if time is None else time
    return pa.table({"person": ["a"] * len(values), "at": times, name: list(values)})


def given(store: Any, entities: pd.DataFrame, feature: str) -> list[Any]:
    """The feature of each entity row."""
    found = store.get_historical_features(entities, [feature]).to_arrow().sort_by("n")
    values: list[Any] = found[feature.split(":")[1]].to_pylist()
    return values


# -- time --------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Discarding nonzero nanoseconds")
def test_differs_in_parts_of_a_microsecond(one: Callable[..., Both]) -> None:
    """A row is known from its own nanosecond on. That store rounds to microseconds, so it gives a row too early."""
    start = int(stamps([0.0]).cast(pa.int64())[0].as_py()) * 1_000
    stores = one(rows(1, time=pa.array([start + 400], pa.timestamp("ns", "UTC"))))
    asked = people(("a", 0.0), ("a", 0.0))
    asked.loc[1, "event_timestamp"] += timedelta(microseconds=1)
    assert given(stores.ours, asked.copy(), "v:x") == [None, 1]
    assert given(stores.theirs, asked.copy(), "v:x") == [1, 1]
    finer = asked.assign(event_timestamp=pd.to_datetime([start + 399, start + 400], utc=True))
    assert given(stores.ours, finer.copy(), "v:x") == [None, 1]
    with pytest.raises(pa.ArrowInvalid, match="would lose data"):
        given(stores.theirs, finer.copy(), "v:x")


def test_differs_in_rows_pulled_from_nanoseconds(one: Callable[..., Both]) -> None:
    """pandas writes nanoseconds unless told otherwise; they are times like others. That store cannot cast them."""
    stores = one(rows(1, 2, time=stamps([0.0, 1.0], pa.timestamp("ns", "UTC"))))

    def latest(store: Any) -> pa.Table:
        source, offline = store.get_feature_view("v").batch_source, store._get_provider().offline_store
        pull = offline.pull_latest_from_table_or_query
        return pull(store.config, source, ["person"], ["x"], "at", None, at(0), at(1)).to_arrow()

    assert latest(stores.ours).drop(["at"]).to_pylist() == [{"person": "a", "x": 2}]
    with pytest.raises(Exception, match="Unimplemented type for cast"):
        latest(stores.theirs)


def test_differs_in_the_type_of_nanoseconds_that_are_features(one: Callable[..., Both]) -> None:
    """An instant is an instant, with its zone, in nanoseconds as in microseconds. That store makes text of it."""
    seen = stamps([0.0], pa.timestamp("ns", "UTC"))
    stores = one(rows(1).append_column("seen", seen))
    types = [
        each.get_historical_features(people(("a", 1.0)), ["v:seen"]).to_arrow() for each in (stores.ours, stores.theirs)
    ]
    assert [each["seen"].type for each in types] == [pa.timestamp("ns", "UTC"), pa.string()]


def test_differs_in_a_time_column_that_the_mapping_renames(one: Callable[..., Both]) -> None:
    """Feast names the time field as the files do, where it pulls rows. That store has renamed it before it looks."""
    stores = one(rows(7), field_mapping={"at": "event_timestamp"})
    assert given(stores.ours, people(("a", 1.0)), "v:x") == [7]
    with pytest.raises(Exception, match="Column 'at' is not found"):
        given(stores.theirs, people(("a", 1.0)), "v:x")


# -- which row ---------------------------------------------------------------------------------------------------------


def test_differs_in_full_ties(both: Both) -> None:
    """Rows equal in key, event and created time: the one written last is right, as it corrects the one before, and
    the same one must come each time. That store gives any of them."""
    tied = [("a", 1.0, 1.0, {"i64": i}) for i in range(50)]
    both.write("scalars", scalar_rows(tied[:20]), scalar_rows(tied[20:]))
    for chunk in (1, 7, 1_000):
        both.ours.config.offline_store.chunk_rows = chunk
        assert given(both.ours, people(("a", 2.0)), "scalars:i64") == [49]
    assert given(both.theirs, people(("a", 2.0)), "scalars:i64")[0] in range(50)


def test_differs_where_only_some_keys_are_mapped(both: Both) -> None:
    """A mapping renames the keys it names, the others keep their names, as in Feast's other stores. That store joins
    by the named ones alone, and gives one shop's visits to another."""
    both.write("visits", visit_rows([("a", 1, 1.0), ("a", 2, 2.0)]))
    view = both.ours.get_feature_view("visits").with_join_key_map({"person": "friend"})
    asked = people(("x", 3.0)).assign(friend=["a"], shop=[1])
    found = []
    for each in (both.ours, both.theirs):
        offline = each._get_provider().offline_store
        job = offline.get_historical_features(
            each.config, [view], ["visits:count"], asked.copy(), each.registry, "offline"
        )
        found.append(job.to_arrow()["count"].to_pylist())
    assert found == [[0], [1]]


# -- names -------------------------------------------------------------------------------------------------------------


def test_differs_in_features_whose_names_end_in_y(one: Callable[..., Both]) -> None:
    """A feature may have any name. That store's join drops columns that end in `_y`."""
    stores = one(rows(7, name="share_y"))
    assert given(stores.ours, people(("a", 1.0)), "v:share_y") == [7]
    with pytest.raises(Exception, match="'share_y' is not found"):
        given(stores.theirs, people(("a", 1.0)), "v:share_y")


def test_differs_in_a_feature_named_as_that_stores_own_column(one: Callable[..., Both]) -> None:
    """A feature may have any name. That store overwrites one called `event_expire_timestamp` with a time of its own."""
    stores = one(rows(7, name="event_expire_timestamp"), ttl=timedelta(hours=9))
    assert given(stores.ours, people(("a", 1.0)), "v:event_expire_timestamp") == [7]
    assert given(stores.theirs, people(("a", 1.0)), "v:event_expire_timestamp") == [at(9)]


def test_differs_in_a_column_of_the_entity_rows_named_as_that_stores_own(one: Callable[..., Both]) -> None:
    """What the caller gave comes back. That store loses a column called `entity_row_id`."""
    stores = one(rows(7))
    asked = people(("a", 1.0)).assign(entity_row_id=[5])
    found = [each.get_historical_features(asked.copy(), ["v:x"]).to_arrow() for each in (stores.ours, stores.theirs)]
    assert found[0]["entity_row_id"].to_pylist() == [5]
    assert "entity_row_id" not in found[1].column_names


# -- files -------------------------------------------------------------------------------------------------------------


def test_differs_in_a_view_that_has_grown(one: Callable[..., Both]) -> None:
    """A feature added to a view is missing in the rows of before. That store looks at the first file alone."""
    stores = one(rows(7))
    later = rows(8, time=stamps([5.0])).append_column("extra", pa.array([9]))
    pq.write_table(later, stores.folder / "v" / "1.parquet")
    view = stores.ours.get_feature_view("v")
    asked, found = people(("a", 1.0), ("a", 6.0)), []
    offline = stores.ours._get_provider().offline_store
    job = offline.get_historical_features(
        stores.ours.config, [view], ["v:x", "v:extra"], asked, stores.ours.registry, "offline"
    )
    found = job.to_arrow().select(["x", "extra"]).to_pylist()
    assert found == [{"x": 7, "extra": None}, {"x": 8, "extra": 9}]
    assert ibis.read_parquet(str(stores.folder / "v")).columns == ("person", "at", "x")


def test_differs_in_a_relative_path(one: Callable[..., Both]) -> None:
    """A source's path is relative to the repository, as where Feast infers its schema. That store takes it from
    wherever the process happens to run."""
    stores = one(rows(7), path="v")
    assert given(stores.ours, people(("a", 1.0)), "v:x") == [7]
    with pytest.raises(Exception, match="No files found"):
        given(stores.theirs, people(("a", 1.0)), "v:x")


def test_differs_in_a_file_that_is_being_written(one: Callable[..., Both]) -> None:
    """A hidden file is not there yet: it takes its name when it is whole. That store reads it."""
    stores = one(rows(7))
    (stores.folder / "v" / ".half.parquet").write_bytes(b"PAR1")
    assert given(stores.ours, people(("a", 1.0)), "v:x") == [7]
    with pytest.raises(Exception, match="too small"):
        given(stores.theirs, people(("a", 1.0)), "v:x")


def test_differs_in_rows_written_to_a_folder(one: Callable[..., Both]) -> None:
    """A folder of files takes a file more. That store tries to write a file in its place."""
    stores = one(rows(7))
    more = rows(8, time=stamps([5.0]))
    view = stores.ours.get_feature_view("v")
    with pytest.raises(Exception, match="Cannot open file"):
        stores.theirs._get_provider().offline_write_batch(stores.theirs.config, view, more, None)
    stores.ours._get_provider().offline_write_batch(stores.ours.config, view, more, None)
    assert given(stores.ours, people(("a", 1.0), ("a", 6.0)), "v:x") == [7, 8]


def test_differs_in_what_a_saved_dataset_keeps(both: Both, tmp_path: Path) -> None:
    """A saved dataset is what was retrieved, with the features of on-demand views. That store leaves them out, and
    then cannot read what it saved."""
    from feast.infra.offline_stores.file_source import SavedDatasetFileStorage

    both.write("scalars", scalar_rows([("a", 1.0, 1.0, {"f64": 0.5})]))
    columns = []
    for i, each in enumerate((both.ours, both.theirs)):
        job = each.get_historical_features(people(("a", 2.0)), ["scalars:f64", "summed:sum"])
        job.persist(SavedDatasetFileStorage(path=str(tmp_path / f"{i}.parquet")))
        columns.append(pq.read_schema(tmp_path / f"{i}.parquet").names)
    assert (columns[0][-1], columns[0][:-1]) == ("sum", columns[1])


# -- what cannot be answered -------------------------------------------------------------------------------------------


def test_differs_in_what_it_says_of_entity_rows_that_are_no_table(both: Both) -> None:
    """Neither store runs SQL or a range of dates; one says so, the other fails inside."""
    with pytest.raises(InvalidInput, match=r"entity_df: is no table .* need another offline store"):
        both.ours.get_historical_features("select 1", ["scalars:i64"])
    with pytest.raises(InvalidInput, match="entity_df: is no table"):
        both.ours.get_historical_features(None, ["scalars:i64"], start_date=at(0), end_date=at(1))
    with pytest.raises(AttributeError, match="'str' object has no attribute 'columns'"):
        both.theirs.get_historical_features("select 1", ["scalars:i64"])
    with pytest.raises(TypeError, match="start_date"):
        both.theirs.get_historical_features(None, ["scalars:i64"], start_date=at(0), end_date=at(1))


def test_differs_in_what_it_says_of_names_that_clash_or_are_missing(both: Both) -> None:
    """The message names the column and the remedy, before anything is read."""
    asked = people(("a", 1.0))
    with pytest.raises(InvalidInput, match=r"feature: would be there twice \(got 'i64'\); ask for full feature names"):
        both.ours.get_historical_features(asked.assign(i64=[1]), ["scalars:i64"])
    with pytest.raises(InvalidInput, match=r"join key: is missing from the entity rows \(got 'person'\)"):
        both.ours.get_historical_features(asked.drop(columns="person"), ["scalars:i64"])
    with pytest.raises(InvalidInput, match="person: is Int64 and cannot be compared; give it as String"):
        both.ours.get_historical_features(asked.assign(person=[1]), ["scalars:i64"]).to_arrow()


def test_differs_in_what_it_says_of_a_source_without_files(one: Callable[..., Both]) -> None:
    """The message names the path."""
    stores = one(rows(7))
    (stores.folder / "v" / "0.parquet").unlink()
    with pytest.raises(NotFound, match=r"path: holds no Parquet file \(got '.*/v'\)"):
        given(stores.ours, people(("a", 1.0)), "v:x")


def test_every_public_method_keeps_the_parameters_of_feasts_own_store() -> None:
    """A Feast client calls both alike, by position or by name."""
    from feast.infra.offline_stores.duckdb import DuckDBOfflineStore

    from features.offline import AsofOfflineStore

    for name, theirs in inspect.getmembers(DuckDBOfflineStore, inspect.isfunction):
        ours = list(inspect.signature(getattr(AsofOfflineStore, name)).parameters)
        assert ours[: len(inspect.signature(theirs).parameters)] == list(inspect.signature(theirs).parameters), name
