"""The packed store as Feast's online store: real Feast, real Redis, the same values as `read_vectors` gives."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.compute import all_views
from features.kernel import clock
from features.kernel.errors import InvalidInput, Unavailable
from features.kernel.settings import Settings
from features.packed.layout import Schema
from features.packed.store import PackedStore
from features.redis_cluster import RedisCluster
from features.redis_server import RedisServer, installed_executable
from features.store import FeatureStore
from features.vectors import Vectors
from features.view import Feature, FeatureView, push_source

ROOT = Path(__file__).parents[1]
NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
TTL = timedelta(days=2)
FEATURES = (
    Feature("number", "", ""),
    Feature("count", "", "", "int64"),
    Feature("optin", "", "", "bool"),
    Feature("country", "", "", "string"),
    Feature("hours", "", "", length=3),
)
NAMES = [each.name for each in FEATURES]


def _not_computed(events: pl.DataFrame, spine: pl.DataFrame) -> pl.DataFrame:
    raise NotImplementedError


VIEW = FeatureView("all_kinds", FEATURES, _not_computed, TTL)
OTHER = FeatureView("other", (Feature("number", "", ""),), _not_computed, TTL)
REFS = [f"all_kinds:{name}" for name in NAMES if name != "hours"] + [f"all_kinds:hours[{i}]" for i in range(3)]


class Stores(NamedTuple):
    """The same Redis through Feast and without it."""

    feast: Any
    packed: PackedStore
    entities: dict[str, Any]
    folder: Path


def opened(folder: Path, url: str) -> Any:
    """Feast on a repository of its own."""
    FeatureStore(Settings(home=folder))._feast  # noqa: B018  Feast is imported as Kairos imports it
    from feast import FeatureStore as Feast
    from feast.repo_config import RepoConfig

    online = {"type": "features.online.PackedRedisOnlineStore", "url": url}
    return Feast(
        config=RepoConfig(
            project="kairos",
            provider="local",
            registry={"path": str(folder / "registry.db")},
            online_store=online,
            offline_store={"type": "duckdb"},
            entity_key_serialization_version=3,
            repo_path=folder,
        )
    )


@pytest.fixture(scope="module", params=["6.2", "7", "6.2 cluster", "7 cluster"])
def stores(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    executable = redis_7() if request.param.startswith("7") else None
    folder = tmp_path_factory.mktemp("feast")
    with (RedisCluster if "cluster" in request.param else RedisServer)(executable) as server:
        store = opened(folder, server.url)
        from features.entities import feast_objects

        entities = feast_objects(folder, {each.name: each for each in (VIEW, OTHER)})
        store.apply(list(entities.values()))
        packed = PackedStore(server.url, [Schema.of(VIEW), Schema.of(OTHER)])
        yield Stores(store, packed, entities, folder)
        packed.close()
        asyncio.run(store._get_provider().online_store.close())


def redis_7() -> Path:
    """The `redis-server` of this machine, 7 or later; in CI it must be there."""
    found = installed_executable(at_least=7)
    if found is None:
        why = "no redis-server 7 or later is on the PATH: install one, as `apt-get install redis-server` does"
        assert not os.environ.get("CI"), why
        pytest.skip(why)
    return found


@pytest.fixture(autouse=True)
def _time_stands_at_noon() -> Iterator[None]:
    clock.set_origin(NOW)
    yield
    clock.set_origin(None)


def rows(ids: list[str], as_of: datetime = NOW, **changed: Any) -> pl.DataFrame:
    """A view frame: two values a feature, and nulls from the third row on."""
    n = len(ids)
    values: dict[str, list[Any]] = {
        "number": [1.5, float("-inf")],
        "count": [7, -(2**62)],
        "optin": [True, False],
        "country": ["DE", ""],
        "hours": [[1.0, 2.0, 3.0], [-0.0, 5e-324, 1e38]],
    }
    types: dict[str, Any] = {"number": pl.Float32, "count": pl.Int64, "optin": pl.Boolean, "country": pl.String}
    types |= {"hours": pl.List(pl.Float32), "as_of": pl.Datetime("us", "UTC"), "customer_id": pl.String}
    columns = {name: (given_values + [None] * n)[:n] for name, given_values in (values | changed).items()}
    return pl.DataFrame({"customer_id": ids, "as_of": [as_of] * n} | columns, schema_overrides=types)


def feast_frame(frame: pl.DataFrame) -> pd.DataFrame:
    return frame.rename({"as_of": "event_timestamp"}).to_pandas(use_pyarrow_extension_array=True)


def read(stores: Stores, ids: list[str], names: list[str] | None = None) -> Any:
    refs = [f"all_kinds:{name}" for name in names or NAMES]
    return stores.feast.get_online_features(refs, [{"customer_id": each} for each in ids])


def flat(answer: Any) -> list[list[Any]]:
    """Feast's answer in the order of `REFS`, NaN as None."""
    found = answer.to_dict()
    lists = [each or [None] * 3 for each in found["hours"]]
    columns = [found[name] for name in NAMES if name != "hours"] + [[each[i] for each in lists] for i in range(3)]
    return [[None if each != each else each for each in row] for row in zip(*columns, strict=True)]


