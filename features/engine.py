"""Feast's materialisation without protobuf: Arrow columns → packed segments → pipelined compare-and-set.

A compute engine of Feast (`batch_engine` in `feature_store.yaml`). Its own way is for views that are read as they
stand in their source and kept by `PackedRedisOnlineStore`; whatever else Feast's local engine can do is left to it:
transformations, aggregations, validation, views of several or of no entities, another online store. All views of one
run are written together, so that an entity takes one compare-and-set and not one a view. Only Feast imports it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias

import polars as pl
from feast.infra.common.materialization_job import MaterializationJob, MaterializationJobStatus, MaterializationTask
from feast.infra.compute_engines.local.compute import LocalComputeEngine, LocalComputeEngineConfig
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.infra.registry.base_registry import BaseRegistry
from feast.types import Array, Bool, Float32, Int32, Int64, String
from feast.utils import _get_column_names
from pydantic import Field

from features.materialise import CREATED, EVENT, Rows, ahead, chunks, entity_of
from features.online import PackedRedisOnlineStore, schema_of

__all__ = ["PackedBatchEngine", "PackedBatchEngineConfig", "Progress"]

AT_ONCE = 5_000
HELD_BYTES = 256 * 2**20
"""What the views of one key may take in memory together before they are written and let go."""

Progress: TypeAlias = "Callable[[int, int | None], object]"
"""Called with the rows written so far of those views that are written together, and how many these are, if known."""


_KEYS = (String, Int32, Int64)
_KEPT = (Float32, Int32, Int64, Bool, String, Array(Float32))
"""What is the same in Arrow as in a segment. The rest goes Feast's way, on which the store says what it can keep."""


class PackedBatchEngineConfig(LocalComputeEngineConfig):  # type: ignore[misc]
    """Configuration of the engine: that of Feast's local one, and how many rows are sent at a time."""

    type: Literal["features.engine.PackedBatchEngine"] = "features.engine.PackedBatchEngine"
    at_once: int = Field(default=AT_ONCE, gt=0)
    """Rows of each view that are packed and sent at a time."""


class _Pulled(NamedTuple):
    """A task and the latest rows of its view."""

    task: MaterializationTask
    rows: Rows


