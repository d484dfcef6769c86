"""What differs: between two customers (or one at two instants), and between the populations of two offline runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features import offline_files as files
from features.compute import all_views, compute, population, wide
from features.frames import known, spine_of
from features.kernel.card import column_name
from features.kernel.errors import NotFound
from features.population import months_of
from features.refs import all_refs
from features.view import Feature, FeatureView

__all__ = ["Shift", "Side", "Value", "compare_runs", "psi", "rows_of_run", "run_at", "side_by_side", "values_of"]

BINS = 10
"""Of the population stability index, equally full in the first population."""
LEAST_SHARE = 1e-4
"""Stands for an empty bin's share, which has no logarithm."""


@dataclass(frozen=True, slots=True)
class Shift:
    """One feature in two populations."""

    ref: str
    unit: str
    psi: float
    """Population stability index over bins and missing values: below 0.1 little has changed, above 0.25 a lot."""
    missing: tuple[float, float]
    """Share of missing values."""
    mean: tuple[float | None, float | None]
    """None of strings, and where nothing is known."""
    median: tuple[float | None, float | None]
    difference: float | None
    """Of the means, in standard deviations of the two populations together."""


# -- two customers -----------------------------------------------------------------------------------------------------

Side = tuple[str, datetime]
"""A customer and an instant."""

Value = float | int | bool | str | list[float | None] | None


def side_by_side(
    events: pl.DataFrame, sides: Sequence[Side], views: Mapping[str, FeatureView] | None = None
) -> dict[str, tuple[Value, ...]]:
    """What was known of each side, computed: by `view:feature` a value a side, of a list all of its elements.

    Args:
        events: everyone's; columns `features.frames.EVENT_SCHEMA`.
        sides: customers and instants.
        views: those of `features/views`, if None.

    Raises:
        NotFound: nothing was known of a customer at the instant.
    """
    spine = pl.concat([spine_of([customer], as_of) for customer, as_of in sides])
    there = set(known(events, spine).select("customer_id", "as_of").unique().rows())
    for customer, as_of in sides:
        if (customer, as_of) not in there:
            raise NotFound(f"is not known as of {as_of:%Y-%m-%d %H:%M:%S} UTC", field="customer", value=customer)
    return values_of(events, sides, views)


def values_of(
    events: pl.DataFrame, sides: Sequence[Side], views: Mapping[str, FeatureView] | None = None
) -> dict[str, tuple[Value, ...]]:
    """As `side_by_side`, with nothing but None of a customer who was not known."""
    chosen = all_views() if views is None else views
    spine = pl.concat([spine_of([customer], as_of) for customer, as_of in sides])
    everyone = population(events, months_of(spine), chosen)
    theirs = events.join(_people(events, spine), on="customer_id", how="semi")
    refs = [ref for view in chosen.values() for ref in all_refs(view)]
    rows = wide(compute(theirs, spine, everyone, chosen), refs, chosen)
    found: dict[str, tuple[Value, ...]] = {}
    for view in chosen.values():
        for each in view.features:
            ref = f"{view.name}:{each.name}"
            if each.length is None:
                found[ref] = tuple(rows[column_name(ref)])
            else:
                found[ref] = tuple(_list(row) for row in rows.select(_elements(ref, each.length)).iter_rows())
    return found


def _list(row: tuple[float | None, ...]) -> list[float | None] | None:
    return None if all(each is None for each in row) else list(row)


def _elements(ref: str, length: int) -> list[str]:
    return [column_name(f"{ref}[{i}]") for i in range(length)]


def _people(events: pl.DataFrame, spine: pl.DataFrame) -> pl.DataFrame:
    """The spine's customers, and all customers of the accounts they ever named."""
    own = events.join(spine.select("customer_id").unique(), on="customer_id", how="semi")
    accounts = own.select("account_id").drop_nulls().unique()
    mates = events.join(accounts, on="account_id", how="semi").select("customer_id")
    return pl.concat([spine.select("customer_id"), mates]).unique()


# -- two runs ----------------------------------------------------------------------------------------------------------


def run_at(offline: Path, views: Mapping[str, FeatureView], as_of: datetime) -> datetime:
    """The instant of the newest offline run that is not after an instant.

    Raises:
        NotFound: there is none.
    """
    instants = {instant for view in views.values() for instant in files.instants(offline, view) if instant <= as_of}
    if not instants:
        raise NotFound(
            f"hold no run at or before {as_of:%Y-%m-%d %H:%M:%S} UTC",
            field="offline features",
            value=str(offline),
            remedy="run kairos features build, or give a later instant",
        )
    return max(instants)


