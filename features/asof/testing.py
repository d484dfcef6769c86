"""One small Feast repository served by Kairos's offline store and by Feast's own, for tests that compare the two."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.store import _import_feast

__all__ = [
    "SCALARS",
    "START",
    "Both",
    "assert_same",
    "at",
    "both_in",
    "example",
    "feast_with",
    "people",
    "scalar_rows",
    "stamps",
    "visit_rows",
]

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)

# A view of one key with every type; one of two keys, its columns named otherwise in the files; one without a key.
SCALARS = {
    "f32": pa.float32(),
    "f64": pa.float64(),
    "i32": pa.int32(),
    "i64": pa.int64(),
    "flag": pa.bool_(),
    "text": pa.string(),
    "seen": pa.timestamp("us", "UTC"),
    "day": pa.date32(),
    "list": pa.list_(pa.float32()),
    "fixed": pa.list_(pa.float32(), 2),
    "words": pa.list_(pa.string()),
}


def at(hours: float | None) -> datetime | None:
    """An instant so many hours after `START`."""
    return None if hours is None else START + timedelta(hours=hours)


def stamps(hours: list[float | None], kind: pa.DataType | None = None) -> pa.Array:
    """Instants as Arrow."""
    return pa.array([at(each) for each in hours], pa.timestamp("us", "UTC")).cast(kind or pa.timestamp("us", "UTC"))


@dataclass(frozen=True)
class Both:
    """One repository, served by Kairos's offline store and by Feast's."""

    ours: Any
    theirs: Any
    folder: Path

    def write(self, view: str, *parts: pa.Table) -> None:
        """A view's files, and none but these."""
        (self.folder / view).mkdir(exist_ok=True)
        for old in (self.folder / view).rglob("*.parquet"):
            old.unlink()
        for i, part in enumerate(parts):
            pq.write_table(part, self.folder / view / f"{i}.parquet")

    def historical(self, entities: pd.DataFrame, features: Any, **how: Any) -> tuple[pa.Table, pa.Table]:
        """What each makes of the same entity rows; sorted by their column `n`."""
        found = (
            each.get_historical_features(entities.copy(), features, **how).to_arrow().sort_by("n")
            for each in (self.ours, self.theirs)
        )
        return tuple(found)


def both_in(folder: Path) -> Both:
    """The repository of `definitions` in a folder, applied."""
    _import_feast()
    ours, theirs = (feast_with(folder, kind) for kind in ("features.offline.AsofOfflineStore", "duckdb"))
    ours.apply(definitions(folder))
    return Both(ours, theirs, folder)


def feast_with(folder: Path, offline: str) -> Any:
    """A Feast store of the folder's registry with that offline store."""
    import feast  # noqa: PLC0415  Feast's door
    from feast.repo_config import RepoConfig  # noqa: PLC0415  Feast's door

    return feast.FeatureStore(
        config=RepoConfig(
            project="offline",
            provider="local",
            registry={"path": str(folder / "registry.db"), "cache_ttl_seconds": 0},
            offline_store={"type": offline},
            online_store={"type": "sqlite", "path": str(folder / "online.db")},
            entity_key_serialization_version=3,
            repo_path=folder,
        )
    )


def definitions(folder: Path) -> list[Any]:
    """Entities, views of one key, of two and of none, and what is derived of them."""
    import feast  # noqa: PLC0415
    from feast import FeatureView, Field, FileSource, ValueType  # noqa: PLC0415
    from feast.data_format import ParquetFormat  # noqa: PLC0415
    from feast.types import Array, Bool, Float32, Float64, Int32, Int64, String, UnixTimestamp  # noqa: PLC0415

    types = [Float32, Float64, Int32, Int64, Bool, String, UnixTimestamp, UnixTimestamp, *[Array(Float32)] * 2]
    named = zip(("person", *SCALARS), (String, *types, Array(String)), strict=True)
    person = feast.Entity(name="person", join_keys=["person"], value_type=ValueType.STRING)
    shop = feast.Entity(name="shop", join_keys=["shop"], value_type=ValueType.INT64)

    def source(name: str, **how: Any) -> FileSource:
        (folder / name).mkdir()
        pq.write_table(example(name), folder / name / "0.parquet")
        return FileSource(name=f"{name}_files", path=str(folder / name), file_format=ParquetFormat(), **how)

    scalars = FeatureView(
        name="scalars",
        entities=[person],
        ttl=3 * HOUR,
        schema=[Field(name=name, dtype=dtype) for name, dtype in named],
        source=source("scalars", timestamp_field="at", created_timestamp_column="written"),
    )
    visits = FeatureView(
        name="visits",
        entities=[person, shop],
        ttl=timedelta(0),
        schema=[Field(name="person", dtype=String), Field(name="shop", dtype=Int64), Field(name="count", dtype=Int64)],
        source=source("visits", timestamp_field="at", field_mapping={"shop_no": "shop", "n_visits": "count"}),
    )
    world = FeatureView(
        name="world",
        entities=[],
        ttl=5 * HOUR,
        schema=[Field(name="i64", dtype=Int64)],
        source=source("world", timestamp_field="at"),
    )
    return [person, shop, scalars, visits, world, *derived(scalars, visits)]


