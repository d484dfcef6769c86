"""What a training set asks of feature views, and how it is read: views of Parquet files joined to a spine, in order.

Knows nothing of Feast but the attributes of its views and sources, so that it can be read and tested without.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import polars as pl
import pyarrow as pa

from features.asof.files import ParquetTable, plain
from features.asof.join import CHUNK_ROWS, Labels, Table, match
from features.kernel.errors import InvalidInput

__all__ = ["Bounds", "Columns", "View", "joined", "latest", "within"]

_TIME, _CREATED = "time", "created"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is held in memory.

    Attributes:
        labels: spine rows, or entities, that are answered at a time.
        chunk: rows of a view that are read at a time.
        views: views that are read side by side.
    """

    labels: int = 1_000_000
    chunk: int = CHUNK_ROWS
    views: int = 2


@dataclass(frozen=True, slots=True)
class Columns:
    """A table's columns by their names in its files."""

    table: ParquetTable
    time: str
    created: str | None = None

    def timed(self) -> bool:
        """Whether the times are timestamps or dates, and not text."""
        stamps = [self.table.schema.field(name).type for name in (self.time, self.created) if name is not None]
        return all(pa.types.is_timestamp(each) or pa.types.is_date(each) for each in stamps)

    def rows(self, keys: Sequence[str], values: Sequence[str]) -> Table:
        """The table with columns `k0…`, `time`, `created`, `v0…`, so that no name clashes with those of the join."""
        scan = self.table.scan()
        schema = scan.collect_schema()
        exprs = [_text(pl.col(name), schema[name]).alias(f"k{i}") for i, name in enumerate(keys)]
        exprs += [_stamp(pl.col(self.time), schema[self.time]).alias(_TIME)]
        if self.created is not None:
            exprs += [_stamp(pl.col(self.created), schema[self.created]).alias(_CREATED)]
        exprs += [pl.col(name).alias(f"v{i}") for i, name in enumerate(values)]
        return Table(
            scan.select(exprs),
            keys=tuple(f"k{i}" for i in range(len(keys))),
            time=_TIME,
            values=tuple(f"v{i}" for i in range(len(values))),
            created=None if self.created is None else _CREATED,
        )


