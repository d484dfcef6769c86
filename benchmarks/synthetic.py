"""A made-up feature repository of any size: v views of k numbers for n customers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import polars as pl

from features.kernel.seeds import generator
from features.view import Feature, FeatureView

__all__ = ["customers", "frames", "refs", "views"]


def views(count: int, features: int) -> dict[str, FeatureView]:
    """`count` views of `features` float32 features each, by name. They compute nothing: their frames are drawn."""
    names = [f"view_{i}" for i in range(count)]
    drawn = tuple(Feature(f"feature_{j}", "", "") for j in range(features))
    return {name: FeatureView(name, drawn, _cannot_be_computed) for name in names}


def refs(family: dict[str, FeatureView]) -> tuple[str, ...]:
    """Every reference of every view, in order."""
    return tuple(ref for view in family.values() for ref in view.refs)


def customers(count: int) -> list[str]:
    """Ids of the length that real ones have."""
    return [f"customer-{i:08d}" for i in range(count)]


def frames(family: dict[str, FeatureView], ids: Sequence[str], as_of: datetime) -> dict[str, pl.DataFrame]:
    """One frame a view, as `features.compute` gives them: a row a customer, normal draws rounded to float32."""
    found = {}
    for name, view in family.items():
        drawn = generator("benchmark", name).normal(size=(len(ids), len(view.features))).astype(np.float32)
        columns = {each.name: drawn[:, j] for j, each in enumerate(view.features)}
        keys = {"customer_id": ids, "as_of": [as_of] * len(ids)}
        found[name] = pl.DataFrame(keys | columns, schema_overrides={"as_of": pl.Datetime("us", "UTC")})
    return found


def _cannot_be_computed(events: pl.DataFrame, spine: pl.DataFrame) -> pl.DataFrame:
    raise NotImplementedError("a made-up view has no events to be computed from")