def as_feast(vectors: Vectors) -> list[list[Any]]:
    """Vectors of `REFS` with integers and booleans as what they are in Feast."""
    types: list[Any] = [float, int, bool, str, float, float, float]
    return [
        [None if each is None else kind(each) for kind, each in zip(types, row, strict=True)] for row in vectors.values
    ]


PRESENT, NOT_FOUND = 1, 3
"""Feast's `FieldStatus`."""


# -- the same values ---------------------------------------------------------------------------------------------------

FLOAT = st.none() | st.floats(width=32)
ROW = st.fixed_dictionaries(
    {
        "number": FLOAT,
        "count": st.none() | st.integers(-(2**53), 2**53),
        "optin": st.none() | st.booleans(),
        "country": st.none() | st.text(max_size=5),
        "hours": st.none() | st.lists(FLOAT, min_size=3, max_size=3),
    }
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=st.lists(ROW, min_size=1, max_size=4))
def test_feast_reads_what_read_vectors_reads(stores: Stores, table: list[dict[str, Any]]) -> None:
    ids = [f"drawn-{i}" for i in range(len(table))]
    stores.packed.forget(ids)
    frame = rows(ids, **{name: [row[name] for row in table] for name in NAMES})
    stores.packed.push({"all_kinds": frame})
    answer, vectors = read(stores, ids), stores.packed.read_vectors(ids, REFS)
    assert repr(flat(answer)) == repr(as_feast(vectors))
    for statuses in (each.statuses for each in answer.proto.results[1:]):
        assert [each == PRESENT for each in statuses] == vectors.known.tolist()
    seconds = [NOW.timestamp() if known else 0 for known in vectors.known]
    assert [each.seconds for each in answer.proto.results[1].event_timestamps] == seconds


def test_what_feast_pushes_is_read_by_both(stores: Stores) -> None:
    ids = ["pushed-1", "pushed-2", "pushed-3"]
    stores.feast.push(push_source("all_kinds"), feast_frame(rows(ids)))
    answer = read(stores, [*ids, "stranger"])
    found = answer.to_dict(include_event_timestamps=True)
    assert found["number"] == [1.5, float("-inf"), None, None]
    assert found["count"] == [7, -(2**62), None, None]
    assert found["optin"] == [True, False, None, None]
    assert found["country"] == ["DE", "", None, None]
    assert found["hours"][0] == [1.0, 2.0, 3.0]
    assert found["hours"][2:] == [None, None]
    assert found["hours"][1] == [-0.0, 0.0, float(np.float32(1e38))]
    assert found["number__ts"] == [int(NOW.timestamp())] * 3 + [0]
    assert [list(each.statuses) for each in answer.proto.results[1:]] == [[PRESENT] * 3 + [NOT_FOUND]] * 5
    assert flat(answer)[:3] == as_feast(stores.packed.read_vectors(ids, REFS))
    asynchronous = asyncio.run(
        stores.feast.get_online_features_async(
            [f"all_kinds:{name}" for name in NAMES], [{"customer_id": each} for each in [*ids, "stranger"]]
        )
    )
    assert asynchronous.to_dict() == answer.to_dict()