def _text(key: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    return key.cast(pl.String) if isinstance(dtype, (pl.Categorical, pl.Enum)) else key


def _stamp(time: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    return time if isinstance(dtype, pl.Datetime) else time.cast(pl.Datetime("us"))


@dataclass(frozen=True, slots=True)
class View:
    """A feature view as a training set asks for it.

    Attributes:
        columns: where its rows are.
        keys: column of the files → column of the spine.
        features: column of the files → name in the training set.
        ttl: how long a row is given; None or zero: for ever.
    """

    columns: Columns
    keys: Mapping[str, str]
    features: Mapping[str, str]
    ttl: timedelta | None = None


def joined(
    spine: pa.Table, at: str, views: Sequence[View], bounds: Bounds, *, created_by_then: bool = False
) -> Iterator[pa.Table]:
    """The spine with each view's features as they were known, in its order, part after part.

    Args:
        spine: has a timestamp column `at` and the views' keys; its other columns are kept.
        created_by_then: leave out rows that were written after the spine row's instant.
    """
    for start in range(0, max(spine.num_rows, 1), bounds.labels):
        part = spine.slice(start, bounds.labels)
        reading = _Part(pl.DataFrame(part), at, created_by_then, bounds.chunk)
        for view in views:  # labels are put in order before threads share them
            reading.labels(view)
        with ThreadPoolExecutor(bounds.views) as threads:
            for view, columns in zip(views, threads.map(reading.features, views), strict=True):
                for name, values in zip(view.features.values(), columns, strict=True):
                    part = part.append_column(name, values)
        yield part


@dataclass(frozen=True, slots=True)
class _Part:
    """Spine rows that are answered together. Views of the same keys share their labels."""

    spine: pl.DataFrame
    at: str
    created_by_then: bool
    chunk: int
    known: dict[tuple[object, ...], Labels] = field(default_factory=dict)

    def labels(self, view: View) -> Labels:
        """The spine's rows as labels of a view's entities."""
        rows = view.columns.rows(list(view.keys), [])
        dtypes = [dtype for name, dtype in rows.rows.collect_schema().items() if name in rows.keys]
        cached = (*view.keys.values(), *dtypes)
        if cached not in self.known:
            pairs = zip(view.keys.values(), dtypes, strict=True)
            keys = [_fitting(self.spine[name], dtype) for name, dtype in pairs]
            self.known[cached] = Labels.of(pl.DataFrame(keys), _instants(self.spine[self.at]))
        return self.known[cached]

    def features(self, view: View) -> list[pa.ChunkedArray]:
        """Its features, one array a column."""
        table = view.columns.rows(list(view.keys), list(view.features))
        found = match(
            self.labels(view),
            table,
            ttl=view.ttl,
            created_by_then=self.created_by_then,
            chunk_rows=self.chunk,
        )
        return plain(found.values, list(view.columns.table.plain_types(view.features).values()))


def _instants(at: pl.Series) -> pl.Series:
    return at if isinstance(at.dtype, pl.Datetime) else at.cast(pl.Datetime("us"))


def _fitting(key: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Keys in the type that they have in the files; those that have no equal there are missing."""
    key = key.cast(pl.String) if isinstance(key.dtype, (pl.Categorical, pl.Enum)) else key
    if key.dtype == dtype or key.dtype == pl.Null:
        return key.cast(dtype)
    if not (key.dtype.is_numeric() and dtype.is_numeric()):
        remedy = f"give it as {dtype}, as it is in the files"
        raise InvalidInput(f"is {key.dtype} and cannot be compared", field=key.name, remedy=remedy)
    fitting = key.cast(dtype, strict=False)
    return fitting.set(~(fitting.cast(key.dtype, strict=False) == key).fill_null(False), None)


# -- without a spine ---------------------------------------------------------------------------------------------------


def within(columns: Columns, names: Sequence[str], start: datetime | None, end: datetime | None) -> pl.LazyFrame:
    """Rows with `start <= time <= end` (aware instants; None: without a bound), columns as in the files."""
    time = pl.col(columns.time)
    return _between(columns.table.scan(), time, start, end).select(names)


def _between(rows: pl.LazyFrame, time: pl.Expr, start: datetime | None, end: datetime | None) -> pl.LazyFrame:
    zone = rows.select(time).collect_schema().dtypes()[0]
    aware = isinstance(zone, pl.Datetime) and zone.time_zone is not None
    for bound, keep in ((start, time.__ge__), (end, time.__le__)):
        if bound is not None:
            rows = rows.filter(keep(pl.lit(bound if aware else bound.replace(tzinfo=None))))
    return rows


def latest(
    columns: Columns, keys: Sequence[str], names: Sequence[str], start: datetime, end: datetime, bounds: Bounds
) -> Iterator[pl.DataFrame]:
    """Each entity's latest row within [start, end] (aware instants), in order of the keys, columns as in the files."""
    table = columns.rows(keys, names)
    rows = _between(table.rows, pl.col(_TIME), start, end)
    table = Table(rows, table.keys, _TIME, table.values, table.created)
    entities = rows.select(table.keys).unique().collect(engine="streaming") if keys else pl.DataFrame({"one": [0]})
    for part in entities.sort(pl.all()).iter_slices(bounds.labels):  # who merges views needs them in one order
        instants = pl.repeat(end, part.height, dtype=pl.Datetime("us", "UTC"), eager=True)
        labels = Labels.of(part.select(table.keys), instants, nulls_equal=True)
        found = match(labels, table, chunk_rows=bounds.chunk)
        yield found.values.filter(found.found).rename(dict(zip(table.values, names, strict=True)))
