"""The offline store's files: one Parquet file a view and instant, replaced atomically, a folder a table."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from features.view import Feature, FeatureView, column_type

__all__ = ["instants", "name_of", "prepare", "rows_of", "schema", "stored", "write"]

_NAME = "%Y%m%dT%H%M%S%f.parquet"
_INSTANT = re.compile(r"\d{8}T\d{12}\.parquet")
_EMPTY = "none.parquet"


def prepare(offline: Path, views: Mapping[str, FeatureView]) -> None:
    """Make each view's folder, with an empty file in it: Feast cannot read a table without one."""
    for view in views.values():
        folder = offline / view.name
        folder.mkdir(parents=True, exist_ok=True)
        if not any(folder.glob("*.parquet")):
            _replace(pl.DataFrame(schema=schema(view)), folder / _EMPTY)


def write(offline: Path, frames: Mapping[str, pl.DataFrame], views: Mapping[str, FeatureView]) -> dict[str, int]:
    """Write view frames; a row replaces the one that the same customer had at the same instant.

    Returns:
        Rows written by view. Rows of unknown customers (nulls only) are left out: they read the same without.
    """
    return {name: _write_view(views[name], offline, frame) for name, frame in frames.items()}


def rows_of(view: FeatureView, frame: pl.DataFrame) -> pl.DataFrame:
    """A view's frame as Feast takes it: its key, `event_timestamp`, features; known customers or accounts only."""
    features = [each.name for each in view.features]
    anything = pl.any_horizontal(pl.col(features).is_not_null())
    return frame.filter(anything).select(view.key, pl.col("as_of").alias("event_timestamp"), *features)


def _write_view(view: FeatureView, offline: Path, frame: pl.DataFrame) -> int:
    rows = stored(view, frame)
    for (instant,), part in rows.partition_by("event_timestamp", as_dict=True).items():
        assert isinstance(instant, datetime)
        path = offline / view.name / name_of(instant)
        if path.exists():  # another population at the same instant keeps its rows
            part = pl.concat([pl.read_parquet(path).join(part, on=view.key, how="anti"), part])
        _replace(part.sort(view.key), path)
    return rows.height


def stored(view: FeatureView, frame: pl.DataFrame) -> pl.DataFrame:
    """A view's frame as its files hold it: `rows_of`, in the columns and types of `schema`."""
    return rows_of(view, frame).select(pl.col(name).cast(dtype) for name, dtype in schema(view).items())


def name_of(instant: datetime) -> str:
    """The name of an instant's file."""
    return instant.strftime(_NAME)


def instants(offline: Path, view: FeatureView) -> list[datetime]:
    """The instants of a view's files, in order; files that others laid beside them have none."""
    stems = (each.stem for each in (offline / view.name).glob("*.parquet") if _INSTANT.fullmatch(each.name))
    return sorted(datetime.strptime(each, _NAME.removesuffix(".parquet")).replace(tzinfo=UTC) for each in stems)


def schema(view: FeatureView) -> dict[str, pl.DataType | type[pl.DataType]]:
    """The columns of a view's files."""
    # Microseconds: Feast's DuckDB store fails on nanoseconds.
    columns = {each.name: _stored_type(each) for each in view.features}
    return {view.key: pl.String, "event_timestamp": pl.Datetime("us", "UTC"), **columns}


def _stored_type(feature: Feature) -> pl.DataType | type[pl.DataType]:
    # Feast's arrays have any length, and its readers take no other.
    return column_type(feature) if feature.length is None else pl.List(pl.Float32)


def _replace(frame: pl.DataFrame, path: Path) -> None:
    # Beside the view's folder, not in it: a reader of the folder must not meet it.
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent.parent / f".{path.parent.name}-{path.name}-{os.getpid()}"
    frame.write_parquet(temporary)
    temporary.replace(path)