def test_the_asynchronous_ways_are_the_same(stores: Stores) -> None:
    store = stores.feast._get_provider().online_store
    assert store.async_supported.read
    assert store.async_supported.write
    frame = feast_frame(rows(["async"]))
    asyncio.run(stores.feast.write_to_online_store_async("all_kinds", frame))
    assert read(stores, ["async"], ["country"]).to_dict()["country"] == ["DE"]


def test_a_row_older_than_its_ttl_is_not_found_but_has_its_time(stores: Stores) -> None:
    edge = NOW - TTL
    stores.packed.push({"all_kinds": rows(["young"], edge + timedelta(minutes=5))})
    stores.packed.push({"all_kinds": rows(["old"], edge - timedelta(microseconds=1))})
    answer = read(stores, ["old", "young", "never"], ["country"])
    assert answer.to_dict()["country"] == [None, "DE", None]
    assert list(answer.proto.results[1].statuses) == [NOT_FOUND, PRESENT, NOT_FOUND]
    assert [each.seconds > 0 for each in answer.proto.results[1].event_timestamps] == [True, True, False]
    assert stores.packed.read_vectors(["old"], ["all_kinds:country"]).values == [["DE"]], "expired, with its age"


def test_of_equal_event_times_the_later_created_wins_and_an_older_event_never(stores: Stores) -> None:
    online = stores.feast._get_provider().online_store
    view = stores.feast.get_feature_view("all_kinds")
    key, value = protos()

    def write(number: float, event: datetime, created: datetime | None) -> float:
        online.online_write_batch(stores.feast.config, view, [(key, {"number": value(number)}, event, created)], None)
        found: float = read(stores, ["tied"], ["number"]).to_dict()["number"][0]
        return found

    naive = NOW.replace(tzinfo=None)
    assert write(1, naive, None) == 1
    assert write(2, NOW, naive + timedelta(hours=1)) == 2
    assert write(3, NOW, NOW) == 2, "created before"
    assert write(4, NOW, NOW + timedelta(hours=1)) == 4, "an equal pair overwrites"
    assert write(5, NOW - timedelta(seconds=1), NOW + timedelta(hours=9)) == 4
    assert write(6, NOW + timedelta(seconds=1), None) == 6
    progress: list[int] = []
    rows_given = [(key, {"number": value(7)}, NOW + timedelta(seconds=i), NOW if i % 2 else None) for i in range(5)]
    online.online_write_batch(stores.feast.config, view, rows_given, progress.append)
    assert progress == [5]


def protos() -> tuple[Any, Any]:
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    key = EntityKey(join_keys=["customer_id"], entity_values=[Value(string_val="tied")])
    return key, lambda number: Value(float_val=number)


def test_a_damaged_value_is_not_found_and_those_beside_it_are(stores: Stores) -> None:
    for each in ("well", "torn", "dated"):
        stores.packed.push({"all_kinds": rows([each])})
    client = redis.RedisCluster if "cluster" in stores.packed.url else redis.Redis
    with client.from_url(stores.packed.url.replace("+cluster", "")) as raw:
        raw.append("kairos:customer_id:{torn}", b"?")
        raw.setrange("kairos:customer_id:{torn}", 18 + Schema.of(VIEW).body.itemsize, b"\x01\x00\xff")
        raw.setrange("kairos:customer_id:{dated}", 10, b"\xff" * 7 + b"\x7f")
    found = read(stores, ["well", "torn", "dated", "well"], ["country"]).to_dict()
    assert found["country"] == ["DE", None, None, "DE"]


