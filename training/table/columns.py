"""What a column is: a number, a category, a date, or nothing to learn from; and every decision in a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import polars as pl

from features.importing.infer.facts import share, tokens
from features.importing.infer.timeformat import TimeGuess, guess_time
from features.kernel.card import Refused
from training.table.missing import plain_text, without_markers
from training.table.numeric import numbers_of

__all__ = ["Column", "duplicates", "readable", "settle"]

MOST_LEVELS = 100
"""Levels of a category that a model knows by name; the others are like a missing value."""
FEW = 0.1
"""Share of the rows that the known levels must cover."""
_ALL_DIFFER, _ROWS = 0.95, 50
_DATES = 0.9
"""Share of the values that must read as dates."""
_FIRST_YEAR, _LAST_YEAR = 1900, 2100
_FIRST_DAY = 19000101
"""Whole numbers from here on may be days written as one number, or seconds since 1970."""
_NAMES_A_ROW = {"id", "uuid", "guid"}
_SENTINELS, _SENTINEL_SHARE = (-1.0, -9.0, -99.0, -999.0, 999.0, 9999.0), 0.02
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Column:
    """A column that can be learnt from: Float64 numbers, text, or instants in UTC; null where it is not known."""

    name: str
    kind: Literal["number", "category", "date"]
    values: pl.Series
    said: tuple[Refused, ...] = ()
    """What was decided on the way; the column is kept all the same."""


def settle(given: pl.Series, *, allowed: bool = False) -> Column | Refused:
    """What a column is, or why there is nothing to learn from it.

    Args:
        given: as it stands in the file.
        allowed: somebody asked to keep it, though each row has its own value.
    """
    found = _typed(given)
    if isinstance(found, Refused):
        return found
    distinct = found.values.drop_nulls().n_unique()
    if distinct == 0:
        return _refused(given.name, "empty", "it is empty")
    if distinct == 1 and not found.values.null_count():
        return _refused(given.name, "constant", f"it is {_short(found.values[0])!r} in every row")
    why = _names_rows(found, distinct)
    if why:
        said = Refused(column=given.name, code="identifier", reason=why, kept=allowed, allowed=allowed)
        if not allowed:
            return said
        found = replace(found, said=(*found.said, said))
    return replace(found, said=(*found.said, *_remarks(found, distinct)))


def duplicates(columns: Mapping[str, Column]) -> Iterator[Refused]:
    """Columns that repeat an earlier one value by value."""
    seen: dict[tuple[object, ...], list[str]] = {}
    for name, column in columns.items():
        alike = seen.setdefault((column.kind, column.values.null_count(), _digest(column.values)), [])
        twin = next((each for each in alike if columns[each].values.equals(column.values, null_equal=True)), None)
        if twin is None:
            alike.append(name)
        else:
            yield _refused(name, "duplicate", f"it repeats the column {twin!r} value by value")


def readable(name: str) -> str:
    """A column's name in words.

    >>> readable("TotalTimeSpent"), readable("days_since-visit")
    ('total time spent', 'days since visit')
    """
    return " ".join(tokens(name)) or name


def _typed(given: pl.Series) -> Column | Refused:
    dtype, name = given.dtype, given.name
    if dtype.is_nested() or dtype in (pl.Binary, pl.Object, pl.Time):
        return _refused(name, "nested", f"it holds {str(dtype).split('(')[0].lower()} values, neither numbers nor text")
    if dtype == pl.Null:
        return _refused(name, "empty", "it is empty")
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        return _date(name, guess_time(given, given.cast(pl.String), frozenset()), {})
    if dtype == pl.Duration:
        return Column(name, "number", given.dt.total_seconds().cast(pl.Float64) / 86_400)
    if dtype.is_integer() and (given.min() or 0) >= _FIRST_DAY:  # type: ignore[operator]
        return _of_text(plain_text(given))
    if dtype.is_numeric() or dtype == pl.Boolean:
        number = given.cast(pl.Float64)
        return Column(name, "number", pl.select(pl.when(number.is_finite()).then(number).alias(name)).to_series())
    return _of_text(plain_text(given))


def _of_text(text: pl.Series) -> Column | Refused:
    name = text.name
    numbers = text.cast(pl.Float64, strict=False)
    plain = numbers.null_count() == text.null_count()
    known, gone = (text, {}) if plain else without_markers(text)
    words = frozenset(tokens(name))
    if not plain or _may_be_dates(text, words):
        when = guess_time(known, known, words)
        if when is not None and when.share >= _DATES:
            return _date(name, when, gone)
    coded = bool(known.str.contains(r"^0\d+$").any())
    found = None if coded else numbers_of(known)
    if found is None:
        said = _said(name, "leading_zeros", "its numbers begin with 0, so they are codes, not amounts") if coded else ()
        return Column(name, "category", known, (*_markers(name, gone), *said))
    said = _said(name, "written_number", f"its numbers are written with {found.how}") if found.how else ()
    if found.unread:
        rows = sum(found.unread.values())
        said += _said(name, "unread", f"{rows:,} values are no numbers, like {_few(found.unread)}: taken as missing")
    return Column(name, "number", found.values.alias(name), (*_markers(name, gone), *said))


def _may_be_dates(text: pl.Series, words: frozenset[str]) -> bool:
    """Of numbers: only 8 or 14 digits each, or seconds since 1970 in a column whose name speaks of time."""
    first = text.drop_nulls().head(1)
    return bool(len(first)) and (len(str(first[0])) in (8, 14) or (len(str(first[0])) >= 9 and bool(words)))


def _date(name: str, when: TimeGuess | None, gone: Mapping[str, int]) -> Column | Refused:
    if when is None:
        return _refused(name, "empty", "it is empty")
    instants = when.instants.alias(name)
    known = instants.dt.year().is_between(_FIRST_YEAR, _LAST_YEAR)
    kept = pl.select(pl.when(known).then(instants).alias(name)).to_series()
    said = list(_markers(name, gone))
    if when.share < 1:
        said += _said(name, "unread", f"{share(1 - when.share)} of its values are no dates: taken as missing")
    if len(instants) - instants.null_count() > len(kept) - kept.null_count():
        said += _said(name, "unread", f"dates outside {_FIRST_YEAR} to {_LAST_YEAR} are taken as missing")
    if when.other:
        said += _said(name, "day_or_month", f"day and month may be the other way round: read as {when.format}")
    return Column(name, "date", kept, tuple(said))


def _names_rows(column: Column, distinct: int) -> str:
    """Why a column only names its rows; empty where it does not."""
    rows = len(column.values) - column.values.null_count()
    if rows < _ROWS or column.kind == "date":
        return ""
    if column.kind == "category" and distinct >= _ALL_DIFFER * rows:
        return f"it names the row: {distinct:,} different texts in {rows:,} rows"
    if column.kind == "category" and distinct > MOST_LEVELS:
        levels = column.values.drop_nulls().value_counts(sort=True)["count"].head(MOST_LEVELS)
        covered = int(levels.sum()) / rows
        if covered < FEW:
            return f"it has {distinct:,} levels, and the {MOST_LEVELS} most frequent cover {share(covered)} of the rows"
    named = not _NAMES_A_ROW.isdisjoint(tokens(column.name))
    if column.kind == "number" and named and distinct > MOST_LEVELS and bool(_whole(column.values)):
        return f"it is an id by its name, with {distinct:,} different numbers: name it with --id if it is a person's"
    return ""


def _remarks(column: Column, distinct: int) -> Iterator[Refused]:
    if column.kind == "category" and distinct > MOST_LEVELS:
        reason = f"of its {distinct:,} levels the {MOST_LEVELS} most frequent are known by name, others as not known"
        yield Refused(column=column.name, code="levels", reason=reason, kept=True)
    if column.kind == "number":
        yield from _sentinel(column)


def _sentinel(column: Column) -> Iterator[Refused]:
    """A number like -1 among others of 0 and more probably means "not known". It stays the number it is.

    Trees set it apart by themselves, and a request may send what stands in the table.
    """
    known = column.values.drop_nulls()
    for each in _SENTINELS:
        rows, rest = int((known == each).sum()), known.filter(known != each)
        far = len(rest) > 0 and rest.min() >= 0 and (each < 0 or rest.max() < each / 2)  # type: ignore[operator]
        if rows >= _SENTINEL_SHARE * len(known) and far:
            part = share(rows / len(known))
            reason = f"{each:g} in {part} of the rows probably means not known: kept as the number it is"
            yield Refused(column=column.name, code="sentinel", reason=reason, kept=True)
            return


def _markers(name: str, gone: Mapping[str, int]) -> tuple[Refused, ...]:
    if not gone:
        return ()
    means = "means" if len(gone) == 1 else "mean"
    return _said(name, "missing_marker", f"{_few(gone)} {means} not known, in {sum(gone.values()):,} rows")


def _said(name: str, code: str, reason: str) -> tuple[Refused, ...]:
    return (Refused(column=name, code=code, reason=reason, kept=True),)


def _refused(name: str, code: str, reason: str) -> Refused:
    return Refused(column=name, code=code, reason=reason)


def _whole(numbers: pl.Series) -> bool:
    known = numbers.drop_nulls()
    return bool((known == known.round()).all())


def _digest(values: pl.Series) -> int:
    return int(values.hash(7).cast(pl.Int64, wrap_numerical=True).sum() or 0)


def _few(values: Mapping[str, int]) -> str:
    return ", ".join(repr(_short(each)) for each in list(values)[:_SHOWN])


def _short(value: object, most: int = 30) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= most else text[: most - 1] + "…"
