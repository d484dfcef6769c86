"""Feast's materialise through the packed batch engine: the same values as Feast's own engine, whole, resumable."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from features.kernel.errors import InvalidInput, Unavailable
from features.packed.layout import Field, Schema
from features.packed.store import PackedStore
from features.redis_server import RedisServer
from features.vectors import Status

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
DAY = timedelta(days=1)
TTL = 30 * DAY
ASOF = "features.offline.AsofOfflineStore"


@dataclass(frozen=True)
class Table:
    """A view's source: rows with `event_timestamp`, and what Feast is told of them."""

    name: str
    rows: pl.DataFrame
    keys: tuple[str, ...] = ("customer_id",)
    mapping: dict[str, str] | None = None
    created: str | None = None
    kind: str = "FeatureView"
    more: dict[str, Any] | None = None

    @property
    def features(self) -> dict[str, pl.DataType]:
        """Its features by the names that Feast knows them by."""
        named = self.rows.rename(self.mapping or {})
        apart = {*self.keys, "event_timestamp", self.created}
        return {name: dtype for name, dtype in named.schema.items() if name not in apart}


def feast_of(folder: Path, url: str, tables: list[Table], **config: Any) -> Any:
    """A Feast repository of its own in a folder; the project is the folder's name."""
    from features.store import _import_feast

    _import_feast()
    import feast
    from feast.repo_config import RepoConfig

    folder.mkdir(parents=True, exist_ok=True)
    chosen = {
        "project": folder.name,
        "provider": "local",
        "registry": {"path": str(folder / "registry.db"), "cache_ttl_seconds": 0},
        "offline_store": {"type": "duckdb"},
        "online_store": {"type": "features.online.PackedRedisOnlineStore", "url": url},
        "batch_engine": {"type": "features.engine.PackedBatchEngine", "at_once": 40},
        "entity_key_serialization_version": 3,
    } | config
    store = feast.FeatureStore(config=RepoConfig(**chosen, repo_path=folder))
    entities: dict[str, Any] = {}
    views = [_view(feast, folder, each, entities) for each in tables]
    store.apply([*entities.values(), *views])
    return store


def _view(feast: Any, folder: Path, table: Table, entities: dict[str, Any]) -> Any:
    from feast import types

    scalars = {pl.Float32: "Float32", pl.Int64: "Int64", pl.Int32: "Int32", pl.Boolean: "Bool", pl.String: "String"}
    path = folder / f"{table.name}.parquet"
    table.rows.write_parquet(path)
    fields = []
    for name, dtype in table.features.items():
        if isinstance(dtype, pl.Array):
            fields.append(feast.Field(name=name, dtype=types.Array(types.Float32), tags={"length": str(dtype.size)}))
        elif isinstance(dtype, pl.Datetime):
            fields.append(feast.Field(name=name, dtype=types.UnixTimestamp))
        else:
            fields.append(feast.Field(name=name, dtype=getattr(types, scalars[dtype.base_type()])))
    named = table.rows.rename(table.mapping or {})
    for key in table.keys:
        kind = "INT64" if named.schema[key] == pl.Int64 else "STRING"
        entities.setdefault(key, feast.Entity(name=f"{key}_entity", join_keys=[key], value_type=feast.ValueType[kind]))
        fields.append(feast.Field(name=key, dtype=types.Int64 if kind == "INT64" else types.String))
    source = feast.FileSource(
        name=f"{table.name}_files",
        path=str(path),
        timestamp_field="event_timestamp",
        created_timestamp_column=table.created or "",
        field_mapping=table.mapping,
    )
    return getattr(feast, table.kind)(
        name=table.name,
        entities=[entities[key] for key in table.keys],
        ttl=TTL,
        schema=fields,
        source=source,
        online=True,
        **(table.more or {}),
    )


def load(store: Any, start: datetime = NOW - TTL, end: datetime = NOW) -> None:
    from features.store import _quiet

    with _quiet():
        store.materialize(start, end)


