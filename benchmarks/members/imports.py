"""Importing a table: `kairos import` as a process, against the same rows put into SQLite with nothing else done.

The floor has its rows ready as tuples in memory and inserts them into the ledger's own table with its indexes, as
durably: it reads no file, types, checks, aggregates and hashes nothing, and writes no history.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.harness import Benchmark, Result, Side, compare
from features.kernel import tables
from features.kernel.ledger import Ledger
from features.kernel.seeds import generator

__all__ = ["benchmark"]

MANY, FEW = 1_000_000, 5_000
AT_ONCE = 50_000
_RECIPE = """kind: events
about: Orders, one a row
file: {format: csv}
time_zone: UTC
currency: EUR
columns:
  customer: {type: id}
  at: {type: time, format: "%Y-%m-%d %H:%M:%S"}
  number: {type: text}
  price: {type: number}
  items: {type: number}
used:
  - {reason: sale, event: order, one_per: [number], amount: SUM(price), properties: {items: SUM(items)}}
"""


def run(quick: bool) -> list[Result]:
    """Import a table of orders."""
    rows = FEW if quick else MANY
    with tempfile.TemporaryDirectory(prefix="kairos-bench-") as scratch:
        folder = Path(scratch)
        (folder / "orders.yaml").write_text(_RECIPE)
        _orders(rows).write_csv(folder / "orders.csv")
        ready = _imported(folder)
        ours = Side("kairos import", lambda: _told(ready), lambda: _in_new_home(folder, _import), {"file": "CSV"})
        floor = Side(
            "sqlite3 executemany",
            lambda: _told(_inserted(folder, ready)),
            lambda: _in_new_home(folder, lambda _, home: _insert(ready, home)),
            {"rows_at_once": AT_ONCE, "synchronous": "FULL", "journal_mode": "WAL"},
        )
        return [compare("imports", ours, floor, unit="s", equal=lambda a, b: a == b, settings={"rows": rows})]


def _orders(rows: int) -> pl.DataFrame:
    draw = generator(11, "orders")
    at = pl.Series(np.sort(draw.integers(1_700_000_000, 1_730_000_000, rows)) * 1_000_000).cast(pl.Datetime("us"))
    return pl.DataFrame(
        {
            "customer": draw.integers(0, max(rows // 20, 1), rows),
            "at": at.dt.to_string("%Y-%m-%d %H:%M:%S"),
            "number": draw.permutation(rows),
            "price": draw.gamma(2.0, 20.0, rows).round(2),
            "items": draw.integers(1, 9, rows),
        }
    )


def _imported(folder: Path) -> list[tuple[Any, ...]]:
    """What the import puts into the ledger."""
    with tempfile.TemporaryDirectory(dir=folder) as home:
        _import(folder, Path(home))
        return _stored(Path(home))


def _import(folder: Path, home: Path) -> float:
    """Seconds of the whole process, into an empty home."""
    script = "import sys, kairos; sys.argv[0] = 'kairos'; kairos.main()"
    arguments = ["import", str(folder / "orders.csv"), "--recipe", str(folder / "orders.yaml"), "--json"]
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=os.environ | {"KAIROS_HOME": str(home)},
        capture_output=True,
        check=True,
    )
    return time.perf_counter() - started


def _inserted(folder: Path, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """What the floor puts into the ledger."""
    with tempfile.TemporaryDirectory(dir=folder) as home:
        _insert(rows, Path(home))
        return _stored(Path(home))


def _insert(rows: list[tuple[Any, ...]], home: Path) -> float:
    """Seconds of putting the rows into a new ledger."""
    Ledger(f"sqlite:///{home / 'ledger.sqlite'}").close()
    names = [column.name for column in tables.events.columns if column.name != "seq"]
    statement = f"INSERT INTO events ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    started = time.perf_counter()
    with closing(sqlite3.connect(home / "ledger.sqlite", isolation_level=None)) as connection:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-131072"):
            connection.execute(f"PRAGMA {pragma}")
        for start in range(0, len(rows), AT_ONCE):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(statement, rows[start : start + AT_ONCE])
            connection.execute("COMMIT")
    return time.perf_counter() - started


def _in_new_home(folder: Path, work: Callable[[Path, Path], float]) -> float:
    """Do work in a home that is gone afterwards."""
    with tempfile.TemporaryDirectory(dir=folder) as home:
        return work(folder, Path(home))


def _stored(home: Path) -> list[tuple[Any, ...]]:
    """The events of a ledger as they stand, without their sequence."""
    with closing(sqlite3.connect(home / "ledger.sqlite")) as connection:
        return [row[1:] for row in connection.execute("SELECT * FROM events ORDER BY seq")]


def _told(rows: list[tuple[Any, ...]]) -> tuple[int, int]:
    """How many rows there are, and a hash of all of them."""
    return len(rows), hash(tuple(rows))


benchmark = Benchmark("kairos import of a million rows of CSV: bare inserts of the same rows into SQLite", run)
