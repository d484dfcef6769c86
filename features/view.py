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

__all__ = ["Dtype", "EntityName", "Expect", "Feature", "FeatureView", "column_type", "push_source"]


Dtype = Literal["float32", "int64", "bool", "string"]
EntityName = Literal["customer", "account"]


@dataclass(frozen=True, slots=True)
class Expect:
    """What a feature's values should be like; rows that are not stop the run that computed them (`features.quality`).

    Attributes:
        low: the least value allowed.
        high: the greatest value allowed.
        missing: the greatest share of missing values among the rows of known entities.
        distinct: the greatest number of different values, of a string.
    """

    low: float | None = None
    high: float | None = None
    missing: float = 1.0
    distinct: int | None = None


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of a view. `phrase` reads as a reason, with `{value}` in it: "ordered {value} times in 30 days".

    A feature with a `length` is a list of that many float32 values, the same length in every row; its elements are
    features of their own to models and serving: `send_hours:open_rate[17]`.
    """

    name: str
    unit: str
    phrase: str
    dtype: Dtype = "float32"
    length: int | None = None
    expect: Expect | None = None
    """None: what its unit implies (`features.quality`)."""
    identifier: bool = False
    """Names something (an account): `view:*` leaves it out, for a model must not learn names by heart."""
    absent: str = ""
    """The reason where the value is missing: "never ordered"; empty where nothing more is known than that."""


@dataclass(frozen=True, slots=True)
class FeatureView:
    """A view and the function that computes it.

    `aggregate(events, spine)` takes events (columns `features.frames.EVENT_SCHEMA`, any order) and a spine (columns
    `customer_id`, `as_of`) and returns one row per spine row, in the spine's order: `customer_id`, `as_of` and every
    feature of its dtype, null where nothing is known. Row (c, T) may use only events of c with `occurred_at < T` and
    `received_at <= T`; `features.frames.known` selects them. `compute` puts numbers in place of customer ids: they can
    be joined and grouped by, not read. A view of accounts has `account_id` in place of `customer_id`, and reads the
    events of all customers of the account.

    `population(events, months)` is what the view must know of everyone: one row per month start (`month`), from what
    was known then, so that it never changes afterwards (`features.population`). Its other columns stand in the spine
    that `aggregate` sees, in each row those of the month that contains `as_of`.
    """

    name: str
    features: tuple[Feature, ...]
    aggregate: Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]
    ttl: timedelta = timedelta(days=120)
    entity: EntityName = "customer"
    population: Callable[[pl.DataFrame, pl.Series], pl.DataFrame] | None = None
    reads: tuple[str, ...] = ()
    """Types of the events whose newest says whether the view's source still flows; none named: any type."""
    fresh: timedelta = timedelta(days=30)
    """How long before a run's instant that newest event may have been received (`features.quality`)."""

    @property
    def key(self) -> str:
        """The column that names the entity: `customer_id` or `account_id`."""
        return f"{self.entity}_id"

    @property
    def refs(self) -> tuple[str, ...]:
        """`view:feature` of each feature that is one value, in order; lists are left out."""
        return tuple(f"{self.name}:{each.name}" for each in self.features if each.length is None)


_TYPES: dict[Dtype, type[pl.DataType]] = {
    "float32": pl.Float32,
    "int64": pl.Int64,
    "bool": pl.Boolean,
    "string": pl.String,
}


def column_type(feature: Feature) -> pl.DataType | type[pl.DataType]:
    """The Polars type of a feature's column; a list's is `Array`, so that its length is part of the type."""
    return pl.Array(pl.Float32, feature.length) if feature.length is not None else _TYPES[feature.dtype]


def push_source(view: str) -> str:
    """The name under which Feast knows the source through which a view's rows are pushed."""
    return f"{view}_push"