def answers(store: Any, tables: list[Table], entities: list[dict[str, Any]]) -> dict[str, list[Any]]:
    refs = [f"{each.name}:{name}" for each in tables for name in each.features]
    response = store.get_online_features(features=refs, entity_rows=entities, full_feature_names=True)
    found: dict[str, list[Any]] = response.to_dict()
    return found


def customers(count: int) -> list[str]:
    return [f"c{i:05d}" for i in range(count)]


def daily(name: str, ids: list[str], values: float, at: datetime = NOW - DAY, features: int = 2) -> Table:
    """A view of float32 features that all have one value."""
    columns = {f"f{j}": pl.Series([values] * len(ids), dtype=pl.Float32) for j in range(features)}
    return Table(name, pl.DataFrame({"customer_id": ids, "event_timestamp": [at] * len(ids)} | columns))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with RedisServer() as server:
        yield server.url


# -- the same as Feast's own engine ------------------------------------------------------------------------------------


def all_types(seed: int, ids: list[str]) -> pl.DataFrame:
    """A few rows for each id, days apart: every type, missing values, the ends of ranges, text of any script."""
    draw = np.random.default_rng(seed)
    n = 3 * len(ids)

    def some(values: list[Any]) -> list[Any]:
        return [None if draw.random() < 0.2 else values[i] for i in draw.integers(len(values), size=n)]

    hours = draw.permutation(n)  # no two rows at one instant: which of them wins, Feast does not say
    return pl.DataFrame(
        {
            "customer_id": [ids[i] for i in draw.integers(len(ids), size=n)],
            "event_timestamp": [NOW - timedelta(hours=int(hour) % (20 * 24), seconds=int(hour)) for hour in hours],
            "number": pl.Series(some([0.0, -0.0, 1.5, 1e-40, 3.4e38, float("inf")]), dtype=pl.Float32),
            "count": pl.Series(some([0, -1, 2**40, 2**53, -(2**62)]), dtype=pl.Int64),
            "small": pl.Series(some([0, 7, -(2**31), 2**31 - 1]), dtype=pl.Int32),
            "flag": pl.Series(some([True, False]), dtype=pl.Boolean),
            "text": pl.Series(some(["", "a", "naïve", "日本", "\U0001f642" * 40]), dtype=pl.String),
            "slots": pl.Series(some([[0.0, 1.0, 2.5], [9.0, -1.0, 0.125]]), dtype=pl.Array(pl.Float32, 3)),
        }
    )


@pytest.mark.parametrize(("seed", "offline"), [(1, "duckdb"), (2, ASOF), (3, ASOF)])
def test_reads_give_what_feasts_own_engine_and_store_give(tmp_path: Path, url: str, seed: int, offline: str) -> None:
    ids = customers(60)
    tables = [Table("every", all_types(seed, ids)), Table("other", all_types(seed + 10, [*ids[30:], "only-here"]))]
    ours = feast_of(tmp_path / f"ours{seed}", url, tables, offline_store={"type": offline})
    theirs = feast_of(
        tmp_path / f"theirs{seed}",
        url,
        tables,
        online_store={"type": "sqlite", "path": str(tmp_path / "online.db")},
        batch_engine={"type": "local", "backend": "polars"},  # pandas turns an integer column with nulls into floats
        materialization={"pull_latest_features": True},
    )
    asked = [{"customer_id": each} for each in [*ids, "only-here", "nobody"]]
    for store in (ours, theirs):
        load(store, end=NOW - 2 * DAY)
    assert answers(ours, tables, asked) == answers(theirs, tables, asked)
    for store in (ours, theirs):
        load(store)
    found = answers(ours, tables, asked)
    assert found == answers(theirs, tables, asked)
    assert sum(each is not None for each in found["every__text"]) > 30


