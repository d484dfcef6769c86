"""The as-of join: for each label, the latest row of its entity that is not after it.

A label is an entity and an instant. A table goes by in chunks, in any order: of each only key, time and row number are
joined, and the other columns are taken last, once, for the rows that labels were given. What labels hold so far
competes with what the next chunk offers, so memory does not grow with the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["CHUNK_ROWS", "Labels", "Matches", "Table", "match"]

CHUNK_ROWS = 524_288
"""Rows of a table that are looked at together: with 15 float32 columns about 50 MB."""

Ints = NDArray[np.int64]

_CODE, _TIME, _CREATED, _SINCE, _ROW, _PLACE = "code", "time", "created", "since", "row", "place"
_NEVER = np.iinfo(np.int64).min
_ALWAYS = np.iinfo(np.int64).max
_NANOSECONDS = {"ms": 1_000_000, "us": 1_000, "ns": 1}


@dataclass(frozen=True, slots=True)
class Table:
    """Rows to be matched, read when needed.

    Attributes:
        rows: has a column for each name below; `time` and `created` are Datetime, without a zone in UTC.
        keys: the key columns; none, where there is one entity only.
        time: when a row became true; where it is missing the row is given to nobody.
        values: the columns to be given to the labels.
        created: when a row was written, which decides between rows of equal time.
    """

    rows: pl.LazyFrame
    keys: tuple[str, ...]
    time: str
    values: tuple[str, ...]
    created: str | None = None


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels in the order of time. Those without an instant or a key match nothing and are not among them.

    Attributes:
        count: all labels, m; n of them can match.
        entities: distinct keys, and the code of each.
        order: [n] which label stands at each place.
        code: [n] its entity.
        at: [n] its instant, in ticks of `unit` since 1970.
        unit: "us" or "ns".
        nulls_equal: a missing key is an entity like any other.
    """

    count: int
    entities: pl.DataFrame
    order: Ints
    code: pl.Series
    at: Ints
    unit: str
    nulls_equal: bool

    @classmethod
    def of(cls, keys: pl.DataFrame, at: pl.Series, *, nulls_equal: bool = False) -> Labels:
        """Labels of these keys [m, k] at these instants [m] (Datetime). No key column: all are of one entity."""
        assert isinstance(at.dtype, pl.Datetime)
        unit: Literal["us", "ns"] = "ns" if at.dtype.time_unit == "ns" else "us"
        entities = keys.unique().with_columns(pl.int_range(pl.len(), dtype=pl.UInt32).alias(_CODE))
        if not keys.width:
            entities = pl.DataFrame({_CODE: [0]}, schema={_CODE: pl.UInt32})
        code = _codes(keys, entities, len(at), nulls_equal)
        slim = pl.DataFrame([at.dt.timestamp(unit).alias(_TIME), code]).with_row_index(_ROW)
        slim = slim.drop_nulls([_TIME, _CODE]).sort(_TIME)
        order, ticks = slim[_ROW].to_numpy().astype(np.int64), slim[_TIME].to_numpy()
        return cls(len(at), entities, order, slim[_CODE], ticks, unit, nulls_equal)

    def latest(self, unit: str) -> Ints:
        """[n] the last tick of another unit that is not after each label."""
        return _converted(self.at, self.unit, unit)

    def earliest(self, unit: str, ttl: timedelta | None) -> Ints:
        """[n] the first tick of another unit that has not expired at each label: None or zero never expires."""
        if not ttl:
            return np.full(len(self.at), _NEVER)
        ticks = (ttl // timedelta(microseconds=1)) * (_NANOSECONDS["us"] // _NANOSECONDS[self.unit])
        since = np.maximum(self.at, -_ALWAYS + ticks) - ticks
        return -_converted(-since, self.unit, unit)


def _codes(keys: pl.DataFrame, entities: pl.DataFrame, height: int, nulls_equal: bool) -> pl.Series:
    """The code of each row's key; null for a key that no label has."""
    if not keys.width:
        return pl.Series(_CODE, np.zeros(height, np.uint32))
    names = entities.columns[:-1]
    return keys.join(
        entities, left_on=keys.columns, right_on=names, how="left", maintain_order="left", nulls_equal=nulls_equal
    )[_CODE]


def _converted(ticks: Ints, unit: str, to: str) -> Ints:
    """Ticks of another unit, rounded down; beyond its range they are its ends."""
    have, want = _NANOSECONDS[unit], _NANOSECONDS[to]
    if have < want:
        return np.asarray(ticks // (want // have))
    times = have // want
    return np.asarray(np.clip(ticks, -(_ALWAYS // times), _ALWAYS // times) * times)


@dataclass(frozen=True, slots=True)
class Matches:
    """What m labels were given.

    Attributes:
        values: [m] the columns of each label's row; nulls where nothing was found.
        found: [m] whether there is a row.
    """

    values: pl.DataFrame
    found: NDArray[np.bool_]


def match(
    labels: Labels,
    table: Table,
    *,
    ttl: timedelta | None = None,
    created_by_then: bool = False,
    chunk_rows: int = CHUNK_ROWS,
) -> Matches:
    """Find each label's row: the latest of its entity that is not after it and has not expired.

    Args:
        ttl: a row of time t is given to labels in [t, t + ttl], both ends included; None or zero: to all from t on.
        created_by_then: leave out rows that were created after the label, or have no time of creation.
        chunk_rows: rows read at a time; beside them memory holds two rows a label.

    Of rows with equal time the one created last is given, a missing time of creation being the first of all; of equal
    ones the last that was read.
    """
    schema = table.rows.collect_schema()
    held = _Held(len(labels.at), pl.DataFrame(schema={name: schema[name] for name in table.values}))
    if len(labels.at):
        units = [_unit(schema[name]) for name in (table.time, table.created) if name is not None]
        unit = min(units, key=_NANOSECONDS.__getitem__)
        asked = pl.DataFrame([pl.Series(_TIME, labels.latest(unit)), labels.code])
        alive_from = labels.earliest(unit, ttl)
        for chunk in _in_range(labels, table, schema[table.time], ttl).collect_batches(chunk_size=chunk_rows):
            slim = _in_order(_slim(labels, table, chunk, unit))
            if created_by_then and table.created is not None:
                slim = _known_since(slim)
            held.offer(*_offered(asked, slim, alive_from), chunk)
    return held.matches(labels)


def _offered(asked: pl.DataFrame, slim: pl.DataFrame, alive_from: Ints) -> tuple[Ints, pl.DataFrame]:
    """Places of the labels that a chunk has a row for, and those rows of `slim`."""
    since = pl.col(_SINCE if _SINCE in slim.columns else _TIME).alias(_TIME)
    rows = slim.select(since, _CODE).with_row_index(_PLACE)
    found = asked.join_asof(rows, on=_TIME, by=_CODE, check_sortedness=False)[_PLACE]
    place = found.is_not_null().arg_true().to_numpy()
    offered = slim[found.drop_nulls()]
    alive = offered[_TIME].to_numpy() >= alive_from[place]
    return place[alive], offered.filter(alive)


class _Held:
    """The best row so far of each of n labels in the order of time."""

    def __init__(self, count: int, empty: pl.DataFrame) -> None:
        self.time = np.full(count, _NEVER)
        self.created = np.full(count, _NEVER)
        self.row = np.full(count, -1)
        """[n] where a label's row is among those kept, or -1."""
        self.kept = [empty]
        self.height = 0

    def offer(self, place: Ints, rows: pl.DataFrame, chunk: pl.DataFrame) -> None:
        """Let rows of a chunk compete with those held; of equal rows the later one is taken.

        Args:
            place: [r] the label that each is offered to, at most one a label.
            rows: [r] the row's number in the chunk, and its times.
            chunk: has the columns that are kept.
        """
        row, time = rows[_ROW].to_numpy(), rows[_TIME].to_numpy()
        created = rows[_CREATED].to_numpy() if _CREATED in rows.columns else np.zeros(len(row), np.int64)
        wins = (time > self.time[place]) | ((time == self.time[place]) & (created >= self.created[place]))
        place = place[wins]
        self.time[place], self.created[place] = time[wins], created[wins]
        # In the order of time, as rows mostly lie in the files: taking them is then kind to the processor's cache.
        self.kept.append(chunk.select(self.kept[0].columns)[row[wins]])
        self.row[place] = self.height + np.arange(len(place))
        self.height += len(place)
        if self.height > 2 * len(self.row):  # half of them, or more, were overtaken since
            used = np.flatnonzero(self.row >= 0)
            self.kept = [self.kept[0].clear(), pl.concat(self.kept)[self.row[used]]]
            self.row[used], self.height = np.arange(len(used)), len(used)

    def matches(self, labels: Labels) -> Matches:
        """What is held, in the labels' own order."""
        row = np.full(labels.count, -1)
        row[labels.order] = self.row
        chosen = pl.Series(row)
        kept = pl.concat(self.kept, rechunk=True)
        return Matches(kept.select(pl.all().gather(chosen.set(chosen < 0, None))), row >= 0)


def _in_range(labels: Labels, table: Table, dtype: pl.DataType, ttl: timedelta | None) -> pl.LazyFrame:
    """Rows that some label may be given by their time; files and row groups without any are not read."""
    time, unit = pl.col(table.time), _unit(dtype)
    rows = table.rows.filter(time <= pl.lit(int(labels.latest(unit).max())).cast(dtype))
    if ttl:
        rows = rows.filter(time >= pl.lit(int(labels.earliest(unit, ttl).min())).cast(dtype))
    return rows


def _slim(labels: Labels, table: Table, chunk: pl.DataFrame, unit: str) -> pl.DataFrame:
    """Number, code and times of a chunk's rows that have a label; a missing time of creation is the least."""
    columns = [_codes(chunk.select(table.keys), labels.entities, chunk.height, labels.nulls_equal)]
    columns.append(_ticks(chunk[table.time], unit).alias(_TIME))
    if table.created is not None:
        columns.append(_ticks(chunk[table.created], unit).alias(_CREATED))
    return pl.DataFrame(columns).with_row_index(_ROW).drop_nulls(_CODE)


def _in_order(slim: pl.DataFrame) -> pl.DataFrame:
    """By time, then time of creation, then as they were read; what lies so already is left as it is."""
    if _CREATED not in slim.columns:
        return slim if slim[_TIME].is_sorted() else slim.sort(_TIME, maintain_order=True)
    time, created = slim[_TIME].to_numpy(), slim[_CREATED].to_numpy()
    later, same = time[1:] > time[:-1], time[1:] == time[:-1]  # not their differences: the least integer has none
    if (later | (same & (created[1:] >= created[:-1]))).all():
        return slim
    return slim.sort(_TIME, _CREATED, maintain_order=True)


def _known_since(slim: pl.DataFrame) -> pl.DataFrame:
    """For each instant since when one more row of an entity was both true and written, the best of those so far."""
    ranked = slim.filter(pl.col(_CREATED) != _NEVER)
    known = ranked.select(_CODE, pl.max_horizontal(_TIME, _CREATED).alias(_SINCE)).with_row_index(_PLACE)
    known = known.sort(_SINCE, maintain_order=True)
    best = known.select(pl.col(_PLACE).cum_max().over(_CODE))[_PLACE]
    return ranked[best].with_columns(known[_SINCE])


def _unit(dtype: pl.DataType) -> str:
    assert isinstance(dtype, pl.Datetime)
    return dtype.time_unit


def _ticks(times: pl.Series, unit: str) -> pl.Series:
    """Times in ticks of a unit, missing ones as the least integer."""
    ticks = times.to_physical()
    if unit != _unit(times.dtype):
        ticks = pl.Series(_converted(ticks.fill_null(0).to_numpy(), _unit(times.dtype), unit)).set(
            ticks.is_null(), None
        )
    return ticks.fill_null(_NEVER)
