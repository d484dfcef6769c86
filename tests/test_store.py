"""The feature store through real Feast and a real Redis: offline, as-of and online reads give the very same numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features.compute import all_views, compute, wide
from features.frames import EVENT_SCHEMA, spine_of
from features.kernel import clock
from features.kernel.card import column_name
from features.kernel.errors import NotFound, Unavailable
from features.kernel.settings import Settings
from features.market import simulate
from features.redis_server import RedisServer
from features.refs import all_refs
from features.store import FeatureStore

PEOPLE = 40
CUTOFFS = [datetime(2026, month, 1, tzinfo=UTC) for month in (3, 6, 9)]
NOW = CUTOFFS[-1]
REFS = [ref for view in all_views().values() for ref in all_refs(view)]
COLUMNS = [column_name(ref) for ref in REFS]


@pytest.fixture(scope="module")
def events() -> pl.DataFrame:
    return simulate(seed=13, people=PEOPLE).events


@pytest.fixture(scope="module")
def spine(events: pl.DataFrame) -> pl.DataFrame:
    people = events["customer_id"].unique().sort().to_list()
    return pl.concat([spine_of(people, cutoff) for cutoff in CUTOFFS])


@pytest.fixture(scope="module")
def computed(events: pl.DataFrame, spine: pl.DataFrame) -> pl.DataFrame:
    return wide(compute(events, spine), REFS)


@pytest.fixture(scope="module")
def store(
    tmp_path_factory: pytest.TempPathFactory, events: pl.DataFrame, spine: pl.DataFrame
) -> Iterator[FeatureStore]:
    with RedisServer() as server:
        made = FeatureStore(Settings(home=tmp_path_factory.mktemp("store"), redis_url=server.url))
        made.apply()
        made.backfill(events, spine)
        yield made
        made.close()


@pytest.fixture(autouse=True)
def _time_stands_at_the_last_cutoff() -> Iterator[None]:
    clock.set_origin(NOW)
    yield
    clock.set_origin(None)


def rows(frame: pl.DataFrame) -> list[list[float | str | None]]:
    return [list(row) for row in frame.select(COLUMNS).iter_rows()]


# -- offline -----------------------------------------------------------------------------------------------------------


def test_point_in_time_is_exact(store: FeatureStore, spine: pl.DataFrame, computed: pl.DataFrame) -> None:
    assert_frame_equal(store.historical(spine, REFS), computed, check_exact=True)


def test_the_order_of_spine_and_references_is_the_callers(
    store: FeatureStore, spine: pl.DataFrame, computed: pl.DataFrame
) -> None:
    refs = ["web:views_30d", "profile:country", "orders:count_90d"]
    mixed = pl.concat([spine, spine.head(5)]).sample(fraction=1.0, shuffle=True, seed=1)
    expected = mixed.join(computed, on=["customer_id", "as_of"], how="left", maintain_order="left")
    expected = expected.select("customer_id", "as_of", *map(column_name, refs))
    assert_frame_equal(store.historical(mixed, refs), expected, check_exact=True)


def test_between_cutoffs_the_latest_row_counts_until_it_is_too_old(
    store: FeatureStore, spine: pl.DataFrame, computed: pl.DataFrame
) -> None:
    someone = computed.filter((pl.col("as_of") == CUTOFFS[0]) & pl.col("orders__count_total").is_not_null())
    customer = someone["customer_id"][0]
    ttl = all_views()["orders"].ttl
    asked = pl.concat(
        [
            spine_of([customer], CUTOFFS[0] - timedelta(microseconds=1)),
            spine_of([customer], CUTOFFS[0] + timedelta(days=1)),
            spine_of([customer], CUTOFFS[1] - timedelta(microseconds=1)),
            spine_of([customer], CUTOFFS[2] + ttl),
            spine_of([customer], CUTOFFS[2] + ttl + timedelta(microseconds=1)),
        ]
    )
    own = computed.filter(pl.col("customer_id") == customer)["orders__days_since_first"].to_list()
    found = store.historical(asked, ["orders:days_since_first"])["orders__days_since_first"].to_list()
    assert found == [None, own[0], own[0], own[2], None]


def test_a_stranger_has_no_features(store: FeatureStore) -> None:
    found = store.historical(spine_of(["nobody"], NOW), REFS)
    assert found.row(0)[2:] == (None,) * len(REFS)


def test_writing_again_changes_nothing_and_another_population_is_added(tmp_path: Path, events: pl.DataFrame) -> None:
    made = FeatureStore(Settings(home=tmp_path))
    people = events["customer_id"].unique().sort().to_list()
    first, second = spine_of(people[:20], NOW), spine_of(people[10:], NOW)
    made.backfill(events, first)
    files = {path: path.read_bytes() for path in made.settings.offline.rglob("*.parquet")}
    made.backfill(events, first)
    assert {path: path.read_bytes() for path in made.settings.offline.rglob("*.parquet")} == files
    made.backfill(events, second)
    both = compute(events, spine_of(people, NOW))["orders"].drop_nulls("count_total")
    written = pl.read_parquet(made.settings.offline / "orders" / "*.parquet")
    assert written["customer_id"].to_list() == both["customer_id"].to_list()
    left = {path.name for path in made.settings.offline.iterdir()} - {*all_views(), ".lock"}
    assert not left, "temporary files are left over"


def test_a_late_event_corrects_the_row_of_its_instant(tmp_path: Path, events: pl.DataFrame) -> None:
    made = FeatureStore(Settings(home=tmp_path))
    customer = events.filter(pl.col("type") == "order")["customer_id"][0]
    late = events.filter((pl.col("customer_id") == customer) & (pl.col("type") == "order")).head(1)
    spine = spine_of([customer], NOW)
    made.backfill(events.join(late, on="event_id", how="anti"), spine)
    made.backfill(events, spine)
    written = pl.read_parquet(made.settings.offline / "orders" / "*.parquet")
    expected = compute(events, spine)["orders"]
    assert written["count_total"].to_list() == expected["count_total"].to_list()


# -- online ------------------------------------------------------------------------------------------------------------


def test_offline_row_is_online_row(store: FeatureStore, spine: pl.DataFrame) -> None:
    """The parity that training and serving rest on: materialised through Feast, read through Feast, exactly equal."""
    loaded = store.materialize(NOW)
    latest = spine.filter(pl.col("as_of") == NOW)
    offline = store.historical(latest, REFS)
    vectors = store.read_vectors(latest["customer_id"].to_list(), REFS)
    assert vectors.values == rows(offline)
    assert {name: loaded[name] for name in loaded if name != "account"} == dict.fromkeys(
        (name for name in loaded if name != "account"), int(vectors.known.sum())
    )
    accounts = {each for each in offline["profile__account_id"] if each is not None}
    assert accounts
    assert loaded["account"] == len(accounts)
    known = vectors.known
    assert np.isnan(vectors.age_seconds[~known]).all()
    assert (vectors.age_seconds[known] >= 0).all()
    assert (vectors.age_seconds[known] < 60).all(), "age counts from the row's instant, by Kairos's clock"


def test_what_is_pushed_is_what_was_computed(store: FeatureStore, events: pl.DataFrame) -> None:
    people = events["customer_id"].unique().sort().to_list()[:10]
    instant = NOW + timedelta(days=3, microseconds=7)
    frames = compute(events, spine_of(people, instant))
    store.push(frames)
    clock.set_origin(instant + timedelta(hours=2))
    vectors = store.read_vectors(people, REFS)
    assert vectors.values == rows(wide(frames, REFS))
    assert vectors.age_seconds == pytest.approx(7200, abs=60)


def test_an_older_row_never_replaces_a_newer_one(store: FeatureStore, events: pl.DataFrame) -> None:
    people = events["customer_id"].unique().sort().to_list()[10:15]
    newer = compute(events, spine_of(people, NOW + timedelta(days=9)))
    store.push(newer)
    store.push(compute(events, spine_of(people, NOW + timedelta(days=8))))
    store.materialize(NOW)
    assert store.read_vectors(people, REFS).values == rows(wide(newer, REFS))


def test_an_unknown_customer_is_said_to_be_unknown(store: FeatureStore, events: pl.DataFrame) -> None:
    store.push(compute(events, spine_of(["nobody"], NOW)))
    vectors = store.read_vectors(["nobody"], REFS[:4])
    assert vectors.values == [[None] * 4]
    assert not vectors.known[0]
    assert np.isnan(vectors.age_seconds[0])


def test_nobody_and_nothing_asked_for(store: FeatureStore) -> None:
    assert store.read_vectors([], REFS).values == []
    assert store.read_vectors(["someone"], []).values == [[]]


def test_no_offline_row_after_the_instant_is_loaded(tmp_path: Path, events: pl.DataFrame, spine: pl.DataFrame) -> None:
    with RedisServer() as server:
        made = FeatureStore(Settings(home=tmp_path, redis_url=server.url))
        made.apply()
        made.backfill(events, spine)
        made.materialize(CUTOFFS[1])
        people = spine["customer_id"].unique().sort().to_list()
        expected = made.historical(spine_of(people, CUTOFFS[1]), REFS)
        assert made.read_vectors(people, REFS).values == rows(expected)
        made.close()


# -- when it cannot ----------------------------------------------------------------------------------------------------


def test_a_reference_that_names_nothing(store: FeatureStore, spine: pl.DataFrame) -> None:
    with pytest.raises(NotFound, match="the views are account, engagement, orders"):
        store.historical(spine, ["order:count_90d"])
    with pytest.raises(NotFound, match="count_90d"):
        store.read_vectors(["someone"], ["orders:count_91d"])


def test_redis_gone_in_the_middle(store: FeatureStore, events: pl.DataFrame) -> None:
    people = events["customer_id"].unique().sort().to_list()[:3]
    frames = compute(events, spine_of(people, NOW))
    with RedisServer() as server:
        made = FeatureStore(replace(store.settings, redis_url=server.url))
        made.push(frames)
        assert made.read_vectors(people, REFS).known.all()
    for call in (
        lambda: made.read_vectors(people, REFS),
        lambda: made.push(frames),
        lambda: made.materialize(NOW),
    ):
        with pytest.raises(Unavailable, match="KAIROS_REDIS_URL"):
            call()
    server.start()
    made.push(frames)
    assert made.read_vectors(people, REFS).known.all(), "it comes back by itself"
    made.close()
    server.stop()


def test_before_apply_it_says_what_to_do(tmp_path: Path, redis_url: str) -> None:
    # The session's Redis, which others read: nothing is written to it here.
    made = FeatureStore(Settings(home=tmp_path, redis_url=redis_url))
    assert not made.read_vectors(["someone"], REFS).known.any()
    with pytest.raises(Unavailable, match="kairos features apply"):
        made.historical(spine_of(["someone"], NOW), REFS)
    made.apply()
    assert made.historical(spine_of(["someone"], NOW), REFS).height == 1, "no feature was ever written: all are null"
    assert not made.read_vectors(["someone"], REFS).known.any()
    made.close()


# -- Feast's own command -----------------------------------------------------------------------------------------------


def test_feasts_own_command_agrees(store: FeatureStore, tmp_path: Path) -> None:
    """`feast -c features apply` on an empty home registers what `FeatureStore.apply` registers."""
    root, home, other = Path(__file__).parents[1], tmp_path / "ours", tmp_path / "theirs"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("KAIROS_")}
    command = [Path(sys.executable).with_name("feast"), "-c", "features", "apply"]
    done = subprocess.run(
        command, cwd=root, env=environment | {"KAIROS_HOME": str(other)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    fresh = FeatureStore(replace(store.settings, home=home))
    fresh.apply()
    ours, theirs = registered(fresh), registered(FeatureStore(replace(store.settings, home=other)))
    assert ours.keys() == theirs.keys()
    assert set(ours) >= {"customer", *all_views(), *(f"{name}_push" for name in all_views())}
    for name, text in ours.items():
        assert text.replace(str(home), "HOME") == theirs[name].replace(str(other), "HOME"), name


def registered(store: FeatureStore) -> dict[str, str]:
    """Definition of everything in a store's registry, without its times, as text, by name."""
    feast = store._feast
    found = [*feast.list_entities(), *feast.list_feature_views(), *feast.list_data_sources()]
    return {each.name: without_times(str(each.to_proto())) for each in found}