def test_field_mapping_created_time_and_several_keys(tmp_path: Path, url: str) -> None:
    rows = pl.DataFrame(
        {
            "who": ["a", "a", "a", "b,1", "b"],
            "shop": [7, 7, 8, 1, 11],
            "event_timestamp": [NOW - DAY] * 5,
            "made": [NOW - DAY + timedelta(minutes=i) for i in (2, 1, 0, 0, 0)],
            "amount": pl.Series([1, 2, 3, 4, 5], dtype=pl.Float32),
        }
    )
    table = Table("visits", rows, ("shop", "customer_id"), {"who": "customer_id", "amount": "spent"}, "made")
    store = feast_of(tmp_path / "mapped", url, [table])
    load(store)
    pairs = [("a", 7), ("a", 8), ("b,1", 1), ("b", 11), ("b", 1)]
    asked = [{"customer_id": who, "shop": shop} for who, shop in pairs]
    assert answers(store, [table], asked)["visits__spent"] == [1, 3, 4, 5, None]


def test_a_whole_number_is_a_key_like_any_other(tmp_path: Path, url: str) -> None:
    rows = pl.DataFrame(
        {"shop": [12, 3], "event_timestamp": [NOW - DAY] * 2, "size": pl.Series([5, 6], dtype=pl.Int64)}
    )
    table = Table("shops", rows, ("shop",))
    store = feast_of(tmp_path / "numbers", url, [table])
    load(store)
    assert answers(store, [table], [{"shop": 3}, {"shop": 12}])["shops__size"] == [6, 5]


def test_not_a_number_stays_what_it_is(tmp_path: Path, url: str) -> None:
    """Feast's own engine passes through pandas, where it becomes a missing value."""
    rows = pl.DataFrame(
        {
            "customer_id": ["a", "b"],
            "event_timestamp": [NOW - DAY] * 2,
            "f": pl.Series([float("nan"), None], dtype=pl.Float32),
        }
    )
    store = feast_of(tmp_path / "nan", url, [Table("t", rows)])
    load(store)
    nan, missing = answers(store, [Table("t", rows)], [{"customer_id": "a"}, {"customer_id": "b"}])["t__f"]
    assert np.isnan(nan)
    assert missing is None


def test_a_large_integer_stays_exact_beside_missing_ones(tmp_path: Path, url: str) -> None:
    """Feast's own engine makes floats of a column of integers in which one is missing."""
    rows = pl.DataFrame(
        {
            "customer_id": ["a", "b"],
            "event_timestamp": [NOW - DAY] * 2,
            "n": pl.Series([2**53 + 1, None], dtype=pl.Int64),
        }
    )
    store = feast_of(tmp_path / "large", url, [Table("t", rows)])
    load(store)
    assert answers(store, [Table("t", rows)], [{"customer_id": "a"}, {"customer_id": "b"}])["t__n"] == [2**53 + 1, None]


def test_views_of_customers_and_of_accounts_in_one_run(tmp_path: Path, url: str) -> None:
    people = daily("people", customers(100), 1)
    firms = daily("firms", [f"a{i}" for i in range(7)], 2)
    firms = Table("firms", firms.rows.rename({"customer_id": "account_id"}), ("account_id",))
    store = feast_of(tmp_path / "firms", url, [people, firms])
    load(store)
    found = answers(store, [people, firms], [{"customer_id": "c00099", "account_id": "a6"}])
    assert (found["people__f0"], found["firms__f1"]) == ([1], [2])


# -- time --------------------------------------------------------------------------------------------------------------


def test_only_rows_of_the_interval_are_loaded_and_the_ttl_is_judged_by_the_reader(tmp_path: Path, url: str) -> None:
    ends = {"at-start": NOW - 40 * DAY, "before": NOW - 40 * DAY - timedelta(microseconds=1), "at-end": NOW - DAY}
    ends |= {"after": NOW - DAY + timedelta(microseconds=1)}
    table = daily("t", list(ends), 1)
    table = Table("t", table.rows.with_columns(pl.Series("event_timestamp", list(ends.values()))))
    store = feast_of(tmp_path / "interval", url, [table])
    load(store, NOW - 40 * DAY, NOW - DAY)
    schema = Schema("t", "customer_id", (Field("f0", "float32"), Field("f1", "float32")), TTL.total_seconds())
    read = PackedStore(url, [schema], "interval").read_vectors(list(ends), ["t:f0"])
    assert read.status[:, 0].tolist() == [Status.EXPIRED, Status.MISSING, Status.FRESH, Status.MISSING]
    assert answers(store, [table], [{"customer_id": each} for each in ends])["t__f0"] == [None, None, 1, None]


