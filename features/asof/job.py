"""Feast's retrieval job over rows that come part after part. Only Feast's plugins import this module."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ibis  # type: ignore[import-untyped]
import pandas as pd
import polars as pl
import pyarrow as pa
from feast.infra.offline_stores import duckdb as stock
from feast.infra.offline_stores.ibis import IbisRetrievalJob
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView

from features.asof.files import plain, write_whole
from features.asof.read import Columns
from features.asof.sources import local_parquet

__all__ = ["AsofRetrievalJob", "pulled"]

BATCH_ROWS = 65_536
"""Rows of a record batch."""


class AsofRetrievalJob(RetrievalJob):  # type: ignore[misc]
    """A query that runs when its rows are asked for, each time anew.

    Args:
        read: gives the rows, part after part, one part at least.
        config: of the repository.
        on_demand: on-demand views to be computed from the rows.
        full_feature_names: whether their features are to be named after their view.
        metadata: None where rows were pulled from a source.
    """

    def __init__(
        self,
        read: Callable[[], Iterator[pa.Table]],
        config: Any,
        *,
        on_demand: Sequence[OnDemandFeatureView] = (),
        full_feature_names: bool = False,
        metadata: RetrievalMetadata | None = None,
    ) -> None:
        super().__init__()
        self._read = read
        self._config = config
        self._in_ibis = [each for each in on_demand if each.mode == "substrait"]
        self._on_demand = [each for each in on_demand if each.mode != "substrait"]
        self._full_feature_names = full_feature_names
        self._metadata = metadata

    def to_record_batches(self, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """The rows in batches of at most so many, of which memory holds `labels_at_once` rows at a time.

        On-demand views need all rows at once; with them, the batches are cut from the whole.
        """
        whole = bool(self._on_demand or self._in_ibis)
        for part in [self.to_arrow()] if whole else self._read():
            yield from part.to_batches(max_chunksize=rows)

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        found = pa.concat_tables(self._read())
        for view in self._in_ibis:
            found = view.transform_ibis(ibis.memtable(found), self._full_feature_names).to_pyarrow()
        return found

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        found: pd.DataFrame = self._to_arrow_internal().to_pandas()
        return found

    @property
    def full_feature_names(self) -> bool:
        """Whether features are named after their view."""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """Views that Feast computes from the rows."""
        return self._on_demand

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """What was asked for."""
        return self._metadata

    def persist(self, storage: Any, allow_overwrite: bool = False, timeout: int | None = None) -> None:
        """Write the rows, with what on-demand views make of them, where a saved dataset is kept.

        Raises:
            SavedDatasetLocationAlreadyExists: there is something, and it is not to be overwritten.
        """
        path = local_parquet(storage.to_data_source(), self._config)
        if path is None:
            self._stock().persist(storage, allow_overwrite)
            return
        if Path(path).exists():
            if not allow_overwrite:
                raise stock.SavedDatasetLocationAlreadyExists(location=path)
            for old in Path(path).rglob("*.parquet") if Path(path).is_dir() else []:
                old.unlink()
        batches = (pa.Table.from_batches([each]) for each in self.to_record_batches())
        write_whole(Path(path) if path.endswith(".parquet") else Path(path) / "dataset.parquet", batches)

    def supports_remote_storage_export(self) -> bool:
        """Whether a staging location is configured."""
        return self._config.offline_store.staging_location is not None

    def to_remote_storage(self) -> list[str]:
        """Write the rows to the staging location as a Delta table; the paths of its files."""
        found: list[str] = self._stock().to_remote_storage()
        return found

    def _stock(self) -> IbisRetrievalJob:
        store = self._config.offline_store
        return IbisRetrievalJob(
            table=ibis.memtable(self.to_arrow()),
            on_demand_feature_views=[],
            full_feature_names=self._full_feature_names,
            metadata=self._metadata,
            data_source_writer=stock._write_data_source,
            staging_location=store.staging_location,
            staging_location_endpoint_override=store.staging_location_endpoint_override,
            repo_path=str(self._config.repo_path),
        )


def pulled(
    read: Callable[[], Iterator[pl.DataFrame]], columns: Columns, names: list[str], config: Any
) -> AsofRetrievalJob:
    """A job over rows of a source, with these columns."""

    def tables() -> Iterator[pa.Table]:
        types = list(columns.table.plain_types(names).values())
        empty = columns.table.scan().select(names).head(0).collect()
        for frame in (empty, *read()):
            yield pa.table(plain(frame, types), names=names)

    return AsofRetrievalJob(tables, config)
