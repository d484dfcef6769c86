"""Stock Feast's push into its stock Redis store: features computed elsewhere, in micro-batches, one push a view.

The registry is cached for ever, `hiredis` parses replies, and data frames stand ready: what is measured is the write.
Run as a module it pushes what lies in a folder and prints the most memory it had, in MB.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.peers.processes import peak_mb
from features import offline_files
from features.compute import all_views
from features.kernel.card import column_name
from features.store import _import_feast
from features.view import push_source

__all__ = ["Batch", "FeastPush", "load", "save"]

Batch = Mapping[str, pl.DataFrame]
"""A frame a view, as `features.compute` gives them."""


class FeastPush:
    """A stock Feast repository with Kairos's views, in a folder and a Redis of its own."""

    settings: Mapping[str, Any] = {
        "feast": version("feast"),
        "online_store": "redis, stock",
        "registry": "file, cached for ever",
        "redis_parser": "hiredis",
        "call": "FeatureStore.push(to=PushMode.ONLINE), one a view and micro-batch; frames made before",
    }

    def __init__(self, folder: Path, redis_url: str) -> None:
        _import_feast()
        import feast  # noqa: PLC0415
        from feast.data_source import PushMode  # noqa: PLC0415
        from feast.repo_config import RepoConfig  # noqa: PLC0415

        from features.entities import feast_objects  # noqa: PLC0415  Feast's door

        config = {
            "project": "peer",
            "provider": "local",
            "registry": {"path": str(folder / "push.db"), "cache_ttl_seconds": 0},
            "online_store": {"type": "redis", "connection_string": redis_url.split("//")[1].split("/")[0]},
            "offline_store": {"type": "duckdb"},
            "entity_key_serialization_version": 3,
        }
        offline_files.prepare(folder / "offline", all_views())
        self._online = PushMode.ONLINE
        self._store = feast.FeatureStore(config=RepoConfig(**config, repo_path=folder))
        self._store.apply(list(feast_objects(folder / "offline").values()))
        self._later = timedelta(0)

    def prepared(self, batches: Sequence[Batch]) -> list[dict[str, Any]]:
        """Batches as pushes take them, each time a second later: what has the stored row's instant is not written."""
        self._later += timedelta(seconds=1)
        found = []
        for batch in batches:
            rows = {name: offline_files.rows_of(all_views()[name], frame) for name, frame in batch.items()}
            later = pl.col("event_timestamp") + self._later
            found.append({name: each.with_columns(later).to_pandas() for name, each in rows.items() if each.height})
        return found

    def push(self, prepared: Sequence[Mapping[str, Any]]) -> None:
        """Write prepared batches, one after the other."""
        for batch in prepared:
            for name, rows in batch.items():
                self._store.push(push_source(name), rows, to=self._online)

    def read(self, ids: Sequence[str], refs: Sequence[str]) -> list[list[Any]]:
        """Values of customers' features, one list a customer, in the order of `refs`; None where one is missing."""
        rows = [{"customer_id": each} for each in ids]
        response = self._store.get_online_features(features=list(refs), entity_rows=rows, full_feature_names=True)
        columns = response.to_dict()
        named = zip(*(columns[column_name(ref)] for ref in refs), strict=True)
        return [[None if isinstance(each, float) and math.isnan(each) else each for each in row] for row in named]


def save(batches: Sequence[Batch], folder: Path) -> None:
    """Write batches for a process of its own."""
    for i, batch in enumerate(batches):
        for name, frame in batch.items():
            frame.write_parquet(folder / f"{i:04}.{name}.parquet")


def load(folder: Path) -> list[Batch]:
    """The batches that `save` wrote."""
    found: dict[str, dict[str, pl.DataFrame]] = {}
    for path in sorted(folder.glob("*.parquet")):
        number, name, _ = path.name.split(".")
        found.setdefault(number, {})[name] = pl.read_parquet(path)
    return list(found.values())


if __name__ == "__main__":
    scratch, url = Path(sys.argv[1]), sys.argv[2]
    peer = FeastPush(scratch, url)
    peer.push(peer.prepared(load(scratch)))
    print(peak_mb("self"))  # noqa: T201  what the process was asked for
