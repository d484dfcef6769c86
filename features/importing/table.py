"""From a file to typed columns, without losing a row: a value that cannot be read is marked, never dropped."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from features.importing.schema import Column, EventRecipe, FileFormat, Recipe, SnapshotRecipe, did_you_mean
from features.kernel.errors import InvalidRecipe, NotFound

__all__ = ["BAD_NUMBER", "BAD_TIME", "as_text", "is_number", "read_table", "source_of", "typed"]

BAD_TIME = "_bad_time"
BAD_NUMBER = "_bad_number"
"""Columns of `typed`: whether any time or number of the row was there but could not be read."""

_INSTANT = pl.Datetime("us", "UTC")


def source_of(recipe: Recipe, name: str) -> str:
    """The file's column behind a field."""
    return recipe.columns[name].column or name


def read_table(recipe: EventRecipe | SnapshotRecipe, path: Path) -> pl.DataFrame:
    """The file as it stands: text columns of a CSV, a Parquet file's own types.

    Raises:
        NotFound: there is no such file.
        InvalidRecipe: it is empty, is of another format, or lacks a column the recipe names.
    """
    if not path.is_file():
        raise NotFound("there is no such file", field="file", value=str(path), remedy="check the path")
    if path.stat().st_size == 0:
        raise InvalidRecipe("is empty", field="file", value=str(path), remedy="give a file with a header and rows")
    try:
        frame = pl.read_parquet(path, glob=False) if recipe.file.format == "parquet" else _csv(recipe.file, path)
    except (PolarsError, UnicodeError, LookupError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        remedy = "check file.format, file.separator and file.encoding of the recipe"
        raise InvalidRecipe(
            f"cannot be read as {recipe.file.format}: {first}", field="file", value=str(path), remedy=remedy
        ) from error
    _has_columns(recipe, frame)
    if frame.is_empty():
        raise InvalidRecipe("has no rows", field="file", value=str(path), remedy="give a file with rows")
    return frame


def typed(recipe: Recipe, raw: pl.DataFrame) -> pl.DataFrame:
    """The recipe's fields by their types, `row` (from 1), `BAD_TIME` and `BAD_NUMBER`; a row for each of the file's.

    Text is stripped; empty text, NaN and the recipe's `missing` values are null.

    Raises:
        InvalidRecipe: a column cannot be of the type the recipe says at all.
    """
    values: list[pl.Series] = []
    bad = {BAD_TIME: pl.repeat(False, raw.height, eager=True), BAD_NUMBER: pl.repeat(False, raw.height, eager=True)}
    for name, column in recipe.columns.items():
        given = raw[source_of(recipe, name)]
        path = f"columns.{name}"
        try:
            plain = _without_missing(given, (*recipe.missing, *column.missing), number=column.type == "number")
            value = _as_type(plain, column, recipe.time_zone, path)
        except PolarsError as error:
            raise InvalidRecipe(
                f"cannot be read as {column.type}", field=path, value=str(given.dtype), remedy="choose another type"
            ) from error
        unread = plain.is_not_null() & value.is_null()
        if column.type in ("time", "number"):
            mark = BAD_TIME if column.type == "time" else BAD_NUMBER
            bad[mark] = bad[mark] | unread
        values.append(value.alias(name))
    rows = pl.int_range(1, raw.height + 1, eager=True).alias("row")
    return pl.DataFrame([*values, rows, *(each.alias(name) for name, each in bad.items())])


def as_text(given: pl.Series) -> pl.Series:
    """Text; a whole float without its point: 17850.0 is what spreadsheets make of the id 17850."""
    if not given.dtype.is_float():
        return given.cast(pl.String)
    whole = given.cast(pl.Int64, strict=False)
    text = pl.when(whole.cast(pl.Float64) == given).then(whole.cast(pl.String)).otherwise(given.cast(pl.String))
    return pl.select(text).to_series()


def _csv(file: FileFormat, path: Path) -> pl.DataFrame:
    content = path.read_bytes()
    separator = file.separator
    if file.encoding.lower().replace("-", "") != "utf8":
        content = content.decode(file.encoding).encode()
    if separator == "whitespace":
        content = b"\n".join(re.sub(rb"[ \t]+", b"\t", line.strip()) for line in content.splitlines())
        separator = "\t"
    frame = pl.read_csv(
        content,
        separator=separator,
        infer_schema=False,
        has_header=not file.header,
        quote_char=None if file.separator == "whitespace" else '"',
    )
    if not file.header:
        return frame
    if len(file.header) != frame.width:
        raise InvalidRecipe(
            f"names {len(file.header)} columns, the file has {frame.width}", field="file.header", value=file.header
        )
    return frame.rename(dict(zip(frame.columns, file.header, strict=True)))


def _has_columns(recipe: EventRecipe | SnapshotRecipe, frame: pl.DataFrame) -> None:
    needed = {f"columns.{name}": source_of(recipe, name) for name in recipe.columns}
    if isinstance(recipe, SnapshotRecipe):
        needed["label.column"] = recipe.label.column
        needed |= {f"excluded.{name}": name for name in recipe.excluded}
    for path, name in needed.items():
        if name not in frame.columns:
            remedy = did_you_mean(name, frame.columns)
            if frame.width == 1 and recipe.file.format == "csv":
                found, separator = frame.columns[0][:60], recipe.file.separator
                remedy = f"the file has the one column {found!r}: is file.separator {separator!r} right?"
            raise InvalidRecipe("the file has no such column", field=path, value=name, remedy=remedy)


def _without_missing(given: pl.Series, missing: tuple[str, ...], *, number: bool) -> pl.Series:
    """Null for what means "not known": empty text, NaN, and the recipe's `missing` values."""
    if isinstance(given.dtype, (pl.Categorical, pl.Enum)):
        given = given.cast(pl.String)
    nothing = pl.repeat(False, len(given), eager=True)
    if given.dtype == pl.String:
        given = given.str.strip_chars()
        nothing = given.is_in(["", *missing])
    if given.dtype.is_numeric() or number:
        figure = given.cast(pl.Float64, strict=False)
        unknown = figure.is_nan() | figure.is_in([float(each) for each in missing if is_number(each)])
        nothing = nothing | unknown.fill_null(False)
    return pl.select(pl.when(~nothing).then(given)).to_series()


def _as_type(given: pl.Series, column: Column, zone: str, path: str) -> pl.Series:
    if column.type == "time":
        return _as_time(given, column.format, zone, path)
    if column.type == "number":
        number = given.cast(pl.Float64, strict=False)
        return pl.select(pl.when(number.is_finite()).then(number)).to_series()
    return as_text(given)


def _as_time(given: pl.Series, form: str, zone: str, path: str) -> pl.Series:
    if given.dtype == pl.String:
        if not form:
            raise InvalidRecipe("is missing", field=f"{path}.format", remedy='say how, e.g. "%Y-%m-%d %H:%M:%S"')
        given = given.str.to_datetime(form, time_unit="us", strict=False)
    elif given.dtype == pl.Date:
        given = given.cast(pl.Datetime("us"))
    elif not isinstance(given.dtype, pl.Datetime):
        raise InvalidRecipe("holds no times", field=path, value=str(given.dtype), remedy="choose another column")
    given = given.dt.cast_time_unit("us")
    if given.dtype == _INSTANT:
        return given
    if isinstance(given.dtype, pl.Datetime) and given.dtype.time_zone:
        return given.dt.convert_time_zone("UTC")
    if not zone:
        raise InvalidRecipe(
            "is missing, and the times have none of their own", field="time_zone", remedy="name it, like Europe/London"
        )
    # an hour the clocks skip never was (unparsable); of an hour they repeat, the first is taken
    local = given.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return local.dt.convert_time_zone("UTC")


def is_number(text: str) -> bool:
    """Whether a text reads as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
