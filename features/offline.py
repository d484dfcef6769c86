"""Kairos's offline store for Feast: its DuckDB store with as-of joins in place of join and rank. Only Feast imports it.

    offline_store:
      type: features.offline.AsofOfflineStore

Local Parquet (a folder, one file, a pattern) is read here; any other source is left to the store it derives from.
The tests whose names begin with `test_differs` say where it differs from that store on purpose.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
from feast.infra.offline_stores import duckdb as stock
from feast.infra.offline_stores.file_source import FileLoggingDestination
from feast.infra.offline_stores.ibis import offline_write_batch_ibis
from feast.infra.offline_stores.offline_store import RetrievalJob
from feast.on_demand_feature_view import OnDemandFeatureView
from pydantic import PositiveInt
from typing_extensions import override

from features.asof.files import add, write_whole
from features.asof.job import AsofRetrievalJob, pulled
from features.asof.join import CHUNK_ROWS
from features.asof.read import Bounds, joined, latest, within
from features.asof.sources import check_names, columns_of, local_parquet, metadata_of, spine_of, view_of

__all__ = ["AsofOfflineStore", "AsofOfflineStoreConfig"]


class AsofOfflineStoreConfig(stock.DuckDBOfflineStoreConfig):  # type: ignore[misc]
    """Configuration of the store; the three numbers bound its memory."""

    type: Literal["features.offline.AsofOfflineStore"] = "features.offline.AsofOfflineStore"
    labels_at_once: PositiveInt = 1_000_000
    """Spine rows (or entities, when the latest rows are pulled) that are answered together."""
    chunk_rows: PositiveInt = CHUNK_ROWS
    """Rows of a view's files that are read together; files of any size take no more memory."""
    views_at_once: PositiveInt = 2
    """Views that are read side by side."""

    @property
    def bounds(self) -> Bounds:
        """The same, for the join."""
        return Bounds(self.labels_at_once, self.chunk_rows, self.views_at_once)


class AsofOfflineStore(stock.DuckDBOfflineStore):  # type: ignore[misc]
    """Feast's DuckDB store, reading local Parquet through `features.asof.join`."""

    @staticmethod
    @override
    def get_historical_features(
        config: Any,
        feature_views: list[Any],
        feature_refs: list[str],
        entity_df: pd.DataFrame | pa.Table | pl.DataFrame | str | None,
        registry: Any,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """The entity rows, in their order, with each view's features as they were known.

        Beside what Feast's signature names, `entity_df` may be an Arrow table or a Polars frame, which spares
        the conversions to pandas and back.

        Raises:
            InvalidInput: the entity rows are no table, or lack a key of a view.
        """
        spine, at = spine_of(entity_df)
        full, created_by_then = full_feature_names, filter_by_created_timestamp
        views = [view_of(each, feature_refs, full, config) for each in feature_views]
        readable = [each for each in views if each is not None]
        if len(readable) < len(views):
            return stock.DuckDBOfflineStore.get_historical_features(
                config, feature_views, feature_refs, spine.to_pandas(), registry, project, full, created_by_then
            )
        check_names(spine.column_names, readable)
        bounds = config.offline_store.bounds
        return AsofRetrievalJob(
            lambda: joined(spine, at, readable, bounds, created_by_then=created_by_then),
            config,
            on_demand=OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            full_feature_names=full,
            metadata=metadata_of(spine, at, feature_refs),
        )

    @staticmethod
    @override
    def pull_latest_from_table_or_query(
        config: Any,
        data_source: Any,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        """Each entity's latest row within [start, end]."""
        names = [*join_key_columns, *feature_name_columns]
        columns, names = columns_of(data_source, config, names, timestamp_field, created_timestamp_column)
        if columns is None:
            return stock.DuckDBOfflineStore.pull_latest_from_table_or_query(
                config,
                data_source,
                join_key_columns,
                feature_name_columns,
                timestamp_field,
                created_timestamp_column,
                start_date,
                end_date,
            )
        start, end = start_date.astimezone(UTC), end_date.astimezone(UTC)
        bounds = config.offline_store.bounds
        return pulled(lambda: latest(columns, join_key_columns, names, start, end, bounds), columns, names, config)

    @staticmethod
    @override
    def pull_all_from_table_or_query(
        config: Any,
        data_source: Any,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """All rows within [start, end]; without a date there is no bound on its side."""
        names = [*join_key_columns, *feature_name_columns]
        columns, names = columns_of(data_source, config, names, timestamp_field, created_timestamp_column)
        if columns is None:
            return stock.DuckDBOfflineStore.pull_all_from_table_or_query(
                config,
                data_source,
                join_key_columns,
                feature_name_columns,
                timestamp_field,
                created_timestamp_column,
                start_date,
                end_date,
            )
        start, end = (each.astimezone(UTC) if each else None for each in (start_date, end_date))
        rows = config.offline_store.chunk_rows
        return pulled(
            lambda: within(columns, names, start, end).collect_batches(chunk_size=rows), columns, names, config
        )

    @staticmethod
    @override
    def offline_write_batch(
        config: Any, feature_view: Any, table: pa.Table, progress: Callable[[int], Any] | None
    ) -> None:
        """Add rows to a view's source: one file more in a folder, at the end of a single file."""

        def write(rows: Any, source: Any, repo_path: str) -> None:
            path = local_parquet(source, config)
            if path is None:
                stock._write_data_source(rows, source, repo_path)
            else:
                add(path, table)

        offline_write_batch_ibis(config, feature_view, table, progress, write)
        if progress is not None:
            progress(table.num_rows)

    @staticmethod
    @override
    def write_logged_features(
        config: Any, data: pa.Table | Path, source: Any, logging_config: Any, registry: Any
    ) -> None:
        """Add served features to the folder of a log, made if need be."""
        destination = logging_config.destination
        assert isinstance(destination, FileLoggingDestination)
        folder = local_parquet(destination.to_data_source(), config)
        if folder is None:
            stock.DuckDBOfflineStore.write_logged_features(config, data, source, logging_config, registry)
            return
        rows = pyarrow.dataset.dataset(data, format="parquet").to_table() if isinstance(data, Path) else data
        if destination.partition_by:
            pq.write_to_dataset(rows, folder, partition_cols=list(destination.partition_by))
        else:
            write_whole(Path(folder) / f"{uuid.uuid4().hex}.parquet", [rows])