def rows_of_run(offline: Path, view: FeatureView, instant: datetime) -> pl.LazyFrame:
    """The rows of a view at an instant, not read yet; none, if the run wrote none."""
    path = offline / view.name / files.name_of(instant)
    return pl.scan_parquet(path) if path.exists() else pl.LazyFrame(schema=files.schema(view))


def compare_runs(offline: Path, views: Mapping[str, FeatureView], former: datetime, latter: datetime) -> list[Shift]:
    """How the population of one run differs from another's, feature by feature, the largest change first.

    Of a list, the mean of its elements is compared.
    """
    found = []
    for view in views.values():
        a, b = (rows_of_run(offline, view, each).collect() for each in (former, latter))
        found += [_shift(view, each, _column(a, each), _column(b, each)) for each in view.features]
    return sorted(found, key=lambda each: (-each.psi, each.ref))


def psi(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Population stability index: the sum of (q - p) ln(q / p) over the shares p and q of the bins.

    It is the symmetric Kullback-Leibler divergence of the two (Jeffreys, 1946), in nats.

    Args:
        first: counts of the bins in the first population.
        second: counts of the same bins in the second.

    >>> round(psi(np.array([50.0, 50.0]), np.array([25.0, 75.0])), 4)
    0.2747
    >>> psi(np.array([5.0, 5.0]), np.array([0.0, 0.0]))
    0.0
    """
    if not first.sum() or not second.sum():
        return 0.0
    p, q = (np.maximum(each / each.sum(), LEAST_SHARE) for each in (first, second))
    return float(((q - p) * np.log(q / p)).sum())


def _column(rows: pl.DataFrame, feature: Feature) -> pl.Series:
    if feature.dtype == "string":
        return rows[feature.name]
    values = rows[feature.name] if feature.length is None else rows[feature.name].list.mean()
    return values.cast(pl.Float64).fill_nan(None)


def _shift(view: FeatureView, feature: Feature, a: pl.Series, b: pl.Series) -> Shift:
    name = feature.name if feature.length is None else f"{feature.name}[]"
    first, second = _levels(a, b) if feature.dtype == "string" else _bins(a, b)
    of_numbers = feature.dtype != "string"
    return Shift(
        f"{view.name}:{name}",
        feature.unit,
        psi(first, second),
        (_missing(a), _missing(b)),
        (_number(a.mean()), _number(b.mean())) if of_numbers else (None, None),
        (_number(a.median()), _number(b.median())) if of_numbers else (None, None),
        _difference(a, b) if of_numbers else None,
    )


def _levels(a: pl.Series, b: pl.Series) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How often each string comes in either, missing among them."""
    counts = [each.alias("level").to_frame().group_by("level").len(f"n{i}") for i, each in enumerate((a, b))]
    both = counts[0].join(counts[1], on="level", how="full", coalesce=True, nulls_equal=True).fill_null(0)
    return both["n0"].cast(pl.Float64).to_numpy(), both["n1"].cast(pl.Float64).to_numpy()


def _bins(a: pl.Series, b: pl.Series) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Counts between the quantiles of the first, and of missing values."""
    known = [each.drop_nulls().to_numpy() for each in (a, b)]
    edges = np.unique(np.quantile(known[0], np.arange(1, BINS) / BINS)) if known[0].size else np.empty(0)
    if known[0].size and edges[0] == known[0].min():  # many have the least value: what is less than it is another bin
        edges = np.append(np.nextafter(edges[0], -np.inf), edges)
    counts = [np.bincount(np.searchsorted(edges, each, side="left"), minlength=len(edges) + 1) for each in known]
    with_missing = [np.append(n, each.null_count()) for n, each in zip(counts, (a, b), strict=True)]
    return with_missing[0].astype(np.float64), with_missing[1].astype(np.float64)


def _difference(a: pl.Series, b: pl.Series) -> float | None:
    means = _number(a.mean()), _number(b.mean())
    if means[0] is None or means[1] is None:
        return None
    spread = math.sqrt((_number(a.var(ddof=0)) or 0.0) / 2 + (_number(b.var(ddof=0)) or 0.0) / 2)
    if spread == 0:
        return 0.0 if means[0] == means[1] else math.copysign(math.inf, means[1] - means[0])
    return (means[1] - means[0]) / spread


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _missing(column: pl.Series) -> float:
    return column.null_count() / len(column) if len(column) else 0.0
