"""Parquet files as a table of Feast's: a folder of any depth, one file or a pattern; local, replaced atomically."""

from __future__ import annotations

import glob
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from features.kernel.clock import now
from features.kernel.errors import InvalidInput, NotFound

__all__ = ["ParquetTable", "add", "plain", "plain_type", "write_whole"]

_PATTERN = set("*?[")


class ParquetTable:
    """What Parquet files hold, read when needed. Files are taken in the order of their paths, hidden ones left out.

    Args:
        path: a folder, a file or a pattern such as `/data/2024-*/*.parquet`.

    Raises:
        NotFound: there is no such file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.files = _files(path)
        if not self.files:
            raise NotFound("holds no Parquet file", field="path", value=path, remedy="write features there first")
        self.schema = pq.read_schema(self.files[0])
        """Of the first file, with columns added that only later ones have, once they were asked for."""
        self._grown = False

    def has(self, column: str) -> bool:
        """Whether any file has the column; where a file lacks it, it is missing in all its rows."""
        if column in self.schema.names or _hive(self.files[0], column):
            return True
        for file in reversed(self.files[1:]):
            later = pq.read_schema(file)
            if column in later.names:
                self.schema, self._grown = self.schema.append(later.field(column)), True
                return True
        return False

    def check(self, columns: Iterable[str]) -> None:
        """Raises InvalidInput unless each column is in some file."""
        for column in columns:
            if not self.has(column):
                choice = ", ".join(self.schema.names)
                raise InvalidInput(
                    "is no column of the files", field="column", value=column, remedy=f"{self.path} has {choice}"
                )

    def plain_types(self, columns: Iterable[str]) -> dict[str, pa.DataType | None]:
        """The type in which each column is handed out; None for one that stands in the path only."""
        return {
            name: plain_type(self.schema.field(name).type) if name in self.schema.names else None for name in columns
        }

    def scan(self) -> pl.LazyFrame:
        """All rows, file after file; integers and floats of narrower files are widened."""
        return pl.scan_parquet(
            self.files,
            schema=pl.from_arrow(self.schema.empty_table()).schema if self._grown else None,  # type: ignore[union-attr]
            glob=False,
            hive_partitioning=any("=" in part for part in Path(self.files[0]).parts) or None,
            low_memory=True,
            missing_columns="insert",
            extra_columns="ignore",
            cast_options=pl.ScanCastOptions(integer_cast="upcast", float_cast="upcast", categorical_to_string="allow"),
        )


def _files(path: str) -> list[str]:
    if Path(path).is_dir():
        found = Path(path).rglob("*.parquet")
        return sorted(str(each) for each in found if not _hidden(each.relative_to(path)) and each.is_file())
    if _PATTERN & set(path) and not Path(path).exists():
        matching = glob.glob(path, recursive=True)  # noqa: PTH207  patterns are absolute, which Path.glob refuses
        return sorted(each for each in matching if Path(each).is_file())
    return [path] if Path(path).is_file() else []


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _hive(file: str, column: str) -> bool:
    return any(part.startswith(f"{column}=") for part in Path(file).parts)


# -- types -------------------------------------------------------------------------------------------------------------


def plain_type(found: pa.DataType) -> pa.DataType:
    """The Arrow type in which Feast's DuckDB store hands out a column of a type: no views, dictionaries or zones.

    The one difference: nanoseconds keep their zone, where that store turns them into text.

    >>> str(plain_type(pa.list_(pa.large_string(), 3)))
    'list<item: string>'
    >>> str(plain_type(pa.timestamp("ms", "Europe/Paris")))
    'timestamp[us, tz=UTC]'
    """
    types = pa.types
    if types.is_dictionary(found):
        return plain_type(found.value_type)
    if types.is_timestamp(found):
        return pa.timestamp("ns" if found.unit == "ns" else "us", None if found.tz is None else "UTC")
    if types.is_map(found):
        return pa.map_(plain_type(found.key_type), plain_type(found.item_type))
    if isinstance(found, pa.StructType):
        return pa.struct([(each.name, plain_type(each.type)) for each in found])
    if types.is_list(found) or types.is_large_list(found) or types.is_fixed_size_list(found):
        return pa.list_(plain_type(found.value_type))
    return next((plain for asks, plain in _PLAIN if asks(found)), found)


_PLAIN = (
    (pa.types.is_large_string, pa.string()),
    (pa.types.is_string_view, pa.string()),
    (pa.types.is_null, pa.string()),
    (pa.types.is_large_binary, pa.binary()),
    (pa.types.is_binary_view, pa.binary()),
    (pa.types.is_fixed_size_binary, pa.binary()),
    (pa.types.is_date64, pa.date32()),
    (pa.types.is_time, pa.time64("ns")),
    (pa.types.is_float16, pa.float32()),
)


def plain(frame: pl.DataFrame, types: Sequence[pa.DataType | None]) -> list[pa.ChunkedArray]:
    """The columns of a frame in these Arrow types; None: what `plain_type` makes of it."""
    arrays = frame.to_arrow().columns
    return [each.cast(plain_type(each.type) if to is None else to) for each, to in zip(arrays, types, strict=True)]


# -- writing -----------------------------------------------------------------------------------------------------------


def add(path: str, table: pa.Table) -> None:
    """Add rows: a file more in a folder; a single file is replaced by one that has them at its end.

    Raises:
        InvalidInput: the path is a pattern, or the rows' types do not fit those of the file.
    """
    if not Path(path).exists() and _PATTERN & set(path):
        raise InvalidInput("cannot be written to", field="path", value=path, remedy="name a folder or a file")
    try:
        table = table.cast(pq.read_schema(_files(path)[-1])) if _files(path) else table
    except (pa.ArrowInvalid, ValueError) as error:
        raise InvalidInput(f"does not take these rows: {error}", field="path", value=path) from error
    if Path(path).is_dir() or not Path(path).suffix:
        # Its name sorts after files that are named by their instant: of equal rows the one written last is given.
        name = f"written-{now():%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:8]}.parquet"
        return write_whole(Path(path) / name, [table])
    return write_whole(Path(path), (each for tables in (_batches(path), [table]) for each in tables))


def _batches(path: str) -> Iterator[pa.Table]:
    for file in _files(path):
        with pq.ParquetFile(file) as opened:
            for i in range(opened.num_row_groups):
                yield opened.read_row_group(i)


def write_whole(path: Path, tables: Iterable[pa.Table]) -> None:
    """Write tables of one schema as one file, which is there when it is complete."""
    tables = iter(tables)
    first = next(tables)
    with _replacing(path) as temporary, pq.ParquetWriter(temporary, first.schema) as writer:
        writer.write_table(first)
        for each in tables:
            writer.write_table(each)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
