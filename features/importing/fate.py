"""What becomes of each row: the name under which it is refused, or the name under which it is used."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import polars as pl

from features.importing.raw import Raw
from features.importing.schema import Recipe
from features.importing.sql import condition
from features.importing.table import BAD_NUMBER, BAD_TIME

__all__ = ["built_in", "counted", "fields_of", "first_name", "refusals", "unusable_time"]

_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)

Named = tuple[str, pl.Expr]


def refusals(recipe: Recipe, raw: Raw) -> list[Named]:
    """The recipe's own reasons with their conditions over `typed` rows; `raw` is the table, for whole-row repeats."""
    named: list[Named] = []
    for i, each in enumerate(recipe.refused):
        if each.when:
            named.append((each.reason, condition(recipe, each.when, f"refused[{i}].when")))
            continue
        whole = each.repeats == "all"
        repeats = pl.lit(_repeats(raw.frame)) if whole else pl.struct(*each.repeats).is_first_distinct().not_()
        if raw.former is not None:  # in a side file the first of them is missing
            repeats = repeats | pl.lit(raw.former == each.reason)
        named.append((each.reason, repeats))
    return named


def built_in(time: str | None) -> list[Named]:
    """Unreadable values and unusable times, tried after the recipe's own reasons."""
    named = [("unparsable_date", pl.col(BAD_TIME)), ("unparsable_number", pl.col(BAD_NUMBER))]
    if time is not None:
        named += [("missing_date", pl.col(time).is_null()), ("date_out_of_range", unusable_time(time))]
    return named


def fields_of(recipe: Recipe) -> dict[str, list[str]]:
    """By each of the recipe's own reasons the fields it looks at; none where it is about whole rows."""
    return {
        each.reason: pl.sql_expr(each.when).meta.root_names()
        if each.when
        else [name for name in each.repeats if each.repeats != "all"]
        for each in recipe.refused
    }


def unusable_time(name: str) -> pl.Expr:
    """Whether an instant lies outside what an event may carry."""
    return ~pl.col(name).is_between(_FIRST, _LAST, closed="left")


def first_name(named: Iterable[Named]) -> pl.Expr:
    """The name of the first condition that holds, null if none does."""
    parts = [pl.when(each.fill_null(False)).then(pl.lit(name)) for name, each in named]
    return pl.coalesce(parts) if parts else pl.lit(None, pl.String)


def counted(names: Iterable[str], reasons: pl.Series) -> dict[str, int]:
    """Rows by name, in the order of `names`, zeros included."""
    found = dict(reasons.drop_nulls().value_counts().rows())
    return {name: found.get(name, 0) for name in names}


def _repeats(frame: pl.DataFrame) -> pl.Series:
    """Whether an earlier row of the file has the same values in every column."""
    return frame.select(pl.struct(pl.all()).is_first_distinct().not_()).to_series()
