"""What becomes of each row: the name under which it is refused, or the name under which it is used."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import polars as pl

from features.importing.schema import Recipe
from features.importing.sql import condition
from features.importing.table import BAD_NUMBER, BAD_TIME
from features.kernel.events import MAX_ID

__all__ = ["built_in", "counted", "first_name", "refusals", "unusable_id", "unusable_time"]

_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)

Named = tuple[str, pl.Expr]


def refusals(recipe: Recipe, raw: pl.DataFrame) -> list[Named]:
    """The recipe's own reasons with their conditions over `typed` rows; `raw` is the file, for whole-row repeats."""
    named: list[Named] = []
    for i, each in enumerate(recipe.refused):
        if each.when:
            named.append((each.reason, condition(recipe, each.when, f"refused[{i}].when")))
        elif each.repeats == "all":
            named.append((each.reason, pl.lit(_repeats(raw))))
        else:
            named.append((each.reason, pl.struct(*each.repeats).is_first_distinct().not_()))
    return named


def built_in(time: str | None) -> list[Named]:
    """Unreadable values and unusable times, tried after the recipe's own reasons."""
    named = [("unparsable_date", pl.col(BAD_TIME)), ("unparsable_number", pl.col(BAD_NUMBER))]
    if time is not None:
        named += [("missing_date", pl.col(time).is_null()), ("date_out_of_range", unusable_time(time))]
    return named


def unusable_time(name: str) -> pl.Expr:
    """Whether an instant lies outside what an event may carry."""
    return ~pl.col(name).is_between(_FIRST, _LAST, closed="left")


def unusable_id(text: pl.Expr) -> pl.Expr:
    """Whether an id is longer than the ledger takes, or holds NUL."""
    return (text.str.len_chars() > MAX_ID) | text.str.contains("\x00", literal=True)


def first_name(named: Iterable[Named]) -> pl.Expr:
    """The name of the first condition that holds, null if none does."""
    parts = [pl.when(each.fill_null(False)).then(pl.lit(name)) for name, each in named]
    return pl.coalesce(parts) if parts else pl.lit(None, pl.String)


def counted(names: Iterable[str], reasons: pl.Series) -> dict[str, int]:
    """Rows by name, in the order of `names`, zeros included."""
    found = dict(reasons.drop_nulls().value_counts().rows())
    return {name: found.get(name, 0) for name in names}


def _repeats(raw: pl.DataFrame) -> pl.Series:
    """Whether an earlier row of the file has the same values in every column."""
    numbered = raw.with_row_index("_row")
    first = numbered.unique(raw.columns, keep="first").get_column("_row")
    return numbered.select(~pl.col("_row").is_in(first.implode())).to_series()
