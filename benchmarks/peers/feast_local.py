"""Stock Feast's way from the offline store to Redis: its local compute engine and its Redis store.

Set up as its documentation advises: only the latest row of each entity is pulled (`pull_latest_features`, which is not
the default and spares a sort in pandas), rows are written in batches of a bounded size, the registry is cached for
ever, and the offline store is DuckDB's. It reads the very Parquet files that Kairos wrote.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from features.kernel.card import column_name
from features.kernel.settings import quiet_libraries
from features.view import FeatureView

__all__ = ["FeastLocal"]

BATCH = 10_000


class FeastLocal:
    """A stock Feast repository over offline files that are there already.

    Args:
        folder: where its registry goes.
        redis_url: a server of its own.
        views: customers' views of float32 features.
        offline: a folder of Parquet files a view.
    """

    settings: Mapping[str, Any] = {
        "feast": version("feast"),
        "batch_engine": "local",
        "offline_store": "duckdb",
        "online_store": "redis, stock",
        "skip_dedup": False,  # as with Kairos, an older row never replaces a newer one
        "pull_latest_features": True,
        "online_write_batch_size": BATCH,
        "registry": "file, cached for ever",
        "redis_parser": "hiredis",
        "call": "FeatureStore.materialize, all views in one",
    }

    def __init__(self, folder: Path, redis_url: str, views: Mapping[str, FeatureView], offline: Path) -> None:
        quiet_libraries()
        import feast  # noqa: PLC0415
        from feast.repo_config import RepoConfig  # noqa: PLC0415

        config = {
            "project": "peer",
            "provider": "local",
            "registry": {"path": str(folder / "local.db"), "cache_ttl_seconds": 0},
            "online_store": {"type": "redis", "connection_string": redis_url.split("//")[1].split("/")[0]},
            "offline_store": {"type": "duckdb"},
            "batch_engine": {"type": "local"},
            "materialization": {"pull_latest_features": True, "online_write_batch_size": BATCH},
            "entity_key_serialization_version": 3,
        }
        self._views = views
        self._store = feast.FeatureStore(config=RepoConfig(**config, repo_path=folder))
        self._store.apply(_objects(feast, views, offline))

    def materialize(self, as_of: datetime) -> None:
        """Load the latest row of every customer, of every view."""
        oldest = as_of - max(each.ttl for each in self._views.values())
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            self._store.materialize(start_date=oldest, end_date=as_of)

    def read(self, ids: Sequence[str], refs: Sequence[str]) -> list[list[Any]]:
        """Values, one list a customer, in the order of `refs`."""
        rows = [{"customer_id": each} for each in ids]
        response = self._store.get_online_features(features=list(refs), entity_rows=rows, full_feature_names=True)
        columns = response.to_dict()
        return [list(row) for row in zip(*(columns[column_name(ref)] for ref in refs), strict=True)]


def _objects(feast: Any, views: Mapping[str, FeatureView], offline: Path) -> list[Any]:
    from feast.data_format import ParquetFormat  # noqa: PLC0415
    from feast.types import Float32, String  # noqa: PLC0415

    customer = feast.Entity(name="customer", join_keys=["customer_id"], value_type=feast.ValueType.STRING)
    objects: list[Any] = [customer]
    for view in views.values():
        source = feast.FileSource(
            name=f"{view.name}_files",
            path=str(offline / view.name),
            timestamp_field="event_timestamp",
            file_format=ParquetFormat(),
        )
        schema = [feast.Field(name="customer_id", dtype=String)]
        schema += [feast.Field(name=each.name, dtype=Float32) for each in view.features]
        objects.append(
            feast.FeatureView(
                name=view.name, entities=[customer], ttl=view.ttl, schema=schema, source=source, online=True
            )
        )
    return objects
