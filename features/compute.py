"""All views at once: what every caller of `aggregate` calls."""

from __future__ import annotations

from functools import cache

import polars as pl

from features import views
from features.kernel.discover import discover
from features.view import FeatureView

__all__ = ["all_views", "compute"]


@cache
def all_views() -> dict[str, FeatureView]:
    """Every view of `features/views/`, by name."""
    found = discover(views, "view", FeatureView)
    for module, view in found.items():
        if view.name != module:
            raise TypeError(f"features/views/{module}.py holds the view '{view.name}': name it as its file")
    return found


def compute(events: pl.DataFrame, spine: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Every view's frame over the spine: `customer_id`, `as_of` and its features, one row per spine row, in its order.

    Args:
        events: columns `features.frames.EVENT_SCHEMA`, any order of rows.
        spine: columns `customer_id`, `as_of`.
    """
    return {name: view.aggregate(events, spine) for name, view in all_views().items()}