def test_a_late_run_never_replaces_what_was_pushed_since(tmp_path: Path, url: str) -> None:
    table = daily("t", ["a", "b"], 1)
    store = feast_of(tmp_path / "late", url, [table])
    pushed = daily("t", ["a"], 2, NOW).rows.to_pandas()
    store.write_to_online_store("t", pushed)
    load(store)
    assert answers(store, [table], [{"customer_id": "a"}, {"customer_id": "b"}])["t__f0"] == [2, 1]


def test_incremental_runs_begin_where_the_last_one_ended(tmp_path: Path, url: str) -> None:
    from features.store import _quiet

    rows = pl.concat([daily("t", ["a"], 1, NOW - 3 * DAY).rows, daily("t", ["b"], 2).rows])
    store = feast_of(tmp_path / "steps", url, [Table("t", rows)])
    asked = [{"customer_id": "a"}, {"customer_id": "b"}]
    with _quiet():
        store.materialize_incremental(NOW - 2 * DAY)
    assert answers(store, [Table("t", rows)], asked)["t__f0"] == [1, None]
    PackedStore(url, [], "steps").forget(["a"])
    with _quiet():
        store.materialize_incremental(NOW)
    assert answers(store, [Table("t", rows)], asked)["t__f0"] == [None, 2]
    intervals = store.get_feature_view("t").materialization_intervals
    assert [end for _, end in intervals] == [NOW - 2 * DAY, NOW]
    assert intervals[1][0] == NOW - 2 * DAY


def test_nothing_to_load_is_a_run_like_any_other(tmp_path: Path, url: str) -> None:
    table = Table("t", daily("t", ["a"], 1).rows.head(0))
    store = feast_of(tmp_path / "empty", url, [table, daily("u", ["a"], 3)])
    load(store)
    found = answers(store, [table, daily("u", ["a"], 3)], [{"customer_id": "a"}])
    assert (found["t__f0"], found["u__f0"]) == ([None], [3])
    assert len(store.get_feature_view("t").materialization_intervals) == 1


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def test_a_source_that_cannot_be_read_fails_alone(tmp_path: Path, url: str) -> None:
    tables = [daily("gone", ["a"], 1), daily("here", ["a"], 2)]
    store = feast_of(tmp_path / "gone", url, tables)
    (tmp_path / "gone" / "gone.parquet").unlink()
    with pytest.raises(Exception, match=r"gone\.parquet"):
        load(store)
    assert answers(store, tables, [{"customer_id": "a"}])["here__f0"] == [2]
    assert store.get_feature_view("gone").materialization_intervals == []
    assert len(store.get_feature_view("here").materialization_intervals) == 1


def test_a_damaged_file_fails_its_view_alone(tmp_path: Path, url: str) -> None:
    tables = [daily("torn", customers(5_000), 1), daily("sound", ["a"], 2)]
    store = feast_of(tmp_path / "torn", url, tables, offline_store={"type": ASOF})
    path = tmp_path / "torn" / "torn.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:50] + bytes(len(whole) // 2) + whole[50 + len(whole) // 2 :])
    with pytest.raises(Exception, match=r"(?i)parquet|thrift|invalid|page|corrupt"):
        load(store)
    assert answers(store, tables, [{"customer_id": "a"}])["sound__f0"] == [2]
    assert store.get_feature_view("torn").materialization_intervals == []
    assert len(store.get_feature_view("sound").materialization_intervals) == 1


def test_a_value_that_cannot_be_kept_fails_its_view_alone_and_is_named(tmp_path: Path, url: str) -> None:
    ids = customers(200)
    texts = ["x" * 30_000] * 150 + ["x" * 40_000] + ["y"] * 49
    wide = pl.DataFrame({"customer_id": ids, "event_timestamp": [NOW - DAY] * 200, "text": texts})
    tables = [Table("wide", wide), daily("plain", ids, 2)]
    store = feast_of(tmp_path / "wide", url, tables)
    with pytest.raises(InvalidInput, match=r"wide:text: .*40000"):
        load(store)
    found = answers(store, tables, [{"customer_id": each} for each in ids])
    assert found["plain__f0"] == [2] * 200
    assert found["wide__text"][0] == "x" * 30_000
    assert store.get_feature_view("wide").materialization_intervals == []