def derived(scalars: Any, visits: Any) -> list[Any]:
    """An on-demand view and a service that renames views and keys."""
    # Feast's door
    import feast  # noqa: PLC0415
    from feast import Field, RequestSource  # noqa: PLC0415
    from feast.on_demand_feature_view import on_demand_feature_view  # noqa: PLC0415
    from feast.types import Float64, Int64  # noqa: PLC0415

    asked = RequestSource(name="asked", schema=[Field(name="n", dtype=Int64)])

    def summed(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"sum": inputs["f64"].astype("float64") + inputs["n"]})

    on_demand = on_demand_feature_view(
        sources=[scalars, asked], schema=[Field(name="sum", dtype=Float64)], mode="pandas"
    )

    friends = feast.FeatureService(
        name="friends",
        features=[
            scalars[["i64"]].with_name("self"),
            scalars[["i64"]].with_name("friend").with_join_key_map({"person": "friend"}),
            visits.with_name("nearby").with_join_key_map({"person": "friend", "shop": "near"}),
        ],
    )
    return [on_demand(summed), friends]


def example(view: str) -> pa.Table:
    """One row of each view, so that there is something to apply."""
    if view == "scalars":
        return scalar_rows([("a", 1.0, 1.0, {})])
    if view == "visits":
        return visit_rows([("a", 1, 1.0)])
    return pa.table({"at": stamps([1.0]), "i64": [1]})


def scalar_rows(rows: list[tuple[str | None, float | None, float | None, dict[str, Any]]], **kinds: Any) -> pa.Table:
    """Rows of `scalars`: person, hours of the event and of its writing, features."""
    columns = {
        "person": pa.array([row[0] for row in rows], pa.string()),
        "at": stamps([row[1] for row in rows], kinds.get("at")),
        "written": stamps([row[2] for row in rows], kinds.get("written")),
    }
    return pa.table(columns | {name: pa.array([row[3].get(name) for row in rows], to) for name, to in SCALARS.items()})


def visit_rows(rows: list[tuple[str | None, int | None, float | None]]) -> pa.Table:
    """Rows of `visits`, numbered: person, shop, hours."""
    return pa.table(
        {
            "person": pa.array([row[0] for row in rows], pa.string()),
            "shop_no": pa.array([row[1] for row in rows], pa.int32()),
            "at": stamps([row[2] for row in rows]),
            "n_visits": pa.array(range(len(rows)), pa.int64()),
        }
    )


def people(*rows: tuple[str | None, float | None], **more: list[Any]) -> pd.DataFrame:
    """Entity rows of persons, each with its number `n`."""
    times = pd.Series([at(hours) for _, hours in rows], dtype="datetime64[ns, UTC]")
    return pd.DataFrame({"person": [who for who, _ in rows], "event_timestamp": times, "n": range(len(rows))} | more)


def assert_same(ours: pa.Table, theirs: pa.Table) -> None:
    """Equal columns, types and values; a NaN is not a null, and minus zero is not zero."""
    assert ours.column_names == theirs.column_names
    assert [each.type for each in ours.schema] == [each.type for each in theirs.schema]
    for name in ours.column_names:
        assert [repr(each) for each in ours[name].to_pylist()] == [repr(each) for each in theirs[name].to_pylist()], (
            name
        )
