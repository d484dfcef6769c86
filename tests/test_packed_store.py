"""The packed store on real servers: Redis 6.2 and 7, one server and a cluster of three of each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.kernel import clock
from features.kernel.errors import InvalidInput, NotFound, Unavailable
from features.kernel.settings import Settings
from features.packed.layout import Field, Schema, pack
from features.packed.scripts import FORMER_DAYS
from features.packed.store import PackedStore
from features.redis_cluster import RedisCluster
from features.redis_server import RedisServer, installed_executable
from features.vectors import Status

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
KINDS = ["6.2", "7", "6.2 cluster", "7 cluster"]
PROFILE = Schema("profile", "customer_id", (Field("account_id", "string"), Field("age", "float32")), 86_400.0)
ORDERS = Schema("orders", "customer_id", (Field("count", "int64"), Field("sum", "float32")), 86_400.0)
FIRM = Schema("firm", "account_id", (Field("size", "float32"), Field("sector", "string")), 86_400.0)
SCHEMAS = [PROFILE, ORDERS, FIRM]
IDS = ["c1", "with space", "{braces}", "}{", "{}", "", "👩‍🚀", "\ud800", "é" * 5_000, "a:b", "*?[x]\\"]


def redis_7() -> Path:
    """The `redis-server` of this machine, 7 or later; in CI it must be there."""
    found = installed_executable(at_least=7)
    if found is None:
        why = "no redis-server 7 or later is on the PATH: install one, as `apt-get install redis-server` does"
        assert not os.environ.get("CI"), why
        pytest.skip(why)
    return found


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer | RedisCluster]:
    executable = redis_7() if request.param.startswith("7") else None
    with (RedisCluster if "cluster" in request.param else RedisServer)(executable) as running:
        yield running


@pytest.fixture(scope="module")
def shared(server: RedisServer | RedisCluster) -> Iterator[PackedStore]:
    made = PackedStore(server.url, SCHEMAS)
    yield made
    made.close()


@pytest.fixture
def store(shared: PackedStore) -> PackedStore:
    """An empty store."""
    shared.drop([(each.key, each.name) for each in SCHEMAS])
    return shared


@pytest.fixture(autouse=True)
def _time_stands_at_noon() -> Iterator[None]:
    clock.set_origin(NOW)
    yield
    clock.set_origin(None)


def frame(key: str, ids: list[str], as_of: datetime = NOW, **columns: Any) -> pl.DataFrame:
    given_columns = {key: ids, "as_of": [as_of] * len(ids)} | columns
    return pl.DataFrame(given_columns, schema_overrides={"as_of": pl.Datetime("us", "UTC")}, strict=False)


def orders(ids: list[str], as_of: datetime = NOW, *, count: Any = 1, total: Any = 1.5) -> pl.DataFrame:
    counts, sums = pl.Series([count] * len(ids), dtype=pl.Int64), pl.Series([total] * len(ids), dtype=pl.Float32)
    return frame("customer_id", ids, as_of, count=counts, sum=sums)


def test_the_servers_are_what_they_are_said_to_be(server: RedisServer | RedisCluster, request: Any) -> None:
    kind = request.node.callspec.params["server"]
    url = server.nodes[1].url if isinstance(server, RedisCluster) else server.url
    with redis.Redis.from_url(url) as client:
        found: Any = client.info("server")
        assert found["redis_version"].startswith("6.2." if kind.startswith("6.2") else "7.")
        assert found["redis_mode"] == ("cluster" if "cluster" in kind else "standalone")


# -- reading what was written ------------------------------------------------------------------------------------------


def test_what_is_pushed_is_read(store: PackedStore) -> None:
    ids = [f"customer-{i}" for i in range(2_500)]
    numbers = np.random.default_rng(1).normal(size=len(ids)).astype(np.float32)
    ages = frame("customer_id", ids, account_id=["firm-1", None] * 1_250, age=numbers)
    assert store.push({"profile": ages, "orders": orders(ids, NOW - timedelta(hours=2))}) == 5_000
    refs = ["orders:sum", "profile:age", "orders:count", "profile:account_id"]
    vectors = store.read_vectors([*ids, "stranger"], refs)
    assert vectors.values[:-1] == [
        [1.5, float(number), 1.0, account] for number, account in zip(numbers, ["firm-1", None] * 1_250, strict=True)
    ]
    assert vectors.values[-1] == [None] * 4
    assert vectors.views == ("orders", "profile")
    assert (vectors.status[:-1] == Status.FRESH).all()
    assert vectors.status[-1].tolist() == [Status.MISSING] * 2
    assert np.allclose(vectors.ages[:-1], [7200, 0], atol=60)
    for i in (0, 1, 2_499):
        assert store.read_vectors([ids[i]], refs).values == [vectors.values[i]]
    assert store.read_vectors(["stranger"], refs).values == [[None] * 4]


def test_ids_of_any_kind_are_told_apart(store: PackedStore) -> None:
    ids = [each for each in IDS if each != "\ud800"]  # a frame cannot hold it; a request can
    frames = frame("customer_id", ids, count=list(range(len(ids))), sum=[0.0] * len(ids))
    assert store.push({"orders": frames}) == len(ids)
    found = store.read_vectors(ids, ["orders:count"]).values
    assert found == [[float(i)] for i in range(len(ids))]
    assert [store.read_vectors([each], ["orders:count"]).values[0] for each in ids] == found
    assert not store.read_vectors(["\ud800", "c2"], ["orders:count"]).known.any()
    assert [store.forget([each]) for each in IDS] == [1 if each in ids else 0 for each in IDS]
    assert not store.read_vectors(IDS, ["orders:count"]).known.any()


def test_the_same_customer_twice_and_nobody_and_nothing(store: PackedStore) -> None:
    store.push({"orders": orders(["a", "b"])})
    assert store.read_vectors(["a", "b", "a"], ["orders:count"]).values == [[1.0]] * 3
    assert store.read_vectors([], ["orders:count"]).values == []
    nothing = store.read_vectors(["a"], [])
    assert nothing.values == [[]]
    assert not nothing.known.any()
    assert store.push({}) == store.push({"orders": orders([])}) == 0
    with pytest.raises(NotFound, match="orders has sum, count"):
        store.read_vectors(["a"], ["orders:counts"])


def test_a_row_of_nulls_is_left_out(store: PackedStore) -> None:
    assert store.push({"orders": orders(["a"], count=None, total=None)}) == 0
    assert store.push({"orders": orders(["b"], count=None, total=2.0)}) == 1
    vectors = store.read_vectors(["a", "b"], ["orders:count", "orders:sum"])
    assert vectors.values == [[None, None], [None, 2.0]]
    assert vectors.known.tolist() == [False, True]


def test_a_row_older_than_its_ttl_is_expired(store: PackedStore) -> None:
    store.push({"orders": orders(["old"], NOW - timedelta(days=2)), "profile": orders_profile(["old"])})
    for ids in (["old"], ["old", "old"]):
        vectors = store.read_vectors(ids, ["orders:count", "profile:age"])
        assert vectors.status[0].tolist() == [Status.EXPIRED, Status.FRESH]
        assert vectors.expired.all()
        assert vectors.age_seconds[0] == pytest.approx(2 * 86_400, abs=60)


def orders_profile(ids: list[str], account: str | None = None) -> pl.DataFrame:
    return frame("customer_id", ids, account_id=pl.Series([account] * len(ids), dtype=pl.String), age=[30.0] * len(ids))


def test_views_of_accounts_are_read_through_the_customer(store: PackedStore) -> None:
    store.push({"profile": orders_profile(["ann", "bob"], "acme"), "orders": orders(["eve"])})
    store.push({"profile": orders_profile(["zoe"], "unheard of")})
    store.push({"firm": frame("account_id", ["acme"], size=[7.0], sector=["tools"])})
    refs = ["firm:sector", "orders:count", "firm:size"]
    vectors = store.read_vectors(["ann", "eve", "bob", "zoe"], refs)
    assert vectors.values == [["tools", None, 7.0], [None, 1.0, None], ["tools", None, 7.0], [None] * 3]
    assert vectors.views == ("firm", "orders"), "the view that names the account was not asked for"
    assert vectors.status.tolist() == [[1, 0], [0, 1], [1, 0], [0, 0]]
    assert store.read_vectors(["ann"], refs).values == vectors.values[:1]
    assert store.read_vectors(["eve"], refs).values == vectors.values[1:2]
    asked = store.read_vectors(["ann"], [*refs, "profile:account_id"])
    assert asked.values == [["tools", None, 7.0, "acme"]]
    assert store.forget(["acme"], key="account_id") == 1
    assert store.read_vectors(["ann"], refs).values == [[None] * 3]


# -- compare and set ---------------------------------------------------------------------------------------------------

SHAPES = [Schema("orders", "customer_id", (Field(f"shape_{i}", "float32"),)) for i in range(3)]
OTHER = Schema("web", "customer_id", (Field("views", "float32"),))
DAY = 86_400_000_000


def segment(schema: Schema, value: float, event: int, created: int | None) -> bytes:
    columns = {schema.fields[0].name: np.array([value], np.float32)}
    return pack(schema, columns, np.array([event]), None if created is None else np.array([created]))[0]


Write = tuple[int, int, "int | None"]
WRITES = st.lists(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from([0, 1, DAY, DAY + 1, FORMER_DAYS * DAY, FORMER_DAYS * DAY + 1, 2**52, -(2**52)]),
            st.none() | st.sampled_from([-1, 0, 1, 2**53 - 1]),
        ),
        min_size=1,
        max_size=3,
    ),
    min_size=1,
    max_size=12,
)


def order(event: int, created: int | None) -> tuple[int, float]:
    return event, -np.inf if created is None else created


def merged(kept: list[tuple[Schema, int, int | None, bytes]], new: tuple[Schema, int, int | None, bytes]) -> int:
    """What compare-and-set does to one entity, said again in Python."""
    schema, event, created, _ = new
    mine = [each for each in kept if each[0].view_hash == schema.view_hash]
    own = next((each for each in mine if each[0] is schema), None)
    if own is not None and order(event, created) < order(own[1], own[2]):
        return 0
    former = [each for each in mine if each[0] is not schema]
    former.sort(key=lambda each: order(each[1], each[2]))  # of equal ones the last that was written stays
    stays = [each for each in former[-1:] if each[1] >= event - FORMER_DAYS * DAY]
    kept[:] = [each for each in kept if each not in mine or each in stays] + [new]
    return 1


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=WRITES)
def test_the_greater_event_and_created_time_wins_and_one_former_schema_stays(
    store: PackedStore, writes: list[list[Write]]
) -> None:
    store.forget(["one"])
    kept: list[tuple[Schema, int, int | None, bytes]] = []
    schemas = [*SHAPES, OTHER]
    for number, together in enumerate(writes):
        parts = [
            (schemas[i], event, created, segment(schemas[i], number, event, created)) for i, event, created in together
        ]
        expected = sum(merged(kept, each) for each in parts)
        assert store.write_segments("customer_id", ["one"], [b"".join(each[3] for each in parts)]) == expected
        [value] = store.read_values("customer_id", ["one"])
        assert value is not None
        assert split(value) == [each[3] for each in kept], "in the order they were written"
        assert len(split(value)) <= 3, "of two views the own segment each, and of one a former"


def split(value: bytes) -> list[bytes]:
    parts, at = [], 0
    while at < len(value):
        length = int.from_bytes(value[at + 8 : at + 10], "little")
        after = at + 18 + (8 if length & 0x8000 else 0) + (length & 0x7FFF)
        parts.append(value[at:after])
        at = after
    return parts


def test_old_and_new_workers_each_read_their_own_schema(store: PackedStore, server: Any) -> None:
    wider = Schema(ORDERS.name, ORDERS.key, (*ORDERS.fields, Field("mean", "float32")), ORDERS.ttl_seconds)
    newer = PackedStore(server.url, [PROFILE, wider, FIRM])
    store.push({"orders": orders(["a"], count=1)})
    assert newer.read_vectors(["a"], ["orders:count"]).status.tolist() == [[Status.MISSING]]
    newer.push({"orders": orders(["a"], NOW + timedelta(hours=1), count=2).with_columns(mean=pl.lit(0.5))})
    store.push({"orders": orders(["a"], count=3)})
    assert store.read_vectors(["a"], ["orders:count"]).values == [[3.0]]
    assert newer.read_vectors(["a"], ["orders:count", "orders:mean"]).values == [[2.0, 0.5]]
    later = NOW + timedelta(days=FORMER_DAYS + 1)
    newer.push({"orders": orders(["a"], later, count=4).with_columns(mean=pl.lit(0.5))})
    assert not store.read_vectors(["a"], ["orders:count"]).known.any(), "nobody wrote the former one for two weeks"
    newer.close()


def test_what_follows_the_last_whole_segment_is_healed_by_the_next_write(store: PackedStore) -> None:
    whole = segment(OTHER, 1, 1, None)
    client = redis.RedisCluster if "cluster" in store.url else redis.Redis
    with client.from_url(store.url.replace("+cluster", "")) as raw:
        raw.set("kairos:customer_id:{torn}", whole + b"\x01" * 11)
    assert store.write_segments("customer_id", ["torn"], [segment(SHAPES[0], 2, 1, None)]) == 1
    assert store.read_values("customer_id", ["torn"]) == [whole + segment(SHAPES[0], 2, 1, None)]


def test_damage_is_missing_counted_and_told(store: PackedStore, caplog: pytest.LogCaptureFixture) -> None:
    store.push({"orders": orders(["torn", "well"])})
    client = redis.RedisCluster if "cluster" in store.url else redis.Redis
    with client.from_url(store.url.replace("+cluster", "")) as raw:
        raw.setrange("kairos:customer_id:{torn}", 8, b"\xff\x7f")
    before = store.damaged
    assert store.read_vectors(["torn", "well"], ["orders:count"]).values == [[None], [1.0]]
    assert store.read_vectors(["torn"], ["orders:count"]).values == [[None]]
    assert store.damaged == before + 2
    assert "1 of 2 values in Redis were damaged" in caplog.text


# -- removing ----------------------------------------------------------------------------------------------------------


def test_forgetting_removes_all_of_a_person_and_nobody_else(store: PackedStore) -> None:
    ids = [f"c{i}" for i in range(2_100)]
    store.push({"orders": orders(ids), "profile": orders_profile(ids)})
    assert store.forget([*ids[:2_050], *ids[:3], "stranger"]) == 2_050
    assert store.forget(ids[:2_050]) == 0
    assert store.read_vectors(ids, ["orders:count"]).known.tolist() == [False] * 2_050 + [True] * 50
    assert store.forget([]) == 0


def test_a_dropped_view_leaves_the_others(store: PackedStore, server: Any) -> None:
    elsewhere = PackedStore(server.url, SCHEMAS, project="kairos*")
    ids = [f"c{i}" for i in range(1_500)]
    store.push({"orders": orders(ids), "profile": orders_profile(ids[:10])})
    elsewhere.push({"orders": orders(["c1"])})
    assert store.drop([("customer_id", "orders"), ("customer_id", "never was")]) == 1_500
    assert store.read_values("customer_id", ids[10:]) == [None] * 1_490, "an entity of which nothing is left is gone"
    assert store.read_vectors(ids[:11], ["profile:age"]).known.tolist() == [True] * 10 + [False]
    assert elsewhere.drop([("customer_id", "profile")]) == 0
    assert elsewhere.read_vectors(["c1"], ["orders:count"]).known.all(), "another project's"
    assert elsewhere.drop([("customer_id", "orders")]) == 1
    elsewhere.close()


# -- where it is -------------------------------------------------------------------------------------------------------


def test_the_store_of_settings(server: Any) -> None:
    made = PackedStore.of(Settings(redis_url=server.url))
    assert {"orders", "profile", "web"} <= set(made.schemas)
    assert not made.read_vectors(["nobody"], ["orders:count_total"]).known.any()
    made.close()


def test_two_views_of_one_hash_are_refused() -> None:
    first, second = COLLISION
    with pytest.raises(InvalidInput, match=f"has the same hash as {second}"):
        PackedStore("redis://127.0.0.1:1/0", [Schema(each, "customer_id", ()) for each in (first, second)])


COLLISION = ("view_22794", "view_52838")


def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInput, match="KAIROS_REDIS_URL"):
        PackedStore("http://127.0.0.1", SCHEMAS)
    with pytest.raises(InvalidInput, match="KAIROS_REDIS_URL"):
        PackedStore("http+cluster://127.0.0.1", SCHEMAS)


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "redis+cluster://127.0.0.1:1"])
def test_where_nobody_is_every_call_says_so(url: str) -> None:
    nobody = PackedStore(url, SCHEMAS)
    for call in (
        lambda: nobody.read_vectors(["a"], ["orders:count"]),
        lambda: nobody.push({"orders": orders(["a"])}),
        lambda: nobody.forget(["a"]),
        lambda: nobody.drop([("customer_id", "orders")]),
    ):
        with pytest.raises(Unavailable, match=r"the online store cannot be reached: .*; check KAIROS_REDIS_URL"):
            call()
    nobody.close()