def without_times(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.strip().startswith(("seconds:", "nanos:")))


def test_a_view_that_is_gone_is_removed(tmp_path: Path) -> None:
    fewer = {name: view for name, view in all_views().items() if name != "web"}
    with RedisServer() as server:  # its own: Feast removes the view's values of everybody
        settings = Settings(home=tmp_path, redis_url=server.url)
        FeatureStore(settings).apply()
        made = FeatureStore(settings, fewer)
        made.apply()
        assert {view.name for view in made._feast.list_feature_views()} == set(fewer)
        made.close()


def test_feast_changes_nothing_for_others() -> None:
    """Its import sets variables that would put every other user of prometheus_client into another mode."""
    script = (
        "import os, sys; from features.store import FeatureStore; from features.kernel.settings import Settings;"
        "assert 'feast' not in sys.modules; FeatureStore(Settings())._feast; assert 'feast' in sys.modules;"
        "assert not [key for key in os.environ if key.startswith('PROMETHEUS_')];"
        "assert os.environ['FEAST_USAGE'] == 'False';"
        "from prometheus_client import values; assert 'Mutex' in values.ValueClass.__qualname__"
    )
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PROMETHEUS_")}
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[1], env=clean)


def test_the_schema_of_events_is_all_a_backfill_needs(tmp_path: Path) -> None:
    made = FeatureStore(Settings(home=tmp_path))
    assert set(made.backfill(pl.DataFrame(schema=EVENT_SCHEMA), spine_of(["someone"], NOW)).values()) == {0}
