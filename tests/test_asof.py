"""The as-of join alone: against a slow oracle, at the edges of time, in bounded memory; and Parquet files as tables."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.asof.files import ParquetTable, add
from features.asof.join import Labels, Table, match
from features.kernel.errors import InvalidInput, NotFound

HOUR = 3_600_000_000
UNITS = {"ms": 1_000_000, "us": 1_000, "ns": 1}


def instants(ticks: list[int | None], unit: str = "us", zone: str | None = "UTC") -> pl.Series:
    return pl.Series(ticks, dtype=pl.Int64).cast(pl.Datetime(unit)).dt.replace_time_zone(zone)  # type: ignore[arg-type]


def table(keys: dict[str, Any], time: pl.Series, created: pl.Series | None = None) -> Table:
    columns = keys | {"time": time, "value": range(len(time))} | ({} if created is None else {"created": created})
    frame = pl.DataFrame(columns).lazy()
    return Table(frame, tuple(keys), "time", ("value",), None if created is None else "created")


def values(labels: Labels, rows: Table, **how: Any) -> list[int | None]:
    return match(labels, rows, **how).values["value"].to_list()


ticks = st.one_of(st.none(), st.integers(0, 6))
unit = st.sampled_from(list(UNITS))


@settings(max_examples=300, deadline=None)
@given(
    rows=st.lists(st.tuples(st.sampled_from(["a", "b", None]), ticks, ticks), max_size=12),
    asked=st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), ticks), min_size=1, max_size=8),
    units=st.tuples(unit, unit, unit),
    ttl=st.sampled_from([None, 0, 1, 3]),
    created_by_then=st.booleans(),
    nulls_equal=st.booleans(),
    chunk=st.sampled_from([1, 2, 1000]),
)
def test_match_gives_what_a_search_through_all_rows_gives(
    rows: list[tuple[str | None, int | None, int | None]],
    asked: list[tuple[str | None, int | None]],
    units: tuple[str, str, str],
    ttl: int | None,
    created_by_then: bool,
    nulls_equal: bool,
    chunk: int,
) -> None:
    # Ticks of a millisecond, written in each column's own unit.
    def stamps(of: list[int | None], unit: str) -> pl.Series:
        return instants([None if each is None else each * 1_000_000 // UNITS[unit] for each in of], unit)

    def fits(row: tuple[str | None, int | None, int | None], key: str | None, at: int | None) -> bool:
        of, time, created = row
        return (
            of == key
            and (key is not None or nulls_equal)
            and at is not None
            and time is not None
            and time <= at
            and (not ttl or at <= time + ttl)
            and (not created_by_then or (created is not None and created <= at))
        )

    found = [
        max(
            (i for i, row in enumerate(rows) if fits(row, key, at)),
            key=lambda i: (rows[i][1], -1 if rows[i][2] is None else rows[i][2], i),  # type: ignore[return-value]
            default=None,
        )
        for key, at in asked
    ]
    keys = pl.Series([key for key, _ in asked], dtype=pl.String).alias("key")
    labels = Labels.of(keys.to_frame(), stamps([at for _, at in asked], units[0]), nulls_equal=nulls_equal)
    searched = table(
        {"key": pl.Series([row[0] for row in rows], dtype=pl.String)},
        stamps([row[1] for row in rows], units[1]),
        stamps([row[2] for row in rows], units[2]),
    )
    lived = None if ttl is None else timedelta(milliseconds=ttl)
    assert values(labels, searched, ttl=lived, created_by_then=created_by_then, chunk_rows=chunk) == found


def test_of_equal_rows_the_last_that_was_read_is_given_whatever_the_chunks() -> None:
    rows = table({"key": ["a"] * 5}, instants([7] * 5), instants([1, 3, 3, 3, 2]))
    labels = Labels.of(pl.DataFrame({"key": ["a"]}), instants([9]))
    assert [values(labels, rows, chunk_rows=size) for size in (1, 2, 3, 10)] == [[3]] * 4


def test_a_missing_time_of_creation_is_before_every_other() -> None:
    labels = Labels.of(pl.DataFrame({"key": ["a"]}), instants([9 * HOUR]))
    for created, best in (([HOUR, None], 0), ([None, HOUR], 1), ([None, None], 1)):
        rows = table({"key": ["a", "a"]}, instants([7 * HOUR] * 2), instants(created))
        assert [values(labels, rows, chunk_rows=size) for size in (1, 2)] == [[best]] * 2


def test_a_row_lives_from_its_own_instant_to_the_end_of_its_ttl_both_included() -> None:
    rows = table({"key": ["a"]}, instants([10 * HOUR]))
    asked = [10 * HOUR - 1, 10 * HOUR, 12 * HOUR, 12 * HOUR + 1]
    labels = Labels.of(pl.DataFrame({"key": ["a"] * 4}), instants(asked))
    assert values(labels, rows, ttl=timedelta(hours=2)) == [None, 0, 0, None]


def test_a_fraction_of_a_microsecond_counts() -> None:
    rows = table({"key": ["a", "a"]}, instants([1_500, 2_500], "ns"))
    labels = Labels.of(pl.DataFrame({"key": ["a"] * 3}), instants([1_499, 1_500, 2_499], "ns"))
    assert values(labels, rows) == [None, 0, 0]
    coarse = Labels.of(pl.DataFrame({"key": ["a"] * 3}), instants([1, 2, 3]))
    assert values(coarse, rows) == [None, 0, 1]
    assert values(coarse, rows, ttl=timedelta(microseconds=1)) == [None, 0, 1]


def test_instants_that_nanoseconds_cannot_hold_are_before_or_after_all_that_they_can() -> None:
    rows = table({"key": ["a"]}, instants([0], "ns"))
    far = [datetime(1600, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)]
    labels = Labels.of(pl.DataFrame({"key": ["a", "a"]}), pl.Series(far, dtype=pl.Datetime("us", "UTC")))
    assert values(labels, rows) == [None, 0]
    assert values(labels, rows, ttl=timedelta(days=365)) == [None, None]


def test_times_without_a_zone_are_utc_and_zones_are_instants() -> None:
    rows = table({"key": ["a"]}, instants([HOUR], zone=None))
    paris = instants([HOUR, 2 * HOUR], zone="Europe/Paris")  # an hour ahead
    assert values(Labels.of(pl.DataFrame({"key": ["a", "a"]}), paris), rows) == [None, 0]


def test_entities_of_several_keys_and_of_none() -> None:
    at = instants([5, 5])
    pairs = table({"one": ["a", "a"], "two": [1, 2]}, instants([1, 2]))
    assert values(Labels.of(pl.DataFrame({"x": ["a", "a"], "y": [2, 3]}), at), pairs) == [1, None]
    world = table({}, instants([1, 3, 9]))
    assert values(Labels.of(pl.DataFrame(), at), world) == [1, 1]


def test_a_table_far_larger_than_its_bound_takes_no_more_memory(tmp_path: Path) -> None:
    """Twenty times the rows, not the memory: held are a chunk, what is read ahead, and a row a label."""
    rows, wide = 100_000, 30
    part = pl.DataFrame({"key": [f"c{i % 500}" for i in range(rows)]}).with_columns(
        pl.Series([float(i) for i in range(rows)]).alias(f"x{j}") for j in range(wide)
    )
    (tmp_path / "large").mkdir()
    for i in range(20):
        named = part.with_columns(instants([i * HOUR] * rows).alias("time"))
        named.write_parquet(tmp_path / "large" / f"{i:02}.parquet", compression="uncompressed")
    (tmp_path / "small").mkdir()
    named.write_parquet(tmp_path / "small" / "19.parquet", compression="uncompressed")
    peaks = {name: _peak_megabytes(tmp_path / name) for name in ("small", "large")}
    on_disk = sum(each.stat().st_size for each in (tmp_path / "large").iterdir()) / 2**20
    assert on_disk > 400
    assert peaks["large"] - peaks["small"] < on_disk / 2


def _peak_megabytes(folder: Path) -> float:
    script = """