# -- the repository ----------------------------------------------------------------------------------------------------


def test_a_view_that_is_removed_leaves_nothing_online_and_the_others_stay(stores: Stores) -> None:
    stores.packed.push({"all_kinds": rows(["c"]), "other": rows(["c"]).select("customer_id", "as_of", "number")})
    assert stores.packed.read_vectors(["c"], ["other:number", "all_kinds:number"]).status.tolist() == [[1, 1]]
    others = [each for name, each in stores.entities.items() if not name.startswith("other")]
    stores.feast.apply(others, objects_to_delete=[stores.entities["other"]], partial=False)
    assert stores.packed.read_vectors(["c"], ["other:number", "all_kinds:number"]).status.tolist() == [[0, 1]]
    stores.feast.apply(list(stores.entities.values()))


def test_a_type_that_is_not_kept_is_refused_when_it_is_applied(stores: Stores) -> None:
    from feast import FeatureView as View
    from feast import Field
    from feast.types import Array, Float32, Float64, String

    source, entity = stores.entities["all_kinds_source"], stores.entities["customer_entity"]
    for field, why in [
        (Field(name="x", dtype=Float64), "wrong:x: has a type that is not kept .*Float64.*use Float32"),
        (Field(name="x", dtype=Array(Float32)), r"wrong:x: is a list of no known length; .*\"length\": \"168\""),
        (Field(name="x", dtype=Array(String)), "wrong:x: has a type that is not kept"),
    ]:
        view = View(name="wrong", entities=[entity], schema=[field], source=source)
        with pytest.raises(InvalidInput, match=why):
            stores.feast.apply([view])


def test_a_list_of_another_length_is_refused_and_nothing_is_written(stores: Stores) -> None:
    frame = feast_frame(rows(["x", "y"], hours=[[1.0, 2.0, 3.0], [1.0, 2.0]]))
    with pytest.raises(InvalidInput, match=r"all_kinds:hours: must be a list of 3 \(got \[1.0, 2.0\]\)"):
        stores.feast.write_to_online_store("all_kinds", frame)
    assert read(stores, ["x"], ["country"]).to_dict()["country"] == [None]


def test_several_join_keys_and_ids_that_are_no_strings(stores: Stores) -> None:
    from feast import Entity, Field, FileSource, ValueType
    from feast import FeatureView as View
    from feast.types import Float32, Int32, Int64, String, UnixTimestamp

    empty = stores.folder / "visits.parquet"
    schema = {"shop": pl.Int64, "day": pl.String, "ts": pl.Datetime("us", "UTC")}
    schema |= {"spent": pl.Float32, "items": pl.Int32, "at": pl.Datetime("us", "UTC")}
    pl.DataFrame(schema=schema).write_parquet(empty)
    shop = Entity(name="shop", join_keys=["shop"], value_type=ValueType.INT64)
    day = Entity(name="day", join_keys=["day"], value_type=ValueType.STRING)
    fields = [Field(name="shop", dtype=Int64), Field(name="day", dtype=String), Field(name="spent", dtype=Float32)]
    fields += [Field(name="items", dtype=Int32), Field(name="at", dtype=UnixTimestamp)]
    source = FileSource(name="visits_files", path=str(empty), timestamp_field="ts")
    visits = View(name="visits", entities=[shop, day], schema=fields, source=source, ttl=timedelta(0))
    by_shop = View(name="by_shop", entities=[shop], schema=[fields[0], fields[2]], source=source)
    stores.feast.apply([shop, day, visits, by_shop])
    given_rows = {"shop": [1, 11, 1], "day": ["1,1:a", "a", "b"], "ts": [NOW - timedelta(days=4_000)] * 3}
    values = {"spent": [1.0, 2.0, 3.0], "items": [1, 2, 3], "at": [NOW, NOW, None]}
    frame = pl.DataFrame(given_rows | values, schema_overrides=schema)
    stores.feast.write_to_online_store("visits", frame.to_pandas(use_pyarrow_extension_array=True))
    stores.feast.write_to_online_store("by_shop", frame.select("shop", "ts", "spent").to_pandas())
    asked = [{"shop": 1, "day": "b"}, {"shop": 1, "day": "1,1:a"}, {"shop": 11, "day": "a"}, {"shop": 11, "day": "b"}]
    found = stores.feast.get_online_features(
        ["visits:spent", "visits:items", "visits:at", "by_shop:spent"], asked, full_feature_names=True
    ).to_dict()
    assert found["visits__spent"] == [3.0, 1.0, 2.0, None], "rows of a TTL of zero never expire"
    assert found["visits__items"] == [3, 1, 2, None]
    assert [each is None for each in found["visits__at"]] == [True, False, False, True]
    assert found["by_shop__spent"] == [3.0, 3.0, 2.0, 2.0]
    stores.feast.apply([shop, day], objects_to_delete=[visits, by_shop], partial=False)


