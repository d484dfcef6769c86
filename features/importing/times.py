"""Times of a column as UTC instants: by a strftime format, ISO 8601, or seconds since 1970."""

from __future__ import annotations

import polars as pl

from features.kernel.errors import InvalidRecipe

__all__ = ["FORMATS", "read_times"]

_INSTANT = pl.Datetime("us", "UTC")
_NAIVE = pl.Datetime("us")

FORMATS = {"iso": "ISO 8601", "epoch": "seconds since 1970 UTC", "epoch_ms": "milliseconds since 1970 UTC"}
"""Names that stand where a strftime format may stand."""

_FURTHEST = 14
"""Hours that a zone may be away from UTC."""
_OFFSET = r"(?:Z|z|[+-]\d{2}:?\d{2})$"
_ISO = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")


def read_times(given: pl.Series, form: str, zone: str, path: str) -> tuple[pl.Series, pl.Series | None]:
    """UTC instants in microseconds, null where there is none to be read.

    A time with an offset of its own is taken as it is, any other is local to `zone`. A local time that clocks skipped
    never was; of an hour they repeat, the first is taken.

    Returns:
        The instants, and a mask of those in a repeated hour (None where there are none).

    Raises:
        InvalidRecipe: there is no format or zone where one is needed, or the column holds no times.

    >>> read_times(pl.Series(["2011-07-01 10:00", "2011-07-01T10:00:00Z"]), "iso", "Europe/London", "")[0].dt.hour()
    shape: (2,)
    Series: '' [i8]
    [
        9
        10
    ]
    """
    if form in ("epoch", "epoch_ms"):
        return _epoch(given, 1_000_000 if form == "epoch" else 1_000), None
    if given.dtype == pl.Date:
        given = given.cast(_NAIVE)
    if given.dtype == pl.Null:
        return given.cast(_INSTANT), None
    if given.dtype == pl.String:
        if not form:
            raise InvalidRecipe("is missing", field=f"{path}.format", remedy='say how, e.g. "%Y-%m-%d %H:%M:%S" or iso')
        if form == "iso":
            return _iso(given, zone)
        given = given.str.to_datetime(form, time_unit="us", strict=False)
    elif not isinstance(given.dtype, pl.Datetime):
        raise InvalidRecipe("holds no times", field=path, value=str(given.dtype), remedy="choose another column")
    given = given.dt.cast_time_unit("us")
    if isinstance(given.dtype, pl.Datetime) and given.dtype.time_zone:
        return given.dt.convert_time_zone("UTC"), None
    return _local(given, zone)


def _iso(given: pl.Series, zone: str) -> tuple[pl.Series, pl.Series | None]:
    """With and without an offset, even within one column."""
    text = given.str.replace(r"^(\d{4}-\d{2}-\d{2})[Tt]", "${1} ")
    offset = text.str.extract(rf"\d{{2}}:\d{{2}}.*?({_OFFSET})", 1)
    text = text.str.replace(rf"(\d{{2}}:\d{{2}}.*?){_OFFSET}", "${1}")
    naive = pl.select(
        pl.coalesce(
            pl.lit(text).str.strip_chars_end().str.to_datetime(form, time_unit="us", strict=False) for form in _ISO
        )
    ).to_series()
    if offset.null_count() == len(offset):
        return _local(naive, zone)
    minutes = _minutes(offset)
    instants = pl.select((pl.lit(naive) - pl.duration(minutes=pl.lit(minutes))).dt.replace_time_zone("UTC")).to_series()
    without = naive.is_not_null() & offset.is_null()
    if not without.any():
        return instants, None
    local, repeated = _local(pl.select(pl.when(without).then(naive)).to_series(), zone)
    return pl.select(pl.coalesce(instants, local)).to_series(), repeated


def _minutes(offset: pl.Series) -> pl.Series:
    """East of Greenwich; null where there is no offset."""
    digits = offset.str.replace_all(r"[:+-]", "")
    hours, rest = (digits.str.slice(at, 2).cast(pl.Int32, strict=False) for at in (0, 2))
    size, possible = hours * 60 + rest, (hours <= _FURTHEST) & (rest < 60)
    west, utc = offset.str.starts_with("-"), offset.is_in(["Z", "z"])
    signed = pl.when(utc).then(0).when(possible & west).then(-size).when(possible).then(size)
    return pl.select(signed).to_series()


def _epoch(given: pl.Series, micros: int) -> pl.Series:
    seconds = given.cast(pl.Float64, strict=False)
    whole = given.cast(pl.Int64, strict=False)
    exact = pl.select(
        pl.when(pl.lit(whole).is_not_null() & (pl.lit(whole).abs() < 2**62 // micros))
        .then(pl.lit(whole) * micros)
        .when(pl.lit(seconds).abs() < 2**62 / micros)
        .then((pl.lit(seconds) * micros).round().cast(pl.Int64, strict=False))
    )
    return exact.to_series().cast(_INSTANT)


def _local(given: pl.Series, zone: str) -> tuple[pl.Series, pl.Series | None]:
    if not zone:
        if given.null_count() == len(given):
            return given.cast(_NAIVE).dt.replace_time_zone("UTC"), None
        raise InvalidRecipe(
            "is missing, and the times have none of their own", field="time_zone", remedy="name it, like Europe/London"
        )
    first = given.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")
    last = given.dt.replace_time_zone(zone, ambiguous="latest", non_existent="null").dt.convert_time_zone("UTC")
    repeated = (first != last).fill_null(False)
    return first, repeated if repeated.any() else None