def test_rows_without_a_key_are_refused(tmp_path: Path, url: str) -> None:
    rows = daily("t", ["a", "b"], 1).rows.with_columns(pl.Series("customer_id", ["a", None]))
    store = feast_of(tmp_path / "keyless", url, [Table("t", rows)])
    with pytest.raises(InvalidInput, match="t: has rows without customer_id"):
        load(store)


class Watch:
    """Reads customers all the time, and keeps what no customer may ever look like."""

    def __init__(self, url: str, project: str, names: list[str], ids: list[str]) -> None:
        fields = (Field("f0", "float32"), Field("f1", "float32"))
        self._store = PackedStore(url, [Schema(name, "customer_id", fields, None) for name in names], project)
        self._refs = [f"{name}:{field}" for name in names for field in ("f0", "f1")]
        self._ids, self._stop = ids, threading.Event()
        self.torn: list[Any] = []
        self.rounds = 0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                numbers = self._store.read_vectors(self._ids, self._refs).numbers
            except Unavailable:
                continue
            one = (numbers == numbers[:, :1]).all(axis=1) | np.isnan(numbers).all(axis=1)
            self.torn += numbers[~one].tolist()
            self.rounds += 1


def test_redis_killed_in_the_middle_and_run_again(tmp_path: Path) -> None:
    ids, names = customers(3_000), ["one", "two", "three"]
    with RedisServer() as server:
        views = [daily(name, ids, 1) for name in names]
        store = feast_of(tmp_path / "killed", server.url, views, offline_store={"type": ASOF})
        engine = store._get_provider().batch_engine
        done: list[int] = []

        def kill(rows: int, total: int | None) -> None:
            done.append(rows)
            if rows > 2_000 and not done[0] < 0:
                done.insert(0, -1)
                os.kill(server.pid, signal.SIGKILL)

        engine.progress = kill
        with Watch(server.url, "killed", names, ids[::10]) as watch:
            with pytest.raises(Unavailable, match="the online store cannot be reached"):
                load(store)
            assert 2_000 < done[-1] < 9_000
            assert engine.loaded == {}
            assert [store.get_feature_view(name).materialization_intervals for name in names] == [[], [], []]
            engine.progress, address = None, server.url
            server.stop()
            assert server.start().url == address
            load(store)
        assert engine.loaded == dict.fromkeys(names, 3_000)
        assert watch.torn == []
        assert watch.rounds > 0
        found = answers(store, views, [{"customer_id": each} for each in ids])
        assert all(found[f"{name}__f1"] == [1] * 3_000 for name in names)


def test_a_run_that_broke_off_is_completed_by_the_next(tmp_path: Path, url: str) -> None:
    """What was written before stays; nobody is served a customer of whom some views are new and some old."""
    ids, names = customers(1_000), ["one", "two"]
    day_before = [daily(name, ids, 1, NOW - 2 * DAY) for name in names]
    both = [Table(old.name, pl.concat([old.rows, daily(old.name, ids, 2).rows])) for old in day_before]
    store = feast_of(tmp_path / "broken", url, both)
    load(store, end=NOW - 2 * DAY)
    engine = store._get_provider().batch_engine

    def stop(rows: int, total: int | None) -> None:
        if rows > 800:
            raise Unavailable("enough")

    with Watch(url, "broken", names, ids) as watch:
        engine.progress = stop
        with pytest.raises(Unavailable, match="enough"):
            load(store)
        asked = [{"customer_id": each} for each in ids]
        half = answers(store, both, asked)
        assert set(half["one__f0"]) == {1, 2}
        engine.progress = None
        load(store)
    assert watch.torn == []
    assert watch.rounds > 0
    assert all(values == [2] * 1_000 for name, values in answers(store, both, asked).items() if name != "customer_id")