def test_teardown_removes_every_view(tmp_path: Path) -> None:
    with RedisServer() as server, redis.Redis.from_url(server.url) as raw:
        from features.entities import feast_objects

        store = opened(tmp_path, server.url)
        store.apply(list(feast_objects(tmp_path, {"all_kinds": VIEW}).values()))
        store.write_to_online_store("all_kinds", feast_frame(rows([f"c{i}" for i in range(2_000)])))
        raw.set("another's", "value")
        assert raw.dbsize() == 2_001
        store.teardown()
        assert raw.keys() == [b"another's"]
        asyncio.run(store._get_provider().online_store.close())


def test_a_feast_view_has_the_schema_of_the_view_it_was_made_of(tmp_path: Path) -> None:
    FeatureStore(Settings(home=tmp_path))._feast  # noqa: B018
    from features.entities import feast_objects
    from features.online import schema_of

    views = all_views() | {"all_kinds": VIEW}
    objects = feast_objects(tmp_path, views)
    for name, view in views.items():
        theirs, ours = schema_of(objects[name]), Schema.of(view)
        assert theirs == ours
        assert (theirs.hash, theirs.view_hash) == (ours.hash, ours.view_hash)


# -- when it cannot ----------------------------------------------------------------------------------------------------


def test_redis_gone_is_told(tmp_path: Path) -> None:
    from features.entities import feast_objects

    with RedisServer() as server:
        store = opened(tmp_path, server.url)
        store.apply(list(feast_objects(tmp_path, {"all_kinds": VIEW}).values()))
        store.write_to_online_store("all_kinds", feast_frame(rows(["c"])))
    for call in (
        lambda: store.get_online_features(["all_kinds:number"], [{"customer_id": "c"}]),
        lambda: store.write_to_online_store("all_kinds", feast_frame(rows(["c"]))),
        store.teardown,
    ):
        with pytest.raises(Unavailable, match="KAIROS_REDIS_URL"):
            call()


def test_a_value_of_another_type_is_refused_by_name() -> None:
    from feast.protos.feast.types.Value_pb2 import FloatList, Value

    from features.packed.protos import columns_of

    schema = Schema.of(VIEW)
    fits = {"number": Value(float_val=1), "hours": Value(float_list_val=FloatList(val=[1, 2, 3])), "count": Value()}
    columns_of(schema, [fits])
    for name, value in [
        ("number", Value(string_val="1")),
        ("count", Value(float_val=1)),
        ("count", Value(bool_val=True)),
        ("optin", Value(int64_val=1)),
        ("country", Value(int64_val=1)),
        ("hours", Value(float_val=1)),
    ]:
        with pytest.raises(InvalidInput, match=f"all_kinds:{name}: cannot be read as"):
            columns_of(schema, [fits, fits | {name: value}])


def test_reading_without_feast_imports_none_of_the_heavy_libraries() -> None:
    script = "import sys, features.packed.store; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & {"feast", "pandas", "pyarrow", "mlflow", "lightgbm", "sklearn"} == set()
