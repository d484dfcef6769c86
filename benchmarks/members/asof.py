"""Point-in-time joins: Kairos's offline store against Feast's DuckDB store, and against the join without Feast.

200,000 labels, 4 views of about 1,000,000 rows of 15 float32 features, in two shapes: each customer's features every
midnight of a year, which is what a nightly run writes; and many customers at twenty instants, which is what a backfill
writes. Feast's store joins every label to all rows alive at it, so its cost hangs on how many these are.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks import synthetic
from benchmarks.harness import Benchmark, Result, Side, compare
from benchmarks.peers.asof_joins import FEATURES, TTL, VIEWS, open_way, settings_of
from features.kernel.seeds import generator

__all__ = ["benchmark"]

YEAR = timedelta(days=365)
START = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Shape:
    """How the rows of a view are spread."""

    name: str
    customers: int
    instants: int
    labels: int = 200_000

    @property
    def settings(self) -> dict[str, Any]:
        """For the report."""
        rows = self.customers * self.instants
        views = {"views": VIEWS, "features_a_view": FEATURES, "rows_a_view": rows, "ttl_days": TTL.days}
        return {"labels": self.labels, "customers": self.customers, "instants": self.instants} | views


SHAPES = (_Shape("daily", 2_740, 365), _Shape("cutoffs", 50_000, 20))
QUICK = (_Shape("daily", 40, 60, labels=500),)


def run(quick: bool) -> list[Result]:
    """Time against all three; memory against Feast's store, unless `quick`, on Linux."""
    found = []
    for shape in QUICK if quick else SHAPES:
        with _written(shape) as folder:
            ours = _side("kairos", folder)
            found += [_compare(shape, ours, _side(way, folder), way) for way in ("feast", "duckdb", "polars")]
            if not quick and Path("/proc/self/status").exists():
                found.append(_compare_memory(shape, folder))
    return found


def _compare(shape: _Shape, ours: Side, peer: Side, way: str) -> Result:
    return compare(f"asof_{shape.name}_{way}", ours, peer, unit="s", equal=_equal, settings=shape.settings)


def _side(way: str, folder: Path) -> Side:
    join = open_way(way, folder)

    def cost() -> float:
        started = time.perf_counter()
        join()
        return time.perf_counter() - started

    return Side(way, join, cost, settings_of(way))


def _equal(ours: pl.DataFrame, theirs: pl.DataFrame) -> bool:
    """Whether both hold the same rows, bit for bit; a label that comes twice has the same features twice."""
    keys = ["customer_id", "event_timestamp"]
    return ours.sort(keys).equals(theirs.select(ours.columns).sort(keys), null_equal=True)


def _compare_memory(shape: _Shape, folder: Path) -> Result:
    def side(way: str) -> Side:
        # The join itself was compared above; here both say how many rows they gave.
        return Side(way, lambda: _alone(way, folder)[0], lambda: _alone(way, folder)[1], settings_of(way))

    return compare(
        f"asof_{shape.name}_memory",
        side("kairos"),
        side("feast"),
        unit="MB at the peak",
        equal=lambda one, other: one == other == shape.labels,
        settings=shape.settings,
    )


def _alone(way: str, folder: Path) -> tuple[int, float]:
    """Rows and peak resident memory in MB of one join in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.peers.asof_joins", way, str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    rows, _, peak = done.stdout.split()[-3:]
    return int(rows), float(peak)


@contextmanager
def _written(shape: _Shape) -> Iterator[Path]:
    """A folder with a Parquet file a view, and the labels."""
    ids = np.array(synthetic.customers(shape.customers))
    with tempfile.TemporaryDirectory(prefix="kairos-bench-") as scratch:
        folder = Path(scratch)
        for view in synthetic.views(VIEWS, FEATURES):
            (folder / view).mkdir()
            rows = _rows(shape, ids, view)
            rows.write_parquet(folder / view / "rows.parquet")
        draw = generator("benchmark", "labels")
        asked = {"customer_id": ids[draw.integers(0, len(ids), shape.labels)]}
        at = draw.integers(0, YEAR // timedelta(microseconds=1), shape.labels)
        _with_time(pl.DataFrame(asked), at).write_parquet(folder / "labels.parquet")
        yield folder


def _rows(shape: _Shape, ids: np.ndarray[tuple[int], np.dtype[np.str_]], view: str) -> pl.DataFrame:
    """Every customer at every instant, in the order in which they were written."""
    draw: Callable[..., np.ndarray[tuple[int, int], np.dtype[np.float32]]]
    draw = generator("benchmark", view).standard_normal
    drawn = draw((FEATURES, len(ids) * shape.instants), dtype=np.float32)
    at = np.repeat(np.arange(shape.instants) * (YEAR // shape.instants // timedelta(microseconds=1)), len(ids))
    columns = {"customer_id": np.tile(ids, shape.instants)}
    return _with_time(pl.DataFrame(columns), at).with_columns(
        pl.Series(f"feature_{i}", values) for i, values in enumerate(drawn)
    )


def _with_time(frame: pl.DataFrame, microseconds: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pl.DataFrame:
    start = int(START.timestamp()) * 1_000_000
    return frame.with_columns(pl.Series("event_timestamp", start + microseconds).cast(pl.Datetime("us", "UTC")))


benchmark = Benchmark(
    "joining features to labels as of their instant: Feast's DuckDB store, bare DuckDB, bare Polars", run
)