def test_two_runs_at_once_end_as_the_later_one(tmp_path: Path, url: str) -> None:
    ids, names = customers(1_500), ["one", "two"]
    both = [
        Table(name, pl.concat([daily(name, ids, 1, NOW - 2 * DAY).rows, daily(name, ids, 2).rows])) for name in names
    ]
    # Not the DuckDB store: its one connection is not for two threads.
    stores = [feast_of(tmp_path / str(i) / "together", url, both, offline_store={"type": "dask"}) for i in range(2)]
    ends, errors = [NOW - 2 * DAY, NOW], []

    def run(store: Any, end: datetime) -> None:
        try:
            store.materialize(NOW - TTL, end)
        except Exception as error:  # noqa: BLE001  handed to the test
            errors.append(error)

    from features.store import _quiet

    with Watch(url, "together", names, ids) as watch, _quiet():
        threads = [threading.Thread(target=run, args=each) for each in zip(stores, ends, strict=True)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert errors == []
    assert watch.torn == []
    found = answers(stores[0], both, [{"customer_id": each} for each in ids])
    assert all(values == [2] * 1_500 for name, values in found.items() if name != "customer_id")


# -- what is left to Feast's own engine --------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Batch feature views are experimental:RuntimeWarning")
def test_a_transformation_runs_in_feasts_engine_and_lands_in_the_packed_store(tmp_path: Path, url: str) -> None:
    def measured(frame: pd.DataFrame) -> pd.DataFrame:
        long = frame["customer_id"].str.len().astype("float32")
        return pd.DataFrame(frame).assign(f0=long, f1=-long)

    rows = daily("t", ["abcd"], 0).rows
    length = Table("length", rows, kind="BatchFeatureView", more={"mode": "pandas", "udf": measured})
    tables = [daily("plain", ["abcd"], 1), length]
    store = feast_of(tmp_path / "udf", url, tables)
    load(store)
    found = answers(store, tables, [{"customer_id": "abcd"}])
    assert (found["plain__f0"], found["length__f0"], found["length__f1"]) == ([1], [4], [-4])
    assert store._get_provider().batch_engine.loaded == {"plain": 1}


def test_another_online_store_is_filled_by_feasts_engine(tmp_path: Path, url: str) -> None:
    online = {"type": "sqlite", "path": str(tmp_path / "online.db")}
    store = feast_of(tmp_path / "stock", url, [daily("t", ["a"], 4)], online_store=online)
    load(store)
    assert answers(store, [daily("t", ["a"], 4)], [{"customer_id": "a"}])["t__f0"] == [4]


def test_instants_as_values_go_feasts_way(tmp_path: Path, url: str) -> None:
    rows = daily("t", ["a"], 4).rows.with_columns(pl.lit(NOW).alias("seen"))
    store = feast_of(tmp_path / "instants", url, [Table("t", rows)])
    load(store)
    assert answers(store, [Table("t", rows)], [{"customer_id": "a"}])["t__seen"] == [NOW]


# -- bounded memory, progress ------------------------------------------------------------------------------------------


def test_a_run_is_written_in_parts_and_says_how_far_it_is(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    write: Callable[..., int] = PackedStore.write_segments

    def spy(self: PackedStore, key: str, ids: list[str], segments: list[bytes]) -> int:
        sizes.append(len(ids))
        return write(self, key, ids, segments)

    monkeypatch.setattr(PackedStore, "write_segments", spy)
    tables = [daily("all", customers(1_000), 1), daily("half", customers(1_000)[::2], 2)]
    store = feast_of(tmp_path / "parts", url, tables)
    told: list[tuple[int, int | None]] = []
    store._get_provider().batch_engine.progress = lambda *at: told.append(at)
    load(store)
    assert max(sizes) <= 2 * 40
    assert sum(sizes) == 1_000  # every customer once, with both views
    assert [total for _, total in told] == [1_500] * len(told)
    assert told[-1][0] == 1_500
    assert sorted(told) == told
