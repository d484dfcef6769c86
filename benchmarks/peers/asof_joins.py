"""The same point-in-time join four ways: through Feast by either offline store, and bare in DuckDB and in Polars.

Feast's stores get the same call over the same files. The bare joins are one query each, as good as their documentation
makes them: DuckDB's `ASOF LEFT JOIN` on all its threads without keeping an order, fetched as Arrow; Polars'
`join_asof` in one lazy query on its in-memory engine, which was faster here than its streaming one.

`python -m benchmarks.peers.asof_joins WAY FOLDER` runs one in a process of its own; it prints rows, seconds and peak
memory in MB (Linux).
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from benchmarks import synthetic
from features.kernel.settings import quiet_libraries

__all__ = ["FEATURES", "TTL", "VIEWS", "WAYS", "open_way", "settings_of"]

VIEWS, FEATURES = 4, 15
TTL = timedelta(days=120)

_KEY, _AT = "customer_id", "event_timestamp"
_PLUGIN = "features.offline.AsofOfflineStore"


def _names(view: str) -> dict[str, str]:
    return {f"feature_{i}": f"{view}__feature_{i}" for i in range(FEATURES)}


def _views() -> list[str]:
    return list(synthetic.views(VIEWS, FEATURES))


def _through_feast(folder: Path, offline: str) -> Callable[[], pl.DataFrame]:
    quiet_libraries()
    import feast  # noqa: PLC0415
    from feast.data_format import ParquetFormat  # noqa: PLC0415
    from feast.repo_config import RepoConfig  # noqa: PLC0415
    from feast.types import Float32, String  # noqa: PLC0415

    customer = feast.Entity(name="customer", join_keys=[_KEY], value_type=feast.ValueType.STRING)
    objects: list[Any] = [customer]
    for name in _views():
        source = feast.FileSource(
            name=f"{name}_files", path=str(folder / name), timestamp_field=_AT, file_format=ParquetFormat()
        )
        schema = [feast.Field(name=_KEY, dtype=String)]
        schema += [feast.Field(name=each, dtype=Float32) for each in _names(name)]
        objects.append(feast.FeatureView(name=name, entities=[customer], ttl=TTL, schema=schema, source=source))
    registry = Path(tempfile.mkdtemp(dir=folder))
    config = {
        "project": "peer",
        "provider": "local",
        "registry": {"path": str(registry / "registry.db"), "cache_ttl_seconds": 0},
        "offline_store": {"type": offline},
        "online_store": {"type": "sqlite", "path": str(registry / "online.db")},
        "entity_key_serialization_version": 3,
    }
    store = feast.FeatureStore(config=RepoConfig(**config, repo_path=folder))
    store.apply(objects)
    labels = pl.read_parquet(folder / "labels.parquet").to_pandas()
    refs = [f"{name}:{each}" for name in _views() for each in _names(name)]

    def run() -> pl.DataFrame:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"fetch_arrow_table\(\) is deprecated")
            job = store.get_historical_features(labels, refs, full_feature_names=True)
            found = pl.from_arrow(job.to_arrow())
        assert isinstance(found, pl.DataFrame)
        return found

    return run


def _bare_duckdb(folder: Path) -> Callable[[], pl.DataFrame]:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = false")
    alive = f"INTERVAL {TTL.days} DAY"
    columns = [
        f"CASE WHEN {view}.{_AT} + {alive} >= labels.{_AT} THEN {view}.{name} END AS {shown}"
        for view in _views()
        for name, shown in _names(view).items()
    ]
    joins = [
        f"ASOF LEFT JOIN read_parquet('{folder / view}/*.parquet') {view}"
        f" ON labels.{_KEY} = {view}.{_KEY} AND labels.{_AT} >= {view}.{_AT}"
        for view in _views()
    ]
    query = f"SELECT labels.*, {', '.join(columns)} FROM '{folder / 'labels.parquet'}' labels {' '.join(joins)}"

    def run() -> pl.DataFrame:
        found = pl.from_arrow(connection.sql(query).to_arrow_table())
        assert isinstance(found, pl.DataFrame)
        return found

    return run


def _bare_polars(folder: Path) -> Callable[[], pl.DataFrame]:
    def run() -> pl.DataFrame:
        joined = pl.scan_parquet(folder / "labels.parquet").sort(_AT)
        for view in _views():
            rows = pl.scan_parquet(folder / view / "*.parquet").sort(_AT).rename(_names(view))
            joined = joined.join_asof(rows, on=_AT, by=_KEY, tolerance=TTL, check_sortedness=False)
        return joined.collect(engine="in-memory")

    return run


WAYS: dict[str, Callable[[Path], Callable[[], pl.DataFrame]]] = {
    "kairos": lambda folder: _through_feast(folder, _PLUGIN),
    "feast": lambda folder: _through_feast(folder, "duckdb"),
    "duckdb": _bare_duckdb,
    "polars": _bare_polars,
}


def settings_of(way: str) -> dict[str, Any]:
    """How a way is set up."""
    if way in ("kairos", "feast"):
        store = _PLUGIN if way == "kairos" else "duckdb"
        call = "get_historical_features(pandas frame).to_arrow()"
        return {"feast": version("feast"), "offline_store": store, "registry": "file, cached for ever", "call": call}
    if way == "duckdb":
        return {"duckdb": version("duckdb"), "query": "ASOF LEFT JOIN", "preserve_insertion_order": False}
    return {"polars": version("polars"), "query": "join_asof in one lazy query", "engine": "in-memory"}


def open_way(way: str, folder: Path) -> Callable[[], pl.DataFrame]:
    """The join of `labels.parquet` with the views in a folder: labels and `view__feature`, in any order."""
    return WAYS[way](folder)


def _main(way: str, folder: str) -> None:
    started = time.perf_counter()
    rows = open_way(way, Path(folder))().height
    seconds = time.perf_counter() - started
    # Not `ru_maxrss`: a process inherits that of the one that started it.
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024
    sys.stdout.write(f"\n{rows} {seconds} {peak}\n")


if __name__ == "__main__":
    _main(*sys.argv[1:])
