"""From a raw table to typed fields, without losing a row: a value that cannot be read is marked, never dropped."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl
from polars.exceptions import PolarsError

from features.importing.numbers import is_number, read_numbers
from features.importing.raw import EXAMPLES, Corrections, Raw
from features.importing.schema import Column, Recipe
from features.importing.source import source_of
from features.importing.times import read_times
from features.kernel.errors import InvalidRecipe

__all__ = ["BAD_NUMBER", "BAD_TIME", "Typed", "as_text", "stripped", "typed"]

BAD_TIME = "_bad_time"
BAD_NUMBER = "_bad_number"
"""Columns of `Typed.rows`: whether any time or number of the row was there but could not be read."""

_POINT_ZERO = r"^(\d+)\.0+$"


@dataclass(frozen=True, slots=True)
class Typed:
    """A recipe's fields.

    Attributes:
        rows: the fields by their types, `row` (number in the source), `BAD_TIME`, `BAD_NUMBER`; a row each of the raw.
        unread: of each field with values that are there but cannot be read, a mask of them.
    """

    rows: pl.DataFrame
    unread: dict[str, pl.Series] = field(default_factory=dict)


def typed(recipe: Recipe, raw: Raw) -> Typed:
    """Read each field as its type; what had to be changed to be read is noted in the raw table's corrections.

    Text is stripped; empty text, NaN and the recipe's `missing` values are null.

    Raises:
        InvalidRecipe: a column cannot be of the type the recipe says at all.
    """
    height = raw.frame.height
    values: list[pl.Series] = []
    unread: dict[str, pl.Series] = {}
    bad = {BAD_TIME: pl.repeat(False, height, eager=True), BAD_NUMBER: pl.repeat(False, height, eager=True)}
    for name, column in recipe.columns.items():
        given = raw.frame[source_of(recipe, name)]
        path = f"columns.{name}"
        try:
            plain = _without_missing(raw, given, (*recipe.missing, *column.missing), column)
            value = _as_type(raw, plain, column, recipe.time_zone, path)
        except PolarsError as error:
            raise InvalidRecipe(
                f"cannot be read as {column.type}", field=path, value=str(given.dtype), remedy="choose another type"
            ) from error
        if column.type in ("time", "number"):
            wrong = plain.is_not_null() & value.is_null()
            if wrong.any():
                unread[name] = wrong
                mark = BAD_TIME if column.type == "time" else BAD_NUMBER
                bad[mark] = bad[mark] | wrong
        values.append(value.alias(name))
    marks = [each.alias(name) for name, each in bad.items()]
    return Typed(pl.DataFrame([*values, raw.numbers.alias("row"), *marks]), unread)


def as_text(given: pl.Series) -> pl.Series:
    """Text; a whole float without its point: 17850.0 is what spreadsheets make of the id 17850."""
    if not given.dtype.is_float():
        return given.cast(pl.String)
    whole = given.cast(pl.Int64, strict=False)
    text = pl.when(whole.cast(pl.Float64) == given).then(whole.cast(pl.String)).otherwise(given.cast(pl.String))
    return pl.select(text).to_series()


def stripped(raw: Raw, given: pl.Series) -> pl.Series:
    """Text without blanks at its ends, which is noted; a series of another type as it is."""
    if isinstance(given.dtype, (pl.Categorical, pl.Enum)):
        given = given.cast(pl.String)
    if given.dtype != pl.String:
        return given
    plain = given.str.strip_chars()
    _note(raw.corrections, "trimmed", raw.numbers, given, plain, (given != plain) & (plain != ""))
    return plain


def _note(
    noted: Corrections, reason: str, numbers: pl.Series, was: pl.Series, became: pl.Series, mask: pl.Series
) -> None:
    rows = numbers.filter(mask)
    if len(rows):
        firsts = mask.arg_true().head(EXAMPLES)
        noted.add(reason, was.name, rows, was.gather(firsts).to_list(), became.gather(firsts).to_list())


def _without_missing(raw: Raw, given: pl.Series, missing: tuple[str, ...], column: Column) -> pl.Series:
    """Null for what means "not known": empty text, NaN, and the recipe's `missing` values."""
    plain = stripped(raw, given)
    nothing = pl.repeat(False, len(plain), eager=True)
    if plain.dtype == pl.String:
        nothing = plain.is_in(["", *missing])
    if plain.dtype.is_numeric() or column.type == "number":
        figure = plain.cast(pl.Float64, strict=False)
        unknown = figure.is_nan() | figure.is_in([float(each) for each in missing if is_number(each)])
        nothing = nothing | unknown.fill_null(False)
    return pl.select(pl.when(~nothing).then(plain).alias(given.name)).to_series()


def _as_type(raw: Raw, given: pl.Series, column: Column, zone: str, path: str) -> pl.Series:
    if column.type == "time":
        instants, repeated = read_times(given, column.format, zone, path)
        if repeated is not None:
            _note(raw.corrections, "repeated_hour", raw.numbers, given, instants, repeated)
        return instants
    if column.type == "number":
        return _as_number(raw, given, column)
    text = as_text(given)
    if column.type != "id" or given.dtype != pl.String:
        return text
    whole = text.str.replace(_POINT_ZERO, "${1}")
    _note(raw.corrections, "point_zero_id", raw.numbers, text, whole, (whole != text).fill_null(False))
    return whole


def _as_number(raw: Raw, given: pl.Series, column: Column) -> pl.Series:
    if given.dtype == pl.String:
        number, corrected = read_numbers(given, column.decimal)
        for reason, mask in corrected.items():
            _note(raw.corrections, reason, raw.numbers, given, number, mask)
    else:
        number = given.cast(pl.Float64, strict=False)
    return pl.select(pl.when(number.is_finite()).then(number)).to_series()
