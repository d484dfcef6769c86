"""Stock Feast with its stock Redis store, as its documentation advises for online reads.

The registry is cached for ever (no refresh within a read), `hiredis` parses replies, usage reporting is off, and one
call asks for all customers and all features at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import polars as pl

from features.kernel.card import column_name
from features.kernel.settings import quiet_libraries
from features.view import FeatureView

__all__ = ["FeastSdk"]


class FeastSdk:
    """A stock Feast repository with the given views, in a folder of its own and a project of its own in Redis."""

    settings: Mapping[str, Any] = {
        "feast": version("feast"),
        "online_store": "redis, stock",
        "registry": "file, cached for ever",
        "redis_parser": "hiredis",
        "call": "get_online_features(features, entity_rows).to_dict()",
    }

    def __init__(
        self,
        folder: Path,
        redis_url: str,
        views: Mapping[str, FeatureView],
        dtype: Literal["Float32", "Float64"] = "Float32",
    ) -> None:
        quiet_libraries()
        import feast  # noqa: PLC0415
        from feast.repo_config import RepoConfig  # noqa: PLC0415

        config = {
            "project": "peer",
            "provider": "local",
            "registry": {"path": str(folder / "peer.db"), "cache_ttl_seconds": 0},
            "online_store": {"type": "redis", "connection_string": redis_url.split("//")[1].split("/")[0]},
            "offline_store": {"type": "duckdb"},
            "entity_key_serialization_version": 3,
        }
        self._dtype: type[pl.DataType] = getattr(pl, dtype)
        self._store = feast.FeatureStore(config=RepoConfig(**config, repo_path=folder))
        self._store.apply(_objects(feast, folder, views, dtype))

    def write(self, frames: Mapping[str, pl.DataFrame]) -> None:
        """Write view frames online."""
        for name, frame in frames.items():
            declared = frame.rename({"as_of": "event_timestamp"}).cast({pl.Float32: self._dtype})
            self._store.write_to_online_store(name, declared.to_pandas())

    def read(self, ids: Sequence[str], refs: Sequence[str]) -> dict[str, list[Any]]:
        """Values by column name, one a customer."""
        rows = [{"customer_id": each} for each in ids]
        response = self._store.get_online_features(features=list(refs), entity_rows=rows, full_feature_names=True)
        found: dict[str, list[Any]] = response.to_dict()
        return found

    @staticmethod
    def rows(columns: Mapping[str, list[Any]], refs: Sequence[str]) -> list[list[Any]]:
        """What was read, one list a customer, in the order of `refs`."""
        return [list(row) for row in zip(*(columns[column_name(ref)] for ref in refs), strict=True)]


def _objects(feast: Any, folder: Path, views: Mapping[str, FeatureView], dtype: str) -> list[Any]:
    from feast import types  # noqa: PLC0415

    customer = feast.Entity(name="customer", join_keys=["customer_id"], value_type=feast.ValueType.STRING)
    objects: list[Any] = [customer]
    for view in views.values():
        path = folder / f"{view.name}.parquet"
        columns: dict[str, pl.DataType] = {"customer_id": pl.String(), "event_timestamp": pl.Datetime("us", "UTC")}
        columns |= {each.name: getattr(pl, dtype)() for each in view.features}
        pl.DataFrame(schema=columns).write_parquet(path)
        source = feast.FileSource(name=f"{view.name}_source", path=str(path), timestamp_field="event_timestamp")
        schema = [feast.Field(name="customer_id", dtype=types.String)]
        schema += [feast.Field(name=each.name, dtype=getattr(types, dtype)) for each in view.features]
        objects.append(
            feast.FeatureView(
                name=view.name, entities=[customer], ttl=timedelta(days=120), schema=schema, source=source, online=True
            )
        )
    return objects
