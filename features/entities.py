"""Kairos's views as Feast objects: the entities, and for each view a FeatureView and a PushSource.

Only `features.store` and Feast's own command import this module: it needs Feast.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from feast import Entity, FeatureView, Field, FileSource, PushSource, ValueType
from feast.data_format import ParquetFormat
from feast.types import Array, Bool, FeastType, Float32, Int64, String

from features.compute import all_views
from features.view import Feature, push_source
from features.view import FeatureView as View

__all__ = ["EVENT_TIMESTAMP", "account", "customer", "feast_objects"]

EVENT_TIMESTAMP = "event_timestamp"
_TYPES: dict[str, FeastType] = {"float32": Float32, "int64": Int64, "bool": Bool, "string": String}

customer = Entity(
    name="customer",
    join_keys=["customer_id"],
    value_type=ValueType.STRING,
    description="A person with a lifecycle stage: lead, customer or lost.",
)
account = Entity(
    name="account",
    join_keys=["account_id"],
    value_type=ValueType.STRING,
    description="A firm; its people name it in their events.",
)
_ENTITIES = {"customer": customer, "account": account}


def feast_objects(offline: Path, views: Mapping[str, View] | None = None) -> dict[str, Any]:
    """Everything Kairos registers with Feast, by name.

    Args:
        offline: folder of the offline store, one folder of Parquet files a view.
        views: those of `features/views`, if None.
    """
    chosen = all_views() if views is None else views
    entities = sorted({each.entity for each in chosen.values()})
    found: dict[str, Any] = {f"{name}_entity": _ENTITIES[name] for name in entities}
    for each in chosen.values():
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
    return FeatureView(
        name=each.name,
        entities=[_ENTITIES[each.entity]],
        ttl=each.ttl,
        schema=[Field(name=each.key, dtype=String), *(_field(one) for one in each.features)],
        source=source,
        online=True,
    )


def _field(one: Feature) -> Field:
    if one.length is None:
        return Field(name=one.name, dtype=_TYPES[one.dtype], description=one.phrase, tags={"unit": one.unit})
    # Feast's arrays have any length; the packed store keeps lists of one, and learns it from the tag.
    tags = {"unit": one.unit, "length": str(one.length)}
    return Field(name=one.name, dtype=Array(Float32), description=one.phrase, tags=tags)
