"""Feast's sources, views and entity rows as `features.asof.read` takes them. Only Feast's plugins import this."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlparse

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from feast.data_format import ParquetFormat
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.offline_store import RetrievalMetadata
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df

from features.asof.files import ParquetTable, plain_type
from features.asof.read import Columns, View
from features.kernel.clock import from_micros
from features.kernel.errors import InvalidInput

__all__ = ["check_names", "columns_of", "local_parquet", "metadata_of", "spine_of", "view_of"]


def local_parquet(source: Any, config: Any) -> str | None:
    """Where a source's Parquet files are on this machine; None: it is something else."""
    if not isinstance(source, FileSource) or not isinstance(source.file_format or ParquetFormat(), ParquetFormat):
        return None
    path = source.path.removeprefix("file://")
    return None if urlparse(path).netloc else FileSource.get_uri_for_file_path(config.repo_path, path)


def columns_of(
    source: Any, config: Any, names: list[str], time: str, created: str | None
) -> tuple[Columns | None, list[str]]:
    """The columns of a source and the names to be pulled; None: it is not for us to read."""
    path = local_parquet(source, config)
    if path is None:
        return None, []
    table = ParquetTable(path)
    names = [each for each in [*names, time, *([created] if created else [])] if each != "__log_date"]
    table.check(names)
    columns = Columns(table, time, created or None)
    return (columns if columns.timed() else None), names


def view_of(view: Any, refs: list[str], full: bool, config: Any) -> View | None:
    """A feature view as it is asked for; None: its source is not for us to read."""
    source = view.batch_source
    if source is None:
        raise ValueError(f"Feature view '{view.name}' has no batch_source and cannot be queried.")
    path = local_parquet(source, config)
    if path is None:
        return None
    table = ParquetTable(path)
    stored = {new: old for old, new in source.field_mapping.items() if table.has(old)}
    prefix = f"{view.projection.name_to_use()}:"
    shown = f"{view.projection.name_alias or view.name}__" if full else ""
    features = [each.removeprefix(prefix) for each in refs if each.startswith(prefix)]
    renamed = view.projection.join_key_map or {}
    made = View(
        Columns(
            table,
            stored.get(source.timestamp_field, source.timestamp_field),
            stored.get(source.created_timestamp_column, source.created_timestamp_column) or None,
        ),
        keys={stored.get(each.name, each.name): renamed.get(each.name, each.name) for each in view.entity_columns},
        features={stored.get(each, each): f"{shown}{each}" for each in features},
        ttl=view.ttl,
    )
    created = [made.columns.created] if made.columns.created else []
    table.check([made.columns.time, *created, *made.keys, *made.features])
    return made if made.columns.timed() else None


# -- entity rows -------------------------------------------------------------------------------------------------------


def spine_of(entity_df: Any) -> tuple[pa.Table, str]:
    """Entity rows as Arrow, times in UTC, and the name of the column with their instants."""
    if isinstance(entity_df, pl.DataFrame):
        entity_df = entity_df.to_arrow()
    if isinstance(entity_df, pa.Table):
        stamp, other = np.dtype("datetime64[us]"), np.dtype(object)
        at = infer_event_timestamp_from_entity_df(
            {each.name: stamp if pa.types.is_timestamp(each.type) else other for each in entity_df.schema}
        )
    elif isinstance(entity_df, pd.DataFrame):
        at = infer_event_timestamp_from_entity_df(dict(zip(entity_df.columns, entity_df.dtypes, strict=True)))
        times = entity_df[at].infer_objects()
        if pd.api.types.is_string_dtype(times) or pd.api.types.is_object_dtype(times):
            entity_df = entity_df.assign(**{at: pd.to_datetime(times, utc=True)})
        entity_df = pa.Table.from_pandas(entity_df, preserve_index=False)
    else:
        remedy = "give the entity rows as a data frame; SQL and a range of dates need another offline store"
        raise InvalidInput("is no table", field="entity_df", value=entity_df, remedy=remedy)
    columns = [_plain_column(each) for each in entity_df.columns]
    return pa.table(columns, names=entity_df.column_names), at


def _plain_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    to = plain_type(column.type)
    if pa.types.is_timestamp(to) and to.unit == "ns":  # pandas's own unit; kept where microseconds would lose
        try:
            return column.cast(pa.timestamp("us", to.tz))
        except pa.ArrowInvalid:
            return column.cast(to)
    return column if column.type == to else column.cast(to)


def check_names(names: list[str], views: list[View]) -> None:
    """Raises InvalidInput unless the entity rows have every key, and no column would be there twice."""
    for view in views:
        for key in view.keys.values():
            if key not in names:
                remedy = f"the entity rows have {', '.join(names)}"
                raise InvalidInput("is missing from the entity rows", field="join key", value=key, remedy=remedy)
    asked = [each for view in views for each in view.features.values()]
    for name in asked:
        if name in names or asked.count(name) > 1:
            remedy = "ask for full feature names, or name the column of the entity rows otherwise"
            raise InvalidInput("would be there twice", field="feature", value=name, remedy=remedy)


def metadata_of(spine: pa.Table, at: str, refs: list[str]) -> RetrievalMetadata:
    """What was asked for; without an instant there is no first and no last."""
    ticks = pl.DataFrame(spine.select([at])).to_series().dt.timestamp("us").drop_nulls().to_numpy()
    ends = [from_micros(int(each)) for each in (ticks.min(), ticks.max())] if len(ticks) else [None, None]
    return RetrievalMetadata(refs, [each for each in spine.column_names if each != at], *ends)
