"""A feature view: named features and one pure function that computes them for any (customer, instant) pairs.

The same `aggregate` is called with label cutoffs (training), with everyone at midnight (materialise) and with the
customers just touched (ingest): that training and serving see the same numbers holds by construction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import polars as pl

__all__ = ["Feature", "FeatureView", "push_source"]


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of a view. `phrase` reads as a reason, with `{value}` in it: "ordered {value} times in 30 days"."""

    name: str
    unit: str
    phrase: str
    dtype: Literal["float32", "string"] = "float32"


@dataclass(frozen=True, slots=True)
class FeatureView:
    """A view and the function that computes it.

    `aggregate(events, spine)` takes events (columns `features.frames.EVENT_SCHEMA`, any order) and a spine (columns
    `customer_id`, `as_of`) and returns one row per spine row, in the spine's order: `customer_id`, `as_of` and every
    feature, float32 or string, null where nothing is known. Row (c, T) may use only events of c with
    `occurred_at < T` and `received_at <= T`; `features.frames.known` selects them.
    """

    name: str
    features: tuple[Feature, ...]
    aggregate: Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]
    ttl: timedelta = timedelta(days=120)

    @property
    def refs(self) -> tuple[str, ...]:
        """`view:feature` of each feature, in order."""
        return tuple(f"{self.name}:{each.name}" for each in self.features)


def push_source(view: str) -> str:
    """The name under which Feast knows the source through which a view's rows are pushed."""
    return f"{view}_push"