class PackedBatchEngine(LocalComputeEngine):  # type: ignore[misc]
    """Feast's local compute engine with a way of its own to materialise; see the module."""

    progress: Progress | None = None
    """What to tell how far a run is, beside Feast's own bars."""
    loaded: Mapping[str, int] = MappingProxyType({})
    """Rows of each view in the last run, of those that were loaded wholly."""

    def __init__(self, *, at_once: int = AT_ONCE, **given: Any) -> None:
        super().__init__(**given)
        self.at_once = at_once

    @property
    def supports_batch(self) -> bool:
        """Feast hands over all views of a run at once."""
        return True

    def materialize(
        self, registry: BaseRegistry, tasks: MaterializationTask | list[MaterializationTask], **kwargs: Any
    ) -> list[MaterializationJob]:
        """Materialise; one job a task, in their order. An error stands in its job, and Feast raises the first one.

        A view whose source cannot be read, or of which a row cannot be kept, fails alone. When the online store goes
        away, all views that are written together fail; what each entity has is whole, and running it again leads to
        the same end.
        """
        tasks = [tasks] if isinstance(tasks, MaterializationTask) else tasks
        ours = {each.feature_view.name: each for each in tasks if self._packs(each)}
        errors: dict[str, Exception] = {}
        loaded: dict[str, int] = {}
        for together in self._pulled(registry, list(ours.values()), errors):
            names = [each.task.feature_view.name for each in together]
            try:
                loaded |= dict(zip(names, self._write(together), strict=True))
            except Exception as error:  # noqa: BLE001  Feast's contract: an error stands in its job
                errors |= dict.fromkeys(names, error)
            errors |= {name: each.rows.error for name, each in zip(names, together, strict=True) if each.rows.error}
        self.loaded = {name: count for name, count in loaded.items() if name not in errors}
        return [
            _job(each, errors.get(each.feature_view.name))
            if each.feature_view.name in ours
            else self._materialize_one(registry, each, **kwargs)
            for each in tasks
        ]

    def _packs(self, task: MaterializationTask) -> bool:
        """Whether a task is one for the engine's own way."""
        view = task.feature_view
        beyond = ("feature_transformation", "aggregations", "source_views", "enable_validation", "filter", "offline")
        return (
            isinstance(self.online_store, PackedRedisOnlineStore)
            and task.only_latest
            and view.batch_source is not None
            and not any(getattr(view, each, None) for each in beyond)
            and not self.repo_config.registry.enable_online_feature_view_versioning
            and bool(view.entity_columns)
            and all(each.dtype in _KEYS for each in view.entity_columns)
            and all(each.dtype in _KEPT for each in view.features)
        )

    def _pulled(
        self, registry: BaseRegistry, tasks: Sequence[MaterializationTask], errors: dict[str, Exception]
    ) -> Iterator[list[_Pulled]]:
        """Views that are written together: those of one key, as many as memory may hold."""
        keys = [frozenset(each.feature_view.join_keys) for each in tasks]
        for key in dict.fromkeys(keys):
            together: list[_Pulled] = []
            for task in (task for task, its in zip(tasks, keys, strict=True) if its == key):
                try:
                    together.append(_Pulled(task, self._rows(registry, task)))
                except Exception as error:  # noqa: BLE001  Feast's contract: an error stands in its job
                    errors[task.feature_view.name] = error
                if sum(each.rows.size for each in together) >= HELD_BYTES:
                    yield together
                    together = []
            if together:
                yield together

    def _rows(self, registry: BaseRegistry, task: MaterializationTask) -> Rows:
        """The latest rows of a view between the task's start and end, both included; nobody asks for its TTL.

        Feast's local engine does the same: how old a row may be is decided by who reads it.
        """
        view = task.feature_view
        entities = [registry.get_entity(name, task.project) for name in view.entities]
        keys, names, event, created = _get_column_names(view, entities)
        job = self.offline_store.pull_latest_from_table_or_query(
            config=self.repo_config,
            data_source=view.batch_source,
            join_key_columns=keys,
            feature_name_columns=names,
            timestamp_field=event,
            created_timestamp_column=created,
            start_date=task.start_time,
            end_date=task.end_time,
        )
        columns = {EVENT: event} | ({CREATED: created} if created else {})
        columns |= {each.name: name for each, name in zip(view.features, names, strict=True)}
        selected = [pl.col(source).alias(name) for name, source in columns.items()]
        selected.append(entity_of(dict(zip([each.join_key for each in entities], keys, strict=True))))
        batches = getattr(job, "to_record_batches", None)  # Kairos's own offline store need not hold all rows at once
        if batches is None:
            return Rows.of(schema_of(view), pl.DataFrame(job.to_arrow()).select(selected), self.at_once)
        return Rows(schema_of(view), (pl.DataFrame(each).select(selected) for each in batches(self.at_once)))

    def _write(self, together: Sequence[_Pulled]) -> list[int]:
        """Write the rows; returns how many each view had."""
        store = self.online_store.packed(self.repo_config)
        views = [each.rows for each in together]
        totals = [each.total for each in views]
        total = None if None in totals else sum(each or 0 for each in totals)
        bars = [each.task.tqdm_builder(each.rows.total) if each.task.tqdm_builder else None for each in together]
        done = [0] * len(views)
        try:
            for chunk in ahead(chunks(views, self.at_once)):
                store.write_segments(views[0].schema.key, chunk.ids, chunk.segments)
                done = [before + more for before, more in zip(done, chunk.rows, strict=True)]
                for bar, more in zip(bars, chunk.rows, strict=True):
                    if bar is not None:
                        bar.update(more)
                if self.progress is not None:
                    self.progress(sum(done), total)
        finally:
            for bar in bars:
                if bar is not None:
                    bar.close()
        return done


def _job(task: MaterializationTask, error: Exception | None) -> MaterializationJob:
    status = MaterializationJobStatus.SUCCEEDED if error is None else MaterializationJobStatus.ERROR
    name = f"{task.feature_view.name}-{task.start_time}-{task.end_time}"
    return LocalMaterializationJob(job_id=name, status=status, error=error)
