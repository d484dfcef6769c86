"""From settled columns to the model's inputs: what a request will send, in which words, and as which number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.kernel.card import CardFeature, Refused, column_name
from training.table.columns import MOST_LEVELS, Column, readable

__all__ = ["Feature", "bands", "encoded", "features_of", "latest", "typical", "with_vocabulary"]

_DAY = 86_400_000_000
_BANDS = 4


@dataclass(frozen=True, slots=True)
class Feature:
    """An input: as the card tells it, its values (Float32 or text), and the column of the table it comes from."""

    card: CardFeature
    values: pl.Series
    column: str


def features_of(columns: Mapping[str, Column], when: pl.Series | datetime) -> tuple[list[Feature], list[Refused]]:
    """Inputs in the table's order, and what was decided on the way.

    Numbers and categories are sent as they stand in the table, under the column's own name. A date is no number that
    stays true, so the input is its age: the days from the date to the row's time.

    Args:
        when: [n] each row's time; or the one instant from which the table looks back.
    """
    found, said, taken = list[Feature](), list[Refused](), set[str]()
    for name, column in columns.items():
        ref = _free(f"{name}_days_ago" if column.kind == "date" else name, taken)
        words = readable(name).replace("{", "(").replace("}", ")")
        if column.kind == "category":
            card, values = CardFeature(ref=ref, dtype="category", phrase=f"{words} is {{value}}"), column.values
        elif column.kind == "number":
            card = CardFeature(ref=ref, dtype="float32", phrase=f"{words} is {{value}}")
            values = column.values.cast(pl.Float32)
        else:
            card = CardFeature(ref=ref, dtype="float32", unit="days", phrase=f"{words} was {{value}} days ago")
            values = _age(column.values, when)
            since = "the row's own time" if isinstance(when, pl.Series) else f"{when:%Y-%m-%d}, the table's latest date"
            reason = f"is a date: the input is {ref}, the days from it to {since}; a request sends that number"
            said.append(Refused(column=name, code="date", reason=reason, kept=True))
        if ref != name and column.kind != "date":
            reason = f"is sent as {ref}: another column's name differs in signs only"
            said.append(Refused(column=name, code="renamed", reason=reason, kept=True))
        found.append(Feature(card, values, name))
    return found, said


def latest(columns: Iterable[Column]) -> datetime:
    """The latest date of any column; 1970 where there are no dates."""
    found = [each.values.max() for each in columns if each.kind == "date"]
    known = [each.astimezone(UTC) for each in found if isinstance(each, datetime)]
    return max(known, default=datetime(1970, 1, 1, tzinfo=UTC))


def with_vocabulary(card: CardFeature, train: pl.Series) -> CardFeature:
    """A category with its most frequent levels in the training rows, sorted; a number as it is."""
    if card.dtype != "category":
        return card
    counts = train.drop_nulls().value_counts(name="rows").sort(["rows", train.name], descending=[True, False])
    levels = tuple(sorted(counts.get_column(train.name).head(MOST_LEVELS).to_list()))
    return CardFeature(ref=card.ref, dtype="category", unit=card.unit, phrase=card.phrase, vocabulary=levels)


def encoded(values: pl.Series, card: CardFeature) -> NDArray[np.float32]:
    """[n] numbers as the model gets them; NaN where a value is missing or no level."""
    if card.dtype == "category":
        codes = pl.Series(range(len(card.vocabulary)), dtype=pl.Float32)
        levels = pl.Series(card.vocabulary, dtype=pl.String)
        values = values.replace_strict(levels, codes, default=None, return_dtype=pl.Float32)
    return values.cast(pl.Float32).fill_null(float("nan")).to_numpy()


def typical(train: pl.Series) -> float | str | None:
    """Median of numbers, most frequent of texts (the first of equals); None where all is missing."""
    known = train.drop_nulls()
    if known.is_empty():
        return None
    if known.dtype == pl.String:
        counts = known.value_counts(name="rows").sort(["rows", known.name], descending=[True, False])
        return str(counts.item(0, 0))
    return float(np.median(known.to_numpy()))


def bands(values: pl.Series, train: Sequence[int] | NDArray[np.intp]) -> NDArray[np.str_]:
    """[n] group of each row by a sensitive attribute: a text itself, numbers in up to four equal-count bands.

    "" where it is not known.
    """
    if values.dtype == pl.String:
        return values.fill_null("").to_numpy().astype(np.str_)
    known = values[train].drop_nulls()
    if known.n_unique() <= _BANDS:
        return pl.select(values.cast(pl.Float64).cast(pl.String)).to_series().fill_null("").to_numpy().astype(np.str_)
    edges = np.unique(np.quantile(known.to_numpy(), np.linspace(0, 1, _BANDS + 1)))
    names = np.array([f"{low:g} to {high:g}" for low, high in pairwise(edges)] + [""])
    numbers = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    place = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, len(edges) - 2)
    return np.asarray(names[np.where(np.isnan(numbers), len(names) - 1, place)])


def _age(dates: pl.Series, when: pl.Series | datetime) -> pl.Series:
    """Days from the dates to `when`, below zero where the date is still to come."""
    then = pl.lit(when) if isinstance(when, pl.Series) else pl.lit(when).cast(pl.Datetime("us", "UTC"))
    gap = (then - pl.lit(dates)).dt.total_microseconds() / _DAY
    return pl.select(gap.cast(pl.Float32).alias(dates.name)).to_series()


def _free(name: str, taken: set[str]) -> str:
    """The name, or one with a number behind it where its column's name is taken."""
    chosen, n = name, 2
    while column_name(chosen) in taken:
        chosen, n = f"{name}_{n}", n + 1
    taken.add(column_name(chosen))
    return chosen
