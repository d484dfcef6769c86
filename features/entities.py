"""Kairos's views as Feast objects: the entity `customer`, and for each view a FeatureView and a PushSource.

Only `features.store` and Feast's own command import this module: it needs Feast.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from feast import Entity, FeatureView, Field, FileSource, PushSource, ValueType
from feast.data_format import ParquetFormat
from feast.types import Float32, String

from features.compute import all_views
from features.view import FeatureView as View
from features.view import push_source

__all__ = ["EVENT_TIMESTAMP", "customer", "feast_objects"]

EVENT_TIMESTAMP = "event_timestamp"
_TYPES = {"float32": Float32, "string": String}

customer = Entity(
    name="customer",
    join_keys=["customer_id"],
    value_type=ValueType.STRING,
    description="A person with a lifecycle stage: lead, customer or lost.",
)


def feast_objects(offline: Path, views: Mapping[str, View] | None = None) -> dict[str, Any]:
    """Everything Kairos registers with Feast, by name.

    Args:
        offline: folder of the offline store, one folder of Parquet files a view.
        views: those of `features/views`, if None.
    """
    found: dict[str, Any] = {"customer": customer}
    for each in (all_views() if views is None else views).values():
        source = _source(each, offline)
        found |= {f"{each.name}_source": source, each.name: _feature_view(each, source)}
    return found


def _source(each: View, offline: Path) -> PushSource:
    files = FileSource(
        name=f"{each.name}_files",
        path=str(offline.absolute() / each.name),
        timestamp_field=EVENT_TIMESTAMP,
        file_format=ParquetFormat(),
    )
    return PushSource(name=push_source(each.name), batch_source=files)


def _feature_view(each: View, source: PushSource) -> FeatureView:
    fields = [
        Field(name=one.name, dtype=_TYPES[one.dtype], description=one.phrase, tags={"unit": one.unit})
        for one in each.features
    ]
    return FeatureView(
        name=each.name,
        entities=[customer],
        ttl=each.ttl,
        schema=[Field(name="customer_id", dtype=String), *fields],
        source=source,
        online=True,
    )