import sys
from pathlib import Path
import polars as pl
from features.asof.join import Labels, Table, match
from features.asof.files import ParquetTable
keys = pl.DataFrame({"key": [f"c{i}" for i in range(500)]})
at = pl.Series([10**15] * 500, dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))
names = tuple(f"x{i}" for i in range(30))
found = match(Labels.of(keys, at), Table(ParquetTable(sys.argv[1]).scan(), ("key",), "time", names), chunk_rows=20_000)
assert found.found.all() and found.values["x0"].min() == 99_500.0
status = Path("/proc/self/status").read_text().splitlines()
print(next(int(line.split()[1]) for line in status if "VmHWM" in line) / 1024)
"""
    command = [sys.executable, "-c", script, str(folder)]
    return float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


# -- files -------------------------------------------------------------------------------------------------------------


def test_a_table_is_a_folder_a_file_or_a_pattern_and_hidden_files_are_not_read(tmp_path: Path) -> None:
    for name in ("b/2.parquet", "a/1.parquet", "a/.half-written.parquet", ".staged/3.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        pq.write_table(pa.table({"name": [name]}), tmp_path / name)
    read = {
        path: ParquetTable(str(tmp_path / path)).scan().collect()["name"].to_list()
        for path in ("", "a", "*/*.parquet", "b/2.parquet")
    }
    assert read[""] == read["*/*.parquet"] == ["a/1.parquet", "b/2.parquet"]
    assert (read["a"], read["b/2.parquet"]) == (["a/1.parquet"], ["b/2.parquet"])


@pytest.mark.parametrize("path", ["nothing", "nothing.parquet", "no*.parquet"])
def test_a_table_without_files_is_not_found(tmp_path: Path, path: str) -> None:
    with pytest.raises(NotFound, match="holds no Parquet file"):
        ParquetTable(str(tmp_path / path))


def test_a_column_that_only_later_files_have_is_missing_in_the_earlier_ones(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([1], pa.int32())}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": pa.array([2], pa.int32()), "b": ["new"]}), tmp_path / "2.parquet")
    grown = ParquetTable(str(tmp_path))
    grown.check(["a", "b"])
    assert grown.scan().collect().to_dict(as_series=False) == {"a": [1, 2], "b": [None, "new"]}
    with pytest.raises(InvalidInput, match=r"column: is no column of the files \(got 'c'\)"):
        grown.check(["c"])


def test_added_rows_are_a_file_more_or_the_end_of_the_one_file(tmp_path: Path) -> None:
    rows = [pa.table({"a": pa.array([i], pa.int32())}) for i in range(3)]
    folder, file = tmp_path / "folder", tmp_path / "file.parquet"
    for each in rows:
        add(str(folder), each)
        add(str(file), each)
    assert len(list(folder.iterdir())) == 3
    for path in (folder, file):
        assert ParquetTable(str(path)).scan().collect()["a"].to_list() == [0, 1, 2]
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


def test_rows_that_do_not_fit_are_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    file = tmp_path / "file.parquet"
    add(str(file), pa.table({"a": [1]}))
    for other in (pa.table({"a": ["one"]}), pa.table({"b": [1]})):
        with pytest.raises(InvalidInput, match="does not take these rows"):
            add(str(file), other)
    with pytest.raises(InvalidInput, match="name a folder or a file"):
        add(str(tmp_path / "*.parquet"), pa.table({"a": [1]}))
    assert pq.read_table(file).to_pydict() == {"a": [1]}
